// SPDX-License-Identifier: BSD-3-Clause
//
// The kernel's limit of entries. It is counted in each network namespace, but is one number for all
// of them, which only the first namespace can write: while a profile lowers it, no namespace of the
// machine opens more connections than that.
#pragma once

#include <cstdint>
#include <fstream>
#include <stdexcept>
#include <string>

namespace differential {

inline constexpr const char* kMaxSysctl = "/proc/sys/net/netfilter/nf_conntrack_max";

/// Lowers the limit for as long as it lives. The process that has one must outlive what ends its
/// children, or the machine keeps the limit.
class TableLimit {
public:
    /// Throws std::runtime_error if this namespace may not.
    explicit TableLimit(std::uint32_t max) {
        std::ifstream in{kMaxSysctl};
        if (!(in >> before_))
            throw std::runtime_error(std::string{kMaxSysctl} + ": cannot be read");
        if (!write(max))
            throw std::runtime_error(
                std::string{kMaxSysctl} +
                ": cannot be set; only root of the first network namespace may");
    }
    ~TableLimit() { static_cast<void>(write(before_)); }
    TableLimit(const TableLimit&) = delete;
    TableLimit& operator=(const TableLimit&) = delete;

private:
    static bool write(std::uint32_t max) {
        std::ofstream out{kMaxSysctl};
        out << max << std::flush;
        return static_cast<bool>(out);
    }

    std::uint32_t before_ = 0;
};

/// The number of the kernel's buckets, by which it looks for whom to drop.
[[nodiscard]] inline std::uint32_t kernel_buckets() {
    std::uint32_t n = 0;
    std::ifstream{"/proc/sys/net/netfilter/nf_conntrack_buckets"} >> n;
    return n != 0 ? n
                  : 262'144;  // where there is no kernel to ask, as many as the recorded one had
}

}  // namespace differential
