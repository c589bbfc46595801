"""``--app``: parts of the user's own in each command that judges or exchanges, and what is wrong with them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.keeper import App, Policy
from tests.cli.fleet.conftest import OpenFleet

ROOT = Path(__file__).parents[3]

GOOD = """
from attrs import evolve
from mesh_refresh import DefaultStrategy
from mesh_refresh.keeper import App, Policy
from mesh_refresh.transport import AiohttpTransport


class Spends(DefaultStrategy):
    def credential(self, tokens):
        return tokens.access_token


class Watch:
    seen = []

    def observe(self, told):
        self.seen.append(type(told).__name__)


class Road(AiohttpTransport):
    sent = []
    closed = 0

    async def send(self, request):
        self.sent.append(request)
        return await super().send(request)

    async def aclose(self):
        Road.closed += 1
        await super().aclose()


events, notices = [], []


async def take(notice):
    notices.append(notice)


def parts(**more):
    print("a module may print")
    strategies = {"bitfinexDirect": Spends(send_access_token=True)}
    return App(strategies=strategies, on_event=events.append, observer=Watch(), transport=Road(), **more)


async def slow():
    print("so may a function")
    return parts(on_notice=take)


class Made:
    paced = staticmethod(lambda: parts(policy=Policy(rate=0.01, concurrency=7)))
"""


@pytest.fixture(autouse=True)
def path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Modules of a test are those of its own folder."""
    monkeypatch.setattr(sys, "path", [*sys.path])
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("own"):
            del sys.modules[name]


def write(fleet: OpenFleet, text: str = GOOD, name: str = "own.py") -> None:
    (fleet.cli.folder / name).write_text(text)


def bitfinex(fleet: OpenFleet) -> str:
    """A line of an import for a login without a refresh token, of unknown age."""
    payload = fleet.fake.login("bitfinexDirect").link_payload()
    for entry in payload["accountTokens"]:
        entry["accessToken"] = entry.pop("refreshToken")
    return json.dumps({"login": "user-b", "payload": payload}) + "\n"


@pytest.mark.parametrize("factory", ["parts", "slow"])
def test_a_fleet_with_a_strategy_of_its_own(fleet: OpenFleet, factory: str) -> None:
    """It is imported, judged, exchanged and copied by it, and standard output stays the command's."""
    write(fleet)
    app = ("--app", f"own:{factory}")
    assert fleet("import", "-", "-q", *app, stdin=bitfinex(fleet)).code == 0
    assert fleet.states() == {"user-b": "active"}
    assert fleet.listed()[0]["expires_at"] is not None  # of unknown age: to be refreshed before it is handed out
    own = sys.modules["own"]
    assert (own.Road.sent, own.Road.closed) == ([], 1)
    ran = fleet.once(*app)
    assert (ran.code, ran.out) == (0, "")
    assert "a module may print" in ran.err
    assert [type(event).__name__ for event in own.events] == ["AccountRefreshed"]
    assert {"ExchangeEnded", "KeeperEntered"} <= set(own.Watch.seen)
    assert (len(own.Road.sent), own.Road.closed) == (1, 2)
    assert fleet("copy", "fleet.db", "other.db", "--yes", "-q", *app).code == 0


def test_without_it_the_same_login_is_not_refreshable(fleet: OpenFleet) -> None:
    fleet("import", "-", "-q", stdin=bitfinex(fleet))
    assert fleet.states() == {"user-b": "not_refreshable"}


def test_a_code_is_submitted_with_it(fleet: OpenFleet) -> None:
    write(fleet)
    login = fleet.add("user-v", "vanguard", mfa=True)
    assert fleet.once("-q").code == Exit.CODE_NEEDED
    assert fleet("mfa", "user-v", "--code-stdin", "--app", "own:parts", stdin=f"{login.code}\n").code == 0
    assert len(sys.modules["own"].Road.sent) == 1


def test_refresh_uses_it_too(fleet: OpenFleet) -> None:
    """By its strategy, an account without a refresh token has something to exchange."""
    write(fleet)
    path = fleet.cli.folder / "payload.json"
    path.write_text(json.dumps(json.loads(bitfinex(fleet))["payload"]))
    ran = fleet("refresh", path, "-q", "--app", "own:slow", secret=True)
    assert ran.code == 0
    assert json.loads(ran.out)[0]["access_token"] in fleet.fake.ledger.tokens
    assert sys.modules["own"].Watch.seen == ["ExchangeEnded"]


