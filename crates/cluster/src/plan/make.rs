//! Making a plan: a pure function of what is wanted and what was found.

use std::path::{Path, PathBuf};

use ipnet::IpNet;
use pki::Certificate;
use postgres_protocol::escape::escape_identifier;
use textfile::fs::Access;

use super::{
    Action, Content, Expectation, FileChange, Pace, Plan, Stage, Statement, Step, Warning, files,
    links::{self, Switches},
    on_demand,
};
use crate::{
    conf,
    credentials::{Credentials, NodeCredentials},
    demand::{Demand, RoleDemand, WayIn},
    error::{Error, NodeContext as _},
    hba,
    inspect::NodeState,
    parallel,
    topology::{Cluster, Demands, Topology},
};

/// Makes the plan.
///
/// # Errors
/// [`Error::Plan`], with the node's name, where something must be different before: a role that is
/// missing, a file that the server refuses, an administrator's way in that would be closed.
pub(crate) fn make(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    demands: &Demands,
    credentials: &Credentials,
) -> Result<Plan, Error> {
    let Switches { changes, prepare, switch } =
        links::switch(topology, cluster, demands, &credentials.root)?;
    let waits = links::waiting_for_a_restart(cluster, &changes);
    let secure = |states: &[NodeState]| -> Result<Work, Error> {
        let mut all = Work::default();
        for state in states {
            let stays_open = waits.stays_open.contains(state.name.as_str());
            all.extend(secure(demands, state, credentials, stays_open).on_node(&state.name)?);
        }
        Ok(all)
    };
    let mut work = Work::default();
    for share in parallel::shares(cluster.states, 16, secure)? {
        work.extend(share?);
    }
    work.warnings.extend(waits.warnings);
    let shared = files::written(&credentials.shared, &work.place);
    let stages = [
        stage("put certificates and keys in place", Pace::AllAtOnce, work.place),
        stage("make the links' roles", Pace::AllAtOnce, work.roles),
        stage("give the links' roles their passwords", Pace::AllAtOnce, work.passwords),
        stage("let the links take either way", Pace::AllAtOnce, prepare),
        stage("open the secured way in", Pace::NodeByNode, work.open),
        stage("prepare the databases", Pace::AllAtOnce, work.statements),
        stage("switch the links over", Pace::AllAtOnce, switch),
        on_demand::again(cluster),
        stage("close the open way in", Pace::NodeByNode, work.close),
    ];
    let changes_something =
        |stage: &Stage| stage.steps.iter().any(|step| !step.action.only_looks());
    let stages = if stages.iter().any(changes_something) {
        std::iter::once(on_demand::before(cluster)).chain(stages).collect()
    } else {
        Vec::new()
    };
    Ok(Plan {
        mode: cluster.spec.mode,
        files: work.files,
        links: changes,
        stages: stages.into_iter().filter(|stage| !stage.steps.is_empty()).collect(),
        warnings: work.warnings,
        shared,
    })
}

pub(crate) fn stage(title: &str, pace: Pace, steps: Vec<Step>) -> Stage {
    Stage { title: title.to_owned(), pace, steps }
}

/// Everything for one node but its links.
fn secure(
    demands: &Demands,
    state: &NodeState,
    credentials: &Credentials,
    stays_open: bool,
) -> Result<Work, Error> {
    let missing = || Error::plan("the topology asks nothing of this node");
    let demand = demands.get(&state.name).ok_or_else(missing)?;
    let mut maker = Maker { credentials, stays_open, work: Work::default() };
    maker.secure(demand, state)?;
    Ok(maker.work)
}

/// What is to be done on nodes, and what the reader is told of it.
#[derive(Default)]
struct Work {
    files: Vec<FileChange>,
    warnings: Vec<Warning>,
    place: Vec<Step>,
    roles: Vec<Step>,
    passwords: Vec<Step>,
    open: Vec<Step>,
    statements: Vec<Step>,
    close: Vec<Step>,
}

impl Work {
    fn extend(&mut self, more: Self) {
        self.files.extend(more.files);
        self.warnings.extend(more.warnings);
        self.place.extend(more.place);
        self.roles.extend(more.roles);
        self.passwords.extend(more.passwords);
        self.open.extend(more.open);
        self.statements.extend(more.statements);
        self.close.extend(more.close);
    }
}

/// Makes the work for one node.
struct Maker<'a> {
    credentials: &'a Credentials,
    /// Whether the way in that was found stays open: a link goes on to come by it.
    stays_open: bool,
    work: Work,
}

