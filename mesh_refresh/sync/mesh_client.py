"""`MeshClient` for programs without an event loop."""

from collections.abc import Callable
from contextlib import AsyncExitStack

from mesh_refresh import client
from mesh_refresh.client.calls import holds_live_token
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.replies.outcomes import MfaRequired, NotSaved, Outcome, Refreshed, UnreadableReply
from mesh_refresh.sync.facade import Facade, check_callables, waiting


class MeshClient(Facade[client.MeshClient]):
    """Refreshes tokens at Mesh from any thread, and loses none of them::

        with sync.MeshClient(MeshClient.from_env) as mesh:
            refreshed = mesh.refresh(tokens).unwrap()

    Args:
        make: a callable that makes a `mesh_refresh.MeshClient`, once in each process that uses this one. ``on_outcome``
            of that client may be an ordinary function: it is called in a thread of its own.

    Raises:
        InvalidRequest: `make` cannot be called, or gevent or eventlet is in use. Each verb raises it in an event loop.
    """

    def __init__(self, make: Callable[[], client.MeshClient]) -> None:
        super().__init__()
        check_callables("MeshClient", "MeshClient.from_env", make)
        self._make = make
        self._untaken: list[Outcome] = []
        """What neither ``on_outcome`` nor its caller took, because the caller's thread was interrupted."""
        self._is_unhooked = True

    refresh = waiting(client.MeshClient.refresh)
    submit_mfa = waiting(client.MeshClient.submit_mfa)

    def _closed(self) -> InvalidRequest:
        return InvalidRequest("This client is closed; nothing was sent.")

    async def _open(self, stack: AsyncExitStack) -> client.MeshClient:
        mesh = self._make()
        if not isinstance(mesh, client.MeshClient):
            raise InvalidRequest("The callable of sync.MeshClient makes no mesh_refresh.MeshClient.")
        self._is_unhooked = mesh.on_outcome is None
        stack.push_async_callback(self._close, mesh)
        return mesh

    async def _close(self, mesh: client.MeshClient) -> None:
        unreached: tuple[Outcome, ...] = ()
        try:
            await mesh.aclose()
        except NotSaved as error:
            unreached = error.outcomes or ()
        unreached += tuple(self._untaken)
        self._untaken.clear()
        if unreached:
            raise NotSaved(f"{len(unreached)} outcome(s) reached neither a caller nor on_outcome.", unreached)

    def _on_untaken(self, given: object) -> None:
        if isinstance(given, NotSaved):
            self._untaken += given.outcomes or ()
        elif (
            self._is_unhooked
            and isinstance(given, Refreshed | MfaRequired | UnreadableReply)
            and holds_live_token(given)
        ):
            self._untaken.append(given)
