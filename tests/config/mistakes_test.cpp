// SPDX-License-Identifier: BSD-3-Clause
//
// Every mistake that a file can have, word for word: what operators read is part of the contract.
// In each case `#!` marks the line that must be named.
#include "tests/config/support.hpp"

#include <gtest/gtest.h>

namespace dp::test {
namespace {

struct Mistake {
    const char* title;
    std::string text;
    const char* problem;
    const char* remedy;
};

void PrintTo(const Mistake& m, std::ostream* out) {
    *out << m.title;
}

class Mistakes : public testing::TestWithParam<Mistake> {};

TEST_P(Mistakes, AreReportedWithLineAndRemedy) {
    const Mistake& m = GetParam();

    const auto found = mistakes(m.text);

    ASSERT_EQ(found.size(), 1U) << m.text << (found.size() > 1 ? found[1].problem : "");
    EXPECT_EQ(found[0].line, line_with(m.text, "#!"));
    EXPECT_EQ(found[0].problem, m.problem);
    EXPECT_EQ(found[0].remedy, m.remedy);
}

std::string title_of(const testing::TestParamInfo<Mistake>& info) {
    return info.param.title;
}

/// Lines of a [[rule]] behind two ports.
std::string of_rule(const std::string& keys) {
    return kTwoPorts + "[[rule]]\n" + keys;
}
/// Lines of a [[port]], which has a name and a device already.
std::string of_port(const std::string& keys) {
    return "[[port]]\nname = \"a\"\ndevice = \"net_null0\"\n" + keys;
}
/// of_port() and a second one.
std::string of_second_port(const std::string& first, const std::string& second) {
    return of_port(first) + "[[port]]\n" + second;
}
std::string in_section(const std::string& section, const std::string& keys) {
    return kTwoPorts + "[" + section + "]\n" + keys;
}
std::string in_wire(const std::string& text) {
    return "[dataplane]\nmode = \"wire\"\n" + text;
}

const std::vector<Mistake>& general_mistakes() {
    static const std::vector<Mistake> kAll{
        {"UnknownKey", in_section("dataplane", "burts = 32  #!\n"),
         "unknown key 'burts' in [dataplane]", "did you mean 'burst'?"},
        {"UnknownKeyUnlikeAny", in_section("forward", "x = 1  #!\n"),
         "unknown key 'x' in [forward]", "known are icmp_burst, icmp_rate"},
        {"UnknownKeyOfTimeouts", in_section("conntrack.timeouts", "tcp_syn_snet = 1  #!\n"),
         "unknown key 'tcp_syn_snet' in [conntrack.timeouts]", "did you mean 'tcp_syn_sent'?"},
        {"UnknownSection", kTwoPorts + "[contrack]  #!\nmax = 1\n", "unknown section 'contrack'",
         "did you mean 'conntrack'?"},
        {"UnknownKeyAtTheTop", "burst = 3  #!\n" + kTwoPorts, "unknown key 'burst'",
         "known are conntrack, control, dataplane, filter, forward, log, nat64, nat_log, "
         "neighbour, "
         "nptv6, port, route, rule, timeout_policy, zone"},
        {"UnknownKeyOfAPort", of_port("mut = 1400  #!\n"), "unknown key 'mut' in [[port]]",
         "did you mean 'mtu'?"},
        {"UnknownKeyOfARule", of_rule("chain = \"filter\"\naction = \"drop\"\nproto_ = 6  #!\n"),
         "unknown key 'proto_' in [[rule]]", "did you mean 'proto'?"},
        {"SectionAsArray", kTwoPorts + "[[conntrack]]  #!\nmax = 1\n", "'conntrack' is an array",
         "write a table, [conntrack], once"},
        {"ArrayAsSection", "[port]  #!\nname = \"a\"\n", "'port' is a table",
         "write [[port]] with double brackets"},
        {"SectionAsValue", "log = 3  #!\n" + kTwoPorts, "'log' is an integer",
         "write a table, [log], once"},
        {"PortsThatAreNoTables", "port = [3]  #!\n", "'port' is an integer",
         "write a table, [[port]]"},
        {"NoPort", "#!\n[log]\nlevel = \"info\"\n", "there is no [[port]]",
         "define at least one, with a 'name' and a 'device'"},
        {"NoPortInTheList", "\nport = [] #!\n", "there is no [[port]]",
         "define at least one, with a 'name' and a 'device'"},
        {"Syntax", kTwoPorts + "[log #!\n",
         "no valid TOML: Error while parsing table header: expected ']', saw '#'",
         "see https://toml.io for the syntax"},
        {"TextWhereANumberBelongs", in_section("dataplane", "burst = \"many\"  #!\n"),
         "'burst' is 'many', which is no number with a unit",
         "write a whole number, or one with a unit like \"256Ki\""},
        {"FractionWhereANumberBelongs", in_section("conntrack", "max = 1.5  #!\n"),
         "'max' is a fraction", "write a whole number, or one with a unit like \"256Ki\""},
        {"NumberWhereTextBelongs", in_section("log", "level = 3  #!\n"), "'level' is an integer",
         "write a string in double quotes"},
        {"DateWhereTextBelongs", in_section("log", "file = 2024-01-01  #!\n"),
         "'file' is a date or time", "write a string in double quotes"},
        {"NeitherTrueNorFalse", in_section("conntrack", "acct = 2  #!\n"),
         "'acct' is neither true nor false", "write true or false"},
        {"UnknownWord", in_section("log", "level = \"warn\"  #!\n"), "'level' is 'warn'",
         "choose one of debug, info, warning, error"},
        {"MisspelledWord", in_section("conntrack", "overflow = \"linus\"  #!\n"),
         "'overflow' is 'linus'", "did you mean 'linux'?"},
        {"EmptyList", in_section("dataplane", "workers = []  #!\n"), "'workers' is an empty list",
         "name at least one, or leave it out"},
        {"ListOfTheWrongKind", in_section("dataplane", "eal = [\"-v\",\n true]  #!\n"),
         "'eal' is a boolean", "write a string in double quotes or a whole number"},
    };
    return kAll;
}

const std::vector<Mistake>& settings_mistakes() {
    static const std::vector<Mistake> kAll{
        {"NoWorkers", in_section("dataplane", "workers = 0  #!\n"),
         "'workers' is 0, which is out of bounds", "write a number from 1 to 63"},
        {"NegativeNumber", in_section("dataplane", "burst = -1  #!\n"),
         "'burst' is -1, which is out of bounds", "write a number from 1 to 64"},
        {"CoreTwice", in_section("dataplane", "workers = [2, 2]  #!\n"),
         "core 2 stands twice in 'workers'", "name each core once"},
        {"CoreThatIsNone", in_section("dataplane", "workers = [\"two\"]  #!\n"),
         "'two' is no core number", "write numbers as lscpu shows them, like [2, 3]"},
        {"CoreSharedWithControl", in_section("dataplane", "control_cores = 0\nworkers = [0]  #!\n"),
         "core 0 is in 'control_cores' too",
         "a worker polls and leaves no time to others: give each a core of its own"},
        {"QueueLargerThanAllQueues", in_section("dataplane", "neighbour_queue = 2048  #!\n"),
         "'neighbour_queue' (2048) is larger than 'neighbour_queue_total' (1024)",
         "write a smaller 'neighbour_queue' or a larger 'neighbour_queue_total'"},
        {"NoEntries", in_section("conntrack", "max = 0  #!\n"),
         "'max' is 0, which is out of bounds", "write a number from 1 to 134217728"},
        {"TooManyEntries", in_section("conntrack", "max = \"1Gi\"  #!\n"),
         "'max' is '1Gi', which is out of bounds", "write a number from 1 to 134217728"},
        {"EmbryonicPercent", in_section("conntrack", "embryonic_percent = 101  #!\n"),
         "'embryonic_percent' is 101, which is out of bounds", "write a number from 1 to 100"},
        {"EventsThatAreNone", in_section("conntrack", "events = 3  #!\n"),
         "'events' is 3, which is out of bounds", "write a number from 0 to 2"},
        {"LogInvalidOfNoProtocol", in_section("conntrack", "log_invalid = \"tpc\"  #!\n"),
         "'log_invalid' is 'tpc'", "write a protocol's name or number, 0 for none or 255 for all"},
        {"FragmentTimeoutOfZero", in_section("conntrack.timeouts", "fragment6 = 0  #!\n"),
         "'fragment6' is 0, which is out of bounds", "write a number from 1 to 33554431"},
        {"TimeoutTooLong", in_section("conntrack.timeouts", "udp = \"389d\"  #!\n"),
         "'udp' is '389d', which is out of bounds", "write a number from 0 to 33554431"},
        {"TimeoutOfNoUnit", in_section("conntrack.timeouts", "udp = \"2min\"  #!\n"),
         "'udp' is '2min', which is no number with a unit",
         "write seconds, or a duration like \"120s\", \"2m\" or \"5d\""},
        {"SocketPathTooLong",
         in_section("control", "socket = \"/" + std::string(107, 's') + "\"  #!\n"),
         "'/sssssssssssssssssssssssssssssssssssssssssssssssssssssssssss...' is no path for a "
         "socket",
         "write a path of 1 to 107 characters (unix(7))"},
        {"SocketWithoutPath", in_section("control", "socket = \"\"  #!\n"),
         "'' is no path for a socket", "write a path of 1 to 107 characters (unix(7))"},
        {"ModeThatIsNotOctal", in_section("control", "mode = \"0680\"  #!\n"), "'mode' is '0680'",
         "write octal permissions as chmod takes them, like \"0600\""},
        {"ModeWithMoreThanPermissions", in_section("control", "mode = \"4755\"  #!\n"),
         "'mode' is '4755'", "write octal permissions as chmod takes them, like \"0600\""},
        {"ModeAsNumber", in_section("control", "mode = 600  #!\n"), "'mode' is an integer",
         "write a string in double quotes"},
        {"FilterPolicy", in_section("filter", "policy = \"reject\"  #!\n"), "'policy' is 'reject'",
         "choose one of accept, drop"},
    };
    return kAll;
}

/// `n` time-out policies; the mistake is in the first of them.
std::string policies(int n) {
    std::string out;
    for (int k = 0; k < n; ++k)
        out += std::string{"[[timeout_policy]]"} + (k == 0 ? " #!" : "") + "\nname = \"" +
               std::to_string(k) + "\"\n";
    return out;
}

const std::vector<Mistake>& tracking_mistakes() {
    static const std::vector<Mistake> kAll{
        {"CapacityBelowMax", in_section("conntrack", "max = 10\ncapacity = 9 #!\n"),
         "'capacity' (9) is smaller than 'max' (10)",
         "write what 'max' may be raised to while the daemon runs, or leave it out"},
        {"TimeoutTwice",
         in_section("conntrack", "udp_timeout = 5\n[conntrack.timeouts]\nudp = 6 #!\n"),
         "'udp' is set as 'udp_timeout' in [conntrack], too", "set it once"},
        {"ZoneWithoutId", kTwoPorts + "[[zone]] #!\ninvalid = \"drop\"\n", "[[zone]] has no 'id'",
         "write its number, like id = 1"},
        {"ZoneTwice", kTwoPorts + "[[zone]]\nid = 1\n[[zone]]\nid = 1 #!\n",
         "zone 1 is described twice", "describe each zone once"},
        {"PolicyWithoutName", kTwoPorts + "[[timeout_policy]] #!\nudp = 5\n",
         "[[timeout_policy]] has no 'name'", "write the name by which rules know it"},
        {"PolicyTwice",
         kTwoPorts + "[[timeout_policy]]\nname = \"a\\t\"\n"
                     "[[timeout_policy]]\nname = \"a\\t\" #!\n",
         "policy 'a?' is described twice", "describe each policy once"},
        {"TooManyPolicies", kTwoPorts + policies(63), "there are 63 time-out policies",
         "at most 62 can be told apart"},
        {"PolicyUnknown", of_rule("chain = \"raw\"\naction = \"track\"\ntimeout = \"x\" #!\n"),
         "no [[timeout_policy]] is called 'x'", "describe it, or name one that is described"},
        {"TrackKeyElsewhere",
         of_rule("chain = \"raw\"\naction = \"notrack\"\nctevents = [\"new\"] #!\n"),
         "action \"notrack\" takes no 'ctevents'", "leave it out; it belongs to track"},
        {"LiberalElsewhere",
         of_rule("chain = \"raw\"\naction = \"notrack\"\nliberal = \"both\" #!\n"),
         "action \"notrack\" takes no 'liberal'", "leave it out; it belongs to track"},
        {"MaskElsewhere", of_rule("chain = \"filter\"\naction = \"drop\"\nmask = 1 #!\n"),
         "action \"drop\" takes no 'mask'",
         "leave it out; it belongs to mark, packet-mark, save-mark and restore-mark"},
        {"LabelOutOfBounds", of_rule("chain = \"filter\"\naction = \"label\"\nvalue = 128 #!\n"),
         "label 128 is out of bounds", "write a number from 0 to 127"},
        {"ConnectionInRaw", of_rule("chain = \"raw\"\naction = \"drop\"\nctdir = \"reply\" #!\n"),
         "this rule can never match: the raw chain is asked before connection tracking, where no "
         "packet has a 'ctdir'",
         "write chain = \"filter\""},
        {"ExpiryBackwards",
         of_rule("chain = \"filter\"\naction = \"drop\"\nctexpire = \"30-10\" #!\n"),
         "'ctexpire' is '30-10'", "write seconds or a range, like \"0-30\" or \"1h-5d\""},
        {"ConnectionPortsWithoutProtocol",
         of_rule("chain = \"filter\"\naction = \"drop\"\nctorigdstport = 80 #!\n"),
         "'ctorigdstport' stands without a protocol that has ports",
         "name the protocols, like proto = [\"tcp\", \"udp\"]"},
        {"TuplesOfTwoFamilies",
         of_rule("chain = \"filter\"\naction = \"drop\"\nctorigsrc = \"10.0.0.1\"\n"
                 "ctreplsrc = \"2001:db8::1\" #!\n"),
         "this rule can never match: 'ctorigsrc' is IPv4, but 'ctreplsrc' is IPv6",
         "write a rule for each family"},
    };
    return kAll;
}

const std::vector<Mistake>& port_mistakes() {
    static const std::string kOther = "name = \"b\"\ndevice = \"net_null1\"\n";
    static const std::vector<Mistake> kAll{
        {"PortWithoutName", "[[port]]  #!\ndevice = \"net_null0\"\n", "[[port]] has no 'name'",
         "write name = \"wan\""},
        {"PortWithoutDevice", "[[port]]  #!\nname = \"a\"\n", "[[port]] has no 'device'",
         "write a PCI address like \"0000:01:00.0\" or a virtual device like "
         "\"net_tap0,iface=wan\""},
        {"PortNameThatIsNone", "[[port]]\nname = \"a b\"  #!\ndevice = \"net_null0\"\n",
         "'a b' is no name for a port",
         "use 1 to 31 letters, digits, '_', '-' or '.', and not 'local', which means Sluice "
         "itself"},
        {"PortNameThatIsTaken", "[[port]]\nname = \"local\"  #!\ndevice = \"net_null0\"\n",
         "'local' is no name for a port",
         "use 1 to 31 letters, digits, '_', '-' or '.', and not 'local', which means Sluice "
         "itself"},
        {"PortNameTwice", of_second_port("", "name = \"a\"  #!\ndevice = \"net_null1\"\n"),
         "port 'a' is already defined on line 1", "give each port a name of its own"},
        {"InterfaceOfTheKernel", "[[port]]\nname = \"a\"\ndevice = \"eth0\"  #!\n",
         "'eth0' is neither a PCI address nor a virtual device",
         "for an interface of the kernel write \"net_af_packet0,iface=eth0\""},
        {"DeviceThatIsNone", "[[port]]\nname = \"a\"\ndevice = \"0000:01:00\"  #!\n",
         "'0000:01:00' is neither a PCI address nor a virtual device",
         "write one like \"0000:01:00.0\" or \"net_tap0,iface=wan\""},
        {"DeviceTwice", of_second_port("", "name = \"b\"\ndevice = \"net_null0,size=64\"  #!\n"),
         "'net_null0' is already the device of port 'a'", "give each port a device of its own"},
        {"PciTwice",
         "[[port]]\nname = \"a\"\ndevice = \"0000:AF:00.0\"\n[[port]]\nname = \"b\"\ndevice = "
         "\"af:00.0\"  #!\n",
         "'0000:af:00.0' is already the device of port 'a'", "give each port a device of its own"},
        {"InterfaceTwice",
         "[[port]]\nname = \"a\"\ndevice = \"net_tap0,iface=x\"\n[[port]]\nname = \"b\"\ndevice = "
         "\"net_tap1,iface=x,mac=fixed\"  #!\n",
         "'x' is already the interface of port 'a'", "give each port a device of its own"},
        {"AddressThatIsNone", of_port("addresses = [\"192.0.2.1/24\",\n\"nonsense\"]  #!\n"),
         "'nonsense' is no address with a prefix length",
         "write one like \"192.0.2.1/24\" or \"2001:db8::1/64\""},
        {"AddressWithoutLength", of_port("addresses = \"192.0.2.1\"  #!\n"),
         "'192.0.2.1' is no address with a prefix length",
         "write \"192.0.2.1/24\" or what the subnet is"},
        {"AddressOfTheSubnet", of_port("addresses = \"192.0.2.0/24\"  #!\n"),
         "192.0.2.0/24 is the address of the subnet itself",
         "write the address that this port is to have"},
        {"AddressOfBroadcast", of_port("addresses = \"192.0.2.255/24\"  #!\n"),
         "192.0.2.255/24 is the subnet's broadcast address",
         "write the address that this port is to have"},
        {"AddressOfMulticast", of_port("addresses = \"ff02::1/64\"  #!\n"),
         "ff02::1/64 is not an address of one station",
         "write the address that this port is to have"},
        {"AddressOfEverything", of_port("addresses = \"192.0.2.1/0\"  #!\n"),
         "192.0.2.1/0 has a subnet that is everything",
         "write the address that this port is to have"},
        {"AddressTwice", of_port("addresses = [\"192.0.2.1/24\",\n\"192.0.2.1/25\"]  #!\n"),
         "address 192.0.2.1/25 stands twice", "leave one of the two out"},
        {"SubnetsThatOverlap",
         of_second_port("addresses = \"10.0.0.1/8\"\n",
                        kOther + "addresses = \"10.1.2.3/24\"  #!\n"),
         "10.1.2.3/24 overlaps 10.0.0.1/8 of port 'a'", "give each port a subnet of its own"},
        {"SameAddressOnTwoPorts",
         of_second_port("addresses = \"2001:db8::1/64\"\n",
                        kOther + "addresses = \"2001:db8::1/64\"  #!\n"),
         "2001:db8::1/64 overlaps 2001:db8::1/64 of port 'a'",
         "give each port a subnet of its own"},
        {"MacOfAGroup", of_port("mac = \"01:00:00:00:00:01\"  #!\n"),
         "'01:00:00:00:00:01' is no MAC address of one station",
         "write one like \"02:00:00:00:00:01\" (the first byte even)"},
        {"MacThatIsNone", of_port("mac = \"02:00\"  #!\n"),
         "'02:00' is no MAC address of one station",
         "write one like \"02:00:00:00:00:01\" (the first byte even)"},
        {"MtuTooLarge", of_port("mtu = 65535  #!\n"), "'mtu' is 65535, which is out of bounds",
         "write a number from 68 to 9702"},
        {"MssTooSmall", of_port("mss = 10  #!\n"), "'mss' is 10, which is out of bounds",
         "write a number from 28 to 9662"},
        {"MtuTooSmallForIpv6", of_port("mtu = 1000  #!\naddresses = \"2001:db8::1/64\"\n"),
         "'mtu' is 1000 on a port with IPv6", "write at least 1280 (RFC 8200 5)"},
        {"PeerOfARouter", of_port("peer = \"a\"  #!\n"), "a port has a peer only in mode \"wire\"",
         "leave 'peer' out, or set mode = \"wire\" in [dataplane]"},
        {"WireWithoutPeer", in_wire("[[port]]  #!\nname = \"a\"\ndevice = \"net_null0\"\n"),
         "port 'a' has no 'peer'",
         "in mode \"wire\" every port names the one that its frames leave by"},
        {"WireWithAddresses",
         in_wire(of_second_port("peer = \"b\"\naddresses = \"192.0.2.1/24\"  #!\n",
                                kOther + "peer = \"a\"\n")),
         "a port has no addresses in mode \"wire\"",
         "leave 'addresses' out, or set mode = \"router\" in [dataplane]"},
        {"PeerThatDoesNotExist",
         in_wire(of_second_port("peer = \"c2\"  #!\n", kOther + "peer = \"a\"\n")),
         "port 'c2' does not exist", "the ports are a, b"},
        {"PeerOfItself", in_wire(of_port("peer = \"a\"  #!\n")), "port 'a' is its own peer",
         "name another port"},
        {"PeerOfAnother",
         in_wire(
             of_port("peer = \"b\"\n") + "[[port]]\n" + kOther +
             "peer = \"a\"\n[[port]]\nname = \"c\"\ndevice = \"net_null2\"\npeer = \"a\"  #!\n"),
         "'c' names 'a' as its peer, which names 'b'",
         "let the two ports of a pair name one another: peer = \"c\" in port 'a'"},
        {"WireWithRoutes",
         in_wire(of_second_port("peer = \"b\"\n", kOther + "peer = \"a\"\n") +
                 "[[route]]  #!\nto = \"0.0.0.0/0\"\n"),
         "mode \"wire\" has no [[route]]", "leave it out, or set mode = \"router\" in [dataplane]"},
        {"WireWithNeighbours",
         in_wire(of_second_port("peer = \"b\"\n", kOther + "peer = \"a\"\n") +
                 "[[neighbour]]  #!\n"),
         "mode \"wire\" has no [[neighbour]]",
         "leave it out, or set mode = \"router\" in [dataplane]"},
        {"WireWithMasquerade",
         in_wire(of_second_port("peer = \"b\"\n", kOther + "peer = \"a\"\n") +
                 "[[rule]]\nchain = \"nat\"\naction = \"masquerade\"  #!\n"),
         "action \"masquerade\" needs the address of a port, and in mode \"wire\" there is none",
         "use \"snat\" with 'to'"},
    };
    return kAll;
}

const std::vector<Mistake>& rule_mistakes() {
    static const std::string kFilter = "chain = \"filter\"\naction = \"accept\"\n";
    static const std::string kRaw = "chain = \"raw\"\naction = \"notrack\"\n";
    static const std::string kSnat = "chain = \"nat\"\naction = \"snat\"\n";
    static const std::string kDnat = "chain = \"nat\"\naction = \"dnat\"\n";
    static const std::vector<Mistake> kAll{
        {"RuleWithoutChain", kTwoPorts + "[[rule]]  #!\naction = \"drop\"\n",
         "[[rule]] has no 'chain'", "write \"raw\", \"filter\" or \"nat\""},
        {"RuleWithoutAction", kTwoPorts + "[[rule]]  #!\nchain = \"raw\"\n",
         "[[rule]] has no 'action'", "say what is to happen, like action = \"accept\""},
        {"UnknownChain", of_rule("chain = \"mangle\"  #!\naction = \"snat\"\n"),
         "'chain' is 'mangle'", "choose one of raw, filter, nat"},
        {"UnknownAction", of_rule("chain = \"filter\"\naction = \"acept\"  #!\n"),
         "'action' is 'acept'", "did you mean 'accept'?"},
        {"NatActionInFilter",
         of_rule("chain = \"filter\"\naction = \"snat\"  #!\nto = \"192.0.2.1\"\n"),
         "chain \"filter\" has no action \"snat\"", "write chain = \"nat\", or another action"},
        {"DropInNat", of_rule("chain = \"nat\"\naction = \"drop\"  #!\n"),
         "chain \"nat\" has no action \"drop\"", "write chain = \"filter\", or another action"},
        {"PortThatDoesNotExist", of_rule(kFilter + "in = \"lam\"  #!\n"),
         "port 'lam' does not exist", "did you mean 'lan'? the ports are lan, wan"},
        {"OutIsLocal", of_rule(kFilter + "out = \"local\"  #!\n"), "no packet goes out by 'local'",
         "match packets to Sluice itself by their 'dst'"},
        {"PrefixWithHostBits", of_rule(kFilter + "src = \"192.0.2.1/24\"  #!\n"),
         "prefix '192.0.2.1/24' has bits set behind its length",
         "write \"192.0.2.0/24\" for the subnet, or \"192.0.2.1\" for the one address"},
        {"PrefixThatIsNone", of_rule(kFilter + "dst = \"192.0.2.0/33\"  #!\n"),
         "'dst' is '192.0.2.0/33', which is no prefix",
         "write one like \"192.0.2.0/24\" or \"2001:db8::/64\", or an address"},
        {"NegationInAList", of_rule(kFilter + "src = [\"!10.0.0.0/8\", \"192.0.2.0/24\"]  #!\n"),
         "'src' has a '!' in a list",
         "exclude one prefix only, or accept the others in rules before this one"},
        {"PrefixesThatOverlap", of_rule(kFilter + "src = [\"10.0.0.0/8\", \"10.1.0.0/16\"]  #!\n"),
         "'src' lists 10.0.0.0/8 and 10.1.0.0/16, which overlap", "leave the smaller one out"},
        {"ProtocolThatIsNone", of_rule(kFilter + "proto = \"tpc\"  #!\n"),
         "'tpc' is no IP protocol",
         "write a name like \"tcp\", \"udp\" or \"icmp\", or a number from 0 to 255"},
        {"ProtocolTwice", of_rule(kFilter + "proto = [\"tcp\", 6]  #!\n"),
         "'proto' lists tcp twice", "leave one out"},
        {"PortRangeInverted", of_rule(kFilter + "proto = \"tcp\"\ndport = \"9000-80\"  #!\n"),
         "port range '9000-80' ends before it begins", "write \"80-9000\""},
        {"PortThatIsNone", of_rule(kFilter + "proto = \"tcp\"\ndport = 65536  #!\n"),
         "'65536' is neither a port nor a range",
         "write one from 0 to 65535, like 80, or a range like \"8000-8080\""},
        {"PortRangesThatOverlap",
         of_rule(kFilter + "proto = \"tcp\"\ndport = [\"80-90\",\n\"85-100\"]  #!\n"),
         "'dport' lists 80-90 and 85-100, which overlap", "write 80-100"},
        {"PortsWithoutProtocol", of_rule(kFilter + "dport = 80  #!\n"),
         "'dport' stands without 'proto'", "name the protocols, like proto = [\"tcp\", \"udp\"]"},
        {"PortsOfAProtocolWithoutPorts", of_rule(kFilter + "proto = \"icmp\"\nsport = 80  #!\n"),
         "this rule can never match: protocol icmp has no ports",
         "leave 'sport' out, or name a protocol with ports"},
        {"StateThatIsNone", of_rule(kFilter + "ctstate = [\"NEW\",\n\"ESTABLISH\"]  #!\n"),
         "'ctstate' names 'ESTABLISH'", "did you mean 'ESTABLISHED'?"},
        {"StatesOfWhichSomeAreExcluded",
         of_rule(kFilter + "ctstate = [\"!NEW\", \"INVALID\"]  #!\n"),
         "'ctstate' has a '!' before some of its values only",
         "write it before each, which excludes them all, or before none"},
        {"EveryStateExcluded",
         of_rule(kFilter + "ctstate = [\"!NEW\", \"!INVALID\", \"!ESTABLISHED\", "
                           "\"!UNTRACKED\", \"!RELATED\"]  #!\n"),
         "this rule can never match: it excludes every state", "leave one out"},
        {"StatusOfAPacketWithoutConnection",
         kTwoPorts + "[[rule]]  #!\n" + kFilter +
             "ctstate = \"INVALID\"\nctstatus = \"!ASSURED\"\n",
         "this rule can never match: it asks for a connection, which no such packet has",
         "change its conditions, or leave it out"},
        {"NoStatusBesideOthers", of_rule(kFilter + "ctstatus = [\"NONE\", \"ASSURED\"]  #!\n"),
         "'ctstatus' has NONE beside others",
         "write it alone: it stands for the absence of all others"},
        {"DirectionExcluded", of_rule(kFilter + "ctdir = \"!ORIGINAL\"  #!\n"),
         "'ctdir' is '!ORIGINAL'",
         "write \"original\" or \"reply\"; each is what the other excludes"},
        {"ConnectionProtocolThatIsNone", of_rule(kFilter + "ctproto = \"!tpc\"  #!\n"),
         "'tpc' is no IP protocol",
         "write a name like \"tcp\" or \"udp\", or a number from 0 to 255"},
        {"LabelThatIsNone", of_rule(kFilter + "label = \"!128\"  #!\n"), "'128' is no label",
         "write a number from 0 to 127"},
        {"SeveralProtocolsExcluded", of_rule(kFilter + "proto = [\"!tcp\", \"!udp\"]  #!\n"),
         "'proto' has a '!' in a list",
         "exclude one protocol only, or decide about the others in rules before this one"},
        {"EveryPortExcluded", of_rule(kFilter + "proto = \"tcp\"\ndport = \"!0-65535\"  #!\n"),
         "this rule can never match: 'dport' excludes every port", "leave it out"},
        {"EveryMarkExcluded", of_rule(kFilter + "mark = \"!0/0\"  #!\n"),
         "this rule can never match: its mask has no bits, and so every mark is excluded",
         "leave 'mark' out, or write a mask with bits"},
        {"NoMarkExcluded", of_rule(kFilter + "mark = \"!0x101/0xff\"  #!\n"),
         "'mark' excludes nothing: it has bits outside of its mask",
         "write \"!0x1/0xff\" or a wider mask"},
        {"HairpinOfAnExcludedPort",
         of_rule(kDnat + "dst = \"192.0.2.1\"\nto = \"10.0.0.1\"\nhairpin = true\n"
                         "in = \"!lan\"  #!\n"),
         "'hairpin' stands with a port excluded by 'in'",
         "name the port that the outside address is of, or leave 'in' out"},
        {"StaticOutOfAnExcludedPort",
         of_rule("chain = \"nat\"\naction = \"static\"\nsrc = \"10.0.0.1\"\n"
                 "to = \"192.0.2.5\"\nout = \"!wan\"  #!\n"),
         "action \"static\" excludes a port by 'out'",
         "name the one port that 'to' is outside of, or leave 'out' out"},
        {"StatusThatIsNone", of_rule(kFilter + "ctstatus = \"DYING\"  #!\n"),
         "'ctstatus' names 'DYING'",
         "choose among NONE, EXPECTED, SEEN_REPLY, ASSURED, CONFIRMED, SNAT, DNAT"},
        {"ZoneOutOfBounds", of_rule(kFilter + "zone = 65536  #!\n"),
         "'zone' is 65536, which is out of bounds", "write a number from 0 to 65535"},
        {"MarkThatIsNone", of_rule(kFilter + "mark = \"red\"  #!\n"), "'red' is no mark",
         "write VALUE or VALUE/MASK, 32 bits each, like \"0x1/0xff\""},
        {"MarkOutsideOfItsMask", of_rule(kFilter + "mark = \"0x101/0xff\"  #!\n"),
         "this rule can never match: the mark has bits outside of its mask",
         "write \"0x1/0xff\" or a wider mask"},
        {"FamilyThatIsNone", of_rule(kFilter + "family = \"ip\"  #!\n"), "'family' is 'ip'",
         "choose one of ipv4, ipv6"},
        {"FamiliesThatContradict",
         of_rule(kFilter + "src = \"192.0.2.0/24\"\ndst = \"2001:db8::/32\"  #!\n"),
         "this rule can never match: 'src' is IPv4, but 'dst' is IPv6",
         "write a rule for each family"},
        {"FamilyAgainstProtocol", of_rule(kFilter + "family = \"ipv6\"\nproto = \"icmp\"  #!\n"),
         "this rule can never match: 'family' is IPv6, but 'proto' is IPv4",
         "write a rule for each family"},
        {"NotAnySource", of_rule(kFilter + "src = \"!0.0.0.0/0\"  #!\n"),
         "this rule can never match: it excludes every source", "leave 'src' out"},
        {"StateInRaw", of_rule(kRaw + "ctstate = \"NEW\"  #!\n"),
         "this rule can never match: the raw chain is asked before connection tracking, where no "
         "packet has a 'ctstate'",
         "write chain = \"filter\""},
        {"OutInRaw", of_rule(kRaw + "out = \"wan\"  #!\n"),
         "this rule can never match: the raw chain is asked before routing, where no packet has an "
         "'out'",
         "match by 'in' or 'dst', or write chain = \"filter\""},
        {"OutOfDnat", of_rule(kDnat + "to = \"192.0.2.1\"\nout = \"wan\"  #!\n"),
         "this rule can never match: a destination is translated before routing, where no packet "
         "has "
         "an 'out'",
         "match by 'in' or 'dst'"},
        {"EstablishedInNat", of_rule(kSnat + "to = \"192.0.2.1\"\nctstate = \"ESTABLISHED\"  #!\n"),
         "this rule can never match: the nat chain sees only the packet that opens a connection",
         "leave 'ctstate' out: the mapping holds for the connection's life"},
        {"ToInFilter", of_rule(kFilter + "to = \"192.0.2.1\"  #!\n"),
         "action \"accept\" takes no 'to'", "leave it out; it belongs to snat, dnat and nat64"},
        {"ToOfMasquerade",
         of_rule("chain = \"nat\"\naction = \"masquerade\"\nto = \"192.0.2.1\"  #!\n"),
         "action \"masquerade\" takes no 'to'", "leave it out; it belongs to snat, dnat and nat64"},
        {"ValueOfDrop", of_rule(kFilter + "value = 1  #!\n"), "action \"accept\" takes no 'value'",
         "leave it out; it belongs to mark, packet-mark, label and zone"},
        {"SnatWithoutTo", of_rule("chain = \"nat\"\naction = \"snat\"  #!\n"),
         "action \"snat\" has no 'to'", "say to which address, like to = \"192.0.2.1\""},
        {"MarkWithoutValue", of_rule("chain = \"filter\"\naction = \"mark\"  #!\n"),
         "action \"mark\" has no 'value'", "say which, like value = 1"},
        {"ValueThatIsNone", of_rule("chain = \"filter\"\naction = \"mark\"\nvalue = -1  #!\n"),
         "'-1' is no value", "write a number of 32 bits, like 1 or \"0x1\""},
        {"ZoneTooLarge", of_rule("chain = \"raw\"\naction = \"zone\"\nvalue = 70000  #!\n"),
         "zone 70000 is out of bounds", "write a number from 0 to 65535"},
        {"ToThatIsNone", of_rule(kDnat + "to = \"server\"  #!\n"), "'server' is no translation",
         "write one like \"192.0.2.1\", \"192.0.2.1-192.0.2.9:1024-65535\" or "
         "\"[2001:db8::1]:80\""},
        {"ToInverted", of_rule(kSnat + "to = \"192.0.2.9-192.0.2.1\"  #!\n"),
         "address range 192.0.2.9-192.0.2.1 ends before it begins",
         "write the lower address first"},
        {"ToOfNoStation", of_rule(kDnat + "to = \"127.0.0.1\"  #!\n"),
         "127.0.0.1 is not an address of one station",
         "write the address that packets are to have"},
        {"ToPortsInverted", of_rule(kSnat + "proto = \"udp\"\nto = \"192.0.2.1:90-80\"  #!\n"),
         "port range '90-80' ends before it begins", "write \"80-90\""},
        {"ToPortZero", of_rule(kSnat + "proto = \"udp\"\nto = \"192.0.2.1:0-80\"  #!\n"),
         "port 0 cannot be translated to", "begin with port 1 or above"},
        {"ToPortsWithoutProtocol", of_rule(kDnat + "to = \"192.0.2.1:80\"  #!\n"),
         "ports to translate to stand without a protocol that has ports",
         "name the protocols, like proto = [\"tcp\", \"udp\"]"},
        {"PortsTwice", of_rule(kSnat + "proto = \"udp\"\nto = \"192.0.2.1:80\"\nports = 81  #!\n"),
         "'ports' stands beside a 'to' that has ports", "give the ports once"},
        {"ToOfAnotherFamily", of_rule(kDnat + "dst = \"192.0.2.1\"\nto = \"2001:db8::1\"  #!\n"),
         "this rule can never match: 'dst' is IPv4, but 'to' is IPv6",
         "write a rule for each family"},
        {"MasqueradeWithoutAddress",
         of_port("[[rule]]\nchain = \"nat\"\nout = \"a\"\naction = \"masquerade\"  #!\n"),
         "action \"masquerade\" needs an address of port 'a', which has none",
         "add one to 'addresses' of port 'a'"},
        {"RedirectWithoutAddressOfTheFamily",
         of_port("addresses = \"192.0.2.1/24\"\n[[rule]]\nchain = \"nat\"\nin = \"a\"\nfamily = "
                 "\"ipv6\"\naction = \"redirect\"  #!\n"),
         "action \"redirect\" needs an IPv6 address of port 'a', which has none",
         "add one to 'addresses' of port 'a'"},
        {"ShadowedByOne",
         of_rule("chain = \"filter\"\nproto = \"tcp\"\naction = \"drop\"\n[[rule]]  #!\nchain = "
                 "\"filter\"\nproto = \"tcp\"\nsrc = \"192.0.2.0/24\"\naction = \"accept\"\n"),
         "this rule can never match: the rule on line 3 decides about every packet it could match",
         "put this rule first, narrow what stands before it, or leave this one out"},
        {"ShadowedByTwo",
         of_rule("chain = \"filter\"\nproto = \"tcp\"\naction = \"drop\"\n[[rule]]\nchain = "
                 "\"filter\"\nproto = \"udp\"\naction = \"drop\"\n[[rule]]  #!\nchain = "
                 "\"filter\"\nproto = [\"tcp\", \"udp\"]\ndport = 53\naction = \"accept\"\n"),
         "this rule can never match: the rules on lines 3 and 7 decide about every packet "
         "it could match",
         "put this rule first, narrow what stands before it, or leave this one out"},
    };
    return kAll;
}

const std::vector<Mistake>& route_mistakes() {
    static const std::string kRoute = "[[route]]\n";
    static const std::string kNeighbour = "[[neighbour]]\n";
    static const std::string kDefault = "to = \"0.0.0.0/0\"\nvia = \"203.0.113.254\"\n";
    static const std::vector<Mistake> kAll{
        {"RouteWithoutTo", kTwoPorts + "[[route]]  #!\nvia = \"203.0.113.254\"\n",
         "[[route]] has no 'to'", "write a prefix, like to = \"0.0.0.0/0\""},
        {"BlackholeWithAGateway",
         kTwoPorts +
             "[[route]]\nto = \"0.0.0.0/0\"\nblackhole = true\nvia = \"203.0.113.254\"  #!\n",
         "a route with 'blackhole' has a 'via'", "leave one of the two out"},
        {"RouteWithoutGatewayAndPort", kTwoPorts + "[[route]]  #!\nto = \"198.51.100.0/24\"\n",
         "[[route]] has neither 'via' nor 'port'", "name the gateway, like via = \"192.0.2.254\""},
        {"DefaultRouteWithoutGateway",
         kTwoPorts + kRoute + "to = \"0.0.0.0/0\"  #!\nport = \"wan\"\n",
         "default route 0.0.0.0/0 has no 'via'", "name the gateway, like via = \"192.0.2.254\""},
        {"RoutePrefixWithHostBits",
         kTwoPorts + kRoute + "to = \"198.51.100.1/24\"  #!\nvia = \"203.0.113.254\"\n",
         "prefix '198.51.100.1/24' has bits set behind its length",
         "write \"198.51.100.0/24\" for the subnet, or \"198.51.100.1\" for the one address"},
        {"RouteByAPortThatDoesNotExist", kTwoPorts + kRoute + kDefault + "port = \"wna\"  #!\n",
         "port 'wna' does not exist", "did you mean 'wan'? the ports are lan, wan"},
        {"GatewayThatIsNone", kTwoPorts + kRoute + "to = \"0.0.0.0/0\"\nvia = \"gw\"  #!\n",
         "'via' is 'gw', which is not an address of one station",
         "write one like \"192.0.2.254\" or \"2001:db8::1\""},
        {"GatewayInNoSubnet", kTwoPorts + kRoute + "to = \"0.0.0.0/0\"\nvia = \"192.0.2.1\"  #!\n",
         "192.0.2.1 is in no subnet of a port",
         "write a gateway that is, or add an address to a port"},
        {"LinkLocalGatewayWithoutPort",
         kTwoPorts + kRoute + "to = \"::/0\"\nvia = \"fe80::1\"  #!\n",
         "fe80::1 is in no subnet of a port", "name the 'port' too"},
        {"GatewayBehindAnotherPort",
         kTwoPorts + kRoute + "to = \"0.0.0.0/0\"\nport = \"lan\"\nvia = \"203.0.113.254\"  #!\n",
         "203.0.113.254 cannot be reached by port 'lan'",
         "write an address in 192.168.1.0/24, fd00:1::/64"},
        {"GatewayThatIsSluice",
         kTwoPorts + kRoute + "to = \"0.0.0.0/0\"\nvia = \"203.0.113.1\"  #!\n",
         "203.0.113.1 is the address of port 'wan' itself", "write the address of another station"},
        {"GatewayOfAnotherFamily",
         kTwoPorts + kRoute + "to = \"::/0\"\nvia = \"203.0.113.254\"  #!\n",
         "'via' is not of the family of ::/0", "write a gateway of the same family"},
        {"TwoDefaultRoutes",
         kTwoPorts + kRoute + kDefault + kRoute +
             "to = \"0.0.0.0/0\"  #!\nvia = \"203.0.113.253\"\n",
         "route to 0.0.0.0/0 is already defined on line 3", "leave one out"},
        {"RouteToTheSubnetOfAPort",
         kTwoPorts + kRoute + "to = \"192.168.1.0/24\"  #!\nport = \"lan\"\n",
         "192.168.1.0/24 is the subnet of port 'lan', to which the route is implied",
         "leave this route out"},
        {"RouteOnALinkWithoutAddress",
         of_port("addresses = \"192.0.2.1/24\"\n[[route]]\nto = \"2001:db8::/64\"\nport = \"a\"  "
                 "#!\n"),
         "port 'a' has no address of the family of 2001:db8::/64",
         "give it one to ask its neighbours from, or name a gateway with 'via'"},
        {"NeighbourWithoutMac",
         kTwoPorts + "[[neighbour]]  #!\naddress = \"203.0.113.9\"\nport = \"wan\"\n",
         "[[neighbour]] has no 'mac'", "write 'address', 'mac' and 'port'"},
        {"NeighbourMacOfAGroup",
         kTwoPorts + kNeighbour +
             "address = \"203.0.113.9\"\nport = \"wan\"\nmac = \"ff:ff:ff:ff:ff:ff\"  #!\n",
         "'ff:ff:ff:ff:ff:ff' is no MAC address of one station",
         "write one like \"02:00:00:00:00:01\" (the first byte even)"},
        {"NeighbourOnAnotherLink",
         kTwoPorts + kNeighbour +
             "address = \"192.0.2.9\"  #!\nport = \"wan\"\nmac = \"02:00:00:00:00:01\"\n",
         "192.0.2.9 cannot be reached by port 'wan'",
         "write an address in 203.0.113.0/24, 2001:db8:2::/64"},
        {"NeighbourTwice",
         kTwoPorts + kNeighbour +
             "address = \"203.0.113.9\"\nport = \"wan\"\nmac = \"02:00:00:00:00:01\"\n" +
             kNeighbour +
             "address = \"203.0.113.9\"  #!\nport = \"wan\"\nmac = \"02:00:00:00:00:02\"\n",
         "neighbour 203.0.113.9 is already defined on line 3", "leave one out"},
    };
    return kAll;
}

INSTANTIATE_TEST_SUITE_P(General, Mistakes, testing::ValuesIn(general_mistakes()), title_of);
INSTANTIATE_TEST_SUITE_P(Tracking, Mistakes, testing::ValuesIn(tracking_mistakes()), title_of);
INSTANTIATE_TEST_SUITE_P(Settings, Mistakes, testing::ValuesIn(settings_mistakes()), title_of);
INSTANTIATE_TEST_SUITE_P(Ports, Mistakes, testing::ValuesIn(port_mistakes()), title_of);
INSTANTIATE_TEST_SUITE_P(Rules, Mistakes, testing::ValuesIn(rule_mistakes()), title_of);
INSTANTIATE_TEST_SUITE_P(Routes, Mistakes, testing::ValuesIn(route_mistakes()), title_of);

TEST(Memory, IsComparedWithWhatTheTableNeeds) {
    const std::string text = kTwoPorts + "[conntrack]\nmax = \"1Mi\"  #!\n";

    const auto found = mistakes(text, Machine{100ULL << 20});

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].line, line_with(text, "#!"));
    EXPECT_EQ(found[0].problem,
              "'max' needs 256 MiB of memory (256 bytes an entry), but 100 MiB are available");
    EXPECT_EQ(found[0].remedy, "write a smaller number, or add memory");
}

