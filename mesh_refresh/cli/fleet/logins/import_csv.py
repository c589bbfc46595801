"""Reads the rows of a CSV file as the lines of an import. No error quotes a cell.

A row becomes the document of a JSON line, which `import_entries` reads. Its columns have the names of Link or of
`Tokens`, in any case and with any mark between their words.
"""

import csv
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from attrs import fields

from mesh_refresh import InvalidRequest, Tokens
from mesh_refresh.cli.fleet.logins.import_entries import BadLine, InputLine, Reading, parse_json, read_entries
from mesh_refresh.cli.terminal.messages import Failure, format_count, one_line
from mesh_refresh.codec.plain import folded, is_absent
from mesh_refresh.masking import MaskedDict

_MARKS = ("format", "version")
"""Of a document in JSON. Here they say nothing."""
_LINES = ("login", "payload", "link", "tokens", *_MARKS)
"""Names of a line of an import, beside the payload or the tokens."""
_OF_LINK = ("accountTokens", "accessTokenPayload", "delayedAuth", "account", "brokerBrandInfo")
_LIFETIMES = ("expiresInSeconds", "refreshTokenExpiresInSeconds")
_FIELDS = tuple(field.name for field in fields(Tokens))
_NAMES = {
    **{folded(name): name for name in (*_LINES, *_OF_LINK, *_LIFETIMES, *_FIELDS)},
    "loginid": "login",
    "brokertype": "broker",
}
"""The name of each column, by its folded form."""
_WHOLE = frozenset({"payload", "link", "tokens", "accountTokens", "accessTokenPayload", "delayedAuth"})
_TOKENS = ("access_token", "refresh_token", "token_id")
_TO_THE_BYTE = ("login", "account_id", "mesh_account_id", "trade_token", *_TOKENS)
_SPOILED = re.compile(r'="[^"]*"|[+-]?\d([.,]\d+)?E\+\d+|#(NAME\?|REF!|VALUE!|N/A|NUM!|DIV/0!|NULL!|#+)', re.IGNORECASE)
"""What a spreadsheet makes of an id or a token: a formula, a number without its last digits, an error."""
_ONLY_OURS = frozenset({"expires_at", "refresh_token_expires_at", "not_before", "metadata", "ref"})
"""Columns that a payload of Link does not have."""
_SHOWN, _LONGEST_NAME, _LONGEST_CELL = 20, 40, 16 * 1024 * 1024
_ALIKE = 0.84
_CARRIAGE_RETURN = re.compile(r"(?<=\r)(?!\n)")
"""Behind a line that ends as those of the first Macintosh did."""
_NO_HEADER = (
    "The first line is no header of CSV. It names the columns: login, which is your own id for the login, broker (or "
    "brokerType), access_token, refresh_token and others, or payload."
)


def read_rows(
    lines: Iterator[bytes], reading: Reading, note: Callable[[str], object], *, first: int = 1
) -> Iterator[InputLine | BadLine]:
    """The logins in `lines`, a CSV file with a header, from line number `first` on. Rows of empty cells are skipped.

    A row has the number of the line in which it begins. `note` gets what people should know of the columns. Raises
    `Failure` for a file without a header.
    """
    csv.field_size_limit(_LONGEST_CELL)
    texts = (part for line in lines for part in _CARRIAGE_RETURN.split(line.decode(errors="surrogateescape")) if part)
    header, separator = _split_header(next(texts, ""))
    names = _name_columns(header, note)
    rows, number = csv.reader(texts, delimiter=separator, strict=True), 1
    while True:
        begin, row, why = number + 1, None, ""
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error:
            why = "its quotation marks are not those of CSV"
        number = rows.line_num + 1
        until = f", up to line {number}, which was not read either" if number > begin else ""
        if begin < first or (row is not None and all(map(is_absent, row))):
            continue
        if row is None:
            yield BadLine(begin, f"{why}{until}.")
        else:
            yield from _read_row(begin, names, row, reading)


