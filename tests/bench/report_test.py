# SPDX-License-Identifier: BSD-3-Clause
"""The report: arithmetic of its figures, plots and page of canned results, outcome of programs."""

import contextlib
import html.parser
import io
import json
import math
import random
import re
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree
from pathlib import Path
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "bench"))
import report  # noqa: E402
import report_figures  # noqa: E402
import report_page  # noqa: E402
import report_plots  # noqa: E402
import report_results  # noqa: E402
import report_svg  # noqa: E402
from report_results import Program, Results  # noqa: E402

HOSTILE = '<script>alert("x")</script>\'&<img src=x onerror=y>]]>'
SVG = "{http://www.w3.org/2000/svg}"
CACHES = {"caches": [{"level": "1", "size": "32K"}, {"level": "3", "size": "32768K"}]}
VOID = {"meta", "br", "img", "link", "hr", "input"}


def case(id, contestant, median, group="established", roof=0, unit="ns/packet", **params):
    return {"id": id, "group": group, "title": f"title of {id}", "params": params,
            "contestant": contestant, "unit": unit, "median": median, "q1": median * 0.95,
            "q3": median * 1.05, "min": median * 0.9, "max": median * 1.2, "slices": 15,
            "roof_ns": roof, "roof_id": "EST3" if roof else ""}


def of(*cases, series=(), notes=(), machine=None, name="canned"):
    return Program(name, report_results.DONE, 1.0, "",
                   {"cases": list(cases), "series": list(series), "notes": list(notes),
                    "machine": machine or {"cpu": "a CPU"}})


def hits():
    """Sluice, its roofline and a peer over five sizes and two distributions."""
    out = []
    for i, flows in enumerate((65_536, 262_144, 1_000_000, 4_000_000, 16_000_000)):
        for shape in ("uniform", "zipf0.99"):
            id = f"hit/{flows}/{shape}"
            out += [case(id, "sluice", 40 + 10 * i, flows=flows, distribution=shape, roof=20 + i),
                    case(id, "making the packets", 4, flows=flows, distribution=shape),
                    case(id, "roofline EST3", 20 + i, flows=flows, distribution=shape),
                    case(id, "sluice net", 36 + 10 * i, flows=flows, distribution=shape,
                         roof=20 + i)]
    out.append(case("kernel/hit/tcp/1000000", "linux nf_conntrack", 1120, flows=1_000_000,
                    distribution="uniform"))
    return out


def figures_of(*programs):
    return {f.key: f for f in report_figures.figures(Results(list(programs)))}


