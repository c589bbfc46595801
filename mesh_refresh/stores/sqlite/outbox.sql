-- name: free
-- As a row is: see claims.sql.
(until IS NULL OR until <= :at OR since > :at OR (boot <> :boot AND boot <> '' AND :boot <> ''))

-- name: first
-- No other of its login waits before it.
NOT EXISTS (
        SELECT 1
        FROM notice AS earlier
        WHERE earlier.login_id = notice.login_id AND NOT earlier.is_dead AND earlier.number < notice.number
    )

-- name: as_claimed
-- The notice as it will be under its lease.
number, id, login_id, min(due_at, :now) AS now_due_at, written_at, sealed, tries + 1,
    min(coalesce(first_tried_at, :now), :now) AS first_at, is_dead

-- name: due
-- Of each login the first that is not dead, where it is due and free. The index gives the order: no more are read than are
-- taken, save for those that are passed over.
SELECT {as_claimed}
FROM notice INDEXED BY notice_due
WHERE is_dead = 0 AND due_at <= :now
    AND {free} AND {first}
ORDER BY due_at, number
LIMIT :limit;

-- name: ahead
-- The same, due only because they were written in the future, and were not tried yet.
SELECT {as_claimed}
FROM notice INDEXED BY notice_written
WHERE is_dead = 0 AND written_at > :ahead AND due_at > :now AND tries = 0
    AND {free} AND {first}
ORDER BY due_at, number
LIMIT :limit;

-- name: far
-- The same, due only because they were given back in the future.
SELECT {as_claimed}
FROM notice INDEXED BY notice_due
WHERE is_dead = 0 AND due_at > :far AND NOT (tries = 0 AND written_at > :ahead)
    AND {free} AND {first}
ORDER BY due_at, number
LIMIT :limit;

-- name: lease
UPDATE notice
SET owner = ?1, boot = ?2, since = ?3, until = ?4, tries = tries + 1, due_at = min(due_at, ?5),
    first_tried_at = min(coalesce(first_tried_at, ?5), ?5)
WHERE number = ?6;

-- name: take_notice
DELETE FROM notice
WHERE id = ? AND owner = ?;

-- name: give_back_notice
UPDATE notice
SET due_at = ?3, owner = NULL, boot = NULL, since = NULL, until = NULL
WHERE id = ?1 AND owner = ?2;

-- name: bury_notice
UPDATE notice
SET is_dead = 1, owner = NULL, boot = NULL, since = NULL, until = NULL
WHERE id = ? AND owner = ?;

-- name: resend_notice
UPDATE notice
SET is_dead = 0, due_at = ?2, tries = 0, first_tried_at = NULL, number = (SELECT max(number) + 1 FROM notice)
WHERE id = ?1 AND is_dead;

-- name: page_of_notices
SELECT id, login_id, due_at, written_at, sealed, tries, first_tried_at, is_dead
FROM notice
WHERE id >= coalesce(?2, '') AND id IS NOT ?2 AND (?3 IS NULL OR is_dead = ?3) AND (?4 IS NULL OR written_at >= ?4)
ORDER BY id
LIMIT ?1;

-- name: notices_of
SELECT id, login_id, due_at, written_at, sealed, tries, first_tried_at, is_dead
FROM notice
WHERE login_id = ?
ORDER BY number;

-- name: count_notices
SELECT
    count(CASE WHEN NOT is_dead THEN 1 END),
    count(CASE WHEN is_dead THEN 1 END),
    min(CASE WHEN NOT is_dead THEN written_at END) AS oldest_at
FROM notice;

-- name: drop
DELETE FROM notice
WHERE id = ?;

-- name: purge
DELETE FROM notice
WHERE number IN (
    SELECT number
    FROM notice INDEXED BY notice_due
    WHERE is_dead = :is_dead AND due_at < :before
        AND {free}
    LIMIT :limit
);

-- name: reseal_notice
UPDATE notice
SET sealed = ?2
WHERE id = ?1;
