// SPDX-License-Identifier: BSD-3-Clause
//
// [[rule]] sections that are right, and what they compile to.
#include "ct/conn/helpers.hpp"
#include "ct/conn/status.hpp"
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

namespace dp::test {
namespace {

using nat::Action;
using nat::Chain;

std::uint8_t states(std::initializer_list<ct::CtState> list) {
    unsigned set = 0;
    for (const ct::CtState s : list) set |= 1U << static_cast<unsigned>(s);
    return static_cast<std::uint8_t>(set);
}

/// The conditions of a filter rule with these keys.
nat::Match match_of(const std::string& keys) {
    return rule("chain = \"filter\"\naction = \"accept\"\n" + keys).match;
}

TEST(Rule, TakesEveryCondition) {
    const nat::Rule r = rule(R"(chain = "filter"
name = "all"
in = "lan"
out = "wan"
src = "192.168.1.0/24"
dst = "!198.51.100.0/24"
proto = "tcp"
sport = "1024-65535"
dport = 443
ctstate = ["NEW", "established"]
ctstatus = ["ASSURED", "SNAT"]
zone = 5
mark = "0x1/0xff"
family = "ipv4"
action = "reject"
)");

    EXPECT_EQ(r.chain, Chain::Filter);
    EXPECT_EQ(r.action, Action::Reject);
    EXPECT_EQ(r.name, "all");
    EXPECT_EQ(r.line, 3);
    EXPECT_EQ(r.match.in_port, 0);
    EXPECT_EQ(r.match.out_port, 1);
    EXPECT_EQ(r.match.src, prefix("192.168.1.0/24"));
    EXPECT_FALSE(r.match.not_src);
    EXPECT_EQ(r.match.dst, prefix("198.51.100.0/24"));
    EXPECT_TRUE(r.match.not_dst);
    EXPECT_EQ(r.match.proto, 6);
    EXPECT_EQ(r.match.sport, (nat::PortRange{1024, 65'535}));
    EXPECT_EQ(r.match.dport, (nat::PortRange{443, 443}));
    EXPECT_EQ(r.match.states, states({ct::CtState::New, ct::CtState::Established}));
    EXPECT_EQ(r.match.status_any, ct::status::kAssured | ct::status::kSrcNat);
    EXPECT_EQ(r.match.zone, 5);
    EXPECT_EQ(r.match.mark, 1U);
    EXPECT_EQ(r.match.mark_mask, 0xffU);
    EXPECT_EQ(r.match.family, ct::Family::Ipv4);
}

TEST(Rule, WithoutConditionsMatchesAll) {
    const nat::Rule r = rule("chain = \"filter\"\naction = \"accept\"\n");

    EXPECT_EQ(r.match, nat::Match{});
    EXPECT_EQ(r.name, "line 3");
}

TEST(Rule, KnowsEveryStateAndStatus) {
    const nat::Rule r = rule(
        "chain = \"filter\"\naction = \"accept\"\n"
        "ctstate = [\"RELATED\", \"INVALID\", \"UNTRACKED\"]\n"
        "ctstatus = [\"EXPECTED\", \"SEEN_REPLY\", \"CONFIRMED\", \"DNAT\"]\n");

    EXPECT_EQ(r.match.states,
              states({ct::CtState::Related, ct::CtState::Invalid, ct::CtState::Untracked}));
    EXPECT_EQ(r.match.status_any, ct::status::kExpected | ct::status::kSeenReply |
                                      ct::status::kConfirmed | ct::status::kDstNat);
}

TEST(Rule, TakesIptablesVirtualStatesAmongTheOthers) {
    const nat::Match alone = match_of("ctstate = \"DNAT\"\n");
    const nat::Match listed = match_of("ctstate = [\"NEW\", \"snat\"]\n");

    EXPECT_EQ(alone.states, 0);
    EXPECT_EQ(alone.state_nat, ct::status::kDstNat);
    EXPECT_EQ(listed.states, states({ct::CtState::New}));
    EXPECT_EQ(listed.state_nat, ct::status::kSrcNat);
    EXPECT_FALSE(listed.not_states);
}

TEST(Rule, ExcludesStatesByTheirComplement) {
    using enum ct::CtState;
    const nat::Match one = match_of("ctstate = \"!INVALID\"\n");
    const nat::Match two = match_of("ctstate = [\"!NEW\", \"!RELATED\"]\n");
    const nat::Match translated = match_of("ctstate = [\"!NEW\", \"!DNAT\"]\n");

    EXPECT_EQ(one.states, states({New, Established, Related, Untracked}));
    EXPECT_EQ(two.states, states({Established, Invalid, Untracked}));
    EXPECT_EQ(translated.states, states({New}));
    EXPECT_EQ(translated.state_nat, ct::status::kDstNat);
    EXPECT_TRUE(translated.not_states);
}

// iptables(8), --ctstatus: NONE is "none of the below".
TEST(Rule, KnowsTheAbsenceOfEveryStatus) {
    constexpr unsigned kAny = ct::status::kExpected | ct::status::kSeenReply |
                              ct::status::kAssured | ct::status::kConfirmed;
    const nat::Match none = match_of("ctstatus = \"NONE\"\n");
    const nat::Match some = match_of("ctstatus = \"!none\"\n");
    const nat::Match without = match_of("ctstatus = [\"!ASSURED\", \"!SNAT\"]\n");

    EXPECT_EQ(none.status_none, kAny);
    EXPECT_EQ(none.status_any, 0);
    EXPECT_EQ(some.status_any, kAny);
    EXPECT_EQ(some.status_none, 0);
    EXPECT_EQ(without.status_none, ct::status::kAssured | ct::status::kSrcNat);
}

TEST(Rule, ExcludesOnePortProtocolAndMark) {
    const nat::Match m =
        match_of("in = \"!lan\"\nout = \"!wan\"\nproto = \"!icmp\"\nmark = \"!0x1/0xff\"\n");

    EXPECT_EQ(m.in_port, ct::kNoPort);
    EXPECT_EQ(m.not_in_port, 0);
    EXPECT_EQ(m.out_port, ct::kNoPort);
    EXPECT_EQ(m.not_out_port, 1);
    EXPECT_EQ(m.proto, -1);
    EXPECT_EQ(m.not_proto, ct::ipproto::kIcmp);
    EXPECT_EQ(m.mark_mask, 0U);
    EXPECT_EQ(m.not_mark, 1U);
    EXPECT_EQ(m.not_mark_mask, 0xffU);
    EXPECT_EQ(match_of("in = \"!local\"\n").not_in_port, ct::kLocalPort);
}

TEST(Rule, ExcludesWhatIsAskedOfTheConnection) {
    const nat::ConnMatch m = match_of(R"(
ctproto = "!tcp"
ctorigsrc = "!192.0.2.0/24"
ctorigdst = "!198.51.100.1"
ctreplsrc = "!198.51.100.2"
ctrepldst = "!203.0.113.0/24"
ctexpire = "!0-30"
label = "!5"
packet_mark = "!0x10/0xf0"
cthelper = "!ftp"
)")
                                 .conn;
    const nat::ConnMatch ports = match_of(R"(
ctproto = "udp"
ctorigsrcport = "!1024-65535"
ctorigdstport = "!53"
ctreplsrcport = "!54"
ctrepldstport = "!55"
)")
                                     .conn;

    EXPECT_TRUE(m.not_proto && m.not_orig_src && m.not_orig_dst && m.not_reply_src &&
                m.not_reply_dst && m.not_expires && m.not_label && m.not_packet_mark &&
                m.not_helper);
    EXPECT_EQ(m.proto, ct::ipproto::kTcp);
    EXPECT_EQ(m.orig_src, prefix("192.0.2.0/24"));
    EXPECT_EQ(m.reply_dst, prefix("203.0.113.0/24"));
    EXPECT_EQ(m.expires_last, 30U);
    EXPECT_EQ(m.label, 5);
    EXPECT_EQ(m.packet_mark_mask, 0xf0U);
    EXPECT_EQ(m.helper, ct::find_helper("ftp"));
    EXPECT_TRUE(ports.not_orig_sport && ports.not_orig_dport && ports.not_reply_sport &&
                ports.not_reply_dport);
    EXPECT_FALSE(ports.not_proto);
    EXPECT_EQ(ports.orig_dport, (nat::PortRange{53, 53}));
}

TEST(Rule, TakesDirectionsInEitherCase) {
    EXPECT_EQ(match_of("ctdir = \"ORIGINAL\"\n").conn.dir, 0);
    EXPECT_EQ(match_of("ctdir = \"Reply\"\n").conn.dir, 1);
}

TEST(Rule, MatchesWhatSluiceItselfSends) {
    EXPECT_EQ(rule("chain = \"filter\"\nin = \"local\"\naction = \"accept\"\n").match.in_port,
              ct::kLocalPort);
}

TEST(Rule, TakesTheActionsOfRaw) {
    EXPECT_EQ(rule("chain = \"raw\"\naction = \"notrack\"\n").action, Action::Notrack);
    EXPECT_EQ(rule("chain = \"raw\"\naction = \"drop\"\n").action, Action::Drop);
    EXPECT_EQ(rule("chain = \"raw\"\naction = \"accept\"\n").action, Action::Accept);
    const nat::Rule zone = rule("chain = \"raw\"\naction = \"zone\"\nvalue = 7\n");
    EXPECT_EQ(zone.action, Action::Zone);
    EXPECT_EQ(zone.value, 7U);
}

TEST(Rule, TakesTheActionsOfFilter) {
    EXPECT_EQ(rule("chain = \"filter\"\naction = \"drop\"\n").action, Action::Drop);
    const nat::Rule mark = rule("chain = \"filter\"\naction = \"mark\"\nvalue = \"0xff\"\n");
    EXPECT_EQ(mark.action, Action::Mark);
    EXPECT_EQ(mark.value, 0xffU);
}

TEST(Rule, TakesTheActionsOfNat) {
    const nat::Rule snat = rule(
        "chain = \"nat\"\naction = \"snat\"\nproto = \"udp\"\nto = "
        "\"192.0.2.1-192.0.2.9:1024-65535\"\nrandom = true\npersistent = true\n");
    EXPECT_EQ(snat.action, Action::Snat);
    EXPECT_EQ(snat.target.first_addr, addr("192.0.2.1"));
    EXPECT_EQ(snat.target.last_addr, addr("192.0.2.9"));
    EXPECT_EQ(snat.target.ports, (nat::PortRange{1024, 65'535}));
    EXPECT_TRUE(snat.target.random);
    EXPECT_TRUE(snat.target.persistent);

    const nat::Rule dnat =
        rule("chain = \"nat\"\naction = \"dnat\"\nproto = \"tcp\"\nto = \"[2001:db8::1]:80\"\n");
    EXPECT_EQ(dnat.action, Action::Dnat);
    EXPECT_EQ(dnat.target.family, ct::Family::Ipv6);
    EXPECT_EQ(dnat.target.ports, (nat::PortRange{80, 80}));

    const nat::Rule masquerade = rule("chain = \"nat\"\naction = \"masquerade\"\nout = \"wan\"\n");
    EXPECT_EQ(masquerade.action, Action::Masquerade);
    EXPECT_TRUE(masquerade.target.ports.any());

    const nat::Rule redirect =
        rule("chain = \"nat\"\naction = \"redirect\"\nproto = \"tcp\"\ndport = 80\nports = 3128\n");
    EXPECT_EQ(redirect.action, Action::Redirect);
    EXPECT_EQ(redirect.target.family, ct::Family::None);
    EXPECT_EQ(redirect.target.ports, (nat::PortRange{3128, 3128}));

    EXPECT_EQ(rule("chain = \"nat\"\naction = \"accept\"\n").action, Action::Accept);
}

TEST(Rule, TakesPortsApartFromTheAddress) {
    const nat::Rule r = rule(
        "chain = \"nat\"\naction = \"snat\"\nproto = \"udp\"\nto = \"192.0.2.1\"\nports = "
        "\"5000-6000\"\n");

    EXPECT_EQ(r.target.first_addr, addr("192.0.2.1"));
    EXPECT_EQ(r.target.ports, (nat::PortRange{5000, 6000}));
}

TEST(RuleLists, BecomeOneRuleForEachCombination) {
    const Config c = with_ports(
        "[[rule]]\nchain = \"filter\"\nproto = [\"tcp\", \"udp\"]\ndport = [53, \"80-90\"]\naction "
        "= "
        "\"accept\"\n");

    ASSERT_EQ(c.rules.size(), 4U);
    for (const int proto : {6, 17})
        for (const std::uint16_t port : {std::uint16_t{53}, std::uint16_t{80}})
            EXPECT_EQ(std::count_if(c.rules.begin(), c.rules.end(),
                                    [&](const nat::Rule& r) {
                                        return r.match.proto == proto &&
                                               r.match.dport.first == port && r.line == 3;
                                    }),
                      1);
}

TEST(RuleLists, MayHoldBothFamilies) {
    const Config c = with_ports(
        "[[rule]]\nchain = \"filter\"\nsrc = [\"192.0.2.0/24\", \"2001:db8::/32\"]\n"
        "proto = [\"icmp\", \"icmpv6\"]\naction = \"accept\"\n");

    ASSERT_EQ(c.rules.size(), 2U);
    for (const nat::Rule& r : c.rules)
        EXPECT_EQ(r.match.src.family == ct::Family::Ipv4, r.match.proto == ct::ipproto::kIcmp);
}

TEST(RuleLists, ExcludedPortsLeaveTheOthers) {
    const auto dports = [](const std::string& keys) {
        std::vector<nat::PortRange> out;
        for (const nat::Rule& r : with_ports("[[rule]]\nchain = \"filter\"\nproto = \"tcp\"\n" +
                                             keys + "\naction = \"drop\"\n")
                                      .rules)
            out.push_back(r.match.dport);
        return out;
    };
    using Ranges = std::vector<nat::PortRange>;

    EXPECT_EQ(dports("dport = \"!80\""), (Ranges{{0, 79}, {81, 65'535}}));
    EXPECT_EQ(dports("dport = [\"!1024-65535\", \"!22\"]"), (Ranges{{0, 21}, {23, 1023}}));
    EXPECT_EQ(dports("dport = \"!0\""), (Ranges{{1, 65'535}}));
}

TEST(RuleOrder, IsThatOfTheFile) {
    const Config c = with_ports(
        "[[rule]]\nname = \"first\"\nchain = \"filter\"\nproto = \"tcp\"\naction = \"drop\"\n"
        "[[rule]]\nname = \"second\"\nchain = \"raw\"\nproto = \"udp\"\naction = \"notrack\"\n"
        "[[rule]]\nname = \"third\"\nchain = \"filter\"\naction = \"accept\"\n");

    ASSERT_EQ(c.rules.size(), 3U);
    EXPECT_EQ(c.rules[0].name, "first");
    EXPECT_EQ(c.rules[1].name, "second");
    EXPECT_EQ(c.rules[2].name, "third");
}

TEST(Shadowing, IsNotReportedWhilePartOfAListCanMatch) {
    EXPECT_TRUE(
        mistakes(kTwoPorts +
                 "[[rule]]\nchain = \"filter\"\nproto = \"tcp\"\ndport = 22\naction = \"drop\"\n"
                 "[[rule]]\nchain = \"filter\"\nproto = \"tcp\"\ndport = [22, 80]\naction = "
                 "\"accept\"\n")
            .empty());
}

TEST(Tracking, TakesEveryKeyOfTrackRules) {
    const Config c = with_ports(R"(
[[timeout_policy]]
name = "brief"
udp = 5
tcp_established = "1h"
[[rule]]
chain = "raw"
action = "track"
set_zone = 5
zone_scope = "original"
timeout = "brief"
liberal = "reply"
helper = "tftp"
ctevents = ["new", "destroy"]
)");

    ASSERT_EQ(c.rules.size(), 1U);
    const nat::Rule& r = c.rules[0];
    EXPECT_EQ(r.action, nat::Action::Track);
    EXPECT_EQ(r.value, 5U);
    EXPECT_EQ(r.scope, nat::ZoneScope::Original);
    EXPECT_EQ(r.track.variant, ct::variant::of_policy(1) | 1U << ct::index_of(ct::Dir::Reply));
    EXPECT_EQ(ct::helper_name(r.track.helper), "tftp");
    EXPECT_EQ(r.track.event_mask, ct::cause::kNew | ct::cause::kDestroy);
    const ct::Features features = features_of(c);
    ASSERT_EQ(features.policies.size(), 1U);
    EXPECT_EQ(features.policies[0].udp, 5U);
    EXPECT_EQ(features.policies[0].udp_stream, 120U) << "as in [conntrack]";
    EXPECT_EQ(features.policies[0].tcp[ct::index_of(ct::TcpState::Established)], 3600U);
    EXPECT_FALSE(features.labels);
}

TEST(Tracking, TakesEveryConditionOnAConnection) {
    const nat::ConnMatch m = with_ports(R"(
[[rule]]
chain = "filter"
proto = "tcp"
ctdir = "reply"
ctorigsrc = "10.0.0.0/8"
ctorigdst = "192.0.2.1"
ctreplsrc = "192.0.2.2"
ctrepldst = "203.0.113.0/24"
ctorigsrcport = "1024-65535"
ctorigdstport = 80
ctreplsrcport = 8080
ctrepldstport = "1-2"
ctexpire = "30s-1h"
label = 127
cthelper = "ftp"
packet_mark = "0x1/0xf"
action = "drop"
)")
                                 .rules.at(0)
                                 .match.conn;

    EXPECT_EQ(m.dir, 1);
    EXPECT_EQ(to_string(m.orig_src), "10.0.0.0/8");
    EXPECT_EQ(to_string(m.orig_dst), "192.0.2.1/32");
    EXPECT_EQ(to_string(m.reply_src), "192.0.2.2/32");
    EXPECT_EQ(to_string(m.reply_dst), "203.0.113.0/24");
    EXPECT_EQ(m.orig_sport, (nat::PortRange{1024, 65535}));
    EXPECT_EQ(m.orig_dport, (nat::PortRange{80, 80}));
    EXPECT_EQ(m.reply_sport, (nat::PortRange{8080, 8080}));
    EXPECT_EQ(m.reply_dport, (nat::PortRange{1, 2}));
    EXPECT_EQ(m.expires_first, 30U);
    EXPECT_EQ(m.expires_last, 3600U);
    EXPECT_EQ(m.label, 127);
    EXPECT_EQ(ct::helper_name(m.helper), "ftp");
    EXPECT_EQ(m.packet_mark, 1U);
    EXPECT_EQ(m.packet_mark_mask, 0xfU);
}

TEST(Tracking, RulesThatMarkHaveMasks) {
    const Config c = with_ports(R"(
[[rule]]
chain = "raw"
action = "packet-mark"
value = "0x12"
mask = "0xff"
[[rule]]
chain = "filter"
action = "save-mark"
mask = "0xf"
[[rule]]
chain = "filter"
action = "restore-mark"
[[rule]]
chain = "filter"
action = "label"
value = 3
)");

    EXPECT_EQ(c.rules.at(0).mask, 0xffU);
    EXPECT_EQ(c.rules.at(1).action, nat::Action::SaveMark);
    EXPECT_EQ(c.rules.at(1).mask, 0xfU);
    EXPECT_EQ(c.rules.at(2).mask, 0xffff'ffffU);
    EXPECT_EQ(c.rules.at(3).value, 3U);
    EXPECT_TRUE(features_of(c).labels) << "a rule sets one";
}

TEST(Tracking, ZonesHavePolicies) {
    const Config c = with_ports(R"(
[[zone]]
id = 5
invalid = "liberal"
[[zone]]
id = 0
invalid = "drop"
)");

    ASSERT_EQ(c.zones.size(), 2U);
    EXPECT_EQ(c.zones[0].zone, 5);
    EXPECT_EQ(c.zones[0].invalid, nat::InvalidPolicy::Liberal);
    EXPECT_EQ(c.zones[1].invalid, nat::InvalidPolicy::Drop);
}

}  // namespace
}  // namespace dp::test
