// SPDX-License-Identifier: BSD-3-Clause
//
// The hash of a tuple. Keyed and not linear: whoever does not know the key can neither compute
// collisions nor derive them from others, as one can for CRC and Toeplitz whatever their seed. Four
// AES rounds under secret round keys for IPv4, whose canonical tuple is just one block; eight for
// IPv6.
//
// Symmetric in the endpoints: a packet and its answer hash alike, so that a connection without NAT
// needs one slot for both directions. The ICMP type is left out for the same reason.
#pragma once

#include "ct/wire/tuple.hpp"

#include <array>
#include <cstdint>

namespace ct {

/// The secret of a table.
struct alignas(16) HashKey {
    std::array<std::array<std::uint8_t, 16>, 9> round{};

    /// Expands `seed` to a key; for reproducible runs.
    [[nodiscard]] static HashKey from_seed(std::uint64_t seed) noexcept;
    /// Draws a key from the kernel's generator. Throws std::system_error.
    [[nodiscard]] static HashKey random();
};

/// 64 bits, uniform, equal for a tuple and reply_of() it. Any thread.
[[nodiscard]] std::uint64_t hash(const HashKey& key, const Tuple& t) noexcept;

}  // namespace ct
