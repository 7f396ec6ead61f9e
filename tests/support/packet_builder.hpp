// SPDX-License-Identifier: BSD-3-Clause
//
// Builds frames for tests, layer by layer, with every length and checksum right unless the test
// asks for a wrong one:
//
//     PacketBuilder{}.ipv4("192.0.2.1", "198.51.100.1").tcp(40000,
//     80).flags("S").seq(1000).build(); PacketBuilder{}.vlan(7).ipv6("2001:db8::1",
//     "2001:db8::2").udp(53, 53).payload("hi").build(); PacketBuilder{}.ipv4(router,
//     client).icmp_error(3, 1, lost.build_ip()).build();
//
// The Ethernet header is always there; eth() only changes its addresses. Name the network layer
// before the transport (icmp() and fragment() look at the family); among the rest the order is
// free. A transport replaces the one before, and tags, extension headers and chunks stand in the
// order of the calls. A builder is a value: copy it to make variants of one packet.
#pragma once

#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"
#include "ct/wire/packet.hpp"

#include <algorithm>
#include <arpa/inet.h>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace test {

using Bytes = std::vector<std::uint8_t>;

/// "192.0.2.1" or "2001:db8::1" as an address; throws std::invalid_argument for anything else.
[[nodiscard]] inline ct::Addr addr(std::string_view text) {
    ct::Addr out;
    const std::string copy{text};
    const int family = copy.find(':') == std::string::npos ? AF_INET : AF_INET6;
    if (inet_pton(family, copy.c_str(), out.bytes.data()) != 1)
        throw std::invalid_argument("no address: " + copy);
    return out;
}

/// "02:00:00:00:00:01" as a MAC address; throws std::invalid_argument for anything else.
[[nodiscard]] inline ct::MacAddr mac(std::string_view text) {
    ct::MacAddr out{};
    const std::string copy{text};
    if (std::sscanf(copy.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &out[0], &out[1], &out[2],
                    &out[3], &out[4], &out[5]) != 6)
        throw std::invalid_argument("no MAC address: " + copy);
    return out;
}

/// "45000028..." as bytes; throws std::invalid_argument for anything else.
[[nodiscard]] inline Bytes from_hex(std::string_view text) {
    if (text.size() % 2 != 0) throw std::invalid_argument("odd number of hex digits");
    Bytes out;
    for (std::size_t i = 0; i < text.size(); i += 2)
        out.push_back(
            static_cast<std::uint8_t>(std::stoul(std::string{text.substr(i, 2)}, nullptr, 16)));
    return out;
}

/// TCP flags from letters: F S R P A U, E (ECE), C (CWR); "." stands for A as in tcpdump.
[[nodiscard]] inline std::uint8_t tcp_flags(std::string_view letters) {
    std::uint8_t out = 0;
    for (const char c : letters) {
        const auto bit = std::string_view{"FSRPAUEC"}.find(c == '.' ? 'A' : c);
        if (bit == std::string_view::npos) throw std::invalid_argument("no TCP flag");
        out = static_cast<std::uint8_t>(out | 1U << bit);
    }
    return out;
}

class PacketBuilder {
public:
    // ---- Link.

