// SPDX-License-Identifier: BSD-3-Clause
//
// Chooses the mapping of a new connection: which address and port the rules give it.
//
// A mapping is the connection's reply tuple. It starts as the mirror image of the original; DNAT
// changes where replies come from, SNAT where they go to. Two connections must never have the same
// reply tuple, so a choice is a search for a tuple that is not taken. Uniqueness is per remote
// endpoint: the same external port serves as many connections as there are remotes. The table is
// the judge (Conntrack::tuple_taken here, Conntrack::confirm finally): what is noted of ports
// beside it makes searches shorter, and can neither give one twice nor lose one.
//
// Order of choice for a source, as Linux has it:
//   1. the source as it is, if the target contains it;
//   2. the mapping that the same source endpoint was given towards another destination;
//   3. an address picked by a hash of the endpoints, with the port as it is;
//   4. the same address with another port: of the class of the original (1-511, 600-1023,
//      1024-65535; ICMP ids 0-65535; RFC 4787 REQ-3a), or of the range that the rule gives.
// A rule with `random` goes to 3 without 2, and to 4 at once. A connection that no rule matches
// keeps its source, unless another's mapping has taken its tuple: then it goes to 4 with its own
// address (Linux's null binding). This is left to confirm(), which finds out without a second look.
//
// Two kinds of target leave less to choose. A netmap has one address for each original: its own
// host bits in the target's prefix. Shifted ports (`port_base`) begin with the port as far into the
// range as the original is behind the base, and go on in order, as Linux does.
//
// Hairpin (RFC 4787 REQ-9). A dnat rule with `hairpin` takes packets from inside too. Their source
// is translated as if they left by the port that the rule is for, so that the server sees an
// external endpoint, as the rest of the world does, and its answers come back this way. If no rule
// says how, and the packet goes back to where it came from, it gets the address that it was sent
// to.
//
// Search of a port. Candidates are walked with a random offset and a random stride that shares no
// factor with the size of the range: each is seen once, in an order that neither an outsider can
// guess (RFC 6056 3.3.3: the offset is a keyed hash of the endpoints plus a counter) nor clustered
// occupancy can slow down. Linux stops after 248 probes; this search goes on to the last candidate,
// so a connection is refused only if there really is no port. A search that meets with
// kGlanceProbes taken ports notes from then on which are (crowds.hpp): at 999 in a thousand it asks
// for the free one as fast as at half. Only where that fails is the range walked, 10 ms for 64,512
// ports (a probe of a taken tuple is two cache misses, 0.15 us), for ports whose connections have
// expired and are not reclaimed yet. Two things bound that cost:
//   - a worker that has found a range exhausted towards a remote endpoint remembers so for
//     kHoldPerProbe times the probes it took; meanwhile it looks no further than the crowd;
//   - probes beyond kQuickProbes are paid from an allowance of each worker, which grows with time.
// Where no port is free, a TCP connection may have that of one in TIME_WAIT or CLOSE, as in Linux,
// if its server can tell the two apart by their sequence numbers. What they cost in exactness: an
// expired port may be found only once it is reclaimed, and with the allowance spent, by many
// exhausted remotes in turn, a range counts as exhausted after kQuickProbes.
//
// Speed. The first choice is not asked for: it is free nearly always, confirm() finds out under the
// locks that it takes anyway, and next_mapping() asks. What confirm() looks at is loaded some
// packets ahead, on the guess that a worker's next connections meet the rule that its last one met
// (foresee()); what was worked out for that is kept with the packet, and used if the guess was
// right.
//
// Endpoint-independent mappings (setup_independent.cpp). Where a rule asks for them, a source
// endpoint has one external endpoint for all whom it talks to (mappings.hpp), and that has its port
// alone (ports.hpp). The connection holds a lease on the mapping; conntrack says when it ends,
// however it ends (ct::Release), and the mapping goes with its last. A packet that opens a
// connection to a mapping's external endpoint is taken to the inside endpoint if the rule's
// filtering lets its sender in; if it comes from inside, its source is translated as well, as if it
// had been outside (hairpin, RFC 4787 REQ-9), and it is let in, being a neighbour's. One for which
// there is no mapping ends here (leads_nowhere()). Endpoint-dependent mappings to the same
// addresses keep off the ports of the others, and those off theirs.
//
// Between the families (setup_families.cpp). A nat64 rule's mappings may be of either kind. With
// endpoint-independent ones the inside endpoint is IPv6 and the external one IPv4; a packet of IPv4
// that opens a connection to it becomes IPv6, its source an address behind the rule's prefix; and
// two IPv6 hosts that meet by their external addresses (RFC 6146 3.8) have a connection of IPv6 at
// both ends: its packets have the addresses that they would have, had they crossed twice.
//
// Where it is known which worker receives what (nat/steering.hpp), the first kSteeredCandidates
// candidates of the walk count only if the answers come to the worker that opens the connection: so
// both directions stay on one core. With n workers one of n candidates is such.
//
// Threads. Everything a worker writes is its own, but for the hints of step 2. Those are shared and
// only advice: a hint is used if it lies in the target and its tuple is free, so a stale hint, or
// one of which half was overwritten while it was read, leads to another valid mapping, no worse.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/published.hpp"
#include "ct/base/time.hpp"
#include "ct/conntrack.hpp"
#include "ct/table/hash.hpp"
#include "nat/carriers.hpp"
#include "nat/crowds.hpp"
#include "nat/mappings.hpp"
#include "nat/ports.hpp"
#include "nat/rule_set.hpp"
#include "nat/steering.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace nat {

