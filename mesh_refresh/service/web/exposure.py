"""What is open, and to whom: by configuration and not by the peer. Behind a proxy on a machine every peer is local."""

import re
from collections.abc import Iterable
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address

from aiohttp import hdrs
from attrs import frozen
from multidict import CIMultiDictProxy

_HOST = re.compile(r"(?:\[(?P<six>[^\]]+)\]|(?P<other>[^:]+))(?::\d*)?")

Headers = CIMultiDictProxy[str]


@frozen
class Exposure:
    """Where a service can be reached from, and under which names. The default says that nothing is known."""

    is_local: bool = False
    """All sockets are on loopback, or unix sockets."""
    opens_metrics: bool = False
    """``--open-metrics``."""
    hosts: frozenset[str] = frozenset()
    """Names of this service, in lower case. Under any other name a web page may ask here: DNS rebinding."""
    proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """``--behind-proxy``: only these peers may connect, and what they forward is theirs to say."""
    has_tls: bool = False
    """Connections are encrypted up to this process."""

    @property
    def is_secure(self) -> bool:
        """Whether people reach it by ``https``: by TLS of its own, or of the proxy in front of it."""
        return self.has_tls or bool(self.proxies)

    def is_own(self, given: list[str]) -> bool:
        """Whether the ``Host`` headers name this service: by an IP address, ``localhost`` or one of `hosts`."""
        found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
        if found is None:
            return False
        name = (found["six"] or found["other"]).lower()
        return name in {"localhost", *self.hosts} or _is_ip(name)

    def close_metrics(self, headers: Headers) -> str | None:
        """Why a request with these headers needs a key for metrics; None: it needs none."""
        if self.opens_metrics:
            return None
        if not self.is_local:
            return "Without a key, metrics are open on loopback and on a unix socket only. --open-metrics opens them."
        if self.proxies:
            return "Behind a proxy, metrics need a key. --open-metrics opens them to all."
        by_proxy = next(filter(None, map(_name_of_proxy, headers)), None)
        if by_proxy is not None:
            return f"A proxy sent this request on ({by_proxy}), so it needs a key. --open-metrics opens metrics to all."
        return None

    def admits(self, peer: str) -> bool:
        """Whether this peer may connect: an IP address, or ``""`` at a unix socket."""
        return not self.proxies or not peer or _is_in(peer, self.proxies)

    def address_of(self, peer: str, headers: Headers) -> str:
        """The address of the caller. Behind a proxy it is the last in ``X-Forwarded-For``, which our proxy wrote."""
        told = ",".join(headers.getall(hdrs.X_FORWARDED_FOR, ())).rpartition(",")[2].strip() if self.proxies else ""
        return told if told and _is_ip(told) else peer or "unix"


def _is_in(peer: str, networks: Iterable[IPv4Network | IPv6Network]) -> bool:
    try:
        address = ip_address(peer.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address  # a socket of [::] shows peers of IPv4 so
    return any(mapped in network for network in networks)


def _name_of_proxy(header: str) -> str | None:
    """The header that a proxy adds, in words of ours: an answer quotes nothing of a request."""
    name = header.title()
    return name if name in ("Forwarded", "Via") else "X-Forwarded-*" if name.startswith("X-Forwarded-") else None


@lru_cache(256)
def _is_ip(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return "%" not in name  # behind it stands any text: fields of the audit, for example
