// SPDX-License-Identifier: BSD-3-Clause
#include "ct/wire/prefix.hpp"

#include <algorithm>
#include <cstring>

namespace ct {

bool Prefix::contains(Family f, const Addr& a) const noexcept {
    if (family == Family::None) return true;
    if (f != family) return false;
    const std::size_t whole = length / 8U;
    if (std::memcmp(a.bytes.data(), addr.bytes.data(), whole) != 0) return false;
    if (length % 8U == 0) return true;
    const unsigned differing = a.bytes[whole] ^ unsigned { addr.bytes[whole] };
    return differing >> (8U - length % 8U) == 0;
}

Addr first_bits(const Addr& a, std::uint8_t length) noexcept {
    const std::size_t whole = std::min<std::size_t>(length / 8U, a.bytes.size());
    Addr out;
    std::memcpy(out.bytes.data(), a.bytes.data(), whole);
    if (whole < a.bytes.size() && length % 8U != 0)
        out.bytes[whole] = static_cast<std::uint8_t>(a.bytes[whole] & (0xff00U >> length % 8U));
    return out;
}

}  // namespace ct
