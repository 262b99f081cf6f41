"""The page and the picture of a trade-off: everything that is drawn stands in words too, and nothing of it comes from elsewhere."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from edgewise.routing.page import Sheet, Story, to_html
from edgewise.routing.picture import tradeoff_png
from edgewise.routing.tradeoff import NAMES, Curve, Mark, Tradeoff, shown_ticks

CURVE = Curve("int8", (1.0, 0.5, 0.25, 0.0), (0.98, 0.981, 0.975, 0.9))
OTHER = Curve("int4 > compact", (1.0, 0.5, 0.0), (0.98, 0.95, 0.8))
MARKS = (
    Mark("chosen", 0.344, 0.9776), Mark("oracle", 0.256, 0.9732), Mark("naive", 0.225, 0.9702), Mark("here", 0.0, 0.9),
    Mark("upstream", 1.0, 0.98),
)  # fmt: skip
TRADEOFF = Tradeoff("accuracy", 0.98, 0.01, (CURVE, OTHER), MARKS)
STORY = Story(
    "digits:1.0.0: 34.4 % go upstream", "At most 1 point below upstream.", (("34.4 %", "go upstream", "65.6 % stay"),), TRADEOFF,
    (Sheet("Variants", ("variant", "passed on"), (("int8", "34.4 %"), ("int4 > compact", "54.4 %")), frozenset({1}), 0),),
    ("1,500 samples that the promise rests on",),
)  # fmt: skip


class Reader(HTMLParser):
    """Tags with their attributes, and the text of every element."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_every_mark_of_the_plot_stands_in_the_table_and_in_what_a_screen_reader_says() -> None:
    page = to_html(STORY)
    told = re.search(r'<desc id="plot-told">(.*?)</desc>', page)
    table = re.search(r"<figcaption>.*?<table>(.*?)</table>", page)
    assert told is not None
    assert table is not None
    for mark in MARKS:
        assert f"{NAMES[mark.kind]}: {100 * mark.offload:.1f} % passed on, {100 * mark.quality:.2f} %" in told[1]
        assert NAMES[mark.kind] in table[1]
        assert f"{100 * mark.quality:.2f} %" in table[1]
        assert len(re.findall(rf'class="mark {mark.kind}"', page)) == 2  # in the plot, and beside its name


def test_the_page_asks_for_nothing_and_runs_nothing() -> None:
    read = Reader(to_html(STORY))
    assert not read.of("script")
    assert not read.of("link")
    assert not read.of("img")
    assert not [attributes for _, attributes in read.tags if {"src", "href"} & attributes.keys()]
    assert "url(http" not in to_html(STORY)


def test_the_page_works_on_a_phone_in_the_dark_and_by_keyboard() -> None:
    page = to_html(STORY)
    read = Reader(page)
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in read.of("meta")
    assert "prefers-color-scheme: dark" in page
    assert read.of("html") == [{"lang": "en"}]
    wide = [attributes for attributes in read.of("div") if attributes.get("class") == "wide"]
    assert len(wide) == 2
    assert all(
        attributes["tabindex"] == "0" and attributes["role"] == "region" and attributes["aria-label"]
        for attributes in wide
    )
    assert all("scope" in attributes for attributes in read.of("th"))


def test_names_from_outside_stay_text() -> None:
    hostile = '<script>alert("x")</script>'
    curve = Curve(hostile, CURVE.offload, CURVE.quality)
    story = Story(
        hostile, hostile, ((hostile, hostile, hostile),), Tradeoff(hostile, 0.98, 0.01, (curve,), MARKS),
        (Sheet(hostile, (hostile,), ((hostile,),)),), (hostile,),
    )  # fmt: skip
    read = Reader(to_html(story))
    assert not read.of("script")
    assert "".join(read.words).count(hostile) >= 8


def test_what_lies_far_below_is_shown_at_the_edge_and_told_with_its_number() -> None:
    deep = Tradeoff(
        "accuracy",
        0.98,
        0.005,
        (Curve("a", (1.0, 0.0), (0.98, 0.3)),),
        (Mark("here", 0.0, 0.3), Mark("upstream", 1.0, 0.98)),
    )
    low, high = deep.range()
    assert 0.8 < low < 0.86
    assert 0.98 < high < 1.0
    page = to_html(Story("t", "p", (), deep))
    assert "30.00 %" in page
    (place,) = re.findall(r'class="mark here" transform="translate\([\d.]+,([\d.]+)\)"', page)
    assert float(place) < 245  # above the axis, where it is seen


@pytest.mark.parametrize(("low", "high"), [(0, 100), (85.2, 98.9), (97.61, 98.13), (-3, 0.2), (99.9991, 99.99995)])
def test_ticks_are_round_few_and_inside(low: float, high: float) -> None:
    ticks = shown_ticks(low, high)
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    steps = np.diff(ticks)
    assert np.allclose(steps, steps[0])
    assert f"{steps[0]:.3g}".lstrip("0.").rstrip("0").split("e")[0] in ("1", "2", "25", "5", "2.5")


def test_the_picture_is_the_same_bytes_for_the_same_fit_and_stands_names_that_look_like_formulas() -> None:
    pytest.importorskip("matplotlib")
    odd = Tradeoff("accuracy", 0.98, 0.01, (Curve("a$b$", CURVE.offload, CURVE.quality),), MARKS)
    first = tradeoff_png(odd, "it costs $1 or $2")
    assert first.startswith(b"\x89PNG\r\n")
    assert first == tradeoff_png(odd, "it costs $1 or $2")
    assert first != tradeoff_png(TRADEOFF, "it costs $1 or $2")
