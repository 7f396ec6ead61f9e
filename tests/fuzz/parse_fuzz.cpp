// SPDX-License-Identifier: BSD-3-Clause
//
// Any bytes as a frame: parse() reads nothing outside them, and what it lets pass has offsets that
// later stages may trust. Fragments go on into a table, so that its bookkeeping is fuzzed too.
#include "ct/wire/fragments.hpp"
#include "ct/wire/parse.hpp"
#include "tests/support/packet_invariants.hpp"

#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace {

using ct::Drop;
using ct::HwCheck;

void require(bool holds, const std::string& what) {
    if (holds) return;
    std::fprintf(stderr, "parse_fuzz: %s\n", what.c_str());
    std::abort();
}

/// Parses a copy of `bytes` that has exactly their size on the heap, with the port's word `check`.
[[nodiscard]] ct::Packet judge(std::uint8_t* data, std::size_t size, HwCheck check) {
    ct::Packet p;
    p.data = data;
    p.owner = data;
    p.length = static_cast<std::uint32_t>(size);
    p.ip_check = check;
    p.l4_check = check;
    const Drop wrong = ct::parse(p, {});
    require(wrong == (p.drop != Drop::None ? p.drop : p.fault), "the result is not what is wrong");
    const std::string fault = test::fault_in(p);
    require(fault.empty(), fault);
    return p;
}

/// The whole input as one frame: with and without the checksums in the way.
void fuzz_one_frame(std::span<const std::uint8_t> input) {
    const auto copy = std::make_unique<std::uint8_t[]>(input.size());
    if (!input.empty()) std::memcpy(copy.get(), input.data(), input.size());
    const ct::Packet strict = judge(copy.get(), input.size(), HwCheck::Unknown);
    const ct::Packet trusting = judge(copy.get(), input.size(), HwCheck::Good);
    if (strict.drop != Drop::None || strict.fault != Drop::None) return;
    require(trusting.drop == Drop::None && trusting.fault == Drop::None,
            "trusting the port made a good packet bad");
    require(strict.tuple == trusting.tuple, "trusting the port changed the tuple");
    require(std::memcmp(copy.get(), input.data(), input.size()) == 0, "parse() wrote to the frame");
}

/// The input as a row of frames, each behind one byte of length, given to a small fragment table. A
/// byte of time passes before each.
void fuzz_fragments(std::span<const std::uint8_t> input) {
    // One for all inputs, as making it costs more than most inputs do; each leaves it empty.
    static ct::FragmentTable table{{.datagrams = 16, .held = 8, .timeout_s = 30, .timeout6_s = 60}};
    std::vector<std::unique_ptr<std::uint8_t[]>> buffers;
    std::array<ct::HeldFragment, 4> out;
    std::size_t held = 0;
    ct::Nanos now = 0;
    while (input.size() > 2 && buffers.size() < 256) {
        now += (input[0] >> 4U) * ct::kNanosPerSecond;
        const std::size_t size = std::min<std::size_t>(input[1], input.size() - 2);
        buffers.push_back(std::make_unique<std::uint8_t[]>(size));
        if (size != 0) std::memcpy(buffers.back().get(), input.data() + 2, size);
        input = input.subspan(2 + size);
        ct::Packet p = judge(buffers.back().get(), size, HwCheck::Good);
        if (p.drop != Drop::None || p.fragment == ct::Fragment::Whole) continue;
        const ct::Disposition disposition = table.track(p, now);
        require((disposition == ct::Disposition::Dropped) == (p.drop != Drop::None),
                "a drop reason without a drop, or a drop without a reason");
        if (disposition == ct::Disposition::Held) ++held;
        if (disposition == ct::Disposition::Go && p.fragment == ct::Fragment::First) {
            while (const std::size_t n = table.release(ct::FragmentTable::key_of(p), out)) {
                for (std::size_t i = 0; i < n; ++i) {
                    ct::Packet later;
                    ct::resume(out[i], later);
                    require(later.drop == Drop::None, "a held fragment went bad");
                    require(later.tuple == p.tuple, "a released fragment has another tuple");
                }
                held -= n;
            }
        }
        held -= table.expire(now, out);
        require(table.counts().held == held, "the table lost a buffer");
    }
    while (const std::size_t n = table.drain(out)) held -= n;
    require(held == 0 && table.counts().datagrams == 0, "the table kept a buffer");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::span input{data, size};
    fuzz_one_frame(input);
    fuzz_fragments(input);
    return 0;
}
