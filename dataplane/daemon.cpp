// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/daemon.hpp"

#include "ct/proto/proto.hpp"
#include "dataplane/control/block_logger.hpp"
#include "dataplane/control/config.hpp"
#include "dataplane/control/names.hpp"
#include "dataplane/control/notation.hpp"
#include "dataplane/control/server.hpp"
#include "dataplane/dataplane.hpp"
#include "dataplane/eal.hpp"
#include "dataplane/explain.hpp"
#include "dataplane/log.hpp"
#include "nat/usage.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <nlohmann/json.hpp>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ctime>
#include <exception>
#include <memory>
#include <pthread.h>
#include <signal.h>
#include <stop_token>
#include <string_view>
#include <thread>
#include <utility>

namespace dp {
namespace {

inline constexpr timespec kLookInterval{.tv_sec = 0, .tv_nsec = 100'000'000};

[[nodiscard]] sigset_t ending_signals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    return set;
}

void log_notes(const std::vector<std::string>& notes) {
    for (const std::string& note : notes) spdlog::info(note);
}

/// Wall clock minus the workers' time.
[[nodiscard]] std::int64_t wall_offset_ns(const Dataplane& dataplane) {
    const auto wall = std::chrono::system_clock::now().time_since_epoch();
    const auto own = static_cast<std::int64_t>(dataplane.clock().now());
    return std::chrono::nanoseconds{wall}.count() - own;
}

/// Subscribers that `stats` names: those with the most connections.
constexpr std::size_t kTopSubscribers = 10;

/// What `stats` tells of a carrier rule.
[[nodiscard]] nlohmann::ordered_json carrier_json(const nat::Carrier& carrier) {
    const nat::CarrierTotals t = carrier.totals();
    std::vector<nat::Carrier::Holding> top;
    const auto busier = [](const auto& a, const auto& b) { return a.connections > b.connections; };
    carrier.for_each([&](const nat::Carrier::Holding& h) {
        if (top.size() == kTopSubscribers && !busier(h, top.back())) return;
        top.insert(std::upper_bound(top.begin(), top.end(), h, busier), h);
        if (top.size() > kTopSubscribers) top.pop_back();
    });
    nlohmann::ordered_json out{{"rule", carrier.settings().name},
                               {"subscribers", t.subscribers},
                               {"blocks", t.blocks},
                               {"blocks_in_use", t.blocks_in_use}};
    const nat::CarrierSettings& s = carrier.settings();
    const auto outside_of = [&](const nat::Carrier::Holding& h) {
        return s.own_address ? "the port's" : to_string(s.outside.family, h.outside);
    };
    out["top"] = nlohmann::ordered_json::array();
    for (const nat::Carrier::Holding& h : top)
        out["top"].push_back({{"subscriber", to_string(h.subscriber)},
                              {"zone", h.zone},
                              {"outside", outside_of(h)},
                              {"ranges", h.range_count},
                              {"connections", h.connections},
                              {"tcp_ports", h.ports[0]},
                              {"udp_ports", h.ports[1]},
                              {"icmp_ids", h.ports[2]},
                              {"other_ports", h.ports[3]}});
    return out;
}

/// Which external addresses are short of ports, and who has them. The whole table is looked at, so
/// an answer is given again for a while.
class NatReport {
public:
    [[nodiscard]] const nlohmann::ordered_json& of(const Dataplane& dataplane) {
        const ct::Nanos now = dataplane.clock().now();
        if (json_.is_null() || now - made_ > kGoodFor) {
            json_ = make(dataplane, now);
            made_ = dataplane.clock().now();
        }
        return json_;
    }

private:
    static constexpr ct::Nanos kGoodFor = 5 * ct::kNanosPerSecond;
    static constexpr std::size_t kRows = 20;

    [[nodiscard]] static nlohmann::ordered_json make(const Dataplane& dataplane, ct::Nanos now) {
        using nlohmann::ordered_json;
        const nat::Usage usage = nat::usage_of(dataplane.conntrack(), dataplane.nat(), now, kRows);
        const nat::Mappings* mappings = dataplane.nat().mappings();
        ordered_json out{{"connections", usage.connections},
                         {"mappings", mappings != nullptr ? mappings->count() : 0}};
        for (const nat::AddressUsage& a : usage.addresses)
            out["addresses"].push_back({{"address", to_string(a.family, a.addr)},
                                        {"proto", protocol_name(a.proto)},
                                        {"ports", a.ports},
                                        {"available", a.available},
                                        {"percent", std::round(10 * a.percent()) / 10},
                                        {"connections", a.connections}});
        for (const nat::SourceUsage& s : usage.sources)
            out["users"].push_back({{"address", to_string(s.family, s.addr)},
                                    {"ports", s.ports},
                                    {"connections", s.connections}});
        return out;
    }

