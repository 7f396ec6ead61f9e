// SPDX-License-Identifier: BSD-3-Clause
//
// Events of the table: what happened to which connection, as `conntrack -E` shows it. Each worker
// has a ring of its own that only it fills and only the control thread empties; a full ring loses
// the event and counts it, the worker never waits. Nothing is recorded while nobody listens.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/handle.hpp"
#include "ct/base/time.hpp"
#include "ct/wire/tuple.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <vector>

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
};

enum class EventType : std::uint8_t { New, Update, Destroy };

struct Event {
    EventType type = EventType::New;
    Nanos when = 0;
    Snapshot conn;
};

/// Single producer, single consumer.
class EventRing {
public:
    /// Holds `capacity` events, rounded up to a power of two.
    explicit EventRing(std::size_t capacity);

    /// Producer. False if the ring is full: the event is lost and counted.
    bool push(const Event& e) noexcept;
    /// Consumer. False if the ring is empty.
    bool pop(Event& out) noexcept;
    /// Any thread: events lost so far.
    [[nodiscard]] std::uint64_t lost() const noexcept {
        return lost_.load(std::memory_order_relaxed);
    }

private:
    std::vector<Event> slots_;
    alignas(kCacheLine) std::atomic<std::size_t> head_{0};  ///< next to pop; consumer writes
    alignas(kCacheLine) std::atomic<std::size_t> tail_{0};  ///< next to push; producer writes
    std::atomic<std::uint64_t> lost_{0};                    ///< producer writes
};

}  // namespace ct
