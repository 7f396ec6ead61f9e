// SPDX-License-Identifier: BSD-3-Clause
//
// What these tests need of DPDK: an EAL that asks nothing of the machine (main.cpp starts it), and
// a pool whose buffers must all be back when a test is over.
#pragma once

#include "dataplane/mbuf.hpp"
#include "tests/support/packet_builder.hpp"

#include <gtest/gtest.h>
#include <rte_mbuf.h>
#include <rte_mempool.h>

#include <algorithm>
#include <memory>
#include <string>

namespace test {

class Pool {
public:
    explicit Pool(unsigned buffers = 511) {
        static int next = 0;
        const std::string name = "test_pool" + std::to_string(next++);
        pool_ = rte_pktmbuf_pool_create(name.c_str(), buffers, 0, 0, RTE_MBUF_DEFAULT_BUF_SIZE, -1);
        if (pool_ == nullptr) throw std::runtime_error{"no memory for a pool"};
    }
    ~Pool() {
        EXPECT_EQ(rte_mempool_in_use_count(pool_), 0U) << "buffers were lost";
        rte_mempool_free(pool_);
    }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    [[nodiscard]] rte_mempool* get() const { return pool_; }

    /// A buffer with `frame` in it.
    [[nodiscard]] rte_mbuf* with(const Bytes& frame) const {
        rte_mbuf* m = rte_pktmbuf_alloc(pool_);
        if (m == nullptr) throw std::runtime_error{"the pool is empty"};
        std::copy(frame.begin(), frame.end(), dp::room_of(m).begin());
        dp::set_size(m, frame.size());
        return m;
    }

private:
    rte_mempool* pool_ = nullptr;
};

/// The bytes of `m`, which is freed.
[[nodiscard]] inline Bytes take_bytes(rte_mbuf* m) {
    const auto* data = rte_pktmbuf_mtod(m, const std::uint8_t*);
    Bytes out{data, data + m->data_len};
    rte_pktmbuf_free(m);
    return out;
}

}  // namespace test
