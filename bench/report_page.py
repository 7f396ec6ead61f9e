# SPDX-License-Identifier: BSD-3-Clause
"""The report as one HTML page: no script, nothing from elsewhere, for phone, desk and paper."""

import itertools
from html import escape

import report_figures
import report_plots
from report_results import CUT_OFF, DONE, FAILED, LEFT_OUT, SKIPPED, mpps
from report_svg import number

CSS = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1a1a1a; --soft: #595959; --rule: #d9d9d9;
  --good: #00664a; --fair: #005a8d; --bad: #a83f00; --shade: #f5f6f7;
  --c0: #0072b2; --c1: #d55e00; --c2: #009e73; --c3: #e69f00; --c4: #cc79a7; --c5: #56b4e9;
  --c6: #6b6b6b; }
@media (prefers-color-scheme: dark) { :root { --paper: #15181b; --ink: #e9e9e9; --soft: #b0b0b0;
  --rule: #3a4046; --good: #4fd0a5; --fair: #74bdf0; --bad: #ff9a5c; --shade: #1e2226;
  --c0: #4aa8e0; --c1: #ee7733; --c2: #23c197; --c3: #f0b32e; --c4: #dd94bb; --c5: #a4dcff;
  --c6: #a0a0a0; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 68rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.2; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1.05rem; margin: 0 0 .3rem; }
p { margin: .4rem 0; max-width: 46rem; }
.soft { color: var(--soft); }
nav a { margin-right: 1em; white-space: nowrap; }
a { color: var(--fair); }
table { border-collapse: collapse; font-size: .85rem; width: 100%; }
caption { text-align: left; color: var(--soft); padding-bottom: .3rem; }
th, td { text-align: left; vertical-align: top; padding: .28rem .6rem .28rem 0;
  border-bottom: 1px solid var(--rule); overflow-wrap: anywhere; }
th { font-weight: 600; }
.limit { white-space: nowrap; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
.wide { overflow-x: auto; }
.cases { max-width: 56rem; }
.cases td:first-child { min-width: 9rem; padding-left: .8rem; }
.cases tbody th { border-bottom: 0; padding-top: .6rem; }
.cases caption { white-space: nowrap; }
.verdict { font-weight: 600; white-space: nowrap; }
.good { color: var(--good); } .fair { color: var(--fair); } .bad { color: var(--bad); }
figure { margin: 0 0 2rem; break-inside: avoid; }
figcaption { margin-bottom: .4rem; }
.plots { display: grid; gap: 1.5rem 2.5rem; grid-template-columns: minmax(0, 1fr); }
svg { display: block; width: 100%; max-width: 40rem; height: auto; font: 12px system-ui, Arial,
  sans-serif; }
svg text { fill: var(--ink); paint-order: stroke; stroke: var(--paper); stroke-width: 3px; }
svg .heading { font-weight: 600; }
svg .grid { stroke: var(--rule); stroke-width: .8; }
svg .axis { stroke: var(--soft); }
svg .curve { fill: none; stroke: currentColor; stroke-width: 1.9; }
svg .whisker { stroke: var(--ink); stroke-width: 1.1; opacity: .75; }
svg .bar { fill: currentColor; }
svg g circle, svg g rect, svg g path { fill: currentColor; }
svg g .open { fill: var(--paper); stroke: currentColor; stroke-width: 1.7; }
svg .s0 { color: var(--c0); } svg .s1 { color: var(--c1); } svg .s2 { color: var(--c2); }
svg .s3 { color: var(--c3); } svg .s4 { color: var(--c4); } svg .s5 { color: var(--c5); }
svg .s6 { color: var(--c6); }
@media (min-width: 60rem) { .plots { grid-template-columns: repeat(2, minmax(0, 1fr)); } }
@media (max-width: 40rem) {
  table.cards thead { position: absolute; left: -99rem; }
  table.cards tr { display: block; padding: .5rem 0; border-bottom: 1px solid var(--rule); }
  table.cards td { display: flex; gap: 1rem; justify-content: space-between; border: 0;
    padding: .1rem 0; text-align: right; white-space: normal; }
  table.cards td::before { content: attr(data-label); color: var(--soft); text-align: left;
    flex: none; }
  table.cards td:first-child { display: block; text-align: left; font-weight: 600; }
  table.cards td:first-child::before { content: ""; }
}
@media print {
  :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444; --rule: #bbb;
    --good: #00664a; --fair: #005a8d; --bad: #a83f00; --c0: #0072b2; --c1: #d55e00; --c2: #009e73;
    --c3: #e69f00; --c4: #cc79a7; --c5: #56b4e9; --c6: #6b6b6b; }
  body { font-size: 10.5pt; padding: 0; max-width: none; print-color-adjust: exact;
    -webkit-print-color-adjust: exact; }
  nav { display: none; }
  .wide { overflow: visible; }
  .plots { grid-template-columns: repeat(2, minmax(0, 1fr)); gap: 1rem 1.5rem; }
  h2, h3 { break-after: avoid; }
  tr { break-inside: avoid; }
  table { font-size: 8.5pt; }
}
"""

SIGNS = {report_figures.AIM: ("good", "✔ aim met"),
         report_figures.MET: ("fair", "✔ met, below the aim"),
         report_figures.MISSED: ("bad", "✘ missed"),
         report_figures.UNKNOWN: ("soft", "– not measured")}
STATES = {DONE: "good", FAILED: "bad", CUT_OFF: "bad", SKIPPED: "soft", LEFT_OUT: "soft"}


def table(head, rows, cls="", caption="", numeric=()):
    """Rows of already escaped cells; `numeric` columns are set to the right."""
    mark = [' class="n"' if i in numeric else "" for i in range(len(head))]
    out = [f'<div class="wide"><table{f" class={chr(34)}{cls}{chr(34)}" if cls else ""}>']
    if caption:
        out.append(f"<caption>{escape(caption)}</caption>")
    out.append("<thead><tr>" + "".join(f"<th{m}>{escape(h)}</th>" for m, h in zip(mark, head))
               + "</tr></thead><tbody>")
    for row in rows:
        out.append("<tr>" + "".join(
            f'<td{m} data-label="{escape(h, quote=True)}"><span>{cell}</span></td>'
            for m, h, cell in zip(mark, head, row)) + "</tr>")
    return "".join([*out, "</tbody></table></div>"])


def verdict(figure):
    cls, words = SIGNS[figure.verdict]
    if figure.verdict == report_figures.MET and figure.aim is None:
        words = "✔ met"
    return f'<span class="verdict {cls}">{words}</span>'


def limit(figure, value):
    return f'<span class="limit">{figure.limit(value)}</span>'


def ratio(figure):
    if figure.ratio is None:
        return "–"
    if figure.ratio == int(figure.ratio):
        return f"{figure.ratio:.0f}"
    digits = 2 if abs(figure.ratio) < 10 else 1
    # What just misses a limit is not to look as if it met it.
    if figure.verdict == report_figures.MISSED and round(figure.ratio, digits) == figure.at_least:
        digits = 4
    return f"{figure.ratio:.{digits}f}"


def figure_table(figures):
    rows = []
    for f in figures:
        said = escape(f.measured) + (f' <span class="soft">({escape(f.note)})</span>' if f.note
                                     else "")
        why = f.explanation if f.verdict == report_figures.MISSED else ""
        rows.append([escape(f.label), f"{ratio(f)} <span class=\"soft\">{escape(f.unit)}</span>",
                     limit(f, f.at_least), limit(f, f.aim), verdict(f),
                     said + (f"<br>{escape(why)}" if why else "")])
    return table(["figure", "measured", "at least", "aim", "verdict", "made of"], rows, cls="cards")


def headline(figures):
    by = {v: sum(f.verdict == v for f in figures) for v in SIGNS}
    return (f"Of {len(figures)} figures to reach, {by[report_figures.AIM]} meet their aim, "
            f"{by[report_figures.MET]} meet what is asked at least, "
            f"{by[report_figures.MISSED]} miss it and {by[report_figures.UNKNOWN]} were not "
            "measured in this run.")


def plain(value):
    """A machine fact as text."""
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return "; ".join(plain(v) for v in value)
    if isinstance(value, dict):
        return " ".join(plain(v) for v in value.values())
    return str(value)


def cache(value):
    """Caches as the harness lists them, in a line."""
    try:
        return ", ".join(f"L{c['level']} {c['type'].lower()} {c['size']}" for c in value)
    except (TypeError, KeyError, AttributeError):
        return plain(value)


def machine_table(machine):
    rows = []
    for key, value in machine.items():
        if key == "memory_bytes" and isinstance(value, (int, float)):
            key, value = "memory", f"{value / 2**30:.1f} GiB"
        said = cache(value) if key == "caches" else plain(value)
        rows.append([escape(key.replace("_", " ")), escape(said)])
    return table(["", ""], rows)


def program_table(programs):
    rows = [[escape(p.name),
             f'<span class="verdict {STATES.get(p.state, "bad")}">{escape(p.state)}</span>',
             f"{p.seconds:.0f} s" if p.state not in (LEFT_OUT,) else "–", escape(p.reason)]
            for p in programs]
    return table(["program", "outcome", "took", "why"], rows, numeric=(2,))


def case_table(rows):
    """Everything that a plot shows, and what it does not, in numbers: contestants by case."""
    head = ["contestant", "median", "quartiles", "least, most", "Mpps", "of roof", "slices"]
    units = sorted({r.unit for r in rows})
    out = ['<div class="wide"><table class="cases"><caption>Times and rates in '
           f'{escape(", ".join(units))}</caption><thead><tr>'
           + "".join(f'<th class="n">{h}</th>' if i else f"<th>{h}</th>"
                     for i, h in enumerate(head)) + "</tr></thead>"]
    for _, block in itertools.groupby(rows, key=lambda r: (r.program, r.id)):
        block = list(block)
        out.append(f'<tbody><tr><th colspan="{len(head)}" scope="rowgroup">'
                   f'{escape(block[0].title)}</th></tr>')
        for r in block:
            roof = f"{r.roof / r.median:.2f}" if r.roof and r.median > 0 else ""
            unit = f" {escape(r.unit)}" if len(units) > 1 else ""
            rate = f"{mpps(r.median):.3g}" if r.unit == "ns/packet" and r.median > 0 else ""
            cells = [number(r.median) + unit, f"{number(r.q1)} – {number(r.q3)}",
                     f"{number(r.low)} – {number(r.high)}", rate, roof, str(r.slices or "")]
            out.append(f"<tr><td>{escape(r.contestant)}</td>"
                       + "".join(f'<td class="n">{c}</td>' for c in cells) + "</tr>")
        out.append("</tbody>")
    return "".join([*out, "</table></div>"])


def plot(p):
    return (f'<figure><h3>{escape(p.title)}</h3><figcaption>{escape(p.see)}</figcaption>{p.svg}'
            f"</figure>")


def anchor(s):
    """The section's name within the page, of letters that a link may have."""
    return "of-" + "".join(c if c.isascii() and c.isalnum() else "-" for c in s.key)


def section(s):
    plots = "".join(plot(p) for p in s.plots)
    numbers = case_table(s.rows) if s.rows else ""
    return (f'<section id="{anchor(s)}"><h2>{escape(s.title)}</h2>'
            f"{f'<p>{escape(s.about)}</p>' if s.about else ''}"
            f'<div class="plots">{plots}</div>{numbers}</section>')


def page(results, figures, about):
    """The whole page. `about`: when and how it was measured, as text."""
    sections = report_plots.sections(results)
    bad = [p for p in results.programs if p.state in (FAILED, CUT_OFF)]
    alarm = (f'<p class="verdict bad" style="white-space:normal">✘ {len(bad)} benchmark'
             f'{"s" if len(bad) > 1 else ""} failed: {escape(", ".join(p.name for p in bad))}. '
             "What they did not say is missing below.</p>") if bad else ""
    notes = "".join(f"<li><b>{escape(name)}</b>: {escape(note)}</li>"
                    for name, note in results.notes)
    notes += "".join(f"<li>{escape(p)}</li>" for p in results.problems)
    links = " ".join(f'<a href="#{anchor(s)}">{escape(s.title)}</a>'
                    for s in sections)
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Sluice: benchmark report</title>
<style>{CSS}</style>
</head>
<body>
<header>
<h1>Sluice: what a packet costs</h1>
<p class="soft">{escape(about)}</p>
{alarm}
<p>{escape(headline(figures))}</p>
<nav><a href="#figures">Figures to reach</a> <a href="#machine">Machine</a> {links}
<a href="#programs">Programs</a></nav>
</header>
<section id="figures"><h2>Figures to reach</h2>
<p>One worker, bursts of 32, tracker and counters on. Ratios within one run: the machine's speed
cancels out. Sluice's times are without the cost of making the test's packets, as the kernel's are;
against tables of the same process they are with it, as theirs are.</p>
{figure_table(figures)}</section>
<section id="machine"><h2>Machine</h2>{machine_table(results.machine)}</section>
{"".join(section(s) for s in sections)}
<section id="programs"><h2>Programs</h2>{program_table(results.programs)}
{f"<h3>Notes</h3><ul>{notes}</ul>" if notes else ""}</section>
<section id="reading"><h2>How to read this</h2>
<p>Contestants take turns in slices of time, so that whatever else the machine does meets them
alike; a value is the median of its slices, a thin line across it spans the quartiles. “Of roof” is
the time that memory alone takes for the same accesses, by the same core in the same slices, divided by
the contestant's time: 1 is as fast as memory. Mpps are the millions of packets a second that a
median is; of two workers, those of both.</p></section>
</body>
</html>
"""
