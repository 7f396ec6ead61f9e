// SPDX-License-Identifier: BSD-3-Clause
//
// The reader of sluicectl's command line, whose parts stand in files of their own:
//
//   arguments.cpp           commands, tables, Sluice's own words
//   arguments_filter.cpp    what says which connections: endpoints, protocols, status, labels
//   arguments_protocol.cpp  what only some protocols have: ports, keys, states
//   arguments_finish.cpp    once all is read: what goes with what, and what it comes to
//
// getopt_long(3) rather than a library of today: conntrack(8)'s commands take an optional word
// behind them (`-L expect`), some options an optional address (`-n [ADDRESS]`), and the options of
// a protocol exist only after `-p`.
#pragma once

#include "dataplane/cli/arguments.hpp"
#include "dataplane/cli/labels.hpp"
#include "dataplane/cli/options.hpp"
#include "dataplane/control/units.hpp"

#include <array>
#include <bitset>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace dp {

/// What conntrack(8) says where names of labels are asked for and there are none.
inline constexpr const char* kNoLabelMap = "nfct_labelmap_new: No such file or directory";

/// Throws what conntrack(8) says of a word that it does not understand.
[[noreturn]] inline void bad_parameter(std::string_view what) {
    throw BadParameter{"Bad parameter `" + std::string{what} + "'"};
}

/// `text` as a number that fits T. conntrack(8) takes nonsense for 0; before a deletion that is no
/// service to anybody.
template <class T>
T number_in(std::string_view text) {
    const auto number = parse_number(text);
    if (!number || *number > std::numeric_limits<T>::max()) bad_parameter(text);
    return static_cast<T>(*number);
}

/// Calls `f` for each word between commas.
template <class F>
void for_each_word(std::string_view text, F f) {
    for (;;) {
        const std::size_t comma = text.find(',');
        f(text.substr(0, comma));
        if (comma == std::string_view::npos) return;
        text.remove_prefix(comma + 1);
    }
}

/// Reads one command line.
class ArgumentParser {
public:
    ArgumentParser(int argc, char** argv, std::vector<std::string>& warnings) noexcept
        : argc_{argc}, argv_{argv}, warnings_{warnings} {}

    Arguments parse();

private:
    void take(int option);
    bool take_command(int option);
    bool take_endpoint(int option);
    bool take_protocol_option(int option);
    void command(Command c);
    void local(Arguments::Local what);
    void table_word();
    void address(Option option, std::optional<AddressMatch>& out, bool may_mask);
    void mask(Option option, std::string_view name, std::optional<AddressMatch>& out);
    void nat(Option option, std::string_view name, std::optional<NatMatch>& out);
    void status();
    void output();
    void choose_format();
    void event_mask();
    void family(ct::Family f);
    std::string_view optional_word();
    [[noreturn]] void unknown_option() const;
    void words();
    void explain();
    void secmark();
    void labels(Option option, const char* text);
    [[nodiscard]] const LabelMap& label_map();
    void state();
    void check_rules() const;
    void check_protocol_rules(std::size_t column) const;
    static void check_rule(Rule rule, std::string_view name, bool given);
    [[nodiscard]] std::size_t column() const;
    void check_expectation() const;
    void check_addresses() const;
    void check_ports() const;
    void check_zero() const;
    void finish_entry();
    void finish_change();
    void finish_status();
    [[nodiscard]] bool has(Option o) const { return seen_[static_cast<std::size_t>(o)]; }
    void see(Option o) { seen_.set(static_cast<std::size_t>(o)); }

    int argc_;
    char** argv_;
    std::vector<std::string>& warnings_;
    Arguments out_;
    Filter& filter_ = out_.request.filter;
    std::bitset<kOptionCount> seen_;
    std::bitset<kProtocolOptionCount> protocol_seen_;  ///< since the last -p
    char command_ = 0;                                 ///< letter of the command; 0: none yet
    bool xml_ = false;
    bool save_ = false;
    int long_index_ = 0;  ///< of the option at hand, if it is a long one
    bool status_ignored_ = false;
    std::optional<LabelMap> label_map_;
    std::array<std::optional<std::uint32_t>, 2> vtags_;
};

}  // namespace dp
