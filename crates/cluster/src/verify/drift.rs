//! What was changed by hand since pgward left its work: what the applied runs left, compared with what
//! inspection finds.

mod meaning;

use std::{
    collections::{BTreeSet, HashMap},
    path::Path,
};

use textfile::fs::Access;

use super::{Code, Finding};
use crate::{
    conninfo::ConnInfo,
    inspect::NodeState,
    masked,
    run::{
        Applied, DigestKey, Observed,
        applied::{AppliedFile, AppliedLink, AppliedNode, AppliedRole},
    },
    spec::ClusterSpec,
    topology::{Link, LinkPlace},
};

/// What is no longer as the applied runs left it, as warnings: whether it matters, the other findings
/// tell. What inspection did not read is not compared. A link that is gone is more than a warning: the
/// runs have promised it.
pub(crate) fn since(
    applied: &Applied,
    spec: &ClusterSpec,
    states: &[NodeState],
    links: &[Link],
    key: Option<&DigestKey>,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let links = LinksByName::of(links);
    let link_roles: Vec<&str> = spec.link_roles().collect();
    for state in states {
        let Some(node) = applied.nodes.get(&state.name) else { continue };
        let drifted = |what: String| Finding::warning(Code::Drifted, &state.name, what);
        for (path, left) in &node.files {
            let Some(found) = state.files.get(path) else { continue };
            let now = found.as_ref().map(|now| (now.bytes.as_slice(), now.access));
            let drift = file_drift(state, path, left, now, key).into_iter();
            findings.extend(drift.map(|(what, diff)| match diff {
                Some(diff) => drifted(what).with_detail(diff),
                None => drifted(what),
            }));
        }
        findings.extend(undescribed(node, state, &link_roles).into_iter().map(drifted));
        findings.extend(password_drift(node, state, &link_roles, key).into_iter().map(drifted));
        findings.extend(observed_drift(node, state, &link_roles).into_iter().map(drifted));
        for left in &node.links {
            let AppliedLink { name, place, to, conninfo } = left;
            let finding = match links.find(&state.name, left) {
                None if state.why_unseen(place).is_some() => None,
                None => Some(gone(spec, states, state, left)),
                Some(link) => link_drift(conninfo, &link.conninfo)
                    .map(|what| drifted(format!("{name}: {what}"))),
            };
            findings.extend(finding.map(|finding| finding.of_link(&state.name, to)));
        }
    }
    findings
}

/// A link that was secured and is not there any more.
fn gone(
    spec: &ClusterSpec,
    states: &[NodeState],
    state: &NodeState,
    left: &AppliedLink,
) -> Finding {
    let AppliedLink { name, to, place, .. } = left;
    // Where both are primaries, nobody has meant that.
    let has_changed_places = *place == LinkPlace::PrimaryConninfo
        && !state.in_recovery
        && states.iter().any(|other| other.name == *to && other.in_recovery);
    if has_changed_places {
        let what = format!(
            "the link {name} to {to} is gone: this node is a primary now, and {to} a standby (apply \
             --accept-changes takes that as it is)"
        );
        return Finding::warning(Code::Drifted, &state.name, what);
    }
    if spec.node(to).is_none() {
        let what = format!("the link {name} is gone, and node {to} is not described any more");
        return Finding::warning(Code::Drifted, &state.name, what);
    }
    let what = format!(
        "the link {name} to {to} is gone: pgward makes no links, so make it anew and apply, or, if it \
         shall be gone, take that as it is (apply --accept-changes)"
    );
    Finding::error(Code::LinkMissing, &state.name, what)
}

