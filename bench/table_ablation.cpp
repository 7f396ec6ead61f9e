// SPDX-License-Identifier: BSD-3-Clause
//
// What each idea of the index is worth: prefetches, tags, the keyed hash. Lookups alone, of the
// tracker's own index with one of them left out.
#include "bench/harness/program.hpp"
#include "bench/load/index_variants.hpp"
#include "bench/load/packets.hpp"
#include "bench/load/table_roof.hpp"

#include <fmt/format.h>

#include <array>

namespace {

using namespace bench;

void lookups(Program& program, std::uint32_t flows) {
    const std::string id = fmt::format("ablation/{}", flows);
    if (!program.wants(id, table_and_roof_bytes(flows))) return;
    IndexVariants aes{flows, HashKind::Aes};
    IndexVariants crc{flows, HashKind::Crc32};
    const std::array all{aes.contestant("all of it", LookupKind::Full),
                         aes.contestant("no prefetch", LookupKind::NoPrefetch),
                         aes.contestant("buckets prefetched, entries not", LookupKind::BucketOnly),
                         aes.contestant("no tags", LookupKind::NoTags),
                         crc.contestant("CRC-32C in place of AES", LookupKind::Full)};
    program.measure({.id = id,
                     .group = "ablation",
                     .title = fmt::format("lookups, {} flows, index and first line", flows),
                     .params = {{"flows", flows}, {"burst", kBurst}}},
                    all);
    program.note(fmt::format("{}: entries looked at for a packet: {:.4f} with tags, {:.2f} without",
                             id, aes.examined_each(LookupKind::Full),
                             aes.examined_each(LookupKind::NoTags)));
    program.gate(
        aes.missed() == 0 && crc.missed() == 0,
        fmt::format("{}: {} packets did not find their flow", id, aes.missed() + crc.missed()));
}

/// The hash of a burst of tuples, nothing else.
void hashes(Program& program) {
    const std::string id = "ablation/hash";
    if (!program.wants(id)) return;
    constexpr std::uint32_t kTuples = 32;
    constexpr std::uint32_t kRounds = 32;
    const ct::HashKey key = ct::HashKey::from_seed(1);
    const auto tuples_of = [](ct::Family family) {
        std::array<ct::Tuple, kTuples> out;
        for (std::uint32_t n = 0; n < kTuples; ++n)
            out[n] = flow(7919 * n, {.family = family, .proto = ct::ipproto::kTcp});
        return out;
    };
    const auto four = tuples_of(ct::Family::Ipv4);
    const auto six = tuples_of(ct::Family::Ipv6);
    std::uint64_t sum = 0;
    const auto hashing = [&](const char* name, const auto& tuples, auto&& hash_of) {
        return Contestant{.name = name,
                          .step =
                              [&sum, &tuples, hash_of] {
                                  for (std::uint32_t r = 0; r < kRounds; ++r)
                                      for (const ct::Tuple& t : tuples) sum += hash_of(t);
                                  asm volatile("" : "+r"(sum));
                                  return std::uint64_t{kRounds * kTuples};
                              },
                          .prepare = {}};
    };
    const auto aes = [&key](const ct::Tuple& t) { return ct::hash(key, t); };
    const std::array all{hashing("AES, four rounds, IPv4", four, aes),
                         hashing("AES, eight rounds, IPv6", six, aes),
                         hashing("CRC-32C, IPv4", four, crc32_of)};
    program.measure({.id = id,
                     .group = "ablation",
                     .title = "hash of a tuple, 32 at a time, in the first-level cache",
                     .params = {{"tuples", kTuples}}},
                    all);
    std::uint32_t asymmetric = 0;
    for (const ct::Tuple& t : four)
        asymmetric += static_cast<std::uint32_t>(aes(t) != aes(ct::reply_of(t)));
    for (const ct::Tuple& t : six)
        asymmetric += static_cast<std::uint32_t>(aes(t) != aes(ct::reply_of(t)));
    program.gate(asymmetric == 0,
                 fmt::format("{}: {} tuples hash unlike their reply", id, asymmetric));
}

void body(Program& program) {
    const Options& o = program.options();
    for (const std::uint32_t flows : {1U << 16, 1U << 20, 1U << 23})
        if (flows <= o.pick(1U << 16, 1U << 20, 1U << 23)) lookups(program, flows);
    hashes(program);
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_ablation", "What each idea of the index is worth.", argc, argv};
    return program.run(body);
}
