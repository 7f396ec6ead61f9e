// SPDX-License-Identifier: BSD-3-Clause
#include "ct/table/hash.hpp"

#include <cerrno>
#include <cstring>
#include <emmintrin.h>
#include <sys/random.h>
#include <system_error>
#include <utility>
#include <wmmintrin.h>

#if !defined(__AES__) || !defined(__SSE4_2__)
#error "Sluice needs AES-NI and SSE4.2: set -Dmarch to westmere or later"
#endif

namespace ct {

namespace {

__m128i load(const void* p) noexcept {
    return _mm_loadu_si128(static_cast<const __m128i*>(p));
}

std::uint64_t splitmix(std::uint64_t& s) noexcept {
    s += 0x9e3779b97f4a7c15;
    std::uint64_t z = s;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

/// What stands in both halves beside the endpoints: ICMP has its identifier on both sides.
std::uint16_t far_port(const Tuple& t) noexcept {
    return is_icmp(t.proto) ? t.sport.raw() : t.dport.raw();
}

std::uint64_t fold(__m128i v) noexcept {
    const __m128i x = _mm_xor_si128(v, _mm_unpackhi_epi64(v, v));
    return static_cast<std::uint64_t>(_mm_cvtsi128_si64(x));
}

std::uint64_t hash4(const HashKey& key, const Tuple& t) noexcept {
    std::uint64_t low = std::uint64_t{t.src.as_v4().raw()} << 16 | t.sport.raw();
    std::uint64_t high = std::uint64_t{t.dst.as_v4().raw()} << 16 | far_port(t);
    if (low > high) std::swap(low, high);
    low |= std::uint64_t{t.zone} << 48;
    high |= std::uint64_t{t.proto} << 48;

    __m128i v = _mm_set_epi64x(static_cast<long long>(high), static_cast<long long>(low));
    v = _mm_xor_si128(v, load(&key.round[0]));
    for (std::size_t r = 1; r <= 4; ++r) v = _mm_aesenc_si128(v, load(&key.round[r]));
    return fold(v);
}

std::uint64_t hash6(const HashKey& key, const Tuple& t) noexcept {
    const std::uint16_t near = t.sport.raw();
    const std::uint16_t far = far_port(t);
    int order = std::memcmp(t.src.bytes.data(), t.dst.bytes.data(), t.src.bytes.size());
    if (order == 0) order = near < far ? -1 : 1;
    const bool forward = order < 0;
    const __m128i low = load(forward ? &t.src : &t.dst);
    const __m128i high = load(forward ? &t.dst : &t.src);
    const std::uint64_t ports =
        forward ? std::uint64_t{near} << 16 | far : std::uint64_t{far} << 16 | near;
    const std::uint64_t rest = ports | std::uint64_t{t.zone} << 32 | std::uint64_t{t.proto} << 48 |
                               std::uint64_t{10} << 56;

    __m128i v = _mm_xor_si128(low, load(&key.round[0]));
    v = _mm_aesenc_si128(v, load(&key.round[1]));
    v = _mm_aesenc_si128(v, load(&key.round[2]));
    v = _mm_xor_si128(v, high);
    v = _mm_aesenc_si128(v, load(&key.round[3]));
    v = _mm_aesenc_si128(v, load(&key.round[4]));
    v = _mm_xor_si128(v, _mm_cvtsi64_si128(static_cast<long long>(rest)));
    for (std::size_t r = 5; r <= 8; ++r) v = _mm_aesenc_si128(v, load(&key.round[r]));
    return fold(v);
}

}  // namespace

HashKey HashKey::from_seed(std::uint64_t seed) noexcept {
    HashKey k;
    for (auto& round : k.round) {
        const std::array<std::uint64_t, 2> words{splitmix(seed), splitmix(seed)};
        std::memcpy(round.data(), words.data(), sizeof words);
    }
    return k;
}

HashKey HashKey::random() {
    HashKey k;
    if (getrandom(&k.round, sizeof k.round, 0) != static_cast<ssize_t>(sizeof k.round))
        throw std::system_error(errno, std::generic_category(), "getrandom");
    return k;
}

std::uint64_t hash(const HashKey& key, const Tuple& t) noexcept {
    return t.family == Family::Ipv6 ? hash6(key, t) : hash4(key, t);
}

}  // namespace ct
