// SPDX-License-Identifier: BSD-3-Clause
//
// What a packet does to its connection: windows, state, time-out, counters.
#include "ct/conntrack.hpp"
#include "ct/conntrack_impl.hpp"
#include "ct/proto/tcp_window.hpp"

namespace ct {

namespace {

void account(SideLines& side, const Packet& p) noexcept {
    side.packets[index_of(p.dir)] += 1;
    side.bytes[index_of(p.dir)] += ip_bytes(p);
}

/// A deadline is moved only when it changes by this much: a flow's packets then mostly leave the
/// entry's first line unwritten and shared. A quarter of a second.
constexpr std::int32_t kRefreshTicks = kTicksPerSecond / 4;

/// True if packets of this direction do not refresh the time-out. Under the side lock.
bool stays_still(const SideLines& side, Dir dir) noexcept {
    return (side.still >> index_of(dir) & 1) != 0;
}

bool worth_storing(Meta m, Ticks deadline) noexcept {
    const std::int32_t change = ticks_between(m.deadline(), deadline);
    return change >= kRefreshTicks || change < 0;
}

/// What a packet is called depends on what was known before it, as in Linux.
CtState state_before(const Packet& p, Meta m) noexcept {
    if (p.dir == Dir::Reply || m.seen_reply()) return CtState::Established;
    return (p.status & status::kExpected) != 0 ? CtState::Related : CtState::New;
}

/// Why listeners are to be told of a change.
std::uint16_t causes_of(Meta before, Meta after, bool state_changed) noexcept {
    const int causes = (after.seen_reply() && !before.seen_reply() ? cause::kReply : 0) |
                       (after.assured() && !before.assured() ? cause::kAssured : 0) |
                       (state_changed ? cause::kProtoinfo : 0);
    return static_cast<std::uint16_t>(causes);
}

/// What becomes of a linked entry's word `x` when a tracker has said `v` about packet `p`, and
/// `deadline` is when that would let it expire, unless it stays `still`.
[[gnu::always_inline]] inline Meta after_packet(Meta x, const Packet& p, const proto::Verdict& v,
                                                Ticks deadline, bool still) noexcept {
    const bool accepted = v.outcome == proto::Outcome::Accept;
    const bool killed = v.outcome == proto::Outcome::Kill;
    Meta next = x;
    if (p.dir == Dir::Reply && !killed && v.outcome != proto::Outcome::Invalid)
        next.set_seen_reply();
    if (killed || accepted || v.state_changed) next.set_state(v.state);
    if (v.assured && (accepted || v.state_changed)) next.set_assured();
    if (accepted) {
        const bool worth = worth_storing(x, deadline) || v.state != x.state();
        if (v.refresh && !still && !x.fixed_timeout() && worth) next.set_deadline(deadline);
    } else if (v.cut && ticks_between(deadline, x.deadline()) > 0) {
        next.set_deadline(deadline);
    }
    return next;
}

}  // namespace

void Conntrack::Impl::promote(ConnHandle h, std::uint8_t fixed_bits) noexcept {
    const HotLine& hot = pool.hot(h.index);
    const Ref ref = Ref::make(h.index, h.generation);
    const auto mark_slot = [&](std::uint32_t bucket, std::uint16_t tag) {
        index.lock(bucket);
        index.set_assured(bucket, tag, ref);
        index.unlock(bucket);
    };
    // If the entry ended meanwhile, the slot no longer holds `ref` and nothing is marked.
    mark_slot(hot.original_bucket.load(std::memory_order_acquire),
              hot.original_tag.load(std::memory_order_acquire));
    if ((fixed_bits & fixed::kMirror) == 0)
        mark_slot(hot.reply_bucket.load(std::memory_order_acquire),
                  hot.reply_tag.load(std::memory_order_acquire));
}

void Conntrack::Impl::cut_deadline(ConnHandle h, Ticks limit) noexcept {
    Atomic<std::uint64_t>& meta = pool.hot(h.index).meta;
    std::uint64_t word = meta.load(std::memory_order_acquire);
    for (;;) {
        Meta m{word};
        if (!m.is_linked_as(h.generation) || m.fixed_timeout()) return;
        if (ticks_between(limit, m.deadline()) <= 0) return;
        m.set_deadline(limit);
        if (meta.compare_exchange_weak(word, m.word(), std::memory_order_acq_rel,
                                       std::memory_order_acquire))
            return;
    }
}

/// Data and acknowledgements of established TCP connections, which most packets are: what
/// update_one() comes to for them, and no more. False: nothing has been touched.
[[gnu::always_inline]] inline bool Conntrack::Impl::update_data(const Worker& me, Packet& p,
                                                                Ticks ticks) noexcept {
    if (p.tuple.proto != ipproto::kTcp) return false;
    const ConnHandle h = p.conn;
    HotLine& hot = pool.hot(h.index);
    SideLines& side = pool.side(h.index);
    const Meta wanted = Meta::established(h.generation);
    if (!Meta{hot.meta.load(std::memory_order_acquire)}.same_course(wanted)) return false;
    take_side(h.index);
    Meta m{hot.meta.load(std::memory_order_seq_cst)};
    std::uint32_t timeout_s = 0;
    const std::uint8_t fixed_bits = hot.fixed.load(std::memory_order_acquire);
    if (!m.same_course(wanted) ||
        !proto::tcp::update_data(p, side, settings_of(fixed_bits, side), timeout_s)) {
        unlock_side(h.index);
        return false;
    }
    if ((fixed_bits & fixed::kCounts) != 0) account(side, p);
    Ticks deadline = ticks + timeout_s * kTicksPerSecond;
    if ((fixed_bits & fixed::kVariant) != 0 && stays_still(side, p.dir)) [[unlikely]]
        deadline = m.deadline();
    else if (worth_storing(m, deadline))
        deadline = ticks + lifetime(me, timeout_s);
    while (worth_storing(m, deadline)) {
        std::uint64_t word = m.word();
        m.set_deadline(deadline);
        if (hot.meta.compare_exchange_weak(word, m.word(), std::memory_order_acq_rel,
                                           std::memory_order_acquire))
            break;
        m = Meta{word};
        if (m.same_course(wanted)) continue;
        unlock_side(h.index);
        p.conn = {};  // ended by another thread: the packet must open anew
        return true;
    }
    unlock_side(h.index);
    p.state = CtState::Established;
    p.status |= status::kSeenReply | status::kAssured;
    return true;
}

/// What the trackers are told of an entry. `side` is null unless the caller holds its lock.
[[gnu::always_inline]] inline proto::View Conntrack::Impl::view_of(const HotLine& hot, Meta m,
                                                                   Ticks ticks,
                                                                   SideLines* side) noexcept {
    const std::int32_t left = ticks_between(ticks, m.deadline());
    return {.state = m.state(),
            .had_reply = m.seen_reply(),
            .assured = m.assured(),
            .nat_clash = m.nat_clash(),
            .remaining_s = left > 0 ? static_cast<std::uint32_t>(left) / kTicksPerSecond : 0,
            .age = Nanos{ticks - hot.born.load(std::memory_order_acquire)} * kNanosPerTick,
            .side = side};
}

/// The packet belongs to no connection, whatever its tuple says; `state` is that of the connection
/// which it claims.
void Conntrack::Impl::disown(Worker& me, Packet& p, std::uint8_t state) const noexcept {
    me.counters.invalid.add();
    note_invalid(me, p, state);
    p.state = CtState::Invalid;
    p.conn = {};
}

void Conntrack::Impl::update_one(WorkerId w, Packet& p, Nanos now) noexcept {
    Worker& me = *workers[w];
    const Ticks ticks = to_ticks(now);
    const ConnHandle h = p.conn;
    HotLine& hot = pool.hot(h.index);
    SideLines& side = pool.side(h.index);
    const std::uint8_t fixed_bits = hot.fixed.load(std::memory_order_acquire);
    const bool counts = (fixed_bits & fixed::kCounts) != 0;
    const bool has_side =
        proto::needs_side(p.tuple.proto) || (fixed_bits & (fixed::kCounts | fixed::kVariant)) != 0;
    if (has_side && !lock_side(h)) {
        p.conn = {};
        return;
    }
    Meta m{hot.meta.load(std::memory_order_acquire)};
    const auto leave = [&] {
        if (has_side) unlock_side(h.index);
    };
    const auto lost = [&] {  // ended by another thread: the packet must open anew
        leave();
        p.conn = {};
    };
    if (!m.is_linked_as(h.generation)) [[unlikely]]
        return lost();

    proto::View view = view_of(hot, m, ticks, has_side ? &side : nullptr);
    const bool adjusted = p.tuple.proto == ipproto::kTcp && side.window[0].adjust != 0;
    if (adjusted) view.adjust = &adjustments.at(side.window[0].adjust);
    const proto::Verdict v = proto::update(p, view, settings_of(fixed_bits, side));
    const bool invalid = v.outcome == proto::Outcome::Invalid;
    if (invalid && !v.state_changed) {
        leave();
        if (v.cut) cut_deadline(h, ticks + v.timeout_s * kTicksPerSecond);
        disown(me, p, m.state());
        return;
    }
    if (v.outcome == proto::Outcome::Reopen) {
        leave();
        end(w, h, End::Deleted, true, now);
        p.conn = {};
        return;
    }
    const bool killed = v.outcome == proto::Outcome::Kill;
    // A change of state has its own time-out whoever causes it.
    const bool still =
        (fixed_bits & fixed::kVariant) != 0 && stays_still(side, p.dir) && !v.state_changed;
    // As in Linux, a packet that does not refresh the time-out is not counted either.
    const bool refreshes = v.refresh || p.fragment == Fragment::Later;
    if (counts && ((v.outcome == proto::Outcome::Accept && refreshes) || killed)) account(side, p);

    const Ticks deadline =
        ticks + (v.cut ? v.timeout_s * kTicksPerSecond : lifetime(me, v.timeout_s));
    Meta next = after_packet(m, p, v, deadline, still);
    while (next != m) {
        std::uint64_t word = m.word();
        if (hot.meta.compare_exchange_weak(word, next.word(), std::memory_order_acq_rel,
                                           std::memory_order_acquire))
            break;
        m = Meta{word};
        if (!m.is_linked_as(h.generation)) return lost();
        next = after_packet(m, p, v, deadline, still);
    }
    leave();

    p.state = state_before(p, m);
    p.status = status_of(next, fixed_bits);
    if (adjusted) p.status |= status::kSeqAdjust;
    if (next.state() != m.state()) {
        count_kept(me, fixed_bits, p.tuple.proto, m, next);
        if (!killed) note_closing(me, h, m, next, ticks);
    }
    if (next.assured() && !m.assured()) {
        promote(h, fixed_bits);
        count_out(me);
    }
    const std::uint16_t causes = causes_of(m, next, !killed && v.state_changed);
    if (causes != 0 && listening()) emit(w, EventType::Update, causes, h, now);
    if (killed) end(w, h, End::Deleted, true, now);
    if (invalid) disown(me, p, m.state());
}

void Conntrack::update(WorkerId w, std::span<Packet> packets, Nanos now) noexcept {
    Impl& d = *impl_;
    const Impl::Worker& me = *d.workers[w];
    const Ticks ticks = to_ticks(now);
    for (std::size_t k = 0; k < packets.size(); ++k) {
        Packet& p = packets[k];
        if (!p.alive() || !p.conn.valid() || p.icmp_error) continue;
        if (!d.update_data(me, p, ticks)) d.update_one(w, p, now);
    }
}

}  // namespace ct
