"""The routes of the API, in one table."""

from typing import Any

from mesh_refresh.service.access.keys import Scope
from mesh_refresh.service.api import fleet, logins
from mesh_refresh.service.api.call import Answering, serve
from mesh_refresh.service.web.routes import LARGE_BODY, Door, Route

_LOGIN = "/v1/logins/{loginId}"
_PAUSE = "/v1/brokers/{brokerType}/pause"
_ACCOUNT = ("accountId",)
_FILTERS = ("state", "broker", "changedSince", "cursor", "limit")


def _route(
    method: str,
    path: str,
    answer: Answering,
    scope: Scope,
    *,
    verb: str | None = None,
    query: tuple[str, ...] = (),
    fields: tuple[str, ...] | None = (),
    **options: Any,
) -> Route:
    return Route(method, path, serve(answer, path, verb=verb, query=query, fields=fields), scope, **options)


API_ROUTES: tuple[Route, ...] = (
    _route(
        "GET",
        f"{_LOGIN}/tokens",
        logins.give_tokens,
        Scope.TOKENS,
        verb="tokens",
        query=("accountId", "validFor", "maxWait"),
        waits=True,
    ),
    _route(
        "POST",
        f"{_LOGIN}/tokens/rejected",
        logins.replace_rejected,
        Scope.TOKENS,
        verb="rejected",
        fields=("version", *_ACCOUNT),
        waits=True,
    ),
    _route("POST", f"{_LOGIN}/refresh", logins.refresh, Scope.OPERATE, verb="refresh", fields=_ACCOUNT, waits=True),
    _route(
        "PUT",
        _LOGIN,
        logins.add_login,
        Scope.ADD,
        verb="add",
        fields=None,
        finishes=True,
        body_limit=LARGE_BODY,
    ),
    _route("GET", _LOGIN, logins.show_login, Scope.READ, answers_head=True),
    _route("DELETE", _LOGIN, logins.remove_login, Scope.REMOVE, verb="remove", finishes=True),
    _route("GET", "/v1/logins", logins.list_logins, Scope.READ, query=_FILTERS, filters=True, answers_head=True),
    _route(
        "POST",
        f"{_LOGIN}/mfa",
        logins.submit_code,
        Scope.OPERATE,
        verb="mfa",
        fields=("code", "pendingId", *_ACCOUNT),
        waits=True,
        finishes=True,
    ),
    _route(
        "POST",
        f"{_LOGIN}/mfa/restart",
        logins.ask_again,
        Scope.OPERATE,
        verb="mfa_restart",
        fields=_ACCOUNT,
        waits=True,
        finishes=True,
    ),
    _route("GET", "/v1/summary", fleet.summarize, Scope.READ, answers_head=True),
    _route("GET", "/v1/brokers", fleet.list_brokers, Scope.READ, answers_head=True),
    _route("PUT", _PAUSE, fleet.pause, Scope.OPERATE, verb="pause", fields=("note",), finishes=True),
    _route("DELETE", _PAUSE, fleet.resume, Scope.OPERATE, verb="resume", finishes=True),
    Route("GET", "/openapi.json", fleet.describe, door=Door.OPEN, answers_head=True),
)
