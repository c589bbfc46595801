-- name: lock
-- One process at a time makes or changes a schema; the others find it done.
SELECT pg_advisory_xact_lock(hashtextextended('mesh_refresh ' || $1, 0));

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

-- name: version
SELECT number FROM {schema}.version;

-- name: make_version
CREATE TABLE {schema}.version (number integer NOT NULL);

-- name: first_version
INSERT INTO {schema}.version (number) VALUES (0);

-- name: put_version
UPDATE {schema}.version SET number = {number};

-- name: partitions
SELECT count(*)
FROM pg_catalog.pg_inherits
WHERE inhparent = (
    SELECT class.oid
    FROM pg_catalog.pg_class AS class JOIN pg_catalog.pg_namespace AS namespace ON namespace.oid = class.relnamespace
    WHERE namespace.nspname = $1 AND class.relname = 'login'
);

-- name: partition
-- One of several tables that share the logins, by a hash of their ids.
CREATE TABLE {schema}.{name} PARTITION OF {schema}.login FOR VALUES WITH (MODULUS {of}, REMAINDER {number});

-- name: storage
-- A claim fits into the page that the row is in, and then touches no index. Dead rows come as fast as refreshes do.
ALTER TABLE {schema}.{name} SET (
    fillfactor = 75, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02
);
