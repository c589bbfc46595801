-- Pages begin after an id, or with the first: all from `start` on but `after` itself, which may be none.

-- name: by_key
SELECT login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed
FROM login
WHERE login_id >= :start AND login_id IS NOT :after
    AND changed_at >= :since
ORDER BY login_id
LIMIT :limit;

-- name: by_broker
SELECT login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed
FROM login INDEXED BY login_broker
WHERE broker = :broker AND login_id >= :start AND login_id IS NOT :after
    AND changed_at >= :since
ORDER BY login_id
LIMIT :limit;

-- name: by_states
-- Of one set of states.
SELECT login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed
FROM login INDEXED BY login_states
WHERE states = :states AND login_id >= :start AND login_id IS NOT :after
    AND changed_at >= :since AND (:broker IS NULL OR broker = :broker)
ORDER BY login_id
LIMIT :limit;

-- name: by_change
-- For few changes: they are found by time, then put in order.
SELECT login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed
FROM login
WHERE id IN (
    SELECT id
    FROM login INDEXED BY login_changed
    WHERE broker = :broker AND changed_at >= :since AND login_id >= :start AND login_id IS NOT :after
    ORDER BY login_id
    LIMIT :limit
)
ORDER BY login_id;

-- name: changes
-- How many changes of a broker there are, counted up to a number.
SELECT count(*)
FROM (SELECT 1 FROM login INDEXED BY login_changed WHERE broker = :broker AND changed_at >= :since LIMIT :most);

-- name: brokers
-- Every broker, by one look into the index for each.
WITH RECURSIVE found (broker) AS (
    SELECT min(broker) FROM login
    UNION ALL
    SELECT (SELECT min(broker) FROM login WHERE broker > found.broker)
    FROM found
    WHERE found.broker IS NOT NULL
)
SELECT broker FROM found WHERE broker IS NOT NULL;

-- name: states
-- Every set of states, by one look into the index for each.
WITH RECURSIVE found (states) AS (
    SELECT min(states) FROM login
    UNION ALL
    SELECT (SELECT min(states) FROM login WHERE states > found.states)
    FROM found
    WHERE found.states IS NOT NULL
)
SELECT states FROM found WHERE states IS NOT NULL;

-- name: due_between
-- Along the index, of one broker.
SELECT count(*)
FROM login INDEXED BY login_due
WHERE broker = :broker AND due_at > :after AND due_at <= :until;

-- name: last
SELECT max(id)
FROM login;

-- name: counts
-- Of a stretch of the table: SQLite sorts what it groups, and a million rows would fill the memory.
SELECT
    broker,
    states,
    count(*),
    count(CASE WHEN expires_at <= :now THEN 1 END),
    count(CASE WHEN due_at <= :now THEN 1 END),
    min(due_at),
    count(
        CASE
            WHEN owner IS NOT NULL AND until > :at AND since <= :at AND (boot = :boot OR boot = '' OR :boot = '') THEN 1
        END
    )
FROM login
WHERE id > :from AND id <= :to
GROUP BY broker, states;