    /// Source and destination MAC; "02:00:00:00:00:01" to "02:00:00:00:00:02" if never called.
    PacketBuilder& eth(std::string_view src, std::string_view dst) {
        eth_src_ = mac(src);
        eth_dst_ = mac(dst);
        return *this;
    }
    /// Adds an 802.1Q tag (or one with another EtherType) behind those already there.
    PacketBuilder& vlan(std::uint16_t id, std::uint16_t type = ct::ethertype::kVlan) {
        tags_.emplace_back(type, id);
        return *this;
    }
    /// Adds an 802.1ad service tag; follow it with vlan() for QinQ.
    PacketBuilder& qinq(std::uint16_t id) { return vlan(id, ct::ethertype::kQinq); }
    /// The innermost EtherType, instead of the one that belongs to the network layer.
    PacketBuilder& ethertype(std::uint16_t type) { return set(ethertype_, type); }
    /// Zero bytes behind the packet until the frame has `size` bytes (60: what Ethernet pads to).
    PacketBuilder& pad_to(std::size_t size) {
        pad_to_ = size;
        return *this;
    }
    /// An ARP packet; operation 1 asks, 2 answers. The sender's MAC is that of eth().
    PacketBuilder& arp(std::uint16_t operation, std::string_view sender, std::string_view target) {
        family_ = ct::Family::None;
        ct::ArpHeader h{};
        h.hardware = ct::Be16::from_host(ct::ArpHeader::kEthernet);
        h.protocol = ct::Be16::from_host(ct::ethertype::kIpv4);
        h.hardware_size = 6;
        h.protocol_size = 4;
        h.operation = ct::Be16::from_host(operation);
        h.sender_mac = eth_src_;
        std::copy_n(addr(sender).bytes.begin(), 4, h.sender_ip.begin());
        std::copy_n(addr(target).bytes.begin(), 4, h.target_ip.begin());
        raw_l3_ = bytes_of(h);
        return ethertype(ct::ethertype::kArp);
    }
    /// Any bytes behind the Ethernet header; use with ethertype().
    PacketBuilder& l3(Bytes bytes) {
        family_ = ct::Family::None;
        raw_l3_ = std::move(bytes);
        return *this;
    }

    // ---- Network.

    PacketBuilder& ipv4(std::string_view src, std::string_view dst) {
        return ip(ct::Family::Ipv4, src, dst);
    }
    PacketBuilder& ipv6(std::string_view src, std::string_view dst) {
        return ip(ct::Family::Ipv6, src, dst);
    }
    /// TTL or hop limit; 64 if never called.
    PacketBuilder& ttl(std::uint8_t hops) {
        ttl_ = hops;
        return *this;
    }
    /// Type of service or traffic class.
    PacketBuilder& tos(std::uint8_t value) {
        tos_ = value;
        return *this;
    }
    /// IPv4 identification, or the IPv6 fragment header's.
    PacketBuilder& id(std::uint32_t id) {
        id_ = id;
        return *this;
    }
    PacketBuilder& dont_fragment() {
        dont_fragment_ = true;
        return *this;
    }
    /// Makes this a fragment at `offset` bytes (a multiple of 8). IPv6 gets a fragment header
    /// behind the extension headers so far. A later fragment's bytes are set with l4().
    PacketBuilder& fragment(std::uint16_t offset, bool more) {
        fragment_ = std::uint16_t(offset / 8);
        more_ = more;
        if (family_ == ct::Family::Ipv6) extensions_.push_back({ct::ipext::kFragment, {}});
        return *this;
    }
    /// IPv4 options; padded with zeros to a multiple of 4.
    PacketBuilder& ip_options(Bytes options) {
        options.resize((options.size() + 3) / 4 * 4);
        ip_options_ = std::move(options);
        return *this;
    }
    /// An IPv6 extension header of any kind: `body` is what follows next header and length, and is
    /// padded so that the header is a multiple of 8 (authentication: the caller gives 4n+2 bytes).
    PacketBuilder& extension(std::uint8_t kind, Bytes body) {
        if (kind != ct::ipext::kAuthentication) body.resize((body.size() + 2 + 7) / 8 * 8 - 2);
        extensions_.push_back({kind, std::move(body)});
        return *this;
    }
    PacketBuilder& hop_by_hop() { return extension(ct::ipext::kHopByHop, {1, 4, 0, 0, 0, 0}); }
    PacketBuilder& destination() { return extension(ct::ipext::kDestination, {1, 4, 0, 0, 0, 0}); }
    PacketBuilder& routing(std::uint8_t type, std::uint8_t segments_left) {
        Bytes body(22);
        body[0] = type;
        body[1] = segments_left;
        return extension(ct::ipext::kRouting, std::move(body));
    }
    /// IPv6 authentication header with an ICV of 12 bytes (RFC 4302).
    PacketBuilder& authentication() { return extension(ct::ipext::kAuthentication, Bytes(22, 1)); }

    // ---- Transport.

