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

nlohmann::ordered_json params(std::uint32_t max, std::uint8_t addresses = kAddresses) {
    return {{"max", max},     {"burst", kBurst}, {"family", "ipv4"},
            {"proto", "tcp"}, {"acct", true},    {"snat_addresses", addresses}};
}

/// The first part of a case's name.
const char* group_of(std::uint8_t addresses) {
    return addresses == 0 ? "plain" : "snat";
}

void hits(Program& program, std::uint32_t flows, std::uint8_t addresses) {
    const std::string id = fmt::format("{}/hit/{}", group_of(addresses), flows);
    if (!program.wants(id, table_and_roof_bytes(flows))) return;
    const Draw draw = Draw::uniform(flows, 5);
    Established e{flows, draw, {.kind = {}, .snat = addresses, .originals = true}};
    const RoofContestant roof =
        make_roof(program, memory_like(e.table()),
                  {.graph = Graph::Established, .side_lines = e.side_lines()}, draw, kBurst);
    const std::array contestants{e.contestant("sluice"), e.filling(), roof.contestant};
    program.measure({.id = id,
                     .group = group_of(addresses),
                     .title = fmt::format("established, {} flows, original direction", flows),
                     .params = params(flows, addresses)},
                    contestants,
                    {.roof = 2, .roof_id = roof.id, .overhead = 1, .net_of_overhead = {0}});
    e.check(program, id);
}

template <class Flood>
void flood(Program& program, const char* what, Graph graph, std::uint32_t max,
           std::uint8_t addresses) {
    const std::string id = fmt::format("{}/{}/{}", group_of(addresses), what, max);
    if (!program.wants(id, table_and_roof_bytes(max))) return;
    Flood f{max, {.kind = {}, .snat = addresses}};
    const RoofContestant roof = make_roof(program, memory_like(f.table()),
                                          {.graph = graph,
                                           .index_lines = addresses == 0 ? 1U : 2U,
                                           .side_lines = side_lines_of(f.table())},
                                          Draw::uniform(max, 1), kBurst);
    const std::array contestants{f.contestant("sluice"),
                                 flood_filling({}, addresses == 0 ? Frames::No : Frames::Yes),
                                 roof.contestant};
    program.measure({.id = id,
                     .group = group_of(addresses),
                     .title = fmt::format("SYN flood, {}, table of {}", what, max),
                     .params = params(max, addresses)},
                    contestants,
                    {.roof = 2, .roof_id = roof.id, .overhead = 1, .net_of_overhead = {0}});
    f.check(program, id);
}

/// One external address, one server: 64,512 ports, of which the given share, in thousandths, is in
/// use while flows come, the oldest going.
void tight(Program& program, unsigned permille, nat::Mapping mapping) {
    const bool independent = mapping == nat::Mapping::EndpointIndependent;
    const std::string id =
        fmt::format("snat/{}/{}", independent ? "mappings" : "ports", permille / 10.0);
    if (!program.wants(id)) return;
    constexpr std::uint32_t kPorts = 64'512;  // 1024 .. 65535
    const std::uint32_t max = kPorts * permille / 1000;
    ct::Conntrack table{table_settings(max), 1, kHashSeed};
    nat::Behaviour behaviour;
    behaviour.mapping = mapping;
    Snat snat{table, 1, 1, behaviour};
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
    p["ports_in_use_percent"] = permille / 10.0;
    p["mapping"] = independent ? "endpoint-independent" : "endpoint-dependent";
    program.measure(
        {.id = id,
         .group = "snat ports",
         .title = fmt::format(
             "SYN flood to one server by one address, {} % of its ports in use, {}",
             permille / 10.0, independent ? "endpoint-independent" : "endpoint-dependent"),
         .params = p},
        contestants);
    program.gate_empty(bad_mappings(table, tracker.now), id);
    program.gate(refused == 0, fmt::format("{}: {} refused although ports were free", id, refused));
}

void body(Program& program) {
    const Options& o = program.options();
    const auto max = o.pick<std::uint32_t>(8192, 1U << 20, 1U << 20);
    for (const std::uint8_t addresses : {std::uint8_t{0}, kAddresses}) {
        hits(program, max, addresses);
        flood<InsertFlood>(program, "insert", Graph::Insert, max, addresses);
        flood<FullFlood>(program, "full", Graph::Evict, max, addresses);
    }
    for (const nat::Mapping mapping :
         {nat::Mapping::EndpointDependent, nat::Mapping::EndpointIndependent})
        for (const unsigned permille : {500U, 950U, 999U}) tight(program, permille, mapping);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_nat", "Source NAT on top of the tracker.", argc, argv};
    return program.run(body);
}
