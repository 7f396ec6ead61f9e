// SPDX-License-Identifier: BSD-3-Clause
//
// kernel_send: the packets of bench/kernel_peer.py, put into the kernel one by one.
//
// Each device is a tun interface in the network namespace that this program is started in. A write
// to one hands the kernel one packet, and returns when the stack has done with it: receive,
// netfilter, route, forward and the drop at the far side all run inside the system call, on this
// core. So the time of a slice divided by its packets is the cost of the whole path, and the
// difference between two devices, of which one is exempt from tracking, is the cost of the
// tracking.
//
// The flows are those of the benchmarks of the table (bench/load/flows.hpp), and the segments have
// the flags, numbers and windows that theirs have.
//
// It speaks lines: `send DEVICE KIND FIRST COUNT FLOWS` is answered by the nanoseconds that COUNT
// packets took. An unknown command or a packet that the kernel refuses ends it with a message.
#include "bench/load/flows.hpp"
#include "ct/wire/packet.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <fcntl.h>
#include <iostream>
#include <linux/if_tun.h>
#include <map>
#include <net/if.h>
#include <sched.h>
#include <span>
#include <sstream>
#include <stdexcept>
#include <string>
#include <sys/ioctl.h>
#include <system_error>
#include <unistd.h>
#include <utility>
#include <vector>

namespace {

constexpr std::uint32_t kClientIsn = 1000;
constexpr std::uint32_t kServerIsn = 5000;
constexpr std::uint16_t kWindow = 64'000;

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error{errno, std::generic_category(), what};
}

/// Writes integers in network order behind one another.
class Writer {
public:
    explicit Writer(std::span<std::uint8_t> out) : out_{out} {}
    void u8(unsigned v) { out_[at_++] = static_cast<std::uint8_t>(v); }
    void u16(unsigned v) { u8(v >> 8 & 0xff), u8(v & 0xff); }
    void u32(std::uint32_t v) { u16(v >> 16), u16(v & 0xffff); }

private:
    std::span<std::uint8_t> out_;
    std::size_t at_ = 0;
};

using Ends = bench::FlowNumbers::Ends;

/// Flow `n` as the benchmarks of the table have it: the same clients, ports and servers.
Ends flow(std::uint32_t n, bool reply = false) {
    return bench::FlowNumbers{n}.ends(reply);
}

/// Flow `n` of one client after the other, all of them to one server and port: an address that
/// masquerades has no more ports for it than there are.
Ends to_one_server(std::uint32_t n) {
    Ends e = flow(n);
    e.dst = flow(0).dst;
    return e;
}

struct Tcp {
    unsigned flags;
    std::uint32_t seq;
    std::uint32_t ack;
    std::uint16_t window = kWindow;
};

constexpr Tcp kSyn{ct::tcpflag::kSyn, kClientIsn, 0};
constexpr Tcp kSynAck{ct::tcpflag::kSyn | ct::tcpflag::kAck, kServerIsn, kClientIsn + 1};
constexpr Tcp kClientAck{ct::tcpflag::kAck, kClientIsn + 1, kServerIsn + 1};
constexpr Tcp kServerAck{ct::tcpflag::kAck, kServerIsn + 1, kClientIsn + 1};

/// An IPv4 packet with nothing but headers. Checksums are right where the kernel looks at them: in
/// IPv4's own header. The transport's is left to the network card, as it would be with one
/// (bench/kernel_peer.py turns nf_conntrack_checksum off).
class Frame {
public:
    std::span<const std::uint8_t> tcp(const Ends& e, const Tcp& t) {
        ip(e, ct::ipproto::kTcp, kIpBytes + kTcpBytes);
        Writer w{std::span{bytes_}.subspan(kIpBytes)};
        w.u16(e.sport), w.u16(e.dport), w.u32(t.seq), w.u32(t.ack);
        w.u8(kTcpBytes / 4 << 4), w.u8(t.flags), w.u16(t.window), w.u32(0);
        return std::span{bytes_}.first(kIpBytes + kTcpBytes);
    }
    std::span<const std::uint8_t> udp(const Ends& e) {
        ip(e, ct::ipproto::kUdp, kIpBytes + kUdpBytes);
        Writer w{std::span{bytes_}.subspan(kIpBytes)};
        w.u16(e.sport), w.u16(e.dport), w.u16(kUdpBytes), w.u16(0);
        return std::span{bytes_}.first(kIpBytes + kUdpBytes);
    }

private:
    static constexpr unsigned kIpBytes = 20;
    static constexpr unsigned kTcpBytes = 20;
    static constexpr unsigned kUdpBytes = 8;

    void ip(const Ends& e, unsigned protocol, unsigned length) {
        // Version, length, don't fragment, time to live: their sum without the addresses.
        std::uint32_t sum = 0x4500 + length + 0x4000 + (64U << 8) + protocol;
        sum += (e.src >> 16) + (e.src & 0xffff) + (e.dst >> 16) + (e.dst & 0xffff);
        while (sum >> 16 != 0) sum = (sum & 0xffff) + (sum >> 16);
        Writer w{bytes_};
        w.u16(0x4500), w.u16(length), w.u32(0x4000), w.u8(64), w.u8(protocol), w.u16(~sum & 0xffff);
        w.u32(e.src), w.u32(e.dst);
    }

    std::array<std::uint8_t, kIpBytes + kTcpBytes> bytes_{};
};

/// Makes packet `n` of a command.
using Maker = std::span<const std::uint8_t> (*)(Frame&, std::uint32_t n, std::uint32_t flows);

