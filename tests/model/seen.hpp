// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <cstddef>
#include <cstdint>
#include <utility>
#include <vector>

namespace model {

/// The states that have been seen, by a hash of 64 bits, and what is counted of each. Two states in
/// ten million share a hash with a probability of 3e-6; then one of them is not searched.
class Seen {
public:
    /// The count of `key`, 0 at first; true if it was not there. Valid until the next insert().
    std::pair<long double*, bool> insert(std::uint64_t key) {
        if (2 * used_ >= cells_.size()) grow();
        Cell& c = find(key);
        const bool is_new = !c.taken;
        if (is_new) {
            c = {key, true, 0};
            ++used_;
        }
        return {&c.count, is_new};
    }
    [[nodiscard]] long double& at(std::uint64_t key) noexcept { return find(key).count; }

private:
    struct Cell {
        std::uint64_t key = 0;
        bool taken = false;
        long double count = 0;
    };

    Cell& find(std::uint64_t key) noexcept {
        std::size_t i = key & (cells_.size() - 1);
        while (cells_[i].taken && cells_[i].key != key) i = (i + 1) & (cells_.size() - 1);
        return cells_[i];
    }
    void grow() {
        std::vector<Cell> old(cells_.size() * 2);
        old.swap(cells_);
        for (const Cell& c : old)
            if (c.taken) find(c.key) = c;
    }

    std::vector<Cell> cells_{std::size_t{1} << 12};
    std::size_t used_ = 0;
};

}  // namespace model
