# SPDX-License-Identifier: BSD-3-Clause
"""Which plots the report has: by group of cases, curves where a number varies, else bars.

Programs name the group of each case; a group that is not listed here is shown all the same, after
the others. Every plot says in a sentence what is to be seen in it, in numbers of this run.
"""

import itertools
import re
import statistics
from dataclasses import dataclass, field

import report_svg as svg
from report_results import natural

# Key of a group: heading, and what the cases are.
GROUPS = {
    "established": ("Established connections", "A packet of a connection that is open: found, its "
                    "window checked, its counters and time-out brought up to date."),
    "insert": ("New connections", "A SYN of a connection not seen before, into a table with room: "
               "each makes an entry."),
    "fill": ("Filling a table", "The first and the last tenth of a table that a flood fills."),
    "full": ("A full table", "A SYN that finds the table full of embryonic entries: the oldest has "
             "to go."),
    "turnover": ("A flood that goes on", "A full table turned over again and again: it must not "
                 "grow slow with time."),
    "snat": ("With translation", "Connections whose source is translated: an entry is found under "
             "two tuples, and a port has to be found."),
    "snat ports": ("Ports that run short", "New connections from one address to one server, most "
                   "or all of whose ports are in use."),
    "load": ("Hits and misses by load", "A mix of packets of open and of new connections, at "
             "several fillings of the table."),
    "churn": ("Whole connections", "From the first packet to the last: connections a second."),
    "peers": ("Other tables", "The same tuples in other hash tables, in the same process."),
    "legit": ("Legitimate clients in a flood", "Handshakes begun while a flood turns the table "
              "over."),
    "workers": ("One worker and two", "The same table shared by two threads."),
    "latency": ("The slowest bursts", "Single bursts of 32 packets, each timed: the median, the "
                "slowest of a hundred, of a thousand, of all. What plain arithmetic of that length "
                "suffers is the machine's doing."),
    "collisions": ("Under attack", "Tuples chosen to meet in one bucket, by one who knows the key "
                   "of the hash and by one who does not."),
    "burst": ("By burst", "The same packets in bursts of 1 to 64: in a burst, memory waits "
              "overlap."),
    "family": ("IPv4 and IPv6", "The same work on both."),
    "tracking": ("Windows and counters", "What window tracking and accounting add to a packet."),
    "sweep": ("The sweep for expired entries", "Hits while it runs, as it always does, and "
              "without."),
    "limits": ("Limits and exceptions", "New connections where sources have limits, a prefix has "
               "room of its own, time-outs shrink, or entries have a minimum of life; nobody is "
               "refused."),
    "pages": ("Pages", "The same table on pages of several sizes."),
    "ablation": ("What each device is worth", "The same work with one part of the design left out "
                 "or changed."),
    "roofline": ("What memory allows", "The accesses of each case without a table: no program that "
                 "touches these lines can be faster on this core."),
    "memory": ("Memory", "Random cache lines of this machine, one after the other and independent; "
               "and what an entry takes of it."),
    "io-lost": ("Connections lost", "Open connections that a flood threw out of the table."),
    "io": ("End to end", "The whole dataplane: receive, parse, track, forward, send, over drivers "
           "that need no network card."),
    "dump": ("Listings beside a worker", "sluicectl -L of the whole table, on control's CPU, while "
             "a worker forwards packets of all of its connections at full load."),
}
# Groups whose cases are the points of the curves that stand beside them.
AS_CURVES = {"legit", "turnover", "fill"}
# What a curve may run over, best first, and how it is called.
AXES = {"flows": "connections", "entries": "entries", "table": "entries of the table",
        "max": "entries of the table", "burst": "packets in a burst", "batch": "packets in a burst",
        "load_percent": "per cent of the table in use"}
LOGARITHMIC = {"flows", "entries", "table", "max", "burst", "batch"}
# Contestants that are in the tables of numbers only.
HIDDEN = re.compile(r"making|filling|fill only|whole path|overhead", re.I)
# Parameters that tell nothing about the case.
UNTOLD = {"buckets", "pages", "burst", "assured", "lines_in_flight", "bytes", "overflow"}
MOST_PLOTS = 6  # of one group by facets; more become one plot of bars


@dataclass
class Plot:
    title: str
    see: str
    svg: str


@dataclass
class Section:
    key: str
    title: str
    about: str
    plots: list = field(default_factory=list)
    rows: list = field(default_factory=list)


