// SPDX-License-Identifier: BSD-3-Clause
//
// Random numbers that are the same on every machine for the same seed (SplitMix64), and the few
// ways in which the generator asks for them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

namespace differential {

class Random {
public:
    explicit Random(std::uint64_t seed) : state_{seed} {
        state_ = next();  // so that neighbouring seeds have nothing in common
    }

    std::uint64_t next() {
        std::uint64_t z = (state_ += 0x9e3779b97f4a7c15ULL);
        z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
        z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
        return z ^ (z >> 31);
    }
    /// 0 to n - 1; n is not 0.
    std::uint32_t below(std::uint32_t n) { return static_cast<std::uint32_t>((next() >> 32) % n); }
    /// low to high, both included.
    std::uint32_t between(std::uint32_t low, std::uint32_t high) {
        return low + below(high - low + 1);
    }
    std::uint32_t u32() { return static_cast<std::uint32_t>(next() >> 32); }
    std::uint16_t u16() { return static_cast<std::uint16_t>(next() >> 48); }
    std::uint8_t u8() { return static_cast<std::uint8_t>(next() >> 56); }
    bool percent(std::uint32_t chance) { return below(100) < chance; }
    template <class T>
    T any(std::initializer_list<T> of) {
        return *(of.begin() + below(static_cast<std::uint32_t>(of.size())));
    }
    template <class T>
    const T& any(const std::vector<T>& of) {
        return of[below(static_cast<std::uint32_t>(of.size()))];
    }

private:
    std::uint64_t state_;
};

}  // namespace differential
