// SPDX-License-Identifier: BSD-3-Clause
//
// Packets of established connections, from both directions at random: 64 Ki to 16 Mi flows, all as
// likely or a few popular (Zipf 0.99). The full tracker: windows, counters, time-outs.
#include "bench/load/established.hpp"

#include <fmt/format.h>

#include <array>
#include <vector>

namespace {

using namespace bench;

void hits(Program& program, std::uint32_t flows, bool zipf) {
    const std::string id = fmt::format("hit/{}/{}", flows, zipf ? "zipf0.99" : "uniform");
    if (!program.wants(id, table_and_roof_bytes(flows))) return;
    const Draw draw = zipf ? Draw::zipf(flows, 0.99, 5) : Draw::uniform(flows, 5);
    Established e{flows, draw, {}};
    const RoofShape shape{.graph = RoofShape::Graph::Established, .side_lines = e.side_lines()};
    const RoofContestant roof =
        make_roof(program, memory_like(e.table()), shape, draw, kBurst, Established::kStep);
    const std::array contestants{e.contestant("sluice"), e.filling(), roof.contestant};
    program.measure({.id = id,
                     .group = "established",
                     .title = fmt::format("TCP, {} flows, both directions at random, {}", flows,
                                          zipf ? "Zipf 0.99" : "all as likely"),
                     .params = {{"flows", flows},
                                {"distribution", zipf ? "zipf0.99" : "uniform"},
                                {"burst", kBurst},
                                {"family", "ipv4"},
                                {"proto", "tcp"},
                                {"acct", true},
                                {"pages", e.table().memory().pages}}},
                    contestants,
                    {.roof = 2, .roof_id = roof.id, .overhead = 1, .net_of_overhead = {0}});
    e.check(program, id);
}

void body(Program& program) {
    const Options& o = program.options();
    const std::vector<std::uint32_t> sizes = o.pick<std::vector<std::uint32_t>>(
        {4096}, {65'536, 262'144, 1'000'000}, {65'536, 262'144, 1'000'000, 4'000'000, 16'000'000});
    // Instructions alone: all of it stays in the first-level cache.
    hits(program, 64, false);
    for (const std::uint32_t flows : sizes)
        for (const bool zipf : {false, true})
            if (!zipf || flows != 262'144 || o.effort != Effort::Quick) hits(program, flows, zipf);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_hits", "Packets of established connections.", argc, argv};
    return program.run(body);
}
