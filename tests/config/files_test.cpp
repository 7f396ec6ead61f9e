// SPDX-License-Identifier: BSD-3-Clause
//
// Every file under configs/ loads, and says what its comments promise.
#include "ct/conn/status.hpp"
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

namespace dp::test {
namespace {

const std::filesystem::path kConfigs = std::filesystem::path{SLUICE_SOURCE_DIR} / "configs";

Config shipped(const std::string& name) {
    return load((kConfigs / (name + ".toml")).string(), kLargeMachine);
}

TEST(ShippedConfigs, AllLoad) {
    int files = 0;
    for (const auto& entry : std::filesystem::directory_iterator{kConfigs}) {
        if (entry.path().extension() != ".toml") continue;
        ++files;
        EXPECT_NO_THROW({
            const Config config = load(entry.path().string(), kLargeMachine);
            EXPECT_FALSE(describe(config).empty());
        }) << entry.path();
    }
    EXPECT_GE(files, 8);
}

TEST(ShippedConfigs, AreCommented) {
    for (const auto& entry : std::filesystem::directory_iterator{kConfigs}) {
        if (entry.path().extension() != ".toml") continue;
        std::ifstream in{entry.path()};
        const std::string text{std::istreambuf_iterator<char>{in}, {}};
        EXPECT_GE(std::count(text.begin(), text.end(), '#'), 6) << entry.path();
        EXPECT_TRUE(text.starts_with("# SPDX-License-Identifier: BSD-3-Clause\n")) << entry.path();
    }
}

TEST(ShippedConfigs, QuickstartNeedsNoPrivileges) {
    const Config c = shipped("quickstart");

    EXPECT_EQ(c.dataplane.huge_pages, HugePages::None);
    EXPECT_TRUE(c.control.socket.starts_with("/tmp/"));
    for (const PortConfig& port : c.ports) EXPECT_TRUE(port.device.starts_with("net_null"));
}

TEST(ShippedConfigs, CarrierNatSharesOutAsItsCommentsSay) {
    const Config c = shipped("carrier-nat");

    ASSERT_EQ(c.carriers.size(), 2U);
    ASSERT_TRUE(c.carriers[0].deterministic);
    const nat::Deterministic shares{*c.carriers[0].deterministic};
    EXPECT_EQ(shares.subscribers(), 4096U);
    EXPECT_EQ(shares.ratio(), 128U);
    EXPECT_EQ(shares.ports_each(), 448U);
    ASSERT_TRUE(shares.overflow());
    EXPECT_EQ(shares.overflow()->count(), 7168U);
    ASSERT_TRUE(c.carriers[1].blocks);
    EXPECT_EQ(c.carriers[1].ports.count() / c.carriers[1].blocks->size, 126U);
    EXPECT_TRUE(c.nat_log.on());
    EXPECT_TRUE(c.conntrack.room.never_delete_mappings);
    EXPECT_FALSE(c.conntrack.room.per_source.on());
}

TEST(ShippedConfigs, NatGatewayTranslatesBothFamilies) {
    const Config c = shipped("nat-gateway");

    for (const auto action : {nat::Action::Masquerade, nat::Action::Dnat})
        EXPECT_EQ(std::count_if(c.rules.begin(), c.rules.end(),
                                [&](const nat::Rule& r) { return r.action == action; }),
                  2);
    EXPECT_EQ(c.filter_policy, nat::Action::Drop);
    EXPECT_EQ(c.routes.size(), 2U);
    EXPECT_GT(c.conntrack.capacity, c.conntrack.max) << "there is room to raise the maximum";
}

// Both seeds: Linux's policy, and its hash size, on which the chance to find a victim depends.
TEST(ShippedConfigs, SeedTestsHaveTheirMaxima) {
    for (const auto& [name, max] : {std::pair{"seed-test-1", 262'144U},
                                    {"seed-test-1-max7", 7U},
                                    {"seed-test-2", 262'144U},
                                    {"seed-test-2-max7", 7U}}) {
        const Config c = shipped(name);
        EXPECT_EQ(c.conntrack.max, max) << name;
        EXPECT_EQ(c.conntrack.buckets, 262'144U) << name;
        EXPECT_EQ(c.conntrack.overflow, ct::Overflow::Linux) << name;
        EXPECT_EQ(c.rules.size(), std::string{name}.starts_with("seed-test-1") ? 1U : 0U) << name;
    }
}

TEST(ShippedConfigs, PhysicalNicIsOnPci) {
    const Config c = shipped("physical-nic");

    for (const PortConfig& port : c.ports) EXPECT_TRUE(port.pci);
    EXPECT_EQ(c.dataplane.huge_pages, HugePages::Size1G);
    EXPECT_EQ(c.dataplane.workers, 4U);
}

}  // namespace
}  // namespace dp::test