TEST(Memory, IsComparedWithTheDefaultTooAndWithBuffers) {
    const Machine small{1ULL << 20};

    EXPECT_EQ(mistakes(kTwoPorts, small).size(), 1U);
    EXPECT_EQ(
        mistakes(kTwoPorts + "[conntrack]\nmax = 1\n[dataplane]\nmempool = 65536\n", small).size(),
        1U);
}

TEST(RuleLists, AreBounded) {
    std::string ports;
    for (int i = 0; i < 300; ++i) ports += std::to_string(2 * i + 1) + ", ";

    const auto found =
        mistakes(of_rule("chain = \"filter\"\naction = \"drop\"\nproto = \"tcp\"\n"
                         "dport = [" +
                         ports + "]\n"));

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].problem, "the lists of this rule make 300 combinations");
}

TEST(Ports, AreBounded) {
    std::string text;
    for (int i = 0; i < 33; ++i)
        text += "[[port]]\nname = \"p" + std::to_string(i) + "\"\ndevice = \"net_null" +
                std::to_string(i) + "\"\n";

    const auto found = mistakes(text);

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].problem, "33 ports are more than there can be");
    EXPECT_EQ(found[0].line, 32 * 3 + 1);
}

TEST(ConfigError, HasALineForEachMistakeInTheOrderOfTheFile) {
    try {
        (void)parse(
            "[log]\nlevel = \"loud\"\n[dataplane]\nburst = 0\n[[port]]\nname = \"a\"\ndevice = "
            "\"net_null0\"\n");
        FAIL() << "no error";
    } catch (const ConfigError& error) {
        EXPECT_STREQ(error.what(),
                     "test.toml:2: 'level' is 'loud'; choose one of debug, info, warning, error\n"
                     "test.toml:4: 'burst' is 0, which is out of bounds; write a number from 1 to "
                     "64");
        EXPECT_EQ(error.report("sluice"),
                  "sluice: test.toml:2: 'level' is 'loud'; choose one of debug, info, warning, "
                  "error\n"
                  "sluice: test.toml:4: 'burst' is 0, which is out of bounds; write a number from "
                  "1 to 64\n");
    }
}

