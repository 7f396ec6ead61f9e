// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/answers.hpp"

#include "dataplane/control/notation.hpp"
#include "dataplane/control/sysctl.hpp"

#include <nlohmann/json.hpp>

namespace dp {

namespace {

/// Keeps the order in which members are put in.
using nlohmann::ordered_json;

ordered_json to_json(const ct::Counters& c) {
    return {{"found", c.found},
            {"invalid", c.invalid},
            {"insert", c.insert},
            {"insert_failed", c.insert_failed},
            {"drop", c.drop},
            {"early_drop", c.early_drop},
            {"error", c.error},
            {"search_restart", c.search_restart},
            {"clash_resolve", c.clash_resolve},
            {"chaintoolong", c.chaintoolong},
            {"opened", c.opened},
            {"expired", c.expired},
            {"deleted", c.deleted},
            {"assured_evicted", c.assured_evicted},
            {"table_full_log", c.table_full_log},
            {"untracked", c.untracked},
            {"limited", c.limited}};
}

}  // namespace

std::string count_json(const ServerContext& context, Table table) {
    const std::uint32_t count = table == Table::Conntrack ? context.ct.count() : 0;
    return ordered_json{{"count", count}}.dump();
}

std::string counters_text(const ServerContext& context, Table table) {
    std::string out;
    const ct::WorkerId workers = context.ct.workers();
    for (ct::WorkerId w = 0; w < workers; ++w) {
        if (table == Table::Expect) {
            append_expect_counters(out, w);
            continue;
        }
        ct::Counters counters = context.ct.counters(w);
        if (w == 0) counters += context.ct.counters(workers);
        append_counters(out, w, counters);
    }
    return out;
}

std::string port_json(const ServerContext& context, std::string_view name,
                      std::optional<std::uint64_t> value) {
    if (!value || *value > 1) throw BadParameter{"port: value must be 0, down, or 1, up"};
    const auto ended = context.hooks.set_port ? context.hooks.set_port(name, *value == 1)
                                              : std::optional<std::uint32_t>{};
    if (!ended) throw BadParameter{"there is no port '" + std::string{name} + "'"};
    return ordered_json{{"port", name}, {"up", *value == 1}, {"ended", *ended}}.dump();
}

std::string address_json(const ServerContext& context, const Request& request) {
    const auto& value = request.value;
    if (value && *value > 1) throw BadParameter{"address: value must be 0, del, or 1, add"};
    if (value && (request.name.empty() || request.address.empty()))
        throw BadParameter{"address: which port, and which address?"};
    if (!context.hooks.addresses) throw BadParameter{"there are no ports here"};
    std::uint32_t ended = 0;
    if (value) {
        const auto prefix = parse_prefix(request.address);
        if (!prefix || request.address.find('/') == std::string::npos)
            throw BadParameter{in_quotes(request.address) +
                               " is no address with a prefix length, like 192.0.2.1/24"};
        ended = context.hooks.change_address(request.name, *prefix, *value == 1);
    }
    ordered_json out{{"ended", ended}, {"addresses", ordered_json::array()}};
    for (const PortAddress& a : context.hooks.addresses(request.name))
        out["addresses"].push_back(
            {{"port", a.port}, {"address", to_string(a.prefix)}, {"primary", a.primary}});
    std::string text = out.dump();
    constexpr std::size_t kAround = 16;  // what append_data() adds
    if (text.size() > kMaxResponseBytes - kAround)
        throw BadParameter{"there are too many addresses for one answer; name a port"};
    return text;
}

std::string drops_json(const ServerContext& context) {
    const auto counts =
        context.hooks.drops ? context.hooks.drops() : std::array<std::uint64_t, ct::kDropCount>{};
    ordered_json out = ordered_json::object();
    for (const ct::DropInfo& info : ct::kDrops)
        if (info.id != ct::Drop::None) out[std::string{info.name}] = counts[ct::index_of(info.id)];
    return out.dump();
}

std::string stats_json(const ServerContext& context) {
    const ct::Conntrack& ct = context.ct;
    const ct::MemoryReport memory = ct.memory();
    ordered_json table = {{"count", ct.count()},     {"max", ct.capacity()},
                          {"workers", ct.workers()}, {"memory_bytes", memory.total_bytes},
                          {"pages", memory.pages},   {"lost_events", ct.lost_events()}};
    table.update(to_json(ct.counters()));
    const std::string daemon = context.hooks.stats_json ? context.hooks.stats_json() : "{}";
    return "{\"conntrack\":" + table.dump() + ",\"daemon\":" + daemon + "}";
}

std::string sysctl_json(const ServerContext& context, std::string_view name,
                        std::optional<std::uint64_t> value) {
    ordered_json out = ordered_json::object();
    const auto show = [&](const Sysctl& s) { out[std::string{s.name}] = s.read(context.ct); };
    if (!name.empty()) {
        const Sysctl& s = find_sysctl(name);
        if (value) {
            set_sysctl(context.ct, s, *value);
            if (context.hooks.settings_changed) context.hooks.settings_changed();
        }
        show(s);
        return out.dump();
    }
    if (value) throw BadParameter{"which setting?"};
    for (const Sysctl& s : sysctls()) show(s);
    return out.dump();
}

std::string explain_json(const ServerContext& context, const Request& request) {
    if (!context.hooks.explain) throw BadParameter{"there is no pipeline here to explain"};
    return context.hooks.explain(tuple_of(request.filter), request.name);
}

std::string version_json() {
    return ordered_json{{"version", version()}}.dump();
}

}  // namespace dp
