// SPDX-License-Identifier: BSD-3-Clause
//
// The configuration: one TOML file, read whole before anything is opened, and compiled into what
// the programs use: port names become port ids, text becomes prefixes, rules become nat::Rule.
//
// A Config that exists is valid: every name in it resolves, every prefix is one, every limit fits.
// Whatever can be checked without a device is checked here, so that `--check` and a start fail
// alike, and nothing has been opened when they do. configs/*.toml show every section at work.
#pragma once

#include "ct/conn/settings.hpp"
#include "ct/conntrack.hpp"
#include "ct/wire/packet.hpp"
#include "ct/wire/tuple.hpp"
#include "nat/carrier_settings.hpp"
#include "nat/family.hpp"
#include "nat/mss.hpp"
#include "nat/nptv6.hpp"
#include "nat/rule.hpp"

#include <array>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace dp {

/// A MAC address, in the order of the wire.
using MacAddress = std::array<std::uint8_t, 6>;

/// What the packets go through between two ports.
enum class Mode : std::uint8_t {
    Router,  ///< routes, neighbours, TTL; ports have addresses
    Wire,    ///< every port has a peer; frames leave by it with their MACs untouched
};

/// Where table and packet memory should come from.
enum class HugePages : std::uint8_t { Auto, Size1G, Size2M, None };

enum class LogLevel : std::uint8_t { Debug, Info, Warning, Error };

/// [dataplane]
struct DataplaneConfig {
    Mode mode = Mode::Router;
    /// Number of workers; 0: choose (`workers = "auto"`). Never 0 where `worker_cores` is set.
    std::uint32_t workers = 0;
    std::vector<std::uint32_t> worker_cores;   ///< one worker on each; empty: choose the cores
    std::vector<std::uint32_t> control_cores;  ///< for control work; empty: choose
    std::uint16_t burst = 32;                  ///< packets taken from a queue at once, 1 to 64
    HugePages huge_pages = HugePages::Auto;
    std::uint32_t mempool = 0;           ///< packet buffers for each port; 0: enough for its queues
    std::vector<std::string> eal;        ///< further EAL arguments, as they stand
    bool symmetric_rss = true;           ///< one queue for both directions of a flow, where RSS is
    int numa = -1;                       ///< node of table and buffers; -1: that of the ports
    std::uint32_t neighbour_queue = 64;  ///< packets that wait for one neighbour's MAC
    std::uint32_t neighbour_queue_total = 1024;  ///< packets that wait for any, for each worker
    std::uint32_t neighbours = 4096;             ///< most neighbours remembered, for all ports
    std::uint32_t fragment_queue = 1024;  ///< later fragments held for their first, each worker
};

/// An address of a port and the subnet that it stands in: `prefix.addr` has its host bits.
struct InterfaceAddress {
    nat::Prefix prefix;

    /// The subnet alone, with the host bits zero.
    [[nodiscard]] nat::Prefix subnet() const noexcept;
    friend bool operator==(const InterfaceAddress&, const InterfaceAddress&) noexcept = default;
};

/// [[port]]. Its ct::PortId is its index in Config::ports.
struct PortConfig {
    std::string name;
    std::string device;  ///< PCI address, or a vdev as EAL's --vdev takes it: `net_tap0,iface=lan`
    bool pci = false;    ///< `device` is a PCI address, with its domain
    std::vector<InterfaceAddress> addresses;  ///< the first of each family is the primary one
    std::optional<MacAddress> mac;            ///< none: the device's own
    std::uint16_t queues = 0;                 ///< receive and transmit queues; 0: one a worker
    std::uint16_t rx_descriptors = 1024;
    std::uint16_t tx_descriptors = 1024;
    std::uint16_t mtu = 1500;       ///< bytes of the IP packet
    bool clamp_mss = false;         ///< TCP segments through the port are limited
    std::uint16_t mss = 0;          ///< to so many bytes of payload; 0: to what fits the links
    ct::PortId peer = ct::kNoPort;  ///< wire mode: where its frames go; peers name one another
    bool promiscuous = false;       ///< always so in wire mode
    int line = 0;                   ///< in the file

    /// The primary address of `family`, or null if the port has none.
    [[nodiscard]] const InterfaceAddress* primary(ct::Family family) const noexcept;
};

/// [[route]]. Routes to the subnets of the ports are implied and not listed.
struct RouteConfig {
    nat::Prefix to;
    std::optional<ct::Addr> via;    ///< of `to.family`; none: the destination is on the link
    ct::PortId port = ct::kNoPort;  ///< kNoPort: nowhere (blackhole)
    int line = 0;
};

/// [[neighbour]]: a MAC address that is not asked for.
struct NeighbourConfig {
    ct::Family family = ct::Family::None;
    ct::Addr address;
    MacAddress mac{};
    ct::PortId port = ct::kNoPort;
    int line = 0;
};

/// [[timeout_policy]]: time-outs of the connections that a rule gives them to.
struct TimeoutPolicy {
    std::string name;
    ct::Timeouts timeouts;
};

/// [forward]: limits on the ICMP errors and RSTs that Sluice itself sends, for each worker
/// (RFC 1812 4.3.2.8, RFC 4443 2.4 (f)).
struct ForwardConfig {
    std::uint32_t icmp_rate = 1000;  ///< a second; 0: none are sent
    std::uint32_t icmp_burst = 50;   ///< at once
};

