//! What the files, settings, rules and roles of the nodes say by themselves, whatever the sessions
//! look like now: each difference from what the topology asks, and what silently does not work.

mod beneath;
mod certificates;
mod passwords;
mod revocation;
mod roles;
mod rules;
mod settings;

use std::{
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use time::OffsetDateTime;

#[cfg(feature = "report")]
pub(crate) use self::certificates::WARN_DAYS;
pub(super) use self::{
    beneath::otherwise,
    passwords::link_password,
    rules::{Login, link_addresses, logins},
};
use super::{LinksTo, code::Code, finding::Finding};
use crate::{
    authority,
    conninfo::{ConnInfo, is_secret},
    inspect::NodeState,
    spec::{Mode, TopologyKind},
    topology::{Cluster, Demands, Link, LinkPlace},
};

/// Everything that can be told from what inspection found.
pub(crate) fn all(
    cluster: &Cluster<'_>,
    demands: &Demands,
    links: &LinksTo,
    now: OffsetDateTime,
) -> Vec<Finding> {
    let authority = authority::find(&cluster.spec.secrets, now).ok().flatten();
    let authority = authority.map(|authority| authority.root().clone());
    let mut findings = accepted(cluster);
    findings.extend(access_node(cluster));
    for state in cluster.states {
        let Some(demand) = demands.get(&state.name) else { continue };
        let coming = links.get(state.name.as_str()).map_or(&[][..], Vec::as_slice);
        findings.extend(unseen(state));
        settings::check(state, demand, &mut findings);
        rules::check(cluster, coming, state, demand, &mut findings);
        certificates::check(state, demand, authority.as_ref(), now, &mut findings);
        roles::check(state, demand, coming, now, &mut findings);
        settings::check_speaking(state, coming, &mut findings);
        if cluster.spec.mode == Mode::Cert {
            revocation::check(cluster, demands, coming, state, now, &mut findings);
        }
        passwords::check_mappings(state, &mut findings);
    }
    for (link, wanted) in links.values().flatten() {
        check_link(cluster.spec.mode, link, wanted, &mut findings);
        if let Some(from) = cluster.state(&link.from) {
            findings.extend(otherwise(from, link, wanted).iter().map(|other| other.finding(link)));
        }
        if cluster.spec.mode == Mode::Scram && link.enabled {
            passwords::check_file(cluster, demands, link, wanted, &mut findings);
        }
    }
    findings
}

/// Links in a database that cannot be looked into are not known.
fn unseen(state: &NodeState) -> impl Iterator<Item = Finding> {
    state.unseen_databases.iter().map(|(database, reason)| {
        let what =
            format!("the database {database} cannot be searched for foreign servers: {reason}");
        Finding::warning(Code::NodeSilent, &state.name, what)
    })
}

/// What the description asks for although it is weaker.
fn accepted(cluster: &Cluster<'_>) -> Vec<Finding> {
    let i_know = cluster.spec.i_know;
    let first = cluster.spec.nodes.first().map_or("", |node| node.name.as_str());
    [
        (
            cluster.spec.mode == Mode::Trust,
            "mode is trust: whoever is at a peer's address is whichever role it says",
        ),
        (
            i_know.verify_ca_lets_nodes_pose_as_others,
            "links use sslmode=verify-ca: whoever has a certificate of the same authority can pose \
             as a node",
        ),
        (
            i_know.plain_text_can_be_read,
            "links have no TLS: everybody on the way reads what is replicated",
        ),
    ]
    .into_iter()
    .filter(|(so, _)| *so)
    .map(|(_, what)| Finding::warning(Code::Accepted, first, what))
    .collect()
}

/// What an access node cannot do: its connections have `sslmode=require` and nothing that could be set.
fn access_node(cluster: &Cluster<'_>) -> Option<Finding> {
    let spec = cluster.spec;
    let access = spec.timescale.as_ref().filter(|_| spec.topology == TopologyKind::Timescale)?;
    let node = access.access_node.as_str();
    let pose = "it never looks for whom a data node's certificate is: whoever has a server certificate \
                of the same authority";
    match spec.mode {
        Mode::Cert => Some(Finding::warning(
            Code::ServerNotVerified,
            node,
            format!("{pose} can take a data node's place"),
        )),
        Mode::Scram if spec.i_know.plain_text_can_be_read => None,
        Mode::Scram => Some(Finding::warning(
            Code::PasswordGivenAway,
            node,
            format!("{pose} is given the roles' passwords in a data node's place"),
        )),
        Mode::Trust => None,
    }
}

/// A file of the same name where it is of no use.
fn elsewhere<'s>(state: &'s NodeState, path: &Path) -> Option<&'s PathBuf> {
    let there = state.files.iter().filter(|(_, file)| file.is_some()).map(|(path, _)| path);
    there.filter(|other| *other != path).find(|other| other.file_name() == path.file_name())
}

