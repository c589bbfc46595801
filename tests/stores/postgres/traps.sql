-- For each function and operator that our SQL could name, one of the same name and arguments, and one whose arguments fit
-- untyped text and small numbers better. Each raises, so that whoever calls one is seen.
DO $do$
DECLARE it record;
BEGIN
    FOR it IN
        SELECT proname AS name, pg_get_function_identity_arguments(oid) AS arguments, pg_get_function_result(oid) AS result
        FROM pg_proc
        WHERE pronamespace = 'pg_catalog'::regnamespace AND prokind = 'f' AND proname = ANY ('{clock_timestamp,make_interval,unnest,left,pg_notify,hashtextextended,current_setting,set_config,pg_try_advisory_lock,pg_advisory_unlock,pg_advisory_xact_lock,array_agg,format_type,pg_backend_pid,now,quote_ident,pg_get_userbyid,pg_has_role}')
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION public.%I(%s) RETURNS %s LANGUAGE plpgsql AS $trap$BEGIN RAISE ''trapped''; END$trap$',
                it.name, it.arguments, it.result);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
    FOR it IN
        SELECT oprname AS name, format_type(oprleft, NULL) AS left_type, format_type(oprright, NULL) AS right_type,
            oprcode::regproc::text AS code, format_type(oprresult, NULL) AS result, row_number() OVER () AS number
        FROM pg_operator
        WHERE oprnamespace = 'pg_catalog'::regnamespace AND oprname IN ('=', '<>', '<', '<=', '>', '>=', '+', '-', '||')
            AND oprleft IN ('text'::regtype, 'timestamptz'::regtype, 'bigint'::regtype, 'integer'::regtype, 'name'::regtype,
                'oid'::regtype, '"char"'::regtype, 'boolean'::regtype, 'interval'::regtype)
    LOOP
        BEGIN
            EXECUTE format('CREATE FUNCTION public.trap_%s(%s, %s) RETURNS %s LANGUAGE plpgsql AS $trap$BEGIN RAISE ''trapped''; END$trap$',
                it.number, it.left_type, it.right_type, it.result);
            EXECUTE format('CREATE OPERATOR public.%s (FUNCTION = public.trap_%s, LEFTARG = %s, RIGHTARG = %s)',
                it.name, it.number, it.left_type, it.right_type);
        EXCEPTION WHEN OTHERS THEN NULL;
        END;
    END LOOP;
END $do$;
CREATE FUNCTION public.hashtextextended(text, integer) RETURNS bigint LANGUAGE plpgsql
    AS $trap$BEGIN RAISE 'trapped'; END$trap$;
CREATE FUNCTION public.make_interval(secs numeric) RETURNS interval LANGUAGE plpgsql
    AS $trap$BEGIN RAISE 'trapped'; END$trap$;
CREATE DOMAIN public.text AS pg_catalog.text CHECK (FALSE);
CREATE DOMAIN public.bytea AS pg_catalog.bytea CHECK (FALSE);
CREATE DOMAIN public.timestamptz AS pg_catalog.timestamptz CHECK (FALSE);
