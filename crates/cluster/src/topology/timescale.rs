//! TimescaleDB multi-node: an access node connects to its data nodes, as whichever role uses a
//! distributed table.
//!
//! Source: TimescaleDB's page "Multi-node authentication" and `tsl/src/remote/connection.c` of
//! TimescaleDB 2.13. Its links have no connection string of their own: the access node takes host,
//! port and database from the foreign server, a password from `timescaledb.passfile` (or
//! `<data directory>/passfile`), and, only if it has `ssl = on` itself, `sslmode=require`,
//! `sslrootcert=ssl_ca_file` and `<data directory>/timescaledb/certs/<md5 of the role>.{crt,key}` (or
//! the same names directly in `timescaledb.ssl_dir`).
//!
//! Roles are made on each data node by its own administrator and not by `distributed_exec`: so each
//! can be taken back on its node, nothing depends on the links that are about to be secured, and a
//! statement that fails is not written to the access node's log with a password in it.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use postgres_protocol::escape::escape_identifier;
use sha2::Digest as _;

use super::{
    Cluster, Dsn, Found, Link, LinkPlace, Places, SessionKey, Switch, Topology, Unsecured,
};
use crate::{
    conninfo::ConnInfo,
    credentials::tls_settings,
    demand::{ClientPlace, Databases, Demand, DemandedStatement, PairPlace, RoleDemand, WayIn},
    error::Error,
    inspect::{ForeignServer, NodeState},
    plan::Statement,
    spec::{ClusterSpec, Mode, NodeSpec, UserChain},
    sql::literal,
};

/// An access node and its data nodes.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timescale;

const ROOT: &str = "root.crt";
const SERVER_CERTIFICATE: &str = "server.crt";
const SERVER_KEY: &str = "server.key";
/// Where user certificates are unless `timescaledb.ssl_dir` says otherwise.
const CERTIFICATES: &str = "timescaledb/certs";
/// Where the password file is unless `timescaledb.passfile` says otherwise.
const PASSFILE: &str = "passfile";
/// The foreign-data wrapper of the servers that lead to data nodes.
const WRAPPER: &str = "timescaledb_fdw";

impl Topology for Timescale {
    fn find(&self, spec: &ClusterSpec, nodes: &[NodeState]) -> Result<Found, Error> {
        let access = access_node(spec);
        let found = nodes.iter().find(|node| node.name == access);
        let found = found.ok_or_else(|| Error::plan(format!("node {access} was not inspected")))?;
        let servers = servers(spec, found)?;
        let mut links = Vec::new();
        for to in spec.nodes.iter().filter(|node| node.name != access) {
            let leading: Vec<&ForeignServer> =
                servers.iter().filter(|(_, node)| node.name == to.name).map(|it| it.0).collect();
            for server in &leading {
                // Every database may have its own by the same name.
                let is_only = leading.iter().filter(|other| other.name == server.name).count() == 1;
                let name = match is_only {
                    true => server.name.clone(),
                    false => format!("{} in {}", server.name, server.database),
                };
                links.extend(spec.link_roles().map(|role| link(found, to, server, &name, role)));
            }
            if leading.is_empty() {
                links.extend(spec.link_roles().map(|role| link_to_come(found, to, role)));
            }
        }
        Ok(links.into())
    }

    fn demand(&self, cluster: &Cluster<'_>, state: &NodeState) -> Result<Demand, Error> {
        let spec = cluster.spec;
        let access = access_node(spec);
        let is_access = state.name == access;
        let access_state = cluster
            .state(access)
            .ok_or_else(|| Error::plan(format!("node {access} was not inspected")))?;
        let mut demand = Demand::default();
        if has_tls(spec) {
            demand.root = Some(ROOT.into());
            demand.server = Some(PairPlace::new(SERVER_CERTIFICATE, SERVER_KEY));
            demand.settings = tls_settings(ROOT, SERVER_CERTIFICATE, SERVER_KEY);
        }
        if is_access || copies(spec) {
            // The access node itself takes them relative to its own data directory.
            let own = |path: PathBuf| {
                if is_access { path } else { access_state.in_data_directory(path) }
            };
            let settings =
                |name: &str| Some(access_state.setting(name)).filter(|value| !value.is_empty());
            match spec.mode {
                Mode::Cert => {
                    let client = |role: &str| ClientPlace {
                        role: role.to_owned(),
                        pair: PairPlace::new(
                            own(user_file(settings("timescaledb.ssl_dir"), role, "crt")),
                            own(user_file(settings("timescaledb.ssl_dir"), role, "key")),
                        ),
                    };
                    demand.clients = spec.link_roles().map(client).collect();
                }
                Mode::Scram => {
                    let path = settings("timescaledb.passfile").unwrap_or(PASSFILE);
                    demand.passfile = Some(own(path.into()));
                }
                Mode::Trust => {}
            }
        }
        if is_access {
            demand.server_signs = spec.certificates.user_chain == UserChain::AccessNode;
            access_roles(cluster, state, &mut demand)?;
        } else {
            data_node(cluster, state, access_state, &mut demand)?;
        }
        Ok(demand)
    }

