"""What callers may pass to a keeper. Wrong arguments are refused before any I/O.

A check of tokens returns what is wrong with them and does not raise: a traceback may be rendered with the locals of the
frame that raises. The caller deletes the tokens first.
"""

import inspect
import os
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from mesh_refresh.enums import named_broker
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.keeper.policy import Policy
from mesh_refresh.logins import AccountState
from mesh_refresh.logins.versions import is_version
from mesh_refresh.observing import check_observer
from mesh_refresh.replies.identity import has_id, same_account
from mesh_refresh.stores import MemoryStore
from mesh_refresh.stores.store import ALL_BROKERS
from mesh_refresh.tokens import Tokens

_OF_A_STORE = ("cipher", "insert", "read", "swap", "claim", "claim_one", "release", "rows", "counts", "pause", "outbox")
_OF_A_CLIENT = ("refresh", "submit_mfa", "may_resend", "credential", "retry", "clock", "closed")
_NO_TOKENS = "add takes Tokens, or an iterable of them (Tokens.from_link reads what Link hands over)."


def check_parts(mesh: object, store: object, **options: object) -> None:
    """Raises `InvalidRequest` for an argument that is no client, no store, or no option of a keeper."""
    if isinstance(mesh, type) or not all(hasattr(mesh, name) for name in _OF_A_CLIENT):
        raise InvalidRequest("Keeper takes a MeshClient first.")
    if isinstance(store, type) or not all(hasattr(store, name) for name in _OF_A_STORE):
        raise InvalidRequest("Keeper takes a Store second, such as one of mesh_refresh.stores.")
    check_hooks(**{name: options[name] for name in ("policy", "on_event", "on_notice", "observer")})
    if options["names"] is not None and not callable(options["names"]):
        raise InvalidRequest("names takes a function.")
    if options["spool"] is not None and not isinstance(options["spool"], str | os.PathLike):
        raise InvalidRequest("spool takes the path of a folder.")
    if options["role"] is not None and not (isinstance(options["role"], str) and options["role"].strip()):
        raise InvalidRequest("role takes a word for what this process does, such as run.")
    clock = options["clock"]
    if clock is not None and not (hasattr(clock, "now") and hasattr(clock, "monotonic")):
        raise InvalidRequest("clock takes an object with `now` and `monotonic`, see mesh_refresh.Clock.")


def check_hooks(*, policy: object, on_event: object, on_notice: object, observer: object) -> None:
    """Raises `InvalidRequest` for what is no policy, no handler or no observer."""
    if policy is not None and not isinstance(policy, Policy):
        raise InvalidRequest("policy takes a Policy.")
    if inspect.isasyncgenfunction(on_notice) or inspect.isgeneratorfunction(on_notice):
        raise InvalidRequest("on_notice takes an async function, and this is a generator.")
    for name, handler in (("on_event", on_event), ("on_notice", on_notice)):
        if handler is not None and not callable(handler):
            raise InvalidRequest(f"{name} takes a function.")
    if observer is not None:
        check_observer(observer)


def check_spool(spool: object, store: object) -> None:
    """Raises `InvalidRequest` for a spool without a cipher: tokens reach a disk in plain text only by saying so."""
    if spool is not None and isinstance(store, MemoryStore) and store.made_up_cipher:
        raise InvalidRequest(
            "A spool needs a cipher: MemoryStore(cipher=Cipher([key])), or PlainText() where nothing is secret."
        )


def check_wait(max_wait: object, valid_for: object = None) -> None:
    """For how long a caller waits, and uses the tokens."""
    if max_wait is not None and not isinstance(max_wait, timedelta):
        raise InvalidRequest("max_wait takes a timedelta.")
    if valid_for is not None and not isinstance(valid_for, timedelta):
        raise InvalidRequest("valid_for takes a timedelta.")


def check_id(name: str, value: object) -> None:
    """For an id that may be None."""
    if value is not None and not isinstance(value, str):
        raise InvalidRequest(f"{name} takes a string, not {type(value).__name__}.")


def check_broker(broker: object) -> None:
    """For a broker to pause: a mistyped one must not pause other brokers, or none."""
    if not isinstance(broker, str) or not broker.strip():
        raise InvalidRequest('A broker must be a BrokerType or another non-empty string; "*" is all of them.')


