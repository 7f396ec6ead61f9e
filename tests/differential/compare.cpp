// SPDX-License-Identifier: BSD-3-Clause
#include "tests/differential/compare.hpp"

#include "ct/conn/status.hpp"
#include "ct/proto/proto.hpp"
#include "dataplane/control/config.hpp"
#include "tests/differential/port_rules.hpp"

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
    const std::string zone = t.zone == 0 ? "" : fmt::format(" zone {}", t.zone);
    return end_of(t, t.src, t.sport) + " > " + end_of(t, t.dst, t.dport) + zone;
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

/// True for a packet that the kernel's ICMP code sees; extension headers do not stand in front of
/// ICMPv6 here.
bool carries_icmp(const Bytes& ip) {
    if (ip.size() < 20) return false;
    return ip[0] >> 4U == 4 ? ip[9] == ct::ipproto::kIcmp : ip[6] == ct::ipproto::kIcmpv6;
}

/// What is wrong with the ports that the kernel (`a`) and Sluice (`b`) have chosen, or "". Once
/// Sluice has given a source the port again that it had before (README.md), who else keeps his own
/// may differ: `drifted`.
std::string choice_differs(Nat nat, const Entry& a, const Entry& b, bool& drifted) {
    const auto choice = choice_of(nat, a.original);
    if (!choice) return "";
    const bool alike = a.chosen.has_value() == b.chosen.has_value();
    drifted = drifted || b.chosen_again;
    if (!choice->always && !alike && !drifted) return "port kept";
    for (const Entry* e : {&a, &b})
        if (e->chosen && (*e->chosen < choice->first || *e->chosen > choice->last))
            return "port out of its range";
    return "";
}

