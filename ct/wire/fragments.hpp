// SPDX-License-Identifier: BSD-3-Clause
//
// Fragments of an IP packet, only the first of which has ports.
//
// Linux reassembles before it tracks. Sluice does not copy packets together: it learns the ports
// from the first fragment, lends them to the later ones, and lets each travel on its own. A later
// fragment that overtook the first is held until that comes, and is then processed right behind it.
// What a later host will put together is guarded all the same: a fragment that overlaps another
// condemns the whole packet (RFC 5722), and so does one that reaches past the last.
//
// Life of a packet in fragments ("datagram"): made by the first fragment to arrive, whichever it
// is; forgotten when all its bytes have been seen, so that its id can be used again (16 bits of
// IPv4 id come round in a fraction of a second on a fast path, RFC 6864); otherwise when its time
// is up.
//
// Bounds. All memory is taken at construction. At most `datagrams` are known and at most `held`
// fragments are kept; a datagram has at most kMaxParts fragments. When every datagram is taken, the
// oldest that holds nothing gives way, so a flood of first fragments only pushes itself out. Fewer
// fragments can be held than datagrams known, so a flood of later fragments cannot keep
// well-ordered traffic from being learnt.
//
// Ownership. A fragment that track() reports as Held belongs to the table, buffer and all, until
// release(), expire() or drain() hands it out; from then on it is the caller's. The table never
// frees a buffer and never looks into one that it holds.
//
// Threads. One table serves all workers, as the fragments of one packet may arrive at different
// ones. It is cut into shards by a keyed hash of what names a datagram, each with a spin lock that
// is held for one call at most and while no other lock is held.
#pragma once

#include "ct/base/live.hpp"
#include "ct/base/time.hpp"
#include "ct/wire/packet.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace ct {

struct FragmentSettings {
    std::uint32_t datagrams = 2048;  ///< packets in fragments known at a time
    std::uint32_t held = 1024;       ///< fragments kept until their first comes; <= datagrams / 2
    std::uint32_t timeout_s = 30;    ///< IPv4 (net.ipv4.ipfrag_time)
    std::uint32_t timeout6_s = 60;   ///< IPv6 (RFC 8200 4.5; nf_conntrack_frag6_timeout)
    std::uint64_t seed = 0;  ///< of the hash that spreads datagrams; random where it matters
};

enum class Disposition : std::uint8_t {
    Go,       ///< the tuple is complete; the packet goes on
    Held,     ///< the table owns the packet's buffer now; forget the packet
    Dropped,  ///< the packet's drop reason says why; the buffer is still the caller's
};

/// What a first fragment tells of the later ones.
struct FirstFragment {
    Be16 sport;
    Be16 dport;
    std::uint8_t proto = 0;
    bool never_tracked = false;
    bool without_checksum = false;
};

/// What is kept of a fragment while it waits. Byte order and meaning as in Packet.
struct HeldFragment {
    std::uint8_t* data = nullptr;
    void* owner = nullptr;
    std::uint32_t length = 0;
    std::uint16_t headroom = 0;
    PortId in_port = kNoPort;
    HwCheck ip_check = HwCheck::Unknown;
    /// None from release(); from expire() and drain() the reason to count.
    Drop drop = Drop::None;
    std::uint16_t zone = 0;
    FirstFragment first;  ///< when released
};

/// What names a datagram: RFC 791 3.2 (addresses, protocol, id), RFC 8200 4.5 (without protocol).
struct FragmentKey {
    Addr src;
    Addr dst;
    std::uint32_t id = 0;
    std::uint16_t zone = 0;
    Family family = Family::None;
    std::uint8_t proto = 0;  ///< zero in IPv6
    std::uint64_t zero = 0;  ///< makes it a whole number of pairs of words

    friend bool operator==(const FragmentKey&, const FragmentKey&) noexcept = default;
};

struct FragmentCounts {
    std::uint32_t datagrams = 0;  ///< known now
    std::uint32_t held = 0;       ///< fragments owned by the table now
};

class FragmentTable {
public:
    /// Most fragments of a packet: enough for 64 KiB over links of 576 bytes (RFC 791 3.2).
    static constexpr std::size_t kMaxParts = 128;

    /// Throws std::invalid_argument if a bound is 0 or `held` exceeds half of `datagrams`, and
    /// std::bad_alloc. Both bounds are rounded up to a multiple of the number of shards.
    explicit FragmentTable(const FragmentSettings& settings);
    /// Nothing may be held any more: see drain().
    ~FragmentTable();
    FragmentTable(const FragmentTable&) = delete;
    FragmentTable& operator=(const FragmentTable&) = delete;

    /// Takes note of a fragment that parse() has accepted, its zone set. Go: a first fragment, or a
    /// later one whose proto, sport and dport now are the first's; in the former case call
    /// release() next. May be called by any thread.
    [[nodiscard]] Disposition track(Packet& p, Nanos now) noexcept;

    /// The datagram of a fragment. To be asked before rules and NAT change zone and addresses.
    [[nodiscard]] static FragmentKey key_of(const Packet& p) noexcept;

    /// Hands out fragments that waited for the first one of datagram `first`, which track() has let
    /// go, in the order of their arrival. Returns how many; if that is out.size(), there may be
    /// more: call again. Turn each into a packet with resume(); they are not to be given to track()
    /// again.
    [[nodiscard]] std::size_t release(const FragmentKey& first,
                                      std::span<HeldFragment> out) noexcept;

    /// Forgets datagrams whose time is up and hands out what they held, to be freed and counted
    /// under `drop`; fragments of condemned datagrams as well. Returns how many; if that is
    /// out.size(), there may be more. Costs one load while nothing is known.
    [[nodiscard]] std::size_t expire(Nanos now, std::span<HeldFragment> out) noexcept;

    /// As expire(), but of every datagram, and with Drop::Stopped: for the end. Call until 0.
    [[nodiscard]] std::size_t drain(std::span<HeldFragment> out) noexcept;

    /// How long to wait for the rest of packets that begin from now on, in seconds. Any thread.
    void set_timeouts(std::uint32_t ipv4_s, std::uint32_t ipv6_s) noexcept {
        timeout_ = ipv4_s * kNanosPerSecond;
        timeout6_ = ipv6_s * kNanosPerSecond;
    }

    /// A snapshot, exact while nothing moves.
    [[nodiscard]] FragmentCounts counts() const noexcept;

private:
    class Shard;
    struct Part;

    [[nodiscard]] Shard& shard_of(std::uint64_t hash) const noexcept;

    std::unique_ptr<Shard[]> shards_;
    Live<Nanos> timeout_;
    Live<Nanos> timeout6_;
    std::uint64_t seed_;
    /// Datagrams known and fragments waiting to be handed out, all shards. Written under a shard's
    /// lock; read by expire() without any, as a hint.
    alignas(64) std::atomic<std::uint32_t> live_{0};
};

/// Makes `p` the packet that a released fragment is: receiver's fields, parsed, tuple complete,
/// ready for the stage behind track(). p.drop is None unless somebody changed the bytes in the
/// meantime.
void resume(const HeldFragment& held, Packet& p) noexcept;

}  // namespace ct
