# SPDX-License-Identifier: BSD-3-Clause
"""Plots as inline SVG, written by hand: curves over a number, and values side by side.

A plot is 440 units wide and scales with its box, so that its letters can still be read on a phone.
Colours come from CSS classes (report_page.py), so that dark mode and print have their own; each
contestant has its own marker and dash as well, for eyes and printers that see no colours.
"""

import math
import textwrap
from dataclasses import dataclass, field
from html import escape

WIDTH = 440
FONT = 12
CHAR = 6.9  # the width of an average letter at that size, in a wide font

# Dash patterns by style number; '' is solid. Style 0 is Sluice, the last is the roofline.
DASHES = ["", "6 3", "2 3", "8 3 2 3", "10 4", "4 2 1 2 1 2", "1 3"]
STYLES = len(DASHES)
ROOF_STYLE = STYLES - 1
MARKED = 24  # points of a curve up to which each has its sign and quartiles


@dataclass
class Curve:
    """Values over numbers; `low` and `high` are quartiles, or empty."""

    name: str
    x: list
    y: list
    style: int = 0
    low: list = field(default_factory=list)
    high: list = field(default_factory=list)


@dataclass
class Bar:
    """One value with its quartiles, in a block of such that share a heading."""

    name: str
    value: float
    low: float
    high: float
    style: int = 0


def number(value):
    """A number as short as is exact enough for a label."""
    if value == 0:
        return "0"
    size = abs(value)
    if size >= 1000:
        return f"{value:,.0f}"
    if size >= 100:
        return f"{value:.0f}"
    if size >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.2g}" if size < 0.1 else f"{value:.2f}".rstrip("0").rstrip(".")


def count(value):
    """A count as tick label: 64K, 1M."""
    for unit, name in ((2**20, "M"), (10**6, "M"), (10**3, "k"), (2**10, "K")):
        if value >= unit and value % unit == 0 and value // unit < 1000:
            return f"{value // unit:.0f}{name}"
    for unit, name in ((10**6, "M"), (10**3, "k")):
        if value >= unit:
            return f"{value / unit:.3g}{name}"
    return number(value)


def linear_ticks(low, high, wanted=5):
    """Round numbers from at most `low` to at least `high`."""
    span = (high - low) or abs(high) or 1
    step = 10 ** math.floor(math.log10(span / wanted))
    while span / step > wanted:
        step *= 2 if span / step <= 2 * wanted else 2.5 if span / step <= 2.5 * wanted else 5
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(i * step, 12) for i in range(first, max(last, first + 1) + 1)]


def log_ticks(low, high):
    """From at most `low` to at least `high`: those of 1, 2 and 5, or where they are many, powers of
    ten between the two ends."""
    powers = range(math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 2)
    every = [m * 10.0**e for e in powers for m in (1, 2, 5)]
    first = max(t for t in every if t <= low * (1 + 1e-9))
    last = min(t for t in every if t >= high * (1 - 1e-9) and t > first)
    inner = [t for t in every if first < t < last]
    if last / first > 200:
        inner = [t for t in inner if round(math.log10(t), 6).is_integer()]
    return [first, *inner, last]


class Scale:
    """Maps values to a stretch of the drawing."""

    def __init__(self, ticks, start, end, log):
        self.ticks, self.log = ticks, log
        self.low, self.high = self.of(min(ticks)), self.of(max(ticks))
        self.start, self.end = start, end

    def of(self, value):
        if not self.log:
            return value
        return math.log10(value) if value > 0 else -math.inf

    def __call__(self, value):
        share = (self.of(value) - self.low) / ((self.high - self.low) or 1)
        return self.start + min(max(share, -0.02), 1.02) * (self.end - self.start)


def text(x, y, what, anchor="start", cls="", limit=None):
    shown = what if limit is None or len(what) <= limit else what[: limit - 1] + "…"
    hint = f"<title>{escape(what)}</title>" if shown != what else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"'
            f'{f" class={chr(34)}{cls}{chr(34)}" if cls else ""}>{escape(shown)}{hint}</text>')


def line(x1, y1, x2, y2, cls):
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" class="{cls}"/>'


