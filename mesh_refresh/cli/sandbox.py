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
"""Of an edge: the client is another process, and does not read by the turns of this one's event loop."""

_EPILOG = """\b
Its keys are fake-client-id and fake-client-secret, and its tokens are fake. It
knows nothing after it ends. It listens on loopback only.

\b
Beside the refresh endpoint it has:
  POST   /sandbox/logins        a login: {"broker": "weBull", "accounts": 2, "mfa": true...}
  GET    /sandbox/logins/ID     its MFA code, and how many of its tokens are good
  DELETE /sandbox/logins/ID     the person revokes it
  GET    /sandbox/faults        what can go wrong
  POST   /sandbox/faults        let it go wrong: {"fault": "throttle", "times": 2}
  GET    /sandbox/ledger        what happened: reuses, losses, outcomes
  POST   /sandbox/clock         {"advance": 3600}: so many seconds pass at once
  POST   /sandbox/lost          {"tokens": [{"refreshToken": ...}]}: what is lost if you hold these
"""


@click.command(epilog=_EPILOG)
@click.option("--port", type=click.IntRange(0, 65535), default=8080, show_default=True, help="0: any free one.")
@click.option("--host", default="127.0.0.1", show_default=True, help="A loopback address.")
@click.option("--seed", type=int, default=0, show_default=True, help="The same seed gives the same tokens.")
@click.option(
    "--edge",
    "edges",
    metavar="FAULT",
    multiple=True,
    help="Damage replies on the way, as a broken proxy does. Several take turns; 'A + B' is both at once; "
    "'list' prints the names of all.",
)
def sandbox(port: int, host: str, seed: int, edges: tuple[str, ...]) -> int:
    """Serve a fake Mesh with its brokers, for a program in any language, until Ctrl-C."""
    if "list" in edges:
        for name, fault in EdgeFault.all().items():
            click.echo(f"{name:56} {fault.reach.name.lower()}")
        return Exit.REFRESHED
    if not _is_loopback(host):
        raise Failure("The sandbox listens on loopback only: --host 127.0.0.1 or localhost.")
    faults = _named(edges)
    fake = FakeMesh(clock=MovableClock(), host=host, port=0 if faults else port, seed=seed)
    edge = Edge(fake, *faults, host=host, port=port, beat=_BEAT) if faults else None
    try:
        with Loop() as loop:
            loop.run(serve(fake, edge=edge, on_ready=lambda _: _greet(fake, (edge or fake).base_url)))
    except KeyboardInterrupt:
        # The way in which it is meant to end, by Ctrl-C or SIGTERM.
        with contextlib.suppress(OSError):
            click.echo(f"Stopped after {len(fake.requests)} requests.", err=True)
    except OSError as error:
        if is_of_output(error):
            raise  # it listens, and could not say so
        raise Failure(f"Cannot listen on {host}, port {port}: {system_reason(error)}.", Exit.FAILED) from None
    return Exit.REFRESHED


def _is_loopback(host: str) -> bool:
    try:
        return IPv4Address(host).is_loopback  # the fake writes its URL without the brackets of IPv6
    except ValueError:
        return host == "localhost"


def _named(edges: tuple[str, ...]) -> list[EdgeFault]:
    try:
        return [EdgeFault.named(name) for name in edges]
    except ValueError as error:
        raise Failure(f"{error} `mesh-refresh sandbox --edge list` prints all of them.") from None


def _greet(fake: FakeMesh, url: str) -> None:
    click.echo(f"""A fake Mesh is listening. Stop it with Ctrl-C.

  MESH_BASE_URL={url}
  MESH_CLIENT_ID={fake.client_id}
  MESH_CLIENT_SECRET={fake.client_secret}

Make a login; the answer is what Link would hand over:
  curl -s {url}/sandbox/logins -d '{{"broker": "coinbase"}}' > payload.json

Refresh it, with the three variables above in the environment:
  mesh-refresh refresh payload.json --output tokens.json

The same by hand:
  curl -s {url}/api/v1/token/refresh \\
    -H 'X-Client-Id: {fake.client_id}' -H 'X-Client-Secret: {fake.client_secret}' \\
    -H 'Content-Type: application/json' \\
    -d '{{"type": "coinbase", "refreshToken": "<from payload.json>"}}'

See what happened:
  curl -s {url}/sandbox/ledger
""")
