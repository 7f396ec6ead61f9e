// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <atomic>

namespace ct {

/// What threads share in the table: index, pool, rings of victims, an entry's words. The standard
/// atomic under a name of its own, so that tests/model can put one in its place at each access of
/// which another thread may run, and try every order there is.
template <class T>
using Atomic = std::atomic<T>;

/// Tells the core, and whoever tries every order, that this is a spin loop.
inline void spin_pause() noexcept {
    __builtin_ia32_pause();
}

}  // namespace ct
