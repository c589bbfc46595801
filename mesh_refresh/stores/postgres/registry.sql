-- name: put_report
INSERT INTO {schema}.report (process, role, at, sealed)
VALUES ($1, $2, $3, $4)
ON CONFLICT (process) DO UPDATE SET role = excluded.role, at = excluded.at, sealed = excluded.sealed;

-- name: reports
SELECT process, role, at, sealed
FROM {schema}.report
ORDER BY process;

-- name: delete_report
DELETE FROM {schema}.report
WHERE process = $1
RETURNING 1;

-- name: purge_reports
DELETE FROM {schema}.report
WHERE at < $1
RETURNING 1;

-- name: claim_duty
-- Free for its owner always, for others from the end of the lease on.
INSERT INTO {schema}.duty (name, owner, until)
VALUES ($1, $2, clock_timestamp() + make_interval(secs => $3))
ON CONFLICT (name) DO UPDATE SET owner = excluded.owner, until = excluded.until
WHERE duty.owner = excluded.owner OR duty.until <= clock_timestamp()
RETURNING 1;

-- name: release_duty
DELETE FROM {schema}.duty
WHERE name = $1 AND owner = $2
RETURNING 1;

-- name: put_figures
INSERT INTO {schema}.figures (name, at, sealed)
VALUES ('fleet', $1, $2)
ON CONFLICT (name) DO UPDATE SET at = excluded.at, sealed = excluded.sealed;

-- name: figures
SELECT at, sealed
FROM {schema}.figures;
