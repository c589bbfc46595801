"""When a process stops claiming because its keys open no logins: it may have been started with old keys. Pure."""

from mesh_refresh.keeper.policy import Policy

IN_A_ROW = 3
"""After so many different logins that do not open, and none between them that does, claiming stops."""


class KeyMismatch:
    """The logins that did not open, since the last one that did."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._failed: set[str] = set()
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
