// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/eal.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <rte_eal.h>
#include <rte_eal_memconfig.h>
#include <rte_errno.h>
#include <rte_memory.h>

#include <algorithm>
#include <fstream>
#include <stdexcept>
#include <sys/mman.h>
#include <unistd.h>

namespace dp {
namespace {

inline constexpr std::size_t kMegabyte = std::size_t{1} << 20U;

[[nodiscard]] std::uint64_t free_pages(const char* kilobytes) {
    std::ifstream file{
        fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB/free_hugepages", kilobytes)};
    std::uint64_t pages = 0;
    file >> pages;
    return file ? pages : 0;
}

/// `0@CPUS` for control and `N@CPU` for each worker: lcore ids are ours, CPUs the machine's, so
/// that two lcores can share a CPU if they must.
[[nodiscard]] std::string lcores(const Placement& placement) {
    std::string out = fmt::format("0@({})", fmt::join(placement.control, ","));
    for (std::size_t w = 0; w < placement.workers.size(); ++w)
        out += fmt::format(",{}@{}", w + 1, placement.workers[w]);
    return out;
}

/// True if the configuration can be met with huge pages. Throws if it insists and cannot.
[[nodiscard]] bool choose_huge_pages(HugePages wanted, const HugePageStock& stock,
                                     std::size_t bytes, std::vector<std::string>& notes) {
    const std::uint64_t have_2m = stock.free_2m * 2 * kMegabyte;
    const std::uint64_t have_1g = stock.free_1g * 1024 * kMegabyte;
    const auto insist = [&](std::uint64_t have, const char* size, std::size_t page) {
        if (have >= bytes) return true;
        throw std::runtime_error{fmt::format(
            "dataplane.huge_pages asks for {} pages, and {} MiB of {} are free; reserve {} pages "
            "(vm.nr_hugepages), or say \"auto\"",
            size, have / kMegabyte, bytes / kMegabyte, (bytes + page - 1) / page)};
    };
    switch (wanted) {
        case HugePages::None:
            notes.emplace_back("no huge pages, as configured");
            return false;
        case HugePages::Size1G:
            return insist(have_1g, "1 GiB", 1024 * kMegabyte);
        case HugePages::Size2M:
            return insist(have_2m, "2 MiB", 2 * kMegabyte);
        case HugePages::Auto:
            break;
    }
    if (have_1g >= bytes || have_2m >= bytes) {
        notes.push_back(
            fmt::format("packet memory on huge pages of {}", have_1g >= bytes ? "1 GiB" : "2 MiB"));
        return true;
    }
    notes.push_back(
        fmt::format("no huge pages: {} MiB needed, {} MiB free; falling back to ordinary pages, "
                    "which is slower "
                    "(reserve some with vm.nr_hugepages = {})",
                    bytes / kMegabyte, (have_1g + have_2m) / kMegabyte,
                    (bytes + 2 * kMegabyte - 1) / (2 * kMegabyte)));
    return false;
}

/// Asks the kernel for transparent huge pages under one of EAL's areas.
int advise(const rte_memseg_list* list, void* /*unused*/) {
    if (list->external == 0) madvise(list->base_va, list->len, MADV_HUGEPAGE);
    return 0;
}

/// Whether the kernel may put huge pages under shared memory, which EAL's is without huge pages.
[[nodiscard]] bool shared_memory_may_be_huge() {
    std::ifstream file{"/sys/kernel/mm/transparent_hugepage/shmem_enabled"};
    std::string choices;
    std::getline(file, choices);
    return choices.find("[a") != std::string::npos || choices.find("[w") != std::string::npos;
}

}  // namespace

HugePageStock HugePageStock::here() {
    return {.free_2m = free_pages("2048"), .free_1g = free_pages("1048576")};
}

EalPlan plan_eal(const Config& config, const Placement& placement, const HugePageStock& stock,
                 std::size_t bytes, const std::vector<std::string>& extra) {
    EalPlan plan;
    plan.arguments = {"--lcores", lcores(placement), "--main-lcore", "0", "--log-level=*:warning"};
    plan.huge_pages = choose_huge_pages(config.dataplane.huge_pages, stock, bytes, plan.notes);
    // Nothing is shared with other processes, and nothing is left behind in the file system.
    // --in-memory says so where it can; EAL has it exclude --no-huge.
    if (plan.huge_pages)
        plan.arguments.emplace_back("--in-memory");
    else
        plan.arguments.insert(plan.arguments.end(), {"--no-huge", "--no-shconf", "-m",
                                                     std::to_string(bytes / kMegabyte + 1)});
    bool pci = false;
    for (const PortConfig& port : config.ports) {
        if (!port.pci) continue;
        pci = true;
        plan.arguments.insert(plan.arguments.end(), {"-a", port.device});
    }
    if (!pci) plan.arguments.emplace_back("--no-pci");
    // The telemetry socket needs a directory to be in.
    if (access("/var/run", W_OK) != 0) plan.arguments.emplace_back("--no-telemetry");
    const auto& configured = config.dataplane.eal;
    plan.arguments.insert(plan.arguments.end(), configured.begin(), configured.end());
    plan.arguments.insert(plan.arguments.end(), extra.begin(), extra.end());
    plan.notes.push_back(fmt::format("EAL arguments: {}", fmt::join(plan.arguments, " ")));
    return plan;
}

Eal::Eal(const std::string& program, const EalPlan& plan) {
    // EAL keeps pointers to its arguments and writes into the array: both must last.
    static std::vector<std::string> kept;
    static std::vector<char*> argv;
    kept = plan.arguments;
    kept.insert(kept.begin(), program);
    argv.clear();
    for (std::string& argument : kept) argv.push_back(argument.data());
    if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0)
        throw std::runtime_error{fmt::format("EAL does not start: {}; its arguments were: {}",
                                             rte_strerror(rte_errno),
                                             fmt::join(plan.arguments, " "))};
    if (plan.huge_pages) return;
    if (shared_memory_may_be_huge()) {
        rte_memseg_list_walk(advise, nullptr);
        notes_.emplace_back("packet memory: transparent huge pages asked for");
    } else {
        notes_.emplace_back("packet memory: pages of 4 KiB");
    }
}

Eal::~Eal() {
    rte_eal_cleanup();
}

}  // namespace dp
