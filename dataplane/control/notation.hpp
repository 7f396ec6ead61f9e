// SPDX-License-Identifier: BSD-3-Clause
//
// Networking notation as operators write it: addresses, prefixes, ports, translations. Functions
// that read give nothing for what is not of their kind, and leave judging its sense to the caller.
#pragma once

#include "ct/wire/tuple.hpp"
#include "dataplane/control/config.hpp"
#include "nat/rule.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace dp {

/// An address together with its family.
struct Address {
    ct::Family family = ct::Family::None;
    ct::Addr addr;

    friend bool operator==(const Address&, const Address&) noexcept = default;
};

/// An IPv4 address in dotted form or an IPv6 address (RFC 4291 2.2), without zone or brackets.
[[nodiscard]] std::optional<Address> parse_address(std::string_view text);

/// `address/length`, or an address alone, which is the prefix of itself. Host bits stay.
[[nodiscard]] std::optional<nat::Prefix> parse_prefix(std::string_view text);

/// Bits of an address of `family`: 32 or 128.
[[nodiscard]] constexpr std::uint8_t address_bits(ct::Family family) noexcept {
    return family == ct::Family::Ipv4 ? 32 : 128;
}
/// `prefix` with its host bits zero.
[[nodiscard]] nat::Prefix masked(const nat::Prefix& prefix) noexcept;
/// True if the two, both of a family, have an address in common.
[[nodiscard]] bool overlap(const nat::Prefix& a, const nat::Prefix& b) noexcept;
/// The prefix that holds only `address`.
[[nodiscard]] nat::Prefix host_prefix(const Address& address) noexcept;
/// True if `address` is in fe80::/10 (RFC 4291 2.5.6).
[[nodiscard]] bool is_link_local(const Address& address) noexcept;
/// True if `address` is multicast, unspecified, loopback or IPv4's limited broadcast: nothing that
/// one station on a link may be called.
[[nodiscard]] bool is_special(const Address& address) noexcept;

/// `02:00:00:00:00:01`; digits in either case.
[[nodiscard]] std::optional<MacAddress> parse_mac(std::string_view text);

/// `80` or `8000-8080`. The ends come as they are written, so that a range may be inverted.
[[nodiscard]] std::optional<nat::PortRange> parse_ports(std::string_view text);

/// What a nat rule's `to` says: `A`, `A-B`, `A/LENGTH`, each with `:PORTS` behind it or not; an
/// IPv6 address that ports follow stands in brackets (RFC 3986 3.2.2). Nothing if it is none of
/// these; the ends of both ranges come as they are written.
[[nodiscard]] std::optional<nat::Target> parse_target(std::string_view text);

/// A target that has all addresses of `prefix`, and no ports.
[[nodiscard]] nat::Target target_of(const nat::Prefix& prefix) noexcept;

/// The prefix whose addresses are those of `target`, or nothing if they are those of none.
[[nodiscard]] std::optional<nat::Prefix> prefix_of(const nat::Target& target) noexcept;

/// A mark to compare: `VALUE` or `VALUE/MASK`, decimal or hexadecimal.
struct MarkMatch {
    std::uint32_t value = 0;
    std::uint32_t mask = 0xffff'ffff;
};
[[nodiscard]] std::optional<MarkMatch> parse_mark(std::string_view text);

/// An IP protocol by name (tcp, udp, icmp, ...) or number 0 to 255.
[[nodiscard]] std::optional<std::uint8_t> parse_protocol(std::string_view text);
/// The name of an IP protocol, else its number as text.
[[nodiscard]] std::string protocol_name(std::uint8_t protocol);

/// A PCI address as lspci and DPDK print it (`01:00.0`, `0000:01:00.0`), given back with its domain
/// and in lower case.
[[nodiscard]] std::optional<std::string> parse_pci(std::string_view text);

/// The one of `known` that is spelled most like `word`, or empty if none comes close.
[[nodiscard]] std::string_view nearest(std::string_view word,
                                       std::span<const std::string_view> known);

/// `text` in single quotes, shortened and with control characters made visible: safe in a message.
[[nodiscard]] std::string in_quotes(std::string_view text);

}  // namespace dp
