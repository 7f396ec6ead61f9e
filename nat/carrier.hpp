// SPDX-License-Identifier: BSD-3-Clause
//
// Carrier-grade NAT: what a subscriber may have of the external addresses (RFC 6888), for a source
// rule that has `blocks`, `deterministic` or `limits`.
//
// A subscriber is an IPv4 address, or an IPv6 prefix of a set length, in its zone. He has one
// external address (RFC 6888 REQ-2) and on it
//
//   his share   with deterministic NAT (nat/deterministic.hpp), for ever
//   blocks      of ports, given to him one at a time: the first when he opens his first connection,
//               another when all ports of what he has are in use, up to a limit; taken back when no
//               connection has used a block for `idle` seconds, so that nobody else is given one of
//               its ports earlier (REQ-8)
//
// and limits on the ports of each protocol that he uses at a time, on his connections, and on how
// fast he opens them (REQ-4). Nobody's mapping ever gives way to another's (REQ-11): who asks for
// more is refused, each refusal for a reason of its own.
//
// Ports. For each external address, kind of protocol and port there is a count of the connections
// that use it, so that it is exact how many ports a subscriber uses, and a free one is found by
// reading a few cache lines. Only the connections of one subscriber count on one port.
//
// A subscriber's record is in a chain of a hash table's bucket; all of it, and the counts of his
// ports, are under the bucket's lock. A worker takes it for some tens of nanoseconds twice for each
// new connection and once when that ends. Two workers wait for one another only if they serve one
// subscriber, or two of one bucket. Packets of connections that exist come here never.
//
// Memory is reserved for as many subscribers as there can be and touched as they come: 256 bytes
// for each, and two for each port in use.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/drop.hpp"
#include "ct/base/time.hpp"
#include "ct/conntrack.hpp"
#include "ct/table/hash.hpp"
#include "ct/table/memory.hpp"
#include "nat/block_log.hpp"
#include "nat/block_pool.hpp"
#include "nat/carrier_settings.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>

namespace nat {

/// Counts of one carrier rule. Each is read by itself.
struct CarrierTotals {
    std::uint32_t subscribers = 0;  ///< with a connection or a block, or until lately
    std::uint32_t blocks = 0;       ///< there are
    std::uint32_t blocks_in_use = 0;
};

class Carrier {
public:
    static constexpr std::size_t kMostBlocks = 15;
    static constexpr std::size_t kMostRanges = kMostBlocks + 1;
    /// The most external addresses: half a megabyte of address space for each.
    static constexpr std::uint32_t kMostAddresses = 16'384;
    /// The most subscribers at a time.
    static constexpr std::uint32_t kMostSubscribers = 1U << Deterministic::kMostSubscriberBits;

    /// What a subscriber has, as of a moment ago.
    struct Grant {
        struct Range {
            std::uint32_t block = 0;  ///< kShare: his deterministic share
            std::uint32_t address = 0;
            PortRange ports;
        };
        static constexpr std::uint32_t kShare = ~0U;

        std::array<Range, kMostRanges> ranges;
        std::size_t count = 0;
        ct::Addr source;  ///< what names the subscriber
        ct::Family family = ct::Family::None;
        std::uint16_t zone = 0;
        std::uint32_t bucket = 0;
    };
    /// How a port may be used that a connection of the subscriber uses already.
    enum class Use : std::uint8_t {
        Alone,   ///< not
        Shared,  ///< too, towards another remote endpoint (RFC 7857 3)
    };

    /// `log` is told of blocks; null: nobody is. `seed` 0 draws a random key. Throws
    /// std::invalid_argument with fault(), or std::bad_alloc.
    Carrier(const CarrierSettings& settings, std::uint16_t index, BlockLog* log,
            std::uint64_t seed = 0);

    /// Why `settings` make no carrier rule, in the operator's words; empty if they do.
    [[nodiscard]] static std::string fault(const CarrierSettings& settings);

    [[nodiscard]] const CarrierSettings& settings() const noexcept { return settings_; }
    [[nodiscard]] CarrierTotals totals() const noexcept;

    /// True if subscribers have ports of their own; else there are only limits.
    [[nodiscard]] bool gives_ports() const noexcept { return deterministic_ || pool_ != nullptr; }

