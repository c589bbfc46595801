"""Adding logins: read, decide, insert or swap, until no other write came between."""

from mesh_refresh.keeper.arguments import check_login
from mesh_refresh.keeper.rules.add import Added, Terms, new_login, with_tokens
from mesh_refresh.keeper.runtime.runtime import Runtime
from mesh_refresh.stores import row_of
from mesh_refresh.tokens import Tokens


async def add_login(runtime: Runtime, login_id: str, tokens: tuple[Tokens, ...], terms: Terms) -> Added:
    """See `Keeper.add` and `Keeper.add_many`."""
    check_login(login_id, tokens)
    while True:
        context, cipher = runtime.context(), runtime.store.cipher
        row = await runtime.store.read(login_id)
        if row is None:
            login, done = new_login(login_id, context.new_id(), tokens, context, terms)
            written = await runtime.store.insert(row_of(cipher, login, context.now))
        else:
            stored = runtime.opened(row)
            check_login(login_id, tokens, str(stored.broker))
            login, done = with_tokens(stored, tokens, context, terms)
            written = not done.changed or await runtime.store.swap(row_of(cipher, login, context.now))
        if written:
            runtime.wake(login_id)
            return done
