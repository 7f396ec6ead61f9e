// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <bit>
#include <concepts>
#include <cstdint>

namespace ct {

/// An unsigned integer whose bytes are in network order. It has no arithmetic and converts to
/// nothing, so a value changes order only where the reader sees host() or from_host().
template <std::unsigned_integral T>
class Be {
public:
    constexpr Be() noexcept = default;
    [[nodiscard]] static constexpr Be from_host(T v) noexcept { return Be{swap(v)}; }
    /// The value whose bytes, as they stand on the wire, are those of `v` in memory.
    [[nodiscard]] static constexpr Be from_raw(T v) noexcept { return Be{v}; }
    [[nodiscard]] constexpr T host() const noexcept { return swap(raw_); }
    /// The bits as stored; for hashes, and for checksums, which ignore order (RFC 1071 2(B)).
    [[nodiscard]] constexpr T raw() const noexcept { return raw_; }
    friend constexpr bool operator==(Be, Be) noexcept = default;

private:
    explicit constexpr Be(T raw) noexcept : raw_{raw} {}
    [[nodiscard]] static constexpr T swap(T v) noexcept {
        static_assert(std::endian::native == std::endian::little);
        if constexpr (sizeof(T) == 2) return __builtin_bswap16(v);
        if constexpr (sizeof(T) == 4) return __builtin_bswap32(v);
        if constexpr (sizeof(T) == 8) return __builtin_bswap64(v);
        return v;
    }

    T raw_ = 0;
};

using Be16 = Be<std::uint16_t>;
using Be32 = Be<std::uint32_t>;
using Be64 = Be<std::uint64_t>;

}  // namespace ct
