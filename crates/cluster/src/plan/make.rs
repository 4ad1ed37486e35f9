//! Making a plan: a pure function of what is wanted and what was found.

use std::path::{Path, PathBuf};

use hba_parser::Method;
use postgres_protocol::escape::escape_identifier;
use textfile::fs::Access;

use super::{
    Action, Content, Expectation, Expected, FileChange, LinkChange, Pace, Plan, Stage, Statement,
    Step, Warning,
};
use crate::{
    conf,
    conninfo::ConnInfo,
    credentials::{self, Credentials, NodeCredentials},
    error::Error,
    hba,
    inspect::NodeState,
    spec::{ClusterSpec, Mode, NodeSpec},
    topology::{self, Link},
};

/// Makes the plan.
///
/// # Errors
/// [`Error::Plan`], with the node's name, where something must be different before: a role that is
/// missing, a file that the server refuses, an administrator's way in that would be closed.
pub(crate) fn make(
    spec: &ClusterSpec,
    states: &[NodeState],
    links: &[Link],
    credentials: &Credentials,
) -> Result<Plan, Error> {
    spec.check()?;
    if links.is_empty() {
        return Err(Error::plan(
            "no node has a link to another: create the subscriptions first, for which databases they \
             connect to is what the rules must say",
        ));
    }
    let mut maker = Maker {
        spec,
        credentials,
        databases: databases(links),
        files: Vec::new(),
        warnings: Vec::new(),
        place: Vec::new(),
        passwords: Vec::new(),
        open: Vec::new(),
        close: Vec::new(),
    };
    for state in states {
        let node = maker.node_of(state)?;
        maker
            .secure(node, state)
            .map_err(|error| Error::Node { node: state.name.clone(), source: Box::new(error) })?;
    }
    let (changes, switches) = maker.switch(links, states)?;
    let stages = vec![
        stage("put certificates and keys in place", Pace::AllAtOnce, maker.place),
        stage("give the link role its passwords", Pace::AllAtOnce, maker.passwords),
        stage("open the secured way in", Pace::NodeByNode, maker.open),
        stage("switch the links over", Pace::AllAtOnce, switches),
        stage("close the open way in", Pace::NodeByNode, maker.close),
    ];
    Ok(Plan {
        mode: spec.mode,
        files: maker.files,
        links: changes,
        stages: stages.into_iter().filter(|stage| !stage.steps.is_empty()).collect(),
        warnings: maker.warnings,
    })
}

fn stage(title: &'static str, pace: Pace, steps: Vec<Step>) -> Stage {
    Stage { title, pace, steps }
}

/// The databases that links connect to, each once.
fn databases(links: &[Link]) -> Vec<String> {
    let mut databases: Vec<String> =
        links.iter().filter_map(|link| link.database().map(str::to_owned)).collect();
    databases.sort();
    databases.dedup();
    databases
}

struct Maker<'a> {
    spec: &'a ClusterSpec,
    credentials: &'a Credentials,
    databases: Vec<String>,
    files: Vec<FileChange>,
    warnings: Vec<Warning>,
    place: Vec<Step>,
    passwords: Vec<Step>,
    open: Vec<Step>,
    close: Vec<Step>,
}