/// What the applied runs left, with what inspection finds in its place: what [`since`] tells is taken as
/// it is, and told no more. What is gone is forgotten; what inspection did not read stays.
pub(crate) fn accepting(
    mut applied: Applied,
    spec: &ClusterSpec,
    states: &[NodeState],
    links: &[Link],
    key: &DigestKey,
) -> Applied {
    let links = LinksByName::of(links);
    let link_roles: Vec<&str> = spec.link_roles().collect();
    for state in states {
        let Some(node) = applied.nodes.get_mut(&state.name) else { continue };
        node.files.retain(|path, left| match state.files.get(path) {
            Some(Some(now)) => {
                // Older records have no text of any file.
                let is_public = left.text.is_some() || meaning::is_configuration(state, path);
                *left = AppliedFile::new(&now.bytes, now.access, is_public, key);
                true
            }
            Some(None) => false,
            None => true,
        });
        node.passwords.retain(|role, digest| {
            let stored = state.role(role).and_then(|role| role.stored_password.as_ref());
            stored.inspect(|now| *digest = key.digest(now.as_bytes())).is_some()
        });
        let Observed { roles, settings } = Observed::inspected(state, &link_roles);
        if !state.in_recovery {
            node.roles = roles;
        }
        node.settings = settings;
        node.links.retain_mut(|left| match links.find(&state.name, left) {
            Some(now) => {
                left.conninfo = now.conninfo.to_masked_text();
                true
            }
            None => state.why_unseen(&left.place).is_some(),
        });
    }
    applied
}

/// The links that inspection finds, by the node that they start at and their name.
struct LinksByName<'l>(HashMap<(&'l str, &'l str), Vec<&'l Link>>);

impl<'l> LinksByName<'l> {
    fn of(links: &'l [Link]) -> Self {
        let mut by_name: HashMap<_, Vec<_>> = HashMap::new();
        for link in links {
            by_name.entry((&*link.from, &*link.name)).or_default().push(link);
        }
        Self(by_name)
    }

    /// The one that was left on a node. A name is unique in its place only.
    fn find(&self, node: &str, left: &AppliedLink) -> Option<&'l Link> {
        let so_called = self.0.get(&(node, left.name.as_str()))?;
        so_called.iter().find(|link| *link.place == left.place).copied()
    }
}

/// What became of a file: in words, and as a diff where there is one.
fn file_drift(
    state: &NodeState,
    path: &Path,
    left: &AppliedFile,
    now: Option<(&[u8], Access)>,
    key: Option<&DigestKey>,
) -> Vec<(String, Option<String>)> {
    let shown = path.display();
    let Some((bytes, access)) = now else { return vec![(format!("{shown} is gone"), None)] };
    let mut drift = Vec::new();
    let words = |mode, uid, gid| format!("{mode:04o} {uid}:{gid}");
    let then = Access { mode: left.mode, uid: left.uid, gid: left.gid };
    if !access.permits_the_same_as(then) {
        let before = words(left.mode, left.uid, left.gid);
        let after = words(access.mode, access.uid, access.gid);
        drift.push((format!("{shown} has mode and owner {after}, and had {before}"), None));
    }
    let (before, after) = (left.text.as_deref(), masked::text(bytes));
    match (left.digest.is_of(bytes, key), before.zip(after.as_deref())) {
        (Some(true), _) => {}
        (None, Some((before, after))) if before == after => {}
        (None, None) => {
            let what = "whether it was changed cannot be told: applied.key is not there";
            drift.push((format!("{shown}: {what}"), None));
        }
        (Some(false), Some((before, after))) if before == after => {
            let what = "was changed: where it may have a secret, it has another";
            drift.push((format!("{shown} {what}"), None));
        }
        (_, Some((before, after))) => {
            let name = shown.to_string();
            let diff = textfile::diff::unified(&name, &name, before.as_bytes(), after.as_bytes());
            let meaning = match meaning::of(state, path, before, after).as_slice() {
                [] => "nothing that the server reads".to_owned(),
                all => all.join("; "),
            };
            drift.push((format!("{shown} was changed: {meaning}"), Some(diff)));
        }
        (Some(false), None) => drift.push((
            format!("{shown} was changed; what it held before is not at hand to be compared"),
            None,
        )),
    }
    drift
}

