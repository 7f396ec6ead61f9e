// SPDX-License-Identifier: BSD-3-Clause
//
// A table, what is in it, and what two or three threads do to it at the same time.
#pragma once

#include "ct/conn/settings.hpp"
#include "tests/model/explorer.hpp"
#include "tests/model/history.hpp"

#include <string>
#include <vector>

namespace model {

inline constexpr ct::Nanos kStart = 1000 * ct::kNanosPerSecond;
/// Of the table's hash, so that a scenario can choose tuples by their buckets.
inline constexpr std::uint64_t kSeed = 1;

/// How much there is to explore.
enum class Size : std::uint8_t {
    Small,   ///< in each run of the tests, under both memory models
    Medium,  ///< in each run of the tests, if memory is sequential
    Large,   ///< if asked for
};

struct Scenario {
    std::string name;
    std::string about;
    ct::Settings settings;
    std::vector<Op> first;                 ///< before the threads begin, in order
    std::vector<std::vector<Op>> threads;  ///< what each does, in order
    Size size = Size::Small;
};

/// All there are.
[[nodiscard]] std::vector<Scenario> scenarios();

/// Settings of a table of `max` entries, all of which may be embryonic.
[[nodiscard]] ct::Settings table_of(std::uint32_t max);

/// Explores a scenario: after every schedule the answers must be those of some order of the calls,
/// and the table's invariants must hold; in every state, no two connections share a tuple.
[[nodiscard]] Report explore(const Scenario& s, Memory memory, std::uint64_t max_states);

}  // namespace model
