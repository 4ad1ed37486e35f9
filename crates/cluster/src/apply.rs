//! Doing what a plan says, and nothing else.
//!
//! Stage by stage. A step that fails ends the work: what was done is taken back, in the opposite
//! order, on every node, and the error says so.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use pki::Certificate;
use textfile::fs::FsError;
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::{
    deadline::Deadline,
    error::{Error, NodeContext as _},
    inspect::Node,
    plan::{Action, Expectation, Pace, Plan, Stage, Statement, Step},
    sessions, sql, tls,
    transport::NodeFiles,
    vault::Vault,
    verify::probe::{self, Shown},
};

/// What happens, for whoever watches.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A stage begins.
    Stage {
        /// Its title.
        title: String,
    },
    /// A step has been done.
    Done {
        /// On which node.
        node: String,
        /// What, in words without secrets.
        what: String,
    },
    /// Something failed, and what was done is being taken back.
    TakingBack,
}

/// Who watches.
pub type Observer = Arc<dyn Fn(Event) + Send + Sync>;

/// Applies a plan.
///
/// # Errors
/// The first thing that failed, as [`Error::TakenBack`]: every node is as it was found, unless that
/// error says which is not.
pub async fn apply(
    nodes: &[Node],
    plan: &Plan,
    vault: &Arc<Vault>,
    observer: &Observer,
) -> Result<(), Error> {
    let own = std::iter::once(Node::this_machine());
    let nodes: Arc<BTreeMap<String, Node>> = Arc::new(
        nodes.iter().cloned().chain(own).map(|node| (node.spec.name.clone(), node)).collect(),
    );
    let mut done: Vec<Vec<Step>> = Vec::new();
    for stage in &plan.stages {
        observer(Event::Stage { title: stage.title.clone() });
        let mut steps = Vec::new();
        let ended = run_stage(&nodes, stage, vault, observer, &mut steps).await;
        done.push(steps);
        if let Err(cause) = ended {
            observer(Event::TakingBack);
            let left = take_back(&nodes, &done, vault).await;
            return Err(Error::TakenBack { cause: Box::new(cause), left });
        }
    }
    Ok(())
}

type Nodes = Arc<BTreeMap<String, Node>>;

async fn run_stage(
    nodes: &Nodes,
    stage: &Stage,
    vault: &Arc<Vault>,
    observer: &Observer,
    done: &mut Vec<Step>,
) -> Result<(), Error> {
    let mut by_node: Vec<(&str, Vec<Step>)> = Vec::new();
    for step in &stage.steps {
        match by_node.iter_mut().find(|(node, _)| *node == step.node) {
            Some((_, steps)) => steps.push(step.clone()),
            None => by_node.push((&step.node, vec![step.clone()])),
        }
    }
    let at_once = match stage.pace {
        Pace::AllAtOnce => AT_ONCE,
        Pace::NodeByNode => 1,
    };
    let mut waiting = by_node.into_iter();
    let mut running = JoinSet::new();
    let mut outcome = Ok(());
    loop {
        while outcome.is_ok() && running.len() < at_once {
            let Some((node, steps)) = waiting.next() else { break };
            let node = find(nodes, node)?.clone();
            running.spawn(run_node(nodes.clone(), node, steps, vault.clone(), observer.clone()));
        }
        let Some(ended) = running.join_next().await else { return outcome };
        let (steps, ended) = ended.map_err(|_| Error::Cancelled)?;
        done.extend(steps);
        // The nodes under way come to their end, so that what they did is known and can be undone.
        outcome = outcome.and(ended);
    }
}

/// How many nodes are worked on at the same time.
const AT_ONCE: usize = 16;

/// Runs one node's steps of a stage; returns those that may have had an effect.
async fn run_node(
    nodes: Nodes,
    node: Node,
    steps: Vec<Step>,
    vault: Arc<Vault>,
    observer: Observer,
) -> (Vec<Step>, Result<(), Error>) {
    let mut done = Vec::new();
    for step in steps {
        let action = step.action.clone();
        done.push(step);
        if let Err(error) = run(&nodes, &node, &action, &vault).await {
            // What is in the way is somebody else's: it must not be taken back as if it were ours.
            if matches!(&error, Error::Files(FsError::Exists { .. } | FsError::Changed { .. })) {
                done.pop();
            }
            return (done, Err(error).on_node(&node.spec.name));
        }
        observer(Event::Done { node: node.spec.name.clone(), what: action.to_string() });
    }
    (done, Ok(()))
}

async fn run(nodes: &Nodes, node: &Node, action: &Action, vault: &Vault) -> Result<(), Error> {
    match action {
        Action::MakeFolder { path, access } => {
            let access = *access;
            on_files(node, path, move |files, path| files.make_folder(path, access)).await
        }
        Action::WriteFile { path, access, expected, content } => {
            let bytes = zeroize::Zeroizing::new(content.resolve(vault)?.to_vec());
            let (access, expected) = (*access, *expected);
            on_files(node, path, move |files, path| files.write(path, &bytes, access, expected))
                .await
        }
        Action::RemoveFile { path } => {
            on_files(node, path, |files, path| files.remove_file(path)).await
        }
        Action::RemoveFolder { path } => {
            on_files(node, path, |files, path| files.remove_folder(path)).await
        }
        Action::Execute { database, statement } => {
            execute(node, database.as_deref(), statement, vault).await
        }
        Action::Reload(expectation) => reload(node, expectation).await,
        Action::SwitchLink { to, session, statements, reload, wait } => {
            let to = find(nodes, to)?;
            let before =
                if *wait { Some(sessions::Watch::begin(&to.spec, session).await?) } else { None };
            for (database, statement) in statements {
                execute(node, database.as_deref(), statement, vault).await?;
            }
            if *reload {
                self::reload(node, &Expectation { certificate: None }).await?;
            }
            match before {
                Some(watch) => watch.until_anew().await,
                None => Ok(()),
            }
        }
        Action::Reconnect { to, session } => {
            let watch = sessions::Watch::begin(&find(nodes, to)?.spec, session).await?;
            watch.end().await?;
            watch.until_anew().await
        }
        Action::EndOldSessions { roles } => {
            let client = sql::connect(&node.spec, None).await?;
            client.execute(END_PLAIN_SESSIONS, &[roles]).await?;
            Ok(())
        }
    }
}

