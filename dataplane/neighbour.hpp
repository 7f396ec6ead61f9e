// SPDX-License-Identifier: BSD-3-Clause
//
// The neighbours of all ports: which MAC an address on a link has, and which packets wait for it.
//
// A hash of fixed capacity in sets of kWays slots; a slot is one cache line. Workers read without a
// lock and, but for a rare "used" mark, without a write: a sequence word tells a reader that a slot
// changed under it. Whatever changes a slot holds the table's one lock: that happens when a
// neighbour is unknown, answers or falls silent, not when a packet is forwarded.
//
// A neighbour is incomplete until it answers (asked for once a second, three times: RFC 1122
// 2.3.2.1 and RFC 4861 10), reachable for 30 s after each answer, and stale then: its MAC is still
// used, and the first use makes the table ask again, that neighbour alone (RFC 4861 7.3.3).
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/time.hpp"
#include "ct/wire/packet.hpp"
#include "ct/wire/tuple.hpp"
#include "dataplane/control/config.hpp"
#include "dataplane/spinlock.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

struct rte_mbuf;

namespace dp {

/// An address on a link.
struct NeighbourKey {
    ct::Addr address;
    ct::PortId port = ct::kNoPort;
    ct::Family family = ct::Family::None;

    friend bool operator==(const NeighbourKey&, const NeighbourKey&) noexcept = default;
};

enum class NeighbourState : std::uint8_t { Free, Incomplete, Reachable, Stale, Static };

/// How a MAC address became known, which decides what it may change.
enum class NeighbourNews : std::uint8_t {
    Answer,   ///< to our question: reachable
    Mention,  ///< it asked us, and told its own: stale, made if need be
    Gossip,   ///< unasked (gratuitous ARP, unsolicited NA): changes only what is known already
};

/// Packets that waited for one neighbour, oldest first, linked by rte_mbuf::next.
struct WaitingList {
    rte_mbuf* first = nullptr;
    rte_mbuf* last = nullptr;
    std::uint32_t count = 0;
};

/// What tick() found due.
struct NeighbourDuty {
    enum class What : std::uint8_t {
        Ask,     ///< by broadcast or multicast
        Verify,  ///< `mac`, by unicast
        GiveUp,  ///< on `waiting`: they are the caller's now
    };
    What what = What::Ask;
    NeighbourKey key;
    MacAddress mac{};
    WaitingList waiting;
};

class NeighbourTable {
public:
    static constexpr std::size_t kWays = 8;
    static constexpr ct::Nanos kRetrans = ct::kNanosPerSecond;             ///< RFC 4861 10
    static constexpr std::uint32_t kMaxSolicits = 3;                       ///< RFC 4861 10
    static constexpr ct::Nanos kReachableTime = 30 * ct::kNanosPerSecond;  ///< RFC 4861 10
    static constexpr ct::Nanos kStaleTime = 300 * ct::kNanosPerSecond;     ///< unused, then gone

    /// Room for `capacity` neighbours, rounded up to a power of two; at most `per_neighbour`
    /// packets wait for one and `total` for all.
    NeighbourTable(std::uint32_t capacity, std::uint32_t per_neighbour, std::uint32_t total);

    /// The MAC of a neighbour that has one, in the low 48 bits, first byte of the wire lowest; else
    /// empty. Any thread, no lock.
    [[nodiscard]] std::optional<std::uint64_t> find(const NeighbourKey& key) noexcept;

    enum class Waiting : std::uint8_t {
        Queued,  ///< and somebody has asked already
        Ask,     ///< queued, and the caller has to ask
        Known,   ///< not queued: the answer came in the meantime, look again
        Full,    ///< not queued: no room
    };
    /// Puts `m`, whose neighbour find() did not know, aside until it answers. Owns m if queued.
    [[nodiscard]] Waiting wait(const NeighbourKey& key, rte_mbuf* m, ct::Nanos now) noexcept;

