"""Templates to HTML. What a template names and is not given is an error, and every text is escaped."""

from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from mesh_refresh.service.api.segments import write_base64
from mesh_refresh.service.page.login_view import STATES
from mesh_refresh.service.page.words import count, fault, moment, number, plain, quoted, span, visible

_environment = Environment(
    loader=PackageLoader("mesh_refresh.service.page"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_filters: dict[str, Any] = _environment.filters
_filters.update(
    count=count,
    fault=fault,
    moment=moment,
    number=number,
    plain=plain,
    quoted=quoted,
    segment=lambda text: f"~{write_base64(str(text))}",
    span=span,
    visible=visible,
)
_globals: dict[str, Any] = _environment.globals
_globals["STATES"] = STATES


def render(template: str, **values: Any) -> str:
    """The HTML of `template`."""
    return _environment.get_template(template).render(**values)


def asset(name: str) -> str:
    """The style sheet, the script or the icon."""
    return files("mesh_refresh.service.page").joinpath("assets", name).read_text(encoding="utf-8")
