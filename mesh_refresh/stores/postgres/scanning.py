"""Pages: a statement for each set of filters, so that none is planned for filters that it does not have."""

from datetime import UTC
from typing import Any

from mesh_refresh.stores.checks import check_text, check_time
from mesh_refresh.stores.postgres.values import written
from mesh_refresh.stores.row import Page
from mesh_refresh.stores.states import text_of

_ACTIVE = "active"
_INFINITE = (1, 9999)
"""The first and the last time that Python has lie in these years, and are infinite in PostgreSQL."""

Asked = tuple[str, list[Any]]
"""The name of the query with its filters, and its parameters."""


def page_query(queries: dict[str, str], page: Page) -> Asked:
    """The statement for a page, and its parameters. Raises `InvalidRequest` for what is no text or no time."""
    check_text(page.after, page.broker)
    text_of(page.states or frozenset())
    check_time(page.changed_since)
    values: list[Any] = [max(0, page.limit)]
    filters = []

    def also(condition: str, value: Any) -> None:
        values.append(value)
        filters.append(condition.format(f"${len(values)}"))

    if page.after is not None:
        also("login_id > {}", written(page.after))
    if page.broker is not None:
        also("broker = {}", written(page.broker))
    if page.changed_since is not None and page.changed_since.year in _INFINITE:
        also("changed_at >= {}", page.changed_since)
    elif page.changed_since is not None:
        # As text, so that it is planned for: how many rows were changed since decides where to look for them. In UTC:
        # PostgreSQL knows no zones that differ from it by more than 16 hours, or by parts of a second.
        filters.append(f"changed_at >= '{page.changed_since.astimezone(UTC).isoformat()}'::timestamptz")
    name = "rows"
    if page.states is not None:
        states = list(page.states)
        if _ACTIVE in page.states:
            # Most rows are: those few that are not are found among the others.
            also("string_to_array(states, '+') && {}::text[]", states)
        else:
            name = "rows_of_states"
            values.append(states)
    text = queries[name].replace("{filters}", " AND ".join(filters) or "TRUE")
    return text.replace("{states}", f"${len(values)}"), values
