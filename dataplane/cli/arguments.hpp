// SPDX-License-Identifier: BSD-3-Clause
//
// The command line of sluicectl: conntrack(8)'s grammar, and Sluice's own words.
#pragma once

#include "dataplane/control/protocol.hpp"

#include <iosfwd>
#include <string>
#include <vector>

namespace dp {

/// What the command line asks for.
struct Arguments {
    /// What to do where that is no request to the daemon.
    enum class Local { None, Help, Version };

    Local local = Local::None;
    Request request;
    std::string load_file;  ///< -R: the requests stand in this file; `-`: standard input
    std::string socket{kDefaultSocket};
    bool json = false;  ///< stats, drops, explain: print the daemon's JSON as it is
    bool all = false;   ///< drops: the reasons that have not happened, too
};

/// A request of a file for -R.
struct LoadLine {
    int line = 0;
    Request request;
};

/// A request that is well-formed and yet cannot be served: exit code 1.
class Unserved : public std::runtime_error {
public:
    using std::runtime_error::runtime_error;
};

/// Reads the command line. `argv` may be permuted. `warnings` takes what is to be shown even if
/// this throws. Throws BadParameter (exit code 2) or Unserved.
[[nodiscard]] Arguments parse_arguments(int argc, char** argv, std::vector<std::string>& warnings);

/// Reads what `-o save` wrote, or other commands -I, -A, -U, -D and -F a line each; empty lines and
/// those that begin with `#` are skipped. `name` is the file's in messages. Throws BadParameter
/// with name and line; nothing is done then.
[[nodiscard]] std::vector<LoadLine> parse_load(std::istream& in, const std::string& name,
                                               std::vector<std::string>& warnings);

/// The text of --help.
[[nodiscard]] std::string_view usage() noexcept;

}  // namespace dp
