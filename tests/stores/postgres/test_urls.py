"""The URL of a store: what it may say, and that nothing of it is shown that may be secret."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from asyncpg import connect_utils

from mesh_refresh.errors import InvalidRequest
from mesh_refresh.stores import PlainText, StoreUnavailable
from mesh_refresh.stores.postgres import PostgresStore
from mesh_refresh.stores.postgres.connection.addresses import _OURS
from tests.leaks.witness import Witness, outcome_of, planted
from tests.postgres_server import with_options
from tests.stores.postgres.bystander import Fleet

pytestmark = pytest.mark.once

SECRET = planted("password")

WRONG: tuple[Any, ...] = (
    f"mysql://user:{SECRET}@host/db",
    f"postgresql:{SECRET}",
    f"user:{SECRET}@host/db",
    f"postgresql://[{SECRET}/db",
    f"postgresql://user:{SECRET}@host:port/db",
    f"postgresql://user:{SECRET}@host:99999/db",
    f"postgresql://user:a/{SECRET}@host/db",
    f"postgresql://user:1/{SECRET}@host/db",
    f"postgresql://user:a?{SECRET}@host/db",
    f"postgresql://user:1?{SECRET}@host/db",
    f"postgresql://user:a#{SECRET}@host/db",
    f"postgresql://user:1#{SECRET}@host/db",
    f"postgresql://user:{SECRET}",
    f"postgresql://user:a@{SECRET}@host/db",
    f"postgresql://user:{SECRET}@host/db?transaction_pooling=perhaps",
    f"postgresql://user:{SECRET}@host/db?schema=",
    f"postgresql://user:{SECRET}@host/db?schema=pg_x",
    f"postgresql://host/db?password={SECRET}&schema=%00",
    SECRET.encode(),
    None,
)


@pytest.mark.parametrize("number", range(len(WRONG)))
async def test_what_is_no_url_is_refused_and_not_shown(number: int) -> None:
    """`InvalidRequest`, at once; most are passwords that needed to be percent-encoded."""
    witness = Witness()
    with pytest.raises(InvalidRequest) as caught:
        _ = PostgresStore.open(WRONG[number], cipher=PlainText())
    witness.look_at(caught.value)
    assert witness.found == []


@pytest.mark.parametrize(
    "scheme",
    [
        "postgresql+asyncpg", "postgresql+psycopg2", "postgres+pg8000", "POSTGRESQL", "jdbc:postgresql", "mysql",
        "psql", "sqlite+aiosqlite",
    ],
)  # fmt: skip
def test_another_scheme_is_named(scheme: str) -> None:
    """As other libraries write it; nothing else of the URL is."""
    with pytest.raises(InvalidRequest) as caught:
        _ = PostgresStore.open(f"{scheme}://user:{SECRET}@host/db", cipher=PlainText())
    assert f"begins with postgresql://, and not with {scheme}://:" in str(caught.value)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("wrong", [{"schema": "pg_x"}, {"timeout": 3}, {"connections": 0}, {"cipher": None}])
async def test_a_wrong_option_does_not_show_the_url(wrong: dict[str, Any]) -> None:
    """Not in the locals of a frame either."""
    witness = Witness()
    with pytest.raises(InvalidRequest) as caught:
        _ = PostgresStore.open(f"postgresql://user:{SECRET}@host/db", **{"cipher": PlainText(), **wrong})
    witness.look_at(caught.value)
    assert witness.found == []


@pytest.mark.parametrize(
    "wrong", ["sslmode=perhaps", "target_session_attrs=some", "no_such_setting=1", "connect_timeout=3"]
)
async def test_an_option_that_nobody_knows_is_told(fleet: Fleet, wrong: str) -> None:
    """By the driver, or by the server."""
    witness = Witness()
    url = with_options(fleet.url, password=SECRET) + "&" + wrong
    error = await outcome_of(fleet.store(url=url).__aenter__())
    assert isinstance(error, InvalidRequest), error
    assert "URL" in str(error)
    witness.look_at(error)
    assert witness.found == []


@pytest.mark.parametrize(
    "wrong",
    [
        "schma=x", "connect_timeout=3", "sslmode=verfy", "target_session_attrs=some", "statement_timeout=planted-x",
        "datestyle=planted-x", "geqo=planted-x", "role=planted-x", "work_mem=1", "shared_buffers=16MB",
        "ssl_min_protocol_version=TLSv9&sslmode=require&host=127.0.0.1",
    ],
)  # fmt: skip
async def test_an_option_that_will_not_do_is_named(fleet: Fleet, wrong: str) -> None:
    """Its name, and not its value."""
    error = await outcome_of(fleet.store(url=f"{with_options(fleet.url)}&{wrong}").__aenter__())
    assert isinstance(error, InvalidRequest), error
    assert re.search(rf"(is not known|is not allowed): {wrong.partition('=')[0]}\.$", str(error))
    assert "planted-x" not in str(error)


@pytest.mark.parametrize("wrong", ["password=a&planted=b", "sslpassword=a&planted=b", "planted=b@host/db"])
async def test_what_may_be_a_part_of_a_password_is_not_taken_for_a_name(fleet: Fleet, wrong: str) -> None:
    """It was not percent-encoded."""
    error = await outcome_of(fleet.store(url=f"{with_options(fleet.url)}&{wrong}").__aenter__())
    assert isinstance(error, InvalidRequest), error
    assert "planted" not in str(error)


async def test_a_missing_root_certificate_is_told_alone(fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
    """The option is known, and is as it should be."""
    monkeypatch.setenv("HOME", "/nowhere")
    for mode in ("verify-ca", "verify-full"):
        error = await outcome_of(fleet.store(url=f"postgresql://127.0.0.1:9/db?sslmode={mode}").__aenter__())
        assert isinstance(error, InvalidRequest), error
        assert re.search(r"was not asked yet\. To check .* must be in ~/\.postgresql/root\.crt, or", str(error))
    url = "postgresql://127.0.0.1:9/db?sslmode=verify-full&sslrootcert=/nowhere/planted"
    error = await outcome_of(fleet.store(url=url).__aenter__())
    assert isinstance(error, InvalidRequest), error
    assert str(error).endswith("names a file that is not there: sslrootcert.")


async def test_a_host_that_can_be_no_name_is_told(fleet: Fleet) -> None:
    """It cannot be looked up."""
    error = await outcome_of(fleet.store(url="postgresql://a..b/db").__aenter__())
    assert isinstance(error, InvalidRequest), error
    assert "has a host that is no name of one" in str(error)


def test_the_options_that_the_docs_list_are_read() -> None:
    """By us, or by asyncpg; what neither of them reads, it sends to the server as a setting."""
    page = (Path(__file__).parents[3] / "docs" / "postgresql.md").read_text()
    ours, theirs, _ = page.partition("Behind the `?`")[2].split("\n- ")[1:4]
    read = inspect.getsource(connect_utils)
    assert set(re.findall(r"`(\w+)`", ours)) == set(_OURS)
    assert [name for name in re.findall(r"`(\w+)`", theirs) if f"'{name}' in query" not in read] == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://user:x@host:5432/db", "host:5432/db (schema mesh_refresh)"),
        ("postgres://u:p%40x@one:1,two:2/db?schema=a&sslmode=require", "one:1,two:2/db (schema a)"),
        ("postgresql:///db?host=/run/socket&user=me&password=x", "/run/socket/db (schema mesh_refresh)"),
        ("postgresql://user@[::1]:5432/db?transaction_pooling=Yes", "[::1]:5432/db (schema mesh_refresh)"),
        ("postgresql://a%20user:p%2Fss@host/", "host/ (schema mesh_refresh)"),
        ("postgresql://", "localhost (schema mesh_refresh)"),
    ],
)
async def test_a_store_shows_where_it_is(url: str, shown: str) -> None:
    """Host, database and schema, and nobody's name or password."""
    assert repr(PostgresStore.open(url, cipher=PlainText())) == f"<PostgresStore {shown}>"


async def test_the_url_may_say_that_there_is_a_proxy(fleet: Fleet) -> None:
    """As the option does, which wins."""
    for given, option, pooled in (("yes", None, True), ("no", None, False), ("1", False, False), ("off", True, True)):
        url = with_options(fleet.url, transaction_pooling=given)
        async with fleet.store(url=url, transaction_pooling=option) as store:
            assert (store.listener is None) is pooled


async def test_an_unopened_store_says_so() -> None:
    """`StoreUnavailable`."""
    store = PostgresStore.open("postgresql://host/db", cipher=PlainText())
    with pytest.raises(StoreUnavailable, match="is not open"):
        await store.read("a")
    with pytest.raises(StoreUnavailable, match="is not open"):
        store.watch(lambda: None)
    await store.aclose()
