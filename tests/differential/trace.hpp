// SPDX-License-Identifier: BSD-3-Clause
//
// What a seed is made of and what is seen of it: steps, and what a router, the kernel or Sluice,
// showed after each.
#pragma once

#include "ct/wire/tuple.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace differential {

using Bytes = std::vector<std::uint8_t>;

/// Where a fragment stands among those of its datagram; the last to be sent is the one after which
/// the two routers can be compared.
enum class Part : std::uint8_t { Whole, Fragment, LastFragment };

/// One thing that happens to a router.
struct Step {
    enum class Kind : std::uint8_t {
        Packet,
        Wait,  ///< `seconds` pass, on paper
        Age,   ///< the same, and more than two seconds pass on the kernel's own clock (runner.hpp)
    };
    Kind kind = Kind::Packet;
    std::uint8_t port = 0;  ///< by which a packet comes in: 0 is the LAN, 1 the WAN
    Part part = Part::Whole;
    std::uint32_t seconds = 0;
    Bytes ip;                     ///< the packet from its IP header on
    std::vector<ct::Tuple> keys;  ///< whose entries are looked at afterwards
    std::string note;             ///< the packet in words
};

/// ctstate as a rule in PREROUTING sees it.
enum class Seen : std::uint8_t { Nothing, New, Established, Related, Invalid, Untracked };

/// An entry of the connection table.
struct Entry {
    ct::Tuple original;
    ct::Tuple reply;
    std::uint8_t state = 0;
    std::uint32_t status = 0;
    std::uint32_t timeout_s = 0;
    std::array<std::uint64_t, 2> packets{};  ///< by direction
    std::array<std::uint64_t, 2> bytes{};
    std::uint32_t mark = 0;
    /// The port that the router has chosen, if it is not the connection's own, in whose place it
    /// stood in `reply` (port_book.hpp).
    std::optional<std::uint16_t> chosen{};
    bool chosen_again = false;  ///< its source had that port before
};

/// What a router showed of a packet.
struct Observation {
    bool forwarded = false;
    Seen seen = Seen::Nothing;
    std::optional<ct::Dir> dir;
    /// Of Step::keys, by index.
    std::vector<std::optional<Entry>> entries;
    /// The packets, from their IP headers on, that left by the port by which it did not come.
    std::vector<Bytes> out;
    /// Sluice's reason for a drop; empty for the kernel, which gives none.
    std::string reason;
};

/// The counters of `conntrack -S` that both count.
struct Counts {
    std::uint64_t invalid = 0;
    std::uint64_t insert_failed = 0;
    std::uint64_t drop = 0;
    std::uint64_t early_drop = 0;
    std::uint64_t error = 0;
    std::uint64_t clash_resolve = 0;
};

/// What a router told its listeners.
struct Happening {
    enum class Kind : std::uint8_t { New, Update, Destroy };
    Kind kind = Kind::New;
    std::size_t step = 0;  ///< after which it was told
    Entry entry;           ///< without what this kind of event does not tell
};

/// All that a router showed of a seed. `after` has an element a step; those of waits are empty.
struct Record {
    std::vector<Observation> after;
    std::vector<Entry> table;  ///< at the end
    Counts counts;
    std::vector<Happening> events;
};

/// What the routers translate (world.hpp, port_rules.hpp).
enum class Nat : std::uint8_t { None, Source, Destination, Masquerade, Redirect, Ports, Crowded };

/// True if rules leave the choice of some ports to the router.
[[nodiscard]] constexpr bool chooses_ports(Nat nat) {
    return nat >= Nat::Redirect;
}

/// A set of sysctls and rules that both routers are given.
struct Profile {
    std::string name;
    bool checksum = true;
    bool loose = true;
    bool liberal = false;
    bool ignore_invalid_rst = false;
    std::uint32_t max_retrans = 3;
    Nat nat = Nat::None;
    bool zones = false;  ///< some hosts have a zone of their own, or half of one
    bool marks = false;  ///< connections are marked by what they are
    /// Entries that the table may have; 0: as many as come. The kernel's limit is the whole
    /// machine's (table_limit.hpp).
    std::uint32_t max = 0;
};

/// The profiles; seed N runs under number N modulo their count.
[[nodiscard]] const std::vector<Profile>& profiles();
/// Those that run only where they are named, because they disturb others.
[[nodiscard]] const std::vector<Profile>& profiles_apart();
/// The profile of that name, of either list; throws std::invalid_argument.
[[nodiscard]] const Profile& profile_named(const std::string& name);

/// The addresses of the two routers' ports, IPv4 and IPv6.
inline constexpr std::array<const char*, 2> kPortAddress{"192.0.2.1", "198.51.100.1"};
inline constexpr std::array<const char*, 2> kPortAddress6{"2001:db8:1::1", "2001:db8:2::1"};

}  // namespace differential
