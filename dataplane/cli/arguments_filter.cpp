// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/cli/argument_parser.hpp"
#include "dataplane/control/names.hpp"

#include <getopt.h>

namespace dp {

bool ArgumentParser::take_endpoint(int option) {
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
            protocol_seen_.reset();
            return true;
        }
        default:
            return false;
    }
}

void ArgumentParser::family(ct::Family f) {
    if (filter_.family != ct::Family::None && filter_.family != f)
        throw BadParameter{"mismatched address family"};
    filter_.family = f;
}

void ArgumentParser::address(Option option, std::optional<AddressMatch>& out, bool may_mask) {
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

void ArgumentParser::mask(Option option, std::string_view name, std::optional<AddressMatch>& out) {
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

void ArgumentParser::nat(Option option, std::string_view name, std::optional<NatMatch>& out) {
    see(option);
    out = NatMatch{};
    const std::string_view word = optional_word();
    if (word.empty()) return;
    if (word.find('/') != std::string_view::npos)
        throw BadParameter{"CIDR notation unavailable for `" + std::string{name} + "'"};
    out = parse_nat_match(word);
    family(out->family);
}

void ArgumentParser::status() {
    see(Option::Status);
    static constexpr std::array<std::string_view, 6> kAccepted{
        "EXPECTED", "SEEN_REPLY", "ASSURED", "FIXED_TIMEOUT", "OFFLOAD", "HW_OFFLOAD"};
    for_each_word(optarg, [this](std::string_view word) {
        const bool contrary = word.starts_with('!');
        const std::string_view name = contrary ? word.substr(1) : word;
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
        // It is no bit, but the lack of one, so there is no contrary.
        if (same_word(word, "UNREPLIED")) return parse_status_match(word, filter_);
        bad_parameter(name);
    });
}

/// Nothing here has a security mark, and what has none passes, as with conntrack(8).
void ArgumentParser::secmark() {
    see(Option::Secmark);
    static_cast<void>(number_in<std::uint32_t>(optarg));
}

const LabelMap& ArgumentParser::label_map() {
    if (!label_map_) label_map_ = LabelMap::load();
    return *label_map_;
}

/// Labels by the names of connlabel.conf, or by number where there is no such file. A change of
/// labels without names is one of all of them.
void ArgumentParser::labels(Option option, const char* text) {
    see(option);
    std::array<std::uint64_t, 2> bits{};
    if (text == nullptr) {
        if (!label_map().there()) warnings_.push_back(kNoLabelMap);
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

}  // namespace dp