impl Maker<'_> {
    fn secure(&mut self, demand: &Demand, state: &NodeState) -> Result<(), Error> {
        if let Some(error) = state.hba_errors.first() {
            return Err(Error::plan(format!(
                "line {} of {} is refused by the server as it is ({}): mend it first, or no reload \
                 will take anything",
                error.line,
                state.hba_file().display(),
                error.message
            )));
        }
        server_finds_its_files(demand, state)?;
        for role in &demand.roles {
            self.make_role(state, role)?;
        }
        let missing = || Error::plan("there are no credentials for this node");
        let own = self.credentials.nodes.get(&state.name).ok_or_else(missing)?;
        self.place_files(demand, state, own);
        for role in &demand.roles {
            if let Some(secret) = own.scram_secrets.get(&role.name) {
                self.set_password(state, role, secret);
            }
            let for_others = |way: &WayIn| way.role == role.name && !way.links_only;
            if own.replaced_passwords.contains(&role.name) && demand.ways_in.iter().any(for_others)
            {
                let message = format!(
                    "the role {} has a password that the links do not know, and gets another: whoever \
                     else logs in with it (people, another access node) must be told. For it to stay, \
                     write it into the password file of each node that connects before",
                    role.name
                );
                self.work.warnings.push(Warning::new(&state.name, message));
            }
        }
        for message in &demand.notes {
            self.work.warnings.push(Warning::new(&state.name, message));
        }
        for (database, reason) in &state.unseen_databases {
            let message = format!(
                "the database {database} cannot be searched for foreign servers ({reason}): what \
                 links to the described nodes from there will be shut out"
            );
            self.work.warnings.push(Warning::new(&state.name, message));
        }
        for demanded in &demand.statements {
            let execute = |statement: &Statement| Action::Execute {
                database: demanded.database.clone(),
                statement: statement.clone(),
            };
            self.work.statements.push(Step {
                node: (&state.name).into(),
                action: execute(&demanded.statement),
                undo: demanded.undo.as_ref().map(execute),
            });
        }
        self.configure(demand, state, own)
    }

    fn make_role(&mut self, state: &NodeState, demand: &RoleDemand) -> Result<(), Error> {
        let name = escape_identifier(&demand.name);
        let execute = |statement| Action::Execute { database: None, statement };
        let mut step = |there: Statement, back: String| {
            self.work.roles.push(Step {
                node: (&state.name).into(),
                action: execute(there),
                undo: Some(execute(Statement::new(demand.local(&back)))),
            });
        };
        let Some(found) = state.role(&demand.name) else {
            let replication = if demand.replication { " REPLICATION" } else { "" };
            let missing = || {
                Error::plan(format!(
                    "there is no role {}: create it on every node, CREATE ROLE {name} \
                     LOGIN{replication}",
                    demand.name
                ))
            };
            let create = demand.create.clone().ok_or_else(missing)?;
            step(create, format!("DROP ROLE IF EXISTS {name}"));
            return Ok(());
        };
        let lacks = [
            ("LOGIN", "log in", demand.login && !found.can_login),
            (
                "REPLICATION",
                "replicate",
                demand.replication && !found.replication && !found.superuser,
            ),
        ];
        for (attribute, words, lacking) in lacks {
            if lacking && !demand.alter {
                return Err(Error::plan(format!(
                    "the role {} may not {words}: ALTER ROLE {name} {attribute}",
                    demand.name
                )));
            }
            if lacking {
                step(
                    Statement::new(demand.local(&format!("ALTER ROLE {name} {attribute}"))),
                    format!("ALTER ROLE {name} NO{attribute}"),
                );
            }
        }
        if demand.password && found.password_expired {
            return Err(Error::plan(format!(
                "the password of the role {} has expired, and so would a new one have: ALTER ROLE \
                 {name} VALID UNTIL 'infinity'",
                demand.name
            )));
        }
        for group in &demand.member_of {
            if found.superuser || found.member_of.contains(group) {
                continue;
            }
            let group = escape_identifier(group);
            step(
                Statement::new(demand.local(&format!("GRANT {group} TO {name}"))),
                format!("REVOKE {group} FROM {name}"),
            );
        }
        Ok(())
    }

    /// Clients that come in by certificates of the authority that the server asks for now, and that it
    /// will not take any more.
    fn others_shut_out(&self, demand: &Demand, state: &NodeState) -> Vec<String> {
        let now = state.setting("ssl_ca_file");
        let Some(root) = demand.root.as_ref().filter(|_| !now.is_empty()) else {
            return Vec::new();
        };
        let ours = files::has(state, root, &self.credentials.root);
        if ours && state.in_data_directory(now) == state.in_data_directory(root) {
            return Vec::new();
        }
        let note = |rule: String| {
            format!(
                "\"{rule}\" asks clients for certificates of the authority in {now}: it will take \
                 those of the cluster's authority only, so give these clients such certificates first"
            )
        };
        hba::others_with_certificates(state, &demand.ways_in).into_iter().map(note).collect()
    }

    /// Certificates, keys and password file.
    fn place_files(&mut self, demand: &Demand, state: &NodeState, own: &NodeCredentials) {
        let public = |text: &String| Content::Public(text.clone().into_bytes());
        let mut contents = Vec::new();
        if let Some(root) = &demand.root {
            contents.push((root, 0o644, public(&self.credentials.root)));
        }
        for (place, pair) in &own.pairs {
            contents.push((&place.certificate, 0o644, public(&pair.certificate)));
            contents.push((&place.key, 0o600, Content::Secret(pair.key.clone())));
        }
        if let (Some(path), Some(name)) = (&demand.passfile, &own.passfile) {
            contents.push((path, 0o600, Content::Secret(name.clone())));
        }
        if let Some(place) = &demand.server
            && own.new_server
            && let Some(found) = state.file(&state.in_data_directory(&place.certificate))
            && self.is_of_another_authority(&found.bytes)
        {
            let message = format!(
                "{} holds the certificate of another authority, which is replaced: clients that verify \
                 the server by that must be told of the cluster's",
                place.certificate.display()
            );
            self.work.warnings.push(Warning::new(&state.name, message));
        }
        if let Some(root) = &demand.root
            && let Some(other) = self.other_authority(state, root)
        {
            let message = format!(
                "{} holds another authority ({other}), which is replaced: what logs in here by its \
                 certificates, or finds only it in this node's, no longer does. If another cluster has \
                 this node as well (a data node of two access nodes), give both one authority first: its \
                 ca.crt and ca.key in the folder of secrets of this description",
                root.display()
            );
            self.work.warnings.push(Warning::new(&state.name, message));
        }
        for (path, mode, content) in contents {
            let path = state.in_data_directory(path);
            let access = Access { mode, ..state.owner };
            if let Some(step) = self.write(state, path.clone(), access, content) {
                self.make_folders(state, &path);
                self.work.place.push(step);
            }
        }
    }

    /// The authority that a server goes by now and that the file is to hold no more.
    fn other_authority(&self, state: &NodeState, root: &Path) -> Option<String> {
        let path = state.in_data_directory(root);
        let is_used = state.setting("ssl") == "on"
            && state.in_data_directory(state.setting("ssl_ca_file")) == path;
        let found =
            Certificate::all_from_pem(&state.file(&path).filter(|_| is_used)?.bytes).ok()?;
        let ours = Certificate::from_pem(self.credentials.root.as_bytes()).ok()?;
        let other = found.first().filter(|_| !found.contains(&ours))?;
        Some(other.subject().to_string())
    }

    fn is_of_another_authority(&self, pem: &[u8]) -> bool {
        let root = Certificate::from_pem(self.credentials.root.as_bytes());
        match (Certificate::from_pem(pem), root) {
            (Ok(found), Ok(root)) => !found.is_signed_by(root.public_key()),
            _ => false,
        }
    }

    /// Whether a file of the node is put in place that its server loads with the configuration, and so
    /// goes by as it last was.
    fn places_what_is_loaded(&self, state: &NodeState) -> bool {
        let loaded = ["ssl_ca_file", "ssl_cert_file", "ssl_key_file"]
            .map(|name| state.in_data_directory(state.setting(name)));
        // The node's own were put in last.
        let own = self.work.place.iter().rev().take_while(|step| *step.node == *state.name);
        own.into_iter().any(|step| match &step.action {
            Action::WriteFile { path, .. } => loaded.contains(path),
            _ => false,
        })
    }

    /// The folders that a file needs and that are not there, the outermost first: what was made last
    /// is taken back first.
    fn make_folders(&mut self, state: &NodeState, file: &Path) {
        let mut missing: Vec<PathBuf> = file
            .ancestors()
            .skip(1)
            .filter(|folder| !state.folders.contains(*folder))
            .map(Path::to_owned)
            .collect();
        missing.reverse();
        for path in missing {
            let action = Action::MakeFolder {
                path: path.clone(),
                access: Access { mode: 0o700, ..state.owner },
            };
            if !self.work.place.iter().any(|step| step.action == action) {
                let undo = Some(Action::RemoveFolder { path });
                self.work.place.push(Step { node: (&state.name).into(), action, undo });
            }
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
        let (change, step) = files::write(state, path, access, content)?;
        self.work.files.push(change);
        Some(step)
    }

    fn set_password(&mut self, state: &NodeState, demand: &RoleDemand, secret: &str) {
        let role = &demand.name;
        let alter = demand.local(&format!("ALTER ROLE {} PASSWORD", escape_identifier(role)));
        let set = |statement| Action::SetPassword { role: role.clone(), statement };
        let found = state.role(role);
        let had = found.is_some_and(|role| role.stored_password.is_some());
        let undo = if had {
            Statement::with_secret(&alter, password_as_found(&state.name, role))
        } else {
            Statement::new(format!("{alter} NULL"))
        };
        self.work.passwords.push(Step {
            node: (&state.name).into(),
            action: set(Statement::with_secret(&alter, secret)),
            // A role that is made here goes as a whole.
            undo: found.map(|_| set(undo)),
        });
    }

    /// `postgresql.conf` and `pg_hba.conf`: first both ways in are open, then only the secured one.
    fn configure(
        &mut self,
        demand: &Demand,
        state: &NodeState,
        own: &NodeCredentials,
    ) -> Result<(), Error> {
        let mut edit = hba::secure(state, &demand.ways_in)?;
        if self.stays_open {
            edit.closed.clone_from(&edit.open);
            edit.notes.clear();
        }
        let log_connections = state.log_connections_wanted();
        let settings = conf::set(state, &settings(demand, log_connections.as_deref()))?;
        let others = self.others_shut_out(demand, state);
        for message in edit.notes.into_iter().chain(settings.notes).chain(others) {
            self.work.warnings.push(Warning::new(&state.name, message));
        }

        let reload = || Step {
            node: (&state.name).into(),
            action: Action::Reload(Expectation { certificate: own.server_fingerprint.clone() }),
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
            let step = files::rewrite(&state.name, &hba_file, access, before, after);
            if opens { open.push(step) } else { close.push(step) }
        }
        if found != edit.closed {
            self.work.files.push(FileChange {
                node: state.name.clone(),
                new: false,
                diff: Some(files::diff(&hba_file, Some(&found), &edit.closed)),
                path: hba_file,
            });
        }
        // New certificates under old names are taken by a reload, too.
        let loaded = own.new_server || self.places_what_is_loaded(state);
        if !open.is_empty() || loaded || reload_is_due(demand, state) {
            open.push(reload());
            self.work.open.extend(open);
        }
        if !close.is_empty() {
            close.push(reload());
            if let Some(action) = end_old_sessions(demand) {
                close.push(Step { node: (&state.name).into(), action, undo: None });
            }
            self.work.close.extend(close);
        }
        Ok(())
    }
}

