// SPDX-License-Identifier: BSD-3-Clause
//
// Records of mappings, shares and permits: counted, found, and gone with their last user.
#include "nat/mappings.hpp"

#include "tests/nat/nat_box.hpp"

#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <random>
#include <thread>
#include <vector>

namespace {

using nat::Endpoint;
using nat::Mappings;
using test::addr;

Endpoint endpoint(std::string_view ip, std::uint16_t port, std::uint16_t zone = 0) {
    return {addr(ip), ct::Be16::from_host(port), zone, ct::ipproto::kUdp, ct::Family::Ipv4};
}

const Endpoint kInside = endpoint("10.0.0.1", 4000);
const Endpoint kExternal = endpoint("192.0.2.1", 5000);

/// Enters `inside`, with `external` if it has no mapping yet. Returns what it has.
Endpoint enter(Mappings& m, const Endpoint& inside, const Endpoint& external, ct::WorkerId w = 0) {
    Endpoint out;
    const auto any = [](const Endpoint&) noexcept { return true; };
    const auto choose = [&](Endpoint& e) noexcept {
        e = external;
        return true;
    };
    EXPECT_TRUE(m.enter(w, inside, {1, 0}, any, choose, out));
    return out;
}

/// Leaves; true if the mapping ended.
bool leave(Mappings& m, const Endpoint& inside, const Endpoint& external, ct::WorkerId w = 0) {
    bool ended = false;
    m.leave(w, inside, external, [&](const Mappings::Mapping& gone) noexcept {
        ended = gone.external == external && gone.inside == inside;
    });
    return ended;
}

TEST(Mappings, AreFoundByBothEndsAsLongAsSomebodyUsesThem) {
    Mappings m{100, 1, ct::HashKey::from_seed(1)};
    EXPECT_FALSE(m.find(kExternal));

    EXPECT_EQ(enter(m, kInside, kExternal), kExternal);
    EXPECT_EQ(enter(m, kInside, endpoint("192.0.2.1", 6000)), kExternal) << "it has one";

    const auto found = m.find(kExternal);
    ASSERT_TRUE(found);
    EXPECT_EQ(found->inside, kInside);
    EXPECT_EQ(found->out_port, 1);
    EXPECT_EQ(found->users, 2U);
    EXPECT_FALSE(leave(m, kInside, kExternal));
    EXPECT_EQ(m.count(), 1U);
    EXPECT_TRUE(leave(m, kInside, kExternal));
    EXPECT_EQ(m.count(), 0U);
    EXPECT_EQ(m.records(), 0U);
    EXPECT_FALSE(m.find(kExternal));
}

TEST(Mappings, OfOneSourceDifferByWhatFits) {
    Mappings m{100, 1, ct::HashKey::from_seed(1)};
    enter(m, kInside, kExternal);
    const Endpoint other = endpoint("198.51.100.1", 5000);
    Endpoint got;

    const bool entered = m.enter(
        0, kInside, {}, [&](const Endpoint& e) noexcept { return e.addr == other.addr; },
        [&](Endpoint& e) noexcept {
            e = other;
            return true;
        },
        got);

    EXPECT_TRUE(entered);
    EXPECT_EQ(got, other);
    EXPECT_EQ(m.count(), 2U);
    EXPECT_TRUE(m.find(kExternal));
    EXPECT_TRUE(leave(m, kInside, kExternal));
    EXPECT_TRUE(m.find(other));
}

TEST(Mappings, WithoutAPortLeaveNothingBehind) {
    Mappings m{100, 1, ct::HashKey::from_seed(1)};
    Endpoint got;

    EXPECT_FALSE(m.enter(
        0, kInside, {}, [](const Endpoint&) noexcept { return true; },
        [](Endpoint&) noexcept { return false; }, got));

    EXPECT_EQ(m.records(), 0U);
}

TEST(Mappings, AreJoinedFromOutsideOnlyWhileTheyLast) {
    Mappings m{100, 1, ct::HashKey::from_seed(1)};
    enter(m, kInside, kExternal);
    const Mappings::Mapping seen = m.find(kExternal).value();
    EXPECT_TRUE(m.join(seen));
    EXPECT_FALSE(leave(m, kInside, kExternal));
    EXPECT_TRUE(leave(m, kInside, kExternal));

    EXPECT_FALSE(m.join(seen));
    enter(m, endpoint("10.0.0.2", 4000), kExternal);
    EXPECT_FALSE(m.join(seen)) << "it is another's now";
}

TEST(Mappings, ZonesTellInsideEndpointsApart) {
    Mappings m{100, 1, ct::HashKey::from_seed(1)};
    enter(m, endpoint("10.0.0.1", 4000, 1), kExternal);

    EXPECT_NE(enter(m, endpoint("10.0.0.1", 4000, 2), endpoint("192.0.2.1", 5001)), kExternal);
}

TEST(Shares, KeepAPortFromMappingsUntilTheLastIsGone) {
    Mappings m{100, 1, ct::HashKey::from_seed(1)};
    bool taken = false;
    const auto claim = [&]() noexcept { return !std::exchange(taken, true); };
    const auto ended = [&]() noexcept { taken = false; };

    EXPECT_TRUE(m.share(0, kExternal, claim));
    EXPECT_TRUE(m.share(0, kExternal, claim)) << "by several at a time";
    m.unshare(0, kExternal, ended);
    EXPECT_TRUE(taken);
    m.unshare(0, kExternal, ended);
    EXPECT_FALSE(taken);

    taken = true;  // a mapping's
    enter(m, kInside, kExternal);
    EXPECT_FALSE(m.share(0, kExternal, claim));
}

TEST(Permits, LastAsLongAsTheConnectionsThatMadeThem) {
    Mappings m{100, 1, ct::HashKey::from_seed(1)};
    const ct::Addr remote = addr("198.51.100.7");
    EXPECT_FALSE(m.permitted(kExternal, remote));
    EXPECT_TRUE(m.permit(0, kExternal, remote));
    EXPECT_TRUE(m.permit(0, kExternal, remote));

    EXPECT_TRUE(m.permitted(kExternal, remote));
    EXPECT_FALSE(m.permitted(kExternal, addr("198.51.100.8")));
    EXPECT_FALSE(m.permitted(endpoint("192.0.2.1", 5001), remote));
    m.revoke(0, kExternal, remote);
    EXPECT_TRUE(m.permitted(kExternal, remote));
    m.revoke(0, kExternal, remote);
    EXPECT_FALSE(m.permitted(kExternal, remote));
    EXPECT_EQ(m.records(), 0U);
}

TEST(Mappings, VisitShowsEachOnce) {
    Mappings m{1000, 1, ct::HashKey::from_seed(1)};
    for (std::uint16_t n = 1; n <= 500; ++n)
        enter(m, endpoint("10.0.0.1", n), endpoint("192.0.2.1", n));
    (void)m.share(0, endpoint("192.0.2.1", 501), []() noexcept { return true; });
    std::set<std::uint16_t> seen;
    unsigned shares = 0;

    m.visit([&](const Mappings::Mapping& each) { seen.insert(each.external.port.host()); },
            [&](const Endpoint&, std::uint32_t users) { shares += users; });

    EXPECT_EQ(seen.size(), 500U);
    EXPECT_EQ(shares, 1U);
}

// Connections of few inside endpoints come and go on four threads, some opened from outside: each
// endpoint has one mapping at a time, no two have the same, and none is left. For ThreadSanitizer.
TEST(MappingsThreads, OneForEachSourceAndNoneLeft) {
    constexpr unsigned kWorkers = 4;
    constexpr unsigned kSources = 16;
    Mappings m{10'000, kWorkers, ct::HashKey::from_seed(1)};
    std::vector<std::atomic<int>> ports(kSources * 4);  // 0: free; what Ports does
    std::atomic<unsigned> wrong{0};
    std::vector<std::jthread> workers;
    for (ct::WorkerId w = 0; w < kWorkers; ++w)
        workers.emplace_back([&, w] {
            std::mt19937 random{w};
            const auto ended = [&](const Mappings::Mapping& gone) noexcept {
                if (ports[gone.external.port.host()].exchange(0) == 0) ++wrong;
            };
            for (unsigned n = 0; n < 20'000; ++n) {
                const Endpoint inside =
                    endpoint("10.0.0.1", static_cast<std::uint16_t>(1 + random() % kSources));
                const auto choose = [&](Endpoint& e) noexcept {
                    for (std::uint16_t port = 0; port < ports.size(); ++port)
                        if (int free = 0; ports[port].compare_exchange_strong(free, 1)) {
                            e = endpoint("192.0.2.1", port);
                            return true;
                        }
                    ++wrong;
                    return false;
                };
                Endpoint external;
                if (!m.enter(
                        w, inside, {}, [](const Endpoint&) noexcept { return true; }, choose,
                        external)) {
                    ++wrong;
                    continue;
                }
                const auto seen = m.find(external);
                if (!seen || !(seen->inside == inside)) ++wrong;
                const bool joined = n % 3 == 0 && seen && m.join(*seen);
                m.leave(w, inside, external, ended);
                if (joined) m.leave(w, inside, external, ended);
            }
        });
    workers.clear();

    EXPECT_EQ(wrong, 0U);
    EXPECT_EQ(m.records(), 0U);
    for (const auto& port : ports) EXPECT_EQ(port, 0);
}

}  // namespace
