// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/flood/generator.hpp"

#include "ct/wire/packet.hpp"

namespace dp::flood {

using namespace plan;

ct::Tuple established_tuple(std::uint32_t n) noexcept {
    const Endpoint client = endpoint(kEstablishedNet, n);
    ct::Tuple t;
    t.family = ct::Family::Ipv4;
    t.proto = ct::ipproto::kTcp;
    t.src = ct::Addr::v4(ct::Be32::from_host(client.addr));
    t.dst = ct::Addr::v4(ct::Be32::from_host(kServer));
    t.sport = ct::Be16::from_host(client.port);
    t.dport = ct::Be16::from_host(kEstablishedPort);
    return t;
}

Generator::Generator(const Plan& plan, const FrameMaker& client_side, const FrameMaker& server_side)
    : plan_{plan},
      makers_{client_side, server_side},
      established_{(plan.established + plan.parts - 1 - plan.part) / plan.parts},
      probe_seen_{std::vector<std::uint8_t>(established_), std::vector<std::uint8_t>(established_)},
      next_legit_{plan.part},
      flood_pace_{plan.flood_pps},
      legit_pace_{plan.legit_cps},
      established_pace_{
          Pace{plan.established_pps == kMaxRate ? kMaxRate : plan.established_pps / 2},
          Pace{plan.established_pps == kMaxRate ? kMaxRate : plan.established_pps / 2}},
      random_state_{plan.seed * 0x9e3779b97f4a7c15 + plan.part + 1} {}

TcpFields Generator::legit_syn() noexcept {
    const std::uint32_t id = next_legit_;
    next_legit_ = (id + plan_.parts) % kLegitIds;
    const Endpoint client = endpoint(kClientNet, id);
    TcpFields f;
    f.src = client.addr;
    f.sport = client.port;
    f.dst = kServer;
    f.dport = kLegitPort;
    f.seq = id << kSeqShift;
    f.window = kWindow;
    f.flags = kSyn;
    return f;
}

bool Generator::next_setup(ct::Nanos, TcpFields& out) {
    if (setup_sent_ == established_ || setup_in_flight_ == kSetupInFlight) return false;
    const std::uint32_t n = setup_sent_ * plan_.parts + plan_.part;
    const Endpoint client = endpoint(kEstablishedNet, n);
    out = {};
    out.src = client.addr;
    out.sport = client.port;
    out.dst = kServer;
    out.dport = kEstablishedPort;
    out.seq = n << kSeqShift;
    out.window = kWindow;
    out.flags = kSyn;
    ++setup_sent_;
    ++setup_in_flight_;
    return true;
}

bool Generator::next_probe(Side side, TcpFields& out) noexcept {
    std::uint32_t& at = next_probe_[static_cast<std::size_t>(side)];
    if (at == established_) return false;
    out = established_packet(side, at++);
    probes_sent_.add(1);
    return true;
}

std::uint64_t Generator::unanswered_probes() const noexcept {
    std::uint64_t lost = 0;
    for (std::size_t i = 0; i < established_; ++i)
        if (probe_seen_[0][i] == 0 || probe_seen_[1][i] == 0) ++lost;
    return lost;
}

/// Queues the answer of the party on side `from` to packet `f`, which it has just seen.
void Generator::answer(Side from, const TcpFields& f, ct::Nanos when, std::uint8_t flags,
                       std::uint32_t seq, std::uint32_t ack, std::uint16_t payload) {
    Due due;
    due.when = when;
    due.fields.src = f.dst;
    due.fields.dst = f.src;
    due.fields.sport = f.dport;
    due.fields.dport = f.sport;
    due.fields.flags = flags;
    due.fields.seq = seq;
    due.fields.ack = ack;
    due.fields.window = kWindow;
    due.fields.payload = payload;
    due_[static_cast<std::size_t>(from)].push_back(due);
}

void Generator::seen_legit(Side side, const TcpFields& f, ct::Nanos now) {
    const ct::Nanos when = now + plan_.rtt / 2;
    const std::uint32_t received = f.seq + f.payload;
    if (side == Side::Server) {
        const std::uint32_t id = f.seq >> kSeqShift;
        if ((f.flags & kSyn) != 0) {
            answer(side, f, when, kSyn | kAck, server_seq(id, 0), f.seq + 1, 0);
        } else if ((f.flags & kFin) != 0) {
            answer(side, f, when, kFin | kAck, f.ack, received + 1, 0);
        } else if (f.payload != 0) {
            answer(side, f, when, kPsh | kAck, f.ack, received, kResponseBytes);
        } else if (f.ack == server_seq(id, 1)) {
            legit_established.add(1);
        } else {
            legit_completed.add(1);  // the ACK of the server's FIN
        }
        return;
    }
    if ((f.flags & kSyn) != 0) {
        answer(side, f, when, kAck, f.ack, f.seq + 1, 0);
        answer(side, f, when, kPsh | kAck, f.ack, f.seq + 1, kRequestBytes);
    } else if ((f.flags & kFin) != 0) {
        answer(side, f, when, kAck, f.ack, received + 1, 0);
    } else if (f.payload != 0) {
        answer(side, f, when, kFin | kAck, f.ack, received, 0);
    }
}

void Generator::seen_established(Side side, const TcpFields& f, ct::Nanos now) {
    if ((f.flags & kSyn) == 0) {
        const Phase phase = phase_.load(std::memory_order_relaxed);
        if (phase == Phase::Probe) {
            // The client's sequence numbers name the connection; a server's packet acknowledges.
            const std::uint32_t n = (side == Side::Server ? f.seq : f.ack) >> kSeqShift;
            std::vector<std::uint8_t>& seen_there = probe_seen_[static_cast<std::size_t>(side)];
            if (n / plan_.parts < seen_there.size()) seen_there[n / plan_.parts] = 1;
        } else if (phase != Phase::Setup) {
            established_passed.add(1);
        } else if (side == Side::Server) {
            established_up_.add(1);
            --setup_in_flight_;
        }
        return;
    }
    // The handshake of the set-up, without waiting.
    if (side == Side::Server)
        answer(side, f, now, kSyn | kAck, server_seq(f.seq >> kSeqShift, 0), f.seq + 1, 0);
    else
        answer(side, f, now, kAck, f.ack, f.seq + 1, 0);
}

void Generator::seen_in_full(Side side, const std::uint8_t* data, std::uint32_t length,
                             ct::Nanos now) {
    TcpFields f;
    if (!read_frame(data, length, f)) return;
    const std::uint16_t port = side == Side::Server ? f.dport : f.sport;
    if (port == kLegitPort) seen_legit(side, f, now);
    if (port == kEstablishedPort) seen_established(side, f, now);
}

}  // namespace dp::flood