/// # Errors
/// [`Error::Plan`] where a folder keeps the server's user from a file that it or its links need: they would
/// go on without it, or fail.
fn server_finds_its_files(demand: &Demand, state: &NodeState) -> Result<(), Error> {
    let pairs = demand.pairs().flat_map(|pair| [&pair.certificate, &pair.key]);
    for path in demand.root.iter().chain(pairs).chain(&demand.passfile) {
        let path = state.in_data_directory(path);
        if let Some(folder) = state.shut_folder(&path) {
            return Err(Error::plan(format!(
                "the server's user cannot enter the folder {}, and must read {}: give the folder to that \
                 user (chown), or let others through (chmod a+x)",
                folder.display(),
                path.display()
            )));
        }
    }
    Ok(())
}

/// Whether the server goes by something else than its files say: they are right, and nobody has had it
/// read them since.
fn reload_is_due(demand: &Demand, state: &NodeState) -> bool {
    let unread = |(name, wanted): &(&str, String)| {
        state.configuration.means(name, wanted) && state.setting(name) != wanted
    };
    state.changed_since_reload.is_some() || demand.settings.iter().any(unread)
}

/// Ends what was let in by other ways than those of the demand, for roles that have no others.
fn end_old_sessions(demand: &Demand) -> Option<Action> {
    let mut roles: Vec<String> = Vec::new();
    let mut networks: Vec<IpNet> = Vec::new();
    let mut tls = true;
    for way in demand.ways_in.iter().filter(|way| way.links_only) {
        if !roles.contains(&way.role) {
            roles.push(way.role.clone());
        }
        for network in &way.networks {
            if !networks.contains(network) {
                networks.push(*network);
            }
        }
        tls &= way.tls;
    }
    (!roles.is_empty()).then_some(Action::EndOldSessions { roles, networks, tls })
}

/// The settings that a node needs, those of the demand and what verification reads.
fn settings<'d>(
    demand: &'d Demand,
    log_connections: Option<&'d str>,
) -> Vec<(&'static str, &'d str)> {
    let settings = demand.settings.iter().map(|(name, value)| (*name, value.as_str()));
    let log = log_connections.filter(|_| !demand.ways_in.is_empty());
    settings.chain(log.map(|value| ("log_connections", value))).collect()
}

fn access_of(state: &NodeState, path: &Path) -> Result<Access, Error> {
    let missing = || Error::plan(format!("{} is not there", path.display()));
    state.file(path).map(|file| file.access).ok_or_else(missing)
}

/// The vault's name of a role's stored password as inspection found it.
pub(crate) fn password_as_found(node: &str, role: &str) -> String {
    format!("{node}: stored password of {role} as found")
}
