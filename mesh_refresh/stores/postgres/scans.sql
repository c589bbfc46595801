-- {filters} are those that are asked for.

-- name: rows
SELECT login_id, broker, state, due_at, expires_at, changed_at, epoch, revision, attempt, sealed, FALSE
FROM {schema}.login
WHERE {filters}
ORDER BY login_id
LIMIT $1;

-- name: rows_of_states
-- Of states that few are in, along the index for each: no more are read than fill the page.
SELECT found.*
FROM unnest({states}::text[]) AS wanted (state)
CROSS JOIN LATERAL (
    SELECT login_id, broker, state, due_at, expires_at, changed_at, epoch, revision, attempt, sealed, FALSE
    FROM {schema}.login
    WHERE login.state = wanted.state AND login.state <> 'active' AND {filters}
    ORDER BY login_id
    LIMIT $1
) AS found
ORDER BY found.login_id
LIMIT $1;

-- name: counts
SELECT
    broker,
    state,
    count(*),
    count(*) FILTER (WHERE expires_at <= $1),
    count(*) FILTER (WHERE due_at <= $1),
    min(due_at),
    count(*) FILTER (WHERE owner IS NOT NULL AND until > clock_timestamp())
FROM {schema}.login
GROUP BY broker, state
ORDER BY broker, state;
