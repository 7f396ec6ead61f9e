// SPDX-License-Identifier: BSD-3-Clause
//
// SCTP, RFC 9260, judged from the middle of the path.
//
// A packet is a list of chunks. Every chunk has to fit the verification tag in the packet's header
// (section 8.5), and each may move the association on; the last one's state is the packet's.
//
// Tags. Each side chooses, in its INIT or INIT ACK, the tag that packets towards it must carry, so
// a direction's tag is learned from the other direction. A new handshake on a live association is
// either a peer that has restarted (section 5.2) or a stranger who needs no tag to send an INIT.
// The tags that it offers are therefore kept as `pending` beside those in force, and take over only
// when a COOKIE ECHO carries the pending one: that is when the endpoints themselves believe in it.
//
// States. Kernel names and numbers; what the table does not list leaves the state as it is, for a
// chunk that carries no news (DATA, SACK, a retransmission) is the rule and not the exception. An
// association of several paths shows itself on a new path with a HEARTBEAT only, and is believed
// when the other side acknowledges it.
#include "ct/proto/sctp.hpp"

#include <array>
#include <cassert>
#include <cstring>

namespace ct::proto::sctp {
namespace {

constexpr std::uint32_t kHeaderBytes = 12;      ///< RFC 9260 3.1
constexpr std::uint32_t kChunkHeaderBytes = 4;  ///< RFC 9260 3.2
constexpr std::uint8_t kReflected = 0x01;       ///< T bit: the tag is the receiver's (8.5.1)

/// Chunk types, RFC 9260 3.2 table 1.
enum class Type : std::uint8_t {
    Init = 1,
    InitAck = 2,
    Heartbeat = 4,
    HeartbeatAck = 5,
    Abort = 6,
    Shutdown = 7,
    ShutdownAck = 8,
    Error = 9,
    CookieEcho = 10,
    CookieAck = 11,
    ShutdownComplete = 14,
};
constexpr std::size_t kTypes = 15;

/// In the table, beside the states.
constexpr SctpState kStay{14};
constexpr SctpState kRefused{15};

enum class Sender : std::uint8_t { Original, Reply, Either };

template <class... States>
consteval unsigned in(States... states) {
    return ((1U << index_of(states)) | ...);
}

struct Transition {
    unsigned from;
    Sender sender;
    Type type;
    SctpState to;
};

// clang-format off
constexpr auto kTransitions = [] {
    using enum SctpState;
    using enum Sender;
    constexpr unsigned kKnown = in(Closed, CookieWait, CookieEchoed, Established, ShutdownSent,
                                   ShutdownRecd, ShutdownAckSent);
    return std::array{
        // Set-up, RFC 9260 5.1.
        Transition{in(None),                          Original, Type::Init,             Closed},
        Transition{in(Closed),                        Reply,    Type::InitAck,          CookieWait},
        Transition{in(CookieWait),                    Either,   Type::CookieEcho,       CookieEchoed},
        Transition{in(CookieEchoed),                  Either,   Type::CookieAck,        Established},
        Transition{in(CookieEchoed),                  Reply,    Type::Error,            Closed},       // stale cookie, 5.2.6
        // Shutdown, 9.2.
        Transition{in(Established),                   Original, Type::Shutdown,         ShutdownSent},
        Transition{in(Established),                   Reply,    Type::Shutdown,         ShutdownRecd},
        Transition{in(ShutdownSent, ShutdownRecd),    Either,   Type::ShutdownAck,      ShutdownAckSent},
        Transition{in(ShutdownAckSent),               Either,   Type::ShutdownComplete, Closed},
        Transition{in(ShutdownSent, ShutdownRecd),    Original, Type::Init,             Closed},
        // Abort, 9.1.
        Transition{kKnown,                            Either,   Type::Abort,            Closed},
        // Out of the blue, 8.4: another path's heartbeat, or the end of what began before our time.
        Transition{in(None),                          Original, Type::Heartbeat,        HeartbeatSent},
        Transition{in(None),                          Original, Type::HeartbeatAck,     Closed},
        Transition{in(None),                          Original, Type::ShutdownAck,      ShutdownAckSent},
        // A path that was only probed so far.
        Transition{in(HeartbeatSent),                 Reply,    Type::HeartbeatAck,     Established},
        Transition{in(HeartbeatSent),                 Original, Type::Init,             CookieWait},
        Transition{in(HeartbeatSent),                 Original, Type::ShutdownAck,      ShutdownAckSent},
        Transition{in(HeartbeatSent),                 Original, Type::InitAck,          Closed},
        Transition{in(HeartbeatSent),                 Original, Type::Abort,            Closed},
        Transition{in(HeartbeatSent),                 Original, Type::Shutdown,         Closed},
        Transition{in(HeartbeatSent),                 Original, Type::Error,            Closed},
        Transition{in(HeartbeatSent),                 Original, Type::CookieEcho,       Closed},
        Transition{in(HeartbeatSent),                 Original, Type::CookieAck,        Closed},
        Transition{in(HeartbeatSent),                 Original, Type::ShutdownComplete, Closed},
        Transition{in(HeartbeatSent),                 Reply,    Type::Init,             kRefused},
        Transition{in(HeartbeatSent),                 Reply,    Type::InitAck,          kRefused},
        Transition{in(HeartbeatSent),                 Reply,    Type::Abort,            kRefused},
        Transition{in(HeartbeatSent),                 Reply,    Type::Shutdown,         kRefused},
        Transition{in(HeartbeatSent),                 Reply,    Type::ShutdownAck,      kRefused},
        Transition{in(HeartbeatSent),                 Reply,    Type::Error,            kRefused},
        Transition{in(HeartbeatSent),                 Reply,    Type::CookieEcho,       kRefused},
        Transition{in(HeartbeatSent),                 Reply,    Type::CookieAck,        kRefused},
        Transition{in(HeartbeatSent),                 Reply,    Type::ShutdownComplete, kRefused},
    };
}();
// clang-format on

/// kTransitions as a dense table by direction, type and state. What it does not list is kStay, but
/// from None, where nothing stays: it is kRefused.
constexpr auto kNext = [] {
    std::array<std::array<std::array<SctpState, 16>, kTypes>, 2> next{};
    for (auto& by_type : next) {
        for (auto& by_state : by_type) {
            by_state.fill(kStay);
            by_state[0] = kRefused;
        }
    }
    for (const Transition& t : kTransitions) {
        for (std::size_t dir = 0; dir < 2; ++dir) {
            if (t.sender != Sender::Either && static_cast<std::size_t>(t.sender) != dir) continue;
            for (std::size_t from = 0; from < kSctpStates; ++from)
                if ((t.from >> from & 1) != 0)
                    next[dir][static_cast<std::size_t>(t.type)][from] = t.to;
        }
    }
    return next;
}();

SctpState next_state(SctpState state, Dir dir, Type type) noexcept {
    const auto row = static_cast<std::size_t>(type);
    if (row >= kTypes) return state == SctpState::None ? kRefused : kStay;
    return kNext[index_of(dir)][row][index_of(state) & 0xf];
}

std::uint32_t load_be32(const std::uint8_t* at) noexcept {
    std::uint32_t raw;
    std::memcpy(&raw, at, sizeof raw);
    return Be32::from_raw(raw).host();
}

/// One chunk, as found.
struct Chunk {
    Type type{};
    std::uint8_t flags = 0;
    bool alone = false;  ///< the only one of its packet
    bool first = false;
    std::uint32_t initiate_tag = 0;  ///< of INIT and INIT ACK (RFC 9260 3.3.2)
};

/// The packet under judgement.
struct Track {
    const Packet& p;
    SctpPeer& own;    ///< of the packet's direction
    SctpPeer& other;  ///< of the opposite direction
    std::uint32_t tag;
    SctpState state;
    bool probe = false;  ///< has a HEARTBEAT with a tag of its own
};

/// RFC 9260 6.10: these travel alone; 5.1: the cookie comes first.
bool well_placed(const Chunk& c) noexcept {
    switch (c.type) {
        case Type::Init:
        case Type::InitAck:
        case Type::ShutdownComplete:
            return c.alone;
        case Type::CookieEcho:
        case Type::CookieAck:
            return c.first;
        default:
            return true;
    }
}

/// RFC 9260 8.5: whether the packet's tag is right for this chunk.
bool tag_fits(Track& t, const Chunk& c) noexcept {
    const bool own = t.own.tag != 0 && t.tag == t.own.tag;
    switch (c.type) {
        case Type::Init:
            return t.tag == 0;
        case Type::InitAck:
        case Type::CookieEcho:
            return own || (t.own.pending != 0 && t.tag == t.own.pending);
        case Type::Abort:
        case Type::ShutdownComplete:
            if ((c.flags & kReflected) != 0) return t.other.tag != 0 && t.tag == t.other.tag;
            return own;
        case Type::ShutdownAck:
            return true;  // 8.5.1 E: may answer for a lost association
        case Type::Heartbeat:
            if (t.own.tag == 0) t.own.tag = t.tag;
            if (t.tag != t.own.tag) t.probe = true;
            return true;
        case Type::HeartbeatAck:
            if (t.own.tag == 0) t.own.tag = t.tag;
            return t.tag == t.own.tag;
        default:
            return own;
    }
}

/// Follows the tags of a handshake (see above).
void follow_handshake(Track& t, const Chunk& c) noexcept {
    const bool opening = index_of(t.state) <= index_of(SctpState::CookieWait);
    switch (c.type) {
        case Type::Init:
            t.other.pending = c.initiate_tag;
            if (t.other.tag == 0 || t.state == SctpState::None || t.state == SctpState::Closed)
                t.other.tag = c.initiate_tag;
            return;
        case Type::InitAck:
            t.other.pending = c.initiate_tag;
            if (!opening) return;
            t.own.tag = t.tag;
            t.other.tag = c.initiate_tag;
            return;
        case Type::CookieEcho:
            if (t.tag == t.own.tag) return;
            t.own.tag = t.tag;
            if (t.other.pending != 0) t.other.tag = t.other.pending;
            return;
        default:
            return;
    }
}

/// Applies one chunk. False if the packet does not belong because of it.
bool apply(Track& t, const Chunk& c) noexcept {
    if (!well_placed(c) || !tag_fits(t, c)) return false;
    if (t.probe) return true;
    const SctpState to = next_state(t.state, t.p.dir, c.type);
    if (to == kRefused) return false;
    follow_handshake(t, c);
    if (to != kStay) t.state = to;
    return true;
}

/// Applies every chunk of the packet. False if it does not belong, or has none.
bool walk(Track& t) noexcept {
    const Packet& p = t.p;
    const std::uint32_t begin = p.l4_offset + kHeaderBytes;
    std::uint32_t at = begin;
    bool any = false;
    while (at + kChunkHeaderBytes <= p.end) {
        const std::uint8_t* const chunk = p.data + at;
        const std::uint32_t size = std::uint32_t{chunk[2]} << 8 | chunk[3];
        if (size < kChunkHeaderBytes) return false;
        const std::uint32_t next = at + (size + 3) / 4 * 4;
        Chunk c{.type = Type{chunk[0]},
                .flags = chunk[1],
                .alone = at == begin && next + kChunkHeaderBytes > p.end,
                .first = at == begin};
        if (c.type == Type::Init || c.type == Type::InitAck) {
            if (size < 8 || at + 8 > p.end) return false;
            c.initiate_tag = load_be32(chunk + 4);
            if (c.initiate_tag == 0) return false;  // RFC 9260 3.3.2
        }
        if (!apply(t, c)) return false;
        any = true;
        at = next;
    }
    return any;
}

std::uint32_t packet_tag(const Packet& p) noexcept {
    assert(p.l4_offset + kHeaderBytes <= p.end);
    return load_be32(p.data + p.l4_offset + 4);
}

constexpr Verdict kInvalid{.outcome = Outcome::Invalid, .refresh = false};

}  // namespace

Verdict open(const Packet& p, SideLines& side, const Settings& s) noexcept {
    side.peer[0] = SctpPeer{.tag = 0, .pending = 0};
    side.peer[1] = SctpPeer{.tag = 0, .pending = 0};
    Track t{.p = p,
            .own = side.peer[0],
            .other = side.peer[1],
            .tag = packet_tag(p),
            .state = SctpState::None};
    if (!walk(t)) return kInvalid;
    return {.state = static_cast<std::uint8_t>(t.state),
            .state_changed = true,
            .timeout_s = s.timeouts.sctp[index_of(t.state)]};
}

Verdict update(const Packet& p, const View& view, const Settings& s) noexcept {
    assert(view.side != nullptr);
    const SctpState from{view.state};
    Verdict v{
        .state = view.state, .assured = view.assured, .timeout_s = s.timeouts.sctp[index_of(from)]};
    if (p.fragment == Fragment::Later) return v;

    const bool original = p.dir == Dir::Original;
    SctpPeer& originals = view.side->peer[0];
    SctpPeer& replies = view.side->peer[1];
    const SctpPeer originals_before = originals;
    const SctpPeer replies_before = replies;
    Track t{.p = p,
            .own = original ? originals : replies,
            .other = original ? replies : originals,
            .tag = packet_tag(p),
            .state = from};
    if (!walk(t)) {
        originals = originals_before;
        replies = replies_before;
        return kInvalid;
    }
    if (t.probe) {
        v.outcome = Outcome::Ignore;
        v.refresh = false;
        return v;
    }
    v.state = static_cast<std::uint8_t>(t.state);
    v.state_changed = t.state != from;
    v.assured = view.assured || t.state == SctpState::Established;
    v.timeout_s = s.timeouts.sctp[index_of(t.state)];
    return v;
}

}  // namespace ct::proto::sctp
