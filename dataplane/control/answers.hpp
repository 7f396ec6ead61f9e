// SPDX-License-Identifier: BSD-3-Clause
//
// What the daemon answers to requests that are no walk over the table.
#pragma once

#include "dataplane/control/session.hpp"

#include <string>

namespace dp {

[[nodiscard]] std::string count_json(const ServerContext& context, Table table);
/// As `conntrack -S` prints it, one line a worker; what control did itself counts to the first.
[[nodiscard]] std::string counters_text(const ServerContext& context, Table table);
/// Takes a port out of service (`value` 0) or puts it back (1). Throws BadParameter.
[[nodiscard]] std::string port_json(const ServerContext& context, std::string_view name,
                                    std::optional<std::uint64_t> value);
/// The addresses of a port, or of all; before, gives it one or takes one away. Throws BadParameter.
[[nodiscard]] std::string address_json(const ServerContext& context, const Request& request);

/// Every reason of ct::kDrops but `none`, in its order.
[[nodiscard]] std::string drops_json(const ServerContext& context);
/// `conntrack`: the table's size, memory and counters; `daemon`: what the hook tells.
[[nodiscard]] std::string stats_json(const ServerContext& context);
/// Settings with their values: the one called `name`, set to `value` before if there is one; or all
/// of them. Throws BadParameter.
[[nodiscard]] std::string sysctl_json(const ServerContext& context, std::string_view name,
                                      std::optional<std::uint64_t> value);
/// What the hook tells of the flow that the request's filter names. Throws BadParameter, also if
/// there is no hook.
[[nodiscard]] std::string explain_json(const ServerContext& context, const Request& request);
[[nodiscard]] std::string version_json();

}  // namespace dp
