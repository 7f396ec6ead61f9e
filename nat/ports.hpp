// SPDX-License-Identifier: BSD-3-Clause
//
// Ports that are in use, of external addresses whose ports have to be told apart by themselves: an
// endpoint-independent mapping has its port alone, whoever the remote endpoint is (RFC 4787 REQ-3).
//
// Each address has a space of 65,536 ports a protocol (of ICMP: identifiers), a PortBits.
//
// Quarantine (RFC 6888 REQ-8). A port that rests stays taken, and its bit is set in another bitmap,
// of the present period, half a quarantine long. On entering a period, whoever comes to the space
// first frees what came to rest three periods before: so a port rests for one quarantine to one and
// a half. There is no queue, so there is no bound on how many rest. Whose a port was is noted as it
// comes to rest: the quarantine keeps it from others, whom packets for him would reach (REQ-8), and
// not from a mapping that is put back as it was.
//
// Addresses come and go, as those of a port do that masquerade uses. Which of them have spaces is
// published as a whole (ct/base/published.hpp). One that goes keeps its space, so that what still
// holds ports of it gives them back, and what rests goes on resting if it comes again; the space is
// another address's only once all of it is free.
//
// Memory: 8 KiB for each space that is touched; where ports rest 32 KiB more, and 4 KiB for each
// 1024 ports among which some do. Of a large pool only
// what is used costs anything.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/published.hpp"
#include "ct/base/time.hpp"
#include "ct/conntrack.hpp"
#include "ct/table/memory.hpp"
#include "nat/address_range.hpp"
#include "nat/port_bits.hpp"
#include "nat/rule.hpp"
#include "nat/wide.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace nat {

class Ports {
public:
    using Space = std::uint32_t;
    static constexpr Space kNoSpace = ~Space{0};
    /// Addresses that have spaces, at most; of more, the first ones of the ranges have.
    static constexpr std::uint64_t kMaxAddresses = std::uint64_t{1} << 20;

    /// Spaces for the addresses of `ranges`, which may overlap. Ports that rest do so for
    /// `quarantine_s` seconds at least. `spare` addresses more may come later. Throws
    /// std::bad_alloc.
    explicit Ports(std::vector<AddressRange> ranges, std::uint32_t quarantine_s = 0,
                   std::uint32_t spare = 0);

    /// True if there are spaces, or may be.
    [[nodiscard]] bool any() const noexcept { return any_; }
    /// The space of an address and a protocol, or kNoSpace.
    [[nodiscard]] Space space_of(ct::Family family, const ct::Addr& addr,
                                 std::uint8_t proto) const noexcept;
    /// The same, and of an address that has gone as well: whose ports are given back.
    [[nodiscard]] Space last_space_of(ct::Family family, const ct::Addr& addr,
                                      std::uint8_t proto) const noexcept;
    /// How many addresses from `first` on, which is within a range, have spaces.
    [[nodiscard]] std::uint64_t addresses_from(ct::Family family,
                                               const ct::Addr& first) const noexcept;

    [[nodiscard]] bool is_taken(Space space, std::uint16_t port) const noexcept;
    /// Takes the port. False if it is taken.
    [[nodiscard]] bool claim(Space space, std::uint16_t port, ct::Nanos now) noexcept;
    /// Takes a port, as `random` decides; none if all that are wanted are taken.
    [[nodiscard]] std::optional<std::uint16_t> claim_any(ct::WorkerId w, Space space,
                                                         const Wanted& wanted, std::uint64_t random,
                                                         ct::Nanos now) noexcept;
    enum class After : std::uint8_t { AtOnce, Rest };
    /// Gives a port back that somebody has, known as `owner`; it may be taken at once, or after the
    /// quarantine.
    void give_back(Space space, std::uint16_t port, After after, ct::Nanos now,
                   std::uint32_t owner = 0) noexcept;
    /// Takes a port that rests since `owner` gave it back. False if it does not rest, or somebody
    /// else did.
    [[nodiscard]] bool claim_back(Space space, std::uint16_t port, std::uint32_t owner,
                                  ct::Nanos now) noexcept;

