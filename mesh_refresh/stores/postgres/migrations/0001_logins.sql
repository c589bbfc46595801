-- {schema} and {partitioned} are filled in. Text is compared by code points, whatever the database's own collation is. No
-- column has a default: what is written is written by name.

CREATE TABLE {schema}.login (
    login_id text COLLATE "C" NOT NULL PRIMARY KEY,
    broker text COLLATE "C" NOT NULL,
    -- The names, sorted, with + between them.
    states text COLLATE "C" NOT NULL,
    due_at timestamptz,
    expires_at timestamptz,
    changed_at timestamptz NOT NULL,
    epoch text COLLATE "C" NOT NULL,
    revision bigint NOT NULL,
    attempt bigint NOT NULL,
    -- Who has the lease. Without one, a row with an end is on hold.
    owner text COLLATE "C",
    -- Whether the owner of that lease, or of the last one, may send something under it.
    sends boolean NOT NULL,
    -- Whether that lease, or the last one, found an open attempt.
    open_before boolean NOT NULL,
    -- The end of the lease or the hold, on this server's clock.
    until timestamptz,
    sealed bytea NOT NULL
){partitioned};

-- What is sealed does not compress.
ALTER TABLE {schema}.login ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- What a claim walks along: a broker's rows, the longest due first. It finds the rows of a rare broker as well; those of a
-- common one are met along the primary key.
CREATE INDEX login_due ON {schema}.login (broker, due_at);

-- Rows changed since a poll.
CREATE INDEX login_changed ON {schema}.login (changed_at);

-- A broker's rows that were changed in what is the future once the wall clock was put back, or where it is behind: then
-- nearly all were, and along the index before this one the rows of a rare broker would be met last.
CREATE INDEX login_ahead ON {schema}.login (broker, changed_at);

-- Pages in the order of the ids. Most rows are active, and those are found along the primary key.
CREATE INDEX login_states ON {schema}.login (states, login_id) WHERE states <> 'active';

-- Brokers that are paused, why, by whom, and since when.
CREATE TABLE {schema}.pause (
    broker text COLLATE "C" NOT NULL PRIMARY KEY,
    note text NOT NULL,
    by text NOT NULL,
    at timestamptz NOT NULL
);

-- When each broker was resumed last: every process lets a probe of it through then.
CREATE TABLE {schema}.resumed (broker text COLLATE "C" NOT NULL PRIMARY KEY, at timestamptz NOT NULL);

-- The key check: a short text, sealed with the key that the rows are sealed with.
CREATE TABLE {schema}.seal (name text COLLATE "C" NOT NULL PRIMARY KEY, sealed bytea NOT NULL);