/// The addresses that masquerade and redirect use for one port.
struct PortAddresses {
    std::optional<ct::Addr> ipv4;
    std::optional<ct::Addr> ipv6;

    /// The primary ones among a port's addresses: the first of IPv4, and the first of IPv6 that is
    /// not link-local (fe80::/10), or else the first.
    [[nodiscard]] static PortAddresses primary_of(std::span<const Prefix> addresses) noexcept;
};

/// The ports, or ICMP ids, that may replace `original` where the rule names none.
[[nodiscard]] PortRange port_class(std::uint8_t proto, std::uint16_t original) noexcept;

/// A connection, one packet of which announced another: "I shall expect you at this port".
struct Master {
    ct::Tuple original;
    ct::Tuple reply;
    ct::Dir dir = ct::Dir::Original;  ///< of the packet that announced
    ct::Be16 announced_port;          ///< as the announcing endpoint itself calls it
};

/// Bits of ct::Packet::lease: what a connection holds until it ends.
namespace lease {
inline constexpr std::uint8_t kSource = 1U << 0;       ///< the mapping of its source
inline constexpr std::uint8_t kDestination = 1U << 1;  ///< the mapping that it came in by
inline constexpr std::uint8_t kShare = 1U << 2;        ///< a port that is not to become a mapping's
inline constexpr std::uint8_t kPermit = 1U << 3;       ///< lets its remote address in
inline constexpr std::uint8_t kPermitIn = 1U << 4;     ///< the same, with kDestination
inline constexpr std::uint8_t kSubscriber = 1U << 5;   ///< a part of what its subscriber has
inline constexpr std::uint8_t kPort = 1U << 6;         ///< a port that a crowd may have noted
inline constexpr std::uint8_t kMasquerader = 1U << 7;  ///< with kSubscriber: the rule masquerades
inline constexpr std::uint8_t kAlways = 0x3f;          ///< those whose end always matters
}  // namespace lease

class Setup {
public:
    /// Candidates tried before the worker asks whether it knows the range to be exhausted.
    static constexpr std::uint32_t kGlanceProbes = 8;
    /// Candidates looked at for one whose answers come to this worker; no probe is made of others.
    static constexpr std::uint32_t kSteeredCandidates = 256;
    /// Ports of a crowd that a search may find with connections whose end nobody tells of.
    static constexpr std::uint32_t kOthers = 64;
    /// Candidates tried before the worker's allowance is charged.
    static constexpr std::uint32_t kQuickProbes = 128;
    /// How long exhaustion is believed, for each port of the range: a walk over 64,512 ports is not
    /// repeated for 0.65 s, one over ten ports for 0.1 ms, so walks take 2 % of the time at most.
    static constexpr ct::Nanos kHoldPerProbe = 10'000;
    /// An allowance of one probe grows in this time ...
    static constexpr ct::Nanos kAllowancePerProbe = 2'000;
    /// ... up to this many probes: what giving away the last 500 of 64,512 ports takes.
    static constexpr std::uint32_t kMaxAllowance = 8 * 65'536;

