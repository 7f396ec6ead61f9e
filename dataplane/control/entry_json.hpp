// SPDX-License-Identifier: BSD-3-Clause
//
// Entries to be made and changes of entries on their way from sluicectl to the daemon, and the
// names of labels. What comes in is read as if from an enemy. Each function throws BadParameter.
#pragma once

#include "ct/conntrack.hpp"
#include "dataplane/control/render.hpp"

#include <nlohmann/json_fwd.hpp>

#include <memory>

namespace dp {

/// An entry as an object: `original` and `reply`, each with `family`, `protocol`, `src`, `dst`,
/// `sport`, `dport` (of ICMP the id, and type * 256 + code) and `zone`; `timeout_s`; and, if they
/// are not 0, `status`, `state`, `mark`, `vtags`.
[[nodiscard]] nlohmann::json to_json(const ct::Injection& entry);
[[nodiscard]] ct::Injection injection_from_json(const nlohmann::json& object);

/// What is to be changed: `timeout_s`, `status`, `state`, `mark` and `labels`, of which the last
/// two are lists: the values, then as many masks.
[[nodiscard]] nlohmann::json to_json(const ct::Change& change);
[[nodiscard]] ct::Change change_from_json(const nlohmann::json& object);

/// Names by number: `{"3":"name"}`.
[[nodiscard]] nlohmann::json to_json(const LabelNames& names);
[[nodiscard]] std::shared_ptr<const LabelNames> label_names_from_json(const nlohmann::json& object);

}  // namespace dp
