"""Options of commands that listen, and what they make of them."""

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import wraps
from ipaddress import IPv4Network, IPv6Network
from typing import Any

import click
from aiohttp import web
from attrs import frozen

from mesh_refresh import InvalidRequest
from mesh_refresh.cli.fleet.support.options import access_option, duration_option
from mesh_refresh.service.access import Access
from mesh_refresh.service.service import make_guard
from mesh_refresh.service.supervision import Supervision
from mesh_refresh.service.systemd import Systemd
from mesh_refresh.service.web.addresses import Address, Inherited, UnixAddress, parse_address, take_inherited
from mesh_refresh.service.web.app import make_app
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.guard import Guard
from mesh_refresh.service.web.listening import Listening
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.service.web.tls import Certificate
from mesh_refresh.telemetry import PrometheusObserver

_BEYOND_LOOPBACK = 5.0
"""Seconds of --drain-delay where other machines send calls here."""


@frozen
class ListenOptions:
    """Where a process listens, to whom it answers, and how it ends."""

    address: Address | None
    mode: int | None
    access: str | None
    """The path of the access file."""
    opens_metrics: bool
    hosts: Sequence[str]
    drain_delay: timedelta | None
    certificate: Certificate | None = None
    proxies: Sequence[IPv4Network | IPv6Network] = ()

    @property
    def are_given(self) -> bool:
        """Whether any of them was given on the command line."""
        others = (self.mode is not None, self.opens_metrics, self.hosts, self.drain_delay is not None)
        return self.address is not None or any(others)

    def supervise(self, probes: Probes | None = None) -> Supervision | None:
        """What shows a worker to its supervisor; None where none asks. Sockets of systemd go before the address.

        `probes` are those that are shown, if they are not those of this process. Nothing is opened yet.
        """
        place = take_inherited() or self.address
        if place is not None:
            return self.listen(place, make_app, probes)
        if self.are_given:
            raise click.UsageError("--open-metrics, --host, --socket-mode and --drain-delay go with --listen.")
        systemd = Systemd.from_environment()
        return None if systemd is None else Supervision(probes or Probes(), systemd=systemd)

    def listen(
        self,
        place: Address | Inherited,
        make: Callable[[Guard, PrometheusObserver | None], web.Application],
        probes: Probes | None = None,
    ) -> Supervision:
        """What serves, at `place`, the application that `make` makes. `probes`: as in `supervise`."""
        if self.mode is not None:
            if not isinstance(place, UnixAddress):
                raise click.UsageError("--socket-mode goes with --listen unix:PATH.")
            place = UnixAddress(place.path, self.mode)
        observer, probes = make_observer(), probes or Probes()
        exposure = Exposure(
            place.is_local,
            self.opens_metrics,
            frozenset(host.lower() for host in self.hosts),
            tuple(self.proxies),
            self.certificate is not None,
        )
        guard = make_guard(probes, Access() if self.access is None else Access.open(self.access), exposure)
        context = None if self.certificate is None else self.certificate.context
        listening = Listening(make(guard, observer), place, context, exposure.admits)
        usual = 0.0 if place.is_local else _BEYOND_LOOPBACK
        delay = usual if self.drain_delay is None else self.drain_delay.total_seconds()
        return Supervision(probes, listening, Systemd.from_environment(), delay, observer=observer, guard=guard)


def listen_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds ``--listen`` and what goes with it. The command gets `ListenOptions` as `listen` in their place."""

    @wraps(command)
    def listening(
        *arguments: Any,
        listen: str | None,
        access: str | None,
        socket_mode: int | None,
        open_metrics: bool,
        host: tuple[str, ...],
        drain_delay: timedelta | None,
        **others: Any,
    ) -> Any:
        address = None if listen is None else parse_address(listen)
        options = ListenOptions(address, socket_mode, access or None, open_metrics, host, drain_delay)
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
            help="Answer under this name too; IP addresses and localhost always go.",
        ),
        click.option("--socket-mode", type=_parse_mode, metavar="MODE", help="Of a unix socket.  [default: 0600]"),
        click.option("--open-metrics", is_flag=True, help="Show /metrics to all, and not on loopback only."),
        access_option("The access keys of callers. A worker opens /metrics by them, and nothing else."),
        click.option(
            "--listen",
            metavar="ADDRESS",
            help="Listen here: 127.0.0.1:8321, [::1]:8321 or unix:PATH. A worker serves /livez, /readyz and /metrics.",
        ),
    ):
        listening = option(listening)
    return listening


def _parse_mode(text: str) -> int:
    if not 3 <= len(text) <= 4 or set(text) - set("01234567") or int(text, 8) > 0o777:
        raise click.BadParameter("Write the mode as 0600 or 0660.")
    return int(text, 8)


def make_observer() -> PrometheusObserver | None:
    """Keeps the series for /metrics. None where prometheus-client is not installed."""
    try:
        return PrometheusObserver()
    except InvalidRequest:
        return None
