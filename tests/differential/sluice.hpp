// SPDX-License-Identifier: BSD-3-Clause
//
// Sluice as the router of a seed: the engine of sluice-replay, that is the daemon's own pipeline in
// virtual time.
#pragma once

#include "dataplane/control/config.hpp"
#include "dataplane/replay/engine.hpp"
#include "tests/differential/port_book.hpp"
#include "tests/differential/trace.hpp"

#include <memory>
#include <vector>

namespace differential {

/// One in a process, ever, because it starts EAL.
class Sluice {
public:
    explicit Sluice(const Profile& profile);

    /// Runs a whole seed on an empty table.
    [[nodiscard]] Record run(const std::vector<Step>& steps);

private:
    [[nodiscard]] Observation packet(const Step& step);
    [[nodiscard]] std::vector<Entry> table() const;

    PortBook book_;
    dp::Config config_;
    std::unique_ptr<dp::replay::Engine> engine_;
    ct::Nanos now_ = 0;
    std::uint64_t number_ = 0;
    // What the engine said of packets by number, since the seed began.
    std::vector<dp::replay::Verdict> verdicts_;
    std::vector<Happening> events_;  ///< the same
    std::size_t step_ = 0;
    std::uint8_t port_in_ = 0;
    std::vector<Bytes> out_;  ///< left by the other port since the current packet came
};

}  // namespace differential