TEST(ConfigError, ShowsTwentyMistakesAndCountsTheRest) {
    std::string text = kTwoPorts;
    for (int i = 0; i < 30; ++i) text += "[[rule]]\n";
    try {
        (void)parse(text);
        FAIL() << "no error";
    } catch (const ConfigError& error) {
        const std::string what = error.what();
        EXPECT_EQ(error.problems().size(), 60U);
        EXPECT_EQ(std::count(what.begin(), what.end(), '\n'), 20);
        EXPECT_NE(what.find("40 more mistakes; correct these first"), std::string::npos);
    }
}

TEST(ConfigError, SaysThatAFileCannotBeRead) {
    try {
        (void)load("/nonexistent/sluice.toml");
        FAIL() << "no error";
    } catch (const ConfigError& error) {
        EXPECT_STREQ(error.what(),
                     "/nonexistent/sluice.toml: cannot be read: No such file or directory; name a "
                     "file that exists and may be read");
    }
    EXPECT_THROW((void)load("/"), ConfigError);
}

// Inputs on which an assertion of toml++ 3.3 is too strict: its release build must refuse them.
TEST(ConfigError, ReportsTableHeadersWithoutAKey) {
    using namespace std::string_literals;
    for (const std::string& text : {"[.]"s, "[ =]"s, "[#"s, "[[#"s, "["s, "[\0]"s}) {
        const auto found = mistakes(text);

        ASSERT_EQ(found.size(), 1U) << text;
        EXPECT_EQ(found[0].line, 1) << text;
        EXPECT_TRUE(found[0].problem.starts_with("no valid TOML: ")) << found[0].problem;
    }
}

TEST(ConfigError, ReportsTomlThatIsDefinedTwice) {
    const auto found = mistakes("[log]\nlevel = \"info\"\nlevel = \"debug\"\n");

    ASSERT_EQ(found.size(), 1U);
    EXPECT_EQ(found[0].line, 3);
    EXPECT_EQ(found[0].remedy, "define it once");
}

}  // namespace
}  // namespace dp::test
