"""When a process should stop claiming, because its keys open nothing: a worker of yesterday's keys, say. Pure."""

from mesh_refresh.keeper.policy import Policy

IN_A_ROW = 3
"""So many different logins that do not open, and none that does between them."""


class KeyMismatch:
    """Logins that did not open, since one did."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._failed: set[str] = set()
        self._look_at = float("-inf")

    def failed(self, login_id: str, now: float) -> bool:
        """One did not open. Whether claiming stops with that."""
        before = self.stopped
        if not before:
            self._failed.add(login_id)
        if self.stopped:
            self._look_at = now + self._policy.backoff_cap.total_seconds()
        return self.stopped and not before

    def opened(self) -> bool:
        """One did: the keys are good. Whether claiming begins again with that."""
        before = self.stopped
        self._failed.clear()
        return before

    @property
    def stopped(self) -> bool:
        """Whether nothing is claimed, but for a few logins now and then."""
        return len(self._failed) >= IN_A_ROW

    def places(self, free: int, now: float) -> int:
        """How many of the free places may be used for a claim; `now` and then it is tried whether logins open again."""
        if not self.stopped:
            return free
        if now < self._look_at:
            return 0
        self._look_at = now + self._policy.backoff_cap.total_seconds()
        return min(free, IN_A_ROW + 1)
