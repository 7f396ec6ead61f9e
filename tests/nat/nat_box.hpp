// SPDX-License-Identifier: BSD-3-Clause
//
// A router with two ports, as small as NAT can be tested with: frames in, frames out. The stages
// are those of the pipeline in its order, one packet at a time. Port 0 is the LAN (192.168.0.0/16,
// 10.0.0.0/8, fd00::/8), port 1 the rest of the world, as in tests/golden.
#pragma once

#include "ct/conntrack.hpp"
#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "ct/wire/parse.hpp"
#include "nat/family.hpp"
#include "nat/rewrite.hpp"
#include "nat/rule_set.hpp"
#include "nat/seqadj.hpp"
#include "nat/setup.hpp"
#include "tests/support/packet_builder.hpp"

#include <algorithm>
#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test {

inline constexpr ct::PortId kLan = 0;
inline constexpr ct::PortId kWan = 1;

/// "192.0.2.0/24" or a single address.
[[nodiscard]] inline nat::Prefix prefix(std::string_view text) {
    const std::size_t slash = text.find('/');
    nat::Prefix out;
    out.addr = addr(text.substr(0, slash));
    const bool six = text.find(':') != std::string_view::npos;
    out.family = six ? ct::Family::Ipv6 : ct::Family::Ipv4;
    out.length = six ? 128 : 32;
    if (slash != std::string_view::npos)
        out.length = static_cast<std::uint8_t>(std::stoul(std::string{text.substr(slash + 1)}));
    return out;
}

/// "192.0.2.1" or "192.0.2.1-192.0.2.9", with ports if there are any.
[[nodiscard]] inline nat::Target target(std::string_view text, nat::PortRange ports = {}) {
    const std::size_t dash = text.find('-');
    nat::Target t;
    t.first_addr = addr(text.substr(0, dash));
    t.last_addr = dash == std::string_view::npos ? t.first_addr : addr(text.substr(dash + 1));
    t.family = text.find(':') != std::string_view::npos ? ct::Family::Ipv6 : ct::Family::Ipv4;
    t.ports = ports;
    return t;
}

[[nodiscard]] inline nat::Rule rule(nat::Chain chain, nat::Action action, nat::Match match = {}) {
    nat::Rule r;
    r.chain = chain;
    r.action = action;
    r.match = match;
    return r;
}

/// snat for what leaves by the WAN port.
[[nodiscard]] inline nat::Rule snat(nat::Target to) {
    nat::Rule r = rule(nat::Chain::Nat, nat::Action::Snat);
    r.match.out_port = kWan;
    r.target = to;
    return r;
}
[[nodiscard]] inline nat::Rule masquerade(nat::PortRange ports = {}) {
    nat::Rule r = rule(nat::Chain::Nat, nat::Action::Masquerade);
    r.match.out_port = kWan;
    r.target.ports = ports;
    return r;
}
/// dnat for what comes in by the WAN port to `ip`.
[[nodiscard]] inline nat::Rule dnat(std::string_view ip, int proto, nat::PortRange dports,
                                    nat::Target to) {
    nat::Rule r = rule(nat::Chain::Nat, nat::Action::Dnat);
    r.match.in_port = kWan;
    r.match.dst = prefix(ip);
    r.match.proto = proto;
    r.match.dport = dports;
    r.target = to;
    return r;
}

[[nodiscard]] inline std::vector<nat::PortAddresses> port_addresses() {
    return {{addr("192.168.1.1"), addr("fd00:1::1")}, {addr("203.0.113.1"), addr("2001:db8:2::1")}};
}

/// What became of a packet.
struct Outcome {
    ct::Packet packet;  ///< its `data` is the frame's below
    Bytes frame;        ///< as it leaves, or as it stands where it was dropped

    [[nodiscard]] ct::Drop drop() const { return packet.drop; }
    /// The source endpoint as it leaves: address and port in host order.
    [[nodiscard]] std::pair<ct::Addr, std::uint16_t> source() const {
        return {wire.src, wire.sport.host()};
    }
    [[nodiscard]] std::pair<ct::Addr, std::uint16_t> destination() const {
        return {wire.dst, wire.dport.host()};
    }
    ct::Tuple wire;  ///< of the frame as it leaves
};

class NatBox {
public:
    explicit NatBox(std::vector<nat::Rule> rules, std::uint32_t max = 4096,
                    nat::Action policy = nat::Action::Accept, const ct::Features& features = {},
                    const std::vector<nat::CarrierSettings>& carriers = {},
                    const ct::Room& room = {})
        : rules_{std::move(rules), 2, policy},
          table_{settings(max, room), 2, 1, features},
          carriers_{carriers, &block_log_, 1},
          setup_{rules_, table_, port_addresses(), 1, &carriers_} {}

    /// Sends a frame in by `in_port` through the box, one hop.
    Outcome send(const Bytes& frame, ct::PortId in_port) {
        constexpr std::size_t kHeadroom = 128;  // as DPDK's buffers have
        Bytes buffer(kHeadroom);
        buffer.insert(buffer.end(), frame.begin(), frame.end());
        buffer.insert(buffer.end(), kRoom, 0);
        Outcome out;
        ct::Packet& p = out.packet;
        p.data = buffer.data() + kHeadroom;
        p.length = static_cast<std::uint32_t>(frame.size());
        p.headroom = kHeadroom;
        p.in_port = in_port;
        run(p);
        out.frame.assign(p.data, p.data + p.length);
        p.data = out.frame.data();
        p.headroom = 0;
        if (p.alive()) {
            ct::Packet again = p;
            (void)ct::parse(again, {});
            out.wire = again.tuple;
        }
        return out;
    }
    Outcome send(const PacketBuilder& b, ct::PortId in_port) { return send(b.build(), in_port); }