    struct Range {
        ct::Family family;
        Wide first;
        std::uint64_t addresses;
        std::uint64_t base;  ///< where their spaces begin, in addresses
    };
    /// Which addresses have spaces.
    struct Layout {
        std::vector<Range> ranges;  ///< disjoint
        std::size_t live = 0;       ///< the first so many; the addresses of the others have gone
    };
    /// From now on it is the addresses of `ranges` that have spaces. Ranges of several addresses
    /// stay as they were; single ones come and go. Returns what no worker may read any more before
    /// it is destroyed. Throws std::length_error, with nothing changed, if more have come than
    /// there was room for. One thread at a time.
    [[nodiscard]] std::unique_ptr<const Layout> change(const std::vector<AddressRange>& ranges,
                                                       ct::Nanos now);

    struct Usage {
        std::uint32_t taken = 0;    ///< ports that nobody can get, those that rest included
        std::uint32_t resting = 0;  ///< of them
    };
    /// Any thread; what changes meanwhile is counted or not.
    [[nodiscard]] Usage usage(Space space) const noexcept;
    /// Blocks of the space that workers have leased. Any thread.
    [[nodiscard]] unsigned leased_blocks(Space space) const noexcept;

    /// Calls `visit(family, address, proto, space)` for every space that was ever used.
    template <class Visit>
    void visit_used(Visit&& visit) const {
        for (const Range& r : layout_.get().ranges)
            for (std::uint64_t i = 0; i < r.addresses; ++i)
                for (unsigned c = 0; c < kClasses; ++c) {
                    const auto space = static_cast<Space>((r.base + i) * kClasses + c);
                    if (!was_used(space)) continue;
                    visit(r.family, (r.first + Wide{0, i}).addr(r.family), proto_of(c, r.family),
                          space);
                }
    }

private:
    static constexpr unsigned kPeriods = 4;
    static constexpr unsigned kClasses = 5;  ///< protocols that have ports

    /// All changed by any worker.
    struct alignas(ct::kCacheLine) Bits {
        PortBits ports;
        std::atomic<std::uint64_t> period;  ///< that was entered last, plus one
        std::atomic<std::uint64_t> used;    ///< 1: some port was taken once
    };
    static_assert(sizeof(Bits) % ct::kCacheLine == 0);
    /// By the period in which the port came to rest, modulo kPeriods.
    struct alignas(ct::kCacheLine) Resting {
        std::array<std::array<std::atomic<std::uint64_t>, PortBits::kWords>, kPeriods> bits;
    };
    using Owners = std::array<std::atomic<std::uint32_t>, 65'536>;

    [[nodiscard]] Bits& bits(Space s) const noexcept { return bits_.as<Bits>()[s]; }
    [[nodiscard]] Resting& resting(Space s) const noexcept { return resting_.as<Resting>()[s]; }
    [[nodiscard]] Owners& owners(Space s) const noexcept { return owners_.as<Owners>()[s]; }
    [[nodiscard]] bool was_used(Space s) const noexcept {
        return bits(s).used.load(std::memory_order_relaxed) != 0;
    }
    [[nodiscard]] static std::uint8_t proto_of(unsigned klass, ct::Family family) noexcept;
    [[nodiscard]] static std::unique_ptr<Layout> layout_of(std::vector<AddressRange> ranges);
    [[nodiscard]] static std::uint64_t addresses_of(const Layout& layout) noexcept;
    [[nodiscard]] static const Range* find(const Layout& layout, std::size_t ranges,
                                           ct::Family family, Wide addr) noexcept;
    [[nodiscard]] static Space space_in(const Range* range, ct::Family family, Wide addr,
                                        std::uint8_t proto) noexcept;
    [[nodiscard]] bool all_free(const Range& range, ct::Nanos now) noexcept;
    static void note_use(Bits& b) noexcept;
    void enter_period(Space s, ct::Nanos now) noexcept;

    ct::Published<Layout> layout_;
    std::uint64_t room_;  ///< addresses that there is memory for
    bool any_;
    ct::Nanos period_;  ///< half a quarantine; 0: ports do not rest
    ct::Region bits_;
    ct::Region resting_;
    ct::Region owners_;  ///< of ports that rest: who gave them back. Any worker, any time
};

}  // namespace nat
