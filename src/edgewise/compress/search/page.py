"""The result of a search as one self-contained page: no script, no request, readable on a phone and on paper."""

from base64 import b64encode
from collections.abc import Sequence
from html import escape

from edgewise.compress.search.result import AS_IT_CAME, Found, Row

__all__ = ["to_html"]

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --good: #00805a; --bad: #b3400e; }
@media (prefers-color-scheme: dark) { :root { --good: #35c69a; --bad: #ff8a5c; } }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.4rem; overflow-wrap: anywhere; } h2 { font-size: 1.1rem; margin-top: 2rem; }
.cards { display: grid; grid-template-columns: repeat(auto-fit, minmax(9rem, 1fr)); gap: .75rem; }
.card { border: 1px solid var(--line); border-radius: .5rem; padding: .6rem .8rem; }
.card b { display: block; font-size: 1.3rem; } .card small { opacity: .75; }
img { display: block; width: 100%; max-width: 32rem; height: auto; margin: 1rem auto; border-radius: .5rem; background: #fff; }
.row { border-top: 1px solid var(--line); padding: .6rem 0; } .row h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
.row dl { display: grid; grid-template-columns: repeat(auto-fill, minmax(8.5rem, 1fr)); gap: .25rem .75rem; margin: .3rem 0; }
dt { font-size: .8rem; opacity: .75; } dd { margin: 0; font-variant-numeric: tabular-nums; }
.row p { margin: .2rem 0; overflow-wrap: anywhere; } .good { color: var(--good); } .bad { color: var(--bad); }
p.note, .row small { opacity: .75; overflow-wrap: anywhere; }
"""


def to_html(found: Found, title: str, picture: bytes, conditions: Sequence[str]) -> str:
    """The page. title: of the model. picture: a PNG. conditions: sentences on what was measured, where and on what data."""
    best = found.chosen.get("best")
    image = b64encode(picture).decode()
    said = "not reachable" if best is None else "stays as it came" if best == AS_IT_CAME else "compressed"
    body = [
        f"<h1>{escape(title)}: {said}</h1>",
        _cards(found, found.row(best or found.nearest), reached=best is not None),
        f'<img alt="bytes and time against accuracy of everything tried" src="data:image/png;base64,{image}">',
        "<h2>Looked at by the gate</h2>",
        *(_row(found, row) for row in found.rows if row.finalist),
    ]
    dropped = [row for row in found.rows if not row.finalist]
    if dropped:
        body += ["<h2>Dropped on the way</h2>", *(_row(found, row) for row in dropped)]
    body += ["<h2>What was measured</h2>", *(f'<p class="note">{escape(each)}</p>' for each in conditions)]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><body>{''.join(body)}</body></html>\n"
    )


def _cards(found: Found, row: Row, *, reached: bool) -> str:
    whole, measured = found.original, row.measured
    assert row.timed is not None
    cards = [
        (f"{row.size / whole.size:.2f}", "of the bytes", f"{_bytes(whole.size)} to {_bytes(row.size)}"),
        (
            f"{measured.latency:.2f}",
            "of the time",
            f"{_ms(row.timed.original.p50_ms)} to {_ms(row.timed.latency.p50_ms)}, p50",
        ),
        (f"{0 - measured.verdict.drop:+.2f}", f"points of {measured.verdict.metric.name}", _test(row)),
    ]
    if row.peak is not None and whole.peak is not None:
        cards.append((_bytes(row.peak), "of memory", f"{_bytes(whole.peak)} as it came; the process as a whole"))
    said = "Chosen" if reached else "Nothing does all that was asked for; nearest is"
    return f"<p>{said}: <b>{escape(row.name)}</b></p>" + '<div class="cards">' + "".join(
        f'<div class="card"><b>{escape(big)}</b>{escape(what)}<br><small>{escape(more)}</small></div>' for big, what, more in cards
    ) + "</div>"  # fmt: skip


def _row(found: Found, row: Row) -> str:
    roles = [role for role, name in found.chosen.items() if name == row.name]
    facts: list[tuple[str, str]] = []
    if row.size:
        facts.append(("bytes", f"{_bytes(row.size)} ({row.size / found.original.size:.2f})"))
    if row.timed is not None:
        facts.append(("time", f"{_ms(row.timed.latency.p50_ms)} ({row.timed.ratio:.2f})"))
    if row.peak is not None:
        facts.append(("memory", _bytes(row.peak)))
    if row.compared is not None:
        facts.append((f"{row.compared.name}, comparing", f"{row.compared.value:.4f}"))
    if row.verdict is not None:
        facts.append((f"{row.verdict.metric.name}, held out", f"{row.verdict.metric.value:.4f}"))
        facts.append(("points lost", f"{row.verdict.drop:.2f}, {_test(row)}"))
    listed = "".join(f"<div><dt>{escape(what)}</dt><dd>{escape(value)}</dd></div>" for what, value in facts)
    words = [f'<p class="good">{escape(", ".join(roles))}</p>'] if roles else []
    words += [f'<p class="bad">{escape(reason)}</p>' for reason in (*row.unmet, *([row.failed] if row.failed else []))]
    did = f"<small>{escape('; '.join(row.did))}</small>" if row.did else ""
    return f'<div class="row"><h3>{escape(row.name)}</h3>{"".join(words)}<dl>{listed}</dl>{did}</div>'


def _test(row: Row) -> str:
    verdict = row.verdict
    if verdict is None:
        return ""
    if verdict.p_value is None:
        return "significant" if verdict.significant else "not significant"
    return f"p = {verdict.p_value:.2g}"


def _bytes(count: float) -> str:
    return f"{count / 1e3:.1f} KB" if count < 1e6 else f"{count / 1e6:.2f} MB"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds * 1000:.0f} µs" if milliseconds < 1 else f"{milliseconds:.2f} ms"