/// The roles that the description had for links and has no more. Inspection does not look at them.
fn undescribed(node: &AppliedNode, state: &NodeState, link_roles: &[&str]) -> Vec<String> {
    let left: BTreeSet<&String> = node.roles.keys().chain(node.passwords.keys()).collect();
    let is_other = |role: &&String| !link_roles.contains(&role.as_str());
    left.into_iter()
        .filter(is_other)
        .filter(|role| !state.in_recovery && state.role(role).is_some())
        .map(|role| {
            format!(
                "the role {role} is not described any more, and what was made for its links stays (rules, \
                 certificate, password): take it out by hand if the role shall not come in any more; apply \
                 --accept-changes takes it as it is"
            )
        })
        .collect()
}

fn password_drift(
    node: &AppliedNode,
    state: &NodeState,
    link_roles: &[&str],
    key: Option<&DigestKey>,
) -> Vec<String> {
    let what = |(role, digest): (&String, &crate::run::Digest)| {
        let stored = state.role(role).and_then(|role| role.stored_password.as_ref());
        let Some(now) = stored else {
            return Some(format!("the role {role} has no password any more"));
        };
        match digest.is_of(now.as_bytes(), key) {
            Some(true) => None,
            Some(false) => Some(format!("the role {role} has another password")),
            None => Some(format!(
                "whether the role {role} has another password cannot be told: applied.key is not there"
            )),
        }
    };
    let described = |(role, _): &(&String, _)| link_roles.contains(&role.as_str());
    node.passwords.iter().filter(described).filter_map(what).collect()
}

/// What became of the links' roles, and of the settings that are in force.
fn observed_drift(node: &AppliedNode, state: &NodeState, link_roles: &[&str]) -> Vec<String> {
    let now = Observed::inspected(state, link_roles);
    let mut drift = Vec::new();
    // A standby has its primary's roles: that one tells of them.
    let described =
        |(name, _): &(&String, _)| !state.in_recovery && link_roles.contains(&name.as_str());
    for (name, before) in node.roles.iter().filter(described) {
        let changed = match now.roles.get(name) {
            None => Some(format!("the role {name} is gone")),
            Some(after) => {
                let changed = role_changes(before, after);
                (!changed.is_empty()).then(|| format!("the role {name}: {}", changed.join("; ")))
            }
        };
        drift.extend(changed);
    }
    for (name, before) in &node.settings {
        let changed = now.settings.get(name).filter(|after| *after != before);
        drift.extend(
            changed.map(|after| format!("{name} is \"{after}\" in force, was \"{before}\"")),
        );
    }
    drift
}

fn role_changes(before: &AppliedRole, after: &AppliedRole) -> Vec<String> {
    let attributes = |role: &AppliedRole| -> Vec<String> {
        let words = [
            if role.login { "LOGIN" } else { "NOLOGIN" },
            if role.replication { "REPLICATION" } else { "NOREPLICATION" },
            if role.superuser { "SUPERUSER" } else { "NOSUPERUSER" },
        ];
        let (others, limit) = match role.attributes.split_once(" CONNECTION LIMIT ") {
            Some((others, limit)) => (others, format!("CONNECTION LIMIT {limit}")),
            None => (role.attributes.as_str(), String::new()),
        };
        let until = role.valid_until.as_deref().unwrap_or("infinity");
        let words = words.into_iter().chain(others.split(' ')).map(str::to_owned);
        words.chain([limit, format!("VALID UNTIL '{until}'")]).collect()
    };
    let (old, new) = (attributes(before), attributes(after));
    let mut changed: Vec<String> = old
        .iter()
        .zip(&new)
        .filter(|(old, new)| old != new)
        .map(|(old, new)| format!("{new}, was {old}"))
        .collect();
    let other = |one: &AppliedRole, than: &AppliedRole| -> Vec<String> {
        one.member_of.iter().filter(|group| !than.member_of.contains(group)).cloned().collect()
    };
    changed.extend(other(after, before).iter().map(|group| format!("now a member of {group}")));
    changed.extend(other(before, after).iter().map(|group| format!("no member of {group} now")));
    changed
}

