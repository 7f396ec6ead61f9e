// SPDX-License-Identifier: BSD-3-Clause
//
// Two SCTP endpoints (RFC 9260), most of the time; and chunks, tags and lengths that are wrong.
#include "tests/differential/script.hpp"

#include <fmt/format.h>

#include <array>

namespace differential {
namespace {

namespace chunk {
constexpr std::uint8_t kData = 0, kInit = 1, kInitAck = 2, kSack = 3, kHeartbeat = 4,
                       kHeartbeatAck = 5, kAbort = 6, kShutdown = 7, kShutdownAck = 8, kError = 9,
                       kCookieEcho = 10, kCookieAck = 11, kShutdownComplete = 14;
}

Bytes be32(std::uint32_t n) {
    return {static_cast<std::uint8_t>(n >> 24), static_cast<std::uint8_t>(n >> 16),
            static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)};
}

struct Chunk {
    std::uint8_t type = 0;
    Bytes body;
    std::uint8_t flags = 0;
};

class SctpFlow final : public Flow {
public:
    SctpFlow(Script& s, const Pair& pair, std::uint16_t sport)
        : pair_{pair}, sport_{sport}, key_{tuple_of(pair, ct::ipproto::kSctp, sport, kPort)} {
        begin(s.random);
    }

    void act(Script& s) override {
        Random& r = s.random;
        if (r.percent(10)) return strange(s);
        switch (phase_) {
            case Phase::Closed:
                return init(s);
            case Phase::Init:
                return init_ack(s);
            case Phase::InitAcked:
                return cookie(s);
            case Phase::Open:
                return talk(s);
            case Phase::Shutdown:
                return shut_down(s);
        }
    }

private:
    static constexpr std::uint16_t kPort = 3868;
    enum class Phase : std::uint8_t { Closed, Init, InitAcked, Open, Shutdown };

    void begin(Random& r) {
        tag_ = {r.u32() | 1, r.u32() | 1};
        phase_ = Phase::Closed;
    }
    /// What the packets of `f` must carry: the tag that the other side chose.
    std::uint32_t tag_for(From f) const { return tag_[f == From::Client ? 1 : 0]; }
    std::uint32_t own_tag(From f) const { return tag_[f == From::Client ? 0 : 1]; }

    Bytes init_body(From f) const {
        Bytes b = be32(own_tag(f));
        const Bytes rest{0, 1, 0, 0, 0, 10, 0, 10, 0, 0, 0, 1};
        b.insert(b.end(), rest.begin(), rest.end());
        return b;
    }

    void emit(Script& s, From f, std::uint32_t tag, std::vector<Chunk> chunks) {
        Random& r = s.random;
        std::string bent;
        if (r.percent(10)) {
            switch (r.below(7)) {
                case 0:
                    tag = r.any<std::uint32_t>({0, tag + 1, r.u32(), tag_[0], tag_[1]});
                    bent = " tag";
                    break;
                case 1:
                    chunks.front().type =
                        r.any<std::uint8_t>({0,  1,  2,  3,  4,  5,  6,  7,   8,   9,  10,
                                             11, 12, 13, 14, 15, 63, 64, 130, 192, 255});
                    bent = " type";
                    break;
                case 2:
                    chunks.front().flags = r.u8();
                    bent = " flags";
                    break;
                case 3:
                    chunks.push_back({chunk::kData, Bytes(13)});
                    bent = " and data";
                    break;
                case 4:
                    chunks.insert(chunks.begin(), {chunk::kData, Bytes(12)});
                    bent = " behind data";
                    break;
                case 5:
                    chunks.front().body.resize(r.below(20));
                    bent = " cut";
                    break;
                default:
                    f = other(f);
                    bent = " from the other side";
                    break;
            }
        }
        test::PacketBuilder b = pair_.from(f);
        if (f == From::Client)
            b.sctp(sport_, kPort, tag);
        else
            b.sctp(kPort, sport_, tag);
        std::string note = fmt::format("sctp {} tag {:x}", f == From::Client ? '>' : '<', tag);
        for (const Chunk& c : chunks) {
            b.chunk(c.type, c.body, c.flags);
            note += fmt::format(" chunk {}/{:x}", c.type, c.flags);
            if ((c.type == chunk::kInit || c.type == chunk::kInitAck) && c.body.size() >= 4)
                note += fmt::format(" chooses {:02x}{:02x}{:02x}{:02x}", c.body[0], c.body[1],
                                    c.body[2], c.body[3]);
        }
        if (r.percent(3)) {
            b.with_sctp_checksum(r.u32());
            bent += " checksum";
        }
        if (r.percent(2)) {  // the last chunk says that it is longer or shorter
            Bytes ip = b.build_ip();
            Bytes l4(ip.begin() + (pair_.family == ct::Family::Ipv4 ? 20 : 40), ip.end());
            if (l4.size() > 16) {
                l4[14] = r.any<std::uint8_t>({0, 0, 1});
                l4[15] = r.any<std::uint8_t>({0, 1, 3, 4, 5, 200});
                std::fill_n(l4.begin() + 8, 4, std::uint8_t{0});
                ct::store(l4.data() + 8, ct::sctp_checksum(l4));
                b = pair_.from(f);
                b.l4(ct::ipproto::kSctp, l4);
                bent += fmt::format(" length {}", l4[14] * 256 + l4[15]);
            }
        }
        last_ = chunks;
        last_from_ = f;
        last_tag_ = tag;
        s.send(f, b, key_, note + bent);
    }
    void emit(Script& s, From f, Chunk c) { emit(s, f, tag_for(f), {std::move(c)}); }

