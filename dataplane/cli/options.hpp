// SPDX-License-Identifier: BSD-3-Clause
//
// The options by letter and name, for getopt_long(3), and which of them goes with which command, as
// conntrack(8) 1.4.7 has it: the table behind its "Illegal option" and "You need to supply".
#pragma once

#include <array>
#include <cstdint>
#include <getopt.h>
#include <string_view>

namespace dp {

/// Options in the order in which conntrack(8) checks them.
enum class Option : std::uint8_t {
    Src,
    Dst,
    ReplySrc,
    ReplyDst,
    Protonum,
    Timeout,
    Status,
    Zero,
    EventMask,
    Output,
    SrcNat,
    DstNat,
    Mark,
    Id,
    Family,
    MaskSrc,
    MaskDst,
    BufferSize,
    AnyNat,
    Zone,
    OrigZone,
    ReplyZone,
    TupleSrc,
    TupleDst,
    Label,
    LabelAdd,
    LabelDel,
    Secmark,
    Count_,
};
inline constexpr std::size_t kOptionCount = static_cast<std::size_t>(Option::Count_);

/// What a command says to an option.
enum class Rule : char { Illegal = ' ', Legal = '-', Required = '!' };

/// One option: its long name, and the rule of each command, a column each (kRuleColumns).
struct OptionRules {
    Option option;
    std::string_view name;
    std::string_view rules;
};

/// Commands on table conntrack by their letters, then those on table expect in lower case.
inline constexpr std::string_view kRuleColumns = "LGDIAUEFCSlgdiefc";

/// What a table of `rules` says to the command of `column`, an index of kRuleColumns.
[[nodiscard]] constexpr Rule rule_in(std::string_view rules, std::size_t column) noexcept {
    return column < rules.size() ? Rule{rules[column]} : Rule::Illegal;
}

// clang-format off
inline constexpr std::array kOptionRules{
    //                                                  LGDIAUEFCSlgdiefc
    OptionRules{Option::Src,        "--src",           "-------    !!!   "},
    OptionRules{Option::Dst,        "--dst",           "-------    !!!   "},
    OptionRules{Option::ReplySrc,   "--reply-src",     "-------    ---   "},
    OptionRules{Option::ReplyDst,   "--reply-dst",     "-------    ---   "},
    OptionRules{Option::Protonum,   "--protonum",      "-!-!!--    !!!   "},
    OptionRules{Option::Timeout,    "--timeout",       "  -!!-       !   "},
    OptionRules{Option::Status,     "--status",        "- ----           "},
    OptionRules{Option::Zero,       "--zero",          "-                "},
    OptionRules{Option::EventMask,  "--event-mask",    "      -          "},
    OptionRules{Option::TupleSrc,   "--tuple-src",     "             !   "},
    OptionRules{Option::TupleDst,   "--tuple-dst",     "             !   "},
    OptionRules{Option::MaskSrc,    "--mask-src",      "- -  --      !   "},
    OptionRules{Option::MaskDst,    "--mask-dst",      "- -  --      !   "},
    OptionRules{Option::Output,     "--output",        "---  --   -   -  "},
    OptionRules{Option::SrcNat,     "--src-nat",       "- -----          "},
    OptionRules{Option::DstNat,     "--dst-nat",       "- -----          "},
    OptionRules{Option::Mark,       "--mark",          "- -----          "},
    OptionRules{Option::Id,         "--id",            " --  -           "},
    OptionRules{Option::Family,     "--family",        "- -  ---  -      "},
    OptionRules{Option::BufferSize, "--buffer-size",   "      -          "},
    OptionRules{Option::AnyNat,     "--any-nat",       "-     -          "},
    OptionRules{Option::Zone,       "--zone",          "- --- -          "},
    OptionRules{Option::OrigZone,   "--orig-zone",     "- --- -          "},
    OptionRules{Option::ReplyZone,  "--reply-zone",    "- --- -          "},
    OptionRules{Option::Secmark,    "--secmark",       "-     -          "},
    OptionRules{Option::Label,      "--label",         "---  --          "},
    OptionRules{Option::LabelAdd,   "--label-add",     "     -           "},
    OptionRules{Option::LabelDel,   "--label-del",     "     -           "},
};
// clang-format on
static_assert(kOptionRules.size() == kOptionCount);

/// Values of options that have no letter.
enum LongOnly : int {
    kOrigZone = 256,
    kReplyZone,
    kMaskSrc,
    kMaskDst,
    // From here to kRole: those that exist only after -p (kProtocolOptions).
    kOrigPortSrc,
    kOrigPortDst,
    kReplyPortSrc,
    kReplyPortDst,
    kMaskPortSrc,
    kMaskPortDst,
    kTuplePortSrc,
    kTuplePortDst,
    kIcmpType,
    kIcmpCode,
    kIcmpId,
    kIcmpv6Type,
    kIcmpv6Code,
    kIcmpv6Id,
    kSrcKey,
    kDstKey,
    kReplyKeySrc,
    kReplyKeyDst,
    kMaskKeySrc,
    kMaskKeyDst,
    kTupleKeySrc,
    kTupleKeyDst,
    kState,
    kOrigVtag,
    kReplyVtag,
    kRole,
    kLabelAdd,
    kLabelDel,
    kTupleSrc,
    kTupleDst,
    kSocket,
    kAll,
    kInPort,
};

inline constexpr int kFirstProtocolOption = kOrigPortSrc;
inline constexpr std::size_t kProtocolOptionCount = kRole - kFirstProtocolOption + 1;

/// One option that exists only after `-p` and some protocols.
struct ProtocolOptionRules {
    LongOnly option;
    std::string_view name;
    std::string_view protocols;  ///< a letter each: see protocol_letter()
    std::string_view rules;      ///< of each command, as in OptionRules
};

/// How kProtocolOptions calls a protocol; 0 if no option is its own.
[[nodiscard]] char protocol_letter(std::uint8_t protocol) noexcept;

// Two deviations from conntrack(8): verification tags cannot be changed (-U), and what Linux does
// not track of DCCP need not be given (its ports, which check_tuple() knows, state and role).
// clang-format off
inline constexpr std::array kProtocolOptions{
    //                                                              LGDIAUEFCSlgdiefc
    ProtocolOptionRules{kOrigPortSrc,  "--sport",          "tulsd", "-------    !!!   "},
    ProtocolOptionRules{kOrigPortDst,  "--dport",          "tulsd", "-------    !!!   "},
    ProtocolOptionRules{kReplyPortSrc, "--reply-port-src", "tulsd", "-------    !!    "},
    ProtocolOptionRules{kReplyPortDst, "--reply-port-dst", "tulsd", "-------    !!    "},
    ProtocolOptionRules{kMaskPortSrc,  "--mask-port-src",  "tulsd", "             !   "},
    ProtocolOptionRules{kMaskPortDst,  "--mask-port-dst",  "tulsd", "             !   "},
    ProtocolOptionRules{kTuplePortSrc, "--tuple-port-src", "tulsd", "             !   "},
    ProtocolOptionRules{kTuplePortDst, "--tuple-port-dst", "tulsd", "             !   "},
    ProtocolOptionRules{kIcmpType,     "--icmp-type",      "4",     "-!-!!--          "},
    ProtocolOptionRules{kIcmpCode,     "--icmp-code",      "4",     "-!-!!--          "},
    ProtocolOptionRules{kIcmpId,       "--icmp-id",        "4",     "-------          "},
    ProtocolOptionRules{kIcmpv6Type,   "--icmpv6-type",    "6",     "-!-!!--          "},
    ProtocolOptionRules{kIcmpv6Code,   "--icmpv6-code",    "6",     "-!-!!--          "},
    ProtocolOptionRules{kIcmpv6Id,     "--icmpv6-id",      "6",     "-------          "},
    ProtocolOptionRules{kSrcKey,       "--srckey",         "g",     "-------    !!!   "},
    ProtocolOptionRules{kDstKey,       "--dstkey",         "g",     "-------    !!!   "},
    ProtocolOptionRules{kReplyKeySrc,  "--reply-key-src",  "g",     "-------    !!!   "},
    ProtocolOptionRules{kReplyKeyDst,  "--reply-key-dst",  "g",     "-------    !!!   "},
    ProtocolOptionRules{kMaskKeySrc,   "--mask-key-src",   "g",     "             !   "},
    ProtocolOptionRules{kMaskKeyDst,   "--mask-key-dst",   "g",     "             !   "},
    ProtocolOptionRules{kTupleKeySrc,  "--tuple-key-src",  "g",     "             !   "},
    ProtocolOptionRules{kTupleKeyDst,  "--tuple-key-dst",  "g",     "             !   "},
    ProtocolOptionRules{kState,        "--state",          "ts",    "---!!--          "},
    ProtocolOptionRules{kState,        "--state",          "d",     "-------          "},
    ProtocolOptionRules{kOrigVtag,     "--orig-vtag",      "s",     " - !!        !   "},
    ProtocolOptionRules{kReplyVtag,    "--reply-vtag",     "s",     " - !!        !   "},
    ProtocolOptionRules{kRole,         "--role",           "d",     "   --        !   "},
};
// clang-format on

/// For getopt_long(3). The letters begin with a colon, so that a missing argument is told apart
/// from an unknown option; the long ones end with a null name.
extern const char* const kShortOptions;
extern const option kLongOptions[];

}  // namespace dp
