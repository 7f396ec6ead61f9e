// SPDX-License-Identifier: BSD-3-Clause
//
// The rules at work. A RuleSet never changes after it was made, so any number of workers read it
// without a lock; a new configuration is a new RuleSet. Each worker counts hits in cache lines of
// its own, so that no line is written by two cores.
//
// A chain is searched from its first rule to its last. Conditions that a rule does not have cost a
// bit test each; addresses are compared as two masked 64-bit words, for IPv4 and IPv6 alike.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/drop.hpp"
#include "ct/conntrack.hpp"
#include "nat/rule.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace nat {

/// What a rule looks at. Ports are in host order, and 0 where the protocol has none.
struct PacketView {
    ct::PortId in_port = ct::kNoPort;
    ct::PortId out_port = ct::kNoPort;
    ct::Family family = ct::Family::None;
    std::uint8_t proto = 0;
    ct::CtState state = ct::CtState::None;
    ct::Dir dir = ct::Dir::Original;
    std::uint16_t sport = 0;
    std::uint16_t dport = 0;
    std::uint16_t status = 0;
    std::uint16_t zone = 0;
    std::uint32_t mark = 0;
    std::uint32_t packet_mark = 0;
    std::uint32_t fill_permille = 0;  ///< of the table's entries, in use
    ct::Addr src;
    ct::Addr dst;
    const ct::Packet* packet = nullptr;    ///< for ConnMatch
    const ct::ConnFacts* facts = nullptr;  ///< null: not known
};

/// The packet as it stands on the wire: what the raw chain sees.
[[nodiscard]] PacketView wire_view(const ct::Packet& p) noexcept;

/// The packet between DNAT and SNAT: what the filter and nat chains see. A packet of a connection
/// shows its real endpoints: in the original direction the source before SNAT and the destination
/// after DNAT, in the reply direction likewise. An ICMP error keeps its sender, who may be any
/// router on the way. A packet without a connection shows what stands on the wire.
[[nodiscard]] PacketView forward_view(const ct::Packet& p) noexcept;

/// What the raw chain decides.
struct RawVerdict {
    bool notrack = false;
    std::uint16_t zone = 0;  ///< of the original direction
    ct::Drop drop = ct::Drop::None;
    ct::TrackOptions track;
    std::uint32_t packet_mark = 0;
};

/// What the filter chain decides.
struct FilterVerdict {
    Action action = Action::Accept;  ///< Accept, Drop or Reject
    bool marked = false;             ///< a rule gave the packet's `mark` a new value to be kept
    std::array<std::uint64_t, 2> labels{};  ///< to be set with the connection
};

/// How often a rule matched.
struct Hits {
    std::uint64_t packets = 0;
    std::uint64_t bytes = 0;  ///< of the IP packets
};

class RuleSet {
public:
    /// Compiles `rules` for `workers` workers. `filter_policy` (Accept, Drop or Reject) applies
    /// where no filter rule does. Throws std::invalid_argument, with the rule's line, if a rule's
    /// action has no meaning in its chain, or its target is missing or empty.
    RuleSet(std::vector<Rule> rules, ct::WorkerId workers, Action filter_policy = Action::Accept,
            std::span<const ZonePolicy> zones = {});

    /// The raw chain's word on a packet that was parsed and not yet looked up.
    [[nodiscard]] RawVerdict raw(ct::WorkerId w, const ct::Packet& p) const noexcept;

    /// The filter chain's word on a packet that has been tracked, destined and routed. A rule that
    /// marks changes p.mark or p.packet_mark; storing the former, and labels, with the connection
    /// is the caller's. `facts` is needed if wants_facts(); labels that are set go into it.
    [[nodiscard]] FilterVerdict filter(ct::WorkerId w, ct::Packet& p,
                                       ct::ConnFacts* facts = nullptr) const noexcept;

