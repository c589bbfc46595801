"""`mesh-refresh serve`: what it refuses to start with, and its life as callers see it."""

import json
import os
import pty
import re
import signal
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import trustme

from mesh_refresh.cli.terminal.exit_codes import Exit
from tests.cli.conftest import Process, mode
from tests.cli.fleet.conftest import OpenFleet, read_until
from tests.cli.fleet.test_listen import ask

pytestmark = pytest.mark.once


@pytest.fixture
def key(fleet: OpenFleet) -> str:
    """An access key with all scopes, in ``access.toml``; there is a store."""
    assert fleet("migrate").code == 0
    return add_key(fleet, "all", "tokens", "add", "operate", "remove", "read", "metrics")


def add_key(fleet: OpenFleet, name: str, *scopes: str) -> str:
    options = [option for scope in scopes for option in ("--scope", scope)]
    made = fleet("access", "add", name, *options, "--access", "access.toml")
    assert made.code == 0
    return made.out.strip()


@contextmanager
def serving(fleet: OpenFleet, *options: str) -> Iterator[tuple[Process, str]]:
    """A service in a process of its own, and where it listens."""
    command = ("serve", "--listen", "127.0.0.1:0", "--access", "access.toml", "--poll", "20ms", *options)
    with fleet.cli.start(*command) as process:
        (port,) = re.findall(r"addresses=127.0.0.1:(\d+)", read_until(process, "addresses="))
        read_until(process, "the service has started")
        yield process, f"127.0.0.1:{port}"


def fetch(url: str, key: str | None = None, method: str = "GET", **headers: str) -> tuple[int, bytes]:
    """The status and the body of an answer."""
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    request = urllib.request.Request(url, headers=sent, method=method)  # noqa: S310 - of http
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:  # noqa: S310
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


CLEAR = "must not go in the clear"
KEYS = "mesh-refresh access add"


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ((), KEYS),  # no terminal
        (("--listen", "unix:s"), KEYS),
        (("--listen", "0.0.0.0:0"), KEYS),
        (("--behind-proxy", "127.0.0.1"), KEYS),
        (("--no-page",), KEYS),
        (("--access", "none.toml"), "cannot be read: No such file"),
        (("--access", "access.toml", "--listen", "0.0.0.0:0"), CLEAR),
        (("--access", "access.toml", "--listen", "[::]:0"), CLEAR),
        (("--access", "access.toml", "--tls-cert", "c"), "--tls-cert and --tls-key go together"),
        (("--access", "access.toml", "--tls-cert", "c", "--tls-key", "k"), "cannot be read"),
        (("--access", "access.toml", "--tls-cert", "access.toml", "--tls-key", "access.toml"), "do not hold"),
        (("--access", "access.toml", "--tls-cert", "c", "--tls-key", "k", "--behind-proxy", "::1"), "and not both"),
        (("--access", "access.toml", "--behind-proxy", "proxy"), "--behind-proxy takes addresses"),
        (("--access", "access.toml", "--socket-mode", "0600"), "--socket-mode goes with"),
        (("--access", "access.toml", "--store", "none.db"), "There is no store"),
    ],
)
@pytest.mark.usefixtures("key")
def test_it_refuses_to_start_and_says_why(options: tuple[str, ...], why: str, fleet: OpenFleet) -> None:
    ran = fleet("serve", *options)
    assert ran.code == Exit.INVALID
    assert why in ran.err
    assert not ran.out