    ct::Nanos now = 1'000 * ct::kNanosPerSecond;
    bool foresees = true;  ///< as the pipeline does
    /// Called between lookup and what follows from it, once: control at work.
    std::function<void()> before_decision;
    /// Called between the choice of a mapping and its confirmation, once: another worker at work.
    std::function<void(ct::Packet&)> before_confirm;
    /// Called for each packet before it is rewritten: a helper at work, with the bytes that there
    /// is room for from p.data on. False: the packet is dropped.
    std::function<bool(ct::Packet&, std::uint32_t)> inspect;

    [[nodiscard]] ct::Conntrack& table() { return table_; }
    [[nodiscard]] nat::Setup& setup() { return setup_; }
    [[nodiscard]] nat::Carriers& carriers() { return carriers_; }
    [[nodiscard]] nat::BlockLog& block_log() { return block_log_; }
    [[nodiscard]] const nat::RuleSet& rules() const { return rules_; }

private:
    /// Bytes that a packet may grow by.
    static constexpr std::uint32_t kRoom = 512;

    static ct::Settings settings(std::uint32_t max, const ct::Room& room) {
        ct::Settings s;
        s.room = room;
        s.max = max;
        s.embryonic_percent = 100;
        return s;
    }

    void run(ct::Packet& p) {
        static_cast<void>(ct::parse(p, {}));
        if (!p.alive()) return;
        const nat::RawVerdict raw = rules_.raw(worker_, p);
        if ((p.drop = raw.drop) != ct::Drop::None) return;
        p.tuple.zone = p.inner.zone = raw.zone;
        if (raw.notrack) p.state = ct::CtState::Untracked;
        table_.lookup(worker_, {&p, 1}, now);
        table_.update(worker_, {&p, 1}, now);
        if (foresees) setup_.foresee(worker_, {&p, 1}, 0);
        if (before_decision) std::exchange(before_decision, nullptr)();
        if (p.state != ct::CtState::Untracked && !p.conn.valid() &&
            p.state != ct::CtState::Invalid &&
            table_.open(worker_, p, now) == ct::Conntrack::Opening::Opened) {
            open_new(p);
        } else if (p.alive()) {
            route(p);
            apply_filter(p);
        }
        if (!p.alive()) return;
        if (rules_.must_not_leave(p)) {
            p.drop = ct::Drop::NatInvalid;
            return;
        }
        if (!p.conn.valid() && setup_.leads_nowhere(p)) {
            p.drop = ct::Drop::NatFiltered;
            return;
        }
        if (inspect && !inspect(p, p.length + kRoom)) p.drop = ct::Drop::RuleDrop;
        const bool crosses = nat::rewrite({&p, 1});
        nat::adjust_sequences(table_, {&p, 1});
        if (crosses) families_.translate(0, {&p, 1});
        if (p.alive() && p.in_port != ct::kLocalPort && p.out_port != ct::kNoPort) hop(p);
    }

    void open_new(ct::Packet& p) {
        p.drop = setup_.destination(worker_, p, now);
        if (p.alive()) route(p);
        if (p.alive()) apply_filter(p);
        if (p.alive() && setup_.leads_nowhere(p)) p.drop = ct::Drop::NatFiltered;
        if (p.alive()) p.drop = setup_.source(worker_, p, now);
        if (p.alive() && before_confirm) {
            worker_ = 1;
            std::exchange(before_confirm, nullptr)(p);
            worker_ = 0;
        }
        for (int tries = 0; p.alive() && tries < 4; ++tries) {
            if (table_.confirm(worker_, p, now) != ct::Conntrack::Confirmation::ReplyTaken) return;
            p.drop = setup_.next_mapping(worker_, p, now);
        }
        if (!p.alive()) table_.abandon(worker_, p, now);
    }

    void apply_filter(ct::Packet& p) {
        const nat::FilterVerdict v = rules_.filter(worker_, p);
        if (v.action == nat::Action::Drop) p.drop = ct::Drop::RuleDrop;
        if (v.action == nat::Action::Reject) p.drop = ct::Drop::RuleReject;
    }

    static void route(ct::Packet& p) {
        const ct::Addr across = p.dir == ct::Dir::Original ? p.reply.src : p.original.src;
        const ct::Addr dst = nat::crosses(p) ? across : nat::forward_view(p).dst;
        const bool six = nat::family_after(p) == ct::Family::Ipv6;
        const bool lan = six ? dst.bytes[0] == 0xfd
                             : dst.bytes[0] == 10 || (dst.bytes[0] == 192 && dst.bytes[1] == 168);
        p.out_port = lan ? kLan : kWan;
        for (const nat::PortAddresses& own : port_addresses())
            if (dst == own.ipv4 || dst == own.ipv6) p.out_port = ct::kNoPort;
    }

    /// One hop: TTL or hop limit less one.
    static void hop(ct::Packet& p) {
        std::uint8_t* l3 = p.data + p.l3_offset;
        if (p.ethertype == ct::ethertype::kIpv6) {
            --l3[offsetof(ct::Ipv6Header, hop_limit)];
            return;
        }
        auto ip = ct::load<ct::Ipv4Header>(l3);
        --ip.ttl;
        ip.checksum = {};
        ct::store(l3, ip);
        ip.checksum = ct::internet_checksum({l3, ip.header_bytes()});
        ct::store(l3, ip);
    }

    ct::WorkerId worker_ = 0;  ///< whose turn it is
    nat::RuleSet rules_;
    ct::Conntrack table_;
    nat::BlockLog block_log_{3, 1024};  // control has one, too
    nat::Carriers carriers_;
    nat::Setup setup_;
    nat::FamilyTranslator families_{{}, {1500, 1500}, 1};
};

}  // namespace test
