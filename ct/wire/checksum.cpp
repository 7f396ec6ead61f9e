// SPDX-License-Identifier: BSD-3-Clause
#include "ct/wire/checksum.hpp"

#include "ct/wire/headers.hpp"

#include <array>
#include <cassert>
#include <cstring>
#include <immintrin.h>

namespace ct {
namespace {

/// Adds with the carry brought round, eight bytes at a time.
[[nodiscard]] inline PartialSum add_word(PartialSum sum, const std::uint8_t* at) noexcept {
    return add_sums(sum, load<std::uint64_t>(at));
}

/// The last 0 to 7 bytes as a word whose missing bytes are zero.
[[nodiscard]] inline std::uint64_t load_tail(const std::uint8_t* at, std::size_t count) noexcept {
    std::uint64_t word = 0;
    if ((count & 4U) != 0) {
        word = load<std::uint32_t>(at);
        at += 4;
    }
    if ((count & 2U) != 0) {
        word |= std::uint64_t{load<std::uint16_t>(at)} << (8 * (count & 4U));
        at += 2;
    }
    if ((count & 1U) != 0) word |= std::uint64_t{*at} << (8 * (count & 6U));
    return word;
}

[[nodiscard]] std::uint32_t crc32c(std::uint32_t crc,
                                   std::span<const std::uint8_t> bytes) noexcept {
    const std::uint8_t* at = bytes.data();
    std::size_t left = bytes.size();
    for (; left >= 8; left -= 8, at += 8)
        crc = static_cast<std::uint32_t>(_mm_crc32_u64(crc, load<std::uint64_t>(at)));
    for (; left > 0; --left, ++at) crc = _mm_crc32_u8(crc, *at);
    return crc;
}

}  // namespace

PartialSum sum_bytes(std::span<const std::uint8_t> bytes) noexcept {
    const std::uint8_t* at = bytes.data();
    std::size_t left = bytes.size();
    // Two chains, so that an addition need not wait for the carry of the one before.
    PartialSum even = 0;
    PartialSum odd = 0;
    for (; left >= 16; left -= 16, at += 16) {
        even = add_word(even, at);
        odd = add_word(odd, at + 8);
    }
    if (left >= 8) {
        even = add_word(even, at);
        left -= 8;
        at += 8;
    }
    if (left > 0) odd = add_sums(odd, load_tail(at, left));
    return add_sums(even, odd);
}

PartialSum pseudo_sum(const Addr& src, const Addr& dst, Family family, std::uint8_t proto,
                      std::uint32_t length) noexcept {
    const PartialSum rest =
        PartialSum{Be32::from_host(length).raw()} + Be32::from_host(proto).raw();
    if (family == Family::Ipv4) return rest + src.as_v4().raw() + dst.as_v4().raw();
    PartialSum sum = add_word(rest, src.bytes.data());
    sum = add_word(sum, src.bytes.data() + 8);
    sum = add_word(sum, dst.bytes.data());
    return add_word(sum, dst.bytes.data() + 8);
}

Be16 transport_checksum(const Addr& src, const Addr& dst, Family family, std::uint8_t proto,
                        std::span<const std::uint8_t> segment) noexcept {
    const auto length = static_cast<std::uint32_t>(segment.size());
    const PartialSum sum =
        add_sums(pseudo_sum(src, dst, family, proto, length), sum_bytes(segment));
    return proto == ipproto::kUdp || proto == ipproto::kUdplite ? finish_udp(sum) : finish(sum);
}

std::uint32_t sctp_checksum(std::span<const std::uint8_t> packet) noexcept {
    assert(packet.size() >= sizeof(SctpHeader));
    static constexpr std::array<std::uint8_t, 4> kZero{};
    std::uint32_t crc = crc32c(~std::uint32_t{0}, packet.first(8));
    crc = crc32c(crc, kZero);
    return ~crc32c(crc, packet.subspan(12));
}

void ChecksumDelta::replace(const Addr& from, const Addr& to, Family family) noexcept {
    const std::size_t size = family == Family::Ipv4 ? 4 : 16;
    for (std::size_t i = 0; i < size; i += 4) {
        replace(Be32::from_raw(load<std::uint32_t>(from.bytes.data() + i)),
                Be32::from_raw(load<std::uint32_t>(to.bytes.data() + i)));
    }
}

}  // namespace ct
