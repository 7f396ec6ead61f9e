// SPDX-License-Identifier: BSD-3-Clause
//
// One thing changed at a time, the rest as in table_hits and table_floods: the size of bursts, the
// kind of pages, IPv6, counters and windows, the sweep, limits and other exceptions; and what an
// entry takes of memory.
#include "bench/harness/machine.hpp"
#include "bench/load/established.hpp"
#include "bench/load/flood.hpp"

#include <fmt/format.h>

#include <memory>
#include <stdexcept>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using namespace bench;

constexpr FlowKind kTcp4{};
constexpr FlowKind kTcp6{.family = ct::Family::Ipv6, .proto = ct::ipproto::kTcp};
constexpr FlowKind kUdp4{.family = ct::Family::Ipv4, .proto = ct::ipproto::kUdp};

/// Flows of the cases here.
std::uint32_t size_of(const Program& program) {
    return program.options().pick<std::uint32_t>(4096, 1U << 20, 1U << 20);
}

CaseInfo info_of(const std::string& id, const char* group, std::string title, std::uint32_t flows) {
    return {.id = id,
            .group = group,
            .title = std::move(title),
            .params = {{"flows", flows}, {"overflow", name_of(table_settings(flows).overflow)}}};
}

/// Every burst size on one and the same table.
void bursts(Program& program) {
    const std::uint32_t flows = size_of(program);
    const std::string id = fmt::format("burst/hit/{}", flows);
    constexpr std::array kSizes{1U, 2U, 4U, 8U, 16U, 32U, 64U};
    if (program.wants(id, table_and_roof_bytes(flows))) {
        const Draw draw = Draw::uniform(flows, 5);
        Established e{flows, draw, {.kind = kTcp4}};
        const auto memory = memory_like(e.table());
        std::vector<Contestant> all;
        for (const std::uint32_t size : kSizes)
            all.push_back(e.contestant(fmt::format("sluice, burst {}", size), size));
        for (const std::uint32_t size : kSizes) {
            RoofContestant roof = make_roof(
                program, memory,
                {.graph = RoofShape::Graph::Established, .side_lines = e.side_lines()}, draw, size);
            roof.contestant.name += fmt::format(", burst {}", size);
            all.push_back(std::move(roof.contestant));
        }
        program.measure(info_of(id, "burst", fmt::format("hits, {} flows, by burst", flows), flows),
                        all);
        e.check(program, id);
    }
    const std::string full_id = fmt::format("burst/full/{}", flows);
    if (!program.wants(full_id, table_and_roof_bytes(flows))) return;
    FullFlood f{flows, {.kind = kTcp4}};
    std::vector<Contestant> all;
    for (const std::uint32_t size : kSizes)
        all.push_back(f.contestant(fmt::format("sluice, burst {}", size), size));
    program.measure(info_of(full_id, "burst",
                            fmt::format("SYN flood on a full table of {}, by burst", flows), flows),
                    all);
    f.check(program, full_id);
}

/// All pages of 1 GiB that are free: what is allocated meanwhile stands on smaller ones.
std::vector<ct::Region> rest_of_1g_pages() {
    constexpr std::size_t kPage = std::size_t{1} << 30;
    std::vector<ct::Region> held;
    while (free_1g_pages() != 0) {
        ct::Region page{kPage, ct::Region::Touch::Now};
        if (page.pages() != ct::Pages::Huge1G) break;
        held.push_back(std::move(page));
    }
    return held;
}

