"""What a process tells systemd: sd_notify(3), and the watchdog of sd_watchdog_enabled(3)."""

import os
import socket
from typing import Self

from attrs import frozen


@frozen
class Systemd:
    """Where systemd listens for this process."""

    address: str
    watchdog: float | None
    """Seconds within which systemd wants a sign of life; None: it wants none."""

    @classmethod
    def from_environment(cls) -> Self | None:
        """By ``NOTIFY_SOCKET`` and ``WATCHDOG_USEC``; None where nothing listens. Child processes do not see them."""
        address, span, pid = (os.environ.pop(name, "") for name in ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"))
        if address[:1] not in ("/", "@"):
            return None
        is_meant = pid in ("", str(os.getpid())) and span.isdecimal() and int(span) > 0
        return cls(address, int(span) / 1e6 if is_meant else None)

    def tell(self, *lines: str) -> None:
        """Send assignments, as ``READY=1``. It neither waits nor fails: systemd may be gone, or busy."""
        place = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.settimeout(0)
            try:
                sock.sendto("\n".join(lines).encode(), place)
            except OSError:
                return