async fn execute(
    node: &Node,
    database: Option<&str>,
    statement: &Statement,
    vault: &Vault,
) -> Result<(), Error> {
    let client = sql::connect(&node.spec, database).await?;
    if statement.has_secret() {
        client.batch_execute(KEEP_OUT_OF_THE_LOG).await?;
    }
    client.batch_execute(&statement.resolve(vault)?).await.map_err(Into::into)
}

/// What a server stores of a password is no password, but nobody needs it in a log either.
const KEEP_OUT_OF_THE_LOG: &str = "SET log_statement = 'none'; \
     SET log_min_duration_statement = -1; SET log_min_error_statement = 'panic'";

const END_PLAIN_SESSIONS: &str = "SELECT pg_catalog.pg_terminate_backend(a.pid) \
     FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_stat_ssl s USING (pid) \
     WHERE a.usename = ANY ($1::text[]) AND NOT s.ssl AND a.client_addr IS NOT NULL";

fn find<'a>(nodes: &'a Nodes, name: &str) -> Result<&'a Node, Error> {
    nodes
        .get(name)
        .ok_or_else(|| Error::plan(format!("the plan has a node {name}, the cluster not")))
}

async fn on_files(
    node: &Node,
    path: &Path,
    act: impl FnOnce(&dyn NodeFiles, &Path) -> Result<(), FsError> + Send + 'static,
) -> Result<(), Error> {
    let (files, path) = (node.files.clone(), path.to_owned());
    let acted = tokio::task::spawn_blocking(move || act(files.as_ref(), &path)).await;
    acted.map_err(|_| Error::Cancelled)?.map_err(Into::into)
}

/// Reloads, and looks whether the server took it: `pg_reload_conf()` says yes to anything.
async fn reload(node: &Node, expectation: &Expectation) -> Result<(), Error> {
    let client = sql::connect(&node.spec, None).await?;
    let refused = client
        .query(
            "SELECT line_number, error FROM pg_catalog.pg_hba_file_rules \
             WHERE type IS NULL ORDER BY 1 LIMIT 1",
            &[],
        )
        .await?;
    if let Some(row) = refused.first() {
        let (line, error): (i32, Option<String>) = (row.get(0), row.get(1));
        return Err(Error::NotTaken {
            reason: format!(
                "the server would not load line {line} of pg_hba.conf: {}",
                error.unwrap_or_else(|| "the reason is in its log".to_owned())
            ),
        });
    }
    let before = load_time(&client).await?;
    client.execute("SELECT pg_catalog.pg_reload_conf()", &[]).await?;
    let deadline = Deadline::new("the server to read its configuration");
    while load_time(&client).await? <= before {
        deadline.pause().await?;
    }
    if let Some(expected) = &expectation.certificate {
        wait_for_certificate(node, expected).await?;
    }
    // The way in must be open still: the next step, and the administrator, come by it.
    sql::connect(&node.spec, None).await.map(drop)
}

/// A server that cannot load its certificate says so in its log only, and keeps the old one.
async fn wait_for_certificate(node: &Node, expected: &str) -> Result<(), Error> {
    let client = tls::any_server(None)?;
    let deadline = Deadline::new("the server to show its new certificate");
    loop {
        let shown = probe::certificate_shown(&node.spec, &client, node.spec.host()).await?;
        if let Shown::Certificate(der) = shown
            && Certificate::from_der(&der)?.fingerprint().to_string() == expected
        {
            return Ok(());
        }
        if deadline.pause().await.is_err() {
            return Err(Error::NotTaken {
                reason: "the server was reloaded, but does not show its new certificate: its log \
                         says why after \"SSL configuration was not reloaded\""
                    .to_owned(),
            });
        }
    }
}

async fn load_time(client: &Client) -> Result<std::time::SystemTime, Error> {
    Ok(client.query_one("SELECT pg_catalog.pg_conf_load_time()", &[]).await?.get(0))
}

/// Undoes steps, the last stage first, each stage with its reloads: a link that goes back to its old
/// connection string must find its old way in open. Returns what could not be undone.
async fn take_back(nodes: &Nodes, done: &[Vec<Step>], vault: &Vault) -> Vec<String> {
    let mut left = Vec::new();
    for stage in done.iter().rev() {
        let mut reload_on = Vec::new();
        for step in stage.iter().rev() {
            let Ok(node) = find(nodes, &step.node) else { continue };
            if matches!(step.action, Action::Reload(_)) {
                reload_on.push(node);
            }
            let Some(undo) = &step.undo else { continue };
            if let Err(error) = run(nodes, node, undo, vault).await {
                left.push(format!("{}: {undo}: {error}", step.node));
            }
        }
        for node in reload_on {
            if let Err(error) = reload(node, &Expectation { certificate: None }).await {
                left.push(format!("{}: reload: {error}", node.spec.name));
            }
        }
    }
    left
}
