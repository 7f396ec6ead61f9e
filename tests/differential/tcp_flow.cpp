// SPDX-License-Identifier: BSD-3-Clause
//
// Two TCP endpoints that know what they are doing most of the time (RFC 9293), and a stranger who
// does not: one segment in eight is bent before it is sent.
#include "tests/differential/script.hpp"

#include <fmt/format.h>

#include <array>

namespace differential {
namespace {

struct Endpoint {
    std::uint32_t first = 0;   ///< sequence number of its SYN
    std::uint32_t next = 0;    ///< what it sends next
    std::uint32_t seen = 0;    ///< what it acknowledges: the peer's `next` as far as it arrived
    std::uint16_t window = 0;  ///< as in its header
    int scale = -1;            ///< -1: no option in its SYN
    bool sack = false;
    bool timestamps = false;
};

struct Segment {
    From from = From::Client;
    std::string flags;
    std::uint32_t seq = 0;
    std::uint32_t ack = 0;
    std::uint16_t window = 0;
    Bytes options;
    std::uint32_t payload = 0;
    std::optional<std::uint16_t> checksum{};
    std::optional<std::uint8_t> data_offset{};
};

void append_be32(Bytes& out, std::uint32_t n) {
    for (int shift = 24; shift >= 0; shift -= 8)
        out.push_back(static_cast<std::uint8_t>(n >> shift));
}

class TcpFlow final : public Flow {
public:
    TcpFlow(Script& s, const Pair& pair, std::uint16_t sport, std::uint16_t dport)
        : pair_{pair},
          sport_{sport},
          dport_{dport},
          key_{tuple_of(pair, ct::ipproto::kTcp, sport, dport)} {
        begin(s.random);
        // One flow in eight was there before the router.
        if (s.random.percent(12)) phase_ = Phase::Open;
    }

    void act(Script& s) override {
        Random& r = s.random;
        if (r.percent(6)) return strange(s);
        switch (phase_) {
            case Phase::Closed:
                return open(s);
            case Phase::SynSent:
                return answer(s);
            case Phase::SynReceived:
                return finish_handshake(s);
            case Phase::Open:
                return talk(s);
            case Phase::Closing:
                return close(s);
        }
    }

private:
    enum class Phase : std::uint8_t { Closed, SynSent, SynReceived, Open, Closing };

    Endpoint& of(From f) { return ends_[static_cast<std::size_t>(f)]; }

    void begin(Random& r) {
        for (Endpoint& e : ends_) {
            // Near the end of the circle now and then.
            e.first = r.percent(20) ? 0xffff'ffffU - r.below(3000) : r.u32();
            e.next = e.first;
            e.window = r.any<std::uint16_t>({64240, 65535, 29200, 8192, 1024, 512});
            e.scale = r.percent(70) ? r.any({0, 1, 2, 5, 7, 8, 14, 15}) : -1;
            e.sack = r.percent(70);
            e.timestamps = r.percent(50);
        }
        ends_[0].seen = ends_[1].next;
        ends_[1].seen = ends_[0].next;
    }

    static Bytes syn_options(const Endpoint& e) {
        Bytes o{2, 4, 5, 0xb4};
        const auto add = [&](const Bytes& more) { o.insert(o.end(), more.begin(), more.end()); };
        if (e.sack) add({4, 2});
        if (e.timestamps) add({8, 10, 0, 0, 0, 1, 0, 0, 0, 0});
        if (e.scale >= 0) add({1, 3, 3, static_cast<std::uint8_t>(e.scale)});
        return o;
    }
    static Bytes data_options(const Endpoint& e) {
        return e.timestamps ? Bytes{1, 1, 8, 10, 0, 0, 0, 2, 0, 0, 0, 1} : Bytes{};
    }

    Segment segment(From from, std::string flags) {
        const Endpoint& e = of(from);
        return {.from = from,
                .flags = std::move(flags),
                .seq = e.next,
                .ack = e.seen,
                .window = e.window,
                .options = data_options(e)};
    }

