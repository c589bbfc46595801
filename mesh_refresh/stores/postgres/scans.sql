-- {filters} are those that are asked for.

-- name: rows
SELECT login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed, FALSE
FROM {schema}.login
WHERE {filters}
ORDER BY login_id
LIMIT $1;

-- name: rows_of_states
-- Of states that few are in, along the index for each set that has one of them: no more are read than fill the page. The
-- sets are found by one look into the index for each.
WITH RECURSIVE each_set (states) AS (
    SELECT min(states) FROM {schema}.login WHERE states <> 'active'
    UNION ALL
    SELECT (SELECT min(states) FROM {schema}.login WHERE login.states <> 'active' AND login.states > each_set.states)
    FROM each_set
    WHERE each_set.states IS NOT NULL
)
SELECT found.*
FROM each_set
CROSS JOIN LATERAL (
    SELECT login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed, FALSE
    FROM {schema}.login
    WHERE login.states = each_set.states AND login.states <> 'active' AND {filters}
    ORDER BY login_id
    LIMIT $1
) AS found
WHERE string_to_array(each_set.states, '+') && {states}::text[]
ORDER BY found.login_id
LIMIT $1;

-- name: key_usage
SELECT substring(sealed FROM 1 FOR $1) AS head, count(*) FROM {schema}.login GROUP BY head
UNION ALL
SELECT substring(sealed FROM 1 FOR $1) AS head, count(*) FROM {schema}.notice GROUP BY head;

-- name: due_by_hour
SELECT ceil(extract(epoch FROM due_at - $1) / 3600)::int - 1 AS hour, count(*)
FROM {schema}.login
WHERE due_at > $1 AND due_at <= $1 + $2 * interval '1 hour'
GROUP BY hour;

-- name: damage
-- What the server has noticed of this database. Where it keeps no checksums, it does not count.
SELECT 'the index ' || class.relname || ' is not valid'
FROM pg_catalog.pg_index AS found
JOIN pg_catalog.pg_class AS class ON class.oid = found.indexrelid
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = $1 AND NOT found.indisvalid
UNION ALL
SELECT checksum_failures || ' pages of the database had a wrong checksum'
FROM pg_catalog.pg_stat_database
WHERE datname = current_database() AND checksum_failures > 0;

-- name: counts
SELECT
    broker,
    states,
    count(*),
    count(*) FILTER (WHERE expires_at <= $1),
    count(*) FILTER (WHERE due_at <= $1),
    min(due_at),
    count(*) FILTER (WHERE owner IS NOT NULL AND until > clock_timestamp())
FROM {schema}.login
GROUP BY broker, states
ORDER BY broker, states;
