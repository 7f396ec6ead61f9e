// SPDX-License-Identifier: BSD-3-Clause
//
// SCTP, RFC 9260, judged from the middle of the path.
//
// A packet is a list of chunks. Each has to fit the verification tag in the packet's header
// (section 8.5) and may move the association on, one after the other: what the chunks in front of
// one that does not belong have done stays done, although the packet is INVALID.
//
// Tags. Each side chooses, in its INIT or INIT ACK, the tag that packets towards it must carry, so
// a direction's tag is learned from the other direction. An INIT needs no tag, so anybody may send
// one; an INIT ACK is therefore held to what an INIT of the other side has announced, if there was
// one, and in a collision of two INITs (section 5.2.1) to the tag that is known. A tag that is not
// known yet is taken from the first HEARTBEAT or HEARTBEAT ACK. A HEARTBEAT with a tag that is not
// the known one may come from a peer on another path: it passes and changes nothing, and if the
// other side acknowledges it, with another tag, that one counts from then on.
//
// States. Kernel names and numbers; what the table does not list leaves the state as it is, for a
// chunk that carries no news (DATA, SACK, a retransmission) is the rule and not the exception. An
// association of several paths shows itself on a new path with a HEARTBEAT only, and is believed
// when the other side acknowledges it.
#include "ct/proto/sctp.hpp"

#include <array>
#include <cassert>
#include <cstring>
#include <optional>

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
        Transition{in(None),                          Original, Type::InitAck,          Closed},
        Transition{in(None),                          Original, Type::CookieEcho,       Closed},
        Transition{in(None),                          Original, Type::Shutdown,         Closed},
        Transition{in(None),                          Original, Type::Error,            Closed},
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

/// Bits of SctpPeer::flags.
constexpr std::uint32_t kSentInit =
    1U << 0;  ///< its INIT announced a tag, and no cookie was acknowledged yet
constexpr std::uint32_t kStrangeBeat = 1U << 1;  ///< its last HEARTBEAT had a tag of its own

/// A set of chunk types, those that the table knows.
using Types = std::uint32_t;
constexpr Types bit(Type t) noexcept {
    return Types{1} << static_cast<unsigned>(t);
}
constexpr Types kData = Types{1} << 0;

/// A packet with one of these is not held to its direction's tag as a whole, but chunk by chunk.
constexpr Types kTaggedSingly = bit(Type::Init) | bit(Type::ShutdownComplete) |
                                bit(Type::CookieEcho) | bit(Type::Abort) | bit(Type::ShutdownAck) |
                                bit(Type::Heartbeat) | bit(Type::HeartbeatAck);
/// An association cannot begin with one of these: the packet is out of the blue (8.4).
constexpr Types kNeverFirst = bit(Type::Abort) | bit(Type::ShutdownComplete) | bit(Type::CookieAck);

/// One chunk, as found.
struct Chunk {
    Type type{};
    std::uint8_t flags = 0;
    bool first = false;
    std::uint32_t at = 0;  ///< offset of its head in the packet's data
};

/// Calls `visit` for each chunk until it returns false or the packet ends, be it in the middle of
/// one. False if `visit` did, or a chunk has no length, which would have no end.
template <class Visitor>
bool for_each_chunk(const Packet& p, Visitor visit) noexcept {
    const std::uint32_t begin = p.l4_offset + kHeaderBytes;
    for (std::uint32_t at = begin; at + kChunkHeaderBytes <= p.end;) {
        const std::uint8_t* const head = p.data + at;
        const std::uint32_t size = std::uint32_t{head[2]} << 8 | head[3];
        if (size == 0) return false;
        if (!visit(Chunk{.type = Type{head[0]}, .flags = head[1], .first = at == begin, .at = at}))
            return false;
        at += (size + 3) / 4 * 4;
    }
    return true;
}

/// The types in the packet; 0 if it has no chunk or one is out of place: INIT, INIT ACK and
/// SHUTDOWN COMPLETE travel alone (6.10), the cookies come first (5.1).
Types survey(const Packet& p) noexcept {
    constexpr Types kAlone = bit(Type::Init) | bit(Type::InitAck) | bit(Type::ShutdownComplete);
    constexpr Types kFirst = bit(Type::CookieEcho) | bit(Type::CookieAck);
    constexpr Types kUnknown = Types{1} << 31;
    Types seen = 0;
    const bool placed = for_each_chunk(p, [&](const Chunk& c) {
        const Types type = static_cast<unsigned>(c.type) < kTypes ? bit(c.type) : kUnknown;
        seen |= type;
        return c.first || ((seen & kAlone) == 0 && (type & kFirst) == 0);
    });
    return placed ? seen : 0;
}

