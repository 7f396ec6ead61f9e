// SPDX-License-Identifier: BSD-3-Clause
//
// The tuple that names one direction of a connection.
#pragma once

#include "ct/base/byteorder.hpp"

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace ct {

/// L3 protocol, with the numbers that conntrack(8) prints (AF_INET, AF_INET6).
enum class Family : std::uint8_t { None = 0, Ipv4 = 2, Ipv6 = 10 };

/// Direction relative to the packet that opened the connection.
enum class Dir : std::uint8_t { Original = 0, Reply = 1 };

[[nodiscard]] constexpr Dir opposite(Dir d) noexcept {
    return d == Dir::Original ? Dir::Reply : Dir::Original;
}
[[nodiscard]] constexpr std::size_t index_of(Dir d) noexcept {
    return static_cast<std::size_t>(d);
}

/// IP protocol numbers that Sluice knows by name (IANA protocol-numbers).
namespace ipproto {
inline constexpr std::uint8_t kIcmp = 1;
inline constexpr std::uint8_t kTcp = 6;
inline constexpr std::uint8_t kUdp = 17;
inline constexpr std::uint8_t kDccp = 33;
inline constexpr std::uint8_t kGre = 47;
inline constexpr std::uint8_t kIcmpv6 = 58;
inline constexpr std::uint8_t kSctp = 132;
inline constexpr std::uint8_t kUdplite = 136;
}  // namespace ipproto

/// An IPv4 or IPv6 address in network order. IPv4 occupies the first four bytes, the rest is zero,
/// so equality and hashing need no case.
struct Addr {
    std::array<std::uint8_t, 16> bytes{};

    [[nodiscard]] static constexpr Addr v4(Be32 a) noexcept {
        static_assert(std::endian::native == std::endian::little);
        return std::bit_cast<Addr>(std::array<std::uint64_t, 2>{a.raw(), 0});
    }
    /// The IPv4 address; meaningful only where the tuple's family says so.
    [[nodiscard]] Be32 as_v4() const noexcept {
        std::uint32_t raw;
        std::memcpy(&raw, bytes.data(), sizeof raw);
        return Be32::from_raw(raw);
    }
    /// As two words; the default would call memcmp().
    friend constexpr bool operator==(const Addr& a, const Addr& b) noexcept {
        using Words = std::array<std::uint64_t, 2>;
        const auto x = std::bit_cast<Words>(a.bytes);
        const auto y = std::bit_cast<Words>(b.bytes);
        return ((x[0] ^ y[0]) | (x[1] ^ y[1])) == 0;
    }
};

/// One direction of a connection. What `sport` and `dport` hold depends on the protocol:
/// TCP, UDP, UDP-Lite, SCTP: the ports. ICMP and ICMPv6 queries: `sport` is the identifier, `dport`
/// the type in its first and the code in its second byte. GRE: the keys (call ids; 0 if unkeyed).
/// Anything else: both zero.
struct Tuple {
    Addr src;
    Addr dst;
    Be16 sport;
    Be16 dport;
    std::uint16_t zone = 0;  ///< zone of this direction; part of the key
    std::uint8_t proto = 0;
    Family family = Family::None;

    /// As five words; the default would compare field by field.
    friend constexpr bool operator==(const Tuple& a, const Tuple& b) noexcept {
        using Words = std::array<std::uint64_t, 5>;
        const auto x = std::bit_cast<Words>(a);
        const auto y = std::bit_cast<Words>(b);
        return ((x[0] ^ y[0]) | (x[1] ^ y[1]) | (x[2] ^ y[2]) | (x[3] ^ y[3]) | (x[4] ^ y[4])) == 0;
    }
};
static_assert(sizeof(Tuple) == 40, "no padding: a tuple is compared and hashed as bytes");

/// What of a tuple is compared at once: two words that tell any two IPv4 tuples apart. Of IPv6,
/// whose addresses do not fit, `addrs` holds a digest only: where it agrees they have to be
/// compared too.
struct TupleKey {
    std::uint64_t addrs = 0;
    std::uint64_t rest = 0;  ///< ports, zone, protocol, family: the tuple's last eight bytes

    [[nodiscard]] static TupleKey of(const Tuple& t) noexcept {
        static_assert(offsetof(Tuple, sport) == 32 && sizeof(Tuple) == 40);
        TupleKey k;
        const auto* bytes = reinterpret_cast<const std::uint8_t*>(&t);
        std::memcpy(&k.rest, bytes + offsetof(Tuple, sport), sizeof k.rest);
        if (t.family != Family::Ipv6) [[likely]] {
            k.addrs = t.src.as_v4().raw() | std::uint64_t{t.dst.as_v4().raw()} << 32;
        } else {
            std::array<std::uint64_t, 4> w;
            std::memcpy(w.data(), bytes, sizeof w);
            k.addrs = w[0] ^ std::rotl(w[1], 17) ^ std::rotl(w[2], 31) ^ std::rotl(w[3], 47);
        }
        return k;
    }
    [[nodiscard]] Family family() const noexcept {
        static_assert(std::endian::native == std::endian::little && offsetof(Tuple, family) == 39);
        return static_cast<Family>(rest >> 56U);
    }
    /// Writes the tuple that it is the key of, but for the addresses of IPv6, word by word: what is
    /// put together elsewhere and copied is not to be read for a dozen cycles.
    void write_to(Tuple& t) const noexcept {
        const bool four = family() != Family::Ipv6;
        const std::uint64_t both = four ? addrs : 0;
        auto* at = reinterpret_cast<std::uint8_t*>(&t);
        for (const std::uint64_t word :
             {both & 0xffff'ffffU, std::uint64_t{0}, both >> 32U, std::uint64_t{0}, rest}) {
            std::memcpy(at, &word, sizeof word);
            at += sizeof word;
        }
    }
    /// The destination of an IPv4 tuple.
    [[nodiscard]] Addr dst_v4() const noexcept {
        return Addr::v4(Be32::from_raw(static_cast<std::uint32_t>(addrs >> 32U)));
    }
    [[nodiscard]] Tuple tuple() const noexcept {
        Tuple t;
        write_to(t);
        return t;
    }
    friend constexpr bool operator==(TupleKey, TupleKey) noexcept = default;
};

/// `dport` of an ICMP tuple.
[[nodiscard]] constexpr Be16 icmp_type_code(std::uint8_t type, std::uint8_t code) noexcept {
    return Be16::from_raw(static_cast<std::uint16_t>(type | code << 8));
}
[[nodiscard]] constexpr std::uint8_t icmp_type(Be16 type_code) noexcept {
    return static_cast<std::uint8_t>(type_code.raw());
}
[[nodiscard]] constexpr std::uint8_t icmp_code(Be16 type_code) noexcept {
    return static_cast<std::uint8_t>(type_code.raw() >> 8);
}

/// The query's or answer's counterpart (echo request 8 <-> 0, timestamp 13 <-> 14, information
/// 15 <-> 16, address mask 17 <-> 18; ICMPv6 128 <-> 129, node information 139 <-> 140), or -1 if
/// the type is no query or answer (RFC 792, RFC 950, RFC 4443, RFC 4620).
[[nodiscard]] constexpr int icmp_counterpart(std::uint8_t proto, std::uint8_t type) noexcept {
    if (proto == ipproto::kIcmp) {
        switch (type) {
            case 8:
                return 0;
            case 0:
                return 8;
            case 13:
                return 14;
            case 14:
                return 13;
            case 15:
                return 16;
            case 16:
                return 15;
            case 17:
                return 18;
            case 18:
                return 17;
            default:
                return -1;
        }
    }
    switch (type) {
        case 128:
            return 129;
        case 129:
            return 128;
        case 139:
            return 140;
        case 140:
            return 139;
        default:
            return -1;
    }
}

/// The number of ICMP in packets of `family`.
[[nodiscard]] constexpr std::uint8_t icmp_of(Family family) noexcept {
    return family == Family::Ipv6 ? ipproto::kIcmpv6 : ipproto::kIcmp;
}
[[nodiscard]] constexpr bool is_icmp(std::uint8_t proto) noexcept {
    return proto == ipproto::kIcmp || proto == ipproto::kIcmpv6;
}

namespace detail {

/// The last eight bytes of reply_of(t), as one word: put together from its fields, a tuple is not
/// to be read as words for a dozen cycles.
[[nodiscard]] inline std::uint64_t rest_of_reply(const Tuple& t) noexcept {
    static_assert(std::endian::native == std::endian::little && offsetof(Tuple, sport) == 32);
    constexpr std::uint64_t kPorts = 0xffff'ffff;
    std::uint64_t rest;
    std::memcpy(&rest, reinterpret_cast<const std::uint8_t*>(&t) + offsetof(Tuple, sport),
                sizeof rest);
    if (!is_icmp(t.proto))
        return (rest & ~kPorts) | std::rotl(static_cast<std::uint32_t>(rest), 16);
    const int type = icmp_counterpart(t.proto, icmp_type(t.dport));
    if (type < 0) return rest;
    return (rest & ~std::uint64_t{0xff'0000}) | static_cast<std::uint64_t>(type) << 16U;
}

}  // namespace detail

/// The tuple of the answer to a packet with tuple `t`: endpoints swapped, ICMP type turned into its
/// counterpart (an ICMP tuple that has none is returned with its type as it is).
[[nodiscard]] inline Tuple reply_of(const Tuple& t) noexcept {
    Tuple r;
    r.src = t.dst;
    r.dst = t.src;
    const std::uint64_t rest = detail::rest_of_reply(t);
    std::memcpy(reinterpret_cast<std::uint8_t*>(&r) + offsetof(Tuple, sport), &rest, sizeof rest);
    return r;
}

/// The key of reply_of() an IPv4 tuple, were it addressed to `to`.
[[nodiscard]] inline TupleKey reply_key_ipv4(const Tuple& t, Be32 to) noexcept {
    return {t.dst.as_v4().raw() | std::uint64_t{to.raw()} << 32, detail::rest_of_reply(t)};
}

}  // namespace ct
