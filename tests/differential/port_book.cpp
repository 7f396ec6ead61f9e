// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/port_book.hpp"

#include "tests/differential/port_rules.hpp"
#include "tests/differential/rewriting.hpp"
#include "tests/differential/world.hpp"

#include <algorithm>

namespace differential {

using rewriting::Swap;

namespace {

/// A port that no connection has and no rule gives: discard's.
constexpr std::uint16_t kNobody = 9;

}  // namespace

PortBook::PortBook(Nat nat) : nat_{nat}, aliases_{known_by(nat)} {}

PortBook::Given PortBook::given(const ct::Tuple& original, std::uint16_t port) {
    ct::Tuple source = original;
    source.dst = {};
    source.dport = {};
    return {source, port};
}

void PortBook::end(const Entry& e) {
    if (!e.chosen || e.chosen_again) return;
    ended_.push_back(given(e.original, *e.chosen));
}

bool PortBook::is_redirected(const Entry& e) const {
    return nat_ == Nat::Redirect && e.reply.src != e.original.dst;
}

/// The connection that a packet from the WAN, or what it quotes, belongs to.
std::optional<Entry> PortBook::meant_by(const Step& step, const Find& find) {
    std::vector<ct::Tuple> candidates{step.keys.front()};
    if (const auto own = tuple_in(step.ip)) {
        candidates.insert(candidates.begin(), reply_of(*own));
        candidates.insert(candidates.begin(), *own);
    }
    for (const ct::Tuple& original : candidates) {
        std::optional<Entry> e = find(original);
        if (e && e->original == original) return e;
    }
    return {};
}

Step PortBook::addressed(const Step& step, const Find& find) const {
    if (!chooses_ports(nat_) || step.kind != Step::Kind::Packet || step.port == 0) return step;
    Step out = step;
    const ct::Tuple& key = step.keys.front();
    const std::optional<Entry> e = meant_by(step, find);
    if (e && is_redirected(*e)) return out;  // the router answers in the server's place
    ct::Tuple client = key;
    if (const auto own = tuple_in(out.ip))
        client = rewriting::is_icmp_error(out.ip) ? *own : reply_of(*own);
    std::uint16_t port = client.sport.host();
    if (e) {
        const ct::Tuple plain = reply_of(e->original);
        rewriting::exchange(
            out.ip, Swap{plain.src, e->reply.src, plain.sport.host(), e->reply.sport.host()},
            Swap{plain.dst, e->reply.dst, plain.dport.host(), e->reply.dport.host()});
        // Where ports are chosen, a packet with other ports or another ICMP code than the
        // connection's is not to reach whoever has kept his own at one of the routers only.
        const bool own_port = client.sport == e->original.sport;
        if (own_port) port = (ct::is_icmp(client.proto) ? e->reply.sport : e->reply.dport).host();
        if (!own_port || (client.dport != e->original.dport && choice_of(nat_, e->original)))
            rewriting::exchange(out.ip, {}, Swap{e->reply.dst, e->reply.dst, port, kNobody});
    } else {
        for (const auto& [real, other] : aliases_)
            rewriting::exchange(out.ip, {}, Swap{real, other, port, kNobody});
    }
    if (const auto own = tuple_in(out.ip); own && *own != key && reply_of(*own) != key)
        out.keys.push_back(*own);
    return out;
}

/// True if the step may have been a packet of that connection.
bool PortBook::is_about(const Step& step, const ct::Tuple& original, const ct::Tuple& reply) {
    return std::any_of(step.keys.begin(), step.keys.end(), [&](const ct::Tuple& key) {
        return key == original || key == reply || key == reply_of(original) ||
               key == reply_of(reply);
    });
}

/// Puts a connection's own ports into a packet that goes to the WAN, or that has come from there
/// and gone through as it was.
void PortBook::undo(Bytes& packet, bool outbound, const ct::Tuple& original,
                    const ct::Tuple& reply) {
    const ct::Tuple plain = reply_of(original);
    const Swap server{reply.src, reply.src, reply.sport.host(), plain.sport.host()};
    const Swap client{reply.dst, reply.dst, reply.dport.host(), plain.dport.host()};
    if (outbound)
        rewriting::exchange(packet, client, server);
    else
        rewriting::exchange(packet, server, client);
}

void PortBook::settle(const Step& step, Observation& o) {
    if (!chooses_ports(nat_)) return;
    for (const auto& e : o.entries) {
        if (!e) continue;
        const auto at = std::find_if(last_.begin(), last_.end(),
                                     [&](const auto& l) { return l.first == e->original; });
        if (at == last_.end())
            last_.emplace_back(e->original, e->reply);
        else
            at->second = e->reply;
    }
    for (const auto& [original, reply] : last_)
        if (is_about(step, original, reply))
            for (Bytes& packet : o.out) undo(packet, step.port == 0, original, reply);
    for (auto& e : o.entries)
        if (e) settle(*e);
}

void PortBook::settle(Entry& e) const {
    const auto choice = choice_of(nat_, e.original);
    if (!choice) return;
    const ct::Tuple plain = reply_of(e.original);
    const auto restore = [&](ct::Be16& port, ct::Be16 own) {
        if (port == own) return;
        e.chosen = port.host();
        e.chosen_again =
            std::find(ended_.begin(), ended_.end(), given(e.original, *e.chosen)) != ended_.end();
        port = own;
    };
    if (ct::is_icmp(e.original.proto) || !choice->source)
        restore(e.reply.sport, plain.sport);
    else
        restore(e.reply.dport, plain.dport);
}

}  // namespace differential
