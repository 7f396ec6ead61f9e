// SPDX-License-Identifier: BSD-3-Clause
//
// The command line of sluice-replay.
#pragma once

#include "ct/base/time.hpp"
#include "dataplane/control/flow_notation.hpp"
#include "dataplane/control/render.hpp"

#include <cstdint>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace dp::replay {

/// `PORT=FILE`, as --in and --out take it.
struct PortFile {
    std::string port;
    std::string path;
};

/// Whose stories --explain tells.
struct ExplainFilter {
    std::uint64_t first = 1;  ///< numbers of packets, both included
    std::uint64_t last = ~std::uint64_t{0};
    std::optional<FlowPattern> flow;  ///< in either direction

    /// `tuples`: those by which the packet can be found.
    [[nodiscard]] bool wants(std::uint64_t number,
                             std::span<const ct::Tuple> tuples) const noexcept;
};

struct Options {
    std::string config;
    std::vector<PortFile> inputs;   ///< in the order given; a port may stand there more than once
    std::vector<PortFile> outputs;  ///< one a port at most
    std::string verdicts;           ///< empty: none; `-`: the standard output
    bool list = false;
    bool events = false;
    bool stats = false;
    std::optional<ExplainFilter> explain;  ///< the packets whose stories are told
    ct::Nanos at_end = 0;                  ///< time that passes after the last packet
    std::uint64_t seed = 1;                ///< of the hash and of the choice of ports; not 0
    RenderOptions render;
    bool help = false;
    bool version = false;
};

/// A command line that makes no sense. what() says what is wrong and what would be right.
class UsageError : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Reads the arguments behind the program's name. Throws UsageError. Ports are not looked up.
[[nodiscard]] Options parse_options(const std::vector<std::string>& arguments);

/// What --help prints.
extern const std::string_view kHelp;

}  // namespace dp::replay
