"""The documents of answers: what the API shows of values. Pure, and without a refresh token.

Names are Mesh's, in camelCase. What is not known is null, and never 0.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from mesh_refresh.keeper import Account, Added, Login, Process, UnopenedRow, version_of
from mesh_refresh.observing import BrokerFigures, Figures
from mesh_refresh.stores import BrokerPause, WrongKey
from mesh_refresh.stores.store import ALL_BROKERS
from mesh_refresh.tokens import Tokens

Document = dict[str, Any]


def tokens_document(login_id: str, tokens: Tokens) -> Document:
    """Fresh tokens: all but the refresh token."""
    return {
        "loginId": login_id,
        "accountId": tokens.account_id or tokens.mesh_account_id,
        "brokerType": str(tokens.broker),
        "accessToken": tokens.access_token,
        "tokenId": tokens.token_id,
        "tradeToken": tokens.trade_token,
        "authToken": tokens.auth_token,
        "expiresAt": _iso(tokens.expires_at),
        "version": version_of(login_id, tokens),
    }


def login_document(login: Login | UnopenedRow) -> Document:
    """States, reasons and times of a login; of one that does not open, what its row shows."""
    if isinstance(login, UnopenedRow):
        row = login.row
        return {
            "loginId": row.login_id,
            "brokerType": row.broker,
            "opened": False,
            "problem": "wrong_key" if isinstance(login.error, WrongKey) else "damaged",
            "states": sorted(row.states),
            "expiresAt": _iso(row.expires_at),
            "dueAt": _iso(row.due_at),
            "changedAt": _iso(row.changed_at),
        }
    return {
        "loginId": login.login_id,
        "brokerType": str(login.broker),
        "opened": True,
        "state": login.state,
        "states": sorted({account.state for account in login.accounts}),
        "moving": None if login.moving is None else login.moving.way,
        "succeededAt": _iso(login.succeeded_at),
        "changedAt": _iso(login.changed_at),
        "accounts": [_account_document(account, is_moving=login.moving is not None) for account in login.accounts],
    }


def _account_document(account: Account, *, is_moving: bool) -> Document:
    tokens, pending = account.tokens, account.pending
    return {
        "accountId": tokens.account_id or tokens.mesh_account_id,
        "meshAccountId": tokens.mesh_account_id,
        "state": account.state,
        "reason": account.reason,
        "displayMessage": account.display_message,
        "parkedAt": _iso(account.parked_at),
        "expiresAt": _iso(tokens.expires_at),
        "refreshTokenExpiresAt": _iso(tokens.refresh_token_expires_at),
        "notBefore": _iso(tokens.not_before),
        "dueAt": None if account.parked or is_moving else _iso(account.due_at),
        "refreshedAt": _iso(account.refreshed_at),
        "retryNotBefore": _iso(account.retry_not_before),
        "resendNotBefore": _iso(account.resend_not_before),
        "failures": account.failures,
        "failingSince": _iso(account.failing_since),
        "lastError": account.last_error,
        "needsCode": account.needs_code,
        "pending": None
        if pending is None
        else {
            "pendingId": pending.id,
            "askedAt": _iso(pending.asked_at),
            "answered": pending.answered,
            "displayMessage": pending.display_message,
        },
    }


def added_document(added: Added) -> Document:
    """What became of each account of a login that was added."""
    names = ("new", "replaced", "woken", "unchanged")
    accounts = [{"accountId": account, "outcome": name} for name in names for account in getattr(added, name)]
    return {"changed": added.changed, "accounts": accounts}


def summary_document(figures: Figures | None, processes: Iterable[Process], now: datetime) -> Document:
    """The fleet as it was counted last, and the processes that serve it."""
    counted: Document = dict.fromkeys(_COUNTED)
    if figures is not None:
        notices = figures.notices_waiting is not None
        counted = {
            "asOf": _iso(figures.at),
            **_counts(figures.brokers.values()),
            "due": figures.due,
            "mostOverdueSeconds": figures.most_overdue,
            "leased": figures.leased,
            "notices": {
                "waiting": figures.notices_waiting,
                "dead": figures.notices_dead,
                "oldestAt": _iso(figures.oldest_notice),
            }
            if notices
            else None,
        }
    return {**counted, "processes": [_process_document(process, now) for process in processes]}


_COUNTED = ("asOf", "logins", "states", "expired", "due", "mostOverdueSeconds", "leased", "notices")


def _counts(brokers: Iterable[BrokerFigures]) -> Document:
    listed = list(brokers)
    names = sorted({state for broker in listed for state in broker.states})
    return {
        "logins": sum(broker.logins for broker in listed),
        "states": {name: sum(broker.states.get(name, 0) for broker in listed) for name in names},
        "expired": sum(broker.expired for broker in listed),
        "due": sum(broker.due for broker in listed),
    }


def _process_document(process: Process, now: datetime) -> Document:
    state = process.state
    return {
        "process": process.process,
        "role": process.role,
        "at": _iso(process.at),
        "silent": process.is_silent(now),
        "version": process.version,
        "inFlight": None if state is None else state.in_flight,
        "unsavedLogins": None if state is None else state.unsaved_logins,
        "spoolFiles": None if state is None else state.spool_files,
        "breakers": None if state is None else dict(state.breakers),
        "eventsDropped": None if state is None else state.events_dropped,
        "lastRoundAt": None if state is None else _iso(state.last_round),
    }


def brokers_document(
    figures: Figures | None, pauses: Mapping[str, BrokerPause], processes: Sequence[Process]
) -> Document:
    """Each broker that has logins, is paused, or has a breaker that is open in a process."""
    breakers: dict[str, set[str]] = {}
    for process in processes:
        for broker, fault in () if process.state is None else process.state.breakers.items():
            breakers.setdefault(broker, set()).add(fault)
    counted = {} if figures is None else figures.brokers
    names = (counted.keys() | pauses.keys() | breakers.keys()) - {ALL_BROKERS}
    return {
        "asOf": None if figures is None else _iso(figures.at),
        "pause": _pause(pauses, ALL_BROKERS),
        "breakers": sorted(breakers.get(ALL_BROKERS, ())),
        "brokers": [
            {
                "brokerType": name,
                **_broker_counts(counted.get(name)),
                "pause": _pause(pauses, name),
                "breakers": sorted(breakers.get(name, ())),
            }
            for name in sorted(names)
        ],
    }


def _broker_counts(figures: BrokerFigures | None) -> Document:
    unknown: Document = dict.fromkeys(("logins", "states", "expired", "due"))
    return unknown if figures is None else _counts([figures])


def pause_document(pause: BrokerPause) -> Document:
    """Who paused a broker, why and when."""
    return {"brokerType": pause.broker, "note": pause.note, "by": pause.by, "at": _iso(pause.at)}


def _pause(pauses: Mapping[str, BrokerPause], broker: str) -> Document | None:
    return pause_document(pauses[broker]) if broker in pauses else None


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