def marker(style, x, y):
    """A sign of its own for each style: disc, square, triangle, diamond, cross, ring, nothing."""
    shapes = [
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.6"/>',
        f'<rect x="{x - 3.3:.1f}" y="{y - 3.3:.1f}" width="6.6" height="6.6"/>',
        f'<path d="M{x:.1f} {y - 4.4:.1f}l4.2 7.4h-8.4z"/>',
        f'<path d="M{x:.1f} {y - 4.8:.1f}l4.6 4.8l-4.6 4.8l-4.6 -4.8z"/>',
        f'<path class="open" d="M{x - 3.5:.1f} {y - 3.5:.1f}l7 7m0 -7l-7 7"/>',
        f'<circle class="open" cx="{x:.1f}" cy="{y:.1f}" r="3.4"/>',
        "",
    ]
    return shapes[style % STYLES]


def stroke(style):
    dash = DASHES[style % STYLES]
    return f' stroke-dasharray="{dash}"' if dash else ""


def svg(height, title, body):
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" '
            f'role="img" aria-label="{escape(title, quote=True)}"><title>{escape(title)}</title>'
            f'{"".join(body)}</svg>')


def legend(curves, left, right):
    """Signs and names in as many rows as they need; returns the drawing and its height."""
    body, x, y = [], left, 14
    for curve in curves:
        wide = 34 + min(len(curve.name), 40) * CHAR
        if x > left and x + wide > right:
            x, y = left, y + 17
        body.append(f'<g class="s{curve.style % STYLES}">'
                    f'<line x1="{x}" y1="{y - 4}" x2="{x + 22}" y2="{y - 4}" class="curve"'
                    f'{stroke(curve.style)}/>{marker(curve.style, x + 11, y - 4)}</g>'
                    + text(x + 27, y, curve.name, limit=40))
        x += wide
    return body, y + 8


