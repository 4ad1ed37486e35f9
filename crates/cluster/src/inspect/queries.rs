//! What the server tells about itself.

use std::{collections::BTreeMap, time::SystemTime};

use tokio_postgres::{Client, Row, types::ToSql};
use zeroize::Zeroizing;

use super::{
    AdminSession, BdrState, ForeignServer, HbaError, Role, SETTINGS, Setting, SlotInUse,
    Subscription,
};
use crate::{conninfo::ConnInfo, error::Error, sql};

pub(crate) async fn settings(client: &Client) -> Result<BTreeMap<String, Setting>, Error> {
    // An extension's setting that the extension has not defined yet is in no view.
    const QUERY: &str = "SELECT name, setting, source FROM pg_catalog.pg_settings \
                         WHERE name = ANY ($1::text[]) \
                         UNION ALL SELECT n, pg_catalog.current_setting(n, true), 'placeholder' \
                         FROM pg_catalog.unnest($1::text[]) n WHERE n LIKE '%.%' \
                         AND n NOT IN (SELECT name FROM pg_catalog.pg_settings)";
    let rows = client.query(QUERY, &[&&SETTINGS[..]]).await?;
    Ok(rows
        .iter()
        .map(|row| {
            let value: Option<String> = row.get(1);
            (row.get(0), Setting { value: value.unwrap_or_default(), source: row.get(2) })
        })
        .collect())
}

pub(super) async fn admin_session(client: &Client, sql: &str) -> Result<AdminSession, Error> {
    const QUERY: &str = "SELECT session_user::text, pg_catalog.current_database()::text, \
                                pg_catalog.inet_client_addr(), \
                                coalesce((SELECT ssl FROM pg_catalog.pg_stat_ssl \
                                          WHERE pid = pg_catalog.pg_backend_pid()), false)";
    let row = client.query_one(QUERY, &[]).await?;
    Ok(AdminSession {
        user: row.get(0),
        database: row.get(1),
        address: row.get(2),
        tls: row.get(3),
        tls_if_spoken: sql::takes_tls(sql),
    })
}

/// When the server last read its configuration and its rules: at its start, or at a reload.
pub(crate) async fn load_time(client: &Client) -> Result<SystemTime, Error> {
    Ok(client.query_one("SELECT pg_catalog.pg_conf_load_time()", &[]).await?.get(0))
}

pub(crate) async fn hba_errors(client: &Client) -> Result<Vec<HbaError>, Error> {
    // A row without type is a line that the server refuses; where the type is set the error is only
    // a warning. Some refusals have no text here: only the log tells them.
    const QUERY: &str = "SELECT line_number, coalesce(error, 'refused; the reason is in the log') \
                         FROM pg_catalog.pg_hba_file_rules WHERE type IS NULL ORDER BY 1";
    let rows = client.query(QUERY, &[]).await?;
    Ok(rows.iter().map(|row| HbaError { line: row.get(0), message: row.get(1) }).collect())
}

