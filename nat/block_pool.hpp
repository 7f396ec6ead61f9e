// SPDX-License-Identifier: BSD-3-Clause
//
// Which blocks of external ports are free: a bit a block, and for each address how many there are.
//
// Taking one first takes one off the address's count; who succeeded has a right to one of its bits
// and looks until he has it. Giving one back sets the bit before the count. So the count is never
// larger than the number of bits that are set and not spoken for, a search always ends, and the
// last free block is found. Which of an address's blocks it is depends on a random number, so that
// nobody can guess where a subscriber's ports are (RFC 6056, RFC 6888 REQ-15).
//
// Threads: any worker takes and gives back. Blocks change hands once in minutes, so that shared
// words cost nothing that matters.
#pragma once

#include "nat/address_range.hpp"
#include "nat/rule.hpp"

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>

namespace nat {

class BlockPool {
public:
    /// Blocks of `size` ports out of `ports`, at least one, of every address of `outside`.
    BlockPool(const AddressRange& outside, PortRange ports, std::uint16_t size);

    [[nodiscard]] std::uint32_t addresses() const noexcept { return addresses_; }
    [[nodiscard]] std::uint32_t per_address() const noexcept { return per_address_; }
    [[nodiscard]] std::uint32_t total() const noexcept { return addresses_ * per_address_; }
    /// Blocks that somebody has. Any thread.
    [[nodiscard]] std::uint32_t in_use() const noexcept {
        return in_use_.load(std::memory_order_relaxed);
    }

    [[nodiscard]] std::uint32_t address_of(std::uint32_t block) const noexcept {
        return block / per_address_;
    }
    [[nodiscard]] PortRange ports_of(std::uint32_t block) const noexcept {
        const std::uint32_t first = ports_.first + block % per_address_ * size_;
        return {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(first + size_ - 1)};
    }

    /// Takes a block of address number `address`; none if it has none left.
    [[nodiscard]] std::optional<std::uint32_t> take(std::uint32_t address,
                                                    std::uint64_t random) noexcept;
    /// Takes a block of `address`, or of the next address that has one; none if no address has.
    [[nodiscard]] std::optional<std::uint32_t> take_from(std::uint32_t address,
                                                         std::uint64_t random) noexcept;
    /// Takes this very block. False if somebody has it. While that is found out, another taker may
    /// find one block less than there is.
    [[nodiscard]] bool take_block(std::uint32_t block) noexcept;
    void give_back(std::uint32_t block) noexcept;

    /// The block of address number `address` that `port` is in; none if it is in no block.
    [[nodiscard]] std::optional<std::uint32_t> block_at(std::uint32_t address,
                                                        std::uint16_t port) const noexcept;

private:
    [[nodiscard]] bool count_off(std::uint32_t address) noexcept;
    [[nodiscard]] std::uint32_t find_bit(std::uint32_t address, std::uint64_t random) noexcept;

    PortRange ports_;
    std::uint16_t size_;
    std::uint32_t addresses_;
    std::uint32_t per_address_;
    std::uint32_t words_;                                      ///< for each address
    std::unique_ptr<std::atomic<std::uint64_t>[]> free_;       ///< bits
    std::unique_ptr<std::atomic<std::uint32_t>[]> available_;  ///< by address
    std::atomic<std::uint32_t> in_use_{0};
};

}  // namespace nat