def test_a_store_that_is_not_sealed_cannot_seal_sessions(fleet: OpenFleet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MESH_REFRESH_KEYS")
    assert fleet("migrate", "--plaintext").code == 0
    add_key(fleet, "a", "read")
    ran = fleet("serve", "--plaintext", "--access", "access.toml")
    assert ran.code == Exit.INVALID
    assert "--no-page" in ran.err


def test_it_serves_and_works_until_it_is_told_to_end(key: str, fleet: OpenFleet) -> None:
    """A worker too: what is due is refreshed. A key that is revoked opens nothing from then on.

    A caller who waits at the end is sent away, and what it waited for is kept.
    """
    fleet.add("user-7")
    other = add_key(fleet, "other", "metrics")
    gate = fleet.fake.hold(after_rotation=True)
    with serving(fleet) as (process, place):
        fleet.cli.served.wait(gate.entered.wait())
        fleet.cli.served.release(gate)
        assert fleet("health", f"http://{place}").out.startswith("alive and ready\n")
        assert fetch(f"http://{place}/metrics")[0] == 200
        assert fetch(f"http://{place}/metrics", X_Forwarded_For="10.0.0.1")[0] == 401
        assert fetch(f"http://{place}/metrics", other, Via="1.1 proxy")[0] == 200
        assert fleet("access", "revoke", "other", "--access", "access.toml").code == 0
        assert fetch(f"http://{place}/metrics", other, Via="1.1 proxy")[0] == 401
        gate = fleet.fake.hold(after_rotation=True)
        with ThreadPoolExecutor() as pool:
            waiting = pool.submit(fetch, f"http://{place}/v1/logins/user-7/refresh", key, "POST")
            fleet.cli.served.wait(gate.entered.wait())
            process.send_signal(signal.SIGTERM)
            status, body = waiting.result(60)
        assert (status, json.loads(body)["reason"]) == (503, "stopping")
        fleet.cli.served.release(gate)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert "audit key=all verb=refresh outcome=cancelled login=user-7 request=" in err
    assert "the service has stopped; all results are in the store" in err
    assert key not in err
    assert not fleet.lost()


def test_without_its_loop_it_leaves_what_is_due(key: str, fleet: OpenFleet) -> None:
    fleet.add("user-7")
    with serving(fleet, "--no-worker") as (process, place):
        assert fetch(f"http://{place}/readyz")[0] == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0
    assert not fleet.fake.requests


def test_it_makes_a_store_if_it_may(fleet: OpenFleet) -> None:
    add_key(fleet, "a", "read")
    path = fleet.cli.folder / "service.sock"
    command = ("serve", "--listen", f"unix:{path}", "--socket-mode", "0660", "--access", "access.toml", "--create")
    with fleet.cli.start(*command) as process:
        read_until(process, "the service has started")
        assert mode(path) == 0o660
        assert b"200 OK" in ask(path, "/metrics")
        assert b"401 Unauthorized" in ask(path, "/v1/logins") or b"404 Not Found" in ask(path, "/v1/logins")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert fleet.file.exists()


def test_behind_a_proxy_metrics_need_a_key_and_other_peers_are_closed(key: str, fleet: OpenFleet) -> None:
    with serving(fleet, "--behind-proxy", "127.0.0.1/32") as (process, place):
        assert fetch(f"http://{place}/metrics")[0] == 401
        assert fetch(f"http://{place}/metrics", key)[0] == 200
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    with serving(fleet, "--behind-proxy", "10.0.0.0/8") as (process, place):
        with pytest.raises((ConnectionError, urllib.error.URLError)):
            fetch(f"http://{place}/livez")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def test_it_speaks_tls_with_the_certificate_of_now(key: str, fleet: OpenFleet) -> None:
    folder = fleet.cli.folder
    first, second = trustme.CA(), trustme.CA()
    make_certificate(folder, first)
    with serving(fleet, "--tls-cert", "chain.pem", "--tls-key", "key.pem") as (process, place):
        assert fetch_by(first, place, key) == 200
        make_certificate(folder, second)
        assert fetch_by(second, place, key) == 200
        (folder / "key.pem").write_text("broken")
        assert fetch_by(second, place, key) == 200
        read_until(process, "the last good certificate goes on")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)


def make_certificate(folder: Path, authority: trustme.CA) -> None:
    """Puts a certificate for loopback, and its key, where the service looks."""
    issued = authority.issue_cert("127.0.0.1")
    (folder / "chain.pem").write_bytes(issued.cert_chain_pems[0].bytes())
    (folder / "key.pem").write_bytes(issued.private_key_pem.bytes())


def fetch_by(authority: trustme.CA, place: str, key: str) -> int:
    """The status of an answer over TLS, from a server whose certificate is by `authority`."""
    context = ssl.create_default_context()
    authority.configure_trust(context)
    request = urllib.request.Request(f"https://{place}/metrics", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, context=context, timeout=60) as answer:  # noqa: S310
        return int(answer.status)


def test_at_a_terminal_it_prints_an_address_that_opens_the_page_once(fleet: OpenFleet) -> None:
    assert fleet("migrate").code == 0
    ours, theirs = pty.openpty()
    with fleet.cli.start("serve", "--listen", "127.0.0.1:0", stdout=theirs) as process, os.fdopen(ours) as terminal:
        os.close(theirs)
        line = terminal.readline()
        assert re.fullmatch(r"Open the page.*: http://127\.0\.0\.1:\d+/ticket/[\w-]{43}\s*", line)
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 0
    assert line.rpartition("/")[2].strip() not in err


def test_metrics_of_a_worker_open_by_a_key(key: str, fleet: OpenFleet) -> None:
    with fleet.start("--listen", "127.0.0.1:0", "--access", "access.toml") as process:
        (port,) = re.findall(r"addresses=127.0.0.1:(\d+)", read_until(process, "addresses="))
        read_until(process, "the worker has started")
        assert fetch(f"http://127.0.0.1:{port}/metrics", Via="1.1 p")[0] == 401
        assert fetch(f"http://127.0.0.1:{port}/metrics", key, Via="1.1 p")[0] == 200
        status, body = fetch(f"http://127.0.0.1:{port}/v1/logins", key)
        assert (status, json.loads(body)["reason"]) == (404, "not_found")
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
