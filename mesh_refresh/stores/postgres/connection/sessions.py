"""What a connection is told before anything else, so that no setting of a role or a database changes what SQL means.

All of it goes by ``SET`` and none of it as a start-up parameter, which PgBouncer refuses.
"""

_PINS = """
SET {scope} search_path = pg_catalog, pg_temp;
SET {scope} standard_conforming_strings = on;
SET {scope} jit = off;
SET {scope} enable_bitmapscan = off;
SET {scope} hash_mem_multiplier = 8;
SET {scope} lock_timeout = 250;
SELECT set_config(
    'synchronous_commit',
    CASE current_setting('synchronous_commit') WHEN 'remote_apply' THEN 'remote_apply' ELSE 'on' END,
    '{scope}' = 'LOCAL'
);
"""
"""First the search path: without it, a function that any role made in ``public``, and whose arguments fit better than
those of PostgreSQL's own, would run with the rights of the caller (CVE-2018-1058). Names without a schema are therefore
PostgreSQL's own in all our SQL, and a temporary thing hides none of them.

PostgreSQL expects of a claim that it takes long, and would compile it, each time, for longer than it takes. Of a table
that is not analyzed yet it expects few rows, and would read all of a broker's by a bitmap to sort them, where an index
has them in order. It also expects many brokers and states, and would sort a million rows before it counts them: more
memory lets it count at once. And a row that another program has locked must not delay the others of its statement:
see groups.py.

A commit that returns is on the disk, and with the standbys that the server waits for. That holds under any setting of
the role, the database or the server's file, which may be read anew at any time: off, local and remote_write become on.
"""

SESSION = _PINS.format(scope="SESSION") + "SET SESSION default_transaction_isolation = 'read committed';"
"""For a connection that stays with its server process."""

TRANSACTION = (
    _PINS.format(scope="LOCAL")
    + """
SELECT set_config('idle_in_transaction_session_timeout', '1min', TRUE)
WHERE current_setting('idle_in_transaction_session_timeout') = '0';
"""
)
"""For each transaction where nothing outlives one. A worker that is cut off before its commit must not keep the rows of
its claim from the others for hours."""
