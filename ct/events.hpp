// SPDX-License-Identifier: BSD-3-Clause
//
// Events of the table: what happened to which connection, as `conntrack -E` shows it. Each worker
// has a ring of its own that only it fills and only the control thread empties; a full ring loses
// the event and counts it, the worker never waits. Nothing is recorded while nobody listens.
//
// Every event of a ring has a number, and a lost one uses its number up: who empties the ring sees
// how many are missing, and between which two.
#pragma once

#include "ct/base/handle.hpp"
#include "ct/base/ring.hpp"
#include "ct/base/time.hpp"
#include "ct/wire/tuple.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>

namespace ct {

/// One connection as it stood at one moment: plain values, nothing to lock or to free.
struct Snapshot {
    Tuple original;
    Tuple reply;
    std::uint16_t status = 0;     ///< ct::status bits
    std::uint8_t state = 0;       ///< TcpState or SctpState; 0 in an event that does not tell it
    bool has_counters = false;    ///< accounting was on
    std::uint32_t timeout_s = 0;  ///< seconds left, rounded down; 0 if expired
    std::uint32_t mark = 0;
    std::uint32_t id = 0;  ///< differs between any two lives of entries, but for wrapping
    ConnHandle handle;
    std::array<std::uint64_t, 2> packets{};  ///< by Dir
    std::array<std::uint64_t, 2> bytes{};    ///< by Dir; of the IP packets
    Nanos start = 0;                         ///< when the connection was made
    Nanos stop = 0;                          ///< of a destroyed one; else 0
    bool has_timestamp = false;              ///< timestamps were on
    std::uint8_t helper = 0;                 ///< number of the helper's name; 0: none
    std::array<std::uint64_t, 2> labels{};   ///< bit n of word n / 64 is label n
    /// The verification tags that its packets must carry, by Dir; of SCTP.
    std::array<std::uint32_t, 2> vtags{};

    [[nodiscard]] bool has_labels() const noexcept { return (labels[0] | labels[1]) != 0; }
};

enum class EventType : std::uint8_t { New, Update, Destroy };

/// Why there is an event, with Linux's numbers (IPCT_*, semantics.md 2.10).
namespace cause {
inline constexpr std::uint16_t kNew = 1U << 0;
inline constexpr std::uint16_t kRelated = 1U << 1;
inline constexpr std::uint16_t kDestroy = 1U << 2;
inline constexpr std::uint16_t kReply = 1U << 3;
inline constexpr std::uint16_t kAssured = 1U << 4;
inline constexpr std::uint16_t kProtoinfo = 1U << 5;  ///< the protocol's state changed
inline constexpr std::uint16_t kHelper = 1U << 6;
inline constexpr std::uint16_t kMark = 1U << 7;
inline constexpr std::uint16_t kSeqadj = 1U << 8;
inline constexpr std::uint16_t kSecmark = 1U << 9;
inline constexpr std::uint16_t kLabel = 1U << 10;
inline constexpr std::uint16_t kSynproxy = 1U << 11;
/// What a change from outside is said to touch, whatever it touches.
inline constexpr std::uint16_t kFromOutside =
    kReply | kAssured | kProtoinfo | kHelper | kMark | kSeqadj | kLabel | kSynproxy;
}  // namespace cause

struct Event {
    EventType type = EventType::New;
    std::uint16_t causes = 0;  ///< set of cause::
    std::uint32_t by = 0;      ///< process whose request caused it; 0: a packet, or time
    std::uint64_t number = 0;  ///< in its ring, from 0, without a gap but for lost events
    Nanos when = 0;
    Snapshot conn;
};

/// Single producer, single consumer.
class EventRing {
public:
    /// Holds `capacity` events, rounded up to a power of two.
    explicit EventRing(std::size_t capacity) : ring_{capacity} {}

    /// Producer. Numbers the event. False if the ring is full: the event is lost and counted.
    bool push(Event& e) noexcept {
        e.number = next_++;
        if (ring_.push(e)) return true;
        lost_.store(lost_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return false;
    }
    /// Consumer. False if the ring is empty.
    bool pop(Event& out) noexcept { return ring_.pop(out); }
    /// Any thread: events lost so far.
    [[nodiscard]] std::uint64_t lost() const noexcept {
        return lost_.load(std::memory_order_relaxed);
    }

private:
    Ring<Event> ring_;
    std::uint64_t next_ = 0;              ///< number of the next event; producer's
    std::atomic<std::uint64_t> lost_{0};  ///< producer writes
};

}  // namespace ct
