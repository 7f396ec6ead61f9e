// SPDX-License-Identifier: BSD-3-Clause
//
// getopt_long(3) rather than a library of today: conntrack(8)'s commands take an optional word
// behind them (`-L expect`), some options an optional address (`-n [ADDRESS]`), and the options of
// a protocol exist only after `-p`.
#include "dataplane/cli/arguments.hpp"

#include "dataplane/cli/entry.hpp"
#include "dataplane/cli/labels.hpp"
#include "dataplane/cli/options.hpp"
#include "dataplane/control/names.hpp"
#include "dataplane/control/sysctl.hpp"
#include "dataplane/control/units.hpp"

#include <algorithm>
#include <bitset>
#include <getopt.h>
#include <limits>
#include <optional>
#include <utility>

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

/// What conntrack(8) says where names of labels are asked for and there are none.
constexpr const char* kNoLabelMap = "nfct_labelmap_new: No such file or directory";

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
    void secmark();
    void labels(Option option, const char* text);
    [[nodiscard]] const LabelMap& label_map();
    void check_rules() const;
    void check_tuple() const;
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
    char command_ = 0;  ///< letter of the command; 0: none yet
    bool xml_ = false;
    bool save_ = false;
    int long_index_ = 0;  ///< of the option at hand, if it is a long one
    bool status_ignored_ = false;
    std::optional<LabelMap> label_map_;
    std::array<std::optional<std::uint32_t>, 2> vtags_;
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
    const Command c = out_.request.command;
    if (c == Command::Get || c == Command::Create) check_tuple();
    check_zero();
    finish_status();
    if (c == Command::Create) finish_entry();
    if (c == Command::Update) finish_change();
    return out_;
}

/// What `-u` means: a filter, or bits to be set.
void Parser::finish_status() {
    const Command c = out_.request.command;
    if (c != Command::Create && c != Command::Update) {
        if (status_ignored_ && filter_.status_set == 0 && filter_.status_clear == 0)
            throw Unserved{"Operation failed: invalid parameters"};
        return;
    }
    constexpr std::uint16_t kSettable =
        ct::status::kSeenReply | ct::status::kAssured | ct::status::kFixedTimeout;
    const auto wanted = static_cast<std::uint16_t>(filter_.status_set & kSettable);
    if ((filter_.status_set & ct::status::kExpected) != 0)
        throw Unserved{"Operation failed: Device or resource busy"};
    out_.request.entry.status = out_.request.change.status = wanted;
    filter_.status_set = filter_.status_clear = 0;
}

/// -I and -A: the filter's fields are the entry's.
void Parser::finish_entry() {
    ct::Injection& e = out_.request.entry;
    const std::uint16_t status = e.status;
    e = entry_of(filter_, vtags_);
    e.status = status;
    filter_ = {};
}

/// -U: what can be changed is no filter.
void Parser::finish_change() {
    ct::Change& c = out_.request.change;
    if (has(Option::Timeout))
        c.timeout_s = std::min(filter_.timeout_s.value_or(0), ct::kMaxTimeoutSeconds);
    filter_.timeout_s.reset();
    c.state = filter_.state;
    filter_.state.reset();
    c.mark = std::exchange(filter_.mark, 0);
    c.mark_mask = std::exchange(filter_.mark_mask, 0);
    if (has(Option::LabelAdd) && has(Option::LabelDel))
        throw Unserved{"cannot use --label-add and --label-del at the same time"};
}

