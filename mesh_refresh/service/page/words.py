"""What the page says in words: spans of time, states, faults, and text of others made safe to look at. Pure."""

import unicodedata
from datetime import datetime, timedelta

from markupsafe import Markup

from mesh_refresh.keeper import BreakerFault

_LONGEST = 600
"""Characters that are shown of a text that a broker or a person wrote."""
_BLANK = frozenset("\u115f\u1160\u2800\u3164\uffa0")
"""Letters that look like nothing."""

FAULTS = {
    BreakerFault.CLIENT_REFUSED: "Mesh does not accept the client id and secret",
    BreakerFault.REDIRECTED: "the base URL is not that of Mesh: it answers with a redirect",
    BreakerFault.THROTTLED: "Mesh asks for fewer requests",
    BreakerFault.UNAVAILABLE: "Mesh or the broker is down",
    BreakerFault.NOT_SENT: "there is no connection to Mesh",
    BreakerFault.NOT_PERMITTED: "Mesh does not permit these requests",
    BreakerFault.REJECTED: "Mesh does not accept the requests as such",
    BreakerFault.UNKNOWN_OUTCOMES: "requests go out, and no answer comes",
    BreakerFault.UNREADABLE: "replies cannot be read: a proxy may damage them",
    BreakerFault.REFUSALS: "more logins are refused than can be their own fault",
}


def visible(text: object, most: int | None = None) -> Markup:
    """`text` of any origin as HTML, apart from the direction of the text around it.

    Characters that cannot be seen, or that turn the direction of text, are shown by their numbers. Of a text longer
    than `most`, the beginning is shown.
    """
    given = str(text)
    shown = given if most is None or len(given) <= most else given[:most]
    parts = [_marked(char) if _is_hidden(char) else Markup.escape(char) for char in shown]
    cut = Markup('<span class="cut">… {} more characters</span>').format(len(given) - len(shown))
    return Markup("<bdi>{}</bdi>{}").format(Markup("").join(parts), cut if shown != given else "")


def plain(text: object) -> str:
    """As `visible`, where no tags can be: in a title."""
    return "".join(f"[U+{ord(char):04X}]" if _is_hidden(char) else char for char in str(text))


def quoted(text: object) -> Markup:
    """As `visible`, for text that may be long."""
    return visible(text, _LONGEST)


def _is_hidden(char: str) -> bool:
    return not char.isprintable() or char in _BLANK or "\ufe00" <= char <= "\ufe0f"


def _marked(char: str) -> Markup:
    name = unicodedata.name(char, "control character").lower()
    return Markup('<span class="hidden-char" title="{}">U+{:04X}</span>').format(name, ord(char))


def span(time: timedelta) -> str:
    """About how long: ``8 s``, ``25 min``, ``3 h``, ``2 d``."""
    seconds = max(0, int(time.total_seconds()))
    units = ((86400, "d"), (3600, "h"), (60, "min"))
    size, unit = next((unit for unit in units if seconds >= 2 * unit[0]), (1, "s"))
    return f"{seconds // size} {unit}"


def relative(moment: datetime, now: datetime) -> str:
    """When, from now: ``in 5 min``, ``3 h ago``, ``now`` within a second."""
    if abs(moment - now) < timedelta(seconds=1):
        return "now"
    return f"in {span(moment - now)}" if moment > now else f"{span(now - moment)} ago"


def moment(at: datetime | None, now: datetime) -> Markup:
    """A time for people and programs; a dash where there is none."""
    if at is None:
        return Markup('<span class="none">–</span>')
    return Markup('<time datetime="{}" title="{:%Y-%m-%d %H:%M:%S} UTC">{}</time>').format(
        at.isoformat(), at, relative(at, now)
    )


def number(value: int) -> str:
    """With thin spaces between the thousands."""
    return f"{value:,}".replace(",", "\u202f")


def count(value: int, noun: str, plural: str | None = None) -> str:
    """``1 login``, ``1 234 logins``."""
    return f"{number(value)} {noun if value == 1 else plural or f'{noun}s'}"


def fault(name: str) -> str:
    """Why a breaker is open, in words."""
    return FAULTS.get(name, name)  # type: ignore[call-overload, no-any-return]