    void init(Script& s) {
        emit(s, From::Client, 0, {{chunk::kInit, init_body(From::Client)}});
        phase_ = Phase::Init;
        if (s.random.percent(5))
            emit(s, From::Server, 0, {{chunk::kInit, init_body(From::Server)}});
    }
    void init_ack(Script& s) {
        if (s.random.percent(10)) return repeat(s);
        Bytes body = init_body(From::Server);
        const Bytes cookie{0, 7, 0, 8, 1, 2, 3, 4};
        body.insert(body.end(), cookie.begin(), cookie.end());
        emit(s, From::Server, {chunk::kInitAck, body});
        phase_ = Phase::InitAcked;
    }
    void cookie(Script& s) {
        if (s.random.percent(10)) return repeat(s);
        std::vector<Chunk> echo{{chunk::kCookieEcho, {1, 2, 3, 4}}};
        if (s.random.percent(30)) echo.push_back({chunk::kData, Bytes(16)});
        emit(s, From::Client, tag_for(From::Client), echo);
        if (s.random.percent(90)) {
            std::vector<Chunk> ack{{chunk::kCookieAck, {}}};
            if (s.random.percent(30)) ack.push_back({chunk::kSack, Bytes(12)});
            emit(s, From::Server, tag_for(From::Server), ack);
            phase_ = Phase::Open;
        }
    }
    void talk(Script& s) {
        Random& r = s.random;
        const From f = r.percent(50) ? From::Client : From::Server;
        switch (r.below(12)) {
            case 0:
            case 1:
            case 2:
                return emit(s, f, {chunk::kData, Bytes(12 + r.below(100)), 3});
            case 3:
            case 4:
                return emit(s, f, {chunk::kSack, Bytes(12)});
            case 5:
                emit(s, f, {chunk::kHeartbeat, {0, 1, 0, 8, 1, 2, 3, 4}});
                return emit(s, other(f), {chunk::kHeartbeatAck, {0, 1, 0, 8, 1, 2, 3, 4}});
            case 6:
                return emit(s, f, tag_for(f),
                            {{chunk::kSack, Bytes(12)}, {chunk::kData, Bytes(15), 3}});
            case 7:
                return repeat(s);
            case 8:
                if (r.percent(40)) return abort(s, f);
                return;
            case 9:
                return emit(s, f, {chunk::kError, {0, 1, 0, 8, 0, 0, 0, 0}});
            default:
                if (r.percent(50)) return;
                closer_ = f;
                phase_ = Phase::Shutdown;
                return emit(s, f, {chunk::kShutdown, Bytes(4)});
        }
    }
    void shut_down(Script& s) {
        Random& r = s.random;
        switch (r.below(6)) {
            case 0:
                return emit(s, closer_, {chunk::kShutdown, Bytes(4)});
            case 1:
            case 2:
                return emit(s, other(closer_), {chunk::kShutdownAck, {}});
            case 3:
                return repeat(s);
            default: {
                const bool reflected = r.percent(20);
                emit(
                    s, closer_, reflected ? own_tag(closer_) : tag_for(closer_),
                    {{chunk::kShutdownComplete, {}, static_cast<std::uint8_t>(reflected ? 1 : 0)}});
                begin(r);
                return;
            }
        }
    }
    void abort(Script& s, From f) {
        Random& r = s.random;
        const bool reflected = r.percent(40);
        emit(s, f, reflected ? own_tag(f) : tag_for(f),
             {{chunk::kAbort, {}, static_cast<std::uint8_t>(reflected ? 1 : 0)}});
        begin(r);
    }
    void repeat(Script& s) {
        if (!last_.empty()) emit(s, last_from_, last_tag_, last_);
    }

    void strange(Script& s) {
        Random& r = s.random;
        const From f = r.percent(60) ? From::Client : From::Server;
        switch (r.below(6)) {
            case 0:  // a peer that has restarted
                tag_[f == From::Client ? 0 : 1] = r.u32() | 1;
                return emit(s, f, 0, {{chunk::kInit, init_body(f)}});
            case 1:
                return emit(s, f, 0, {{chunk::kHeartbeat, {0, 1, 0, 4}}});
            case 2:
                return emit(s, f, {chunk::kHeartbeat, {0, 1, 0, 4}});
            case 3:
                return emit(s, f, {chunk::kHeartbeatAck, {0, 1, 0, 4}});
            case 4:
                return abort(s, f);
            default: {
                const auto type = static_cast<std::uint8_t>(r.below(16));
                Bytes body = type == 1 || type == 2 ? init_body(f) : Bytes(r.below(8) * 4);
                return emit(s, f, {type, std::move(body), static_cast<std::uint8_t>(r.below(2))});
            }
        }
    }

    Pair pair_;
    std::uint16_t sport_;
    ct::Tuple key_;
    std::array<std::uint32_t, 2> tag_{};  ///< by the side that chose it
    Phase phase_ = Phase::Closed;
    From closer_ = From::Client;
    std::vector<Chunk> last_;
    From last_from_ = From::Client;
    std::uint32_t last_tag_ = 0;
};

}  // namespace

std::unique_ptr<Flow> make_sctp(Script& s, const Pair& pair, std::uint16_t number) {
    return std::make_unique<SctpFlow>(s, pair, static_cast<std::uint16_t>(55'000 + number));
}

}  // namespace differential
