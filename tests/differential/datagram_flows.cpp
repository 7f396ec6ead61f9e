// SPDX-License-Identifier: BSD-3-Clause
//
// Flows without a handshake: UDP and UDP-Lite, ICMP queries, GRE, and protocols that have a number
// only; and datagrams in fragments.
#include "tests/differential/script.hpp"

#include <fmt/format.h>

namespace differential {
namespace {

constexpr std::uint32_t kUnreplied_s = 30;
constexpr std::uint32_t kStream_s = 120;

class UdpFlow final : public Flow {
public:
    UdpFlow(Script& s, const Pair& pair, std::uint16_t sport, std::uint8_t proto)
        : pair_{pair},
          proto_{proto},
          sport_{sport},
          dport_{s.random.any<std::uint16_t>({53, 123, 4500, 443})} {
        if (pair.service != 0) dport_ = pair.service;
        key_ = tuple_of(pair, proto, sport, dport_);
    }

    void act(Script& s) override {
        Random& r = s.random;
        if (!certain(s)) return other_things(s);
        const std::uint32_t n = r.between(1, 3);
        for (std::uint32_t i = 0; i < n; ++i) {
            if (!certain(s)) return;
            const From f = r.percent(55) ? From::Client : From::Server;
            // A datagram that opens nothing would not count in the flow's age.
            send(s, gone(s) && !s.wan_opens ? From::Client : f);
        }
    }

private:
    [[nodiscard]] bool gone(const Script& s) const {
        return !started_ || s.now_s() - last_s_ >= timeout_s_;
    }
    [[nodiscard]] bool aged(const Script& s) const { return s.aged_s() > born_s_; }
    /// Whether an entry is older than two seconds is known only if the kernel's clock agrees with
    /// the one on paper: no wait since the entry was made, or an Age step since then. It matters
    /// once a reply was seen, and never for UDP-Lite.
    [[nodiscard]] bool certain(const Script& s) const {
        return gone(s) || aged(s) || s.now_s() - born_s_ < 2 || !replied_ ||
               proto_ == ct::ipproto::kUdplite;
    }
    void other_things(Script& s) {
        if (s.random.percent(50)) s.wait(s.random.any<std::uint32_t>({29, 30, 31, 121, 122}));
    }
    /// What a packet sets the time-out to.
    [[nodiscard]] std::uint32_t next_timeout(const Script& s) const {
        const bool stream = replied_ && (aged(s) || proto_ == ct::ipproto::kUdplite);
        return stream ? kStream_s : kUnreplied_s;
    }

    void send(Script& s, From f) {
        Random& r = s.random;
        test::PacketBuilder b = pair_.from(f);
        const std::uint16_t from_port = f == From::Client ? sport_ : dport_;
        const std::uint16_t to_port = f == From::Client ? dport_ : sport_;
        const std::uint32_t size = r.any<std::uint32_t>({0, 1, 20, 33, 512, 1400});
        std::string note =
            fmt::format("proto {} {} {} bytes", proto_, f == From::Client ? '>' : '<', size);
        if (proto_ == ct::ipproto::kUdp) {
            b.udp(from_port, to_port);
        } else {
            const auto coverage = r.any<std::uint16_t>({0, 0, 8, 12, 5, 2000});
            b.udplite(from_port, to_port, coverage);
            note += fmt::format(" coverage {}", coverage);
        }
        b.payload_bytes(size);
        // Wrong ones are sent where it does not matter whether they count.
        const bool may_bend =
            !gone(s) && f == first_ && s.now_s() == last_s_ && timeout_s_ == next_timeout(s);
        const bool bent = may_bend && bend(r, b, size, note);
        if (!bent) remember(s, f);
        // Nothing is lost or late: the flow's age must be known, and without numbers the order of
        // datagrams is as good as any other.
        s.put(f, b.build_ip(), key_, note);
        if (r.percent(5) && (bent || certain(s))) s.put(f, b.build_ip(), key_, note + " (twice)");
    }

    /// Makes some datagrams wrong, or without a checksum. True if it did.
    bool bend(Random& r, test::PacketBuilder& b, std::uint32_t size, std::string& note) const {
        if (r.percent(8)) {
            b.with_l4_checksum(r.percent(50) ? std::uint16_t{0} : r.u16());
            note += " checksum";
            return true;
        }
        if (!r.percent(8) || proto_ != ct::ipproto::kUdp) return false;
        const auto length = r.any<std::uint16_t>({0, 7, 8, 9, 500, 2000, 65535});
        // What lies behind the length is a difference that is meant to be (compare.cpp).
        if (length >= 8 && length < 8 + size) b.with_l4_checksum(0);
        b.with_udp_length(length);
        note += fmt::format(" length {}", length);
        return true;
    }