/// A table on pages of 4 KiB, one on pages of 2 MiB, and one on pages of 1 GiB where somebody has
/// reserved enough: then the tables are so large that the entries fill one.
void pages(Program& program) {
    constexpr std::uint32_t kFillsOne = 6'000'000;  // entries of three lines
    constexpr std::size_t kNeeded = 4;              // for the entries two, and for the roofline's
    const Options& o = program.options();
    const bool huge = o.effort == Effort::Normal && free_1g_pages() >= kNeeded;
    const std::uint32_t flows = huge ? kFillsOne : size_of(program);
    const std::string id = fmt::format("pages/hit/{}", flows);
    if (!program.wants(id, 3 * table_and_roof_bytes(flows))) return;
    if (!huge)
        program.note(
            fmt::format("{}: pages of 1 GiB left out: {} are free, a full run takes {} "
                        "(/sys/kernel/mm/hugepages/hugepages-1048576kB/nr_hugepages)",
                        id, free_1g_pages(), kNeeded));
    const Draw draw = Draw::uniform(flows, 5);
    struct OnPages {
        std::unique_ptr<Established> table;
        RoofContestant roof;
    };
    std::vector<OnPages> made;
    const auto make = [&] {
        auto e = std::make_unique<Established>(flows, draw, Established::Setup{.kind = kTcp4});
        const RoofShape shape{.graph = RoofShape::Graph::Established,
                              .side_lines = e->side_lines()};
        RoofContestant roof = make_roof(program, memory_like(e->table()), shape, draw, kBurst);
        made.push_back({std::move(e), std::move(roof)});
    };
    std::vector<const char*> names;
    if (huge) {
        choose_pages(PageKind::Huge1G);
        const std::size_t before = free_1g_pages();
        make();
        names.push_back("1 GiB");
        program.gate(before - free_1g_pages() == kNeeded,
                     fmt::format("{}: {} pages of 1 GiB are in use, not {}", id,
                                 before - free_1g_pages(), kNeeded));
        program.note(
            fmt::format("{}: 1 GiB: the entries; the index fills none and is on 2 MiB", id));
    }
    const std::vector<ct::Region> held = rest_of_1g_pages();
    choose_pages(PageKind::Huge2M);
    make();
    names.push_back("2 MiB");
    try {
        choose_pages(PageKind::Normal);
        make();
        names.push_back("4 KiB");
    } catch (const std::runtime_error& e) {
        program.note(fmt::format("{}: pages of 4 KiB left out: {}", id, e.what()));
    }
    choose_pages(o.pages);
    if (made.size() > 1) {
        std::vector<Contestant> all;
        for (std::size_t k = 0; k < made.size(); ++k)
            all.push_back(made[k].table->contestant(fmt::format("sluice, {}", names[k])));
        for (std::size_t k = 0; k < made.size(); ++k) {
            made[k].roof.contestant.name += fmt::format(", {}", names[k]);
            all.push_back(made[k].roof.contestant);
        }
        program.measure(info_of(id, "pages", fmt::format("hits, {} flows, by page", flows), flows),
                        all);
        program.note(
            fmt::format("{}: {:.0f} % of the memory in use stood on transparent huge pages", id,
                        100 * huge_share()));
    }
    for (const OnPages& p : made) p.table->check(program, id);
}

/// IPv6 may cost twice what IPv4 does, and no more.
void families(Program& program) {
    const std::uint32_t flows = size_of(program);
    const auto id_of = [&](const char* what) { return fmt::format("family/{}/{}", what, flows); };
    if (program.wants(id_of("hit"), 2 * table_and_roof_bytes(flows))) {
        const Draw draw = Draw::uniform(flows, 5);
        Established four{flows, draw, {.kind = kTcp4}};
        Established six{flows, draw, {.kind = kTcp6}};
        const std::array all{four.contestant("sluice, IPv4"), six.contestant("sluice, IPv6")};
        program.measure(
            info_of(id_of("hit"), "family", fmt::format("hits, {} flows", flows), flows), all);
        four.check(program, id_of("hit"));
        six.check(program, id_of("hit"));
    }
    const auto floods = [&]<class Flood>(const char* what, const char* title) {
        const std::string id = id_of(what);
        if (!program.wants(id, 2 * table_and_roof_bytes(flows))) return;
        Flood four{flows, {.kind = kTcp4}};
        Flood six{flows, {.kind = kTcp6}};
        const std::array all{four.contestant("sluice, IPv4"), six.contestant("sluice, IPv6")};
        program.measure(info_of(id, "family", fmt::format("{}, {} entries", title, flows), flows),
                        all);
        four.check(program, id);
        six.check(program, id);
    };
    floods.template operator()<InsertFlood>("insert", "SYN flood into a table");
    floods.template operator()<FullFlood>("full", "SYN flood on a full table");
}

/// What windows and counters cost: TCP has both, or windows alone; UDP has counters alone, or
/// neither.
void tracking(Program& program) {
    const std::uint32_t flows = size_of(program);
    const std::string id = fmt::format("tracking/hit/{}", flows);
    if (!program.wants(id, 4 * table_and_roof_bytes(flows) / 2)) return;
    const Draw draw = Draw::uniform(flows, 5);
    Established both{flows, draw, {.kind = kTcp4}};
    Established windows{flows, draw, {.kind = kTcp4, .acct = false}};
    Established counters{flows, draw, {.kind = kUdp4}};
    Established neither{flows, draw, {.kind = kUdp4, .acct = false}};
    const std::array all{both.contestant("windows and counters"), windows.contestant("windows"),
                         counters.contestant("counters"), neither.contestant("neither")};
    const auto slices = run_slices(all, program.options());
    const CaseInfo info = info_of(
        id, "tracking", fmt::format("hits, {} flows: TCP with windows, UDP without", flows), flows);
    std::vector<Result> rows;
    for (std::size_t c = 0; c < all.size(); ++c)
        rows.push_back({.info = info, .contestant = all[c].name, .value = summarize(slices[c])});
    std::vector<double> difference = slices[0];
    for (std::size_t s = 0; s < difference.size(); ++s) difference[s] -= slices[3][s];
    rows.push_back({.info = info,
                    .contestant = "cost of windows and counters",
                    .value = summarize(difference)});
    program.add(std::move(rows));
    for (Established* e : {&both, &windows, &counters, &neither}) e->check(program, id);
}

