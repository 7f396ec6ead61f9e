// SPDX-License-Identifier: BSD-3-Clause
//
// A parsed packet whose bytes live in a heap buffer of exactly their size, so that a sanitizer sees
// any read past the end.
#pragma once

#include "ct/wire/parse.hpp"
#include "tests/support/packet_builder.hpp"

#include <algorithm>
#include <memory>

namespace test {

class Frame {
public:
    /// `bytes` from the Ethernet header on.
    explicit Frame(const Bytes& bytes, bool checksum = true)
        : bytes_{std::make_unique<std::uint8_t[]>(bytes.size())} {
        std::copy(bytes.begin(), bytes.end(), bytes_.get());
        packet.data = bytes_.get();
        packet.length = static_cast<std::uint32_t>(bytes.size());
        static_cast<void>(ct::parse(packet, ct::ParseOptions{.checksum = checksum}));
    }

    /// `bytes` from the IP header on.
    static Frame from_ip(const Bytes& bytes, bool checksum = true) {
        Bytes framed(12, 0);
        const bool v6 = !bytes.empty() && bytes[0] >> 4 == 6;
        framed.push_back(v6 ? 0x86 : 0x08);
        framed.push_back(v6 ? 0xdd : 0x00);
        framed.insert(framed.end(), bytes.begin(), bytes.end());
        return Frame{framed, checksum};
    }

    ct::Packet packet;

private:
    std::unique_ptr<std::uint8_t[]> bytes_;
};

}  // namespace test