def test_an_option_counts_more_than_the_policy_of_the_app(fleet: OpenFleet) -> None:
    write(fleet)
    for number in range(3):
        fleet.add(f"user-{number}")
    assert fleet.once("--app", "own:Made.paced", "--rate", "1000").code == 0
    assert len(fleet.fake.requests) == 3


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--deadline 5s --lease 2s", "--lease must be longer"),
        ("--rate 0.5 --concurrency 0", "--concurrency"),
        ("--webhook http://127.0.0.1:9 --app own:taking", "both take notices"),
    ],
)
def test_what_contradicts_itself_is_refused(
    fleet: OpenFleet, options: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(fleet, f"{GOOD}\n\ndef taking():\n    return parts(on_notice=take)\n")
    monkeypatch.setenv("MESH_REFRESH_WEBHOOK_SECRET", "whsec_" + "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
    fleet.add("user-1")
    ran = fleet.once(*options.split())
    assert ran.code == Exit.INVALID
    assert says in ran.err
    assert not fleet.fake.requests


WRONG = """
import os
from mesh_refresh import InvalidRequest
from mesh_refresh.keeper import App, Policy

app = App()
nothing = None


def needs(settings):
    return App()


def fails():
    raise ValueError("fake-secret")


def unset():
    return App(policy=os.environ["fake-secret"])


def ends():
    raise SystemExit("fake-secret")


def refused():
    return App(policy=Policy(rate=-1))


def of_another_kind():
    return App(policy={"rate": 1})


async def late():
    fails()


async def late_end():
    ends()


def instead():
    return {"strategies": "fake-secret"}


def none():
    pass


def several():
    yield App()
"""


@pytest.mark.parametrize(
    ("app", "says"),
    [
        ("own", "--app takes MODULE:FACTORY"),
        ("own:", "--app takes MODULE:FACTORY"),
        (":fails", "--app takes MODULE:FACTORY"),
        ("own.py:fails", "--app takes MODULE:FACTORY"),
        ("./own:fails", "--app takes MODULE:FACTORY"),
        ("own:fails()", "--app takes MODULE:FACTORY"),
        ("own:a b", "--app takes MODULE:FACTORY"),
        ("", "--app takes MODULE:FACTORY"),
        ("ownn:fails", "there is no module ownn on Python's path or in the current folder"),
        ("own.more:fails", "there is no module own.more on"),
        ("own_import:make", "the module own_import imports ownn, and there is no such module"),
        ("own_syntax:make", "importing the module own_syntax raised SyntaxError at own_syntax.py:2"),
        ("own_raise:make", "importing the module own_raise raised RuntimeError at own_raise.py:1"),
        ("own_exit:make", "importing the module own_exit raised SystemExit at own_exit.py:2"),
        ("own:make", "own.py) has no make"),
        ("own:fails.make", "own.py) has no fails.make"),
        ("own:app", "own:app is an App, and no function that returns an App"),
        ("own:nothing", "own:nothing is None, and no function"),
        ("own:needs", "own:needs wants arguments"),
        ("own:fails", "own:fails raised ValueError at own.py:15"),
        ("own:unset", "own:unset raised KeyError at own.py:19"),
        ("own:ends", "own:ends raised SystemExit at own.py:23"),
        ("own:refused", "own:refused raised InvalidRequest: Policy.rate"),
        ("own:of_another_kind", "own:of_another_kind raised InvalidRequest: policy takes a Policy"),
        ("own:late", "own:late raised ValueError at own.py:15"),
        ("own:late_end", "own:late_end raised SystemExit at own.py:23"),
        ("own:instead", "own:instead returned a dict, and not an App of mesh_refresh.keeper"),
        ("own:none", "own:none returned None"),
        ("own:several", "own:several returned a generator"),
    ],
)
def test_what_is_wrong_is_one_line_before_anything_is_done(fleet: OpenFleet, app: str, says: str) -> None:
    """Without the text of an exception of the user's, which may hold a secret."""
    write(fleet, WRONG)
    write(fleet, "import ownn\n", "own_import.py")
    write(fleet, "\ndef make(:\n", "own_syntax.py")
    write(fleet, "raise RuntimeError('fake-secret')\n", "own_raise.py")
    write(fleet, "import sys\nsys.exit('fake-secret')\n", "own_exit.py")
    ran = fleet("import", "-", "--app", app, stdin=bitfinex(fleet))
    assert (ran.code, ran.out) == (Exit.INVALID, "")
    assert ran.err.count("\n") == 1
    assert says in ran.err
    assert "fake-secret" not in ran.err
    assert not fleet.file.exists()


@pytest.mark.parametrize(
    "command",
    ["run", "serve --no-page --access access.toml", "copy a b", "mfa user-1", "refresh payload.json -o out.json"],
)
def test_each_command_refuses_it(fleet: OpenFleet, command: str) -> None:
    write(fleet, WRONG)
    fleet.add("user-1")
    fleet.cli.payload(fleet.fake.login("coinbase"))
    fleet("access", "add", "me", "--scope", "tokens", "--access", "access.toml", secret=True)
    ran = fleet(*command.split(), "--app", "own:fails")
    assert (ran.code, ran.out) == (Exit.INVALID, "")
    assert "own:fails raised ValueError at own.py:15" in ran.err
    assert not (fleet.cli.folder / "out.json").exists()
    assert not fleet.fake.requests


@pytest.mark.once
def test_the_current_folder_is_not_searched_where_python_was_told_so(fleet: OpenFleet) -> None:
    """Nor before the folders of Python: a file json.py there is no module of this command."""
    write(fleet, GOOD)
    write(fleet, "raise RuntimeError\n", "json.py")
    fleet.add("user-1")
    program = "import sys; sys.path.remove(''); from mesh_refresh.cli import main; sys.exit(main())"
    for safe, wanted in (([], "1 account refreshed"), (["-P"], "no module own on Python's path.")):
        if safe:
            program = program.replace("sys.path.remove(''); ", "")
        ran = subprocess.run(
            [sys.executable, *safe, "-c", program, "run", "--once", "--app", "own:parts"],
            cwd=fleet.cli.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert wanted in ran.stderr, ran.stderr


def test_the_value_checks_its_parts() -> None:
    assert App(policy=Policy(poll=timedelta(seconds=2))) == App(policy=Policy(poll=timedelta(seconds=2)))
    for parts in (
        {"on_event": 7},
        {"on_notice": 7},
        {"transport": 7},
        {"observer": 7},
        {"strategies": 7},
        {"policy": 7},
    ):
        with pytest.raises(InvalidRequest, match=next(iter(parts))):
            App(**parts)  # type: ignore[arg-type]
