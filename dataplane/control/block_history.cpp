// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/control/block_history.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <istream>
#include <map>
#include <set>
#include <tuple>
#include <utility>

namespace dp {
namespace {

/// What names a block.
auto key_of(const BlockRecord& r) {
    return std::tuple{r.outside_family, r.outside.bytes, r.ports.first};
}

/// What names a block in one subscriber's hands.
auto key_with_subscriber(const BlockRecord& r) {
    return std::tuple{key_of(r), r.inside.family, r.inside.addr.bytes, r.inside.length, r.zone};
}

bool same_subscriber(const BlockRecord& a, const BlockRecord& b) {
    return a.inside == b.inside && a.zone == b.zone;
}

/// Puts the records of all blocks, in the order of their times, together.
class Ledger {
public:
    void restart(WallNanos when) {
        for (const auto& [key, tenure] : current_) {
            all_[tenure].until = when;
            all_[tenure].restarted = true;
        }
        current_.clear();
    }
    void assign(const BlockRecord& r, const std::string& where) {
        const auto held = current_.find(key_of(r));
        // Whose release the log does not tell of, or tells of only later: workers' clocks are a
        // turn apart.
        if (held != current_.end()) all_[held->second].until = r.time;
        current_[key_of(r)] = all_.size();
        seen_.insert(key_with_subscriber(r));
        all_.push_back({r, r.time, std::nullopt, false, where});
    }
    void release(const BlockRecord& r, const std::string& where) {
        const auto held = current_.find(key_of(r));
        if (held != current_.end() && same_subscriber(all_[held->second].block, r)) {
            all_[held->second].until = r.time;
            current_.erase(held);
        } else if (seen_.insert(key_with_subscriber(r)).second) {
            // Assigned before the log begins. Otherwise a tenure that has been ended already.
            all_.push_back({r, std::nullopt, r.time, false, where});
        }
    }
    [[nodiscard]] std::vector<BlockTenure> take() && { return std::move(all_); }

private:
    std::vector<BlockTenure> all_;
    /// By block: the index in all_ of who has it.
    std::map<decltype(key_of(BlockRecord{})), std::size_t> current_;
    std::set<decltype(key_with_subscriber(BlockRecord{}))> seen_;
};

}  // namespace

BlockHistory::BlockHistory(std::function<bool(const BlockRecord&)> wanted)
    : wanted_{std::move(wanted)} {}

void BlockHistory::read(std::istream& in, const std::string& name) {
    std::string line;
    for (std::size_t number = 1; std::getline(in, line); ++number) {
        if (line.empty()) continue;
        auto record = parse_block_record(line);
        if (!record) {
            if (strange_++ == 0) first_strange_ = fmt::format("{}:{}", name, number);
            continue;
        }
        begins_ = records_++ == 0 ? record->time : std::min(begins_, record->time);
        if (record->kind == BlockRecord::Kind::Started || wanted_(*record))
            noted_.push_back({std::move(*record), fmt::format("{}:{}", name, number)});
    }
}

std::vector<BlockTenure> BlockHistory::tenures() const {
    std::vector<const Noted*> order;
    order.reserve(noted_.size());
    for (const Noted& n : noted_) order.push_back(&n);
    std::stable_sort(order.begin(), order.end(), [](const Noted* a, const Noted* b) {
        return std::tuple{a->record.time, a->record.number} <
               std::tuple{b->record.time, b->record.number};
    });
    Ledger ledger;
    for (const Noted* n : order) {
        switch (n->record.kind) {
            case BlockRecord::Kind::Started:
                ledger.restart(n->record.time);
                break;
            case BlockRecord::Kind::Assigned:
                ledger.assign(n->record, n->where);
                break;
            case BlockRecord::Kind::Released:
                ledger.release(n->record, n->where);
                break;
        }
    }
    return std::move(ledger).take();
}

}  // namespace dp