/// The lines of the configuration files that the server would not take. A value that needs a restart is
/// no error here: it is applied at the next start.
pub(super) async fn configuration_errors(client: &Client) -> Result<Vec<(String, String)>, Error> {
    const QUERY: &str = "SELECT coalesce(sourcefile || ':' || sourceline, 'configuration files'), \
                                error || coalesce(' (' || name || ')', '') \
         FROM pg_catalog.pg_file_settings \
         WHERE error IS NOT NULL AND error <> 'setting could not be applied' ORDER BY seqno";
    let rows = client.query(QUERY, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// A configuration file that was changed after the server last read it; `read` are those that no view
/// tells of.
pub(super) async fn changed_since_reload(
    client: &Client,
    read: &[&str],
) -> Result<Option<String>, Error> {
    // A file system's time may be cut to whole seconds, and the server reads after it was written.
    const QUERY: &str = "SELECT f.path FROM (SELECT pg_catalog.current_setting('hba_file') AS path \
             UNION SELECT sourcefile FROM pg_catalog.pg_file_settings WHERE sourcefile IS NOT NULL \
             UNION SELECT pg_catalog.unnest($1::text[])) f, \
             pg_catalog.pg_stat_file(f.path, true) s \
         WHERE s.modification > pg_catalog.pg_conf_load_time() ORDER BY 1 LIMIT 1";
    Ok(client.query_opt(QUERY, &[&read]).await?.map(|row| row.get(0)))
}

/// The settings that have another value from the next start on: the files say so, and only a start takes
/// them.
pub(super) async fn pending_restart(client: &Client) -> Result<Vec<String>, Error> {
    // The server goes on saying so of a line that came and went again: then it is in no file, and the
    // value in force was in none.
    const QUERY: &str = "SELECT s.name FROM pg_catalog.pg_settings s \
         LEFT JOIN LATERAL (SELECT pg_catalog.bool_or(coalesce(f.error, '') = 'setting could not be applied') \
             AS waits FROM pg_catalog.pg_file_settings f \
             WHERE pg_catalog.lower(f.name) = pg_catalog.lower(s.name)) f ON true \
         WHERE s.pending_restart AND coalesce(f.waits, s.source = 'configuration file') ORDER BY 1";
    Ok(client.query(QUERY, &[]).await?.iter().map(|row| row.get(0)).collect())
}

pub(crate) async fn roles(client: &Client, link_roles: &[&str]) -> Result<Vec<Role>, Error> {
    const QUERY: &str = "SELECT r.rolname::text, r.rolcanlogin, r.rolreplication, r.rolsuper, \
             pg_catalog.concat_ws(' ', \
                 CASE WHEN r.rolinherit THEN 'INHERIT' ELSE 'NOINHERIT' END, \
                 CASE WHEN r.rolcreatedb THEN 'CREATEDB' ELSE 'NOCREATEDB' END, \
                 CASE WHEN r.rolcreaterole THEN 'CREATEROLE' ELSE 'NOCREATEROLE' END, \
                 CASE WHEN r.rolbypassrls THEN 'BYPASSRLS' ELSE 'NOBYPASSRLS' END, \
                 'CONNECTION LIMIT ' || r.rolconnlimit), \
             ARRAY(SELECT g.rolname::text FROM pg_catalog.pg_auth_members m \
                   JOIN pg_catalog.pg_roles g ON g.oid = m.roleid \
                   WHERE m.member = r.oid ORDER BY 1), \
             CASE WHEN r.rolname = ANY ($1::text[]) THEN \
                  (SELECT a.rolpassword FROM pg_catalog.pg_authid a WHERE a.oid = r.oid) END, \
             coalesce(r.rolvaliduntil <= pg_catalog.now(), false), \
             CASE WHEN pg_catalog.isfinite(r.rolvaliduntil) \
                  THEN pg_catalog.to_char(r.rolvaliduntil AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI:SS') \
             END \
         FROM pg_catalog.pg_roles r ORDER BY 1";
    let rows = client.query(QUERY, &[&link_roles]).await?;
    Ok(rows
        .iter()
        .map(|row| Role {
            name: row.get(0),
            can_login: row.get(1),
            replication: row.get(2),
            superuser: row.get(3),
            attributes: row.get(4),
            member_of: row.get(5),
            stored_password: row.get::<_, Option<String>>(6).map(Zeroizing::new),
            password_expired: row.get(7),
            valid_until: row.get(8),
        })
        .collect())
}

pub(super) async fn subscriptions(client: &Client) -> Result<Vec<Subscription>, Error> {
    // Majors before 16 have no such column: there only superusers have subscriptions.
    const QUERY: &str = "SELECT s.subname::text, d.datname::text, s.subconninfo, \
                                s.subslotname::text, s.subenabled, \
             CASE WHEN NOT o.rolsuper \
                  AND (pg_catalog.to_jsonb(s) ->> 'subpasswordrequired')::boolean \
                  THEN o.rolname::text END \
         FROM pg_catalog.pg_subscription s \
         JOIN pg_catalog.pg_roles o ON o.oid = s.subowner \
         JOIN pg_catalog.pg_database d ON d.oid = s.subdbid ORDER BY 2, 1";
    let rows = client.query(QUERY, &[]).await?;
    rows.iter()
        .map(|row| {
            let text = Zeroizing::new(row.get::<_, String>(2));
            let conninfo = text.parse().map_err(|source| Error::ConnInfo {
                what: format!("subscription {}", row.get::<_, &str>(0)),
                source,
            })?;
            Ok(Subscription {
                name: row.get(0),
                database: row.get(1),
                conninfo,
                slot: row.get(3),
                enabled: row.get(4),
                owner_needs_password: row.get(5),
            })
        })
        .collect()
}

/// The databases beside this one that can be connected to. One that its `DROP DATABASE` has left is
/// none (`datconnlimit` -2).
pub(super) async fn other_databases(client: &Client) -> Result<Vec<String>, Error> {
    const QUERY: &str = "SELECT datname::text FROM pg_catalog.pg_database \
         WHERE datallowconn AND NOT datistemplate AND datconnlimit <> -2 \
         AND datname <> pg_catalog.current_database() ORDER BY 1";
    Ok(client.query(QUERY, &[]).await?.iter().map(|row| row.get(0)).collect())
}

/// The foreign servers of this database that lead to PostgreSQL servers.
pub(super) async fn foreign_servers(
    client: &Client,
    link_roles: &[&str],
) -> Result<Vec<ForeignServer>, Error> {
    const SERVERS: &str = "SELECT s.oid, s.srvname::text, w.fdwname::text, \
             pg_catalog.current_database()::text, s.srvoptions, \
             ARRAY(SELECT r.rolname::text FROM pg_catalog.pg_roles r \
                   WHERE r.rolname = ANY ($1::text[]) \
                   AND pg_catalog.has_server_privilege(r.oid, s.oid, 'USAGE') ORDER BY 1) \
         FROM pg_catalog.pg_foreign_server s \
         JOIN pg_catalog.pg_foreign_data_wrapper w ON w.oid = s.srvfdw \
         WHERE w.fdwname IN ('postgres_fdw', 'dblink_fdw', 'timescaledb_fdw') ORDER BY 2";
    // Whoever installs an extension chooses the schema. The administrator's session calls it, and a role
    // that this is set to can be reset: what somebody else has made by that name is not called.
    const DISTRIBUTED_EXEC: &str = "SELECT CASE p.prokind WHEN 'p' THEN 'CALL ' ELSE 'SELECT ' END \
             || pg_catalog.format('%I.%I', n.nspname, p.proname) \
         FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace \
         JOIN pg_catalog.pg_roles o ON o.oid = p.proowner, \
         LATERAL (SELECT EXISTS (SELECT FROM pg_catalog.pg_depend d WHERE d.objid = p.oid \
             AND d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.deptype = 'e') \
             AS of_extension) e \
         WHERE p.proname = 'distributed_exec' AND (e.of_extension OR o.rolsuper) \
         ORDER BY e.of_extension DESC, n.nspname LIMIT 1";
    const MAPPINGS: &str = "SELECT m.umserver, r.rolname::text, m.umoptions \
         FROM pg_catalog.pg_user_mapping m LEFT JOIN pg_catalog.pg_roles r ON r.oid = m.umuser \
         WHERE m.umserver = ANY ($1::oid[]) ORDER BY 2";
    // PUBLIC is whoever has no mapping of their own: the administrator, if it may be.
    const TABLES: &str = "SELECT DISTINCT ON (t.ftserver, m.umuser) t.ftserver, r.rolname::text, \
                pg_catalog.format('%I.%I', n.nspname, c.relname) \
         FROM pg_catalog.pg_foreign_table t \
         JOIN pg_catalog.pg_class c ON c.oid = t.ftrelid \
         JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         JOIN pg_catalog.pg_user_mapping m ON m.umserver = t.ftserver \
         JOIN pg_catalog.pg_roles r ON r.oid = m.umuser \
              OR (m.umuser = 0 AND r.rolcanlogin AND NOT EXISTS \
                  (SELECT FROM pg_catalog.pg_user_mapping own \
                   WHERE own.umserver = m.umserver AND own.umuser = r.oid)) \
         WHERE t.ftserver = ANY ($1::oid[]) \
         AND pg_catalog.has_table_privilege(r.oid, c.oid, 'SELECT') \
         AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE') \
         ORDER BY t.ftserver, m.umuser, r.rolname <> session_user, r.rolname, 3";
    let servers = client.query(SERVERS, &[&link_roles]).await?;
    if servers.is_empty() {
        return Ok(Vec::new());
    }
    let oids: Vec<u32> = servers.iter().map(|row| row.get(0)).collect();
    let of_all: [&(dyn ToSql + Sync); 1] = [&oids];
    let (mappings, tables, distributed_exec) = tokio::try_join!(
        client.query(MAPPINGS, &of_all),
        client.query(TABLES, &of_all),
        client.query_opt(DISTRIBUTED_EXEC, &[]),
    )?;
    let distributed_exec: Option<String> = distributed_exec.map(|row| row.get(0));
    let server = |row: &Row| {
        let oid: u32 = row.get(0);
        let wrapper: &str = row.get(2);
        ForeignServer {
            name: row.get(1),
            wrapper: wrapper.to_owned(),
            database: row.get(3),
            options: options(row.get(4)),
            mappings: of_server(&mappings, oid)
                .map(|row| (row.get(1), options(row.get(2))))
                .collect(),
            usable_by: row.get(5),
            distributed_exec: distributed_exec.clone().filter(|_| wrapper == "timescaledb_fdw"),
            tables: of_server(&tables, oid).map(|row| (row.get(1), row.get(2))).collect(),
        }
    };
    Ok(servers.iter().map(server).collect())
}

/// The rows that begin with this server.
fn of_server(rows: &[Row], server: u32) -> impl Iterator<Item = &Row> {
    rows.iter().filter(move |row| row.get::<_, u32>(0) == server)
}

/// `{name=value,…}` of a server or a mapping.
fn options(stored: Option<Vec<String>>) -> ConnInfo {
    let mut conninfo = ConnInfo::default();
    for option in stored.unwrap_or_default() {
        let option = Zeroizing::new(option);
        if let Some((name, value)) = option.split_once('=') {
            conninfo.set(name, value);
        }
    }
    conninfo
}

/// What a node of EDB Postgres Distributed knows of its group.
pub(super) async fn bdr(client: &Client) -> Result<Option<BdrState>, Error> {
    const THERE: &str = "SELECT pg_catalog.current_database()::text \
                         WHERE pg_catalog.to_regclass('bdr.node_summary') IS NOT NULL";
    let Some(row) = client.query_opt(THERE, &[]).await? else { return Ok(None) };
    // PGD 6 names a node's slots bdr_node_<its UUID>_<hash of the database's name>, earlier ones
    // bdr_<database>_<group>_<node> (its documentation, "Replication slots created by PGD").
    // A column that this version does not have is none here.
    const LOCAL: &str = "SELECT node ->> 'node_name', ARRAY[ \
             'bdr_node_' || pg_catalog.translate(node ->> 'node_uuid', '-', '') || '_' \
                 || pg_catalog.to_hex(pg_catalog.hashtext(pg_catalog.current_database())), \
             pg_catalog.regexp_replace(pg_catalog.lower(pg_catalog.concat_ws('_', 'bdr', \
                 pg_catalog.current_database(), node ->> 'node_group_name', node ->> 'node_name')), \
                 '[^a-z0-9_]', '_', 'g')] \
         FROM (SELECT pg_catalog.to_jsonb(n) AS node FROM bdr.local_node_summary n) local";
    const ALL: &str = "SELECT n.node_name::text, n.interface_connstr::text, \
             pg_catalog.to_jsonb(n) ->> 'node_kind_name' FROM bdr.node_summary n \
         WHERE pg_catalog.to_jsonb(n) ->> 'peer_state_name' IS DISTINCT FROM 'PARTED' ORDER BY 1";
    let (local, rows) = tokio::try_join!(client.query_opt(LOCAL, &[]), client.query(ALL, &[]))?;
    let slots = local.as_ref().map(|row| row.get::<_, Vec<Option<String>>>(1)).unwrap_or_default();
    let interface = |row: &Row| {
        let name: String = row.get(0);
        let text = Zeroizing::new(row.get::<_, Option<String>>(1).unwrap_or_default());
        let conninfo = text.parse().map_err(|source| Error::ConnInfo {
            what: format!("interface of PGD node {name}"),
            source,
        })?;
        Ok((name, conninfo))
    };
    let interfaces = rows.iter().map(interface).collect::<Result<_, Error>>()?;
    let kind = |row: &Row| Some((row.get(0), row.get::<_, Option<String>>(2)?));
    let kinds = rows.iter().filter_map(kind).filter(|(_, kind)| kind != "data");
    Ok(Some(BdrState {
        database: row.get(0),
        local_node: local.map(|row| row.get(0)),
        slots: slots.into_iter().flatten().collect(),
        interfaces,
        kinds: kinds.collect(),
    }))
}

/// Who receives WAL without a replication slot: application name and address.
pub(super) async fn receivers(
    client: &Client,
) -> Result<Vec<(String, Option<std::net::IpAddr>)>, Error> {
    const QUERY: &str = "SELECT coalesce(r.application_name, ''), r.client_addr \
         FROM pg_catalog.pg_stat_replication r WHERE NOT EXISTS \
             (SELECT FROM pg_catalog.pg_replication_slots s WHERE s.active_pid = r.pid) ORDER BY r.pid";
    let rows = client.query(QUERY, &[]).await?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// Whom a standby receives WAL from, as its connection string calls that server.
pub(super) async fn receives_from(client: &Client) -> Result<Option<(String, u16)>, Error> {
    const QUERY: &str = "SELECT sender_host, sender_port FROM pg_catalog.pg_stat_wal_receiver";
    let Some(row) = client.query_opt(QUERY, &[]).await? else { return Ok(None) };
    let host: Option<String> = row.get(0);
    let port = row.get::<_, Option<i32>>(1).and_then(|port| port.try_into().ok());
    Ok(host.zip(port))
}

/// The replication slots that somebody uses, and as whom.
pub(super) async fn slots_in_use(client: &Client) -> Result<Vec<SlotInUse>, Error> {
    const QUERY: &str = "SELECT s.slot_name::text, s.database::text, r.usename::text \
         FROM pg_catalog.pg_replication_slots s \
         JOIN pg_catalog.pg_stat_replication r ON r.pid = s.active_pid ORDER BY 1";
    let rows = client.query(QUERY, &[]).await?;
    let slot = |row: &Row| SlotInUse { name: row.get(0), database: row.get(1), role: row.get(2) };
    Ok(rows.iter().map(slot).collect())
}

/// What tells the server and its copies from all others.
pub(super) async fn system_identifier(client: &Client) -> Result<String, Error> {
    const QUERY: &str = "SELECT system_identifier::text FROM pg_catalog.pg_control_system()";
    Ok(client.query_one(QUERY, &[]).await?.get(0))
}

/// Whether the server is a standby.
pub(crate) async fn in_recovery(client: &Client) -> Result<bool, Error> {
    Ok(client.query_one("SELECT pg_catalog.pg_is_in_recovery()", &[]).await?.get(0))
}

/// `primary_conninfo`, which may hold a password and so is none of the settings that are shown.
pub(super) async fn primary_conninfo(client: &Client) -> Result<Option<ConnInfo>, Error> {
    let row =
        client.query_one("SELECT pg_catalog.current_setting('primary_conninfo')", &[]).await?;
    let text = Zeroizing::new(row.get::<_, String>(0));
    if text.is_empty() {
        return Ok(None);
    }
    let read = text.parse();
    read.map(Some).map_err(|source| Error::ConnInfo { what: "primary_conninfo".to_owned(), source })
}
