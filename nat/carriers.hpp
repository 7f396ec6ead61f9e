// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include "nat/carrier.hpp"

#include <cstddef>
#include <functional>
#include <memory>
#include <span>
#include <vector>

namespace nat {

/// The carrier rules of a configuration, by Rule::carrier. Their external addresses do not overlap,
/// so an address tells whose it is; of those that masquerade, the sources do not.
class Carriers {
public:
    /// None.
    Carriers() = default;
    /// Throws as Carrier does. `log`, which may be null, outlives this.
    explicit Carriers(std::span<const CarrierSettings> settings, BlockLog* log = nullptr,
                      std::uint64_t seed = 0) {
        for (const CarrierSettings& s : settings)
            all_.push_back(
                std::make_unique<Carrier>(s, static_cast<std::uint16_t>(all_.size()), log, seed));
    }

    [[nodiscard]] std::size_t size() const noexcept { return all_.size(); }
    [[nodiscard]] Carrier& at(std::size_t index) noexcept { return *all_[index]; }
    [[nodiscard]] const Carrier& at(std::size_t index) const noexcept { return *all_[index]; }

    /// A connection that was taken has ended. Any thread.
    void release(const ct::Tuple& original, const ct::Tuple& reply, ct::Nanos now) noexcept {
        for (const auto& carrier : all_)
            if (carrier->settings().outside.index_of(reply.family, reply.dst))
                return carrier->release(original, reply, now);
    }
    /// The same, of a connection that a rule which masquerades has taken.
    void release_masqueraded(const ct::Tuple& original, const ct::Tuple& reply,
                             ct::Nanos now) noexcept {
        for (const auto& carrier : all_)
            if (carrier->masquerades(original)) return carrier->release(original, reply, now);
    }
    /// Once a turn, by one worker.
    void expire(ct::WorkerId w, ct::Nanos now) noexcept {
        for (const auto& carrier : all_) carrier->expire(w, now);
    }
    void expire_all(ct::WorkerId w, ct::Nanos now) noexcept {
        for (const auto& carrier : all_) carrier->expire_all(w, now);
    }
    /// Takes every block back and tells `told` of each. No worker runs.
    void end(ct::Nanos now, const std::function<void(const BlockEvent&)>& told) {
        for (const auto& carrier : all_) carrier->end(now, told);
    }

private:
    std::vector<std::unique_ptr<Carrier>> all_;
};

}  // namespace nat