    /// True if the rule masquerades, and this source's connections are its subscribers'.
    [[nodiscard]] bool masquerades(const ct::Tuple& original) const noexcept;

    // ---- Packet path.

    /// A source wants to open another connection: whether he may, and with which ports. A
    /// subscriber who has none is given a block.
    [[nodiscard]] ct::Drop admit(ct::WorkerId w, const ct::Tuple& original, ct::Nanos now,
                                 Grant& out) noexcept;
    /// What a source has, whatever his limits are; false if he is not known.
    [[nodiscard]] bool look_up(const ct::Tuple& original, Grant& out) const noexcept;
    /// Gives the subscriber another block, and adds it to `grant` as the last.
    [[nodiscard]] ct::Drop extend(ct::WorkerId w, Grant& grant, ct::Nanos now) noexcept;
    /// The address of a range of a grant.
    [[nodiscard]] ct::Addr address_of(const Grant::Range& range) const noexcept {
        return settings_.outside.at(range.address);
    }
    /// Connections that use the port just now.
    [[nodiscard]] std::uint32_t uses(const Grant::Range& range, std::uint8_t proto,
                                     std::uint16_t port) const noexcept;
    /// What came of take().
    enum class Taken : std::uint8_t {
        Done,       ///< the connection counts; release() must follow when it ends
        Used,       ///< the port is used and may not be shared
        Gone,       ///< the block has been taken back: ask admit() again
        PortLimit,  ///< the subscriber has all the ports that he may have
    };
    /// Books a connection on `port` of `range`. Protocols without ports take none: port 0.
    [[nodiscard]] Taken take(const Grant& grant, const Grant::Range& range, std::uint8_t proto,
                             std::uint16_t port, Use use) noexcept;
    /// Books a connection that has its external endpoint already, `reply`'s destination, as one
    /// that is restored after a restart. If the port is in a block that nobody has, the subscriber
    /// gets that. None, and release() must follow; NatNoPort if the port is not, and cannot become,
    /// his; or which limit is in the way. How fast he opens connections does not count.
    [[nodiscard]] ct::Drop adopt(ct::WorkerId w, const ct::Tuple& original, const ct::Tuple& reply,
                                 Use use, ct::Nanos now) noexcept;
    /// A connection that was taken or adopted has ended. Any thread.
    void release(const ct::Tuple& original, const ct::Tuple& reply, ct::Nanos now) noexcept;

    /// Takes back what has been idle for long enough, a bounded slice of the subscribers. One
    /// worker at a time; `w` is its own.
    void expire(ct::WorkerId w, ct::Nanos now) noexcept;
    /// The same for all subscribers at once: for a replay, whose time jumps.
    void expire_all(ct::WorkerId w, ct::Nanos now) noexcept;

    // ---- Control.

    /// Takes every block back and tells `told` of each. No worker runs.
    void end(ct::Nanos now, const std::function<void(const BlockEvent&)>& told);

    /// A subscriber and what he has.
    struct Holding {
        Prefix subscriber;
        std::uint16_t zone = 0;
        ct::Addr outside;
        std::uint32_t connections = 0;
        std::array<std::uint32_t, 4> ports{};  ///< in use: TCP, UDP, ICMP, others
        std::array<PortRange, kMostRanges> ranges{};
        std::size_t range_count = 0;
    };
    /// Tells `told` of every subscriber. Any thread; workers wait for it as for one another.
    void for_each(const std::function<void(const Holding&)>& told) const;

    /// Checks at rest that the counts agree with one another: empty if they do, else what is wrong.
    [[nodiscard]] std::string check() const;

private:
    static constexpr std::size_t kKinds = 4;  ///< of protocols that count ports of their own

    struct Slot {
        std::uint32_t block;
        std::uint32_t users;        ///< connections
        std::uint32_t idle_second;  ///< when the last of them ended
    };
    /// A subscriber's; under its bucket's lock.
    struct alignas(ct::kCacheLine) Record {
        ct::Addr source;
        std::uint16_t zone;
        ct::Family family;
        std::uint8_t slots;
        std::uint32_t next;  ///< record in the chain, plus one; 0: the last
        std::uint32_t address;
        std::uint32_t connections;
        std::uint32_t idle_second;  ///< when the last connection ended
        std::array<std::uint32_t, kKinds> ports;
        ct::Nanos full_at;  ///< when its budget of new connections will be full again
        std::array<Slot, kMostBlocks> slot;
    };
    static_assert(sizeof(Record) == 256);
    struct Bucket {
        std::atomic<std::uint32_t> lock;  ///< 1: locked
        std::atomic<std::uint32_t> head;  ///< record, plus one; 0: none. Written under the lock
    };

