// SPDX-License-Identifier: BSD-3-Clause
#include "tests/proto/frame.hpp"
#include "tests/proto/mini_tracker.hpp"

#include <gtest/gtest.h>

#include <map>
#include <sstream>
#include <string>
#include <vector>

namespace {

using namespace ct;
using proto::Outcome;
using test::Bytes;
using test::Frame;
using test::PacketBuilder;

constexpr Nanos kStart = 1000 * kNanosPerSecond;

// What packets towards the server and towards the client must carry.
constexpr std::uint32_t kServerTag = 0x22222222;
constexpr std::uint32_t kClientTag = 0x11111111;

// clang-format off
enum Type : std::uint8_t {
    kData = 0, kInit = 1, kInitAck = 2, kSack = 3, kHeartbeat = 4, kHeartbeatAck = 5, kAbort = 6,
    kShutdown = 7, kShutdownAck = 8, kError = 9, kCookieEcho = 10, kCookieAck = 11,
    kShutdownComplete = 14, kUnknown = 0xc0,
};
// clang-format on
constexpr std::uint8_t kReflected = 1;

Bytes be32(std::uint32_t n) {
    return {static_cast<std::uint8_t>(n >> 24), static_cast<std::uint8_t>(n >> 16),
            static_cast<std::uint8_t>(n >> 8), static_cast<std::uint8_t>(n)};
}

/// The body of a chunk that a sender would choose; INIT and INIT ACK announce `tag`.
Bytes body_of(std::uint8_t type, std::uint32_t tag) {
    Bytes body;
    if (type == kInit || type == kInitAck) {
        body = be32(tag);
        const Bytes rest{0, 0, 255, 255, 0, 1, 0, 1, 0, 0, 0, 1};  // window, streams, TSN
        body.insert(body.end(), rest.begin(), rest.end());
    }
    if (type == kData) body = {0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 'a', 'b', 'c', 'd'};
    if (type == kSack) body.assign(12, 0);
    if (type == kShutdown || type >= kUnknown) body.assign(4, 0);
    if (type == kHeartbeat || type == kHeartbeatAck) body = {0, 1, 0, 8, 1, 2, 3, 4};
    if (type == kCookieEcho) body = {'c', 'o', 'o', 'k'};
    return body;
}

struct Box {
    test::MiniTracker tracker;
    Nanos now = kStart;

