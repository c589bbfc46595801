-- name: claim
-- In two looks. The first finds which rows are due the longest, and so how many of each broker are wanted; the second takes
-- so many of each, and passes over rows that somebody else is taking in this moment: who claims at the same time gets other
-- rows and waits for nobody. A row that was taken between both looks is free no more when it is locked, and passed over too.
--
-- $1 owner, $2 lease, $3 now, $4 what was changed after this is due too, $5 limit, $6 limit for each broker, $7 and $8
-- brokers with limits of their own, $9 how many of the rows that are due in the second way are put in order: there may be a
-- million of them, and every claim would sort them all. Nearly always there is none, and one look into the index says so:
-- of a table that is not analyzed yet, PostgreSQL may look for them among all that are due later.
WITH RECURSIVE each_broker (broker) AS (
    -- One look into the index for each broker: its rows are not walked over.
    SELECT min(broker) FROM {schema}.login WHERE due_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(broker) FROM {schema}.login WHERE due_at IS NOT NULL AND login.broker > each_broker.broker)
    FROM each_broker
    WHERE each_broker.broker IS NOT NULL
),
wanted AS (
    SELECT each_broker.broker, least(coalesce(given.most, $6, $5), $5) AS most
    FROM each_broker
    LEFT JOIN unnest($7::text[], $8::bigint[]) AS given (broker, most) ON given.broker = each_broker.broker
    WHERE each_broker.broker IS NOT NULL
        AND NOT EXISTS (SELECT FROM {schema}.pause WHERE pause.broker IN (each_broker.broker, '*'))
),
first_due AS (
    SELECT wanted.broker, free.due_at
    FROM wanted
    CROSS JOIN LATERAL (
        SELECT due_at
        FROM {schema}.login
        WHERE login.broker = wanted.broker AND due_at <= $3 AND (until IS NULL OR until <= clock_timestamp())
        ORDER BY due_at
        LIMIT wanted.most
    ) AS free
),
first_ahead AS (
    -- All of these come after those: their due times lie in the future.
    SELECT wanted.broker, free.due_at
    FROM wanted
    CROSS JOIN LATERAL (
        SELECT due_at
        FROM (
            SELECT due_at
            FROM {schema}.login
            WHERE (SELECT max(changed_at) FROM {schema}.login) > $4
                AND login.broker = wanted.broker AND changed_at > $4 AND due_at > $3
                AND (until IS NULL OR until <= clock_timestamp())
            ORDER BY changed_at
            LIMIT $9
        ) AS looked_at
        ORDER BY due_at
        LIMIT wanted.most - (SELECT count(*) FROM first_due WHERE first_due.broker = wanted.broker)
    ) AS free
),
share AS MATERIALIZED (
    SELECT broker, count(*) FILTER (WHERE NOT ahead) AS due, count(*) FILTER (WHERE ahead) AS ahead
    FROM (
        SELECT broker, due_at, FALSE AS ahead FROM first_due
        UNION ALL
        SELECT broker, due_at, TRUE AS ahead FROM first_ahead
        ORDER BY due_at
        LIMIT $5
    ) AS first_of_all
    GROUP BY broker
),
due AS MATERIALIZED (
    SELECT free.login_id, free.was_open
    FROM share
    CROSS JOIN LATERAL (
        SELECT login_id, owner IS NOT NULL AS was_open
        FROM {schema}.login
        WHERE login.broker = share.broker AND due_at <= $3 AND (until IS NULL OR until <= clock_timestamp())
        ORDER BY due_at
        LIMIT share.due
        FOR UPDATE SKIP LOCKED
    ) AS free
    WHERE share.due > 0
),
ahead AS MATERIALIZED (
    SELECT free.login_id, free.was_open
    FROM share
    CROSS JOIN LATERAL (
        SELECT login_id, owner IS NOT NULL AS was_open
        FROM {schema}.login
        WHERE login_id IN (
            SELECT login_id
            FROM {schema}.login
            WHERE login.broker = share.broker AND changed_at > $4 AND due_at > $3
                AND (until IS NULL OR until <= clock_timestamp())
            ORDER BY changed_at
            LIMIT $9
        )
            AND (until IS NULL OR until <= clock_timestamp())
        ORDER BY due_at
        LIMIT share.ahead
        FOR UPDATE SKIP LOCKED
    ) AS free
    WHERE share.ahead > 0
),
found AS MATERIALIZED (
    SELECT login_id, was_open FROM due
    UNION ALL
    SELECT login_id, was_open FROM ahead
)
-- By way of arrays, because PostgreSQL takes those for short. Of `found` it expects half the table, and would read all.
UPDATE {schema}.login AS login
SET revision = login.revision + 1, attempt = login.attempt + 1, owner = $1, until = clock_timestamp() + $2
FROM unnest(ARRAY(SELECT login_id FROM found), ARRAY(SELECT was_open FROM found)) AS taken (login_id, was_open)
WHERE login.login_id = taken.login_id
RETURNING login.login_id, broker, state, due_at, expires_at, changed_at, epoch, revision, attempt, sealed, taken.was_open;

-- name: claim_one
-- No row at all where there is no login; without a login id where it is somebody's for a while yet.
WITH found AS MATERIALIZED (
    SELECT login_id, owner IS NOT NULL AS was_open, until, clock_timestamp() AS looked_at
    FROM {schema}.login
    WHERE login_id = $1
    FOR UPDATE
),
leased AS (
    UPDATE {schema}.login AS login
    SET revision = login.revision + 1, attempt = login.attempt + 1, owner = $2, until = clock_timestamp() + $3
    FROM found
    WHERE login.login_id = found.login_id AND (found.until IS NULL OR found.until <= found.looked_at)
    RETURNING login.login_id, broker, state, due_at, expires_at, changed_at, epoch, revision, attempt, sealed
)
SELECT leased.*, found.was_open, found.until - found.looked_at AS busy_for
FROM found LEFT JOIN leased ON TRUE;