/// The tag that an INIT or INIT ACK chooses (RFC 9260 3.3.2); none if the chunk is cut.
std::optional<std::uint32_t> initiate_tag(const Packet& p, const Chunk& c) noexcept {
    constexpr std::uint32_t kFixedBytes = 16;
    const std::uint32_t body = c.at + kChunkHeaderBytes;
    if (body + kFixedBytes > p.end) return {};
    return load_be32(p.data + body);
}

/// The packet under judgement.
struct Track {
    const Packet& p;
    SctpPeer& own;    ///< of the packet's direction
    SctpPeer& other;  ///< of the opposite direction
    std::uint32_t tag;
    Types types;
    SctpState state;
    bool opens = false;  ///< the association begins with it
    bool quiet = false;  ///< passes, but refreshes nothing
    Why why = Why::Belongs;
};

enum class Fit : std::uint8_t { Yes, No, Strange };

/// A HEARTBEAT or its ACK whose tag is not the direction's. It proves nothing beside data.
Fit fit_strange_beat(Track& t, Type type) noexcept {
    if (t.quiet || (t.types & kData) != 0) return Fit::No;
    if (type == Type::Heartbeat) {
        t.own.flags |= kStrangeBeat;
        t.other.flags &= ~kStrangeBeat;
        return Fit::Strange;
    }
    if ((t.other.flags & kStrangeBeat) == 0) return Fit::No;
    t.other.flags &= ~kStrangeBeat;
    t.own.tag = t.tag;
    t.other.tag = 0;
    return Fit::Yes;
}

/// RFC 9260 8.5: whether the packet's tag is right for this chunk.
Fit fit_tag(Track& t, const Chunk& c) noexcept {
    const auto fits = [](bool yes) { return yes ? Fit::Yes : Fit::No; };
    switch (c.type) {
        case Type::Init:
            return fits(t.tag == 0);
        case Type::CookieEcho:
            return fits(t.tag == t.own.tag);
        case Type::Abort:
        case Type::ShutdownComplete:
            return fits(t.tag == ((c.flags & kReflected) != 0 ? t.other.tag : t.own.tag));
        case Type::Heartbeat:
        case Type::HeartbeatAck:
            if (t.own.tag == 0) {
                t.own.tag = t.tag;
                return Fit::Yes;
            }
            if (t.tag != t.own.tag) return fit_strange_beat(t, c.type);
            t.own.flags &= ~kStrangeBeat;
            t.other.flags &= ~kStrangeBeat;
            return Fit::Yes;
        default:
            return Fit::Yes;
    }
}

/// Follows the tags of a handshake (see above), which leads from t.state to `to`. False if an
/// INIT or INIT ACK does not belong to it.
bool follow_handshake(Track& t, const Chunk& c, SctpState to) noexcept {
    const std::optional<std::uint32_t> chosen = initiate_tag(t.p, c);
    if (!chosen) return false;
    const bool both = (t.own.flags & t.other.flags & kSentInit) != 0;
    if (c.type == Type::Init) {
        if (t.opens || t.other.tag != *chosen) {  // else it announces nothing new
            if (both) t.other.flags &= ~kSentInit;
            t.own.flags |= kSentInit;
        }
        // A peer that keeps knocking does not keep its entry alive.
        if (t.state == SctpState::Closed && to == SctpState::Closed && !t.opens) t.quiet = true;
    } else {
        const bool announced = (t.other.flags & kSentInit) != 0;
        const bool changes = t.other.tag != *chosen;
        if (changes && (both || (!announced && t.other.tag != 0))) return false;
    }
    t.other.tag = *chosen;
    return true;
}

