// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/placement.hpp"

#include "dataplane/eal.hpp"

#include <gtest/gtest.h>

#include <algorithm>

namespace {

using Ids = std::vector<std::uint32_t>;

/// `nodes` NUMA nodes of `cores` cores of two threads each, numbered as Linux likes to: the first
/// threads of all cores, then the second ones.
[[nodiscard]] dp::Topology machine(std::uint32_t nodes, std::uint32_t cores) {
    dp::Topology t;
    for (std::uint32_t thread = 0; thread < 2; ++thread)
        for (std::uint32_t core = 0; core < nodes * cores; ++core)
            t.cpus.push_back({.id = thread * nodes * cores + core,
                              .core = core,
                              .node = static_cast<int>(core / cores)});
    return t;
}

TEST(Placement, AutoTakesEveryCoreButTheFirstAndNoHyperthread) {
    const auto p = dp::place({}, machine(1, 4), {-1, -1});

    EXPECT_EQ(p.control, (Ids{0}));
    EXPECT_EQ(p.workers, (Ids{1, 2, 3}));
    EXPECT_FALSE(p.crowded);
    EXPECT_EQ(p.node, -1);
}

TEST(Placement, AutoStaysOnThePortsNode) {
    const auto p = dp::place({}, machine(2, 4), {1, 1});

    EXPECT_EQ(p.workers, (Ids{4, 5, 6, 7}));
    EXPECT_EQ(p.control, (Ids{0}));
    EXPECT_EQ(p.node, 1);
}

TEST(Placement, OneCpuIsShared) {
    dp::Topology t;
    t.cpus = {{.id = 3, .core = 0, .node = 0}};

    const auto p = dp::place({}, t, {-1});

    EXPECT_EQ(p.workers, (Ids{3}));
    EXPECT_EQ(p.control, (Ids{3}));
    EXPECT_TRUE(p.crowded);
}

TEST(Placement, MoreWorkersThanFreeCoresTakeHyperthreadsThenOtherNodesThenControl) {
    dp::DataplaneConfig config;
    config.workers = 4;

    const auto p = dp::place(config, machine(1, 2), {-1});

    EXPECT_EQ(p.workers, (Ids{1, 3, 0, 2}));
    EXPECT_TRUE(p.crowded);
}

TEST(Placement, NamedCoresAreTakenAndControlKeepsOffThem) {
    dp::DataplaneConfig config;
    config.workers = 2;
    config.worker_cores = {0, 1};

    const auto p = dp::place(config, machine(1, 4), {-1});

    EXPECT_EQ(p.workers, (Ids{0, 1}));
    EXPECT_EQ(p.control, (Ids{2}));
}

TEST(Placement, UnusableCoreIsAnErrorThatNamesIt) {
    dp::DataplaneConfig config;
    config.workers = 1;
    config.worker_cores = {99};

    try {
        static_cast<void>(dp::place(config, machine(1, 4), {-1}));
        FAIL();
    } catch (const std::runtime_error& e) {
        EXPECT_NE(std::string_view{e.what()}.find("CPU 99"), std::string_view::npos);
    }
}

TEST(Placement, ThisMachineHasCpus) {
    EXPECT_FALSE(dp::Topology::here().cpus.empty());
}

// ---- What EAL is told.

[[nodiscard]] bool has(const dp::EalPlan& plan, const char* argument) {
    return std::find(plan.arguments.begin(), plan.arguments.end(), argument) !=
           plan.arguments.end();
}

class EalArguments : public testing::Test {
protected:
    [[nodiscard]] dp::EalPlan plan(const dp::HugePageStock& stock) const {
        return dp::plan_eal(config_, placement_, stock, 100 << 20, {"--extra"});
    }

    dp::Config config_;
    dp::Placement placement_{
        .control = {0}, .workers = {1, 2}, .crowded = false, .node = -1, .notes = {}};
};

TEST_F(EalArguments, WithoutHugePagesItSaysSoAndFallsBack) {
    const auto p = plan({.free_2m = 49, .free_1g = 0});

    EXPECT_FALSE(p.huge_pages);
    EXPECT_TRUE(has(p, "--no-huge"));
    EXPECT_TRUE(has(p, "101"));
    EXPECT_NE(p.notes.front().find("falling back"), std::string::npos);
}

TEST_F(EalArguments, EnoughHugePagesAreTaken) {
    EXPECT_TRUE(plan({.free_2m = 50, .free_1g = 0}).huge_pages);
    EXPECT_TRUE(plan({.free_2m = 0, .free_1g = 1}).huge_pages);
    EXPECT_FALSE(has(plan({.free_2m = 50, .free_1g = 0}), "--no-huge"));
}

TEST_F(EalArguments, HugePagesThatAreDemandedAndMissingAreAnError) {
    config_.dataplane.huge_pages = dp::HugePages::Size1G;

    EXPECT_THROW(static_cast<void>(plan({.free_2m = 5000, .free_1g = 0})), std::runtime_error);
}

TEST_F(EalArguments, LcoresAreOursAndCpusTheMachines) {
    placement_.workers = {3, 1};

    EXPECT_TRUE(has(plan({}), "0@(0),1@3,2@1"));
}

TEST_F(EalArguments, PciIsProbedOnlyForThePortsThatAreThere) {
    EXPECT_TRUE(has(plan({}), "--no-pci"));
    config_.ports.resize(1);
    config_.ports[0].device = "0000:03:00.0";
    config_.ports[0].pci = true;
    EXPECT_FALSE(has(plan({}), "--no-pci"));
    EXPECT_TRUE(has(plan({}), "0000:03:00.0"));
}

TEST_F(EalArguments, ExtraOnesComeLast) {
    EXPECT_EQ(plan({}).arguments.back(), "--extra");
}

}  // namespace
