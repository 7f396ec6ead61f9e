// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/cli/argument_parser.hpp"
#include "dataplane/cli/entry.hpp"
#include "dataplane/control/names.hpp"

#include <algorithm>
#include <utility>

namespace dp {

/// What `-u` means: a filter, or bits to be set.
void ArgumentParser::finish_status() {
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
void ArgumentParser::finish_entry() {
    ct::Injection& e = out_.request.entry;
    const std::uint16_t status = e.status;
    e = entry_of(filter_, vtags_);
    e.status = status;
    filter_ = {};
}

/// -U: what can be changed is no filter.
void ArgumentParser::finish_change() {
    ct::Change& c = out_.request.change;
    if (has(Option::Timeout))
        c.timeout_s = std::min(filter_.timeout_s.value_or(0), ct::kMaxTimeoutSeconds);
    filter_.timeout_s.reset();
    // DCCP's is checked and forgotten: Linux has ceased to track its course.
    if (filter_.protocol != ct::ipproto::kDccp) c.state = filter_.state;
    filter_.state.reset();
    c.mark = std::exchange(filter_.mark, 0);
    c.mark_mask = std::exchange(filter_.mark_mask, 0);
    if (has(Option::LabelAdd) && has(Option::LabelDel))
        throw Unserved{"cannot use --label-add and --label-del at the same time"};
}

/// Counters are zeroed for all or for none.
void ArgumentParser::check_zero() const {
    if (!has(Option::Zero)) return;
    for (const Option o : {Option::Src, Option::Dst, Option::ReplySrc, Option::ReplyDst,
                           Option::Protonum, Option::Status, Option::Mark, Option::Zone,
                           Option::OrigZone, Option::ReplyZone, Option::Label})
        if (has(o)) throw BadParameter{"Can't use -z with filtering parameters"};
}

void ArgumentParser::choose_format() {
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

void ArgumentParser::check_rules() const {
    const Command command = out_.request.command;
    if (!out_.request.name.empty() && command_ != 'x' && command != Command::Sysctl &&
        command != Command::Port && command != Command::Address)
        throw BadParameter{"`--in' goes with `explain' only"};
    if (command_ == 'R') return;
    if (command_ == 'x') {
        constexpr std::array kUsed{Option::Src,    Option::Dst,  Option::Protonum,
                                   Option::Family, Option::Zone, Option::Output};
        auto others = seen_;
        for (const Option o : kUsed) others.reset(static_cast<std::size_t>(o));
        if (others.any()) throw BadParameter{"`explain' takes a flow, --in, -w and -o json only"};
        return;
    }
    if (command_ == 'w') {
        if (!(seen_ & ~std::bitset<kOptionCount>{1ULL << static_cast<unsigned>(Option::Output)})
                 .none())
            throw BadParameter{"this command takes no filter"};
        return;
    }
    for (const OptionRules& row : kOptionRules)
        check_rule(rule_in(row.rules, column()), row.name, has(row.option));
    if (has(Option::AnyNat) && (has(Option::SrcNat) || has(Option::DstNat)))
        throw BadParameter{"cannot specify `--src-nat' or `--dst-nat' with `--any-nat'"};
}

/// The command's column in the tables of rules.
std::size_t ArgumentParser::column() const {
    const bool expect = out_.request.table == Table::Expect && command_ != 'S';
    return kRuleColumns.find(expect ? static_cast<char>(command_ - 'A' + 'a') : command_);
}

/// There are no expectations, and what could expect one is nobody's master.
void ArgumentParser::check_expectation() const {
    const Command c = out_.request.command;
    if (c == Command::Get || c == Command::Delete)
        throw Unserved{"Operation failed: No such file or directory"};
    if (c == Command::Create) throw Unserved{"Operation failed: master conntrack not found"};
}

/// `-G`, `-I` and `-A` name a whole tuple.
void ArgumentParser::check_addresses() const {
    const Filter& f = filter_;
    const bool by_reply = !f.orig_src && !f.orig_dst && f.reply_src && f.reply_dst;
    if (!by_reply && (!f.orig_src || !f.orig_dst))
        throw BadParameter{"you have to specify `--src' and `--dst'"};
}

void ArgumentParser::check_ports() const {
    const Filter& f = filter_;
    const bool by_reply = !f.orig_src;
    const PortKind kind = port_kind(*f.protocol);
    // An ICMP query is named by its own direction.
    if (by_reply && (command_ == 'G' || kind == PortKind::Icmp))
        throw Unserved{"Operation failed: invalid parameters"};
    const bool both = by_reply ? f.reply_sport && f.reply_dport : f.orig_sport && f.orig_dport;
    if (kind == PortKind::Ports && !both && *f.protocol != ct::ipproto::kDccp)
        throw BadParameter{"you have to specify `--sport' and `--dport'"};
    if (kind == PortKind::Keys && !both)
        throw BadParameter{"you have to specify `--srckey' and `--dstkey'"};
}

}  // namespace dp