def brokers_of(names: object) -> frozenset[str] | None:
    """The brokers that `names` means: one or several, ``"*"`` or True for all. None: it means no brokers."""
    if isinstance(names, bool):
        return frozenset({ALL_BROKERS} if names else ())
    listed = [names] if isinstance(names, str) else names
    if not isinstance(listed, Iterable) or isinstance(listed, bytes | Mapping):
        return None
    found = list(listed)
    if not all(isinstance(name, str) and name.strip() for name in found):
        return None
    return frozenset(str(named_broker(name)) for name in found)


def as_tokens(value: object) -> tuple[Tokens, ...] | str:
    """The tokens that `add` was given, or what is wrong with them."""
    if isinstance(value, Tokens):
        return (value,)
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        listed = list(value)
        found = tuple(tokens for tokens in listed if isinstance(tokens, Tokens))
        if len(found) == len(listed):
            return found
    return _NO_TOKENS


def as_pair(value: object) -> tuple[str, tuple[Tokens, ...]] | str:
    """A login id and its tokens, as `add_many` takes them, or what is wrong with them."""
    if not isinstance(value, tuple | list) or len(value) != 2:
        return "add_many takes pairs of a login id and tokens."
    login_id, tokens = value
    found = as_tokens(tokens)
    if isinstance(found, str):
        return found
    return wrong_login_id(login_id) or (str(login_id), found)


def check_login(login_id: object, tokens: Sequence[Tokens], broker: str | None = None) -> None:
    """Raises `InvalidRequest` for tokens that cannot be one login. `broker`: that of the login, where it is known."""
    wrong = wrong_login_id(login_id) or _wrong_login(tokens, broker)
    if wrong:
        del tokens, login_id
        raise InvalidRequest(wrong)


def _wrong_login(tokens: Sequence[Tokens], broker: str | None) -> str | None:
    if not all(isinstance(given, Tokens) for given in tokens):
        return _NO_TOKENS
    if not tokens:
        return "There are no tokens to add."
    brokers = {str(given.broker) for given in tokens} | ({broker} if broker is not None else set())
    if len(brokers) > 1:
        return "A login has one broker: remove it first, if the person has changed to another."
    if any(given.refresh_token is None and given.auth_token is None for given in tokens):
        return "An account without any token cannot be kept."
    if len(tokens) > 1:
        if not all(map(has_id, tokens)):
            return "Several accounts of one login need an account_id each, or a mesh_account_id."
        if any(same_account(one, other) for index, one in enumerate(tokens) for other in tokens[:index]):
            return "Two of the accounts have the same id."
    return None


def wrong_login_id(login_id: object) -> str | None:
    """What is wrong with a login id."""
    if not isinstance(login_id, str) or not login_id:
        return "A login id must be a non-empty string."
    try:
        login_id.encode()
    except UnicodeEncodeError:
        return "A login id must be Unicode text."
    return None


def checked_id(login_id: str) -> str:
    """`login_id`. Raises `InvalidRequest` for what is none."""
    wrong = wrong_login_id(login_id)
    if wrong:
        raise InvalidRequest(wrong)
    return login_id


def wrong_rejected(value: object) -> str | None:
    """What is wrong with `rejected`."""
    if value is None or isinstance(value, Tokens) or (isinstance(value, str) and is_version(value)):
        return None
    return "rejected takes the Tokens that were refused, or their version, as version_of gives it."


def wrong_many(logins: object, spread: object, on_error: object) -> str | None:
    """What is wrong with the arguments of `add_many`."""
    if not isinstance(logins, Iterable) or isinstance(logins, str | bytes | Mapping):
        return f"add_many takes an iterable of pairs (login id, tokens), not {type(logins).__name__}."
    if not isinstance(spread, timedelta) or spread < timedelta():
        return "spread takes a timedelta, of zero or more."
    if on_error is not None and not callable(on_error):
        return "on_error takes a function."
    return None


def check_filters(state: object, broker: object, changed_since: object, after: object, limit: object) -> None:
    """For `Keeper.logins`."""
    if state is not None and state not in list(AccountState):
        raise InvalidRequest(f"state must be one of {', '.join(AccountState)}.")
    check_id("broker", broker)
    check_id("after", after)
    if changed_since is not None and (not isinstance(changed_since, datetime) or changed_since.tzinfo is None):
        raise InvalidRequest("changed_since takes an aware datetime, such as datetime.now(UTC).")
    if limit is not None and (type(limit) is not int or limit < 0):
        raise InvalidRequest("limit takes a whole number, of zero or more.")
