// SPDX-License-Identifier: BSD-3-Clause
//
// The options that exist only after `-p`: ports, types, keys, states, tags. kProtocolOptions says
// which protocol has which, and which command takes or needs them.
#include "dataplane/cli/argument_parser.hpp"
#include "dataplane/control/names.hpp"

#include <algorithm>

namespace dp {

bool ArgumentParser::take_protocol_option(int option) {
    if (option < kFirstProtocolOption || option > kRole) return false;
    const char letter = protocol_letter(filter_.protocol.value_or(0));
    const auto is_ours = [&](const ProtocolOptionRules& row) {
        return row.option == option && letter != 0 &&
               row.protocols.find(letter) != std::string_view::npos;
    };
    if (std::none_of(kProtocolOptions.begin(), kProtocolOptions.end(), is_ours))
        throw BadParameter{"unknown option `--" + std::string{kLongOptions[long_index_].name} +
                           "'"};
    protocol_seen_.set(static_cast<std::size_t>(option - kFirstProtocolOption));
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
        case kIcmpv6Type:
            filter_.icmp_type = number_in<std::uint8_t>(optarg);
            break;
        case kIcmpCode:
        case kIcmpv6Code:
            filter_.icmp_code = number_in<std::uint8_t>(optarg);
            break;
        case kIcmpId:
        case kIcmpv6Id:
            filter_.icmp_id = number_in<std::uint16_t>(optarg);
            break;
        case kState:
            state();
            break;
        case kOrigVtag:
        case kReplyVtag:
            vtags_[option == kOrigVtag ? 0 : 1] = number_in<std::uint32_t>(optarg);
            break;
        case kRole:
            // Checked and forgotten: Linux has ceased to track the course of DCCP.
            if (!same_word(optarg, "client") && !same_word(optarg, "server"))
                throw BadParameter{"Unknown DCCP role `" + std::string{optarg} + "'"};
            break;
        default:  // of an expectation's tuple and mask, which nothing is made of
            static_cast<void>(number_in<std::uint16_t>(optarg));
            break;
    }
    return true;
}

void ArgumentParser::state() {
    const std::uint8_t protocol = filter_.protocol.value_or(0);
    filter_.state = find_state(protocol, optarg);
    if (filter_.state) return;
    const std::string_view what = protocol == ct::ipproto::kTcp    ? "unknown TCP"
                                  : protocol == ct::ipproto::kSctp ? "unknown SCTP"
                                                                   : "Unknown DCCP";
    throw BadParameter{std::string{what} + " state `" + optarg + "'"};
}

/// What the command of `column` says to the options of the protocol at hand. Sluice's own commands
/// have no column, and look for themselves.
void ArgumentParser::check_protocol_rules(std::size_t column) const {
    const char letter = protocol_letter(filter_.protocol.value_or(0));
    if (letter == 0 || column == std::string_view::npos) return;
    for (const ProtocolOptionRules& row : kProtocolOptions) {
        if (row.protocols.find(letter) == std::string_view::npos) continue;
        check_rule(rule_in(row.rules, column), row.name,
                   protocol_seen_[static_cast<std::size_t>(row.option - kFirstProtocolOption)]);
    }
}

void ArgumentParser::check_rule(Rule rule, std::string_view name, bool given) {
    if (rule == Rule::Required && !given)
        throw BadParameter{"You need to supply the `" + std::string{name} +
                           "' option for this command"};
    if (rule == Rule::Illegal && given)
        throw BadParameter{"Illegal option `" + std::string{name} + "' with this command"};
}

}  // namespace dp
