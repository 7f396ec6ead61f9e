// SPDX-License-Identifier: BSD-3-Clause
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <vector>

namespace bench {

/// What is told of a set of measurements. Medians and quartiles, since a slice in which the machine
/// did something else must not move the result.
struct Summary {
    double median = 0;
    double q1 = 0;
    double q3 = 0;
    double min = 0;
    double max = 0;
    std::size_t slices = 0;
};

/// The value below which the share `q` of `sorted` lies, interpolated. `sorted` is not empty.
[[nodiscard]] inline double quantile(const std::vector<double>& sorted, double q) {
    const double at = q * static_cast<double>(sorted.size() - 1);
    const auto below = static_cast<std::size_t>(at);
    const std::size_t above = std::min(below + 1, sorted.size() - 1);
    return std::lerp(sorted[below], sorted[above], at - static_cast<double>(below));
}

[[nodiscard]] inline Summary summarize(std::vector<double> values) {
    if (values.empty()) return {};
    std::sort(values.begin(), values.end());
    return {.median = quantile(values, 0.5),
            .q1 = quantile(values, 0.25),
            .q3 = quantile(values, 0.75),
            .min = values.front(),
            .max = values.back(),
            .slices = values.size()};
}

/// Slope of the least-squares line through (x, y); 0 for fewer than two points.
[[nodiscard]] inline double slope(const std::vector<double>& x, const std::vector<double>& y) {
    const std::size_t n = std::min(x.size(), y.size());
    if (n < 2) return 0;
    double mean_x = 0;
    double mean_y = 0;
    for (std::size_t i = 0; i < n; ++i) {
        mean_x += x[i] / static_cast<double>(n);
        mean_y += y[i] / static_cast<double>(n);
    }
    double above = 0;
    double below = 0;
    for (std::size_t i = 0; i < n; ++i) {
        above += (x[i] - mean_x) * (y[i] - mean_y);
        below += (x[i] - mean_x) * (x[i] - mean_x);
    }
    return below == 0 ? 0 : above / below;
}

}  // namespace bench
