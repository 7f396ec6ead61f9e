// SPDX-License-Identifier: BSD-3-Clause
//
// ICMP errors about packets that the router has seen, or has not: right ones, cut ones, forged
// ones.
#include "tests/differential/script.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace differential {
namespace {

class IcmpErrors final : public Flow {
public:
    explicit IcmpErrors(const Pair& pair) : pair_{pair} {}

    void act(Script& s) override {
        Random& r = s.random;
        const Step* about = pick(s);
        if (about == nullptr) return lone_query(s);
        Bytes inner = about->ip;
        const bool six = inner[0] >> 4U == 6;
        const std::size_t header = six ? 40 : 20;
        if (inner.size() < header) return;
        // It comes back by the way that the packet took.
        const From f = about->port == 0 ? From::Server : From::Client;
        ct::Addr to;
        ct::Addr from;
        const std::size_t addresses = six ? 8 : 12;
        const std::size_t size = six ? 16 : 4;
        std::copy_n(inner.begin() + static_cast<std::ptrdiff_t>(addresses), size, to.bytes.begin());
        std::copy_n(inner.begin() + static_cast<std::ptrdiff_t>(addresses + size), size,
                    from.bytes.begin());
        Pair pair;
        pair.family = six ? ct::Family::Ipv6 : ct::Family::Ipv4;
        const std::string router = f == From::Server ? (six ? "2001:db8:2::99" : "198.51.100.99")
                                                     : (six ? "2001:db8:1::99" : "192.0.2.99");
        std::string dst = text(pair.family, to);
        const std::string src = r.percent(50) ? text(pair.family, from) : router;
        if (r.percent(6))  // to somebody whom it does not concern
            dst = f == From::Server ? (six ? "2001:db8:1::77" : "192.0.2.77")
                                    : (six ? "2001:db8:2::77" : "198.51.100.77");
        pair.client = f == From::Client ? src : dst;
        pair.server = f == From::Client ? dst : src;

        std::string note =
            "icmp error about a packet of proto " + std::to_string(about->keys.front().proto);
        switch (r.below(10)) {
            case 0:
            case 1:
            case 2:
                inner.resize(std::min(inner.size(), header + 8));
                break;
            case 3:
                inner.resize(std::min<std::size_t>(inner.size(), r.below(48)));
                note += fmt::format(" cut to {}", inner.size());
                break;
            case 4: {  // of another port, or another host
                const std::size_t at = header + r.below(4);
                if (inner.size() > at) inner[at] ^= 1;
                note += " bent";
                break;
            }
            case 5:
                // That of another version or length of header is meant to differ (compare.cpp).
                inner[r.between(1, static_cast<std::uint32_t>(inner.size() - 1))] ^=
                    static_cast<std::uint8_t>(1U << r.below(8));
                note += " broken";
                break;
            default:
                break;
        }
        const std::uint8_t type = six ? r.any<std::uint8_t>({1, 1, 2, 3, 4, 0, 100, 127})
                                      : r.any<std::uint8_t>({3, 3, 3, 4, 5, 11, 12});
        const auto code = static_cast<std::uint8_t>(r.below(5));
        test::PacketBuilder b = pair.from(f);
        b.icmp_error(type, code, inner);
        if (r.percent(4)) {
            b.with_l4_checksum(r.u16());
            note += " checksum";
        }
        s.send(f, b, about->keys.front(), fmt::format("{} type {} code {}", note, type, code));
    }

private:
    static std::string text(ct::Family family, const ct::Addr& a) {
        std::array<char, INET6_ADDRSTRLEN> out{};
        inet_ntop(family == ct::Family::Ipv4 ? AF_INET : AF_INET6, a.bytes.data(), out.data(),
                  out.size());
        return out.data();
    }

    /// One of the packets of late, whole or a first fragment.
    static const Step* pick(Script& s) {
        const auto& steps = s.steps();
        for (int tries = 0; tries < 8 && !steps.empty(); ++tries) {
            const std::uint32_t back = s.random.below(
                std::min<std::uint32_t>(20, static_cast<std::uint32_t>(steps.size())));
            const Step& step = steps[steps.size() - 1 - back];
            if (step.kind != Step::Kind::Packet || step.ip.size() < 20) continue;
            // Of IPv6 extension headers that the quotation cuts the same holds.
            const bool extended = step.ip[0] >> 4U == 6 && step.ip[6] == ct::ipext::kDestination;
            if (!extended) return &step;
        }
        return nullptr;
    }

    /// So that there is something to complain about.
    void lone_query(Script& s) {
        test::PacketBuilder b = pair_.from(From::Client);
        b.udp(33'434, 33'434).payload_bytes(12);
        s.send(From::Client, b, tuple_of(pair_, ct::ipproto::kUdp, 33'434, 33'434), "udp > probe");
    }

    Pair pair_;
};

}  // namespace

std::unique_ptr<Flow> make_icmp_errors(Script&, const Pair& pair) {
    return std::make_unique<IcmpErrors>(pair);
}

}  // namespace differential
