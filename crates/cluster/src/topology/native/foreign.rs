//! `postgres_fdw`: each user mapping is a link, used when somebody reads a foreign table.
//!
//! Options of the server hold where to, options of the mapping who. Certificates belong to the mapping
//! (from major 13 on; 12 knows them for the server only). Whoever is no superuser may use a server's
//! own certificate or password file only where a superuser has set `password_required 'false'` on the
//! mapping (13 and later; documentation, "postgres_fdw", "User Mapping Options").

use std::collections::HashMap;

use pg_version::PgVersion;
use postgres_protocol::escape::escape_identifier;

use super::{
    elsewhere::{Stray, What},
    several,
};
use crate::{
    conninfo::{ConnInfo, is_secret},
    error::Error,
    inspect::{ForeignServer, NodeState},
    plan::{Statement, links::option_as_found},
    spec::{ClusterSpec, Directory, Mode},
    sql::literal,
    text::Text,
    topology::{Cluster, Dsn, ForeignPlace, Link, LinkPlace, SessionKey, Switch},
};

/// The options that a mapping has, and a server never: which of both holds a parameter.
const OF_MAPPING: [&str; 8] = [
    "user",
    "password",
    "sslpassword",
    "sslcert",
    "sslkey",
    "password_required",
    "scram_client_key",
    "scram_server_key",
];

pub(super) fn links<'a>(
    spec: &ClusterSpec,
    directory: &Directory<'_>,
    states: &[NodeState],
    node: &'a NodeState,
    strays: &mut Vec<Stray<'a>>,
) -> Result<Vec<Link>, Error> {
    let mut links = Vec::new();
    for server in node.foreign_servers.iter().filter(|server| server.wrapper == "postgres_fdw") {
        // Whom a session is with cannot be told before there is one: not where chance takes the host.
        let of_several = || {
            let by_chance = server.options.get("load_balance_hosts").unwrap_or("disable");
            let target = || several::target(directory, states, node, &server.options, |_| false);
            (by_chance == "disable").then(target).flatten()
        };
        let Some(to) = directory.reached_from(&node.name, &server.options).or_else(of_several)
        else {
            let what = What::ForeignServer { name: &server.name, database: &server.database };
            strays.push(Stray { node, what, conninfo: &server.options });
            continue;
        };
        let mut first = true;
        for (local, options) in &server.mappings {
            let conninfo = merged(server, options);
            let whose = local.as_deref().unwrap_or("PUBLIC");
            let is_link_role =
                options.get("user").is_some_and(|user| spec.link_roles().any(|role| role == user));
            if passes_keys_through(&conninfo) {
                if !is_link_role {
                    continue;
                }
                return Err(Error::plan(format!(
                    "the user mapping for {whose} on server {} of node {} logs in as a role of the links, \
                     with the password of whoever uses it (use_scram_passthrough), and a link has one of \
                     its own: take that role out of the description, or drop the option",
                    server.name, node.name
                )));
            }
            let Some(remote) = options.get("user") else {
                return Err(Error::plan(format!(
                    "the user mapping for {whose} on server {} of node {} names no user, so it logs in \
                     as the operating system's user of the server: ALTER USER MAPPING … OPTIONS (ADD \
                     user '…')",
                    server.name, node.name
                )));
            };
            let remote = remote.to_owned();
            if !is_link_role {
                return Err(Error::plan(format!(
                    "the user mapping for {whose} on server {} of node {} logs in as \"{remote}\", \
                     which is no role of the description: add it to roles, or drop the mapping",
                    server.name, node.name
                )));
            }
            let superuser = local
                .as_deref()
                .is_some_and(|local| node.role(local).is_some_and(|role| role.superuser));
            links.push(Link {
                from: (&node.name).into(),
                to: (&to.name).into(),
                name: format!("{} for {whose}", server.name).into(),
                place: LinkPlace::ForeignServer(ForeignPlace {
                    database: server.database.clone(),
                    server: server.name.clone(),
                    local: local.clone(),
                    first: std::mem::take(&mut first),
                    mapping_options: names(options),
                    // Superusers may anyway; PUBLIC may be anybody.
                    without_password: !superuser && node.version >= PgVersion::V13,
                    by_server: node.version < PgVersion::V13,
                })
                .into(),
                conninfo: conninfo.into(),
                session: session(node, server, local.as_deref()).into(),
                enabled: true,
            });
        }
    }
    Ok(links)
}

