-- Times are microseconds since 1970 in UTC, those of leases microseconds of the store's clock.

-- SQLite keeps a value of any type in any column. A time that is text, or past the year 9999, would make every claim fail,
-- and so would a number that cannot grow: they are refused where they are written, by any program.

CREATE TABLE login (
    id INTEGER PRIMARY KEY,
    login_id TEXT NOT NULL UNIQUE CHECK (typeof(login_id) = 'text'),
    broker TEXT NOT NULL CHECK (typeof(broker) = 'text'),
    -- The names, sorted, with + between them.
    states TEXT NOT NULL CHECK (typeof(states) = 'text'),
    due_at INTEGER CHECK (due_at BETWEEN -62135596800000000 AND 253402300799999999),
    expires_at INTEGER CHECK (expires_at BETWEEN -62135596800000000 AND 253402300799999999),
    changed_at INTEGER NOT NULL CHECK (changed_at BETWEEN -62135596800000000 AND 253402300799999999),
    epoch TEXT NOT NULL CHECK (typeof(epoch) = 'text'),
    revision INTEGER NOT NULL CHECK (typeof(revision) = 'integer' AND revision < 9000000000000000000),
    attempt INTEGER NOT NULL CHECK (typeof(attempt) = 'integer' AND attempt < 9000000000000000000),
    -- Who has the lease. Without one, a row with an end is on hold.
    owner TEXT,
    -- Whether the owner of that lease, or of the last one, may send something under it.
    sends INTEGER NOT NULL DEFAULT 1 CHECK (sends IN (0, 1)),
    -- Whether that lease, or the last one, found an open attempt.
    open_before INTEGER NOT NULL DEFAULT 0 CHECK (open_before IN (0, 1)),
    -- The boot of the machine in which `since` and `until` were told; empty where it has no name.
    boot TEXT,
    -- When the lease or the hold began.
    since INTEGER CHECK (typeof(since) IN ('integer', 'null')),
    until INTEGER CHECK (typeof(until) IN ('integer', 'null')),
    -- The last column, so that the others are read without the pages that a long one runs over to.
    sealed BLOB NOT NULL CHECK (typeof(sealed) = 'blob')
);

-- What a claim walks along: a broker's rows, the longest due first.
CREATE INDEX login_due ON login (broker, due_at) WHERE due_at IS NOT NULL;

-- Rows changed in what is the future once the wall clock was put back, and rows changed since a poll. With the due time,
-- so that parked rows are passed over without being read.
CREATE INDEX login_changed ON login (broker, changed_at, due_at);

-- Pages in the order of the ids. Neither is touched by a refresh that leaves the states as they were.
CREATE INDEX login_states ON login (states, login_id);
CREATE INDEX login_broker ON login (broker, login_id);

-- Brokers that are paused, why, by whom, and since when.
CREATE TABLE pause (
    broker TEXT PRIMARY KEY,
    note TEXT NOT NULL,
    by TEXT NOT NULL,
    at INTEGER NOT NULL CHECK (at BETWEEN -62135596800000000 AND 253402300799999999)
) WITHOUT ROWID;

-- When each broker was resumed last: every process lets a probe of it through then.
CREATE TABLE resumed (
    broker TEXT PRIMARY KEY, at INTEGER NOT NULL CHECK (at BETWEEN -62135596800000000 AND 253402300799999999)
) WITHOUT ROWID;

-- Notices that wait until they are taken: see outbox.py. Of a login they are handed out in the order of their numbers.
CREATE TABLE notice (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE CHECK (typeof(id) = 'text'),
    login_id TEXT NOT NULL CHECK (typeof(login_id) = 'text'),
    due_at INTEGER NOT NULL CHECK (due_at BETWEEN -62135596800000000 AND 253402300799999999),
    written_at INTEGER NOT NULL CHECK (written_at BETWEEN -62135596800000000 AND 253402300799999999),
    tries INTEGER NOT NULL CHECK (typeof(tries) = 'integer'),
    first_tried_at INTEGER CHECK (first_tried_at BETWEEN -62135596800000000 AND 253402300799999999),
    is_dead INTEGER NOT NULL CHECK (is_dead IN (0, 1)),
    -- The lease, as of a login.
    owner TEXT,
    boot TEXT,
    since INTEGER CHECK (typeof(since) IN ('integer', 'null')),
    until INTEGER CHECK (typeof(until) IN ('integer', 'null')),
    sealed BLOB NOT NULL CHECK (typeof(sealed) = 'blob')
);

-- What a claim and a purge walk along, and where a claim looks for an earlier one of the same login.
CREATE INDEX notice_due ON notice (is_dead, due_at);
CREATE INDEX notice_written ON notice (is_dead, written_at);
CREATE INDEX notice_login ON notice (login_id, is_dead);

-- What processes tell each other: see registry.py.
CREATE TABLE report (
    process TEXT PRIMARY KEY,
    role TEXT NOT NULL,
    at INTEGER NOT NULL CHECK (at BETWEEN -62135596800000000 AND 253402300799999999),
    sealed BLOB NOT NULL CHECK (typeof(sealed) = 'blob')
) WITHOUT ROWID;
CREATE TABLE duty (
    name TEXT PRIMARY KEY, owner TEXT NOT NULL, boot TEXT NOT NULL, since INTEGER NOT NULL, until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE figures (
    name TEXT PRIMARY KEY,
    at INTEGER NOT NULL CHECK (at BETWEEN -62135596800000000 AND 253402300799999999),
    sealed BLOB NOT NULL CHECK (typeof(sealed) = 'blob')
) WITHOUT ROWID;

-- The key check: a short text, sealed with the key that the rows are sealed with.
CREATE TABLE seal (
    name TEXT PRIMARY KEY, sealed BLOB NOT NULL CHECK (typeof(sealed) = 'blob')
) WITHOUT ROWID;