    PacketBuilder& tcp(std::uint16_t sport, std::uint16_t dport) {
        return transport(ct::ipproto::kTcp, sport, dport);
    }
    /// TCP flags as letters, see tcp_flags(). "S" if never called.
    PacketBuilder& flags(std::string_view letters) {
        flags_ = tcp_flags(letters);
        return *this;
    }
    PacketBuilder& seq(std::uint32_t n) {
        seq_ = n;
        return *this;
    }
    PacketBuilder& ack(std::uint32_t n) {
        ack_ = n;
        return *this;
    }
    PacketBuilder& window(std::uint16_t n) {
        window_ = n;
        return *this;
    }
    /// TCP options; padded with zeros (end of list) to a multiple of 4.
    PacketBuilder& tcp_options(Bytes options) {
        options.resize((options.size() + 3) / 4 * 4);
        tcp_options_ = std::move(options);
        return *this;
    }
    PacketBuilder& udp(std::uint16_t sport, std::uint16_t dport) {
        return transport(ct::ipproto::kUdp, sport, dport);
    }
    /// `coverage` as on the wire: 0 covers everything.
    PacketBuilder& udplite(std::uint16_t sport, std::uint16_t dport, std::uint16_t coverage = 0) {
        coverage_ = coverage;
        return transport(ct::ipproto::kUdplite, sport, dport);
    }
    /// An SCTP packet; without chunk() it gets one DATA chunk with the payload.
    PacketBuilder& sctp(std::uint16_t sport, std::uint16_t dport, std::uint32_t tag = 1) {
        seq_ = tag;
        return transport(ct::ipproto::kSctp, sport, dport);
    }
    /// Adds an SCTP chunk; its padding is added, and not counted in its length (RFC 9260 3.2).
    PacketBuilder& chunk(std::uint8_t type, const Bytes& body, std::uint8_t flag_bits = 0) {
        append(chunks_,
               ct::SctpChunk{type, flag_bits, ct::Be16::from_host(std::uint16_t(body.size() + 4))});
        append(chunks_, body);
        chunks_.resize((chunks_.size() + 3) / 4 * 4);
        return *this;
    }
    /// An ICMP or ICMPv6 message (by family): the four bytes behind the checksum are id and
    /// sequence; the payload follows.
    PacketBuilder& icmp(std::uint8_t type, std::uint8_t code, std::uint16_t query_id = 0,
                        std::uint16_t sequence = 0) {
        icmp_ = {type, code, {}, ct::Be16::from_host(query_id), ct::Be16::from_host(sequence)};
        proto_ = family_ == ct::Family::Ipv6 ? ct::ipproto::kIcmpv6 : ct::ipproto::kIcmp;
        return *this;
    }
    PacketBuilder& echo(std::uint16_t query_id, std::uint16_t sequence = 1) {
        return icmp(family_ == ct::Family::Ipv6 ? 128 : 8, 0, query_id, sequence);
    }
    PacketBuilder& echo_reply(std::uint16_t query_id, std::uint16_t sequence = 1) {
        return icmp(family_ == ct::Family::Ipv6 ? 129 : 0, 0, query_id, sequence);
    }
    /// An ICMP error about `inner`, the bytes of an IP packet (build_ip()), cut as the test likes.
    PacketBuilder& icmp_error(std::uint8_t type, std::uint8_t code, Bytes inner) {
        icmp(type, code);
        payload_ = std::move(inner);
        return *this;
    }
    /// GRE version 0 (RFC 2784), with RFC 2890's key if one is given.
    PacketBuilder& gre(std::uint16_t protocol, std::optional<std::uint32_t> key = std::nullopt) {
        Bytes header;
        append(header, ct::GreHeader{ct::Be16::from_host(key ? ct::GreHeader::kKey : 0),
                                     ct::Be16::from_host(protocol)});
        if (key) append(header, ct::Be32::from_host(*key));
        return l4(ct::ipproto::kGre, std::move(header));
    }
    /// GRE version 1 with a sequence number (RFC 2637 4.1).
    PacketBuilder& pptp(std::uint16_t call_id, std::uint16_t payload_length = 0) {
        Bytes header;
        append(header, ct::GreHeader{ct::Be16::from_host(0x3001),
                                     ct::Be16::from_host(ct::GreHeader::kPpp)});
        append(header,
               ct::PptpKey{ct::Be16::from_host(payload_length), ct::Be16::from_host(call_id)});
        append(header, ct::Be32::from_host(1));
        return l4(ct::ipproto::kGre, std::move(header));
    }
    /// Any protocol with any bytes behind the IP header; payload() goes behind them.
    PacketBuilder& l4(std::uint8_t proto, Bytes bytes) {
        proto_ = proto;
        raw_l4_ = std::move(bytes);
        return *this;
    }
    PacketBuilder& payload(std::string_view text) {
        payload_.assign(text.begin(), text.end());
        return *this;
    }
    /// `size` bytes that differ from one another.
    PacketBuilder& payload_bytes(std::size_t size) {
        payload_.resize(size);
        for (std::size_t i = 0; i < size; ++i) payload_[i] = static_cast<std::uint8_t>(i * 7 + 1);
        return *this;
    }