    // For explanations: what raw() and filter() would say, counting no hit. `matched` takes the
    // rules that match, by index, in their order; rules().size() stands for the filter policy.
    [[nodiscard]] RawVerdict peek_raw(const ct::Packet& p, std::vector<std::size_t>& matched) const;
    /// With the table `fill_permille` full.
    [[nodiscard]] FilterVerdict peek_filter(ct::Packet& p, ct::ConnFacts& facts,
                                            std::uint32_t fill_permille,
                                            std::vector<std::size_t>& matched) const;

    /// What is to be done with INVALID packets of a zone.
    [[nodiscard]] InvalidPolicy invalid_policy(std::uint16_t zone) const noexcept {
        return zones_.empty() ? InvalidPolicy::Pass : zones_[zone];
    }
    /// True if a filter rule asks for what only the connection's entry knows.
    [[nodiscard]] bool wants_facts() const noexcept { return wants_facts_; }

    /// The dnat or redirect rule for the first packet of a connection, before routing. Null if no
    /// rule matches, or the first that does says Accept.
    [[nodiscard]] const Rule* match_dnat(ct::WorkerId w, const ct::Packet& p) const noexcept;
    /// The snat or masquerade rule for the first packet of a connection, after routing and DNAT,
    /// were it to leave by `out_port`.
    [[nodiscard]] const Rule* match_snat(ct::WorkerId w, const ct::Packet& p,
                                         ct::PortId out_port) const noexcept;
    [[nodiscard]] const Rule* match_snat(ct::WorkerId w, const ct::Packet& p) const noexcept {
        return match_snat(w, p, p.out_port);
    }
    /// True if `rule` is what match_snat() would return of p, which stays within its family; if
    /// not, no hit is counted.
    [[nodiscard]] bool meets_snat(ct::WorkerId w, const ct::Packet& p,
                                  const Rule& rule) const noexcept;
    /// The snat or masquerade rule that the packet would have met, had it left by `out_port` with
    /// the destination that stands on the wire: for one that Sluice turns round (hairpin).
    [[nodiscard]] const Rule* match_turned(ct::WorkerId w, const ct::Packet& p,
                                           ct::PortId out_port) const noexcept;
    /// match_turned() that counts no hit.
    [[nodiscard]] const Rule* peek_turned(const ct::Packet& p, ct::PortId out_port) const noexcept;
    /// match_snat() that counts no hit.
    [[nodiscard]] const Rule* peek_snat(const ct::Packet& p, ct::PortId out_port) const noexcept;
    [[nodiscard]] const Rule* peek_snat(const ct::Packet& p) const noexcept {
        return peek_snat(p, p.out_port);
    }

    /// The nat64 rule by which p, a packet that opened a connection, crosses() to the other family.
    [[nodiscard]] const Rule* peek_nat64(const ct::Packet& p) const noexcept;

    /// match_dnat() that counts no hit.
    [[nodiscard]] const Rule* peek_dnat(const ct::Packet& p) const noexcept;
    /// The dnat rule that decided about the destination of a connection's first packet, if it has
    /// `hairpin`.
    [[nodiscard]] const Rule* hairpin_rule(const ct::Packet& p) const noexcept;

    /// True for a packet that is INVALID, or UNTRACKED for want of room, and belongs to a
    /// connection with NAT or would have been translated by a rule had it been tracked: it would
    /// leave with an inner address in its header. To be asked after routing, as p.out_port decides.
    /// Linux lets such packets go (semantics: INVALID packets have no connection, so NAT does not
    /// see them).
    [[nodiscard]] bool must_not_leave(const ct::Packet& p) const noexcept;

    /// True if raw() may say anything.
    [[nodiscard]] bool has_raw() const noexcept { return !raw_.empty() || !zones_.empty(); }
    [[nodiscard]] bool has_dnat() const noexcept { return !dnat_.empty(); }
    [[nodiscard]] bool has_snat() const noexcept { return !snat_.empty(); }
    [[nodiscard]] bool has_nat() const noexcept { return has_dnat() || has_snat(); }

