// SPDX-License-Identifier: BSD-3-Clause
//
// A table and what one wants to do to it in a line: open, establish, close, map.
#pragma once

#include "tests/ct/packets.hpp"

#include <gtest/gtest.h>

#include <cstdint>
#include <vector>

namespace ct::test {

inline constexpr Nanos kStart = 1000 * kNanosPerSecond;
inline constexpr Nanos kSecond = kNanosPerSecond;
inline constexpr std::uint64_t kSeed = 1;               // of a Table's hash key
inline constexpr std::uint32_t kExternal = 0xcb007101;  // 203.0.113.1

/// A table of `max` entries that may all be embryonic.
inline Settings sized(std::uint32_t max, Overflow policy) {
    Settings s;
    s.max = max;
    s.overflow = policy;
    s.embryonic_percent = 100;
    return s;
}

/// Connection `n` of the client: one of many million.
inline Tuple flow(std::uint32_t n, std::uint32_t client = kClient) {
    return tuple4(ipproto::kTcp, client, static_cast<std::uint16_t>(n), kServer,
                  static_cast<std::uint16_t>(80 + n / 65'536));
}

inline Packet fin(const Tuple& t) {
    return tcp(t, tcpflag::kFin | tcpflag::kAck, 1001, 5001);
}

struct Table {
    Conntrack ct;
    Nanos now = kStart;

    explicit Table(const Settings& s, WorkerId workers = 1) : ct{s, workers, kSeed} {}

    /// Sends `p`; what became of it.
    Drop send(Packet p, WorkerId w = 0) {
        track(ct, w, p, now);
        return p.drop;
    }
    Drop open(const Tuple& t, WorkerId w = 0) { return send(syn(t), w); }
    /// The same, from behind a mapping to external port `port`, which nobody else has.
    Drop open_mapped(const Tuple& t, std::uint16_t port, WorkerId w = 0) {
        Packet p = syn(t);
        ct.lookup(w, {&p, 1}, now);
        if (ct.open(w, p, now) != Conntrack::Opening::Opened) return p.drop;
        p.reply.dst = v4(kExternal);
        p.reply.dport = Be16::from_host(port);
        const Conntrack::Confirmation done = ct.confirm(w, p, now);
        EXPECT_EQ(done, p.drop == Drop::None ? Conntrack::Confirmation::Linked
                                             : Conntrack::Confirmation::Refused);
        return p.drop;
    }
    void establish(const Tuple& t, WorkerId w = 0) {
        ASSERT_EQ(send(syn(t), w), Drop::None);
        ASSERT_EQ(send(syn_ack(t), w), Drop::None);
        ASSERT_EQ(send(ack(t), w), Drop::None);
    }
    void establish_mapped(const Tuple& t, std::uint16_t port, WorkerId w = 0) {
        Tuple answer = reply_of(t);
        answer.dst = v4(kExternal);
        answer.dport = Be16::from_host(port);
        ASSERT_EQ(open_mapped(t, port, w), Drop::None);
        ASSERT_EQ(send(tcp(answer, tcpflag::kSyn | tcpflag::kAck, 5000, 1001), w), Drop::None);
        ASSERT_EQ(send(ack(t), w), Drop::None);
    }
    [[nodiscard]] bool has(const Tuple& t) { return ct.find(t, now).has_value(); }
    [[nodiscard]] std::uint32_t timeout_s(const Tuple& t) { return ct.find(t, now)->timeout_s; }
};

}  // namespace ct::test
