"""A calibration as one self-contained page: no script, no request, light and dark, readable on a phone, on paper, by ear."""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from edgewise.routing.tradeoff import NAMES, Kind, Mark, Tradeoff, shown_ticks

__all__ = ["Sheet", "Story", "to_html"]

_STYLE = """
:root { color-scheme: light dark; --line: #8886; --band: #56b4e955; --curve: #0063a5; --other: #6b6b6b; --chosen: #b84300;
  --oracle: #007a59; --naive: #9c3f79; --ends: #555; --paper: #fff; --bad: #b3261e; }
@media (prefers-color-scheme: dark) { :root { --band: #56b4e944; --curve: #6cc0ff; --other: #a9a9a9; --chosen: #ff9d5c;
  --oracle: #4fd6a9; --naive: #f0a3d0; --ends: #c4c4c4; --paper: #121212; --bad: #ff8a80; } }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 0 auto; padding: 1rem; background: var(--paper); }
h1 { font-size: 1.4rem; line-height: 1.25; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin: 2rem 0 .5rem; }
.promise { font-size: 1.05rem; border-left: 4px solid var(--chosen); padding-left: .8rem; margin: 1rem 0; }
.refused .promise { border-color: var(--bad); }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; overflow-wrap: anywhere; }
.card b { display: block; font-size: 1.3rem; } small, .note { opacity: .85; }
figure { margin: 1.5rem 0 0; display: grid; gap: 1rem 2rem; align-items: start; } figure > * { min-width: 0; }
.plot { width: 100%; height: auto; display: block; }
.plot text { font: 12px system-ui, sans-serif; fill: currentColor; }
@media (min-width: 54rem) { figure { grid-template-columns: 3fr 2fr; } .plot text { font-size: 9px; } }
.axis { stroke: currentColor; opacity: .55; }
.grid { stroke: var(--line); stroke-width: .6; } .band { fill: var(--band); } .base { stroke: currentColor; stroke-dasharray: 2 3; }
.line { fill: none; stroke: var(--other); stroke-width: 1.4; stroke-dasharray: 5 3; }
.line.d1 { stroke-dasharray: 2 3; } .line.d2 { stroke-dasharray: 8 3 2 3; }
.line.first { stroke: var(--curve); stroke-width: 2.2; stroke-dasharray: none; }
.mark { stroke: var(--paper); stroke-width: 1.2; } .chosen { fill: var(--chosen); } .oracle { fill: var(--oracle); }
.naive { fill: var(--naive); } .here, .upstream { fill: var(--ends); }
.key { width: 1.5rem; height: 1.1rem; vertical-align: -.2rem; margin: 0 .4rem 0 -1.9rem; } .keyed { padding-left: 1.9rem; }
.wide { overflow-x: auto; background: linear-gradient(to left, transparent, var(--paper) 2rem) left / 3rem 100% no-repeat local,
  linear-gradient(to right, transparent, var(--paper) 2rem) right / 3rem 100% no-repeat local,
  linear-gradient(to right, var(--line), transparent) left / .6rem 100% no-repeat scroll,
  linear-gradient(to left, var(--line), transparent) right / .6rem 100% no-repeat scroll; }
.wide:focus-visible { outline: 2px solid var(--curve); outline-offset: 2px; }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .95rem; }
caption { text-align: left; font-weight: 600; padding-bottom: .3rem; }
th, td { text-align: left; padding: .3rem .7rem .3rem 0; border-bottom: 1px solid var(--line); vertical-align: top; }
thead th { font-weight: 500; opacity: .85; vertical-align: bottom; } tbody th { font-weight: 500; }
td.n, th.n { text-align: right; white-space: nowrap; } tr.own { font-weight: 650; } tr.own th { font-weight: 700; }
.note { overflow-wrap: anywhere; margin: .3rem 0; }
"""
_WIDTH, _HEIGHT, _LEFT, _RIGHT, _TOP, _BOTTOM = 360, 280, 46, 12, 26, 38
_ORDER: tuple[Kind, ...] = ("here", "upstream", "naive", "oracle", "chosen")  # what is drawn last lies on top
_SHAPES: dict[Kind, str] = {
    "chosen": "M0,-9 2.4,-2.9 8.6,-2.8 3.8,1.1 5.3,7.3 0,3.8 -5.3,7.3 -3.8,1.1 -8.6,-2.8 -2.4,-2.9Z",
    "oracle": "M-5.5,0a5.5,5.5 0 1 0 11,0a5.5,5.5 0 1 0 -11,0Z",
    "naive": "M0,-2.2 3.6,-5.8 5.8,-3.6 2.2,0 5.8,3.6 3.6,5.8 0,2.2 -3.6,5.8 -5.8,3.6 -2.2,0 -5.8,-3.6 -3.6,-5.8Z",
    "here": "M-4.5,-4.5h9v9h-9Z",
    "upstream": "M0,-6 6,0 0,6 -6,0Z",
}
_BELOW = "M-5.5,-4.5h11L0,5Z"


