// SPDX-License-Identifier: BSD-3-Clause
#include "bench/load/flows.hpp"

#include <cmath>
#include <numeric>
#include <utility>

namespace bench {

namespace {

constexpr std::size_t kDrawn = std::size_t{1} << 22;

/// Ranks 1 .. n with a likelihood of 1 / rank^theta, by rejection-inversion (W. Hörmann and
/// G. Derflinger, 1996): no table, whatever n.
class Zipf {
public:
    Zipf(std::uint32_t n, double theta, std::uint64_t seed)
        : n_{static_cast<double>(n)},
          theta_{theta},
          counter_{seed},
          low_{integral(1.5) - 1},
          high_{integral(n_ + 0.5)},
          shift_{2 - inverse(integral(2.5) - density(2))} {}

    std::uint32_t next() {
        for (;;) {
            const double u = high_ + uniform() * (low_ - high_);
            const double x = inverse(u);
            const double k = std::fmin(std::fmax(std::floor(x + 0.5), 1), n_);
            if (k - x <= shift_ || u >= integral(k + 0.5) - density(k))
                return static_cast<std::uint32_t>(k);
        }
    }

private:
    [[nodiscard]] double density(double x) const { return std::exp(-theta_ * std::log(x)); }
    [[nodiscard]] double integral(double x) const {
        const double l = std::log(x);
        const double a = (1 - theta_) * l;
        return l * (std::abs(a) > 1e-8 ? std::expm1(a) / a : 1 + a / 2);
    }
    [[nodiscard]] double inverse(double y) const {
        const double a = std::fmax(y * (1 - theta_), -1);
        return std::exp(y * (std::abs(a) > 1e-8 ? std::log1p(a) / a : 1 - a / 2));
    }
    double uniform() { return static_cast<double>(mix(++counter_) >> 11) * 0x1p-53; }

    double n_;
    double theta_;
    std::uint64_t counter_;
    double low_;
    double high_;
    double shift_;
};

}  // namespace

Draw Draw::uniform(std::uint32_t flows, std::uint64_t seed) {
    return {flows, seed};
}

Draw Draw::zipf(std::uint32_t flows, double theta, std::uint64_t seed) {
    // A prime that is larger than any number of flows permutes the ranks.
    constexpr std::uint64_t kPrime = 4'294'967'291;
    Draw d{flows, seed};
    Zipf ranks{flows, theta, seed << 32};
    std::vector<std::uint32_t> picks(kDrawn);
    for (std::uint32_t& p : picks) p = static_cast<std::uint32_t>(ranks.next() * kPrime % flows);
    d.drawn_ = std::make_shared<const std::vector<std::uint32_t>>(std::move(picks));
    return d;
}

std::vector<std::uint32_t> shuffled(std::uint32_t n, std::uint64_t seed) {
    std::vector<std::uint32_t> out(n);
    std::iota(out.begin(), out.end(), 0U);
    for (std::uint32_t i = n; i > 1; --i) std::swap(out[i - 1], out[below(mix(seed + i), i)]);
    return out;
}

}  // namespace bench
