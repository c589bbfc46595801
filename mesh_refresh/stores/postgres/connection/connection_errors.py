"""Errors for what the URL of a store asks for and cannot be had. They say what to change.

The name of an option may be shown. Its value may not, and neither may the text of an error, which repeats values.
"""

import os
import re
import ssl
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlsplit

from mesh_refresh.errors import InvalidRequest, MeshRefreshError
from mesh_refresh.masking import MaskedStr
from mesh_refresh.stores.errors import StoreRefused, StoreUnavailable
from mesh_refresh.stores.postgres.connection import tls
from mesh_refresh.stores.postgres.connection.failures import failure, state_of

_UNKNOWN, _WRONG = "42704", ("22023", "55P02")
_PASSWORDS = ("password", "sslpassword")
_OF_THE_DRIVER: Mapping[str, str] = {
    **{name: name for name in ("target_session_attrs", "sslmode", "sslnegotiation", "gsslib")},
    "ssl_min_protocol_version": "TLS version",
    "ssl_max_protocol_version": "TLS version",
    "port": "for int",
}
"""The options whose values it looks at before it connects, and what its error says of them then."""
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
_WITH_TLS = ("require", "verify-ca", "verify-full")
_ROOT = (
    "To check the server's certificate, libpq's way, the one that signed it must be in ~/.postgresql/root.crt, "
    "or in a file that sslrootcert=... names."
)


def refusal(error: Exception, url: MaskedStr, shown: str) -> MeshRefreshError | None:
    """What to say of an `error` at connecting that is of what `url` asks for; None where it is of something else."""
    if isinstance(error, ValueError):
        return _by_value(error, url, shown)
    if isinstance(error, OSError):
        return _by_system(error, url, shown)
    if type(error).__name__ == "TargetServerAttributeNotMatched":
        asked = "no server of its URL is as target_session_attrs asks"
        return StoreUnavailable(f"The store {shown} cannot be reached: {asked}.")
    if state_of(error) == _UNKNOWN:
        return _unknown(_server_says(error, url), url, shown)
    return _wrong(_server_says(error, url), shown) if state_of(error) in _WRONG else None


def _by_value(error: ValueError, url: MaskedStr, shown: str) -> MeshRefreshError:
    if isinstance(error, ssl.SSLCertVerificationError):
        held = "its server's certificate does not hold, or not for this host"
        return StoreRefused(f"The store {shown} cannot be reached: {held}. {_ROOT}")
    if "root certificate file" in str(error):
        return InvalidRequest(f"The store {shown} was not asked yet. {_ROOT}")
    if isinstance(error, UnicodeError) and not isinstance(error, UnicodeDecodeError):
        return InvalidRequest(f"The URL of the store {shown} has a host that is no name of one.")
    return _wrong(_driver_says(error, url), shown)


def _by_system(error: OSError, url: MaskedStr, shown: str) -> MeshRefreshError | None:
    files = [name for name in _FILES if name in _options(url)]
    if isinstance(error, FileNotFoundError) and files:
        return InvalidRequest(f"The URL of the store {shown} names a file that is not there: {' or '.join(files)}.")
    if isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error):
        return _without_tls(error, url, shown)
    return None


def _without_tls(error: ConnectionError, url: MaskedStr, shown: str) -> MeshRefreshError:
    """The driver says so of a server without TLS; where that is only preferred, of what is no PostgreSQL."""
    if error.__cause__ is not None and state_of(error.__cause__):
        return failure(error.__cause__, shown)  # sslmode=allow: without TLS that was its answer
    if tls.required(url):
        return StoreRefused(
            f"The store {shown} is on another machine and offers no TLS, or is no PostgreSQL. Set up TLS there; "
            "or write sslmode=disable into the URL, if all may be read on the way."
        )
    asked = _options(url).get("sslmode") or os.environ.get("PGSSLMODE", "")
    if asked.replace("_", "-") in _WITH_TLS:
        return StoreRefused(f"The store {shown} offers no TLS, and sslmode asks for it.")
    return StoreUnavailable(f"The store {shown} cannot be reached: what answers there is no PostgreSQL.")


def _unknown(name: str, url: MaskedStr, shown: str) -> InvalidRequest:
    options = _options(url)
    if set(_PASSWORDS) & set(options) or any("@" in value for value in options.values()):
        name = ""  # it may be a part of a password in which & or ? was not percent-encoded
    return InvalidRequest(f"The URL of the store {shown} has an option that is not known{name and ': '}{name}.")


def _wrong(name: str, shown: str) -> InvalidRequest:
    by_variable = "" if name else ", or a variable such as PGPORT has one"
    return InvalidRequest(
        f"The URL of the store {shown} has an option whose value is not allowed{name and ': '}{name}{by_variable}."
    )


def _server_says(error: Exception, url: MaskedStr) -> str:
    """The option that its message names, in any language; empty where it names none."""
    words = set(re.findall(r"\w+", str(error).casefold()))
    return next((name for name in _options(url) if name.casefold() in words), "")


def _driver_says(error: ValueError, url: MaskedStr) -> str:
    there = _options(url)
    return " or ".join(name for name, said in _OF_THE_DRIVER.items() if name in there and said in str(error))


def _options(url: MaskedStr) -> dict[str, str]:
    """The last of a name counts."""
    return dict(parse_qsl(urlsplit(url).query))
