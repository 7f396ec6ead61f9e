// SPDX-License-Identifier: BSD-3-Clause
//
// A set of ports, of which any number of workers take and give back at the same time.
//
// A bit a port, set while the port is taken. Whoever sets the bit has the port; nothing else
// decides. So no port is given twice, a free one is found as long as there is one, and it does not
// matter who asks.
//
// Blocks. A line of the bitmap, 512 ports, is a block, and workers lease blocks: a worker that may
// choose takes a port out of its own, so that workers at work at the same time write different
// lines. A lease is advice: a port that is asked for by number, and the last ones of a range, are
// taken out of anybody's block, and a block goes back when its last port does. A worker leases
// kLeases blocks of a range before it chooses within them: one of 4096 ports is what somebody has
// to guess (RFC 6056 3.1), and all of them once they fill.
//
// Near exhaustion a bit a block says that it has no port left, so a search looks at the lines that
// have one. It is set by who found none, who then looks again; who gives a port back clears the
// port first. One of the two sees the other, so the bit never hides a port that is free.
#pragma once

#include "ct/base/cache.hpp"
#include "nat/rule.hpp"

#include <array>
#include <atomic>
#include <cstdint>
#include <optional>

namespace nat {

/// What a port must be like.
struct Wanted {
    PortRange range;
    int parity = -1;  ///< 0: even, 1: odd, -1: either
};

/// All bytes zero is the empty set. Everything is atomic and changed by single operations.
class alignas(ct::kCacheLine) PortBits {
public:
    static constexpr std::uint32_t kBlockPorts = 512;
    /// Blocks that a worker leases of a range before it chooses among them.
    static constexpr unsigned kLeases = 8;
    static constexpr unsigned kWords = 1024;

    [[nodiscard]] bool has(std::uint16_t port) const noexcept {
        return (taken_[port / 64].load(std::memory_order_acquire) >> port % 64 & 1) != 0;
    }
    /// Takes the port. False if it is taken.
    [[nodiscard]] bool claim(std::uint16_t port) noexcept {
        const std::uint64_t bit = std::uint64_t{1} << port % 64;
        return (taken_[port / 64].fetch_or(bit) & bit) == 0;
    }
    /// Takes a port for worker `w`, as `random` decides; none if all that are wanted are taken.
    [[nodiscard]] std::optional<std::uint16_t> claim_any(std::uint32_t w, const Wanted& wanted,
                                                         std::uint64_t random) noexcept;
    /// True if claim_any() would find none of a whole number of blocks. False tells nothing.
    [[nodiscard]] bool is_full(PortRange range) const noexcept {
        const BlockSet open = open_blocks(range);
        return (open[0] | open[1]) == 0;
    }
    /// Gives a port back.
    void free(std::uint16_t port) noexcept { free(port / 64U, std::uint64_t{1} << port % 64); }
    /// Gives those ports of a word of the bitmap back that have a bit in `ports`.
    void free(unsigned word, std::uint64_t ports) noexcept;
    /// Gives all back. What others do at the same time is done or not.
    void clear() noexcept;

    /// Ports that are taken. Any thread.
    [[nodiscard]] std::uint32_t count() const noexcept;
    /// Blocks that are leased. Any thread.
    [[nodiscard]] unsigned leased_blocks() const noexcept;

private:
    static constexpr unsigned kBlocks = 128;
    static constexpr unsigned kBlockWords = kWords / kBlocks;
    using BlockSet = std::array<std::uint64_t, kBlocks / 64>;

    /// Those with ports of `range` that are not known to be full.
    [[nodiscard]] BlockSet open_blocks(PortRange range) const noexcept;
    [[nodiscard]] BlockSet blocks_of(std::uint8_t owner) const noexcept;
    [[nodiscard]] bool lease(unsigned block, std::uint8_t owner) noexcept;
    void end_lease(unsigned block) noexcept;
    [[nodiscard]] std::optional<std::uint16_t> claim_in(unsigned block, const Wanted& wanted,
                                                        std::uint64_t random) noexcept;
    [[nodiscard]] std::optional<std::uint16_t> claim_among(BlockSet blocks, const Wanted& wanted,
                                                           std::uint64_t random) noexcept;
    [[nodiscard]] std::optional<std::uint16_t> claim_in_new_lease(BlockSet nobodys,
                                                                  std::uint8_t owner,
                                                                  const Wanted& wanted,
                                                                  std::uint64_t random) noexcept;
    void note_full(unsigned block) noexcept;

    std::array<std::atomic<std::uint64_t>, kWords> taken_;
    std::array<std::atomic<std::uint64_t>, kBlocks / 8> owners_;  ///< a byte a block: worker + 1
    std::array<std::atomic<std::uint64_t>, kBlocks / 64> full_;   ///< a bit a block
};

}  // namespace nat