/// What differs between two entries, or "".
std::string differs(Nat nat, const Entry& a, const Entry& b, bool with_counters, bool& drifted) {
    if (a.original != b.original || a.reply != b.reply) return "tuples";
    if (std::string what = choice_differs(nat, a, b, drifted); !what.empty()) return what;
    if (a.state != b.state) return "state";
    if (a.mark != b.mark) return "mark";
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
        if (auto d = events()) return d;
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
            if (s.seen == Seen::Invalid) ++(icmp ? apart_sluice_.error : apart_sluice_.invalid);
            return {};
        }
        // Linux asks for room for it before it judges it; that its table was full, the counters
        // say.
        if (profile_.max != 0 && k.seen == Seen::Nothing && !k.forwarded &&
            s.seen == Seen::Invalid) {
            ++apart_kernel_.drop;
            ++apart_sluice_.invalid;
            return entries();
        }
        // The kernel drops it before any rule sees it.
        const bool redirect = s.reason == "nat_redirect" && k.seen == Seen::Nothing;
        if ((k.seen != s.seen || k.dir != s.dir) && !redirect)
            return divergence("ctstate", differential::to_text(k), differential::to_text(s));
        // What is INVALID leaves the kernel untranslated.
        const bool held_back = k.seen == Seen::Invalid && s.reason == "nat_invalid";
        if (s.reason == "nat_no_port" && !k.forwarded) ++unmapped_;
        if (k.forwarded != s.forwarded && !held_back)
            return divergence("verdict", differential::to_text(k), differential::to_text(s));
        const bool dccp = steps_[at_].keys.front().proto == ct::ipproto::kDccp;
        if (profile_.nat != Nat::None && !held_back && !dccp && k.out != s.out)
            return divergence("packet", bytes_text(k.out), bytes_text(s.out));
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
        any_forwarded_ = any_forwarded_ || s.forwarded;
        if (!s.forwarded && not_forwarded_.empty()) not_forwarded_ = differential::to_text(s);
        const auto& keys = steps_[at_].keys;
        fragmented_.insert(fragmented_.end(), keys.begin(), keys.end());
        if (part == Part::Fragment) return {};
        const Observation& k = kernel_.after[at_];
        const std::string lost = std::exchange(not_forwarded_, {});
        // A rule has dropped the first, and so the others belong to nothing.
        const bool all_lost = !std::exchange(any_forwarded_, false);
        if (all_lost && !k.forwarded && s.seen == Seen::Invalid) return entries();
        if (k.seen != s.seen || k.dir != s.dir || k.forwarded != lost.empty())
            return divergence("fragments", differential::to_text(k),
                              differential::to_text(s) + (lost.empty() ? "" : "; one: " + lost));
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
            if (std::string what = differs_here(*a, *b, counts_alike(*a)); !what.empty())
                return divergence(std::move(what), to_text(*a), to_text(*b));
        }
        return {};
    }

    [[nodiscard]] std::string differs_here(const Entry& a, const Entry& b, bool with_counters) {
        return differs(profile_.nat, a, b, with_counters, drifted_);
    }
    /// False for an entry that fragments were counted for: one by one, or put together.
    [[nodiscard]] bool counts_alike(const Entry& e) const {
        return std::none_of(fragmented_.begin(), fragmented_.end(),
                            [&](const ct::Tuple& t) { return t == e.original || t == e.reply; });
    }

    std::optional<Divergence> table() {
        for (const Entry& e : kernel_.table) {
            if (is_summed_otherwise(e.original)) continue;
            const auto twin = find(sluice_.table, e);
            if (twin == sluice_.table.end()) return divergence("table", to_text(e), "none");
            if (const std::string what = differs_here(e, *twin, counts_alike(e)); !what.empty())
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

    /// What each connection's listeners were told, in order. When an entry is reaped whose time is
    /// up is each router's own affair.
    std::optional<Divergence> events() {
        const auto theirs = by_connection(kernel_.events);
        const auto ours = by_connection(sluice_.events);
        std::vector<ct::Tuple> all;
        for (const auto& [original, told] : theirs) all.push_back(original);
        for (const auto& [original, told] : ours)
            if (history(theirs, original).empty()) all.push_back(original);
        for (const ct::Tuple& original : all) {
            if (is_summed_otherwise(original)) continue;
            const auto k = history(theirs, original);
            const auto s = history(ours, original);
            for (std::size_t i = 0; i < std::max(k.size(), s.size()); ++i) {
                const bool alike = i < k.size() && i < s.size() && told_alike(k[i], s[i]);
                if (alike) continue;
                at_ = i < k.size() ? k[i].step : s[i].step;
                return divergence("event", i < k.size() ? happening_text(k[i]) : "none",
                                  i < s.size() ? happening_text(s[i]) : "none");
            }
        }
        return {};
    }
    using History = std::vector<std::pair<ct::Tuple, std::vector<Happening>>>;

    /// In the order in which the connections first came up. The kernel tells all that a packet has
    /// changed at once, Sluice what the tracker and what a rule has changed one after the other:
    /// updates of one step are taken together.
    static History by_connection(const std::vector<Happening>& events) {
        History all;
        for (const Happening& h : events) {
            auto at = std::find_if(all.begin(), all.end(),
                                   [&](const auto& c) { return c.first == h.entry.original; });
            if (at == all.end()) at = all.insert(all.end(), {h.entry.original, {}});
            std::vector<Happening>& told = at->second;
            const bool again = !told.empty() && h.kind == Happening::Kind::Update &&
                               told.back().kind == h.kind && told.back().step == h.step;
            if (!again) {
                told.push_back(h);
                continue;
            }
            const std::uint8_t state = told.back().entry.state;
            told.back() = h;
            if (h.entry.state == 0) told.back().entry.state = state;
        }
        return all;
    }
    static std::vector<Happening> history(const History& all, const ct::Tuple& original) {
        for (const auto& [key, told] : all)
            if (key == original) return told;
        return {};
    }
    [[nodiscard]] bool told_alike(const Happening& a, const Happening& b) {
        if (a.kind != b.kind) return false;
        const bool ends = a.kind == Happening::Kind::Destroy;
        // The kernel waits for all fragments.
        const bool same_step = a.step == b.step || !counts_alike(a.entry);
        if (!ends && (!same_step || !same_timeout(a.entry, b.entry))) return false;
        if (a.entry.mark != b.entry.mark) return false;
        Entry x = a.entry;
        Entry y = b.entry;
        x.timeout_s = y.timeout_s = 0;
        return differs_here(x, y, ends && counts_alike(x)).empty();
    }
    static std::string happening_text(const Happening& h) {
        constexpr std::array kKinds{"NEW", "UPDATE", "DESTROY"};
        return fmt::format("{} at step {}: {} mark {}", kKinds[static_cast<std::size_t>(h.kind)],
                           h.step, differential::to_text(h.entry), h.entry.mark);
    }
    static std::string bytes_text(const std::vector<Bytes>& packets) {
        std::string out;
        for (const Bytes& p : packets) {
            for (const std::uint8_t b : p) out += fmt::format("{:02x}", b);
            out += ' ';
        }
        return out;
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
        theirs.drop -= apart_kernel_.drop;
        const std::string k = text(theirs);
        Counts ours = sluice_.counts;
        ours.invalid -= apart_sluice_.invalid;
        ours.error -= apart_sluice_.error;
        // The kernel finds out when it confirms the entry; Sluice knows it before, and says so.
        ours.insert_failed += unmapped_;
        ours.drop += unmapped_;
        const std::string s = text(ours);
        if (k != s) return divergence("statistics", k, s);
        return {};
    }

    const Profile& profile_;
    const std::vector<Step>& steps_;
    const Record& kernel_;
    const Record& sluice_;
    std::size_t at_ = 0;
    bool any_forwarded_ = false;  ///< of the datagram so far
    std::string not_forwarded_;   ///< the first such fragment of the datagram so far
    std::vector<ct::Tuple> fragmented_;
    bool drifted_ = false;        ///< see choice_differs()
    std::uint64_t unmapped_ = 0;  ///< packets for which no mapping was free
    // What was counted for packets that are not compared.
    Counts apart_kernel_;
    Counts apart_sluice_;
};

}  // namespace

std::string to_text(const Entry& e) {
    const char* const state = ct::proto::state_name(e.original.proto, e.state);
    const std::string chosen = e.chosen ? fmt::format(" chosen {}", *e.chosen) : "";
    return fmt::format("proto {} {} s {}{}{} [{}] reply [{}]{} packets {}/{} bytes {}/{}",
                       e.original.proto, e.timeout_s, state, *state == '\0' ? "" : " ",
                       status_text(e.status), to_text(e.original), to_text(e.reply), chosen,
                       e.packets[0], e.packets[1], e.bytes[0], e.bytes[1]);
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
