// SPDX-License-Identifier: BSD-3-Clause
#include "nat/deterministic.hpp"

#include <algorithm>
#include <stdexcept>

namespace nat {
namespace {

/// The bits `from` to `to` - 1 of an address, the first bit being 0, as a number.
[[nodiscard]] std::uint32_t bits_of(const ct::Addr& a, unsigned from, unsigned to) noexcept {
    std::uint32_t out = 0;
    for (unsigned i = from; i < to; ++i) out = out << 1U | (a.bytes[i / 8] >> (7 - i % 8) & 1U);
    return out;
}

/// Sets the bits that bits_of() reads, which are zero.
void set_bits(ct::Addr& a, unsigned from, unsigned to, std::uint32_t value) noexcept {
    for (unsigned i = from; i < to; ++i)
        if ((value >> (to - 1 - i) & 1U) != 0)
            a.bytes[i / 8] = static_cast<std::uint8_t>(a.bytes[i / 8] | 0x80U >> i % 8);
}

/// Shares for each external address, where their size follows from their number.
[[nodiscard]] std::uint32_t least_ratio(std::uint32_t subscribers, std::uint32_t addresses) {
    return (subscribers + addresses - 1) / addresses;
}

}  // namespace

std::string Deterministic::fault(const DeterministicPlan& p) {
    const unsigned most = p.inside.family == ct::Family::Ipv6 ? 128 : 32;
    if (p.inside.family == ct::Family::None) return "it has no inside prefix";
    if (p.subscriber_length > most || p.subscriber_length < p.inside.length)
        return "a subscriber is larger than the inside prefix";
    const unsigned bits = p.subscriber_length - p.inside.length;
    if (bits > kMostSubscriberBits)
        return "the inside prefix has 2^" + std::to_string(bits) + " subscribers, more than 2^" +
               std::to_string(kMostSubscriberBits);
    const std::uint32_t subscribers = 1U << bits;
    const std::uint32_t addresses = p.outside.count();
    if (addresses == 0) return "it has no external addresses";
    if (p.ports.first > p.ports.last || p.reserve >= p.ports.count())
        return "the reserve leaves no ports";
    const std::uint32_t ports = p.ports.count() - p.reserve;
    const std::uint32_t ratio = least_ratio(subscribers, addresses);
    if (p.ports_each == 0) {
        if (ports / ratio >= kLeastPortsEach) return {};
        return std::to_string(ratio) + " subscribers share each external address, and have " +
               std::to_string(ports / ratio) + " ports each";
    }
    const std::uint32_t fit = ports / p.ports_each;
    if (std::uint64_t{fit} * addresses >= subscribers) return {};
    return std::to_string(addresses) + " external addresses have shares of " +
           std::to_string(p.ports_each) + " ports for " +
           std::to_string(std::uint64_t{fit} * addresses) + " of " + std::to_string(subscribers) +
           " subscribers";
}

Deterministic::Deterministic(const DeterministicPlan& plan) : plan_{plan} {
    if (const std::string why = fault(plan); !why.empty()) throw std::invalid_argument{why};
    subscribers_ = 1U << (plan.subscriber_length - plan.inside.length);
    const std::uint32_t ports = plan.ports.count() - plan.reserve;
    ratio_ = plan.ports_each != 0 ? ports / plan.ports_each
                                  : least_ratio(subscribers_, plan.outside.count());
    each_ = plan.ports_each != 0 ? plan.ports_each : ports / ratio_;
}

std::optional<PortRange> Deterministic::overflow() const noexcept {
    const std::uint32_t taken = ratio_ * each_;
    if (taken >= plan_.ports.count()) return std::nullopt;
    return PortRange{static_cast<std::uint16_t>(plan_.ports.first + taken), plan_.ports.last};
}

std::optional<Share> Deterministic::share_of(ct::Family family,
                                             const ct::Addr& inside) const noexcept {
    if (!plan_.inside.contains(family, inside)) return std::nullopt;
    const std::uint32_t n = bits_of(inside, plan_.inside.length, plan_.subscriber_length);
    const std::uint32_t first = plan_.ports.first + n % ratio_ * each_;
    return Share{
        n / ratio_,
        {static_cast<std::uint16_t>(first), static_cast<std::uint16_t>(first + each_ - 1)}};
}

std::optional<Prefix> Deterministic::subscriber_at(ct::Family family, const ct::Addr& outside,
                                                   std::uint16_t port) const noexcept {
    const auto address = plan_.outside.index_of(family, outside);
    if (!address || !plan_.ports.contains(port)) return std::nullopt;
    const std::uint32_t place = static_cast<std::uint32_t>(port - plan_.ports.first) / each_;
    const std::uint64_t n = std::uint64_t{*address} * ratio_ + place;
    if (place >= ratio_ || n >= subscribers_) return std::nullopt;
    Prefix out{plan_.inside.addr, plan_.subscriber_length, plan_.inside.family};
    set_bits(out.addr, plan_.inside.length, plan_.subscriber_length, static_cast<std::uint32_t>(n));
    return out;
}

}  // namespace nat
