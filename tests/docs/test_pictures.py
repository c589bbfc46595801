"""The pictures of the docs are drawn by the project's own session, and each stands on a page."""

import re
from pathlib import Path

import pytest

from tests.docs.pictures import DOCS, draw_status
from tests.docs.test_public_names import PAGES

pytestmark = pytest.mark.once


def test_the_picture_of_status_is_what_status_prints() -> None:
    """Else it has to be drawn anew: `nox -s pictures`."""
    assert draw_status() == (DOCS / "status.svg").read_text()


@pytest.mark.parametrize("picture", [*DOCS.glob("*.svg"), *DOCS.glob("*.png")], ids=lambda path: path.name)
def test_each_is_small_and_on_a_page(picture: Path) -> None:
    """And an SVG loads nothing from elsewhere."""
    assert picture.stat().st_size < 120_000
    assert any(picture.name in page.read_text() for page in PAGES)
    if picture.suffix == ".svg":
        assert not re.search(r"(?<!xmlns=\")https?://(?!www\.w3\.org|www\.textualize\.io)", picture.read_text())
