"""The cells of tests/docs/blocks and the pages belong together."""

from pathlib import Path

import pytest

from tests.docs.blocks_beside import cells_of, file_of
from tests.docs.test_public_names import PAGES, ROOT

BLOCKS = sorted((Path(__file__).parent / "blocks").iterdir())

pytestmark = pytest.mark.once


@pytest.mark.parametrize("blocks", BLOCKS, ids=lambda path: path.stem)
def test_every_cell_has_its_example(blocks: Path) -> None:
    """Else it would not be run, and prove nothing."""
    (page,) = [page for page in PAGES if file_of(page) == blocks]
    assert cells_of(page)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_no_page_hides_code(page: Path) -> None:
    """The raw Markdown reads well: what only a test needs is not in it."""
    assert "invisible-code-block" not in page.read_text()
    assert "<!---" not in page.read_text()
