//! Doing one step.

use std::{sync::Arc, time::Duration};

use textfile::fs::FsError;
use tokio::time::Instant;
use tokio_postgres::error::{DbError, SqlState};
use zeroize::Zeroizing;

use super::{Work, on_demand, reload, undo::put_back_auto_conf};
use crate::{
    deadline::within,
    error::Error,
    inspect::Node,
    plan::{Action, AutoConf, Expectation, Stage, Statement, Step, alter_system},
    run::journal::{At, Effect, Found, Seen},
    sessions::{self, SecuredWay, SessionId},
    sql::{FOR_OUR_STATEMENTS, KEEP_OUT_OF_THE_LOG},
    text::Text,
    topology::SessionKey,
};

/// How long all links whose sessions were ended are waited for: so long PostgreSQL itself lets one rest
/// where nobody has it otherwise.
const RETURN: Duration = Duration::from_secs(5);

/// How much later than that a server may say that a statement took too long: it may be busy.
const LATE: Duration = Duration::from_secs(5);

/// Why a step was not done, and whether it may have had an effect all the same.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(super) error: Error,
    pub(super) effect: Effect,
}

impl Failure {
    /// Nothing was changed.
    pub(super) fn without_effect(error: Error) -> Self {
        Self { error, effect: Effect::None }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let effect = match &error {
            // What is in the way is somebody else's: it must not be taken back as if it were ours.
            Error::Files(FsError::Exists { .. } | FsError::Changed { .. }) => Effect::None,
            _ => Effect::Unknown,
        };
        Self { error, effect }
    }
}

/// What is there before a step begins, as far as repeating it or taking it back needs it.
pub(super) async fn look(work: &Arc<Work>, node: &Node, step: &Step) -> Result<Found, Error> {
    Ok(match &step.action {
        Action::MakeFolder { path, .. } => {
            let access = work.on_files(node, path, |files, path| files.access(path)).await?;
            Found::Folder { there: access.is_some() }
        }
        Action::SwitchLink { to, session, wait: true, .. } => {
            let session = step.session_before().unwrap_or(session);
            Found::Session { session: session_now(work, to, session).await? }
        }
        Action::Reconnect { to, session } => {
            Found::Session { session: session_now(work, to, session).await? }
        }
        _ => Found::Nothing,
    })
}

/// The session that a link has now on the node that it leads to.
pub(super) async fn session_now(
    work: &Work,
    to: &str,
    key: &SessionKey,
) -> Result<Option<SessionId>, Error> {
    let client = work.session(work.node(to)?).await?;
    let find = async { Ok(sessions::find(&client, key).await?.map(|session| session.id())) };
    within(work.limits.answer, "the link's session", find).await
}

