"""Adding logins: read, decide, insert or swap, until nobody came between."""

from collections.abc import Iterable, Mapping
from datetime import timedelta

from mesh_refresh.keeper.adding import Added, Adding, added, checked, made, wrong_login_id
from mesh_refresh.keeper.core import Core
from mesh_refresh.stores import row_of
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


async def add_login(
    core: Core, login_id: str, tokens: tuple[Tokens, ...], over: timedelta = timedelta(), *, at_once: bool = False
) -> Added:
    """See `Keeper.add` and `Keeper.add_many`."""
    checked(login_id, tokens)
    while True:
        now = core.at()
        how = Adding(now, core.policy, core.names, over, at_once, core.mesh.credential)
        row = await core.store.read(login_id)
        if row is None:
            login, done = made(login_id, core.names(), tokens, how)
            written = await core.store.insert(row_of(core.store.cipher, login, now))
        else:
            stored = core.opened(row)
            checked(login_id, tokens, str(stored.broker))
            login, done = added(stored, tokens, how)
            written = not done.changed or await core.store.swap(row_of(core.store.cipher, login, now))
        if written:
            core.wake(login_id)
            return done
