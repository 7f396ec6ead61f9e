// SPDX-License-Identifier: BSD-3-Clause
//
// Files for -R: command lines, which are read as those that the shell gives.
#include "dataplane/cli/arguments.hpp"

#include <istream>
#include <sstream>
#include <utility>

namespace dp {

namespace {

/// The words of a line, which are separated by blanks; not those that tell who caused an event, in
/// what `-E -o save` has written.
std::vector<std::string> words_of(const std::string& line) {
    std::vector<std::string> out;
    std::istringstream in{line};
    for (std::string word; in >> word && word != "[USERSPACE]";) out.push_back(std::move(word));
    return out;
}

Request parse_load_line(std::vector<std::string> words, std::vector<std::string>& warnings) {
    if (words.front() == "conntrack" || words.front() == "sluicectl") words.erase(words.begin());
    words.insert(words.begin(), "sluicectl");
    std::vector<char*> argv;
    for (std::string& word : words) argv.push_back(word.data());
    argv.push_back(nullptr);
    Arguments a = parse_arguments(static_cast<int>(words.size()), argv.data(), warnings);
    switch (a.request.command) {
        case Command::Create:
        case Command::Update:
        case Command::Delete:
        case Command::Flush:
            if (a.local == Arguments::Local::None) return std::move(a.request);
            break;
        default:
            break;
    }
    throw BadParameter{"Cannot use command `" + (words.size() > 1 ? words[1] : "unknown") +
                       "' with --load-file"};
}

}  // namespace

std::vector<LoadLine> parse_load(std::istream& in, const std::string& name,
                                 std::vector<std::string>& warnings) {
    std::vector<LoadLine> out;
    std::string text;
    for (int line = 1; std::getline(in, text); ++line) {
        std::vector<std::string> words = words_of(text);
        if (words.empty() || words.front().starts_with('#')) continue;
        try {
            out.push_back({line, parse_load_line(std::move(words), warnings)});
        } catch (const std::exception& e) {
            throw BadParameter{name + ":" + std::to_string(line) + ": " + e.what()};
        }
    }
    return out;
}

}  // namespace dp
