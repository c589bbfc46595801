"""The steps from one version of the schema to the next, and the parts that each is done in. Pure.

A step is a file ``migrations/NNNN_name.sql``. Comments in it say how it is run:

- ``-- part: transaction``, and what stands before any such line: in one transaction with the transaction parts beside
  it. Nothing that takes longer the more logins there are: every worker would wait for it.
- ``-- part: batches``: one statement that does a few thousand of the rows that are still to be done. It is run again
  and again, each time in a transaction of its own, until it finds none.
- ``-- part: concurrently``: statements that must not be in a transaction, such as ``CREATE INDEX CONCURRENTLY``.
- ``-- oldest: N``: processes that know the schema up to version N may go on with it, and be started, beside new ones.
  Only the version before counts: so a fleet is rolled over one version at a time. Columns that such a step adds have a
  default or may be NULL, because old processes name the columns that they know.

So a column gets another name in four versions, each with ``-- oldest`` of the one before: add the new column, and write
both; fill it in batches, and read it; make the old one nullable, and name it no more; drop it. With one step and no
``-- oldest``, all old processes have to be stopped.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from attrs import frozen

_PART = re.compile(r"^-- part: (\w+)\s*$", re.MULTILINE)
_OLDEST = re.compile(r"^-- oldest: (\d+)\s*$", re.MULTILINE)
_INDEX = re.compile(
    r"CREATE (?P<unique>UNIQUE )?INDEX CONCURRENTLY (?P<name>\w+) ON (?P<schema>.+?)\.(?P<table>\w+) (?P<what>.*)",
    re.DOTALL,
)


class StepKind(StrEnum):
    """How a part is run."""

    TRANSACTION = "transaction"
    BATCHES = "batches"
    CONCURRENTLY = "concurrently"


@frozen
class Part:
    """Of a step."""

    kind: StepKind
    sql: str

    def statements(self) -> list[str]:
        """Those of a part that is run one by one; a semicolon at the end of a line ends each."""
        found = (text.strip() for text in re.split(r";[ \t]*(?:\n|$)", self.sql))
        return [text for text in found if text]


@frozen
class Step:
    """From the version before to this one."""

    number: int
    oldest: int
    """The oldest version of which processes may use the schema then."""
    parts: tuple[Part, ...]


@frozen
class Index:
    """An index that is made beside the work."""

    name: str
    table: str
    unique: bool
    schema: str
    what: str

    @classmethod
    def of(cls, statement: str) -> "Index | None":
        """None where the statement makes none."""
        found = _INDEX.fullmatch(statement)
        if found is None:
            return None
        return cls(found["name"], found["table"], bool(found["unique"]), found["schema"], found["what"])

    def sql(self, table: str, name: str, *, how: str = "CONCURRENTLY ") -> str:
        """The statement for one of several tables that share the rows; `how` is `` `` for their common one."""
        only = "" if how else "ONLY "
        unique = "UNIQUE " if self.unique else ""
        return f"CREATE {unique}INDEX {how}{name} ON {only}{self.schema}.{table} {self.what}"


def steps(files: Mapping[int, str]) -> list[Step]:
    """All of them, in order."""
    return [_step(number, text) for number, text in sorted(files.items())]


def _step(number: int, text: str) -> Step:
    oldest = _OLDEST.search(text)
    first, *rest = _PART.split(text)
    parts = [Part(StepKind.TRANSACTION, first)] if _is_code(first) else []
    parts += [Part(StepKind(kind), sql) for kind, sql in zip(rest[::2], rest[1::2], strict=True)]
    return Step(number, int(oldest[1]) if oldest else number, tuple(parts))


def _is_code(text: str) -> bool:
    return any(line.strip() and not line.lstrip().startswith("--") for line in text.splitlines())
