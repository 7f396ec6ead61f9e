// SPDX-License-Identifier: BSD-3-Clause
//
// Mappings by the million: as many as the table holds, each newcomer taking the place of the
// oldest, on several threads. Now and then all stop, and then the ports in use must be the mappings
// in the table; in the end there is none.
//
//   churn [--independent|--dependent] [--mappings N] [--addresses N] [--threads N] [--seconds N]
//
// The short run is a test; `make soak` is the long one, with a million.
#include "nat/invariants.hpp"
#include "nat/rule_set.hpp"
#include "nat/setup.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <barrier>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_set>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

constexpr ct::PortId kOutside = 1;

struct Options {
    bool independent = true;
    std::uint32_t mappings = 50'000;
    std::uint32_t addresses = 1;
    ct::WorkerId threads = 4;
    unsigned seconds = 3;
};

[[noreturn]] void usage(std::string_view wrong) {
    std::fprintf(stderr,
                 "churn: %.*s\nusage: churn [--independent|--dependent] [--mappings N] "
                 "[--addresses N] [--threads 1..16] [--seconds N]\n",
                 static_cast<int>(wrong.size()), wrong.data());
    std::exit(2);
}

Options read(int argc, char** argv) {
    Options o;
    for (int i = 1; i < argc; ++i) {
        const std::string_view arg = argv[i];
        if (arg == "--independent" || arg == "--dependent") {
            o.independent = arg == "--independent";
            continue;
        }
        char* end = nullptr;
        const unsigned long n = i + 1 < argc ? std::strtoul(argv[i + 1], &end, 10) : 0;
        if (end == nullptr || *end != '\0' || n == 0 || n > 10'000'000) usage(arg);
        if (arg == "--mappings")
            o.mappings = static_cast<std::uint32_t>(n);
        else if (arg == "--addresses")
            o.addresses = static_cast<std::uint32_t>(n);
        else if (arg == "--threads" && n <= 16)
            o.threads = static_cast<ct::WorkerId>(n);
        else if (arg == "--seconds")
            o.seconds = static_cast<unsigned>(n);
        else
            usage(arg);
        ++i;
    }
    return o;
}

ct::Addr v4(std::uint32_t host) {
    return ct::Addr::v4(ct::Be32::from_host(host));
}

nat::Rule rule_of(const Options& o) {
    constexpr std::uint32_t kFirst = 0xcb00'7100;  // 203.0.113.0
    nat::Rule r;
    r.chain = nat::Chain::Nat;
    r.action = nat::Action::Snat;
    r.match.out_port = kOutside;
    r.target.family = ct::Family::Ipv4;
    r.target.first_addr = v4(kFirst);
    r.target.last_addr = v4(kFirst + o.addresses - 1);
    r.behaviour.pooling = nat::Pooling::Arbitrary;
    if (o.independent) r.behaviour.mapping = nat::Mapping::EndpointIndependent;
    r.behaviour.filtering =
        o.independent ? nat::Filtering::AddressDependent : nat::Filtering::AddressAndPortDependent;
    return r;
}

ct::Settings settings_of(const Options& o) {
    ct::Settings s;
    s.max = o.mappings;
    s.embryonic_percent = 100;
    return s;
}

class Churn {
public:
    explicit Churn(const Options& o)
        : options_{o},
          rules_{{rule_of(o)}, o.threads},
          table_{settings_of(o), o.threads, 1},
          setup_{rules_, table_, {{}, {}}, 1} {}

    /// What was wrong, if anything; empty if all held.
    std::string run();

private:
    /// A connection from a source nobody else has, to the one server there is or, of an
    /// independent mapping, now and then to another as well.
    void open(ct::WorkerId w, std::mt19937_64& random, std::uint64_t number);
    void open_one(ct::WorkerId w, const ct::Tuple& t);
    void check();
    void check_dependent();