/// What a link's connection string says of whom it would take for the server.
fn check_link(mode: Mode, link: &Link, wanted: &ConnInfo, findings: &mut Vec<Finding>) {
    let find =
        |code, what: String| Finding::error(code, &link.from, what).of_link(&link.from, &link.to);
    let value = |conninfo: &ConnInfo, keyword| conninfo.get(keyword).unwrap_or_default().to_owned();
    let (now, then) = (&link.conninfo, wanted);
    let sslmode = now.get("sslmode").unwrap_or("prefer");
    let sslmode_wanted = then.get("sslmode").unwrap_or("prefer");
    if sslmode != sslmode_wanted {
        findings.push(find(
            Code::ServerNotVerified,
            format!("{}: sslmode is {sslmode}, not {sslmode_wanted}", link.name),
        ));
    }
    let (root, root_wanted) = (value(now, "sslrootcert"), value(then, "sslrootcert"));
    if root != root_wanted {
        findings.push(find(
            Code::ServerNotVerified,
            format!("{}: it verifies the server by \"{root}\", not by {root_wanted}", link.name),
        ));
    }
    if let Some(role) = then.get("user").filter(|role| now.get("user") != Some(role)) {
        findings.push(find(
            Code::OtherRole,
            format!("{}: it logs in as {}, not as {role}", link.name, value(now, "user")),
        ));
    }
    let others = other_values(now, then);
    if !others.is_empty() {
        let what = format!("{}: {}", link.name, others.join("; "));
        findings.push(find(Code::LinkOtherwise, what));
    }
    // What an access node does has been said.
    let by_access_node = *link.place == LinkPlace::AccessNode;
    if now.has_secret() && !by_access_node {
        let what = format!("{}: its connection string has a password", link.name);
        findings.push(find(Code::PasswordInCatalogue, what).into_warning());
    }
    // A password, in the string or in a file, goes to whoever asks for it if none of these stands in
    // the way.
    let has_password = now.has_secret() || mode == Mode::Scram;
    let guarded = sslmode == "verify-full"
        || now.get("channel_binding") == Some("require")
        || now.get("require_auth") == Some("scram-sha-256");
    if has_password && !guarded && !by_access_node {
        findings.push(find(
            Code::PasswordGivenAway,
            format!(
                "{}: sslmode={sslmode} without channel_binding=require and require_auth: a server that \
                 asks for the password in clear text gets it",
                link.name
            ),
        ));
    }
}

/// The parameters that have other values than they shall have, but for those that have findings of their
/// own, in words.
fn other_values(now: &ConnInfo, then: &ConnInfo) -> Vec<String> {
    const THEIR_OWN: [&str; 3] = ["sslmode", "sslrootcert", "user"];
    let keywords: BTreeSet<&str> =
        now.iter().chain(then.iter()).map(|(keyword, _)| keyword).collect();
    let is_other = |keyword: &&str| {
        !THEIR_OWN.contains(keyword)
            && !is_secret(keyword)
            && now.get(keyword).unwrap_or_default() != then.get(keyword).unwrap_or_default()
    };
    let words = |keyword: &str| match (now.get(keyword), then.get(keyword)) {
        (Some(now), Some(then)) => format!("{keyword} is \"{now}\", not \"{then}\""),
        (Some(now), None) => format!("{keyword} is \"{now}\", and should not be there"),
        (None, then) => format!("{keyword} is not \"{}\"", then.unwrap_or_default()),
    };
    keywords.into_iter().filter(is_other).map(words).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whatever_a_link_would_connect_with_otherwise_is_named()
    -> Result<(), Box<dyn std::error::Error>> {
        let wanted = "host=m hostaddr=10.0.0.1 user=repl sslmode=verify-full sslrootcert=root.crt \
                      sslcert=c.crt sslkey=c.key";
        for (now, words) in [
            (wanted.to_owned(), ""),
            (wanted.replace("c.crt", "d.crt"), "sslcert is \"d.crt\", not \"c.crt\""),
            (wanted.replace(" sslkey=c.key", ""), "sslkey is not \"c.key\""),
            (
                format!("{wanted} require_auth=none password=hunter2"),
                "require_auth is \"none\", and should not be there",
            ),
            // These have findings of their own.
            (wanted.replace("verify-full", "require"), ""),
        ] {
            assert_eq!(other_values(&now.parse()?, &wanted.parse()?).join("; "), words, "{now}");
        }
        Ok(())
    }
}
