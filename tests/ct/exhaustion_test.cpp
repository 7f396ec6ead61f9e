// SPDX-License-Identifier: BSD-3-Clause
//
// A flood against a table that holds established connections, under every policy and every
// exception to it: how much of the flood is let in, why the rest is refused, what an honest
// newcomer meets then, and that nobody who was there loses his place.
#include "tests/ct/tables.hpp"

#include <vector>

namespace ct::test {
namespace {

constexpr std::uint32_t kMax = 1000;  // entries
constexpr std::uint32_t kEstablished = 300;
constexpr std::uint32_t kRoom = kMax - kEstablished;
constexpr std::uint32_t kFlood = 20'000;          // connections
constexpr std::uint32_t kAttackers = 0xcb007100;  // 203.0.113.0/24

struct Scenario {
    const char* name;
    Settings settings;
    std::uint32_t let_in;  ///< connections of the flood
    Drop refusal;          ///< why the others are refused; None: there are none
    Drop newcomer;         ///< what another source meets after the flood
    std::uint32_t attackers = 256;
    /// One in so many connections of the flood has a mapping; 0: none has.
    std::uint32_t mapped_one_in = 0;
};

Settings with(Overflow policy, void (*change)(Settings&)) {
    Settings s = sized(kMax, policy);
    s.embryonic_percent = 75;
    change(s);
    return s;
}

std::vector<Scenario> scenarios() {
    const auto nothing = [](Settings&) {};
    const auto young = [](Settings& s) { s.room.min_life = 3; };  // longer than the flood
    const auto adaptive = [](Settings& s) { s.room.adaptive = {50, 120}; };
    // The established ones have one source too.
    const auto few = [](Settings& s) { s.room.per_source.max_entries = 400; };
    const auto slow = [](Settings& s) {
        s.room.per_source = {.new_per_second = 100, .burst = kEstablished};
    };
    const auto reserve = [](Settings& s) {
        s.room.reserve = {{{.addr = v4(0xc6336400), .length = 24, .family = Family::Ipv4}, 350}};
    };
    const auto mappings = [](Settings& s) { s.room.never_delete_mappings = true; };
    constexpr Drop kNone = Drop::None;
    constexpr Drop kFull = Drop::CtTableFull;
    constexpr Drop kKept = Drop::CtMappingKept;
    return {
        {"EmbryonicOldest", with(Overflow::EmbryonicOldest, nothing), kFlood, kNone, kNone},
        {"ClosingFirst", with(Overflow::ClosingFirst, nothing), kFlood, kNone, kNone},
        {"Linux", with(Overflow::Linux, nothing), kFlood, kNone, kNone},
        {"Drop", with(Overflow::Drop, nothing), kRoom, kFull, kFull},
        {"Untracked", with(Overflow::Untracked, nothing), kFlood, kNone, kNone},
        {"Reject", with(Overflow::Reject, nothing), kRoom, Drop::CtTableReject,
         Drop::CtTableReject},
        {"MinLife", with(Overflow::EmbryonicOldest, young), kRoom, Drop::CtMinLife,
         Drop::CtMinLife},
        {"Adaptive", with(Overflow::Drop, adaptive), kRoom, kFull, kFull},
        {"PerSource", with(Overflow::EmbryonicOldest, few), 400, Drop::CtSourceEntries, kNone, 1},
        // From its first connection to its last the flood takes just less than two seconds.
        {"PerSourceRate", with(Overflow::EmbryonicOldest, slow), kEstablished + 199,
         Drop::CtSourceRate, kNone, 1},
        {"Reserve", with(Overflow::Drop, reserve), kMax - 350, Drop::CtReserved, kNone},
        {"MappingsInAFloodWithout", with(Overflow::EmbryonicOldest, mappings), kFlood, kNone,
         kNone},
        {"MappingsInAFloodWith", with(Overflow::EmbryonicOldest, mappings), kRoom, kKept, kKept,
         256, 1},
        // The others give way until those with a mapping have all the room.
        {"MappingsInAFloodWithSome", with(Overflow::ClosingFirst, mappings), 4 * (kRoom - 1) + 1,
         kKept, kKept, 256, 4},
    };
}

class Exhaustion : public testing::TestWithParam<Scenario> {};

TEST_P(Exhaustion, LosesNoEstablishedConnectionToAFlood) {
    const Scenario& s = GetParam();
    Table t{s.settings};
    for (std::uint32_t n = 0; n < kEstablished; ++n) t.establish(flow(n));

    std::vector<Tuple> kept;
    std::uint32_t refused = 0;
    for (std::uint32_t n = 0; n < kFlood; ++n) {
        t.now += kNanosPerSecond / 10'000;
        if (n % 16 == 0) t.ct.expire(0, t.now);
        const Tuple attack = flow(n, kAttackers + n % s.attackers);
        const bool mapped = s.mapped_one_in != 0 && n % s.mapped_one_in == 0;
        const Drop d =
            mapped ? t.open_mapped(attack, static_cast<std::uint16_t>(1024 + n)) : t.open(attack);
        if (d == Drop::None) {
            if (mapped) kept.push_back(attack);
            continue;
        }
        ++refused;
        ASSERT_EQ(d, s.refusal) << n;
        if (n % 100 == 0) {  // each once: what sends the same again and again loses its time-out
            ASSERT_EQ(t.send(ack(flow(n / 100 % kEstablished))), Drop::None);
        }
    }

    EXPECT_EQ(refused, kFlood - s.let_in);
    const Counters c = t.ct.counters();
    EXPECT_EQ(c.drop + c.limited, refused);
    EXPECT_EQ(c.untracked, s.settings.overflow == Overflow::Untracked ? kFlood - kRoom : 0);
    EXPECT_EQ(c.assured_evicted, 0U);
    EXPECT_EQ(t.open(flow(0, kClient + 1)), s.newcomer);
    for (std::uint32_t n = 0; n < kEstablished; ++n) ASSERT_TRUE(t.has(flow(n))) << n;
    if (s.settings.room.never_delete_mappings) {
        for (const Tuple& each : kept) ASSERT_TRUE(t.has(each));
    }
    EXPECT_LE(t.ct.count(), kMax);
    EXPECT_EQ(t.ct.check_invariants(), "");
    // The table is as good as before.
    t.now += 600 * kSecond;
    for (int turn = 0; turn < 100; ++turn) t.ct.expire(0, t.now += kSecond / 10);
    EXPECT_EQ(t.ct.count(), kEstablished);
    t.establish(flow(9000));
    EXPECT_EQ(t.ct.check_invariants(), "");
}

INSTANTIATE_TEST_SUITE_P(UnderEachPolicy, Exhaustion, testing::ValuesIn(scenarios()),
                         [](const auto& p) { return p.param.name; });

}  // namespace
}  // namespace ct::test
