// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/replay/options.hpp"

#include "dataplane/control/filter.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <limits>
#include <utility>

namespace dp::replay {

const std::string_view kHelp =
    R"(usage: sluice-replay -c FILE.toml --in PORT=FILE.pcap [...] [options]

Runs captures through the pipeline of the configuration, in their own time. Devices are not opened,
neighbours are taken for known, and what comes out is the same every time.

  -c, --config FILE      the configuration
  -i, --in PORT=FILE     packets that PORT receives; `-` is the standard input. Repeat it for more
                         ports or captures: packets are taken in the order of their times.
                         pcap or pcapng; Ethernet, raw IP or Linux cooked (`tcpdump -i any`)
  -w, --out PORT=FILE    write what PORT sends: raw IP if its input is, else Ethernet
      --verdicts FILE    write `N PORT VERDICT CTSTATE DIR REASON` for each packet
  -L, --list             at the end print the table, as `sluicectl -L` would
  -E, --events           print the events, as `sluicectl -E` would
      --explain [FILTER] print the story of each packet: what each stage made of it, and why.
                         FILTER: a packet's number, a range (3-7), or a flow like
                         `tcp 10.0.0.1:1234 > 192.0.2.1:80`, of which parts may be missing;
                         packets of either direction match
      --stats            at the end print the totals and every drop reason
      --at-end SECONDS   let that time pass after the last packet before the end
  -o FORMAT[,...]        of --list and --events: extended id timestamp ktimestamp labels xml save
                         json; of --explain: json, an object a packet
      --seed N           of the table's hash and the choice of ports (default 1)
  -V, --version
  -h, --help
)";

namespace {

/// One option of the command line.
struct Spec {
    std::string_view name;  ///< without dashes
    char letter;            ///< 0: none
    bool takes_value;
    bool may_take_value = false;  ///< or do without
};

constexpr std::array kSpecs{
    Spec{"config", 'c', true},       Spec{"in", 'i', true},       Spec{"out", 'w', true},
    Spec{"verdicts", 0, true},       Spec{"list", 'L', false},    Spec{"events", 'E', false},
    Spec{"stats", 0, false},         Spec{"at-end", 0, true},     Spec{"output", 'o', true},
    Spec{"seed", 0, true},           Spec{"version", 'V', false}, Spec{"help", 'h', false},
    Spec{"explain", 0, false, true},
};

[[nodiscard]] std::string quoted(std::string_view text) {
    return "'" + std::string{text} + "'";
}

[[nodiscard]] const Spec& spec_of(std::string_view word) {
    const auto found = std::find_if(kSpecs.begin(), kSpecs.end(), [&](const Spec& s) {
        if (word.starts_with("--")) return word.substr(2) == s.name;
        return word.size() == 2 && s.letter != 0 && word[1] == s.letter;
    });
    if (found == kSpecs.end())
        throw UsageError("unknown option " + quoted(word) + "; see sluice-replay --help");
    return *found;
}

template <class Number>
[[nodiscard]] Number number_of(std::string_view option, std::string_view text, Number least,
                               Number most) {
    Number n = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);
    // A NaN fits nowhere.
    const bool fits = n >= least && n <= most;
    if (error != std::errc{} || end != text.data() + text.size() || !fits)
        throw UsageError(
            fmt::format("--{} is '{}'; write a number from {} to {}", option, text, least, most));
    return n;
}

[[nodiscard]] PortFile port_file_of(std::string_view option, std::string_view text) {
    const auto equals = text.find('=');
    if (equals == std::string_view::npos || equals == 0 || equals + 1 == text.size())
        throw UsageError("--" + std::string{option} + " is " + quoted(text) +
                         "; write it as PORT=FILE, like lan=lan.pcap");
    return {std::string{text.substr(0, equals)}, std::string{text.substr(equals + 1)}};
}

void read_format(std::string_view text, RenderOptions& out) {
    const std::array<std::pair<std::string_view, bool*>, 5> flags{{{"extended", &out.extended},
                                                                   {"id", &out.id},
                                                                   {"timestamp", &out.timestamp},
                                                                   {"ktimestamp", &out.ktimestamp},
                                                                   {"labels", &out.labels}}};
    constexpr std::array<std::pair<std::string_view, Format>, 3> kFormats{
        {{"xml", Format::Xml}, {"save", Format::Save}, {"json", Format::Json}}};
    while (!text.empty()) {
        const std::string_view word = text.substr(0, text.find(','));
        text.remove_prefix(std::min(text.size(), word.size() + 1));
        const auto same = [&](const auto& known) { return known.first == word; };
        const auto flag = std::find_if(flags.begin(), flags.end(), same);
        const auto format = std::find_if(kFormats.begin(), kFormats.end(), same);
        if (flag != flags.end())
            *flag->second = true;
        else if (format != kFormats.end())
            out.format = format->second;
        else
            throw UsageError("-o does not know " + quoted(word) +
                             "; write extended, id, timestamp, ktimestamp, labels, xml, save or "
                             "json, with commas between");
    }
}

