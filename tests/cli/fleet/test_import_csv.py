"""``import --csv``: tables as programs and spreadsheets write them; each row is imported, or named with its line."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mesh_refresh import Tokens
from mesh_refresh.cli.fleet.logins.import_entries import BadLine, InputLine, Reading
from mesh_refresh.cli.fleet.logins.import_sources import read_csv
from mesh_refresh.cli.terminal.exit_codes import Exit
from mesh_refresh.cli.terminal.messages import Failure
from tests.cli.fleet.conftest import OpenFleet
from tests.codec import stored_payloads as forms
from tests.codec.stored_payloads import AT
from tests.examples import bounded

SECRET = "fake-secret"
READING = Reading(datetime(2026, 6, 1, tzinfo=UTC))
ONE = Tokens(
    "coinbase", f"{SECRET}-r", access_token=f"{SECRET}-a", account_id="A", obtained_at=AT,
    expires_at=AT + timedelta(hours=1),
)  # fmt: skip
LINK = {
    "login": "user-7", "obtained_at": AT.isoformat(), "brokerType": "coinbase", "accessToken": f"{SECRET}-a",
    "refreshToken": f"{SECRET}-r", "accountId": "A", "expiresInSeconds": "3600",
}  # fmt: skip
OURS = {
    "login": "user-7", "broker": "coinbase", "access_token": f"{SECRET}-a", "refresh_token": f"{SECRET}-r",
    "account_id": "A", "obtained_at": AT.isoformat(), "expires_at": (AT + timedelta(hours=1)).isoformat(),
}  # fmt: skip
PAYLOAD = {
    "login": "user-7", "obtained_at": AT.isoformat(),
    "payload": json.dumps({**{key: LINK[key] for key in ("brokerType", "accessToken", "refreshToken", "accountId")},
                           "expiresInSeconds": 3600}, indent=1),
}  # fmt: skip


def table(*rows: dict[str, Any], **options: Any) -> str:
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, list(rows[0]), **options)
    writer.writeheader()
    writer.writerows(rows)
    return file.getvalue()


def read(text: str | bytes, first: int = 1) -> list[InputLine | BadLine]:
    data = text if isinstance(text, bytes) else text.encode()
    return list(read_csv(io.BufferedReader(io.BytesIO(data)), READING, first=first))


def tokens_in(text: str | bytes) -> list[Tokens]:
    found = read(text)
    assert not [line for line in found if isinstance(line, BadLine)], found
    return [tokens for line in found if isinstance(line, InputLine) for tokens in line.tokens]


def bad(text: str | bytes) -> list[tuple[int, str]]:
    found = [(line.number, line.why) for line in read(text) if isinstance(line, BadLine)]
    assert SECRET not in str(found)
    return found


# What is read.


@pytest.mark.parametrize("row", [LINK, OURS, PAYLOAD], ids=["link", "ours", "payload"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32"])
@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
def test_a_table(row: dict[str, Any], encoding: str, separator: str) -> None:
    """With the columns of Link, with ours or with whole payloads, as Excel, PowerShell and psql write it."""
    for options in ({}, {"quoting": csv.QUOTE_ALL}, {"lineterminator": "\n"}):
        assert tokens_in(table(row, row, delimiter=separator, **options).encode(encoding)) == [ONE, ONE]


def test_lines_that_end_as_on_an_old_macintosh() -> None:
    """And an empty line here and there, and rows of empty cells, as spreadsheets leave them."""
    assert tokens_in(table(OURS, OURS, lineterminator="\r")) == [ONE, ONE]
    text = table(OURS)
    assert tokens_in(text + "\r\n,,,,,,\r\n\r\n" + text.splitlines()[1]) == [ONE, ONE]


@pytest.mark.parametrize("name", ["login", "login_id", "LoginId", " Login ID ", "LOGIN-ID"])
def test_the_column_of_the_login(name: str) -> None:
    (line,) = read(table({name: "user-7", **{key: cell for key, cell in OURS.items() if key != "login"}}))
    assert isinstance(line, InputLine)
    assert (line.login_id, line.number, line.aged) == ("user-7", 2, True)


@pytest.mark.parametrize("row", [LINK, OURS, PAYLOAD], ids=["link", "ours", "payload"])
def test_columns_without_a_name(row: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    """As pandas writes the number of a row."""
    assert tokens_in(table({"": "0", **row})) == [ONE]
    assert capsys.readouterr().err == "mesh-refresh: note: columns that are not read: (no name).\n"


def test_empty_cells_are_nothing() -> None:
    """Also the words for nothing of databases."""
    row = {**OURS, "token_id": "", "trade_token": "NULL", "account_name": "\\N", "not_before": " ", "metadata": "null"}
    assert tokens_in(table(row)) == [ONE]


def test_all_of_our_fields() -> None:
    row = {
        **OURS, "metadata": '{"region": "eu"}', "ref": "my-7", "trade_token": "fake-trade", "broker_name": "Coinbase",
        "refresh_token_expires_at": (AT + timedelta(days=1)).isoformat(), "account_name": "Jürgen, \"IRA\"",
    }  # fmt: skip
    (found,) = tokens_in(table(row))
    assert (found.metadata, found.ref, found.trade_token) == ({"region": "eu"}, "my-7", "fake-trade")
    assert (found.broker_name, found.account_name) == ("Coinbase", 'Jürgen, "IRA"')
    assert found.refresh_token_expires_at == AT + timedelta(days=1)


def test_tokens_to_the_byte() -> None:
    """With a comma, with quotation marks and with line breaks in them."""
    for token in ('a,b;c"d', "one\ntwo", "one\r\ntwo\rthree", " blanks "):
        (found, other) = tokens_in(table({**OURS, "refresh_token": token}, OURS))
        assert (found.refresh_token, other) == (token, ONE)


def test_numbers_are_those_of_lines() -> None:
    """A row has the number of the line in which it begins, also behind a cell of many lines."""
    text = table(PAYLOAD, {**PAYLOAD, "login": ""}, PAYLOAD)
    first, wrong, last = read(text)
    lines = text.splitlines()
    assert isinstance(wrong, BadLine)
    assert lines[first.number - 1].startswith("user-7")
    assert lines[wrong.number - 1].startswith(",")
    assert lines[last.number - 1].startswith("user-7")
    assert read(text, first=wrong.number) == [wrong, last]
    with pytest.raises(Failure, match="past the end"):
        read(text, first=len(lines) + 2)


@bounded(60)
@given(payload=forms.LISTED | forms.DELAYED, shape=st.sampled_from(forms.SHAPES), excel=st.booleans())
def test_payloads_as_programs_store_them(payload: dict[str, Any], shape: Any, excel: bool) -> None:
    """Each of the forms that a program stores comes out of a table with the tokens that went in."""
    cells = {key: json.dumps(it) if isinstance(it, list | dict) else it for key, it in shape(payload).items()}
    text = table({"login": "user-7", "obtained_at": AT.isoformat(), **cells})
    found = read(text.encode("utf-8-sig" if excel else "utf-8"))
    wanted = forms.expected(payload)
    ids = {tokens.account_id or tokens.mesh_account_id or "" for tokens in wanted}
    if len(wanted) == 1 or ("" not in ids and len(ids) == len(wanted)):
        assert [line.tokens for line in found if isinstance(line, InputLine)] == [wanted]


# What is refused, each in one line.


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "no header"),
        ("\n", "no header"),
        (f"user-7,coinbase,{SECRET}\n", "no header"),
        (json.dumps({"login": "user-7", "payload": {}}), "no header"),
        ("user_id,broker,access_token\n", "no header"),
        ("login,access_token\n", "no header"),
        ("login,login_id,broker\n", "Two columns are login"),
        ("login,broker,brokerType\n", "Two columns are broker"),
        ("login,broker,note,note\n", "Two columns are note"),
        ("login,broker,refersh_token\n", "No column is called refersh_token. If you mean refresh_token"),
        ("login,broker,access-tokens\n", "If you mean access_token"),
    ],
)
def test_a_header_that_will_not_do(text: str, says: str) -> None:
    with pytest.raises(Failure, match=says) as caught:
        read(text)
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ({**OURS, "login": ""}, 'it has no "login"'),
        ({**OURS, "broker": ""}, "it names no broker"),
        ({**OURS, "access_token": "", "refresh_token": ""}, "An account without any token"),
        ({**OURS, "expires_at": SECRET}, "expires_at"),
        ({**OURS, "obtained_at": "2026-01-01 12:00"}, '"obtained_at" must be a time'),
        ({**OURS, "expiresInSeconds": "60"}, "it has expires_at, which goes without expiresInSeconds"),
        ({**OURS, "metadata": SECRET}, "JSON"),
        ({**LINK, "expiresInSeconds": "soon"}, "expiresInSeconds is text that is not a number"),
        ({**LINK, "expires_in": "60", "expiresInSeconds": ""}, "expires_in, and no expiresInSeconds"),
        ({**PAYLOAD, "refresh_token": SECRET}, "it has payload and refresh_token: which counts is not known"),
        ({**PAYLOAD, "payload": SECRET}, "it is not JSON"),
    ],
)
def test_a_row_that_will_not_do(row: dict[str, Any], says: str) -> None:
    """It stops none of the others."""
    text = table(row, {**row, **dict.fromkeys(row, "")}, {**row, "login": "last"})
    first, *others = bad(text)
    assert first[0] == 2
    assert says in first[1]
    assert len(others) == (0 if not row["login"] else 1)


def test_cells_that_do_not_fit() -> None:
    """A comma too much or too little would put a token into the wrong column."""
    head, row = table(OURS).split("\r\n")[:2]
    assert bad(f"{head}\n{row},\n{row},{SECRET}\nuser-7,coinbase\n{row}\n") == [
        (3, "it has 8 cells, and the header has 7."),
        (4, "it has 2 cells, and the header has 7."),
    ]


@pytest.mark.parametrize("name", ["login", "access_token", "refresh_token", "account_id"])
@pytest.mark.parametrize(
    "cell", [f'="{SECRET}"', "1.23457E+17", "1,23457E+17", "1.2345678901234568e+17", "#NAME?", "########"]
)
def test_what_a_spreadsheet_has_spoiled(name: str, cell: str) -> None:
    """Of two long ids it makes one, and the tokens of one person would become those of another."""
    text = table({**OURS, name: cell}, OURS)
    assert bad(text) == [(2, f"its {name} is what a spreadsheet made of it: export that column as text.")]


def test_quotation_marks_that_do_not_fit() -> None:
    """Rows that a mark without its second one has swallowed are named too, and what follows is read."""
    head, row = table(OURS).split("\r\n")[:2]
    wrong = row.replace("coinbase", '"coinbase')
    found = read("\n".join([head, row, wrong, row, row.replace("coinbase", '"coinbase"'), row]))
    why = "its quotation marks are not those of CSV, up to line 5, which was not read either."
    assert [line for line in found if isinstance(line, BadLine)] == [BadLine(3, why)]
    assert [line.number for line in found] == [2, 3, 6]
    ((number, why),) = bad(f"{head}\n{wrong}\n{row}\n{row}")
    assert (number, "up to line 4" in why) == (2, True)


def test_text_in_an_old_encoding() -> None:
    """A name of a person in Latin-1 spoils its own row only."""
    head, row = table({**OURS, "account_name": "Jürgen"}).split("\r\n")[:2]
    text = b"\r\n".join([head.encode(), row.encode("latin-1"), row.encode()])
    ((number, why),) = bad(text)
    assert (number, why) == (2, "it is not UTF-8. Save the file as CSV in UTF-8.")


# The command.


def test_the_command_imports_it(fleet: OpenFleet) -> None:
    """Several accounts of a login in rows of their own, columns that are not read, and a row that is refused."""
    logins = {"user-1": fleet.fake.login("etoro", accounts=2), "user-2": fleet.fake.login("coinbase")}
    rows = [
        {"id": "1", "login": name, **tokens.to_document(), "ref": "", "created": "yesterday"}
        for name, login in logins.items()
        for tokens in login.tokens
    ]
    file = fleet.cli.write("logins.csv", table(*rows, {**rows[0], "login": "", "access_token": SECRET}))
    ran = fleet("import", "--csv", file)
    assert ran.code == Exit.INVALID
    assert "note: columns that are not read: id, created." in ran.err
    assert 'line 5: it has no "login"' in ran.err
    assert "3 logins read: 3 added" in ran.err
    assert SECRET not in ran.err
    assert len(fleet.login("user-1").accounts) == 2
    assert "0 added, 2 already known" in fleet("import", "--csv", "--from-line", "3", file).err
    assert fleet("import", "--csv", "--strict", "-", stdin=table(*rows)).code == 0
    assert not fleet.lost()
