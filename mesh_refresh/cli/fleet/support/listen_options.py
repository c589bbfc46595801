"""Options of commands that listen, and what they make of them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import wraps
from typing import Any

import click
from attrs import define

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.fleet.support.options import duration_option
from mesh_refresh.service.access import Access
from mesh_refresh.service.service import make_guard
from mesh_refresh.service.supervision import Supervision
from mesh_refresh.service.systemd import Systemd
from mesh_refresh.service.web.addresses import Address, UnixAddress, parse_address, take_inherited
from mesh_refresh.service.web.app import make_app
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.telemetry import PrometheusObserver

_BEYOND_LOOPBACK = 5.0
"""Seconds of --drain-delay where other machines send calls here."""


@define
class ListenOptions:
    """Where a command listens, and to whom it shows metrics."""

    address: Address | None
    mode: int | None
    is_open: bool
    hosts: Sequence[str]
    drain_delay: timedelta | None

    @property
    def are_given(self) -> bool:
        """Whether any of them was given."""
        others = (self.mode is not None, self.is_open, self.hosts, self.drain_delay is not None)
        return self.address is not None or any(others)

    def supervise(self) -> Supervision | None:
        """What shows this process to its supervisor; None where none asks.

        Sockets of systemd are taken in place of the address. Nothing is opened yet.
        """
        place = take_inherited() or self.address
        probes, systemd = Probes(), Systemd.from_environment()
        if place is None:
            if self.are_given:
                raise click.UsageError("--open-metrics, --host, --socket-mode and --drain-delay go with --listen.")
            return None if systemd is None else Supervision(probes, systemd=systemd)
        if self.mode is not None:
            if not isinstance(place, UnixAddress):
                raise click.UsageError("--socket-mode goes with --listen unix:PATH.")
            place = UnixAddress(place.path, self.mode)
        observer = _make_observer()
        exposure = Exposure(place.is_local, self.is_open, frozenset(host.lower() for host in self.hosts))
        guard = make_guard(probes, Access(), exposure)
        usual = 0.0 if place.is_local else _BEYOND_LOOPBACK
        delay = usual if self.drain_delay is None else self.drain_delay.total_seconds()
        return Supervision(probes, Listening(make_app(guard, observer), place), systemd, delay, observer)


def listen_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--listen`` and what goes with it. The command gets `ListenOptions` as `listen` in their place."""

    @wraps(command)
    def listening(
        *arguments: Any,
        listen: str | None,
        socket_mode: int | None,
        open_metrics: bool,
        host: tuple[str, ...],
        drain_delay: timedelta | None,
        **others: Any,
    ) -> Any:
        address = None if listen is None else parse_address(listen)
        options = ListenOptions(address, socket_mode, open_metrics, host, drain_delay)
        return command(*arguments, listen=options, **others)

    for option in (
        duration_option(
            "--drain-delay",
            "After SIGTERM, go on for so long with /readyz at 503.  [default: 5s beyond loopback, else 0s]",
        ),
        click.option(
            "--host",
            metavar="NAME",
            multiple=True,
            help="Answer /metrics under this name too; IP addresses and localhost always go.",
        ),
        click.option("--socket-mode", type=_parse_mode, metavar="MODE", help="Of a unix socket.  [default: 0600]"),
        click.option("--open-metrics", is_flag=True, help="Show /metrics to all, and not on loopback only."),
        click.option(
            "--listen",
            metavar="ADDRESS",
            help="Serve /livez, /readyz and /metrics here: 127.0.0.1:8321, [::1]:8321 or unix:PATH.",
        ),
    ):
        listening = option(listening)
    return listening


def _parse_mode(text: str) -> int:
    if not 3 <= len(text) <= 4 or set(text) - set("01234567") or int(text, 8) > 0o777:
        raise click.BadParameter("Write the mode as 0600 or 0660.")
    return int(text, 8)


def _make_observer() -> PrometheusObserver | None:
    """Keeps the series for /metrics. None where prometheus-client is not installed."""
    try:
        return PrometheusObserver()
    except InvalidRequest:
        return None
