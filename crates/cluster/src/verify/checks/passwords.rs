//! Password files, as the libpq of each node reads them, and what the servers store.

use std::path::PathBuf;

use passfile::{FileStatus, Key, Libpq, PassFile};

use super::elsewhere;
use crate::{
    conninfo::ConnInfo,
    demand::Demand,
    inspect::{NodeState, Role},
    spec::NodeSpec,
    topology::{self, Cluster, Demands, Link, nodes_named},
    verify::{Context, code::Code, finding::Finding},
};

pub(super) fn stored_secret(state: &NodeState, role: &Role) -> Option<scram::Secret> {
    let stored = role.stored_password.as_ref()?;
    scram::Secret::parse(stored.as_bytes(), state.version).ok()
}

/// What user mappings say of who a TimescaleDB access node is on its data nodes.
pub(super) fn check_mappings(state: &NodeState, findings: &mut Vec<Finding>) {
    for server in state.foreign_servers.iter().filter(|s| s.wrapper == "timescaledb_fdw") {
        for (user, options) in &server.mappings {
            // Whoever a role is there by itself, a mapping that says so changes nothing.
            let is_itself =
                |option: &str| option == "user" && options.get("user") == user.as_deref();
            let named: Vec<&str> = ["user", "password"]
                .into_iter()
                .filter(|option| options.get(option).is_some() && !is_itself(option))
                .collect();
            if !named.is_empty() {
                let what = format!(
                    "the user mapping for {} on server {} has options {}: they win over certificate \
                     and password file",
                    user.as_deref().unwrap_or("PUBLIC"),
                    server.name,
                    named.join(", ")
                );
                findings.push(Finding::error(Code::PasswordInCatalogue, &state.name, what));
            }
        }
    }
}

/// The password file with which a link logs in.
pub(super) fn check_file(
    cluster: &Cluster<'_>,
    demands: &Demands,
    link: &Link,
    wanted: &ConnInfo,
    findings: &mut Vec<Finding>,
) {
    let others = nodes_named(cluster.spec, wanted).filter(|to| link.to != *to.name);
    for to in cluster.node(&link.to).ok().into_iter().chain(others) {
        check_login(cluster, demands, (link, wanted), to, findings);
    }
}

/// The password with which a link logs in to one of its nodes.
fn check_login(
    cluster: &Cluster<'_>,
    demands: &Demands,
    (link, wanted): (&Link, &ConnInfo),
    to: &NodeSpec,
    findings: &mut Vec<Finding>,
) {
    let Some(from) = cluster.state(&link.from) else { return };
    let Some(lookup) = Lookup::new(from, demands.get(&*link.from), wanted, to, cluster) else {
        return;
    };
    let mut find = |(code, what): (Code, String)| {
        let finding = Finding::error(code, &link.from, what);
        findings.push(finding.of_link(&link.from, &link.to));
    };
    let path = lookup.path.display();
    let Lookup { role, host, port, .. } = &lookup;
    let found = match lookup.find() {
        Ok(found) => found,
        Err(problem) => return find(problem),
    };
    let Some(state) = cluster.state(&to.name) else { return };
    let asks = demands.get(&state.name).is_some_and(|demand| demand.wants_password(role));
    let Some(secret) = state.role(role).and_then(|role| stored_secret(state, role)) else { return };
    if !asks || secret.verify(&found.password, &scram::Limits::default()) == Ok(true) {
        return;
    }
    let doubts: Vec<String> = found.doubts.iter().map(|doubt| format!("; {doubt}")).collect();
    find((
        Code::PasswordMissing,
        format!(
            "line {} of {path} decides for {role} on {host}:{port}, and its password is not the one \
             that node {} stores{}",
            found.line,
            state.name,
            doubts.concat()
        ),
    ));
}

/// The password that some link logs in to a node with, if a password file has it.
pub(in crate::verify) fn link_password(
    context: &Context,
    to: &str,
    role: &str,
) -> Option<scram::Password> {
    let cluster = Cluster::new(&context.spec, &context.states, &[]);
    context.links_to(to).filter(|(link, _)| link.from != to).find_map(|(link, wanted)| {
        let (from, demand) = (context.state(&link.from)?, context.demand(&link.from));
        let lookup = Lookup::new(from, demand, wanted, cluster.node(to).ok()?, &cluster)?;
        (lookup.role == role).then(|| lookup.find().ok())?.map(|found| found.password)
    })
}

/// What a link's libpq looks for, and where.
struct Lookup<'a> {
    from: &'a NodeState,
    path: PathBuf,
    role: &'a str,
    host: &'a str,
    port: String,
    database: Option<&'a str>,
}

/// What it finds.
struct Found {
    line: usize,
    password: scram::Password,
    /// What is likely not meant as libpq takes it.
    doubts: Vec<String>,
}

