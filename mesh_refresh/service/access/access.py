"""`Access`: the keys that open the service, as they are now."""

import hmac
import logging
import os
import time
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self

from attrs import frozen

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import hides_locals
from mesh_refresh.service.access.file import AccessFile
from mesh_refresh.service.access.keys import AccessKey, hash_of
from mesh_refresh.service.access.rates import RateLimits

_log = logging.getLogger("mesh_refresh.service")

_SILENT = 1.0
"""Seconds between two log lines about refused callers."""


@frozen
class Refusal:
    """Why a caller is not let in: the status, reason and words of the answer."""

    status: int
    reason: str
    detail: str
    retry_after: float | None = None
    """Seconds."""
    challenge: str | None = None
    """For ``WWW-Authenticate``."""


_NO_KEY = Refusal(401, "unauthorized", "An access key is needed: Authorization: Bearer mrk_...", challenge="Bearer")
_UNKNOWN = Refusal(
    401, "unauthorized", "This access key is not known, or was revoked.", challenge='Bearer error="invalid_token"'
)
_EXPIRED = Refusal(401, "unauthorized", "This access key has expired.", challenge='Bearer error="invalid_token"')


class Access:
    """The keys that open a service.

    `open` reads them from a file that ``mesh-refresh access`` writes, and looks at it again whenever it changes,
    through links too. ``Access(keys)`` has keys that were made in code: see `AccessKey.generate`.

    Args:
        keys: the keys. Raises `InvalidRequest` where two have one name.
    """

    def __init__(self, keys: Iterable[AccessKey] = ()) -> None:
        self._file: AccessFile | None = None
        self._rates = RateLimits()
        self.failures = 0
        """How many requests were refused for their key, or for having none."""
        self._told_at = -_SILENT
        self._now: Callable[[], datetime] = lambda: datetime.now(UTC)
        self._take(tuple(keys))

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Self:
        """The keys in the file at `path`.

        A later version of it that is broken, or that others can write, is an error in the log, and the keys stay as
        they were; where it is gone, there are no keys. Raises `InvalidRequest` where it cannot be used now.
        """
        access = cls()
        access._file = AccessFile(Path(path))
        access._take(access._file.keys)
        return access

    @property
    def keys(self) -> tuple[AccessKey, ...]:
        """The keys as they are now, expired ones too."""
        self._look()
        return tuple(self._keys.values())

    def by_name(self, name: str, sha256: str) -> AccessKey | None:
        """The key with this name and hash, unless it has expired: for sessions, which keep both. No rate counts."""
        self._look()
        key = self._keys.get(name)
        if key is None or not hmac.compare_digest(key.hash, sha256) or key.is_expired(self._now()):
            return None
        return key

    @hides_locals
    def find(self, bearer: str | None) -> AccessKey | Refusal:
        """The key that `bearer` is (the text itself), or why it opens nothing. It takes one request of the key's rate.

        All keys are compared, each in constant time.
        """
        if bearer is None:
            return _NO_KEY
        self._look()
        wanted, found = hash_of(bearer), None
        for key in self._keys.values():
            if hmac.compare_digest(key.hash, wanted):
                found = key
        if found is None:
            return _UNKNOWN
        if found.is_expired(self._now()):
            return _EXPIRED
        if found.rate is not None:
            wait = self._rates.take(found.hash, found.rate, time.monotonic())
            if wait:
                return Refusal(429, "too_many_requests", "This access key may call less often.", retry_after=wait)
        return found

    def count_failure(self, refusal: Refusal, address: str) -> None:
        """Count a refused caller at `address`, and log it unless another one was logged within a second."""
        self.failures += 1
        now = time.monotonic()
        if now - self._told_at >= _SILENT:
            self._told_at = now
            facts = {"reason": refusal.detail, "address": address, "failures": self.failures}
            _log.warning("a caller was refused", extra=facts)

    def _take(self, keys: tuple[AccessKey, ...]) -> None:
        self._keys = {key.name: key for key in keys}
        if len(self._keys) != len(keys):
            raise InvalidRequest("Two access keys have one name.")
        self._rates.keep(frozenset(key.hash for key in keys))

    def _look(self) -> None:
        """Read the file again where it has changed."""
        if self._file is not None and self._file.look():
            self._take(self._file.keys)
