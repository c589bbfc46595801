"""A FakeMesh for programs in any language: the refresh endpoint, and beside it a few routes to make logins and faults.

=========================== =========================================================================================
``POST /sandbox/logins``    ``{"broker": "coinbase", "accounts": 2}`` and any other field of `LoginOptions`, in camel
                            case, enums by name, lifetimes in seconds (whole ones: they are rounded up). Answers what
                            Link would hand over, the login's id and, for WeBull, the trade token.
``GET /sandbox/logins/ID``  Its accounts, how many of its refresh tokens are in force, and the MFA code that is right.
``DELETE`` on the same      The person revokes it.
``GET /sandbox/faults``     The names of all faults, and what becomes of the pair under each.
``POST /sandbox/faults``    ``{"fault": "throttle", "times": 2}``, with ``login`` or ``broker`` for some requests only.
``DELETE`` on the same      Forget the faults that wait.
``GET /sandbox/ledger``     Counts, reuses and losses; no token. What went out whole counts as held.
``POST /sandbox/clock``     ``{"advance": 3600}``: so many seconds pass at once. Answers the time.
``POST /sandbox/lost``      ``{"tokens": [...]}``, all that your program holds: the accounts that are lost. Each is an
                            object with ``refreshToken``, ``accessToken``, ``tokenId``, ``tradeToken``, ``accountId``,
                            ``meshAccountId``, or a part of these. Or ``{"refreshTokens": [...]}``, and nothing beside.
=========================== =========================================================================================
"""

import asyncio
import json
import math
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from datetime import timedelta
from enum import Enum
from typing import Any, cast

from aiohttp import web
from attrs import fields

from mesh_refresh.testing.clock import ManualClock, MovableClock
from mesh_refresh.testing.fake.mesh import FakeMesh
from mesh_refresh.testing.fake.options import LoginChoices, LoginOptions
from mesh_refresh.testing.faults.edge import Edge
from mesh_refresh.testing.faults.fault import Fault
from mesh_refresh.testing.model.contract import parse
from mesh_refresh.testing.model.holdings import Held, Holdings
from mesh_refresh.testing.model.logins import FakeLogin
from mesh_refresh.testing.model.losses import LossReason, Lost

_ENUMS: Mapping[str, type[Enum]] = {
    option.name: option.type
    for option in fields(LoginOptions)
    if isinstance(option.type, type) and issubclass(option.type, Enum)
}
_LIFETIMES = ("access_lifetime", "refresh_lifetime", "grace")
_OPTIONS = {field.name for field in fields(LoginOptions)}
_MOST_ACCOUNTS = 1000
_SECRETS = ("refreshToken", "accessToken", "tokenId", "tradeToken")
_IDS = ("accountId", "meshAccountId")


async def serve(
    fake: FakeMesh, *, edge: Edge | None = None, on_ready: Callable[[FakeMesh], object] | None = None
) -> None:
    """Run `fake` with the control routes, and perhaps an `edge` before it, until cancelled.

    `on_ready` is called once they listen.
    """
    add_control_routes(fake)
    async with fake, edge or nullcontext():
        if on_ready is not None:
            on_ready(fake)
        await asyncio.Event().wait()


def add_control_routes(fake: FakeMesh) -> None:
    """Give a `fake` that is not started yet the routes under ``/sandbox``."""
    control = _Control(fake)
    fake.server.routes += [
        web.post("/sandbox/logins", control.add_login),
        web.get("/sandbox/logins/{login}", control.show_login),
        web.delete("/sandbox/logins/{login}", control.revoke_login),
        web.get("/sandbox/faults", control.list_faults),
        web.post("/sandbox/faults", control.add_fault),
        web.delete("/sandbox/faults", control.heal),
        web.get("/sandbox/ledger", control.ledger),
        web.post("/sandbox/clock", control.move_clock),
        web.post("/sandbox/lost", control.lost),
    ]