impl<'a> Maker<'a> {
    fn node_of(&self, state: &NodeState) -> Result<&'a NodeSpec, Error> {
        let missing = || Error::plan(format!("the description has no node {}", state.name));
        self.spec.node(&state.name).ok_or_else(missing)
    }

    /// Everything for one node but its links.
    fn secure(&mut self, node: &NodeSpec, state: &NodeState) -> Result<(), Error> {
        let role = &self.spec.link_role;
        match state.role(role) {
            None => {
                return Err(Error::plan(format!(
                    "there is no role {role}: create it on every node, \
                     CREATE ROLE {} LOGIN REPLICATION",
                    escape_identifier(role)
                )));
            }
            Some(found) if !found.can_login => {
                return Err(Error::plan(format!(
                    "the role {role} may not log in: ALTER ROLE {} LOGIN",
                    escape_identifier(role)
                )));
            }
            Some(found) if !found.replication && !found.superuser => {
                return Err(Error::plan(format!(
                    "the role {role} may not replicate: ALTER ROLE {} REPLICATION",
                    escape_identifier(role)
                )));
            }
            Some(_) => {}
        }
        if let Some(error) = state.hba_errors.first() {
            return Err(Error::plan(format!(
                "line {} of {} is refused by the server as it is ({}): mend it first, or no reload \
                 will take anything",
                error.line,
                state.hba_file().display(),
                error.message
            )));
        }
        let credentials = self.credentials;
        let missing = || Error::plan("there are no credentials for this node");
        let own = credentials.nodes.get(&node.name).ok_or_else(missing)?;
        self.place_files(state, own);
        if let Some(secret) = &own.scram_secret {
            self.set_password(state, secret);
        }
        self.configure(node, state, own)
    }

    /// Certificates, keys and password file.
    fn place_files(&mut self, state: &NodeState, own: &NodeCredentials) {
        let public = |text: &String| Content::Public(text.clone().into_bytes());
        let secret = |name: &String| Content::Secret(name.clone());
        let mut contents = vec![(credentials::ROOT, Some(public(&self.credentials.root)))];
        for (pair, certificate, key) in [
            (&own.server, credentials::SERVER_CERTIFICATE, credentials::SERVER_KEY),
            (&own.client, credentials::CLIENT_CERTIFICATE, credentials::CLIENT_KEY),
        ] {
            contents.push((certificate, pair.as_ref().map(|pair| public(&pair.certificate))));
            contents.push((key, pair.as_ref().map(|pair| secret(&pair.key))));
        }
        contents.push((credentials::PASSFILE, own.passfile.as_ref().map(secret)));

        let owned = |mode| Access { mode, ..state.owner };
        let folder = state.in_data_directory(credentials::FOLDER);
        let mut steps = Vec::new();
        for (path, content) in contents {
            let Some(content) = content else { continue };
            let path = state.in_data_directory(path);
            let mode = if credentials::is_secret(&path) { 0o600 } else { 0o644 };
            steps.extend(self.write(state, path, owned(mode), content));
        }
        if !steps.is_empty() {
            // The folder's removal, when all is taken back, must come after that of its files, so
            // its making comes before.
            let action = Action::MakeFolder { path: folder.clone(), access: owned(0o700) };
            let undo = Some(Action::RemoveFolder { path: folder });
            self.place.push(Step { node: state.name.clone(), action, undo });
            self.place.extend(steps);
        }
    }

    /// The step that writes a file, unless it is so already; tells the reader of it.
    fn write(
        &mut self,
        state: &NodeState,
        path: PathBuf,
        access: Access,
        content: Content,
    ) -> Option<Step> {
        let there = state.file(&path);
        if let (Some(there), Content::Public(bytes)) = (there, &content)
            && *there.bytes == *bytes
            && there.access == access
        {
            return None;
        }
        let before = there.map(|there| there.bytes.as_slice());
        self.files.push(FileChange {
            node: state.name.clone(),
            new: there.is_none(),
            diff: match &content {
                Content::Public(after) => Some(diff(&path, before, after)),
                Content::Secret(_) => None,
            },
            path: path.clone(),
        });
        let undo = match there {
            None => Action::RemoveFile { path: path.clone() },
            Some(there) => {
                let as_found = match &content {
                    Content::Public(_) => Content::Public(there.bytes.to_vec()),
                    Content::Secret(_) => Content::Secret(as_found(&state.name, &path)),
                };
                restore(&path, there.access, &content, as_found)
            }
        };
        let expected = Expected::of(before);
        let action = Action::WriteFile { path, access, expected, content };
        Some(Step { node: state.name.clone(), action, undo: Some(undo) })
    }

    fn set_password(&mut self, state: &NodeState, secret: &str) {
        let role = escape_identifier(&self.spec.link_role);
        let alter = format!("ALTER ROLE {role} PASSWORD");
        let execute = |statement| Action::Execute { database: None, statement };
        let had =
            state.role(&self.spec.link_role).is_some_and(|role| role.stored_password.is_some());
        let undo = if had {
            Statement::with_secret(&alter, password_as_found(&state.name))
        } else {
            Statement::new(format!("{alter} NULL"))
        };
        self.passwords.push(Step {
            node: state.name.clone(),
            action: execute(Statement::with_secret(&alter, secret)),
            undo: Some(execute(undo)),
        });
    }

    /// `postgresql.conf` and `pg_hba.conf`: first both ways in are open, then only the secured one.
    fn configure(
        &mut self,
        node: &NodeSpec,
        state: &NodeState,
        own: &NodeCredentials,
    ) -> Result<(), Error> {
        let wish = hba::Wish {
            role: &self.spec.link_role,
            databases: &self.databases,
            networks: &node.peers_from,
            method: match self.spec.mode {
                Mode::Cert => Method::Cert,
                Mode::Scram => Method::ScramSha256,
            },
        };
        let edit = hba::secure(state, &wish)?;
        let settings = conf::set(state, &self.settings(state))?;
        for message in edit.notes.into_iter().chain(settings.notes) {
            self.warnings.push(Warning { node: state.name.clone(), message });
        }

        let reload = |certificate: &str| Step {
            node: state.name.clone(),
            action: Action::Reload(Expectation { certificate: Some(certificate.to_owned()) }),
            undo: None,
        };
        let mut open = Vec::new();
        for (path, bytes) in settings.files {
            let access = access_of(state, &path)?;
            open.extend(self.write(state, path, access, Content::Public(bytes)));
        }
        let hba_file = state.hba_file().to_owned();
        let access = access_of(state, &hba_file)?;
        let found = state.file(&hba_file).map(|file| file.bytes.to_vec()).unwrap_or_default();
        let steps = [(&found, &edit.open, true), (&edit.open, &edit.closed, false)];
        let mut close = Vec::new();
        for (before, after, opens) in steps {
            if before == after {
                continue;
            }
            let content = Content::Public(after.clone());
            let undo = restore(&hba_file, access, &content, Content::Public(before.clone()));
            let action = Action::WriteFile {
                path: hba_file.clone(),
                access,
                expected: Expected::of(Some(before)),
                content,
            };
            let step = Step { node: state.name.clone(), action, undo: Some(undo) };
            if opens { open.push(step) } else { close.push(step) }
        }
        if found != edit.closed {
            self.files.push(FileChange {
                node: state.name.clone(),
                new: false,
                diff: Some(diff(&hba_file, Some(&found), &edit.closed)),
                path: hba_file,
            });
        }
        // A new certificate under the old name is taken by a reload, too.
        if !open.is_empty() || own.server.is_some() {
            open.push(reload(&own.server_fingerprint));
            self.open.extend(open);
        }
        if !close.is_empty() {
            close.push(reload(&own.server_fingerprint));
            let role = self.spec.link_role.clone();
            let action = Action::EndPlainSessions { role };
            close.push(Step { node: state.name.clone(), action, undo: None });
            self.close.extend(close);
        }
        Ok(())
    }

    fn settings(&self, state: &NodeState) -> Vec<(&'static str, &'static str)> {
        let mut settings = vec![
            ("ssl", "on"),
            ("ssl_ca_file", credentials::ROOT),
            ("ssl_cert_file", credentials::SERVER_CERTIFICATE),
            ("ssl_key_file", credentials::SERVER_KEY),
        ];
        // Without it no log tells by which method a session was let in. Anything but "off" does.
        if matches!(state.setting("log_connections"), "off" | "") {
            settings.push(("log_connections", "on"));
        }
        settings
    }

    /// The links' new connection strings.
    fn switch(
        &self,
        links: &[Link],
        states: &[NodeState],
    ) -> Result<(Vec<LinkChange>, Vec<Step>), Error> {
        let topology = topology::of(self.spec.topology);
        let (mut changes, mut steps) = (Vec::new(), Vec::new());
        for link in links {
            let missing = |node: &str| Error::plan(format!("node {node} was not inspected"));
            let from = states.iter().find(|state| state.name == link.from);
            let from = from.ok_or_else(|| missing(&link.from))?;
            let to = self.spec.node(&link.to).ok_or_else(|| missing(&link.to))?;
            let after = secured(&link.conninfo, self.spec, from, to);
            if after == link.conninfo {
                continue;
            }
            changes.push(LinkChange {
                from: link.from.clone(),
                to: link.to.clone(),
                name: link.name.clone(),
                before: link.conninfo.to_masked_text(),
                after: after.to_masked_text(),
            });
            let undo = if link.conninfo.has_secret() {
                topology.switch_to_secret(link, link_as_found(link))
            } else {
                topology.switch(link, &link.conninfo)
            };
            let database = link.kept_in.clone();
            let statement = topology.switch(link, &after);
            let action = if link.enabled {
                let (to, slot) = (link.to.clone(), link.slot.clone());
                Action::SwitchLink { to, database, slot, statement }
            } else {
                // It does not replicate, before or after.
                Action::Execute { database: Some(database), statement }
            };
            steps.push(Step {
                node: link.from.clone(),
                action,
                undo: Some(Action::Execute {
                    database: Some(link.kept_in.clone()),
                    statement: undo,
                }),
            });
        }
        Ok((changes, steps))
    }
}