    /// True if a dnat rule has `hairpin`.
    [[nodiscard]] bool has_hairpin() const noexcept { return has_hairpin_; }

    /// True if a rule asks how full the table is: then each worker says so by note_fill().
    [[nodiscard]] bool asks_how_full() const noexcept { return asks_how_full_; }
    /// From now on worker `w`'s packets find the table so full, in parts of a thousand. w's own
    /// thread.
    void note_fill(ct::WorkerId w, std::uint32_t permille) const noexcept {
        fills_[w].permille = permille;
    }

    /// True if every ESTABLISHED packet is accepted by one and the same rule, or by the policy, so
    /// that the filter chain need not be searched for it.
    [[nodiscard]] bool filter_skips_established() const noexcept { return skips_established_; }
    /// Counts packets that were not shown to the filter chain because filter_skips_established().
    void count_skipped(ct::WorkerId w, std::uint64_t packets, std::uint64_t bytes) const noexcept;

    /// The rules in the order given. An index into it names a rule below.
    [[nodiscard]] std::span<const Rule> rules() const noexcept { return rules_; }
    [[nodiscard]] Action filter_policy() const noexcept { return policy_; }
    /// Hits of rule `index`, all workers together. Any thread.
    [[nodiscard]] Hits hits(std::size_t index) const noexcept;
    /// Hits of the filter policy. Any thread.
    [[nodiscard]] Hits policy_hits() const noexcept { return hits(rules_.size()); }

private:
    /// A prefix as two masked words. An address a is inside if (a & mask) == value in both.
    struct Words {
        std::array<std::uint64_t, 2> mask{};
        std::array<std::uint64_t, 2> value{};
    };
    /// What is seen of a packet at a glance.
    struct Seen {
        std::uint64_t word = 0;  ///< ports, family and protocol
        std::uint8_t state = 0;  ///< bit_of() it

        [[nodiscard]] static constexpr std::uint8_t bit_of(ct::CtState s) noexcept {
            return static_cast<std::uint8_t>(1U << static_cast<unsigned>(s));
        }
        [[nodiscard]] static Seen of(ct::PortId in_port, ct::PortId out_port, ct::Family family,
                                     std::uint8_t proto, ct::CtState s) noexcept {
            return {std::uint64_t{in_port} | std::uint64_t{out_port} << 16U |
                        std::uint64_t{static_cast<std::uint8_t>(family)} << 32U |
                        std::uint64_t{proto} << 40U,
                    bit_of(s)};
        }
    };
    struct Compiled;
    /// What a rule says of that.
    struct Glance {
        std::uint64_t want = 0;
        std::uint64_t care = 0;      ///< bits of `want` that count
        std::uint8_t states = 0xff;  ///< 0: it never matches

        [[nodiscard]] static Glance of(const Compiled& c) noexcept;
        [[nodiscard]] bool allows(Seen seen) const noexcept {
            return ((seen.word & care) ^ want) == 0 && (states & seen.state) != 0;
        }
    };
    /// A rule's conditions, ready to be compared.
    struct Compiled {
        Glance glance;
        std::uint32_t conditions = 0;  ///< which of the following there are
        ct::PortId in_port = 0;
        ct::PortId out_port = 0;
        ct::Family family = ct::Family::None;
        std::uint8_t proto = 0;
        std::uint8_t states = 0;
        Action action = Action::Accept;
        std::uint16_t zone = 0;
        std::uint16_t status = 0;
        PortRange sport;
        PortRange dport;
        std::uint32_t mark = 0;
        std::uint32_t mark_mask = 0;
        std::uint32_t value = 0;
        std::uint32_t above_permille = 0;
        std::uint32_t mask = 0;
        std::uint32_t index = 0;       ///< in rules_
        const Match* match = nullptr;  ///< of rules_[index], for what few rules ask
        Words src;
        Words dst;
    };
    /// What a worker said last of the table; its own.
    struct alignas(ct::kCacheLine) Fill {
        std::uint32_t permille = 0;
    };
    using CompiledChain = std::vector<Compiled>;

