"""The guarantee: how often a promise is broken and what it costs, thresholds that are borrowed, inputs that change."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from benchmarks.page import FOLDER, table, write_page
from benchmarks.routing_better import better
from benchmarks.routing_borrowed import borrowed
from benchmarks.routing_draws import DELTA, DRAWS, EPSILONS, Outcome, losses, outcomes
from benchmarks.routing_models import MAIN, NEAR, pool, read_pool
from benchmarks.routing_picture import draw
from benchmarks.routing_pool import Pool, set_apart
from benchmarks.routing_rules import FIXED, RULES
from benchmarks.routing_shift import AFTER, CALM, EPSILON, PATIENCE, RUNS, Run, by_group, runs
from edgewise.routing.scores import max_probability

_POINTS = [f"{epsilon * 100:g}" for epsilon in EPSILONS]
_BAR = dict(zip(EPSILONS, (1.40, 1.30, 1.30), strict=True))  # offload over the oracle's
_MUCH = 1.5  # times epsilon: what is barely above takes long to be told from what is not
_DRAWN = EPSILONS.index(0.01)  # in the picture
_MORE = (2, 4, 8, 16)  # times the samples, where the bar is missed
Rows = list[Sequence[object]]


def run() -> str:
    pools = [pool(name) for name in MAIN]
    rows, notes = _promises(pools)
    parts = [
        _section("Who answers", *_pairs(pools)),
        _section("A threshold fitted for the floats, on what was compressed", *_borrowed(pools)),
        _section("A router that is better than upstream", *_better(pools)),
        _section("Streams that change", *_shifted(pools)),
    ]
    headers = ("task", "promise", "rule", *(f"ε {points}" for points in _POINTS))
    how = f"""A cell: how often the promise was broken in {DRAWS:,} draws (p: of so many breaks or more, if each draw broke with a
        chance of {DELTA:.0%}), the mean share passed on, and that as a multiple of what the oracle threshold of the same score
        passes on. ε is in points. *agreement*: of all inputs, at most ε are kept and answered otherwise than upstream would; no
        labels are needed. *accuracy*: at most ε of accuracy is lost against upstream, by labelled samples. Each promise's first
        rule is ours; *fixed 0.9* is of the largest probability as the model says it. The population is the pool: every held-out
        sample of a task, so that what a threshold loses is counted and not estimated. Calibration samples are drawn from it
        independently: 3,000, or half as many as there are where those are below 5,000. The score and its temperature were chosen on
        other samples, that nothing else looks at. The edge networks, the noise, and how long a stream is waited for were settled
        with such figures in sight. Over the samples that were not drawn, a threshold that keeps its promise is above ε now and then
        by the chance of those samples. {notes}
        The picture is of agreement at ε 1; dotted is one point below upstream.
        ![accuracy against what is passed on](routing.png)"""
    return write_page("routing", headers, rows, _prose(how), "".join(parts))


def _prose(text: str) -> str:
    return " ".join(text.split())


def _section(title: str, headers: Sequence[str], rows: Rows, how: str) -> str:
    return f"\n## {title}\n\n{table(headers, rows)}\n\n{_prose(how)}\n"


def _pairs(pools: Sequence[Pool]) -> tuple[Sequence[str], Rows, str]:
    rows: Rows = []
    for each in pools:
        name, temperature = each.rules[each.deployed]
        rows.append((
            each.name, each.about, f"{len(each):,}, {each.samples:,}",
            f"{each.deployed}: {each.bytes[each.deployed]:,}, {each.right().mean():.4f}",
            f"{each.bytes['upstream']:,}, {each.upstream_right.mean():.4f}", f"{each.disagree().mean():.4f}",
            f"{name} at {temperature:.2f}",
        ))  # fmt: skip
    how = "No model was trained on the pool. Sizes are those of files; where upstream is several networks, of all together."
    headers = (
        "task",
        "held out",
        "pool, calibration samples",
        "edge: bytes, accuracy",
        "upstream: bytes, accuracy",
        "disagree",
        "score",
    )
    return headers, rows, how


def _promises(pools: Sequence[Pool]) -> tuple[Rows, str]:
    rows: Rows = []
    notes, points = list[str](), dict[str, dict[str, float]]()
    for each in pools:
        loss = losses(each.disagree(), each.right(), each.upstream_right)
        for promised, rules in RULES.items():
            found = outcomes(each.score(), loss[promised], rules, each.samples)
            found |= outcomes(max_probability(each.edge[each.deployed]), loss[promised], FIXED, each.samples)
            for name, cells in found.items():
                shown = f"**{name}**" if name == next(iter(rules)) else name
                rows.append((each.name, promised, shown, *(_cell(cell) for cell in cells)))
            ours = next(iter(rules))
            beyond = ", ".join(f"{cell.beyond / cell.draws:.1%}" for cell in found[ours])
            notes.append(f"{each.name}, {promised}: above ε on what was not drawn in {beyond} of draws.")
            notes += [
                _wanted(each, promised, one, loss[promised]) for one in found[ours] if one.ratio > _BAR[one.epsilon]
            ]
            notes += _split_by_copies(each, promised, loss[promised])
            if promised == "agreement":
                cells = {shown: found[name][_DRAWN] for shown, name in (("ours", ours), ("naive", "naive"))}
                points[each.name] = {
                    "oracle": cells["ours"].oracle, **{shown: cell.offload for shown, cell in cells.items()}
                }  # fmt: skip
    draw(pools, points, EPSILONS[_DRAWN], FOLDER / "routing.png")
    return rows, " ".join(notes)


def _split_by_copies(each: Pool, promised: str, loss: np.ndarray) -> list[str]:
    if len(np.unique(each.copies)) == len(each):
        return []
    ours = dict([next(iter(RULES[promised].items()))])
    cells = next(iter(outcomes(each.score(), loss, ours, each.samples, copies=each.copies).values()))
    pool = ", ".join(f"{cell.broken / cell.draws:.1%}" for cell in cells)
    others = ", ".join(f"{cell.beyond / cell.draws:.1%}" for cell in cells)
    text = f"""{each.name}, {promised}, calibrated on copies of one half of the images, which are not independent: broken over
        the pool in {pool} of draws, above ε on copies of the other half in {others}."""
    return [_prose(text)]


def _wanted(each: Pool, promised: str, cell: Outcome, loss: np.ndarray) -> str:
    """At which number of calibration samples a ratio would be within the bar, and what the CLT's approximation reaches."""
    ours = dict([next(iter(RULES[promised].items()))])
    limit = outcomes(each.score(), loss, {"CLT": RULES[promised]["CLT"]}, each.samples, 200)["CLT"]
    at = EPSILONS.index(cell.epsilon)
    text = (
        f"{each.name}, {promised}, ε {cell.epsilon * 100:g}: {cell.ratio:.2f} is above {_BAR[cell.epsilon]:.2f} (the CLT's "
        f"approximation: {limit[at].ratio:.2f});"
    )
    for times in _MORE:
        more = outcomes(each.score(), loss, ours, times * each.samples, 100)[next(iter(ours))][at]
        if more.ratio <= _BAR[cell.epsilon]:
            return f"{text} with {times * each.samples:,} samples it is {more.ratio:.2f}."
    return f"{text} with {_MORE[-1] * each.samples:,} samples it is still {more.ratio:.2f}."


