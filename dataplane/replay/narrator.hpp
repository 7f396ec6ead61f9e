// SPDX-License-Identifier: BSD-3-Clause
//
// Tells the story of each packet of a replay while it happens: a Watch that looks at the packet, at
// its entry and at the counters of the rules between the stages.
//
// What it says is what was decided. The entry's state before and after is read from the table; the
// tracker's reasons come from the tracker, asked just before it judges (Conntrack::judge); which
// rule matched is seen by its counter; what leaves is read out of the frame.
#pragma once

#include "ct/inspect.hpp"
#include "dataplane/control/config.hpp"
#include "dataplane/control/story.hpp"
#include "dataplane/forward.hpp"
#include "dataplane/pipeline.hpp"
#include "nat/rule_set.hpp"
#include "nat/setup.hpp"

#include <cstdint>
#include <functional>
#include <map>
#include <span>
#include <vector>

namespace dp::replay {

/// What a narrator looks at; all of it outlives him.
struct Scene {
    const Config& config;
    const ct::Conntrack& conntrack;
    const nat::RuleSet& rules;
    const Forward& forward;
    const nat::Setup& nat;
};

class Narrator final : public Watch {
public:
    /// The number of the packet in the buffer `owner`; 0: none of the capture's.
    using NumberOf = std::function<std::uint64_t(const void* owner)>;
    using Listener = std::function<void(std::uint64_t number, const Story& story)>;

    Narrator(const Scene& scene, NumberOf number_of, Listener listener);

    /// Bursts are of one packet.
    void after(Stage stage, std::span<const ct::Packet> packets, ct::Nanos now) override;

    /// It is known what became of a packet. If the last thing told of it is that it waits, that is
    /// told now.
    void settle(std::uint64_t number, ct::Drop drop, ct::Nanos now);

private:
    /// What was seen of the packet that is under way.
    struct Draft {
        std::uint64_t number = 0;
        ct::Packet parsed;
        ct::Packet tracked;  ///< after Update
        ct::Packet decided;
        bool found = false;  ///< it had a connection, `before`, when it was looked up
        ct::Inspection before;
        ct::Judgement judgement;
        bool may_open = false;  ///< it had none, or none any more, and `opening` tells what then
        ct::Judgement opening;
        ct::Counters counters;  ///< before Decide
        std::vector<std::size_t> raw_hits;
        std::vector<std::size_t> hits;  ///< of Decide; rules().size(): the filter policy
    };

    [[nodiscard]] std::vector<std::size_t> fresh_hits();
    void look_up(const ct::Packet& p, ct::Nanos now);
    void tell(const ct::Packet& p, ct::Nanos now);
    void tell_held(const ct::Packet& p, ct::Nanos now);
    void publish(const Story& story);

    void parse(Story& s) const;
    void raw(Story& s) const;
    void track(Story& s) const;
    void room(Story& s) const;
    void translate(Story& s) const;
    void route(Story& s) const;
    void filter(Story& s) const;
    void nowhere(Story& s) const;
    void source(Story& s) const;
    void confirm(Story& s, ct::Nanos now) const;
    void leave(Story& s, const ct::Packet& p) const;
    void conclude(Story& s, const ct::Packet& p, ct::Nanos now) const;

    [[nodiscard]] const nat::Rule* hit_of(bool source) const;

    Scene scene_;
    NumberOf number_of_;
    Listener listener_;
    std::vector<std::uint64_t> counted_;  ///< hits of each rule, and of the policy, so far
    Draft draft_;
    std::map<std::uint64_t, ct::Packet> waiting_;  ///< for their first fragments, by number
};

}  // namespace dp::replay
