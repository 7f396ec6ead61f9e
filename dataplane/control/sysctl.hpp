// SPDX-License-Identifier: BSD-3-Clause
//
// Linux's sysctls of conntrack (semantics.md 2.13): one table, which the configuration and
// `sluicectl get` and `set` share. What a name means, its default and its unit are Linux's.
#pragma once

#include "ct/conntrack.hpp"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

namespace dp {

struct Sysctl {
    enum class Kind : std::uint8_t { Flag, Number, Protocol, Seconds };

    std::string_view name;     ///< as in /proc/sys/net/netfilter
    std::string_view key;      ///< in [conntrack]; empty: not configured
    std::string_view timeout;  ///< in [conntrack.timeouts]; empty: it is none
    Kind kind = Kind::Number;
    std::uint64_t least = 0;
    std::uint64_t most = 0;
    std::string_view read_only;  ///< why it cannot be changed while the daemon runs; empty: it can
    std::uint64_t (*read)(const ct::Conntrack& table) = nullptr;
    /// Null for what is only read. `value` is within bounds.
    void (*write)(ct::Settings& settings, std::uint64_t value) = nullptr;
};

/// All of them, by name.
[[nodiscard]] std::span<const Sysctl> sysctls() noexcept;

/// How sysctl(8) calls the one with this name: `net.netfilter.nf_conntrack_max`.
[[nodiscard]] std::string path_of(std::string_view name);

/// The one called `name`: as sysctl(8) has it, with dots or slashes (`net.nf_conntrack_max` too),
/// or without `net.netfilter.` or `nf_conntrack_` in front. Throws BadParameter: a name that Linux
/// has and Sluice has not is told why.
[[nodiscard]] const Sysctl& find_sysctl(std::string_view name);

/// Sets `sysctl` to `value`. Throws BadParameter with the bounds if that is not possible.
void set_sysctl(ct::Conntrack& table, const Sysctl& sysctl, std::uint64_t value);

}  // namespace dp
