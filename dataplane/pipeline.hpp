// SPDX-License-Identifier: BSD-3-Clause
//
// The way of a packet from the bytes that a port received to the frame that another port sends.
// The daemon, sluice-replay, sluice-flood and the benchmarks all run this very code: it takes
// packets and the time, never a port or a clock.
#pragma once

#include "ct/conntrack.hpp"
#include "ct/wire/fragments.hpp"
#include "ct/wire/parse.hpp"
#include "dataplane/forward.hpp"
#include "dataplane/stats.hpp"
#include "nat/family.hpp"
#include "nat/mss.hpp"
#include "nat/nptv6.hpp"
#include "nat/rule_set.hpp"
#include "nat/setup.hpp"

#include <span>
#include <vector>

namespace dp {

/// What a burst has just been through; see Watch.
enum class Stage : std::uint8_t { Parse, Raw, Lookup, Update, Decide, Resolve };

/// Looks on while packets go through the pipeline, and changes nothing: for explanations.
class Watch {
public:
    virtual ~Watch() = default;
    /// The packets have been through `stage`. One that waits for its first fragment is told after
    /// Parse only, and comes back as a burst of its own from Raw on.
    virtual void after(Stage stage, std::span<const ct::Packet> packets, ct::Nanos now) = 0;

protected:
    Watch() = default;
    Watch(const Watch&) = default;
    Watch& operator=(const Watch&) = default;
};

/// Composes the stages; owns none of them, and all outlive it. Each worker passes its own WorkerId.
class Pipeline {
public:
    /// `counters` by WorkerId; here only what is put aside and taken up again is counted.
    /// `mss` by PortId; empty if no port limits segment sizes.
    Pipeline(ct::Conntrack& conntrack, const nat::RuleSet& rules, nat::Setup& nat,
             const nat::PrefixTranslator& prefixes, nat::FamilyTranslator& families,
             ct::FragmentTable& fragments, Forward& forward, std::span<WorkerCounters> counters,
             std::vector<nat::MssLimit> mss = {});

    /// Takes a burst, at most 64 packets with their receiver's fields and an owner each, through
    /// every stage. Afterwards a packet either has out_port and a frame to be sent; or a drop
    /// reason, its buffer still the caller's; or no owner: it waits for a neighbour or for its
    /// first fragment, and is somebody else's.
    void run(ct::WorkerId w, std::span<ct::Packet> packets, ct::Nanos now) noexcept;

    /// From now on `watch`, if it is not null, is told after each stage. No worker runs.
    void watch(Watch* watch) noexcept { watch_ = watch; }

    /// Once a turn: expires connections, and fragments whose first did not come.
    void tick(ct::WorkerId w, ct::Nanos now) noexcept;

    /// Frees every held fragment, as Drop::Stopped. Workers rest.
    void drain(ct::WorkerId w) noexcept;

private:
    /// What of a burst passes as established without a look at the filter chain.
    struct Skipped {
        std::uint64_t packets = 0;
        std::uint64_t bytes = 0;
    };

    /// A branch a burst and stage, where nobody watches.
    void told(Stage stage, std::span<const ct::Packet> packets, ct::Nanos now) const noexcept {
        if (watch_ != nullptr) [[unlikely]]
            watch_->after(stage, packets, now);
    }
    /// Most packets of a burst.
    static constexpr std::size_t kMaxBurst = 64;

    /// True if a first fragment is among those that go on.
    [[nodiscard]] bool track_fragments(ct::WorkerId w, std::span<ct::Packet> packets,
                                       ct::Nanos now) noexcept;
    void connect_firsts(ct::WorkerId w, std::span<ct::Packet> packets, ct::Nanos now) noexcept;
    void follow_first(ct::WorkerId w, const ct::FragmentKey& first, ct::Nanos now) noexcept;
    void connect(ct::WorkerId w, std::span<ct::Packet> packets, ct::Nanos now) noexcept;
    void raw(ct::WorkerId w, std::span<ct::Packet> packets) noexcept;
    void decide(ct::WorkerId w, std::span<ct::Packet> packets, ct::Nanos now) noexcept;
    void open_new(ct::WorkerId w, ct::Packet& p, ct::Nanos now, Skipped& skipped) noexcept;
    [[nodiscard]] bool bind(ct::WorkerId w, ct::Packet& p, ct::Nanos now,
                            Skipped& skipped) noexcept;
    void pass(ct::WorkerId w, ct::Packet& p, ct::Nanos now, Skipped& skipped) noexcept;
    void pass_for_want_of_room(ct::WorkerId w, ct::Packet& p, ct::Nanos now,
                               Skipped& skipped) noexcept;
    [[nodiscard]] bool admit(ct::WorkerId w, ct::Packet& p, ct::Nanos now) noexcept;

    ct::Conntrack& ct_;
    const nat::RuleSet& rules_;
    nat::Setup& nat_;
    const nat::PrefixTranslator& prefixes_;
    nat::FamilyTranslator& families_;
    ct::FragmentTable& fragments_;
    Forward& forward_;
    std::span<WorkerCounters> counters_;
    Watch* watch_ = nullptr;
    const std::vector<nat::MssLimit> mss_;  ///< by PortId
};

}  // namespace dp
