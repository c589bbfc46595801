"""Every edge fault with the reply split and cut at each of its bytes, and faults in pairs and threes drawn at random.

``python -m tests.transport.edges_at_scale`` takes an hour of one core; ``--every 20 --pairs 500`` is a first look, and
``--replay 'FAULT + FAULT / LOGIN'`` lets happen once more what it printed. ``nox -s edges`` is all of it.
"""

import argparse
import asyncio
import logging
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from datetime import timedelta
from functools import cache, reduce
from itertools import islice
from operator import or_
from random import Random

from mesh_refresh.testing import Edge, EdgeFault, FakeMesh
from mesh_refresh.transport import incoming
from tests.transport.refreshes_behind_edges import LOGINS, Case, go_behind

_FIRST, _LAST, _BETWEEN = 300, 1_500, 200
"""Of a reply that is blown up to many thousand bytes: so many at its ends, and so many drawn in between."""
_BATCH, _LANES, _DEADLINE = 1_500, 48, timedelta(seconds=15)
_AT_A_BYTE = re.compile(r"(split|cut|reset) at (\d+)")


def at_byte(how: str, place: int) -> EdgeFault:
    """What happens at one byte of the reply: ``split``, ``cut`` (FIN) or ``reset`` (RST)."""
    return EdgeFault.split_at(place) if how == "split" else EdgeFault.cut_at(place, reset=how == "reset")


def case_named(name: str) -> Case:
    """The case of that name, as complaints have it."""
    faults, _, login = name.partition(" / ")
    return Case(reduce(or_, map(_fault_named, faults.split(" + "))), login or "plain")


@cache
def _fault_named(name: str) -> EdgeFault:
    at = _AT_A_BYTE.fullmatch(name)
    return EdgeFault.named(name) if at is None else at_byte(at[1], int(at[2]))


def drawn(chance: Random, count: int) -> Iterator[Case]:
    """Pairs and threes of faults, half of them split or cut at some byte."""
    faults = list(EdgeFault.all().values())
    for _ in range(count):
        several = chance.sample(faults, chance.choice((1, 2, 2, 3)))
        if len(several) == 1 or chance.random() < 0.5:
            several.append(at_byte(chance.choice(("split", "cut", "reset")), chance.randrange(900)))
        yield Case(reduce(or_, several), chance.choice(list(LOGINS)))


async def size_behind(fault: EdgeFault) -> int:
    """How many bytes the edge writes for a plain login; a few more than that for those of later logins."""
    async with FakeMesh() as fake, Edge(fake, fault) as edge:
        reader, writer = await asyncio.open_connection(edge.host, edge.port)
        token = fake.login("coinbase").token.refresh_token
        body = f'{{"type":"coinbase","refreshToken":"{token}"}}'.encode()
        head = f"POST /api/v1/token/refresh HTTP/1.1\r\nHost: {edge.host}\r\nContent-Type: application/json\r\n"
        keys = f"X-Client-Id: {fake.client_id}\r\nX-Client-Secret: {fake.client_secret}\r\n"
        writer.write(f"{head}{keys}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        await edge.received(1)
        drain = asyncio.ensure_future(reader.read(-1))
        await edge.idle()
        drain.cancel()
        await asyncio.wait((drain,))
        writer.transport.abort()
        return edge.relays[0].size + 4


def bytes_of(size: int, chance: Random, every: int) -> list[int]:
    """The places in a reply of that size: each, or one of `every`, from one that is drawn on."""
    if size <= _FIRST + _LAST + _BETWEEN:
        places = list(range(1, size))
    else:
        between = chance.sample(range(_FIRST, size - _LAST), _BETWEEN)
        places = [*range(1, _FIRST), *sorted(between), *range(size - _LAST, size)]
    return places[chance.randrange(every) :: every]


def everything(seed: int, every: int, pairs: int, only: str) -> list[str]:
    """The names of all cases, in an order that is drawn: what a time limit leaves out, it leaves out everywhere."""
    chance = Random(seed)
    names = [case.name for case in drawn(chance, pairs)]
    for name, fault in EdgeFault.all().items():
        if not re.search(only, name):
            continue
        size = asyncio.run(size_behind(fault))
        for how in ("split", "cut", "reset"):
            at = [f"{name} + {how} at {place}" for place in bytes_of(size, chance, every)]
            names += [f"{one} / {chance.choice(list(LOGINS))}" for one in at]
    chance.shuffle(names)
    return names


def run(names: list[str]) -> tuple[list[str], Counter[str]]:
    """What is wrong, and what the clients could have had at best."""
    logging.disable(logging.CRITICAL)
    incoming.LONG_QUIET = 5.0
    found = asyncio.run(go_behind([case_named(name) for name in names], lanes=_LANES, deadline=_DEADLINE))
    return list(found.wrong), Counter(reach.name for reach in found.reached)


def main() -> int:
    options = _parser().parse_args()
    if options.replay is not None:
        wrong, reached = run([options.replay])
        say("\n".join((*wrong, f"at best: {', '.join(reached)}")))
        return 1 if wrong else 0
    say(f"seed {options.seed}")
    names = everything(options.seed, options.every, options.pairs, options.only)
    return _many(names, options.processes, options.seconds)


def _many(names: list[str], processes: int, seconds: float) -> int:
    began, reached, failed, done = time.monotonic(), Counter[str](), 0, 0
    waiting = iter([names[at : at + _BATCH] for at in range(0, len(names), _BATCH)])
    with ProcessPoolExecutor(processes, max_tasks_per_child=20) as pool:
        running = {pool.submit(run, batch) for batch in islice(waiting, 2 * processes)}
        while running:
            over, running = wait(running, return_when=FIRST_COMPLETED)
            for future in over:
                wrong, some = future.result()
                done, failed, reached = done + 1, failed + len(wrong), reached + some
                for what in wrong:
                    say(what)
                if done % 4 == 0:
                    say(f"... {done * _BATCH} of {len(names)} cases, {time.monotonic() - began:.0f} s")
                if time.monotonic() - began < seconds:
                    running |= {pool.submit(run, batch) for batch in islice(waiting, 1)}
    left = sum(map(len, waiting))
    say(f"{len(names) - left} cases in {time.monotonic() - began:.0f} s, {left} left out; at best: {dict(reached)}")
    say(f"Wrong: {failed}")
    return 1 if failed else 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.transport.edges_at_scale", description=__doc__)
    parser.add_argument("--every", type=int, default=1, metavar="N", help="at one byte of so many")
    parser.add_argument("--pairs", type=int, default=20_000, metavar="N", help="so many pairs and threes")
    parser.add_argument("--only", default="", metavar="REGEX", help="of the faults, those with such a name")
    parser.add_argument("--seed", type=int, default=Random().randrange(1 << 32))
    parser.add_argument("--seconds", type=float, default=float("inf"), help="begin nothing after so long")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--replay", metavar="CASE", help="only this one")
    return parser


if __name__ == "__main__":
    sys.exit(main())
