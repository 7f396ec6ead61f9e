// SPDX-License-Identifier: BSD-3-Clause
//
// NPTv6 (RFC 6296): the addresses of an inside prefix leave as those of an outside prefix of the
// same length, and come back. There is no state: an address is mapped by arithmetic, each inside
// address to one outside address. The mapping is checksum-neutral (2.6): one 16-bit word of the
// address takes up the difference between the prefixes, so that the checksums of TCP, UDP, ICMPv6
// and of whatever else has a pseudo-header stay right without being touched, in fragments and under
// encryption too.
//
// Where it stands. A pair of prefixes belongs to the port that faces outside. What comes in by that
// port is translated before anything looks at it, and what leaves by it after everything has:
// rules, routes, connections and listings know inside addresses only, in both directions. So a
// connection through NPTv6 is one without NAT to the tracker, and a raw rule may leave it untracked
// as well.
//
// Hairpin (RFC 6296 4.3, RFC 4787 REQ-9): an inside host that speaks to an outside address of its
// own prefix is turned round. The destination becomes the inside address when the packet comes, the
// source the outside address when it leaves, so that in between, where connections are looked up,
// both directions show inside addresses.
//
// ICMPv6 errors are translated outside and inside: the packet within is what its sender had sent.
#pragma once

#include "ct/base/published.hpp"
#include "ct/wire/packet.hpp"
#include "ct/wire/prefix.hpp"
#include "ct/wire/tuple.hpp"

#include <cstdint>
#include <memory>
#include <span>
#include <utility>
#include <vector>

namespace nat {

/// Two prefixes of IPv6 that stand for one another.
struct PrefixPair {
    /// The longest prefix: behind it at least one word must be left to take up the difference
    /// wherever hosts number themselves (RFC 6296 3.5).
    static constexpr std::uint8_t kLongest = 64;

    ct::Prefix internal;
    ct::Prefix external;            ///< of the same length
    ct::PortId port = ct::kNoPort;  ///< that faces outside
    int line = 0;                   ///< in the configuration file

    friend bool operator==(const PrefixPair&, const PrefixPair&) noexcept = default;
};

/// The mapping between the addresses of a pair.
class PrefixMapping {
public:
    /// The pair's prefixes are of one length, at most kLongest.
    explicit PrefixMapping(const PrefixPair& pair) noexcept;

    [[nodiscard]] bool is_internal(const ct::Addr& a) const noexcept {
        return pair_.internal.contains(ct::Family::Ipv6, a);
    }
    [[nodiscard]] bool is_external(const ct::Addr& a) const noexcept {
        return pair_.external.contains(ct::Family::Ipv6, a);
    }
    [[nodiscard]] ct::PortId port() const noexcept { return pair_.port; }

    /// Maps `a`, which is_internal(). False, with nothing changed, if it has no counterpart: its
    /// subnet is 0xffff (RFC 6296 3.4), or behind a longer prefix every word is (3.5).
    [[nodiscard]] bool to_external(ct::Addr& a) const noexcept;
    /// Maps `a`, which is_external(), likewise.
    [[nodiscard]] bool to_internal(ct::Addr& a) const noexcept;

private:
    [[nodiscard]] bool map(ct::Addr& a, const ct::Prefix& to,
                           std::uint16_t adjustment) const noexcept;

    PrefixPair pair_;
    std::uint16_t outward_ = 0;  ///< added to a word on the way out, one's complement; host order
    std::uint16_t inward_ = 0;
};

/// All pairs of a configuration, which never change, and Sluice's own addresses, which control may
/// replace: any thread.
class PrefixTranslator {
public:
    /// `own`: addresses of Sluice itself, which are never an inside host's.
    PrefixTranslator(std::span<const PrefixPair> pairs, std::vector<ct::Addr> own);

    /// From now on these are Sluice's own addresses. Returns what is to be destroyed once each
    /// worker has begun a turn since. One thread at a time, while workers run.
    [[nodiscard]] std::unique_ptr<const std::vector<ct::Addr>> set_own(std::vector<ct::Addr> own) {
        return own_.replace(std::make_unique<const std::vector<ct::Addr>>(std::move(own)));
    }

    /// True if there is nothing to do.
    [[nodiscard]] bool empty() const noexcept { return mappings_.empty(); }

    /// For packets that were parsed and not looked up yet: outside addresses of what comes from
    /// outside, and of what is to be turned round, become inside ones, in the bytes, the tuple, and
    /// the inner tuple of an ICMPv6 error. Sets p.turned_round, or p.drop: NptUnmappable.
    void inward(std::span<ct::Packet> packets) const noexcept;

    /// For packets that are routed and rewritten: inside addresses of what leaves by an outside
    /// port, or is turned round, become outside ones. p.tuple stays. Sets p.drop: NptUnmappable.
    void outward(std::span<ct::Packet> packets) const noexcept;

private:
    [[nodiscard]] bool is_own(const ct::Addr& a) const noexcept;
    void take_in(ct::Packet& p) const noexcept;
    void send_out(ct::Packet& p) const noexcept;

    std::vector<PrefixMapping> mappings_;
    ct::Published<std::vector<ct::Addr>> own_;
};

}  // namespace nat
