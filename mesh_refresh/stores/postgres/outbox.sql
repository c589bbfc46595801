-- name: free_notice
-- Under no lease.
(until IS NULL OR until <= clock_timestamp())

-- name: first_notice
-- No other of its login waits before it. With a LIMIT it is looked up for each, and never joined: a join would read them all.
number = (
        SELECT earlier.number
        FROM {schema}.notice AS earlier
        WHERE earlier.login_id = notice.login_id AND NOT earlier.is_dead
        ORDER BY earlier.number
        LIMIT 1
    )

-- name: notice_columns
id, login_id, due_at, written_at, sealed, tries, first_tried_at, is_dead

-- name: due_notices
-- $1 owner, $2 lease in seconds, $3 now, $4 what is written after it and was not tried is due as well, $5 limit, $6 what is
-- due after it was given back by a clock that was ahead, and is due as well. Of each login the first that is not dead, where
-- it is due and free. That changes only when it is taken, dies or is purged, which takes its lock; and what is written
-- later, or sent again, comes behind it: so two claims at once do not hand out two of one login.
-- Those that were written in the future are looked at by an index of their own: mostly there are none.
WITH due AS MATERIALIZED (
    SELECT id
    FROM {schema}.notice
    WHERE NOT is_dead AND due_at <= $3 AND {free_notice} AND {first_notice}
    ORDER BY due_at, number
    LIMIT $5
    FOR UPDATE OF notice SKIP LOCKED
),
ahead AS MATERIALIZED (
    SELECT id
    FROM {schema}.notice
    WHERE NOT is_dead AND written_at > $4 AND due_at > $3 AND tries = 0 AND {free_notice} AND {first_notice}
    ORDER BY written_at
    LIMIT $5
    FOR UPDATE OF notice SKIP LOCKED
),
far AS MATERIALIZED (
    SELECT id
    FROM {schema}.notice
    WHERE NOT is_dead AND due_at > $6 AND NOT (tries = 0 AND written_at > $4) AND {free_notice} AND {first_notice}
    ORDER BY due_at, number
    LIMIT $5
    FOR UPDATE OF notice SKIP LOCKED
),
found AS MATERIALIZED (
    (SELECT id FROM due) UNION ALL (SELECT id FROM ahead) UNION ALL (SELECT id FROM far) LIMIT $5
)
UPDATE {schema}.notice
SET owner = $1, until = clock_timestamp() + make_interval(secs => $2), tries = tries + 1,
    due_at = least(due_at, $3), first_tried_at = least(first_tried_at, $3)
WHERE id = ANY (ARRAY(SELECT id FROM found))
RETURNING {notice_columns}, number;

-- name: take_notice
DELETE FROM {schema}.notice
WHERE id = $1 AND owner = $2
RETURNING 1;

-- name: give_back_notice
UPDATE {schema}.notice
SET due_at = $3, owner = NULL, until = NULL
WHERE id = $1 AND owner = $2
RETURNING 1;

-- name: bury_notice
UPDATE {schema}.notice
SET is_dead = TRUE, owner = NULL, until = NULL
WHERE id = $1 AND owner = $2
RETURNING 1;

-- name: resend_notice
-- Its new number puts it behind the others. It is drawn when nobody else writes a notice of the login: one with a later
-- number that is committed sooner could be out when this becomes the first.
WITH alone AS MATERIALIZED (
    SELECT
    FROM {schema}.login
    WHERE login_id = (SELECT login_id FROM {schema}.notice WHERE id = $1)
    FOR UPDATE
)
UPDATE {schema}.notice
SET is_dead = FALSE, due_at = $2, tries = 0, first_tried_at = NULL, number = DEFAULT
WHERE id = $1 AND is_dead AND (SELECT count(*) FROM alone) >= 0
RETURNING 1;

-- name: page_of_notices
SELECT {notice_columns}
FROM {schema}.notice
WHERE ($2::text IS NULL OR id > $2) AND ($3::boolean IS NULL OR is_dead = $3)
    AND ($4::timestamptz IS NULL OR written_at >= $4)
ORDER BY id
LIMIT $1;

-- name: notices_of
SELECT {notice_columns}
FROM {schema}.notice
WHERE login_id = $1
ORDER BY number;

-- name: count_notices
SELECT
    count(*) FILTER (WHERE NOT is_dead),
    count(*) FILTER (WHERE is_dead),
    min(written_at) FILTER (WHERE NOT is_dead)
FROM {schema}.notice;

-- name: put_notices
-- Those that are there already are left alone. The numbers are drawn in the order in which they are given, and as by
-- `resend_notice` when nobody else writes notices of these logins.
WITH alone AS MATERIALIZED (
    SELECT FROM {schema}.login WHERE login_id = ANY ($2::text[]) ORDER BY login_id FOR UPDATE
)
INSERT INTO {schema}.notice (id, login_id, due_at, written_at, sealed, tries, first_tried_at, is_dead, owner, until)
SELECT id, login_id, due_at, written_at, sealed, tries, first_tried_at, is_dead, NULL, NULL
FROM unnest(
    $1::text[], $2::text[], $3::timestamptz[], $4::timestamptz[], $5::bytea[], $6::integer[], $7::timestamptz[],
    $8::boolean[]
) WITH ORDINALITY AS new ({notice_columns}, place)
WHERE (SELECT count(*) FROM alone) >= 0
ORDER BY place
ON CONFLICT (id) DO NOTHING
RETURNING 1;

-- name: drop_notices
DELETE FROM {schema}.notice
WHERE id = ANY ($1::text[])
RETURNING 1;

-- name: forget_notices
-- Those of a login that was added anew since the statement before stay.
DELETE FROM {schema}.notice
WHERE login_id = $1 AND NOT EXISTS (SELECT FROM {schema}.login WHERE login_id = $1);

-- name: purge_notices
-- $2 dead ones, or the others; $3 how many at once.
DELETE FROM {schema}.notice
WHERE id = ANY (ARRAY(
    SELECT id
    FROM {schema}.notice
    WHERE is_dead = $2 AND due_at < $1 AND {free_notice}
    ORDER BY due_at
    LIMIT $3
    FOR UPDATE SKIP LOCKED
))
RETURNING 1;

-- name: reseal_notice
UPDATE {schema}.notice
SET sealed = $2
WHERE id = $1
RETURNING 1;
