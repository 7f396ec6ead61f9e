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
    return {{"max", max},
            {"burst", kBurst},
            {"family", "ipv4"},
            {"proto", "tcp"},
            {"acct", true},
            {"overflow", name_of(table_settings(max).overflow)},
            {"snat_addresses", addresses}};
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

constexpr std::uint32_t kPorts = 64'512;  ///< 1024 .. 65535

/// Flows to one server, which one external address has to be enough for.
class OneServer {
public:
    OneServer(std::uint32_t max, nat::Mapping mapping)
        : table_{table_settings(max), 1, kHashSeed},
          snat_{table_, 1, 1, {.mapping = mapping}},
          tracker_{table_, 0, {}, &snat_} {}

    void burst() {
        std::array<ct::Packet, kBurst> burst;
        // Every 4096th flow goes to the same server; the clients' ports say nothing of the choice.
        for (ct::Packet& p : burst) tracker_.maker.open(p, take_number() * FlowNumbers::kServers);
        tracker_.run(burst);
        for (const ct::Packet& p : burst) refused_ += static_cast<std::uint64_t>(!p.alive());
    }
    void fill(std::uint32_t flows) {
        while (next_ < flows) burst();
        begin_ = next_;
        came_ = refused_ = 0;
    }
    [[nodiscard]] Contestant contestant() {
        return {.name = "sluice",
                .step =
                    [this] {
                        constexpr std::uint32_t kStep = 1024;
                        for (std::uint32_t k = 0; k < kStep; k += kBurst) burst();
                        return std::uint64_t{kStep};
                    },
                .prepare = {}};
    }
    /// Of those since fill().
    [[nodiscard]] std::uint64_t refused() const noexcept { return refused_; }
    [[nodiscard]] std::uint64_t came() const noexcept { return came_; }
    [[nodiscard]] std::string bad_mappings() const {
        return bench::bad_mappings(table_, tracker_.now);
    }
    [[nodiscard]] std::uint32_t count() const noexcept { return table_.count(); }

private:
    /// There are 2^20 of them; those of fill() come once.
    std::uint32_t take_number() noexcept {
        constexpr std::uint32_t kNumbers = (std::uint64_t{1} << 32) / FlowNumbers::kServers;
        ++came_;
        const std::uint32_t taken = next_++;
        if (next_ == kNumbers) next_ = begin_;
        return taken;
    }

    ct::Conntrack table_;
    Snat snat_;
    Tracker tracker_;
    std::uint32_t next_ = 0;
    std::uint32_t begin_ = 0;
    std::uint64_t came_ = 0;
    std::uint64_t refused_ = 0;
};

/// The given share of the ports, in thousandths, is in use while flows come, the oldest going.
void tight(Program& program, unsigned permille, nat::Mapping mapping) {
    const bool independent = mapping == nat::Mapping::EndpointIndependent;
    const std::string id =
        fmt::format("snat/{}/{}", independent ? "mappings" : "ports", permille / 10.0);
    if (!program.wants(id)) return;
    const std::uint32_t max = kPorts * permille / 1000;
    OneServer flows{max, mapping};
    flows.fill(2 * max);
    const std::array contestants{flows.contestant()};
    auto p = params(max, 1);
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
    program.gate_empty(flows.bad_mappings(), id);
    program.gate(flows.refused() == 0,
                 fmt::format("{}: {} refused although ports were free", id, flows.refused()));
}

/// No port is left, and the table has room: each flow is refused.
void used_up(Program& program) {
    const std::string id = "snat/used-up";
    if (!program.wants(id)) return;
    constexpr std::uint32_t kMax = 262'144;
    OneServer flows{kMax, nat::Mapping::EndpointDependent};
    flows.fill(100'000);
    const std::array contestants{flows.contestant(), flood_filling({}, Frames::Yes)};
    program.measure({.id = id,
                     .group = "snat ports",
                     .title = "SYN flood to one server by one address, no port left",
                     .params = params(kMax, 1)},
                    contestants, {.roof_id = {}, .overhead = 1, .net_of_overhead = {0}});
    program.gate_empty(flows.bad_mappings(), id);
    program.gate(flows.count() == kPorts && flows.refused() == flows.came(),
                 fmt::format("{}: {} of {} refused, {} entries", id, flows.refused(), flows.came(),
                             flows.count()));
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
    used_up(program);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_nat", "Source NAT on top of the tracker.", argc, argv};
    return program.run(body);
}
