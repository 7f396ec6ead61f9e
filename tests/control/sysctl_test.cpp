// SPDX-License-Identifier: BSD-3-Clause
//
// The table of sysctls against the kernel's own, as it stood when a golden case was recorded.
#include "dataplane/control/sysctl.hpp"

#include "dataplane/control/filter.hpp"
#include "tests/control/golden_line.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>

namespace dp::test {
namespace {

using ::testing::HasSubstr;

ct::Settings small() {
    ct::Settings s;
    s.max = 100;
    return s;
}

/// NAME = VALUE of the lines of a kernel that nobody had configured.
std::map<std::string, std::uint64_t> of_the_kernel() {
    std::map<std::string, std::uint64_t> out;
    for (const std::string& line :
         lines_of(SLUICE_SOURCE_DIR "/tests/golden/conntrack-tool-ops/sysctl.txt")) {
        const auto equals = line.find(" = ");
        if (equals != std::string::npos)
            out[line.substr(0, equals)] = std::stoull(line.substr(equals + 3));
    }
    return out;
}

/// Why `name` is no setting; empty if it is one.
std::string refusal(const std::string& name) {
    try {
        static_cast<void>(find_sysctl(name));
        return {};
    } catch (const BadParameter& e) {
        return e.what();
    }
}

TEST(Sysctl, HasEachNameOfTheKernelWithItsDefault) {
    ct::Conntrack table{small(), 1, 1};
    const std::set<std::string> of_the_machine{"net.netfilter.nf_conntrack_max",
                                               "net.netfilter.nf_conntrack_buckets"};
    std::set<std::string> meaningless;
    const auto kernel = of_the_kernel();
    ASSERT_GT(kernel.size(), 40U);

    for (const auto& [name, value] : kernel) {
        if (const std::string why = refusal(name); !why.empty()) {
            EXPECT_THAT(why, HasSubstr("means nothing here")) << name;
            meaningless.insert(name);
            continue;
        }
        const Sysctl& s = find_sysctl(name);
        EXPECT_EQ(path_of(s.name), name);
        if (of_the_machine.contains(name)) continue;
        EXPECT_EQ(s.read(table), value) << name;
    }
    EXPECT_EQ(meaningless, (std::set<std::string>{"net.netfilter.nf_conntrack_frag6_high_thresh",
                                                  "net.netfilter.nf_conntrack_frag6_low_thresh",
                                                  "net.netfilter.nf_hooks_lwtunnel"}));
}

TEST(Sysctl, HasTwoThatTheKernelHasNotUnderThatTree) {
    const auto kernel = of_the_kernel();
    std::set<std::string> ours;
    for (const Sysctl& s : sysctls())
        if (!kernel.contains(path_of(s.name))) ours.insert(path_of(s.name));

    EXPECT_EQ(ours, (std::set<std::string>{"net.ipv4.ipfrag_time",
                                           "net.netfilter.nf_conntrack_tcp_timeout_syn_sent2"}));
}

TEST(Sysctl, KeepsEachValueWithinItsBounds) {
    ct::Conntrack table{small(), 1, 1};
    for (const Sysctl& s : sysctls()) {
        if (!s.read_only.empty()) {
            EXPECT_THROW(set_sysctl(table, s, 1), BadParameter) << s.name;
            continue;
        }
        const std::uint64_t most = s.name == "nf_conntrack_max" ? table.capacity() : s.most;
        for (const std::uint64_t value : {s.least, most}) {
            set_sysctl(table, s, value);
            EXPECT_EQ(s.read(table), value) << s.name;
        }
        EXPECT_THROW(set_sysctl(table, s, most + 1), BadParameter) << s.name;
        EXPECT_EQ(s.read(table), most) << s.name;
        if (s.least == 0) continue;
        EXPECT_THROW(set_sysctl(table, s, s.least - 1), BadParameter) << s.name;
    }
}

TEST(Sysctl, IsFoundByEveryFormOfItsName) {
    for (const char* name :
         {"net.nf_conntrack_max", "net/nf_conntrack_max", "net.netfilter.nf_conntrack_max",
          "net/netfilter/nf_conntrack_max", "nf_conntrack_max", "max"})
        EXPECT_EQ(find_sysctl(name).name, "nf_conntrack_max") << name;
    EXPECT_EQ(find_sysctl("net.ipv4.ipfrag_time").name, "ipfrag_time");
    for (const char* name : {"net.acct.nf", "net.nf_conntrack_acct.", "nf_conntrack_", "", "net/"})
        EXPECT_THAT(refusal(name), HasSubstr("no setting is called")) << name;
}

TEST(Sysctl, TellsWhatThoseMeanThatAreNotHere) {
    for (const char* name :
         {"nf_conntrack_helper", "net.netfilter.nf_flowtable_tcp_timeout",
          "net/netfilter/nf_flowtable_udp_timeout", "net.bridge.bridge-nf-call-iptables"})
        EXPECT_THAT(refusal(name), HasSubstr("means nothing here: ")) << name;
}

}  // namespace
}  // namespace dp::test