    // ---- Wrong on purpose: the value written instead of the right one.

    PacketBuilder& with_ip_version(std::uint8_t v) { return set(ip_version_, v); }
    PacketBuilder& with_ihl(std::uint8_t words) { return set(ihl_, words); }
    /// IPv4 total length or IPv6 payload length.
    PacketBuilder& with_ip_length(std::uint16_t n) { return set(ip_length_, n); }
    PacketBuilder& with_ip_checksum(std::uint16_t n) { return set(ip_checksum_, n); }
    PacketBuilder& with_data_offset(std::uint8_t words) { return set(data_offset_, words); }
    PacketBuilder& with_udp_length(std::uint16_t n) { return set(udp_length_, n); }
    /// TCP, UDP, UDP-Lite, ICMP, ICMPv6; host order.
    PacketBuilder& with_l4_checksum(std::uint16_t n) { return set(l4_checksum_, n); }
    /// SCTP, as SctpHeader::checksum.
    PacketBuilder& with_sctp_checksum(std::uint32_t n) { return set(sctp_checksum_, n); }

    // ---- Results.

    /// The frame from its Ethernet header on.
    [[nodiscard, gnu::noinline]] Bytes build() const {
        Bytes out;
        const std::uint16_t type = ethertype_.value_or(
            family_ == ct::Family::Ipv6 ? ct::ethertype::kIpv6 : ct::ethertype::kIpv4);
        const std::uint16_t outer = tags_.empty() ? type : tags_.front().first;
        append(out, ct::EthernetHeader{eth_dst_, eth_src_, ct::Be16::from_host(outer)});
        for (std::size_t i = 0; i < tags_.size(); ++i) {
            const std::uint16_t next = i + 1 < tags_.size() ? tags_[i + 1].first : type;
            append(out,
                   ct::VlanTag{ct::Be16::from_host(tags_[i].second), ct::Be16::from_host(next)});
        }
        const Bytes packet = build_ip();
        append(out, packet);
        if (out.size() < pad_to_) out.resize(pad_to_);
        return out;
    }

    /// The packet from its IP header on: for icmp_error(), or for link type RAW.
    [[nodiscard, gnu::noinline]] Bytes build_ip() const {
        if (family_ == ct::Family::None) return raw_l3_;
        const Bytes l4 = build_l4();
        return family_ == ct::Family::Ipv4 ? build_ipv4(l4) : build_ipv6(l4);
    }

private:
    struct Extension {
        std::uint8_t kind;
        Bytes body;
    };

    /// Not inline: g++ 12 would see overreads in the vectors that are none, and compile for ages.
    [[gnu::noinline]] static void append(Bytes& out, const void* from, std::size_t size) {
        const auto* bytes = static_cast<const std::uint8_t*>(from);
        out.insert(out.end(), bytes, bytes + size);
    }
    static void append(Bytes& out, const Bytes& more) { append(out, more.data(), more.size()); }
    template <ct::WireFormat T>
    static void append(Bytes& out, const T& header) {
        append(out, &header, sizeof header);
    }
    template <ct::WireFormat T>
    [[nodiscard]] static Bytes bytes_of(const T& header) {
        Bytes out;
        append(out, header);
        return out;
    }
    template <class T>
    PacketBuilder& set(std::optional<T>& field, T value) {
        field = value;
        return *this;
    }