    /// Addresses of a range that are tried where any of them will do.
    static constexpr std::uint64_t kMaxAddressesTried = 4096;

    /// `ports` is indexed by PortId. `rules` and `table` outlive this. `seed` 0 draws a random key;
    /// anything else is for reproducible tests. `carriers` are those that rules name; it outlives
    /// this, and may be null if none does.
    Setup(const RuleSet& rules, ct::Conntrack& table, std::vector<PortAddresses> ports,
          std::uint64_t seed = 0, Carriers* carriers = nullptr);
    ~Setup();
    Setup(const Setup&) = delete;
    Setup& operator=(const Setup&) = delete;

    /// What workers may still read of addresses that have been replaced; to be destroyed once each
    /// has begun a turn since.
    struct Retired {
        std::unique_ptr<const std::vector<PortAddresses>> ports;
        std::unique_ptr<const Ports::Layout> spaces;
    };
    /// Distinct addresses more than at first whose ports endpoint-independent mappings may have at
    /// a time, or may not have given back yet.
    static constexpr std::uint32_t kSpareAddresses = 64;
    /// From now on masquerade and redirect use these addresses, indexed by PortId. What is mapped
    /// to others is left alone: Conntrack::flush_port() with rests_on(). Throws std::length_error,
    /// with nothing changed, if there have been too many (kSpareAddresses). One thread at a time,
    /// while workers run.
    [[nodiscard]] Retired set_addresses(std::vector<PortAddresses> ports, ct::Nanos now);
    /// True if one of the connection's two endpoints outside, as its tuples tell them, has `addr`.
    [[nodiscard]] bool rests_on(const ct::Tuple& original, const ct::Tuple& reply,
                                ct::Family family, const ct::Addr& addr) const noexcept;

    /// From now on ports that have to be chosen are, if possible, such that the answers come to the
    /// worker that opened the connection. `steering` outlives this. Before any packet comes.
    void steer_by(const Steering* steering) noexcept { steering_ = steering; }

    /// Tells by which port the route to an address leads; kNoPort: by none.
    struct Routes {
        ct::PortId (*port_towards)(const void* self, ct::Family family,
                                   const ct::Addr& addr) noexcept = nullptr;
        const void* self = nullptr;
    };
    /// From now on, where no rule tells by which port a mapping leaves that control makes, it is
    /// the one that the route to its external address leads by. Asked by control.
    void ask(Routes routes) noexcept { routes_ = routes; }

    /// How many packets before its own source() a packet is foreseen, and how many are at once:
    /// what keeps loads waiting is the translation of their addresses, and several that begin
    /// together take little more time than one.
    static constexpr std::size_t kAhead = 4;
    static constexpr std::size_t kAtOnce = 4;
    /// To be called of each packet of a burst that was looked up, in order, `k` being its place,
    /// before its source(): of those that follow and are likely to open connections, starts to load
    /// what confirm() will look at if they are mapped as the last ones were.
    void foresee(ct::WorkerId w, std::span<ct::Packet> burst, std::size_t k) const noexcept {
        if (k % kAtOnce != 0 || workers_[w].recent.family == ct::Family::None) return;
        const std::size_t first = k == 0 ? 0 : k + kAhead;
        const std::size_t end = std::min(burst.size(), k + kAhead + kAtOnce);
        if (first < end) guess(workers_[w].recent, burst.subspan(first, end - first));
    }

