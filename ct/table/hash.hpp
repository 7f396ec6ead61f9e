// SPDX-License-Identifier: BSD-3-Clause
//
// The hash of a tuple. Keyed and not linear: whoever does not know the key can neither compute
// collisions nor derive them from others, as one can for CRC and Toeplitz whatever their seed. Four
// AES rounds under secret round keys for IPv4, whose canonical tuple is just one block; eight for
// IPv6.
//
// Symmetric in the endpoints: a packet and its answer hash alike, so that a connection without NAT
// needs one slot for both directions. The ICMP type is left out for the same reason.
#pragma once

#include "ct/wire/tuple.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <emmintrin.h>
#include <wmmintrin.h>

#if !defined(__AES__) || !defined(__SSE4_2__)
#error "Sluice needs AES-NI and SSE4.2: set -Dmarch to westmere or later"
#endif

namespace ct {

/// The secret of a table.
struct alignas(16) HashKey {
    std::array<std::array<std::uint8_t, 16>, 9> round{};

    /// Expands `seed` to a key; for reproducible runs.
    [[nodiscard]] static HashKey from_seed(std::uint64_t seed) noexcept;
    /// Draws a key from the kernel's generator. Throws std::system_error.
    [[nodiscard]] static HashKey random();
};

namespace detail {

[[nodiscard]] inline __m128i load(const void* p) noexcept {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
}

/// What stands in both halves beside the endpoints: ICMP has its identifier on both sides.
[[nodiscard]] inline std::uint16_t far_port(const Tuple& t) noexcept {
    return is_icmp(t.proto) ? t.sport.raw() : t.dport.raw();
}

[[nodiscard]] inline std::uint64_t fold(__m128i v) noexcept {
    const __m128i x = _mm_xor_si128(v, _mm_unpackhi_epi64(v, v));
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(x));
}

}  // namespace detail

/// 64 bits, uniform, of a block of 16 bytes.
[[nodiscard]] inline std::uint64_t hash_block(const HashKey& key, std::uint64_t low,
                                              std::uint64_t high) noexcept {
    __m128i v = _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
    v = _mm_xor_si128(v, detail::load(&key.round[0]));
    for (std::size_t r = 1; r <= 4; ++r) v = _mm_aesenc_si128(v, detail::load(&key.round[r]));
    return detail::fold(v);
}

namespace detail {

/// Of the endpoints of an IPv4 tuple, address and port.
[[nodiscard]] inline std::uint64_t hash_ends(const HashKey& key, std::uint64_t near,
                                             std::uint64_t far, std::uint64_t zone,
                                             std::uint8_t proto) noexcept {
    const std::uint64_t low = (near < far ? near : far) | zone << 48;
    const std::uint64_t high = (near < far ? far : near) | std::uint64_t{proto} << 48;
    return hash_block(key, low, high);
}

}  // namespace detail

/// hash() of an IPv6 tuple.
[[nodiscard]] std::uint64_t hash_ipv6(const HashKey& key, const Tuple& t) noexcept;

/// 64 bits, uniform, equal for a tuple and reply_of() it. Any thread.
[[nodiscard]] inline std::uint64_t hash(const HashKey& key, const Tuple& t) noexcept {
    if (t.family == Family::Ipv6) [[unlikely]]
        return hash_ipv6(key, t);
    const std::uint64_t near = std::uint64_t{t.src.as_v4().raw()} << 16 | t.sport.raw();
    const std::uint64_t far = std::uint64_t{t.dst.as_v4().raw()} << 16 | detail::far_port(t);
    return detail::hash_ends(key, near, far, t.zone, t.proto);
}

/// hash() of the IPv4 tuple that has this key.
[[nodiscard]] inline std::uint64_t hash_ipv4(const HashKey& key, const TupleKey& k) noexcept {
    const auto proto = static_cast<std::uint8_t>(k.rest >> 48U);
    const std::uint64_t sport = k.rest & 0xffff;
    const std::uint64_t near = (k.addrs & 0xffff'ffff) << 16 | sport;
    const std::uint64_t far =
        k.addrs >> 32U << 16U | (is_icmp(proto) ? sport : k.rest >> 16U & 0xffff);
    return detail::hash_ends(key, near, far, k.rest >> 32U & 0xffff, proto);
}

}  // namespace ct