class Page(html.parser.HTMLParser):
    """Collects what a browser would see, and complains where tags do not nest."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text, self.errors = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.errors.append(f"</{tag}> at {self.getpos()}")

    def handle_data(self, data):
        self.text.append(data)


def read(page):
    parser = Page()
    parser.feed(page)
    parser.close()
    return parser


def drawings(page):
    """Every <svg> of the page, parsed as XML."""
    found, at = [], 0
    while (at := page.find("<svg", at)) >= 0:
        end = page.index("</svg>", at) + len("</svg>")
        found.append(xml.etree.ElementTree.fromstring(page[at:end]))
        at = end
    return found


def render(*programs):
    results = Results(list(programs))
    return report_page.page(results, report_figures.figures(results), "Measured on a day.")


class FiguresTest(unittest.TestCase):

    def test_roofline_figure_is_roof_over_time_without_packet_making(self):
        figure = figures_of(of(*hits()))["hit/roof"]

        self.assertAlmostEqual(figure.ratio, 22 / 56)
        self.assertEqual(figure.verdict, report_figures.MISSED)

    def test_kernel_figure_is_kernel_over_sluice(self):
        figure = figures_of(of(*hits()))["kernel/hit"]

        self.assertAlmostEqual(figure.ratio, 1120 / 56)
        self.assertEqual(figure.verdict, report_figures.MET)
        self.assertIn("linux nf_conntrack 1,120 ns", figure.measured)

    def test_peers_of_the_process_are_compared_with_the_whole_of_sluice(self):
        id = "peers/hit/1000000"
        figure = figures_of(of(case(id, "sluice", 50), case(id, "sluice net", 40),
                               case(id, "rte_hash lock-free, single", 150),
                               case(id, "rte_hash lock-free, bulk", 80),
                               case(id, "rte_hash sharded by core, bulk", 10)))["rte_hash/hit"]

        self.assertAlmostEqual(figure.ratio, 80 / 50)  # the faster of the lock-free ones

    def test_where_low_is_good_the_limits_turn_round(self):
        def verdict(full):
            return figures_of(of(case("full/1048576/aged", "sluice", full),
                                 case("insert/1048576/aged", "sluice", 100)))["full/insert"].verdict

        self.assertEqual(verdict(120), report_figures.AIM)
        self.assertEqual(verdict(121), report_figures.MET)
        self.assertEqual(verdict(150), report_figures.MET)
        self.assertEqual(verdict(151), report_figures.MISSED)

    def test_translation_is_set_against_none_and_against_the_kernels(self):
        figures = figures_of(of(case("plain/hit/1048576", "sluice net", 60),
                                case("snat/hit/1048576", "sluice net", 76),
                                case("plain/insert/1048576", "sluice net", 90, roof=44),
                                case("snat/insert/1048576", "sluice net", 180, roof=55),
                                case("snat/ports/50", "sluice", 400),
                                case("snat/ports/99.9", "sluice", 500),
                                case("snat/used-up", "sluice net", 200),
                                case("kernel/masquerade/insert/262144", "linux nf_conntrack", 2700),
                                case("kernel/masquerade/used-up/262144", "linux nf_conntrack",
                                     70_000)))

        ratios = {key: figures[key].ratio for key in figures if key.startswith("nat/")}
        self.assertEqual(ratios, {"nat/hit": 16, "nat/insert": 2, "nat/ports": 1.25,
                                  "nat/kernel/insert": 15, "nat/kernel/used-up": 350})
        self.assertEqual([key for key in ratios if figures[key].verdict == report_figures.MISSED],
                         ["nat/hit", "nat/insert", "nat/kernel/insert"])
        self.assertIn("1.2 times as dear", figures["nat/insert"].explanation)

    def test_a_figure_without_aim_can_only_be_met(self):
        figure = report_figures.Figure("k", "label", 4, None, ratio=400.0)

        self.assertEqual(figure.verdict, report_figures.MET)
        self.assertIn("✔ met<", report_page.verdict(figure))

    def test_missing_cases_are_told_and_count_as_not_measured(self):
        figures = figures_of()

        self.assertGreaterEqual(len(figures), 16)
        for figure in figures.values():
            self.assertEqual(figure.verdict, report_figures.UNKNOWN, figure.key)
            self.assertIn("no result of", figure.measured)

    def test_a_figure_of_a_program_that_failed_says_so(self):
        program = of(*hits(), name="table_hits")
        program.state = report_results.CUT_OFF

        self.assertIn("of table_hits, which failed", figures_of(program)["hit/roof"].note)
        self.assertEqual(figures_of(of(*hits()))["hit/roof"].note, "")

    def test_another_machine_is_called_that(self):
        self.assertIn("another machine", figures_of(of(*hits()))["ovs/hit"].note)

    def test_the_prototypes_times_are_a_floor_of_another_machine_without_trackers(self):
        figures = figures_of(of(*hits(), case("insert/1048576/aged", "sluice net", 122),
                                case("full/1048576/aged", "sluice net", 80),
                                case("full/262144/aged", "sluice net", 95)))

        ratios = {key.removeprefix("prototype/"): f.ratio for key, f in figures.items()
                  if key.startswith("prototype/")}
        self.assertEqual(ratios, {"hit/1048576": 42 / 56, "insert/1048576": 0.5,
                                  "full/1048576": 94 / 80, "hit/262144": 31 / 46,
                                  "insert/262144": None, "full/262144": 0.8})
        missed, met = figures["prototype/hit/1048576"], figures["prototype/full/1048576"]
        self.assertEqual((missed.verdict, met.verdict), (report_figures.MISSED, report_figures.MET))
        self.assertIn("tracks nothing", missed.explanation)
        self.assertEqual(met.explanation, "")
        for figure in (missed, met):
            self.assertIn("without trackers", figure.label)
            self.assertIn("another machine", figure.note)

    def test_a_miss_is_explained_by_what_is_left_in_a_small_table(self):
        figures = figures_of(of(*hits(), machine=CACHES))

        self.assertIn("With 65,536 entries, which the last-level cache holds, the same packet "
                      "takes 36.0 ns: 64% of Sluice's time", figures["hit/roof"].explanation)
        self.assertIn(figures["hit/roof"].explanation.split(":")[0],
                      "".join(read(render(of(*hits(), machine=CACHES))).text))
        self.assertEqual(figures["kernel/hit"].explanation, "")  # that one was met

    def test_a_miss_is_not_explained_by_a_table_that_the_caches_do_not_hold(self):
        def explained(caches):
            machine = {} if caches is None else {"caches": caches}
            return figures_of(of(*hits(), machine=machine))["hit/roof"].explanation != ""

        self.assertTrue(explained([{"size": "1024K"}, {"size": "32M"}]))
        for small in ([{"size": "16384K"}], [], None, "32M", ["32M"], [{"size": "much"}], [{}]):
            self.assertFalse(explained(small), small)
        inserts = [case("insert/16384/aged", "sluice net", 60, max=16_384),
                   case("insert/262144/aged", "sluice net", 80, max=262_144),
                   case("insert/1048576/aged", "sluice net", 100, max=1_048_576, roof=40)]
        self.assertIn("With 16,384 entries, ",
                      figures_of(of(*inserts, machine=CACHES))["insert/roof"].explanation)
        self.assertEqual(
            figures_of(of(*inserts[1:], machine=CACHES))["insert/roof"].explanation, "")

    def test_a_level_series_is_within_noise_and_a_rising_one_is_not(self):
        noise = random.Random(5)
        x = [i / 10 for i in range(200)]

        def verdict(slope):
            y = [100 + slope * t + noise.gauss(0, 2) for t in x]
            trace = {"id": "turnover/1048576", "contestant": "sluice", "x": x, "y": y}
            return figures_of(of(series=[trace]))["full/slope"].verdict

        self.assertEqual(verdict(0), report_figures.AIM)
        self.assertEqual(verdict(1), report_figures.MISSED)
        self.assertEqual(verdict(-1), report_figures.MISSED)

    def test_scaling_is_set_against_the_rooflines_own(self):
        id = "workers/insert/1048576"
        figure = figures_of(of(case(id, "sluice, 1 worker", 90, roof=60),
                               case(id, "sluice, 2 workers", 50, roof=30)))["scaling/insert"]

        self.assertAlmostEqual(figure.ratio, (90 / 50) / (60 / 30))
        self.assertEqual(figure.verdict, report_figures.MET)

    def test_scaling_of_hits_is_that_of_the_worst_split_which_is_named(self):
        def scaled(*medians):
            id = "workers/hit/1000000"
            names = [f"sluice, 2 workers, {n} % of flows on both" for n in (0, 50, 100)]
            return figures_of(of(case(id, "sluice, 1 worker", 72, roof=40),
                                 case(id, "roofline EST4, 2 workers", 20),
                                 *(case(id, name, median, roof=20)
                                   for name, median in zip(names, medians))))["scaling/hit"]

        self.assertAlmostEqual(scaled(36, 45, 40).ratio, (72 / 45) / 2)
        self.assertEqual(scaled(36, 45, 40).verdict, report_figures.MISSED)
        self.assertIn("50 % of flows on both: the worst of 3 splits", scaled(36, 45, 40).measured)
        self.assertIn("100 % of flows on both: the worst", scaled(36, 37, 40).measured)
        self.assertAlmostEqual(scaled(36).ratio, 1)
        self.assertNotIn("worst", scaled(36).measured)
        self.assertEqual(scaled().verdict, report_figures.UNKNOWN)

    def test_amounts_have_a_most(self):
        figures = figures_of(of(case("memory/ipv4/1048576", "index and entries", 242),
                                case("memory/ipv4/1048576", "growth of the process", 268.9),
                                case("memory/ipv4/1048576", "with all rings of victims", 290.5),
                                case("tracking/hit/1048576", "cost of windows and counters", 15.5),
                                case("family/hit/1048576", "sluice, IPv4", 50),
                                case("family/hit/1048576", "sluice, IPv6", 90)))

        self.assertEqual((figures["memory"].ratio, figures["memory"].verdict),
                         (242, report_figures.MET))
        self.assertIn("index, entry, window, counters", figures["memory"].label)
        self.assertIn("index and entries; with all rings of victims 290.5; growth of the process "
                      "268.9", figures["memory"].measured)
        self.assertEqual(figures["tracking"].verdict, report_figures.MISSED)
        self.assertEqual((figures["ipv6/hit"].ratio, figures["ipv6/hit"].verdict),
                         (1.8, report_figures.MET))

    def test_a_listing_is_judged_by_its_time_and_by_what_the_worker_keeps(self):
        def dump(seconds, kept):
            name = "dump/1000000"
            return figures_of(of(
                case(f"{name}/seconds", "sluicectl -L", seconds, group="dump", unit="s"),
                case(f"{name}/mpps", "sluicectl -L", 7.9, group="dump", unit="Mpps"),
                case(f"{name}/mpps", "nothing beside it", 8, group="dump", unit="Mpps"),
                case(f"{name}/mpps", "a busy loop beside it", 6, group="dump", unit="Mpps"),
                case(f"{name}/ratio", "sluicectl -L", kept, group="dump", unit="times")))

        good, bad = dump(2.9, 0.96), dump(3.1, 0.94)

        self.assertEqual(good["dump/seconds"].verdict, report_figures.MET)
        self.assertEqual(good["dump/worker"].verdict, report_figures.MET)
        self.assertIn("busy loop in its place 6.00", good["dump/worker"].measured)
        self.assertEqual(bad["dump/seconds"].verdict, report_figures.MISSED)
        self.assertEqual(bad["dump/worker"].verdict, report_figures.MISSED)
        self.assertEqual(figures_of(of(*hits()))["dump/worker"].verdict, report_figures.UNKNOWN)

    def test_losses_of_all_programs_are_summed(self):
        lost = case("io/assured-lost", "sluice", 0, unit="entries")
        more = case("legit/lost", "sluice", 2, unit="entries")

        self.assertEqual(figures_of(of(lost))["lost"].verdict, report_figures.AIM)
        experiment = case("legit/oldest/0.50", "sluice, oldest", 100, unit="%", established_lost=1)
        figure = figures_of(of(lost), of(more, experiment, name="b"))["lost"]
        self.assertEqual((figure.ratio, figure.verdict), (3, report_figures.MISSED))


class ResultsTest(unittest.TestCase):

    def test_malformed_results_are_left_out_and_named(self):
        good = case("a", "sluice", 1)
        for bad in ({"cases": [good, {"id": "b"}]}, {"cases": [good, 7]}, {"cases": [good, None]},
                    {"cases": [good, case("n", "s", math.nan)]},
                    {"cases": [good, {**good, "median": "12"}]},
                    {"cases": [good], "series": [{"x": [1], "y": [1, 2]}]},
                    {"cases": [good], "series": [{"x": [1], "y": [None]}]},
                    {"cases": [good], "series": "no list"}):
            results = Results([Program("p", report_results.DONE, 1, "", bad)])

            self.assertEqual([r.id for r in results.rows], ["a"], bad)
            self.assertEqual(len(results.problems), 1, bad)
            self.assertFalse(results.traces)
            read(render(*results.programs))

    def test_a_case_may_lack_all_but_id_and_median(self):
        results = Results([of({"id": "a", "median": 3})])

        row = results.rows[0]
        self.assertEqual((row.q1, row.q3, row.low, row.high), (3, 3, 3, 3))
        self.assertEqual((row.title, row.contestant, row.unit), ("a", "sluice", "ns/packet"))

    def test_numbers_in_names_sort_by_value(self):
        names = ["hit/1000000", "hit/65536", "hit/4000000", "full/2"]

        self.assertEqual(sorted(names, key=report_results.natural),
                         ["full/2", "hit/65536", "hit/1000000", "hit/4000000"])


class PlotsTest(unittest.TestCase):

    def test_each_distribution_has_its_curves_and_a_peer_stands_where_it_belongs(self):
        section = next(s for s in report_plots.sections(Results([of(*hits())]))
                       if s.key == "established")

        self.assertEqual([p.title for p in section.plots],
                         ["Established connections: uniform", "Established connections: zipf0.99"])
        self.assertIn("linux nf_conntrack", section.plots[0].svg)
        self.assertNotIn("linux nf_conntrack", section.plots[1].svg)
        self.assertNotIn("making the packets", section.plots[0].svg)
        self.assertIn(">sluice net<", section.plots[0].svg)
        self.assertNotIn(">sluice<", section.plots[0].svg)  # the same with the packets' making
        self.assertEqual(len(section.rows), len(hits()))  # the table has everything

    def test_every_plot_says_what_to_see_in_numbers(self):
        results = Results([of(*hits(), case("x/1", "sluice", 3, group="own"),
                              case("x/1", "other", 6, group="own"))])
        for section in report_plots.sections(results):
            for plot in section.plots:
                self.assertRegex(plot.see, r"^(Lower|Higher) is better\. .*\d.*\.$")

    def test_a_long_series_is_described_by_its_tenths(self):
        trace = {"id": "a", "title": "t", "contestant": "sluice", "ylabel": "success, %",
                 "x": list(range(100)), "y": [900] + [50] * 50 + [40] * 48 + [900]}
        section = report_plots.sections(Results([of(series=[trace])]))[0]

        self.assertEqual(section.plots[0].see,
                         "Higher is better. From the first tenth to the last: sluice 50 to 40 %.")

    def test_a_group_that_nobody_listed_is_shown(self):
        sections = report_plots.sections(Results([of(case("z/1", "sluice", 5, group="quite_new"))]))

        self.assertEqual([(s.title, len(s.plots)) for s in sections], [("Quite new", 1)])

    def test_units_do_not_share_an_axis(self):
        sections = report_plots.sections(Results([of(
            case("io/a", "sluice", 5, group="io", unit="Mpps"),
            case("io/a/ns", "sluice", 200, group="io"))]))

        self.assertEqual(len(sections[0].plots), 2)
        self.assertIn("Higher is better", sections[0].plots[0].see)

    def test_contestants_of_a_plot_differ_in_sign(self):
        names = ["sluice", "sluice, notrack", "roofline EST3", "linux nf_conntrack",
                 "rte_hash lock-free", "rte_hash extendable", "oneTBB map"]

        self.assertEqual(len(set(report_plots.styles(names).values())), len(names))
        self.assertEqual(report_plots.styles(names)["sluice"], 0)

    def test_contestants_by_burst_become_a_curve(self):
        rows = [case("burst/hit/1048576", f"sluice, burst {n}", 90 / n, group="burst")
                for n in (1, 2, 4, 8)]
        section = report_plots.sections(Results([of(*rows)]))[0]

        self.assertIn("From left to right: sluice 90 to 11.2 ns.", section.plots[0].see)
        self.assertIn("packets in a burst", section.plots[0].svg)

    def test_points_that_a_curve_shows_are_not_shown_as_bars_too(self):
        rows = [case(f"legit/oldest/{x}", "sluice, oldest", 90, group="legit", unit="%")
                for x in (0.5, 1)]
        trace = {"id": "legit/round-trip", "contestant": "sluice, oldest", "title": "success",
                 "x": [0.5, 1], "y": [90, 90], "ylabel": "success, %"}
        section = report_plots.sections(Results([of(*rows, series=[trace])]))[0]

        self.assertEqual([p.title for p in section.plots], ["success"])
        self.assertEqual(len(section.rows), 2)

    def test_more_curves_than_signs_become_several_plots(self):
        rows = [case(f"shapes/{n}", f"shape {k}", 10 + k, group="roofline", entries=n)
                for n in (1, 2, 3) for k in range(2 * report_svg.STYLES)]
        section = report_plots.sections(Results([of(*rows)]))[0]

        self.assertEqual([p.title for p in section.plots],
                         ["What memory allows (1 of 2)", "What memory allows (2 of 2)"])

    def test_cases_of_one_title_are_told_apart(self):
        rows = Results([of({**case("fill/1/last", "sluice", 1), "title": "the last"},
                           {**case("fill/2/last", "sluice", 2), "title": "the last"})]).rows

        self.assertEqual([r.title for r in rows],
                         ["the last (fill/1/last)", "the last (fill/2/last)"])

    def test_ticks_cover_the_values(self):
        rng = random.Random(7)
        for _ in range(500):
            low, high = sorted(10 ** rng.uniform(-3, 7) for _ in range(2))
            for ticks in (report_svg.linear_ticks(low, high), report_svg.log_ticks(low, high),
                          report_svg.linear_ticks(0, high), report_svg.log_ticks(low, low)):
                self.assertLessEqual(len(ticks), 16, (low, high))
                self.assertGreaterEqual(len(ticks), 2)
                self.assertEqual(ticks, sorted(set(ticks)))
            self.assertLessEqual(report_svg.log_ticks(low, high)[0], low * 1.001)
            self.assertGreaterEqual(report_svg.log_ticks(low, high)[-1], high * 0.999)
            self.assertGreaterEqual(report_svg.linear_ticks(0, high)[-1], high * 0.999)

    def test_counts_are_short(self):
        self.assertEqual([report_svg.count(n) for n in
                          (1, 32, 65_536, 262_144, 1_000_000, 1_048_576, 16_000_000, 1500)],
                         ["1", "32", "64K", "256K", "1M", "1M", "16M", "1.5k"])

    def test_one_disturbance_does_not_flatten_a_long_series(self):
        y = [100.0] * 200
        y[77] = 1e6
        curve = report_svg.Curve("sluice", list(range(200)), y)

        self.assertEqual(report_svg.span([curve]), (100, 100))
        drawing = xml.etree.ElementTree.fromstring(
            report_svg.lines([curve], "t", "x", "y"))
        ticks = [t.text for t in drawing.iter(f"{SVG}text")]
        self.assertNotIn("1,000,000", ticks)

    def test_drawings_stay_inside_their_box(self):
        for drawing in drawings(render(of(*hits()))):
            wide, high = map(float, drawing.get("viewBox").split()[2:])
            for element in drawing.iter():
                for key, limit in (("x", wide), ("x1", wide), ("x2", wide), ("cx", wide),
                                   ("y", high), ("y1", high), ("y2", high), ("cy", high)):
                    if element.get(key) is not None:
                        self.assertTrue(0 <= float(element.get(key)) <= limit, element.attrib)

    def test_nothing_to_draw_is_said(self):
        for drawing in (report_svg.lines([], "t", "x", "y"), report_svg.bars([], "t", "ns")):
            self.assertIn("nothing was measured", drawing)


class PageTest(unittest.TestCase):

    def test_page_is_well_formed_and_needs_nothing_from_elsewhere(self):
        page = render(of(*hits(), notes=["a note"]))
        parser = read(page)

        self.assertEqual((parser.errors, parser.open), ([], []))
        self.assertGreaterEqual(len(drawings(page)), 2)
        tags = {tag for tag, _ in parser.tags}
        self.assertFalse(tags & {"script", "link", "img", "iframe", "object"})
        for _, attributes in parser.tags:
            self.assertFalse({"src", "onclick", "onload"} & set(attributes))
            self.assertTrue(attributes.get("href", "#").startswith("#"))
        self.assertNotIn("url(", page)
        self.assertNotIn("@import", page)
        self.assertIn(("meta", {"name": "viewport",
                                "content": "width=device-width, initial-scale=1"}), parser.tags)
        self.assertIn("@media print", page)

    def test_links_lead_somewhere(self):
        parser = read(render(of(*hits())))
        ids = {attributes["id"] for _, attributes in parser.tags if "id" in attributes}

        for tag, attributes in parser.tags:
            if tag == "a":
                self.assertIn(attributes["href"][1:], ids)

    def test_hostile_text_is_shown_and_not_obeyed(self):
        hostile = {**case(HOSTILE, HOSTILE, 5, group=HOSTILE, unit=HOSTILE, flows=HOSTILE),
                   "title": HOSTILE, "roof_id": HOSTILE}
        trace = {"id": HOSTILE, "title": HOSTILE, "contestant": HOSTILE, "xlabel": HOSTILE,
                 "ylabel": HOSTILE, "x": [1, 2], "y": [3, 4]}
        page = render(of(hostile, series=[trace], notes=[HOSTILE], machine={HOSTILE: HOSTILE},
                         name=HOSTILE),
                      Program(HOSTILE, report_results.FAILED, 1, HOSTILE, {"cases": [HOSTILE]}))
        parser = read(page)

        self.assertEqual(parser.errors, [])
        self.assertFalse({"script", "img"} & {tag for tag, _ in parser.tags})
        self.assertGreater("".join(parser.text).count(HOSTILE), 6)
        self.assertEqual(len(drawings(page)), 2)

    def test_times_a_packet_stand_beside_their_rate_and_what_they_are_of_the_roofline(self):
        page = render(of(*hits(), case("memory/x", "sluice", 238.5, group="memory",
                                       unit="bytes/entry")))

        row = page[page.index("<td>sluice net</td>"):]
        self.assertEqual(re.findall(r">([^<>]*)</td>", row[:row.index("</tr>")]),
                         ["sluice net", "36", "34.2 – 37.8", "32.4 – 43.2", "27.8", "0.56", "15"])
        text = "".join(read(page).text)
        self.assertIn("roofline EST3 22.0 ns (45.5 Mpps), Sluice 56.0 ns (17.9 Mpps)", text)
        self.assertIn("Sluice net 56.0 ns (17.9 Mpps, 0.39 of the roofline)", text)
        row = page[page.index("<td>sluice</td>", page.index("in bytes/entry</caption>")):]
        self.assertIn('<td class="n"></td><td class="n"></td>', row[:row.index("</tr>")])

    def test_misses_and_failures_are_said_plainly(self):
        page = render(of(*hits()), Program("broken", report_results.FAILED, 2, "GATE FAILED: x"),
                      Program("late", report_results.LEFT_OUT, 0, "time was up"))
        text = " ".join("".join(read(page).text).split())

        self.assertIn("1 benchmark failed: broken", text)
        self.assertIn("GATE FAILED: x", text)
        self.assertIn("time was up", text)
        self.assertIn("✘ missed", text)
        self.assertRegex(text, r"Of \d+ figures to reach, \d+ meet their aim, \d+ meet what is "
                               r"asked at least, \d+ miss it and \d+ were not measured")

    def test_a_near_miss_does_not_look_as_if_it_met_the_limit(self):
        def shown(ratio, **more):
            return report_page.ratio(report_figures.Figure("k", "label", 0.9, None, ratio=ratio,
                                                           **more))

        self.assertEqual([shown(r) for r in (0.8957, 0.894, 0.9041, 12.34)],
                         ["0.8957", "0.89", "0.90", "12.3"])
        self.assertEqual(shown(0.9049, low_is_good=True), "0.9049")

    def test_a_report_of_nothing_is_a_page_too(self):
        self.assertEqual(read(render()).errors, [])


class RunTest(unittest.TestCase):
    """Programs of every kind of outcome, as small scripts."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def script(self, name, body, **more):
        path = self.folder / f"{name}.py"
        path.write_text("import json, sys, time\n"
                        "out = sys.argv[sys.argv.index('--json') + 1]\n"
                        "def say(**what): open(out, 'w').write(json.dumps(what))\n" + body)
        return {"name": name, "cmd": [sys.executable, str(path)], "timeout": 20, **more}

    def run_all(self, *benchmarks, quick=False):
        with contextlib.redirect_stdout(io.StringIO()):
            return report.run_all(list(benchmarks), self.folder, quick)

    def outcome(self, body, **more):
        program = self.run_all(self.script("program", body, **more))[0]
        return program.state, program.reason

    def test_outcome_of_a_program(self):
        self.assertEqual(self.outcome("say(cases=[])"), (report_results.DONE, ""))
        state, reason = self.outcome("print('first'); sys.exit('the last words')")
        self.assertEqual(state, report_results.FAILED)
        self.assertIn("exit code 1", reason)
        self.assertIn("the last words", reason)
        self.assertEqual(self.outcome("say(failed=['a gate']); sys.exit(1)"),
                         (report_results.FAILED, "a gate"))
        self.assertEqual(self.outcome("say(failed=['a gate'])")[0], report_results.FAILED)
        self.assertEqual(self.outcome("say(skipped='no root'); sys.exit(77)"),
                         (report_results.SKIPPED, "no root"))
        self.assertEqual(self.outcome("pass"), (report_results.FAILED, "it wrote no result"))
        state, reason = self.outcome("open(out, 'w').write('{')")
        self.assertEqual(state, report_results.FAILED)
        self.assertIn("cannot be read", reason)
        state, reason = self.outcome("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)")
        self.assertEqual(state, report_results.FAILED)
        self.assertIn("SIGSEGV", reason)

    def test_one_that_does_not_end_is_ended_with_all_that_it_started(self):
        child = self.folder / "child"
        body = (f"import subprocess\np = subprocess.Popen(['sleep', '60'])\n"
                f"open({str(child)!r}, 'w').write(str(p.pid))\ntime.sleep(60)")

        state, reason = self.outcome(body, timeout=4)

        self.assertEqual(state, report_results.CUT_OFF)
        self.assertIn("within 4 s", reason)
        deadline = time.monotonic() + 10
        while self.alive(int(child.read_text())):
            self.assertLess(time.monotonic(), deadline, "what it started is still there")
            time.sleep(0.05)

    @staticmethod
    def alive(pid):
        """Whether the process runs; one that only waits to be buried does not."""
        try:
            return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
        except OSError:
            return False

    def test_a_program_that_is_not_there_fails(self):
        program = self.run_all({"name": "gone", "cmd": [str(self.folder / "gone")]})[0]

        self.assertEqual(program.state, report_results.FAILED)
        self.assertIn("No such file", program.reason)

    def test_quick_is_asked_for_and_what_is_beyond_its_time_is_left_out(self):
        quick = self.script("quick", "say(cases=[], notes=[str('--quick' in sys.argv)])")
        with mock.patch.object(report, "QUICK_TOTAL", 30):
            programs = self.run_all(quick, quick=True)
        self.assertEqual(programs[0].result["notes"], ["True"])

        with mock.patch.object(report, "QUICK_TOTAL", 1):
            programs = self.run_all(quick, quick=True)
        self.assertEqual(programs[0].state, report_results.LEFT_OUT)

    def test_what_is_cut_off_by_the_end_of_a_quick_run_is_left_out_and_no_failure(self):
        slow = self.script("slow", "time.sleep(60)")
        with mock.patch.object(report, "QUICK_TOTAL", 1), \
                mock.patch.object(report, "WORTH_STARTING", 0.1):
            self.assertEqual(self.run_all(slow, quick=True)[0].state, report_results.LEFT_OUT)
        with mock.patch.object(report, "QUICK_EACH", 1):
            self.assertEqual(self.run_all(slow, quick=True)[0].state, report_results.CUT_OFF)

    def test_main_writes_both_files_and_fails_if_a_program_did(self):
        good = self.script("good", f"say(cases={hits()!r}, machine={CACHES!r})")
        bad = self.script("bad", "sys.exit(3)")
        for benchmarks, code in (([good], 0), ([good, bad], 1)):
            out = self.folder / f"report{code}"
            with mock.patch.object(report, "discover", return_value=benchmarks), \
                    mock.patch.object(sys, "argv", ["report.py", "--out", str(out)]), \
                    contextlib.redirect_stdout(io.StringIO()), \
                    contextlib.redirect_stderr(io.StringIO()):
                self.assertEqual(report.main(), code)

            known = json.loads((out / "report.json").read_text())
            by_key = {f["key"]: f for f in known["figures"]}
            self.assertEqual(by_key["kernel/hit"]["verdict"], report_figures.MET)
            self.assertEqual(by_key["kernel/hit"]["explanation"], "")
            self.assertIn("With 65,536 entries", by_key["hit/roof"]["explanation"])
            self.assertEqual([p["state"] for p in known["programs"]],
                             ["done", "failed"][: len(benchmarks)])
            self.assertEqual(read((out / "index.html").read_text()).errors, [])

    def test_page_can_be_made_again_from_report_json(self):
        first, again = self.folder / "first", self.folder / "again"
        report.write([of(*hits())], "Measured on a day.", first)
        with mock.patch.object(sys, "argv", ["report.py", "--out", str(again), "--from",
                                             str(first / "report.json")]), \
                contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(report.main(), 0)

        self.assertEqual((first / "index.html").read_text(), (again / "index.html").read_text())

    def test_an_unknown_name_is_a_usage_error(self):
        with mock.patch.object(report, "discover", return_value=[self.script("a", "")]), \
                mock.patch.object(sys, "argv", ["report.py", "--out", str(self.folder), "--only",
                                                "b"]), \
                contextlib.redirect_stderr(io.StringIO()) as said:
            self.assertEqual(report.main(), 2)
        self.assertIn("no benchmark named b; there are: a", said.getvalue())


if __name__ == "__main__":
    unittest.main()
