// SPDX-License-Identifier: BSD-3-Clause
//
// Flows by number, and the order in which their packets come. Everything follows from seeds: two
// runs, and two contestants, see the same.
#pragma once

#include "ct/wire/tuple.hpp"

#include <cstdint>
#include <memory>
#include <vector>

namespace bench {

/// A good mix of a counter (the finalizer of SplitMix64); some five cycles, and independent of the
/// one before.
[[nodiscard]] constexpr std::uint64_t mix(std::uint64_t n) noexcept {
    n = (n ^ n >> 30) * 0xbf58476d1ce4e5b9;
    n = (n ^ n >> 27) * 0x94d049bb133111eb;
    return n ^ n >> 31;
}

/// A value of 0 .. n - 1, by the upper half of `random`.
[[nodiscard]] constexpr std::uint32_t below(std::uint64_t random, std::uint32_t n) noexcept {
    return static_cast<std::uint32_t>((random >> 32) * n >> 32);
}

/// Which protocols the flows speak.
struct FlowKind {
    ct::Family family = ct::Family::Ipv4;
    std::uint8_t proto = ct::ipproto::kTcp;
};

/// The numbers of flow `n`: clients of 60,000 ports each towards 4096 servers. Different for
/// different n. Hosts are IPv4 addresses of 198.18.0.0/15, the range for benchmarks (RFC 2544); in
/// IPv6 they are the last four bytes of an address in 2001:2::/48 (RFC 5180).
struct FlowNumbers {
    struct Ends {
        std::uint32_t src;
        std::uint16_t sport;
        std::uint32_t dst;
        std::uint16_t dport;
    };
    static constexpr std::uint32_t kPorts = 60'000;
    static constexpr std::uint32_t kServers = 4096;
    static constexpr std::uint16_t kService = 80;

    explicit constexpr FlowNumbers(std::uint32_t n) noexcept
        : client{0xc612'0000 + n / kPorts},
          server{0xc613'0000 + n % kServers},
          port{static_cast<std::uint16_t>(1024 + n % kPorts)} {}

    /// The endpoints as a packet of one direction has them. By arithmetic: which direction comes
    /// next is what a benchmark draws at random, and a branch on it would be mispredicted half of
    /// the time.
    [[nodiscard]] constexpr Ends ends(bool reply) const noexcept {
        const std::uint32_t mask = 0U - static_cast<std::uint32_t>(reply);
        const std::uint32_t hosts = (client ^ server) & mask;
        const auto ports = static_cast<std::uint16_t>((port ^ kService) & mask);
        return {client ^ hosts, static_cast<std::uint16_t>(port ^ ports), server ^ hosts,
                static_cast<std::uint16_t>(kService ^ ports)};
    }

    std::uint32_t client;
    std::uint32_t server;
    std::uint16_t port;
};

/// The original tuple of flow `n`.
[[nodiscard]] inline ct::Tuple flow(std::uint32_t n, FlowKind kind = {}) noexcept {
    const auto [src, sport, dst, dport] = FlowNumbers{n}.ends(false);
    const auto address = [&](std::uint32_t host) {
        if (kind.family == ct::Family::Ipv4) return ct::Addr::v4(ct::Be32::from_host(host));
        ct::Addr a;
        a.bytes = {0x20, 0x01, 0x00, 0x02};
        for (unsigned i = 0; i < 4; ++i)
            a.bytes[12 + i] = static_cast<std::uint8_t>(host >> (24 - 8 * i));
        return a;
    };
    ct::Tuple t;
    t.family = kind.family;
    t.proto = kind.proto;
    t.src = address(src);
    t.dst = address(dst);
    t.sport = ct::Be16::from_host(sport);
    t.dport = ct::Be16::from_host(dport);
    return t;
}

/// Draws flows, and directions evenly.
class Draw {
public:
    struct Pick {
        std::uint32_t flow;
        bool reply;
    };

    /// Every flow of 0 .. flows - 1 is as likely.
    [[nodiscard]] static Draw uniform(std::uint32_t flows, std::uint64_t seed);
    /// The k-th most frequent flow comes with a likelihood of 1 / k^theta. Which flow that is does
    /// not follow from its number. Drawn beforehand, 2^22 picks that are gone through again and
    /// again: the generator of such numbers would cost more than a table.
    [[nodiscard]] static Draw zipf(std::uint32_t flows, double theta, std::uint64_t seed);

    [[nodiscard]] Pick next() noexcept {
        const std::uint64_t r = mix(++counter_);
        if (drawn_ == nullptr) return {below(r, flows_), (r & 1) != 0};
        return {(*drawn_)[counter_ & (drawn_->size() - 1)], (r & 1) != 0};
    }

private:
    Draw(std::uint32_t flows, std::uint64_t seed) : flows_{flows}, counter_{seed << 40} {}

    std::uint32_t flows_;
    std::uint64_t counter_;
    std::shared_ptr<const std::vector<std::uint32_t>> drawn_;  ///< size: a power of two
};

/// The numbers 0 .. n - 1 in an order that is random, but always the same.
[[nodiscard]] std::vector<std::uint32_t> shuffled(std::uint32_t n, std::uint64_t seed);

}  // namespace bench
