// SPDX-License-Identifier: BSD-3-Clause
//
// The endpoint-independent mappings that exist: which external endpoint an inside endpoint has,
// whoever it talks to, and whose an external endpoint is.
//
// A mapping belongs to the connections that use it, and counts them: it comes with the first and
// goes with the last. It is found by its inside endpoint, when that opens a connection, and by its
// external one, when somebody outside does. Beside mappings there are two other kinds of records,
// found by the external endpoint only:
//
//   share   connections with an ordinary, endpoint-dependent mapping that use a port which might be
//           given to a mapping. While there are any, it is not.
//   permit  connections between a mapping and a remote address, where only such addresses may open
//           others (address-dependent filtering).
//
//   record, one cache line
//     inside 22 | external 18 | users 4 | next by inside 4 | next by external 4
//     port by which it left 2 | rule 2 | kind 1 | protocol and family outside 2
//
// The two endpoints need not be of one family: an IPv6 host behind NAT64 has IPv4 endpoints outside
// (RFC 6146 3.1's binding information base). Mappings of either kind stand side by side.
//
// Synchronisation. Two arrays of chains, by inside and by external endpoint; the head of a chain is
// its lock as well. Who holds two takes the one by inside first, and never two of one array. A
// record's endpoints do not change while it is in a chain, and are read under either lock. `users`
// goes up under either lock, down to 1 likewise, and to 0 only under both: then the record leaves
// both chains, so whoever finds one finds it in use. A lock is held for a walk along a chain, and
// while a port is chosen for a new mapping: so the second of two packets that open connections from
// one inside endpoint at the same moment finds the mapping of the first.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/conntrack.hpp"
#include "ct/table/hash.hpp"
#include "ct/table/memory.hpp"
#include "nat/rule.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>
#include <vector>

namespace nat {

/// An address and a port, or an ICMP identifier, of a protocol.
struct Endpoint {
    ct::Addr addr;
    ct::Be16 port;
    std::uint16_t zone = 0;  ///< of an inside endpoint; external ones are the same in all zones
    std::uint8_t proto = 0;
    ct::Family family = ct::Family::None;

    friend bool operator==(const Endpoint&, const Endpoint&) noexcept = default;
};

class Mappings {
public:
    /// A mapping as somebody finds it.
    struct Mapping {
        Endpoint inside;
        Endpoint external;
        ct::PortId out_port = ct::kNoPort;  ///< port by which its first connection left
        std::uint16_t rule = 0;             ///< that it was made by
        std::uint32_t users = 0;
    };
    /// What is to become of a mapping that is made.
    struct Making {
        ct::PortId out_port = ct::kNoPort;
        std::uint16_t rule = 0;
    };

    /// Room for the records of `connections` connections; memory is taken as it is used. `users`
    /// threads call, each with a number of its own below. Throws std::bad_alloc.
    Mappings(std::uint32_t connections, ct::WorkerId users, const ct::HashKey& key);

    /// Counts one more user of inside's mapping, of those whose external endpoint `fits(Endpoint)`;
    /// if there is none, makes one with the external endpoint that `choose(Endpoint&)` puts there.
    /// False if that returned false, or there is no room.
    template <class Fits, class Choose>
    [[nodiscard]] bool enter(ct::WorkerId w, const Endpoint& inside, const Making& making,
                             Fits&& fits, Choose&& choose, Endpoint& external) noexcept;

    /// The mapping that has `external`, if there is one.
    [[nodiscard]] std::optional<Mapping> find(const Endpoint& external) const noexcept;
    /// True if `inside` has a mapping whose external endpoint `fits(Endpoint)`.
    template <class Fits>
    [[nodiscard]] bool has(const Endpoint& inside, Fits&& fits) const noexcept;
    /// Counts one more user of a mapping that find() returned. False if it has ended since.
    [[nodiscard]] bool join(const Mapping& mapping) noexcept;
    /// Counts one user less. With the last the mapping ends, and then `ended(Mapping)` is called
    /// while nobody else can make another of its external endpoint.
    template <class Ended>
    void leave(ct::WorkerId w, const Endpoint& inside, const Endpoint& external,
               Ended&& ended) noexcept;

    /// Counts one more share of `external`; for the first `claim()` must return true. False if it
    /// did not, or a mapping has the endpoint.
    template <class Claim>
    [[nodiscard]] bool share(ct::WorkerId w, const Endpoint& external, Claim&& claim) noexcept;
    /// Counts one less; with the last, calls `ended()` as leave() does.
    template <class Ended>
    void unshare(ct::WorkerId w, const Endpoint& external, Ended&& ended) noexcept;

