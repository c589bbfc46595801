"""A group of jobs becomes one transaction: one sync of the disk for all of them."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any

from mesh_refresh.stores.sqlite.connection.session import SqliteSession
from mesh_refresh.stores.sqlite.verbs import CAN_DO_MANY, Swap, swap_many

_log = logging.getLogger("mesh_refresh.stores")


class Job:
    """A verb that waits to be done, and its result."""

    __slots__ = ("error", "future", "result", "verb", "writes")

    def __init__(self, verb: Callable[[SqliteSession], Any], future: "asyncio.Future[Any]", *, writes: bool) -> None:
        self.verb = verb
        self.future = future
        self.writes = writes
        self.result: Any = None
        self.error: BaseException | None = None


def do(session: SqliteSession, jobs: Sequence[Job]) -> bool:
    """Do `jobs` in order; each ends with a result that is committed, or with an error and nothing done.

    False where no transaction could be begun.
    """
    if not any(job.writes for job in jobs):
        _read(session, jobs)
        return True
    try:
        session.begin()
    except Exception as error:  # noqa: BLE001 - goes to the callers
        _refuse(session, jobs, error)
        return False
    try:
        if not _together(session, jobs):
            # A swap met another revision, or changes broker or states. That is rare: do all of them again, one by one.
            session.rollback()
            session.begin()
            for job in jobs:
                job.result = job.verb(session)
        session.commit()
    except Exception as error:  # noqa: BLE001 - as above
        session.rollback()
        if len(jobs) == 1:
            jobs[0].error = session.failure(error)
        else:
            _apart(session, jobs)
    return True


def _together(session: SqliteSession, jobs: Sequence[Job]) -> bool:
    """Do `jobs`, with swaps that follow one another as one statement.

    False where that is not possible for some of them: then everything is to be undone.
    """
    for _, run in groupby(jobs, lambda job: isinstance(job.verb, Swap)):
        alike = list(run)
        swaps = [job.verb for job in alike if isinstance(job.verb, Swap)]
        if len(swaps) < 2:
            for job in alike:
                job.result = job.verb(session)
        elif CAN_DO_MANY and swap_many(session, swaps):
            for job in alike:
                job.result = True
        else:
            return False
    return True


def _read(session: SqliteSession, jobs: Sequence[Job]) -> None:
    for job in jobs:
        try:
            job.result = job.verb(session)
        except Exception as error:  # noqa: BLE001 - goes to the caller
            job.error = session.failure(error)


def _refuse(session: SqliteSession, jobs: Sequence[Job], error: Exception) -> None:
    """The write lock cannot be had: writes fail with `error`, reads are done."""
    for job in jobs:
        if job.writes:
            job.error = session.failure(error)
    _read(session, [job for job in jobs if not job.writes])


def _apart(session: SqliteSession, jobs: Sequence[Job]) -> None:
    """One of `jobs` failed, and SQLite may have undone all of them: do each by itself, so that one harms no other."""
    _log.debug("One of %d writes in a transaction failed; each is done by itself.", len(jobs))
    for number, job in enumerate(jobs):
        if not do(session, [job]):
            # The next one would wait for the lock as long, and fail too.
            _refuse_like(session, job, jobs[number + 1 :])
            return


def _refuse_like(session: SqliteSession, refused: Job, jobs: Sequence[Job]) -> None:
    if isinstance(refused.error, Exception):
        _refuse(session, jobs, refused.error)
