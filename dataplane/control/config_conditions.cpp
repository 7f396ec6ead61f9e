// SPDX-License-Identifier: BSD-3-Clause
//
// The conditions of [[rule]] that are one value or a set of words: ports by name, states, status,
// marks. A '!' before a value inverts the condition, as it does before iptables' options.
#include "ct/conn/status.hpp"
#include "dataplane/control/config_parts.hpp"
#include "dataplane/control/notation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cctype>

namespace dp {
namespace {

/// What a word of `ctstate` stands for. SNAT and DNAT are states to iptables, as well.
struct State {
    ct::CtState state = ct::CtState::None;
    std::uint16_t nat = 0;
};
constexpr std::array<Word<State>, 7> kStates{{{"NEW", {ct::CtState::New}},
                                              {"ESTABLISHED", {ct::CtState::Established}},
                                              {"RELATED", {ct::CtState::Related}},
                                              {"INVALID", {ct::CtState::Invalid}},
                                              {"UNTRACKED", {ct::CtState::Untracked}},
                                              {"SNAT", {.nat = ct::status::kSrcNat}},
                                              {"DNAT", {.nat = ct::status::kDstNat}}}};
/// NONE stands for the absence of the others that iptables knows.
constexpr std::array<Word<std::uint16_t>, 7> kStatuses{{{"NONE", 0},
                                                        {"EXPECTED", ct::status::kExpected},
                                                        {"SEEN_REPLY", ct::status::kSeenReply},
                                                        {"ASSURED", ct::status::kAssured},
                                                        {"CONFIRMED", ct::status::kConfirmed},
                                                        {"SNAT", ct::status::kSrcNat},
                                                        {"DNAT", ct::status::kDstNat}}};
constexpr std::uint16_t kAnyStatus =
    ct::status::kExpected | ct::status::kSeenReply | ct::status::kAssured | ct::status::kConfirmed;

[[nodiscard]] constexpr unsigned bit_of(ct::CtState s) noexcept {
    return 1U << static_cast<unsigned>(s);
}

template <class T, std::size_t N>
std::vector<std::string_view> names_of(const std::array<Word<T>, N>& words) {
    std::vector<std::string_view> names;
    for (const auto& [name, value] : words) names.push_back(name);
    return names;
}

/// The value of `text` among `words`, whatever its case; reports a word that is none of them.
template <class T, std::size_t N>
std::optional<T> find_word(Section& section, std::string_view key, const Text& text,
                           const std::array<Word<T>, N>& words) {
    std::string upper = text.value;
    std::transform(upper.begin(), upper.end(), upper.begin(), [](char c) {
        return static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    });
    for (const auto& [name, value] : words)
        if (name == upper) return value;
    section.problem_at(text.line, fmt::format("'{}' names {}", key, in_quotes(text.value)),
                       suggestion(text.value, names_of(words), "choose among"));
    return std::nullopt;
}

void read_states(Section& section, nat::Match& match) {
    auto texts = section.scalars("ctstate");
    if (texts.empty()) return;
    const bool excludes = take_not(section, "ctstate", texts);
    unsigned states = 0;
    for (const Text& text : texts) {
        const auto word = find_word(section, "ctstate", text, kStates);
        if (!word) continue;
        match.state_nat |= word->nat;
        if (word->nat == 0) states |= bit_of(word->state);
    }
    match.not_states = excludes && match.state_nat != 0;
    if (excludes && !match.not_states)
        states = nat::kAllStates & ~(states | bit_of(ct::CtState::None));
    if (excludes && states == 0 && !match.not_states)
        section.problem("ctstate", "this rule can never match: it excludes every state",
                        "leave one out");
    match.states = static_cast<std::uint8_t>(states);
}

void read_statuses(Section& section, nat::Match& match) {
    auto texts = section.scalars("ctstatus");
    if (texts.empty()) return;
    bool excludes = take_not(section, "ctstatus", texts);
    std::uint16_t bits = 0;
    for (const Text& text : texts) {
        const auto bit = find_word(section, "ctstatus", text, kStatuses);
        if (!bit) continue;
        bits |= *bit;
        if (*bit != 0) continue;
        if (texts.size() > 1)
            section.problem_at(text.line, "'ctstatus' has NONE beside others",
                               "write it alone: it stands for the absence of all others");
        excludes = !excludes;
        bits = kAnyStatus;
    }
    (excludes ? match.status_none : match.status_any) |= bits;
}

void read_connection_mark(Section& section, nat::Match& match) {
    bool excluded = false;
    const auto mark = read_mark(section, "mark", excluded);
    if (!mark) return;
    if (excluded && mark->mask == 0)
        section.problem("mark",
                        "this rule can never match: its mask has no bits, and so every "
                        "mark is excluded",
                        "leave 'mark' out, or write a mask with bits");
    (excluded ? match.not_mark : match.mark) = mark->value;
    (excluded ? match.not_mark_mask : match.mark_mask) = mark->mask;
}

/// `in` or `out`. Packets that Sluice itself made come in by "local"; none goes out there.
void read_rule_port(Section& section, std::string_view key, const Config& config, ct::PortId& is,
                    ct::PortId& is_not) {
    auto name = section.text(key);
    if (!name) return;
    ct::PortId& out = take_not(*name) ? is_not : is;
    if (name->value != kLocalPortName)
        out = resolve_port(section, config, *name);
    else if (key == "in")
        out = ct::kLocalPort;
    else
        section.problem(key, "no packet goes out by 'local'",
                        "match packets to Sluice itself by their 'dst'");
}

}  // namespace

bool take_not(Text& text) {
    if (!text.value.starts_with('!')) return false;
    text.value.erase(0, 1);
    return true;
}

bool take_not(Section& section, std::string_view key, std::vector<Text>& texts) {
    std::size_t excluded = 0;
    for (Text& text : texts) excluded += take_not(text) ? 1U : 0U;
    if (excluded != 0 && excluded != texts.size())
        section.problem(key, fmt::format("'{}' has a '!' before some of its values only", key),
                        "write it before each, which excludes them all, or before none");
    return excluded != 0;
}

std::optional<MarkMatch> read_mark(Section& section, std::string_view key, bool& excluded) {
    auto text = section.scalar(key);
    if (!text) return std::nullopt;
    excluded = take_not(*text);
    const auto mark = parse_mark(text->value);
    if (!mark)
        section.problem(key, fmt::format("{} is no mark", in_quotes(text->value)),
                        "write VALUE or VALUE/MASK, 32 bits each, like \"0x1/0xff\"");
    return mark;
}

void read_conditions(Section& section, const Config& config, nat::Match& match) {
    read_rule_port(section, "in", config, match.in_port, match.not_in_port);
    read_rule_port(section, "out", config, match.out_port, match.not_out_port);
    read_states(section, match);
    read_statuses(section, match);
    read_connection_mark(section, match);
}

}  // namespace dp