    /// Counts one more connection between `external` and the address `remote`; false without room.
    [[nodiscard]] bool permit(ct::WorkerId w, const Endpoint& external,
                              const ct::Addr& remote) noexcept;
    /// Counts one less.
    void revoke(ct::WorkerId w, const Endpoint& external, const ct::Addr& remote) noexcept;
    [[nodiscard]] bool permitted(const Endpoint& external, const ct::Addr& remote) const noexcept;

    /// Mappings that exist. Exact at rest; any thread.
    [[nodiscard]] std::uint64_t count() const noexcept;
    /// Records of all kinds. Exact at rest; any thread.
    [[nodiscard]] std::uint64_t records() const noexcept;
    /// Calls `visit(Mapping)` for every mapping, and `shared(Endpoint, connections)` for every
    /// share; each as it is at some moment. A chain is locked while its records are visited.
    template <class Visit, class Shared>
    void visit(Visit&& visit_mapping, Shared&& shared) noexcept;

private:
    enum class Kind : std::uint8_t { Mapping, Share, Permit };
    struct alignas(ct::kCacheLine) Record {
        Endpoint inside;  ///< of a permit: the remote address
        ct::Addr external;
        ct::Be16 port;
        std::atomic<std::uint32_t> users;
        std::uint32_t next_inside;
        std::uint32_t next_external;
        ct::PortId out_port;
        std::uint16_t rule;
        Kind kind;
        std::uint8_t external_proto;
        ct::Family external_family;
    };
    static_assert(sizeof(Record) == ct::kCacheLine);
    static constexpr std::uint32_t kNone = 0;  ///< numbers of records begin with 1
    static constexpr std::uint32_t kLocked = 1U << 31;
    static constexpr std::uint32_t kBatch = 32;

    /// Free records of one user, and its share of the counts; written by it alone.
    struct alignas(ct::kCacheLine) User {
        std::uint32_t count = 0;
        std::array<std::uint32_t, 2 * kBatch> free{};
        std::atomic<std::int64_t> mappings{0};
        std::atomic<std::int64_t> records{0};
    };
    /// The lock of a chain, had for a scope. The head is the scope's to read and to change.
    class Chain {
    public:
        explicit Chain(std::atomic<std::uint32_t>& head) noexcept;
        ~Chain() { head_.store(first, std::memory_order_release); }
        Chain(const Chain&) = delete;
        Chain& operator=(const Chain&) = delete;
        std::uint32_t first;

    private:
        std::atomic<std::uint32_t>& head_;
    };

    [[nodiscard]] Record& record(std::uint32_t i) const noexcept {
        return records_.as<Record>()[i];
    }
    [[nodiscard]] std::atomic<std::uint32_t>& by_inside(const Endpoint& e) const noexcept;
    [[nodiscard]] std::atomic<std::uint32_t>& by_external(const Endpoint& e) const noexcept;
    [[nodiscard]] std::atomic<std::uint32_t>& by_permit(const Endpoint& e,
                                                        const ct::Addr& remote) const noexcept;
    [[nodiscard]] std::uint32_t take(ct::WorkerId w) noexcept;
    void give(ct::WorkerId w, std::uint32_t i) noexcept;
    void count_in(ct::WorkerId w, Kind kind, std::int64_t by) noexcept;
    [[nodiscard]] static Endpoint external_of(const Record& r) noexcept;
    [[nodiscard]] static Mapping copy_of(const Record& r) noexcept;
    [[nodiscard]] bool is(const Record& r, Kind kind, const Endpoint& external) const noexcept;
    void write(std::uint32_t i, Kind kind, const Endpoint& inside, const Endpoint& external,
               const Making& making) noexcept;
    static void unlink(std::uint32_t& first, std::uint32_t i, std::uint32_t Record::*next,
                       Record* records) noexcept;
    [[nodiscard]] std::uint32_t in_external(std::uint32_t first, Kind kind,
                                            const Endpoint& external) const noexcept;