impl<'a> Lookup<'a> {
    /// `None` for a link that has no password file.
    fn new(
        from: &'a NodeState,
        demand: Option<&Demand>,
        wanted: &'a ConnInfo,
        to: &'a NodeSpec,
        cluster: &Cluster<'a>,
    ) -> Option<Self> {
        let host = topology::host_of(cluster.spec, wanted, to);
        Some(Self {
            from,
            path: from.in_data_directory(demand?.passfile.as_ref()?),
            role: wanted.get("user").unwrap_or(&cluster.spec.link_role),
            host: host.name.or(host.address).unwrap_or(to.host()),
            port: host.port.to_string(),
            database: wanted.get("dbname"),
        })
    }

    fn find(&self) -> Result<Found, (Code, String)> {
        let path = self.path.display();
        let Some(file) = self.from.file(&self.path) else {
            return Err(match elsewhere(self.from, &self.path) {
                Some(other) => (
                    Code::PassfileElsewhere,
                    format!(
                        "{path} is not there, and this libpq does not look at {}",
                        other.display()
                    ),
                ),
                None => (Code::PassfileMissing, format!("{path} is not there")),
            });
        };
        if let Err(refusal) = FileStatus::plain(file.access.mode).check() {
            return Err((Code::PassfileIgnored, format!("{path} {refusal}")));
        }
        if !self.from.can_read(&self.path, file) {
            let what = format!("{path} cannot be read by the server's user");
            return Err((Code::PassfileIgnored, what));
        }
        let too_large =
            |error: passfile::TooLarge| (Code::PassfileIgnored, format!("{path}: {error}"));
        let parsed = PassFile::parse(file.bytes.to_vec()).map_err(too_large)?;
        let Self { role, host, port, .. } = self;
        let mut key = Key::new(*role).host(*host).port(port.as_str());
        if let Some(database) = self.database {
            key = key.dbname(database);
        }
        let libpq = Libpq::new(self.from.version);
        let Some(found) = parsed.lookup(&key, &libpq) else {
            let what = format!("{path} has no password for {role} on {host}:{port}");
            return Err((Code::PasswordMissing, what));
        };
        let line = found.line();
        let doubts = parsed.lint(&libpq, None).into_iter().filter(|doubt| {
            doubt.line == Some(line) && doubt.lint.severity() == passfile::Severity::Error
        });
        Ok(Found {
            line,
            password: scram::Password::new(found.password().expose()),
            doubts: doubts.map(|doubt| doubt.lint.to_string()).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::{ForeignServer, sample};

    #[test]
    fn a_mapping_to_the_role_itself_is_nothing_to_be_told() -> Result<(), Box<dyn std::error::Error>>
    {
        let mut node = sample::node(b"", &[]);
        for (whose, options, told) in [
            (Some("repl"), "user=repl", ""),
            (Some("repl"), "user=postgres", "has options user:"),
            (None, "user=repl", "has options user:"),
            (Some("repl"), "user=repl password=hunter2", "has options password:"),
        ] {
            node.foreign_servers = vec![ForeignServer {
                name: "dn1".to_owned(),
                wrapper: "timescaledb_fdw".to_owned(),
                database: "tsdb".to_owned(),
                options: ConnInfo::default(),
                mappings: vec![(whose.map(str::to_owned), options.parse()?)],
                usable_by: Vec::new(),
                tables: Vec::new(),
                distributed_exec: None,
            }];
            let mut findings = Vec::new();
            check_mappings(&node, &mut findings);
            let said = findings.iter().map(|found| found.what.as_str()).collect::<String>();
            assert_eq!(findings.len(), usize::from(!told.is_empty()), "{options}: {said}");
            assert!(said.contains(told) && !said.contains("hunter2"), "{said}");
        }
        Ok(())
    }

    #[test]
    fn a_password_file_is_looked_for_where_libpq_does() {
        let mut node = sample::node(b"", &[]);
        let find = |node: &NodeState| {
            let lookup = Lookup {
                from: node,
                path: "/home/own/.pgpass".into(),
                role: "repl",
                host: "other",
                port: "5432".to_owned(),
                database: Some("app"),
            };
            lookup.find().map(|found| found.line)
        };
        sample::put(&mut node, "/home/own/.pgpass", None);
        let expected = "/home/own/.pgpass is not there".to_owned();
        assert_eq!(find(&node), Err((Code::PassfileMissing, expected)));

        // What the account's home has, libpq 15 and newer do not look at where HOME is another.
        sample::put(&mut node, "/var/lib/pg/.pgpass", Some(sample::file(b"*:*:*:*:x\n")));
        let expected =
            "/home/own/.pgpass is not there, and this libpq does not look at /var/lib/pg/.pgpass";
        assert_eq!(find(&node), Err((Code::PassfileElsewhere, expected.to_owned())));

        let lines = b"# mine\nother:5432:app:repl:x\n*:*:*:*:y\n";
        sample::put(&mut node, "/home/own/.pgpass", Some(sample::file(lines)));
        assert_eq!(find(&node), Ok(2));
    }
}