def _cell(cell: Outcome) -> str:
    return f"{cell.broken / cell.draws:.1%} (p {cell.p_value:.2g}), {cell.offload:.1%}, {cell.ratio:.2f}"


def _borrowed(pools: Sequence[Pool]) -> tuple[Sequence[str], Rows, str]:
    rows: Rows = []
    for each in pools:
        for form in ("int8", "int4"):
            for one in borrowed(each, form, each.samples):
                rows.append((
                    each.name, form, f"{each.right('fp32').mean():.4f}, {each.right(form).mean():.4f}", f"{one.epsilon * 100:g}",
                    f"{one.broken:.1%}, {one.offload:.1%}", f"{one.own_broken:.1%}, {one.own_offload:.1%}", f"{one.oracle:.1%}",
                ))  # fmt: skip
    headers = (
        "task",
        "form",
        "accuracy of fp32, of it",
        "ε",
        "fp32's threshold: broken, passed on",
        "its own",
        "oracle",
    )
    how = f"""The promise of agreement, {DRAWS:,} draws: score, temperature and threshold of the edge model in floats used for what
        was made of it, beside those fitted for that, on the same draws."""
    return headers, rows, how


def _better(pools: Sequence[Pool]) -> tuple[Sequence[str], Rows, str]:
    rows: Rows = []
    near = " ".join(f"{name}: {about}." for name, about in NEAR.items())
    for each in [*pools, *(set_apart(read_pool(name)) for name in NEAR)]:
        one = better(each)
        rows.append((
            each.name, f"{each.right().mean():.4f}", f"{one.upstream:.4f}", f"{one.router:.4f}", f"{one.kept:.1%}",
            f"{one.gain * 100:+.2f}", f"{one.better:.1%}",
            f"{one.first * 100:+.2f} ({one.low * 100:+.2f} to {one.high * 100:+.2f}, p {one.p_value:.2g})",
            f"{one.plain * 100:+.2f}",
        ))  # fmt: skip
    headers = (
        "task", "edge alone", "upstream alone", "router", "answered at the edge", "gain, points", "draws with a gain",
        "first draw (95 %, McNemar)", "without the edge's scores",
    )  # fmt: skip
    how = f"""Means over {DRAWS:,} draws of one half of the pool to choose by and the other to judge by (copies of one image on one
        side). What the edge is sure of it answers, at least 60 % of all; for the rest the answer is the largest sum of upstream's
        log-probabilities and w times the edge's. Threshold and w are chosen by accuracy on the first half alone. The gain is over
        upstream alone on the same samples; the interval is a paired bootstrap. Draws share samples, so that their number says
        nothing of certainty. {near} The pairs below the first four were looked at because those showed no gain. The search of
        `edgewise compress` judged its candidates on these held-out parts, too. Where the edge alone is as good as the router, the
        gain is the edge's. The gain of characters and words is the router's: the two err on other samples, and the edge alone is
        less good than upstream. Pair and settings were chosen, of five, on a fifth of the training part (gain there: +1.01), by
        models that learnt from the rest of it; the pool was looked at once, for this row. It is a gain over that upstream, which is
        not the best there is: a network that sees characters and words together, as in the other rows of assistant_clinc150, is
        better than this router, compressed and alone. Over such a one neither of the two gained anything on that fifth."""
    return headers, rows, _prose(how)


