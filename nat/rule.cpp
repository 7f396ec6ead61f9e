// SPDX-License-Identifier: BSD-3-Clause
#include "nat/rule.hpp"

#include <cstring>

namespace nat {

bool Prefix::contains(ct::Family f, const ct::Addr& a) const noexcept {
    if (family == ct::Family::None) return true;
    if (f != family) return false;
    const std::size_t whole = length / 8U;
    if (std::memcmp(a.bytes.data(), addr.bytes.data(), whole) != 0) return false;
    if (length % 8U == 0) return true;
    const unsigned differing = a.bytes[whole] ^ unsigned { addr.bytes[whole] };
    return differing >> (8U - length % 8U) == 0;
}

}  // namespace nat
