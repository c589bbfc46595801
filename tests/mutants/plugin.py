"""A pytest plugin that tries mutants: every test once, to see which lines it runs, and then each mutant in a fork.

A fork has all modules and tests loaded already. It puts the code of a mutant into the function that is there, and runs
the tests that run the mutant's statement, the fastest first, until one fails, which ends the fork on the spot.
`sys.monitoring` tells which tests those are, so that this needs Python 3.12.
"""

import gc
import os
import resource
import select
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from itertools import chain
from pathlib import Path
from types import CodeType, FunctionType
from typing import Any

import pytest
from attrs import define, field, frozen

from tests.mutants.mutations import Module, Mutant, nested

KILLED, SURVIVED = 0, 1
SLOW = 1.0
"""Seconds of CPU. Tests that take longer are not run for mutants."""
_CPU_SECONDS, _TIMES_AS_LONG = 5, 10
"""A mutant that computes longer than this, and longer than so many times its tests, computes without end."""
_LOOK_EVERY, _LOOKS = 0.5, 20
"""A mutant that is asleep at so many looks in a row, of so many seconds each, waits without end."""
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
    """How many tests run its statement."""


@define(eq=False)
class _Fork:
    """A mutant that is being tried in a process of its own."""

    pid: int
    module: Module
    mutant: Mutant
    tests: int
    asleep: int = 0

    def look(self) -> bool:
        """Whether it waits without end. A busy machine lets it wait for a core: then it is not asleep."""
        state = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        self.asleep = self.asleep + 1 if state == "S" else 0
        return self.asleep >= _LOOKS


