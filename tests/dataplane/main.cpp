// SPDX-License-Identifier: BSD-3-Clause
#include <gtest/gtest.h>
#include <rte_eal.h>

#include <cstdio>
#include <sched.h>
#include <string>
#include <vector>

namespace {

/// Three lcores on whatever CPUs there are: main, and two for workers.
[[nodiscard]] std::string lcores() {
    cpu_set_t allowed;
    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof allowed, &allowed);
    std::string cpus;
    for (std::size_t i = 0; i < 128; ++i)
        if (CPU_ISSET(i, &allowed)) cpus += (cpus.empty() ? "" : ",") + std::to_string(i);
    return "(0-2)@(" + cpus + ")";
}

}  // namespace

int main(int argc, char** argv) {
    testing::InitGoogleTest(&argc, argv);
    std::vector<std::string> arguments{"dataplane_test",
                                       "--no-huge",
                                       "--no-shconf",
                                       "--no-pci",
                                       "--no-telemetry",
                                       "-m",
                                       "512",
                                       "--lcores",
                                       lcores(),
                                       "--log-level=*:error"};
    std::vector<char*> pointers;
    for (std::string& a : arguments) pointers.push_back(a.data());
    if (rte_eal_init(static_cast<int>(pointers.size()), pointers.data()) < 0) {
        std::fputs("EAL does not start\n", stderr);
        return 1;
    }
    const int result = RUN_ALL_TESTS();
    rte_eal_cleanup();
    return result;
}
