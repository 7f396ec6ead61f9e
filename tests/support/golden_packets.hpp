// SPDX-License-Identifier: BSD-3-Clause
//
// The packets under tests/golden/, as frames.
#pragma once

#include "tests/support/packet_builder.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

namespace test {

struct GoldenPacket {
    std::string where;  ///< "tcp-bad-packets step 2: data offset 3"
    std::string case_name;
    int step = 0;
    bool invalid = false;  ///< Linux's conntrack called it INVALID
    Bytes frame;           ///< behind an Ethernet header
};

/// What went into the kernel in every steps.jsonl, sorted by case; throws if the folder is missing.
[[nodiscard]] inline std::vector<GoldenPacket> golden_packets() {
    namespace fs = std::filesystem;
    std::vector<fs::path> files;
    for (const auto& entry : fs::recursive_directory_iterator{SLUICE_SOURCE_DIR "/tests/golden"})
        if (entry.path().filename() == "steps.jsonl") files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    std::vector<GoldenPacket> out;
    for (const fs::path& file : files) {
        std::ifstream in{file};
        for (std::string line; std::getline(in, line);) {
            const auto step = nlohmann::json::parse(line);
            if (!step.contains("hex") || step["hex"].get<std::string>().empty()) continue;
            GoldenPacket p;
            p.case_name =
                fs::relative(file.parent_path(), SLUICE_SOURCE_DIR "/tests/golden").string();
            p.step = step["n"];
            p.where = p.case_name + " step " + std::to_string(p.step) + ": " +
                      step.value("note", std::string{});
            for (const auto& state : step["ct_state"]) p.invalid |= state == "invalid";
            p.frame = with_ethernet(from_hex(step["hex"].get<std::string>()));
            out.push_back(std::move(p));
        }
    }
    return out;
}

}  // namespace test