/// Which flow and direction packet `n` is of: at random, the same in the same order each time.
struct Pick {
    Pick(std::uint32_t n, std::uint32_t flows)
        : random{bench::mix(n)}, flow{bench::below(random, flows)}, reply{(random & 1) != 0} {}
    std::uint64_t random;
    std::uint32_t flow;
    bool reply;
};

/// An acknowledgement of an established flow, flow and direction at random. Its window changes from
/// one to the next, as a segment that equals the one before counts as retransmitted.
std::span<const std::uint8_t> traffic(Frame& f, std::uint32_t n, std::uint32_t flows) {
    const Pick p{n, flows};
    Tcp t = p.reply ? kServerAck : kClientAck;
    t.window = static_cast<std::uint16_t>(kWindow + (n & 0xff));
    return f.tcp(flow(p.flow, p.reply), t);
}

std::span<const std::uint8_t> udp_traffic(Frame& f, std::uint32_t n, std::uint32_t flows) {
    const Pick p{n, flows};
    return f.udp(flow(p.flow, p.reply));
}

const std::map<std::string, Maker, std::less<>> kKinds{
    {"syn", [](Frame& f, std::uint32_t n, std::uint32_t) { return f.tcp(flow(n), kSyn); }},
    {"syn-to-one",
     [](Frame& f, std::uint32_t n, std::uint32_t) { return f.tcp(to_one_server(n), kSyn); }},
    {"syn-ack",
     [](Frame& f, std::uint32_t n, std::uint32_t) { return f.tcp(flow(n, true), kSynAck); }},
    {"ack", [](Frame& f, std::uint32_t n, std::uint32_t) { return f.tcp(flow(n), kClientAck); }},
    {"traffic", traffic},
    {"udp", [](Frame& f, std::uint32_t n, std::uint32_t) { return f.udp(flow(n)); }},
    {"udp-reply", [](Frame& f, std::uint32_t n, std::uint32_t) { return f.udp(flow(n, true)); }},
    {"udp-traffic", udp_traffic},
};

/// A tun interface: what is written to it is received by the kernel.
class Tun {
public:
    explicit Tun(const std::string& name) : name_{name}, fd_{open("/dev/net/tun", O_RDWR)} {
        if (fd_ < 0) fail("/dev/net/tun");
        ifreq request{};
        if (name.size() >= sizeof request.ifr_name)
            throw std::invalid_argument{name + ": longer than an interface's name may be"};
        std::memcpy(request.ifr_name, name.c_str(), name.size());
        request.ifr_flags = IFF_TUN | IFF_NO_PI;
        if (ioctl(fd_, TUNSETIFF, &request) < 0) fail(name + ": TUNSETIFF");
    }
    Tun(Tun&& other) noexcept : name_{std::move(other.name_)}, fd_{std::exchange(other.fd_, -1)} {}
    Tun(const Tun&) = delete;
    Tun& operator=(const Tun&) = delete;
    Tun& operator=(Tun&&) = delete;
    ~Tun() {
        if (fd_ >= 0) close(fd_);
    }
    void send(std::span<const std::uint8_t> packet) const {
        if (write(fd_, packet.data(), packet.size()) != static_cast<ssize_t>(packet.size()))
            fail(name_ + ": the kernel refuses a packet");
    }

private:
    std::string name_;
    int fd_;
};

class Sender {
public:
    explicit Sender(const std::vector<std::string>& devices) {
        for (const std::string& name : devices) devices_.emplace(name, Tun{name});
    }

    /// Obeys one line and returns the answer.
    std::string obey(const std::string& line) {
        std::istringstream words{line};
        std::string verb;
        std::string device;
        std::string kind;
        std::uint32_t first = 0;
        std::uint32_t count = 0;
        std::uint32_t flows = 0;
        words >> verb >> device >> kind >> first >> count >> flows;
        const auto to = devices_.find(device);
        const auto make = kKinds.find(kind);
        if (!words || verb != "send" || to == devices_.end() || make == kKinds.end() || flows == 0)
            throw std::invalid_argument{"'" + line +
                                        "' is no command; say: send DEVICE KIND FIRST COUNT FLOWS"};
        const auto begin = std::chrono::steady_clock::now();
        for (std::uint32_t n = 0; n < count; ++n)
            to->second.send(make->second(frame_, first + n, flows));
        const std::chrono::nanoseconds took = std::chrono::steady_clock::now() - begin;
        return std::to_string(took.count());
    }

private:
    std::map<std::string, Tun, std::less<>> devices_;
    Frame frame_;
};

void pin(unsigned core) {
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET(core, &set);
    if (sched_setaffinity(0, sizeof set, &set) != 0)
        fail("core " + std::to_string(core) + " cannot be used");
}

}  // namespace

int main(int argc, char** argv) {
    std::vector<std::string> devices;
    unsigned core = 0;
    CLI::App app{"Puts the packets of bench/kernel_peer.py into the kernel through tun devices."};
    app.add_option("devices", devices, "names of the tun interfaces to make")->required();
    app.add_option("--core", core, "the CPU to run on")->capture_default_str();
    CLI11_PARSE(app, argc, argv);
    try {
        pin(core);
        Sender sender{devices};
        std::cout << "ready" << std::endl;
        for (std::string line; std::getline(std::cin, line);)
            std::cout << sender.obey(line) << std::endl;
    } catch (const std::exception& e) {
        fmt::print(stderr, "kernel_send: {}\n", e.what());
        return 1;
    }
    return 0;
}