def _shifted(pools: Sequence[Pool]) -> tuple[Sequence[str], Rows, str]:
    rows: Rows = []
    for each in pools:
        for what, pairs in _changes(each):
            rows.append((each.name, what, *_ran(runs(pairs, min(each.samples, 3000)))))
    headers = (
        "task", "what comes", "false alarms", "runs whose ε the change breaks",
        "noticed: of those that lose more than 1.5 ε, of those, of all",
        "inputs until then, median and 95 %", "by audit, by drift", "lost without a watch", "lost after the alarm (runs above ε)",
        "passed on after it",
    )  # fmt: skip
    how = f"""{RUNS} runs each: a threshold of the promise of agreement at ε {EPSILON * 100:g} on new calibration samples,
        {CALM:,} inputs as before, then inputs of the other kind: {PATIENCE:,} at most until an alarm, and {AFTER:,} behind it. 2 %
        of what is kept is audited. False alarms: before the change, stated to come in at most 5 % of runs by the audit where the
        threshold keeps its promise, and in at most 1 % by drift. Speakers and scans: each in turn is what comes, and calibration is
        on all others; not everybody new is harder. Lost: share of inputs that were kept and answered otherwise than upstream would,
        where the change breaks ε."""
    return headers, rows, how


def _changes(each: Pool) -> Iterator[tuple[str, list[tuple[Pool, Pool]]]]:
    if len(np.unique(each.group)) <= 20:
        yield "each speaker in turn" if each.name == "speech_digits" else "each scan in turn", by_group(each)
        return
    name = {"digits": "digits, twice the noise", "assistant_clinc150": "assistant_clinc150, queries of no intent"}[
        each.name
    ]
    other = replace(read_pool(name), rules=each.rules)
    yield name.split(", ")[1], [(each, other)]


def _ran(found: Sequence[Run]) -> tuple[str, ...]:
    false = sum(1 for one in found if one.alarm == "drift" or (one.alarm and one.kept))
    worse = [one for one in found if one.unguarded > EPSILON]
    noticed = [one for one in worse if one.delay >= 0]
    much = [one for one in worse if one.unguarded > _MUCH * EPSILON]
    delays = [one.delay for one in noticed] or [0]
    causes = [sum(one.cause == cause for one in noticed) for cause in ("audit", "drift")]
    after = [one.after for one in noticed]
    return (
        f"{false} of {len(found)}", f"{len(worse)}",
        f"{sum(one.delay >= 0 for one in much)} of {len(much)}, {len(noticed)}, {sum(one.delay >= 0 for one in found)}",
        f"{np.median(delays):,.0f}, {np.quantile(delays, 0.95):,.0f}", f"{causes[0]}, {causes[1]}",
        f"{np.mean([one.unguarded for one in worse or found]):.2%}",
        f"{np.mean(after):.2%} ({sum(one > EPSILON for one in after)})" if after else "",
        f"{np.mean([one.passed for one in noticed]):.1%}" if noticed else "",
    )  # fmt: skip