/// What 12 cannot do: there certificates are the server's, for whoever uses it, and a mapping that does
/// without a password is for superusers only.
///
/// # Errors
/// [`Error::Plan`] for a mapping that would not work any more.
pub(super) fn check<'a>(
    spec: &ClusterSpec,
    node: &NodeState,
    links: impl Iterator<Item = &'a Link>,
) -> Result<(), Error> {
    if node.version >= PgVersion::V13 {
        return Ok(());
    }
    let mut roles: HashMap<(&str, &str), &str> = HashMap::new();
    for link in links {
        let LinkPlace::ForeignServer(place) = &*link.place else { continue };
        let ForeignPlace { database, server, local, .. } = place;
        let whose = local.as_deref().unwrap_or("PUBLIC");
        let superuser = local
            .as_deref()
            .is_some_and(|local| node.role(local).is_some_and(|role| role.superuser));
        if !superuser && (local.is_some() || link.conninfo.get("password").is_some()) {
            return Err(Error::plan(format!(
                "on PostgreSQL 12 only superusers may use a mapping that has no password of its own, and \
                 it shall have none: drop the user mapping for {whose} on server {server} of the \
                 database {database}, or upgrade"
            )));
        }
        let role = spec.role_of(link.user());
        let other = *roles.entry((database, server)).or_insert(role);
        if spec.mode == Mode::Cert && other != role {
            return Err(Error::plan(format!(
                "on PostgreSQL 12 a certificate is the server's, and server {server} of the database \
                 {database} has mappings for two roles, {other} and {role}: make a server for each"
            )));
        }
    }
    Ok(())
}

fn names(options: &ConnInfo) -> Vec<String> {
    options.iter().map(|(name, _)| name.to_owned()).collect()
}

/// How the link is used to look at it: by a foreign table that a role of the mapping may read, else by
/// asking for a schema that is not there.
fn session(node: &NodeState, server: &ForeignServer, local: Option<&str>) -> SessionKey {
    let is_mapped =
        |role: &str| server.mappings.iter().any(|(local, _)| local.as_deref() == Some(role));
    let is_user = |role: &str| match local {
        Some(local) => role == local,
        None => !is_mapped(role),
    };
    let database = server.database.clone();
    if let Some((role, table)) = server.tables.iter().find(|(reader, _)| is_user(reader)) {
        // The scan begins, and connects, before it is found that no row is wanted.
        let statement = format!("SELECT FROM {table} LIMIT 0");
        return SessionKey::OnDemand { database, role: role.clone(), statement };
    }
    let superuser = |role: &str| node.role(role).is_some_and(|role| role.superuser);
    let own = Some(node.admin.user.as_str()).filter(|own| is_user(own));
    let superusers = || node.roles.iter().filter(|role| role.superuser).map(|role| &*role.name);
    let Some(role) = local.or(own).or_else(|| superusers().find(|role| is_user(role))) else {
        return SessionKey::None;
    };
    // Nothing is made there: what is not found ends the transaction.
    let schema = if superuser(role) { "pg_catalog" } else { "pg_temp" };
    let statement = format!(
        "IMPORT FOREIGN SCHEMA \"pgward: none\" FROM SERVER {} INTO {schema}",
        escape_identifier(&server.name)
    );
    SessionKey::OnDemand { database, role: role.to_owned(), statement }
}

/// Whether a mapping logs in with the keys of whoever uses it (18 and later): it has no login of its own
/// that could be secured.
fn passes_keys_through(conninfo: &ConnInfo) -> bool {
    let value = conninfo.get("use_scram_passthrough").unwrap_or_default().to_ascii_lowercase();
    // As `parse_bool` takes what is not ambiguous.
    !value.is_empty()
        && (value == "on" || ["true", "yes", "1"].iter().any(|word| word.starts_with(&value)))
}

