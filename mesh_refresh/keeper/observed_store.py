"""A store whose failures are told."""

import inspect
from collections.abc import Callable
from typing import Any, cast

from mesh_refresh.stores import Outbox, Registry, Sealing, Store

_VERBS = frozenset(
    name
    for part in (Store, Outbox, Registry)
    for name, verb in vars(part).items()
    if inspect.iscoroutinefunction(verb) and not name.startswith("_")
)


def observed(store: Store, failed: Callable[[str], object]) -> Store:
    """`store`, with its outbox and registry. `failed` is called with the name of each verb that raises."""
    part = _Observed(store, failed)
    part.cipher = store.cipher  # asked for with each row, and quicker than by `__getattr__`
    return cast("Store", part)


class _Observed:
    """Has all that the part of a store has."""

    cipher: Sealing

    def __init__(self, part: object, failed: Callable[[str], object]) -> None:
        self._part, self._failed = part, failed

    def __repr__(self) -> str:
        return repr(self._part)

    def __getattr__(self, name: str) -> Any:
        found: Any = getattr(self._part, name)
        if name in ("outbox", "registry"):
            part = None if found is None else _Observed(found, self._failed)
            setattr(self, name, part)  # asked for with each write
            return part
        if name not in _VERBS:
            return found

        async def verb(*args: Any, **options: Any) -> Any:
            try:
                return await getattr(self._part, name)(*args, **options)
            except Exception:
                self._failed(name)
                raise

        setattr(self, name, verb)
        return verb
