"""What is wrong with the arguments of a keeper's verbs: told before any I/O."""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from mesh_refresh.enums import named_broker
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.logins import AccountState
from mesh_refresh.stores import MemoryStore, Store
from mesh_refresh.stores.store import ALL_BROKERS

_OF_A_STORE = ("cipher", "store_id", *(name for name in dir(Store) if not name.startswith("_")))
_OF_A_CLIENT = ("refresh", "submit_mfa", "may_resend", "credential", "retry", "clock", "closed")


def check_parts(mesh: object, store: object, **options: object) -> None:
    """Raises `InvalidRequest` for what is no client, no store, or no option of a keeper."""
    if isinstance(mesh, type) or not all(hasattr(mesh, name) for name in _OF_A_CLIENT):
        raise InvalidRequest("Keeper takes a MeshClient first.")
    if isinstance(store, type) or not all(hasattr(store, name) for name in _OF_A_STORE):
        raise InvalidRequest("Keeper takes a Store second, such as one of mesh_refresh.stores.")
    if options["policy"] is not None and not isinstance(options["policy"], Policy):
        raise InvalidRequest("policy takes a Policy.")
    for name in ("on_event", "names"):
        if options[name] is not None and not callable(options[name]):
            raise InvalidRequest(f"{name} takes a function.")
    if options["spool"] is not None and not isinstance(options["spool"], str | os.PathLike):
        raise InvalidRequest("spool takes the path of a folder.")
    clock = options["clock"]
    if clock is not None and not (hasattr(clock, "now") and hasattr(clock, "monotonic")):
        raise InvalidRequest("clock takes an object with `now` and `monotonic`, see mesh_refresh.Clock.")


def check_spool(spool: object, store: object) -> None:
    """Tokens come to a disk sealed, or in plain text because somebody said so."""
    if spool is not None and isinstance(store, MemoryStore) and store.made_up_cipher:
        raise InvalidRequest(
            "A spool needs a cipher: MemoryStore(cipher=Cipher([key])), or PlainText() where nothing is secret."
        )


def check_wait(max_wait: object) -> None:
    """For how long somebody waits."""
    if max_wait is not None and not isinstance(max_wait, timedelta):
        raise InvalidRequest("max_wait takes a timedelta.")


def check_id(name: str, value: object) -> None:
    """For an id that may be left out."""
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} takes a string, not {type(value).__name__}.")


def check_broker(broker: object) -> None:
    """For a broker to pause: a slip must not pause something else, or nothing."""
    if not isinstance(broker, str) or not broker.strip():
        raise InvalidRequest('A broker must be a BrokerType or another non-empty string; "*" is all of them.')


def brokers_of(names: object) -> frozenset[str] | None:
    """The brokers that `names` means: one or several, ``"*"`` or True for all of them; None for what means nothing."""
    if isinstance(names, bool):
        return frozenset({ALL_BROKERS} if names else ())
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, Iterable) or isinstance(listed, bytes | Mapping):
        return None
    found = list(listed)
    if not all(isinstance(name, str) and name.strip() for name in found):
        return None
    return frozenset(str(named_broker(name)) for name in found)


def wrong_many(logins: object, spread: object) -> str | None:
    """What is wrong with what `add_many` was given. It does not raise: a frame that raises shows its locals."""
    if not isinstance(logins, Iterable) or isinstance(logins, str | bytes | Mapping):
        return f"add_many takes an iterable of pairs (login id, tokens), not {type(logins).__name__}."
    if not isinstance(spread, timedelta) or spread < timedelta():
        return "spread takes a timedelta, of zero or more."
    return None


def check_filters(state: object, broker: object, changed_since: object, after: object, limit: object) -> None:
    """For `logins`."""
    if state is not None and state not in list(AccountState):
        raise InvalidRequest(f"state must be one of {', '.join(AccountState)}.")
    check_id("broker", broker)
    check_id("after", after)
    if changed_since is not None and (not isinstance(changed_since, datetime) or changed_since.tzinfo is None):
        raise InvalidRequest("changed_since takes an aware datetime, such as datetime.now(UTC).")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InvalidRequest("limit takes a whole number, of zero or more.")
