"""``mesh-refresh sandbox``."""

import contextlib
from ipaddress import IPv4Address

import click

from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.loop import Loop
from mesh_refresh.cli.terminal.messages import Failure, is_of_output, system_reason
from mesh_refresh.testing import Edge, EdgeFault, FakeMesh
from mesh_refresh.testing.clock import MovableClock
from mesh_refresh.testing.fake.serve import serve

_BEAT = 0.001
"""Seconds between the pieces of a damaged reply: the client is another process, with an event loop of its own."""

_EPILOG = """
Its keys are fake-client-id and fake-client-secret, and its tokens are fake. It
listens on loopback only, and forgets everything when it ends.

\b
Beside the refresh endpoint it has:
  POST   /sandbox/logins     make a login: {"broker": "weBull", "accounts": 2}
  GET    /sandbox/logins/ID  its MFA code, and the number of its valid tokens
  DELETE /sandbox/logins/ID  revoke the login, as its owner can
  GET    /sandbox/faults     list the faults that it can play
  POST   /sandbox/faults     play one: {"fault": "throttle", "times": 2}
  GET    /sandbox/ledger     what happened: outcomes, reuses, losses
  POST   /sandbox/clock      move its clock, in seconds: {"advance": 3600}
  POST   /sandbox/lost       what is lost if you hold only these tokens:
                             {"tokens": [{"refreshToken": ...}]}
"""


@click.command(epilog=_EPILOG, short_help="Run a fake Mesh, for a program in any language.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8080,
    show_default=True,
    help="The port; 0: a free one.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same tokens.")
@click.option("--serve", "serves", is_flag=True, help="Run the service over it too, with a login in each state.")
@click.option(
    "--serve-port",
    type=click.IntRange(0, 65535),
    default=8321,
    show_default=True,
    help="Where the service of --serve listens. 0: any free port.",
)
@click.option(
    "--edge",
    "edges",
    metavar="FAULT",
    multiple=True,
    help="Damage replies on their way, as a broken proxy does. Several take turns; 'A + B' is both at once; "
    "'list' prints all names.",
)
def sandbox(port: int, host: str, seed: int, edges: tuple[str, ...], *, serves: bool, serve_port: int) -> None:
    """Run a fake Mesh with its brokers until Ctrl-C, for a program in any language."""
    if "list" in edges:
        for name, fault in EdgeFault.all().items():
            click.echo(f"{name:56} {fault.reach.name.lower()}")
        return
    if not _is_loopback(host):
        raise Failure("The sandbox listens on loopback only. Use --host 127.0.0.1 or localhost.")
    faults = _find_faults(edges)
    fake = FakeMesh(clock=MovableClock(), host=host, port=0 if faults else port, seed=seed)
    edge = Edge(fake, *faults, host=host, port=port, beat=_BEAT) if faults else None
    try:
        with Loop() as loop:
            if serves:
                # The service, a keeper and a store: what the fake alone need not import.
                from mesh_refresh.cli.sandbox.service import serve_states  # noqa: PLC0415

                loop.run(serve_states(fake, edge, serve_port, click.echo))
            else:
                loop.run(serve(fake, edge=edge, on_ready=lambda _: _greet(fake, (edge or fake).base_url)))
    except KeyboardInterrupt:
        # The ordinary end, by Ctrl-C or SIGTERM.
        with contextlib.suppress(OSError):
            click.echo(f"Stopped after {len(fake.requests)} requests.", err=True)
    except OSError as error:
        if is_of_output(error):
            raise  # the sandbox listens, and cannot say so
        why = f"Cannot listen on {host}, port {port}: {system_reason(error)}."
        raise Failure(f"{why} Choose another --port; 0 takes a free one.", Exit.FAILED) from None


def _is_loopback(host: str) -> bool:
    try:
        return IPv4Address(host).is_loopback  # the fake writes its URL without the brackets of IPv6
    except ValueError:
        return host == "localhost"


def _find_faults(edges: tuple[str, ...]) -> list[EdgeFault]:
    try:
        return [EdgeFault.named(name) for name in edges]
    except ValueError as error:
        raise Failure(f"{error} `mesh-refresh sandbox --edge list` prints all names.") from None


def _greet(fake: FakeMesh, url: str) -> None:
    click.echo(f"""A fake Mesh is listening. Stop it with Ctrl-C.

  MESH_BASE_URL={url}
  MESH_CLIENT_ID={fake.client_id}
  MESH_CLIENT_SECRET={fake.client_secret}

Make a login; the reply is the payload that Link would give:
  curl -s {url}/sandbox/logins -d '{{"broker": "coinbase"}}' > payload.json

Refresh it, with these three variables in the environment:
  mesh-refresh refresh payload.json --output tokens.json

The same by hand:
  curl -s {url}/api/v1/token/refresh \\
    -H 'X-Client-Id: {fake.client_id}' -H 'X-Client-Secret: {fake.client_secret}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"type": "coinbase", "refreshToken": "<from payload.json>"}}'

See what happened:
  curl -s {url}/sandbox/ledger
""")
