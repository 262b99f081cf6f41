"""The page and the picture: everything that was tried is there, and nothing comes from elsewhere."""

import re
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image
from tests.compress.search.stand_ins import make_search, settings

from edgewise.compress.search.budget import Budget
from edgewise.compress.search.page import to_html
from edgewise.compress.search.picture import pareto_png
from edgewise.compress.search.result import Found


class Text(HTMLParser):
    """The words of a page, and its elements."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.links: list[str] = []
        self.open: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module", params=[None, 1000], ids=["reached", "not reachable"])
def found(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Found:
    search, journal = make_search(tmp_path_factory.mktemp("search"), settings(budget=Budget(size=request.param)))
    try:
        return search.run()
    finally:
        journal.close()


def test_the_page_is_whole_and_needs_nothing_from_elsewhere(found: Found) -> None:
    page = to_html(found, "digits & more", pareto_png(found), ("<measured> here",))
    text = Text(page)
    words = " ".join(text.words)
    for row in found.rows:
        assert row.name in words
        assert row.failed in words
        assert all(reason in words for reason in row.unmet)
    assert "digits & more" in words
    assert "<measured> here" in words
    assert ("not reachable" in words) == (not found.chosen)
    assert [link.partition(";")[0] for link in text.links] == ["data:image/png"]
    assert "script" not in page
    assert not re.search(r"https?:|url\(|@import", page)
    assert 'name="viewport"' in page


def test_equal_results_give_equal_pictures(found: Found) -> None:
    picture = pareto_png(found)
    assert pareto_png(found) == picture
    assert Image.open(BytesIO(picture)).size == (748, 1008)


def test_a_model_that_nothing_could_be_done_with_still_has_a_picture(tmp_path: Path) -> None:
    how = settings()
    refusing = tuple(chain for chain in how.chains if "refusing" in chain.name)
    search, journal = make_search(tmp_path, settings(chains=refusing))
    found = search.run()
    journal.close()
    assert found.chosen["best"] == "as it came"
    assert pareto_png(found).startswith(b"\x89PNG")
    assert "stays as it came" in to_html(found, "digits", pareto_png(found), ())