/// What an administrator must know of what logs in to nodes by ways that are no links.
pub(super) fn notes(cluster: &Cluster<'_>, node: &NodeState) -> Vec<String> {
    let spec = cluster.spec;
    let mut notes = Vec::new();
    // A thousand nodes without such servers need no directory each.
    if node.foreign_servers.is_empty() {
        return notes;
    }
    let directory = Directory::new(spec);
    for server in &node.foreign_servers {
        let Some(to) = directory.reached_from(&node.name, &server.options) else {
            continue;
        };
        let ForeignServer { name, database, .. } = server;
        for (local, options) in &server.mappings {
            let whose = local.as_deref().unwrap_or("PUBLIC");
            let user =
                options.get("user").filter(|user| spec.link_roles().any(|role| role == *user));
            match (server.wrapper.as_str(), user) {
                ("dblink_fdw", Some(user)) => notes.push(format!(
                    "the foreign server {name} of the database {database} is dblink's, which pgward does \
                     not secure, and logs in to {} as {user} like the links: from then on it is let in as \
                     they are, and by nothing else. Give the mapping for {whose} another user",
                    to.name
                )),
                ("postgres_fdw", _) if passes_keys_through(&merged(server, options)) => {
                    notes.push(format!(
                        "the foreign server {name} of the database {database} passes the password of \
                         whoever uses it on to {} (use_scram_passthrough, the mapping for {whose}): that is \
                         no link of the cluster, and stays as it is",
                        to.name
                    ));
                }
                _ => {}
            }
        }
    }
    notes
}

/// The options of a server and of a mapping, as one connection string.
fn merged(server: &ForeignServer, mapping: &ConnInfo) -> ConnInfo {
    let mut conninfo = server.options.clone();
    for (name, value) in mapping.iter() {
        conninfo.set(name, value);
    }
    conninfo
}

/// The options as they shall be.
pub(super) fn secured(place: &ForeignPlace, mut conninfo: ConnInfo) -> ConnInfo {
    if place.without_password {
        conninfo.set("password_required", "false");
    }
    // As it will be read back: the server's options, then the mapping's.
    let mut ordered = ConnInfo::default();
    for mine in [false, true] {
        for (name, value) in conninfo.iter().filter(|(name, _)| of_mapping(place, name) == mine) {
            ordered.set(name, value);
        }
    }
    ordered
}

/// Whether an option is the mapping's, not the server's.
fn of_mapping(place: &ForeignPlace, name: &str) -> bool {
    OF_MAPPING.contains(&name) && !(place.by_server && name.starts_with("ssl"))
}

impl ForeignPlace {
    /// What of a link's connection string are options of its server, which its mappings share.
    pub(crate) fn of_server(&self, conninfo: &ConnInfo) -> ConnInfo {
        let mut options = ConnInfo::default();
        for (name, value) in conninfo.iter().filter(|(name, _)| !of_mapping(self, name)) {
            options.set(name, value);
        }
        options
    }
}

/// Both statements. Done twice, they change nothing the second time: each looks first.
pub(super) fn switch(link: &Link, place: &ForeignPlace, dsn: Dsn<'_>) -> Switch {
    let database = Some(Text::from(&place.database));
    let server = escape_identifier(&place.server);
    let user = place.local.as_deref().map_or_else(|| "PUBLIC".to_owned(), escape_identifier);
    let mapping = format!("ALTER USER MAPPING FOR {user} SERVER {server}");
    let wanted = match dsn {
        Dsn::Plain(conninfo, _) => conninfo.clone(),
        // What goes back to what was found: the secret itself comes last.
        Dsn::Secret(_) => (*link.conninfo).clone(),
    };
    let mut statements = Vec::new();
    let part = |mine: bool| -> Vec<(String, String)> {
        wanted
            .iter()
            .filter(|(name, _)| of_mapping(place, name) == mine && !is_secret(name))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect()
    };
    let alter = format!("ALTER SERVER {server}");
    if place.first {
        let catalog = format!(
            "SELECT srvoptions FROM pg_catalog.pg_foreign_server WHERE srvname = {}",
            literal(&place.server)
        );
        statements.push((database.clone(), alter_options(&alter, &catalog, &part(false))));
    }
    let umuser = place.local.as_deref().map_or_else(
        || "0".to_owned(),
        |local| format!("(SELECT oid FROM pg_catalog.pg_roles WHERE rolname = {})", literal(local)),
    );
    let catalog = format!(
        "SELECT m.umoptions FROM pg_catalog.pg_user_mapping m JOIN pg_catalog.pg_foreign_server s \
         ON s.oid = m.umserver WHERE s.srvname = {} AND m.umuser = {umuser}",
        literal(&place.server)
    );
    statements.push((database.clone(), alter_options(&mapping, &catalog, &part(true))));
    if let Dsn::Secret(_) = dsn {
        for (name, _) in link.conninfo.iter().filter(|(name, _)| is_secret(name)) {
            let owner = match place.mapping_options.iter().any(|option| option == name) {
                true => &mapping,
                false if place.first => &alter,
                false => continue,
            };
            let secret = option_as_found(link, name);
            let add = format!("{owner} OPTIONS (ADD {}", escape_identifier(name));
            statements.push((database.clone(), Statement::with_secret(add, secret).then(")")));
        }
    }
    Switch { statements: statements.into(), reload: false }
}

