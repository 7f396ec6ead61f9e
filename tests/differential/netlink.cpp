// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/netlink.hpp"

#include <arpa/inet.h>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netfilter/nfnetlink_log.h>
#include <string>
#include <sys/socket.h>
#include <system_error>

namespace differential {
namespace {

constexpr std::size_t kBufferBytes = 64 * 1024;

[[noreturn]] void fail(const std::string& what, int error = errno) {
    throw std::system_error(error, std::generic_category(), what);
}

Socket open_netfilter() {
    Socket s{mnl_socket_open(NETLINK_NETFILTER)};
    if (!s) fail("netlink socket");
    if (mnl_socket_bind(s.get(), 0, MNL_SOCKET_AUTOPID) < 0) fail("netlink socket: bind");
    return s;
}

/// Attributes of one nest, by type.
using Attributes = std::array<const nlattr*, 64>;

int keep(const nlattr* a, void* out) {
    auto& all = *static_cast<Attributes*>(out);
    const std::uint16_t type = mnl_attr_get_type(a);
    if (type < all.size()) all[type] = a;
    return MNL_CB_OK;
}

Attributes nested(const nlattr* nest) {
    Attributes out{};
    if (nest != nullptr) mnl_attr_parse_nested(nest, keep, &out);
    return out;
}

Attributes attributes_of(const nlmsghdr* h) {
    Attributes out{};
    mnl_attr_parse(h, sizeof(nfgenmsg), keep, &out);
    return out;
}

std::uint16_t be16(const nlattr* a) {
    return a == nullptr ? std::uint16_t{0} : mnl_attr_get_u16(a);
}
std::uint32_t be32(const nlattr* a) {
    return a == nullptr ? 0 : ntohl(mnl_attr_get_u32(a));
}
std::uint8_t byte(const nlattr* a) {
    return a == nullptr ? std::uint8_t{0} : mnl_attr_get_u8(a);
}
std::uint64_t be64(const nlattr* a) {
    return a == nullptr ? 0 : be64toh(mnl_attr_get_u64(a));
}

bool has_ports(std::uint8_t proto) {
    switch (proto) {
        case ct::ipproto::kTcp:
        case ct::ipproto::kUdp:
        case ct::ipproto::kUdplite:
        case ct::ipproto::kSctp:
        case ct::ipproto::kGre:
            return true;
        default:
            return false;
    }
}

void put_tuple(nlmsghdr* h, std::uint16_t type, const ct::Tuple& t) {
    nlattr* const tuple = mnl_attr_nest_start(h, type);
    nlattr* const ip = mnl_attr_nest_start(h, CTA_TUPLE_IP);
    if (t.family == ct::Family::Ipv4) {
        mnl_attr_put(h, CTA_IP_V4_SRC, 4, t.src.bytes.data());
        mnl_attr_put(h, CTA_IP_V4_DST, 4, t.dst.bytes.data());
    } else {
        mnl_attr_put(h, CTA_IP_V6_SRC, 16, t.src.bytes.data());
        mnl_attr_put(h, CTA_IP_V6_DST, 16, t.dst.bytes.data());
    }
    mnl_attr_nest_end(h, ip);
    nlattr* const proto = mnl_attr_nest_start(h, CTA_TUPLE_PROTO);
    mnl_attr_put_u8(h, CTA_PROTO_NUM, t.proto);
    if (has_ports(t.proto)) {
        mnl_attr_put_u16(h, CTA_PROTO_SRC_PORT, t.sport.raw());
        mnl_attr_put_u16(h, CTA_PROTO_DST_PORT, t.dport.raw());
    } else if (ct::is_icmp(t.proto)) {
        const bool four = t.proto == ct::ipproto::kIcmp;
        mnl_attr_put_u16(h, four ? CTA_PROTO_ICMP_ID : CTA_PROTO_ICMPV6_ID, t.sport.raw());
        mnl_attr_put_u8(h, four ? CTA_PROTO_ICMP_TYPE : CTA_PROTO_ICMPV6_TYPE,
                        ct::icmp_type(t.dport));
        mnl_attr_put_u8(h, four ? CTA_PROTO_ICMP_CODE : CTA_PROTO_ICMPV6_CODE,
                        ct::icmp_code(t.dport));
    }
    mnl_attr_nest_end(h, proto);
    mnl_attr_nest_end(h, tuple);
    if (t.zone != 0) mnl_attr_put_u16(h, CTA_ZONE, htons(t.zone));
}

ct::Tuple read_tuple(const nlattr* nest) {
    ct::Tuple t;
    const Attributes tuple = nested(nest);
    const Attributes ip = nested(tuple[CTA_TUPLE_IP]);
    const auto address = [&](std::uint16_t four, std::uint16_t six) {
        ct::Addr a;
        const nlattr* const from = ip[four] != nullptr ? ip[four] : ip[six];
        if (from != nullptr)
            std::memcpy(a.bytes.data(), mnl_attr_get_payload(from), mnl_attr_get_payload_len(from));
        return a;
    };
    t.family = ip[CTA_IP_V4_SRC] != nullptr ? ct::Family::Ipv4 : ct::Family::Ipv6;
    t.src = address(CTA_IP_V4_SRC, CTA_IP_V6_SRC);
    t.dst = address(CTA_IP_V4_DST, CTA_IP_V6_DST);
    const Attributes proto = nested(tuple[CTA_TUPLE_PROTO]);
    t.proto = byte(proto[CTA_PROTO_NUM]);
    if (t.proto == ct::ipproto::kIcmp) {
        t.sport = ct::Be16::from_raw(be16(proto[CTA_PROTO_ICMP_ID]));
        t.dport =
            ct::icmp_type_code(byte(proto[CTA_PROTO_ICMP_TYPE]), byte(proto[CTA_PROTO_ICMP_CODE]));
    } else if (t.proto == ct::ipproto::kIcmpv6) {
        t.sport = ct::Be16::from_raw(be16(proto[CTA_PROTO_ICMPV6_ID]));
        t.dport = ct::icmp_type_code(byte(proto[CTA_PROTO_ICMPV6_TYPE]),
                                     byte(proto[CTA_PROTO_ICMPV6_CODE]));
    } else {
        t.sport = ct::Be16::from_raw(be16(proto[CTA_PROTO_SRC_PORT]));
        t.dport = ct::Be16::from_raw(be16(proto[CTA_PROTO_DST_PORT]));
    }
    return t;
}

/// The zone of one of an entry's tuples: that of both directions, or of this one only.
std::uint16_t zone_of(const Attributes& a, std::uint16_t tuple) {
    if (a[CTA_ZONE] != nullptr) return ntohs(be16(a[CTA_ZONE]));
    return ntohs(be16(nested(a[tuple])[CTA_TUPLE_ZONE]));
}

Entry read_entry(const nlmsghdr* h) {
    const Attributes a = attributes_of(h);
    Entry e;
    e.original = read_tuple(a[CTA_TUPLE_ORIG]);
    e.reply = read_tuple(a[CTA_TUPLE_REPLY]);
    e.original.zone = zone_of(a, CTA_TUPLE_ORIG);
    e.reply.zone = zone_of(a, CTA_TUPLE_REPLY);
    e.status = be32(a[CTA_STATUS]);
    e.timeout_s = be32(a[CTA_TIMEOUT]);
    e.mark = be32(a[CTA_MARK]);
    const Attributes info = nested(a[CTA_PROTOINFO]);
    e.state =
        static_cast<std::uint8_t>(byte(nested(info[CTA_PROTOINFO_TCP])[CTA_PROTOINFO_TCP_STATE]) |
                                  byte(nested(info[CTA_PROTOINFO_SCTP])[CTA_PROTOINFO_SCTP_STATE]));
    const std::array sides{CTA_COUNTERS_ORIG, CTA_COUNTERS_REPLY};
    for (std::size_t i = 0; i < sides.size(); ++i) {
        const Attributes counters = nested(a[sides[i]]);
        e.packets[i] = be64(counters[CTA_COUNTERS_PACKETS]);
        e.bytes[i] = be64(counters[CTA_COUNTERS_BYTES]);
    }
    return e;
}

}  // namespace

Ctnetlink::Ctnetlink()
    : socket_{open_netfilter()},
      portid_{mnl_socket_get_portid(socket_.get())},
      buffer_(kBufferBytes),
      answer_(kBufferBytes) {}

nlmsghdr* Ctnetlink::request(std::uint8_t subsystem, std::uint8_t type, std::uint16_t flags,
                             std::uint8_t family) {
    nlmsghdr* const h = mnl_nlmsg_put_header(buffer_.data());
    h->nlmsg_type = static_cast<std::uint16_t>(subsystem << 8 | type);
    h->nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags);
    h->nlmsg_seq = ++sequence_;
    auto* const nf = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(h, sizeof(nfgenmsg)));
    nf->nfgen_family = family;
    nf->version = NFNETLINK_V0;
    nf->res_id = 0;
    return h;
}

