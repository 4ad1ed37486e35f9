-- A TimescaleDB 2.13 access node, as far as its connections to the data nodes go: which servers there
-- are, what is run on them, and above all how a connection is made. PostgreSQL's dblink connects.
--
-- What TimescaleDB has keeps its name and place; how the stand-in does it is in
-- `timescaledb_standin`.

CREATE SCHEMA timescaledb_standin;
GRANT USAGE ON SCHEMA timescaledb_standin TO PUBLIC;
CREATE EXTENSION dblink SCHEMA timescaledb_standin;

CREATE FUNCTION timescaledb_standin.fdw_validator(options text[], catalog oid) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    option record;
    known text[];
BEGIN
    known := CASE catalog
        WHEN 'pg_foreign_server'::regclass THEN
            '{host,port,dbname,available,fetch_size,fdw_startup_cost,fdw_tuple_cost,extensions,reference_tables}'
        WHEN 'pg_user_mapping'::regclass THEN '{user,password}'
        ELSE '{}'
    END;
    FOR option IN SELECT option_name AS name FROM pg_options_to_table(options) LOOP
        IF option.name <> ALL (known) THEN
            RAISE fdw_invalid_option_name USING MESSAGE = format('invalid option "%s"', option.name);
        END IF;
    END LOOP;
END
$$;

CREATE FOREIGN DATA WRAPPER timescaledb_fdw VALIDATOR timescaledb_standin.fdw_validator;

CREATE SCHEMA timescaledb_information;
GRANT USAGE ON SCHEMA timescaledb_information TO PUBLIC;

CREATE VIEW timescaledb_information.data_nodes AS
SELECT server.srvname AS node_name,
       server.srvowner::regrole::name AS owner,
       server.srvoptions AS options
FROM pg_foreign_server AS server
JOIN pg_foreign_data_wrapper AS fdw ON fdw.oid = server.srvfdw AND fdw.fdwname = 'timescaledb_fdw';
GRANT SELECT ON timescaledb_information.data_nodes TO PUBLIC;

-- How a connection is made --------------------------------------------------------------------------

