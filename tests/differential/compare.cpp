// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/compare.hpp"

#include "ct/conn/status.hpp"
#include "ct/proto/proto.hpp"
#include "dataplane/control/config.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace differential {
namespace {

constexpr std::array kSeenNames{"-", "NEW", "ESTABLISHED", "RELATED", "INVALID", "UNTRACKED"};

std::string end_of(const ct::Tuple& t, const ct::Addr& a, ct::Be16 port) {
    return fmt::format("{}|{}", dp::to_string(t.family, a), port.host());
}

std::string to_text(const ct::Tuple& t) {
    return end_of(t, t.src, t.sport) + " > " + end_of(t, t.dst, t.dport);
}

/// The status bits that both can have; the kernel's NAT bits stand there without NAT, too.
constexpr std::uint32_t kStatusMask =
    ct::status::kExpected | ct::status::kSeenReply | ct::status::kAssured | ct::status::kConfirmed |
    ct::status::kNatMask | ct::status::kDying | ct::status::kFixedTimeout | ct::status::kNatClash;

std::string status_text(std::uint32_t s) {
    std::string out;
    if ((s & ct::status::kSeenReply) == 0) out += " unreplied";
    if ((s & ct::status::kAssured) != 0) out += " assured";
    const std::uint32_t rest =
        s & kStatusMask &
        ~std::uint32_t{ct::status::kSeenReply | ct::status::kAssured | ct::status::kConfirmed};
    if (rest != 0) out += fmt::format(" status {:#x}", rest);
    return out;
}

bool same_timeout(const Entry& a, const Entry& b) {
    const std::uint32_t high = std::max(a.timeout_s, b.timeout_s);
    return high - std::min(a.timeout_s, b.timeout_s) <= 1;
}

/// Reasons that parse() has for a packet whose IP header is sound.
bool is_malformed(std::string_view reason) {
    return reason == "truncated" || (reason.starts_with("bad_") && reason != "bad_ip_header" &&
                                     reason != "bad_ip_length" && reason != "bad_ip_checksum");
}

/// True for a packet that the kernel's ICMP code sees; extension headers do not stand in front of
/// ICMPv6 here.
bool carries_icmp(const Bytes& ip) {
    if (ip.size() < 20) return false;
    return ip[0] >> 4U == 4 ? ip[9] == ct::ipproto::kIcmp : ip[6] == ct::ipproto::kIcmpv6;
}

/// What differs between two entries, or "".
std::string differs(const Entry& a, const Entry& b, bool with_counters) {
    if (a.original != b.original || a.reply != b.reply) return "tuples";
    if (a.state != b.state) return "state";
    if ((a.status & kStatusMask) != (b.status & kStatusMask)) return "status";
    if (!same_timeout(a, b)) return "time-out";
    if (with_counters && (a.packets != b.packets || a.bytes != b.bytes)) return "counters";
    return "";
}

std::string text_of(const std::optional<Entry>& e) {
    return e ? to_text(*e) : "none";
}

class Comparison {
public:
    Comparison(const Profile& profile, const std::vector<Step>& steps, const Record& kernel,
               const Record& sluice)
        : profile_{profile}, steps_{steps}, kernel_{kernel}, sluice_{sluice} {}

    std::optional<Divergence> run() {
        if (auto d = steps()) return d;
        if (auto d = table()) return d;
        return counts();
    }
    std::optional<Divergence> steps() {
        for (at_ = 0; at_ < steps_.size(); ++at_) {
            if (steps_[at_].kind != Step::Kind::Packet) continue;
            if (auto d = packet()) return d;
        }
        return {};
    }

private:
    Divergence divergence(std::string what, std::string kernel, std::string sluice) const {
        return {at_, std::move(what), std::move(kernel), std::move(sluice)};
    }

    std::optional<Divergence> packet() {
        const Part part = steps_[at_].part;
        if (part != Part::Whole) return fragment(part);
        const Observation& k = kernel_.after[at_];
        const Observation& s = sluice_.after[at_];
        if (is_summed_otherwise(steps_[at_].keys.front())) {
            const bool icmp = carries_icmp(steps_[at_].ip);
            if (k.seen == Seen::Invalid) ++(icmp ? apart_kernel_.error : apart_kernel_.invalid);
            if (s.seen == Seen::Invalid && !is_malformed(s.reason))
                ++(icmp ? apart_sluice_.error : apart_sluice_.invalid);
            return {};
        }
        if (k.seen != s.seen || k.dir != s.dir)
            return divergence("ctstate", differential::to_text(k), differential::to_text(s));
        const bool malformed = k.seen == Seen::Invalid && is_malformed(s.reason);
        if (malformed) ++(carries_icmp(steps_[at_].ip) ? malformed_icmp_ : malformed_);
        if (k.forwarded != s.forwarded && !malformed)
            return divergence("verdict", differential::to_text(k), differential::to_text(s));
        return entries();
    }

    /// UDP-Lite while checksums are looked at, and errors about it.
    [[nodiscard]] bool is_summed_otherwise(const ct::Tuple& t) const {
        return profile_.checksum && t.proto == ct::ipproto::kUdplite;
    }

