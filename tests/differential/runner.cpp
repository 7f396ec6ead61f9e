// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/runner.hpp"

#include <chrono>
#include <stdexcept>
#include <thread>

namespace differential {
namespace {

/// How often a seed is tried again when the machine paused in the middle of it.
constexpr int kTries = 8;
/// More than the two seconds after which a UDP flow is a stream.
constexpr std::chrono::milliseconds kAge{2'200};

}  // namespace

/// A sequence on its way through a kernel.
struct Runner::Progress {
    const std::vector<Step>* steps = nullptr;
    Kernel* kernel = nullptr;
    Record record;
    std::size_t at = 0;

    [[nodiscard]] bool done() const { return at == steps->size(); }

    /// Runs to the end, or to the next Age step, and freezes there.
    void advance() {
        for (; at < steps->size(); ++at) {
            const Step& step = (*steps)[at];
            kernel->begin_step(at);
            switch (step.kind) {
                case Step::Kind::Packet:
                    record.after.push_back(kernel->packet(step));
                    break;
                case Step::Kind::Wait:
                    kernel->wait(step.seconds);
                    record.after.emplace_back();
                    break;
                case Step::Kind::Age:
                    kernel->freeze();
                    return;
            }
        }
        kernel->begin_step(steps->size());
        record.table = kernel->table();
        record.counts = kernel->counts();
        record.events = kernel->events();
    }

    /// Goes on behind the Age step at which advance() stopped.
    void resume() {
        kernel->thaw((*steps)[at].seconds);
        record.after.emplace_back();
        ++at;
        advance();
    }

    void begin() {
        kernel->reset();
        record = {};
        at = 0;
        advance();
    }
};

Runner::Runner(const Profile& profile, std::size_t count) {
    for (std::size_t i = 0; i < count; ++i) kernels_.push_back(std::make_unique<Kernel>(profile));
}

std::vector<Record> Runner::run(const std::vector<const std::vector<Step>*>& all) {
    if (all.size() > kernels_.size()) throw std::logic_error("more sequences than kernels");
    std::vector<Record> records(all.size());
    std::vector<std::size_t> todo;
    for (std::size_t i = 0; i < all.size(); ++i) todo.push_back(i);
    for (int tries = 0; !todo.empty(); ++tries) {
        if (tries == kTries)
            throw std::runtime_error("the machine pauses too often to measure time-outs on it");
        std::vector<Progress> under_way;
        for (const std::size_t i : todo) {
            under_way.push_back({all[i], kernels_[i].get(), {}, 0});
            under_way.back().begin();
        }
        for (;;) {
            bool waiting = false;
            for (const Progress& p : under_way) waiting = waiting || !p.done();
            if (!waiting) break;
            std::this_thread::sleep_for(kAge);
            for (Progress& p : under_way)
                if (!p.done()) p.resume();
        }
        std::vector<std::size_t> again;
        for (std::size_t i = 0; i < todo.size(); ++i) {
            if (under_way[i].kernel->disturbed())
                again.push_back(todo[i]);
            else
                records[todo[i]] = std::move(under_way[i].record);
        }
        todo = std::move(again);
    }
    return records;
}

}  // namespace differential
