"""A comparison as one self-contained page: no script, no request, readable on a phone and on paper."""

from collections.abc import Iterable, Sequence
from html import escape
from math import inf

from edgewise.compress.explain.comparison import Comparison

__all__ = ["to_html"]

_ROWS = 20  # of a table; the rest is in the JSON
_STYLE = """
:root { color-scheme: light dark; --line: #8884; --one: #0072b2; --two: #d55e00; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.card b { display: block; font-size: 1.3rem; } .card small { opacity: .75; }
.wide { overflow-x: auto; } table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; }
th, td { text-align: left; padding: .25rem .6rem .25rem 0; border-bottom: 1px solid var(--line); }
td { overflow-wrap: anywhere; } td:nth-child(2) { overflow-wrap: normal; }
td.n, th.n { text-align: right; white-space: nowrap; } td.b { width: 30%; min-width: 3rem; }
.bar { height: .6rem; border-radius: .3rem; min-width: 2px; }
.one { background: var(--one); } .two { background: var(--two); } p.note { opacity: .75; }
"""


def to_html(comparison: Comparison, labels: Sequence[str] = ()) -> str:
    """The page. labels: names of the classes."""
    c = comparison
    body = [
        f"<h1>{escape(c.first.name)} and {escape(c.second.name)}</h1>",
        _cards(c), _decisions(c, labels), _layers(c),
        _shares(
            "Where the bytes are", "bytes",
            [[(s.layer, s.operator, s.bytes) for s in side.sizes] for side in (c.first, c.second)], c,
        ),
        _shares(
            "Where the time goes", "µs",
            [[(s.node, s.operator, s.microseconds) for s in side.times] for side in (c.first, c.second)], c,
        ),
    ]  # fmt: skip
    title = f"{escape(c.first.name)} and {escape(c.second.name)}"
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style><body>{''.join(body)}</body></html>\n"
    )


def _cards(c: Comparison) -> str:
    ratio = c.second.latency.p50_ms / c.first.latency.p50_ms if c.first.latency.p50_ms else inf
    cards = [
        (
            f"{c.second.bytes / c.first.bytes:.2f}",
            "of the bytes",
            f"{_bytes(c.first.bytes)} to {_bytes(c.second.bytes)}",
        ),
        (f"{ratio:.2f}", "of the time", f"{_ms(c.first.latency.p50_ms)} to {_ms(c.second.latency.p50_ms)}, p50"),
        (f"{c.difference:.3g}", "largest difference", f"at {c.output}, {c.samples} samples"),
    ]
    if c.decisions is not None:
        flips = len(c.decisions.flips)
        cards.append((f"{flips}", "decisions differ", f"{flips / c.samples:.1%} of {c.samples}"))
        if c.decisions.accuracy is not None:
            one, two = c.decisions.accuracy
            cards.append(
                (f"{100 * (two - one):+.2f}", "points of accuracy", f"{one:.4f} to {two:.4f}, p = {c.decisions.p:.3g}")
            )
    return (
        '<div class="cards">'
        + "".join(
            f'<div class="card"><b>{escape(big)}</b>{escape(what)}<br><small>{escape(more)}</small></div>'
            for big, what, more in cards
        )
        + "</div>"
    )


def _decisions(c: Comparison, labels: Sequence[str]) -> str:
    if c.decisions is None or not c.decisions.flips:
        return ""

    def called(label: int | None) -> str:
        return "?" if label is None else labels[label] if label < len(labels) else str(label)

    rows = [
        (str(flip.row), called(flip.truth), called(flip.first), f"{flip.scores[0]:.3g}",
         called(flip.second), f"{flip.scores[1]:.3g}")
        for flip in c.decisions.flips
    ]  # fmt: skip
    page = "<h2>Decisions that differ</h2>" + _table(
        ("row", "truth", "first", "score", "second", "score"), rows, {0, 3, 5}
    )
    changes = [
        (called(k.label), str(k.samples), f"{k.first / k.samples:.3f}", f"{k.second / k.samples:.3f}", f"{k.p:.3g}")
        for k in c.decisions.classes
    ]
    if changes:
        page += "<h2>Class by class</h2>" + _table(
            ("class", "samples", "first right", "second right", "p"), changes, {1, 2, 3, 4}
        )
    return page


def _layers(c: Comparison) -> str:
    if not c.layers:
        return ""
    rows = [
        (layer.second, layer.operator, "equal" if layer.sqnr == inf else f"{layer.sqnr:.1f}", f"{layer.peak:.2%}")
        for layer in sorted(c.layers, key=lambda layer: layer.sqnr)
    ]
    note = (
        '<p class="note">Signal to noise in decibels, the worst first: some 6 dB for each bit that both agree on.</p>'
    )
    return "<h2>Layer by layer</h2>" + note + _table(("result", "operator", "dB", "error"), rows, {2, 3})


def _shares(title: str, unit: str, sides: Sequence[Sequence[tuple[str, str, float]]], c: Comparison) -> str:
    page = [f"<h2>{title}</h2>"]
    largest = max((share for side in sides for _, _, share in side), default=0) or 1
    for name, shares, colour in ((c.first.name, sides[0], "one"), (c.second.name, sides[1], "two")):
        rows = "".join(
            f'<tr><td>{escape(where)}</td><td>{escape(operator)}</td><td class="n">{share:,.0f}</td>'
            f'<td class="b"><div class="bar {colour}" style="width:{100 * share / largest:.1f}%"></div></td></tr>'
            for where, operator, share in shares[:8]
        )
        head = f'<tr><th>where<th><th class="n">{unit}<th></tr>'
        page.append(f'<p>{escape(name)}</p><div class="wide"><table>{head}{rows}</table></div>')
    return "".join(page)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Iterable[int]) -> str:
    right = set(numbers)

    def line(cells: Sequence[str], tag: str) -> str:
        return "".join(
            f"<{tag}{' class=n' if at in right else ''}>{escape(cell)}</{tag}>" for at, cell in enumerate(cells)
        )

    shown = "".join(f"<tr>{line(row, 'td')}</tr>" for row in rows[:_ROWS])
    more = f'<p class="note">and {len(rows) - _ROWS} more</p>' if len(rows) > _ROWS else ""
    return f'<div class="wide"><table><tr>{line(head, "th")}</tr>{shown}</table></div>{more}'


def _bytes(count: int) -> str:
    return f"{count / 1e3:.1f} KB" if count < 1e6 else f"{count / 1e6:.2f} MB"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds * 1000:.0f} µs" if milliseconds < 1 else f"{milliseconds:.2f} ms"
