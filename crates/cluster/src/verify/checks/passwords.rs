//! Password files, as the libpq of each node reads them, and what the servers store.

use std::path::PathBuf;

use passfile::{FileStatus, Key, Libpq, PassFile};

use crate::{
    conninfo::ConnInfo,
    demand::Demand,
    inspect::NodeState,
    topology::{Cluster, Demands, Link, Topology},
    verify::{code::Code, finding::Finding},
};

/// The roles of a node, and their stored secrets.
pub(super) fn check_stored(state: &NodeState, demand: &Demand, findings: &mut Vec<Finding>) {
    let mut find = |code, what: String| findings.push(Finding::error(code, &state.name, what));
    for wanted in &demand.roles {
        let Some(role) = state.role(&wanted.name) else {
            find(Code::RoleUnfit, format!("there is no role {}", wanted.name));
            continue;
        };
        if wanted.login && !role.can_login {
            find(Code::RoleUnfit, format!("the role {} may not log in", role.name));
        }
        if wanted.replication && !role.replication && !role.superuser {
            find(Code::RoleUnfit, format!("the role {} may not replicate", role.name));
        }
        if wanted.password {
            let stored = role.stored_password.as_ref();
            let secret =
                stored.and_then(|text| scram::Secret::parse(text.as_bytes(), state.version).ok());
            if secret.is_none() {
                let what = if stored.is_some() { "no SCRAM secret" } else { "no password" };
                find(Code::NoScramSecret, format!("the role {} has {what}", role.name));
            }
        }
    }
}

/// The password file with which a link logs in.
pub(super) fn check_file(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    demands: &Demands,
    link: &Link,
    wanted: &ConnInfo,
    findings: &mut Vec<Finding>,
) {
    let (Some(from), Ok(to)) = (cluster.state(&link.from), cluster.node(&link.to)) else { return };
    let Some(path) = demands.get(&link.from).and_then(|demand| demand.passfile.as_ref()) else {
        return;
    };
    let path = from.in_data_directory(path);
    let find =
        |code, what: String| Finding::error(code, &link.from, what).of_link(&link.from, &link.to);
    let Some(file) = from.file(&path) else {
        findings.push(match elsewhere(from, &path) {
            Some(other) => find(
                Code::PassfileElsewhere,
                format!(
                    "{} is not there, and this libpq does not look at {}",
                    path.display(),
                    other.display()
                ),
            ),
            None => find(Code::PassfileMissing, format!("{} is not there", path.display())),
        });
        return;
    };
    let readable = if file.access.uid == from.owner.uid {
        file.access.mode & 0o400 != 0
    } else {
        file.access.mode & 0o044 != 0
    };
    if let Err(refusal) = FileStatus::plain(file.access.mode).check() {
        findings.push(find(Code::PassfileIgnored, refusal.warning(&path)));
        return;
    }
    if !readable {
        findings.push(find(
            Code::PassfileIgnored,
            format!("{} cannot be read by the server's user", path.display()),
        ));
        return;
    }
    let Ok(parsed) = PassFile::parse(file.bytes.to_vec()) else { return };
    let role = wanted.get("user").unwrap_or(&cluster.spec.link_role);
    let host = wanted.get("host").or(wanted.get("hostaddr")).unwrap_or(to.host());
    let port = to.port.to_string();
    let mut key = Key::new(role).host(host).port(port.as_str());
    if let Some(database) = wanted.get("dbname") {
        key = key.dbname(database);
    }
    let Some(found) = parsed.lookup(&key, &Libpq::new(from.version)) else {
        findings.push(find(
            Code::PasswordMissing,
            format!("{} has no password for {role} on {host}:{port}", path.display()),
        ));
        return;
    };
    let realm = cluster.state(&link.to).map(|state| topology.realm(cluster, state));
    let stores = |state: &&NodeState| {
        Some(topology.realm(cluster, state)) == realm
            && demands.get(&state.name).is_some_and(|demand| demand.wants_password(role))
    };
    let password = scram::Password::new(found.password().expose());
    for state in cluster.states.iter().filter(stores).filter(|state| state.name == link.to) {
        let stored = state.role(role).and_then(|role| role.stored_password.as_ref());
        let secret =
            stored.and_then(|text| scram::Secret::parse(text.as_bytes(), state.version).ok());
        let Some(secret) = secret else { continue };
        if secret.verify(&password, &scram::Limits::default()) != Ok(true) {
            findings.push(find(
                Code::PasswordMissing,
                format!(
                    "line {} of {} decides for {role} on {host}:{port}, and its password is not the \
                     one that node {} stores",
                    found.line(),
                    path.display(),
                    state.name
                ),
            ));
        }
    }
}

/// A password file in the other home folder.
fn elsewhere(state: &NodeState, path: &PathBuf) -> Option<PathBuf> {
    let homes = [&state.homes.environment, &state.homes.account];
    homes
        .into_iter()
        .flatten()
        .map(|home| home.join(".pgpass"))
        .find(|other| other != path && state.file(other).is_some())
}
