// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "dataplane/control/render.hpp"

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

namespace dp {

/// Names of labels, as iptables and conntrack(8) read them from connlabel.conf: a number and a name
/// a line, `#` before a comment.
class LabelMap {
public:
    /// From /etc/xtables/connlabel.conf, which need not be there.
    [[nodiscard]] static LabelMap load(const std::string& path = "/etc/xtables/connlabel.conf");

    /// True if there was such a file.
    [[nodiscard]] bool there() const noexcept { return names_ != nullptr; }
    /// The number of the label called `name`; without a file, the number that `name` is.
    [[nodiscard]] std::optional<std::uint8_t> find(std::string_view name) const;
    /// What the daemon is to show; null without a file.
    [[nodiscard]] std::shared_ptr<const LabelNames> names() const noexcept { return names_; }

private:
    std::shared_ptr<const LabelNames> names_;
};

}  // namespace dp