    [[nodiscard]] Record& record(std::uint32_t link) const noexcept {
        return records_.as<Record>()[link - 1];
    }
    [[nodiscard]] Bucket& bucket(std::uint32_t b) const noexcept {
        return buckets_.as<Bucket>()[b];
    }
    [[nodiscard]] std::atomic<std::uint16_t>* counts_row(std::uint32_t address, std::size_t kind,
                                                         std::uint16_t port) const noexcept;
    [[nodiscard]] std::atomic<std::uint16_t>& count_of(std::uint32_t address, std::uint8_t proto,
                                                       std::uint16_t port) const noexcept;
    void identify(const ct::Tuple& original, Grant& out) const noexcept;
    [[nodiscard]] Record* find(const Grant& who) const noexcept;
    [[nodiscard]] Record* make_record(const Grant& who, ct::Nanos now) noexcept;
    void drop_record(std::uint32_t b, Record& r) noexcept;
    /// True if it is settled which external address the subscriber has.
    [[nodiscard]] bool has_address(const Record& r) const noexcept {
        return deterministic_ || r.slots > 0 || r.connections > 0;
    }
    [[nodiscard]] ct::Drop assign_block(ct::WorkerId w, Record& r, ct::Nanos now) noexcept;
    [[nodiscard]] ct::Drop hand_over(ct::WorkerId w, Record& r, std::uint32_t block,
                                     ct::Nanos now) noexcept;
    [[nodiscard]] Taken count_port(Record& r, Slot* slot, std::atomic<std::uint16_t>& count,
                                   std::uint8_t proto, Use use) noexcept;
    [[nodiscard]] ct::Drop adopt_for(ct::WorkerId w, Record& r, const ct::Tuple& reply, Use use,
                                     ct::Nanos now) noexcept;
    [[nodiscard]] bool is_at(const Record& r, std::uint32_t address) const noexcept;
    [[nodiscard]] bool may_open_now(Record& r, ct::Nanos now) const noexcept;
    void list_ranges(const Record& r, Grant& out) const noexcept;
    [[nodiscard]] Slot* slot_of(Record& r, std::uint32_t block) const noexcept;
    [[nodiscard]] BlockEvent event_of(const Record& r, std::uint32_t block, BlockEvent::Kind kind,
                                      ct::Nanos now) const noexcept;
    void expire_bucket(ct::WorkerId w, std::uint32_t b, std::uint32_t second,
                       ct::Nanos now) noexcept;
    [[nodiscard]] bool idle_for_long(std::uint32_t since, std::uint32_t second) const noexcept;
    [[nodiscard]] std::string check_record(const Record& r) const;
    [[nodiscard]] Prefix subscriber_of(const Record& r) const noexcept;
    [[nodiscard]] std::uint64_t draw() noexcept;

    const CarrierSettings settings_;
    const std::uint16_t index_;
    BlockLog* const log_;
    const std::optional<Deterministic> deterministic_;
    std::unique_ptr<BlockPool> pool_;  ///< null: no blocks
    const ct::HashKey key_;
    const ct::HashKey address_key_;  ///< fixed: a subscriber tends to keep his address
    const std::uint32_t most_records_;
    const std::uint32_t bucket_count_;  ///< a power of two
    ct::Region buckets_;
    ct::Region records_;
    ct::Region counts_;  ///< of connections: by address, kind, port

    // Free records, a chain through `next` and those never used; under free_lock_.
    std::atomic<std::uint32_t> free_lock_{0};
    std::uint32_t free_ = 0;
    std::uint32_t unused_ = 0;  ///< records from here on have never been used
    std::atomic<std::uint32_t> subscribers_{0};
    std::atomic<std::uint64_t> draws_{0};

    // The expiring worker's.
    std::uint32_t sweep_at_ = 0;
    ct::Nanos swept_ = 0;
};

}  // namespace nat
