// SPDX-License-Identifier: BSD-3-Clause
//
// sluice-replay: captures through the daemon's pipeline, in the captures' own time.
//
// Order of work: everything that can be wrong with the command line and the configuration is found
// before a file is opened (exit 2), and every file is open before the first packet (exit 1). What a
// damaged capture holds before the damage is replayed, and then the exit code is 1.
#include "dataplane/control/protocol.hpp"
#include "dataplane/replay/capture.hpp"
#include "dataplane/replay/engine.hpp"
#include "dataplane/replay/options.hpp"
#include "dataplane/replay/printer.hpp"
#include "dataplane/replay/verdicts.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <memory>
#include <new>
#include <sys/stat.h>
#include <vector>

namespace {

using namespace dp::replay;

constexpr int kDone = 0;
constexpr int kFailed = 1;
constexpr int kUsage = 2;

void complain(std::string_view message) {
    fmt::print(stderr, "sluice-replay: {}\n", message);
}

/// One capture and the packet that it offers next.
struct Input {
    ct::PortId port = ct::kNoPort;
    std::unique_ptr<CaptureReader> reader;
    Frame frame;
    bool has_frame = false;

    void advance() { has_frame = reader->next(frame); }
};

[[nodiscard]] ct::PortId port_of(const dp::Config& config, std::string_view option,
                                 const PortFile& file) {
    const ct::PortId id = config.find_port(file.port);
    if (id != ct::kNoPort) return id;
    std::vector<std::string> names;
    for (const dp::PortConfig& port : config.ports) names.push_back(port.name);
    throw UsageError(fmt::format("--{} {}={}: {} has no port '{}'; it has {}", option, file.port,
                                 file.path, config.file, file.port, fmt::join(names, ", ")));
}

/// A file that is read must not be written over, by whatever name.
void check_distinct(const Options& options) {
    std::vector<std::string> written;
    for (const PortFile& f : options.outputs) written.push_back(f.path);
    if (!options.verdicts.empty()) written.push_back(options.verdicts);
    const auto same = [](const std::string& a, const std::string& b) {
        struct stat x {};
        struct stat y {};
        return a != "-" && b != "-" && stat(a.c_str(), &x) == 0 && stat(b.c_str(), &y) == 0 &&
               S_ISREG(x.st_mode) && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
    };
    std::vector<std::string> read{options.config};
    for (const PortFile& f : options.inputs) read.push_back(f.path);
    for (const std::string& r : read)
        for (const std::string& w : written)
            if (same(r, w))
                throw UsageError(
                    fmt::format("'{}' is read and would be written over; write to "
                                "another file",
                                r));
}

[[nodiscard]] std::vector<Input> open_inputs(const Options& options, const dp::Config& config) {
    std::vector<Input> inputs;
    for (const PortFile& f : options.inputs) {
        Input& in = inputs.emplace_back();
        in.port = port_of(config, "in", f);
        in.reader = std::make_unique<CaptureReader>(f.path, mac_of(config, in.port));
    }
    return inputs;
}

/// By PortId; null for a port whose frames nobody wants.
using Outputs = std::vector<std::unique_ptr<CaptureWriter>>;

[[nodiscard]] Outputs open_outputs(const Options& options, const dp::Config& config,
                                   const std::vector<Input>& inputs) {
    Outputs outputs(config.ports.size());
    for (const PortFile& f : options.outputs) {
        const ct::PortId port = port_of(config, "out", f);
        const bool raw = std::any_of(inputs.begin(), inputs.end(), [&](const Input& in) {
            return in.port == port && in.reader->link() == Link::Raw;
        });
        outputs[port] = std::make_unique<CaptureWriter>(f.path, raw ? Link::Raw : Link::Ethernet);
    }
    return outputs;
}

/// Feeds the packets of all inputs in the order of their times; of equal ones, in that of --in.
void feed(std::vector<Input>& inputs, const dp::Config& config, VerdictLog& verdicts,
          Engine& engine) {
    for (Input& in : inputs) in.advance();
    for (;;) {
        Input* next = nullptr;
        for (Input& in : inputs)
            if (in.has_frame && (next == nullptr || in.frame.when < next->frame.when)) next = &in;
        if (next == nullptr) return;
        engine.receive(next->port, next->frame, verdicts.add(config.ports[next->port].name));
        next->advance();
    }
}

/// Says what was odd about the captures. True if one is damaged.
[[nodiscard]] bool judge(const std::vector<Input>& inputs) {
    bool damaged = false;
    for (const Input& in : inputs) {
        const CaptureReader& r = *in.reader;
        if (r.cut() > 0)
            complain(
                fmt::format("{}: {} of {} packets are cut short by the capture's snapshot "
                            "length; capture whole packets (tcpdump -s 0)",
                            r.path(), r.cut(), r.packets()));
        if (r.backwards() > 0)
            complain(
                fmt::format("{}: {} of {} packets are older than the one before them; each was "
                            "taken at the time of that one",
                            r.path(), r.backwards(), r.packets()));
        if (r.damage().empty()) continue;
        damaged = true;
        complain(fmt::format("{}: damaged behind packet {}: {}; what stands before was replayed",
                             r.path(), r.packets(), r.damage()));
    }
    return damaged;
}

[[nodiscard]] int replay(const Options& options, const dp::Config& config) {
    std::vector<Input> inputs = open_inputs(options, config);
    const Outputs outputs = open_outputs(options, config, inputs);
    VerdictLog verdicts{options.verdicts};
    Printer printer{options.render};

    Listeners listeners;
    listeners.frame = [&](ct::PortId port, ct::Nanos when, std::span<const std::uint8_t> bytes) {
        if (outputs[port]) outputs[port]->write(when, bytes);
    };
    if (options.events) listeners.event = [&](const ct::Event& e) { printer.event(e); };
    if (options.explain)
        listeners.story = [&](std::uint64_t n, const dp::Story& story) {
            if (options.explain->wants(n, story.tuples)) printer.story(story);
        };
    listeners.verdict = [&](std::uint64_t n, const Verdict& v) { verdicts.decide(n, v); };

    Engine engine{config, options.seed, listeners};
    feed(inputs, config, verdicts, engine);
    engine.pass_time(engine.now() + options.at_end);
    engine.stop();

    if (options.events) printer.events_end();
    if (options.list) printer.table(engine.conntrack(), engine.now());
    if (options.stats) printer.stats(engine.totals(), engine.conntrack());
    if (const auto refused = engine.conntrack().counters().table_full_log; refused > 0)
        complain(fmt::format("table full, dropping packet ({} times)", refused));
    const bool damaged = judge(inputs);
    verdicts.close();
    printer.close();
    for (const auto& output : outputs)
        if (output) output->close();
    return damaged ? kFailed : kDone;
}

}  // namespace

int main(int argc, char** argv) {
    try {
        const Options options = parse_options({argv + 1, argv + argc});
        if (options.help) return fmt::print("{}", kHelp), kDone;
        if (options.version) return fmt::print("sluice-replay {}\n", dp::version()), kDone;
        const dp::Config config = dp::load(options.config);
        for (const PortFile& f : options.inputs) static_cast<void>(port_of(config, "in", f));
        for (const PortFile& f : options.outputs) static_cast<void>(port_of(config, "out", f));
        check_distinct(options);
        return replay(options, config);
    } catch (const dp::ConfigError& e) {
        std::fputs(e.report("sluice-replay").c_str(), stderr);
        return kUsage;
    } catch (const UsageError& e) {
        complain(e.what());
        return kUsage;
    } catch (const std::bad_alloc&) {
        complain("out of memory; a smaller conntrack.max needs less");
        return kFailed;
    } catch (const std::exception& e) {
        complain(e.what());
        return kFailed;
    }
}
