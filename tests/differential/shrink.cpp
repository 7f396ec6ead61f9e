// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/shrink.hpp"

#include <algorithm>

namespace differential {
namespace {

constexpr int kRounds = 60;

using Steps = std::vector<Step>;

/// The sequence without `count` steps from `first` on. Fragments of a datagram stay together only
/// by chance; if that changes the divergence, the attempt fails.
Steps without(const Steps& steps, std::size_t first, std::size_t count) {
    Steps out;
    for (std::size_t i = 0; i < steps.size(); ++i)
        if (i < first || i >= first + count) out.push_back(steps[i]);
    return out;
}

/// One attempt for each run of `size` steps, from the back.
std::vector<Steps> attempts(const Steps& steps, std::size_t size) {
    std::vector<Steps> all;
    for (std::size_t end = steps.size(); end > 0;) {
        const std::size_t first = end > size ? end - size : 0;
        all.push_back(without(steps, first, end - first));
        end = first;
    }
    return all;
}

/// Replaces `best` with the first attempt that still diverges in the same way.
bool improve(const Profile& profile, const std::vector<Steps>& all, Shrunk& best, Runner& runner,
             Sluice& sluice) {
    for (std::size_t from = 0; from < all.size(); from += runner.count()) {
        const std::size_t to = std::min(all.size(), from + runner.count());
        std::vector<const Steps*> batch;
        for (std::size_t i = from; i < to; ++i) batch.push_back(&all[i]);
        std::vector<Record> kernel = runner.run(batch);
        for (std::size_t i = 0; i < batch.size(); ++i) {
            Record ours = sluice.run(*batch[i]);
            const auto d = compare(profile, *batch[i], kernel[i], ours);
            if (!d || d->what != best.divergence.what) continue;
            best = {*batch[i], std::move(kernel[i]), std::move(ours), *d};
            return true;
        }
    }
    return false;
}

}  // namespace

Shrunk shrink(const Profile& profile, Shrunk best, Runner& runner, Sluice& sluice) {
    if (best.divergence.step + 1 < best.steps.size()) {
        Steps head(best.steps.begin(),
                   best.steps.begin() + static_cast<std::ptrdiff_t>(best.divergence.step + 1));
        static_cast<void>(improve(profile, {head}, best, runner, sluice));
    }
    std::size_t size = std::max<std::size_t>(best.steps.size() / 2, 1);
    for (int round = 0; round < kRounds; ++round) {
        if (improve(profile, attempts(best.steps, size), best, runner, sluice)) {
            size = std::min(size, std::max<std::size_t>(best.steps.size() / 2, 1));
            continue;
        }
        if (size == 1) break;
        size /= 2;
    }
    return best;
}

}  // namespace differential
