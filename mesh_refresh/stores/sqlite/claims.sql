-- name: free
-- A row is, where it has no lease or hold, or that ran out, or was of another boot, or seems to begin only later: then the
-- clock started again since. A boot without a name is told by that alone.
(until IS NULL OR until <= :at OR since > :at OR (boot <> :boot AND boot <> '' AND :boot <> ''))

-- name: brokers
-- Each broker that has a row with a due time and is not paused, by one look into the index for each: its rows are not
-- walked over.
WITH RECURSIVE found (broker) AS (
    SELECT min(broker) FROM login WHERE due_at IS NOT NULL
    UNION ALL
    SELECT (SELECT min(broker) FROM login WHERE due_at IS NOT NULL AND broker > found.broker)
    FROM found
    WHERE found.broker IS NOT NULL
)
SELECT broker
FROM found
WHERE broker IS NOT NULL
    AND NOT EXISTS (SELECT 1 FROM pause WHERE pause.broker IN (found.broker, :all));

-- name: due
-- The rows as they will be under their lease. The index gives the order: no more are read than are taken, save for those
-- under a lease.
SELECT due_at, id,
    login_id, broker, states, due_at, expires_at, changed_at, epoch, revision + 1, attempt + 1, sealed,
    owner IS NOT NULL AND sends
FROM login INDEXED BY login_due
WHERE broker = :broker AND due_at <= :now
    AND {free}
ORDER BY due_at, id
LIMIT :limit;

-- name: ahead
-- Due only because they were changed in the future. Asked for where fewer than the limit are due in the other way, so that
-- few rows are passed over for `due_at`. The longest due come first among those that are looked at.
SELECT due_at, id,
    login_id, broker, states, due_at, expires_at, changed_at, epoch, revision + 1, attempt + 1, sealed,
    owner IS NOT NULL AND sends
FROM login
WHERE id IN (
    SELECT id
    FROM login INDEXED BY login_changed
    WHERE broker = :broker AND changed_at > :ahead AND due_at > :now
        AND {free}
    ORDER BY changed_at
    LIMIT :look
)
ORDER BY due_at, id
LIMIT :limit;

-- name: one
-- The same of a row by its name, due or not, after the lease that it is under.
SELECT boot, since, until, id,
    login_id, broker, states, due_at, expires_at, changed_at, epoch, revision + 1, attempt + 1, sealed,
    owner IS NOT NULL AND sends
FROM login
WHERE login_id = ?;

-- name: lease
UPDATE login
SET revision = revision + 1, attempt = attempt + 1,
    open_before = owner IS NOT NULL AND sends, owner = ?, sends = ?, boot = ?, since = ?, until = ?
WHERE id IN ({numbers});
