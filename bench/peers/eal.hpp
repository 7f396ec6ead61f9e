// SPDX-License-Identifier: BSD-3-Clause
//
// As much of DPDK as its hash tables need: no device, one thread, and memory of our own choice, on
// the same kind of pages as everybody else's.
#pragma once

#include "ct/table/memory.hpp"

#include <cstddef>

namespace bench {

/// At most one in a process.
class Eal {
public:
    /// Starts EAL on CPU `core` with `bytes` of memory for tables, backed as it is
    /// used. Throws std::runtime_error.
    Eal(unsigned core, std::size_t bytes);
    ~Eal();
    Eal(const Eal&) = delete;
    Eal& operator=(const Eal&) = delete;

    /// The socket id by which that memory is asked for.
    [[nodiscard]] int socket() const noexcept { return socket_; }

private:
    ct::Region memory_;
    int socket_ = 0;
};

/// A thread that is none of EAL's becomes one for as long as this lives: per-core caches of DPDK's
/// tables and pools go by the number that it gets. Throws std::runtime_error.
class EalThread {
public:
    EalThread();
    ~EalThread();
    EalThread(const EalThread&) = delete;
    EalThread& operator=(const EalThread&) = delete;

private:
    bool registered_ = false;
};

}  // namespace bench
