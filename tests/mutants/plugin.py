"""A pytest plugin that tries mutants: every test once, to see which functions it runs, and then each mutant in a fork.

A fork has all modules and tests loaded already. It puts the code of a mutant into the function that is there, and runs
the tests that run this function, the fastest first, until one fails. `sys.monitoring` tells which tests those are, so
that this needs Python 3.12.
"""

import gc
import os
import resource
import select
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from attrs import define, field, frozen

from tests.mutants.mutations import Module, Mutant

KILLED, SURVIVED = 0, 1
SLOW = 1.0
"""Seconds of CPU. Tests that take longer are not run for mutants."""
_CPU_SECONDS, _TIMES_AS_LONG = 5, 10
"""A mutant that computes longer than this, and longer than so many times its tests, computes without end."""
_WAITS = 60.0
"""Seconds after which a mutant waits without end, for each second of CPU that its tests take."""
_BYTES = 4 << 30
_monitoring: Any = getattr(sys, "monitoring", None)
_TOOL = 1
"""What `sys.monitoring` sets aside for coverage."""


@frozen
class Tried:
    """What became of a mutant."""

    module: str
    mutant: Mutant
    killed: bool
    tests: int
    """How many tests run its function."""


@define(eq=False)
class Mutation:
    """The plugin. `tried` is complete when pytest has ended."""

    modules: list[Module]
    every: int
    jobs: int
    tried: list[Tried] = field(factory=list)
    _seconds: dict[str, float] = field(factory=dict)
    _runs: dict[tuple[str, str], set[str]] = field(factory=lambda: defaultdict(set))
    """Which tests run a function: by its file and name."""
    _failed: bool = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._failed |= report.failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests as they are, and then the mutants."""
        items = {item.nodeid: item for item in session.items}
        _monitoring.use_tool_id(_TOOL, "mutants")
        _monitoring.set_events(_TOOL, _monitoring.events.PY_START)
        for item in session.items:
            self._watch(item)
        _monitoring.free_tool_id(_TOOL)
        if self._failed:
            raise session.Failed("the tests fail without any mutant")
        self._try_all(items)
        return True

    def _watch(self, item: pytest.Item) -> None:
        """Run a test, and note what it runs and how long that takes."""
        seen: set[CodeType] = set()

        def on_start(code: CodeType, _: int) -> object:
            seen.add(code)
            return _monitoring.DISABLE

        _monitoring.register_callback(_TOOL, _monitoring.events.PY_START, on_start)
        _monitoring.restart_events()
        begun = time.process_time()
        _run(item)
        self._seconds[item.nodeid] = time.process_time() - begun
        for code in seen:
            self._runs[code.co_filename, code.co_qualname].add(item.nodeid)

    def _try_all(self, items: dict[str, pytest.Item]) -> None:
        chosen = [(module, mutant) for module in self.modules for mutant in module.mutants][:: self.every]
        running: dict[int, tuple[int, float, Module, Mutant, int]] = {}
        for module, mutant in chosen:
            tests = self._tests_of(module, mutant)
            if not tests:
                self.tried.append(Tried(module.path, mutant, False, 0))
                continue
            seconds = sum(self._seconds[name] for name in tests)
            pid = os.fork()
            if pid == 0:
                self._be_mutant(module, mutant, [items[name] for name in tests], seconds)
            ends = time.monotonic() + _WAITS * max(1, seconds)
            running[os.pidfd_open(pid)] = (pid, ends, module, mutant, len(tests))
            while len(running) >= self.jobs:
                self._reap(running)
        while running:
            self._reap(running)

    def _tests_of(self, module: Module, mutant: Mutant) -> list[str]:
        """The tests that run the function, or one that is defined in it; the fastest first."""
        path = str(Path(module.path).resolve())
        names = {
            test
            for (filename, name), tests in self._runs.items()
            if filename == path and (name == mutant.function or name.startswith(f"{mutant.function}.<locals>"))
            for test in tests
            if self._seconds[test] <= SLOW
        }
        return sorted(names, key=lambda name: self._seconds[name])

    def _reap(self, running: dict[int, tuple[int, float, Module, Mutant, int]]) -> None:
        """Wait until a fork ends, or has run for too long: an endless mutant counts as killed."""
        ready = select.select(list(running), [], [], 0.5)[0]
        late = [handle for handle, (_, ends, *_) in running.items() if time.monotonic() > ends and handle not in ready]
        for handle in (*ready, *late):
            pid, _, module, mutant, tests = running.pop(handle)
            if handle in late:
                os.kill(pid, signal.SIGKILL)
            status = os.waitpid(pid, 0)[1]
            os.close(handle)
            killed = os.waitstatus_to_exitcode(status) != SURVIVED
            self.tried.append(Tried(module.path, mutant, killed, tests))

    def _be_mutant(self, module: Module, mutant: Mutant, tests: list[pytest.Item], seconds: float) -> None:
        """In the fork: never returns."""
        code = KILLED
        try:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            most = int(max(_CPU_SECONDS, _TIMES_AS_LONG * seconds))
            resource.setrlimit(resource.RLIMIT_CPU, (most, most))
            resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
            mutant.apply()
            _replace(module)
            code = SURVIVED
            for test in tests:
                _run(test)
                if self._failed:
                    code = KILLED
                    break
        finally:
            os._exit(code)


def _run(item: pytest.Item) -> None:
    item._initrequest()  # type: ignore[attr-defined]  # a test that has run is made new by this alone
    item.ihook.pytest_runtest_protocol(item=item, nextitem=None)


def _replace(module: Module) -> None:
    """Put the code of the module's tree into the functions that are loaded."""
    codes, path = module.codes(), str(Path(module.path).resolve())
    for function in _loaded(path):
        code = codes.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None and code.co_freevars == function.__code__.co_freevars:
            function.__code__ = code.replace(co_filename=path)


def _loaded(path: str) -> Iterator[FunctionType]:
    gc.unfreeze()  # what conftest.py froze
    for found in gc.get_objects():
        if isinstance(found, FunctionType) and found.__code__.co_filename == path:
            yield found