    PacketBuilder& ip(ct::Family family, std::string_view src, std::string_view dst) {
        family_ = family;
        src_ = addr(src);
        dst_ = addr(dst);
        return *this;
    }
    PacketBuilder& transport(std::uint8_t proto, std::uint16_t sport, std::uint16_t dport) {
        proto_ = proto;
        sport_ = ct::Be16::from_host(sport);
        dport_ = ct::Be16::from_host(dport);
        raw_l4_.reset();
        return *this;
    }

    [[nodiscard]] Bytes build_l4() const {
        Bytes out;
        if (raw_l4_) {
            out = *raw_l4_;
            append(out, payload_);
            return out;
        }
        switch (proto_) {
            case ct::ipproto::kTcp:
                return build_tcp();
            case ct::ipproto::kUdp:
                return build_udp();
            case ct::ipproto::kUdplite:
                return build_udplite();
            case ct::ipproto::kSctp:
                return build_sctp();
            case ct::ipproto::kIcmp:
            case ct::ipproto::kIcmpv6:
                return build_icmp();
            default:
                return payload_;
        }
    }

    [[nodiscard, gnu::noinline]] Bytes build_tcp() const {
        const auto words = static_cast<std::uint8_t>(5 + tcp_options_.size() / 4);
        Bytes out;
        append(out, ct::TcpHeader{sport_,
                                  dport_,
                                  ct::Be32::from_host(seq_),
                                  ct::Be32::from_host(ack_),
                                  std::uint8_t(data_offset_.value_or(words) << 4U),
                                  flags_,
                                  ct::Be16::from_host(window_),
                                  {},
                                  {}});
        append(out, tcp_options_);
        append(out, payload_);
        return seal(std::move(out), offsetof(ct::TcpHeader, checksum));
    }
    [[nodiscard, gnu::noinline]] Bytes build_udp() const {
        const auto length = static_cast<std::uint16_t>(8 + payload_.size());
        Bytes out;
        append(out, ct::UdpHeader{
                        sport_, dport_, ct::Be16::from_host(udp_length_.value_or(length)), {}});
        append(out, payload_);
        return seal(std::move(out), offsetof(ct::UdpHeader, checksum));
    }
    [[nodiscard, gnu::noinline]] Bytes build_udplite() const {
        Bytes out;
        append(out, ct::UdpliteHeader{sport_, dport_, ct::Be16::from_host(coverage_), {}});
        append(out, payload_);
        const std::size_t covered =
            coverage_ == 0 ? out.size() : std::min<std::size_t>(coverage_, out.size());
        const auto sum = ct::add_sums(
            ct::pseudo_sum(src_, dst_, family_, proto_, static_cast<std::uint32_t>(out.size())),
            ct::sum_bytes(std::span{out}.first(covered)));
        put_checksum(out, offsetof(ct::UdpliteHeader, checksum), ct::finish_udp(sum));
        return out;
    }
    [[nodiscard, gnu::noinline]] Bytes build_sctp() const {
        Bytes out;
        append(out, ct::SctpHeader{sport_, dport_, ct::Be32::from_host(seq_), 0});
        if (chunks_.empty()) {
            PacketBuilder data;
            Bytes body(12);  // TSN, stream id, stream sequence, payload protocol
            append(body, payload_);
            data.chunk(0, body, 3);
            append(out, data.chunks_);
        } else {
            append(out, chunks_);
        }
        ct::store(out.data() + offsetof(ct::SctpHeader, checksum),
                  sctp_checksum_.value_or(ct::sctp_checksum(out)));
        return out;
    }
    [[nodiscard, gnu::noinline]] Bytes build_icmp() const {
        Bytes out = bytes_of(icmp_);
        append(out, payload_);
        const std::size_t at = offsetof(ct::IcmpHeader, checksum);
        if (proto_ == ct::ipproto::kIcmpv6) return seal(std::move(out), at);
        put_checksum(out, at, ct::internet_checksum(out));
        return out;
    }
    [[nodiscard]] Bytes seal(Bytes out, std::size_t at) const {
        put_checksum(out, at, ct::transport_checksum(src_, dst_, family_, proto_, out));
        return out;
    }
    void put_checksum(Bytes& out, std::size_t at, ct::Be16 right) const {
        ct::store(out.data() + at, l4_checksum_ ? ct::Be16::from_host(*l4_checksum_) : right);
    }

