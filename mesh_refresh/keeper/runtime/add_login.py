"""Adding logins: read, decide, insert or swap, until nobody came between."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from attrs import frozen

from mesh_refresh.keeper.rules.add import Added, Adding, check_login, new_login, with_tokens, wrong_login_id
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.stores import row_of
from mesh_refresh.stores.store import ALL_BROKERS
from mesh_refresh.tokens import Tokens


def given(tokens: object) -> tuple[Tokens, ...] | str:
    """What was given to `add`, or what is wrong with it. It does not raise: a frame that raises shows its locals."""
    if isinstance(tokens, Tokens):
        return (tokens,)
    if isinstance(tokens, Iterable) and not isinstance(tokens, str | bytes | Mapping):
        listed = list(tokens)
        found = tuple(it for it in listed if isinstance(it, Tokens))
        if len(found) == len(listed):
            return found
    return "add takes Tokens, or an iterable of them (Tokens.from_link reads what Link hands over)."


def pair(login: object) -> tuple[str, tuple[Tokens, ...]] | str:
    """A login id and its tokens, or what is wrong with them. It does not raise, either."""
    if not isinstance(login, tuple | list) or len(login) != 2:
        return "add_many takes pairs of a login id and tokens."
    login_id, tokens = login
    found = given(tokens)
    if isinstance(found, str):
        return found
    return wrong_login_id(login_id) or (str(login_id), found)


@frozen
class Terms:
    """How the logins of one `add_many` are added."""

    over: timedelta = timedelta()
    at_once: bool = False
    on_demand: frozenset[str] = frozenset()
    """Brokers whose logins the loop leaves alone."""


_ALONE = Terms()


async def add_login(runtime: Runtime, login_id: str, tokens: tuple[Tokens, ...], terms: Terms = _ALONE) -> Added:
    """See `Keeper.add` and `Keeper.add_many`."""
    check_login(login_id, tokens)
    while True:
        now = runtime.at()
        how = Adding(
            now,
            runtime.policy,
            runtime.names,
            terms.over,
            terms.at_once,
            on_demand=not terms.on_demand.isdisjoint((ALL_BROKERS, str(tokens[0].broker))),
            credential=runtime.mesh.credential,
        )
        row = await runtime.store.read(login_id)
        if row is None:
            login, done = new_login(login_id, runtime.names(), tokens, how)
            written = await runtime.store.insert(row_of(runtime.store.cipher, login, now))
        else:
            stored = runtime.opened(row)
            check_login(login_id, tokens, str(stored.broker))
            login, done = with_tokens(stored, tokens, how)
            written = not done.changed or await runtime.store.swap(row_of(runtime.store.cipher, login, now))
        if written:
            runtime.wake(login_id)
            return done
