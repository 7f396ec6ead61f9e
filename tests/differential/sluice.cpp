// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/sluice.hpp"

#include "ct/wire/headers.hpp"
#include "tests/differential/table_limit.hpp"
#include "tests/differential/world.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace differential {
namespace {

constexpr std::uint32_t kMaxEntries = 1024;
constexpr ct::Nanos kEpoch = 1'700'000'000ULL * ct::kNanosPerSecond;
/// On paper; about what the kernel takes in earnest.
constexpr ct::Nanos kBetweenPackets = 50'000;
/// Longer than replay takes to look for expired entries.
constexpr ct::Nanos kUntilReaped = 3 * ct::kNanosPerSecond;
/// Longer than any time-out: what a seed leaves behind is gone when the next one begins.
constexpr ct::Nanos kBetweenSeeds = 20ULL * 86'400 * ct::kNanosPerSecond;

dp::Config make_config(const Profile& p) {
    std::string text = fmt::format(
        "[conntrack]\nmax = {}\nacct = true\nchecksum = {}\ntcp_loose = {}\ntcp_be_liberal = {}\n"
        "tcp_ignore_invalid_rst = {}\ntcp_max_retrans = {}\n",
        p.max != 0 ? p.max : kMaxEntries, p.checksum, p.loose, p.liberal, p.ignore_invalid_rst,
        p.max_retrans);
    if (p.max != 0) text += fmt::format("overflow = \"linux\"\nbuckets = {}\n", kernel_buckets());
    for (std::size_t i = 0; i < 2; ++i)
        text += fmt::format(
            "[[port]]\nname = \"tun{}\"\ndevice = \"net_null{}\"\nmtu = 9000\n"
            "addresses = [\"{}/24\", \"{}/64\"]\n",
            i, i, kPortAddress[i], kPortAddress6[i]);
    // Whatever is sent to the router itself is answered, however often.
    text += "[forward]\nicmp_rate = 1000000\nicmp_burst = 1000000\n";
    text += config_rules(p);
    return dp::parse_config(text, "differential " + p.name);
}

Bytes frame_of(const Step& step, const dp::MacAddress& receiver) {
    ct::EthernetHeader ethernet{};
    ethernet.dst = receiver;
    ethernet.src = {0x02, 0, 0, 0, 0, 0x01};
    const bool six = !step.ip.empty() && step.ip[0] >> 4U == 6;
    ethernet.type = ct::Be16::from_host(six ? ct::ethertype::kIpv6 : ct::ethertype::kIpv4);
    Bytes frame(sizeof ethernet + step.ip.size());
    ct::store(frame.data(), ethernet);
    std::copy(step.ip.begin(), step.ip.end(), frame.begin() + sizeof ethernet);
    return frame;
}

Seen seen_of(ct::CtState s) {
    switch (s) {
        case ct::CtState::New:
            return Seen::New;
        case ct::CtState::Established:
            return Seen::Established;
        case ct::CtState::Related:
            return Seen::Related;
        case ct::CtState::Invalid:
            return Seen::Invalid;
        case ct::CtState::Untracked:
            return Seen::Untracked;
        case ct::CtState::None:
            break;
    }
    return Seen::Nothing;
}

void tell(const dp::replay::Verdict& v, Observation& o) {
    o.forwarded = v.drop == ct::Drop::None;
    o.seen = seen_of(v.state);
    if (v.has_connection) o.dir = v.dir;
    if (v.drop != ct::Drop::None) o.reason = ct::name_of(v.drop);
}

Entry entry_of(const ct::Snapshot& s) {
    Entry e;
    e.original = s.original;
    e.reply = s.reply;
    e.state = s.state;
    e.status = s.status;
    e.timeout_s = s.timeout_s;
    e.packets = s.packets;
    e.bytes = s.bytes;
    e.mark = s.mark;
    return e;
}

/// The entry of `all` that has `key` as one of its tuples.
std::optional<Entry> find_in(const std::vector<Entry>& all, const ct::Tuple& key) {
    const auto found = std::find_if(all.begin(), all.end(), [&](const Entry& e) {
        return e.original == key || e.reply == key;
    });
    return found == all.end() ? std::nullopt : std::optional{*found};
}

}  // namespace