    [[nodiscard, gnu::noinline]] Bytes build_ipv4(const Bytes& l4) const {
        const std::size_t header = sizeof(ct::Ipv4Header) + ip_options_.size();
        ct::Ipv4Header h{};
        h.version_ihl = static_cast<std::uint8_t>(
            ip_version_.value_or(4) << 4U |
            (ihl_.value_or(static_cast<std::uint8_t>(header / 4)) & 0x0fU));
        h.total_length = ct::Be16::from_host(
            ip_length_.value_or(static_cast<std::uint16_t>(header + l4.size())));
        h.id = ct::Be16::from_host(static_cast<std::uint16_t>(id_));
        h.flags_offset = ct::Be16::from_host(static_cast<std::uint16_t>(
            fragment_.value_or(0) | (more_ ? ct::Ipv4Header::kMoreFragments : 0) |
            (dont_fragment_ ? ct::Ipv4Header::kDontFragment : 0)));
        h.tos = tos_;
        h.ttl = ttl_;
        h.protocol = proto_;
        h.src = src_.as_v4();
        h.dst = dst_.as_v4();
        Bytes out = bytes_of(h);
        append(out, ip_options_);
        h.checksum = ip_checksum_ ? ct::Be16::from_host(*ip_checksum_) : ct::internet_checksum(out);
        ct::store(out.data(), h);
        append(out, l4);
        return out;
    }

    [[nodiscard, gnu::noinline]] Bytes build_ipv6(const Bytes& l4) const {
        Bytes body;
        for (std::size_t i = 0; i < extensions_.size(); ++i) {
            const Extension& e = extensions_[i];
            const auto next = i + 1 < extensions_.size() ? extensions_[i + 1].kind : proto_;
            if (e.kind == ct::ipext::kFragment) {
                append(body, ct::Ipv6Fragment{next, 0,
                                              ct::Be16::from_host(static_cast<std::uint16_t>(
                                                  fragment_.value_or(0) * 8 + (more_ ? 1 : 0))),
                                              ct::Be32::from_host(id_)});
                continue;
            }
            const std::size_t size = e.body.size() + 2;
            const std::size_t units =
                e.kind == ct::ipext::kAuthentication ? size / 4 - 2 : size / 8 - 1;
            append(body, ct::Ipv6Extension{next, static_cast<std::uint8_t>(units)});
            append(body, e.body);
        }
        append(body, l4);
        ct::Ipv6Header h{};
        h.version_class_flow = ct::Be32::from_host(std::uint32_t{ip_version_.value_or(6)} << 28U |
                                                   std::uint32_t{tos_} << 20U);
        h.payload_length =
            ct::Be16::from_host(ip_length_.value_or(static_cast<std::uint16_t>(body.size())));
        h.next_header = extensions_.empty() ? proto_ : extensions_.front().kind;
        h.hop_limit = ttl_;
        h.src = src_.bytes;
        h.dst = dst_.bytes;
        Bytes out = bytes_of(h);
        append(out, body);
        return out;
    }

    ct::MacAddr eth_src_{2, 0, 0, 0, 0, 1};
    ct::MacAddr eth_dst_{2, 0, 0, 0, 0, 2};
    std::vector<std::pair<std::uint16_t, std::uint16_t>> tags_;  // EtherType of the tag, VLAN id
    std::optional<std::uint16_t> ethertype_;
    std::size_t pad_to_ = 0;
    Bytes raw_l3_;

    ct::Family family_ = ct::Family::None;
    ct::Addr src_;
    ct::Addr dst_;
    std::uint8_t ttl_ = 64;
    std::uint8_t tos_ = 0;
    std::uint32_t id_ = 1;
    bool dont_fragment_ = false;
    bool more_ = false;
    std::optional<std::uint16_t> fragment_;  // in units of 8 bytes
    Bytes ip_options_;
    std::vector<Extension> extensions_;

