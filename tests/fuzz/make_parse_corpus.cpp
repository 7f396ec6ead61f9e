// SPDX-License-Identifier: BSD-3-Clause
//
// Writes the seeds of parse_fuzz into the folder of the command line: one frame of every kind, and
// rows of fragments in the form that parse_fuzz reads. Run it after wire_corpus.hpp has grown.
#include "tests/support/wire_corpus.hpp"

#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <stdexcept>

namespace {

using test::Bytes;

void write(const std::filesystem::path& file, const Bytes& bytes) {
    std::ofstream out{file, std::ios::binary};
    for (const std::uint8_t b : bytes) out.put(static_cast<char>(b));
    if (!out) throw std::runtime_error("cannot write " + file.string());
}

/// Frames as parse_fuzz takes them apart: a byte of time, a byte of length, the frame.
Bytes row_of(const std::vector<Bytes>& frames) {
    Bytes out;
    for (const Bytes& frame : frames) {
        out.push_back(0);
        out.push_back(static_cast<std::uint8_t>(frame.size()));
        out.insert(out.end(), frame.begin(), frame.end());
    }
    return out;
}

void write_rows(const std::filesystem::path& folder, const char* family,
                const test::PacketBuilder& ip) {
    const Bytes packet = test::PacketBuilder{ip}.udp(50000, 9999).payload_bytes(150).build_ip();
    auto parts = test::fragments_of(packet, 64);
    const std::string name = std::string{"row_"} + family;
    write(folder / (name + "_in_order"), row_of(parts));
    write(folder / (name + "_overlap"), row_of({parts[1], parts[1], parts[2], parts[0], parts[0]}));
    std::reverse(parts.begin(), parts.end());
    write(folder / (name + "_reversed"), row_of(parts));
}

}  // namespace

int main(int argc, char** argv) {
    try {
        if (argc != 2) throw std::invalid_argument("usage: make_parse_corpus FOLDER");
        const std::filesystem::path folder{argv[1]};
        std::filesystem::create_directories(folder);
        for (const auto& [name, bytes] : test::wire_corpus()) write(folder / name, bytes);
        write_rows(folder, "ipv4", test::PacketBuilder{}.ipv4("192.0.2.1", "198.51.100.1"));
        write_rows(folder, "ipv6", test::PacketBuilder{}.ipv6("2001:db8::1", "2001:db8::2"));
        return 0;
    } catch (const std::exception& e) {
        std::fprintf(stderr, "%s\n", e.what());
        return 2;
    }
}
