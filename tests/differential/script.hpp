// SPDX-License-Identifier: BSD-3-Clause
//
// A seed being written: flows put packets in, and the script does to them what a network does:
// loses, doubles and delays them.
#pragma once

#include "tests/differential/random.hpp"
#include "tests/differential/trace.hpp"
#include "tests/support/packet_builder.hpp"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace differential {

/// Who sends: the client stands in the LAN, the server in the WAN.
enum class From : std::uint8_t { Client, Server };
[[nodiscard]] constexpr From other(From f) {
    return f == From::Client ? From::Server : From::Client;
}

/// The two addresses of a flow.
struct Pair {
    ct::Family family = ct::Family::Ipv4;
    std::string client;
    std::string server;
    std::uint16_t service = 0;  ///< the server's port, of TCP and UDP; 0: any

    /// The network layer of a packet.
    [[nodiscard]] test::PacketBuilder from(From f) const;
};

class Script {
public:
    Script(std::uint64_t seed, bool servers_open) : random{seed}, wan_opens{servers_open} {}

    Random random;
    /// The router lets servers open connections, too.
    const bool wan_opens;

    /// A packet of a flow goes on its way. `key` is the tuple under which the flow is known.
    void send(From from, const test::PacketBuilder& packet, const ct::Tuple& key, std::string note);
    /// The same, in fragments.
    void send_fragments(From from, const Pair& pair, std::uint8_t proto, const Bytes& l4,
                        const ct::Tuple& key, std::string note);
    /// The same of bytes that are ready, without loss or delay.
    void put(From from, Bytes ip, const ct::Tuple& key, std::string note, Part part = Part::Whole);
    void wait(std::uint32_t seconds);
    /// Everything gets older than two seconds, by the kernel's own clock too.
    void age();
    /// Sends what was delayed.
    void flush();

    [[nodiscard]] std::size_t packets() const { return packets_; }
    [[nodiscard]] std::uint32_t now_s() const { return now_s_; }
    [[nodiscard]] std::uint32_t aged_s() const { return aged_s_; }
    [[nodiscard]] std::vector<Step> take() { return std::move(steps_); }
    /// The packets so far, for ICMP errors about them.
    [[nodiscard]] const std::vector<Step>& steps() const { return steps_; }

private:
    std::vector<Step> steps_;
    std::vector<Step> delayed_;
    std::size_t packets_ = 0;
    std::uint32_t now_s_ = 0;   ///< on paper
    std::uint32_t aged_s_ = 0;  ///< when the last Age step was, on paper
};

/// Two endpoints and what they may do next.
class Flow {
public:
    virtual ~Flow() = default;
    /// Puts a packet or a few into the script.
    virtual void act(Script& s) = 0;
};

[[nodiscard]] std::unique_ptr<Flow> make_tcp(Script& s, const Pair& pair, std::uint16_t number);
[[nodiscard]] std::unique_ptr<Flow> make_udp(Script& s, const Pair& pair, std::uint16_t number,
                                             std::uint8_t proto);
[[nodiscard]] std::unique_ptr<Flow> make_icmp(Script& s, const Pair& pair, std::uint16_t number);
[[nodiscard]] std::unique_ptr<Flow> make_icmp_errors(Script& s, const Pair& pair);
[[nodiscard]] std::unique_ptr<Flow> make_sctp(Script& s, const Pair& pair, std::uint16_t number);
[[nodiscard]] std::unique_ptr<Flow> make_gre(Script& s, const Pair& pair, std::uint16_t number);
[[nodiscard]] std::unique_ptr<Flow> make_generic(Script& s, const Pair& pair);
[[nodiscard]] std::unique_ptr<Flow> make_fragments(Script& s, const Pair& pair,
                                                   std::uint16_t number);

/// The tuple of a flow's packets from the client.
[[nodiscard]] ct::Tuple tuple_of(const Pair& pair, std::uint8_t proto, std::uint16_t sport,
                                 std::uint16_t dport);

}  // namespace differential
