// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/pipeline.hpp"

#include "ct/wire/headers.hpp"
#include "nat/rewrite.hpp"
#include "nat/seqadj.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace dp {

namespace {

using ct::Drop;
using ct::Packet;

/// Other mappings tried when another worker took the chosen one between choice and confirmation.
constexpr int kMappingTries = 8;
/// Held fragments processed at a time.
constexpr std::size_t kFollowers = 16;

/// ARP goes past conntrack and rules; what waits for its first fragment is gone.
bool concerns_conntrack(const Packet& p) noexcept {
    return p.alive() && p.owner != nullptr && p.tuple.family != ct::Family::None;
}

/// Where the packet goes once DNAT has had its say: the real endpoint on the far side.
const ct::Addr& destination_of(const Packet& p) noexcept {
    if (!p.conn.valid() || p.mirrored) return p.tuple.dst;
    return p.dir == ct::Dir::Original ? p.reply.src : p.original.src;
}

}  // namespace

Pipeline::Pipeline(ct::Conntrack& conntrack, const nat::RuleSet& rules, nat::Setup& nat,
                   const nat::PrefixTranslator& prefixes, nat::FamilyTranslator& families,
                   ct::FragmentTable& fragments, Forward& forward,
                   std::span<WorkerCounters> counters, std::vector<nat::MssLimit> mss)
    : ct_{conntrack},
      rules_{rules},
      nat_{nat},
      prefixes_{prefixes},
      families_{families},
      fragments_{fragments},
      forward_{forward},
      counters_{counters},
      mss_{std::move(mss)} {}

/// Every packet passes these stages in this order; a stage skips a packet that has a drop reason.
/// All sweep the burst, so that memory waits overlap, but for decide().
void Pipeline::run(ct::WorkerId w, std::span<Packet> packets, ct::Nanos now) noexcept {
    const ct::ParseOptions options{.checksum = ct_.settings().checksum};
    ct::parse(packets, options);  // ct/wire/parse.cpp  bytes to tuple, or a drop reason
    const bool first = track_fragments(w, packets, now);  // below  ports for later fragments
    told(Stage::Parse, packets, now);
    if (first)
        connect_firsts(w, packets, now);  // below              and what waited for a first one
    else
        connect(w, packets, now);  // below              everything up to the frame
}

/// Datagrams are named by what is on the wire, so their names are taken before NAT has a say.
void Pipeline::connect_firsts(ct::WorkerId w, std::span<Packet> packets, ct::Nanos now) noexcept {
    std::array<ct::FragmentKey, kMaxBurst> firsts;
    std::size_t n = 0;
    for (const Packet& p : packets)
        if (p.fragment == ct::Fragment::First && concerns_conntrack(p))
            firsts[n++] = ct::FragmentTable::key_of(p);
    connect(w, packets, now);
    for (std::size_t i = 0; i < n; ++i) follow_first(w, firsts[i], now);
}

void Pipeline::connect(ct::WorkerId w, std::span<Packet> packets, ct::Nanos now) noexcept {
    if (rules_.asks_how_full()) rules_.note_fill(w, ct_.fill_permille(w, now));
    prefixes_.inward(packets);  // nat/nptv6.cpp      outside prefixes to inside ones
    raw(w, packets);            // nat/rule_set.cpp   notrack, zone
    told(Stage::Raw, packets, now);
    ct_.lookup(w, packets, now);  // ct/conntrack.cpp   hash, prefetch, find
    told(Stage::Lookup, packets, now);
    ct_.update(w, packets, now);  // ct/conntrack.cpp   state, time-out; or Invalid
    told(Stage::Update, packets, now);
    decide(w, packets, now);  // below              new ones, routes, rules, mappings
    told(Stage::Decide, packets, now);
    const bool crosses = nat::rewrite(packets);  // nat/rewrite.cpp    addresses, ports, checksums
    nat::adjust_sequences(ct_, packets);         // nat/seqadj.cpp     where payloads grew
    if (!mss_.empty()) nat::clamp_mss(packets, mss_);  // nat/mss.cpp        segment sizes
    if (crosses) families_.translate(w, packets);      // nat/family.cpp     IPv6 and IPv4
    prefixes_.outward(packets);         // nat/nptv6.cpp      inside prefixes to outside ones
    forward_.resolve(w, packets, now);  // dataplane/forward.cpp  TTL, neighbour, frame
    told(Stage::Resolve, packets, now);
}

