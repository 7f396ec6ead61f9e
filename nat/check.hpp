// SPDX-License-Identifier: BSD-3-Clause
//
// Finds rules that can never match, for the configuration's checker: a rule that contradicts
// itself, and a rule whose every packet an earlier rule of its chain has already decided. The
// second is judged against one earlier rule at a time: two rules that cover a third only together
// are not noticed. What is reported is certain.
#pragma once

#include "nat/rule.hpp"

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace nat {

/// A rule that can never match.
struct DeadRule {
    std::size_t index = 0;  ///< in the rules given
    std::optional<std::size_t>
        by;           ///< the earlier rule that covers it; none: it contradicts itself
    std::string why;  ///< a clause for the operator, without the rule's name
};

/// The rules among `rules` that can never match, in order.
[[nodiscard]] std::vector<DeadRule> dead_rules(std::span<const Rule> rules);

/// What is wrong with the rule's form: an action that its chain does not have, a target that is
/// missing or empty. Empty if nothing is. A RuleSet refuses such a rule.
[[nodiscard]] std::string malformed(const Rule& rule);

}  // namespace nat