Sluice::Sluice(const Profile& profile)
    : book_{profile.nat}, config_{make_config(profile)}, now_{kEpoch} {
    dp::replay::Listeners listeners;
    listeners.frame = [this](ct::PortId port, ct::Nanos, std::span<const std::uint8_t> frame) {
        if (port == 1 - port_in_)
            out_.emplace_back(frame.begin() + sizeof(ct::EthernetHeader), frame.end());
    };
    listeners.event = [this](const ct::Event& e) {
        events_.push_back({static_cast<Happening::Kind>(e.type), step_, entry_of(e.conn)});
        book_.settle(events_.back().entry);
        if (e.type == ct::EventType::Destroy) book_.end(events_.back().entry);
    };
    listeners.verdict = [this](std::uint64_t n, const dp::replay::Verdict& v) {
        if (n < verdicts_.size()) verdicts_[n] = v;
    };
    engine_ = std::make_unique<dp::replay::Engine>(config_, 1, listeners);
    engine_->pass_time(now_);
}

std::vector<Entry> Sluice::table() const {
    std::vector<Entry> all;
    const ct::Conntrack& conntrack = engine_->conntrack();
    ct::Snapshot s;
    for (std::uint32_t i = 0; i < conntrack.indices(); ++i)
        if (conntrack.snapshot(i, now_, s)) all.push_back(entry_of(s));
    return all;
}

Observation Sluice::packet(const Step& given) {
    now_ += kBetweenPackets;
    const Step step =
        book_.addressed(given, [this](const ct::Tuple& t) { return find_in(table(), t); });
    const std::size_t number = verdicts_.size();
    // Until it is decided: a fragment may wait for its first.
    verdicts_.push_back({.drop = ct::Drop::Stopped});
    const Bytes frame = frame_of(step, dp::replay::mac_of(config_, step.port));
    port_in_ = step.port;
    out_.clear();
    engine_->receive(step.port, {.when = now_, .bytes = frame}, number);

    Observation o;
    o.out = std::move(out_);
    const std::vector<Entry> entries = table();
    for (const ct::Tuple& key : step.keys) o.entries.push_back(find_in(entries, key));
    book_.settle(step, o);
    return o;
}

Record Sluice::run(const std::vector<Step>& steps) {
    now_ += kBetweenSeeds;
    engine_->pass_time(now_);
    verdicts_.clear();
    events_.clear();
    book_.reset();
    const ct::Counters before = engine_->conntrack().counters();

    Record record;
    for (step_ = 0; step_ < steps.size(); ++step_) {
        const Step& step = steps[step_];
        if (step.kind == Step::Kind::Packet) {
            record.after.push_back(packet(step));
            continue;
        }
        now_ += step.seconds * ct::kNanosPerSecond;
        engine_->pass_time(now_);
        record.after.emplace_back();
    }
    for (std::size_t i = 0, number = 0; i < steps.size(); ++i)
        if (steps[i].kind == Step::Kind::Packet) tell(verdicts_[number++], record.after[i]);
    record.table = table();
    for (Entry& e : record.table) book_.settle(e);
    // What has expired by now and was not reaped yet is told of in a moment; what lives, does not
    // end with the seed.
    engine_->pass_time(now_ + kUntilReaped);
    record.events = events_;
    std::erase_if(record.events, [&](const Happening& h) {
        return h.step == steps.size() && find_in(record.table, h.entry.original).has_value();
    });
    const ct::Counters after = engine_->conntrack().counters();
    record.counts = {.invalid = after.invalid - before.invalid,
                     .insert_failed = after.insert_failed - before.insert_failed,
                     .drop = after.drop - before.drop,
                     .early_drop = after.early_drop - before.early_drop,
                     .error = after.error - before.error,
                     .clash_resolve = after.clash_resolve - before.clash_resolve};
    return record;
}

}  // namespace differential