    test::MiniTracker::Result send(Dir d, std::uint32_t tag, std::uint8_t type,
                                   std::uint32_t announced = 0, std::uint8_t flags = 0) {
        return send(
            d, PacketBuilder{}
                   .sctp(d == Dir::Original ? 4000 : 5000, d == Dir::Original ? 5000 : 4000, tag)
                   .chunk(type, body_of(type, announced), flags));
    }
    test::MiniTracker::Result send(Dir d, PacketBuilder b) {
        if (d == Dir::Original) b.ipv4("192.168.1.10", "203.0.113.10");
        if (d == Dir::Reply) b.ipv4("203.0.113.10", "192.168.1.10");
        Frame f{b.build()};
        EXPECT_EQ(f.packet.drop, Drop::None) << name_of(f.packet.drop);
        return tracker.process(f.packet, now);
    }
    test::MiniTracker::Result right(Dir d, std::uint8_t type) {
        const bool original = d == Dir::Original;
        const std::uint32_t tag = type == kInit ? 0 : original ? kServerTag : kClientTag;
        return send(d, tag, type, original ? kClientTag : kServerTag);
    }
    void establish() {
        right(Dir::Original, kInit);
        right(Dir::Reply, kInitAck);
        right(Dir::Original, kCookieEcho);
        right(Dir::Reply, kCookieAck);
    }
};

/// Leads an association into `state`.
void lead(Box& box, const std::string& state) {
    const auto o = Dir::Original;
    const auto r = Dir::Reply;
    std::vector<std::pair<Dir, std::uint8_t>> path;
    if (state == "HS") path = {{o, kHeartbeat}};
    if (state != "HS" && state != "NO") path = {{o, kInit}};
    if (state != "HS" && state != "NO" && state != "CL") path.emplace_back(r, kInitAck);
    if (state == "CE" || state == "ES" || state[0] == 'S') path.emplace_back(o, kCookieEcho);
    if (state == "ES" || state[0] == 'S') path.emplace_back(r, kCookieAck);
    if (state == "SS" || state == "SA") path.emplace_back(o, kShutdown);
    if (state == "SR") path.emplace_back(r, kShutdown);
    if (state == "SA") path.emplace_back(r, kShutdownAck);
    for (const auto& [dir, type] : path) box.right(dir, type);
}

std::string abbreviation(const test::MiniTracker::Result& r) {
    constexpr const char* kNames[] = {"NO", "CL", "CW", "CE", "ES", "SS", "SR", "SA", "HS"};
    return r.state == CtState::Invalid ? "IV" : kNames[r.conn->state];
}

/// What Linux 6.18 makes of each chunk with the right tag, by the state in which it finds the
/// association. Columns: NO CL CW CE ES SS SR SA HS. "IV" in CL and HS: the tag is not known yet.
struct Row {
    Dir dir;
    std::uint8_t type;
    const char* to;
};
// clang-format off
constexpr Row kTable[] = {
    {Dir::Original, kInit,             "CL CL CW CE ES CL CL SA CW"},
    {Dir::Original, kInitAck,          "IV IV CW CE ES SS SR SA CL"},
    {Dir::Original, kAbort,            "IV IV CL CL CL CL CL CL CL"},
    {Dir::Original, kShutdown,         "IV IV CW CE SS SS SR SA CL"},
    {Dir::Original, kShutdownAck,      "SA CL CW CE ES SA SA SA SA"},
    {Dir::Original, kError,            "IV IV CW CE ES SS SR SA CL"},
    {Dir::Original, kCookieEcho,       "IV IV CE CE ES SS SR SA CL"},
    {Dir::Original, kCookieAck,        "IV IV CW ES ES SS SR SA CL"},
    {Dir::Original, kShutdownComplete, "IV IV CW CE ES SS SR CL CL"},
    {Dir::Original, kHeartbeat,        "HS CL CW CE ES SS SR SA HS"},
    {Dir::Original, kHeartbeatAck,     "CL CL CW CE ES SS SR SA HS"},
    {Dir::Original, kData,             "IV IV CW CE ES SS SR SA HS"},
    {Dir::Original, kSack,             "IV IV CW CE ES SS SR SA HS"},
    {Dir::Original, kUnknown,          "IV IV CW CE ES SS SR SA HS"},
    {Dir::Reply,    kInit,             "-- CL CW CE ES SS SR SA IV"},
    {Dir::Reply,    kInitAck,          "-- CW CW CE ES SS SR SA IV"},
    {Dir::Reply,    kAbort,            "-- CL CL CL CL CL CL CL IV"},
    {Dir::Reply,    kShutdown,         "-- CL CW CE SR SS SR SA IV"},
    {Dir::Reply,    kShutdownAck,      "-- CL CW CE ES SA SA SA IV"},
    {Dir::Reply,    kError,            "-- CL CW CL ES SS SR SA IV"},
    {Dir::Reply,    kCookieEcho,       "-- CL CE CE ES SS SR SA IV"},
    {Dir::Reply,    kCookieAck,        "-- CL CW ES ES SS SR SA IV"},
    {Dir::Reply,    kShutdownComplete, "-- CL CW CE ES SS SR CL IV"},
    {Dir::Reply,    kHeartbeat,        "-- CL CW CE ES SS SR SA HS"},
    {Dir::Reply,    kHeartbeatAck,     "-- CL CW CE ES SS SR SA ES"},
    {Dir::Reply,    kData,             "-- CL CW CE ES SS SR SA IV"},
    {Dir::Reply,    kSack,             "-- CL CW CE ES SS SR SA IV"},
    {Dir::Reply,    kUnknown,          "-- CL CW CE ES SS SR SA IV"},
};
// clang-format on

TEST(SctpStates, EveryChunkInEveryStateDoesWhatLinuxDoes) {
    for (const Row& row : kTable) {
        std::istringstream cells{row.to};
        for (const std::string from : {"NO", "CL", "CW", "CE", "ES", "SS", "SR", "SA", "HS"}) {
            std::string want;
            ASSERT_TRUE(cells >> want);
            if (want == "--") continue;
            Box box;
            lead(box, from);

            const auto r = box.right(row.dir, row.type);

            EXPECT_EQ(abbreviation(r), want)
                << "dir " << index_of(row.dir) << " chunk " << int{row.type} << " in " << from;
        }
    }
}

TEST(Sctp, AnAssociationIsAssuredOnceEstablished) {
    Box box;
    box.right(Dir::Original, kInit);
    EXPECT_FALSE(box.right(Dir::Reply, kInitAck).conn->assured);
    EXPECT_FALSE(box.right(Dir::Original, kCookieEcho).conn->assured);

    const auto r = box.right(Dir::Reply, kCookieAck);

    EXPECT_TRUE(r.conn->assured);
    EXPECT_EQ(r.verdict.timeout_s, 210U);
}

// RFC 9260 8.5: every other tag is somebody else's.
TEST(Sctp, AWrongTagIsInvalid) {
    for (const std::uint8_t type : {kData, kSack, kAbort, kShutdown, kError, kCookieEcho,
                                    kCookieAck, kShutdownComplete, kInitAck, kHeartbeatAck}) {
        for (const std::uint32_t tag : {0U, kClientTag, 0x99999999U}) {
            Box box;
            box.establish();

            const auto r = box.send(Dir::Original, tag, type, kClientTag);

            EXPECT_EQ(r.state, CtState::Invalid) << int{type} << " tag " << tag;
            EXPECT_EQ(abbreviation(box.right(Dir::Original, kData)), "ES");
        }
    }
}

TEST(Sctp, AnInitWithATagIsInvalid) {
    Box box;

    EXPECT_EQ(box.send(Dir::Original, kServerTag, kInit, kClientTag).state, CtState::Invalid);
}

// RFC 9260 3.3.2 forbids it; Linux leaves that to the receiver.
TEST(Sctp, AnInitThatAnnouncesTagZeroOpensAnAssociation) {
    Box box;

    EXPECT_EQ(abbreviation(box.send(Dir::Original, 0, kInit, 0)), "CL");
}

// RFC 9260 8.5.1 B and C.
TEST(Sctp, AnAbortMayReflectTheReceiversTag) {
    Box own;
    own.establish();
    EXPECT_EQ(abbreviation(own.send(Dir::Original, kClientTag, kAbort, 0, kReflected)), "CL");

    Box wrong;
    wrong.establish();
    EXPECT_EQ(abbreviation(wrong.send(Dir::Original, kServerTag, kAbort, 0, kReflected)), "IV");
}

TEST(Sctp, AHeartbeatWithAnotherTagPassesAndRefreshesNothing) {
    Box box;
    box.establish();
    box.now += 5 * kNanosPerSecond;

    const auto r = box.send(Dir::Original, 0x99999999, kHeartbeat);

    EXPECT_EQ(r.verdict.outcome, Outcome::Ignore);
    EXPECT_EQ(r.conn->remaining_s(box.now), 205U);
    EXPECT_EQ(box.right(Dir::Original, kHeartbeatAck).state, CtState::Established);
}

// The other path's tags are those of another association of the same endpoints (RFC 9260 5.4).
TEST(Sctp, AnAcknowledgedHeartbeatOfAnotherPathBringsItsTag) {
    Box box;
    box.establish();

    box.send(Dir::Original, 0x99999999, kHeartbeat);
    EXPECT_EQ(box.send(Dir::Original, 0x99999999, kHeartbeatAck).state, CtState::Invalid);
    EXPECT_EQ(abbreviation(box.send(Dir::Reply, 0x88888888, kHeartbeatAck)), "ES");

    EXPECT_EQ(abbreviation(box.send(Dir::Reply, 0x88888888, kData)), "ES");
    EXPECT_EQ(abbreviation(box.right(Dir::Reply, kData)), "IV");
}

// RFC 9260 5.2.2: the peer restarts; its INIT cannot know the old tag.
TEST(Sctp, ARestartedPeerTakesTheAssociationOver) {
    constexpr std::uint32_t kNewClient = 0x33333333;
    constexpr std::uint32_t kNewServer = 0x44444444;
    for (const Dir restarts : {Dir::Original, Dir::Reply}) {
        const Dir answers = opposite(restarts);
        Box box;
        box.establish();

        EXPECT_EQ(abbreviation(box.send(restarts, 0, kInit, kNewClient)), "ES");
        EXPECT_EQ(abbreviation(box.send(answers, kNewClient, kInitAck, kNewServer)), "ES");
        EXPECT_EQ(abbreviation(box.send(restarts, kNewServer, kCookieEcho)), "ES");
        EXPECT_EQ(abbreviation(box.send(answers, kNewClient, kCookieAck)), "ES");

        EXPECT_EQ(abbreviation(box.send(restarts, kNewServer, kData)), "ES");
        EXPECT_EQ(abbreviation(box.send(answers, kNewClient, kData)), "ES");
        EXPECT_EQ(abbreviation(box.right(Dir::Original, kData)), "IV");
        EXPECT_EQ(abbreviation(box.right(Dir::Reply, kData)), "IV");
    }
}

// As in Linux: the tag that an INIT announces is that of the other direction from then on.
TEST(Sctp, AnInitChangesTheTagOfTheOtherDirectionAtOnce) {
    Box box;
    box.establish();

    box.send(Dir::Original, 0, kInit, 0x99999999);

    EXPECT_EQ(abbreviation(box.right(Dir::Reply, kData)), "IV");
    EXPECT_EQ(abbreviation(box.right(Dir::Original, kData)), "ES");
    EXPECT_EQ(abbreviation(box.send(Dir::Reply, 0x99999999, kData)), "ES");
}

// RFC 9260 5.2.1: two INITs cross, and an INIT ACK that was on its way for long comes last.
TEST(Sctp, InACollisionALateInitAckDoesNotChangeTheTag) {
    Box box;
    box.send(Dir::Original, 0, kInit, kClientTag);
    box.send(Dir::Reply, 0, kInit, kServerTag);

    EXPECT_EQ(box.send(Dir::Reply, kClientTag, kInitAck, 0x99999999).state, CtState::Invalid);
    EXPECT_EQ(abbreviation(box.send(Dir::Reply, kClientTag, kInitAck, kServerTag)), "CW");
}

// A chunk that does not belong makes the packet INVALID; what stood in front of it has been seen.
TEST(Sctp, WhatStandsInFrontOfAWrongChunkTakesEffect) {
    Box box;
    box.establish();
    box.right(Dir::Original, kShutdown);

    PacketBuilder b;
    b.sctp(5000, 4000, kClientTag).chunk(kShutdownAck, {}).chunk(kAbort, {}, kReflected);
    const auto r = box.send(Dir::Reply, b);

    EXPECT_EQ(r.state, CtState::Invalid);
    EXPECT_EQ(r.conn->state, static_cast<std::uint8_t>(SctpState::ShutdownAckSent));
}

TEST(Sctp, AnInitWithAnotherTagReplacesAnUnfinishedOne) {
    Box box;
    lead(box, "CW");

    EXPECT_EQ(abbreviation(box.send(Dir::Original, 0, kInit, 0x33333333)), "CW");
    EXPECT_EQ(abbreviation(box.send(Dir::Reply, 0x33333333, kInitAck, 0x44444444)), "CW");
    EXPECT_EQ(abbreviation(box.send(Dir::Original, 0x44444444, kCookieEcho)), "CE");
    EXPECT_EQ(abbreviation(box.send(Dir::Reply, 0x33333333, kCookieAck)), "ES");
}

// RFC 9260 5.2.1: both sides send an INIT at once.
TEST(Sctp, AnInitCollisionEndsEstablished) {
    Box box;
    box.right(Dir::Original, kInit);
    box.right(Dir::Reply, kInit);
    box.right(Dir::Original, kInitAck);
    EXPECT_EQ(abbreviation(box.right(Dir::Reply, kInitAck)), "CW");
    EXPECT_EQ(abbreviation(box.right(Dir::Original, kCookieEcho)), "CE");
    EXPECT_EQ(abbreviation(box.right(Dir::Reply, kCookieEcho)), "CE");

    EXPECT_EQ(abbreviation(box.right(Dir::Original, kCookieAck)), "ES");
}

TEST(Sctp, AHeartbeatOpensAnotherPathAndItsAckEstablishesIt) {
    Box box;
    EXPECT_EQ(box.right(Dir::Original, kHeartbeat).verdict.timeout_s, 30U);

    const auto r = box.right(Dir::Reply, kHeartbeatAck);

    EXPECT_EQ(abbreviation(r), "ES");
    EXPECT_EQ(abbreviation(box.right(Dir::Original, kData)), "ES");
    EXPECT_EQ(abbreviation(box.right(Dir::Reply, kData)), "ES");
    EXPECT_EQ(box.send(Dir::Reply, 0x99999999, kData).state, CtState::Invalid);
}

PacketBuilder bundle(Dir d, std::initializer_list<std::uint8_t> types) {
    const bool original = d == Dir::Original;
    PacketBuilder b;
    b.sctp(original ? 4000 : 5000, original ? 5000 : 4000, original ? kServerTag : kClientTag);
    for (const std::uint8_t type : types)
        b.chunk(type, body_of(type, original ? kClientTag : kServerTag));
    return b;
}

TEST(Sctp, EveryChunkOfABundleCounts) {
    Box box;
    lead(box, "CW");

    EXPECT_EQ(abbreviation(box.send(Dir::Original, bundle(Dir::Original, {kCookieEcho, kData}))),
              "CE");
    EXPECT_EQ(abbreviation(box.send(Dir::Reply, bundle(Dir::Reply, {kCookieAck, kSack}))), "ES");
    EXPECT_EQ(abbreviation(box.send(Dir::Reply, bundle(Dir::Reply, {kData, kShutdown}))), "SR");
}

// RFC 9260 6.10 and 5.1.
TEST(Sctp, ChunksInTheWrongPlaceAreInvalid) {
    Box box;
    lead(box, "CW");

    EXPECT_EQ(abbreviation(box.send(Dir::Original, bundle(Dir::Original, {kData, kCookieEcho}))),
              "IV");
    EXPECT_EQ(abbreviation(box.send(Dir::Reply, bundle(Dir::Reply, {kInitAck, kData}))), "IV");
    EXPECT_EQ(abbreviation(box.send(Dir::Reply, bundle(Dir::Reply, {kShutdownComplete, kData}))),
              "IV");
}

TEST(Sctp, ALaterFragmentOnlyRefreshes) {
    Box box;
    box.establish();
    Frame f{PacketBuilder{}
                .ipv4("192.168.1.10", "203.0.113.10")
                .sctp(4000, 5000, 0x99999999)
                .chunk(kAbort, {})
                .build()};
    f.packet.fragment = Fragment::Later;

    const auto r = box.tracker.process(f.packet, box.now);

    EXPECT_EQ(abbreviation(r), "ES");
    EXPECT_EQ(r.verdict.timeout_s, 210U);
    EXPECT_TRUE(r.conn->assured);
}

// The walk over the chunks ends with the packet, whatever their lengths say.
TEST(Sctp, ChunkLengthsAreNotTrusted) {
    for (unsigned size = 0; size < 64; ++size) {
        Box box;
        box.establish();
        Frame f{bundle(Dir::Original, {kData, kInit, kInitAck})
                    .ipv4("192.168.1.10", "203.0.113.10")
                    .build()};
        if (f.packet.drop != Drop::None) continue;
        f.packet.data[f.packet.l4_offset + 12U + 3U] = static_cast<std::uint8_t>(size);
        f.packet.data[f.packet.l4_offset + 12U + 2U] = size % 3 == 0 ? 255 : 0;

        static_cast<void>(box.tracker.process(f.packet, box.now));
    }
}

}  // namespace