    Options options_;
    nat::RuleSet rules_;
    ct::Conntrack table_;
    nat::Setup setup_;
    std::atomic<ct::Nanos> now_{1'000 * ct::kNanosPerSecond};
    std::atomic<std::uint64_t> opened_{0};
    std::atomic<std::uint64_t> refused_{0};
    std::atomic<bool> stop_{false};
    std::string wrong_;
    unsigned checks_ = 0;
};

void Churn::open_one(ct::WorkerId w, const ct::Tuple& t) {
    static std::array<std::uint8_t, 64> bytes{};
    const ct::Nanos now = now_.load(std::memory_order_relaxed);
    ct::Packet p;
    p.begin(bytes.data(), bytes.size(), 0, bytes.data());
    p.tuple = t;
    p.l3_offset = 14;
    p.l4_offset = 34;
    p.payload_offset = 54;
    p.end = 54;
    p.tcp_flags = ct::tcpflag::kSyn;
    const std::span<ct::Packet> one{&p, 1};
    table_.lookup(w, one, now);
    table_.update(w, one, now);
    if (p.conn.valid() || table_.open(w, p, now) != ct::Conntrack::Opening::Opened) return;
    p.out_port = kOutside;
    p.drop = setup_.destination(w, p, now);
    if (p.alive()) p.drop = setup_.source(w, p, now);
    while (p.alive()) {
        const auto c = table_.confirm(w, p, now);
        if (c == ct::Conntrack::Confirmation::Linked) opened_.fetch_add(1);
        if (c != ct::Conntrack::Confirmation::ReplyTaken) return;
        p.drop = setup_.next_mapping(w, p, now);
    }
    if (p.drop == ct::Drop::NatNoPort) refused_.fetch_add(1);
    table_.abandon(w, p, now);
}

void Churn::open(ct::WorkerId w, std::mt19937_64& random, std::uint64_t number) {
    ct::Tuple t;
    t.family = ct::Family::Ipv4;
    t.proto = ct::ipproto::kTcp;
    t.src = v4(static_cast<std::uint32_t>(0x0a00'0000 + (w << 20U) + (number >> 14U & 0xf'ffff)));
    t.sport = ct::Be16::from_host(static_cast<std::uint16_t>(1024 + (number & 0x3fff)));
    t.dst = v4(0xc633'6407);
    t.dport = ct::Be16::from_host(443);
    open_one(w, t);
    if (!options_.independent || random() % 16 != 0) return;
    t.dst = v4(0xc633'6408);
    open_one(w, t);
    // Somebody whom it talks to calls back, by the mapping.
    const auto found = table_.find(t, now_);
    if (!found) return;
    ct::Tuple back = found->reply;
    back.sport = ct::Be16::from_host(static_cast<std::uint16_t>(random()));
    open_one(w, back);
}

/// Of endpoint-dependent mappings, each entry must have a port that no other has: all go to one
/// server.
void Churn::check_dependent() {
    std::unordered_set<std::uint64_t> external;
    for (std::uint32_t i = 0; i < table_.indices(); ++i) {
        ct::Snapshot s;
        if (!table_.snapshot(i, now_, s)) continue;
        const std::uint64_t name =
            std::uint64_t{s.reply.dst.as_v4().raw()} << 16U | s.reply.dport.raw();
        if (!external.insert(name).second) wrong_ = "I4: two connections have one mapping";
    }
    if (external.size() != table_.count()) wrong_ = "an entry has no mapping";
}

void Churn::check() {
    ++checks_;
    if (!wrong_.empty()) return;
    if (options_.independent)
        wrong_ = nat::check_mappings(table_, setup_, now_);
    else
        check_dependent();
}

std::string Churn::run() {
    const auto end = Clock::now() + std::chrono::seconds{options_.seconds};
    constexpr unsigned kBetweenChecks = 20'000;  // connections of a worker
    std::barrier rest{options_.threads, [&]() noexcept {
                          check();
                          now_.fetch_add(ct::kNanosPerTick);
                          stop_ = Clock::now() >= end || !wrong_.empty();
                      }};
    std::vector<std::jthread> workers;
    for (ct::WorkerId w = 0; w < options_.threads; ++w)
        workers.emplace_back([&, w] {
            std::mt19937_64 random{w};
            for (std::uint64_t number = 0; !stop_;) {
                const std::uint64_t until =
                    number + std::max(kBetweenChecks, options_.mappings / 4);
                for (; number < until; ++number) open(w, random, number);
                rest.arrive_and_wait();
            }
        });
    workers.clear();
    std::printf("%llu connections, %u checks of %u in the table, %llu found no port\n",
                static_cast<unsigned long long>(opened_.load()), checks_, table_.count(),
                static_cast<unsigned long long>(refused_.load()));
    if (wrong_.empty()) wrong_ = table_.check_invariants();
    const std::uint64_t ports = 64'512ULL * options_.addresses;
    if (wrong_.empty() && refused_ != 0 && ports > options_.mappings + options_.threads)
        wrong_ = "a connection found no port although there were some";

    (void)table_.flush(now_);
    if (wrong_.empty()) wrong_ = nat::check_mappings(table_, setup_, now_);
    if (wrong_.empty() && setup_.mappings() != nullptr && setup_.mappings()->records() != 0)
        wrong_ = std::to_string(setup_.mappings()->records()) + " records of nobody are left";
    return wrong_;
}

}  // namespace

int main(int argc, char** argv) {
    const std::string wrong = Churn{read(argc, argv)}.run();
    if (wrong.empty()) return 0;
    std::fprintf(stderr, "churn: %s\n", wrong.c_str());
    return 1;
}
