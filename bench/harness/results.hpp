// SPDX-License-Identifier: BSD-3-Clause
//
// What a benchmark program says: a table to read, and the same as JSON:
//
//   {"program": NAME, "machine": {...}, "failed": [TEXT],
//    "cases": [{"id", "group", "title", "params": {...}, "contestant", "unit",
//               "median", "q1", "q3", "min", "max", "slices", "mpps", "roof_ns", "roof_id"}],
//    "series": [{"id", "title", "contestant", "x": [..], "y": [..], "xlabel", "ylabel"}],
//    "notes": [TEXT]}
//
// Each contestant of a case is an element of "cases" of its own. "mpps" is the rate that a
// median of nanoseconds a packet is. "roof_ns" is the median of the roofline in the same slices,
// where there was one. "failed" names the correctness gates that did
// not hold; the program then ends with an exit code of 1.
#pragma once

#include "bench/harness/options.hpp"
#include "bench/harness/statistics.hpp"

#include <nlohmann/json.hpp>

#include <string>
#include <vector>

namespace bench {

/// What is measured.
struct CaseInfo {
    std::string id;     ///< hit/1000000/uniform
    std::string group;  ///< cases that belong on one plot
    std::string title;  ///< in words
    nlohmann::ordered_json params = nlohmann::ordered_json::object();
};

/// One contestant's result in a case.
struct Result {
    CaseInfo info;
    std::string contestant;
    std::string unit = "ns/packet";
    Summary value;
    double roof_ns = 0;  ///< 0: none
    std::string roof_id{};
};

/// A curve.
struct Series {
    std::string id;
    std::string title;
    std::string contestant;
    std::string xlabel;
    std::string ylabel;
    std::vector<double> x;
    std::vector<double> y;
};

/// Everything that a program found.
struct Results {
    std::string program;
    std::vector<Result> cases;
    std::vector<Series> series;
    std::vector<std::string> notes;
    std::vector<std::string> failed;
};

/// Prints the rows of `cases` from index `from` on.
void print_cases(const Results& r, std::size_t from);

/// Writes everything to the file that the options name. Throws std::runtime_error if it cannot.
void write_json(const Results& r, const Options& o);

}  // namespace bench