    /// The access node makes it up; there is nothing to change.
    fn secured(&self, _spec: &ClusterSpec, link: &Unsecured<'_>) -> ConnInfo {
        link.conninfo.clone()
    }

    fn switch(&self, _link: &Link, _dsn: Dsn<'_>) -> Option<Switch> {
        None
    }

    fn realm(&self, cluster: &Cluster<'_>, state: &NodeState) -> String {
        // A role has one internal password for all data nodes.
        if state.name == access_node(cluster.spec) {
            state.name.clone()
        } else {
            "the data nodes".to_owned()
        }
    }

    fn credential_paths(&self, spec: &ClusterSpec, places: &Places<'_>) -> Vec<PathBuf> {
        let mut paths: Vec<PathBuf> =
            [ROOT, SERVER_CERTIFICATE, SERVER_KEY].map(PathBuf::from).into();
        let ssl_dir = places.setting("timescaledb.ssl_dir");
        for role in spec.link_roles() {
            for ending in ["crt", "key"] {
                paths.push(user_file(ssl_dir, role, ending));
                // Also where the access node does not look: somebody may have put it there.
                if let Some(ssl_dir) = ssl_dir {
                    paths.push(user_file(None, role, ending));
                    paths.push(Path::new(ssl_dir).join(user_file(None, role, ending)));
                }
            }
        }
        paths.push(places.setting("timescaledb.passfile").unwrap_or(PASSFILE).into());
        paths
    }

    fn paths_of_others(
        &self,
        spec: &ClusterSpec,
        states: &[NodeState],
    ) -> BTreeMap<String, Vec<PathBuf>> {
        let access = access_node(spec);
        let Some(found) = states.iter().find(|state| state.name == access && copies(spec)) else {
            return BTreeMap::new();
        };
        let setting = |name: &str| Some(found.setting(name)).filter(|value| !value.is_empty());
        let mut paths: Vec<PathBuf> = spec
            .link_roles()
            .flat_map(|role| ["crt", "key"].map(|ending| (role, ending)))
            .map(|(role, ending)| user_file(setting("timescaledb.ssl_dir"), role, ending))
            .collect();
        paths.push(setting("timescaledb.passfile").unwrap_or(PASSFILE).into());
        let paths: Vec<PathBuf> = paths.iter().map(|path| found.in_data_directory(path)).collect();
        let others = states.iter().filter(|state| state.name != access);
        others.map(|state| (state.name.clone(), paths.clone())).collect()
    }
}

/// Whether data nodes connect to one another, too: `move_chunk` and `copy_chunk` make them do so with the
/// access node's paths.
fn copies(spec: &ClusterSpec) -> bool {
    spec.timescale.as_ref().is_some_and(|timescale| timescale.copy_chunk)
}

fn access_node(spec: &ClusterSpec) -> &str {
    spec.timescale.as_ref().map_or("", |timescale| timescale.access_node.as_str())
}

/// Whether the links shall have TLS.
fn has_tls(spec: &ClusterSpec) -> bool {
    spec.mode == Mode::Cert || (spec.mode == Mode::Scram && !spec.i_know.plain_text_can_be_read)
}

/// The certificate or key that the access node presents for a role.
fn user_file(ssl_dir: Option<&str>, role: &str, ending: &str) -> PathBuf {
    let folder = ssl_dir.unwrap_or(CERTIFICATES);
    Path::new(folder).join(format!("{}.{ending}", md5(role.as_bytes())))
}