    /// Takes note of a neighbour's MAC; returns who waited for it, for the caller to send.
    [[nodiscard]] WaitingList learn(const NeighbourKey& key, const MacAddress& mac,
                                    NeighbourNews news, ct::Nanos now) noexcept;

    /// Adds a neighbour that is neither asked for nor ever forgotten. Throws std::runtime_error if
    /// there is no room.
    void add_static(const NeighbourKey& key, const MacAddress& mac);

    /// Looks at the next slots, at most `budget`, and writes what is due to `out`; true if it
    /// reached the end of the table. `out` has room for `budget`. One thread.
    [[nodiscard]] bool sweep(ct::Nanos now, std::size_t budget, std::vector<NeighbourDuty>& out);

    /// Takes every waiting packet, of all neighbours.
    [[nodiscard]] WaitingList take_all() noexcept;

    [[nodiscard]] std::size_t capacity() const noexcept { return slots_.size(); }

    /// One neighbour; for control.
    struct View {
        NeighbourKey key;
        MacAddress mac{};
        NeighbourState state = NeighbourState::Free;
        std::uint32_t waiting = 0;
    };
    [[nodiscard]] std::vector<View> list() const;

private:
    /// Readers look at the five atomic members; everything else is under the lock. An odd sequence
    /// means that a writer is in the slot. What waits is linked by rte_mbuf::next.
    struct alignas(ct::kCacheLine) Slot {
        std::atomic<std::uint32_t> sequence{0};
        std::atomic<std::uint32_t> port_family{0};  ///< 0: free
        std::atomic<std::uint64_t> address_hi{0};
        std::atomic<std::uint64_t> address_lo{0};
        std::atomic<std::uint64_t> link{0};  ///< MAC, NeighbourState and the used mark
        rte_mbuf* first = nullptr;
        rte_mbuf* last = nullptr;
        std::uint32_t waiting = 0;   ///< packets from `first` to `last`
        std::uint32_t solicits = 0;  ///< questions asked since it last answered
        ct::Nanos due = 0;           ///< when the state's time is up
    };
    static_assert(sizeof(Slot) == ct::kCacheLine);

    /// A key as the slots hold it.
    struct Words {
        std::uint64_t hi = 0;
        std::uint64_t lo = 0;
        std::uint32_t port_family = 0;

        explicit Words(const NeighbourKey& key) noexcept;
    };

    [[nodiscard]] std::size_t hash_of(const Words& words) const noexcept;
    [[nodiscard]] Slot& slot_at(std::size_t hash, std::size_t way) noexcept;
    [[nodiscard]] Slot* locate(const Words& words) noexcept;
    [[nodiscard]] Slot* claim(const Words& words, std::uint64_t link) noexcept;
    static void publish(Slot& slot, const Words& words, std::uint64_t link) noexcept;
    static void release(Slot& slot) noexcept;
    [[nodiscard]] static NeighbourKey key_of(const Slot& slot) noexcept;
    [[nodiscard]] WaitingList take_waiting(Slot& slot) noexcept;
    [[nodiscard]] bool enqueue(Slot& slot, rte_mbuf* m) noexcept;
    [[nodiscard]] std::optional<NeighbourDuty> duty_of(Slot& slot, ct::Nanos now) noexcept;
    [[nodiscard]] std::optional<NeighbourDuty> incomplete_duty(Slot& slot, ct::Nanos now) noexcept;
    [[nodiscard]] static std::optional<NeighbourDuty> stale_duty(Slot& slot,
                                                                 ct::Nanos now) noexcept;

    const std::uint32_t per_neighbour_;
    const std::uint32_t total_;
    const std::uint64_t hash_key_;  ///< drawn at random: who may add neighbours cannot aim at a set
    std::vector<Slot> slots_;
    mutable SpinLock lock_;      ///< the innermost of all locks
    std::uint32_t waiting_ = 0;  ///< packets that wait, for all neighbours; under lock_
    std::size_t cursor_ = 0;     ///< of sweep(); its one thread
};

}  // namespace dp