/// Applies one chunk. False if the packet does not belong because of it.
bool apply(Track& t, const Chunk& c) noexcept {
    const Fit fit = fit_tag(t, c);
    if (fit == Fit::Strange) t.quiet = true;
    if (fit == Fit::No) t.why = Why::SctpTag;
    if (fit != Fit::Yes) return fit == Fit::Strange;
    if (c.type == Type::CookieAck) {
        t.own.flags &= ~kSentInit;
        t.other.flags &= ~kSentInit;
    }
    SctpState to = next_state(t.state, t.p.dir, c.type);
    if (to == kRefused) {
        t.why = Why::SctpRefused;
        return false;
    }
    if (to == kStay) to = t.state;
    const bool handshake = c.type == Type::Init || c.type == Type::InitAck;
    if (handshake && !follow_handshake(t, c, to)) {
        t.why = Why::SctpTag;
        return false;
    }
    t.state = to;
    return true;
}

/// Applies every chunk of the packet. False if it does not belong.
bool walk(Track& t) noexcept {
    t.why = Why::SctpTag;
    if ((t.types & kTaggedSingly) == 0 && t.tag != t.own.tag) return false;
    t.why = Why::SctpMisplaced;  // unless apply() knows better: a chunk without a length
    return for_each_chunk(t.p, [&](const Chunk& c) { return apply(t, c); });
}

/// What the first packet of an association says about tags. False if none may begin with it.
bool begin(Track& t) noexcept {
    if ((t.types & kNeverFirst) != 0) return false;
    return for_each_chunk(t.p, [&](const Chunk& c) {
        if (next_state(SctpState::None, Dir::Original, c.type) == kRefused) return false;
        if (c.type == Type::Init) {
            const std::optional<std::uint32_t> chosen = initiate_tag(t.p, c);
            if (t.tag != 0 || !chosen) return false;
            t.other.tag = *chosen;
        } else {
            // A probe carries its direction's tag; the answer to anything else out of the blue
            // reflects it (8.4).
            const bool beat = c.type == Type::Heartbeat || c.type == Type::HeartbeatAck;
            (beat ? t.own : t.other).tag = t.tag;
        }
        return true;
    });
}

std::uint32_t packet_tag(const Packet& p) noexcept {
    assert(p.l4_offset + kHeaderBytes <= p.end);
    return load_be32(p.data + p.l4_offset + 4);
}

Verdict invalid(Why why) noexcept {
    return {.outcome = Outcome::Invalid, .refresh = false, .why = why};
}

}  // namespace

Verdict open(const Packet& p, SideLines& side, const Settings& s) noexcept {
    side.peer[0] = SctpPeer{.tag = 0, .flags = 0};
    side.peer[1] = SctpPeer{.tag = 0, .flags = 0};
    Track t{.p = p,
            .own = side.peer[0],
            .other = side.peer[1],
            .tag = packet_tag(p),
            .types = survey(p),
            .state = SctpState::None,
            .opens = true};
    if (t.types == 0) return invalid(Why::SctpMisplaced);
    if (!begin(t)) return invalid(Why::SctpCannotBegin);
    if (!walk(t)) return invalid(t.why);
    return {.state = static_cast<std::uint8_t>(t.state),
            .state_changed = true,
            .why = Why::Opens,
            .timeout = timeout_name(t.state),
            .timeout_s = s.timeouts.sctp[index_of(t.state)]};
}

Verdict update(const Packet& p, const View& view, const Settings& s) noexcept {
    assert(view.side != nullptr);
    const SctpState from{view.state};
    Verdict v{.state = view.state,
              .assured = view.assured,
              .why = Why::LaterFragment,
              .timeout = timeout_name(from),
              .timeout_s = s.timeouts.sctp[index_of(from)]};
    if (p.fragment == Fragment::Later) return v;

    Track t{.p = p,
            .own = view.side->peer[index_of(p.dir)],
            .other = view.side->peer[index_of(opposite(p.dir))],
            .tag = packet_tag(p),
            .types = survey(p),
            .state = from};
    const bool belongs = t.types != 0 && walk(t);
    v.state = static_cast<std::uint8_t>(t.state);
    v.state_changed = t.state != from;
    v.assured = view.assured || (v.state_changed && t.state == SctpState::Established);
    v.timeout_s = s.timeouts.sctp[index_of(t.state)];
    v.timeout = timeout_name(t.state);
    v.why = Why::Belongs;
    if (belongs && !t.quiet) return v;
    v.why = belongs ? Why::SctpQuiet : t.types == 0 ? Why::SctpMisplaced : t.why;
    v.outcome = belongs ? Outcome::Ignore : Outcome::Invalid;
    v.refresh = false;
    return v;
}

}  // namespace ct::proto::sctp
