"""The witness itself: it finds a secret wherever one is planted."""

import logging
import warnings

import pytest

from mesh_refresh import MeshRefreshError
from tests.leaks.witness import MARK, TOKENS, Witness, planted, watching


@pytest.mark.parametrize("value", [planted("x"), [planted("x")], TOKENS.refresh_token, ValueError(planted("x"))])
def test_it_sees_values(value: object) -> None:
    """A secret in a repr is found."""
    seen = Witness()
    seen.look_at(value)
    assert seen.found


def test_it_sees_chains_and_pickles() -> None:
    """A secret in a suppressed context, or in the state of an error, is found."""
    seen = Witness()
    try:
        try:
            raise ValueError(planted("x"))
        except ValueError:
            raise MeshRefreshError from None
    except MeshRefreshError as error:
        seen.look_at(error)
    assert any("chain" in place for place in seen.found)
    seen = Witness()
    odd = MeshRefreshError()
    odd.note = planted("x")  # type: ignore[attr-defined]
    seen.look_at(odd)
    assert any("pickle" in place for place in seen.found)


def test_it_sees_locals_of_the_package_alone() -> None:
    """Locals of a frame of the package are read, by repr and by rich; those of a user's frame are not."""
    code = "def fail(secret):\n    raise KeyError\n"
    for filename, expected in (("/x/mesh_refresh/odd.py", True), ("/x/app.py", False)):
        space: dict[str, object] = {}
        exec(compile(code, filename, "exec"), space)  # noqa: S102 - a frame with a file name of our choice
        seen = Witness()
        try:
            space["fail"](planted("x"))  # type: ignore[operator]
        except KeyError as error:
            seen.look_at(error)
        assert bool(seen.found) is expected
        assert any("rich" in place for place in seen.found) is expected


async def test_it_sees_logs_and_warnings() -> None:
    """A secret in a log record's arguments or in a warning is found."""
    seen = Witness()
    with watching(seen):
        logging.getLogger("aiohttp.client").debug("%s", planted("x"))
        warnings.warn(planted("x"), stacklevel=1)
    assert {place.split()[0].rstrip(":") for place in seen.found} == {"log", "warning"}


def test_short_secrets_are_searched_as_words() -> None:
    """A code of six digits inside an address or a time is no leak, and by itself it is one."""
    seen = Witness()
    seen.also("424242")
    seen.saw("log", "0x7f424242a0 took 0.424242 seconds")
    assert not seen.found
    seen.saw("log", f"code '424242' {len(MARK)}")
    assert seen.found