def style_of(name, taken):
    """Sluice, the roofline and the peers keep their sign in all plots, as far as they are alone."""
    wanted = [("roof", svg.ROOF_STYLE), ("sluice", 0), ("linux", 1), ("rte_hash", 2), ("tbb", 3),
              ("unordered", 4)]
    for word, style in wanted:
        if word in name.lower() and style not in taken:
            return style
    free = [s for s in (5, 4, 3, 2, 1, svg.ROOF_STYLE) if s not in taken]
    return free[0] if free else len(taken) % svg.STYLES


def rank(name):
    """Sluice first, then its roofline, then the others."""
    return 0 if name.startswith("sluice") else 1 if "roof" in name.lower() else 2


def styles(names):
    found = {}
    for name in names:
        found[name] = style_of(name, set(found.values()))
    return found


def shown(rows):
    """Without what only belongs into the table: the making of packets, and what includes it."""
    net = {(r.id, r.contestant.removesuffix(" net")) for r in rows if r.contestant.endswith(" net")}
    return [r for r in rows if not HIDDEN.search(r.contestant)
            and (r.id, r.contestant) not in net]


def numeric(value):
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def axis_of(rows):
    """The parameter that a curve can run over: one that takes three values or more; or None."""
    for name in AXES:
        values = {r.params[name] for r in rows if numeric(r.params.get(name))}
        if len(values) >= 3:
            return name
    return None


def pattern(row, axis):
    """The case's id with the axis's value left out: the same for all points of one curve."""
    value = row.params[axis]
    return re.sub(rf"(?<![\w.]){re.escape(str(value))}(?![\w.])", "*", row.id)


def say_pattern(name):
    """What of a pattern is not the group's own name: hit/*/uniform is 'uniform'."""
    return ", ".join(part for part in name.split("/")[1:] if part != "*")


def agrees(row, others, axis):
    """Whether a row of another id may stand beside `others`: what both have does not differ."""
    return all(str(row.params[k]) in {str(o.params[k]) for o in others if k in o.params}
               for k in row.params
               if k != axis and k not in UNTOLD and any(k in o.params for o in others))


def value_with_unit(value, unit):
    """As it stands in a sentence; of "success, %" only the sign is the unit."""
    return f"{svg.number(value)} {unit.removesuffix('/packet').split(', ')[-1]}"


def higher_is_better(unit):
    return bool(re.search(r"/s$|a second|pps|%|per cent", unit))


def better(unit):
    """Which way is good, where a unit says so."""
    if higher_is_better(unit):
        return "Higher is better. "
    return "Lower is better. " if re.match("ns|bytes|entries$", unit) else ""


def see_curves(curves, unit):
    """From where to where each curve goes: what the eye should look for."""
    moving, fixed, long = [], [], False
    for c in curves:
        if len(c.y) == 1:
            fixed.append(f"{c.name} {value_with_unit(c.y[0], unit)}")
            continue
        first, last = c.y[0], c.y[-1]
        if len(c.y) > svg.MARKED:  # single points of a long series are noise
            tenth = len(c.y) // 10
            first, last = statistics.median(c.y[:tenth]), statistics.median(c.y[-tenth:])
            long = True
        moving.append(f"{c.name} {svg.number(first)} to {value_with_unit(last, unit)}")
    where = "From the first tenth to the last" if long else "From left to right"
    said = ([f"{where}: {moving[0]}", *moving[1:3]] if moving else []) + fixed[:2]
    return f"{better(unit)}{'; '.join(said)}."


def see_bars(rows):
    """From where to where each contestant lies over the cases: Sluice, its roofline, others."""
    unit = rows[0].unit
    said = []
    for name in dict.fromkeys(r.contestant for r in sorted(rows, key=lambda r: rank(r.contestant))):
        values = sorted(r.median for r in rows if r.contestant == name)
        ends = value_with_unit(values[-1], unit)
        if values[0] != values[-1]:
            ends = f"{svg.number(values[0])} to {ends}"
        said.append(f"{name} {ends}")
    cases = len({r.id for r in rows})
    over = f"Over {cases} cases: " if cases > 1 else "Here: "
    rest = f"; and {len(said) - 4} more" if len(said) > 4 else ""
    return f"{better(unit)}{over}{'; '.join(said[:4])}{rest}."


