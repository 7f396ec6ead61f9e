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
    kOrigPortSrc,
    kOrigPortDst,
    kReplyPortSrc,
    kReplyPortDst,
    kState,
    kIcmpType,
    kIcmpCode,
    kIcmpId,
    kSrcKey,
    kDstKey,
    kReplyKeySrc,
    kReplyKeyDst,
    kOrigVtag,
    kReplyVtag,
    kLabelAdd,
    kLabelDel,
    kTupleSrc,
    kTupleDst,
    kSocket,
    kAll,
    kInPort,
};

/// For getopt_long(3). The letters begin with a colon, so that a missing argument is told apart
/// from an unknown option; the long ones end with a null name.
extern const char* const kShortOptions;
extern const option kLongOptions[];

}  // namespace dp