/// A link's connection string with the server verified by name and the client by the cluster's mode.
/// Everything else stays as it was.
fn secured(now: &ConnInfo, spec: &ClusterSpec, from: &NodeState, to: &NodeSpec) -> ConnInfo {
    let mut conninfo = now.clone();
    // The certificate has the node's names and its address: whichever of them the link uses stays.
    let host = conninfo.get("host").unwrap_or_default();
    if ![to.host(), &to.name, &to.address.to_string()].contains(&host) {
        let host = to.host().to_owned();
        conninfo.set("host", host);
        conninfo.set("hostaddr", to.address.to_string());
    }
    conninfo.set("user", &spec.link_role);
    conninfo.set("sslmode", "verify-full");
    // libpq takes a relative path from the server process' working folder: the data directory.
    conninfo.set("sslrootcert", credentials::ROOT);
    conninfo.remove_secrets();
    match spec.mode {
        Mode::Cert => {
            conninfo.set("sslcert", credentials::CLIENT_CERTIFICATE);
            conninfo.set("sslkey", credentials::CLIENT_KEY);
            for stale in ["passfile", "channel_binding", "require_auth", "sslcertmode"] {
                conninfo.remove(stale);
            }
        }
        Mode::Scram => {
            conninfo.set("passfile", credentials::PASSFILE);
            // A second lock beside the verified name: whoever relays the login to the real server
            // gets nothing.
            if from.version >= pg_version::PgVersion::V13 {
                conninfo.set("channel_binding", "require");
            }
            if from.version >= pg_version::PgVersion::V16 {
                conninfo.set("require_auth", "scram-sha-256");
            }
            for stale in ["sslcert", "sslkey"] {
                conninfo.remove(stale);
            }
        }
    }
    conninfo
}

