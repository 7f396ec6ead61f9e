// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/cli/argument_parser.hpp"
#include "dataplane/control/flow_notation.hpp"
#include "dataplane/control/names.hpp"
#include "dataplane/control/sysctl.hpp"

#include <algorithm>
#include <getopt.h>

namespace dp {

namespace {

/// `text` as a value of `sysctl`, with the units that the configuration takes.
std::uint64_t sysctl_value(const Sysctl& sysctl, std::string_view text) {
    std::optional<std::uint64_t> value;
    switch (sysctl.kind) {
        case Sysctl::Kind::Flag:
            if (text == "1" || text == "true") value = 1;
            if (text == "0" || text == "false") value = 0;
            break;
        case Sysctl::Kind::Number:
            value = parse_count(text);
            break;
        case Sysctl::Kind::Protocol:
            value = find_protocol(text);
            break;
        case Sysctl::Kind::Seconds:
            value = parse_duration(text);
            break;
    }
    if (!value)
        throw BadParameter{std::string{sysctl.name} + " cannot be `" + std::string{text} + "'"};
    return *value;
}

}  // namespace

Arguments ArgumentParser::parse() {
    opterr = 0;
    optind = 0;
    for (;;) {
        const int option = getopt_long(argc_, argv_, kShortOptions, kLongOptions, &long_index_);
        if (option == -1) break;
        take(option);
    }
    words();
    if (command_ == 0 && seen_.none()) {
        out_.local = Arguments::Local::Help;
        return out_;
    }
    check_rules();
    choose_format();
    const Command c = out_.request.command;
    const bool expect = out_.request.table == Table::Expect;
    const bool names_tuple = !expect && (c == Command::Get || c == Command::Create);
    if (names_tuple) check_addresses();
    check_protocol_rules(column());
    if (names_tuple) check_ports();
    if (expect) check_expectation();
    check_zero();
    finish_status();
    if (c == Command::Create) finish_entry();
    if (c == Command::Update) finish_change();
    // A line of `-o save` says what was left of a connection; to delete it, that is no condition.
    if (c == Command::Delete) filter_.timeout_s.reset();
    return out_;
}

void ArgumentParser::unknown_option() const {
    const std::string letter{'-', static_cast<char>(optopt)};
    const bool is_letter = optopt > ' ' && optopt < 127;
    throw BadParameter{"unknown option `" + (is_letter ? letter : argv_[optind - 1]) + "'"};
}

/// The word behind an option whose argument may be missing: attached, or the next that is none.
std::string_view ArgumentParser::optional_word() {
    if (optarg != nullptr) return optarg;
    if (optind < argc_ && argv_[optind][0] != '-') return argv_[optind++];
    return {};
}

void ArgumentParser::take(int option) {
    if (take_command(option) || take_endpoint(option) || take_protocol_option(option)) return;
    switch (option) {
        case 't':
            see(Option::Timeout);
            filter_.timeout_s = number_in<std::uint32_t>(optarg);
            return;
        case 'u':
            return status();
        case 'e':
            return event_mask();
        case 'o':
            return output();
        case 'm':
            see(Option::Mark);
            return parse_mark_match(optarg, filter_);
        case 'w':
            see(Option::Zone);
            filter_.zone = number_in<std::uint16_t>(optarg);
            return;
        case kOrigZone:
            see(Option::OrigZone);
            filter_.orig_zone = number_in<std::uint16_t>(optarg);
            return;
        case kReplyZone:
            see(Option::ReplyZone);
            filter_.reply_zone = number_in<std::uint16_t>(optarg);
            return;
        case 'i':
            see(Option::Id);
            filter_.id = number_in<std::uint32_t>(optarg);
            return;
        case 'b':
            see(Option::BufferSize);
            out_.request.buffer = std::min(number_in<std::uint32_t>(optarg), kMaxEventBuffer);
            return;
        case 'z':
            see(Option::Zero);
            out_.request.zero = true;
            return;
        case 'c':
            return secmark();
        case 'l':
            return labels(Option::Label, optarg);
        case kLabelAdd:
            return labels(Option::LabelAdd, optarg);
        case kLabelDel: {
            const std::string_view word = optional_word();
            return labels(Option::LabelDel, word.empty() ? nullptr : word.data());
        }
        case kTupleSrc:
        case kTupleDst:
            see(option == kTupleSrc ? Option::TupleSrc : Option::TupleDst);
            return family(parse_address_match(optarg).family);
        case kSocket:
            out_.socket = optarg;
            return;
        case kAll:
            out_.all = true;
            return;
        case kInPort:
            out_.request.name = optarg;
            return;
        case ':':
            throw BadParameter{"option `" + std::string{argv_[optind - 1]} +
                               "' requires an argument"};
        default:
            unknown_option();
    }
}

bool ArgumentParser::take_command(int option) {
    switch (option) {
        case 'L':
            command(Command::List);
            break;
        case 'G':
            command(Command::Get);
            break;
        case 'D':
            command(Command::Delete);
            break;
        case 'E':
            command(Command::Events);
            break;
        case 'F':
            command(Command::Flush);
            break;
        case 'C':
            command(Command::Count);
            break;
        case 'S':
            command(Command::Counters);
            break;
        case 'V':
            local(Arguments::Local::Version);
            break;
        case 'h':
            local(Arguments::Local::Help);
            break;
        case 'I':
        case 'A':
            command(Command::Create);
            out_.request.keep_existing = option == 'A';
            break;
        case 'U':
            command(Command::Update);
            break;
        case 'R':
            command(Command::Ping);
            out_.load_file = optarg;
            command_ = 'R';
            return true;
        default:
            return false;
    }
    command_ = static_cast<char>(option);
    if (option != 'V' && option != 'h') table_word();
    return true;
}

void ArgumentParser::command(Command c) {
    if (command_ != 0) throw BadParameter{"Invalid commands combination"};
    out_.request.command = c;
}

void ArgumentParser::local(Arguments::Local what) {
    if (command_ != 0) throw BadParameter{"Invalid commands combination"};
    out_.local = what;
}

void ArgumentParser::table_word() {
    const std::string_view word = optional_word();
    if (word.empty()) return;
    const auto table = find_table(word);
    if (!table) throw BadParameter{"unknown type `" + std::string{word} + "'"};
    const Command c = out_.request.command;
    if (*table == Table::Expect && c == Command::Update)
        throw BadParameter{"Can't do --update on expectations"};
    if ((*table == Table::Dying || *table == Table::Unconfirmed) && c != Command::List)
        throw BadParameter{"Can't do that command with tables `dying' and `unconfirmed'"};
    out_.request.table = *table;
}

void ArgumentParser::output() {
    see(Option::Output);
    RenderOptions& o = out_.request.output;
    for_each_word(optarg, [&](std::string_view word) {
        if (same_word(word, "xml"))
            xml_ = true;
        else if (same_word(word, "json"))
            out_.json = true;
        else if (same_word(word, "save"))
            save_ = true;
        else if (same_word(word, "extended"))
            o.extended = true;
        else if (same_word(word, "timestamp"))
            o.timestamp = true;
        else if (same_word(word, "id"))
            o.id = true;
        else if (same_word(word, "ktimestamp"))
            o.ktimestamp = true;
        else if (same_word(word, "labels"))
            o.labels = true;
        else if (!same_word(word, "userspace"))  // no event here comes from a process
            bad_parameter(word);
    });
}

void ArgumentParser::event_mask() {
    if (!has(Option::EventMask)) out_.request.events = 0;
    see(Option::EventMask);
    for_each_word(optarg, [this](std::string_view word) {
        std::uint8_t bits = 0;
        if (same_word(word, "ALL")) bits = kEventAll;
        if (same_word(word, "NEW")) bits = kEventNew;
        if (same_word(word, "UPDATES")) bits = kEventUpdate;
        if (same_word(word, "DESTROY")) bits = kEventDestroy;
        if (bits == 0) bad_parameter(word);
        out_.request.events = static_cast<std::uint8_t>(out_.request.events | bits);
    });
}

/// `explain` takes its flow in one line, whose words may stand apart, or as options.
void ArgumentParser::explain() {
    command_ = 'x';
    out_.request.command = Command::Explain;
    std::string flow;
    for (; optind < argc_; ++optind) flow += std::string{flow.empty() ? "" : " "} + argv_[optind];
    const bool by_options = filter_.protocol || filter_.orig_src || filter_.orig_dst;
    if (by_options != flow.empty())
        throw BadParameter{
            "`explain' needs one flow, as `tcp 10.0.0.1:1234 > 192.0.2.1:80' or by -p, -s, -d, "
            "--sport and --dport"};
    if (by_options) {
        if (!filter_.protocol) throw BadParameter{"`explain' needs a protocol: -p"};
        check_addresses();
        check_protocol_rules(kRuleColumns.find('G'));  // it asks for an entry, too
        return check_ports();
    }
    const auto zone = filter_.zone;
    filter_ = filter_of(whole_tuple(parse_flow_pattern(flow)));
    filter_.zone = zone;
}

/// Sluice's own commands are words; conntrack(8) has none beyond the tables.
void ArgumentParser::words() {
    if (optind >= argc_) return;
    const auto next = [this] { return std::string_view{argv_[optind++]}; };
    const std::string_view word = next();
    Request& r = out_.request;
    const bool get = word == "get";
    const bool set = word == "set";
    if (command_ == 0 && word == "explain") return explain();
    const bool port = word == "port";
    const bool address = word == "address";
    if (command_ != 0 ||
        (!get && !set && !port && !address && word != "stats" && word != "drops" && word != "ping"))
        throw BadParameter{"unknown command `" + std::string{word} + "'"};
    command_ = 'w';
    r.command = get || set        ? Command::Sysctl
                : port            ? Command::Port
                : address         ? Command::Address
                : word == "stats" ? Command::Stats
                : word == "drops" ? Command::Drops
                                  : Command::Ping;
    std::optional<std::string_view> value;  // of NAME=VALUE, as sysctl -w takes it
    if ((get || set) && optind < argc_) {
        std::string_view name = next();
        if (const auto equals = name.find('='); set && equals != std::string_view::npos) {
            value = name.substr(equals + 1);
            name = name.substr(0, equals);
        }
        r.name = find_sysctl(name).name;
    }
    if (port) {
        const bool whole = argc_ - optind >= 2;
        if (whole) r.name = next();
        const std::string_view state = whole ? next() : std::string_view{};
        if (state != "up" && state != "down")
            throw BadParameter{"`port' needs a name and `up' or `down', like `port wan down'"};
        r.value = state == "up" ? 1U : 0U;
    }
    if (address && optind < argc_) r.name = next();
    if (address && optind < argc_) {
        const std::string_view what = next();
        if ((what != "add" && what != "del") || optind >= argc_)
            throw BadParameter{
                "`address' takes a port and then `add' or `del' and an address, like `address wan "
                "add 192.0.2.1/24'"};
        r.value = what == "add" ? 1U : 0U;
        r.address = next();
    }
    if (set) {
        if (r.name.empty() || (!value && optind >= argc_))
            throw BadParameter{"`set' needs a name and a value, like `set nf_conntrack_acct 1'"};
        r.value = sysctl_value(find_sysctl(r.name), value ? *value : next());
    }
    if (optind < argc_) throw BadParameter{"unknown command `" + std::string{argv_[optind]} + "'"};
}

Arguments parse_arguments(int argc, char** argv, std::vector<std::string>& warnings) {
    return ArgumentParser{argc, argv, warnings}.parse();
}

}  // namespace dp