/// [log]
struct LogConfig {
    LogLevel level = LogLevel::Info;
    std::string file;  ///< empty: standard error
};

enum class BlockLogFormat : std::uint8_t { Json, Syslog };

/// [nat_log]
struct BlockLogConfig {
    std::string file;  ///< empty: none
    BlockLogFormat format = BlockLogFormat::Json;
    std::string syslog;            ///< `udp:ADDRESS[:PORT]` or `unix:PATH`; empty: none
    unsigned facility = 16;        ///< RFC 5424 6.2.1; local0
    bool keep_going = false;       ///< throw records away while a destination fails
    std::uint32_t queue = 16'384;  ///< records between each worker and the log

    [[nodiscard]] bool on() const noexcept { return !file.empty() || !syslog.empty(); }
    friend bool operator==(const BlockLogConfig&, const BlockLogConfig&) = default;
};

/// [control]
struct ControlConfig {
    std::string socket = "/run/sluice.sock";
    std::uint32_t mode = 0600;  ///< permissions of the socket
};

/// A whole, valid configuration.
struct Config {
    std::string file;  ///< as given; for messages
    DataplaneConfig dataplane;
    std::vector<PortConfig> ports;  ///< indexed by ct::PortId
    ct::Settings conntrack;
    bool labels = false;                         ///< every connection has room for labels
    std::vector<nat::ZonePolicy> zones;          ///< those with a policy of their own
    std::vector<TimeoutPolicy> policies;         ///< [[timeout_policy]], in the file's order
    std::vector<nat::Rule> rules;                ///< in the file's order, all chains
    std::vector<nat::CarrierSettings> carriers;  ///< Rule::carrier is an index
    /// What happens to a packet that no filter rule decides: Accept or Drop.
    nat::Action filter_policy = nat::Action::Accept;
    std::vector<nat::PrefixPair> nptv6;  ///< [[nptv6]], in the file's order
    nat::FamilySettings nat64;           ///< [nat64]
    std::vector<RouteConfig> routes;
    std::vector<NeighbourConfig> neighbours;
    ForwardConfig forward;
    LogConfig log;
    BlockLogConfig nat_log;
    ControlConfig control;

    /// The id of the port called `name`, or kNoPort.
    [[nodiscard]] ct::PortId find_port(std::string_view name) const noexcept;
};

/// One thing that is wrong with a file.
struct ConfigProblem {
    int line = 0;         ///< 0: the file as a whole
    std::string problem;  ///< what is wrong
    std::string remedy;   ///< what would be right

    friend bool operator==(const ConfigProblem&, const ConfigProblem&) = default;
};

/// Thrown for a file that is not a valid configuration. what() has a line for each problem:
/// `FILE:LINE: what is wrong; what would be right`, in the order of the lines, no newline at the
/// end. Programs print report() on standard error and exit with 2.
class ConfigError : public std::runtime_error {
public:
    /// `problems` is not empty.
    ConfigError(std::string file, std::vector<ConfigProblem> problems);

    [[nodiscard]] const std::string& file() const noexcept { return file_; }
    [[nodiscard]] const std::vector<ConfigProblem>& problems() const noexcept { return problems_; }
    /// what() with `program: ` in front of every line and a newline after each.
    [[nodiscard]] std::string report(std::string_view program) const;

private:
    std::string file_;
    std::vector<ConfigProblem> problems_;
};

/// What a check needs to know of the machine.
struct Machine {
    std::uint64_t available_bytes = 0;  ///< memory that can be had; 0: unknown, do not check

    /// This machine, from /proc/meminfo (MemAvailable and free huge pages).
    [[nodiscard]] static Machine here();
};

/// Bytes of memory that one entry of the connection table takes, its share of the index included;
/// what the check of `conntrack.max` counts with.
inline constexpr std::uint64_t kBytesPerEntry = 256;

/// Reads the file at `path`. Throws ConfigError, also if it cannot be read.
[[nodiscard]] Config load(const std::string& path, const Machine& machine = Machine::here());

/// Reads a configuration out of `text`; `file` is its name in messages. Throws ConfigError.
[[nodiscard]] Config parse_config(std::string_view text, std::string_view file,
                                  const Machine& machine = Machine::here());

/// The ports' MTUs, by ct::PortId.
[[nodiscard]] std::vector<std::uint16_t> mtus(const Config& config);

/// What the table is to be made for, as the rules need it.
[[nodiscard]] ct::Features features_of(const Config& config);

/// What each port says of segment sizes, by PortId; empty if none says anything.
[[nodiscard]] std::vector<nat::MssLimit> mss_limits(const Config& config);

/// What the configuration says after defaults and compilation, a line a thing, for the log.
[[nodiscard]] std::string describe(const Config& config);

/// An address as text (RFC 5952 for IPv6).
[[nodiscard]] std::string to_string(ct::Family family, const ct::Addr& address);
/// A prefix as text, its bits as they are: `192.0.2.0/24`; `any` for family None.
[[nodiscard]] std::string to_string(const nat::Prefix& prefix);
/// A MAC address as text: `02:00:00:00:00:01`.
[[nodiscard]] std::string to_string(const MacAddress& mac);

/// The name in the configuration's rules of a packet that Sluice itself made: `in = "local"`
/// matches ct::kLocalPort.
inline constexpr std::string_view kLocalPortName = "local";

}  // namespace dp
