// SPDX-License-Identifier: BSD-3-Clause
//
// Crowds: the remote endpoints towards which an external address has few ports left, and which
// ports are known to be taken there.
//
// The table is the judge of whether an endpoint-dependent mapping is free, and as long as most are,
// asking it for one port after the other is the fastest way there is. Once nine in ten are taken it
// takes ten questions, and at 999 in a thousand a thousand. So a search that is not answered soon
// opens a crowd: a set of ports, in which each that was asked for is noted. The next search asks
// for those only that are not in it. Who has a port of a crowd gives it back when his connection
// ends; so the set is never wrong for long, and where it is, a question more is asked, no mapping
// given twice.
//
// There are kSets * kWays crowds at most; a new one takes the place of that of its set which nobody
// has searched for longest. A crowd that is lost is learned anew.
//
// Threads. Any worker calls anything. A port that somebody notes while the crowd is being replaced
// may be noted in the new one: whoever claims a port looks at the crowd's key again (still()).
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/time.hpp"
#include "ct/table/memory.hpp"
#include "nat/port_bits.hpp"

#include <array>
#include <atomic>
#include <cstdint>

namespace nat {

class Crowds {
public:
    static constexpr unsigned kWays = 4;
    static constexpr unsigned kSets = 128;

    /// A crowd that was found.
    struct Crowd {
        std::uint64_t key = 0;
        PortBits* ports = nullptr;  ///< null: there is none
        std::uint32_t at = 0;
    };

    Crowds();

    /// Names a crowd by a hash of the address and the remote endpoint.
    [[nodiscard]] static constexpr std::uint64_t key_of(std::uint64_t hash) noexcept {
        return hash | 2;  // neither kNone nor kChanging
    }
    [[nodiscard]] Crowd find(std::uint64_t key) const noexcept;
    /// find(), and opens it if there is none; none if somebody else is doing so. `now` is when it
    /// was searched.
    [[nodiscard]] Crowd open(std::uint64_t key, ct::Nanos now) noexcept;
    /// True if it has not been replaced since.
    [[nodiscard]] bool still(const Crowd& c) const noexcept {
        return sets_[c.at / kWays].keys[c.at % kWays].load() == c.key;
    }

private:
    static constexpr std::uint64_t kNone = 0;
    static constexpr std::uint64_t kChanging = 1;

    struct alignas(ct::kCacheLine) Set {
        std::array<std::atomic<std::uint64_t>, kWays> keys{};
        std::array<std::atomic<std::uint32_t>, kWays> searched_s{};  ///< when; seconds
    };

    std::array<Set, kSets> sets_{};
    ct::Region ports_;  ///< a PortBits each, touched as they are opened
};

}  // namespace nat
