// SPDX-License-Identifier: BSD-3-Clause
//
// Header translation. The builder computes every checksum anew, so each test compares the rewritten
// frame, byte by byte, with the frame that the builder makes of the translated endpoints.
#include "nat/rewrite.hpp"

#include "ct/conn/status.hpp"
#include "ct/wire/parse.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>

#include <functional>
#include <random>
#include <string>
#include <vector>

namespace {

using ct::Dir;
using ct::Family;
using test::Bytes;
using test::PacketBuilder;

/// The endpoints of a connection: whom the client sent to, and what NAT made of both.
struct Flow {
    std::string client;
    std::string service;
    std::string client_seen;   ///< the client's address after SNAT
    std::string service_real;  ///< the service's after DNAT
    std::uint16_t client_port = 40000;
    std::uint16_t service_port = 80;
    std::uint16_t client_port_seen = 40000;
    std::uint16_t service_port_real = 80;

    [[nodiscard]] bool six() const { return client.find(':') != std::string::npos; }
};

/// One end of a packet.
struct End {
    std::string ip;
    std::uint16_t port;
};

/// Makes the protocol's packet between two ends; `id` is what ICMP has for ports.
using Make =
    std::function<PacketBuilder(const End& from, const End& to, std::uint16_t id, Dir dir)>;

struct Ends {
    End from;
    End to;
    std::uint16_t id;
};

/// The ends as they stand before the translation, and after.
Ends before(const Flow& f, Dir dir) {
    if (dir == Dir::Original)
        return {{f.client, f.client_port}, {f.service, f.service_port}, f.client_port};
    return {{f.service_real, f.service_port_real},
            {f.client_seen, f.client_port_seen},
            f.client_port_seen};
}
Ends after(const Flow& f, Dir dir) {
    if (dir == Dir::Original)
        return {{f.client_seen, f.client_port_seen},
                {f.service_real, f.service_port_real},
                f.client_port_seen};
    return {{f.service, f.service_port}, {f.client, f.client_port}, f.client_port};
}

PacketBuilder ip(const End& from, const End& to) {
    PacketBuilder b;
    if (from.ip.find(':') != std::string::npos)
        b.ipv6(from.ip, to.ip);
    else
        b.ipv4(from.ip, to.ip);
    return b;
}

ct::Tuple tuple_of(const Bytes& frame) {
    test::OwnedPacket o = test::receive(frame);
    EXPECT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
    return o.packet.tuple;
}

/// Gives `p` a connection with the two tuples, as lookup() would.
void attach(ct::Packet& p, const ct::Tuple& original, const ct::Tuple& reply, Dir dir) {
    p.conn = {0, 1};
    p.original = original;
    p.reply = reply;
    p.dir = dir;
    const ct::Tuple seen = ct::reply_of(reply);
    if (original.src != seen.src || original.sport != seen.sport) p.status |= ct::status::kSrcNat;
    if (original.dst != seen.dst || original.dport != seen.dport) p.status |= ct::status::kDstNat;
    p.state = ct::CtState::Established;
}

/// The frame after rewrite() as a packet of the connection.
Bytes rewritten(const Bytes& frame, const ct::Tuple& original, const ct::Tuple& reply, Dir dir,
                ct::Drop drop = ct::Drop::None) {
    test::OwnedPacket o = test::receive(frame);
    EXPECT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
    attach(o.packet, original, reply, dir);
    nat::rewrite({&o.packet, 1});
    EXPECT_EQ(o.packet.drop, drop);
    return {o.packet.data, o.packet.data + o.packet.length};
}

struct Tuples {
    ct::Tuple original;
    ct::Tuple reply;
};
Tuples tuples_of(const Flow& f, const Make& make) {
    const Ends o = before(f, Dir::Original);
    const Ends r = before(f, Dir::Reply);
    return {tuple_of(make(o.from, o.to, o.id, Dir::Original).build()),
            tuple_of(make(r.from, r.to, r.id, Dir::Reply).build())};
}

void expect_translated(const Flow& f, const Make& make, const std::string& what) {
    const auto [original, reply] = tuples_of(f, make);
    for (const Dir dir : {Dir::Original, Dir::Reply}) {
        const Ends in = before(f, dir);
        const Ends out = after(f, dir);
        const Bytes frame = make(in.from, in.to, in.id, dir).build();
        const Bytes want = make(out.from, out.to, out.id, dir).build();

        EXPECT_EQ(rewritten(frame, original, reply, dir), want)
            << what << (dir == Dir::Original ? ", original" : ", reply");
    }
}

std::vector<Flow> flows() {
    return {
        {"192.168.1.10", "198.51.100.7", "203.0.113.1", "198.51.100.7"},
        {"192.168.1.10", "198.51.100.7", "203.0.113.1", "198.51.100.7", 40000, 80, 5001, 80},
        {"198.51.100.7", "203.0.113.1", "198.51.100.7", "192.168.1.10", 40000, 8080, 40000, 80},
        {"192.168.1.10", "203.0.113.1", "192.168.1.1", "192.168.1.11", 40000, 8080, 1024, 80},
        {"192.168.1.10", "198.51.100.7", "192.168.1.10", "198.51.100.7", 40000, 80, 40001, 80},
        {"fd00:1::10", "2001:db8:7::7", "2001:db8:2::1", "2001:db8:7::7", 40000, 80, 40001, 80},
        {"2001:db8:7::7", "2001:db8:2::1", "2001:db8:7::7", "fd00:1::10", 40000, 8080, 40000, 80},
        {"fd00:1::10", "2001:db8:2::1", "2001:db8:2::1", "fd00:1::11", 1, 65535, 65535, 1},
    };
}

/// Every protocol, with `size` bytes of payload.
std::vector<std::pair<std::string, Make>> protocols(std::size_t size) {
    const auto dccp = [size](const End& from, const End& to, std::uint16_t, Dir) {
        Bytes bytes(16 + size, 7);
        bytes[4] = 4;
        ct::store(bytes.data() + 6, ct::Be16{});
        const Family family = from.ip.find(':') != std::string::npos ? Family::Ipv6 : Family::Ipv4;
        ct::store(bytes.data() + 6, ct::transport_checksum(test::addr(from.ip), test::addr(to.ip),
                                                           family, ct::ipproto::kDccp, bytes));
        return ip(from, to).l4(ct::ipproto::kDccp, bytes);
    };
    return {
        {"tcp", [size](auto& a, auto& b, auto,
                       auto) { return ip(a, b).tcp(a.port, b.port).payload_bytes(size); }},
        {"udp", [size](auto& a, auto& b, auto,
                       auto) { return ip(a, b).udp(a.port, b.port).payload_bytes(size); }},
        {"udplite", [size](auto& a, auto& b, auto,
                           auto) { return ip(a, b).udplite(a.port, b.port).payload_bytes(size); }},
        {"udplite, header covered",
         [size](auto& a, auto& b, auto, auto) {
             return ip(a, b).udplite(a.port, b.port, 8).payload_bytes(size);
         }},
        {"sctp", [size](auto& a, auto& b, auto,
                        auto) { return ip(a, b).sctp(a.port, b.port).payload_bytes(size); }},
        {"icmp",
         [size](auto& a, auto& b, std::uint16_t id, Dir dir) {
             PacketBuilder p = ip(a, b);
             (dir == Dir::Original ? p.echo(id) : p.echo_reply(id)).payload_bytes(size);
             return p;
         }},
        {"gre",
         [](auto& a, auto& b, auto, auto) { return ip(a, b).gre(0x0800).payload("tunnel"); }},
        {"pptp", [](auto& a, auto& b, auto, auto) { return ip(a, b).pptp(7).payload("tunnel"); }},
        {"dccp", dccp},
        {"protocol 253",
         [size](auto& a, auto& b, auto, auto) { return ip(a, b).payload_bytes(size); }},
    };
}

TEST(Rewrite, TranslatesEveryProtocolOfBothFamiliesInBothDirections) {
    for (const std::size_t size : {0U, 1U, 2U, 7U, 64U, 1001U})
        for (const auto& [name, make] : protocols(size))
            for (const Flow& f : flows())
                expect_translated(f, make,
                                  name + " " + f.client + ", payload " + std::to_string(size));
}

TEST(Rewrite, ChecksumsComeOutAsIfComputedAnewForRandomFlows) {
    std::mt19937_64 random{20260117};
    const auto port = [&] { return static_cast<std::uint16_t>(random() | 1); };
    const auto v4 = [&] {
        return std::to_string(1 + random() % 223) + "." + std::to_string(random() % 256) + "." +
               std::to_string(random() % 256) + "." + std::to_string(1 + random() % 254);
    };
    const auto v6 = [&] {
        char text[40];
        std::snprintf(text, sizeof text, "2001:db8:%x::%x:%x", unsigned(random() & 0xffff),
                      unsigned(random() & 0xffff), unsigned(1 + random() % 0xffff));
        return std::string{text};
    };
    for (int i = 0; i < 2000; ++i) {
        const bool six = i % 2 == 1;
        const auto any = [&] { return six ? v6() : "198." + v4().substr(v4().find('.') + 1); };
        Flow f{"10.1.2.3", "192.0.2.9", "203.0.113.77", "192.168.3.4"};
        if (six) f = {any(), any(), any(), any()};
        f.client_port = port();
        f.service_port = port();
        f.client_port_seen = port();
        f.service_port_real = port();
        const auto all = protocols(random() % 300);
        const auto& [name, make] = all[random() % all.size()];

        expect_translated(f, make, name + ", round " + std::to_string(i));
    }
}

TEST(Rewrite, LeavesAPacketWithoutNatAlone) {
    const Bytes frame = ip({"192.168.1.10", 0}, {"198.51.100.7", 0}).tcp(1, 2).build();
    test::OwnedPacket o = test::receive(frame);
    ASSERT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
    attach(o.packet, tuple_of(frame), {}, Dir::Original);
    o.packet.status = ct::status::kAssured;

    nat::rewrite({&o.packet, 1});

    EXPECT_EQ(Bytes(o.packet.data, o.packet.data + o.packet.length), frame);
}

TEST(Rewrite, LeavesADroppedPacketAlone) {
    const Bytes frame = ip({"192.168.1.10", 0}, {"198.51.100.7", 0}).tcp(1, 2).build();
    test::OwnedPacket o = test::receive(frame);
    ASSERT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
    attach(o.packet, tuple_of(frame), {}, Dir::Original);
    o.packet.drop = ct::Drop::RuleDrop;

    nat::rewrite({&o.packet, 1});

    EXPECT_EQ(Bytes(o.packet.data, o.packet.data + o.packet.length), frame);
}

// RFC 768: zero means that the sender computed no checksum; it must not come to mean anything else.
TEST(Rewrite, UdpWithoutAChecksumStaysWithoutOne) {
    const Flow f = flows()[1];
    const Make make = [](auto& a, auto& b, auto, auto) {
        return ip(a, b).udp(a.port, b.port).payload("abc").with_l4_checksum(0);
    };
    expect_translated(f, make, "udp without checksum");
}

// RFC 768, RFC 3828 3.1: a checksum that is computed as zero is sent as 0xffff. Some payload of two
// bytes makes it so after the translation, and another makes it so before.
TEST(Rewrite, AUdpChecksumThatBecomesZeroIsSentAsAllOnes) {
    const Flow f = flows()[1];
    for (const bool lite : {false, true}) {
        int ones_after = 0;
        int ones_before = 0;
        const auto datagram = [&](const Ends& e, const std::string& payload) {
            PacketBuilder b = ip(e.from, e.to);
            lite ? b.udplite(e.from.port, e.to.port) : b.udp(e.from.port, e.to.port);
            return b.payload(payload).build();
        };
        const auto all_ones = [](const Bytes& b) { return b[40] == 0xff && b[41] == 0xff; };
        for (unsigned word = 0; word < 0x10000; ++word) {
            const std::string payload{char(word >> 8), char(word & 0xff)};
            const Bytes frame = datagram(before(f, Dir::Original), payload);
            const Bytes want = datagram(after(f, Dir::Original), payload);
            ones_before += all_ones(frame) ? 1 : 0;
            ones_after += all_ones(want) ? 1 : 0;
            if (!all_ones(frame) && !all_ones(want)) continue;

            const ct::Tuple reply = tuple_of(datagram(before(f, Dir::Reply), payload));
            EXPECT_EQ(rewritten(frame, tuple_of(frame), reply, Dir::Original), want) << word;
        }
        EXPECT_EQ(ones_after, 1);
        EXPECT_EQ(ones_before, 1);
    }
}

// RFC 3022 4.1: a checksum that was wrong must stay wrong, or the receiver takes damaged data.
TEST(Rewrite, AWrongChecksumIsNotRepaired) {
    const Flow f = flows()[1];
    for (const auto& [name, make] : protocols(32)) {
        if (name == "gre" || name == "pptp" || name == "protocol 253") continue;
        const auto [original, reply] = tuples_of(f, make);
        const Ends in = before(f, Dir::Original);
        const Ends out = after(f, Dir::Original);
        Bytes frame = make(in.from, in.to, in.id, Dir::Original).build();
        Bytes want = make(out.from, out.to, out.id, Dir::Original).build();
        frame.back() ^= 0x5a;
        want.back() ^= 0x5a;
        test::OwnedPacket o = test::receive(frame);
        ASSERT_EQ(ct::parse(o.packet, {.checksum = false}), ct::Drop::None);
        attach(o.packet, original, reply, Dir::Original);

        nat::rewrite({&o.packet, 1});

        EXPECT_EQ(Bytes(o.packet.data, o.packet.data + o.packet.length), want) << name;
    }
}

TEST(Rewrite, FindsTheHeadersBehindTagsOptionsAndExtensions) {
    const Flow v4 = flows()[1];
    const Flow v6 = flows()[5];
    expect_translated(
        v4,
        [](auto& a, auto& b, auto, auto) {
            return ip(a, b).vlan(7).ip_options({1, 1, 1, 0}).tcp(a.port, b.port).payload("x");
        },
        "VLAN and options");
    expect_translated(
        v6,
        [](auto& a, auto& b, auto, auto) {
            return ip(a, b).qinq(9).vlan(7).hop_by_hop().destination().udp(a.port, b.port);
        },
        "QinQ and extension headers");
}

TEST(Rewrite, LinkPaddingIsNotPartOfTheCrc) {
    const Make make = [](auto& a, auto& b, auto, auto) {
        return ip(a, b).sctp(a.port, b.port).payload("x").pad_to(120);
    };
    expect_translated(flows()[1], make, "padded SCTP");
}

// ---- Fragments.

/// Rewrites the fragments of a packet as fragments of one connection, with the first one's tuple.
std::vector<Bytes> rewritten_fragments(const Bytes& whole, const Tuples& tuples,
                                       ct::Drop drop = ct::Drop::None) {
    std::vector<Bytes> out;
    for (const Bytes& frame : test::fragments_of(whole, 64)) {
        test::OwnedPacket o = test::receive(frame);
        EXPECT_EQ(ct::parse(o.packet, {}), ct::Drop::None);
        attach(o.packet, tuples.original, tuples.reply, Dir::Original);
        nat::rewrite({&o.packet, 1});
        EXPECT_EQ(o.packet.drop, o.packet.fragment == ct::Fragment::First ? drop : ct::Drop::None);
        out.emplace_back(o.packet.data, o.packet.data + o.packet.length);
    }
    return out;
}

TEST(Rewrite, FragmentsPutTogetherAgainAreTheTranslatedPacket) {
    for (const auto& [name, make] : protocols(200)) {
        if (name == "sctp" || name == "gre" || name == "pptp") continue;
        for (const Flow& f : flows()) {
            const Tuples tuples = tuples_of(f, make);
            const Ends in = before(f, Dir::Original);
            const Ends out = after(f, Dir::Original);
            const Bytes whole = make(in.from, in.to, in.id, Dir::Original).build_ip();
            const Bytes want = make(out.from, out.to, out.id, Dir::Original).build_ip();

            EXPECT_EQ(rewritten_fragments(whole, tuples), test::fragments_of(want, 64))
                << name << " " << f.client;
        }
    }
}

// The CRC of SCTP covers the whole packet; a box that holds one fragment cannot make it right.
TEST(Rewrite, AFragmentOfSctpPassesOnlyIfItsPortsStay) {
    const Make make = [](auto& a, auto& b, auto, auto) {
        return ip(a, b).sctp(a.port, b.port).payload_bytes(200);
    };
    const Flow ports_stay = flows()[0];
    const Flow ports_change = flows()[1];
    const auto whole = [&](const Flow& f) {
        const Ends in = before(f, Dir::Original);
        return make(in.from, in.to, in.id, Dir::Original).build_ip();
    };
    const Ends out = after(ports_stay, Dir::Original);
    const Bytes want = make(out.from, out.to, out.id, Dir::Original).build_ip();

    EXPECT_EQ(rewritten_fragments(whole(ports_stay), tuples_of(ports_stay, make)),
              test::fragments_of(want, 64));
    rewritten_fragments(whole(ports_change), tuples_of(ports_change, make), ct::Drop::NatFragment);
}

// Of GRE only the addresses are translated, so nothing of its header has to be known.
TEST(Rewrite, GreOfAnyVersionAndLengthIsTranslatedByItsAddresses) {
    for (const Bytes& gre : {Bytes{}, Bytes{0, 7}, Bytes{0, 7, 8, 0}, Bytes(12, 0x42)}) {
        const Make make = [&](auto& a, auto& b, auto, auto) {
            return ip(a, b).l4(ct::ipproto::kGre, gre);
        };
        expect_translated(flows()[0], make, std::to_string(gre.size()) + " bytes of GRE");
    }
}

// ---- ICMP errors: RFC 5508 REQ-4 and REQ-5.

Bytes cut(Bytes packet, std::size_t payload) {
    const std::size_t header = packet[0] >> 4U == 6 ? 40 : 20;
    packet.resize(std::min(packet.size(), header + payload));
    return packet;
}

/// An error in direction `dir` about a packet of the other direction, sent by `sender`.
void expect_error_translated(const Flow& f, const Make& make, Dir dir, const std::string& sender,
                             const std::string& sender_seen, std::size_t quoted,
                             const std::string& what) {
    const Tuples t = tuples_of(f, make);
    const Dir other = ct::opposite(dir);
    const Ends lost = after(f, other);   // as it was when it came to whoever complains
    const Ends sent = before(f, other);  // as its sender sent it
    const auto error = [&](const std::string& from, const Ends& about) {
        const Bytes inner = cut(make(about.from, about.to, about.id, other).build_ip(), quoted);
        const std::uint8_t type = f.six() ? 1 : 3;
        return ip({from, 0}, {about.from.ip, 0}).icmp_error(type, 1, inner).build();
    };

    EXPECT_EQ(rewritten(error(sender, lost), t.original, t.reply, dir), error(sender_seen, sent))
        << what;
}

TEST(Rewrite, AnErrorShowsItsReceiverThePacketThatItSent) {
    for (const std::size_t quoted : {8U, 9U, 28U, 60U, 500U})
        for (const auto& [name, make] : protocols(40)) {
            if (name == "gre" || name == "pptp" || name == "protocol 253" || name == "dccp")
                continue;
            for (const Flow& f : flows()) {
                const bool ports_change =
                    f.client_port != f.client_port_seen || f.service_port != f.service_port_real;
                if (name == "sctp" && ports_change) continue;  // the CRC inside is left
                const std::string what = name + " " + f.client + " > " + f.service + ", quoted " +
                                         std::to_string(quoted);
                for (const Dir dir : {Dir::Original, Dir::Reply}) {
                    const Ends answer = before(f, dir);
                    expect_error_translated(f, make, dir, answer.from.ip, after(f, dir).from.ip,
                                            quoted, what);
                }
            }
        }
}

// Linux drops it, too: it names a router for a destination by a name that its receiver never used.
TEST(Rewrite, ARedirectAboutATranslatedConnectionIsDropped) {
    const Flow f = flows()[1];
    const Make udp = protocols(40)[1].second;
    const Tuples t = tuples_of(f, udp);
    const Ends lost = after(f, Dir::Original);
    const Bytes inner = udp(lost.from, lost.to, lost.id, Dir::Original).build_ip();
    const Bytes redirect =
        ip({"198.51.100.254", 0}, {lost.from.ip, 0}).icmp_error(5, 1, inner).build();

    rewritten(redirect, t.original, t.reply, Dir::Reply, ct::Drop::NatRedirect);
}

TEST(Rewrite, ARouterOutsideKeepsItsAddressInTheErrorsItSends) {
    const Flow f = flows()[1];
    const Make udp = protocols(40)[1].second;

    expect_error_translated(f, udp, Dir::Reply, "198.51.100.254", "198.51.100.254", 8,
                            "traceroute");
}

// RFC 5508 REQ-5: an inside router must not show itself outside.
TEST(Rewrite, ARouterInsideHidesBehindTheMappingsAddress) {
    const Make udp = protocols(40)[1].second;

    expect_error_translated(flows()[1], udp, Dir::Original, "192.168.1.254", "203.0.113.1", 8,
                            "behind SNAT");
    expect_error_translated(flows()[2], udp, Dir::Reply, "192.168.1.254", "203.0.113.1", 8,
                            "behind DNAT");
}

// As in Linux, which asks whether the side is translated and not what of it.
TEST(Rewrite, ARouterHidesWhereOnlyAPortIsTranslatedToo) {
    const Make udp = protocols(40)[1].second;
    const Flow f = flows()[4];
    ASSERT_EQ(before(f, Dir::Original).from.ip, after(f, Dir::Original).from.ip);

    expect_error_translated(f, udp, Dir::Original, "192.168.1.254", f.client, 8, "port only");
}

TEST(Rewrite, AnErrorAboutGreOrAnUnknownProtocolIsTranslatedToo) {
    for (const auto& [name, make] : protocols(40))
        if (name == "gre" || name == "protocol 253" || name == "dccp")
            for (const Dir dir : {Dir::Original, Dir::Reply})
                expect_error_translated(flows()[0], make, dir, before(flows()[0], dir).from.ip,
                                        after(flows()[0], dir).from.ip, 40, name);
}

}  // namespace
