// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/cli/labels.hpp"

#include "dataplane/control/names.hpp"
#include "dataplane/control/units.hpp"

#include <algorithm>
#include <fstream>
#include <sstream>

namespace dp {

LabelMap LabelMap::load(const std::string& path) {
    LabelMap out;
    std::ifstream in{path};
    if (!in) return out;
    auto names = std::make_shared<LabelNames>();
    std::size_t bytes = 0;
    for (std::string line; std::getline(in, line);) {
        std::istringstream words{line.substr(0, line.find('#'))};
        std::string number_text;
        std::string name;
        if (!(words >> number_text >> name)) continue;
        const auto number = parse_number(number_text);
        // What no format can show is left out, and so is what there is no room for.
        if (!number || *number >= names->size() || !is_label_name(name)) continue;
        if (bytes + name.size() > kMaxLabelNameBytes) break;
        bytes += name.size();
        (*names)[*number] = std::move(name);
    }
    out.names_ = std::move(names);
    return out;
}

std::optional<std::uint8_t> LabelMap::find(std::string_view name) const {
    if (!names_) {
        const auto number = parse_number(name);
        if (!number || *number >= std::tuple_size_v<LabelNames>) return {};
        return static_cast<std::uint8_t>(*number);
    }
    const auto at = std::find(names_->begin(), names_->end(), name);
    if (name.empty() || at == names_->end()) return {};
    return static_cast<std::uint8_t>(at - names_->begin());
}

}  // namespace dp
