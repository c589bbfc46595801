"""``/metrics``: for a Prometheus on this machine, or for all where the operator says so."""

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING

from aiohttp import web
from attrs import frozen

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

_HOST = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<other>[^:]+))(?::\d*)?")


@frozen
class Metrics:
    """Who may read the series of this process.

    That is decided by configuration and not by the peer: behind a proxy on the same machine every peer is local.
    """

    registry: "CollectorRegistry | None"
    """None: this installation has no prometheus-client."""
    is_local: bool
    """All sockets are on loopback, or unix sockets."""
    is_open: bool = False
    """``--open-metrics``."""
    hosts: frozenset[str] = frozenset()
    """Names of this service, in lower case. Under any other name a web page may ask here: DNS rebinding."""

    async def answer(self, request: web.Request) -> web.Response:
        """The series, or why not."""
        refusal = self._refuse(request)
        if refusal is not None:
            return web.Response(status=403, text=f"{refusal}\n")
        if self.registry is None:
            return web.Response(status=404, text="Metrics need the extra: pip install 'mesh-refresh[prometheus]'\n")
        from prometheus_client.exposition import choose_encoder  # noqa: PLC0415 - an extra

        try:
            encode, media_type = choose_encoder(request.headers.get("Accept", ""))
        except (TypeError, ValueError):  # it takes any text for a version, and then compares numbers
            encode, media_type = choose_encoder("")
        return web.Response(body=encode(self.registry), headers={"Content-Type": media_type})

    def _refuse(self, request: web.Request) -> str | None:
        if not self._is_own(request.headers.getall("Host", [])):
            return "The Host header must be an IP address or localhost. Allow another name with --host NAME."
        if self.is_open:
            return None
        if not self.is_local:
            return "Metrics are open on loopback and on a unix socket only. Serve them to all with --open-metrics."
        by_proxy = next(filter(None, map(_name_of_proxy, request.headers)), None)
        if by_proxy is not None:
            return f"A proxy sent this request on ({by_proxy}). Serve metrics to all with --open-metrics."
        return None

    def _is_own(self, given: list[str]) -> bool:
        found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if found is None:
            return False
        name = (found["six"] or found["other"]).lower()
        return name in {"localhost", *self.hosts} or _is_ip(name)


def _name_of_proxy(header: str) -> str | None:
    """The header that a proxy adds, in words of ours: an answer quotes nothing of a request."""
    name = header.title()
    return name if name in ("Forwarded", "Via") else "X-Forwarded-*" if name.startswith("X-Forwarded-") else None


def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