-- A setting of the extension's, or NULL: nothing declares these, so they are known where
-- postgresql.conf has them.
CREATE FUNCTION timescaledb_standin.setting(name text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN nullif(current_setting('timescaledb.' || name, true), '');

-- A relative path begins at the data directory.
CREATE FUNCTION timescaledb_standin.absolute(path text) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
RETURN CASE WHEN path LIKE '/%' THEN path ELSE current_setting('data_directory') || '/' || path END;

CREATE FUNCTION timescaledb_standin.keyword(name text, value text) RETURNS text
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp
RETURN name || '=''' || replace(replace(value, '\', '\\'), '''', '\''') || ''' ';

-- How a role connects. `login` is what says who it is there: user, and perhaps a password.
CREATE FUNCTION timescaledb_standin.connection_string(
    host text, port integer, dbname name, role name, login text
) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = timescaledb_standin, pg_catalog, pg_temp
AS $$
DECLARE
    dsn text;
    certificate text;
BEGIN
    dsn := keyword('host', host) || keyword('port', port::text) || keyword('dbname', dbname)
        || login || keyword('application_name', 'timescaledb')
        || keyword('client_encoding', getdatabaseencoding())
        || keyword('passfile', absolute(coalesce(setting('passfile'), 'passfile')));
    -- Only an access node that serves TLS itself speaks it to the data nodes by these rules; any other
    -- leaves it to libpq's defaults.
    IF current_setting('ssl')::boolean THEN
        certificate := coalesce(absolute(setting('ssl_dir')) || '/', absolute('timescaledb/certs/')) || md5(role);
        dsn := dsn || keyword('sslmode', 'require')
            || keyword('sslcert', certificate || '.crt') || keyword('sslkey', certificate || '.key');
        IF current_setting('ssl_ca_file') <> '' THEN
            -- As it is written: relative to where the connecting process runs.
            dsn := dsn || keyword('sslrootcert', current_setting('ssl_ca_file'));
        END IF;
    END IF;
    RETURN dsn;
END
$$;

-- What a session that is not a superuser's could abuse.
CREATE FUNCTION timescaledb_standin.check_role(role name) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT pg_has_role(session_user, role, 'MEMBER') THEN
        RAISE insufficient_privilege USING MESSAGE = format('permission denied for role "%s"', role);
    END IF;
END
$$;

CREATE FUNCTION timescaledb_standin.connect(name text, node name, dsn text) RETURNS void
LANGUAGE plpgsql SET search_path = timescaledb_standin, pg_catalog, pg_temp
AS $$
DECLARE
    why text;
BEGIN
    PERFORM dblink_connect(name, dsn);
EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
    GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
    RAISE sqlclient_unable_to_establish_sqlconnection
        USING MESSAGE = format('could not connect to "%s"', node), DETAIL = why;
END
$$;
REVOKE ALL ON FUNCTION timescaledb_standin.connect FROM PUBLIC;

-- How a role connects to a data node. A user mapping, of its own or else everybody's, says it all, and
-- without one the password file is asked.
CREATE FUNCTION timescaledb_standin.node_connection_string(node name, role name) RETURNS text
LANGUAGE plpgsql STABLE SET search_path = timescaledb_standin, pg_catalog, pg_temp
AS $$
DECLARE
    server record;
    login text;
BEGIN
    SELECT
        srv.oid,
        max(option_value) FILTER (WHERE option_name = 'host') AS host,
        max(option_value) FILTER (WHERE option_name = 'port')::integer AS port,
        max(option_value) FILTER (WHERE option_name = 'dbname') AS dbname
    INTO server
    FROM pg_foreign_server AS srv CROSS JOIN pg_options_to_table(srvoptions)
    WHERE srvname = node GROUP BY srv.oid;
    SELECT coalesce((SELECT string_agg(keyword(option_name, option_value), '')
                     FROM pg_options_to_table(umoptions)), '')
    INTO login
    FROM pg_user_mapping
    WHERE umserver = server.oid AND umuser IN (0, (SELECT oid FROM pg_roles WHERE rolname = role))
    ORDER BY umuser DESC LIMIT 1;
    RETURN connection_string(
        server.host, server.port, server.dbname, role, coalesce(login, keyword('user', role)));
END
$$;
REVOKE ALL ON FUNCTION timescaledb_standin.node_connection_string FROM PUBLIC;

-- The role's connection to a data node: one for each session and role, which stays open.
CREATE FUNCTION timescaledb_standin.connection(node name, role name) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = timescaledb_standin, pg_catalog, pg_temp
AS $$
DECLARE
    connection CONSTANT text := format('%s of %s', node, role);
BEGIN
    PERFORM check_role(role);
    IF node NOT IN (SELECT node_name FROM timescaledb_information.data_nodes) THEN
        RAISE undefined_object USING MESSAGE = format('server "%s" does not exist', node);
    END IF;
    IF NOT has_server_privilege(role, node, 'USAGE') THEN
        RAISE insufficient_privilege
            USING MESSAGE = format('permission denied for foreign server %s', node);
    END IF;
    IF connection <> ALL (coalesce(dblink_get_connections(), '{}')) THEN
        PERFORM connect(connection, node, node_connection_string(node, role));
    END IF;
    RETURN connection;
END
$$;

-- What is run there ---------------------------------------------------------------------------------

-- Runs statements; what they return is of no interest. An error says which node it is from, and a
-- connection that it ended is made again by the next who needs it.
CREATE FUNCTION timescaledb_standin.run(connection text, node name, statements text) RETURNS void
LANGUAGE plpgsql SET search_path = timescaledb_standin, pg_catalog, pg_temp
AS $$
DECLARE
    why text;
    hint text;
BEGIN
    PERFORM dblink_exec(connection, statements);
EXCEPTION WHEN OTHERS THEN
    -- dblink's own complaint, after it was done.
    IF SQLERRM = 'statement returning results not allowed' THEN
        RETURN;
    END IF;
    IF SQLSTATE LIKE '08%' OR SQLSTATE LIKE '57P%' THEN
        PERFORM dblink_disconnect(connection);
    END IF;
    GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
    RAISE EXCEPTION USING ERRCODE = SQLSTATE, MESSAGE = format('[%s]: %s', node, SQLERRM),
        DETAIL = why, HINT = hint;
END
$$;

-- The remote transactions of local ones.
CREATE TABLE timescaledb_standin.remote_transaction (
    local_transaction xid8 NOT NULL DEFAULT pg_current_xact_id(),
    connection text NOT NULL,
    node name NOT NULL,
    PRIMARY KEY (local_transaction, connection)
);

-- What the product writes down of each remote transaction that it prepares; some process of its own
-- clears it away later, and none of the stand-in's does.
CREATE SCHEMA _timescaledb_catalog;
CREATE TABLE _timescaledb_catalog.remote_txn (
    data_node_name name NOT NULL,
    remote_transaction_id text NOT NULL
);

-- The local transaction commits: all of its remote ones are prepared first, then committed.
CREATE FUNCTION timescaledb_standin.commit_remote() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = timescaledb_standin, pg_catalog, pg_temp
AS $$
DECLARE
    gid text;
    remote remote_transaction;
    all_of_it remote_transaction[];
    done remote_transaction[];
BEGIN
    -- The first of them does it for all.
    WITH gone AS (
        DELETE FROM remote_transaction AS t WHERE t.local_transaction = NEW.local_transaction RETURNING t
    )
    SELECT array_agg(t) INTO all_of_it FROM gone;
    gid := format('ts-standin-%s-%s', NEW.local_transaction, pg_backend_pid());
    BEGIN
        FOR remote IN SELECT * FROM unnest(all_of_it) LOOP
            INSERT INTO _timescaledb_catalog.remote_txn VALUES (remote.node, gid);
            PERFORM run(remote.connection, remote.node, format('PREPARE TRANSACTION %L', gid));
            done := done || remote;
        END LOOP;
    EXCEPTION WHEN OTHERS THEN
        FOR remote IN SELECT * FROM unnest(done) LOOP
            PERFORM run(remote.connection, remote.node, format('ROLLBACK PREPARED %L', gid));
        END LOOP;
        RAISE;
    END;
    FOR remote IN SELECT * FROM unnest(all_of_it) LOOP
        PERFORM run(remote.connection, remote.node, format('COMMIT PREPARED %L', gid));
    END LOOP;
    RETURN NULL;
END
$$;

CREATE CONSTRAINT TRIGGER commit_remote AFTER INSERT ON timescaledb_standin.remote_transaction
DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION timescaledb_standin.commit_remote();

-- The role's connection to a data node, there in a transaction that ends as ours does.
CREATE FUNCTION timescaledb_standin.begin_remote(node name, role name) RETURNS text
LANGUAGE plpgsql SECURITY DEFINER SET search_path = timescaledb_standin, pg_catalog, pg_temp
AS $$
DECLARE
    name CONSTANT text := connection(node, role);
BEGIN
    INSERT INTO remote_transaction (connection, node) VALUES (name, begin_remote.node)
    ON CONFLICT DO NOTHING;
    IF FOUND THEN
        PERFORM abandon_remote(name, node);
        PERFORM run(name, node, 'BEGIN ISOLATION LEVEL REPEATABLE READ');
    END IF;
    RETURN name;
END
$$;

-- Ends what a local transaction that was rolled back has left: in a transaction `now()` is its start.
CREATE FUNCTION timescaledb_standin.abandon_remote(connection text, node name) RETURNS void
LANGUAGE plpgsql SET search_path = timescaledb_standin, pg_catalog, pg_temp
AS $$
DECLARE
    open boolean;
BEGIN
    BEGIN
        SELECT is_open INTO open
        FROM dblink(connection, 'SELECT now() <> statement_timestamp()') AS t (is_open boolean);
    EXCEPTION
        WHEN in_failed_sql_transaction THEN
            open := true;
        WHEN OTHERS THEN
            PERFORM dblink_disconnect(connection);
            RAISE;
    END;
    IF open THEN
        PERFORM run(connection, node, 'ROLLBACK');
    END IF;
END
$$;

-- NULL stands for all data nodes.
CREATE FUNCTION timescaledb_standin.nodes(node_list name[]) RETURNS SETOF name
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT node_name FROM timescaledb_information.data_nodes WHERE node_list IS NULL
    UNION ALL
    SELECT unnest(node_list)
    ORDER BY 1
$$;

CREATE PROCEDURE public.distributed_exec(
    query text, node_list name[] DEFAULT NULL, transactional boolean DEFAULT true
)
LANGUAGE plpgsql
AS $$
DECLARE
    -- As the setting is written: the empty one makes no statement.
    path CONSTANT text := format('SET search_path = %s, pg_catalog', current_setting('search_path'));
    node name;
    connection text;
BEGIN
    IF NOT transactional THEN
        -- An error where it was called in a transaction.
        COMMIT;
    END IF;
    FOR node IN SELECT timescaledb_standin.nodes(node_list) LOOP
        IF transactional THEN
            connection := timescaledb_standin.begin_remote(node, current_user);
        ELSE
            connection := timescaledb_standin.connection(node, current_user);
        END IF;
        PERFORM timescaledb_standin.run(connection, node, path);
        PERFORM timescaledb_standin.run(connection, node, query);
        PERFORM timescaledb_standin.run(connection, node, 'SET search_path = pg_catalog');
    END LOOP;
END
$$;

-- Data nodes ----------------------------------------------------------------------------------------

-- Makes the database of a data node, by way of one that every server has, and what marks it as such.
CREATE FUNCTION timescaledb_standin.bootstrap(
    node name, host text, port integer, dbname name, role name, password text, create_it boolean,
    OUT database_created boolean, OUT extension_created boolean
)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = timescaledb_standin, pg_catalog, pg_temp
AS $$
DECLARE
    login CONSTANT text := keyword('user', role) || coalesce(keyword('password', password), '');
    first name;
    prepared integer;
BEGIN
    PERFORM check_role(role);
    database_created := false;
    extension_created := false;
    IF create_it THEN
        FOREACH first IN ARRAY '{postgres,template1,defaultdb}'::name[] LOOP
            BEGIN
                PERFORM connect('bootstrap', node, connection_string(host, port, first, role, login));
                EXIT;
            EXCEPTION WHEN sqlclient_unable_to_establish_sqlconnection THEN
                IF first = 'defaultdb' THEN
                    RAISE;
                END IF;
            END;
        END LOOP;
        SELECT missing INTO database_created FROM dblink('bootstrap', format(
            'SELECT NOT EXISTS (SELECT FROM pg_database WHERE datname = %L)', dbname)) AS t (missing boolean);
        IF database_created THEN
            PERFORM run('bootstrap', node, format('CREATE DATABASE %I', dbname));
        END IF;
        PERFORM dblink_disconnect('bootstrap');
    END IF;
    PERFORM connect('bootstrap', node, connection_string(host, port, dbname, role, login));
    SELECT setting, missing INTO prepared, extension_created FROM dblink('bootstrap',
        'SELECT current_setting(''max_prepared_transactions''), to_regnamespace(''_timescaledb_catalog'') IS NULL'
    ) AS t (setting integer, missing boolean);
    IF prepared = 0 THEN
        PERFORM dblink_disconnect('bootstrap');
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('[%s]: prepared transactions need to be enabled', node),
            DETAIL = 'Parameter max_prepared_transactions=0.',
            HINT = 'Configuration parameter max_prepared_transactions must be set >0 (changes will require restart).';
    END IF;
    IF extension_created THEN
        PERFORM run('bootstrap', node, 'CREATE SCHEMA _timescaledb_catalog');
    END IF;
    PERFORM dblink_disconnect('bootstrap');
END
$$;

CREATE TYPE timescaledb_standin.added_node AS (
    node_name name, host text, port integer, database name,
    node_created boolean, database_created boolean, extension_created boolean
);

CREATE FUNCTION public.add_data_node(
    node_name name, host text, database name DEFAULT NULL, port integer DEFAULT NULL,
    if_not_exists boolean DEFAULT false, bootstrap boolean DEFAULT true, password text DEFAULT NULL
) RETURNS SETOF timescaledb_standin.added_node
LANGUAGE plpgsql
AS $$
#variable_conflict use_variable
DECLARE
    made record;
BEGIN
    database := coalesce(database, current_database());
    port := coalesce(port, current_setting('port')::integer);
    IF EXISTS (SELECT FROM timescaledb_information.data_nodes AS known WHERE known.node_name = node_name) THEN
        IF NOT if_not_exists THEN
            RAISE duplicate_object USING MESSAGE = format('server "%s" already exists', node_name);
        END IF;
        RETURN QUERY SELECT node_name, host, port, database, false, false, false;
        RETURN;
    END IF;
    made := timescaledb_standin.bootstrap(node_name, host, port, database, current_user, password, bootstrap);
    EXECUTE format('CREATE SERVER %I FOREIGN DATA WRAPPER timescaledb_fdw OPTIONS (host %L, port %L, dbname %L)',
        node_name, host, port, database);
    RETURN QUERY SELECT
        node_name, host, port, database, true, made.database_created, made.extension_created;
END
$$;

-- Distributed tables --------------------------------------------------------------------------------

-- The columns of a table, each as a definition has it.
CREATE FUNCTION timescaledb_standin.columns(relation regclass) RETURNS text
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(format('%I %s', attname, format_type(atttypid, atttypmod)), ', ' ORDER BY attnum)
    FROM pg_attribute WHERE attrelid = relation AND attnum > 0 AND NOT attisdropped
$$;

-- The rows that the data nodes have of a table.
CREATE FUNCTION timescaledb_standin.remote_rows(sample anyelement, remote text) RETURNS SETOF anyelement
LANGUAGE plpgsql
AS $$
DECLARE
    node name;
    columns text;
BEGIN
    SELECT timescaledb_standin.columns(typrelid) INTO columns FROM pg_type WHERE oid = pg_typeof(sample);
    FOR node IN SELECT timescaledb_standin.nodes(NULL) LOOP
        RETURN QUERY EXECUTE format('SELECT * FROM timescaledb_standin.dblink(%L, %L) AS t (%s)',
            timescaledb_standin.connection(node, current_user), 'SELECT * FROM ' || remote, columns);
    END LOOP;
END
$$;

-- Sends a row to the data node that its partition belongs to: by the value itself where it is a small
-- number, else by its hash. Arguments: the partition's column, the table's name there.
CREATE FUNCTION timescaledb_standin.distribute() RETURNS trigger
LANGUAGE plpgsql
AS $$
DECLARE
    nodes CONSTANT name[] := ARRAY(SELECT timescaledb_standin.nodes(NULL));
    value CONSTANT text := coalesce(to_jsonb(NEW) ->> TG_ARGV[0], '');
    partition integer;
    node name;
BEGIN
    partition := CASE WHEN value ~ '^[0-9]{1,9}$' THEN value::integer ELSE hashtext(value) & 2147483647 END;
    node := nodes[1 + partition % cardinality(nodes)];
    PERFORM timescaledb_standin.run(
        timescaledb_standin.begin_remote(node, current_user),
        node,
        format('INSERT INTO %s SELECT * FROM jsonb_populate_record(NULL::%1$s, %L)', TG_ARGV[1], to_jsonb(NEW)));
    RETURN NEW;
END
$$;

-- Makes an empty table one whose rows are on the data nodes. What has its name from now on is a view
-- that sends and fetches them.
CREATE FUNCTION public.create_distributed_hypertable(
    relation regclass, time_column_name name, partitioning_column name DEFAULT NULL
) RETURNS void
LANGUAGE plpgsql
AS $$
DECLARE
    schema_name name;
    table_name name;
    remote text;
    node name;
BEGIN
    SELECT nspname, relname INTO schema_name, table_name
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = relation;
    remote := format('%I.%I', schema_name, table_name);
    IF NOT EXISTS (SELECT FROM timescaledb_information.data_nodes) THEN
        RAISE object_not_in_prerequisite_state
            USING MESSAGE = 'no data nodes can be assigned to the hypertable';
    END IF;
    FOR node IN SELECT timescaledb_standin.nodes(NULL) LOOP
        PERFORM timescaledb_standin.run(
            timescaledb_standin.begin_remote(node, current_user),
            node,
            format('CREATE TABLE %s (%s)', remote, timescaledb_standin.columns(relation)));
    END LOOP;
    EXECUTE format('ALTER TABLE %s RENAME TO %I', relation, '_rows_of_' || table_name);
    EXECUTE format('CREATE VIEW %s AS SELECT * FROM timescaledb_standin.remote_rows(NULL::%s, %L)',
        remote, relation, remote);
    EXECUTE format(
        'CREATE TRIGGER distribute INSTEAD OF INSERT ON %s FOR EACH ROW '
        'EXECUTE FUNCTION timescaledb_standin.distribute(%L, %L)',
        remote, coalesce(partitioning_column, time_column_name), remote);
END
$$;


-- Moving rows between data nodes --------------------------------------------------------------------

CREATE SCHEMA timescaledb_experimental;
GRANT USAGE ON SCHEMA timescaledb_experimental TO PUBLIC;

-- Copies what one data node has of a distributed table to another one, which fetches it by itself: by
-- a subscription with the connection string that the access node has for the first, its own paths of
-- password file and certificates included.
CREATE PROCEDURE timescaledb_experimental.copy_chunk(
    chunk regclass, source_node name, destination_node name
)
LANGUAGE plpgsql SET search_path = timescaledb_standin, pg_catalog, pg_temp
AS $$
DECLARE
    source CONSTANT text := connection(source_node, current_user);
    destination CONSTANT text := connection(destination_node, current_user);
    remote text;
    copied boolean := false;
    deadline CONSTANT timestamptz := clock_timestamp() + interval '120 s';
BEGIN
    SELECT format('%I.%I', nspname, relname) INTO remote
    FROM pg_class JOIN pg_namespace ON pg_namespace.oid = relnamespace WHERE pg_class.oid = chunk;
    PERFORM run(source, source_node, format('CREATE PUBLICATION copy_chunk FOR TABLE %s', remote));
    BEGIN
        PERFORM run(destination, destination_node, format(
            'CREATE SUBSCRIPTION copy_chunk CONNECTION %L PUBLICATION copy_chunk',
            node_connection_string(source_node, current_user)));
        WHILE NOT copied AND clock_timestamp() < deadline LOOP
            SELECT ready INTO copied FROM dblink(destination,
                'SELECT bool_and(srsubstate = ''r'') FROM pg_subscription_rel') AS t (ready boolean);
        END LOOP;
        PERFORM run(destination, destination_node, 'DROP SUBSCRIPTION copy_chunk');
    EXCEPTION WHEN OTHERS THEN
        PERFORM run(source, source_node, 'DROP PUBLICATION copy_chunk');
        RAISE;
    END;
    PERFORM run(source, source_node, 'DROP PUBLICATION copy_chunk');
    IF NOT copied THEN
        RAISE EXCEPTION '% did not get the rows of % within 120 s', destination_node, source_node;
    END IF;
END
$$;
