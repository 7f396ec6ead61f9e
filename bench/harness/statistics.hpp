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

/// A least-squares line through measurements.
struct Line {
    double slope = 0;
    double slope_error = 0;  ///< standard error of the slope
    double mean = 0;         ///< of y

    /// True if the slope differs from zero by less than chance would have it in 95 of 100 cases.
    [[nodiscard]] bool level() const noexcept { return std::abs(slope) < 2 * slope_error; }
};

/// The line through (x, y); all zero for fewer than three points.
[[nodiscard]] inline Line fit_line(const std::vector<double>& x, const std::vector<double>& y) {
    const std::size_t n = std::min(x.size(), y.size());
    if (n < 3) return {};
    const auto count = static_cast<double>(n);
    double mean_x = 0;
    double mean_y = 0;
    for (std::size_t i = 0; i < n; ++i) {
        mean_x += x[i] / count;
        mean_y += y[i] / count;
    }
    double xy = 0;
    double xx = 0;
    for (std::size_t i = 0; i < n; ++i) {
        xy += (x[i] - mean_x) * (y[i] - mean_y);
        xx += (x[i] - mean_x) * (x[i] - mean_x);
    }
    if (xx == 0) return {.mean = mean_y};
    Line out{.slope = xy / xx, .mean = mean_y};
    double residual = 0;
    for (std::size_t i = 0; i < n; ++i) {
        const double r = y[i] - mean_y - out.slope * (x[i] - mean_x);
        residual += r * r;
    }
    out.slope_error = std::sqrt(residual / (count - 2) / xx);
    return out;
}

}  // namespace bench
