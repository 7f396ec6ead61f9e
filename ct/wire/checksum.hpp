// SPDX-License-Identifier: BSD-3-Clause
//
// The Internet checksum (RFC 1071), its incremental update (RFC 1624) and SCTP's CRC32c.
//
// A one's complement sum does not care about byte order (RFC 1071 2(B)), so everything here adds
// words as they lie in memory and no value is ever swapped: what comes out has the bytes that
// belong on the wire. Sums are kept in 64 bits and folded to 16 once, at the end.
#pragma once

#include "ct/base/byteorder.hpp"
#include "ct/wire/tuple.hpp"

#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>

namespace ct {

/// A one's complement sum on its way, not folded yet. Sums of parts may be added, provided that
/// each part began at an even distance from the checksum's first byte.
using PartialSum = std::uint64_t;

/// The sum folded to 16 bits, not complemented.
[[nodiscard]] constexpr std::uint16_t fold(PartialSum sum) noexcept {
    // With its halves swapped added to it, a word has in its upper half their sum with the carry
    // brought round: what the lower halves carry into it is the same.
    sum += std::rotl(sum, 32);
    auto half = static_cast<std::uint32_t>(sum >> 32U);
    half += std::rotl(half, 16);
    return static_cast<std::uint16_t>(half >> 16U);
}

/// a + b with the carry brought round.
[[nodiscard]] constexpr PartialSum add_sums(PartialSum a, PartialSum b) noexcept {
    const PartialSum sum = a + b;
    return sum + (sum < a ? 1U : 0U);
}

/// The sum of `bytes`; an odd last byte counts as if a zero followed it (RFC 1071 1).
[[nodiscard]] PartialSum sum_bytes(std::span<const std::uint8_t> bytes) noexcept;

/// The sum of the pseudo-header of IPv4 (RFC 9293 3.1) or IPv6 (RFC 8200 8.1). `length` is that of
/// the upper layer, in bytes; the ports of the tuple are not used.
[[nodiscard]] PartialSum pseudo_sum(const Addr& src, const Addr& dst, Family family,
                                    std::uint8_t proto, std::uint32_t length) noexcept;

/// The checksum that completes `sum`: what to write into a field that was zero while summing.
[[nodiscard]] constexpr Be16 finish(PartialSum sum) noexcept {
    return Be16::from_raw(static_cast<std::uint16_t>(~fold(sum)));
}

/// finish() for UDP, where zero on the wire means that there is no checksum, so that a sum that
/// comes out as zero is sent as its other form (RFC 768).
[[nodiscard]] constexpr Be16 finish_udp(PartialSum sum) noexcept {
    const Be16 out = finish(sum);
    return out.raw() == 0 ? Be16::from_raw(0xffff) : out;
}

/// The checksum of `bytes`, in which the checksum field is zero: an IPv4 header, an ICMP message.
[[nodiscard]] inline Be16 internet_checksum(std::span<const std::uint8_t> bytes) noexcept {
    return finish(sum_bytes(bytes));
}

/// The checksum of a transport segment with its pseudo-header. The checksum field in `segment` is
/// zero. For UDP the result is never zero.
[[nodiscard]] Be16 transport_checksum(const Addr& src, const Addr& dst, Family family,
                                      std::uint8_t proto,
                                      std::span<const std::uint8_t> segment) noexcept;

/// True if a sum that covered the checksum field as well is right.
[[nodiscard]] constexpr bool sum_is_valid(PartialSum sum) noexcept {
    return fold(sum) == 0xffff;
}

/// CRC32c of an SCTP packet in the form of SctpHeader::checksum (RFC 9260 6.8 and appendix A). The
/// four bytes of the field itself count as zero, whatever stands there. `packet` begins at the
/// common header and has at least its 12 bytes.
[[nodiscard]] std::uint32_t sctp_checksum(std::span<const std::uint8_t> packet) noexcept;

/// What a rewritten packet's checksums have to change by: gathers any number of replaced fields and
/// then updates each checksum that covers them, by equation 3 of RFC 1624. Fields are at an even
/// distance from the checksum's first byte, as every field of IP, TCP, UDP and ICMP is.
///
/// One delta serves several checksums: the pseudo-header's addresses belong to the IP header's
/// checksum and to the transport's, the ports to the transport's only. Copy the delta after the
/// addresses, then add the ports to one copy.
class ChecksumDelta {
public:
    void replace(Be16 from, Be16 to) noexcept {
        sum_ += std::uint16_t(~from.raw());
        sum_ += to.raw();
    }
    void replace(Be32 from, Be32 to) noexcept {
        sum_ += ~from.raw();
        sum_ += to.raw();
    }
    /// Only the first four bytes count for IPv4.
    void replace(const Addr& from, const Addr& to, Family family) noexcept;

    /// The bytes that had the sum `from` become some that have the sum `to`; of a pseudo-header
    /// that comes or goes, the other is 0.
    void exchange(PartialSum from, PartialSum to) noexcept {
        sum_ += std::uint16_t(~fold(from));
        sum_ += fold(to);
    }

    /// Adds a change that another delta has gathered.
    void add(const ChecksumDelta& other) noexcept { sum_ += other.sum_; }

    /// The checksum after the change: IPv4 header, TCP, ICMP, ICMPv6.
    [[nodiscard]] Be16 apply(Be16 checksum) const noexcept {
        return finish(std::uint16_t(~checksum.raw()) + sum_);
    }
    /// The checksum after the change, for UDP and UDP-Lite: zero stays zero, as there is no
    /// checksum (RFC 768), and what would become zero becomes 0xffff.
    [[nodiscard]] Be16 apply_udp(Be16 checksum) const noexcept {
        if (checksum.raw() == 0) return checksum;
        return finish_udp(std::uint16_t(~checksum.raw()) + sum_);
    }

private:
    /// Sum of ~m + m' (RFC 1624 3), by 16 or 32 bits; overflows after 2^31 fields at the earliest.
    PartialSum sum_ = 0;
};

}  // namespace ct
