// SPDX-License-Identifier: BSD-3-Clause
//
// What each idea of the index is worth: prefetches, tags, the keyed hash. Lookups, inserts and
// evictions in the tracker's own index with one of them left out, and nothing tracked: the whole
// tracker without prefetches would have to be compiled a second time. And what a newcomer's entry
// costs to write, with the stores that the tracker uses and with those that pass the caches by.
#include "bench/harness/program.hpp"
#include "bench/load/index_variants.hpp"
#include "bench/load/index_writes.hpp"
#include "bench/load/packets.hpp"
#include "bench/load/table_roof.hpp"

#include <fmt/format.h>

#include <array>
#include <cstddef>
#include <cstring>
#include <emmintrin.h>
#include <string>
#include <utility>

namespace {

using namespace bench;

void lookups(Program& program, std::uint32_t flows) {
    const std::string id = fmt::format("ablation/{}", flows);
    if (!program.wants(id, table_and_roof_bytes(flows))) return;
    IndexVariants aes{flows, HashKind::Aes};
    IndexVariants crc{flows, HashKind::Crc32};
    IndexVariants sip{flows, HashKind::Sip};
    const std::array all{aes.contestant("all of it", LookupKind::Full),
                         aes.contestant("no prefetch", LookupKind::NoPrefetch),
                         aes.contestant("buckets prefetched, entries not", LookupKind::BucketOnly),
                         aes.contestant("no tags", LookupKind::NoTags),
                         crc.contestant("CRC-32C in place of AES", LookupKind::Full),
                         sip.contestant("SipHash-2-4 in place of AES", LookupKind::Full)};
    program.measure({.id = id,
                     .group = "ablation",
                     .title = fmt::format("lookups, {} flows, index and first line", flows),
                     .params = {{"flows", flows}, {"burst", kBurst}}},
                    all);
    program.note(fmt::format("{}: entries looked at for a packet: {:.4f} with tags, {:.2f} without",
                             id, aes.examined_each(LookupKind::Full),
                             aes.examined_each(LookupKind::NoTags)));
    const std::uint64_t missed = aes.missed() + crc.missed() + sip.missed();
    program.gate(missed == 0, fmt::format("{}: {} packets did not find their flow", id, missed));
}

/// Newcomers, with room and without: what it is worth to load what they will write.
void newcomers(Program& program, std::uint32_t max) {
    const auto measure = [&](const char* what, std::string title, auto&& contestant_of,
                             const char* victims) {
        const std::string id = fmt::format("ablation/{}/{}", what, max);
        if (!program.wants(id, table_and_roof_bytes(max))) return;
        IndexWrites writes{max};
        const std::array all{
            contestant_of(writes, "all of it", Ahead::All),
            contestant_of(writes, fmt::format("buckets{} prefetched, entries not", victims),
                          Ahead::Buckets),
            contestant_of(writes, "no prefetch", Ahead::Nothing)};
        program.measure({.id = id,
                         .group = "ablation",
                         .title = std::move(title),
                         .params = {{"entries", max}, {"burst", kBurst}}},
                        all);
        const std::uint32_t missing = writes.missing();
        program.gate(writes.failed() == 0 && missing == 0,
                     fmt::format("{}: {} newcomers or victims failed, {} flows are missing", id,
                                 writes.failed(), missing));
    };
    measure(
        "insert", fmt::format("newcomers, index of {} and their entries, 0 to 90 %", max),
        [](IndexWrites& w, std::string name, Ahead a) { return w.inserts(std::move(name), a); },
        "");
    measure(
        "evict", fmt::format("newcomers for the oldest, full index of {} and the entries", max),
        [](IndexWrites& w, std::string name, Ahead a) { return w.evictions(std::move(name), a); },
        " of both");
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
    const auto sip = [&key](const ct::Tuple& t) { return siphash_of(key, t); };
    const std::array all{
        hashing("AES, four rounds, IPv4", four, aes), hashing("AES, eight rounds, IPv6", six, aes),
        hashing("SipHash-2-4, IPv4", four, sip), hashing("CRC-32C, IPv4", four, crc32_of)};
    program.measure({.id = id,
                     .group = "ablation",
                     .title = "hash of a tuple, 32 at a time, in the first-level cache",
                     .params = {{"tuples", kTuples}}},
                    all);
    std::uint32_t asymmetric = 0;
    for (const ct::Tuple& t : four) {
        asymmetric += static_cast<std::uint32_t>(aes(t) != aes(ct::reply_of(t)));
        asymmetric += static_cast<std::uint32_t>(sip(t) != sip(ct::reply_of(t)));
    }
    for (const ct::Tuple& t : six)
        asymmetric += static_cast<std::uint32_t>(aes(t) != aes(ct::reply_of(t)));
    program.gate(asymmetric == 0,
                 fmt::format("{}: {} tuples hash unlike their reply", id, asymmetric));
}

/// The test vector of SipHash-2-4's authors for 16 bytes: key and message count up from 0.
void check_siphash(Program& program) {
    ct::HashKey key;
    for (std::uint8_t n = 0; n < 16; ++n) key.round[0][n] = n;
    program.gate(siphash(key, 0x0706050403020100, 0x0f0e0d0c0b0a0908) == 0x3f2acc7f57c29bdb,
                 "SipHash-2-4 is what its authors say");
}

/// How the lines of a newcomer's entry are written.
enum class StoreKind : std::uint8_t {
    Plain,       ///< each line is fetched first, when it is written
    Prefetched,  ///< fetched some newcomers ahead: what the tracker does
    Streamed,    ///< non-temporal: not fetched, and not kept in the caches
};

/// Entries at random are written, three lines each; and read, if wanted, once the burst is over, as
/// when the answers come.
class EntryWrites {
public:
    EntryWrites(std::uint32_t entries, bool read_back)
        : memory_{std::size_t{entries} * kBytes, ct::Region::Touch::Now},
          draw_{Draw::uniform(entries, 11)},
          read_back_{read_back} {}

