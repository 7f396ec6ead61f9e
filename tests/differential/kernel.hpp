// SPDX-License-Identifier: BSD-3-Clause
//
// The running kernel as the router of a seed: a network namespace of its own with two tun devices,
// LAN and WAN, so that the kernel sees each packet once, in order, and is done with it when the
// write that injects it returns.
//
// Time. The kernel's clock cannot be moved, but its entries can: a wait of N seconds takes N off
// what is left of every entry, by ctnetlink. So 432,000 s pass in a millisecond. What the kernel
// measures by its clock and not by an entry's deadline is one thing only, the age of a UDP flow
// (semantics.md 2.5): a step of kind Age needs more than two real seconds, which the runner lets
// many routers wait at once, with their entries frozen in the meantime.
#pragma once

#include "tests/differential/netlink.hpp"
#include "tests/differential/port_book.hpp"
#include "tests/differential/trace.hpp"

#include <array>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

namespace differential {

/// A file descriptor and its owner.
class Descriptor {
public:
    explicit Descriptor(int fd = -1) noexcept : fd_{fd} {}
    ~Descriptor();
    Descriptor(Descriptor&& o) noexcept : fd_{std::exchange(o.fd_, -1)} {}
    Descriptor& operator=(Descriptor&& o) noexcept {
        std::swap(fd_, o.fd_);
        return *this;
    }
    [[nodiscard]] int get() const noexcept { return fd_; }

private:
    int fd_;
};

/// "" if this process may make namespaces and tun devices, else why not.
[[nodiscard]] std::string why_no_kernel();

class Kernel {
public:
    /// Makes the namespace and leaves the calling thread in it. The namespace ends with the object
    /// and the thread's next one. Throws std::system_error or std::runtime_error.
    explicit Kernel(const Profile& profile);

    /// Injects the packet of a step and looks at what became of it.
    [[nodiscard]] Observation packet(const Step& step);
    /// What happens from now on belongs to the step of that index.
    void begin_step(std::size_t index) noexcept { step_ = index; }
    /// Everything that the listeners of the connection table were told since reset().
    [[nodiscard]] const std::vector<Happening>& events() const noexcept { return heard_; }
    /// Lets `seconds` pass for every entry.
    void wait(std::uint32_t seconds);

    /// Stops the entries' time, and lets it go on as if `seconds` had passed in between.
    void freeze();
    void thaw(std::uint32_t seconds);

    /// Every entry; slow, as it looks into the tables of all namespaces.
    [[nodiscard]] std::vector<Entry> table();
    /// Counted since the last call of reset().
    [[nodiscard]] Counts counts();
    /// Forgets every entry that was seen, and all others if table() showed some.
    void reset();

    /// True if so much real time has passed since the last reset(), thaw() or wait() that what is
    /// left of an entry, or the age of a flow, is no longer certain to a second.
    [[nodiscard]] bool disturbed() const noexcept { return disturbed_; }

private:
    using Clock = std::chrono::steady_clock;

    /// Empties a port. True if it had the packet `wanted`; puts all that it had into `out`.
    [[nodiscard]] bool drain(std::uint8_t port, const Step* wanted, std::vector<Bytes>* out);
    void hear();
    /// What is left of every entry, rounded up to what it was set to.
    [[nodiscard]] std::vector<std::pair<ct::Tuple, std::uint32_t>> remaining();
    void check_clock();
    void remember(const Entry& e);
    void set_timeout(const ct::Tuple& original, std::uint32_t seconds);

    std::array<Descriptor, 2> tun_;
    PortBook book_;
    Ctnetlink conntrack_;
    EventLog events_;
    RuleLog log_;
    bool translates_;  ///< what leaves has other addresses than what came
    std::size_t step_ = 0;
    std::vector<Happening> heard_;
    /// Original tuples of the entries that packet() and table() have shown.
    std::vector<ct::Tuple> known_;
    std::vector<std::pair<ct::Tuple, std::uint32_t>> frozen_;
    Counts base_;
    Clock::time_point since_;        ///< entries' time was last put right
    Clock::time_point awake_since_;  ///< last reset() or thaw()
    bool disturbed_ = false;
};

}  // namespace differential
