"""Mutation testing of the pure parts, on Python 3.12 or later: ``python -m tests.mutants [--every N] [part ...]``.

Each mutant changes one expression of one function, and unit tests must fail. The program ends with 1 where fewer than
95 of 100 mutants do, without those of which `equivalent` tells why no test can. ``--every 20`` is a first look.
``rules/select`` is one file. ``--again FILE``, with what an earlier run printed, tries only what survived it.
"""

import argparse
import sys
from pathlib import Path

import pytest
from attrs import frozen

from tests.mutants.equivalent import reason_for
from tests.mutants.mutations import Module, Mutant
from tests.mutants.plugin import Mutation, Tried

WANTED = 0.95


@frozen
class Part:
    """Modules, and the unit tests that must find their mutants."""

    folder: str
    tests: tuple[str, ...]


PARTS = {
    "codec": Part("mesh_refresh/codec", ("tests/codec", "tests/replies")),
    "replies": Part("mesh_refresh/replies", ("tests/replies", "tests/codec")),
    "limits": Part("mesh_refresh/keeper/limits", ("tests/keeper/limits",)),
    "rules": Part("mesh_refresh/keeper/rules", ("tests/keeper/rules",)),
}


def main() -> None:
    """Try the mutants of the named parts, or of all; print the survivors."""
    parser = argparse.ArgumentParser("python -m tests.mutants", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="only each Nth mutant")
    parser.add_argument("--jobs", type=int, default=1, metavar="N", help="so many processes at once")
    parser.add_argument("--again", type=Path, metavar="FILE", help="only mutants that this names")
    parser.add_argument("--tests", nargs="+", metavar="PATH", help="instead of the part's tests")
    parser.add_argument("part", nargs="*", help=f"only these: {', '.join(PARTS)}, or a file, as rules/select")
    options = parser.parse_args()
    if unknown := [part for part in options.part if not _paths(part)]:
        parser.error(f"there is no {unknown[0]}")
    again = options.again.read_text().splitlines() if options.again else None
    ok = [try_part(part, options, again) for part in options.part or PARTS]
    sys.exit(0 if all(ok) else 1)


def _paths(part: str) -> list[Path]:
    folder, _, module = part.partition("/")
    return sorted(Path(PARTS[folder].folder).rglob(f"{module or '*'}.py")) if folder in PARTS else []


def try_part(part: str, options: argparse.Namespace, again: list[str] | None) -> bool:
    """Whether enough of its mutants are killed."""
    modules = [Module.parsed(str(path), path.read_text()) for path in _paths(part)]
    alive = {line.rpartition(" (")[0].partition(": ")[2] for line in again or ()}
    tried: list[Tried] = []

    def is_chosen(number: int, _: Module, mutant: Mutant) -> bool:
        return number % options.every == 0 and (again is None or str(mutant) in alive)

    def hear(one: Tried) -> None:
        tried.append(one)
        if not one.killed and reason_for(one.module, str(one.mutant)) is None:
            tests = f"{one.tests} tests run it" if one.tests else "no test runs it"
            print(f"{one.module}:{one.mutant.line}: {one.mutant} ({tests})", flush=True)

    quiet = ("-q", "--no-header", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=0")
    plugin = Mutation(modules, options.jobs, hear, is_chosen)
    code = pytest.main([*quiet, *(options.tests or PARTS[part.partition("/")[0]].tests)], plugins=[plugin])
    if code != pytest.ExitCode.OK:
        print(f"{part}: the tests fail without any mutant")
        return False
    for module in modules:
        report(module.path, [one for one in tried if one.module == module.path])
    return report(part, tried) >= WANTED


def report(name: str, tried: list[Tried]) -> float:
    """The share of mutants that are killed. Those that change nothing that a test could see do not count."""
    explained = sum(not one.killed and reason_for(one.module, str(one.mutant)) is not None for one in tried)
    killed, counted = sum(one.killed for one in tried), len(tried) - explained
    share = killed / counted if counted else 1.0
    if tried:
        print(f"{name}: {len(tried)} mutants, {explained} change nothing, {share:.1%} of the others are killed")
    return share


if __name__ == "__main__":
    main()
