// SPDX-License-Identifier: BSD-3-Clause
//
// What holds for every packet that parse() has looked at, whatever its bytes were. Unit tests and
// fuzz targets share it.
#pragma once

#include "ct/wire/packet.hpp"

#include <string>

namespace test {

/// The offsets of a packet without a drop reason are in order and inside it. "" or what is wrong.
[[nodiscard]] inline std::string fault_in_offsets(const ct::Packet& p) {
    if (p.l3_offset < 14) return "l3_offset lies inside the Ethernet header";
    if (p.l4_offset <= p.l3_offset) return "l4_offset is not behind l3_offset";
    if (p.payload_offset < p.l4_offset) return "payload_offset lies before l4_offset";
    if (p.end < p.payload_offset) return "end lies before payload_offset";
    if (p.end > p.length) return "end lies past the frame";
    return {};
}

/// The packet inside an ICMP error lies behind the error's header and inside the outer packet.
[[nodiscard]] inline std::string fault_in_inner(const ct::Packet& p) {
    if (!p.icmp_error) {
        if (p.inner_l3_offset != 0 || p.inner_l4_offset != 0)
            return "inner offsets without an error";
        if (!(p.inner == ct::Tuple{}) && p.drop == ct::Drop::None)
            return "inner tuple without an error";
        return {};
    }
    if (p.inner_l3_offset != p.l4_offset + 8)
        return "the inner packet is not behind the ICMP header";
    if (p.inner_l4_offset < p.inner_l3_offset + 20) return "the inner header is too short";
    if (p.inner_l4_offset > p.end) return "the inner transport lies past the packet";
    if (p.inner.family != p.tuple.family) return "the inner packet is of the other family";
    return {};
}

/// "" if all is well, else the first thing that is not.
[[nodiscard]] inline std::string fault_in(const ct::Packet& p) {
    if (p.drop != ct::Drop::None) return {};
    if (std::string fault = fault_in_offsets(p); !fault.empty()) return fault;
    if (std::string fault = fault_in_inner(p); !fault.empty()) return fault;
    if (p.fault != ct::Drop::None && p.state != ct::CtState::Invalid)
        return "what is malformed is not INVALID";
    if (p.fault != ct::Drop::None && p.fragment != ct::Fragment::Whole)
        return "a malformed fragment passed";
    const bool ip = p.ethertype == 0x0800 || p.ethertype == 0x86dd;
    if (!ip && p.ethertype != 0x0806) return "an EtherType that nobody knows passed";
    const ct::Family family = p.ethertype == 0x0800   ? ct::Family::Ipv4
                              : p.ethertype == 0x86dd ? ct::Family::Ipv6
                                                      : ct::Family::None;
    if (p.tuple.family != family) return "the family is not the EtherType's";
    if (p.fragment == ct::Fragment::Later && (p.tuple.sport.raw() != 0 || p.tuple.dport.raw() != 0))
        return "a later fragment has ports before its first has lent them";
    return {};
}

}  // namespace test
