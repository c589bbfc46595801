-- name: insert_new
-- Those that are there already are left alone.
INSERT INTO {schema}.login
    (login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, owner, sends, open_before,
    until, sealed)
SELECT login_id, broker, states, due_at, expires_at, changed_at, epoch, 1, 0, NULL, TRUE, FALSE, NULL, sealed
FROM unnest(
    $1::text[], $2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], $7::text[], $8::bytea[]
) AS new (login_id, broker, states, due_at, expires_at, changed_at, epoch, sealed)
ON CONFLICT (login_id) DO NOTHING
RETURNING login_id

-- name: insert
{insert_new};

-- name: insert_told
-- With notices of those that are new. $9 ids, $10 login ids, $11 due, $12 written, $13 sealed.
WITH done AS ({insert_new}),
told AS (
    INSERT INTO {schema}.notice (id, login_id, due_at, written_at, sealed, tries, first_tried_at, is_dead, owner, until)
    SELECT id, login_id, due_at, written_at, sealed, 0, NULL, FALSE, NULL, NULL
    FROM unnest($9::text[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::bytea[])
        WITH ORDINALITY AS new (id, login_id, due_at, written_at, sealed, place)
    WHERE login_id IN (SELECT login_id FROM done)
    ORDER BY place
    ON CONFLICT (id) DO NOTHING
)
SELECT login_id FROM done;

-- name: read
-- Joined to the ids, so that of a table in parts each is looked for in its own part alone. The array by way of a query, and
-- so in `swap`: PostgreSQL takes it for short then. For 500 rows it would read a table of less than a million from end to
-- end.
SELECT login.login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed, FALSE
FROM unnest((SELECT $1::text[])) AS wanted (login_id)
JOIN {schema}.login AS login ON login.login_id = wanted.login_id;

-- name: set_new
-- What a swap writes. A lease that was given back leaves a hold, or nothing. $10 is who gives it back, $11 the hold in
-- seconds.
UPDATE {schema}.login AS login
SET broker = new.broker,
    states = new.states,
    due_at = new.due_at,
    expires_at = new.expires_at,
    changed_at = new.changed_at,
    revision = login.revision + 1,
    sealed = new.sealed,
    owner = CASE WHEN login.owner = $10 THEN NULL ELSE login.owner END,
    until = CASE WHEN login.owner = $10 THEN clock_timestamp() + make_interval(secs => $11) ELSE login.until END
FROM unnest(
    (SELECT $1::text[]), (SELECT $2::text[]), (SELECT $3::text[]), (SELECT $4::timestamptz[]),
    (SELECT $5::timestamptz[]), (SELECT $6::timestamptz[]), (SELECT $7::text[]), (SELECT $8::bytea[]), (SELECT $9::bigint[])
) AS new (login_id, broker, states, due_at, expires_at, changed_at, epoch, sealed, revision)
WHERE login.login_id = new.login_id AND login.epoch = new.epoch AND login.revision = new.revision

-- name: swap
-- Given in the order of their ids, so that two groups that meet wait for one another and do not lock up.
{set_new}
RETURNING login.login_id;

-- name: told
-- Notices of what was written, in the order in which they are given. $12 ids, $13 login ids, $14 due, $15 written,
-- $16 sealed.
told AS (
    INSERT INTO {schema}.notice (id, login_id, due_at, written_at, sealed, tries, first_tried_at, is_dead, owner, until)
    SELECT id, login_id, due_at, written_at, sealed, 0, NULL, FALSE, NULL, NULL
    FROM unnest($12::text[], $13::text[], $14::timestamptz[], $15::timestamptz[], $16::bytea[])
        WITH ORDINALITY AS new (id, login_id, due_at, written_at, sealed, place)
    WHERE login_id IN (SELECT login_id FROM done)
    ORDER BY place
    ON CONFLICT (id) DO NOTHING
)

-- name: swap_told
-- A swap with notices.
WITH done AS (
    {set_new}
    RETURNING login.login_id
),
{told}
SELECT login_id FROM done;

-- name: free
-- Rows that nobody else has locked, and which of them were written.
free AS MATERIALIZED (
    SELECT login.login_id
    FROM unnest((SELECT $1::text[])) AS wanted (login_id)
    JOIN {schema}.login AS login ON login.login_id = wanted.login_id
    FOR UPDATE OF login SKIP LOCKED
),
done AS (
    {set_new} AND login.login_id = ANY (ARRAY(SELECT login_id FROM free))
    RETURNING login.login_id
)

-- name: which
-- Of each row that is there, whether it was locked, and whether it was written.
SELECT login.login_id, free.login_id IS NULL, done.login_id IS NOT NULL
FROM unnest((SELECT $1::text[])) AS wanted (login_id)
JOIN {schema}.login AS login ON login.login_id = wanted.login_id
LEFT JOIN free ON free.login_id = login.login_id
LEFT JOIN done ON done.login_id = login.login_id

-- name: swap_free
-- The same for rows that nobody else has locked.
WITH {free}
{which};

-- name: swap_free_told
-- And with notices.
WITH {free},
{told}
{which};

-- name: delete
DELETE FROM {schema}.login
WHERE login_id = $1 AND ($3::bigint IS NULL OR (epoch = $2 AND revision = $3))
RETURNING 1;

-- name: pause
INSERT INTO {schema}.pause (broker, note, by, at)
VALUES ($1, $2, $3, coalesce($4, clock_timestamp()))
ON CONFLICT (broker) DO UPDATE SET note = excluded.note, by = excluded.by, at = excluded.at;

-- name: resume
-- One statement, so that it is done whole or not at all.
WITH gone AS (
    DELETE FROM {schema}.pause
    WHERE broker = $1
)
INSERT INTO {schema}.resumed (broker, at)
VALUES ($1, clock_timestamp())
ON CONFLICT (broker) DO UPDATE SET at = excluded.at;

-- name: paused
SELECT broker, note, by, at
FROM {schema}.pause;

-- name: resumed
SELECT broker, at
FROM {schema}.resumed;

-- name: first_seal
-- The first who comes writes down theirs.
INSERT INTO {schema}.seal (name, sealed)
VALUES ('key check', $1)
ON CONFLICT (name) DO NOTHING;

-- name: seal
SELECT sealed
FROM {schema}.seal
WHERE name = 'key check';

-- name: put_seal
UPDATE {schema}.seal
SET sealed = $1
WHERE name = 'key check';

-- name: wake
-- Keepers that listen look for what is due.
SELECT pg_notify($1, '');