/// Counters are zeroed for all or for none.
void Parser::check_zero() const {
    if (!has(Option::Zero)) return;
    for (const Option o : {Option::Src, Option::Dst, Option::ReplySrc, Option::ReplyDst,
                           Option::Protonum, Option::Status, Option::Mark, Option::Zone,
                           Option::OrigZone, Option::ReplyZone, Option::Label})
        if (has(o)) throw BadParameter{"Can't use -z with filtering parameters"};
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
    if (*table == Table::Expect && c == Command::Update)
        throw BadParameter{"Can't do --update on expectations"};
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
            // What an earlier -p had made known of another protocol means nothing for this one.
            filter_.state.reset();
            filter_.icmp_type.reset();
            filter_.icmp_code.reset();
            filter_.icmp_id.reset();
            vtags_ = {};
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
    constexpr std::string_view kFiltering = "LDUE";
    if (!out && kFiltering.find(command_) != std::string_view::npos)
        throw BadParameter{"Can't use --mask-" + std::string{name} + " without --" +
                           std::string{name}};
    const AddressMatch bits = parse_address_match(text);
    family(bits.family);
    if (out) out->mask = bits.addr;
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

/// Nothing here has a security mark, and what has none passes, as with conntrack(8).
void Parser::secmark() {
    see(Option::Secmark);
    static_cast<void>(number_in<std::uint32_t>(optarg));
}

const LabelMap& Parser::label_map() {
    if (!label_map_) label_map_ = LabelMap::load();
    return *label_map_;
}

/// Labels by the names of connlabel.conf, or by number where there is no such file. A change of
/// labels without names is one of all of them.
void Parser::labels(Option option, const char* text) {
    see(option);
    std::array<std::uint64_t, 2> bits{};
    if (text == nullptr) {
        bits = {~std::uint64_t{0}, ~std::uint64_t{0}};
    } else {
        for_each_word(text, [&](std::string_view word) {
            const auto number = label_map().find(word);
            if (!number) {
                if (!label_map().there()) warnings_.push_back(kNoLabelMap);
                throw BadParameter{"unknown label '" + std::string{word} + "'"};
            }
            bits[*number / 64] |= std::uint64_t{1} << *number % 64;
        });
    }
    ct::Change& c = out_.request.change;
    for (std::size_t i = 0; i < bits.size(); ++i) {
        if (option == Option::Label) {
            filter_.labels[i] |= bits[i];
        } else {
            c.label_mask[i] |= bits[i];
            if (option == Option::LabelAdd) c.labels[i] |= bits[i];
        }
    }
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
    if (o.labels && !label_map().there()) warnings_.push_back(kNoLabelMap);
    // Whoever asks about labels sees them.
    o.labels = o.labels || has(Option::Label) || has(Option::LabelAdd) || has(Option::LabelDel);
    if (o.labels) o.label_names = label_map().names();
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
    if (option < kOrigPortSrc || option > kReplyVtag) return false;
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
    if (option == kOrigVtag || option == kReplyVtag) {
        needs(protocol == ct::ipproto::kSctp);
        vtags_[option == kOrigVtag ? 0 : 1] = number_in<std::uint32_t>(optarg);
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
    if (optind >= argc_) return;
    const auto next = [this] { return std::string_view{argv_[optind++]}; };
    const std::string_view word = next();
    Request& r = out_.request;
    const bool get = word == "get";
    const bool set = word == "set";
    if (command_ != 0 || (!get && !set && word != "stats" && word != "drops" && word != "ping"))
        throw BadParameter{"unknown command `" + std::string{word} + "'"};
    command_ = 'w';
    r.command = get || set        ? Command::Sysctl
                : word == "stats" ? Command::Stats
                : word == "drops" ? Command::Drops
                                  : Command::Ping;
    if ((get || set) && optind < argc_) r.name = find_sysctl(next()).name;
    if (set) {
        if (r.name.empty() || optind >= argc_)
            throw BadParameter{"`set' needs a name and a value, like `set nf_conntrack_acct 1'"};
        r.value = sysctl_value(find_sysctl(r.name), next());
    }
    if (optind < argc_) throw BadParameter{"unknown command `" + std::string{argv_[optind]} + "'"};
}

void Parser::check_rules() const {
    if (command_ == 'R') return;
    if (command_ == 'w') {
        if (!(seen_ & ~std::bitset<kOptionCount>{1ULL << static_cast<unsigned>(Option::Output)})
                 .none())
            throw BadParameter{"this command takes no filter"};
        return;
    }
    const Command c = out_.request.command;
    const bool expect = out_.request.table == Table::Expect;
    const char letter =
        expect && command_ != 'S' ? static_cast<char>(command_ - 'A' + 'a') : command_;
    const std::size_t column = kRuleColumns.find(letter);
    for (const OptionRules& row : kOptionRules) {
        const Rule rule = column < row.rules.size() ? Rule{row.rules[column]} : Rule::Illegal;
        if (rule == Rule::Required && !has(row.option))
            throw BadParameter{"You need to supply the `" + std::string{row.name} +
                               "' option for this command"};
        if (rule == Rule::Illegal && has(row.option))
            throw BadParameter{"Illegal option `" + std::string{row.name} + "' with this command"};
    }
    if (has(Option::AnyNat) && (has(Option::SrcNat) || has(Option::DstNat)))
        throw BadParameter{"cannot specify `--src-nat' or `--dst-nat' with `--any-nat'"};
    if (expect && (c == Command::Get || c == Command::Delete))
        throw Unserved{"Operation failed: such expectation doesn't exist"};
    if (expect && c == Command::Create)
        throw Unserved{"Operation failed: master conntrack not found"};
}

/// `-G`, `-I` and `-A` name a whole tuple.
void Parser::check_tuple() const {
    const Filter& f = filter_;
    const bool by_reply = !f.orig_src && !f.orig_dst && f.reply_src && f.reply_dst;
    if (by_reply && command_ == 'G') throw Unserved{"Operation failed: invalid parameters"};
    if (!by_reply && (!f.orig_src || !f.orig_dst))
        throw BadParameter{"you have to specify `--src' and `--dst'"};
    const PortKind kind = port_kind(*f.protocol);
    const bool both = by_reply ? f.reply_sport && f.reply_dport : f.orig_sport && f.orig_dport;
    if (kind == PortKind::Ports && !both && *f.protocol != ct::ipproto::kDccp)
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
