// SPDX-License-Identifier: BSD-3-Clause
#include "nat/nptv6.hpp"

#include "ct/wire/checksum.hpp"
#include "ct/wire/headers.hpp"

#include <algorithm>
#include <cstddef>
#include <utility>

namespace nat {
namespace {

using ct::Addr;
using ct::Be16;
using ct::Packet;

constexpr std::size_t kSource = offsetof(ct::Ipv6Header, src);
constexpr std::size_t kDestination = offsetof(ct::Ipv6Header, dst);
/// The word whose value has no counterpart: it is zero by another name (RFC 6296 3.4).
constexpr std::uint16_t kAllOnes = 0xffff;

[[nodiscard]] std::uint16_t word_of(const Addr& a, std::size_t index) noexcept {
    return ct::load<Be16>(a.bytes.data() + 2 * index).host();
}

[[nodiscard]] std::uint16_t sum_of(const Addr& a) noexcept {
    ct::PartialSum sum = 0;
    for (std::size_t i = 0; i < a.bytes.size() / 2; ++i) sum += word_of(a, i);
    return ct::fold(sum);
}

/// a - b in one's complement.
[[nodiscard]] std::uint16_t minus(std::uint16_t a, std::uint16_t b) noexcept {
    return ct::fold(ct::PartialSum{a} + std::uint16_t(~b));
}

[[nodiscard]] Addr load_addr(const std::uint8_t* at) noexcept {
    return {ct::load<ct::Ipv6Bytes>(at)};
}

[[nodiscard]] bool concerns(const Packet& p) noexcept {
    return p.alive() && p.owner != nullptr && p.ethertype == ct::ethertype::kIpv6 &&
           !p.never_tracked;
}

}  // namespace

PrefixMapping::PrefixMapping(const PrefixPair& pair) noexcept : pair_{pair} {
    const std::uint16_t internal = sum_of(pair.internal.addr);
    const std::uint16_t external = sum_of(pair.external.addr);
    outward_ = minus(internal, external);
    inward_ = minus(external, internal);
}

bool PrefixMapping::map(Addr& a, const ct::Prefix& to, std::uint16_t adjustment) const noexcept {
    // A prefix up to /48 leaves the subnet's word free, a longer one takes the first word of the
    // interface identifier that can be adjusted (RFC 6296 3.4, 3.5).
    constexpr std::size_t kSubnet = 3;
    const bool subnet = to.length <= 48;
    std::size_t at = subnet ? kSubnet : kSubnet + 1;
    while (!subnet && at < 8 && word_of(a, at) == kAllOnes) ++at;
    if (at == 8 || word_of(a, at) == kAllOnes) return false;

    std::uint16_t word = ct::fold(ct::PartialSum{word_of(a, at)} + adjustment);
    if (word == kAllOnes) word = 0;
    for (std::size_t bit = 0; bit < to.length; ++bit) {
        const auto mask = static_cast<std::uint8_t>(0x80U >> bit % 8);
        const std::uint8_t wanted = to.addr.bytes[bit / 8] & mask;
        a.bytes[bit / 8] = static_cast<std::uint8_t>((a.bytes[bit / 8] & ~mask) | wanted);
    }
    ct::store(a.bytes.data() + 2 * at, Be16::from_host(word));
    return true;
}

bool PrefixMapping::to_external(Addr& a) const noexcept {
    return map(a, pair_.external, outward_);
}

bool PrefixMapping::to_internal(Addr& a) const noexcept {
    return map(a, pair_.internal, inward_);
}

PrefixTranslator::PrefixTranslator(std::span<const PrefixPair> pairs, std::vector<Addr> own)
    : own_{std::make_unique<const std::vector<Addr>>(std::move(own))} {
    for (const PrefixPair& pair : pairs) mappings_.emplace_back(pair);
}

bool PrefixTranslator::is_own(const Addr& a) const noexcept {
    const std::vector<Addr>& own = own_.get();
    return std::find(own.begin(), own.end(), a) != own.end();
}

void PrefixTranslator::inward(std::span<Packet> packets) const noexcept {
    if (empty()) return;
    for (Packet& p : packets) {
        p.turned_round = 0;
        if (concerns(p) && !is_own(p.tuple.dst)) take_in(p);
    }
}

void PrefixTranslator::take_in(Packet& p) const noexcept {
    for (std::size_t i = 0; i < mappings_.size(); ++i) {
        const PrefixMapping& m = mappings_[i];
        if (!m.is_external(p.tuple.dst)) continue;
        const bool outside = p.in_port == m.port();
        // An error that Sluice makes about a packet which it has translated already goes back to
        // the inside, and is not turned round: its source is Sluice's own.
        const bool own = p.in_port == ct::kLocalPort;
        if (!outside && !own && !m.is_internal(p.tuple.src)) continue;
        Addr dst = p.tuple.dst;
        Addr quoted = p.inner.src;
        const bool quotes = p.icmp_error && m.is_external(quoted) && !is_own(quoted);
        if (!m.to_internal(dst) || (quotes && !m.to_internal(quoted))) {
            p.drop = ct::Drop::NptUnmappable;
            return;
        }
        ct::store(p.data + p.l3_offset + kDestination, dst.bytes);
        p.tuple.dst = dst;
        if (quotes) {
            ct::store(p.data + p.inner_l3_offset + kSource, quoted.bytes);
            p.inner.src = quoted;
        }
        if (!outside && !own) p.turned_round = static_cast<std::uint8_t>(i + 1);
        return;
    }
}

void PrefixTranslator::outward(std::span<Packet> packets) const noexcept {
    if (empty()) return;
    for (Packet& p : packets)
        if (concerns(p)) send_out(p);
}

void PrefixTranslator::send_out(Packet& p) const noexcept {
    std::uint8_t* const source = p.data + p.l3_offset + kSource;
    std::uint8_t* const quoted = p.data + p.inner_l3_offset + kDestination;
    for (std::size_t i = 0; i < mappings_.size(); ++i) {
        const PrefixMapping& m = mappings_[i];
        const bool turned = p.turned_round == i + 1;
        if (p.out_port != m.port() && !turned) continue;
        Addr src = load_addr(source);
        // What would look as if Sluice had sent it gets no answer.
        if (m.is_internal(src) && (!m.to_external(src) || is_own(src)))
            p.drop = ct::Drop::NptUnmappable;
        if (p.icmp_error) {
            Addr dst = load_addr(quoted);
            if (m.is_internal(dst) && !m.to_external(dst)) p.drop = ct::Drop::NptUnmappable;
            if (p.alive()) ct::store(quoted, dst.bytes);
        }
        if (!p.alive()) return;
        ct::store(source, src.bytes);
        // Another pair of the same port may have the prefix of the other address.
        if (turned) return;
    }
}

}  // namespace nat
