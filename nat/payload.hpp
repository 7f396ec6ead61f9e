// SPDX-License-Identifier: BSD-3-Clause
//
// Changes what a TCP segment or a UDP datagram carries: for protocols that talk about addresses and
// ports in their payload. Lengths and checksums follow; sequence numbers are nat/seqadj.hpp's.
#pragma once

#include "ct/wire/packet.hpp"

#include <cstdint>
#include <span>

namespace nat {

/// Bytes of a payload to be replaced by others, fewer or more.
struct Edit {
    std::uint32_t offset = 0;  ///< from the payload's first byte
    std::uint32_t length = 0;  ///< bytes that go
    std::span<const std::uint8_t> with;
};

enum class Edited : std::uint8_t {
    Done,
    Outside,      ///< the bytes that go do not all lie in the payload
    NoRoom,       ///< the buffer is too small for what would come out
    TooLong,      ///< the packet would be longer than its header can say
    Fragment,     ///< the rest of the payload is in other packets
    Unsupported,  ///< a protocol other than TCP and UDP
};

/// Makes the change in p, whose buffer has room for `room` bytes from p.data on. Link padding
/// behind the packet is cut off. Checksums are updated, not computed: what was wrong stays wrong,
/// and UDP's zero stays zero. With anything but Done, p is as it was.
[[nodiscard]] Edited edit_payload(ct::Packet& p, std::uint32_t room, const Edit& edit) noexcept;

}  // namespace nat
