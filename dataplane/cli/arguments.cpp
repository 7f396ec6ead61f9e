// SPDX-License-Identifier: BSD-3-Clause
//
// getopt_long(3) rather than a library of today: conntrack(8)'s commands take an optional word
// behind them (`-L expect`), some options an optional address (`-n [ADDRESS]`), and the options of
// a protocol exist only after `-p`.
#include "dataplane/cli/arguments.hpp"

#include "dataplane/cli/options.hpp"
#include "dataplane/control/names.hpp"
#include "dataplane/control/units.hpp"

#include <bitset>
#include <getopt.h>
#include <limits>
#include <optional>

namespace dp {

namespace {

[[noreturn]] void bad_parameter(std::string_view what) {
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
class Parser {
public:
    Parser(int argc, char** argv, std::vector<std::string>& warnings) noexcept
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
    void check_rules() const;
    void check_get() const;
    [[nodiscard]] bool has(Option o) const { return seen_[static_cast<std::size_t>(o)]; }
    void see(Option o) { seen_.set(static_cast<std::size_t>(o)); }

    int argc_;
    char** argv_;
    std::vector<std::string>& warnings_;
    Arguments out_;
    Filter& filter_ = out_.request.filter;
    std::bitset<kOptionCount> seen_;
    char command_ = 0;  ///< letter of the command; 0: none yet
    bool xml_ = false;
    bool save_ = false;
    int long_index_ = 0;  ///< of the option at hand, if it is a long one
    bool status_ignored_ = false;
};

Arguments Parser::parse() {
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
    if (out_.request.command == Command::Get) check_get();
    if (has(Option::Zero)) throw Unserved{"Operation failed: counters cannot be zeroed"};
    if (status_ignored_ && filter_.status_set == 0 && filter_.status_clear == 0)
        throw Unserved{"Operation failed: invalid parameters"};
    return out_;
}

void Parser::unknown_option() const {
    const std::string letter{'-', static_cast<char>(optopt)};
    const bool is_letter = optopt > ' ' && optopt < 127;
    throw BadParameter{"unknown option `" + (is_letter ? letter : argv_[optind - 1]) + "'"};
}

/// The word behind an option whose argument may be missing: attached, or the next that is none.
std::string_view Parser::optional_word() {
    if (optarg != nullptr) return optarg;
    if (optind < argc_ && argv_[optind][0] != '-') return argv_[optind++];
    return {};
}

void Parser::take(int option) {
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
        case 'b':  // the daemon's buffers are its own; taken for the sake of scripts
            see(Option::BufferSize);
            static_cast<void>(number_in<std::uint32_t>(optarg));
            return;
        case 'z':
            return see(Option::Zero);
        case 'l':
        case kLabelAdd:
        case kLabelDel:
            throw BadParameter{"unknown label '" + std::string{optarg != nullptr ? optarg : ""} +
                               "'"};
        case kTupleSrc:
        case kTupleDst:
            throw BadParameter{"Illegal option `--" + std::string{kLongOptions[long_index_].name} +
                               "' with this command"};
        case kSocket:
            out_.socket = optarg;
            return;
        case kAll:
            out_.all = true;
            return;
        case ':':
            throw BadParameter{"option `" + std::string{argv_[optind - 1]} +
                               "' requires an argument"};
        default:
            unknown_option();
    }
}

bool Parser::take_command(int option) {
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
        case 'U':
        case 'R':
            throw BadParameter{"command `-" + std::string{static_cast<char>(option)} +
                               "': entries cannot be made or changed from outside"};
        default:
            return false;
    }
    command_ = static_cast<char>(option);
    if (option != 'V' && option != 'h') table_word();
    return true;
}

void Parser::command(Command c) {
    if (command_ != 0) throw BadParameter{"Invalid commands combination"};
    out_.request.command = c;
}

void Parser::local(Arguments::Local what) {
    if (command_ != 0) throw BadParameter{"Invalid commands combination"};
    out_.local = what;
}

void Parser::table_word() {
    const std::string_view word = optional_word();
    if (word.empty()) return;
    const auto table = find_table(word);
    if (!table) throw BadParameter{"unknown type `" + std::string{word} + "'"};
    const Command c = out_.request.command;
    if ((*table == Table::Dying || *table == Table::Unconfirmed) && c != Command::List)
        throw BadParameter{"Can't do that command with tables `dying' and `unconfirmed'"};
    out_.request.table = *table;
}

bool Parser::take_endpoint(int option) {
    switch (option) {
        case 's':
            address(Option::Src, filter_.orig_src, true);
            return true;
        case 'd':
            address(Option::Dst, filter_.orig_dst, true);
            return true;
        case 'r':
            address(Option::ReplySrc, filter_.reply_src, false);
            return true;
        case 'q':
            address(Option::ReplyDst, filter_.reply_dst, false);
            return true;
        case kMaskSrc:
            mask(Option::MaskSrc, "src", filter_.orig_src);
            return true;
        case kMaskDst:
            mask(Option::MaskDst, "dst", filter_.orig_dst);
            return true;
        case 'n':
            nat(Option::SrcNat, "--src-nat", filter_.src_nat);
            return true;
        case 'g':
            nat(Option::DstNat, "--dst-nat", filter_.dst_nat);
            return true;
        case 'j':
            nat(Option::AnyNat, "--any-nat", filter_.any_nat);
            return true;
        case 'f': {
            see(Option::Family);
            const auto f = find_family(optarg);
            if (!f) throw BadParameter{"`" + std::string{optarg} + "' unsupported protocol"};
            family(*f);
            return true;
        }
        case 'p': {
            see(Option::Protonum);
            filter_.protocol = find_protocol(optarg);
            if (!filter_.protocol)
                throw BadParameter{"`" + std::string{optarg} + "' unsupported protocol"};
            return true;
        }
        default:
            return false;
    }
}

void Parser::family(ct::Family f) {
    if (filter_.family != ct::Family::None && filter_.family != f)
        throw BadParameter{"mismatched address family"};
    filter_.family = f;
}

void Parser::address(Option option, std::optional<AddressMatch>& out, bool may_mask) {
    see(option);
    const std::string_view text = optarg;
    const bool masked = text.find('/') != std::string_view::npos;
    if (masked && !may_mask)
        throw BadParameter{"CIDR notation unavailable for `" +
                           std::string{option == Option::ReplySrc ? "--reply-src" : "--reply-dst"} +
                           "'"};
    out = parse_address_match(text);
    family(out->family);
    if (masked) see(option == Option::Src ? Option::MaskSrc : Option::MaskDst);
}

void Parser::mask(Option option, std::string_view name, std::optional<AddressMatch>& out) {
    see(option);
    const std::string text{optarg};
    if (!out)
        throw BadParameter{"Can't use --mask-" + std::string{name} + " without --" +
                           std::string{name}};
    const AddressMatch bits = parse_address_match(text);
    family(bits.family);
    out->mask = bits.addr;
}

void Parser::nat(Option option, std::string_view name, std::optional<NatMatch>& out) {
    see(option);
    out = NatMatch{};
    const std::string_view word = optional_word();
    if (word.empty()) return;
    if (word.find('/') != std::string_view::npos)
        throw BadParameter{"CIDR notation unavailable for `" + std::string{name} + "'"};
    out = parse_nat_match(word);
    family(out->family);
}

void Parser::status() {
    see(Option::Status);
    static constexpr std::array<std::string_view, 6> kAccepted{
        "EXPECTED", "SEEN_REPLY", "ASSURED", "FIXED_TIMEOUT", "OFFLOAD", "UNREPLIED"};
    for_each_word(optarg, [this](std::string_view word) {
        const std::string_view name = word.starts_with('!') ? word.substr(1) : word;
        for (const std::string_view nat_bit : {"SRC_NAT", "DST_NAT"}) {
            if (!same_word(name, nat_bit)) continue;
            const std::string_view instead = nat_bit == "SRC_NAT" ? "--src-nat" : "--dst-nat";
            warnings_.push_back("WARNING: ignoring " + std::string{nat_bit} + ", use " +
                                std::string{instead} + " instead");
            status_ignored_ = true;
            return;
        }
        if (same_word(name, "UNSET")) {
            status_ignored_ = true;
            return;
        }
        for (const std::string_view accepted : kAccepted)
            if (same_word(name, accepted)) return parse_status_match(word, filter_);
        bad_parameter(word);
    });
}

void Parser::output() {
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

void Parser::choose_format() {
    RenderOptions& o = out_.request.output;
    const bool plain = o.extended || o.timestamp || o.id || o.ktimestamp || o.labels;
    if (save_ && (xml_ || out_.json || plain))
        throw Unserved{"cannot combine save output with any other output type, use -o save only"};
    if (xml_ && out_.json) throw BadParameter{"cannot combine xml and json output"};
    if (save_) o.format = Format::Save;
    if (xml_) o.format = Format::Xml;
    if (out_.json) o.format = Format::Json;
}

void Parser::event_mask() {
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

/// Options that exist only for the protocol that `-p` named before them.
bool Parser::take_protocol_option(int option) {
    if (option < kOrigPortSrc || option > kReplyKeyDst) return false;
    const std::uint8_t protocol = filter_.protocol.value_or(0);
    const PortKind kind = filter_.protocol ? port_kind(protocol) : PortKind::None;
    const auto needs = [&](bool fulfilled) {
        if (!fulfilled)
            throw BadParameter{"unknown option `--" + std::string{kLongOptions[long_index_].name} +
                               "'"};
    };
    if (option == kState) {
        const bool tcp = protocol == ct::ipproto::kTcp;
        needs(tcp || protocol == ct::ipproto::kSctp);
        filter_.state = find_state(protocol, optarg);
        if (!filter_.state)
            throw BadParameter{std::string{"unknown "} + (tcp ? "TCP" : "SCTP") + " state `" +
                               optarg + "'"};
        return true;
    }
    if (option <= kReplyPortDst)
        needs(kind == PortKind::Ports);
    else if (option <= kIcmpId)
        needs(kind == PortKind::Icmp);
    else
        needs(kind == PortKind::Keys);
    switch (option) {
        case kOrigPortSrc:
        case kSrcKey:
            filter_.orig_sport = number_in<std::uint16_t>(optarg);
            break;
        case kOrigPortDst:
        case kDstKey:
            filter_.orig_dport = number_in<std::uint16_t>(optarg);
            break;
        case kReplyPortSrc:
        case kReplyKeySrc:
            filter_.reply_sport = number_in<std::uint16_t>(optarg);
            break;
        case kReplyPortDst:
        case kReplyKeyDst:
            filter_.reply_dport = number_in<std::uint16_t>(optarg);
            break;
        case kIcmpType:
            filter_.icmp_type = number_in<std::uint8_t>(optarg);
            break;
        case kIcmpCode:
            filter_.icmp_code = number_in<std::uint8_t>(optarg);
            break;
        case kIcmpId:
            filter_.icmp_id = number_in<std::uint16_t>(optarg);
            break;
        default:
            break;
    }
    return true;
}

/// Sluice's own commands are words; conntrack(8) has none beyond the tables.
void Parser::words() {
    for (; optind < argc_; ++optind) {
        const std::string_view word = argv_[optind];
        const bool stats = word == "stats";
        if (command_ != 0 || (!stats && word != "drops" && word != "ping"))
            throw BadParameter{"unknown command `" + std::string{word} + "'"};
        out_.request.command = stats             ? Command::Stats
                               : word == "drops" ? Command::Drops
                                                 : Command::Ping;
        command_ = 'w';
    }
}

void Parser::check_rules() const {
    constexpr std::string_view kColumns = "LGDEFCS";
    if (command_ == 'w') {
        if (!(seen_ & ~std::bitset<kOptionCount>{1ULL << static_cast<unsigned>(Option::Output)})
                 .none())
            throw BadParameter{"this command takes no filter"};
        return;
    }
    const bool expect = out_.request.table == Table::Expect;
    std::size_t column = kColumns.find(command_);
    if (expect && out_.request.command == Command::List) column = kOptionRules[0].rules.size() - 1;
    for (const OptionRules& row : kOptionRules) {
        Rule rule = column < row.rules.size() ? Rule{row.rules[column]} : Rule::Illegal;
        if (expect && out_.request.command == Command::Events)
            rule = row.option == Option::Output ? Rule::Legal : Rule::Illegal;
        if (expect && out_.request.command == Command::Flush) rule = Rule::Illegal;
        if (rule == Rule::Required && !has(row.option))
            throw BadParameter{"You need to supply the `" + std::string{row.name} +
                               "' option for this command"};
        if (rule == Rule::Illegal && has(row.option))
            throw BadParameter{"Illegal option `" + std::string{row.name} + "' with this command"};
    }
    if (has(Option::AnyNat) && (has(Option::SrcNat) || has(Option::DstNat)))
        throw BadParameter{"cannot specify `--src-nat' or `--dst-nat' with `--any-nat'"};
    if (expect && (out_.request.command == Command::Get || out_.request.command == Command::Delete))
        throw Unserved{"Operation failed: such expectation doesn't exist"};
}

/// `-G` names a whole tuple.
void Parser::check_get() const {
    const Filter& f = filter_;
    if (!f.orig_src && !f.orig_dst && f.reply_src && f.reply_dst)
        throw Unserved{"Operation failed: invalid parameters"};
    if (!f.orig_src || !f.orig_dst) throw BadParameter{"you have to specify `--src' and `--dst'"};
    const PortKind kind = port_kind(*f.protocol);
    const bool both = f.orig_sport && f.orig_dport;
    if (kind == PortKind::Ports && !both)
        throw BadParameter{"you have to specify `--sport' and `--dport'"};
    if (kind == PortKind::Keys && !both)
        throw BadParameter{"you have to specify `--srckey' and `--dstkey'"};
    if (kind != PortKind::Icmp) return;
    if (!f.icmp_type)
        throw BadParameter{"You need to supply the `--icmp-type' option for this command"};
    if (!f.icmp_code)
        throw BadParameter{"You need to supply the `--icmp-code' option for this command"};
}

}  // namespace

Arguments parse_arguments(int argc, char** argv, std::vector<std::string>& warnings) {
    return Parser{argc, argv, warnings}.parse();
}

}  // namespace dp