    /// Sends a segment, bent or not.
    void emit(Script& s, Segment g) {
        if (s.random.percent(12)) bend(s.random, g);
        last_ = g;
        test::PacketBuilder b = pair_.from(g.from);
        if (g.from == From::Client)
            b.tcp(sport_, dport_);
        else
            b.tcp(dport_, sport_);
        b.flags(g.flags).seq(g.seq).ack(g.ack).window(g.window).tcp_options(g.options);
        b.payload_bytes(g.payload);
        if (g.checksum) b.with_l4_checksum(*g.checksum);
        if (g.data_offset) b.with_data_offset(*g.data_offset);
        s.send(g.from, b, key_,
               fmt::format("tcp {} {} {}:{} ack {} win {}{}", g.from == From::Client ? '>' : '<',
                           g.flags.empty() ? "-" : g.flags, g.seq, g.payload, g.ack, g.window,
                           g.checksum ? " bad checksum" : ""));
    }

    /// What goes wrong with a segment, or is done to it.
    void bend(Random& r, Segment& g) {
        const auto off = [&]() -> std::uint32_t {
            const std::uint32_t by = r.any<std::uint32_t>(
                {1, 2, 100, 1460, of(g.from).window, 65536, 66000, 66001, 1U << 20, 1U << 31});
            return r.percent(50) ? by : 0U - by;
        };
        switch (r.below(12)) {
            case 0:
            case 1:
                g.seq += off();
                break;
            case 2:
            case 3:
                g.ack += off();
                break;
            case 4:
                g.window = r.any<std::uint16_t>({0, 1, 100, 65535});
                break;
            case 5:
                g.flags = r.any<const char*>({"S",   "SA", "A",   "F",   "FA",     "R",  "RA",
                                              "FAU", "SU", "",    "SF",  "SR",     "AU", "P",
                                              "FP",  "PA", "AEC", "SEC", "FSRPAU", "U"});
                break;
            case 6:
                g.options = r.any<Bytes>({{3, 3, 200, 1},
                                          {3, 4, 7, 7},
                                          {3, 3},
                                          {1, 1, 1, 1, 4, 2},
                                          {5, 10, 0, 0, 0, 1, 0, 0, 1, 0},
                                          {5, 9, 1, 1, 1, 1, 1, 1, 1},
                                          {8, 255, 1, 1},
                                          {0, 3, 3, 7},
                                          {3, 3, 4, 3, 3, 9},
                                          {255, 0, 3, 3, 2, 0}});
                break;
            case 7:
                if (r.percent(50)) g.checksum = r.u16();
                break;
            case 8:
                if (r.percent(50)) g.data_offset = static_cast<std::uint8_t>(r.below(16));
                break;
            case 9:
                g.payload = r.any<std::uint32_t>({0, 1, 500, 1460, 8000});
                break;
            case 10:
                g.from = other(g.from);
                break;
            default:
                g.ack = 0;
                break;
        }
    }

    void open(Script& s) {
        Random& r = s.random;
        Segment g = segment(From::Client, r.percent(10) ? "SEC" : "S");
        g.ack = r.percent(90) ? 0 : r.u32();
        g.options = syn_options(of(From::Client));
        if (r.percent(3)) g.payload = 100;  // TCP Fast Open
        of(From::Client).next = g.seq + 1 + g.payload;
        emit(s, g);
        phase_ = Phase::SynSent;
        if (r.percent(6)) {  // simultaneous open
            Segment h = segment(From::Server, "S");
            h.ack = 0;
            h.options = syn_options(of(From::Server));
            of(From::Server).next = h.seq + 1;
            emit(s, h);
            simultaneous_ = true;
        }
    }

    void answer(Script& s) {
        Random& r = s.random;
        if (r.percent(10)) return emit(s, again());
        if (r.percent(5)) return reset(s, From::Server);
        Endpoint& client = of(From::Client);
        Endpoint& server = of(From::Server);
        server.seen = client.next;
        if (simultaneous_) {
            client.seen = server.next;
            for (const From f : {From::Client, From::Server}) {
                if (r.percent(20)) continue;
                Segment g = segment(f, r.percent(70) ? "SA" : "A");
                if (g.flags == "SA") {
                    g.seq = of(f).first;
                    g.options = syn_options(of(f));
                }
                emit(s, g);
            }
            simultaneous_ = false;
            phase_ = Phase::Open;
            return;
        }
        Segment g = segment(From::Server, "SA");
        g.seq = server.first;
        g.options = syn_options(server);
        server.next = server.first + 1;
        emit(s, g);
        phase_ = Phase::SynReceived;
    }

