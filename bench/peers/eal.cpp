// SPDX-License-Identifier: BSD-3-Clause
#include "bench/peers/eal.hpp"

#include <fmt/format.h>
#include <rte_eal.h>
#include <rte_errno.h>
#include <rte_lcore.h>
#include <rte_malloc.h>

#include <cstdint>
#include <stdexcept>
#include <string>
#include <vector>

namespace bench {

namespace {

constexpr std::size_t kPage = std::size_t{2} << 20;
constexpr const char* kHeap = "bench";

[[noreturn]] void fail(const char* what) {
    throw std::runtime_error{fmt::format("{}: {}", what, rte_strerror(rte_errno))};
}

}  // namespace

Eal::Eal(unsigned core, std::size_t bytes)
    : memory_{(bytes + 2 * kPage) / kPage * kPage, ct::Region::Touch::Lazily} {
    // EAL keeps pointers to its arguments and changes their order: both must last.
    static std::vector<std::string> kept{"bench",
                                         "--no-huge",
                                         "--no-shconf",
                                         "--no-pci",
                                         "--no-telemetry",
                                         "-m",
                                         "64",
                                         "--lcores",
                                         fmt::format("0@{}", core),
                                         "--log-level=*:warning"};
    static std::vector<char*> argv;
    for (std::string& argument : kept) argv.push_back(argument.data());
    if (rte_eal_init(static_cast<int>(argv.size()), argv.data()) < 0) fail("EAL does not start");

    const auto address = reinterpret_cast<std::uintptr_t>(memory_.data());
    const std::uintptr_t aligned = (address + kPage - 1) / kPage * kPage;
    const std::size_t usable = (memory_.size() - (aligned - address)) / kPage * kPage;
    if (rte_malloc_heap_create(kHeap) != 0 ||
        rte_malloc_heap_memory_add(kHeap, reinterpret_cast<void*>(aligned), usable, nullptr,
                                   static_cast<unsigned>(usable / kPage), kPage) != 0)
        fail("EAL does not take memory");
    socket_ = rte_malloc_heap_get_socket(kHeap);
    if (socket_ < 0) fail("EAL's heap has no socket");
}

Eal::~Eal() {
    rte_eal_cleanup();
}

EalThread::EalThread() {
    if (rte_lcore_id() != LCORE_ID_ANY) return;
    if (rte_thread_register() != 0) fail("EAL does not take another thread");
    registered_ = true;
}

EalThread::~EalThread() {
    if (registered_) rte_thread_unregister();
}

}  // namespace bench
