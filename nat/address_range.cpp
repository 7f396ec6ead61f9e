// SPDX-License-Identifier: BSD-3-Clause
#include "nat/address_range.hpp"

#include "ct/wire/headers.hpp"

#include <limits>

namespace nat {
namespace {

/// The last 64 bits of an IPv6 address, or all of an IPv4 address.
[[nodiscard]] std::uint64_t low_bits(ct::Family f, const ct::Addr& a) noexcept {
    if (f == ct::Family::Ipv4) return a.as_v4().host();
    return ct::load<ct::Be64>(a.bytes.data() + 8).host();
}

[[nodiscard]] bool same_high_bits(ct::Family f, const ct::Addr& a, const ct::Addr& b) noexcept {
    return f == ct::Family::Ipv4 ||
           ct::load<ct::Be64>(a.bytes.data()) == ct::load<ct::Be64>(b.bytes.data());
}

}  // namespace

std::uint32_t AddressRange::count() const noexcept {
    if (last.bytes < first.bytes || !same_high_bits(family, first, last)) return 0;
    const std::uint64_t span = low_bits(family, last) - low_bits(family, first);
    return span >= std::numeric_limits<std::uint32_t>::max() ? 0
                                                             : static_cast<std::uint32_t>(span) + 1;
}

ct::Addr AddressRange::at(std::uint32_t n) const noexcept {
    const std::uint64_t low = low_bits(family, first) + n;
    if (family == ct::Family::Ipv4)
        return ct::Addr::v4(ct::Be32::from_host(static_cast<std::uint32_t>(low)));
    ct::Addr out = first;
    ct::store(out.bytes.data() + 8, ct::Be64::from_host(low));
    return out;
}

std::optional<std::uint32_t> AddressRange::index_of(ct::Family f,
                                                    const ct::Addr& a) const noexcept {
    if (f != family || a.bytes < first.bytes || last.bytes < a.bytes) return std::nullopt;
    return static_cast<std::uint32_t>(low_bits(f, a) - low_bits(f, first));
}

bool AddressRange::overlaps(const AddressRange& o) const noexcept {
    return family == o.family && first.bytes <= o.last.bytes && o.first.bytes <= last.bytes;
}

}  // namespace nat
