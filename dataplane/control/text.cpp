// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/text.hpp"

namespace dp {

namespace {

constexpr std::size_t kGroups = 8;  // of 16 bits in an IPv6 address

void append_v4(AddressText& out, const std::uint8_t* bytes) noexcept {
    for (std::size_t i = 0; i < 4; ++i) {
        if (i > 0) out.put('.');
        out.number(bytes[i]);
    }
}

/// A run of zero groups: where it begins and how many there are.
struct Run {
    std::size_t begin = 0;
    std::size_t count = 0;
};

Run longest_zero_run(const std::array<std::uint16_t, kGroups>& groups) noexcept {
    Run best;
    Run run;
    for (std::size_t i = 0; i < kGroups; ++i) {
        if (groups[i] != 0) {
            run.count = 0;
            continue;
        }
        if (run.count == 0) run.begin = i;
        ++run.count;
        if (run.count > best.count) best = run;
    }
    return best.count >= 2 ? best : Run{};
}

void append_v6(AddressText& out, const ct::Addr& a) noexcept {
    std::array<std::uint16_t, kGroups> groups;
    for (std::size_t i = 0; i < kGroups; ++i)
        groups[i] = static_cast<std::uint16_t>(a.bytes[2 * i] << 8 | a.bytes[2 * i + 1]);
    const Run zeros = longest_zero_run(groups);
    const bool embeds_v4 =
        zeros.begin == 0 && (zeros.count == 6 || (zeros.count == 5 && groups[5] == 0xffff));

    for (std::size_t i = 0; i < kGroups;) {
        if (zeros.count > 0 && i == zeros.begin) {
            out.put("::");
            i += zeros.count;
            continue;
        }
        const bool after_run = zeros.count > 0 && i == zeros.begin + zeros.count;
        if (i > 0 && !after_run) out.put(':');
        if (embeds_v4 && i == 6) return append_v4(out, a.bytes.data() + 12);
        out.hex(groups[i]);
        ++i;
    }
}

}  // namespace

AddressText address_text(ct::Family family, const ct::Addr& a) noexcept {
    AddressText out;
    if (family == ct::Family::Ipv6)
        append_v6(out, a);
    else
        append_v4(out, a.bytes.data());
    return out;
}

}  // namespace dp
