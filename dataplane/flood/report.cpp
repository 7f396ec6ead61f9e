// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/flood/report.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstdio>
#include <fstream>
#include <sstream>

namespace dp::flood {

namespace {

double rate(std::uint64_t before, std::uint64_t now, double seconds) {
    return seconds > 0 ? static_cast<double>(now - before) / seconds : 0;
}

double percent(std::uint64_t part, std::uint64_t whole) {
    return whole == 0 ? 0 : 100.0 * static_cast<double>(part) / static_cast<double>(whole);
}

double mpps(const Result& r) {
    return dp::flood::mpps(r.begin, r.end);
}

/// Of one worker's time, waiting included: the whole loop, generator and all.
double ns_per_packet(const Result& r) {
    const double per_worker = mpps(r) / r.workers;
    return per_worker > 0 ? 1000 / per_worker : 0;
}

}  // namespace

double mpps(const Sample& before, const Sample& now) {
    return rate(before.packets.rx_packets, now.packets.rx_packets, now.seconds - before.seconds) /
           1e6;
}

GeneratorTotals totals_of(std::span<const std::unique_ptr<Generator>> generators) {
    GeneratorTotals t;
    for (const auto& g : generators) {
        t.flood_sent += g->flood_sent.get();
        t.flood_passed += g->flood_passed.get();
        t.established_sent += g->established_sent.get();
        t.established_passed += g->established_passed.get();
        t.legit_attempts += g->legit_attempts.get();
        t.legit_established += g->legit_established.get();
        t.legit_completed += g->legit_completed.get();
    }
    return t;
}

void LiveView::show(const Sample& before, const Sample& now, std::uint32_t table_max) {
    const double seconds = now.seconds - before.seconds;
    const double rx = mpps(before, now);
    const double tx = rate(before.packets.tx_packets, now.packets.tx_packets, seconds) / 1e6;
    const double dropped = rate(before.packets.dropped(), now.packets.dropped(), seconds) / 1e6;
    const double inserted = rate(before.conntrack.opened, now.conntrack.opened, seconds) / 1e6;
    const double evicted =
        rate(before.conntrack.early_drop, now.conntrack.early_drop, seconds) / 1e6;
    const GeneratorTotals& g = now.generators;
    if (table_max == 0) {  // a gateway elsewhere: what it holds is not known here
        fmt::print(
            "{:5.1f} s  sent {:6.2f} Mpps  came back {:6.2f} Mpps  established {}/{}  legit "
            "{}/{}\n",
            now.seconds, tx, rx, g.established_passed, g.established_sent, g.legit_completed,
            g.legit_attempts);
        std::fflush(stdout);
        return;
    }
    if (!terminal_) {
        fmt::print(
            "{:5.1f} s  rx {:6.2f} Mpps  tx {:6.2f}  drop {:5.2f}  table {}/{}  new {:5.2f} M/s"
            "  evicted {:5.2f} M/s  legit {}/{}\n",
            now.seconds, rx, tx, dropped, now.table_entries, table_max, inserted, evicted,
            g.legit_completed, g.legit_attempts);
        std::fflush(stdout);
        return;
    }
    constexpr int kBar = 40;
    const auto filled = static_cast<int>(std::uint64_t{now.table_entries} * kBar / table_max);
    if (drawn_) fmt::print("\033[5A");
    drawn_ = true;
    fmt::print("\033[K  {:5.1f} s   rx {:6.2f} Mpps   tx {:6.2f} Mpps   dropped {:6.2f} Mpps\n",
               now.seconds, rx, tx, dropped);
    fmt::print("\033[K  table        [{:#<{}}{:.<{}}] {} of {}\n", "", filled, "", kBar - filled,
               now.table_entries, table_max);
    fmt::print("\033[K  new          {:6.2f} M/s   evicted {:6.2f} M/s (oldest embryonic first)\n",
               inserted, evicted);
    fmt::print("\033[K  established  {} packets sent, {} passed\n", g.established_sent,
               g.established_passed);
    fmt::print("\033[K  legitimate   {} begun, {} handshakes, {} completed\n", g.legit_attempts,
               g.legit_established, g.legit_completed);
    std::fflush(stdout);
}

std::string summary(const Result& r) {
    std::ostringstream out;
    const auto line = [&](std::string_view label, const std::string& text) {
        out << fmt::format("  {:<22}{}\n", label, text);
    };
    const double seconds = r.end.seconds - r.begin.seconds;
    const GeneratorTotals& g = r.generators;
    const auto connections = [&] {
        line("flood", fmt::format("{} SYNs sent, {} forwarded", g.flood_sent, g.flood_passed));
        line("established",
             fmt::format("{} before the flood, {} lost; {} of their {} packets forwarded",
                         r.established_before, r.established_lost, g.established_passed,
                         g.established_sent));
        line("legitimate", fmt::format("{} attempts, {} handshakes, {} completed ({:.2f} %)",
                                       g.legit_attempts, g.legit_established, g.legit_completed,
                                       percent(g.legit_completed, g.legit_attempts)));
    };
    out << fmt::format("\nsluice-flood: {:.1f} s, {} worker{}, {}, {}\n", seconds, r.workers,
                       r.workers == 1 ? "" : "s", r.mode, r.cpu);
    if (!r.in_process) {
        line(
            "sent",
            fmt::format("{} packets, {:.3f} Mpps", r.total.tx_packets,
                        rate(r.begin.packets.tx_packets, r.end.packets.tx_packets, seconds) / 1e6));
        line("came back", fmt::format("{} packets", r.total.rx_packets));
        connections();
        return out.str();
    }
    line("throughput",
         fmt::format("{:.2f} Mpps in all, {:.1f} ns a packet and worker, generator included",
                     mpps(r), ns_per_packet(r)));
    line("table",
         fmt::format("{} of {} entries at the most ({:.1f} %), policy {}, {:.0f} MiB on {} pages",
                     r.table_peak, r.table_max, percent(r.table_peak, r.table_max), r.policy,
                     static_cast<double>(r.table_bytes) / 1048576, r.pages));
    line("connections",
         fmt::format("{} opened, {} evicted, {} expired, {} ended", r.end.conntrack.opened,
                     r.end.conntrack.early_drop, r.end.conntrack.expired, r.end.conntrack.deleted));
    connections();
    out << "  packets\n";
    out << fmt::format("    {:<24}{:>14}\n", "in", r.total.rx_packets);
    if (r.total.local_made != 0)
        out << fmt::format("    {:<24}{:>14}\n", "made here", r.total.local_made);
    out << fmt::format("    {:<24}{:>14}\n", "out", r.total.tx_packets);
    for (std::size_t i = 1; i < ct::kDropCount; ++i)
        if (r.total.drops[i] != 0)
            out << fmt::format("    {:<24}{:>14}  {}\n", fmt::format("drop {}", ct::kDrops[i].name),
                               r.total.drops[i], ct::kDrops[i].help);
    if (r.total.held() != 0) out << fmt::format("    {:<24}{:>14}\n", "held", r.total.held());
    out << fmt::format("    in {} made = out {} drops{}: {}\n", "+", "+",
                       r.total.held() != 0 ? " + held" : "",
                       r.total.balanced() ? "balanced" : "NOT BALANCED");
    line("buffers", r.buffers_returned ? "all returned" : "NOT ALL RETURNED");
    return out.str();
}

bool sound(const Result& r) {
    return (!r.in_process || r.total.balanced()) && r.buffers_returned;
}

std::string json(const Result& r) {
    nlohmann::ordered_json drops = nlohmann::ordered_json::object();
    for (std::size_t i = 1; i < ct::kDropCount; ++i)
        if (r.total.drops[i] != 0) drops[std::string{ct::kDrops[i].name}] = r.total.drops[i];
    const GeneratorTotals& g = r.generators;
    const nlohmann::ordered_json doc{{"seconds", r.end.seconds - r.begin.seconds},
                                     {"workers", r.workers},
                                     {"mode", r.mode},
                                     {"cpu", r.cpu},
                                     {"policy", r.policy},
                                     {"rx_packets", r.total.rx_packets},
                                     {"tx_packets", r.total.tx_packets},
                                     {"local_made", r.total.local_made},
                                     {"held", r.total.held()},
                                     {"drops", drops},
                                     {"balanced", !r.in_process || r.total.balanced()},
                                     {"buffers_returned", r.buffers_returned},
                                     {"mpps", mpps(r)},
                                     {"mpps_samples", r.mpps},
                                     {"ns_per_packet", ns_per_packet(r)},
                                     {"worker_busy", r.worker_busy},
                                     {"table_max", r.table_max},
                                     {"table_entries", r.end.table_entries},
                                     {"table_peak", r.table_peak},
                                     {"inserts", r.end.conntrack.opened},
                                     {"early_drops", r.end.conntrack.early_drop},
                                     {"assured_evicted", r.end.conntrack.assured_evicted},
                                     {"flood_sent", g.flood_sent},
                                     {"flood_passed", g.flood_passed},
                                     {"established_before", r.established_before},
                                     {"established_lost", r.established_lost},
                                     {"established_sent", g.established_sent},
                                     {"established_passed", g.established_passed},
                                     {"legit_attempts", g.legit_attempts},
                                     {"legit_established", g.legit_established},
                                     {"legit_completed", g.legit_completed},
                                     {"rss_bytes", r.rss_bytes},
                                     {"table_bytes", r.table_bytes},
                                     {"pages", r.pages}};
    return doc.dump(2) + "\n";
}

std::uint64_t resident_bytes() {
    std::ifstream in{"/proc/self/smaps_rollup"};
    std::uint64_t kib = 0;
    for (std::string line; std::getline(in, line);) {
        std::istringstream words{line};
        std::string key;
        std::uint64_t value = 0;
        words >> key >> value;
        if (key == "Rss:" || key == "Private_Hugetlb:" || key == "Shared_Hugetlb:") kib += value;
    }
    return kib * 1024;
}

std::string cpu_name() {
    std::ifstream in{"/proc/cpuinfo"};
    for (std::string line; std::getline(in, line);)
        if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
    return "unknown CPU";
}

}  // namespace dp::flood