    nlohmann::ordered_json json_;
    ct::Nanos made_ = 0;
};

/// What the control socket's `stats` tells of workers and ports.
[[nodiscard]] std::string stats_json(const Dataplane& dataplane, NatReport& nat,
                                     const BlockLogger* blocks) {
    const auto object = [](const Totals& t) {
        return nlohmann::ordered_json{{"rx_packets", t.rx_packets}, {"rx_bytes", t.rx_bytes},
                                      {"tx_packets", t.tx_packets}, {"tx_bytes", t.tx_bytes},
                                      {"local_made", t.local_made}, {"dropped", t.dropped()},
                                      {"held", t.held()},           {"turns", t.turns},
                                      {"busy_turns", t.busy_turns}};
    };
    nlohmann::ordered_json out{{"total", object(dataplane.totals())}};
    for (ct::WorkerId w = 0; w < dataplane.workers(); ++w)
        out["workers"].push_back(object(dataplane.totals(w)));
    const auto& ports = dataplane.config().ports;
    for (ct::PortId id = 0; id < ports.size(); ++id) {
        const PortTotals t = dataplane.port_totals(id);
        out["ports"].push_back({{"name", ports[id].name},
                                {"rx_packets", t.rx_packets},
                                {"rx_bytes", t.rx_bytes},
                                {"tx_packets", t.tx_packets},
                                {"tx_bytes", t.tx_bytes},
                                {"tx_full", t.tx_full}});
    }
    const ct::FragmentCounts fragments = dataplane.fragments();
    out["fragments"] = {{"datagrams", fragments.datagrams}, {"held", fragments.held}};
    if (dataplane.rules().has_snat()) out["nat"] = nat.of(dataplane);
    for (std::size_t i = 0; i < dataplane.carriers().size(); ++i)
        out["carriers"][std::to_string(i)] = carrier_json(dataplane.carriers().at(i));
    if (blocks != nullptr) out["nat_log"] = nlohmann::ordered_json::parse(blocks->json());
    return out.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/// The log of port blocks, if there is one.
[[nodiscard]] std::unique_ptr<BlockLogger> block_logger_for(const Config& config,
                                                            const Dataplane& dataplane) {
    if (dataplane.block_log() == nullptr) return nullptr;
    return std::make_unique<BlockLogger>(
        config, *dataplane.block_log(),
        BlockLogger::Hooks{.now = [&dataplane] { return dataplane.clock().now(); },
                           .wall_offset_ns = [&dataplane] { return wall_offset_ns(dataplane); },
                           .notify = [](std::string_view message) { spdlog::warn(message); }});
}

/// Every block has come back: what is on record ends with that.
void end_blocks(Dataplane& dataplane, BlockLogger& blocks) {
    std::vector<nat::BlockEvent> last;
    dataplane.carriers().end(dataplane.clock().now(),
                             [&](const nat::BlockEvent& e) { last.push_back(e); });
    blocks.finish(last);
}

/// Throws BadParameter, with those that there are, if no port has the name.
[[nodiscard]] ct::PortId port_called(const Config& config, std::string_view name) {
    if (const ct::PortId port = config.find_port(name); port != ct::kNoPort) return port;
    std::vector<std::string> names;
    for (const PortConfig& p : config.ports) names.push_back(p.name);
    throw BadParameter{
        fmt::format("there is no port {}; there are {}", in_quotes(name), fmt::join(names, ", "))};
}

/// What becomes of a flow's next packets, for `explain`.
[[nodiscard]] std::string explain_json(Dataplane& dataplane, const ct::Tuple& t,
                                       const std::string& in_port) {
    const Config& config = dataplane.config();
    const ct::PortId port = in_port.empty() ? ct::kNoPort : port_called(config, in_port);
    const Outlook at{config, dataplane.conntrack(), dataplane.rules(), dataplane.forward(),
                     dataplane.nat()};
    return to_json(explain_flow(at, t, port, dataplane.clock().now()));
}

[[nodiscard]] std::optional<std::uint32_t> set_port(Dataplane& dataplane, std::string_view name,
                                                    bool up) {
    const auto& ports = dataplane.config().ports;
    for (ct::PortId id = 0; id < ports.size(); ++id) {
        if (ports[id].name != name) continue;
        const std::uint32_t ended = dataplane.set_up(id, up);
        spdlog::info("port {} is {}; {} masqueraded connections ended", name, up ? "up" : "down",
                     ended);
        return ended;
    }
    return std::nullopt;
}

[[nodiscard]] std::vector<PortAddress> addresses(const Dataplane& dataplane,
                                                 std::string_view name) {
    const Config& config = dataplane.config();
    const ct::PortId only = name.empty() ? ct::kNoPort : port_called(config, name);
    std::vector<PortAddress> out;
    for (ct::PortId id = 0; id < config.ports.size(); ++id) {
        if (only != ct::kNoPort && id != only) continue;
        const AddressBook& book = dataplane.forward().addresses();
        const nat::PortAddresses nat = book.for_nat()[id];
        for (const InterfaceAddress& a : book.of(id)) {
            const auto& primary = a.prefix.family == ct::Family::Ipv4 ? nat.ipv4 : nat.ipv6;
            out.push_back({config.ports[id].name, a.prefix, primary == a.prefix.addr});
        }
    }
    return out;
}

[[nodiscard]] std::uint32_t change_address(Dataplane& dataplane, std::string_view name,
                                           const nat::Prefix& address, bool add) {
    const ct::PortId port = port_called(dataplane.config(), name);
    std::uint32_t ended = 0;
    if (add)
        dataplane.add_address(port, address);
    else
        ended = dataplane.remove_address(port, address);
    spdlog::info("port {} {} address {}; {} masqueraded connections ended", name,
                 add ? "has" : "no longer has", to_string(address), ended);
    return ended;
}

[[nodiscard]] ControlHooks hooks_for(Dataplane& dataplane, const BlockLogger* blocks) {
    return {.now = [&dataplane] { return dataplane.clock().now(); },
            .wall_offset_ns = [&dataplane] { return wall_offset_ns(dataplane); },
            .drops = [&dataplane] { return dataplane.totals().drops; },
            .stats_json =
                [&dataplane, blocks, report = std::make_shared<NatReport>()] {
                    return stats_json(dataplane, *report, blocks);
                },
            .explain =
                [&dataplane](const ct::Tuple& t, const std::string& in_port) {
                    return explain_json(dataplane, t, in_port);
                },
            .port_towards =
                [&dataplane](ct::Family family, const ct::Addr& addr) {
                    return dataplane.forward().port_towards(family, addr);
                },
            .settings_changed = [&dataplane] { dataplane.settings_changed(); },
            .set_port = [&dataplane](std::string_view name,
                                     bool up) { return set_port(dataplane, name, up); },
            .addresses = [&dataplane](std::string_view port) { return addresses(dataplane, port); },
            .change_address =
                [&dataplane](std::string_view port, const nat::Prefix& address, bool add) {
                    return change_address(dataplane, port, address, add);
                },
            .log = [](std::string_view message) { spdlog::info(message); }};
}

/// A line for a packet that fits no connection and may open none.
[[nodiscard]] std::string invalid_text(const ct::InvalidNote& note, const Config& config,
                                       std::uint64_t hidden) {
    const ct::Tuple& t = note.tuple;
    std::string out =
        fmt::format("conntrack: invalid packet: {} {}", listed_protocol_name(t.proto), t.proto);
    if (note.in_port < config.ports.size())
        out += fmt::format(" in={}", config.ports[note.in_port].name);
    out += fmt::format(" src={} dst={}", to_string(t.family, t.src), to_string(t.family, t.dst));
    if (port_kind(t.proto) == PortKind::Ports)
        out += fmt::format(" sport={} dport={}", t.sport.host(), t.dport.host());
    if (port_kind(t.proto) == PortKind::Icmp)
        out += fmt::format(" type={} code={} id={}", ct::icmp_type(t.dport), ct::icmp_code(t.dport),
                           t.sport.host());
    if (t.proto == ct::ipproto::kTcp) out += fmt::format(" flags={:#04x}", note.tcp_flags);
    if (note.state != 0)
        out += fmt::format(" state={}", ct::proto::state_name(t.proto, note.state));
    if (hidden != 0) out += fmt::format(" ({} more since the last)", hidden);
    return out;
}

/// Waits for a signal to end; meanwhile logs, as Linux does, that packets find no room.
class Watch {
public:
    Watch(Dataplane& dataplane, std::stop_source& end)
        : dataplane_{dataplane}, end_{end}, thread_{[this](const std::stop_token& stop) {
              run(stop);
          }} {}

private:
    void run(const std::stop_token& stop) {
        const sigset_t signals = ending_signals();
        while (!stop.stop_requested()) {
            const int signal = sigtimedwait(&signals, nullptr, &kLookInterval);
            log_full_table();
            log_invalid();
            if (signal < 0) continue;
            spdlog::info("{}: stopping", signal == SIGINT ? "SIGINT" : "SIGTERM");
            end_.request_stop();
            return;
        }
    }

    /// A line a packet, as long as the budget lasts (semantics.md 2.14: three drops, three lines).
    void log_full_table() {
        const std::uint64_t due = dataplane_.conntrack().counters().table_full_log;
        const std::uint64_t lines = limit_.admit(due - logged_, dataplane_.clock().now());
        for (std::uint64_t i = 0; i < lines; ++i)
            spdlog::warn("conntrack: table full, dropping packet");
        logged_ = due;
    }

    /// What settings.log_invalid asks for; the rest of a burst is counted in one line.
    void log_invalid() {
        ct::InvalidNote note;
        for (ct::WorkerId w = 0; w < dataplane_.workers(); ++w)
            while (dataplane_.conntrack().next_invalid(w, note)) {
                if (invalid_limit_.admit(1, dataplane_.clock().now()) == 0)
                    ++invalid_hidden_;
                else
                    spdlog::warn("{}", invalid_text(note, dataplane_.config(),
                                                    std::exchange(invalid_hidden_, 0)));
            }
    }

    Dataplane& dataplane_;
    std::stop_source& end_;
    LogLimit invalid_limit_;
    std::uint64_t invalid_hidden_ = 0;  ///< not logged since the last line
    LogLimit limit_;
    std::uint64_t logged_ = 0;
    std::jthread thread_;
};

/// The account at the end (I6, I7). False if something is missing.
[[nodiscard]] bool log_totals(const Dataplane& dataplane) {
    const Totals t = dataplane.totals();
    spdlog::info("packets in {} + made {} = out {} + drops {}", t.rx_packets, t.local_made,
                 t.tx_packets, t.dropped());
    for (const ct::DropInfo& drop : ct::kDrops)
        if (const std::uint64_t n = t.drops[ct::index_of(drop.id)]; n > 0)
            spdlog::info("  {} {}: {}", n, drop.name, drop.help);
    const std::uint64_t lost = dataplane.buffers_in_use();
    if (!t.balanced() || t.held() != 0) spdlog::error("the packet counters do not add up");
    if (lost != 0) spdlog::error("{} packet buffers were lost", lost);
    return t.balanced() && t.held() == 0 && lost == 0;
}

/// Everything between EAL's start and its end.
[[nodiscard]] bool serve(const Config& config, const Placement& placement) {
    Dataplane dataplane{config, placement, {.log_blocks = true}};
    const std::unique_ptr<BlockLogger> blocks = block_logger_for(config, dataplane);
    Server server{{.path = config.control.socket, .mode = config.control.mode},
                  dataplane.conntrack(),
                  hooks_for(dataplane, blocks.get())};
    dataplane.start();
    log_notes(dataplane.notes());
    spdlog::info("running; control socket {}", config.control.socket);
    {
        std::stop_source end;
        const Watch watch{dataplane, end};
        server.run(end.get_token());
    }
    dataplane.stop();
    if (blocks != nullptr) end_blocks(dataplane, *blocks);
    return log_totals(dataplane);
}

[[nodiscard]] std::vector<int> nodes_of(const Config& config) {
    std::vector<int> nodes;
    for (const PortConfig& port : config.ports)
        nodes.push_back(port.pci ? node_of_pci(port.device) : -1);
    return nodes;
}

}  // namespace

int run_daemon(const Config& config, const std::string& program,
               const std::vector<std::string>& eal_arguments) {
    // Every thread inherits this; Watch alone takes the signals.
    const sigset_t signals = ending_signals();
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);

    const Placement placement = place(config.dataplane, Topology::here(), nodes_of(config));
    log_notes(placement.notes);
    const auto workers = static_cast<unsigned>(placement.workers.size());
    const EalPlan plan = plan_eal(config, placement, HugePageStock::here(),
                                  BufferPools::bytes_for(config, workers), eal_arguments);
    log_notes(plan.notes);
    const DpdkLog dpdk;
    try {
        const Eal eal{program, plan};
        log_notes(eal.notes());
        return serve(config, placement) ? 0 : 1;
    } catch (const std::exception&) {
        for (const std::string& message : dpdk.tail()) spdlog::error("dpdk: {}", message);
        throw;
    }
}

}  // namespace dp
