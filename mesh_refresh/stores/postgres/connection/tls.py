"""Whether a connection must be encrypted: to another machine it must, unless the URL or PGSSLMODE says otherwise."""

import os
from collections.abc import Iterator, Mapping
from ipaddress import ip_address
from urllib.parse import parse_qsl, unquote, urlsplit

_UNDECIDED = ("", "prefer", "allow")
"""What libpq takes for `sslmode` and goes without TLS all the same, without a word."""


def required(url: str, environment: Mapping[str, str] = os.environ) -> bool:
    """Whether TLS is required though the URL does not say so. ``sslmode=disable``, or ``PGSSLMODE``, says otherwise."""
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    mode = options.get("sslmode") or environment.get("PGSSLMODE", "")
    if mode not in _UNDECIDED:
        return False
    if options.get("service") or environment.get("PGSERVICE"):
        return True  # its file may name any host
    named = list(_hosts(parts.netloc.rpartition("@")[2])) or list(_hosts(options.get("host", "")))
    return not all(map(_is_here, named or _hosts(environment.get("PGHOST", ""))))


def _hosts(text: str) -> Iterator[str]:
    """Without their ports."""
    for host in filter(None, text.split(",")):
        if host.startswith("["):
            yield host[1:].partition("]")[0]
        elif host.startswith(("/", "@")):
            yield host
        else:
            yield unquote(host.partition(":")[0])


def _is_here(host: str) -> bool:
    """A socket, or this machine's own address; an empty one stands for both."""
    if not host or host.startswith(("/", "@")) or host == "localhost":
        return True
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return False
