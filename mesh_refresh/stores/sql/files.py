"""Reads the SQL files beside the code: named statements, and the steps that make a schema."""

from collections.abc import Iterator
from importlib.resources import files

_NAME = "-- name: "


def queries(package: str, file: str) -> dict[str, str]:
    """The statements of `file` in `package`, each under the name in the comment before it.

    Where the name of another one stands in a statement in braces, that one is filled in.
    """
    named = (part.split("\n", 1) for part in files(package).joinpath(file).read_text("utf-8").split(_NAME)[1:])
    found = {name.strip(): "\n".join(_code(text)) for name, text in named}
    for part in list(found):
        text = found[part]
        found = {name: whole.replace("{" + part + "}", text) for name, whole in found.items()}
    return found


def migrations(package: str) -> dict[int, str]:
    """The scripts that make each version of the schema out of the one before, by version."""
    scripts = (path for path in files(package).joinpath("migrations").iterdir() if path.name.endswith(".sql"))
    return dict(sorted((int(path.name.split("_")[0]), path.read_text("utf-8")) for path in scripts))


def _code(text: str) -> Iterator[str]:
    return (line for line in text.splitlines() if line and not line.lstrip().startswith("--"))
