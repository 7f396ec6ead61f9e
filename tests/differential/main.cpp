// SPDX-License-Identifier: BSD-3-Clause
//
// The differential tester: the same packets through the running kernel and through Sluice, and what
// differs.
#include "tests/differential/children.hpp"
#include "tests/differential/compare.hpp"
#include "tests/differential/generator.hpp"
#include "tests/differential/runner.hpp"
#include "tests/differential/shrink.hpp"
#include "tests/differential/sluice.hpp"
#include "tests/differential/table_limit.hpp"
#include "tests/differential/trace_file.hpp"
#include "tests/differential/world.hpp"

#include <CLI/CLI.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <optional>

namespace {

using namespace differential;

constexpr int kAlike = 0;
constexpr int kDiverges = 1;
constexpr int kFailed = 2;
constexpr int kSkipped = 77;  // what meson takes for that

/// Seeds that run through the kernels of a profile at a time.
constexpr std::size_t kBatch = 32;
/// Divergences of a profile that are shrunk and saved; more are only counted.
constexpr std::size_t kSaved = 10;

struct Options {
    std::uint64_t from = 1;
    std::uint64_t seeds = 100;
    Menu menu;
    std::string profile;
    std::string folder;  ///< for what is found; empty: nothing is saved
    std::string record;  ///< for every seed as a trace; empty: none
    std::vector<std::string> traces;
    bool shrink = true;
};

struct Sum {
    std::uint64_t seeds = 0;
    std::uint64_t packets = 0;
    std::uint64_t divergences = 0;
    std::uint64_t refused = 0;    ///< packets for which there was no room
    std::uint64_t set_aside = 0;  ///< seeds in which a router found a victim, by chance
};

Sum add(const std::vector<Sum>& all) {
    Sum sum;
    for (const Sum& s : all) {
        sum.seeds += s.seeds;
        sum.packets += s.packets;
        sum.divergences += s.divergences;
        sum.refused += s.refused;
        sum.set_aside += s.set_aside;
    }
    return sum;
}

std::string describe(const Shrunk& s) {
    std::string out;
    for (std::size_t i = 0; i < s.steps.size(); ++i) {
        const Step& step = s.steps[i];
        if (step.kind != Step::Kind::Packet) {
            out += fmt::format("  {:4} {} s pass\n", i, step.seconds);
            continue;
        }
        const Observation& o = s.kernel.after[i];
        out += fmt::format("  {:4} {} => {}", i, step.note, to_text(o));
        if (!o.entries.empty() && o.entries.front()) out += " | " + to_text(*o.entries.front());
        out += '\n';
    }
    return out;
}

/// Tells of a divergence, and saves it as a trace.
void report(std::uint64_t seed, const Profile& profile, const Shrunk& s, const Options& options) {
    const Divergence& d = s.divergence;
    const std::string heading =
        fmt::format("seed {}, profile {}: {} differs after step {}\nkernel: {}\nsluice: {}\n", seed,
                    profile.name, d.what, d.step, d.kernel, d.sluice);
    fmt::print("{}{}\n", heading, describe(s));
    if (!options.folder.empty()) {
        const std::string path = fmt::format("{}/seed-{}.trace", options.folder, seed);
        write_trace(path, {profile, s.steps, s.kernel}, heading);
        fmt::print("saved as {}\n\n", path);
    }
    std::fflush(stdout);
}

/// The profiles that take turns, and behind them the others.
std::vector<const Profile*> all_profiles() {
    std::vector<const Profile*> all;
    for (const auto* list : {&profiles(), &profiles_apart()})
        for (const Profile& p : *list) all.push_back(&p);
    return all;
}

/// The seeds of one profile; in a process of its own, because EAL starts once only.
Sum run_profile(std::size_t index, const Options& options) {
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    const Profile& profile = *all_profiles()[index];
    std::vector<std::uint64_t> seeds;
    for (std::uint64_t s = options.from; s < options.from + options.seeds; ++s)
        if (options.profile.empty() ? s % profiles().size() == index
                                    : profile.name == options.profile)
            seeds.push_back(s);
    Sum sum;
    if (seeds.empty()) return sum;
    Sluice sluice{profile};
    Runner runner{profile, std::min(kBatch, seeds.size())};

    for (std::size_t at = 0; at < seeds.size(); at += runner.count()) {
        std::vector<std::vector<Step>> all;
        for (std::size_t i = at; i < std::min(seeds.size(), at + runner.count()); ++i)
            all.push_back(dressed(profile, generate(seeds[i], menu_for(profile, options.menu))));
        std::vector<const std::vector<Step>*> batch;
        for (const auto& steps : all) batch.push_back(&steps);
        std::vector<Record> kernel = runner.run(batch);
        for (std::size_t i = 0; i < all.size(); ++i) {
            ++sum.seeds;
            for (const Step& s : all[i]) sum.packets += s.kind == Step::Kind::Packet ? 1 : 0;
            if (!options.record.empty())
                write_trace(fmt::format("{}/seed_{}.trace", options.record, seeds[at + i]),
                            {profile, all[i], kernel[i]},
                            fmt::format("seed {} of {} packets, as recorded", seeds[at + i],
                                        options.menu.packets));
            Record ours = sluice.run(all[i]);
            if (profile.max != 0) sum.refused += kernel[i].counts.drop;
            if (profile.max != 0 && kernel[i].counts.early_drop + ours.counts.early_drop != 0) {
                ++sum.set_aside;
                fmt::print("seed {} set aside: the kernel found {} victims, Sluice {}\n",
                           seeds[at + i], kernel[i].counts.early_drop, ours.counts.early_drop);
                continue;
            }
            const auto d = compare(profile, all[i], kernel[i], ours);
            if (!d) continue;
            if (sum.divergences++ >= kSaved) continue;
            Shrunk found{all[i], std::move(kernel[i]), std::move(ours), *d};
            if (options.shrink) found = shrink(profile, std::move(found), runner, sluice);
            report(seeds[at + i], profile, found, options);
        }
    }
    return sum;
}

int run_seeds(const Options& options) {
    if (const std::string why = why_no_kernel(); !why.empty()) {
        fmt::print("skipped: {}\n", why);
        return kSkipped;
    }
    const std::uint32_t max = options.profile.empty() ? 0 : profile_named(options.profile).max;
    std::optional<TableLimit> limit;
    if (max != 0) {
        // Whoever ends this ends the children; the limit is lifted afterwards.
        std::signal(SIGINT, SIG_IGN);
        std::signal(SIGTERM, SIG_IGN);
        limit.emplace(max);
    }
    const Sum sum = add(
        in_children(all_profiles().size(), [&](std::size_t i) { return run_profile(i, options); }));
    fmt::print("{} seeds from {}, {} packets: {} divergences\n", sum.seeds, options.from,
               sum.packets, sum.divergences);
    if (max == 0) return sum.divergences == 0 ? kAlike : kDiverges;
    fmt::print("{} packets refused, {} seeds set aside\n", sum.refused, sum.set_aside);
    if (sum.refused == 0) throw std::runtime_error("the table was never full");
    // A victim is within reach of one newcomer in some thousand.
    if (sum.set_aside > 1 + sum.seeds / 10) throw std::runtime_error("too many victims were found");
    return sum.divergences == 0 ? kAlike : kDiverges;
}

/// The traces of one profile, through Sluice alone.
Sum replay(std::size_t index, const Options& options) {
    const Profile& profile = *all_profiles()[index];
    Sum sum;
    std::unique_ptr<Sluice> sluice;
    for (const std::string& path : options.traces) {
        const Trace trace = read_trace(path);
        if (trace.profile.name != profile.name) continue;
        if (!sluice) sluice = std::make_unique<Sluice>(profile);
        const Record ours = sluice->run(trace.steps);
        ++sum.seeds;
        const auto d = compare_steps(trace.profile, trace.steps, trace.kernel, ours);
        if (!d) continue;
        ++sum.divergences;
        fmt::print("{}: {} differs after step {}\n  kernel: {}\n  sluice: {}\n", path, d->what,
                   d->step, d->kernel, d->sluice);
    }
    return sum;
}

int run_traces(const Options& options) {
    const Sum sum =
        add(in_children(all_profiles().size(), [&](std::size_t i) { return replay(i, options); }));
    fmt::print("{} traces: {} divergences\n", sum.seeds, sum.divergences);
    return sum.divergences == 0 ? kAlike : kDiverges;
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    CLI::App app{"The same packets through the running kernel and through Sluice."};
    app.add_option("--from", options.from, "first seed");
    app.add_option("--seeds", options.seeds, "how many");
    app.add_option("--packets", options.menu.packets, "packets of a seed");
    app.add_option("--only", options.menu.only, "one kind of flow: tcp, udp, sctp, ...");
    app.add_option("--profile", options.profile, "all seeds under this set of sysctls");
    app.add_option("--save", options.folder, "folder for traces of what is found");
    app.add_option("--record", options.record, "folder for every seed as a trace");
    app.add_flag("!--no-shrink", options.shrink, "tell of divergences as they are");
    app.add_option("traces", options.traces, "traces to replay, without the kernel");
    CLI11_PARSE(app, argc, argv);
    try {
        for (const std::string& folder : {options.folder, options.record})
            if (!folder.empty()) std::filesystem::create_directories(folder);
        return options.traces.empty() ? run_seeds(options) : run_traces(options);
    } catch (const std::exception& e) {
        fmt::print(stderr, "differential: {}\n", e.what());
        return kFailed;
    }
}
