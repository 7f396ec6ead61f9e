// SPDX-License-Identifier: BSD-3-Clause
//
// What the lock protocol must get right, each in a table just large enough for it.
#include "ct/table/hash.hpp"
#include "tests/ct/packets.hpp"
#include "tests/model/scenario.hpp"

#include <algorithm>
#include <bit>
#include <stdexcept>

namespace model {

namespace {

using ct::Tuple;
using ct::test::kClient;
using ct::test::kServer;
using ct::test::tuple4;
using ct::test::v4;

constexpr std::uint32_t kExternal = 0xcb007101;  // 203.0.113.1
constexpr std::uint32_t kFew = 6;                // entries, in four buckets
constexpr std::uint32_t kChained = 20;           // entries, in sixteen buckets
constexpr std::uint32_t kUdpTimeout = 30;
constexpr std::uint32_t kSynSent = 120;
constexpr std::uint32_t kSynRecv = 60;
constexpr std::uint32_t kEstablished = 432'000;

Tuple udp(std::uint16_t port) {
    return tuple4(ct::ipproto::kUdp, kClient, port, kServer, 53);
}
Tuple tcp(std::uint16_t port) {
    return tuple4(ct::ipproto::kTcp, kClient, port, kServer, 80);
}
/// What answers `t` once it has been mapped to an external port.
Tuple mapped(const Tuple& t, std::uint16_t port) {
    Tuple r = reply_of(t);
    r.dst = v4(kExternal);
    r.dport = ct::Be16::from_host(port);
    return r;
}

std::uint64_t hash_of(const Tuple& t) {
    static const ct::HashKey key = ct::HashKey::from_seed(kSeed);
    return hash(key, t);
}
/// Of a table of `entries`, as Conntrack sizes it in the model.
unsigned log2_buckets(std::uint32_t entries) {
    const unsigned log2 = std::bit_width(std::bit_ceil(entries) / 2) - 1;
    return std::max(1U, log2);
}
std::uint64_t bucket_of(const Tuple& t, std::uint32_t entries) {
    return hash_of(t) >> (64 - log2_buckets(entries));
}

/// The first UDP flows from port 1 on in one bucket.
std::vector<Tuple> flows_in(std::uint64_t bucket, std::size_t count, std::uint32_t entries) {
    std::vector<Tuple> out;
    for (std::uint16_t port = 1; out.size() < count; ++port)
        if (const Tuple t = udp(port); bucket_of(t, entries) == bucket) out.push_back(t);
    return out;
}
/// An external port with which the answers to `t` are in a bucket.
std::uint16_t port_for(const Tuple& t, std::uint64_t bucket, std::uint32_t entries) {
    std::uint16_t port = 1024;
    while (bucket_of(mapped(t, port), entries) != bucket) ++port;
    return port;
}

Op op_of(Call call, const Tuple& t, ct::Nanos at, std::uint32_t timeout_s = 0) {
    Op op;
    op.call = call;
    op.tuple = t;
    op.reply = reply_of(t);
    op.at = at;
    op.timeout_s = timeout_s;
    return op;
}
Op open(const Tuple& t, ct::Nanos at = kStart) {
    return op_of(Call::Open, t, at, kUdpTimeout);
}
Op open_mapped(const Tuple& t, std::uint16_t port) {
    Op op = open(t);
    op.reply = mapped(t, port);
    return op;
}
Op evicting(Op op) {
    op.evicts = true;
    return op;
}
Op look(const Tuple& t, ct::Nanos at = kStart) {
    return op_of(Call::Look, t, at);
}
Op erase(const Tuple& t) {
    return op_of(Call::Erase, t, kStart);
}
Op send(const Tuple& t, ct::Nanos at = kStart) {
    return op_of(Call::Send, t, at, kUdpTimeout);
}
Op expire(ct::Nanos at) {
    return op_of(Call::Expire, {}, at);
}
Op segment(Op op, std::uint8_t flags, std::uint32_t seq, std::uint32_t ack) {
    op.tcp_flags = flags;
    op.seq = seq;
    op.ack = ack;
    return op;
}
Op syn(const Tuple& t) {
    return segment(op_of(Call::Open, t, kStart, kSynSent), ct::tcpflag::kSyn, 1000, 0);
}
/// The answer to a SYN, to the tuple `reply`.
Op syn_ack(const Tuple& reply) {
    return segment(op_of(Call::Send, reply, kStart, kSynRecv),
                   ct::tcpflag::kSyn | ct::tcpflag::kAck, 5000, 1001);
}
Op last_ack(const Tuple& t) {
    Op op = segment(op_of(Call::Send, t, kStart, kEstablished), ct::tcpflag::kAck, 1001, 5001);
    op.assures = true;
    return op;
}

ct::Nanos seconds(ct::Nanos s) {
    return kStart + s * ct::kNanosPerSecond;
}

std::vector<Op> opened(const std::vector<Tuple>& tuples) {
    std::vector<Op> ops;
    for (const Tuple& t : tuples) ops.push_back(open(t));
    return ops;
}

/// Three tuples of which the third has the addresses of the first and the ports of the second, and
/// the bucket and the tag of the first: what a reader may take an entry for that is rewritten from
/// the first to the second under its eyes.
std::array<Tuple, 3> torn(std::uint32_t entries) {
    const Tuple a = udp(4000);
    const unsigned shift = 64 - 16 - log2_buckets(entries);
    for (std::uint32_t ports = 1; ports < 1U << 24; ++ports) {
        Tuple c = a;
        c.sport = ct::Be16::from_host(static_cast<std::uint16_t>(ports));
        c.dport = ct::Be16::from_host(static_cast<std::uint16_t>(1000 + (ports >> 16)));
        if (hash_of(c) >> shift != hash_of(a) >> shift || c == a) continue;
        Tuple b = c;
        b.src = v4(kClient + 1);
        return {a, b, c};
    }
    throw std::runtime_error("no tuple shares its bucket and tag with the first");
}

void opening(std::vector<Scenario>& all) {
    const Tuple a = udp(1);
    const Tuple b = udp(2);
    const ct::Settings few = table_of(kFew);
    all.push_back({"open/same",
                   "two first packets of one flow",
                   few,
                   {},
                   {{open(a)}, {open(a)}},
                   Size::Medium});
    all.push_back({"open/same-mapping",
                   "two first packets of one flow, mapped alike",
                   few,
                   {},
                   {{open_mapped(a, 1024)}, {open_mapped(a, 1024)}},
                   Size::Medium});
    // Of TCP: of UDP both would live on for a second (ct/clash.cpp), in no sequential order.
    const auto syn_mapped = [](std::uint16_t port) {
        Op op = open_mapped(tcp(1), port);
        op.tcp_flags = ct::tcpflag::kSyn;
        op.seq = 1000;
        op.timeout_s = kSynSent;
        return op;
    };
    all.push_back({"open/two-mappings",
                   "two first packets of one flow, mapped differently",
                   few,
                   {},
                   {{syn_mapped(1024)}, {syn_mapped(1025)}},
                   Size::Medium});
    all.push_back({"open/clash",
                   "two flows mapped to one port",
                   few,
                   {},
                   {{open_mapped(a, 1024)}, {open_mapped(b, 1024)}},
                   Size::Medium});
    const std::vector<Tuple> together = flows_in(1, 2, kFew);
    all.push_back({"open/one-bucket",
                   "two flows of one bucket",
                   few,
                   {},
                   {{open(together[0])}, {open(together[1])}},
                   Size::Medium});
    const Tuple low = flows_in(0, 1, kFew)[0];
    const Tuple high = flows_in(3, 1, kFew)[0];
    all.push_back(
        {"open/crosswise",
         "two mapped flows that lock two buckets in opposite order",
         few,
         {},
         {{open_mapped(low, port_for(low, 3, kFew))}, {open_mapped(high, port_for(high, 0, kFew))}},
         Size::Medium});
}

void reading(std::vector<Scenario>& all) {
    const Tuple a = udp(1);
    const Tuple x = udp(8);  // see ending()
    const ct::Settings few = table_of(kFew);
    const Op other = open(udp(9));
    // In the first entry, which a lookup that knows of none happens to look at.
    const Op another = open(udp(10));
    all.push_back({"read/both-tuples",
                   "who saw a mapped flow's original sees its reply",
                   few,
                   {other, another},
                   {{open_mapped(a, 1024)}, {look(a), look(mapped(a, 1024))}}});
    all.push_back({"read/both-tuples-back",
                   "the same, the reply first",
                   few,
                   {other, another},
                   {{open_mapped(a, 1024)}, {look(mapped(a, 1024)), look(a)}}});
    all.push_back({"read/both-tuples-end",
                   "the same while the flow ends",
                   few,
                   {other, open_mapped(a, 1024)},
                   {{erase(a)}, {look(a), look(mapped(a, 1024))}}});
    all.push_back({"read/reopened",
                   "a flow ends and opens again in the same entry",
                   few,
                   {other, open(a)},
                   {{erase(a), open(x), open(a)}, {look(a), look(a)}},
                   Size::Medium});
    const auto [first, second, neither] = torn(kFew);
    all.push_back({"read/torn",
                   "an entry passes from one flow to another while it is read",
                   few,
                   {other, open(first)},
                   {{erase(first), open(x), open(second)}, {look(neither)}}});
    all.push_back({"read/same-tag",
                   "of two flows with one tag one ends",
                   few,
                   {open(first), open(neither)},
                   {{erase(neither)}, {look(first), look(neither)}}});
}

void ending(std::vector<Scenario>& all) {
    const Tuple a = udp(1);
    const Tuple b = udp(2);
    // A worker writes a connection to its spare entry, and takes a free one for the next: what has
    // ended is used again by the second connection from then.
    const Tuple x = udp(8);
    const ct::Settings few = table_of(kFew);
    all.push_back({"end/twice",
                   "control ends what a worker's sweep ends",
                   few,
                   {open(a)},
                   {{erase(a)}, {expire(seconds(40))}}});
    all.push_back({"end/open",
                   "a flow ends while a packet of it comes",
                   few,
                   {open(a)},
                   {{erase(a)}, {open(a)}}});
    all.push_back({"end/mapping",
                   "a mapping is given back while another flow wants it",
                   few,
                   {open_mapped(a, 1024)},
                   {{erase(a)}, {open_mapped(b, 1024)}}});
    all.push_back({"end/refreshed",
                   "a packet refreshes what a sweep finds expired",
                   few,
                   {open(a)},
                   {{send(a, seconds(29))}, {expire(seconds(35)), look(a, seconds(36))}}});
    ct::Settings counting = few;
    counting.acct = true;
    all.push_back({"end/late-packet",
                   "a packet is counted while its entry passes to another flow",
                   counting,
                   {open(a)},
                   {{erase(a), open(x), open(b)}, {send(a)}}});
    all.push_back({"end/reopened-late",
                   "the same where the flow is opened again",
                   counting,
                   {open(a)},
                   {{erase(a), open(x), open(a)}, {send(a)}}});
}

void assuring(std::vector<Scenario>& all) {
    const Tuple a = tcp(1);
    const Tuple b = tcp(2);
    const Tuple c = tcp(3);
    const Tuple d = tcp(4);
    all.push_back({"assure/evicted",
                   "the oldest becomes assured while a newcomer wants its place",
                   table_of(2),
                   {syn(a), syn_ack(reply_of(a)), syn(b)},
                   {{last_ack(a)}, {evicting(syn(c))}}});
    all.push_back({"assure/two-newcomers",
                   "two newcomers want the place of the oldest",
                   table_of(2),
                   {syn(a), syn(b)},
                   {{evicting(syn(c))}, {evicting(syn(d))}},
                   Size::Medium});
    all.push_back({"assure/erased",
                   "a flow becomes assured while its entry passes to another",
                   table_of(kFew),
                   {syn(a), syn_ack(reply_of(a))},
                   {{last_ack(a)}, {erase(a), syn(c), syn(b)}}});
    const auto mapped_syn = [](const Tuple& t, std::uint16_t port) {
        Op op = syn(t);
        op.reply = mapped(t, port);
        return op;
    };
    all.push_back({"assure/mapped",
                   "a mapped flow becomes assured while another opens",
                   table_of(kFew),
                   {mapped_syn(a, 1024), syn_ack(mapped(a, 1024))},
                   {{last_ack(a)}, {mapped_syn(b, 1025)}}});
}

void chaining(std::vector<Scenario>& all) {
    const ct::Settings chained = table_of(kChained);
    const std::vector<Tuple> zero = flows_in(0, 11, kChained);
    const std::vector<Tuple> one = flows_in(1, 9, kChained);
    const auto first = [&](std::size_t of_zero, std::size_t of_one) {
        std::vector<Op> ops = opened({zero.begin(), zero.begin() + static_cast<long>(of_zero)});
        for (const Op& op : opened({one.begin(), one.begin() + static_cast<long>(of_one)}))
            ops.push_back(op);
        return ops;
    };
    all.push_back({"chain/two-grow",
                   "two full buckets get an overflow bucket each",
                   chained,
                   first(8, 8),
                   {{open(zero[8])}, {open(one[8])}},
                   Size::Medium});
    all.push_back({"chain/moves",
                   "an overflow bucket passes to another chain while it is read",
                   chained,
                   first(9, 8),
                   {{erase(zero[8]), open(one[8])}, {look(zero[8])}}});
    all.push_back({"chain/shrinks",
                   "a chain loses its tail while it is read, and while it grows",
                   chained,
                   first(9, 0),
                   {{erase(zero[8])}, {open(zero[9])}}});
    all.push_back({"chain/keeps",
                   "one of two entries of an overflow bucket ends",
                   chained,
                   first(10, 0),
                   {{erase(zero[8])}, {look(zero[9])}}});
    all.push_back({"chain/fills",
                   "an entry moves to an emptied slot while it is read",
                   chained,
                   first(9, 0),
                   {{erase(zero[0])}, {look(zero[8])}}});
    all.push_back({"chain/fills-ends",
                   "the same while it ends",
                   chained,
                   first(9, 0),
                   {{erase(zero[0])}, {erase(zero[8])}},
                   Size::Large});
    all.push_back({"chain/three",
                   "a chain shrinks, grows and is read",
                   chained,
                   first(9, 0),
                   {{erase(zero[8])}, {open(zero[9])}, {look(zero[7])}},
                   Size::Large});
}

/// The large ones, last.
void crowding(std::vector<Scenario>& all) {
    const Tuple a = udp(1);
    const Tuple b = udp(2);
    const ct::Settings few = table_of(kFew);
    all.push_back({"open/expired",
                   "two first packets where an expired entry has the tuple",
                   few,
                   {open(a)},
                   {{open(a, seconds(40))}, {open(a, seconds(40))}},
                   Size::Medium});
    all.push_back({"end/three",
                   "control ends what a sweep ends and a packet is of",
                   few,
                   {open(a)},
                   {{erase(a)}, {expire(seconds(40))}, {look(a)}},
                   Size::Medium});
    all.push_back({"open/three",
                   "two first packets of one flow, and its answer",
                   few,
                   {},
                   {{open(a)}, {open(a)}, {look(reply_of(a))}},
                   Size::Large});
    all.push_back({"end/three-open",
                   "a flow ends while two packets of it come",
                   few,
                   {open(a)},
                   {{erase(a)}, {open(a)}, {open(a)}},
                   Size::Large});
    all.push_back({"end/three-mapping",
                   "a mapping is given back while two other flows want it",
                   few,
                   {open_mapped(a, 1024)},
                   {{erase(a)}, {open_mapped(b, 1024)}, {open_mapped(udp(3), 1024)}},
                   Size::Large});
}

}  // namespace

std::vector<Scenario> scenarios() {
    std::vector<Scenario> all;
    opening(all);
    reading(all);
    ending(all);
    assuring(all);
    chaining(all);
    crowding(all);
    return all;
}

}  // namespace model
