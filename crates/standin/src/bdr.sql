-- What EDB Postgres Distributed (PGD) shows of a group's nodes, and how their links are changed, as
-- its public reference documents it, on PostgreSQL's own logical replication.
--
-- `bdr` holds what is documented and nothing else: whoever works with it works with PGD. How the
-- stand-in does it is in `bdr_standin`.

CREATE ROLE bdr_superuser NOLOGIN;

CREATE SCHEMA bdr_standin;
REVOKE ALL ON SCHEMA bdr_standin FROM PUBLIC;

-- This node's own catalogue: what another node thinks of itself or of others is that node's affair.
CREATE TABLE bdr_standin.node (
    node_name name PRIMARY KEY,
    node_id oid NOT NULL UNIQUE,
    node_seq_id integer NOT NULL UNIQUE,
    node_uuid uuid NOT NULL DEFAULT gen_random_uuid(),
    interface_connstr text NOT NULL,
    -- This node's subscription to that one; NULL for the node itself.
    subscription name
);

CREATE SCHEMA bdr;
GRANT USAGE ON SCHEMA bdr TO bdr_superuser;

-- The states are those of the group's agreement, not of the links: they stay with every link down.
CREATE VIEW bdr.node_summary AS
SELECT node_name,
       'pgdgroup'::name AS node_group_name,
       interface_connstr,
       'ACTIVE'::text AS peer_state_name,
       'ACTIVE'::text AS peer_target_state_name,
       node_seq_id,
       current_database()::name AS node_local_dbname,
       node_id,
       '1360502012'::oid AS node_group_id,
       'data'::text AS node_kind_name,
       node_uuid
FROM bdr_standin.node;

CREATE VIEW bdr.local_node_summary AS
SELECT summary.*
FROM bdr.node_summary AS summary
JOIN bdr_standin.node AS node USING (node_id)
WHERE node.subscription IS NULL;

GRANT SELECT ON bdr.node_summary, bdr.local_node_summary TO bdr_superuser;

-- Replaces the whole connection string that this node has for a node, itself included. A link to that
-- node is made again with the new one when the transaction commits.
CREATE FUNCTION bdr.alter_node_interface(node_name text, interface_dsn text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link name;
BEGIN
    IF interface_dsn IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'interface_dsn must not be NULL';
    END IF;
    UPDATE bdr_standin.node AS node
    SET interface_connstr = interface_dsn
    WHERE node.node_name = alter_node_interface.node_name
    RETURNING subscription INTO link;
    IF NOT FOUND THEN
        RAISE undefined_object USING MESSAGE = format('node %L not found', node_name);
    END IF;
    IF link IS NOT NULL THEN
        EXECUTE format('ALTER SUBSCRIPTION %I CONNECTION %L', link, interface_dsn);
    END IF;
    RETURN true;
END
$$;
REVOKE ALL ON FUNCTION bdr.alter_node_interface FROM PUBLIC;
GRANT EXECUTE ON FUNCTION bdr.alter_node_interface TO bdr_superuser;
