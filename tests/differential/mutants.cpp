// SPDX-License-Identifier: BSD-3-Clause
//
// Proof that the differential tester finds faults: it is linked with copies of the tracker's
// sources in which mutate.py has planted some, and each must show as a divergence within so many
// seeds. The kernel is asked once a seed; with every fault in turn Sluice is asked again.
#include "tests/differential/children.hpp"
#include "tests/differential/compare.hpp"
#include "tests/differential/generator.hpp"
#include "tests/differential/mutation.hpp"
#include "tests/differential/runner.hpp"
#include "tests/differential/sluice.hpp"
#include "tests/differential/world.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <stdexcept>
#include <string>

namespace {

using namespace differential;

constexpr std::size_t kBatch = 16;
constexpr std::uint64_t kNever = ~std::uint64_t{0};

/// By fault, the healthy tracker first: the first seed that diverges.
using FirstSeeds = std::array<std::uint64_t, 32>;

FirstSeeds run_profile(std::size_t index, std::uint64_t seeds) {
    FirstSeeds first;
    first.fill(kNever);
    const Profile& profile = profiles()[index];
    Sluice sluice{profile};
    Runner runner{profile, kBatch};
    const std::size_t step = profiles().size();
    if (mutation::kFaultCount >= first.size()) throw std::logic_error("too many faults");
    const auto faults_end = first.begin() + 1 + static_cast<std::ptrdiff_t>(mutation::kFaultCount);
    const auto missing = [&] { return std::count(first.begin() + 1, faults_end, kNever) > 0; };
    for (std::uint64_t seed = index == 0 ? step : index; seed <= seeds && missing();) {
        std::vector<std::uint64_t> numbers;
        std::vector<std::vector<Step>> all;
        for (; seed <= seeds && all.size() < kBatch; seed += step) {
            numbers.push_back(seed);
            all.push_back(dressed(profile, generate(seed, menu_for(profile, {}))));
        }
        std::vector<const std::vector<Step>*> batch;
        for (const auto& steps : all) batch.push_back(&steps);
        const std::vector<Record> kernel = runner.run(batch);
        for (std::size_t fault = 0; fault <= mutation::kFaultCount; ++fault) {
            mutation::active = static_cast<int>(fault);
            for (std::size_t i = 0; i < all.size() && first[fault] == kNever; ++i)
                if (compare(profile, all[i], kernel[i], sluice.run(all[i])))
                    first[fault] = numbers[i];
        }
        mutation::active = 0;
    }
    return first;
}

}  // namespace

int main(int argc, char** argv) {
    const std::uint64_t seeds = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 500;
    if (const std::string why = why_no_kernel(); !why.empty()) {
        fmt::print("skipped: {}\n", why);
        return 77;
    }
    FirstSeeds first;
    first.fill(kNever);
    try {
        for (const FirstSeeds& some :
             in_children(profiles().size(), [&](std::size_t i) { return run_profile(i, seeds); }))
            for (std::size_t i = 0; i < first.size(); ++i) first[i] = std::min(first[i], some[i]);
    } catch (const std::exception& e) {
        fmt::print(stderr, "mutants: {}\n", e.what());
        return 2;
    }
    bool good = first[0] == kNever;
    if (!good) fmt::print("FAIL  without any fault seed {} diverges\n", first[0]);
    for (std::size_t i = 0; i < mutation::kFaultCount; ++i) {
        const bool found = first[i + 1] != kNever;
        good = good && found;
        if (found)
            fmt::print("found {} (seed {})\n", mutation::kFaults[i], first[i + 1]);
        else
            fmt::print("FAIL  not found in {} seeds: {}\n", seeds, mutation::kFaults[i]);
    }
    return good ? 0 : 1;
}
