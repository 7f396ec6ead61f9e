// SPDX-License-Identifier: BSD-3-Clause
//
// The flags that every benchmark program has.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace bench {

/// How much is measured.
enum class Effort : std::uint8_t {
    Once,    ///< tiny sizes, for a moment: shows that it runs and that its gates hold
    Quick,   ///< few short slices, the larger sizes left out
    Normal,  ///< what is reported
};

/// The kind of page that the memory of table, peers and roofline gets.
enum class PageKind : std::uint8_t {
    Normal,  ///< 4 KiB: transparent huge pages are turned off for the process
    Huge2M,  ///< reserved 2 MiB pages if there are any, else transparent ones
    Huge1G,  ///< reserved 1 GiB pages
};

/// "4k", "2m" or "1g".
[[nodiscard]] const char* name_of(PageKind p) noexcept;

/// What was asked for on the command line, or by SLUICE_BENCH_ONCE in the environment.
struct Options {
    std::string json;        ///< file to be written; empty: none
    std::string only = "*";  ///< glob that a case's id must match
    Effort effort = Effort::Normal;
    PageKind pages = PageKind::Huge2M;
    unsigned core = 0;  ///< the first worker's; the second has the next
    bool list = false;  ///< name the cases, measure nothing

    [[nodiscard]] bool once() const noexcept { return effort == Effort::Once; }
    /// Slices of each contestant.
    [[nodiscard]] unsigned slices() const noexcept;
    /// Length of a slice in seconds.
    [[nodiscard]] double slice_s() const noexcept;
    /// `normal`, or what goes in its place with less effort.
    template <class T>
    [[nodiscard]] T pick(T once_value, T quick_value, T normal_value) const noexcept {
        switch (effort) {
            case Effort::Once:
                return once_value;
            case Effort::Quick:
                return quick_value;
            case Effort::Normal:
                break;
        }
        return normal_value;
    }
};

/// Reads the command line. Ends the process for --help and for what it does not understand.
[[nodiscard]] Options parse_options(const std::string& about, int argc, char** argv);

}  // namespace bench
