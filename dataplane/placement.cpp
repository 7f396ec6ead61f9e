// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/placement.hpp"

#include "ct/conntrack.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <hwloc.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <set>
#include <stdexcept>
#include <type_traits>

namespace dp {
namespace {

struct DestroyTopology {
    void operator()(hwloc_topology* t) const noexcept { hwloc_topology_destroy(t); }
};
struct FreeBitmap {
    void operator()(hwloc_bitmap_s* b) const noexcept { hwloc_bitmap_free(b); }
};

/// The node that most ports are on; -1 if none is known.
[[nodiscard]] int common_node(const std::vector<int>& nodes) {
    std::map<int, int> votes;
    for (const int node : nodes)
        if (node >= 0) ++votes[node];
    const auto most =
        std::max_element(votes.begin(), votes.end(),
                         [](const auto& a, const auto& b) { return a.second < b.second; });
    return most == votes.end() ? -1 : most->first;
}

[[nodiscard]] bool usable(const Topology& t, std::uint32_t id) {
    return std::any_of(t.cpus.begin(), t.cpus.end(), [id](const Cpu& c) { return c.id == id; });
}

void require_usable(const Topology& topology, const std::vector<std::uint32_t>& ids,
                    const char* key) {
    for (const std::uint32_t id : ids)
        if (!usable(topology, id))
            throw std::runtime_error{fmt::format(
                "dataplane.{}: CPU {} does not exist or may not be used by this process; "
                "remove it, or start with a wider affinity",
                key, id)};
}

/// CPUs in the order in which workers should get them: a thread of each core on `node`, then of
/// other nodes, then the second threads; the cores of `control` last of all.
[[nodiscard]] std::vector<Cpu> by_preference(const Topology& topology, int node,
                                             const std::vector<std::uint32_t>& control) {
    struct Ranked {
        int rank;
        Cpu cpu;
    };
    std::set<std::uint32_t> control_cores;
    for (const Cpu& c : topology.cpus)
        if (std::find(control.begin(), control.end(), c.id) != control.end())
            control_cores.insert(c.core);
    std::set<std::uint32_t> seen;
    std::vector<Ranked> ranked;
    for (const Cpu& c : topology.cpus) {
        int rank = node < 0 || c.node == node ? 0 : 1;
        if (!seen.insert(c.core).second) rank += 2;
        if (control_cores.count(c.core) != 0) rank += 4;
        ranked.push_back({rank, c});
    }
    std::stable_sort(ranked.begin(), ranked.end(),
                     [](const Ranked& a, const Ranked& b) { return a.rank < b.rank; });
    std::vector<Cpu> order;
    for (const Ranked& r : ranked) order.push_back(r.cpu);
    return order;
}

/// Physical cores on `node` that `control` leaves free: what "auto" fills.
[[nodiscard]] std::size_t free_cores(const Topology& topology, int node,
                                     const std::vector<std::uint32_t>& control) {
    std::set<std::uint32_t> cores;
    for (const Cpu& c : topology.cpus)
        if (node < 0 || c.node == node) cores.insert(c.core);
    for (const Cpu& c : topology.cpus)
        if (std::find(control.begin(), control.end(), c.id) != control.end()) cores.erase(c.core);
    return cores.size();
}

}  // namespace

Topology Topology::here() {
    hwloc_topology_t raw = nullptr;
    if (hwloc_topology_init(&raw) != 0) throw std::runtime_error{"hwloc cannot start"};
    const std::unique_ptr<hwloc_topology, DestroyTopology> topology{raw};
    if (hwloc_topology_load(raw) != 0) throw std::runtime_error{"hwloc cannot read the topology"};
    const std::unique_ptr<hwloc_bitmap_s, FreeBitmap> bound{hwloc_bitmap_alloc()};
    const bool limited = hwloc_get_cpubind(raw, bound.get(), HWLOC_CPUBIND_PROCESS) == 0;

    Topology out;
    const int count = hwloc_get_nbobjs_by_type(raw, HWLOC_OBJ_PU);
    for (int i = 0; i < count; ++i) {
        const auto index = static_cast<unsigned>(i);
        const hwloc_obj_t pu = hwloc_get_obj_by_type(raw, HWLOC_OBJ_PU, index);
        if (limited && !hwloc_bitmap_isset(bound.get(), pu->os_index)) continue;
        const hwloc_obj_t core = hwloc_get_ancestor_obj_by_type(raw, HWLOC_OBJ_CORE, pu);
        const int node = pu->nodeset == nullptr ? 0 : hwloc_bitmap_first(pu->nodeset);
        out.cpus.push_back({.id = pu->os_index,
                            .core = core != nullptr ? core->logical_index : index,
                            .node = std::max(node, 0)});
    }
    if (out.cpus.empty()) throw std::runtime_error{"hwloc finds no CPU that may be used"};
    std::sort(out.cpus.begin(), out.cpus.end(),
              [](const Cpu& a, const Cpu& b) { return a.id < b.id; });
    return out;
}

int node_of_pci(const std::string& address) {
    std::ifstream file{"/sys/bus/pci/devices/" + address + "/numa_node"};
    int node = -1;
    if (!(file >> node)) return -1;
    return node;
}

Placement place(const DataplaneConfig& config, const Topology& topology,
                const std::vector<int>& port_nodes) {
    require_usable(topology, config.worker_cores, "worker_cores");
    require_usable(topology, config.control_cores, "control_cores");
    Placement p;
    p.node = config.numa >= 0 ? config.numa : common_node(port_nodes);
    if (p.node >= 0) p.notes.push_back(fmt::format("memory on NUMA node {}", p.node));

    p.control = config.control_cores;
    if (p.control.empty()) {
        for (const Cpu& c : topology.cpus) {
            const auto& taken = config.worker_cores;
            if (std::find(taken.begin(), taken.end(), c.id) != taken.end()) continue;
            p.control = {c.id};
            break;
        }
        if (p.control.empty()) p.control = {topology.cpus.front().id};
    }
    p.workers = config.worker_cores;
    if (p.workers.empty()) {
        const auto order = by_preference(topology, p.node, p.control);
        const std::size_t cores = free_cores(topology, p.node, p.control);
        std::size_t count = config.workers;
        if (count == 0) count = std::clamp<std::size_t>(cores, 1, ct::kMaxWorkers - 1);
        for (std::size_t i = 0; i < count; ++i) p.workers.push_back(order[i % order.size()].id);
        p.notes.push_back(fmt::format(
            "{} worker{} ({}): {} physical core{} free near the ports, hyperthreads left idle",
            count, count == 1 ? "" : "s", config.workers == 0 ? "auto" : "as configured", cores,
            cores == 1 ? " is" : "s are"));
    }
    p.notes.push_back(fmt::format("workers on CPU {}, control on CPU {}", fmt::join(p.workers, " "),
                                  fmt::join(p.control, " ")));

    std::multiset<std::uint32_t> used{p.workers.begin(), p.workers.end()};
    used.insert(p.control.begin(), p.control.end());
    p.crowded = std::any_of(p.workers.begin(), p.workers.end(),
                            [&used](std::uint32_t id) { return used.count(id) > 1; });
    if (p.crowded)
        p.notes.emplace_back("a worker shares its CPU: it yields when it is idle; expect less");
    return p;
}

}  // namespace dp
