// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/kernel.hpp"

#include "tests/differential/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <fstream>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sched.h>
#include <stdexcept>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <system_error>
#include <thread>
#include <unistd.h>

namespace differential {
namespace {

constexpr std::uint16_t kLogGroup = 7;
/// As long as real time stays below this, rounding hides it.
constexpr std::chrono::milliseconds kCertain{700};
/// A UDP flow that was just made must not become two seconds old by itself.
constexpr std::chrono::milliseconds kYoung{1'700};
/// What frozen entries have left.
constexpr std::uint32_t kFrozen_s = 1'000'000;

/// Says state and direction of each packet in its mark, and logs it.
constexpr const char* kRules = R"(table inet differential {
  chain prerouting {
    type filter hook prerouting priority 0; policy accept;
    ct state new meta mark set 1
    ct state established meta mark set 2
    ct state related meta mark set 3
    ct state invalid meta mark set 4
    ct state untracked meta mark set 5
    ct direction original meta mark set meta mark or 0x10
    ct direction reply meta mark set meta mark or 0x20
    log group 7 queue-threshold 1
  }
}
)";

/// How long an entry must have been counting before what is left of it is surely one less than what
/// it was set to: two of the kernel's ticks.
std::chrono::nanoseconds two_ticks() {
    timespec tick{};
    clock_getres(CLOCK_MONOTONIC_COARSE, &tick);
    return std::chrono::nanoseconds{2 * tick.tv_nsec + 500'000};
}

[[noreturn]] void fail(const std::string& what) {
    throw std::system_error(errno, std::generic_category(), what);
}

/// Runs a program in this namespace with `input` on its standard input.
void run(const std::vector<const char*>& command, const std::string& input) {
    std::array<int, 2> pipe_ends{};
    if (pipe(pipe_ends.data()) != 0) fail("pipe");
    const pid_t child = fork();
    if (child < 0) fail("fork");
    if (child == 0) {
        dup2(pipe_ends[0], 0);
        close(pipe_ends[0]);
        close(pipe_ends[1]);
        std::vector<char*> arguments;
        for (const char* word : command) arguments.push_back(const_cast<char*>(word));
        arguments.push_back(nullptr);
        execvp(arguments[0], arguments.data());
        _exit(127);
    }
    close(pipe_ends[0]);
    const ssize_t written = write(pipe_ends[1], input.data(), input.size());
    close(pipe_ends[1]);
    int status = 0;
    if (waitpid(child, &status, 0) < 0) fail("waitpid");
    if (written != static_cast<ssize_t>(input.size()) || status != 0)
        throw std::runtime_error(fmt::format("{} failed on:\n{}", command.front(), input));
}

void set_sysctl(const std::string& name, std::uint32_t value) {
    std::ofstream out{"/proc/sys/net/" + name};
    out << value << std::flush;
    if (!out) throw std::runtime_error("sysctl net/" + name + ": cannot be set");
}

Descriptor open_tun(const std::string& name) {
    Descriptor fd{open("/dev/net/tun", O_RDWR | O_NONBLOCK)};
    if (fd.get() < 0) fail("/dev/net/tun");
    ifreq request{};
    name.copy(request.ifr_name, IFNAMSIZ - 1);
    request.ifr_flags = IFF_TUN | IFF_NO_PI;
    if (ioctl(fd.get(), TUNSETIFF, &request) != 0) fail("tun device " + name);
    return fd;
}

/// Enters a new namespace and makes it a router.
std::array<Descriptor, 2> make_router(const Profile& p) {
    if (unshare(CLONE_NEWNET) != 0) fail("a network namespace");
    std::array<Descriptor, 2> tun{open_tun("tun0"), open_tun("tun1")};
    std::string links = "link set lo up\n";
    for (std::size_t i = 0; i < tun.size(); ++i) {
        const std::string dev = "tun" + std::to_string(i);
        // Without link-local addresses the kernel has nothing to say on its own.
        links += fmt::format("link set {} addrgenmode none\nlink set {} mtu 9000 up\n", dev, dev);
        links += fmt::format("addr add {}/24 dev {}\n", kPortAddress[i], dev);
        links += fmt::format("addr add {}/64 dev {} nodad\n", kPortAddress6[i], dev);
        set_sysctl("ipv4/conf/" + dev + "/rp_filter", 0);
        set_sysctl("ipv4/conf/" + dev + "/send_redirects", 0);
    }
    set_sysctl("ipv4/conf/all/rp_filter", 0);
    set_sysctl("ipv4/conf/all/send_redirects", 0);
    set_sysctl("ipv4/ip_forward", 1);
    set_sysctl("ipv6/conf/all/forwarding", 1);
    // Whatever is sent to the router itself is answered, however often.
    set_sysctl("ipv4/icmp_ratemask", 0);
    set_sysctl("ipv6/icmp/ratelimit", 0);
    // What nobody is known by is dropped without a word, which would be counted.
    if (p.nat != Nat::None)
        links += "route add blackhole 203.0.113.0/24\nroute add blackhole 2001:db8:3::/64\n";
    run({"ip", "-force", "-batch", "-"}, links);
    run({"nft", "-f", "-"}, std::string{kRules} + nft_rules(p));
    const std::string ct = "netfilter/nf_conntrack_";
    set_sysctl(ct + "acct", 1);
    set_sysctl(ct + "checksum", p.checksum ? 1 : 0);
    set_sysctl(ct + "tcp_loose", p.loose ? 1 : 0);
    set_sysctl(ct + "tcp_be_liberal", p.liberal ? 1 : 0);
    set_sysctl(ct + "tcp_ignore_invalid_rst", p.ignore_invalid_rst ? 1 : 0);
    set_sysctl(ct + "tcp_max_retrans", p.max_retrans);
    return tun;
}

/// True if both packets have the same version, source and destination.
bool same_addresses(const Bytes& a, const std::uint8_t* b, std::size_t size) {
    if (a.empty() || size == 0 || a[0] >> 4U != b[0] >> 4U) return false;
    const std::size_t at = a[0] >> 4U == 4 ? 12 : 8;
    const std::size_t count = a[0] >> 4U == 4 ? 8 : 32;
    return a.size() >= at + count && size >= at + count &&
           std::equal(a.begin() + static_cast<std::ptrdiff_t>(at),
                      a.begin() + static_cast<std::ptrdiff_t>(at + count), b + at);
}

/// True of an IPv6 packet to a multicast group of the link (RFC 4291 2.7): no router passes one on,
/// so the kernel speaks for itself, as with its reports of the groups it listens to (RFC 3810).
bool stays_on_link(const std::uint8_t* packet, std::size_t size) {
    constexpr std::size_t kDestination = 24;
    return size >= kDestination + 16 && packet[0] >> 4U == 6 && packet[kDestination] == 0xff &&
           (packet[kDestination + 1] & 0xfU) <= 2;
}

Seen seen_of(std::uint32_t mark) {
    return static_cast<Seen>(mark & 0xf);
}

}  // namespace

Descriptor::~Descriptor() {
    if (fd_ >= 0) close(fd_);
}

std::string why_no_kernel() {
    const pid_t child = fork();
    if (child < 0) return "cannot fork";
    if (child == 0) {
        try {
            const Kernel attempt{profiles().front()};
        } catch (const std::exception& e) {
            fmt::print(stderr, "{}\n", e.what());
            _exit(1);
        }
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return status == 0 ? "" : "no network namespace with tun devices and nftables can be made here";
}

Kernel::Kernel(const Profile& profile)
    : tun_{make_router(profile)},
      book_{profile.nat},
      log_{kLogGroup},
      translates_{profile.nat != Nat::None} {
    reset();
}

bool Kernel::drain(std::uint8_t port, const Step* wanted, std::vector<Bytes>* out) {
    std::array<std::uint8_t, 10'000> buffer;
    bool found = false;
    for (;;) {
        const ssize_t got = read(tun_[port].get(), buffer.data(), buffer.size());
        if (got < 0 && errno == EAGAIN) return found;
        if (got < 0) fail("tun device: read");
        const auto size = static_cast<std::size_t>(got);
        if (stays_on_link(buffer.data(), size)) continue;
        if (wanted != nullptr)
            found = found || translates_ || same_addresses(wanted->ip, buffer.data(), size);
        if (out != nullptr) out->emplace_back(buffer.begin(), buffer.begin() + got);
    }
}

void Kernel::check_clock() {
    const Clock::time_point now = Clock::now();
    disturbed_ = disturbed_ || now - since_ > kCertain || now - awake_since_ > kYoung;
}

Observation Kernel::packet(const Step& given) {
    const Step step =
        book_.addressed(given, [this](const ct::Tuple& t) { return conntrack_.find(t); });
    Observation o;
    const ssize_t sent = write(tun_[step.port].get(), step.ip.data(), step.ip.size());
    // The tun device itself refuses what is neither IPv4 nor IPv6 (EINVAL); the router dropped it.
    if (sent < 0 && errno != EINVAL) fail("tun device: write");
    log_.read([&](std::uint32_t mark) {
        o.seen = seen_of(mark);
        o.dir.reset();
        if ((mark & 0x10) != 0) o.dir = ct::Dir::Original;
        if ((mark & 0x20) != 0) o.dir = ct::Dir::Reply;
    });
    const auto other = static_cast<std::uint8_t>(1 - step.port);
    o.forwarded = drain(other, &step, &o.out);
    static_cast<void>(drain(step.port, nullptr, nullptr));
    for (const ct::Tuple& key : step.keys) {
        o.entries.push_back(conntrack_.find(key));
        if (o.entries.back()) remember(*o.entries.back());
    }
    book_.settle(step, o);
    hear();
    check_clock();
    return o;
}

void Kernel::hear() {
    events_.read([&](Happening::Kind kind, const Entry& e, std::uint32_t by) {
        if (by == conntrack_.portid()) return;
        heard_.push_back({kind, step_, e});
        book_.settle(heard_.back().entry);
    });
}

void Kernel::remember(const Entry& e) {
    if (std::find(known_.begin(), known_.end(), e.original) == known_.end())
        known_.push_back(e.original);
}

std::vector<Entry> Kernel::table() {
    std::vector<Entry> all = conntrack_.dump();
    hear();
    check_clock();
    for (Entry& e : all) {
        remember(e);
        book_.settle(e);
    }
    return all;
}

std::vector<std::pair<ct::Tuple, std::uint32_t>> Kernel::remaining() {
    std::this_thread::sleep_for(two_ticks());
    std::vector<std::pair<ct::Tuple, std::uint32_t>> all;
    for (const ct::Tuple& original : known_) {
        const std::optional<Entry> e = conntrack_.find(original);
        if (e && e->original == original) all.emplace_back(original, e->timeout_s + 1);
    }
    check_clock();
    return all;
}

/// An entry whose time is up counts until somebody looks it up: the kernel does so within a minute.
void Kernel::set_timeout(const ct::Tuple& original, std::uint32_t seconds) {
    conntrack_.set_timeout(original, seconds);
    if (seconds == 0) static_cast<void>(conntrack_.find(original));
}

void Kernel::wait(std::uint32_t seconds) {
    const auto all = remaining();
    since_ = Clock::now();
    for (const auto& [original, left] : all)
        set_timeout(original, left > seconds ? left - seconds : 0);
}

void Kernel::freeze() {
    frozen_ = remaining();
    for (const auto& [original, left] : frozen_) conntrack_.set_timeout(original, kFrozen_s);
}

void Kernel::thaw(std::uint32_t seconds) {
    since_ = awake_since_ = Clock::now();
    for (const auto& [original, left] : frozen_)
        set_timeout(original, left > seconds ? left - seconds : 0);
    frozen_.clear();
}

Counts Kernel::counts() {
    Counts c = conntrack_.counts();
    c.invalid -= base_.invalid;
    c.insert_failed -= base_.insert_failed;
    c.drop -= base_.drop;
    c.early_drop -= base_.early_drop;
    c.error -= base_.error;
    c.clash_resolve -= base_.clash_resolve;
    return c;
}

void Kernel::reset() {
    for (const ct::Tuple& original : known_) conntrack_.erase(original);
    hear();
    heard_.clear();
    book_.reset();
    step_ = 0;
    known_.clear();
    base_ = conntrack_.counts();
    frozen_.clear();
    since_ = awake_since_ = Clock::now();
    disturbed_ = false;
    static_cast<void>(drain(0, nullptr, nullptr));
    static_cast<void>(drain(1, nullptr, nullptr));
    log_.read([](std::uint32_t) {});
}

}  // namespace differential
