"""Classes of values: no field that can hold a secret is shown by its own `repr`."""

import importlib
import pkgutil
from collections.abc import Iterator

import attrs

import mesh_refresh

SECRET = (
    "token",
    "secret",
    "code",
    "password",
    "metadata",
    "body",
    "headers",
    "payload",
    "sealed",
    "spent",
    "document",
)
PLAIN = {"team_code", "with_code"}
"""Names that only sound like it: whom at Mesh to ask, and the id of a question."""


def value_classes() -> Iterator[type]:
    for module in pkgutil.walk_packages(mesh_refresh.__path__, "mesh_refresh."):
        if not module.name.endswith("__main__"):
            for value in vars(importlib.import_module(module.name)).values():
                if isinstance(value, type) and attrs.has(value) and value.__module__ == module.name:
                    yield value


def test_fields_of_secrets_are_masked() -> None:
    """A field of text, bytes or a mapping with a name of a secret has a mask as its `repr`, or is left out of it."""
    shown = [
        f"{cls.__module__}.{cls.__qualname__}.{field.name}: {field.type}"
        for cls in value_classes()
        for field in attrs.fields(cls)
        if field.repr is True
        and field.name not in PLAIN
        and any(word in field.name for word in SECRET)
        and any(kind in str(field.type) for kind in ("str", "bytes", "Mapping", "dict", "Any", "object"))
    ]
    assert shown == []