@define(eq=False)
class Mutation:
    """The plugin. It tells `hear` of each mutant as soon as it is known what became of it."""

    modules: list[Module]
    jobs: int
    hear: Callable[[Tried], None]
    chosen: Callable[[int, Module, Mutant], bool] = lambda *_: True
    """Which mutants are tried, by their number in all."""
    _seconds: dict[str, float] = field(factory=dict)
    _runs: dict[tuple[str, int], set[str]] = field(factory=lambda: defaultdict(set))
    """Which tests run a line of a file."""
    _functions: dict[str, list[FunctionType]] = field(factory=dict)
    """What is loaded of each file."""
    _failed: bool = False
    _is_mutant: bool = False

    def pytest_configure(self) -> None:
        """Of Hypothesis, any example that fails is enough: the smallest one is not wanted."""
        from hypothesis import Phase, settings  # pytest has to prepare it before it is loaded

        settings.register_profile("mutants", phases=[Phase.explicit, Phase.generate])
        settings.load_profile("mutants")

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_makereport(self, call: pytest.CallInfo[None]) -> None:
        """What pytest does with a failure takes longer than most tests: a mutant ends here."""
        failed = call.excinfo is not None and not call.excinfo.errisinstance(pytest.skip.Exception)
        if failed and self._is_mutant:
            os._exit(KILLED)
        self._failed |= failed

    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run all tests as they are, and then the mutants."""
        items = {item.nodeid: item for item in session.items}
        paths = {str(Path(module.path).resolve()) for module in self.modules}
        self._functions = _loaded(paths)
        _monitoring.use_tool_id(_TOOL, "mutants")
        for function in chain.from_iterable(self._functions.values()):
            for code in (function.__code__, *nested(function.__code__)):
                _monitoring.set_local_events(_TOOL, code, _monitoring.events.LINE)
        for item in session.items:
            self._watch(item)
        _monitoring.free_tool_id(_TOOL)
        if self._failed:
            raise session.Failed("the tests fail without any mutant")
        gc.freeze()
        terminal: Any = session.config.pluginmanager.unregister(name="terminalreporter")
        terminal.write_line("")
        terminal.flush()
        self._try_all(items)
        return True

    def _watch(self, item: pytest.Item) -> None:
        """Run a test, and note what it runs and how long that takes."""

        def on_line(code: CodeType, line: int) -> object:
            self._runs[code.co_filename, line].add(item.nodeid)
            return _monitoring.DISABLE

        _monitoring.register_callback(_TOOL, _monitoring.events.LINE, on_line)
        _monitoring.restart_events()
        begun = time.process_time()
        _run(item)
        self._seconds[item.nodeid] = time.process_time() - begun

    def _try_all(self, items: dict[str, pytest.Item]) -> None:
        each = enumerate((module, mutant) for module in self.modules for mutant in module.mutants)
        running: dict[int, _Fork] = {}
        for module, mutant in (these for number, these in each if self.chosen(number, *these)):
            tests = self._tests_of(module, mutant)
            if not tests:
                self.hear(Tried(module.path, mutant, False, 0))
                continue
            sys.stdout.flush()
            pid = os.fork()
            if pid == 0:
                self._be_mutant(module, mutant, [items[name] for name in tests])
            running[os.pidfd_open(pid)] = _Fork(pid, module, mutant, len(tests))
            while len(running) >= self.jobs:
                self._reap(running)
        while running:
            self._reap(running)

    def _tests_of(self, module: Module, mutant: Mutant) -> list[str]:
        """The tests that run the statement; the fastest first."""
        path = str(Path(module.path).resolve())
        names = set().union(*(self._runs.get((path, line), ()) for line in mutant.lines))
        return sorted((name for name in names if self._seconds[name] <= SLOW), key=self._seconds.__getitem__)

    def _reap(self, running: dict[int, _Fork]) -> None:
        """Wait until a fork ends, or waits without end: then it counts as killed."""
        ready = select.select(list(running), [], [], _LOOK_EVERY)[0]
        late = [handle for handle, fork in running.items() if handle not in ready and fork.look()]
        for handle in (*ready, *late):
            fork = running.pop(handle)
            if handle in late:
                os.kill(fork.pid, signal.SIGKILL)
            status = os.waitpid(fork.pid, 0)[1]
            os.close(handle)
            killed = os.waitstatus_to_exitcode(status) != SURVIVED
            self.hear(Tried(fork.module.path, fork.mutant, killed, fork.tests))

    def _be_mutant(self, module: Module, mutant: Mutant, tests: list[pytest.Item]) -> None:
        """In the fork: never returns."""
        code = KILLED
        try:
            self._is_mutant = True
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            os.dup2(1, 2)
            seconds = sum(self._seconds[test.nodeid] for test in tests)
            most = int(max(_CPU_SECONDS, _TIMES_AS_LONG * seconds))
            resource.setrlimit(resource.RLIMIT_CPU, (most, most))
            resource.setrlimit(resource.RLIMIT_AS, (_BYTES, _BYTES))
            mutant.apply()
            path = str(Path(module.path).resolve())
            _replace(module, path, self._functions[path])
            for test in tests:
                _run(test)
            code = SURVIVED
        finally:
            os._exit(code)


def _run(item: pytest.Item) -> None:
    item._initrequest()  # type: ignore[attr-defined]  # noqa: SLF001 - nothing else makes a test new that has run
    item.ihook.pytest_runtest_protocol(item=item, nextitem=None)


def _replace(module: Module, path: str, functions: Iterable[FunctionType]) -> None:
    """Put the code of the module's tree into the functions that are loaded."""
    codes = module.codes()
    for function in functions:
        code = codes.get((function.__code__.co_qualname, function.__code__.co_firstlineno))
        if code is not None and code.co_freevars == function.__code__.co_freevars:
            function.__code__ = code.replace(co_filename=path)


def _loaded(paths: set[str]) -> dict[str, list[FunctionType]]:
    found: dict[str, list[FunctionType]] = {path: [] for path in paths}
    gc.unfreeze()  # what conftest.py froze
    for function in gc.get_objects():
        if isinstance(function, FunctionType) and function.__code__.co_filename in paths:
            found[function.__code__.co_filename].append(function)
    return found