    [[nodiscard]] Contestant contestant(std::string name, StoreKind kind) {
        return {.name = std::move(name),
                .step =
                    [this, kind] {
                        for (std::uint32_t b = 0; b < kBursts; ++b) burst(kind);
                        return std::uint64_t{kBursts * kBurst};
                    },
                .prepare = {}};
    }
    [[nodiscard]] std::uint64_t wrong() const noexcept { return wrong_; }

private:
    static constexpr std::size_t kLines = 3;
    static constexpr std::size_t kBytes = kLines * ct::kCacheLine;
    static constexpr std::uint32_t kBursts = 32;
    static constexpr std::uint32_t kAhead = 4;  // newcomers, as Impl::kVictimsAhead

    [[nodiscard]] std::byte* entry(std::uint32_t n) const noexcept {
        return memory_.as<std::byte>() + std::size_t{n} * kBytes;
    }
    static void write(std::byte* at, std::uint32_t n, StoreKind kind) noexcept {
        const __m128i value = _mm_set1_epi32(static_cast<int>(n));
        for (std::size_t k = 0; k < kBytes; k += sizeof value) {
            auto* to = reinterpret_cast<__m128i*>(at + k);
            if (kind == StoreKind::Streamed)
                _mm_stream_si128(to, value);
            else
                _mm_store_si128(to, value);
        }
    }
    void burst(StoreKind kind) noexcept {
        std::array<std::uint32_t, kBurst> chosen;
        for (std::uint32_t& n : chosen) n = draw_.next().flow;
        for (std::uint32_t k = 0; k < kBurst; ++k) {
            if (kind == StoreKind::Prefetched && k + kAhead < kBurst)
                for (std::size_t l = 0; l < kLines; ++l)
                    ct::prefetch_write(entry(chosen[k + kAhead]) + l * ct::kCacheLine);
            write(entry(chosen[k]), chosen[k], kind);
        }
        if (kind == StoreKind::Streamed) _mm_sfence();  // or it would not be published in order
        if (!read_back_) return;
        for (const std::uint32_t n : chosen) {
            std::uint32_t seen = 0;
            std::memcpy(&seen, entry(n), sizeof seen);
            wrong_ += seen != n ? 1 : 0;
        }
    }

    ct::Region memory_;
    Draw draw_;
    bool read_back_;
    std::uint64_t wrong_ = 0;
};

void stores(Program& program, std::uint32_t entries) {
    for (const bool read_back : {false, true}) {
        const std::string id =
            fmt::format("ablation/stores/{}{}", entries, read_back ? "/answered" : "");
        if (!program.wants(id, table_and_roof_bytes(entries))) continue;
        EntryWrites writes{entries, read_back};
        const std::array all{writes.contestant("stores, prefetched", StoreKind::Prefetched),
                             writes.contestant("stores", StoreKind::Plain),
                             writes.contestant("non-temporal stores", StoreKind::Streamed)};
        program.measure(
            {.id = id,
             .group = "ablation",
             .title = fmt::format("the three lines of a newcomer's entry, one of {}{}", entries,
                                  read_back ? ", and its answer after the burst" : ""),
             .params = {{"entries", entries}, {"burst", kBurst}}},
            all);
        program.gate(writes.wrong() == 0,
                     fmt::format("{}: {} entries read unlike written", id, writes.wrong()));
    }
}

void body(Program& program) {
    check_siphash(program);
    const Options& o = program.options();
    for (const std::uint32_t flows : {1U << 16, 1U << 20, 1U << 23})
        if (flows <= o.pick(1U << 16, 1U << 20, 1U << 23)) lookups(program, flows);
    newcomers(program, o.pick(1U << 13, 1U << 18, 1U << 20));
    hashes(program);
    stores(program, o.pick(1U << 12, 1U << 20, 1U << 20));
}

}  // namespace

int main(int argc, char** argv) {
    Program program{"table_ablation", "What each idea of the index is worth.", argc, argv};
    return program.run(body);
}
