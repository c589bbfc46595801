-- name: insert
-- One that is there already is left alone.
INSERT INTO login (login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed)
VALUES {rows}
ON CONFLICT (login_id) DO NOTHING;

-- name: taken
-- Whether one of these is there.
SELECT 1
FROM login
WHERE login_id IN ({ids})
LIMIT 1;

-- name: read
SELECT login_id, broker, states, due_at, expires_at, changed_at, epoch, revision, attempt, sealed
FROM login
WHERE login_id = ?;

-- name: delete
DELETE FROM login
WHERE login_id = ?1 AND (?3 IS NULL OR (epoch = ?2 AND revision = ?3));

-- name: forget_notices
DELETE FROM notice
WHERE login_id = ?;

-- name: release
-- An attempt that was open stays so: the owner stays, and what is left of the lease is the hold.
UPDATE login
SET owner = CASE WHEN open_before THEN owner END, boot = ?3, since = ?4, until = ?5
WHERE login_id = ?1 AND owner = ?2;

-- name: write_notice
-- An id that is there is left alone.
INSERT INTO notice (id, login_id, due_at, written_at, sealed, tries, first_tried_at, is_dead)
VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (id) DO NOTHING;

-- name: pause
INSERT INTO pause (broker, note, by, at)
VALUES (?, ?, ?, ?)
ON CONFLICT (broker) DO UPDATE SET note = excluded.note, by = excluded.by, at = excluded.at;

-- name: resume
DELETE FROM pause
WHERE broker = ?;

-- name: paused
SELECT broker, note, by, at
FROM pause;

-- name: stamp_resumed
INSERT INTO resumed (broker, at)
VALUES (?, ?)
ON CONFLICT (broker) DO UPDATE SET at = excluded.at;

-- name: resumed
SELECT broker, at
FROM resumed;

-- name: seal
SELECT sealed
FROM seal
WHERE name = 'key check';

-- name: put_seal
INSERT INTO seal (name, sealed)
VALUES ('key check', ?)
ON CONFLICT (name) DO UPDATE SET sealed = excluded.sealed;

-- name: key_usage
SELECT substr(sealed, 1, ?1) AS head, count(*) FROM login GROUP BY head
UNION ALL
SELECT substr(sealed, 1, ?1) AS head, count(*) FROM notice GROUP BY head;