    void finish_handshake(Script& s) {
        Random& r = s.random;
        if (r.percent(10)) return emit(s, again());
        if (r.percent(4)) return reset(s, r.percent(50) ? From::Client : From::Server);
        of(From::Client).seen = of(From::Server).next;
        emit(s, segment(From::Client, "A"));
        phase_ = Phase::Open;
        if (of(From::Client).scale < 0 || of(From::Server).scale < 0)
            of(From::Client).scale = of(From::Server).scale = 0;
    }

    void talk(Script& s) {
        Random& r = s.random;
        const From f = r.percent(50) ? From::Client : From::Server;
        Endpoint& me = of(f);
        Endpoint& peer = of(other(f));
        switch (r.below(20)) {
            case 0:
            case 1:
            case 2:
            case 3:
            case 4:
            case 5: {
                const std::uint32_t burst = r.between(1, 3);
                for (std::uint32_t i = 0; i < burst; ++i) {
                    Segment g = segment(f, r.percent(50) ? "PA" : "A");
                    g.payload = r.any<std::uint32_t>({1, 100, 536, 1460});
                    me.next += g.payload;
                    emit(s, g);
                }
                if (r.percent(70)) peer.seen = me.next;
                return;
            }
            case 6:
            case 7:
            case 8:
            case 9:
                me.seen = peer.next;
                return emit(s, segment(f, "A"));
            case 10: {  // the same acknowledgement again, with SACK
                Segment g = segment(f, "A");
                if (me.sack && peer.sack) {
                    Bytes o{1, 1, 5, 10};
                    const std::uint32_t right =
                        peer.next + r.any<std::uint32_t>({0, 0, 0, 1, 1460});
                    append_be32(o, right - r.between(1, 1460));
                    append_be32(o, right);
                    g.options.insert(g.options.end(), o.begin(), o.end());
                }
                const std::uint32_t times = r.between(1, 4);
                for (std::uint32_t i = 0; i < times; ++i) emit(s, g);
                return;
            }
            case 11: {  // keep-alive
                Segment g = segment(f, "A");
                g.seq -= 1;
                g.payload = r.below(2);
                return emit(s, g);
            }
            case 12: {  // a closed window, and a probe of it
                Segment g = segment(f, "A");
                g.window = 0;
                emit(s, g);
                Segment probe = segment(other(f), "A");
                probe.payload = 1;
                return emit(s, probe);
            }
            case 13:
                me.window = r.any<std::uint16_t>({64240, 65535, 1024, 128, 8});
                return emit(s, segment(f, "A"));
            case 14:
                return emit(s, again());
            case 15:
            case 16:
            case 17:
                phase_ = Phase::Closing;
                return close(s);
            case 18:
                if (r.percent(60)) return reset(s, f);
                return;
            default: {  // far ahead, or from long ago
                Segment g = segment(f, "PA");
                g.payload = 500;
                g.seq += r.any<std::uint32_t>({peer.window, 2U * peer.window, 0U - 70000, 0U - 500,
                                               std::uint32_t{peer.window} << 7});
                return emit(s, g);
            }
        }
    }

