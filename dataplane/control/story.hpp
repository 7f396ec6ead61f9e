// SPDX-License-Identifier: BSD-3-Clause
//
// Explanations: what each stage made of a packet, and why, in words and as JSON. sluice-replay
// tells what happened to the packets of a capture, the daemon what would happen to the next packet
// of a flow; both in these words.
//
// A story is told in steps, in the order of the pipeline. What a step says comes from what was
// decided: the tracker's own reasons (ct/proto/why.hpp), the rule that was hit, the entry before
// and after.
#pragma once

#include "ct/inspect.hpp"
#include "ct/wire/packet.hpp"
#include "dataplane/control/config.hpp"
#include "nat/mappings.hpp"

#include <nlohmann/json.hpp>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace dp {

/// What one stage made of the packet.
struct Step {
    std::string stage;   ///< `parse`, `raw`, `lookup`, `track`, `room`, `dnat`, `route`, ...
    std::string result;  ///< a word for programs: `accept`, `found`, `drop`, ...
    std::string text;    ///< a sentence
    std::vector<std::string> details;  ///< further lines: what was compared, and the like
    /// Members of the JSON object beside the above.
    nlohmann::ordered_json facts = nlohmann::ordered_json::object();
};

/// One packet's story, or one flow's.
struct Story {
    /// What it is about, as members of the JSON object.
    nlohmann::ordered_json head = nlohmann::ordered_json::object();
    std::string title;
    std::vector<Step> steps;
    /// The packet's tuple, those of its connection, and that of the packet inside an ICMP error: by
    /// which one looks for it.
    std::vector<ct::Tuple> tuples;

    Step& add(std::string stage, std::string result, std::string text);
};

/// A paragraph: the title, and a line or more for each step, indented.
[[nodiscard]] std::string to_text(const Story& story);
/// to_text() of what to_json() made. Throws std::runtime_error if it is something else.
[[nodiscard]] std::string text_of(std::string_view json);
/// One object without a newline: the members of `head`, then `title` and `steps`.
[[nodiscard]] std::string to_json(const Story& story);

// ---- Words.

/// `192.0.2.1:80`, `[2001:db8::1]:80`, without a port where the protocol has none.
[[nodiscard]] std::string endpoint_text(const ct::Tuple& t, const ct::Addr& a, ct::Be16 port);
/// The same of an external or inside endpoint of NAT; of ICMP, its identifier is left out.
[[nodiscard]] std::string endpoint_text(const nat::Endpoint& e);
/// `address`, and `port` or, of ICMP, `icmp_id`.
[[nodiscard]] nlohmann::ordered_json endpoint_json(const nat::Endpoint& e);
/// `tcp 192.0.2.1:1000 > 198.51.100.1:80`; of ICMP type, code and id; of GRE the keys.
[[nodiscard]] std::string flow_text(const ct::Tuple& t);
/// The tuple as an object: `proto`, `src`, `dst`, and what the protocol has: ports, type and the
/// like; `zone` if it is not 0.
[[nodiscard]] nlohmann::ordered_json flow_json(const ct::Tuple& t);
/// `[S.] seq 1 ack 2 win 3, 4 bytes`: what the tracker reads of a segment; flags as tcpdump's.
[[nodiscard]] std::string segment_text(const ct::Packet& p);
/// iptables' word for a state; `-` for None.
[[nodiscard]] std::string_view ctstate_name(ct::CtState state) noexcept;
/// The port's name; `local` for what Sluice itself sends or takes.
[[nodiscard]] std::string port_text(const Config& config, ct::PortId port);
/// `drop: NAME: what it means`.
[[nodiscard]] std::string drop_text(ct::Drop drop);

/// `rule 'ssh' (filter, line 12): accept`.
[[nodiscard]] std::string rule_text(const nat::Rule& rule);
[[nodiscard]] nlohmann::ordered_json rule_json(const nat::Rule& rule);
[[nodiscard]] std::string_view name_of(nat::Action action) noexcept;

// ---- Steps that both programs tell.

/// The entry as it stands: state, time left, status, NAT. Adds `entry` to the facts: the object of
/// `-o json`.
void describe_entry(Step& step, const ct::Snapshot& conn);

/// What rules have said of how the connection is tracked (ct::TrackOptions::variant).
void describe_variant(Step& step, std::uint8_t variant);

/// Windows of both directions, a line each.
void describe_windows(Step& step, const ct::Inspection& entry);

/// What the tracker made of a packet whose entry was as `before` says.
[[nodiscard]] Step track_step(const ct::Judgement& judgement, const ct::Inspection& before,
                              const ct::Packet& p);
/// What the tracker makes of a packet that would open a connection.
[[nodiscard]] Step opening_step(const ct::Judgement& judgement, const ct::Packet& p);

/// The translation of a connection whose first packet has the tuple `original`: what became of the
/// source (`snat`) or the destination (`dnat`), by which rule; null: none.
[[nodiscard]] Step snat_step(const ct::Tuple& original, const ct::Tuple& reply,
                             const nat::Rule* rule, std::uint64_t taken);
[[nodiscard]] Step dnat_step(const ct::Tuple& original, const ct::Tuple& reply,
                             const nat::Rule* rule);
/// `dnat` of a packet to the external endpoint of an endpoint-independent mapping, which `rule`
/// made; `refusal`: None, or why it may not come in.
[[nodiscard]] Step entry_step(const nat::Mappings::Mapping& mapping, const nat::Rule& rule,
                              ct::Drop refusal);

}  // namespace dp