    /// The kernel shows nothing of fragments before it has put them together; then all of them have
    /// the fate of the whole, but for the counters.
    std::optional<Divergence> fragment(Part part) {
        const Observation& s = sluice_.after[at_];
        all_forwarded_ = all_forwarded_ && s.forwarded;
        fragmented_.push_back(steps_[at_].keys.front());
        if (part == Part::Fragment) return {};
        const Observation& k = kernel_.after[at_];
        const bool forwarded = std::exchange(all_forwarded_, true);
        if (k.seen != s.seen || k.dir != s.dir || k.forwarded != forwarded)
            return divergence("fragments", differential::to_text(k), differential::to_text(s));
        return entries();
    }

    std::optional<Divergence> entries() {
        const Observation& k = kernel_.after[at_];
        const Observation& s = sluice_.after[at_];
        for (std::size_t i = 0; i < k.entries.size(); ++i) {
            const auto& a = k.entries[i];
            const auto& b = s.entries[i];
            if (a.has_value() != b.has_value()) return divergence("entry", text_of(a), text_of(b));
            if (!a) continue;
            if (std::string what = differs(*a, *b, counts_alike(*a)); !what.empty())
                return divergence(std::move(what), to_text(*a), to_text(*b));
        }
        return {};
    }

    /// False for an entry that fragments were counted for: one by one, or put together.
    [[nodiscard]] bool counts_alike(const Entry& e) const {
        return std::none_of(fragmented_.begin(), fragmented_.end(),
                            [&](const ct::Tuple& t) { return t == e.original || t == e.reply; });
    }

    std::optional<Divergence> table() const {
        for (const Entry& e : kernel_.table) {
            if (is_summed_otherwise(e.original)) continue;
            const auto twin = find(sluice_.table, e);
            if (twin == sluice_.table.end()) return divergence("table", to_text(e), "none");
            if (const std::string what = differs(e, *twin, counts_alike(e)); !what.empty())
                return divergence("table: " + what, to_text(e), to_text(*twin));
        }
        for (const Entry& e : sluice_.table)
            if (!is_summed_otherwise(e.original) && find(kernel_.table, e) == kernel_.table.end())
                return divergence("table", "none", to_text(e));
        return {};
    }
    static std::vector<Entry>::const_iterator find(const std::vector<Entry>& in, const Entry& e) {
        return std::find_if(in.begin(), in.end(),
                            [&](const Entry& x) { return x.original == e.original; });
    }

    std::optional<Divergence> counts() const {
        const auto text = [](const Counts& c) {
            return fmt::format(
                "invalid {} insert_failed {} drop {} early_drop {} error {} "
                "clash_resolve {}",
                c.invalid, c.insert_failed, c.drop, c.early_drop, c.error, c.clash_resolve);
        };
        Counts theirs = kernel_.counts;
        theirs.invalid -= apart_kernel_.invalid;
        theirs.error -= apart_kernel_.error;
        const std::string k = text(theirs);
        Counts ours = sluice_.counts;
        ours.invalid += malformed_ - apart_sluice_.invalid;
        ours.error += malformed_icmp_ - apart_sluice_.error;
        const std::string s = text(ours);
        if (k != s) return divergence("statistics", k, s);
        return {};
    }

    const Profile& profile_;
    const std::vector<Step>& steps_;
    const Record& kernel_;
    const Record& sluice_;
    std::size_t at_ = 0;
    bool all_forwarded_ = true;  ///< of the datagram in fragments so far
    std::vector<ct::Tuple> fragmented_;
    // Dropped by Sluice, INVALID to the kernel, which counts ICMP messages as errors.
    std::uint64_t malformed_ = 0;
    std::uint64_t malformed_icmp_ = 0;
    // What was counted for packets that are not compared.
    Counts apart_kernel_;
    Counts apart_sluice_;
};

}  // namespace

std::string to_text(const Entry& e) {
    const char* const state = ct::proto::state_name(e.original.proto, e.state);
    return fmt::format("proto {} {} s {}{}{} [{}] reply [{}] packets {}/{} bytes {}/{}",
                       e.original.proto, e.timeout_s, state, *state == '\0' ? "" : " ",
                       status_text(e.status), to_text(e.original), to_text(e.reply), e.packets[0],
                       e.packets[1], e.bytes[0], e.bytes[1]);
}

std::string to_text(const Observation& o) {
    std::string out = o.forwarded ? "out " : "drop ";
    out += kSeenNames[static_cast<std::size_t>(o.seen)];
    if (o.dir) out += *o.dir == ct::Dir::Original ? " original" : " reply";
    if (!o.reason.empty()) out += " (" + o.reason + ")";
    return out;
}

std::optional<Divergence> compare(const Profile& profile, const std::vector<Step>& steps,
                                  const Record& kernel, const Record& sluice) {
    return Comparison{profile, steps, kernel, sluice}.run();
}

std::optional<Divergence> compare_steps(const Profile& profile, const std::vector<Step>& steps,
                                        const Record& kernel, const Record& sluice) {
    return Comparison{profile, steps, kernel, sluice}.steps();
}

}  // namespace differential