    void close(Script& s) {
        Random& r = s.random;
        const From f = r.percent(50) ? From::Client : From::Server;
        Endpoint& me = of(f);
        Endpoint& peer = of(other(f));
        switch (r.below(10)) {
            case 0:
            case 1:
            case 2:
            case 3: {
                me.seen = peer.next;
                Segment g = segment(f, r.percent(90) ? "FA" : "FAU");
                if (r.percent(20)) g.payload = 10;
                me.next += 1 + g.payload;
                return emit(s, g);
            }
            case 4:
            case 5:
            case 6:
                me.seen = peer.next;
                return emit(s, segment(f, "A"));
            case 7:
                return emit(s, again());
            case 8:
                return reset(s, f);
            default:  // the ports are used again
                if (r.percent(60)) {
                    const std::uint32_t before = of(From::Client).next;
                    begin(r);
                    if (r.percent(50)) {
                        Endpoint& client = of(From::Client);
                        client.first = client.next = before + r.below(100'000);
                        of(From::Server).seen = client.next;
                    }
                }
                phase_ = Phase::Closed;
                return;
        }
    }

    void reset(Script& s, From f) {
        Random& r = s.random;
        Segment g = segment(f, r.percent(50) ? "R" : "RA");
        const Endpoint& peer = of(other(f));
        switch (r.below(8)) {
            case 0:
                g.seq = 0;
                break;
            case 1:
                g.seq = peer.seen;
                break;
            case 2:
                g.seq = peer.seen + r.between(1, 1000);
                break;
            case 3:
                g.seq = peer.seen - r.between(1, 1000);
                break;
            case 4:
                g.seq += r.u32();
                break;
            default:
                break;
        }
        g.window = 0;
        if (r.percent(30)) g.ack = 0;
        if (r.percent(20)) g.ack = peer.next;
        g.options.clear();
        emit(s, g);
        if (r.percent(60)) {
            begin(r);
            phase_ = Phase::Closed;
        }
    }

    /// What only a lost, a crashed or an evil endpoint would send.
    void strange(Script& s) {
        Random& r = s.random;
        const From f = r.percent(60) ? From::Client : From::Server;
        Segment g = segment(f, "S");
        switch (r.below(6)) {
            case 0:
            case 1: {  // it has crashed and begins anew; its peer may agree or challenge it
                g.seq = r.percent(50) ? r.u32() : g.seq + r.between(1, 200'000);
                g.ack = 0;
                g.options = syn_options(of(f));
                emit(s, g);
                Segment h = segment(other(f), r.percent(50) ? "SA" : r.percent(50) ? "A" : "RA");
                if (h.flags != "A") h.ack = g.seq + 1;
                if (h.flags == "SA") h.options = syn_options(of(other(f)));
                if (r.percent(70)) emit(s, h);
                if (h.flags == "SA" && r.percent(70)) {
                    of(f).first = g.seq;
                    of(f).next = g.seq + 1;
                    of(other(f)).first = h.seq;
                    of(other(f)).next = h.seq + 1;
                    of(other(f)).seen = of(f).next;
                    of(f).seen = of(other(f)).next;
                    emit(s, segment(f, "A"));
                    phase_ = Phase::Open;
                }
                return;
            }
            case 2:
                g.flags = "SA";
                g.options = syn_options(of(f));
                return emit(s, g);
            case 3:
                return reset(s, f);
            case 4:
                g.flags = "FA";
                g.seq += r.any<std::uint32_t>({0, 100'000, 0U - 100'000});
                emit(s, g);
                g.from = other(f);
                g.flags = r.percent(50) ? "FA" : "R";
                return emit(s, g);
            default:
                g.flags = r.any<const char*>({"A", "PA", "FA", "R", "SA", "AU"});
                g.seq = r.u32();
                g.ack = r.u32();
                return emit(s, g);
        }
    }

    Segment again() {
        if (last_) return *last_;
        return segment(From::Client, "S");
    }

    Pair pair_;
    std::uint16_t sport_;
    std::uint16_t dport_;
    ct::Tuple key_;
    std::array<Endpoint, 2> ends_;
    Phase phase_ = Phase::Closed;
    bool simultaneous_ = false;
    std::optional<Segment> last_;
};

}  // namespace

std::unique_ptr<Flow> make_tcp(Script& s, const Pair& pair, std::uint16_t number) {
    const auto sport = static_cast<std::uint16_t>(40'000 + number);
    const auto dport = s.random.any<std::uint16_t>({80, 443, 22});
    return std::make_unique<TcpFlow>(s, pair, sport, pair.service != 0 ? pair.service : dport);
}

}  // namespace differential
