// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/cli/options.hpp"

#include "dataplane/control/names.hpp"

namespace dp {

const char* const kShortOptions =
    ":L::G::D::I::U::A::E::F::C::SR:Vhs:d:r:q:p:f:t:u:e:o:n::g::j::m:w:l:i:b:c:z";

// clang-format off
const option kLongOptions[] = {
    {"dump",           optional_argument, nullptr, 'L'},
    {"get",            optional_argument, nullptr, 'G'},
    {"delete",         optional_argument, nullptr, 'D'},
    {"create",         optional_argument, nullptr, 'I'},
    {"update",         optional_argument, nullptr, 'U'},
    {"add",            optional_argument, nullptr, 'A'},
    {"event",          optional_argument, nullptr, 'E'},
    {"flush",          optional_argument, nullptr, 'F'},
    {"count",          optional_argument, nullptr, 'C'},
    {"stats",          no_argument,       nullptr, 'S'},
    {"load-file",      required_argument, nullptr, 'R'},
    {"version",        no_argument,       nullptr, 'V'},
    {"help",           no_argument,       nullptr, 'h'},
    {"src",            required_argument, nullptr, 's'},
    {"orig-src",       required_argument, nullptr, 's'},
    {"dst",            required_argument, nullptr, 'd'},
    {"orig-dst",       required_argument, nullptr, 'd'},
    {"reply-src",      required_argument, nullptr, 'r'},
    {"reply-dst",      required_argument, nullptr, 'q'},
    {"protonum",       required_argument, nullptr, 'p'},
    {"proto",          required_argument, nullptr, 'p'},
    {"family",         required_argument, nullptr, 'f'},
    {"timeout",        required_argument, nullptr, 't'},
    {"status",         required_argument, nullptr, 'u'},
    {"event-mask",     required_argument, nullptr, 'e'},
    {"output",         required_argument, nullptr, 'o'},
    {"src-nat",        optional_argument, nullptr, 'n'},
    {"dst-nat",        optional_argument, nullptr, 'g'},
    {"any-nat",        optional_argument, nullptr, 'j'},
    {"mark",           required_argument, nullptr, 'm'},
    {"zone",           required_argument, nullptr, 'w'},
    {"label",          required_argument, nullptr, 'l'},
    {"id",             required_argument, nullptr, 'i'},
    {"buffer-size",    required_argument, nullptr, 'b'},
    {"zero",           no_argument,       nullptr, 'z'},
    {"orig-zone",      required_argument, nullptr, kOrigZone},
    {"reply-zone",     required_argument, nullptr, kReplyZone},
    {"mask-src",       required_argument, nullptr, kMaskSrc},
    {"mask-dst",       required_argument, nullptr, kMaskDst},
    {"sport",          required_argument, nullptr, kOrigPortSrc},
    {"orig-port-src",  required_argument, nullptr, kOrigPortSrc},
    {"dport",          required_argument, nullptr, kOrigPortDst},
    {"orig-port-dst",  required_argument, nullptr, kOrigPortDst},
    {"reply-port-src", required_argument, nullptr, kReplyPortSrc},
    {"reply-port-dst", required_argument, nullptr, kReplyPortDst},
    {"mask-port-src",  required_argument, nullptr, kMaskPortSrc},
    {"mask-port-dst",  required_argument, nullptr, kMaskPortDst},
    {"tuple-port-src", required_argument, nullptr, kTuplePortSrc},
    {"tuple-port-dst", required_argument, nullptr, kTuplePortDst},
    {"state",          required_argument, nullptr, kState},
    {"icmp-type",      required_argument, nullptr, kIcmpType},
    {"icmp-code",      required_argument, nullptr, kIcmpCode},
    {"icmp-id",        required_argument, nullptr, kIcmpId},
    {"icmpv6-type",    required_argument, nullptr, kIcmpv6Type},
    {"icmpv6-code",    required_argument, nullptr, kIcmpv6Code},
    {"icmpv6-id",      required_argument, nullptr, kIcmpv6Id},
    {"srckey",         required_argument, nullptr, kSrcKey},
    {"orig-key-src",   required_argument, nullptr, kSrcKey},
    {"dstkey",         required_argument, nullptr, kDstKey},
    {"orig-key-dst",   required_argument, nullptr, kDstKey},
    {"reply-key-src",  required_argument, nullptr, kReplyKeySrc},
    {"reply-key-dst",  required_argument, nullptr, kReplyKeyDst},
    {"mask-key-src",   required_argument, nullptr, kMaskKeySrc},
    {"mask-key-dst",   required_argument, nullptr, kMaskKeyDst},
    {"tuple-key-src",  required_argument, nullptr, kTupleKeySrc},
    {"tuple-key-dst",  required_argument, nullptr, kTupleKeyDst},
    {"orig-vtag",      required_argument, nullptr, kOrigVtag},
    {"reply-vtag",     required_argument, nullptr, kReplyVtag},
    {"role",           required_argument, nullptr, kRole},
    {"secmark",        required_argument, nullptr, 'c'},
    {"label-add",      required_argument, nullptr, kLabelAdd},
    {"label-del",      optional_argument, nullptr, kLabelDel},
    {"tuple-src",      required_argument, nullptr, kTupleSrc},
    {"tuple-dst",      required_argument, nullptr, kTupleDst},
    {"socket",         required_argument, nullptr, kSocket},
    {"all",            no_argument,       nullptr, kAll},
    {"in",             required_argument, nullptr, kInPort},
    {nullptr,          0,                 nullptr, 0},
};
// clang-format on

char protocol_letter(std::uint8_t protocol) noexcept {
    switch (protocol) {
        case ct::ipproto::kTcp:
            return 't';
        case ct::ipproto::kUdp:
            return 'u';
        case ct::ipproto::kUdplite:
            return 'l';
        case ct::ipproto::kSctp:
            return 's';
        case ct::ipproto::kDccp:
            return 'd';
        case ct::ipproto::kIcmp:
            return '4';
        case ct::ipproto::kIcmpv6:
            return '6';
        case ct::ipproto::kGre:
            return 'g';
        default:
            return 0;
    }
}

}  // namespace dp
