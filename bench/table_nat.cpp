// SPDX-License-Identifier: BSD-3-Clause
//
// The same with source NAT: tracker, choice of a mapping, rewriting of headers and checksums, as
// the pipeline composes them. Flows to 4096 servers share 64 external addresses; and, with the
// ports of one address towards one server nearly used up, what the search for a free one costs.
#include "bench/load/established.hpp"
#include "bench/load/flood.hpp"

#include <fmt/format.h>

#include <array>
#include <vector>

namespace {

using namespace bench;
using Graph = RoofShape::Graph;

constexpr std::uint8_t kAddresses = 64;

nlohmann::ordered_json params(std::uint32_t max) {
    return {{"max", max},     {"burst", kBurst}, {"family", "ipv4"},
            {"proto", "tcp"}, {"acct", true},    {"snat_addresses", kAddresses}};
}

void hits(Program& program, std::uint32_t flows) {
    const std::string id = fmt::format("snat/hit/{}", flows);
    if (!program.wants(id, table_and_roof_bytes(flows))) return;
    const Draw draw = Draw::uniform(flows, 5);
    Established e{flows, draw, {.kind = {}, .snat = kAddresses, .originals = true}};
    const RoofContestant roof =
        make_roof(program, memory_like(e.table()),
                  {.graph = Graph::Established, .side_lines = e.side_lines()}, draw, kBurst);
    const std::array contestants{e.contestant("sluice"), e.filling(), roof.contestant};
    program.measure({.id = id,
                     .group = "snat",
                     .title = fmt::format("established, {} flows, original direction", flows),
                     .params = params(flows)},
                    contestants,
                    {.roof = 2, .roof_id = roof.id, .overhead = 1, .net_of_overhead = {0}});
    e.check(program, id);
}

template <class Flood>
void flood(Program& program, const char* what, Graph graph, std::uint32_t max) {
    const std::string id = fmt::format("snat/{}/{}", what, max);
    if (!program.wants(id, table_and_roof_bytes(max))) return;
    Flood f{max, {.kind = {}, .snat = kAddresses}};
    const RoofContestant roof =
        make_roof(program, memory_like(f.table()),
                  {.graph = graph, .index_lines = 2, .side_lines = side_lines_of(f.table())},
                  Draw::uniform(max, 1), kBurst);
    const std::array contestants{f.contestant("sluice"), flood_filling({}, Frames::Yes),
                                 roof.contestant};
    program.measure({.id = id,
                     .group = "snat",
                     .title = fmt::format("SYN flood, {}, table of {}", what, max),
                     .params = params(max)},
                    contestants,
                    {.roof = 2, .roof_id = roof.id, .overhead = 1, .net_of_overhead = {0}});
    f.check(program, id);
}

/// One external address, one server: 64,512 ports, of which the given share is in use while flows
/// come, the oldest going.
void tight(Program& program, unsigned percent) {
    const std::string id = fmt::format("snat/ports/{}", percent);
    if (!program.wants(id)) return;
    constexpr std::uint32_t kPorts = 64'512;  // 1024 .. 65535
    const std::uint32_t max = kPorts * percent / 100;
    ct::Conntrack table{table_settings(max), 1, kHashSeed};
    Snat snat{table, 1};
    Tracker tracker{table, 0, {}, &snat};
    std::uint32_t next = 0;
    std::uint64_t refused = 0;
    const auto burst_of_one_server = [&] {
        std::array<ct::Packet, kBurst> burst;
        // Every 4096th flow goes to the same server; the clients' ports say nothing of the choice.
        for (ct::Packet& p : burst) tracker.maker.open(p, next++ * FlowNumbers::kServers);
        tracker.run(burst);
        for (const ct::Packet& p : burst) refused += static_cast<std::uint64_t>(!p.alive());
    };
    while (next < 2 * max) burst_of_one_server();
    refused = 0;
    constexpr std::uint32_t kStep = 1024;
    const std::array contestants{Contestant{.name = "sluice",
                                            .step =
                                                [&] {
                                                    for (std::uint32_t k = 0; k < kStep;
                                                         k += kBurst)
                                                        burst_of_one_server();
                                                    return std::uint64_t{kStep};
                                                },
                                            .prepare = {}}};
    auto p = params(max);
    p["ports_in_use_percent"] = percent;
    program.measure(
        {.id = id,
         .group = "snat ports",
         .title = fmt::format("SYN flood to one server by one address, {} % of its ports in use",
                              percent),
         .params = p},
        contestants);
    program.gate_empty(bad_mappings(table, tracker.now), id);
    program.gate(refused == 0, fmt::format("{}: {} refused although ports were free", id, refused));
}

void body(Program& program) {
    const Options& o = program.options();
    const auto max = o.pick<std::uint32_t>(8192, 1U << 20, 1U << 20);
    hits(program, max);
    flood<InsertFlood>(program, "insert", Graph::Insert, max);
    flood<FullFlood>(program, "full", Graph::Evict, max);
    for (const unsigned percent : {50U, 95U}) tight(program, percent);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_nat", "Source NAT on top of the tracker.", argc, argv};
    return program.run(body);
}