class _Control:
    def __init__(self, fake: FakeMesh) -> None:
        self._fake = fake

    async def add_login(self, http: web.Request) -> web.Response:
        asked = await _object(http)
        broker = asked.pop("broker", None)
        if not isinstance(broker, str) or not broker.strip():
            raise _bad("broker is required")
        choices = _choices(asked)
        try:
            login = self._fake.login(broker, **choices)
        except ValueError as error:
            raise _bad(str(error)) from None
        name = "delayedAuth" if login.options.delayed else "accessTokenPayload"
        return web.json_response({"login": login.id, name: login.link_payload(), "tradeToken": login.trade_token})

    async def show_login(self, http: web.Request) -> web.Response:
        login = self._login(http)
        shown = {"login": login.id, "broker": login.broker, "accounts": list(login.account_ids), "code": login.code}
        live = sum(self._fake.is_live(tokens.refresh_token) for tokens in login.live)
        return web.json_response({**shown, "liveRefreshTokens": live, "revoked": login.refused})

    async def revoke_login(self, http: web.Request) -> web.Response:
        self._login(http).revoke()
        return web.json_response({})

    async def list_faults(self, _: web.Request) -> web.Response:
        return web.json_response({name: fault.delivery.value for name, fault in Fault.all().items()})

    async def add_fault(self, http: web.Request) -> web.Response:
        asked = await _object(http, "fault", "times", "login", "broker")
        fault = Fault.all().get(str(asked.get("fault")))
        times = asked.get("times", 1)
        if fault is None:
            raise _bad("fault is unknown: GET /sandbox/faults lists them")
        if times is not None and (type(times) is not int or times < 1):
            raise _bad("times must be a positive number, or null for all")
        try:
            self._fake.fail(fault, times=times, login=asked.get("login"), broker=asked.get("broker"))
        except (TypeError, ValueError) as error:
            raise _bad(str(error)) from None
        return web.json_response({"waiting": len(self._fake.faults.rules)})

    async def heal(self, _: web.Request) -> web.Response:
        self._fake.heal()
        return web.json_response({"waiting": 0})

    async def ledger(self, _: web.Request) -> web.Response:
        fake = self._fake
        # This server does not know what a program has saved, so only what cannot have been saved is lost.
        lost = [item for item in fake.lost() if item.reason is not LossReason.NOT_HELD]
        return web.json_response(
            {
                "logins": len(fake.logins),
                "issued": len(fake.ledger.tokens),
                "requests": len(fake.requests),
                "inFlight": fake.in_flight,
                "maxInFlight": fake.max_in_flight,
                "exchanges": dict(fake.exchanges),
                "sentTwice": len(fake.sent_twice()),
                "undelivered": len(fake.undelivered),
                "reuses": [{"login": it.login, "broker": it.broker, "revoked": it.revoked} for it in fake.reuses],
                "lost": _listed(lost),
            }
        )

    async def move_clock(self, http: web.Request) -> web.Response:
        seconds = _seconds("advance", (await _object(http, "advance")).get("advance"))
        clock = self._fake.clock
        if not isinstance(clock, MovableClock | ManualClock):
            raise _bad("the clock of this FakeMesh cannot be moved: give it a MovableClock")
        return web.json_response({"now": clock.advance(timedelta(seconds=seconds)).isoformat()})

    async def lost(self, http: web.Request) -> web.Response:
        asked = await _object(http, "refreshTokens", "tokens")
        loose, rows = asked.get("refreshTokens", []), asked.get("tokens", [])
        if not asked or not isinstance(loose, list) or not all(isinstance(value, str) for value in loose):
            raise _bad("refreshTokens must be a list of texts, or tokens a list of objects")
        held = [Held(frozenset((value,)), is_loose=True) for value in loose]
        held += map(_held, rows if isinstance(rows, list) else [None])
        return web.json_response({"lost": _listed(self._fake.lost_of(Holdings.of(held)))})

    def _login(self, http: web.Request) -> FakeLogin:
        login = self._fake.logins.get(http.match_info["login"])
        if login is None:
            raise web.HTTPNotFound(text='{"error": "no such login"}', content_type="application/json")
        return login


def _listed(lost: Iterable[Lost]) -> list[dict[str, str]]:
    return [{"login": it.login, "account": it.account, "broker": it.broker, "reason": it.reason.value} for it in lost]


def _bad(what: str) -> web.HTTPBadRequest:
    return web.HTTPBadRequest(text=json.dumps({"error": what}), content_type="application/json")


def _held(row: object) -> Held:
    """What a program keeps for one account."""
    if not isinstance(row, dict) or not set(row) <= {*_SECRETS, *_IDS}:
        raise _bad(f"tokens must be a list of objects with {', '.join((*_SECRETS, *_IDS))}")
    if not all(value is None or isinstance(value, str) for value in row.values()):
        raise _bad("what is in tokens must be texts")
    values = frozenset(row[name] for name in _SECRETS if row.get(name))
    return Held(values, row.get("accountId"), row.get("meshAccountId"))


async def _object(http: web.Request, *names: str) -> dict[str, Any]:
    """The body. With `names`, any other name in it is refused."""
    value = parse(await http.read())
    if not isinstance(value, dict):
        raise _bad("the body must be a JSON object")
    for name in value:
        if names and name not in names:
            raise _bad(f"unknown field {name}: there are {', '.join(names)}")
    return value


def _seconds(name: str, value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 2**31:
        raise _bad(f"{name} must be a number of seconds, 0 or more")
    return value


def _choices(asked: Mapping[str, Any]) -> LoginChoices:
    choices: dict[str, Any] = {}
    for name, value in asked.items():
        option = "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in name)
        if option not in _OPTIONS:
            raise _bad(f"unknown field {name}")
        choices[option] = _choice(name, option, value)
    return cast("LoginChoices", choices)


def _choice(name: str, option: str, value: object) -> object:
    if option in _ENUMS:
        members = _ENUMS[option].__members__
        if str(value) not in members:
            raise _bad(f"{name} must be one of {', '.join(members)}")
        return members[str(value)]
    if option in _LIFETIMES:
        if value is None and option != "grace":
            return None
        seconds = _seconds(name, value)
        # Lifetimes are told in whole seconds, and half a second must not become none.
        return timedelta(seconds=seconds if option == "grace" else math.ceil(seconds))
    if option in ("accounts", "mfa_rounds"):
        if type(value) is not int or not 0 < value <= _MOST_ACCOUNTS:
            raise _bad(f"{name} must be a number from 1 to {_MOST_ACCOUNTS}")
        return value
    if not isinstance(value, bool):
        raise _bad(f"{name} must be true or false")
    return value
