"""The SQL beside this module, by name, for the schema that it is to work in."""

from mesh_refresh.stores.sql import files

_PACKAGE = "mesh_refresh.stores.postgres"


class Queries:
    """Every statement of a file, with the schema filled in."""

    def __init__(self, schema: str) -> None:
        self._schema = quoted(schema)

    def of(self, file: str) -> dict[str, str]:
        """The statements of `file`."""
        return {name: self.filled(text) for name, text in files.queries(_PACKAGE, file).items()}

    def filled(self, text: str) -> str:
        """`text` for this schema, without its comments: a name with a line's end in it would end those."""
        lines = (line for line in text.splitlines() if not line.lstrip().startswith("--"))
        return "\n".join(lines).replace("{schema}", self._schema)


def migrations() -> dict[int, str]:
    """What makes each version of the schema out of the one before, by version."""
    return files.migrations(_PACKAGE)


def quoted(name: str) -> str:
    """`name` as an identifier; it may hold any characters."""
    return '"' + name.replace('"', '""') + '"'