    /// Counters of four rules; written by one worker, read by anybody.
    struct alignas(ct::kCacheLine) HitLine {
        std::array<std::atomic<std::uint64_t>, 8> cells{};
    };

    [[nodiscard]] static Words words_of(const Prefix& prefix) noexcept;
    [[nodiscard]] static Compiled compile(const Rule& rule, std::uint32_t index) noexcept;
    [[nodiscard]] static bool matches(const Compiled& c, const PacketView& v) noexcept;
    [[nodiscard]] static bool matches_rest(const Compiled& c, const PacketView& v) noexcept;
    [[nodiscard]] static bool matches(const ConnMatch& m, const PacketView& v) noexcept;
    void follow(const Rule& rule, RawVerdict& out) const noexcept;
    /// The two chains, which tell `on_hit` of each rule that matches, by its index.
    template <class OnHit>
    [[nodiscard]] RawVerdict search_raw(PacketView& v, OnHit on_hit) const;
    template <class OnHit>
    [[nodiscard]] FilterVerdict search_filter(ct::Packet& p, PacketView& v, ct::ConnFacts* facts,
                                              OnHit on_hit) const;
    [[nodiscard]] static const Compiled* first_match(std::span<const Compiled> chain,
                                                     const PacketView& v) noexcept;
    [[nodiscard]] const Compiled* nat_match(const CompiledChain& chain, const ct::Packet& p,
                                            ct::PortId out_port) const noexcept;
    [[nodiscard]] const Compiled* nat_match_by_view(std::span<const Compiled> rules,
                                                    const ct::Packet& p,
                                                    ct::PortId out_port) const noexcept;
    [[nodiscard]] const Compiled* turned(const ct::Packet& p, ct::PortId out_port) const noexcept;
    [[nodiscard]] bool is_hit(const Compiled* c, const Rule& rule, ct::WorkerId w,
                              const ct::Packet& p) const noexcept;
    [[nodiscard]] bool meets_by_view(std::span<const Compiled> rules, const ct::Packet& p,
                                     const Rule& rule, ct::WorkerId w) const noexcept;
    [[nodiscard]] const Rule* nat_rule(const Compiled* c, ct::WorkerId w,
                                       const ct::Packet& p) const noexcept;
    [[nodiscard]] bool is_answer_of_dnat(const PacketView& v) const noexcept;
    void find_established_shortcut() noexcept;
    void count(ct::WorkerId w, std::size_t index, std::uint64_t packets,
               std::uint64_t bytes) const noexcept {
        // One writer a line: a plain load and store suffice, and readers see a value that was
        // there.
        HitLine& line = hits_[w * lines_ + index / 4];
        const auto add = [](std::atomic<std::uint64_t>& cell, std::uint64_t n) noexcept {
            cell.store(cell.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
        };
        add(line.cells[index % 4 * 2], packets);
        add(line.cells[index % 4 * 2 + 1], bytes);
    }

    std::vector<Rule> rules_;
    CompiledChain raw_;
    CompiledChain filter_;
    CompiledChain dnat_;
    CompiledChain snat_;
    Action policy_;
    std::vector<InvalidPolicy> zones_;  ///< by zone; empty: Pass for all
    bool wants_facts_ = false;
    bool asks_status_ = false;  ///< a rule looks at PacketView::status
    bool asks_how_full_ = false;
    bool has_hairpin_ = false;
    bool skips_established_ = false;
    std::size_t established_index_ = 0;  ///< whose hits count_skipped() counts
    ct::WorkerId workers_;
    std::size_t lines_;  ///< HitLines of each worker
    std::unique_ptr<HitLine[]> hits_;
    std::unique_ptr<Fill[]> fills_;  ///< by worker
};

}  // namespace nat