def reduced(x, y, wanted=160):
    """Points of a long series: the median of each of `wanted` stretches."""
    if len(x) <= wanted:
        return list(x), list(y)
    edges = [round(i * len(x) / wanted) for i in range(wanted + 1)]
    pick = [(a, b) for a, b in zip(edges, edges[1:]) if b > a]
    return ([x[(a + b) // 2] for a, b in pick],
            [sorted(y[a:b])[(b - a) // 2] for a, b in pick])


def span(curves):
    """Least and greatest value to be drawn. Of a long series a fiftieth at either end may lie
    outside: one disturbance must not flatten all the rest."""
    low, high = [], []
    for c in curves:
        values = sorted((*c.y, *c.low, *c.high))
        cut = len(values) // 50 if len(c.y) > MARKED else 0
        low.append(values[cut])
        high.append(values[-1 - cut])
    return min(low), max(high)


def lines(curves, title, xlabel, ylabel, log_x=False, log_y=False, counts=False, height=230):
    """Curves over a number. A logarithmic axis becomes linear where a value is not above 0."""
    curves = [c for c in curves if c.x and len(c.x) == len(c.y)]
    if not curves:
        return svg(40, title, [text(8, 24, "nothing was measured")])
    xs = [v for c in curves for v in c.x]
    low, high = span(curves)
    log_x, log_y = log_x and min(xs) > 0 and max(xs) > min(xs), log_y and low > 0
    ticks_y = log_ticks(low, high) if log_y else linear_ticks(min(0, low), max(0, high))
    left = 14 + max(len(number(t)) for t in ticks_y) * CHAR + FONT
    body, top = legend(curves, 8, WIDTH - 8)
    top += 12
    bottom = top + height
    right = WIDTH - 16
    places = sorted(set(xs))
    if log_x:
        ticks_x = places if len(places) <= 8 else log_ticks(places[0], places[-1])
    else:
        ticks_x = places if counts and len(places) <= 8 else linear_ticks(places[0], places[-1])
    x_of = Scale([*ticks_x, *places], left + 8, right - 8, log_x)
    y_of = Scale(ticks_y, bottom, top, log_y)
    for t in ticks_y:
        body += [line(left, y_of(t), right, y_of(t), "grid"),
                 text(left - 6, y_of(t) + 4, number(t), "end")]
    edge = -1e9
    for t in ticks_x:
        label = count(t) if counts or log_x else number(t)
        half = len(label) * CHAR / 2 + 3
        body.append(line(x_of(t), bottom, x_of(t), bottom + 4, "axis"))
        if x_of(t) - half > edge:  # where ticks stand close, not each has its number
            body.append(text(x_of(t), bottom + 17, label, "middle"))
            edge = x_of(t) + half
    body += [line(left, bottom, right, bottom, "axis"),
             text((left + right) / 2, bottom + 36, xlabel, "middle", limit=60),
             f'<g transform="translate(12 {(top + bottom) / 2:.1f}) rotate(-90)">'
             f'{text(0, 0, ylabel, "middle", limit=36)}</g>']
    # Sluice is drawn last, on top of the others.
    for c in sorted(curves, key=lambda c: -c.style):
        x, y = reduced(c.x, c.y)
        points = " ".join(f"{x_of(a):.1f},{y_of(b):.1f}" for a, b in zip(x, y))
        body.append(f'<g class="s{c.style % STYLES}"><polyline class="curve" points="{points}"'
                    f'{stroke(c.style)}/>')
        if len(x) <= MARKED:
            body += [line(x_of(a), y_of(low), x_of(a), y_of(high), "whisker")
                     for a, low, high in zip(c.x, c.low, c.high)]
            body += [marker(c.style, x_of(a), y_of(b)) for a, b in zip(x, y)]
        body.append("</g>")
    return svg(bottom + 46, title, body)


def bars(blocks, title, unit, log=False):
    """Blocks of (heading, [Bar, ...]): bars from zero, or marks on a logarithmic axis."""
    rows = [b for _, block in blocks for b in block]
    if not rows:
        return svg(40, title, [text(8, 24, "nothing was measured")])
    names = min(max(len(r.name) for r in rows), 26)
    left = 10 + names * CHAR
    values = [v for r in rows for v in (r.value, r.low, r.high)]
    log = log and min(values) > 0
    ticks = log_ticks(min(values), max(values)) if log else linear_ticks(min(0, *values),
                                                                           max(0, *values))
    room = 8 + max(len(number(r.value)) for r in rows) * CHAR
    x_of = Scale(ticks, left + 4, WIDTH - 14 - room, log)
    top, y, drawn = 4, 4, []
    for heading, block in blocks:
        for words in textwrap.wrap(heading, 56):
            y += 16
            drawn.append(text(4, y - 4, words, cls="heading"))
        for bar in block:
            y += 18
            middle = y - 8
            drawn += [text(left - 4, y - 4, bar.name, "end", limit=names),
                      f'<g class="s{bar.style % STYLES}">']
            if not log:
                start, end = sorted((x_of(0), x_of(bar.value)))
                drawn.append(f'<rect class="bar" x="{start:.1f}" y="{middle - 5:.1f}" '
                             f'width="{max(end - start, 0.5):.1f}" height="10"/>')
            drawn.append(line(x_of(bar.low), middle, x_of(bar.high), middle, "whisker"))
            if log:
                drawn.append(marker(bar.style, x_of(bar.value), middle)
                             or line(x_of(bar.value), middle - 5, x_of(bar.value), middle + 5,
                                     "curve"))
            drawn += ["</g>", text(max(x_of(bar.high), x_of(bar.value)) + 7, y - 4,
                                   number(bar.value))]
        y += 6
    bottom = y + 2
    grid = []
    edge = -1e9
    for t in ticks:
        grid.append(line(x_of(t), top, x_of(t), bottom, "grid"))
        half = len(number(t)) * CHAR / 2 + 3
        if x_of(t) - half > edge:
            grid.append(text(x_of(t), bottom + 15, number(t), "middle"))
            edge = x_of(t) + half
    grid += [line(x_of.start, bottom, x_of.end, bottom, "axis"),
             text((x_of.start + x_of.end) / 2, bottom + 33, unit, "middle", limit=50)]
    return svg(bottom + 42, title, grid + drawn)
