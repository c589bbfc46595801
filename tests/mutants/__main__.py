"""Mutation testing of the pure parts, on Python 3.12 or later: ``python -m tests.mutants [--every N] [part ...]``.

Each mutant changes one expression of one function, and unit tests must fail. The program ends with 1 where fewer than
95 of 100 mutants do, without those of which `equivalent` tells why no test can. ``--every 20`` is a first look.
"""

import argparse
import sys
from pathlib import Path

import pytest
from attrs import frozen

from tests.mutants.equivalent import reason_for
from tests.mutants.mutations import Module
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
    parser.add_argument("part", nargs="*", choices=[*PARTS, []], help="only these")
    options = parser.parse_args()
    ok = [try_part(name, options.every, options.jobs) for name in options.part or PARTS]
    sys.exit(0 if all(ok) else 1)


def try_part(name: str, every: int, jobs: int) -> bool:
    """Whether enough of its mutants are killed."""
    part = PARTS[name]
    paths = sorted(Path(part.folder).rglob("*.py"))
    modules = [Module.parsed(str(path), path.read_text()) for path in paths]
    plugin = Mutation(modules, every, jobs)
    quiet = ("-q", "--no-header", "-p", "no:cacheprovider", "-o", "faulthandler_timeout=0")
    code = pytest.main([*quiet, *part.tests], plugins=[plugin])
    if code != pytest.ExitCode.OK:
        print(f"{name}: the tests fail without any mutant")
        return False
    return report(name, plugin.tried)


def report(name: str, tried: list[Tried]) -> bool:
    """Print which mutants survived. Those that change nothing that a test could see do not count."""
    alive = sorted((one for one in tried if not one.killed), key=lambda one: (one.module, one.mutant.line))
    unexplained = [one for one in alive if reason_for(one.module, str(one.mutant)) is None]
    for one in unexplained:
        tests = f"{one.tests} tests run it" if one.tests else "no test runs it"
        print(f"{one.module}:{one.mutant.line}: {one.mutant} ({tests})")
    counted = len(tried) - len(alive) + len(unexplained)
    share = 1 - len(unexplained) / max(1, counted)
    explained = len(alive) - len(unexplained)
    print(f"{name}: {len(tried)} mutants, {explained} change nothing, {share:.1%} of the others are killed")
    return share >= WANTED


if __name__ == "__main__":
    main()
