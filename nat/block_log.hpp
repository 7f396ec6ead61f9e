// SPDX-License-Identifier: BSD-3-Clause
//
// What is to be logged of port blocks: who got which, and when it came back (RFC 6888 REQ-14: one
// record a block instead of one a connection; no destinations, REQ-12).
//
// No record is ever lost between the worker that makes it and the thread that writes it: a block is
// given out, or taken back, only after its record found room in the worker's ring. Where there is
// none the newcomer is refused, and the return of a block is put off.
#pragma once

#include "ct/base/cache.hpp"
#include "ct/base/ring.hpp"
#include "ct/base/time.hpp"
#include "ct/conntrack.hpp"
#include "ct/wire/prefix.hpp"
#include "nat/rule.hpp"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace nat {

/// A block of external ports that a subscriber gets or gives back.
struct BlockEvent {
    enum class Kind : std::uint8_t { Assigned, Released };

    ct::Nanos when = 0;  ///< in the workers' time
    Prefix inside;       ///< the subscriber
    ct::Addr outside;
    ct::Family outside_family = ct::Family::None;
    Kind kind = Kind::Assigned;
    PortRange ports;
    std::uint16_t carrier = 0;  ///< index of the settings that the block was given by
    std::uint16_t zone = 0;     ///< of the subscriber

    friend bool operator==(const BlockEvent&, const BlockEvent&) noexcept = default;
};

/// A ring for each worker, control's the last of them; one thread takes the records out of all.
class BlockLog {
public:
    /// Each ring holds `records`, rounded up to a power of two.
    BlockLog(ct::WorkerId workers, std::size_t records) {
        for (ct::WorkerId w = 0; w < workers; ++w)
            lanes_.push_back(std::make_unique<Lane>(records));
    }

    /// Worker `w`'s thread. False if there is no room; this is counted.
    [[nodiscard]] bool push(ct::WorkerId w, const BlockEvent& event) noexcept {
        Lane& lane = *lanes_[w];
        if (lane.ring.push(event)) return true;
        lane.full.store(lane.full.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
        return false;
    }
    /// The reading thread. The records of one worker come in order. False if there is none.
    [[nodiscard]] bool pop(BlockEvent& out) noexcept {
        for (std::size_t i = 0; i < lanes_.size(); ++i) {
            if (lanes_[next_]->ring.pop(out)) return true;
            next_ = next_ + 1 < lanes_.size() ? next_ + 1 : 0;
        }
        return false;
    }
    /// How often a record found no room, so that its block was not given out, or taken back only
    /// later. Any thread.
    [[nodiscard]] std::uint64_t full() const noexcept {
        std::uint64_t sum = 0;
        for (const auto& lane : lanes_) sum += lane->full.load(std::memory_order_relaxed);
        return sum;
    }

private:
    struct Lane {
        explicit Lane(std::size_t records) : ring{records} {}
        ct::Ring<BlockEvent> ring;
        alignas(ct::kCacheLine) std::atomic<std::uint64_t> full{0};  ///< its worker writes
    };
    std::vector<std::unique_ptr<Lane>> lanes_;  ///< by WorkerId
    std::size_t next_ = 0;                      ///< lane to look at; the reading thread's
};

}  // namespace nat