fn access_of(state: &NodeState, path: &Path) -> Result<Access, Error> {
    let missing = || Error::plan(format!("{} is not there", path.display()));
    state.file(path).map(|file| file.access).ok_or_else(missing)
}

/// The action that puts back what was there before `written`.
fn restore(path: &Path, access: Access, written: &Content, as_found: Content) -> Action {
    let expected = match written {
        Content::Public(bytes) => Expected::of(Some(bytes)),
        Content::Secret(_) => Expected::Anything,
    };
    Action::WriteFile { path: path.to_owned(), access, expected, content: as_found }
}

fn diff(path: &Path, before: Option<&[u8]>, after: &[u8]) -> String {
    let name = path.display().to_string();
    let old = if before.is_some() { name.as_str() } else { "/dev/null" };
    textfile::diff::unified(old, &name, before.unwrap_or_default(), after)
}

/// The vault's name of a secret file as inspection found it.
pub(crate) fn as_found(node: &str, path: &Path) -> String {
    format!("{node}: {} as found", path.display())
}

/// The vault's name of the link role's stored password as inspection found it.
pub(crate) fn password_as_found(node: &str) -> String {
    format!("{node}: stored password as found")
}

/// The vault's name of a link's connection string as inspection found it.
pub(crate) fn link_as_found(link: &Link) -> String {
    // A name is unique in its database only.
    format!("{}: connection string of {} in {} as found", link.from, link.name, link.kept_in)
}
