// SPDX-License-Identifier: BSD-3-Clause
//
// Protocol trackers: what a packet does to the state of its connection. They are pure: state,
// packet and settings in, verdict out. Locking, storing and refreshing are the caller's
// (ct/conntrack.cpp).
#pragma once

#include "ct/conn/entry.hpp"
#include "ct/conn/seqadj.hpp"
#include "ct/conn/settings.hpp"
#include "ct/proto/why.hpp"
#include "ct/wire/packet.hpp"

#include <cstdint>

namespace ct::proto {

namespace tcp {
struct WindowCheck;
}

enum class Outcome : std::uint8_t {
    Accept,  ///< the packet belongs; take over state and time-out
    Ignore,  ///< the packet passes with its connection, but nothing is refreshed (semantics.md 2.2)
    Invalid,  ///< ctstate INVALID; the connection is as it was, unless `state_changed`
    Reopen,   ///< the connection is over and this packet opens a new one on its tuple
    Kill,     ///< the packet passes and the connection ends at once
};

/// What a tracker made of a packet.
struct Verdict {
    Outcome outcome = Outcome::Accept;
    std::uint8_t state = 0;  ///< the connection's state from now on
    bool assured = false;    ///< the connection is assured from now on (or was already)
    bool refresh = true;     ///< false: accept, but leave the deadline as it is
    bool state_changed =
        false;  ///< `state` and `assured` hold whatever the outcome; an event is due
    // Not filled in by update(), which most packets pass: explain() has them.
    Why why = Why::Belongs;
    TimeoutName timeout = TimeoutName::None;  ///< the setting that timeout_s is of
    std::uint32_t timeout_s = 0;              ///< if accepted and refreshed, or if `cut`
    /// With Ignore or Invalid: a deadline later than `timeout_s` from now comes down to that
    /// (semantics.md 2.2, FIN or RST out of the window in both directions).
    bool cut = false;
};
static_assert(sizeof(Verdict) == 16, "two registers hold it");

/// What a tracker may see of the connection beside its own state.
struct View {
    std::uint8_t state = 0;
    /// A reply was seen before this packet, which is what Linux's trackers go by: the packet after
    /// the first reply, not the first reply itself, makes a GRE or UDP stream.
    bool had_reply = false;
    bool assured = false;
    bool nat_clash = false;
    std::uint32_t remaining_s = 0;  ///< until the deadline as it stands
    Nanos age = 0;                  ///< since the entry was made
    SideLines* side = nullptr;      ///< locked; null if the protocol does not need it
    SeqAdjust* adjust = nullptr;    ///< of a TCP connection that has one
};

/// True if the protocol keeps state in SideLines, so that update() wants them locked.
[[nodiscard]] constexpr bool needs_side(std::uint8_t protocol) noexcept {
    return protocol == ipproto::kTcp || protocol == ipproto::kSctp;
}

/// True if open() would accept the packet: asked before an entry is taken for it.
[[nodiscard]] bool admits(const Packet& p, const Settings& s) noexcept;

/// Judges a packet that opens a connection and sets up `side` for it. Outcome is Accept or Invalid.
/// `p` is parsed and its transport header is whole.
[[nodiscard]] Verdict open(const Packet& p, SideLines& side, const Settings& s) noexcept;

/// Judges a packet of an existing connection in direction `p.dir`. For a later fragment, which has
/// no transport header, only the time-out is refreshed. TCP and SCTP: `view.side` is not null.
[[nodiscard]] Verdict update(const Packet& p, const View& view, const Settings& s) noexcept;

/// update() with its reasons: the same code, which says in addition what it decided by. `seen`
/// takes what TCP's window check compared (tcp_window.hpp). For explanations, on a copy of the side
/// lines.
[[nodiscard]] Verdict explain(const Packet& p, const View& view, const Settings& s,
                              tcp::WindowCheck& seen) noexcept;

/// What conntrack(8) prints between time-out and source: "SYN_SENT", or "" where the protocol has
/// no states.
[[nodiscard]] const char* state_name(std::uint8_t protocol, std::uint8_t state) noexcept;

/// True for the states that policy closing-first and Linux's gc may evict although assured
/// (FIN_WAIT, LAST_ACK, TIME_WAIT, CLOSE, CLOSE_WAIT; SCTP SHUTDOWN_*).
[[nodiscard]] bool is_closing(std::uint8_t protocol, std::uint8_t state) noexcept;

}  // namespace ct::proto
