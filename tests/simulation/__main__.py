"""Worlds until so many exchanges are done, in as many processes as there are cores; then what all of it covered.

``python -m tests.simulation --exchanges N --seed S [--world W]``; ``--replay S --world W`` makes one world twice, and
says whether both went the same way.
"""

import argparse
import os
import sys
import time
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait

from tests.simulation.choices import KINDS
from tests.simulation.planting import ALL_BUGS, made
from tests.simulation.world import Report

_MOST_FAILURES = 20


def say(text: str, *, end: str = "\n") -> None:
    sys.stdout.write(text + end)
    sys.stdout.flush()


def main() -> int:
    options = _parser().parse_args()
    if options.replay is not None:
        return _replayed(options.replay, options.world, options.bug)
    return _many(options.exchanges, options.seed, options.world, options.processes, options.bug)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.simulation", description=__doc__)
    parser.add_argument("--exchanges", type=int, default=20_000, metavar="N", help="stop after so many")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="the first one")
    parser.add_argument("--replay", type=int, metavar="S", help="only this seed, and once more")
    parser.add_argument("--world", choices=KINDS, help="all worlds of one kind; else each in turn")
    parser.add_argument("--bug", choices=ALL_BUGS, help="plant it")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser


def _replayed(seed: int, kind: str | None, bug: str | None) -> int:
    first, second = made(seed, kind, bug), made(seed, kind, bug)
    _tell(first)
    if first.fingerprint != second.fingerprint:
        say(f"It went another way the second time: {first.fingerprint}, {second.fingerprint}")
        return 2
    say(f"seed {seed}: {first.covered['exchanges']} exchanges, twice the same: {first.fingerprint}")
    return 1 if first.broken else 0


def _many(exchanges: int, seed: int, kind: str | None, processes: int, bug: str | None) -> int:
    began, covered, failed, shown = time.monotonic(), Counter[str](), 0, 0
    with ProcessPoolExecutor(processes, max_tasks_per_child=200) as pool:
        running: set[Future[Report]] = {pool.submit(made, seed + number, kind, bug) for number in range(2 * processes)}
        seed += 2 * processes
        while running:
            done, running = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                report = future.result()
                most = max(covered[_MOST], report.covered[_MOST])
                covered += report.covered
                covered[_MOST] = most
                failed += bool(report.broken)
                _tell(report)
                if covered["exchanges"] < exchanges and failed < _MOST_FAILURES:
                    running.add(pool.submit(made, seed, kind, bug))
                    seed += 1
            if covered["exchanges"] // 50_000 > shown:
                shown = covered["exchanges"] // 50_000
                say(f"... {covered['exchanges']} exchanges, {time.monotonic() - began:.0f} s")
    _summed_up(covered, failed, time.monotonic() - began)
    return 1 if failed else 0


_MOST = "most requests of a login within a deadline"


def _tell(report: Report) -> None:
    if report.broken:
        say(f"seed {report.seed}, {report.kind}: {len(report.broken)} things that must not happen")
        for what in report.broken[:5]:
            say(f"    {what}")
        say(f"    replay: {report.command}")


def _summed_up(covered: Counter[str], failed: int, seconds: float) -> None:
    for what in sorted(covered):
        say(f"{covered[what]:>10}  {what}")
    say(f"{covered['exchanges']} exchanges in {covered['worlds']} worlds, {seconds:.0f} s: ", end="")
    say(f"{covered['exchanges'] / seconds:.0f} in a second. Worlds in which something broke: {failed}.")
    checked, fresh = covered["in the end, logins"], covered["in the end, logins all fresh"]
    say(f"Logins in the end: {checked}, all fresh: {fresh}. Of the others, each has a cause that is known to be so:")
    excused = "in the end, logins excused: "
    for what in sorted((it for it in covered if it.startswith(excused)), key=lambda it: -covered[it]):
        say(f"{covered[what]:>10}  {what.removeprefix(excused)}")
    cut = sum(number for what, number in covered.items() if "cut by a crash" in what and what.startswith("new pairs"))
    lost = covered["new pairs that nobody has"]
    inside = covered["exchanges under way at crashes"]
    say(f"New pairs that nobody has: {lost}, of them cut by {covered['crashes']} crashes: {cut}", end="")
    say(f" (of {inside} exchanges under way then); the others no client could have.")


if __name__ == "__main__":
    sys.exit(main())
