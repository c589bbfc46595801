-- Parts in braces are the blocks of these names.
--
-- What claims have in common: $1 owner, $2 lease in seconds, $3 now, $4 limit, $5 limit for each broker, $6 and $7 brokers
-- with limits of their own, $8 and $9 brokers of which nothing that was due before a time is free. They pass over rows that
-- somebody else is taking in this moment and wait for nobody: who claims at the same time gets other rows, or fewer, because
-- a first look still counts those. A row that was taken since it was looked at is free no more when it is locked, and passed
-- over too.

-- name: wanted
-- The brokers, one look into the index for each, because their rows are not to be walked over; and how many at the most.
-- From the last to the first, and from the end of each: what was claimed lately has left the index full of dead entries at
-- the front of each. (A copy into this store leaves some at the end, which the next vacuum takes away.) For the same reason
-- the rows of a broker are looked at from `since` on: see floors.py.
each_broker (broker) AS (
    SELECT max(broker) FROM {schema}.login
    UNION ALL
    SELECT (SELECT max(broker) FROM {schema}.login WHERE login.broker < each_broker.broker)
    FROM each_broker
    WHERE each_broker.broker IS NOT NULL
),
wanted AS (
    SELECT each_broker.broker, least(coalesce(given.most, $5, $4), $4) AS most,
        coalesce(floor.since, '-infinity'::timestamptz) AS since
    FROM each_broker
    LEFT JOIN unnest($8::text[], $9::timestamptz[]) AS floor (broker, since) ON floor.broker = each_broker.broker
    LEFT JOIN unnest($6::text[], $7::bigint[]) AS given (broker, most) ON given.broker = each_broker.broker
    WHERE each_broker.broker IS NOT NULL
        AND NOT EXISTS (SELECT FROM {schema}.pause WHERE pause.broker IN (each_broker.broker, '*'))
)

-- name: was_open
-- Whether something may have been sent under the lease that ran out.
(owner IS NOT NULL AND sends) AS was_open

-- name: lease
-- By way of arrays, because PostgreSQL takes those for short. Of `found` it expects half the table, and would read all.
UPDATE {schema}.login AS login
SET revision = login.revision + 1, attempt = login.attempt + 1,
    owner = $1, sends = TRUE, open_before = taken.was_open, until = clock_timestamp() + make_interval(secs => $2)
FROM unnest(ARRAY(SELECT login_id FROM found), ARRAY(SELECT was_open FROM found)) AS taken (login_id, was_open)
WHERE login.login_id = taken.login_id
RETURNING login.login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed, taken.was_open;

-- name: claim
-- The longest due first. Where the limit does not hold all that may be taken of each broker, a first look finds which rows
-- those are, and so how many of each broker are wanted, and from when on: so the second look meets no dead entry that the
-- first one met.
WITH RECURSIVE {wanted},
first_due AS (
    SELECT wanted.broker, free.due_at
    FROM wanted
    CROSS JOIN LATERAL (
        SELECT due_at
        FROM {schema}.login
        WHERE login.broker = wanted.broker AND due_at >= wanted.since AND due_at <= $3
            AND (until IS NULL OR until <= clock_timestamp())
        ORDER BY due_at
        LIMIT wanted.most
    ) AS free
    WHERE (SELECT sum(most) FROM wanted) > $4
    ORDER BY free.due_at, wanted.broker
    LIMIT $4
),
share AS MATERIALIZED (
    SELECT broker, most, since FROM wanted WHERE (SELECT sum(most) FROM wanted) <= $4
    UNION ALL
    SELECT broker, count(*), min(due_at) FROM first_due GROUP BY broker
),
found AS MATERIALIZED (
    SELECT free.login_id, free.was_open
    FROM share
    CROSS JOIN LATERAL (
        SELECT login_id, {was_open}
        FROM {schema}.login
        WHERE login.broker = share.broker AND due_at >= share.since AND due_at <= $3
            AND (until IS NULL OR until <= clock_timestamp())
        ORDER BY due_at
        LIMIT share.most
        FOR UPDATE SKIP LOCKED
    ) AS free
)
{lease}

-- name: claim_ahead
-- What was changed after $10, and so before the clock was put back, and is due later than now. Of such rows there may be a
-- million, and every claim would sort them all: only $11 of each broker are put in order. Nearly always there is none, and
-- one look into the index says so: of a table that is not analyzed yet, PostgreSQL may look for them among all that are due
-- later. A row may be changed between the look and its lock, so everything is asked again of what is locked; IS TRUE keeps
-- that from being taken for a way to find rows.
WITH RECURSIVE {wanted},
ahead AS MATERIALIZED (
    SELECT free.login_id
    FROM wanted
    CROSS JOIN LATERAL (
        SELECT login_id, due_at
        FROM (
            SELECT login_id, due_at
            FROM {schema}.login
            WHERE (SELECT max(changed_at) FROM {schema}.login WHERE login.broker = wanted.broker) > $10
                AND login.broker = wanted.broker AND changed_at > $10 AND due_at > $3
                AND (until IS NULL OR until <= clock_timestamp())
            ORDER BY changed_at
            LIMIT $11
        ) AS looked_at
        ORDER BY due_at
        LIMIT wanted.most
    ) AS free
    ORDER BY free.due_at, wanted.broker
    LIMIT $4
),
found AS MATERIALIZED (
    SELECT login_id, {was_open}
    FROM {schema}.login
    WHERE login_id = ANY (ARRAY(SELECT login_id FROM ahead))
        AND (changed_at > $10 AND due_at > $3) IS TRUE
        AND (until IS NULL OR until <= clock_timestamp())
    FOR UPDATE SKIP LOCKED
)
{lease}

-- name: claim_one
-- $4: whether the owner may send something. No row at all where there is no login; without a login id where the login is
-- under a lease or a hold, or has an open attempt and is wanted by an owner that sends nothing.
WITH found AS MATERIALIZED (
    SELECT login_id, {was_open}, until, clock_timestamp() AS looked_at
    FROM {schema}.login
    WHERE login_id = $1
    FOR UPDATE
),
leased AS (
    UPDATE {schema}.login AS login
    SET revision = login.revision + 1, attempt = login.attempt + 1,
        owner = $2, sends = $4, open_before = found.was_open, until = clock_timestamp() + make_interval(secs => $3)
    FROM found
    WHERE login.login_id = found.login_id AND (found.until IS NULL OR found.until <= found.looked_at)
        AND ($4 OR NOT found.was_open)
    RETURNING login.login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed
)
SELECT leased.*, found.was_open, found.until - found.looked_at AS busy_for
FROM found LEFT JOIN leased ON TRUE;

-- name: release
-- An attempt that was open stays so: the owner stays, and what is left of the lease is the hold.
UPDATE {schema}.login
SET owner = CASE WHEN open_before THEN owner END, until = clock_timestamp() + make_interval(secs => $3)
WHERE login_id = $1 AND owner = $2
RETURNING 1;
