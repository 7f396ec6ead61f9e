// SPDX-License-Identifier: BSD-3-Clause
#include "bench/harness/options.hpp"

#include <CLI/CLI.hpp>

#include <cstdlib>
#include <map>
#include <thread>

namespace bench {

const char* name_of(PageKind p) noexcept {
    switch (p) {
        case PageKind::Normal:
            return "4k";
        case PageKind::Huge2M:
            return "2m";
        case PageKind::Huge1G:
            return "1g";
    }
    return "";
}

unsigned Options::slices() const noexcept {
    return pick(1U, 5U, 15U);
}

double Options::slice_s() const noexcept {
    return pick(0.002, 0.050, 0.200);
}

Options parse_options(const std::string& about, int argc, char** argv) {
    Options o;
    bool quick = false;
    bool once = std::getenv("SLUICE_BENCH_ONCE") != nullptr;
    const std::map<std::string, PageKind> kinds{
        {"4k", PageKind::Normal}, {"2m", PageKind::Huge2M}, {"1g", PageKind::Huge1G}};

    CLI::App app{about};
    app.add_option("--json", o.json, "also write the results to FILE")->type_name("FILE");
    app.add_option("--only", o.only, "measure the cases whose id matches GLOB")->type_name("GLOB");
    app.add_flag("--quick", quick, "5 slices of 50 ms, and no case of millions of flows");
    app.add_flag("--once", once, "each case for a moment, at tiny size");
    app.add_flag("--list", o.list, "name the cases and measure nothing");
    app.add_option("--core", o.core, "CPU of the first worker; the second has the next")
        ->check(CLI::Range(0U, std::max(1U, std::thread::hardware_concurrency()) - 1));
    app.add_option("--pages", o.pages, "pages of the tables' memory: 4k, 2m or 1g")
        ->transform(CLI::CheckedTransformer(kinds, CLI::ignore_case));
    try {
        app.parse(argc, argv);
    } catch (const CLI::ParseError& e) {
        std::exit(app.exit(e));
    }
    if (quick) o.effort = Effort::Quick;
    if (once) o.effort = Effort::Once;
    return o;
}

}  // namespace bench
