// SPDX-License-Identifier: BSD-3-Clause
//
// Where answers arrive: the hash against its published values, the table, and what a device says.
#include "dataplane/steering.hpp"

#include "tests/dataplane/eal.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>
#include <rte_dev.h>
#include <rte_ethdev.h>

namespace {

using test::addr;

// The key and the values by which Microsoft lets implementations verify themselves ("Verifying the
// RSS Hash Calculation", Windows driver documentation).
const std::vector<std::uint8_t> kKey = {0x6d, 0x5a, 0x56, 0xda, 0x25, 0x5b, 0x0e, 0xc2, 0x41, 0x67,
                                        0x25, 0x3d, 0x43, 0xa3, 0x8f, 0xb0, 0xd0, 0xca, 0x2b, 0xcb,
                                        0xae, 0x7b, 0x30, 0xb4, 0x77, 0xcb, 0x2d, 0xa3, 0x80, 0x30,
                                        0xf2, 0x0c, 0x6a, 0x42, 0xb7, 0x3b, 0xbe, 0xac, 0x01, 0xfa};

ct::Tuple tuple(const char* src, std::uint16_t sport, const char* dst, std::uint16_t dport,
                std::uint8_t proto = ct::ipproto::kTcp) {
    ct::Tuple t;
    t.src = addr(src);
    t.dst = addr(dst);
    t.sport = ct::Be16::from_host(sport);
    t.dport = ct::Be16::from_host(dport);
    t.family = std::string_view{src}.find(':') == std::string_view::npos ? ct::Family::Ipv4
                                                                         : ct::Family::Ipv6;
    t.proto = proto;
    return t;
}

TEST(Toeplitz, GivesThePublishedValues) {
    const dp::ToeplitzHash hash{kKey};
    const ct::Tuple four = tuple("66.9.149.187", 2794, "161.142.100.80", 1766);
    EXPECT_EQ(hash(four, true), 0x51ccc178U);
    EXPECT_EQ(hash(four, false), 0x323e8fc2U);
    const ct::Tuple other = tuple("199.92.111.2", 14230, "65.69.140.83", 4739);
    EXPECT_EQ(hash(other, true), 0xc626b0eaU);
    EXPECT_EQ(hash(other, false), 0xd718262aU);
    const ct::Tuple six = tuple("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766);
    EXPECT_EQ(hash(six, true), 0x40207d3dU);
    EXPECT_EQ(hash(six, false), 0x2cc18cd5U);
}

TEST(Toeplitz, RefusesAShortKey) {
    EXPECT_THROW(dp::ToeplitzHash(std::vector<std::uint8_t>(39)), std::invalid_argument);
}

dp::RssState state(std::uint64_t fields) {
    return {.key = kKey, .queue_of = {0, 1, 0, 1, 1, 0, 1, 0}, .fields = fields};
}

TEST(Steering, FollowsTheTableToTheQueuesWorker) {
    const dp::Steering steering{{std::nullopt, state(RTE_ETH_RSS_IP | RTE_ETH_RSS_TCP)},
                                {{}, {5, 7}}};
    const ct::Tuple t = tuple("66.9.149.187", 2794, "161.142.100.80", 1766);
    EXPECT_EQ(steering.receiver(1, t), 5U) << "0x51ccc178 ends in 0: queue 0";
    EXPECT_TRUE(steering.depends_on_ports(1, t));

    ct::Tuple udp = t;
    udp.proto = ct::ipproto::kUdp;
    EXPECT_EQ(steering.receiver(1, udp), 5U) << "0x323e8fc2 ends in 2: queue 0";
    EXPECT_FALSE(steering.depends_on_ports(1, udp)) << "of UDP only the addresses are hashed";
    udp.sport = ct::Be16::from_host(1);
    EXPECT_EQ(steering.receiver(1, udp), 5U);
}

TEST(Steering, SaysNothingOfWhatItDoesNotKnow) {
    const dp::Steering steering{{std::nullopt, state(RTE_ETH_RSS_NONFRAG_IPV4_TCP)}, {{}, {0, 1}}};
    EXPECT_TRUE(steering.knows_any());
    const ct::Tuple t = tuple("66.9.149.187", 2794, "161.142.100.80", 1766);
    EXPECT_EQ(steering.receiver(0, t), std::nullopt) << "a port that nothing is known of";
    EXPECT_EQ(steering.receiver(9, t), std::nullopt) << "a port that there is not";
    const ct::Tuple six = tuple("3ffe:2501:200:1fff::7", 2794, "3ffe:2501:200:3::1", 1766);
    EXPECT_EQ(steering.receiver(1, six), std::nullopt) << "IPv6 is not hashed at all";
}

TEST(Steering, RefusesTablesThatCannotBe) {
    dp::RssState bad = state(RTE_ETH_RSS_IP);
    EXPECT_THROW(dp::Steering({bad}, {{0}}), std::invalid_argument) << "queue 1 has no worker";
    bad.queue_of.pop_back();
    EXPECT_THROW(dp::Steering({bad}, {{0, 1}}), std::invalid_argument) << "seven slots";
}

// No virtual device tells its key, so this is all that can be asked without a card.
TEST(Steering, KnowsNothingOfADeviceThatWillNotSay) {
    ASSERT_EQ(rte_dev_probe("net_null_steering"), 0);
    std::uint16_t device = 0;
    ASSERT_EQ(rte_eth_dev_get_port_by_name("net_null_steering", &device), 0);
    rte_eth_conf conf{};
    for (std::uint16_t queues = 1; queues <= 2; ++queues) {
        conf.rxmode.mq_mode = queues > 1 ? RTE_ETH_MQ_RX_RSS : RTE_ETH_MQ_RX_NONE;
        ASSERT_EQ(rte_eth_dev_configure(device, queues, queues, &conf), 0);
        EXPECT_FALSE(dp::rss_state_of(device)) << queues << " queues";
    }
    rte_eth_dev_info info{};
    ASSERT_EQ(rte_eth_dev_info_get(device, &info), 0);
    rte_eth_dev_close(device);
    rte_dev_remove(info.device);
}

}  // namespace