    ct::HashKey key_;
    unsigned log2_chains_;
    std::uint32_t capacity_;
    ct::Region inside_;    ///< heads of chains
    ct::Region external_;  ///< likewise
    ct::Region records_;
    std::vector<User> users_;
    std::atomic<bool> stack_locked_{false};
    std::uint32_t fresh_ = 1;     ///< under the stack's lock: records from here on were never used
    std::uint32_t free_ = kNone;  ///< likewise: a chain of free ones, by next_inside
};

template <class Fits, class Choose>
bool Mappings::enter(ct::WorkerId w, const Endpoint& inside, const Making& making, Fits&& fits,
                     Choose&& choose, Endpoint& external) noexcept {
    Chain chain{by_inside(inside)};
    for (std::uint32_t i = chain.first; i != kNone; i = record(i).next_inside) {
        Record& r = record(i);
        if (!(r.inside == inside)) continue;
        const Endpoint has_external = external_of(r);
        if (!fits(has_external)) continue;
        r.users.fetch_add(1, std::memory_order_relaxed);
        external = has_external;
        return true;
    }
    const std::uint32_t i = take(w);
    if (i == kNone) return false;
    if (!choose(external)) {
        give(w, i);
        return false;
    }
    write(i, Kind::Mapping, inside, external, making);
    Record& r = record(i);
    r.next_inside = chain.first;
    chain.first = i;
    Chain outer{by_external(external)};
    r.next_external = outer.first;
    outer.first = i;
    count_in(w, Kind::Mapping, 1);
    return true;
}

template <class Fits>
bool Mappings::has(const Endpoint& inside, Fits&& fits) const noexcept {
    const Chain chain{by_inside(inside)};
    for (std::uint32_t i = chain.first; i != kNone; i = record(i).next_inside)
        if (record(i).inside == inside && fits(external_of(record(i)))) return true;
    return false;
}

template <class Ended>
void Mappings::leave(ct::WorkerId w, const Endpoint& inside, const Endpoint& external,
                     Ended&& ended) noexcept {
    Chain chain{by_inside(inside)};
    std::uint32_t i = chain.first;
    while (i != kNone && !(record(i).inside == inside && is(record(i), Kind::Mapping, external)))
        i = record(i).next_inside;
    if (i == kNone) return;
    Record& r = record(i);
    for (std::uint32_t users = r.users.load(std::memory_order_relaxed); users > 1;)
        if (r.users.compare_exchange_weak(users, users - 1, std::memory_order_relaxed)) return;
    Chain outer{by_external(external)};
    // Somebody outside may have joined meanwhile.
    if (r.users.fetch_sub(1, std::memory_order_relaxed) != 1) return;
    unlink(chain.first, i, &Record::next_inside, records_.as<Record>());
    unlink(outer.first, i, &Record::next_external, records_.as<Record>());
    ended(copy_of(r));
    count_in(w, Kind::Mapping, -1);
    give(w, i);
}

template <class Claim>
bool Mappings::share(ct::WorkerId w, const Endpoint& external, Claim&& claim) noexcept {
    Chain chain{by_external(external)};
    if (const std::uint32_t i = in_external(chain.first, Kind::Share, external); i != kNone) {
        record(i).users.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    const std::uint32_t i = take(w);
    if (i == kNone) return false;
    if (!claim()) {
        give(w, i);
        return false;
    }
    write(i, Kind::Share, {}, external, {});
    record(i).next_external = chain.first;
    chain.first = i;
    count_in(w, Kind::Share, 1);
    return true;
}

template <class Ended>
void Mappings::unshare(ct::WorkerId w, const Endpoint& external, Ended&& ended) noexcept {
    Chain chain{by_external(external)};
    const std::uint32_t i = in_external(chain.first, Kind::Share, external);
    if (i == kNone || record(i).users.fetch_sub(1, std::memory_order_relaxed) != 1) return;
    unlink(chain.first, i, &Record::next_external, records_.as<Record>());
    ended();
    count_in(w, Kind::Share, -1);
    give(w, i);
}

template <class Visit, class Shared>
void Mappings::visit(Visit&& visit_mapping, Shared&& shared) noexcept {
    auto* const heads = external_.as<std::atomic<std::uint32_t>>();
    for (std::uint32_t c = 0; c < 1U << log2_chains_; ++c) {
        if (heads[c].load(std::memory_order_relaxed) == kNone) continue;
        const Chain chain{heads[c]};
        for (std::uint32_t i = chain.first; i != kNone; i = record(i).next_external) {
            const Record& r = record(i);
            if (r.kind == Kind::Mapping) visit_mapping(copy_of(r));
            if (r.kind == Kind::Share)
                shared(external_of(r), r.users.load(std::memory_order_relaxed));
        }
    }
}

}  // namespace nat