/// The access node's foreign servers, each with the data node that it leads to.
///
/// # Errors
/// [`Error::Plan`] for one that leads to none of them: what the access node gets for its links would
/// keep it from that one.
fn servers<'a>(
    spec: &'a ClusterSpec,
    access: &'a NodeState,
) -> Result<Vec<(&'a ForeignServer, &'a NodeSpec)>, Error> {
    let servers = access.foreign_servers.iter().filter(|server| server.wrapper == WRAPPER);
    let with_node = |server: &'a ForeignServer| {
        let port = server.options.get("port").map_or(Ok(5432), str::parse).ok();
        // The address is what libpq connects to, whatever the host is called.
        let [host, address] = ["host", "hostaddr"].map(|option| server.options.get(option));
        let there = port.and_then(|port| spec.node_at(host, address, port));
        let node = there.or_else(|| spec.node(&server.name)).ok_or_else(|| {
            Error::plan(format!(
                "the data node {} of the database {} ({}) is none of the described nodes: describe it, \
                 or delete it; for one that is described by another name, say `host = \"{}\"` there (and \
                 the port)",
                server.name,
                server.database,
                server.options.to_masked_text(),
                host.unwrap_or("its host")
            ))
        })?;
        Ok((server, node))
    };
    servers.map(with_node).collect()
}

fn link(access: &NodeState, to: &NodeSpec, server: &ForeignServer, name: &str, role: &str) -> Link {
    let mut conninfo = server.options.clone();
    conninfo.set("user", role);
    // A user mapping, the role's own or else everybody's, wins over the role's name and over the password
    // file.
    for option in ["user", "password"] {
        if let Some(value) = mapping(server, role).and_then(|(_, options)| options.get(option)) {
            conninfo.set(option, value);
        }
    }
    // Not transactional: PREPARE TRANSACTION there and a record of it here would be left by every look.
    let call = server.distributed_exec.as_ref().map(|call| {
        let nodes = format!("ARRAY[{}]::pg_catalog.name[]", literal(&server.name));
        SessionKey::OnDemand {
            database: server.database.clone(),
            role: role.to_owned(),
            statement: format!("{call}('SELECT 1', {nodes}, false)"),
        }
    });
    Link {
        from: (&access.name).into(),
        to: (&to.name).into(),
        name: name.into(),
        place: LinkPlace::AccessNode.into(),
        conninfo: conninfo.into(),
        session: call.unwrap_or(SessionKey::None).into(),
        enabled: true,
    }
}

/// The user mapping by which a role uses a server, and whose it is.
fn mapping<'a>(server: &'a ForeignServer, role: &str) -> Option<&'a (Option<String>, ConnInfo)> {
    let of = |whom: Option<&str>| server.mappings.iter().find(|(who, _)| who.as_deref() == whom);
    of(Some(role)).or_else(|| of(None))
}

/// The link to a data node that has not been added yet.
fn link_to_come(access: &NodeState, to: &NodeSpec, role: &str) -> Link {
    let mut conninfo = ConnInfo::default();
    conninfo.set("host", to.host());
    conninfo.set("port", to.port.to_string());
    conninfo.set("dbname", &access.admin.database);
    conninfo.set("user", role);
    Link {
        from: (&access.name).into(),
        to: (&to.name).into(),
        name: (&to.name).into(),
        place: LinkPlace::AccessNode.into(),
        conninfo: conninfo.into(),
        session: SessionKey::None.into(),
        enabled: false,
    }
}

/// The roles on the access node, and what they may use.
///
/// # Errors
/// [`Error::Plan`] for a user mapping that makes one of them log in as somebody else.
fn access_roles(
    cluster: &Cluster<'_>,
    state: &NodeState,
    demand: &mut Demand,
) -> Result<(), Error> {
    for role in &cluster.spec.roles {
        let name = escape_identifier(role);
        demand.roles.push(RoleDemand {
            create: Some(Statement::new(format!("CREATE ROLE {name}"))),
            // Who may log in to the access node is not the links' business.
            login: false,
            ..RoleDemand::new(role)
        });
        let superuser = state.role(role).is_some_and(|role| role.superuser);
        let mut lacking: BTreeMap<&str, Vec<String>> = BTreeMap::new();
        let servers = state.foreign_servers.iter().filter(|server| server.wrapper == WRAPPER);
        for server in servers.filter(|server| !superuser && !server.usable_by.contains(role)) {
            lacking.entry(&server.database).or_default().push(escape_identifier(&server.name));
        }
        for (database, servers) in lacking {
            let servers = servers.join(", ");
            demand.statements.push(DemandedStatement {
                database: Some(database.to_owned()),
                statement: Statement::new(format!(
                    "GRANT USAGE ON FOREIGN SERVER {servers} TO {name}"
                )),
                undo: Some(Statement::new(format!(
                    "REVOKE USAGE ON FOREIGN SERVER {servers} FROM {name}"
                ))),
            });
        }
    }
    for server in state.foreign_servers.iter().filter(|s| s.wrapper == WRAPPER) {
        for role in cluster.spec.link_roles() {
            stays_a_link_role(cluster.spec, server, role)?;
        }
        for (user, options) in &server.mappings {
            if options.get("password").is_some() || options.get("user").is_some() {
                demand.notes.push(format!(
                    "the user mapping for {} on server {} names a user or a password: that wins over \
                     the password file, and its owner can read it",
                    user.as_deref().unwrap_or("PUBLIC"),
                    server.name
                ));
            }
        }
    }
    Ok(())
}