    /// Before routing: applies dnat or redirect to p.reply.src and p.reply.sport. `p` is the packet
    /// that opened an unconfirmed connection. Packets that Sluice made are not redirected.
    [[nodiscard]] ct::Drop destination(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept {
        if (!rules_.has_dnat() && !pools_.any()) return ct::Drop::None;
        return choose_destination(w, p, now);
    }

    /// After routing: true of a packet that opens a connection, or has none, to an external address
    /// of source rules that no dnat rule and no mapping has taken further, if
    ///   - it would leave by the port that it came in by: whoever sent it here sends it here again;
    ///   - it opens a connection to Sluice itself, at a port that a mapping may be given: for as
    ///     long as it is repeated, its tuple would keep the port from the host inside that has it
    ///     for all others. It ends as it would if the mapping were there and let nobody in (RFC
    ///     4787 REQ-8; RFC 5382 REQ-4a: no answer).
    [[nodiscard]] bool leads_nowhere(const ct::Packet& p) const noexcept {
        const bool local = p.out_port == ct::kLocalPort || p.out_port == ct::kNoPort;
        if ((!local && p.out_port != p.in_port) || p.in_port == ct::kLocalPort) [[likely]]
            return false;
        return is_nobodys(p, local);
    }

    /// After routing and filtering: applies snat or masquerade to p.reply.dst and p.reply.dport (of
    /// ICMP: the id). A packet without an out_port, being for Sluice itself, keeps its source. Sets
    /// p.masquerade_port.
    [[nodiscard]] ct::Drop source(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept;

    /// After confirm() said ReplyTaken: puts another free mapping in p.reply, chosen as source()
    /// would. None, or what the packet is to be dropped for, as there is none.
    [[nodiscard]] ct::Drop next_mapping(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept;

    /// Once a turn, by one worker: takes back what subscribers have not used for long enough.
    void tick(ct::WorkerId w, ct::Nanos now) noexcept {
        if (carriers_ != nullptr) carriers_->expire(w, now);
    }

    /// The endpoint-independent mappings, and the ports of the addresses that they may have; null
    /// if no rule makes any.
    [[nodiscard]] Mappings* mappings() const noexcept { return mappings_.get(); }
    [[nodiscard]] const Ports& ports() const noexcept { return pools_; }
    /// The endpoint that `t` is addressed to, as mappings() knows it: of an answer to an ICMP query
    /// with its identifier, and an IPv4 one where an IPv6 host calls it by a prefix of nat64.
    [[nodiscard]] Endpoint external_endpoint(const ct::Tuple& t) const noexcept;

    /// The mapping of the external endpoint that a packet opens a connection to.
    struct WayIn {
        Mappings::Mapping mapping;
        bool from_inside = false;  ///< a hairpin: its source is to be mapped as if it had left
        ct::Drop refusal = ct::Drop::None;  ///< why the packet may not come in by it
    };
    /// The way that p, which no dnat rule takes further, has from p.in_port; nullopt: it is for the
    /// address itself. Changes nothing. Any thread.
    [[nodiscard]] std::optional<WayIn> way_in(const ct::Packet& p) const noexcept;
    /// Gives p the mapping's inside endpoint as its destination.
    void lead_to(const Mappings::Mapping& m, ct::Packet& p) const noexcept;
    /// The external endpoint, one of `within`, that p's source has towards everybody; nullopt: none
    /// yet. Changes nothing. Any thread.
    [[nodiscard]] std::optional<Endpoint> mapping_of(const ct::Packet& p,
                                                     const Target& within) const noexcept;

    /// The ports, or identifiers, of an external address that source rules may give away: disjoint
    /// ranges in order. None if no rule maps there. For control.
    [[nodiscard]] std::vector<PortRange> room_at(ct::Family family, const ct::Addr& addr,
                                                 std::uint8_t proto) const;

    /// In the place of destination() and source(), for a connection that another one announced:
    /// whatever the rules say, it is translated as its master is (Linux's nat-follow-master). It
    /// reaches whoever announced it, at `announced_port`, and comes from whom the announcing
    /// endpoint believes to be talking to. NatNoPort if no source port is free.
    [[nodiscard]] ct::Drop follow(ct::WorkerId w, ct::Packet& p, const Master& master,
                                  ct::Nanos now) noexcept;

private:
    /// Where a mapping may lie.
    struct Range {
        ct::Addr first;
        ct::Addr last;
        PortRange ports;  ///< any(): no port is asked for
        bool random = false;
        bool persistent = false;
        std::uint16_t port_base = 0;
        ct::Family family = ct::Family::None;  ///< of the addresses
        bool netmap = false;

        [[nodiscard]] bool contains(const ct::Addr& a) const noexcept {
            // In network order, of either family: as IPv6 has them.
            const auto wide = [](const ct::Addr& x) { return Wide::of(x, ct::Family::Ipv6); };
            const Wide at = wide(a);
            return !(at < wide(first)) && !(wide(last) < at);
        }
        /// Of a range of IPv4.
        [[nodiscard]] bool contains(ct::Be32 a) const noexcept {
            const std::uint32_t lowest = first.as_v4().host();
            return a.host() - lowest <= last.as_v4().host() - lowest;
        }
        /// True if a mapping to that endpoint is one of this range.
        [[nodiscard]] bool contains(const Endpoint& e) const noexcept {
            return e.family == family && contains(e.addr) &&
                   (ports.any() || ports.contains(e.port.host()));
        }
    };
    /// What a worker found out of a range of ports: none is free, none is a closed connection's.
    struct Exhausted {
        std::uint64_t key = 0;  ///< hash of range, external address and remote endpoint
        ct::Nanos until = 0;
        ct::Nanos none_closed_until = 0;
    };
    /// The source rule that a worker applied last, and where it maps to.
    struct Recent {
        const Rule* rule = nullptr;
        ct::PortId out_port = ct::kNoPort;
        ct::Family family = ct::Family::None;  ///< None: nothing can be foreseen of it
        std::uint32_t number = 0;              ///< of those that the worker had
        bool is_plain = false;                 ///< the rule says no more than where to map to
        bool own_address = false;              ///< the range is the address of the port
        bool leaves_hint = false;              ///< towards another remote, the address may differ
        Range range{};
    };
    /// A worker's own.
    struct alignas(ct::kCacheLine) Worker {
        std::uint64_t draws = 0;
        std::uint64_t allowance = kMaxAllowance;  ///< probes, at the time below
        ct::Nanos allowance_at = 0;
        std::array<Exhausted, 256> exhausted{};
        Recent recent;
        Range made{};  ///< range_of()'s
    };
    /// What a source endpoint was mapped to. Any worker writes and reads, in no order; see the top.
    struct Hint {
        std::atomic<std::uint64_t> tag{0};   ///< hash of the source endpoint; 0: none
        std::atomic<std::uint64_t> port{0};  ///< as Be16::raw()
        std::array<std::atomic<std::uint64_t>, 2> addr{};
    };
    static constexpr std::size_t kHints = 16'384;  // half a megabyte: stays in a second-level cache

    // ---- setup_independent.cpp
    [[nodiscard]] static std::vector<AddressRange> pools_of(
        const RuleSet& rules, const std::vector<PortAddresses>& ports);
    [[nodiscard]] static std::uint32_t quarantine_of(const RuleSet& rules) noexcept;
    [[nodiscard]] static std::uint32_t spare_for(const RuleSet& rules) noexcept;
    [[nodiscard]] ct::Drop enter_from_outside(ct::WorkerId w, ct::Packet& p,
                                              ct::Nanos now) noexcept;
    [[nodiscard]] bool lets_in(const Mappings::Mapping& m, const ct::Addr& remote) const noexcept;
    [[nodiscard]] bool is_nobodys(const ct::Packet& p, bool local) const noexcept;
    [[nodiscard]] ct::Drop map_independently(ct::WorkerId w, ct::Packet& p, const Rule& rule,
                                             const Range& range, ct::Be16 ct::Tuple::*field,
                                             ct::Nanos now) noexcept;
    [[nodiscard]] bool choose_external(ct::WorkerId w, const ct::Packet& p, const Rule& rule,
                                       const Range& range, Endpoint& external,
                                       ct::Nanos now) noexcept;
    [[nodiscard]] bool share(ct::WorkerId w, ct::Packet& p, ct::Be16 ct::Tuple::*field,
                             ct::Nanos now) noexcept;
    void give_back(ct::WorkerId w, std::uint8_t lease, const ct::Tuple& original,
                   const ct::Tuple& reply, ct::Nanos now) noexcept;
    void let_go(ct::WorkerId w, ct::Packet& p, bool kept_port, ct::Nanos now) noexcept;
    static void follow_rule(ct::Packet& p, const Behaviour& b, ct::Dir outbound) noexcept;
    void retrack_as(ct::WorkerId w, ct::Packet& p, const Behaviour& b, ct::Dir outbound,
                    ct::Nanos now) const noexcept;
    /// Has p's unconfirmed connection tracked as the rule wants it. `outbound`: the direction of
    /// what goes out.
    void track_as(ct::WorkerId w, ct::Packet& p, const Behaviour& b, ct::Dir outbound,
                  ct::Nanos now) const noexcept {
        if (b.variant != 0 || b.refresh != Refresh::Both || p.track.still != 0)
            retrack_as(w, p, b, outbound, now);
    }

    // ---- setup_families.cpp
    [[nodiscard]] static std::vector<Prefix> prefixes_of(const RuleSet& rules);
    [[nodiscard]] ct::Drop cross(ct::WorkerId w, ct::Packet& p, const Rule& rule,
                                 ct::Nanos now) noexcept;
    [[nodiscard]] ct::Drop meet(ct::WorkerId w, ct::Packet& p, const ct::Addr& four,
                                ct::Nanos now) noexcept;
    /// Whom the holder of the connection's source mapping talks to, as seen from outside.
    [[nodiscard]] ct::Addr remote_of(std::uint8_t lease, const ct::Tuple& original,
                                     const ct::Tuple& reply) const noexcept {
        return (lease & lease::kDestination) != 0 ? external_endpoint(original).addr : reply.src;
    }

    // ---- setup_adopt.cpp
    /// A rule and where it maps to.
    struct Way {
        const Rule* rule = nullptr;  ///< null: none
        Range range{};
    };
    [[nodiscard]] ct::Injected adopt(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept;
    [[nodiscard]] ct::Injected adopt_destination(ct::WorkerId w, ct::Packet& p,
                                                 ct::Nanos now) noexcept;
    [[nodiscard]] ct::Injected adopt_source(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept;
    [[nodiscard]] ct::Injected hold(ct::WorkerId w, const Endpoint& inside,
                                    const Endpoint& external, const Way& way, ct::PortId out_port,
                                    ct::Nanos now) noexcept;
    /// Names an inside endpoint to Ports.
    [[nodiscard]] std::uint32_t owner_of(const Endpoint& inside) const noexcept;
    [[nodiscard]] Endpoint meant_by(const ct::Tuple& t) const noexcept;
    [[nodiscard]] Way way_to(const Endpoint& external, const Rule* met, ct::PortId leaves_by,
                             const ct::Addr& original) const noexcept;
    [[nodiscard]] ct::PortId port_of(const Rule& rule, const Endpoint& external) const noexcept;

    // ---- setup_carrier.cpp
    class Subscriber;
    [[nodiscard]] bool knows_subscribers(const Rule& rule) const noexcept {
        return carriers_ != nullptr && rule.carrier < carriers_->size();
    }
    /// What a connection holds that is booked with `carrier`.
    [[nodiscard]] static std::uint8_t booking_with(const Carrier& carrier) noexcept {
        return carrier.settings().own_address ? lease::kSubscriber | lease::kMasquerader
                                              : lease::kSubscriber;
    }
    [[nodiscard]] ct::Drop map_for_subscriber(ct::WorkerId w, ct::Packet& p, const Rule& rule,
                                              const Range& range, ct::Be16 ct::Tuple::*field,
                                              ct::Nanos now) noexcept;
    [[nodiscard]] ct::Drop next_for_subscriber(ct::WorkerId w, ct::Packet& p, const Rule& rule,
                                               ct::Be16 ct::Tuple::*field, ct::Nanos now) noexcept;
    [[nodiscard]] ct::Drop choose_for_subscriber(ct::WorkerId w, ct::Packet& p, const Rule& rule,
                                                 const Range& range, Endpoint& external,
                                                 ct::Nanos now) noexcept;
    void mapping_ended(const Mappings::Mapping& m, ct::Nanos now) noexcept;

    // ---- setup.cpp
    [[nodiscard]] ct::Drop choose_destination(ct::WorkerId w, ct::Packet& p,
                                              ct::Nanos now) noexcept;
    /// Whether the table is asked if the first choice is free, or has just said that it is not.
    enum class Ask : std::uint8_t { No, Yes, Taken };
    [[nodiscard]] ct::Drop map_dependently(ct::WorkerId w, ct::Packet& p,
                                           const Behaviour& behaviour, const Range& range,
                                           ct::Be16 ct::Tuple::*field, Ask ask,
                                           ct::Nanos now) noexcept;
    [[nodiscard]] static ct::Drop told_of(ct::Packet& p, ct::Drop drop,
                                          const Behaviour& behaviour) noexcept;
    [[nodiscard]] static ct::Drop no_port(ct::Packet& p) noexcept;
    void guess(const Recent& recent, std::span<ct::Packet> packets) const noexcept;
    void remember(Worker& own, const Rule* rule, ct::PortId out_port, const Range& range,
                  ct::Family family) const noexcept;
    [[nodiscard]] bool take_guess(ct::WorkerId w, ct::Packet& p) noexcept;
    [[nodiscard]] ct::Drop choose_source(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept;
    /// True if a source has the same address towards everybody.
    [[nodiscard]] static bool always_same(const Range& r) noexcept {
        return r.first == r.last || r.persistent;
    }
    /// True if p.reply is free with the port in `field` and, if that is a source's, may be had.
    [[nodiscard]] bool suits(ct::WorkerId w, ct::Packet& p, ct::Be16 ct::Tuple::*field,
                             ct::Nanos now) noexcept {
        return is_free(w, p, now) && may_have(w, p, field, now);
    }
    /// suits(), if it is free.
    [[nodiscard]] bool may_have(ct::WorkerId w, ct::Packet& p, ct::Be16 ct::Tuple::*field,
                                ct::Nanos now) noexcept {
        return !pools_.any() || share(w, p, field, now);
    }
    /// Where `rule` maps `original` to, an address of the packet; `port`: the one whose address
    /// masquerade and redirect take. Null if it has none. `made` has to stand as long as the
    /// result.
    [[nodiscard]] const Range* range_of(Range& made, const Rule& rule, ct::Family family,
                                        ct::PortId port, const ct::Addr& original) const noexcept;
    /// Where `rule` maps to, as far as it tells.
    [[nodiscard]] static Range range_told_by(const Rule& rule) noexcept;
    /// How a packet that came in by a hairpin is to leave.
    struct Hairpin {
        ct::PortId as_from;  ///< the port whose rules translate its source
        bool turns_back;     ///< it leaves by the port that it came in by
    };
    /// Nothing unless p has been translated by a rule with `hairpin`, which there is, on its way
    /// inside.
    [[nodiscard]] std::optional<Hairpin> hairpin_of(const ct::Packet& p) const noexcept;
    /// The first free port of the range in order, beginning `start` behind its first, but not far.
    [[nodiscard]] bool step_through(ct::WorkerId w, ct::Packet& p, ct::Be16 ct::Tuple::*field,
                                    PortRange ports, std::uint32_t start, ct::Nanos now) noexcept;
    [[nodiscard]] static std::uint64_t addresses_of(const Range& r, ct::Family family) noexcept;
    [[nodiscard]] ct::Addr pick_address(const Range& r, const ct::Tuple& original,
                                        std::uint64_t nth = 0) const noexcept;
    [[nodiscard]] ct::Be32 pick_ipv4(const Range& r, const ct::Tuple& original,
                                     std::uint64_t nth = 0) const noexcept;
    [[nodiscard]] static ct::Be32 nth_ipv4(const Range& r, std::uint64_t hash,
                                           std::uint64_t nth) noexcept;
    [[nodiscard]] bool is_free(ct::WorkerId w, const ct::Packet& p, ct::Nanos now) noexcept;
    /// An external endpoint that a source endpoint was given.
    struct Hinted {
        ct::Addr addr;
        ct::Be16 port;
    };
    [[nodiscard]] bool has_hint(std::uint64_t tag) const noexcept {
        return hints_[hint_at(tag)].tag.load(std::memory_order_relaxed) == tag;
    }
    [[nodiscard]] std::optional<Hinted> hint_for(std::uint64_t tag) noexcept;
    [[nodiscard]] bool take_hint(ct::WorkerId w, ct::Packet& p, ct::Be16 ct::Tuple::*field,
                                 const Range& r, std::uint64_t tag, ct::Nanos now) noexcept;
    void leave_hint(const ct::Packet& p, ct::Be16 ct::Tuple::*field, std::uint64_t tag) noexcept {
        Hint& hint = hints_[hint_at(tag)];
        hint.tag.store(0, std::memory_order_relaxed);
        for (std::size_t i = 0; i < 2; ++i)
            hint.addr[i].store(ct::load<std::uint64_t>(p.reply.dst.bytes.data() + 8 * i),
                               std::memory_order_relaxed);
        hint.port.store((p.reply.*field).raw(), std::memory_order_relaxed);
        hint.tag.store(tag, std::memory_order_relaxed);
        if (!any_hint_.load(std::memory_order_relaxed))
            any_hint_.store(true, std::memory_order_relaxed);
    }
    [[nodiscard]] static std::size_t hint_at(std::uint64_t tag) noexcept {
        return tag >> 8 & (kHints - 1);
    }
    /// Names a source endpoint; never 0.
    [[nodiscard]] std::uint64_t source_tag(const ct::Tuple& original) const noexcept {
        if (original.family != ct::Family::Ipv4) [[unlikely]]
            return source_tag_ipv6(original);
        const std::uint64_t endpoint = std::uint64_t{original.src.as_v4().raw()} |
                                       std::uint64_t{original.sport.raw()} << 32 |
                                       std::uint64_t{original.zone} << 48;
        return ct::hash_block(key_, endpoint, original.proto) | 1;
    }
    [[nodiscard]] std::uint64_t source_tag_ipv6(const ct::Tuple& original) const noexcept;

    // ---- setup_search.cpp
    class Candidates;
    /// What two mappings have in common that may differ in the port that stands in `field` only.
    [[nodiscard]] std::uint64_t hash_towards(const ct::Tuple& reply,
                                             ct::Be16 ct::Tuple::*field) const noexcept;
    [[nodiscard]] bool search(ct::WorkerId w, ct::Packet& p, ct::Be16 ct::Tuple::*field,
                              const Wanted& wanted, ct::Nanos now) noexcept;
    [[nodiscard]] bool search_free(ct::WorkerId w, ct::Packet& p, ct::Be16 ct::Tuple::*field,
                                   const Wanted& wanted, std::uint64_t towards, Exhausted& memo,
                                   ct::Nanos now) noexcept;
    [[nodiscard]] bool search_closed(ct::WorkerId w, ct::Packet& p, ct::Be16 ct::Tuple::*field,
                                     const Candidates& candidates, Exhausted& memo,
                                     ct::Nanos now) noexcept;
    /// True if an answer to p would come to worker `w`, as far as is known.
    [[nodiscard]] bool comes_back(ct::WorkerId w, const ct::Packet& p) const noexcept {
        const auto receiver = steering_->receiver(p.out_port, p.reply);
        return !receiver || *receiver == w;
    }
    [[nodiscard]] bool search_crowd(ct::WorkerId w, ct::Packet& p, ct::Be16 ct::Tuple::*field,
                                    const Wanted& wanted, const Crowds::Crowd& crowd,
                                    ct::Nanos now) noexcept;
    [[nodiscard]] std::uint64_t draw(Worker& own, const ct::Tuple& original) const noexcept;

    static void grow_allowance(Worker& own, ct::Nanos now) noexcept;

    const RuleSet& rules_;
    ct::Conntrack& table_;
    ct::Published<std::vector<PortAddresses>> ports_;  ///< control replaces it, workers read it
    Carriers* carriers_;                               ///< null: no rule knows subscribers
    ct::HashKey key_;                                  ///< secret
    ct::HashKey address_key_;  ///< fixed: a source keeps its address when Sluice is started again
    const Steering* steering_ = nullptr;  ///< null: nothing is known
    Routes routes_;                       ///< before any packet comes
    Ports pools_;  ///< of the addresses that endpoint-independent mappings may have
    std::vector<Prefix> prefixes_;        ///< behind which IPv6 hosts know pools_' IPv4 addresses
    std::unique_ptr<Crowds> crowds_;      ///< if there are source rules
    std::unique_ptr<Mappings> mappings_;  ///< if there may be any
    std::atomic<std::uint8_t> wanted_{lease::kAlways};  ///< leases whose ends matter now
    std::vector<Range> ranges_;                         ///< by rule: what it tells, if it maps
    std::unique_ptr<Worker[]> workers_;
    std::unique_ptr<Hint[]> hints_;
    /// True once a hint was left; until then nobody looks. Any worker.
    std::atomic<bool> any_hint_{false};
};

}  // namespace nat
