"""Logins that the keys of a process do not open, and when it stops claiming for that: its keys may be old. Pure."""

from mesh_refresh.keeper.policy import Policy

IN_A_ROW = 3
"""After so many different logins that do not open, and none between them that does, claiming stops."""


_MOST = 1000
"""Logins that are kept in mind: memory must not follow the size of a fleet."""


class KeyMismatch:
    """The logins that did not open; for claims, those since the last one that did."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._failed: set[str] = set()
        self._met: dict[str, float] = {}
        """When each was looked at last that did not open."""
        self._look_at = float("-inf")

    def failed(self, login_id: str, now: float) -> bool:
        """A login did not open. Returns whether claiming stops with that."""
        before = self.stopped
        if not before:
            self._failed.add(login_id)
        if self.stopped:
            self._look_at = now + self._policy.backoff_cap.total_seconds()
        return self.stopped and not before

    def opened(self) -> bool:
        """A login opened: the keys are good. Returns whether claiming begins again with that."""
        before = self.stopped
        self._failed.clear()
        return before

    @property
    def stopped(self) -> bool:
        """Whether claiming has stopped, but for a few logins now and then."""
        return len(self._failed) >= IN_A_ROW

    def met(self, login_id: str, now: float) -> None:
        """A login did not open, for whoever looked at it."""
        if login_id in self._met or len(self._met) < _MOST:
            self._met[login_id] = now

    def forget(self, login_id: str) -> None:
        """It opens."""
        self._met.pop(login_id, None)

    def unopened(self, now: float) -> int:
        """How many logins were met that do not open, at the most `_MOST`.

        One that is due is met again and again, unless claiming has stopped. One that is not was removed, perhaps, or
        exchanged by another process, and does not count.
        """
        since = now - 2 * max(self._policy.backoff, self._policy.backoff_cap).total_seconds()
        return sum(self.stopped or at >= since for at in tuple(self._met.values()))

    def slots(self, free: int, now: float) -> int:
        """How many of the `free` slots a claim may use.

        While claiming has stopped, a few logins are tried every `Policy.backoff_cap`.
        """
        if not self.stopped:
            return free
        if now < self._look_at:
            return 0
        self._look_at = now + self._policy.backoff_cap.total_seconds()
        return min(free, IN_A_ROW + 1)
