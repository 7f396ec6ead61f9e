// SPDX-License-Identifier: BSD-3-Clause
#include "nat/block_pool.hpp"

#include <bit>
#include <cassert>

namespace nat {

BlockPool::BlockPool(const AddressRange& outside, PortRange ports, std::uint16_t size)
    : ports_{ports},
      size_{size},
      addresses_{outside.count()},
      per_address_{ports.count() / size},
      words_{(per_address_ + 63) / 64},
      free_{std::make_unique<std::atomic<std::uint64_t>[]>(std::size_t{addresses_} * words_)},
      available_{std::make_unique<std::atomic<std::uint32_t>[]>(addresses_)} {
    assert(per_address_ > 0);
    for (std::uint32_t a = 0; a < addresses_; ++a) {
        for (std::uint32_t b = 0; b < per_address_; ++b)
            free_[std::size_t{a} * words_ + b / 64].fetch_or(std::uint64_t{1} << b % 64,
                                                             std::memory_order_relaxed);
        available_[a].store(per_address_, std::memory_order_relaxed);
    }
}

/// Claims one of the address's set bits; the caller has a right to one.
std::uint32_t BlockPool::find_bit(std::uint32_t address, std::uint64_t random) noexcept {
    std::atomic<std::uint64_t>* const words = &free_[std::size_t{address} * words_];
    auto word = static_cast<std::uint32_t>((random >> 32U) % words_);
    const auto turn = static_cast<int>(random & 63U);
    for (;; word = word + 1 < words_ ? word + 1 : 0) {
        std::uint64_t bits = words[word].load(std::memory_order_acquire);
        while (bits != 0) {
            const auto bit =
                static_cast<std::uint32_t>((std::countr_zero(std::rotr(bits, turn)) + turn) & 63);
            if (words[word].compare_exchange_weak(bits, bits & ~(std::uint64_t{1} << bit),
                                                  std::memory_order_acq_rel,
                                                  std::memory_order_acquire))
                return address * per_address_ + word * 64 + bit;
        }
    }
}

/// Takes a right to one of the address's bits. False if it has none left.
bool BlockPool::count_off(std::uint32_t address) noexcept {
    std::atomic<std::uint32_t>& count = available_[address];
    std::uint32_t left = count.load(std::memory_order_acquire);
    do {
        if (left == 0) return false;
    } while (!count.compare_exchange_weak(left, left - 1, std::memory_order_acq_rel,
                                          std::memory_order_acquire));
    in_use_.fetch_add(1, std::memory_order_relaxed);
    return true;
}

std::optional<std::uint32_t> BlockPool::take(std::uint32_t address, std::uint64_t random) noexcept {
    if (!count_off(address)) return std::nullopt;
    return find_bit(address, random);
}

bool BlockPool::take_block(std::uint32_t block) noexcept {
    const std::uint32_t address = address_of(block);
    if (!count_off(address)) return false;
    const std::uint32_t bit = block % per_address_;
    const std::uint64_t mask = std::uint64_t{1} << bit % 64;
    const std::uint64_t before =
        free_[std::size_t{address} * words_ + bit / 64].fetch_and(~mask, std::memory_order_acq_rel);
    if ((before & mask) != 0) return true;
    available_[address].fetch_add(1, std::memory_order_release);
    in_use_.fetch_sub(1, std::memory_order_relaxed);
    return false;
}

std::optional<std::uint32_t> BlockPool::block_at(std::uint32_t address,
                                                 std::uint16_t port) const noexcept {
    if (!ports_.contains(port)) return std::nullopt;
    const std::uint32_t nth = (std::uint32_t{port} - ports_.first) / size_;
    if (nth >= per_address_) return std::nullopt;
    return address * per_address_ + nth;
}

std::optional<std::uint32_t> BlockPool::take_from(std::uint32_t address,
                                                  std::uint64_t random) noexcept {
    for (std::uint32_t i = 0; i < addresses_ && in_use() < total(); ++i) {
        const std::uint32_t at = address + i < addresses_ ? address + i : address + i - addresses_;
        if (const auto block = take(at, random)) return block;
    }
    return std::nullopt;
}

void BlockPool::give_back(std::uint32_t block) noexcept {
    const std::uint32_t address = address_of(block);
    const std::uint32_t bit = block % per_address_;
    free_[std::size_t{address} * words_ + bit / 64].fetch_or(std::uint64_t{1} << bit % 64,
                                                             std::memory_order_release);
    available_[address].fetch_add(1, std::memory_order_release);
    in_use_.fetch_sub(1, std::memory_order_relaxed);
}

}  // namespace nat