int Ctnetlink::exchange(const std::function<void(const nlmsghdr*)>& take) {
    const auto* const h = reinterpret_cast<const nlmsghdr*>(buffer_.data());
    if (mnl_socket_sendto(socket_.get(), h, h->nlmsg_len) < 0) fail("ctnetlink: send");
    for (;;) {
        const ssize_t got = mnl_socket_recvfrom(socket_.get(), answer_.data(), answer_.size());
        if (got < 0) fail("ctnetlink: receive");
        auto left = static_cast<int>(got);
        for (const auto* m = reinterpret_cast<const nlmsghdr*>(answer_.data());
             mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
            if (m->nlmsg_seq != sequence_) continue;
            if (m->nlmsg_type == NLMSG_DONE) return 0;
            if (m->nlmsg_type == NLMSG_ERROR)
                return -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(m))->error;
            take(m);
        }
    }
}

std::optional<Entry> Ctnetlink::find(const ct::Tuple& t) {
    nlmsghdr* const h = request(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, NLM_F_ACK,
                                t.family == ct::Family::Ipv4 ? AF_INET : AF_INET6);
    put_tuple(h, CTA_TUPLE_ORIG, t);
    std::optional<Entry> found;
    const int error = exchange([&](const nlmsghdr* m) { found = read_entry(m); });
    // EINVAL: the tuple of an ICMP message that is no query; no entry can have it.
    const bool impossible = error == EINVAL && ct::is_icmp(t.proto);
    if (error != 0 && error != ENOENT && !impossible) fail("ctnetlink: get", error);
    return found;
}