/// A statement that makes a server's or mapping's options these, whatever they are: each is added,
/// set or dropped as it must be.
fn alter_options(alter: &str, catalog: &str, wanted: &[(String, String)]) -> Statement {
    // In their order, so that what is read back is what was written.
    let pair = |(place, (n, v)): (usize, &(String, String))| {
        format!("({place}, {}, {})", literal(n), literal(v))
    };
    let pairs: Vec<String> = wanted.iter().enumerate().map(pair).collect();
    let pairs = if pairs.is_empty() {
        "SELECT 0 AS p, NULL::text AS n, NULL::text AS v WHERE false".to_owned()
    } else {
        format!("SELECT * FROM (VALUES {}) w(p, n, v)", pairs.join(", "))
    };
    let body = format!(
        "DECLARE changes text; BEGIN \
         WITH w AS ({pairs}), \
         o AS (SELECT split_part(x, '=', 1) AS n, substr(x, strpos(x, '=') + 1) AS v \
               FROM unnest(({catalog})) x) \
         SELECT string_agg(c, ', ' ORDER BY p) INTO changes FROM ( \
           SELECT w.p, CASE WHEN w.n IS NULL THEN format('DROP %I', o.n) \
                       WHEN o.n IS NULL THEN format('ADD %I %L', w.n, w.v) \
                       WHEN w.v <> o.v THEN format('SET %I %L', w.n, w.v) END AS c \
           FROM w FULL JOIN o USING (n)) d WHERE c IS NOT NULL; \
         IF changes IS NOT NULL THEN EXECUTE {} || ' OPTIONS (' || changes || ')'; END IF; END",
        literal(alter)
    );
    let options: Vec<String> = wanted.iter().map(|(n, v)| format!("{n} {}", literal(v))).collect();
    let shown = format!("{alter} so that its options are ({})", options.join(", "));
    Statement::new(format!("DO {}", literal(&body))).shown_as(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        inspect::sample,
        topology::{Native, Topology as _},
    };

    fn link(database: &str) -> Result<(Link, ForeignPlace), Box<dyn std::error::Error>> {
        let place = ForeignPlace {
            database: database.to_owned(),
            server: "other".to_owned(),
            local: None,
            first: true,
            mapping_options: vec!["user".to_owned(), "password".to_owned()],
            without_password: false,
            by_server: false,
        };
        let link = Link {
            from: "one".into(),
            to: "two".into(),
            name: "other for PUBLIC".into(),
            place: LinkPlace::ForeignServer(place.clone()).into(),
            conninfo: "host=h oauth_client_secret=hunter2 user=u password=hunter3"
                .parse::<ConnInfo>()?
                .into(),
            session: SessionKey::None.into(),
            enabled: true,
        };
        Ok((link, place))
    }

    /// What logs in to a node beside the links: what is told of it, and how many links there are.
    #[test]
    fn what_is_no_link_is_left_and_told() -> Result<(), Box<dyn std::error::Error>> {
        let spec = sample::spec(
            "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"",
            &[("n", "10.0.0.1", 5432), ("m", "10.0.0.2", 5432)],
        )?;
        let found = |wrapper: &str, options: &str, mapping: &str| {
            let mut node = sample::node(b"", &[]);
            node.foreign_servers = vec![ForeignServer {
                name: "f".to_owned(),
                wrapper: wrapper.to_owned(),
                database: "app".to_owned(),
                options: options.parse()?,
                mappings: vec![(None, mapping.parse()?)],
                usable_by: Vec::new(),
                distributed_exec: None,
                tables: Vec::new(),
            }];
            let mut other = sample::node(b"", &[]);
            other.name = "m".to_owned();
            let states = [node, other];
            let links = Native.links(&spec, &states).map_err(|error| error.to_string());
            let count = links.as_ref().map(Vec::len).map_err(Clone::clone);
            let links = links.unwrap_or_default();
            let told = notes(&Cluster::new(&spec, &states, &links), &states[0]).concat();
            Ok::<_, Box<dyn std::error::Error>>((count, told))
        };
        for (wrapper, options, mapping, links, words) in [
            ("postgres_fdw", "host=m", "user=repl", 1, ""),
            ("postgres_fdw", "host=m use_scram_passthrough=false", "user=repl", 1, ""),
            (
                "postgres_fdw",
                "host=m",
                "user=app use_scram_passthrough=on",
                0,
                "passes the password",
            ),
            (
                "postgres_fdw",
                "host=m use_scram_passthrough=true",
                "user=app",
                0,
                "the mapping for PUBLIC",
            ),
            ("dblink_fdw", "host=m", "user=app", 0, ""),
            ("dblink_fdw", "host=m", "user=repl", 0, "logs in to m as repl like the links"),
            ("dblink_fdw", "host=legacy", "user=repl", 0, ""),
        ] {
            let (count, told) = found(wrapper, options, mapping)?;
            assert_eq!(count, Ok(links), "{wrapper} {options} {mapping}");
            assert!(told.contains(words) && told.is_empty() == words.is_empty(), "{told}");
        }
        let (refused, _) = found("postgres_fdw", "host=m use_scram_passthrough=t", "user=repl")?;
        assert!(refused.is_err_and(|told| told.contains("a link has one of its own")));
        Ok(())
    }

    /// Every database may have a server of the same name, with another password.
    #[test]
    fn a_secret_is_that_of_its_database() -> Result<(), Box<dyn std::error::Error>> {
        let mut names = std::collections::BTreeSet::new();
        for database in ["app", "reports"] {
            let (link, place) = link(database)?;
            let Switch { statements, .. } = switch(&link, &place, Dsn::Secret("as found"));
            let secrets = statements.iter().filter_map(|(_, statement)| statement.secret());
            names.extend(secrets.map(str::to_owned));
        }
        assert_eq!(names.len(), 4, "{names:?}");
        Ok(())
    }

    #[test]
    fn what_12_cannot_do_is_refused() -> Result<(), Box<dyn std::error::Error>> {
        let text = "topology = \"native\"\nmode = \"cert\"\nlink-role = \"u\"\nroles = [\"v\"]\n\
            secrets = \"s\"\n[[nodes]]\nname = \"n\"\naddress = \"10.0.0.1\"\n\
            peers-from = [\"10.0.0.0/8\"]\nsql = \"host=h\"\n";
        let spec = ClusterSpec::from_toml(text, "/".as_ref())?;
        let mut node = crate::inspect::sample::node(b"", &[]);
        let mapping =
            |local: Option<&str>, conninfo: &str| -> Result<Link, Box<dyn std::error::Error>> {
                let (mut link, mut place) = link("app")?;
                place.local = local.map(str::to_owned);
                link.place = LinkPlace::ForeignServer(place).into();
                link.conninfo = conninfo.parse::<ConnInfo>()?.into();
                Ok(link)
            };
        let superusers = mapping(Some("postgres"), "user=u password=p")?;
        let everybodys = mapping(None, "user=u")?;
        for (version, second, refused) in [
            (PgVersion::V12, &everybodys, None),
            (PgVersion::V12, &mapping(None, "user=u password=p")?, Some("only superusers")),
            (PgVersion::V12, &mapping(Some("repl"), "user=u")?, Some("only superusers")),
            (PgVersion::V12, &mapping(None, "user=v")?, Some("two roles, u and v")),
            (PgVersion::V13, &mapping(Some("repl"), "user=v password=p")?, None),
        ] {
            node.version = version;
            let told = check(&spec, &node, [&superusers, second].into_iter()).err();
            let told = told.map(|error| error.to_string());
            assert_eq!(told.is_some(), refused.is_some(), "{told:?}");
            assert!(told.unwrap_or_default().contains(refused.unwrap_or_default()));
        }
        Ok(())
    }

    /// Which of them belongs to the mapping differs between minor versions of 18.
    #[test]
    fn no_statement_has_a_secret_option() -> Result<(), Box<dyn std::error::Error>> {
        let (link, place) = link("app")?;
        let statements = switch(&link, &place, Dsn::Secret("as found")).statements;
        let text = serde_json::to_string(&statements)?;
        assert!(!text.contains("hunter"), "{text}");
        let put_back: Vec<String> =
            statements.iter().skip(2).map(|(_, statement)| statement.to_string()).collect();
        assert_eq!(
            put_back,
            [
                "ALTER SERVER \"other\" OPTIONS (ADD \"oauth_client_secret\" '********')",
                "ALTER USER MAPPING FOR PUBLIC SERVER \"other\" OPTIONS (ADD \"password\" \
                 '********')",
            ]
        );
        Ok(())
    }
}
