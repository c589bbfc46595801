-- name: swap_many
-- Those whose broker and states stay as they are: SQLite writes every index on a column that is set, changed or not. With
-- the plus signs it looks rows up by nothing but their login ids. The first word has to be UPDATE: Python counts no rows
-- that are changed by a WITH.
UPDATE login
SET due_at = new.due_at,
    expires_at = new.expires_at,
    changed_at = new.changed_at,
    revision = login.revision + 1,
    sealed = new.sealed,
    owner = CASE WHEN login.owner = new.owner THEN NULL ELSE login.owner END,
    boot = CASE WHEN login.owner = new.owner THEN new.boot ELSE login.boot END,
    since = CASE WHEN login.owner = new.owner THEN new.since ELSE login.since END,
    until = CASE WHEN login.owner = new.owner THEN new.until ELSE login.until END
FROM (
    WITH given (
        login_id, epoch, revision, broker, states, due_at, expires_at, changed_at, sealed, owner, boot, since, until
    ) AS (VALUES {rows})
    SELECT * FROM given
) AS new
WHERE login.login_id = new.login_id
    AND login.epoch = new.epoch
    AND login.revision = new.revision
    AND +login.broker = new.broker
    AND +login.states = new.states;

-- name: find
-- What a swap by itself compares and decides by.
SELECT id, epoch, revision, broker, states, owner
FROM login
WHERE login_id = ?;

-- name: write
UPDATE login
SET due_at = ?, expires_at = ?, changed_at = ?, revision = revision + 1, sealed = ?
WHERE id = ?;

-- name: rename
UPDATE login
SET broker = ?, states = ?
WHERE id = ?;

-- name: give_back
UPDATE login
SET owner = NULL, boot = ?, since = ?, until = ?
WHERE id = ?;
