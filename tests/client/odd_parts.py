"""Parts that misbehave: transports that return what is no reply, strategies that build what is no request."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from attrs import evolve

from mesh_refresh import AiohttpTransport, DefaultStrategy, HttpReply, HttpRequest, RefreshRequest, Tokens


class Returning:
    """The real exchange, of whose reply a user's transport makes something else."""

    def __init__(self, make: Callable[[HttpReply], Any]) -> None:
        self.inner = AiohttpTransport()
        self.make = make

    async def send(self, request: HttpRequest) -> HttpReply:
        return cast("HttpReply", self.make(await self.inner.send(request)))

    async def aclose(self) -> None:
        await self.inner.aclose()


class Finishing(DefaultStrategy):
    """Has the last word on every request."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.changes = changes

    def finish(self, request: RefreshRequest, tokens: Tokens) -> RefreshRequest:
        return evolve(request, **self.changes)


class Interpreting(DefaultStrategy):
    """Makes something else of a success."""

    def __init__(self, make: Callable[[Any], Any]) -> None:
        super().__init__()
        self.make = make

    def interpret(self, *args: Any) -> Any:
        return self.make(super().interpret(*args))


class OddMapping(Mapping[str, Any]):
    """Raises when it is read."""

    def __getitem__(self, key: str) -> Any:
        raise LookupError

    def __iter__(self) -> Any:
        raise RuntimeError

    def __len__(self) -> int:
        return 1


def raising(error: BaseException) -> Callable[..., Any]:
    """A function that raises it."""

    def raises(*_: object) -> Any:
        raise error

    return raises


async def bounded(awaitable: Any) -> Any:
    """What it gives, or the error that it raises."""
    try:
        return await awaitable
    except BaseException as error:  # noqa: BLE001 - the test looks at it
        return error
