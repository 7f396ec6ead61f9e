// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as a packet of a connection between IPv6 and IPv4: whatever parse() lets pass is
// translated within its buffer or dropped for a reason, and what comes out is a packet again, with
// checksums that are right if they were.
//
// The first byte says how: bit 0 direction, bit 1 policy for UDP without checksum, bit 2 a buffer
// without headroom, bit 3 the well-known prefix; the rest is the frame. Its addresses become those
// of the connection, and checksums are made right, so that most inputs get as far as the
// translator.
#include "ct/conn/status.hpp"
#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "ct/wire/parse.hpp"
#include "nat/family.hpp"
#include "nat/nptv6.hpp"
#include "nat/pref64.hpp"
#include "tests/support/packet_invariants.hpp"

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

namespace {

using ct::Drop;
using ct::Packet;

constexpr std::size_t kHeadroom = 128;

void require(bool holds, const std::string& what) {
    if (holds) return;
    std::fprintf(stderr, "family_fuzz: %s\n", what.c_str());
    std::abort();
}

ct::Addr four_of(std::uint8_t last) {
    return ct::Addr::v4(ct::Be32::from_host(0xc633'6400U + last));  // 198.51.100.0/24
}
ct::Addr six_of(std::uint8_t last) {
    ct::Addr a{{0x20, 0x01, 0x0d, 0xb8}};
    a.bytes[15] = last;
    return a;
}

/// The connection that p belongs to, if it is one of a protocol that crosses.
bool attach(Packet& p, bool reply, const ct::Prefix& prefix) {
    const ct::Tuple& t = p.icmp_error ? p.inner : p.tuple;
    const bool icmp = ct::is_icmp(t.proto);
    const bool ports = t.proto == ct::ipproto::kTcp || t.proto == ct::ipproto::kUdp ||
                       t.proto == ct::ipproto::kUdplite || t.proto == ct::ipproto::kSctp;
    if (!icmp && !ports) return false;
    ct::Tuple& o = p.original;
    ct::Tuple& r = p.reply;
    o = r = {};
    o.family = ct::Family::Ipv6;
    o.src = six_of(1);
    o.dst = nat::embed(prefix, four_of(2));
    o.proto = icmp ? ct::ipproto::kIcmpv6 : t.proto;
    o.sport = ct::Be16::from_host(1111);
    o.dport = icmp ? ct::icmp_type_code(128, 0) : ct::Be16::from_host(80);
    r.family = ct::Family::Ipv4;
    r.src = four_of(2);
    r.dst = four_of(3);
    r.proto = icmp ? ct::ipproto::kIcmp : t.proto;
    r.sport = ct::Be16::from_host(icmp ? 2222 : 80);
    r.dport = icmp ? ct::icmp_type_code(0, 0) : ct::Be16::from_host(2222);
    p.conn = {0, 1};
    p.dir = reply ? ct::Dir::Reply : ct::Dir::Original;
    p.status = ct::status::kNatMask;
    return true;
}

void translate(std::span<const std::uint8_t> frame, std::uint8_t how) {
    const std::size_t headroom = (how & 4U) != 0 ? 0 : kHeadroom;
    const auto buffer = std::make_unique<std::uint8_t[]>(headroom + frame.size());
    if (!frame.empty()) std::memcpy(buffer.get() + headroom, frame.data(), frame.size());
    Packet p;
    p.begin(buffer.get() + headroom, static_cast<std::uint32_t>(frame.size()), 0, buffer.get());
    p.headroom = static_cast<std::uint16_t>(headroom);
    if (ct::parse(p, {.checksum = false}) != Drop::None || p.ethertype == ct::ethertype::kArp)
        return;
    const bool right = [&] {
        Packet strict = p;
        return ct::parse(strict, {}) == Drop::None;
    }();
    // From the IPv6 side it is of the original direction, from the other of the reply's.
    const ct::Prefix prefix =
        (how & 8U) != 0 ? nat::kWellKnownPrefix
                        : ct::Prefix{{{0x20, 0x01, 0x0d, 0xb8, 0, 0x64}}, 48, ct::Family::Ipv6};
    if (!attach(p, p.tuple.family == ct::Family::Ipv4, prefix)) return;
    const nat::Fit fit = nat::fit_of(p, 1500);
    require(fit.size != 0, "a packet of no size");
    static_cast<void>(nat::ipv6_side(p));

    nat::FamilySettings settings;
    if ((how & 2U) != 0) settings.zero_checksum = nat::ZeroChecksum::Drop;
    nat::FamilyTranslator translator{settings, {1500}, 1};
    const auto before = p.tuple.family;
    translator.translate(0, {&p, 1});
    if (!p.alive()) return;
    require(p.data >= buffer.get(), "the packet begins before its buffer");
    require(p.data + p.length <= buffer.get() + headroom + frame.size(), "it ends behind it");
    Packet out;
    out.data = p.data;
    out.length = p.length;
    const Drop drop = ct::parse(out, {.checksum = right});
    // An address of the frame may have been one that no packet may carry: that is parse()'s to say.
    require(drop == Drop::None || drop == Drop::BadIpAddress || drop == Drop::BadTcpFlags,
            "what came out is no packet: " + std::string{ct::name_of(drop)});
    if (drop != Drop::None) return;
    require(out.tuple.family != before, "it has not changed its family");
    require(out.l4_offset == p.l4_offset && out.end == p.end && out.l3_offset == p.l3_offset,
            "its offsets are not where its headers are");
    require(test::fault_in(out).empty(), test::fault_in(out));
}

/// The same frame at the border of a prefix, both ways: nothing but addresses changes, and no sum.
void cross_border(std::span<const std::uint8_t> frame) {
    const nat::PrefixPair pair{{{{0xfd, 0x01}}, 48, ct::Family::Ipv6},
                               {{{0x20, 0x01, 0x0d, 0xb8}}, 48, ct::Family::Ipv6},
                               1,
                               0};
    const nat::PrefixTranslator translator{std::span{&pair, 1}, {}};
    const auto buffer = std::make_unique<std::uint8_t[]>(frame.size());
    if (!frame.empty()) std::memcpy(buffer.get(), frame.data(), frame.size());
    Packet p;
    p.begin(buffer.get(), static_cast<std::uint32_t>(frame.size()), 1, buffer.get());
    if (ct::parse(p, {.checksum = false}) != Drop::None) return;
    Packet strict = p;
    const bool right = ct::parse(strict, {}) == Drop::None;
    p.out_port = 1;
    translator.inward({&p, 1});
    translator.outward({&p, 1});
    if (!p.alive()) return;
    Packet again;
    again.data = p.data;
    again.length = p.length;
    const Drop drop = ct::parse(again, {.checksum = right});
    require(drop == Drop::None || drop == Drop::BadIpAddress, "NPTv6 broke a packet");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    const std::span input{data + 1, size - 1};
    translate(input, data[0]);
    cross_border(input);
    return 0;
}
