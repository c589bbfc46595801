"""Logins on the page: the list, one of them, and what can be done with it."""

from typing import Any
from urllib.parse import urlencode

from aiohttp import web

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper import AccountState, Login, UnknownLogin, UnopenedRow
from mesh_refresh.masking import MaskedStr
from mesh_refresh.replies.outcomes import CodeRefused
from mesh_refresh.service.api.logins import start_before
from mesh_refresh.service.api.segments import raw_segment, read_base64, read_segment, write_base64
from mesh_refresh.service.page.acting import TOLD, Problem, act
from mesh_refresh.service.page.login_view import line_of, view_login, view_unopened
from mesh_refresh.service.page.visit import Visit
from mesh_refresh.stores import StoreDamaged, WrongKey

LOGIN = "/logins/{loginId}"
_LINES = 50


async def list_logins(visit: Visit) -> web.Response:
    """Some logins, by state and broker; or the way to the one that is looked for."""
    query = visit.request.query
    if find := query.get("id"):
        return await _find(visit, find)
    state, broker = query.get("state", ""), query.get("broker", "").strip()
    cursor = read_base64(query.get("after", ""))
    who, starts = visit.who, [it for it in (cursor, start_before(visit.who.prefix)) if it]
    try:
        found = await visit.keeper.page(
            _LINES + 1, state=state or None, broker=broker or None, after=max(starts, default=None)
        )
    except InvalidRequest as error:
        return _list(visit, 422, problem=str(error))
    fleet = await visit.state.look(visit.keeper)
    seen = [login for login in found[:_LINES] if who.sees(login.login_id)]
    last = found[-1].login_id if found else ""
    has_more = len(found) > _LINES and (who.sees(last) or last < who.prefix)
    return _list(
        visit,
        lines=[line_of(it, visit.now, fleet.held(_broker(it))) for it in seen],
        next=write_base64(found[_LINES - 1].login_id) if has_more else None,
        is_later=bool(cursor),
        wanted_state=state,
        wanted_broker=broker,
        filters=urlencode({name: value for name, value in (("state", state), ("broker", broker)) if value}),
        told=TOLD.get(query.get("told", "")),
    )


async def show_login(visit: Visit) -> web.Response:
    """One login."""
    return await _login(visit, _id(visit, LOGIN), told=TOLD.get(visit.request.query.get("told", "")))


async def refresh(visit: Visit) -> web.Response:
    """Exchange now, due or not."""
    login_id, account = _id(visit, f"{LOGIN}/refresh"), await _account(visit)
    doing = visit.keeper.refresh(visit.who.masked(login_id), account)
    return await _done(visit, "refresh", login_id, await act(visit, "refresh", doing, login=login_id, account=account))


async def submit_code(visit: Visit) -> web.Response:
    """Send the code that a person typed."""
    login_id, account = _id(visit, f"{LOGIN}/mfa"), await _account(visit)
    code, pending_id = MaskedStr(await visit.field("code")), await visit.field("pending") or None
    doing = visit.keeper.submit_mfa(visit.who.masked(login_id), code, pending_id=pending_id, account_id=account)
    problem = await act(visit, "mfa", doing, login=login_id, account=account)
    is_wrong = problem is not None and isinstance(problem.error, CodeRefused)
    return await _done(visit, "mfa", login_id, problem, code_problem=pending_id if is_wrong else None)


async def ask_again(visit: Visit) -> web.Response:
    """Let the broker send another code."""
    login_id, account = _id(visit, f"{LOGIN}/mfa/restart"), await _account(visit)
    doing = visit.keeper.restart_mfa(visit.who.masked(login_id), account)
    problem = await act(visit, "mfa_restart", doing, login=login_id, account=account)
    return await _done(visit, "mfa_restart", login_id, problem)


async def remove(visit: Visit) -> web.Response:
    """Delete a login, whose id the person has typed."""
    login_id, typed = _id(visit, f"{LOGIN}/remove"), await visit.field("typed")
    if login_id not in (typed, typed.strip()):
        wrong = "This is not the id of this login. Nothing was removed."
        return await _login(visit, login_id, 422, remove_problem=wrong)
    problem = await act(visit, "remove", _remove(visit, login_id), login=login_id)
    if problem is None:
        return visit.go_to("/logins", told="remove")
    return await _done(visit, "remove", login_id, problem)


async def _remove(visit: Visit, login_id: str) -> None:
    if not await visit.keeper.remove(visit.who.masked(login_id)):
        raise UnknownLogin


async def _done(visit: Visit, verb: str, login_id: str, problem: Problem | None, **values: Any) -> web.Response:
    """The page of the login after something was done with it, or was not."""
    visit.state.forget()
    if problem is None:
        return visit.go_to(f"/logins/~{write_base64(login_id)}", told=verb)
    said = problem.broker_said
    return await _login(visit, login_id, problem.status, problem=problem.words, broker_said=said, **values)


async def _find(visit: Visit, typed: str) -> web.Response:
    for login_id in dict.fromkeys((typed, typed.strip())):
        try:
            await visit.keeper.login(visit.who.masked(login_id))
        except (StoreDamaged, WrongKey):
            pass  # its page says so
        except (UnknownLogin, InvalidRequest):
            continue
        return visit.go_to(f"/logins/~{write_base64(login_id)}")
    return _list(visit, 404, problem="There is no login with this id.", find=typed)


async def _login(visit: Visit, login_id: str, status: int = 200, **values: Any) -> web.Response:
    try:
        login = await visit.keeper.login(visit.who.masked(login_id))
        fleet = await visit.state.look(visit.keeper)
        view = view_login(login, visit.now, fleet.held(_broker(login)))
    except (StoreDamaged, WrongKey) as error:
        view = view_unopened(login_id, error)
    except UnknownLogin:
        return _unknown(visit)
    options = {"broker_said": None, "code_problem": None, "remove_problem": None, **values}
    path = f"/logins/~{write_base64(login_id)}"
    return visit.page("login.html", status, here="logins", path=path, view=view, **options)


def _broker(login: Login | UnopenedRow) -> str:
    return login.row.broker if isinstance(login, UnopenedRow) else str(login.broker)


def _unknown(visit: Visit) -> web.Response:
    return visit.page(
        "message.html",
        404,
        here="logins",
        title="There is no such login",
        text="It was removed, or it was never added under this id.",
        back="/logins",
        back_text="All logins",
    )


def _list(visit: Visit, status: int = 200, **values: Any) -> web.Response:
    options = {
        "lines": [],
        "next": None,
        "is_later": False,
        "wanted_state": "",
        "wanted_broker": "",
        "filters": "",
        "find": "",
        "prefix": visit.who.prefix,
        "states": [str(state) for state in AccountState],
        **values,
    }
    return visit.page("logins.html", status, here="logins", **options)


def _id(visit: Visit, template: str) -> str:
    return read_segment(raw_segment(visit.request.raw_path, template, "loginId"))


async def _account(visit: Visit) -> str | None:
    return await visit.field("account") or None
