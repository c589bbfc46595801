"""Who may read `/metrics`. That is decided by configuration, for behind a proxy on the host everybody is local."""

from ipaddress import ip_network

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from mesh_refresh.service.access import Access
from mesh_refresh.service.service import make_guard
from mesh_refresh.service.web.app import make_app
from mesh_refresh.service.web.exposure import Exposure
from mesh_refresh.service.web.probes import Probes
from mesh_refresh.version import VERSION
from tests.service.web.conftest import exchange, get, make_probed, serve, status

OWN = [
    "Host: 127.0.0.1",
    "Host: 127.0.0.1:8321",
    "Host: [::1]",
    "Host: [::1]:80",
    "Host: localhost:1",
    "host: LOCALHOST",
]
FOREIGN = ["Host: evil.example", "Host: 127.0.0.1.evil.example", "Host: localhost.evil", "Host:", "Host: a:b:c"]
SENT_ON = ["Forwarded: for=1.2.3.4", "X-Forwarded-For: 1.2.3.4", "x-forwarded-proto: https", "Via: 1.1 proxy"]


async def test_the_series_are_served_with_their_media_type(port: int) -> None:
    answer = await exchange(port, get("/metrics"))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"Content-Type: text/plain; version=" in answer
    assert b"Server:" not in answer
    assert f'mesh_refresh_build_info{{version="{VERSION}"}} 1.0\n'.encode() in answer
    opened = await exchange(port, get("/metrics", "Host: 127.0.0.1", "Accept: application/openmetrics-text"))
    assert b"Content-Type: application/openmetrics-text; version=" in opened
    assert opened.endswith(b"# EOF\n")


@pytest.mark.parametrize("version", ["zz", "1.x", "9" * 5000, ""])
async def test_a_version_that_is_none_gets_the_plain_form(
    port: int, version: str, caplog: pytest.LogCaptureFixture
) -> None:
    accept = f"Accept: application/openmetrics-text; version={version}; escaping=none"
    answer = await exchange(port, get("/metrics", "Host: 127.0.0.1", accept))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b"mesh_refresh_build_info" in answer
    assert not caplog.records


@pytest.mark.parametrize(("headers", "code"), [*((line, 200) for line in OWN), *((line, 403) for line in FOREIGN)])
@pytest.mark.parametrize("is_open", [False, True])
async def test_a_host_must_be_our_own(headers: str, code: int, is_open: bool) -> None:
    """A name of another's can be made to lead here, and brings a browser along with what it may read."""
    async with serve(make_probed(Probes(), opens_metrics=is_open)) as port:
        assert await status(port, "/metrics", headers) == code
        assert await status(port, "/livez", headers) == 200


async def test_names_of_the_service_are_allowed() -> None:
    async with serve(make_probed(Probes(), hosts=frozenset({"worker"}))) as port:
        assert await status(port, "/metrics", "Host: Worker:8321") == 200
        assert await status(port, "/metrics", "Host: other") == 403
        assert await status(port, "/metrics", "Host: worker", "Host: other") == 400


@pytest.mark.parametrize("header", SENT_ON)
async def test_a_request_that_a_proxy_sends_on_is_refused(port: int, header: str) -> None:
    answer = await exchange(port, get("/metrics", "Host: 127.0.0.1", header))
    assert answer.startswith(b"HTTP/1.1 401 ")
    assert b"--open-metrics" in answer
    assert b"1.2.3.4" not in answer
    secret = await exchange(port, get("/metrics", "Host: 127.0.0.1", "X-Forwarded-planted: 1"))
    assert b"(X-Forwarded-*)" in secret
    assert b"planted" not in secret.lower()
    assert await status(port, "/readyz", "Host: 127.0.0.1", header) == 503


async def test_beyond_loopback_metrics_are_closed_until_they_are_opened() -> None:
    async with serve(make_probed(Probes(), is_local=False)) as port:
        answer = await exchange(port, get("/metrics"))
        assert answer.startswith(b"HTTP/1.1 401 ")
        assert b"--open-metrics" in answer
    async with serve(make_probed(Probes(), is_local=False, opens_metrics=True)) as port:
        assert await status(port, "/metrics", "Host: 10.0.0.1", *SENT_ON) == 200


async def test_an_installation_without_the_client_says_so() -> None:
    async with serve(make_app(make_guard(Probes(), Access(), Exposure(is_local=True)), None)) as port:
        answer = await exchange(port, get("/metrics"))
        assert answer.startswith(b"HTTP/1.1 404 ")
        assert b"mesh-refresh[prometheus]" in answer


def test_what_is_no_address_is_not_taken_for_one() -> None:
    """Any text can stand behind the % of a zone: more fields for the line of the audit, for example."""
    behind = Exposure(proxies=(ip_network("10.0.0.0/8"),))
    for sent, told in (("1.1.1.1, 2.2.2.2", "2.2.2.2"), ("1.1.1.1, fe80::1%x key=admin", "10.0.0.1"), ("", "10.0.0.1")):
        headers = CIMultiDictProxy(CIMultiDict({"X-Forwarded-For": sent}))
        assert behind.address_of("10.0.0.1", headers) == told
    assert not behind.is_own(["[fe80::1%evil.example]"])