    /// Keeps account of what the entry must be.
    void remember(const Script& s, From f) {
        if (gone(s)) {
            born_s_ = s.now_s();
            first_ = f;
            replied_ = false;
        }
        timeout_s_ = next_timeout(s);
        replied_ = replied_ || f != first_;
        started_ = true;
        last_s_ = s.now_s();
    }

    Pair pair_;
    std::uint8_t proto_;
    std::uint16_t sport_;
    std::uint16_t dport_;
    ct::Tuple key_;
    bool started_ = false;
    bool replied_ = false;
    From first_ = From::Client;
    std::uint32_t born_s_ = 0;
    std::uint32_t last_s_ = 0;
    std::uint32_t timeout_s_ = kUnreplied_s;
};

class IcmpFlow final : public Flow {
public:
    IcmpFlow(Script& s, const Pair& pair, std::uint16_t id) : pair_{pair}, id_{id} {
        const bool four = pair.family == ct::Family::Ipv4;
        query_ = four ? s.random.any<std::uint8_t>({8, 8, 8, 13, 15, 17})
                      : s.random.any<std::uint8_t>({128, 128, 128, 139});
        const auto proto = four ? ct::ipproto::kIcmp : ct::ipproto::kIcmpv6;
        answer_ = static_cast<std::uint8_t>(ct::icmp_counterpart(proto, query_));
        key_ = tuple_of(pair, proto, id, 0);
        key_.dport = ct::icmp_type_code(query_, 0);
    }

    void act(Script& s) override {
        Random& r = s.random;
        const From asker = r.percent(85) ? From::Client : From::Server;
        message(s, asker, query_);
        if (r.percent(70)) message(s, other(asker), answer_);
        if (r.percent(10)) message(s, other(asker), answer_);
        if (r.percent(8)) message(s, asker, odd_type(r));
    }

private:
    std::uint8_t odd_type(Random& r) const {
        if (pair_.family == ct::Family::Ipv4)
            return r.any<std::uint8_t>({0, 6, 9, 10, 13, 14, 16, 18, 19, 30, 40, 255});
        return r.any<std::uint8_t>({129, 127, 138, 140, 141, 144, 150, 200, 255});
    }

    void message(Script& s, From f, std::uint8_t type) {
        Random& r = s.random;
        test::PacketBuilder b = pair_.from(f);
        const auto code = static_cast<std::uint8_t>(r.percent(92) ? 0 : r.below(3));
        const auto id = static_cast<std::uint16_t>(r.percent(92) ? id_ : r.below(3));
        b.icmp(type, code, id, r.u16()).payload_bytes(r.any<std::size_t>({0, 8, 56}));
        std::string note = fmt::format("icmp {} type {} code {} id {}",
                                       f == From::Client ? '>' : '<', type, code, id);
        if (r.percent(4)) {
            b.with_l4_checksum(r.u16());
            note += " checksum";
        }
        s.send(f, b, key_, note);
    }

    Pair pair_;
    std::uint16_t id_;
    std::uint8_t query_ = 0;
    std::uint8_t answer_ = 0;
    ct::Tuple key_;
};

class GreFlow final : public Flow {
public:
    GreFlow(Script& s, const Pair& pair, std::uint16_t number)
        : pair_{pair},
          call_id_{static_cast<std::uint16_t>(100 + number)},
          pptp_{s.random.percent(40)},
          key_{tuple_of(pair, ct::ipproto::kGre, 0, pptp_ ? call_id_ : std::uint16_t{0})} {}

