// SPDX-License-Identifier: BSD-3-Clause
//
// The world around the dataplane: attackers, clients and servers.
//
//   client side                         dataplane                         server side
//   flood: SYNs from random sources  ------------------>
//   established: N connections, data <----------------->   data
//   legitimate: SYN, ACK, data, FIN  <----------------->   SYN-ACK, data, FIN
//
// fill() gives the frames that arrive on one side; seen() takes those that the dataplane sends on
// one. A client or server acts only on what it has seen, half a round trip later: a packet that
// the dataplane drops is never answered, and nobody sends again. So legit_completed counts the
// connections that came through from SYN to last ACK without a single loss.
//
// Everybody is told apart by the server's port, and connections by the client's sequence numbers,
// 4096 apart: NAT changes neither.
//
// One generator a worker, which alone calls it. Counters may be read by any thread.
#pragma once

#include "ct/base/time.hpp"
#include "dataplane/flood/frames.hpp"
#include "dataplane/stats.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <vector>

namespace dp::flood {

enum class Side : std::uint8_t { Client = 0, Server = 1 };

/// Rate that means as fast as the dataplane takes them.
inline constexpr std::uint64_t kMaxRate = ~std::uint64_t{0};

struct Plan {
    std::uint64_t flood_pps = kMaxRate;       ///< SYNs a second, of this generator
    std::uint32_t established = 0;            ///< connections that stay open
    std::uint64_t established_pps = 100'000;  ///< their packets a second
    std::uint32_t legit_cps = 0;              ///< new connections a second
    ct::Nanos rtt = 50'000'000;               ///< round trip between clients and servers
    std::uint64_t seed = 1;
    std::uint32_t part = 0;   ///< this generator's number ...
    std::uint32_t parts = 1;  ///< ... of so many; they share out the addresses
};

/// Where the addresses lie; RFC 2544's benchmark range, and private ones for spoofed sources.
inline constexpr std::uint32_t kFloodNet = 0x0a00'0000;        // 10.0.0.0/8
inline constexpr std::uint32_t kClientNet = 0xc612'0000;       // 198.18.0.0/16
inline constexpr std::uint32_t kEstablishedNet = 0xc612'8000;  // 198.18.128.0/17
inline constexpr std::uint32_t kServer = 0xc613'0002;          // 198.19.0.2
inline constexpr std::uint16_t kFloodPort = 80;
inline constexpr std::uint16_t kLegitPort = 443;
inline constexpr std::uint16_t kEstablishedPort = 8080;

/// The tuple of established connection `n`, as its client sends.
[[nodiscard]] ct::Tuple established_tuple(std::uint32_t n) noexcept;

/// What the generator's packets are made of.
namespace plan {

inline constexpr std::uint8_t kSyn = ct::tcpflag::kSyn;
inline constexpr std::uint8_t kAck = ct::tcpflag::kAck;
inline constexpr std::uint8_t kFin = ct::tcpflag::kFin;
inline constexpr std::uint8_t kPsh = ct::tcpflag::kPsh;

inline constexpr std::uint32_t kSeqShift = 12;  // sequence space of a connection: 4096
inline constexpr std::uint32_t kLegitIds = 1U
                                           << 20;  // connections that sequence numbers tell apart
inline constexpr std::uint32_t kServerIsn = 0x8000'0000;
inline constexpr std::uint16_t kRequestBytes = 100;
inline constexpr std::uint16_t kResponseBytes = 400;
inline constexpr std::uint16_t kWindow = 64'240;
inline constexpr std::uint32_t kPortsPerAddress = 50'000;
inline constexpr std::uint32_t kSetupInFlight = 4096;  // handshakes at a time: no flood of its own
inline constexpr ct::Nanos kLag = 1'000'000;           // that a pace may be behind: 1 ms

/// The server's sequence number for what it has sent so far in the connection of `client_isn`.
[[nodiscard]] constexpr std::uint32_t server_seq(std::uint32_t id, std::uint32_t sent) {
    return (id << kSeqShift) + kServerIsn + sent;
}

struct Endpoint {
    std::uint32_t addr;
    std::uint16_t port;
};

[[nodiscard]] inline Endpoint endpoint(std::uint32_t net, std::uint32_t n) {
    return {net + 1 + n / kPortsPerAddress,
            static_cast<std::uint16_t>(10'000 + n % kPortsPerAddress)};
}

}  // namespace plan

class Generator {
public:
    enum class Phase : std::uint8_t {
        Setup,  ///< the established connections are being opened
        Run,    ///< everybody
        Drain,  ///< no new legitimate connection; those under way may finish
        Probe,  ///< each established connection sends once each way; nobody else sends
    };

    /// `client_side` writes the frames that arrive on the client side; likewise the other.
    Generator(const Plan& plan, const FrameMaker& client_side, const FrameMaker& server_side);

    void set_phase(Phase p) noexcept { phase_.store(p, std::memory_order_relaxed); }
    /// True once every established connection has sent its third packet of the handshake.
    [[nodiscard]] bool set_up() const noexcept { return established_up_.get() == established_; }

    /// Writes up to `room` frames that arrive on `side` at `now`, through `put(fields, maker)`.
    /// Returns how many.
    template <class Put>
    std::uint32_t fill(Side side, std::uint32_t room, ct::Nanos now, Put&& put) {
        std::uint32_t n = 0;
        TcpFields f;
        while (n < room && next(side, now, f)) {
            put(f, makers_[static_cast<std::size_t>(side)]);
            ++n;
        }
        return n;
    }

    /// True once every probe has been sent.
    [[nodiscard]] bool probed() const noexcept { return probes_sent_.get() == 2 * established_; }
    /// Established connections of which a probe did not arrive. Once nothing is under way.
    [[nodiscard]] std::uint64_t unanswered_probes() const noexcept;

    /// Takes note of a frame that the dataplane sent on `side`.
    void seen(Side side, const std::uint8_t* data, std::uint32_t length, ct::Nanos now) {
        const std::uint16_t port = server_port(side == Side::Server, data, length);
        if (port == kFloodPort) {
            if (side == Side::Server) flood_passed.add(1);
        } else if (port == kEstablishedPort && !is_syn(data) &&
                   phase_.load(std::memory_order_relaxed) == Phase::Run) {
            established_passed.add(1);
        } else {
            seen_in_full(side, data, length, now);
        }
    }

    Counter flood_sent;
    Counter flood_passed;  ///< flood SYNs that reached the server side
    Counter established_sent;
    Counter established_passed;
    Counter legit_attempts;
    Counter legit_established;  ///< handshakes done
    Counter legit_completed;    ///< connections closed in order, nothing lost

private:
    /// A packet that is due later.
    struct Due {
        ct::Nanos when = 0;
        TcpFields fields;
    };

    /// A steady trickle: how many packets of a rate are due.
    class Pace {
    public:
        explicit Pace(std::uint64_t per_second) noexcept
            : rate_{per_second},
              interval_{per_second == 0 ? 0 : ct::kNanosPerSecond / per_second} {}
        /// True, and one taken, if a packet is due at `now`. Never more than a millisecond behind.
        bool take(ct::Nanos now) noexcept;

    private:
        std::uint64_t rate_;
        ct::Nanos interval_;
        ct::Nanos next_ = 0;
    };

    [[nodiscard]] bool next(Side side, ct::Nanos now, TcpFields& out);
    [[nodiscard]] bool next_due(Side side, ct::Nanos now, TcpFields& out);
    [[nodiscard]] bool next_setup(ct::Nanos now, TcpFields& out);
    [[nodiscard]] bool next_probe(Side side, TcpFields& out) noexcept;
    [[nodiscard]] TcpFields established_packet(Side side, std::uint32_t mine) noexcept;
    [[nodiscard]] TcpFields flood_syn() noexcept;
    [[nodiscard]] TcpFields legit_syn() noexcept;
    void seen_in_full(Side side, const std::uint8_t* data, std::uint32_t length, ct::Nanos now);
    void seen_legit(Side side, const TcpFields& f, ct::Nanos now);
    void seen_established(Side side, const TcpFields& f, ct::Nanos now);
    void answer(Side from, const TcpFields& f, ct::Nanos when, std::uint8_t flags,
                std::uint32_t seq, std::uint32_t ack, std::uint16_t payload);
    [[nodiscard]] std::uint64_t random() noexcept;

    const Plan plan_;
    const std::array<FrameMaker, 2> makers_;  ///< by Side
    const std::uint64_t established_;         ///< this generator's share
    std::atomic<Phase> phase_{Phase::Setup};
    Counter established_up_;
    Counter probes_sent_;
    std::array<std::uint32_t, 2> next_probe_{};            ///< by Side
    std::array<std::vector<std::uint8_t>, 2> probe_seen_;  ///< by Side it reached, by connection
    std::uint32_t setup_sent_ = 0;
    std::uint32_t setup_in_flight_ = 0;
    std::uint32_t turn_ = 0;              ///< which established connection sends next
    std::uint32_t next_legit_ = 0;        ///< number of the next legitimate connection
    std::array<std::deque<Due>, 2> due_;  ///< by the Side on which they arrive; in order of `when`
    Pace flood_pace_;
    Pace legit_pace_;
    std::array<Pace, 2> established_pace_;
    std::uint64_t random_state_;
};

// What is called for each packet stands here, so that fill() and its callers become one loop.

inline bool Generator::Pace::take(ct::Nanos now) noexcept {
    using namespace plan;
    if (rate_ == kMaxRate) return true;
    if (rate_ == 0 || now < next_) return false;
    if (now > next_ + kLag) next_ = now - kLag;
    next_ += interval_;
    return true;
}

// xorshift64*: cheap, and its high bits are good enough for addresses.
inline std::uint64_t Generator::random() noexcept {
    random_state_ ^= random_state_ >> 12;
    random_state_ ^= random_state_ << 25;
    random_state_ ^= random_state_ >> 27;
    return random_state_ * 0x2545f4914f6cdd1d;
}

inline TcpFields Generator::flood_syn() noexcept {
    using namespace plan;
    const std::uint64_t r = random();
    TcpFields f;
    f.src = kFloodNet | static_cast<std::uint32_t>(r >> 40);
    f.sport = static_cast<std::uint16_t>(1024 + (r >> 8 & 0x7fff));
    f.dst = kServer;
    f.dport = kFloodPort;
    f.seq = static_cast<std::uint32_t>(r);
    f.window = kWindow;
    f.flags = kSyn;
    return f;
}

/// An acknowledgement of this generator's established connection `mine`. The window wanders,
/// because two packets that are alike in everything look like a retransmission.
inline TcpFields Generator::established_packet(Side side, std::uint32_t mine) noexcept {
    using namespace plan;
    const std::uint32_t n = mine * plan_.parts + plan_.part;
    const Endpoint client = endpoint(kEstablishedNet, n);
    const std::uint32_t client_seq = (n << kSeqShift) + 1;
    TcpFields f;
    f.flags = kAck;
    f.window = static_cast<std::uint16_t>(kWindow - (random() >> 56));
    if (side == Side::Client) {
        f.src = client.addr;
        f.sport = client.port;
        f.dst = kServer;
        f.dport = kEstablishedPort;
        f.seq = client_seq;
        f.ack = server_seq(n, 1);
    } else {
        f.src = kServer;
        f.sport = kEstablishedPort;
        f.dst = client.addr;
        f.dport = client.port;
        f.seq = server_seq(n, 1);
        f.ack = client_seq;
    }
    return f;
}

inline bool Generator::next(Side side, ct::Nanos now, TcpFields& out) {
    if (next_due(side, now, out)) return true;
    const Phase phase = phase_.load(std::memory_order_relaxed);
    if (phase == Phase::Probe) return next_probe(side, out);
    if (phase == Phase::Setup) return side == Side::Client && next_setup(now, out);
    if (side == Side::Client && phase == Phase::Run && legit_pace_.take(now)) {
        legit_attempts.add(1);
        out = legit_syn();
        return true;
    }
    if (established_ != 0 && established_pace_[static_cast<std::size_t>(side)].take(now)) {
        established_sent.add(1);
        out = established_packet(side, turn_);
        turn_ = turn_ + 1 == established_ ? 0 : turn_ + 1;
        return true;
    }
    if (side == Side::Client && flood_pace_.take(now)) {
        flood_sent.add(1);
        out = flood_syn();
        return true;
    }
    return false;
}

inline bool Generator::next_due(Side side, ct::Nanos now, TcpFields& out) {
    std::deque<Due>& queue = due_[static_cast<std::size_t>(side)];
    if (queue.empty() || queue.front().when > now) return false;
    out = queue.front().fields;
    queue.pop_front();
    return true;
}

}  // namespace dp::flood