/// What became of a connection string; both with stars for secrets.
fn link_drift(before: &str, now: &ConnInfo) -> Option<String> {
    let before: ConnInfo = before.parse().ok()?;
    let after: ConnInfo = now.to_masked_text().parse().ok()?;
    let keywords: BTreeSet<&str> =
        before.iter().chain(after.iter()).map(|(keyword, _)| keyword).collect();
    let value = |conninfo: &ConnInfo, keyword| match conninfo.get(keyword) {
        Some(value) => value.to_owned(),
        None => "not there".to_owned(),
    };
    let changed: Vec<String> = keywords
        .into_iter()
        .filter(|keyword| before.get(keyword) != after.get(keyword))
        .map(|keyword| {
            format!("{keyword} is {}, was {}", value(&after, keyword), value(&before, keyword))
        })
        .collect();
    (!changed.is_empty()).then(|| changed.join("; "))
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;
    use crate::{inspect::sample, spec::Mode, topology::ForeignPlace, verify::Severity};

    fn left(database: &str) -> AppliedLink {
        let place = LinkPlace::ForeignServer(ForeignPlace {
            database: database.to_owned(),
            server: "other".to_owned(),
            local: None,
            first: true,
            mapping_options: Vec::new(),
            without_password: false,
            by_server: false,
        });
        let (name, to) = ("other".to_owned(), "m".to_owned());
        AppliedLink { name, place, to, conninfo: "host=m".to_owned() }
    }

    fn spec() -> Result<ClusterSpec, crate::spec::SpecError> {
        let begin = "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"";
        sample::spec(begin, &[("n", "10.0.0.1", 5432), ("m", "10.0.0.1", 5433)])
    }

    fn applied(node: AppliedNode) -> Applied {
        let nodes = [("n".to_owned(), node)].into();
        let at = OffsetDateTime::UNIX_EPOCH;
        Applied { run: String::new(), at, mode: Mode::Cert, nodes }
    }

    fn key() -> Result<DigestKey, Box<dyn std::error::Error>> {
        Ok(DigestKey::of(tempfile::tempdir()?.path())?)
    }

    #[test]
    fn a_link_that_cannot_be_seen_is_not_gone() -> Result<(), Box<dyn std::error::Error>> {
        let (spec, key) = (spec()?, key()?);
        let mut state = sample::node(b"", &[]);
        state.unseen_databases = vec![("locked".to_owned(), "not now".to_owned())];
        let mut other = left("app");
        other.to = "left".to_owned();
        let links = vec![left("locked"), left("app"), other];
        let applied = applied(AppliedNode { links, ..AppliedNode::default() });
        let states = [state];

        let told = since(&applied, &spec, &states, &[], Some(&key));
        let told: Vec<_> = told.iter().map(|it| (it.severity, it.code)).collect();
        let expected = [(Severity::Error, Code::LinkMissing), (Severity::Warning, Code::Drifted)];
        assert_eq!(told, expected);
        let accepted = accepting(applied, &spec, &states, &[], &key);
        assert_eq!(accepted.nodes["n"].links, [left("locked")]);
        assert_eq!(since(&accepted, &spec, &states, &[], Some(&key)), []);
        Ok(())
    }

    /// After a failover the two have changed places. Two primaries are another thing.
    #[test]
    fn a_standby_that_was_promoted_is_told() -> Result<(), Box<dyn std::error::Error>> {
        let (spec, key) = (spec()?, key()?);
        let mut link = left("app");
        link.place = LinkPlace::PrimaryConninfo;
        let applied = applied(AppliedNode { links: vec![link], ..AppliedNode::default() });
        let mut former = sample::node(b"", &[]);
        former.name = "m".to_owned();
        for (in_recovery, severity) in [(true, Severity::Warning), (false, Severity::Error)] {
            former.in_recovery = in_recovery;
            let states = [sample::node(b"", &[]), former.clone()];
            let told = since(&applied, &spec, &states, &[], Some(&key));
            assert_eq!(told.iter().map(|it| it.severity).collect::<Vec<_>>(), [severity]);
        }
        Ok(())
    }

    #[test]
    fn a_file_is_told_by_its_lines_and_a_secret_never() -> Result<(), Box<dyn std::error::Error>> {
        let (spec, key) = (spec()?, key()?);
        let hba = "local all all peer\nhost all all 10.0.0.0/8 ldap ldapserver=x \
                   ldapbasedn=b ldapbindpasswd=hunter2\n";
        let file = |text: &str, is_public| {
            AppliedFile::new(text.as_bytes(), sample::ACCESS, is_public, &key)
        };
        let files = [
            ("/d/pg_hba.conf".into(), file(hba, true)),
            ("/d/passfile".into(), file("*:*:*:*:hunter2\n", false)),
        ];
        let applied = applied(AppliedNode { files: files.into(), ..AppliedNode::default() });
        assert!(!serde_json::to_string(&applied)?.contains("hunter2"));
        let told = |hba: &str, passfile: &str, key: Option<&DigestKey>| {
            let mut state = sample::node(hba.as_bytes(), &[]);
            sample::put(&mut state, "/d/passfile", Some(sample::file(passfile.as_bytes())));
            let found = since(&applied, &spec, &[state], &[], key);
            assert!(!format!("{found:?}").contains("hunter"), "{found:?}");
            let words = found.into_iter().map(|it| it.what + it.detail.as_deref().unwrap_or(""));
            words.collect::<Vec<_>>().join("\n")
        };
        let passfile = "*:*:*:*:hunter2\n";
        assert_eq!(told(hba, passfile, Some(&key)), "");
        let opened = hba.to_owned() + "host all all all trust\n";
        let found = told(&opened, "*:*:*:*:hunter3\n", Some(&key));
        assert!(found.contains("/d/passfile was changed; what it held"), "{found}");
        assert!(found.contains("rejected -> trust"), "{found}");
        assert!(found.contains("\n+host all all all trust\n"), "{found}");
        assert_eq!(
            told(&hba.replace("hunter2", "hunter3"), passfile, Some(&key)),
            "/d/pg_hba.conf was changed: where it may have a secret, it has another"
        );
        // What the text tells is told without the key, too.
        assert_eq!(
            told(hba, passfile, None),
            "/d/passfile: whether it was changed cannot be told: applied.key is not there"
        );
        assert!(told(&opened, passfile, None).contains("rejected -> trust"));
        Ok(())
    }

    #[test]
    fn roles_and_settings_are_told() -> Result<(), Box<dyn std::error::Error>> {
        let (spec, key) = (spec()?, key()?);
        let mut state = sample::node(b"", &[]);
        for role in &mut state.roles {
            role.attributes = "INHERIT NOCREATEDB CONNECTION LIMIT -1".to_owned();
        }
        sample::set(&mut state, "ssl_ca_file", "root.crt");
        let Observed { roles, settings } = Observed::inspected(&state, &["repl"]);
        let applied = applied(AppliedNode { roles, settings, ..AppliedNode::default() });
        let told = |states: &[NodeState]| -> Vec<String> {
            let found = since(&applied, &spec, states, &[], Some(&key));
            found.into_iter().map(|it| it.what).collect()
        };
        let mut states = [state];
        assert_eq!(told(&states), Vec::<String>::new());
        let role = &mut states[0].roles[1];
        (role.can_login, role.superuser) = (false, true);
        role.attributes = "INHERIT CREATEDB CONNECTION LIMIT 0".to_owned();
        role.valid_until = Some("2030-01-01 00:00:00".to_owned());
        role.member_of = vec!["web".to_owned()];
        sample::set(&mut states[0], "ssl_ca_file", "");
        assert_eq!(
            told(&states),
            [
                "the role repl: NOLOGIN, was LOGIN; SUPERUSER, was NOSUPERUSER; CREATEDB, was \
                 NOCREATEDB; CONNECTION LIMIT 0, was CONNECTION LIMIT -1; VALID UNTIL '2030-01-01 \
                 00:00:00', was VALID UNTIL 'infinity'; now a member of web",
                "ssl_ca_file is \"\" in force, was \"root.crt\"",
            ]
        );
        // A standby has its primary's roles.
        states[0].in_recovery = true;
        assert_eq!(told(&states).len(), 1);
        states[0].in_recovery = false;
        states[0].roles.remove(1);
        assert_eq!(told(&states)[0], "the role repl is gone");
        Ok(())
    }

    #[test]
    fn a_role_that_is_not_described_any_more_is_not_gone() -> Result<(), Box<dyn std::error::Error>>
    {
        let (spec, key) = (spec()?, key()?);
        let mut state = sample::node(b"", &[]);
        let name = "former".to_owned();
        state.roles.push(crate::inspect::Role { name: name.clone(), ..state.roles[1].clone() });
        let Observed { roles, settings } = Observed::inspected(&state, &["repl", "former"]);
        let passwords = [(name, key.digest(b"SCRAM-SHA-256$"))].into();
        let applied = applied(AppliedNode { roles, settings, passwords, ..AppliedNode::default() });
        let mut states = [state];
        let told = |states: &[NodeState]| -> Vec<String> {
            let found = since(&applied, &spec, states, &[], Some(&key));
            found.into_iter().map(|it| it.what).collect()
        };
        let found = told(&states);
        assert!(found[0].starts_with("the role former is not described any more"), "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
        let accepted = accepting(applied.clone(), &spec, &states, &[], &key);
        assert_eq!(since(&accepted, &spec, &states, &[], Some(&key)), []);
        states[0].roles.pop();
        assert_eq!(told(&states), Vec::<String>::new());
        Ok(())
    }

    #[test]
    fn records_of_before_are_read() -> Result<(), Box<dyn std::error::Error>> {
        let (spec, key) = (spec()?, key()?);
        let sha256 = "87428fc522803d31065e7bce3cf03fe475096631e5e07bbd7a0fde60c4cf25c7";
        let text = format!(
            "{{\"run\": \"0001\", \"at\": \"2026-11-22T10:15:00Z\", \"mode\": \"Cert\", \"nodes\": \
             {{\"n\": {{\"files\": {{\"/d/pg_hba.conf\": {{\"sha256\": \"{sha256}\", \"mode\": 384, \
             \"uid\": 1, \"gid\": 1}}}}, \"passwords\": {{\"repl\": \"{sha256}\"}}, \"links\": []}}}}}}"
        );
        let mode = serde_json::to_string(&Mode::Cert)?;
        let applied: Applied = serde_json::from_str(&text.replace("\"Cert\"", &mode))?;
        let mut states = [sample::node(b"a\n", &[])];
        states[0].roles[1].stored_password = Some("a\n".to_owned().into());
        assert_eq!(since(&applied, &spec, &states, &[], Some(&key)), []);
        sample::put(&mut states[0], "/d/pg_hba.conf", Some(sample::file(b"b\n")));
        let told = since(&applied, &spec, &states, &[], None);
        assert_eq!(told.len(), 1);
        assert_eq!(
            told[0].what,
            "/d/pg_hba.conf was changed; what it held before is not at hand to be compared"
        );
        // What is accepted is told by its lines from then on.
        let applied = accepting(applied, &spec, &states, &[], &key);
        sample::put(&mut states[0], "/d/pg_hba.conf", Some(sample::file(b"local all all peer\n")));
        let told = since(&applied, &spec, &states, &[], Some(&key));
        assert!(told[0].detail.as_ref().is_some_and(|it| it.contains("+local all")), "{told:?}");
        Ok(())
    }
}