@dataclass(frozen=True, slots=True)
class Sheet:
    """A table. numbers: the columns that hold numbers, counted from 0. own: the row that is set off; -1 for none."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: frozenset[int] = frozenset()
    own: int = -1


@dataclass(frozen=True, slots=True)
class Story:
    """What a page says. promise: the sentence. facts: big number, what it is, more in small. notes: what was measured, on what."""

    title: str
    promise: str
    facts: tuple[tuple[str, str, str], ...]
    tradeoff: Tradeoff | None
    sheets: tuple[Sheet, ...] = ()
    notes: tuple[str, ...] = ()
    refused: bool = False


def to_html(story: Story) -> str:
    """The page."""
    cards = "".join(
        f'<div class="card"><b>{escape(big)}</b>{escape(what)}<br><small>{escape(more)}</small></div>'
        for big, what, more in story.facts
    )
    body = [
        f"<h1>{escape(story.title)}</h1>", f'<p class="promise">{escape(story.promise)}</p>',
        f'<div class="cards">{cards}</div>' if cards else "", _figure(story.tradeoff) if story.tradeoff else "",
        *(f"<section>{_sheet(sheet)}</section>" for sheet in story.sheets),
        "<h2>What was measured</h2>" if story.notes else "", *(f'<p class="note">{escape(note)}</p>' for note in story.notes),
    ]  # fmt: skip
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(story.title)}</title><style>{_STYLE}</style>"
        f"<body{' class=refused' if story.refused else ''}><main>{''.join(body)}</main></body></html>\n"
    )


def _sheet(sheet: Sheet) -> str:
    def line(cells: Sequence[str], own: bool) -> str:
        return f"<tr{' class=own' if own else ''}>" + "".join(
            f'<{"td" if at else "th scope=row"}{" class=n" if at in sheet.numbers else ""}>{escape(cell)}</{"td" if at else "th"}>'
            for at, cell in enumerate(cells)
        ) + "</tr>"  # fmt: skip

    head = "".join(
        f"<th scope=col{' class=n' if at in sheet.numbers else ''}>{escape(cell)}</th>"
        for at, cell in enumerate(sheet.head)
    )
    rows = "".join(line(row, at == sheet.own) for at, row in enumerate(sheet.rows))
    return (
        f"<h2>{escape(sheet.caption)}</h2>"
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(sheet.caption)}"><table>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def _figure(tradeoff: Tradeoff) -> str:
    """The plot, and the same in numbers beside it, which is its legend too."""
    rows = [_row(_key(f'<path class="mark {mark.kind}" d="{_SHAPES[mark.kind]}"/>'), NAMES[mark.kind], mark, tradeoff)
            for mark in sorted(tradeoff.marks, key=lambda mark: -_ORDER.index(mark.kind))]  # fmt: skip
    lines = [
        _key(f'<path class="{_line(at)}" d="M-11,0H11"/>') + f"every threshold of {escape(curve.variant)}"
        for at, curve in enumerate(tradeoff.curves)
    ]
    band = (
        _key('<path class="band" d="M-11,-6h22v12h-22Z"/>')
        + f"the promise: at most {100 * tradeoff.epsilon:g} below upstream"
    )
    keys = "".join(f'<p class="note keyed">{text}</p>' for text in (band, *lines))
    table = (
        f"<table><caption>In numbers</caption><thead><tr><th scope=col>way</th><th scope=col class=n>passed on</th>"
        f"<th scope=col class=n>{escape(tradeoff.metric)}</th><th scope=col class=n>below</th></tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return (
        f"<h2>What asking buys</h2><figure>{_plot(tradeoff)}<figcaption>"
        f'<div class="wide" tabindex="0" role="region" aria-label="the plot in numbers">{table}</div>{keys}</figcaption></figure>'
    )


def _row(key: str, name: str, mark: Mark, tradeoff: Tradeoff) -> str:
    return (
        f"<tr{' class=own' if mark.kind == 'chosen' else ''}><th scope=row class=keyed>{key}{name}</th>"
        f"<td class=n>{100 * mark.offload:.1f} %</td><td class=n>{100 * mark.quality:.2f} %</td>"
        f"<td class=n>{100 * (tradeoff.base - mark.quality):.2f}</td></tr>"
    )


def _key(drawn: str) -> str:
    return f'<svg class="key" viewBox="-12 -10 24 20" aria-hidden="true">{drawn}</svg>'


def _line(at: int) -> str:
    return "line first" if not at else f"line d{(at - 1) % 3}"


def _plot(tradeoff: Tradeoff) -> str:
    low, high = tradeoff.range()
    bottom, right = _HEIGHT - _BOTTOM, _WIDTH - _RIGHT

    def x(offload: float) -> float:
        return _LEFT + offload * (right - _LEFT)

    def y(quality: float) -> float:
        return bottom - (quality - low) / (high - low) * (bottom - _TOP)

    above, under = y(tradeoff.base), y(tradeoff.base - tradeoff.epsilon)
    parts = [f'<rect class="band" x="{_LEFT}" width="{right - _LEFT}" y="{above:.1f}" height="{under - above:.1f}"/>']
    for value in (0, 0.25, 0.5, 0.75, 1):
        parts.append(f'<path class="grid" d="M{x(value):.1f},{_TOP}V{bottom}"/>')
        parts.append(f'<text x="{x(value):.1f}" y="{bottom + 15}" text-anchor="middle">{100 * value:.0f}</text>')
    ticks = shown_ticks(100 * low, 100 * high)
    digits = max((len(f"{tick:.6g}".partition(".")[2]) for tick in ticks), default=0)
    for tick in ticks:
        parts.append(f'<path class="grid" d="M{_LEFT},{y(tick / 100):.1f}H{right}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(tick / 100) + 4:.1f}" text-anchor="end">{tick:.{digits}f}</text>')
    parts += [
        f'<path class="axis" fill="none" d="M{_LEFT},{_TOP}V{bottom}H{right}"/>',
        f'<text x="2" y="12">{escape(tradeoff.metric)}, %</text>',
        f'<text x="{right}" y="{_HEIGHT - 6}" text-anchor="end">passed on upstream, %</text>',
        f'<path class="base" fill="none" d="M{_LEFT},{y(tradeoff.base):.1f}H{right}"/>',
        f'<clipPath id="field"><path d="M{_LEFT},{_TOP - 2}H{right}V{bottom}H{_LEFT}Z"/></clipPath><g clip-path="url(#field)">',
    ]
    for at in reversed(range(len(tradeoff.curves))):
        curve = tradeoff.curves[at]
        way = " ".join(f"{x(o):.1f},{y(q):.1f}" for o, q in zip(curve.offload, curve.quality, strict=True))
        parts.append(f'<polyline class="{_line(at)}" points="{way}"/>')
    parts.append("</g>")
    for mark in sorted(tradeoff.marks, key=lambda mark: _ORDER.index(mark.kind)):
        below = mark.quality < low
        place = f"translate({x(mark.offload):.1f},{(bottom - 6) if below else y(mark.quality):.1f})"
        parts.append(
            f'<path class="mark {mark.kind}" transform="{place}" d="{_BELOW if below else _SHAPES[mark.kind]}"/>'
        )
    told = "; ".join(
        f"{NAMES[mark.kind]}: {100 * mark.offload:.1f} % passed on, {100 * mark.quality:.2f} %"
        for mark in tradeoff.marks
    )
    return (
        f'<svg class="plot" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-labelledby="plot-title plot-told">'
        f'<title id="plot-title">{escape(tradeoff.metric)} by the share that is passed on upstream</title>'
        f'<desc id="plot-told">{escape(told)}</desc>{"".join(parts)}</svg>'
    )