def _split_header(line: str) -> tuple[list[str], str]:
    """The cells of the header, and what separates them: what makes most of them names of columns."""

    def split(separator: str) -> list[str]:
        try:
            return next(csv.reader([line.lstrip("\ufeff")], delimiter=separator, strict=True), [])
        except csv.Error:
            return []

    found = [(split(separator), separator) for separator in (",", ";", "\t", "|")]
    return max(found, key=lambda it: sum(folded(name) in _NAMES for name in it[0]))


def _name_columns(header: Sequence[str], note: Callable[[str], object]) -> list[str]:
    """The names of the columns. Those that are not read keep their own. Raises `Failure`."""
    names = [_NAMES.get(folded(name), name.strip()) for name in header]
    if "login" not in names or not {"broker", *_WHOLE}.intersection(names):
        raise Failure(_NO_HEADER)
    for name in {name for name in names if name and names.count(name) > 1}:
        raise Failure(f"Two columns are {_show(name)}. Leave out one of them, or rename it.")
    unread = [name for name in dict.fromkeys(names) if folded(name) not in _NAMES]
    for name in filter(None, unread):
        if alike := get_close_matches(folded(name), _NAMES, n=1, cutoff=_ALIKE):
            meant = _NAMES[alike[0]]
            raise Failure(f"No column is called {_show(name)}. If you mean {meant}, write that; else rename it.")
    if unread:
        more = f" and {len(unread) - _SHOWN} more" if len(unread) > _SHOWN else ""
        shown = ", ".join(_show(name or "(no name)") for name in unread[:_SHOWN])
        note(f"note: columns that are not read: {shown}{more}.")
    return names


def _show(name: str) -> str:
    return one_line(name)[:_LONGEST_NAME]


def _read_row(number: int, names: Sequence[str], row: Sequence[str], reading: Reading) -> list[InputLine | BadLine]:
    filled = ((name, cell) for name, cell in zip(names, row, strict=False) if not is_absent(cell))
    cells = MaskedDict({name: cell for name, cell in filled if name not in _MARKS})
    try:
        if len(row) < len(names) or not all(map(is_absent, row[len(names) :])):
            raise InvalidRequest(f"it has {format_count(len(row), 'cell')}, and the header has {len(names)}.")
        if any("\udc80" <= letter <= "\udcff" for cell in cells.values() for letter in cell):
            raise InvalidRequest("it is not UTF-8. Save the file as CSV in UTF-8.")
        if spoiled := [name for name in _TO_THE_BYTE if _SPOILED.fullmatch(cells.get(name, "").strip())]:
            raise InvalidRequest(f"its {spoiled[0]} is what a spreadsheet made of it: export that column as text.")
        document = _document_of(cells)
    except InvalidRequest as error:
        return [BadLine(number, str(error))]
    return read_entries(number, document, reading)


def _document_of(cells: Mapping[str, str]) -> MaskedDict:
    """The document of a line with these cells. Raises `InvalidRequest` where some of them would have no effect."""
    tokens = [name for name in _TOKENS if name in cells]
    if whole := _WHOLE.intersection(cells):
        if tokens or len(whole) > 1:
            raise InvalidRequest(f"it has {' and '.join(sorted({*whole, *tokens}))}: which counts is not known.")
        return _renamed(cells)
    ours, lifetimes = _ONLY_OURS.intersection(cells), set(_LIFETIMES).intersection(cells)
    if lifetimes and ours:
        raise InvalidRequest(f"it has {min(ours)}, which goes without {min(lifetimes)}: give ends as times.")
    if "broker" not in cells:
        raise InvalidRequest("it names no broker.")
    if not ours:
        return _renamed(cells)
    document = MaskedDict(cells, format="mesh_refresh.tokens", version=1)
    if "metadata" in cells:
        document["metadata"] = parse_json(cells["metadata"])
    return document


def _renamed(cells: Mapping[str, str]) -> MaskedDict:
    """`cells` with the name that only Link gives to the broker."""
    return MaskedDict({"brokerType" if name == "broker" else name: cell for name, cell in cells.items()})