std::vector<Entry> Ctnetlink::dump() {
    request(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET, NLM_F_DUMP, AF_UNSPEC);
    std::vector<Entry> all;
    const int error = exchange([&](const nlmsghdr* m) { all.push_back(read_entry(m)); });
    if (error != 0) fail("ctnetlink: dump", error);
    return all;
}

void Ctnetlink::set_timeout(const ct::Tuple& original, std::uint32_t seconds) {
    nlmsghdr* const h = request(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_NEW, NLM_F_ACK,
                                original.family == ct::Family::Ipv4 ? AF_INET : AF_INET6);
    put_tuple(h, CTA_TUPLE_ORIG, original);
    mnl_attr_put_u32(h, CTA_TIMEOUT, htonl(seconds));
    const int error = exchange([](const nlmsghdr*) {});
    if (error != 0 && error != ENOENT && error != EPERM && error != ETIME)
        fail("ctnetlink: set time-out", error);
}

void Ctnetlink::erase(const ct::Tuple& original) {
    nlmsghdr* const h = request(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_DELETE, NLM_F_ACK,
                                original.family == ct::Family::Ipv4 ? AF_INET : AF_INET6);
    put_tuple(h, CTA_TUPLE_ORIG, original);
    const int error = exchange([](const nlmsghdr*) {});
    if (error != 0 && error != ENOENT) fail("ctnetlink: delete", error);
}

Counts Ctnetlink::counts() {
    request(NFNL_SUBSYS_CTNETLINK, IPCTNL_MSG_CT_GET_STATS_CPU, NLM_F_DUMP, AF_UNSPEC);
    Counts sum;
    const int error = exchange([&](const nlmsghdr* m) {
        const Attributes a = attributes_of(m);
        sum.invalid += be32(a[CTA_STATS_INVALID]);
        sum.insert_failed += be32(a[CTA_STATS_INSERT_FAILED]);
        sum.drop += be32(a[CTA_STATS_DROP]);
        sum.early_drop += be32(a[CTA_STATS_EARLY_DROP]);
        sum.error += be32(a[CTA_STATS_ERROR]);
        sum.clash_resolve += be32(a[CTA_STATS_CLASH_RESOLVE]);
    });
    if (error != 0) fail("ctnetlink: statistics", error);
    return sum;
}

