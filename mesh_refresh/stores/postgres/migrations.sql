-- name: settings
-- A part may take as long as it takes. But who waits for a lock on a table holds up all who come after, so that is given up
-- soon, and tried again.
SET {scope} statement_timeout = 0;
SET {scope} idle_in_transaction_session_timeout = 0;
SET {scope} lock_timeout = '2s';

-- name: lock
-- One process at a time makes or changes a schema; the others find it done. They ask again and again: who waits within a
-- statement would hold up the making of an index that waits for all statements.
SELECT pg_try_advisory_xact_lock(hashtextextended('mesh_refresh ' || $1, 0::bigint));

-- name: has_schema
SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = $1);

-- name: make_schema
CREATE SCHEMA {schema};

-- name: has_version
SELECT EXISTS (
    SELECT
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = 'version'
);

-- name: our_tables
-- The names of all.
'{duty,figures,login,notice,pause,report,resumed,seal,version}'::name[]

-- name: no_table
-- What has the name of a table of ours and is none, and whether that is only because a crash would empty it. A view of
-- somebody else's runs their functions for who reads it.
SELECT class.relname, class.relkind = ANY ('{r,p}'::"char"[]) AND NOT class.relrowsecurity
FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = $1
    AND (class.relname = ANY ({our_tables}) OR EXISTS (
        SELECT
        FROM pg_catalog.pg_inherits JOIN pg_catalog.pg_class AS parent ON parent.oid = inhparent
        WHERE inhrelid = class.oid AND parent.relnamespace = namespace.oid AND parent.relname = 'login'
    ))
    AND (class.relkind <> ALL ('{r,p}'::"char"[]) OR class.relrowsecurity OR class.relpersistence = 'u'::"char")
LIMIT 1;

-- name: stranger
-- Another role that owns the schema, or a table of ours in it: what it left there would run with the rights of who
-- migrates. Superusers and the owner of the database can do all of that anyhow.
SELECT pg_get_userbyid(thing.owner)
FROM (
    SELECT nspowner AS owner FROM pg_catalog.pg_namespace WHERE nspname = $1
    UNION ALL
    SELECT class.relowner
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = ANY ({our_tables})
) AS thing
WHERE NOT EXISTS (
    SELECT
    FROM pg_catalog.pg_roles AS role
    WHERE role.oid = thing.owner
        AND (role.rolsuper OR role.rolname = current_user OR role.rolname = 'pg_database_owner'::name)
)
    AND thing.owner <> (SELECT datdba FROM pg_catalog.pg_database WHERE datname = current_database())
    AND ((SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user) OR NOT pg_has_role(thing.owner, 'USAGE'))
LIMIT 1;

-- name: version
SELECT number, part, oldest FROM {schema}.version;

-- name: make_version
-- The version that is complete, how many parts of the next one are done, and the oldest version of which processes may use it.
CREATE TABLE {schema}.version (number integer NOT NULL, part integer NOT NULL, oldest integer NOT NULL);

-- name: first_version
INSERT INTO {schema}.version (number, part, oldest) VALUES (0, 0, 0);

-- name: put_version
UPDATE {schema}.version SET number = $1, part = $2, oldest = $3;

-- name: tables
-- The tables that share the rows of one; none where it is a single one.
SELECT class.relname
FROM pg_catalog.pg_inherits
JOIN pg_catalog.pg_class AS class ON class.oid = inhrelid
WHERE inhparent = (
    SELECT class.oid
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = $2
)
ORDER BY class.relname;

-- name: is_valid
-- Of an index: whether it was made to its end; NULL where there is none.
SELECT indisvalid
FROM pg_catalog.pg_index
JOIN pg_catalog.pg_class AS class ON class.oid = indexrelid
JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
WHERE namespace.nspname = $1 AND class.relname = $2;

-- name: partition
-- One of several tables that share the logins, by a hash of their ids.
CREATE TABLE {schema}.{name} PARTITION OF {schema}.login FOR VALUES WITH (MODULUS {of}, REMAINDER {number});

-- name: storage
-- A claim fits into the page that the row is in, and then touches no index. Dead rows come as fast as refreshes do.
ALTER TABLE {schema}.{name} SET (
    fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
