// SPDX-License-Identifier: BSD-3-Clause
#include "dataplane/neighbour.hpp"

#include <rte_mbuf.h>

#include <algorithm>
#include <bit>
#include <cstring>
#include <mutex>
#include <random>
#include <stdexcept>

namespace dp {
namespace {

inline constexpr std::uint64_t kMacMask = 0xffff'ffff'ffff;
inline constexpr unsigned kStateShift = 48;
inline constexpr std::uint64_t kUsed = std::uint64_t{1} << 56U;

[[nodiscard]] std::uint64_t link_word(std::uint64_t mac, NeighbourState state) noexcept {
    return (mac & kMacMask) | static_cast<std::uint64_t>(state) << kStateShift;
}

[[nodiscard]] NeighbourState state_of(std::uint64_t link) noexcept {
    return static_cast<NeighbourState>(link >> kStateShift & 0xffU);
}

[[nodiscard]] bool has_mac(NeighbourState s) noexcept {
    return s == NeighbourState::Reachable || s == NeighbourState::Stale ||
           s == NeighbourState::Static;
}

[[nodiscard]] std::uint64_t word_of(const MacAddress& mac) noexcept {
    std::uint64_t word = 0;
    std::memcpy(&word, mac.data(), mac.size());
    return word;
}

[[nodiscard]] MacAddress mac_of(std::uint64_t link) noexcept {
    MacAddress mac;
    std::memcpy(mac.data(), &link, mac.size());
    return mac;
}

/// Both halves of a 64 by 64 bit product, folded: each bit of the result depends on all of `a`.
[[nodiscard]] std::uint64_t mix(std::uint64_t a, std::uint64_t b) noexcept {
    __extension__ using Wide = unsigned __int128;
    const Wide product = static_cast<Wide>(a) * b;
    return static_cast<std::uint64_t>(product) ^ static_cast<std::uint64_t>(product >> 64U);
}

[[nodiscard]] std::uint64_t random_word() {
    std::random_device device;
    return (std::uint64_t{device()} << 32U | device()) | 1U;
}

}  // namespace

NeighbourTable::Words::Words(const NeighbourKey& key) noexcept
    : port_family{static_cast<std::uint32_t>(key.port << 8U) |
                  static_cast<std::uint32_t>(key.family)} {
    std::memcpy(&hi, key.address.bytes.data(), sizeof hi);
    std::memcpy(&lo, key.address.bytes.data() + sizeof hi, sizeof lo);
}

NeighbourTable::NeighbourTable(std::uint32_t capacity, std::uint32_t per_neighbour,
                               std::uint32_t total)
    : per_neighbour_{per_neighbour},
      total_{total},
      hash_key_{random_word()},
      slots_(std::bit_ceil(std::max<std::size_t>(capacity, kWays))) {}

std::size_t NeighbourTable::hash_of(const Words& words) const noexcept {
    return mix(words.hi ^ hash_key_, mix(words.lo ^ words.port_family, hash_key_) | 1U);
}

/// The set comes from the upper bits; the lower ones say in which way to look first, so that one
/// line is enough as a rule.
NeighbourTable::Slot& NeighbourTable::slot_at(std::size_t hash, std::size_t way) noexcept {
    const std::size_t set = hash >> 8U & (slots_.size() / kWays - 1);
    return slots_[set * kWays + ((hash + way) & (kWays - 1))];
}

// The reader's side of the sequence word. Each load of the key and the link acquires, so the second
// load of the sequence stays behind them; each store of a writer releases, so whoever sees a new
// value also sees the odd sequence that was stored before it and gives up. Giving up is no error:
// the caller then asks under the lock.
std::optional<std::uint64_t> NeighbourTable::find(const NeighbourKey& key) noexcept {
    const Words words{key};
    const std::size_t hash = hash_of(words);
    for (std::size_t way = 0; way < kWays; ++way) {
        Slot& slot = slot_at(hash, way);
        const std::uint32_t before = slot.sequence.load(std::memory_order_acquire);
        if (slot.port_family.load(std::memory_order_acquire) != words.port_family ||
            slot.address_lo.load(std::memory_order_acquire) != words.lo ||
            slot.address_hi.load(std::memory_order_acquire) != words.hi)
            continue;
        const std::uint64_t link = slot.link.load(std::memory_order_acquire);
        const std::uint32_t after = slot.sequence.load(std::memory_order_relaxed);
        if ((before & 1U) != 0 || before != after) return std::nullopt;
        const NeighbourState state = state_of(link);
        if (!has_mac(state)) return std::nullopt;
        // At most one write for each time that the neighbour goes stale. If the slot has just been
        // given to another neighbour, that one is asked once too often.
        if (state == NeighbourState::Stale && (link & kUsed) == 0)
            slot.link.fetch_or(kUsed, std::memory_order_relaxed);
        return link & kMacMask;
    }
    return std::nullopt;
}

NeighbourTable::Slot* NeighbourTable::locate(const Words& words) noexcept {
    const std::size_t hash = hash_of(words);
    for (std::size_t way = 0; way < kWays; ++way) {
        Slot& slot = slot_at(hash, way);
        if (slot.port_family.load(std::memory_order_relaxed) == words.port_family &&
            slot.address_lo.load(std::memory_order_relaxed) == words.lo &&
            slot.address_hi.load(std::memory_order_relaxed) == words.hi)
            return &slot;
    }
    return nullptr;
}

/// A slot for a neighbour that has none: a free one, else that of the stale neighbour whose time is
/// up first. Null if every other neighbour of the set is in use.
NeighbourTable::Slot* NeighbourTable::claim(const Words& words, std::uint64_t link) noexcept {
    const std::size_t hash = hash_of(words);
    Slot* victim = nullptr;
    for (std::size_t way = 0; way < kWays; ++way) {
        Slot& slot = slot_at(hash, way);
        const NeighbourState state = state_of(slot.link.load(std::memory_order_relaxed));
        if (state == NeighbourState::Free) {
            victim = &slot;
            break;
        }
        const bool older = victim == nullptr || slot.due < victim->due;
        if (state == NeighbourState::Stale && older) victim = &slot;
    }
    if (victim == nullptr) return nullptr;
    victim->solicits = 0;
    publish(*victim, words, link);
    return victim;
}

void NeighbourTable::publish(Slot& slot, const Words& words, std::uint64_t link) noexcept {
    const std::uint32_t sequence = slot.sequence.load(std::memory_order_relaxed);
    slot.sequence.store(sequence + 1, std::memory_order_relaxed);
    slot.port_family.store(words.port_family, std::memory_order_release);
    slot.address_hi.store(words.hi, std::memory_order_release);
    slot.address_lo.store(words.lo, std::memory_order_release);
    slot.link.store(link, std::memory_order_release);
    slot.sequence.store(sequence + 2, std::memory_order_release);
}

void NeighbourTable::release(Slot& slot) noexcept {
    publish(slot, Words{NeighbourKey{{}, 0}}, 0);
}

NeighbourKey NeighbourTable::key_of(const Slot& slot) noexcept {
    NeighbourKey key;
    const std::uint64_t hi = slot.address_hi.load(std::memory_order_relaxed);
    const std::uint64_t lo = slot.address_lo.load(std::memory_order_relaxed);
    const std::uint32_t port_family = slot.port_family.load(std::memory_order_relaxed);
    std::memcpy(key.address.bytes.data(), &hi, sizeof hi);
    std::memcpy(key.address.bytes.data() + sizeof hi, &lo, sizeof lo);
    key.port = static_cast<ct::PortId>(port_family >> 8U);
    key.family = static_cast<ct::Family>(port_family & 0xffU);
    return key;
}

bool NeighbourTable::enqueue(Slot& slot, rte_mbuf* m) noexcept {
    if (slot.waiting >= per_neighbour_ || waiting_ >= total_) return false;
    m->next = nullptr;
    (slot.first == nullptr ? slot.first : slot.last->next) = m;
    slot.last = m;
    ++slot.waiting;
    ++waiting_;
    return true;
}

WaitingList NeighbourTable::take_waiting(Slot& slot) noexcept {
    const WaitingList list{slot.first, slot.last, slot.waiting};
    waiting_ -= slot.waiting;
    slot.first = nullptr;
    slot.last = nullptr;
    slot.waiting = 0;
    return list;
}

NeighbourTable::Waiting NeighbourTable::wait(const NeighbourKey& key, rte_mbuf* m,
                                             ct::Nanos now) noexcept {
    const Words words{key};
    const std::lock_guard guard{lock_};
    if (Slot* slot = locate(words); slot != nullptr) {
        if (has_mac(state_of(slot->link.load(std::memory_order_relaxed)))) return Waiting::Known;
        return enqueue(*slot, m) ? Waiting::Queued : Waiting::Full;
    }
    if (waiting_ >= total_ || per_neighbour_ == 0) return Waiting::Full;
    Slot* slot = claim(words, link_word(0, NeighbourState::Incomplete));
    if (slot == nullptr) return Waiting::Full;
    slot->solicits = 1;
    slot->due = now + kRetrans;
    static_cast<void>(enqueue(*slot, m));  // there was room, and the slot is new
    return Waiting::Ask;
}

WaitingList NeighbourTable::learn(const NeighbourKey& key, const MacAddress& mac,
                                  NeighbourNews news, ct::Nanos now) noexcept {
    const Words words{key};
    const std::uint64_t stale = link_word(word_of(mac), NeighbourState::Stale);
    const std::lock_guard guard{lock_};
    Slot* slot = locate(words);
    if (slot == nullptr) {
        if (news == NeighbourNews::Mention) slot = claim(words, stale);
        if (slot != nullptr) slot->due = now + kStaleTime;
        return {};
    }
    const std::uint64_t link = slot->link.load(std::memory_order_relaxed);
    if (state_of(link) == NeighbourState::Static) return {};
    if (news == NeighbourNews::Answer) {
        publish(*slot, words, link_word(word_of(mac), NeighbourState::Reachable));
        slot->due = now + kReachableTime;
        slot->solicits = 0;
    } else if (state_of(link) == NeighbourState::Incomplete || (link & kMacMask) != word_of(mac)) {
        publish(*slot, words, stale);
        slot->due = now + kStaleTime;
        slot->solicits = 0;
    }
    return take_waiting(*slot);
}

void NeighbourTable::add_static(const NeighbourKey& key, const MacAddress& mac) {
    const Words words{key};
    const std::lock_guard guard{lock_};
    const std::uint64_t link = link_word(word_of(mac), NeighbourState::Static);
    if (Slot* slot = locate(words); slot != nullptr) {
        publish(*slot, words, link);
    } else if (claim(words, link) == nullptr) {
        throw std::runtime_error{"too many static neighbours; raise dataplane.neighbours"};
    }
}

std::optional<NeighbourDuty> NeighbourTable::incomplete_duty(Slot& slot, ct::Nanos now) noexcept {
    if (now < slot.due) return std::nullopt;
    NeighbourDuty duty{
        .what = NeighbourDuty::What::Ask, .key = key_of(slot), .mac = {}, .waiting = {}};
    if (slot.solicits < kMaxSolicits) {
        ++slot.solicits;
        slot.due = now + kRetrans;
        return duty;
    }
    duty.what = NeighbourDuty::What::GiveUp;
    duty.waiting = take_waiting(slot);
    release(slot);
    return duty;
}

std::optional<NeighbourDuty> NeighbourTable::stale_duty(Slot& slot, ct::Nanos now) noexcept {
    const std::uint64_t link = slot.link.load(std::memory_order_relaxed);
    const bool asking = slot.solicits > 0;
    if (asking ? now < slot.due : (link & kUsed) == 0 && now < slot.due) return std::nullopt;
    if ((link & kUsed) == 0 || slot.solicits == kMaxSolicits) {
        release(slot);  // nobody needs it, or it does not answer: the next packet starts anew
        return std::nullopt;
    }
    ++slot.solicits;
    slot.due = now + kRetrans;
    return NeighbourDuty{.what = NeighbourDuty::What::Verify,
                         .key = key_of(slot),
                         .mac = mac_of(link),
                         .waiting = {}};
}

std::optional<NeighbourDuty> NeighbourTable::duty_of(Slot& slot, ct::Nanos now) noexcept {
    const std::uint64_t link = slot.link.load(std::memory_order_relaxed);
    switch (state_of(link)) {
        case NeighbourState::Incomplete:
            return incomplete_duty(slot, now);
        case NeighbourState::Stale:
            return stale_duty(slot, now);
        case NeighbourState::Reachable:
            if (now < slot.due) return std::nullopt;
            publish(slot, Words{key_of(slot)}, link_word(link, NeighbourState::Stale));
            slot.due = now + kStaleTime;
            return std::nullopt;
        default:
            return std::nullopt;
    }
}

bool NeighbourTable::sweep(ct::Nanos now, std::size_t budget, std::vector<NeighbourDuty>& out) {
    for (std::size_t i = 0; i < budget && cursor_ < slots_.size(); ++i, ++cursor_) {
        Slot& slot = slots_[cursor_];
        if (slot.port_family.load(std::memory_order_relaxed) == 0) continue;
        const std::lock_guard guard{lock_};
        if (const auto duty = duty_of(slot, now); duty.has_value()) out.push_back(*duty);
    }
    if (cursor_ < slots_.size()) return false;
    cursor_ = 0;
    return true;
}

WaitingList NeighbourTable::take_all() noexcept {
    WaitingList all;
    const std::lock_guard guard{lock_};
    for (Slot& slot : slots_) {
        const WaitingList list = take_waiting(slot);
        if (list.first == nullptr) continue;
        (all.first == nullptr ? all.first : all.last->next) = list.first;
        all.last = list.last;
        all.count += list.count;
    }
    return all;
}

std::vector<NeighbourTable::View> NeighbourTable::list() const {
    std::vector<View> views;
    for (const Slot& slot : slots_) {
        const std::lock_guard guard{lock_};
        const std::uint64_t link = slot.link.load(std::memory_order_relaxed);
        if (state_of(link) == NeighbourState::Free) continue;
        views.push_back({key_of(slot), mac_of(link), state_of(link), slot.waiting});
    }
    return views;
}

}  // namespace dp