    void act(Script& s) override {
        Random& r = s.random;
        const From f = r.percent(60) ? From::Client : From::Server;
        test::PacketBuilder b = pair_.from(f);
        std::string note =
            fmt::format("gre {}{}", f == From::Client ? '>' : '<', pptp_ ? " pptp" : "");
        if (pptp_) {
            const auto length = static_cast<std::uint16_t>(r.percent(90) ? 20 : r.u16());
            b.pptp(r.percent(90) ? call_id_ : r.u16(), length);
            b.payload_bytes(20);
        } else if (r.percent(80)) {
            b.gre(0x0800, r.percent(40) ? std::optional{r.u32()} : std::nullopt);
            b.payload_bytes(r.any<std::size_t>({0, 20, 100}));
        } else {
            Bytes raw(r.any<std::size_t>({3, 4, 8, 16}));
            for (std::uint8_t& x : raw) x = r.u8();
            if (raw.size() > 1) raw[1] = static_cast<std::uint8_t>(raw[1] & 7);
            b.l4(ct::ipproto::kGre, raw);
            note += " odd";
        }
        s.send(f, b, key_, note);
    }

private:
    Pair pair_;
    std::uint16_t call_id_;
    bool pptp_;
    ct::Tuple key_;
};

class GenericFlow final : public Flow {
public:
    GenericFlow(Script& s, const Pair& pair)
        : pair_{pair},
          proto_{s.random.any<std::uint8_t>({33, 33, 50, 89, 103, 253, 4, 94})},
          key_{tuple_of(pair, proto_, 0, 0)} {}

    void act(Script& s) override {
        Random& r = s.random;
        const From f = r.percent(60) ? From::Client : From::Server;
        Bytes body(r.any<std::size_t>({0, 1, 4, 12, 16, 40}));
        for (std::uint8_t& x : body) x = r.u8();
        test::PacketBuilder b = pair_.from(f);
        if (pair_.family == ct::Family::Ipv6 && r.percent(30)) b.destination();
        b.l4(proto_, body);
        s.send(f, b, key_,
               fmt::format("proto {} {} {} bytes", proto_, f == From::Client ? '>' : '<',
                           body.size()));
    }

private:
    Pair pair_;
    std::uint8_t proto_;
    ct::Tuple key_;
};

/// UDP datagrams and echo requests too large for a link.
class FragmentFlow final : public Flow {
public:
    FragmentFlow(const Pair& pair, std::uint16_t number)
        : pair_{pair}, sport_{static_cast<std::uint16_t>(61'000 + number)} {}

    void act(Script& s) override {
        Random& r = s.random;
        const From f = replied_ || !started_ || r.percent(70) ? From::Client : From::Server;
        started_ = true;
        const bool ping = r.percent(40);
        test::PacketBuilder whole = pair_.from(f);
        ct::Tuple key;
        if (ping) {
            whole.echo(sport_);
            const bool four = pair_.family == ct::Family::Ipv4;
            key = tuple_of(pair_, four ? ct::ipproto::kIcmp : ct::ipproto::kIcmpv6, sport_, 0);
            key.dport = ct::icmp_type_code(four ? 8 : 128, 0);
            if (f == From::Server) std::swap(key.src, key.dst);
        } else {
            // Towards the server only: whether it is a stream is not the question here.
            whole = pair_.from(From::Client);
            whole.udp(sport_, 2049);
            key = tuple_of(pair_, ct::ipproto::kUdp, sport_, 2049);
        }
        whole.payload_bytes(r.any<std::size_t>({64, 600, 1400}));
        const Bytes ip = whole.build_ip();
        const std::size_t header = pair_.family == ct::Family::Ipv4 ? 20 : 40;
        const Bytes l4(ip.begin() + static_cast<std::ptrdiff_t>(header), ip.end());
        s.send_fragments(ping ? f : From::Client, pair_, key.proto, l4, key,
                         fmt::format("proto {} in {} bytes", key.proto, l4.size()));
    }

private:
    Pair pair_;
    std::uint16_t sport_;
    bool started_ = false;
    bool replied_ = false;
};

}  // namespace

std::unique_ptr<Flow> make_udp(Script& s, const Pair& pair, std::uint16_t number,
                               std::uint8_t proto) {
    return std::make_unique<UdpFlow>(s, pair, static_cast<std::uint16_t>(50'000 + number), proto);
}
std::unique_ptr<Flow> make_icmp(Script& s, const Pair& pair, std::uint16_t number) {
    return std::make_unique<IcmpFlow>(s, pair, static_cast<std::uint16_t>(1'000 + number));
}
std::unique_ptr<Flow> make_gre(Script& s, const Pair& pair, std::uint16_t number) {
    return std::make_unique<GreFlow>(s, pair, number);
}
std::unique_ptr<Flow> make_generic(Script& s, const Pair& pair) {
    return std::make_unique<GenericFlow>(s, pair);
}
std::unique_ptr<Flow> make_fragments(Script&, const Pair& pair, std::uint16_t number) {
    return std::make_unique<FragmentFlow>(pair, number);
}

}  // namespace differential