    std::uint8_t proto_ = 253;  // for experiments, RFC 3692
    ct::Be16 sport_;
    ct::Be16 dport_;
    std::uint8_t flags_ = ct::tcpflag::kSyn;
    std::uint32_t seq_ = 1000;  // of TCP; the verification tag of SCTP
    std::uint32_t ack_ = 0;
    std::uint16_t window_ = 64240;
    Bytes tcp_options_;
    std::uint16_t coverage_ = 0;
    Bytes chunks_;
    ct::IcmpHeader icmp_{};
    std::optional<Bytes> raw_l4_;
    Bytes payload_;

    std::optional<std::uint8_t> ip_version_;
    std::optional<std::uint8_t> ihl_;
    std::optional<std::uint16_t> ip_length_;
    std::optional<std::uint16_t> ip_checksum_;
    std::optional<std::uint8_t> data_offset_;
    std::optional<std::uint16_t> udp_length_;
    std::optional<std::uint16_t> l4_checksum_;
    std::optional<std::uint32_t> sctp_checksum_;
};

/// A ct::Packet together with its bytes, in a heap buffer of exactly their size, so that the
/// AddressSanitizer sees any read past them. Movable; the packet's `data` stays right.
struct OwnedPacket {
    std::unique_ptr<std::uint8_t[]> bytes;
    ct::Packet packet;
};

/// `frame` as a port hands it to the pipeline.
[[nodiscard]] inline OwnedPacket receive(std::span<const std::uint8_t> frame,
                                         ct::PortId in_port = 0) {
    OwnedPacket out;
    out.bytes = std::make_unique<std::uint8_t[]>(frame.size());
    std::copy(frame.begin(), frame.end(), out.bytes.get());
    out.packet.data = out.bytes.get();
    out.packet.length = static_cast<std::uint32_t>(frame.size());
    out.packet.in_port = in_port;
    return out;
}
[[nodiscard]] inline OwnedPacket receive(const PacketBuilder& builder, ct::PortId in_port = 0) {
    return receive(builder.build(), in_port);
}

/// Bytes of an IP packet behind an Ethernet header, with the EtherType of its version.
[[nodiscard]] inline Bytes with_ethernet(Bytes ip_packet) {
    const bool six = !ip_packet.empty() && ip_packet[0] >> 4U == 6;
    return PacketBuilder{}
        .ethertype(six ? ct::ethertype::kIpv6 : ct::ethertype::kIpv4)
        .l3(std::move(ip_packet))
        .build();
}

/// A whole IPv4 packet without options or an IPv6 packet without extension headers (build_ip()), as
/// frames with fragments of at most `size` bytes each (a multiple of 8), in order.
[[nodiscard]] inline std::vector<Bytes> fragments_of(const Bytes& ip_packet, std::size_t size,
                                                     std::uint32_t id = 1) {
    const bool six = ip_packet.at(0) >> 4U == 6;
    const std::size_t header = six ? sizeof(ct::Ipv6Header) : sizeof(ct::Ipv4Header);
    const Bytes body(ip_packet.begin() + static_cast<std::ptrdiff_t>(header), ip_packet.end());
    const auto text = [&](std::size_t at) {
        char buffer[INET6_ADDRSTRLEN];
        return std::string{
            inet_ntop(six ? AF_INET6 : AF_INET, &ip_packet[at], buffer, sizeof buffer)};
    };
    std::vector<Bytes> out;
    for (std::size_t at = 0; at < body.size(); at += size) {
        const std::size_t count = std::min(size, body.size() - at);
        const auto from = body.begin() + static_cast<std::ptrdiff_t>(at);
        PacketBuilder b;
        if (six)
            b.ipv6(text(8), text(24));
        else
            b.ipv4(text(12), text(16));
        b.id(id).fragment(static_cast<std::uint16_t>(at), at + count < body.size());
        b.l4(ip_packet[six ? 6 : 9], Bytes(from, from + static_cast<std::ptrdiff_t>(count)));
        out.push_back(b.build());
    }
    return out;
}

}  // namespace test