/// A number, a range of numbers, or a flow.
[[nodiscard]] ExplainFilter explain_filter_of(std::string_view text) {
    ExplainFilter out;
    if (text.empty()) return out;
    if (text.find_first_not_of("0123456789-") != std::string_view::npos) {
        try {
            out.flow = parse_flow_pattern(text);
        } catch (const BadParameter& e) {
            throw UsageError(std::string{"--explain: "} + e.what());
        }
        return out;
    }
    constexpr auto kMost = std::numeric_limits<std::uint64_t>::max();
    const auto dash = text.find('-');
    out.first = number_of<std::uint64_t>("explain", text.substr(0, dash), 1, kMost);
    out.last = dash == std::string_view::npos
                   ? out.first
                   : number_of<std::uint64_t>("explain", text.substr(dash + 1), out.first, kMost);
    return out;
}

void apply(const Spec& spec, const std::string& value, Options& out) {
    if (spec.name == "config") out.config = value;
    if (spec.name == "in") out.inputs.push_back(port_file_of(spec.name, value));
    if (spec.name == "out") out.outputs.push_back(port_file_of(spec.name, value));
    if (spec.name == "verdicts") out.verdicts = value;
    if (spec.name == "list") out.list = true;
    if (spec.name == "events") out.events = true;
    if (spec.name == "stats") out.stats = true;
    if (spec.name == "explain") out.explain = explain_filter_of(value);
    if (spec.name == "at-end")
        out.at_end = static_cast<ct::Nanos>(
            number_of<double>(spec.name, value, 0, ct::kMaxTimeoutSeconds) * ct::kNanosPerSecond);
    if (spec.name == "output") read_format(value, out.render);
    if (spec.name == "seed")
        out.seed = number_of<std::uint64_t>(spec.name, value, 1,
                                            std::numeric_limits<std::uint64_t>::max());
    if (spec.name == "version") out.version = true;
    if (spec.name == "help") out.help = true;
}

void check_complete(const Options& o) {
    if (o.config.empty()) throw UsageError("no configuration; name one with -c FILE.toml");
    if (o.inputs.empty()) throw UsageError("no capture; name one with --in PORT=FILE.pcap");
    for (auto a = o.outputs.begin(); a != o.outputs.end(); ++a)
        for (auto b = o.outputs.begin(); b != a; ++b) {
            if (a->port == b->port)
                throw UsageError("port " + quoted(a->port) + " has two outputs; name one");
            if (a->path == b->path)
                throw UsageError("two ports write to " + quoted(a->path) +
                                 "; give each a file of its own");
        }
    const auto from_stdin = std::count_if(o.inputs.begin(), o.inputs.end(),
                                          [](const PortFile& f) { return f.path == "-"; });
    if (o.explain && (o.render.format == Format::Xml || o.render.format == Format::Save))
        throw UsageError("--explain tells in words or, with -o json, as JSON; write another -o");
    if (from_stdin > 1) throw UsageError("two captures come from the standard input; name files");
}

}  // namespace

bool ExplainFilter::wants(std::uint64_t number, std::span<const ct::Tuple> tuples) const noexcept {
    if (number < first || number > last) return false;
    return !flow || std::any_of(tuples.begin(), tuples.end(),
                                [&](const ct::Tuple& t) { return flow->matches_either_way(t); });
}

Options parse_options(const std::vector<std::string>& arguments) {
    Options out;
    for (std::size_t i = 0; i < arguments.size(); ++i) {
        std::string_view word = arguments[i];
        if (word.size() < 2 || word[0] != '-')
            throw UsageError("unexpected argument " + quoted(word) +
                             "; captures are named with --in PORT=FILE.pcap");
        std::optional<std::string> value;
        if (const auto equals = word.find('='); word.starts_with("--") && equals != word.npos) {
            value = std::string{word.substr(equals + 1)};
            word = word.substr(0, equals);
        }
        const Spec& spec = spec_of(word);
        if (!spec.takes_value && !spec.may_take_value && value)
            throw UsageError(std::string{word} + " takes no value; leave " + quoted(*value) +
                             " out");
        if (spec.takes_value && !value) {
            if (i + 1 == arguments.size())
                throw UsageError(std::string{word} + " needs a value; see sluice-replay --help");
            value = arguments[++i];
        }
        if (spec.may_take_value && !value && i + 1 < arguments.size() &&
            !arguments[i + 1].starts_with('-'))
            value = arguments[++i];
        apply(spec, value.value_or(std::string{}), out);
    }
    if (!out.help && !out.version) check_complete(out);
    return out;
}

}  // namespace dp::replay