bool Pipeline::track_fragments(ct::WorkerId w, std::span<Packet> packets, ct::Nanos now) noexcept {
    bool first = false;
    for (Packet& p : packets) {
        if (p.fragment == ct::Fragment::Whole || !concerns_conntrack(p)) continue;
        if (fragments_.track(p, now) != ct::Disposition::Held) {
            first = first || p.fragment == ct::Fragment::First;
            continue;
        }
        p.owner = nullptr;
        counters_[w].held_taken.add(1);
    }
    return first;
}

/// Later fragments that came before their first go right behind it.
void Pipeline::follow_first(ct::WorkerId w, const ct::FragmentKey& first, ct::Nanos now) noexcept {
    std::array<ct::HeldFragment, kFollowers> held;
    std::size_t n = 0;
    do {
        n = fragments_.release(first, held);
        std::array<Packet, kFollowers> packets;
        for (std::size_t i = 0; i < n; ++i) ct::resume(held[i], packets[i]);
        const std::size_t at_once = watch_ == nullptr ? std::max<std::size_t>(n, 1) : 1;
        for (std::size_t i = 0; i < n; i += at_once) {
            const std::span<Packet> burst{packets.data() + i, at_once};
            connect(w, burst, now);
            for (Packet& p : burst) forward_.finish_held(w, p);
        }
    } while (n == held.size());
}

void Pipeline::raw(ct::WorkerId w, std::span<Packet> packets) noexcept {
    if (!rules_.has_raw()) return;
    for (Packet& p : packets) {
        if (!concerns_conntrack(p)) continue;
        const nat::RawVerdict v = rules_.raw(w, p);
        p.drop = v.drop;
        p.tuple.zone = v.zone;
        p.track = v.track;
        p.packet_mark = v.packet_mark;
        if (v.notrack) p.state = ct::CtState::Untracked;
    }
}

/// One by one: the second packet of a new flow must find the connection that the first made a
/// moment ago, and meet its rules only after it.
void Pipeline::decide(ct::WorkerId w, std::span<Packet> packets, ct::Nanos now) noexcept {
    Skipped skipped;
    for (std::size_t k = 0; k < packets.size(); ++k) {
        nat_.foresee(w, packets, k);
        Packet& p = packets[k];
        if (!concerns_conntrack(p)) continue;
        const bool is_new = !p.conn.valid() && p.state == ct::CtState::None;
        if (is_new)
            open_new(w, p, now, skipped);
        else
            pass(w, p, now, skipped);
    }
    if (skipped.packets != 0) rules_.count_skipped(w, skipped.packets, skipped.bytes);
}

void Pipeline::open_new(ct::WorkerId w, Packet& p, ct::Nanos now, Skipped& skipped) noexcept {
    switch (ct_.open(w, p, now)) {
        case ct::Conntrack::Opening::Refused:
            return;
        case ct::Conntrack::Opening::Rejected:
            forward_.reject(w, p, p.drop, now);
            return;
        case ct::Conntrack::Opening::Untracked:
            pass_for_want_of_room(w, p, now, skipped);
            return;
        case ct::Conntrack::Opening::Found:
        case ct::Conntrack::Opening::Invalid:
            pass(w, p, now, skipped);
            return;
        case ct::Conntrack::Opening::Opened:
            break;
    }
    // Whoever ends here leaves no trace: an entry is in the table only if its packet goes on.
    if (!bind(w, p, now, skipped)) ct_.abandon(w, p, now);
}

