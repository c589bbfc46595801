"""The client keys and the base URL: checked before any I/O, and never shown in an error."""

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from ipaddress import ip_address
from urllib.parse import urlsplit

from mesh_refresh.enums import BrokerType
from mesh_refresh.errors import InvalidRequest
from mesh_refresh.masking import MaskedStr, hides_locals

PRODUCTION_URL = "https://integration-api.meshconnect.com"
SANDBOX_URL = "https://sandbox-integration-api.meshconnect.com"
REFRESH_PATH = "/api/v1/token/refresh"

ID_VARIABLE, SECRET_VARIABLE, URL_VARIABLE = "MESH_CLIENT_ID", "MESH_CLIENT_SECRET", "MESH_BASE_URL"
FILE_VARIABLE = f"{SECRET_VARIABLE}_FILE"

ClientSecret = str | Callable[[], str | Awaitable[str]]
"""A secret, or a callable (sync or async) that gives it and is called before each request."""

_PRODUCTION_HOST = "integration-api.meshconnect.com"
_SANDBOX_HOST = "sandbox-integration-api.meshconnect.com"
_SANDBOX_BROKERS = {BrokerType.SANDBOX, BrokerType.SANDBOX_COINBASE}


@hides_locals
def checked_key(name: str, value: object, wanted: str = "a string") -> str:
    """`value` as it is. Raises `InvalidRequest` where it cannot be a key. The error does not show it."""
    if not isinstance(value, str):
        raise InvalidRequest(f"The {name} must be {wanted}, not {type(value).__name__}.")
    if not value.strip():
        raise InvalidRequest(f"The {name} is empty or missing.")
    if value != value.strip():
        raise InvalidRequest(f"The {name} has blanks around it: it was probably pasted with a space or a line break.")
    if not value.isascii() or not value.isprintable():
        raise InvalidRequest(f"The {name} has characters that no key has.")
    return value


@hides_locals
def checked_base_url(url: object) -> str:
    """`url` without a slash at its end. Raises `InvalidRequest` where secrets must not be sent to it.

    A refused URL may have a password in it.
    """
    wrong = _wrong_base_url(url)
    if wrong or not isinstance(url, str):
        raise InvalidRequest(wrong or "The base URL is not a URL.")
    return url.rstrip("/")


def _wrong_base_url(url: object) -> str | None:
    """What is wrong with `url`, as a sentence, or None."""
    if not isinstance(url, str) or not url or not url.isprintable() or " " in url:
        return "The base URL must be a string such as https://integration-api.meshconnect.com."
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "The base URL is not a URL."
    if parts.scheme not in ("http", "https") or not host:
        return "The base URL must begin with https:// and name a host."
    if parts.username is not None or "?" in url or "#" in url:
        return "The base URL must have no user name, query or fragment."
    if parts.scheme == "http" and not is_loopback(host):
        return f"Plain http to {host} would show every token on the way: use https."
    return None


def host_of(base_url: str) -> str:
    """The host, for messages."""
    return urlsplit(base_url).hostname or ""


def is_loopback(host: str) -> bool:
    """Whether `host` is this machine itself, by its name or by its address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@hides_locals
def check_secret_fits(base_url: str, secret: str) -> None:
    """Raises `InvalidRequest` where a key's prefix says that it is for the other environment."""
    host = host_of(base_url)
    if host == _PRODUCTION_HOST and secret.startswith("sk_sand_"):
        raise InvalidRequest(
            "This is a sandbox client secret, but the base URL is production: pass base_url=SANDBOX_URL."
        )
    if host == _SANDBOX_HOST and secret.startswith("sk_prod_"):
        raise InvalidRequest("This is a production client secret, but the base URL is the sandbox.")


def check_broker_fits(base_url: str, broker: str) -> None:
    """Raises `InvalidRequest` where a sandbox account would be sent to production."""
    if broker in _SANDBOX_BROKERS and host_of(base_url) == _PRODUCTION_HOST:
        raise InvalidRequest(f"{broker} accounts exist in the sandbox only, but the base URL is production.")


@hides_locals
def from_environment(
    environ: Mapping[str, str], watch: Callable[[str, str, Callable[[str], str]], Callable[[], str]]
) -> tuple[str, str | Callable[[], str], str]:
    """Id, secret and base URL. Raises `InvalidRequest` with the names of all variables that are missing.

    `watch` makes a callable of the path of a file with the secret, where a variable names one: see `WatchedFile`.
    """
    path = environ.get(FILE_VARIABLE)
    if path and environ.get(SECRET_VARIABLE):
        raise InvalidRequest(f"{SECRET_VARIABLE} and {FILE_VARIABLE} are both set: leave out one of them.")
    wanted = (ID_VARIABLE,) if path else (ID_VARIABLE, SECRET_VARIABLE)
    missing = [name for name in wanted if not environ.get(name)]
    if missing:
        raise InvalidRequest(f"{' and '.join(missing)} must be set in the environment.")
    checked = partial(checked_key, SECRET_VARIABLE)
    return (
        checked_key(ID_VARIABLE, environ[ID_VARIABLE]),
        watch(path, f"in {FILE_VARIABLE}", checked) if path else MaskedStr(checked(environ[SECRET_VARIABLE])),
        checked_base_url(environ.get(URL_VARIABLE) or PRODUCTION_URL),
    )
