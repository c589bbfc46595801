"""``mesh-refresh serve``."""

import sys
import time
from functools import partial
from ipaddress import IPv4Network, IPv6Network, ip_network

import click
from attrs import evolve

from mesh_refresh.cli.fleet.support.listen_options import ListenOptions, listen_options
from mesh_refresh.cli.fleet.support.options import ACCESS_VARIABLE, store_options
from mesh_refresh.cli.fleet.support.store_location import KEYS_VARIABLE, STORE_VARIABLE, StoreLocation
from mesh_refresh.cli.fleet.support.worker_options import WorkerOptions, worker_options
from mesh_refresh.cli.fleet.worker.run import run_until_stopped
from mesh_refresh.cli.terminal.messages import Failure
from mesh_refresh.service.service import make_service_app
from mesh_refresh.service.supervision import Supervision
from mesh_refresh.service.web.addresses import (
    DEFAULT_ADDRESS,
    Address,
    Inherited,
    TcpAddress,
    address_of,
    parse_address,
    take_inherited,
)
from mesh_refresh.service.web.tls import Certificate

_EPILOG = f"""
Callers need an access key: see "mesh-refresh access". Without an access file,
on loopback and at a terminal, it prints an address that opens the page once.

\b
Environment:
  {STORE_VARIABLE}   the store, without --store
  {KEYS_VARIABLE}    the keys of the store, with commas between them
  {ACCESS_VARIABLE}  the access file, without --access
  MESH_CLIENT_ID       your client id
  MESH_CLIENT_SECRET   your client secret
  MESH_BASE_URL        the URL of Mesh; production if it is not set
  {KEYS_VARIABLE}_FILE, MESH_CLIENT_SECRET_FILE
                       files with keys or secret instead, which may change

The exit codes are those of "run" without --once.
"""

_HOW_TO_MAKE_KEYS = "Make a key with `mesh-refresh access add NAME --scope SCOPE --access FILE`, and give that file."


@click.command(epilog=_EPILOG, short_help="Serve the fleet over HTTP: API, page, probes, and a worker.")
@click.option("--no-worker", is_flag=True, help="Exchange for callers only: other processes keep the fleet fresh.")
@click.option("--no-page", is_flag=True, help="Leave the operator's page out.")
@click.option("--create", is_flag=True, help="Make the store if there is none.")
@click.option("--tls-cert", metavar="FILE", help="Serve HTTPS with this certificate chain; read again when it changes.")
@click.option("--tls-key", metavar="FILE", help="The key of the certificate.")
@click.option(
    "--behind-proxy",
    "proxies",
    metavar="CIDR",
    multiple=True,
    help="A proxy at these addresses has TLS. Only it may connect, and it says who calls: X-Forwarded-For.",
)
@worker_options
@listen_options
@store_options
def serve(
    location: StoreLocation,
    listen: ListenOptions,
    worker: WorkerOptions,
    *,
    no_worker: bool,
    no_page: bool,
    create: bool,
    tls_cert: str | None,
    tls_key: str | None,
    proxies: tuple[str, ...],
) -> int:
    """Serve the fleet over HTTP, and refresh each login of the store in time, until SIGTERM or Ctrl-C.

    Programs in any language ask for fresh tokens at /v1, people see the fleet on the page. It listens at
    127.0.0.1:8321, unless --listen says otherwise.
    """
    if (tls_cert is None) is not (tls_key is None):
        raise click.UsageError("--tls-cert and --tls-key go together.")
    if tls_cert is not None and proxies:
        raise click.UsageError("Give --tls-cert, or --behind-proxy, and not both: the proxy has the certificate.")
    if location.plaintext and not no_page:
        raise Failure("The page needs a sealed store, which seals its sessions too. With --plaintext, give --no-page.")
    certificate = None if tls_cert is None or tls_key is None else Certificate(tls_cert, tls_key)
    listen = evolve(listen, certificate=certificate, proxies=[_read_network(text) for text in proxies])
    place = take_inherited() or listen.address or parse_address(DEFAULT_ADDRESS)
    refusal = refuse_start(listen, place, has_page=not no_page, at_terminal=sys.stdout.isatty())
    if refusal is not None:
        raise Failure(refusal)
    supervision = listen.listen(place, partial(make_service_app, page=not no_page))
    with worker.logging():
        counts, begin = worker.make_counts(), partial(_print_ticket, supervision)
        fleet = worker.open(
            location, supervision, background=not no_worker, create=create, observer=counts, role="serve"
        )
        return run_until_stopped(fleet, "service", counts, begin if listen.access is None else lambda: None)


def refuse_start(listen: ListenOptions, place: Address | Inherited, *, has_page: bool, at_terminal: bool) -> str | None:
    """Why a service must not start so, and what to do; None: it may. Configuration decides, and never the peer."""
    is_shielded = listen.certificate is not None or bool(listen.proxies)
    if listen.access is not None:
        if place.is_local or is_shielded:
            return None
        return (
            "Beyond loopback, access keys and tokens must not go in the clear. Give --tls-cert and --tls-key, or "
            "--behind-proxy CIDR where a proxy has TLS, or listen on 127.0.0.1."
        )
    if not place.is_local or listen.proxies:
        return f"Beyond loopback and behind a proxy, callers need access keys. {_HOW_TO_MAKE_KEYS}"
    if not (has_page and _has_port(place)):
        return f"Without an access file only the page on a port of loopback can be opened. {_HOW_TO_MAKE_KEYS}"
    if not at_terminal:
        return f"Without an access file it prints a secret, and standard output is no terminal. {_HOW_TO_MAKE_KEYS}"
    return None


def _has_port(place: Address | Inherited) -> bool:
    """Whether a browser can open it."""
    addresses = map(address_of, place.sockets) if isinstance(place, Inherited) else (place,)
    return any(isinstance(address, TcpAddress) for address in addresses)


def _print_ticket(supervision: Supervision) -> None:
    """Print the address that opens the page once."""
    click.echo(f"Open the page, once, within ten minutes: {supervision.issue_ticket(time.monotonic())}")


def _read_network(text: str) -> IPv4Network | IPv6Network:
    try:
        return ip_network(text)
    except ValueError:
        raise click.BadParameter("--behind-proxy takes addresses such as 10.0.0.0/8, 127.0.0.1 or fd00::/8.") from None