EventLog::EventLog() : socket_{open_netfilter()}, buffer_(kBufferBytes) {
    for (int group : {NFNLGRP_CONNTRACK_NEW, NFNLGRP_CONNTRACK_UPDATE, NFNLGRP_CONNTRACK_DESTROY})
        if (mnl_socket_setsockopt(socket_.get(), NETLINK_ADD_MEMBERSHIP, &group, sizeof group) < 0)
            fail("connection events");
    const int fd = mnl_socket_get_fd(socket_.get());
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) fail("connection events: fcntl");
}

void EventLog::read(
    const std::function<void(Happening::Kind, const Entry&, std::uint32_t by)>& take) {
    constexpr std::uint16_t kNew = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_NEW;
    constexpr std::uint16_t kDelete = NFNL_SUBSYS_CTNETLINK << 8 | IPCTNL_MSG_CT_DELETE;
    for (;;) {
        const ssize_t got = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (got < 0) fail("connection events: receive");
        auto left = static_cast<int>(got);
        for (const auto* m = reinterpret_cast<const nlmsghdr*>(buffer_.data());
             mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
            const bool fresh = (m->nlmsg_flags & NLM_F_CREATE) != 0;
            if (m->nlmsg_type == kDelete)
                take(Happening::Kind::Destroy, read_entry(m), m->nlmsg_pid);
            else if (m->nlmsg_type == kNew)
                take(fresh ? Happening::Kind::New : Happening::Kind::Update, read_entry(m),
                     m->nlmsg_pid);
        }
    }
}

RuleLog::RuleLog(std::uint16_t group) : socket_{open_netfilter()}, buffer_(kBufferBytes) {
    nlmsghdr* const h = mnl_nlmsg_put_header(buffer_.data());
    h->nlmsg_type = NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_CONFIG;
    h->nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK;
    auto* const nf = static_cast<nfgenmsg*>(mnl_nlmsg_put_extra_header(h, sizeof(nfgenmsg)));
    nf->nfgen_family = AF_UNSPEC;
    nf->version = NFNETLINK_V0;
    nf->res_id = htons(group);
    nfulnl_msg_config_cmd bind{};
    bind.command = NFULNL_CFG_CMD_BIND;
    mnl_attr_put(h, NFULA_CFG_CMD, sizeof bind, &bind);
    nfulnl_msg_config_mode mode{};
    mode.copy_mode = NFULNL_COPY_META;
    mnl_attr_put(h, NFULA_CFG_MODE, sizeof mode, &mode);
    mnl_attr_put_u32(h, NFULA_CFG_QTHRESH, htonl(1));
    if (mnl_socket_sendto(socket_.get(), h, h->nlmsg_len) < 0) fail("log group: send");
    const ssize_t got = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
    if (got < 0) fail("log group: receive");
    const auto* const m = reinterpret_cast<const nlmsghdr*>(buffer_.data());
    if (m->nlmsg_type != NLMSG_ERROR) fail("log group: no answer", EPROTO);
    const int error = -static_cast<const nlmsgerr*>(mnl_nlmsg_get_payload(m))->error;
    if (error != 0) fail("log group", error);
    const int fd = mnl_socket_get_fd(socket_.get());
    if (fcntl(fd, F_SETFL, O_NONBLOCK) != 0) fail("log group: fcntl");
}

void RuleLog::read(const std::function<void(std::uint32_t)>& take) {
    for (;;) {
        const ssize_t got = mnl_socket_recvfrom(socket_.get(), buffer_.data(), buffer_.size());
        if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return;
        if (got < 0) fail("log group: receive");
        auto left = static_cast<int>(got);
        for (const auto* m = reinterpret_cast<const nlmsghdr*>(buffer_.data());
             mnl_nlmsg_ok(m, left); m = mnl_nlmsg_next(m, &left)) {
            if (m->nlmsg_type != (NFNL_SUBSYS_ULOG << 8 | NFULNL_MSG_PACKET)) continue;
            take(be32(attributes_of(m)[NFULA_MARK]));
        }
    }
}

}  // namespace differential