/// # Errors
/// [`Error::Plan`] where a user mapping makes a role log in as one that the description does not name:
/// nothing would let it in.
fn stays_a_link_role(spec: &ClusterSpec, server: &ForeignServer, role: &str) -> Result<(), Error> {
    let Some((whose, options)) = mapping(server, role) else { return Ok(()) };
    let Some(user) = options.get("user").filter(|user| spec.link_roles().all(|it| it != *user))
    else {
        return Ok(());
    };
    Err(Error::plan(format!(
        "by the user mapping for {} on server {} of the database {}, {role} logs in as \"{user}\", which is \
         no role of the description: add it to roles, or drop the mapping",
        whose.as_deref().unwrap_or("PUBLIC"),
        server.name,
        server.database
    )))
}

/// What a data node needs: who may come in, and as which roles.
fn data_node(
    cluster: &Cluster<'_>,
    state: &NodeState,
    access: &NodeState,
    demand: &mut Demand,
) -> Result<(), Error> {
    let spec = cluster.spec;
    let node = cluster.node(&state.name)?;
    for role in spec.link_roles() {
        demand.ways_in.push(WayIn {
            role: role.to_owned(),
            // add_data_node looks at postgres, template1 and others before the database is there.
            databases: vec![Databases::All],
            networks: node.peers_from.clone(),
            method: spec.mode.method(),
            tls: has_tls(spec),
            // Administrators and others may come in as the same roles, from elsewhere.
            links_only: false,
        });
        // All but LOGIN is as on the access node.
        let attributes = access.role(role).map_or(String::new(), |found| {
            let superuser = if found.superuser { " SUPERUSER" } else { "" };
            format!("{superuser} {}", found.attributes)
        });
        demand.roles.push(RoleDemand {
            create: Some(Statement::new(format!(
                "CREATE ROLE {} LOGIN{attributes}",
                escape_identifier(role)
            ))),
            alter: true,
            password: spec.mode == Mode::Scram,
            ..RoleDemand::new(role)
        });
    }
    demand.above_zero.push("max_prepared_transactions");
    if state.setting("max_prepared_transactions") == "0" {
        demand.notes.push(
            "max_prepared_transactions is 0: distributed transactions need it above 0 on every data \
             node, and a restart"
                .to_owned(),
        );
    }
    Ok(())
}