/// Does a step; `again` if it was begun before, so that it may have been done.
pub(super) async fn run(
    work: &Arc<Work>,
    node: &Node,
    at: At,
    found: &Found,
    again: bool,
) -> Result<Seen, Failure> {
    let missing = || Failure::without_effect(Error::plan("the plan has no such step"));
    let step = work.step(at).ok_or_else(missing)?;
    match &step.action {
        Action::MakeFolder { path, access } => {
            let access = *access;
            // One that we made and were killed over may not have its owner yet.
            let ours = again && *found == Found::Folder { there: false };
            let make = move |files: &dyn crate::transport::NodeFiles, path: &std::path::Path| {
                if ours {
                    files.remove_folder(path)?;
                }
                files.make_folder(path, access)
            };
            work.on_files(node, path, make).await?;
        }
        Action::WriteFile { path, access, expected, content } => {
            let bytes = content.resolve(&work.vault).map_err(Failure::without_effect)?;
            let bytes = Zeroizing::new(bytes.to_vec());
            let (access, expected) = (*access, *expected);
            work.on_files(node, path, move |files, path| {
                files.write(path, &bytes, access, expected)
            })
            .await?;
        }
        Action::RemoveFile { path } => {
            work.on_files(node, path, |files, path| files.remove_file(path)).await?;
        }
        Action::RemoveFolder { path } => {
            work.on_files(node, path, |files, path| files.remove_folder(path)).await?;
        }
        Action::Execute { database, statement } => {
            execute(work, node, database.as_deref(), statement).await.or_else(|failure| {
                let there = again && failure.error.sql().is_some_and(is_there_already);
                if there { Ok(()) } else { Err(failure) }
            })?;
        }
        Action::SetPassword { statement, .. } => {
            execute(work, node, None, statement).await?;
        }
        Action::AlterSystem { name, value, put_back, .. } => {
            set_by_alter_system(work, node, name, value.as_deref(), put_back.clone()).await?;
        }
        Action::Reload(expectation) => {
            return reload::reload(work, node, expectation).await.map(Seen::Loaded);
        }
        Action::SwitchLink { to, session, statements, reload, wait, .. } => {
            switch(work, node, statements, *reload).await?;
            if *wait {
                let Found::Session { session: before } = found else { return Err(missing()) };
                until_anew(work, to, session, *before).await?;
            }
        }
        Action::Reconnect { to, session } => {
            let Found::Session { session: before } = found else { return Err(missing()) };
            reconnect(work, to, session, *before).await?;
        }
        Action::AwaitLink { to, session } => {
            let end = *work.links_back_by.get_or_init(|| Instant::now() + RETURN);
            let back = async {
                let client = work.session(work.node(to)?).await?;
                sessions::until_anew(&client, session, None, RETURN).await
            };
            // What keeps it away is no fault of what was done, and others wait for the end of it.
            let _ = tokio::time::timeout_at(end, back).await;
        }
        Action::UseLink { .. } => return on_demand::look(work, node, step).await,
        Action::EndOldSessions { roles, networks, tls } => {
            let way = SecuredWay {
                roles,
                networks: networks.iter().map(ToString::to_string).collect(),
                tls: *tls,
                since: sessions::time_of(opened(work, at, &step.node)?),
            };
            let client = work.session(node).await?;
            let patience = work.limits.answer;
            let end = sessions::end_old(&client, &way, patience);
            within(patience, "the sessions from before to end", end).await?;
        }
    }
    Ok(Seen::Nothing)
}

/// Runs the statements that give a link another connection string.
pub(super) async fn switch(
    work: &Arc<Work>,
    node: &Node,
    statements: &[(Option<Text>, Statement)],
    reload: bool,
) -> Result<(), Failure> {
    for (index, (database, statement)) in statements.iter().enumerate() {
        let executed = execute(work, node, database.as_deref(), statement).await;
        executed.map_err(|failure| match index {
            0 => failure,
            _ => Failure { effect: Effect::Unknown, ..failure },
        })?;
    }
    if reload {
        let expectation = Expectation { certificate: None };
        let reloaded = reload::reload(work, node, &expectation).await;
        reloaded.map_err(|failure| Failure { effect: Effect::Unknown, ..failure })?;
    }
    Ok(())
}

/// Ends the session that a link has, and waits until it works by another.
pub(super) async fn reconnect(
    work: &Work,
    to: &str,
    key: &SessionKey,
    before: Option<SessionId>,
) -> Result<(), Error> {
    if let Some(before) = before {
        let client = work.session(work.node(to)?).await?;
        let end = sessions::end(&client, before);
        within(work.limits.answer, "the link's session to end", end).await?;
    }
    until_anew(work, to, key, before).await
}

/// Waits until a link works by another session than this.
pub(super) async fn until_anew(
    work: &Work,
    to: &str,
    key: &SessionKey,
    before: Option<SessionId>,
) -> Result<(), Error> {
    let client = work.session(work.node(to)?).await?;
    let patience = work.limits.answer;
    let anew = sessions::until_anew(&client, key, before, patience);
    // The wait has a deadline of its own; a server that stands still keeps it from being looked at.
    within(patience * 2, "the link to replicate by its new connection string", anew).await
}

