// SPDX-License-Identifier: BSD-3-Clause
//
// The accesses at which the explorer may let another thread run. Outside of an explored thread they
// are plain accesses.
#pragma once

#include <cstddef>
#include <cstdint>

namespace model {

[[nodiscard]] std::uint64_t load(const void* at, std::size_t size) noexcept;
/// Of less than sequential consistency: under total store order it waits in the thread's buffer.
void store(void* at, std::size_t size, std::uint64_t value) noexcept;
/// Returns what was there.
std::uint64_t exchange(void* at, std::size_t size, std::uint64_t value) noexcept;
/// False, with what is there in `expected`, if that is something else.
bool compare_exchange(void* at, std::size_t size, std::uint64_t& expected,
                      std::uint64_t desired) noexcept;
/// The thread spins: it need not run on until another has changed something.
[[gnu::noinline]] void pause() noexcept;
/// Something is wrong that must never be: ends the schedule under way.
void fail(const char* what) noexcept;

}  // namespace model