/// MD5 in hexadecimal, as TimescaleDB names user certificates: a name, not a protection.
fn md5(bytes: &[u8]) -> String {
    let digest = md5::Md5::digest(bytes);
    crate::plan::hex(&digest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::sample;

    type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

    fn spec(data_nodes: &[(&str, &str)]) -> Outcome<ClusterSpec> {
        let node = |(name, address): (&str, &str)| {
            format!(
                "[[nodes]]\nname = \"{name}\"\naddress = \"{address}\"\npeers-from = [\"10.0.0.0/8\"]\n\
                 sql = \"host=127.0.0.1\"\n"
            )
        };
        let head = "topology = \"timescale\"\nmode = \"cert\"\nsecrets = \"s\"\nroles = [\"r\"]\n\
                    [timescale]\naccess-node = \"n\"\n";
        let nodes: String = data_nodes.iter().copied().map(node).collect();
        Ok(ClusterSpec::from_toml(
            &[head, &node(("n", "10.0.0.1")), &nodes].concat(),
            "/".as_ref(),
        )?)
    }

    fn server(name: &str, database: &str, options: &str) -> Outcome<ForeignServer> {
        Ok(ForeignServer {
            name: name.to_owned(),
            wrapper: WRAPPER.to_owned(),
            database: database.to_owned(),
            options: options.parse()?,
            mappings: Vec::new(),
            usable_by: Vec::new(),
            tables: Vec::new(),
            distributed_exec: Some("CALL \"Ts\".distributed_exec".to_owned()),
        })
    }

    #[test]
    fn every_database_has_data_nodes_of_its_own() -> Outcome {
        let spec = spec(&[("dn1", "10.0.0.2"), ("dn2", "10.0.0.3")])?;
        let mut access = sample::node(b"", &[]);
        access.foreign_servers = vec![
            server("dn1", "metrics", "host=10.0.0.2 port=5432 dbname=metrics")?,
            server("dn1", "weather", "host=dn1 dbname=weather")?,
        ];
        let states = [access];
        let links = Timescale.links(&spec, &states)?;
        let told: Vec<String> = links
            .iter()
            .map(|link| format!("{} {} {:?}", link.name, link.to, link.enabled))
            .collect();
        assert_eq!(
            told,
            [
                "dn1 in metrics dn1 true",
                "dn1 in metrics dn1 true",
                "dn1 in weather dn1 true",
                "dn1 in weather dn1 true",
                "dn2 dn2 false",
                "dn2 dn2 false",
            ]
        );
        let SessionKey::OnDemand { database, role, statement } = &*links[3].session else {
            return Err("not on demand".into());
        };
        assert_eq!((database.as_str(), role.as_str()), ("weather", "r"));
        assert_eq!(
            statement,
            "CALL \"Ts\".distributed_exec('SELECT 1', ARRAY['dn1']::pg_catalog.name[], false)"
        );
        let cluster = Cluster::new(&spec, &states, &links);
        let demand = Timescale.demand(&cluster, &states[0])?;
        let grants: Vec<String> = demand
            .statements
            .iter()
            .map(|it| format!("{}: {}", it.database.as_deref().unwrap_or_default(), it.statement))
            .collect();
        assert_eq!(
            grants,
            [
                "metrics: GRANT USAGE ON FOREIGN SERVER \"dn1\" TO \"r\"",
                "weather: GRANT USAGE ON FOREIGN SERVER \"dn1\" TO \"r\"",
            ]
        );
        Ok(())
    }

    /// Each has another data directory.
    #[test]
    fn data_nodes_have_what_the_access_node_has_where_that_has_it() -> Outcome {
        let mut spec = spec(&[("dn1", "10.0.0.2")])?;
        let states = [sample::node(b"", &[]), {
            let mut data = sample::node(b"", &[]);
            data.name = "dn1".to_owned();
            data
        }];
        assert!(Timescale.paths_of_others(&spec, &states).is_empty());
        spec.timescale.as_mut().ok_or("none")?.copy_chunk = true;
        let paths = Timescale.paths_of_others(&spec, &states);
        assert_eq!(paths.keys().collect::<Vec<_>>(), ["dn1"]);
        let cluster = Cluster::new(&spec, &states, &[]);
        for client in Timescale.demand(&cluster, &states[1])?.clients {
            for path in [client.pair.certificate, client.pair.key] {
                assert!(path.is_absolute() && paths["dn1"].contains(&path), "{}", path.display());
            }
        }
        assert!(paths["dn1"].contains(&PathBuf::from("/d/passfile")));
        Ok(())
    }

    #[test]
    fn a_data_node_is_the_one_that_the_access_node_connects_to() -> Outcome {
        let spec = spec(&[("dn1", "10.0.0.2"), ("dn2", "10.0.0.3")])?;
        let mut access = sample::node(b"", &[]);
        let options = "host=shard.example.com hostaddr=10.0.0.3 dbname=metrics";
        access.foreign_servers = vec![server("shard", "metrics", options)?];
        let links = Timescale.links(&spec, &[access])?;
        let to: Vec<String> =
            links.iter().map(|link| format!("{} {}", link.name, link.to)).collect();
        assert_eq!(to, ["dn1 dn1", "dn1 dn1", "shard dn2", "shard dn2"]);
        Ok(())
    }

    #[test]
    fn a_data_node_that_is_not_described_is_refused() -> Outcome {
        let spec = spec(&[("dn1", "10.0.0.2")])?;
        let mut access = sample::node(b"", &[]);
        access.foreign_servers = vec![server("dn7", "metrics", "host=10.0.0.7 dbname=metrics")?];
        let refused = Timescale.links(&spec, &[access]).err().map(|error| error.to_string());
        assert!(
            refused.as_ref().is_some_and(|it| it.starts_with("the data node dn7 of the database")),
            "{refused:?}"
        );
        Ok(())
    }
}