/// From an unconfirmed connection to one in the table. False if the packet was dropped on the way.
bool Pipeline::bind(ct::WorkerId w, Packet& p, ct::Nanos now, Skipped& skipped) noexcept {
    p.drop = nat_.destination(w, p, now);
    if (!p.alive()) return false;
    forward_.route(w, p, destination_of(p), now);
    if (!p.alive() || !admit(w, p, now)) return false;
    p.drop = nat_.leads_nowhere(p) ? Drop::NatFiltered : nat_.source(w, p, now);
    if (p.tell_sender) forward_.reject(w, p, p.drop, now);
    if (!p.alive()) return false;

    for (int tries = 0; tries < kMappingTries; ++tries) {
        switch (ct_.confirm(w, p, now)) {
            case ct::Conntrack::Confirmation::Linked:
                return true;
            case ct::Conntrack::Confirmation::Joined:
                pass(w, p, now, skipped);
                return true;
            case ct::Conntrack::Confirmation::Refused:
                return false;
            case ct::Conntrack::Confirmation::ReplyTaken:
                break;
        }
        p.drop = nat_.next_mapping(w, p, now);
        if (p.tell_sender) forward_.reject(w, p, p.drop, now);
        if (!p.alive()) return false;
    }
    p.drop = rules_.has_nat() ? Drop::NatNoPort : Drop::CtClash;
    return false;
}

/// A packet that opens nothing: of an existing connection, invalid, or untracked.
void Pipeline::pass(ct::WorkerId w, Packet& p, ct::Nanos now, Skipped& skipped) noexcept {
    // What may open nothing because its first fragment was refused is refused with it.
    if (p.state == ct::CtState::Invalid && p.fragment == ct::Fragment::Later) {
        p.drop = Drop::CtInvalid;
        return;
    }
    if (p.state == ct::CtState::Invalid &&
        rules_.invalid_policy(p.tuple.zone) == nat::InvalidPolicy::Drop) {
        p.drop = p.fault != Drop::None ? p.fault : Drop::CtInvalid;
        return;
    }
    forward_.route(w, p, destination_of(p), now);
    if (!p.alive()) return;
    if (rules_.must_not_leave(p)) {
        p.drop = p.no_room ? Drop::NatUntracked : Drop::NatInvalid;
        return;
    }
    if (!p.conn.valid() && nat_.leads_nowhere(p)) {
        p.drop = Drop::NatFiltered;
        return;
    }
    if (p.state == ct::CtState::Established && rules_.filter_skips_established()) {
        ++skipped.packets;
        skipped.bytes += p.end - p.l3_offset;
        return;
    }
    static_cast<void>(admit(w, p, now));
}

/// Policy untracked: a packet that would have opened a connection goes on without one, but not
/// where it would have been translated.
void Pipeline::pass_for_want_of_room(ct::WorkerId w, Packet& p, ct::Nanos now,
                                     Skipped& skipped) noexcept {
    if (rules_.peek_dnat(p) != nullptr) {
        p.drop = Drop::NatUntracked;
        return;
    }
    pass(w, p, now, skipped);
}

/// The filter chain. What Sluice itself made passes: iptables has a chain of its own for that.
bool Pipeline::admit(ct::WorkerId w, Packet& p, ct::Nanos now) noexcept {
    if (p.in_port == ct::kLocalPort) return true;
    ct::ConnFacts facts;
    if (rules_.wants_facts()) facts = ct_.facts(p, now);
    const nat::FilterVerdict v = rules_.filter(w, p, &facts);
    if (v.marked) ct_.set_mark(w, p, p.mark, now);
    if ((v.labels[0] | v.labels[1]) != 0) ct_.set_labels(w, p, v.labels, now);
    if (v.action == nat::Action::Drop) p.drop = Drop::RuleDrop;
    if (v.action == nat::Action::Reject) forward_.reject(w, p, Drop::RuleReject, now);
    return p.alive();
}

void Pipeline::tick(ct::WorkerId w, ct::Nanos now) noexcept {
    ct_.expire(w, now);
    if (w == 0) nat_.tick(w, now);
    std::array<ct::HeldFragment, kFollowers> held;
    const std::size_t n = fragments_.expire(now, held);
    for (std::size_t i = 0; i < n; ++i) {
        Packet p;
        p.owner = held[i].owner;
        p.drop = held[i].drop;
        forward_.finish_held(w, p);
    }
}

void Pipeline::drain(ct::WorkerId w) noexcept {
    std::array<ct::HeldFragment, kFollowers> held;
    while (const std::size_t n = fragments_.drain(held))
        for (std::size_t i = 0; i < n; ++i) {
            Packet p;
            p.owner = held[i].owner;
            p.drop = held[i].drop;
            forward_.finish_held(w, p);
        }
}

}  // namespace dp
