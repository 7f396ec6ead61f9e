// SPDX-License-Identifier: BSD-3-Clause
#include "bench/harness/machine.hpp"

#include "bench/harness/clock.hpp"
#include "bench/harness/commit.hpp"

#include <fmt/format.h>

#include <fstream>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <sys/prctl.h>
#include <sys/utsname.h>
#include <unistd.h>

namespace bench {

namespace {

/// The first line of a file, or "" if there is none.
std::string first_line(const std::string& path) {
    std::ifstream file{path};
    std::string line;
    std::getline(file, line);
    return line;
}

/// What stands behind "KEY:" in a file of such lines, or "".
std::string field(const std::string& path, std::string_view key) {
    std::ifstream file{path};
    for (std::string line; std::getline(file, line);) {
        if (!line.starts_with(key)) continue;
        std::size_t at = line.find(':');
        if (at == std::string::npos) continue;
        at = line.find_first_not_of(" \t", at + 1);
        return at == std::string::npos ? "" : line.substr(at);
    }
    return "";
}

/// A field in kB of /proc, in bytes.
std::size_t field_bytes(const std::string& path, std::string_view key) {
    std::istringstream in{field(path, key)};
    std::size_t kilobytes = 0;
    in >> kilobytes;
    return kilobytes * 1024;
}

nlohmann::ordered_json caches() {
    nlohmann::ordered_json out = nlohmann::ordered_json::array();
    for (int i = 0; i < 8; ++i) {
        const std::string dir = fmt::format("/sys/devices/system/cpu/cpu0/cache/index{}/", i);
        const std::string size = first_line(dir + "size");
        if (size.empty()) break;
        out.push_back({{"level", first_line(dir + "level")},
                       {"type", first_line(dir + "type")},
                       {"size", size},
                       {"shared_by_cpus", first_line(dir + "shared_cpu_list")}});
    }
    return out;
}

std::string kernel() {
    utsname u{};
    return uname(&u) == 0 ? fmt::format("{} {} {}", u.sysname, u.release, u.machine) : "unknown";
}

std::size_t free_pages(std::string_view kilobytes) {
    const std::string line = first_line(
        fmt::format("/sys/kernel/mm/hugepages/hugepages-{}kB/free_hugepages", kilobytes));
    return line.empty() ? 0 : std::stoul(line);
}

}  // namespace

nlohmann::ordered_json machine_facts(const Options& o) {
    return {
        {"cpu", field("/proc/cpuinfo", "model name")},
        {"cpu_family", field("/proc/cpuinfo", "cpu family")},
        {"cpu_model", field("/proc/cpuinfo", "model\t")},
        {"cpus", sysconf(_SC_NPROCESSORS_ONLN)},
        {"core", o.core},
        {"tsc_ghz", 1 / ns_per_tick()},
        {"core_ghz", core_ghz()},
        {"caches", caches()},
        {"memory_bytes", field_bytes("/proc/meminfo", "MemTotal")},
        {"kernel", kernel()},
        {"hypervisor", field("/proc/cpuinfo", "flags").find("hypervisor") != std::string::npos},
        {"pages", name_of(o.pages)},
        {"transparent_huge_pages", first_line("/sys/kernel/mm/transparent_hugepage/enabled")},
        {"reserved_2m_pages_free", free_pages("2048")},
        {"reserved_1g_pages_free", free_pages("1048576")},
        {"compiler", fmt::format("{} {}", SLUICE_BENCH_COMPILER, __VERSION__)},
        {"flags", SLUICE_BENCH_FLAGS},
        {"assertions",
#ifdef NDEBUG
         false
#else
         true
#endif
        },
        {"commit", commit()},
    };
}

std::size_t available_memory_bytes() {
    return field_bytes("/proc/meminfo", "MemAvailable");
}

std::size_t resident_bytes() {
    return field_bytes("/proc/self/status", "VmRSS");
}

std::size_t free_1g_pages() {
    return free_pages("1048576");
}

double huge_share() {
    const std::size_t anonymous = field_bytes("/proc/self/smaps_rollup", "Anonymous:");
    const std::size_t huge = field_bytes("/proc/self/smaps_rollup", "AnonHugePages");
    return anonymous == 0 ? 0 : static_cast<double>(huge) / static_cast<double>(anonymous);
}

void choose_pages(PageKind p) {
    const unsigned long off = p == PageKind::Normal ? 1 : 0;
    if (prctl(PR_SET_THP_DISABLE, off, 0, 0, 0) != 0)
        throw std::runtime_error{
            "this kernel cannot turn transparent huge pages off and on for a "
            "process: leave --pages out"};
    if (p == PageKind::Normal && (free_pages("2048") != 0 || free_1g_pages() != 0))
        throw std::runtime_error{
            "--pages 4k: the table would take the reserved huge pages; give "
            "them back first (vm.nr_hugepages = 0)"};
    if (p == PageKind::Huge1G && free_1g_pages() == 0)
        throw std::runtime_error{
            "--pages 1g: no page of 1 GiB is free; reserve some with "
            "/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages"};
}

}  // namespace bench
