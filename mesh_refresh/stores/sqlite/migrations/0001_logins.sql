-- Times are microseconds since 1970 in UTC, those of leases microseconds of the store's clock.

CREATE TABLE login (
    id INTEGER PRIMARY KEY,
    login_id TEXT NOT NULL UNIQUE,
    broker TEXT NOT NULL,
    state TEXT NOT NULL,
    due_at INTEGER,
    expires_at INTEGER,
    changed_at INTEGER NOT NULL,
    epoch TEXT NOT NULL,
    revision INTEGER NOT NULL,
    attempt INTEGER NOT NULL,
    -- Who has the lease. Without one, a row with an end is on hold.
    owner TEXT,
    -- The boot of the machine in which `since` and `until` were told; empty where it has no name.
    boot TEXT,
    -- When the lease or the hold began.
    since INTEGER,
    until INTEGER,
    -- The last column, so that the others are read without the pages that a long one runs over to.
    sealed BLOB NOT NULL
);

-- What a claim walks along: a broker's rows, the longest due first.
CREATE INDEX login_due ON login (broker, due_at) WHERE due_at IS NOT NULL;

-- Rows changed in what is the future once the wall clock was put back, and rows changed since a poll. With the due time,
-- so that parked rows are passed over without being read.
CREATE INDEX login_changed ON login (broker, changed_at, due_at);

-- Pages in the order of the ids. Neither is touched by a refresh that leaves the state as it was.
CREATE INDEX login_state ON login (state, login_id);
CREATE INDEX login_broker ON login (broker, login_id);

CREATE TABLE pause (broker TEXT PRIMARY KEY) WITHOUT ROWID;

-- The key check: a short text, sealed with the key that the rows are sealed with.
CREATE TABLE seal (name TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;