/// Since when the secured way is open on a node: since the first reload of the run where that was to
/// open it; where it was open already, since the server last read its configuration before the run.
fn opened(work: &Work, end_sessions: At, node: &str) -> Result<i64, Failure> {
    let is_reload =
        |(_, step): &(usize, &Step)| step.node == node && matches!(step.action, Action::Reload(_));
    let first_of = |stages: std::ops::Range<usize>| {
        stages.into_iter().find_map(|stage| {
            let mut steps = work.plan.stages.get(stage)?.steps.iter().enumerate();
            let (step, _) = steps.find(is_reload)?;
            Some(At { stage, step })
        })
    };
    let loaded = |at: At| match work.journal.state(at).done {
        Some(Seen::Loaded(loaded)) => Some(loaded),
        _ => None,
    };
    // One for a setting alone opens nothing.
    let for_setting = |stage: &Stage| {
        stage.steps.iter().any(|step| matches!(step.action, Action::AlterSystem { .. }))
    };
    let opening = work.plan.stages.iter().take_while(|stage| for_setting(stage)).count();
    let first = first_of(0..end_sessions.stage + 1).and_then(loaded);
    let opened = first_of(opening..end_sessions.stage)
        .map_or(first.map(|it| it.before), |at| loaded(at).map(|loaded| loaded.open));
    opened.ok_or_else(|| {
        Failure::without_effect(Error::plan(
            "the journal does not tell when the secured way was opened",
        ))
    })
}

/// Gives a setting a value by `ALTER SYSTEM`, or none; then its file gets the bytes that are to be put
/// back.
pub(super) async fn set_by_alter_system(
    work: &Arc<Work>,
    node: &Node,
    name: &str,
    value: Option<&str>,
    put_back: Option<Box<AutoConf>>,
) -> Result<(), Failure> {
    execute(work, node, None, &alter_system(name, value)).await?;
    if let Some(file) = put_back {
        put_back_auto_conf(work, node, *file, name).await?;
    }
    Ok(())
}

/// Runs a statement.
pub(super) async fn execute(
    work: &Arc<Work>,
    node: &Node,
    database: Option<&str>,
    statement: &Statement,
) -> Result<(), Failure> {
    let text = statement.resolve(&work.vault).map_err(Failure::without_effect)?;
    let client = work.connect(node, database).await.map_err(Failure::without_effect)?;
    let executed = async {
        client.batch_execute(FOR_OUR_STATEMENTS).await?;
        if statement.has_secret() {
            client.batch_execute(KEEP_OUT_OF_THE_LOG).await?;
        }
        client.batch_execute(&text).await?;
        Ok(())
    };
    // The server ends a statement that takes longer than it may, and says so: that is waited for.
    let patience = work.limits.answer + (work.limits.answer / 4).max(LATE);
    let executed = within(patience, &statement.to_string(), executed).await;
    executed.map_err(|error| {
        // A statement that the server refused was not run by a half.
        let refused = error.sql().is_some_and(|error| !is_going_down(error));
        let effect = if refused { Effect::None } else { Effect::Unknown };
        Failure { error, effect }
    })
}

/// Whether the server ends the session, or itself: what it had begun may have been committed.
fn is_going_down(error: &DbError) -> bool {
    let code = error.code().code();
    code.starts_with("57P") || code.starts_with("08") || code.starts_with("XX")
}

fn is_there_already(error: &DbError) -> bool {
    [
        SqlState::DUPLICATE_OBJECT,
        SqlState::DUPLICATE_SCHEMA,
        SqlState::DUPLICATE_TABLE,
        SqlState::DUPLICATE_FUNCTION,
        SqlState::DUPLICATE_DATABASE,
    ]
    .contains(error.code())
}
