// SPDX-License-Identifier: BSD-3-Clause
//
// Workers that give blocks out and take them back at the same time, with a reader of the log beside
// them. For ThreadSanitizer as much as for what it asserts: no port is given twice, the log tells
// of every block that changed hands in an order that makes sense, and all comes back.
#include "nat/carrier.hpp"
#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <atomic>
#include <map>
#include <memory>
#include <random>
#include <thread>
#include <vector>

namespace {

using ct::Drop;
using nat::BlockEvent;
using nat::Carrier;
using test::addr;

constexpr ct::WorkerId kWorkers = 4;
constexpr std::uint8_t kUdp = ct::ipproto::kUdp;
constexpr unsigned kSubscribers = 48;
constexpr std::uint16_t kFirst = 2000;
constexpr std::uint32_t kPorts = 256;

nat::CarrierSettings settings() {
    nat::CarrierSettings s;
    s.outside = {ct::Family::Ipv4, addr("192.0.2.1"), addr("192.0.2.2")};
    s.ports = {kFirst, kFirst + kPorts - 1};
    s.blocks = nat::BlockSettings{.size = 16, .most = 3, .idle_s = 1};
    return s;
}

struct Connection {
    ct::Tuple original;
    ct::Tuple reply;
};

/// One worker: opens, closes and sweeps at random.
class Churn {
public:
    Churn(ct::WorkerId w, Carrier& carrier, std::atomic<ct::Nanos>& clock,
          std::vector<std::atomic<int>>& owners)
        : w_{w}, carrier_{carrier}, clock_{clock}, owners_{owners}, random_{w + 1} {}

    void run(unsigned steps) {
        for (unsigned i = 0; i < steps; ++i) {
            const ct::Nanos now = clock_.fetch_add(ct::kNanosPerSecond / 200) + 1;
            if (open_.size() < 40 && random_() % 2 == 0)
                open(now);
            else if (!open_.empty())
                close(random_() % open_.size(), now);
            if (w_ == 0) carrier_.expire_all(w_, now);
        }
        while (!open_.empty()) close(open_.size() - 1, clock_.load());
    }
    unsigned opened = 0;
    unsigned twice = 0;

private:
    std::atomic<int>& owner_of(const ct::Tuple& reply) {
        const std::uint32_t address = reply.dst == addr("192.0.2.1") ? 0 : 1;
        return owners_[address * kPorts + reply.dport.host() - kFirst];
    }
    void open(ct::Nanos now) {
        Connection c;
        c.original.family = ct::Family::Ipv4;
        c.original.proto = kUdp;
        c.original.src = ct::Addr::v4(ct::Be32::from_host(
            0x6440'0000U + static_cast<std::uint32_t>(random_() % kSubscribers)));
        Carrier::Grant grant;
        if (carrier_.admit(w_, c.original, now, grant) != Drop::None) return;
        for (std::size_t i = 0; i < Carrier::kMostRanges; ++i) {
            if (i == grant.count && carrier_.extend(w_, grant, now) != Drop::None) return;
            if (i >= grant.count) return;
            const auto port = find_free(grant.ranges[i]);
            if (!port || carrier_.take(grant, grant.ranges[i], kUdp, *port, Carrier::Use::Alone) !=
                             Carrier::Taken::Done)
                continue;
            c.reply = ct::reply_of(c.original);
            c.reply.dst = carrier_.address_of(grant.ranges[i]);
            c.reply.dport = ct::Be16::from_host(*port);
            twice += owner_of(c.reply).fetch_add(1) == 0 ? 0 : 1;
            ++opened;
            open_.push_back(c);
            return;
        }
    }
    [[nodiscard]] std::optional<std::uint16_t> find_free(const Carrier::Grant::Range& range) {
        const std::uint32_t count = range.ports.count();
        const auto start = static_cast<std::uint32_t>(random_() % count);
        for (std::uint32_t i = 0; i < count; ++i) {
            const auto port = static_cast<std::uint16_t>(range.ports.first + (start + i) % count);
            if (carrier_.uses(range, kUdp, port) == 0) return port;
        }
        return std::nullopt;
    }
    void close(std::size_t i, ct::Nanos now) {
        owner_of(open_[i].reply).fetch_sub(1);
        carrier_.release(open_[i].original, open_[i].reply, now);
        open_[i] = open_.back();
        open_.pop_back();
    }

    ct::WorkerId w_;
    Carrier& carrier_;
    std::atomic<ct::Nanos>& clock_;
    std::vector<std::atomic<int>>& owners_;
    std::mt19937_64 random_;
    std::vector<Connection> open_;
};

/// What the log says of a block: who has it.
class Ledger {
public:
    void take(const BlockEvent& e) {
        auto& owner = owners_[{e.outside.bytes, e.ports.first}];
        owner += e.kind == BlockEvent::Kind::Assigned ? 1 : -1;
        ++events;
    }
    /// Blocks of which the log tells as many assignments as releases.
    [[nodiscard]] bool balanced() const {
        for (const auto& [block, owners] : owners_)
            if (owners != 0) return false;
        return true;
    }
    unsigned events = 0;

private:
    std::map<std::pair<std::array<std::uint8_t, 16>, std::uint16_t>, int> owners_;
};

TEST(CarrierThreads, NoPortIsGivenTwiceAndEveryBlockIsOnRecord) {
    nat::BlockLog log{kWorkers, 64};
    Carrier carrier{settings(), 0, &log, 1};
    std::atomic<ct::Nanos> clock{1'000 * ct::kNanosPerSecond};
    std::vector<std::atomic<int>> owners(2 * kPorts);
    std::vector<std::unique_ptr<Churn>> churns;
    for (ct::WorkerId w = 0; w < kWorkers; ++w)
        churns.push_back(std::make_unique<Churn>(w, carrier, clock, owners));
    Ledger ledger;
    std::atomic<bool> done{false};

    std::vector<std::thread> threads;
    for (auto& churn : churns) threads.emplace_back([&churn] { churn->run(20'000); });
    std::thread reader{[&] {
        BlockEvent e;
        while (!done.load())
            while (log.pop(e)) ledger.take(e);
    }};
    for (std::thread& t : threads) t.join();
    done.store(true);
    reader.join();

    EXPECT_EQ(carrier.check(), "");
    BlockEvent e;
    while (log.pop(e)) ledger.take(e);
    carrier.end(clock.load(), [&](const BlockEvent& released) { ledger.take(released); });
    unsigned opened = 0;
    for (const auto& churn : churns) {
        opened += churn->opened;
        EXPECT_EQ(churn->twice, 0U);
    }
    EXPECT_GT(opened, 10'000U);
    EXPECT_GT(ledger.events, 100U);
    EXPECT_TRUE(ledger.balanced());
    EXPECT_EQ(carrier.totals().blocks_in_use, 0U);
}

}  // namespace
