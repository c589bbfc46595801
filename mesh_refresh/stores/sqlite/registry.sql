-- name: put_report
INSERT INTO report (process, role, at, sealed)
VALUES (?, ?, ?, ?)
ON CONFLICT (process) DO UPDATE SET role = excluded.role, at = excluded.at, sealed = excluded.sealed;

-- name: reports
SELECT process, role, at, sealed
FROM report
ORDER BY process;

-- name: delete_report
DELETE FROM report
WHERE process = ?;

-- name: purge_reports
DELETE FROM report
WHERE at < ?;

-- name: claim_duty
-- A duty is free as a row is (see claims.sql), and for its owner always.
INSERT INTO duty (name, owner, boot, since, until)
VALUES (?1, ?2, ?3, ?4, ?5)
ON CONFLICT (name) DO UPDATE SET owner = ?2, boot = ?3, since = ?4, until = ?5
WHERE owner = ?2 OR until <= ?4 OR since > ?4 OR (boot <> ?3 AND boot <> '' AND ?3 <> '');

-- name: release_duty
DELETE FROM duty
WHERE name = ? AND owner = ?;

-- name: put_figures
INSERT INTO figures (name, at, sealed)
VALUES ('fleet', ?, ?)
ON CONFLICT (name) DO UPDATE SET at = excluded.at, sealed = excluded.sealed;

-- name: figures
SELECT at, sealed
FROM figures;