/// The sweep for expired entries running, as it always is, or not.
void sweep(Program& program) {
    const std::uint32_t flows = size_of(program);
    const std::string id = fmt::format("sweep/hit/{}", flows);
    if (!program.wants(id, table_and_roof_bytes(flows))) return;
    Established e{flows, Draw::uniform(flows, 5), {.kind = kTcp4}};
    const std::array all{e.contestant("sluice, sweeping", kBurst, true),
                         e.contestant("sluice, not sweeping", kBurst, false)};
    program.measure(info_of(id, "sweep", fmt::format("hits, {} flows", flows), flows), all);
    e.check(program, id);
}

/// What the exceptions cost those who keep to them: limits of a source's entries and rate, room
/// that is reserved for a prefix, time-outs that shrink with the room, a minimum of life. Newcomers
/// come from 65,536 sources in turn, so that what is kept of a source is not at hand; nobody is
/// refused. On the full table the clock goes slower: entries live a second and a half, the minimum
/// is one.
void limits(Program& program) {
    const std::uint32_t max = program.options().pick<std::uint32_t>(8192, 1U << 18, 1U << 20);
    constexpr std::uint32_t kPlenty = 100'000;  // of entries, a second, or at once
    struct Exception {
        const char* name;
        void (*set)(ct::Room&);
        bool of_victims = false;  ///< costs nothing while there is room
    };
    constexpr std::array kExceptions{
        Exception{"no exception", [](ct::Room&) {}},
        Exception{"entries of a source", [](ct::Room& r) { r.per_source.max_entries = kPlenty; }},
        Exception{"rate of a source",
                  [](ct::Room& r) {
                      r.per_source.new_per_second = kPlenty;
                      r.per_source.burst = kPlenty;
                  }},
        Exception{"reserve",
                  [](ct::Room& r) {
                      // 203.0.113.0/24, from where nothing comes.
                      r.reserve = {
                          {{ct::Addr::v4(ct::Be32::from_host(0xcb00'7100)), 24, ct::Family::Ipv4},
                           32}};
                  }},
        Exception{"adaptive time-outs",
                  [](ct::Room& r) {
                      r.adaptive = {50, 200};
                  }},
        Exception{"minimum of life", [](ct::Room& r) { r.min_life = 1; }, true}};
    const auto measure = [&]<class Flood>(const char* what, std::string title, FloodSetup setup) {
        const std::string id = fmt::format("limits/{}/{}", what, max);
        if (!program.wants(id, 6 * table_and_roof_bytes(max))) return;
        setup.flow_order.log2_sources = 16;
        std::vector<std::unique_ptr<Flood>> floods;
        std::vector<Contestant> all;
        for (const Exception& e : kExceptions) {
            if (e.of_victims && std::is_same_v<Flood, InsertFlood>) continue;
            setup.room = {};
            e.set(setup.room);
            floods.push_back(std::make_unique<Flood>(max, setup));
            all.push_back(floods.back()->contestant(fmt::format("sluice, {}", e.name)));
        }
        program.measure(info_of(id, "limits", std::move(title), max), all);
        for (const auto& f : floods) f->check(program, id);
    };
    measure.template operator()<InsertFlood>(
        "insert", fmt::format("SYN flood of 65,536 sources into a table of {}", max), {.kind = {}});
    measure.template operator()<FullFlood>(
        "full", fmt::format("SYN flood of 65,536 sources on a full table of {}", max),
        {.kind = {}, .nanos_per_packet = 3 * ct::kNanosPerSecond / (2 * std::uint64_t{max})});
}

/// Bytes an entry: what the table says, and what the process grew by.
void memory(Program& program, const char* family, FlowKind kind) {
    const std::uint32_t flows = size_of(program);
    const std::string id = fmt::format("memory/{}/{}", family, flows);
    if (!program.wants(id, table_and_roof_bytes(flows))) return;
    const std::size_t before = resident_bytes();
    Established e{flows, Draw::uniform(flows, 5), {.kind = kind}};
    const auto per_entry = [&](std::size_t bytes) {
        return static_cast<double>(bytes) / static_cast<double>(flows);
    };
    const std::size_t after = resident_bytes();
    const CaseInfo info =
        info_of(id, "memory", fmt::format("a table full of {} flows, {}", flows, family), flows);
    const auto row = [&](const char* name, std::size_t bytes) {
        return Result{.info = info,
                      .contestant = name,
                      .unit = "bytes/entry",
                      .value = summarize({per_entry(bytes)})};
    };
    const ct::MemoryReport memory = e.table().memory();
    const std::size_t ipv6 = kind.family == ct::Family::Ipv6 ? memory.ipv6_bytes : 0;
    program.add({row("index and entries", memory.index_and_entries_bytes + ipv6),
                 row("with all rings of victims", memory.total_bytes + ipv6),
                 row("growth of the process", after - std::min(before, after))});
    e.check(program, id);
}

void body(Program& program) {
    memory(program, "ipv4", kTcp4);  // first: memory given back and taken again does not show
    memory(program, "ipv6", kTcp6);
    tracking(program);
    bursts(program);
    families(program);
    sweep(program);
    limits(program);
    pages(program);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_variants", "The tracker with one thing changed at a time.", argc, argv};
    return program.run(body);
}
