// SPDX-License-Identifier: BSD-3-Clause
//
// For explanations: all that an entry knows, how the tracker would judge a packet by it, and what a
// newcomer would find. Nothing here changes anything, and nothing of it is on the packet path.
#pragma once

#include "ct/conntrack.hpp"
#include "ct/proto/proto.hpp"
#include "ct/proto/tcp_window.hpp"

#include <array>
#include <cstdint>

namespace ct {

/// One connection with what its tracker remembers, as it stood at one moment.
struct Inspection {
    Snapshot conn;
    Nanos age = 0;              ///< since the entry was made
    std::uint8_t variant = 0;   ///< TrackOptions::variant: its settings
    PortId out_port = kNoPort;  ///< by which it was masqueraded
    // Of TCP.
    TcpLast last;
    std::array<TcpWindow, 2> window{};  ///< by Dir
    SeqAdjust adjust;                   ///< if window[0].adjust is not 0
    // Of SCTP.
    std::array<SctpPeer, 2> peer{};  ///< by Dir
};

/// What the tracker makes of one packet, and what it compared.
struct Judgement {
    proto::Verdict verdict;
    proto::tcp::WindowCheck window;  ///< of TCP, if it came to that
    /// True if the time-outs are those of a policy, not the table's own.
    bool own_timeouts = false;
};

/// What a packet that opens a connection would find.
struct Prospect {
    enum class Room : std::uint8_t {
        Free,     ///< an entry that is free, or kept free for its source
        Evicted,  ///< somebody's who has to go, as the overflow policy has it
        Refused,  ///< none
    };
    Room room = Room::Free;
    bool closing_goes = false;  ///< of Evicted: one that has been closing, not one not assured
    Drop refusal = Drop::None;  ///< of Refused: the reason that the packet would get
    Overflow overflow = Overflow::EmbryonicOldest;
    std::uint32_t in_use = 0;
    std::uint32_t max = 0;
    std::uint32_t embryonic = 0;         ///< entries that are not assured
    std::uint32_t embryonic_budget = 0;  ///< more of them than this, and the oldest goes
    std::uint32_t source_entries = 0;    ///< of its source, where there is a limit on them
    std::uint32_t source_limit = 0;      ///< 0: none
    std::uint32_t reserved = 0;          ///< entries kept for its source's prefix; 0: none
};

}  // namespace ct
