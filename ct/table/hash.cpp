// SPDX-License-Identifier: BSD-3-Clause
#include "ct/table/hash.hpp"

#include <cerrno>
#include <cstring>
#include <sys/random.h>
#include <system_error>

namespace ct {

namespace {

std::uint64_t splitmix(std::uint64_t& s) noexcept {
    s += 0x9e3779b97f4a7c15;
    std::uint64_t z = s;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

}  // namespace

std::uint64_t hash_ipv6(const HashKey& key, const Tuple& t) noexcept {
    const std::uint16_t near = t.sport.raw();
    const std::uint16_t far = detail::far_port(t);
    int order = std::memcmp(t.src.bytes.data(), t.dst.bytes.data(), t.src.bytes.size());
    if (order == 0) order = near < far ? -1 : 1;
    const bool forward = order < 0;
    const __m128i low = detail::load(forward ? &t.src : &t.dst);
    const __m128i high = detail::load(forward ? &t.dst : &t.src);
    const std::uint64_t ports =
        forward ? std::uint64_t{near} << 16 | far : std::uint64_t{far} << 16 | near;
    const std::uint64_t rest = ports | std::uint64_t{t.zone} << 32 | std::uint64_t{t.proto} << 48 |
                               std::uint64_t{10} << 56;

    __m128i v = _mm_xor_si128(low, detail::load(&key.round[0]));
    v = _mm_aesenc_si128(v, detail::load(&key.round[1]));
    v = _mm_aesenc_si128(v, detail::load(&key.round[2]));
    v = _mm_xor_si128(v, high);
    v = _mm_aesenc_si128(v, detail::load(&key.round[3]));
    v = _mm_aesenc_si128(v, detail::load(&key.round[4]));
    v = _mm_xor_si128(v, _mm_cvtsi64_si128(static_cast<long long>(rest)));
    for (std::size_t r = 5; r <= 8; ++r) v = _mm_aesenc_si128(v, detail::load(&key.round[r]));
    return detail::fold(v);
}

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

}  // namespace ct
