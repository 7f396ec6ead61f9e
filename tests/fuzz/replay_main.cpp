// SPDX-License-Identifier: BSD-3-Clause
//
// Runs a fuzz target once on every file under the folders or files of the command line: how
// compilers without libFuzzer, and the normal tests, replay a corpus.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <stdexcept>
#include <vector>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

namespace fs = std::filesystem;

std::vector<fs::path> files_under(const fs::path& path) {
    if (!fs::is_directory(path)) return {path};
    std::vector<fs::path> out;
    for (const auto& entry : fs::recursive_directory_iterator{path})
        if (entry.is_regular_file()) out.push_back(entry.path());
    std::sort(out.begin(), out.end());
    return out;
}

void replay(const fs::path& file) {
    std::ifstream in{file, std::ios::binary};
    if (!in) throw std::runtime_error("cannot read " + file.string());
    const std::vector<char> bytes{std::istreambuf_iterator<char>{in}, {}};
    // A buffer of exactly the file's size, so that the AddressSanitizer sees an overread.
    const auto copy = std::make_unique<std::uint8_t[]>(bytes.size());
    std::copy(bytes.begin(), bytes.end(), copy.get());
    LLVMFuzzerTestOneInput(copy.get(), bytes.size());
}

std::size_t replay_all(const fs::path& path) {
    const auto files = files_under(path);
    for (const fs::path& file : files) {
        std::fprintf(stderr, "%s\n", file.c_str());  // the last line names the culprit of a crash
        replay(file);
    }
    return files.size();
}

}  // namespace

int main(int argc, char** argv) {
    try {
        std::size_t count = 0;
        for (int i = 1; i < argc; ++i) count += replay_all(argv[i]);
        std::printf("%zu inputs replayed\n", count);
        return count == 0 ? 2 : 0;  // an empty corpus proves nothing
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s: %s\n", argv[0], e.what());
        return 1;
    }
}
