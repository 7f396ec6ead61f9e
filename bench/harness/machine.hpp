// SPDX-License-Identifier: BSD-3-Clause
//
// What a number must be read with: the machine, the kernel, the compiler, the commit.
#pragma once

#include "bench/harness/options.hpp"

#include <nlohmann/json.hpp>

#include <cstddef>

namespace bench {

/// CPU, clock rates, caches, memory, kernel, pages, compiler, flags and commit.
[[nodiscard]] nlohmann::ordered_json machine_facts(const Options& o);

/// Memory that is to be had without swapping, in bytes (MemAvailable).
[[nodiscard]] std::size_t available_memory_bytes();

/// Memory of this process that is resident, in bytes.
[[nodiscard]] std::size_t resident_bytes();

/// Reserved pages of 1 GiB that nobody uses.
[[nodiscard]] std::size_t free_1g_pages();

/// Share of this process's resident anonymous memory that stands on transparent huge pages.
[[nodiscard]] double huge_share();

/// Makes what is allocated from now on stand on pages of kind `p` as far as that is the process's
/// to choose. Throws std::runtime_error, with the remedy, if it cannot be had.
void choose_pages(PageKind p);

}  // namespace bench
