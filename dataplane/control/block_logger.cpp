// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/block_logger.hpp"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>

namespace dp {
namespace {

constexpr std::chrono::milliseconds kInterval{5};  // between looks at the rings
constexpr std::size_t kMostAtOnce = 4096;          // records of a batch

}  // namespace

BlockLogger::BlockLogger(const Config& config, nat::BlockLog& log, Hooks hooks)
    : config_{config}, log_{log}, hooks_{std::move(hooks)}, writer_{config.nat_log, hooks_.notify} {
    BlockRecord started;
    started.time = wall(hooks_.now());
    writer_.add(started);
    thread_ = std::jthread{[this](const std::stop_token& stop) { run(stop); }};
}

BlockLogger::~BlockLogger() {
    finish({});
}

WallNanos BlockLogger::wall(ct::Nanos t) const {
    return static_cast<WallNanos>(t) + hooks_.wall_offset_ns();
}

void BlockLogger::run(const std::stop_token& stop) {
    while (!stop.stop_requested()) {
        take_records();
        writer_.turn(BlockWriter::Clock::now());
        std::this_thread::sleep_for(kInterval);
    }
}

/// The next batch, in the order of its times, if the last one has been written.
void BlockLogger::take_records() {
    if (!writer_.ready()) return;
    batch_.clear();
    nat::BlockEvent event;
    while (batch_.size() < kMostAtOnce && log_.pop(event)) batch_.push_back(event);
    std::stable_sort(batch_.begin(), batch_.end(),
                     [](const auto& a, const auto& b) { return a.when < b.when; });
    for (const nat::BlockEvent& e : batch_) add(e);
}

void BlockLogger::add(const nat::BlockEvent& e) {
    BlockRecord r;
    r.time = wall(e.when);
    r.kind = e.kind == nat::BlockEvent::Kind::Assigned ? BlockRecord::Kind::Assigned
                                                       : BlockRecord::Kind::Released;
    r.rule = config_.carriers[e.carrier].name;
    r.inside = e.inside;
    r.zone = e.zone;
    r.outside_family = e.outside_family;
    r.outside = e.outside;
    r.ports = e.ports;
    writer_.add(std::move(r));
}

void BlockLogger::finish(std::span<const nat::BlockEvent> last,
                         std::chrono::milliseconds patience) {
    if (!thread_.joinable()) return;
    thread_.request_stop();
    thread_.join();
    const auto give_up_at = BlockWriter::Clock::now() + patience;
    bool last_added = false;
    for (;;) {
        const auto now = BlockWriter::Clock::now();
        writer_.turn(now);
        take_records();
        if (writer_.ready() && !last_added) {
            for (const nat::BlockEvent& e : last) add(e);
            last_added = true;
        }
        if (writer_.ready() && last_added) return;
        if (now >= give_up_at) break;
        std::this_thread::sleep_for(kInterval);
    }
    for (nat::BlockEvent e; log_.pop(e);) add(e);
    if (!last_added)
        for (const nat::BlockEvent& e : last) add(e);
    writer_.give_up();
    for (const DestinationTotals& t : writer_.totals())
        if (t.lost > 0 && hooks_.notify)
            hooks_.notify(fmt::format("nat_log: {} has not taken {} records, which are lost",
                                      t.name, t.lost));
}

std::string BlockLogger::json() const {
    nlohmann::ordered_json out{{"queue_full", log_.full()},
                               {"destinations", nlohmann::ordered_json::array()}};
    for (const DestinationTotals& t : writer_.totals())
        out["destinations"].push_back({{"name", t.name},
                                       {"written", t.written},
                                       {"failures", t.failures},
                                       {"lost", t.lost},
                                       {"error", t.error}});
    return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace dp