def curve_plots(title, rows, axis):
    """A plot for each so many contestants as can be told apart."""
    unit = rows[0].unit
    order = sorted({r.contestant for r in rows}, key=lambda n: (rank(n), natural(n)))
    parts = [order[i:i + svg.STYLES] for i in range(0, len(order), svg.STYLES)]
    out = []
    for number, names in enumerate(parts, 1):
        style = styles(names)
        curves = []
        for name in names:
            points = sorted((r for r in rows if r.contestant == name), key=lambda r: r.params[axis])
            curves.append(svg.Curve(name, [r.params[axis] for r in points],
                                    [r.median for r in points], style[name],
                                    [r.q1 for r in points], [r.q3 for r in points]))
        values = [v for c in curves for v in c.y]
        wide = min(values) > 0 and max(values) / min(values) > 30
        words = title if len(parts) == 1 else f"{title} ({number} of {len(parts)})"
        out.append(Plot(words, see_curves(curves, unit), svg.lines(
            curves, words, AXES[axis], unit, log_x=axis in LOGARITHMIC, log_y=wide,
            counts=axis in LOGARITHMIC)))
    return out


def bar_plot(title, rows):
    style = styles(dict.fromkeys(r.contestant for r in rows))
    blocks = []
    for _, block in itertools.groupby(rows, key=lambda r: r.id):
        block = list(block)
        blocks.append((block[0].title, [svg.Bar(r.contestant, r.median, r.q1, r.q3,
                                                style[r.contestant]) for r in block]))
    values = [r.median for r in rows if r.median > 0]
    wide = len(values) == len(rows) and max(values) / min(values) > 40
    return Plot(title, see_bars(rows), svg.bars(blocks, title, rows[0].unit, log=wide))


def curves_of(title, rows, axis):
    """(Plots, rows that are in them): one for each kind of case that has three points or more."""
    with_axis = [r for r in rows if numeric(r.params.get(axis))]
    kinds = {}
    for r in with_axis:
        kinds.setdefault(pattern(r, axis), []).append(r)
    own = {name: rs for name, rs in kinds.items()
           if len({r.params[axis] for r in rs if r.contestant.startswith("sluice")}) >= 3}
    if not own:
        own = {name: rs for name, rs in kinds.items() if len({r.params[axis] for r in rs}) >= 3}
    if len(own) > MOST_PLOTS:
        return [], []
    plots, drawn = [], []
    for name, here in own.items():
        guests = [r for r in with_axis if pattern(r, axis) not in own and agrees(r, here, axis)
                  and r.contestant not in {h.contestant for h in here}]
        words = say_pattern(name)
        plots += curve_plots(f"{title}: {words}" if words else title, here + guests, axis)
        drawn += here + guests
    return plots, drawn


def plots_of(title, rows):
    """The plots of one group: curves where the cases lie along an axis, bars for the rest."""
    out = []
    for unit in dict.fromkeys(r.unit for r in rows):
        of_unit = sorted((r for r in shown(rows) if r.unit == unit),
                         key=lambda r: (natural(r.id), rank(r.contestant)))
        axis = axis_of(of_unit)
        plots, drawn = curves_of(title, of_unit, axis) if axis else ([], [])
        out += plots
        rest = [r for r in of_unit if r not in drawn]
        if rest:
            out.append(bar_plot(title if not out else f"{title}: other cases", rest))
    return out


def trace_plots(traces):
    """Curves that a program recorded, those with the same axes and title in one plot."""
    out = []
    key = lambda t: (t.title, t.xlabel, t.ylabel)  # noqa: E731
    for (title, xlabel, ylabel), same in itertools.groupby(sorted(traces, key=key), key=key):
        same = list(same)
        style = styles(dict.fromkeys(t.contestant for t in same))
        curves = [svg.Curve(t.contestant, t.x, t.y, style[t.contestant]) for t in same]
        drawing = svg.lines(curves, title, xlabel, ylabel)
        out.append(Plot(title, see_curves(curves, ylabel), drawing))
    return out


def sections(results):
    """The sections of the report that have anything to show."""
    groups = {key: Section(key, title, about) for key, (title, about) in GROUPS.items()}
    group_of_id = {}
    for row in results.rows:
        key = row.group or "other"
        if key not in groups:
            groups[key] = Section(key, key.replace("-", " ").replace("_", " ").capitalize(), "")
        groups[key].rows.append(row)
        group_of_id[row.id] = key
    traces = {}
    for trace in results.traces:
        owners = [i for i in group_of_id if trace.id == i or trace.id.startswith(i + "/")]
        key = group_of_id[max(owners, key=len)] if owners else trace.id.split("/")[0] or "other"
        if key not in groups:
            groups[key] = Section(key, key.capitalize(), "")
        traces.setdefault(key, []).append(trace)
    for key, section in groups.items():
        section.rows.sort(key=lambda r: natural(r.id))
        curves = trace_plots(traces.get(key, []))
        bars = [] if curves and key in AS_CURVES else plots_of(section.title, section.rows)
        section.plots = bars + curves
    return [s for s in groups.values() if s.plots or s.rows]
