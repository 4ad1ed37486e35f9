//! Taking one step back. What is there now decides: what the step has left goes, what somebody else
//! has changed since stays and is named.

use std::{path::PathBuf, sync::Arc};

use sha2::{Digest as _, Sha256};
use textfile::fs::Access;
use tokio_postgres::error::SqlState;
use zeroize::Zeroizing;

use super::{
    Work,
    links::{LinkNow, LinksNow},
    prove::LinkToProve,
    step::{execute, session_now, set_by_alter_system, switch, until_anew},
};
use crate::{
    conf,
    conninfo::ConnInfo,
    deadline::within,
    error::Error,
    inspect::Node,
    plan::{Action, AutoConf, Content, Expected, Statement, Step, hex},
    run::journal::{At, Found},
    text::Text,
    topology::{ForeignPlace, LinkPlace},
    transport::NodeFile,
};

/// How a step is taken back.
pub(super) struct Undo {
    pub(super) act: Act,
    /// What somebody else had changed, and is left to them.
    pub(super) kept: Option<String>,
    /// SHA-256 of what a file will hold that somebody else has changed, too.
    pub(super) file: Option<String>,
}

impl From<Act> for Undo {
    fn from(act: Act) -> Self {
        Self { act, kept: None, file: None }
    }
}

impl Undo {
    fn kept(what: String) -> Self {
        Self { kept: Some(what), ..Act::Nothing.into() }
    }
}

/// What is done.
pub(super) enum Act {
    Nothing,
    Write {
        path: PathBuf,
        bytes: Zeroizing<Vec<u8>>,
        access: Access,
        expected: Expected,
    },
    RemoveFile {
        path: PathBuf,
    },
    RemoveFolder {
        path: PathBuf,
    },
    Execute {
        database: Option<String>,
        statement: Statement,
    },
    AlterSystem {
        name: String,
        value: Option<String>,
        put_back: Option<Box<AutoConf>>,
    },
    /// Bytes of `postgresql.auto.conf`, for which only the setting may differ.
    PutBack {
        file: Box<AutoConf>,
        but: String,
    },
    Switch(Box<SwitchBack>),
    /// The statements of a link that is gone, for what its server's other links share with it.
    SwitchShared(Arc<[(Option<Text>, Statement)]>),
}

/// A link that gets its old connection string.
pub(super) struct SwitchBack {
    statements: Arc<[(Option<Text>, Statement)]>,
    reload: bool,
    put_back: Option<Box<AutoConf>>,
    /// The connection string that it has then, secrets masked.
    now: String,
    link: LinkToProve,
    /// Whether it worked before the run, and is waited for.
    wait: bool,
}

/// Looks what is there, and decides.
///
/// # Errors
/// [`Error::NotTaken`] where the step cannot be taken back as things are.
pub(super) async fn look(
    work: &Arc<Work>,
    node: &Node,
    at: At,
    links: &LinksNow,
) -> Result<Undo, Error> {
    let Some(step) = work.step(at) else { return Ok(Act::Nothing.into()) };
    let state = work.journal.state(at);
    match (&step.action, &step.undo) {
        (Action::MakeFolder { path, .. }, _) => {
            let made = state.begun == Some(Found::Folder { there: false });
            let act = Act::RemoveFolder { path: path.clone() };
            Ok(if made { act } else { Act::Nothing }.into())
        }
        (Action::WriteFile { path, access, content, .. }, Some(undo)) => {
            let now = work.on_files(node, path, |files, path| files.find(path)).await?;
            let written = Version { bytes: content.resolve(&work.vault)?, access: *access };
            file(work, undo, now, &written, state.undo_file.as_deref())
        }
        (
            Action::SetPassword { role, statement: written },
            Some(Action::SetPassword { statement: found, .. }),
        ) => password(work, node, role, written, found).await,
        (_, Some(Action::Execute { database, statement })) => {
            if let Some(database) = database
                && is_database_gone(work, node, database).await?
            {
                return Ok(Undo::kept(format!("the database {database} is gone")));
            }
            Ok(Act::Execute { database: database.clone(), statement: statement.clone() }.into())
        }
        (
            Action::AlterSystem { name, value: written, path, .. },
            Some(Action::AlterSystem { value: found, put_back, .. }),
        ) => {
            let now = work.on_files(node, path, |files, path| files.find(path)).await?;
            let now = now.and_then(|now| conf::value_in(&now.bytes, name));
            Ok(setting(name, now.as_ref(), written.as_ref(), found.as_ref(), put_back.clone()))
        }
        (Action::SwitchLink { .. }, Some(_)) => link(work, step, state.begun, links).await,
        _ => Ok(Act::Nothing.into()),
    }
}

/// What came of taking a step back.
#[derive(Default)]
pub(super) struct Undone {
    /// What somebody else had changed, and was left to them.
    pub(super) kept: Option<String>,
    /// A link that has its old connection string and has not been seen to work by it.
    pub(super) to_prove: Option<LinkToProve>,
}

/// Takes the step back.
pub(super) async fn run(
    work: &Arc<Work>,
    node: &Node,
    at: At,
    act: Act,
    links: &LinksNow,
) -> Result<Undone, Error> {
    let mut undone = Undone::default();
    match act {
        Act::Nothing => {}
        Act::Write { path, bytes, access, expected } => {
            work.on_files(node, &path, move |files, path| {
                files.write(path, &bytes, access, expected)
            })
            .await?;
        }
        Act::RemoveFile { path } => {
            work.on_files(node, &path, |files, path| files.remove_file(path)).await?;
        }
        Act::RemoveFolder { path } => {
            work.on_files(node, &path, |files, path| files.remove_folder(path)).await?;
        }
        Act::Execute { database, statement } => {
            let executed = execute(work, node, database.as_deref(), &statement).await;
            let Err(failure) = executed else { return Ok(undone) };
            let code = failure.error.sql().map(tokio_postgres::error::DbError::code);
            match code {
                // It may never have been done.
                Some(code) if is_gone(code) && !work.journal.state(at).is_done() => {}
                Some(code) if is_gone(code) || *code == SqlState::DEPENDENT_OBJECTS_STILL_EXIST => {
                    undone.kept = Some(format!("{statement}: {}", failure.error));
                }
                _ => return Err(failure.error),
            }
        }
        Act::AlterSystem { name, value, put_back } => {
            let set = set_by_alter_system(work, node, &name, value.as_deref(), put_back);
            set.await.map_err(|failure| failure.error)?;
        }
        Act::PutBack { file, but } => put_back_auto_conf(work, node, *file, &but).await?,
        Act::Switch(back) => {
            let SwitchBack { statements, reload, put_back, now, link, wait } = *back;
            switch(work, node, &statements, reload).await.map_err(|failure| failure.error)?;
            if let Some(file) = put_back {
                put_back_auto_conf(work, node, *file, PRIMARY_CONNINFO).await?;
            }
            links.set(&link.from, &link.name, &link.place, &now);
            // Where it does not work now it is none the better for what has not been taken back yet.
            if wait && until_anew(work, &link.to, &link.key, link.before).await.is_err() {
                undone.to_prove = Some(link);
            }
        }
        Act::SwitchShared(statements) => {
            for (database, statement) in &*statements {
                let executed = execute(work, node, database.as_deref(), statement).await;
                let Err(failure) = executed else { continue };
                let code = failure.error.sql().map(tokio_postgres::error::DbError::code);
                if !code.is_some_and(is_gone) {
                    return Err(failure.error);
                }
            }
        }
    }
    Ok(undone)
}

const PRIMARY_CONNINFO: &str = "primary_conninfo";

/// Gives `postgresql.auto.conf` the bytes that it had, if it says the same but for this setting: what
/// somebody has set since stays.
pub(super) async fn put_back_auto_conf(
    work: &Arc<Work>,
    node: &Node,
    file: AutoConf,
    but: &str,
) -> Result<(), Error> {
    let AutoConf { path, access, content } = file;
    let content = Content::Secret(content);
    let bytes = Zeroizing::new(content.resolve(&work.vault)?.to_vec());
    let but = but.to_owned();
    work.on_files(node, &path, move |files, path| {
        let Some(there) = files.find(path)? else { return Ok(()) };
        if !conf::same_but(&there.bytes, &bytes, &but) {
            return Ok(());
        }
        files.write(path, &bytes, access, Expected::of(Some(&there.bytes)))
    })
    .await
}

fn is_gone(code: &SqlState) -> bool {
    [
        SqlState::UNDEFINED_OBJECT,
        SqlState::UNDEFINED_TABLE,
        SqlState::UNDEFINED_FUNCTION,
        SqlState::INVALID_SCHEMA_NAME,
        SqlState::INVALID_CATALOG_NAME,
    ]
    .contains(code)
}

/// A file's content and access.
struct Version<'b> {
    bytes: &'b [u8],
    access: Access,
}

fn file(
    work: &Work,
    undo: &Action,
    now: Option<NodeFile>,
    written: &Version<'_>,
    begun: Option<&str>,
) -> Result<Undo, Error> {
    let (path, found_access, content) = match (undo, &now) {
        (Action::RemoveFile { path }, Some(now)) if *now.bytes == *written.bytes => {
            return Ok(Act::RemoveFile { path: path.clone() }.into());
        }
        (Action::RemoveFile { path }, Some(_)) => {
            return Ok(Undo::kept(format!("{} is another file by now", path.display())));
        }
        (Action::WriteFile { path, access, content, .. }, _) => (path, *access, content),
        _ => return Ok(Act::Nothing.into()),
    };
    let found = Version { bytes: content.resolve(&work.vault)?, access: found_access };
    let write = |bytes: &[u8], access, expected| Act::Write {
        path: path.clone(),
        bytes: Zeroizing::new(bytes.to_vec()),
        access,
        expected,
    };
    let Some(now) = now else {
        return Ok(Undo {
            kept: Some(format!("{} had been removed, and is back", path.display())),
            ..write(found.bytes, found.access, Expected::Absent).into()
        });
    };
    let expected = Expected::of(Some(&now.bytes));
    // Whoever gave it another mode or owner since wants it so.
    let is = |version: &Version<'_>| now.access.permits_the_same_as(version.access);
    let (access, kept) = if is(written) || is(&found) {
        (found.access, None)
    } else {
        let kept = format!("{} has another mode or owner by now", path.display());
        (now.access, Some(kept))
    };
    if *now.bytes == *found.bytes || *now.bytes == *written.bytes {
        return Ok(Undo { kept, ..write(found.bytes, access, expected).into() });
    }
    // What we had put together here before we were interrupted.
    let digest = |bytes: &[u8]| hex(&Sha256::digest(bytes));
    let theirs = format!("{} was changed by hand, and keeps that", path.display());
    if begun.is_some_and(|begun| begun == digest(&now.bytes)) {
        return Ok(Undo::kept(theirs));
    }
    let merged = match content {
        Content::Public(_) => textfile::diff::revert(found.bytes, written.bytes, &now.bytes),
        Content::Secret(_) => None,
    };
    match merged {
        Some(merged) => Ok(Undo {
            kept: Some(theirs),
            file: Some(digest(&merged)),
            act: write(&merged, access, expected),
        }),
        None => Err(Error::NotTaken {
            reason: format!(
                "{} was changed by hand where it had been edited: put those lines back",
                path.display()
            ),
        }),
    }
}

/// A setting of `ALTER SYSTEM`, by what it is now.
fn setting(
    name: &str,
    now: Option<&String>,
    written: Option<&String>,
    found: Option<&String>,
    put_back: Option<Box<AutoConf>>,
) -> Undo {
    let name = name.to_owned();
    if now == found {
        return put_back.map_or(Act::Nothing, |file| Act::PutBack { file, but: name }).into();
    }
    if now != written {
        return Undo::kept(format!("{name} was set by hand, and keeps that"));
    }
    Act::AlterSystem { name, value: found.cloned(), put_back }.into()
}

async fn password(
    work: &Arc<Work>,
    node: &Node,
    role: &str,
    written: &Statement,
    found: &Statement,
) -> Result<Undo, Error> {
    let client = work.session(node).await?;
    let query = "SELECT rolpassword FROM pg_catalog.pg_authid WHERE rolname = $1";
    let ask = async { Ok(client.query_opt(query, &[&role]).await?) };
    let Some(row) = within(work.limits.answer, "the role's password", ask).await? else {
        return Ok(Undo::kept(format!("the role {role} is gone")));
    };
    let now = row.get::<_, Option<String>>(0).map(Zeroizing::new);
    let is = |statement: &Statement| {
        let secret = statement.secret().and_then(|name| work.vault.get(name));
        now.as_ref().map(|now| now.as_bytes()) == secret
    };
    if is(found) {
        return Ok(Act::Nothing.into());
    }
    if !is(written) {
        return Ok(Undo::kept(format!("the role {role} has another password by now")));
    }
    Ok(Act::Execute { database: None, statement: found.clone() }.into())
}

/// Whether the database is none of the server's any more.
async fn is_database_gone(work: &Arc<Work>, node: &Node, database: &str) -> Result<bool, Error> {
    let client = work.session(node).await?;
    let query = "SELECT FROM pg_catalog.pg_database WHERE datname = $1";
    let ask = async { Ok(client.query_opt(query, &[&database]).await?) };
    Ok(within(work.limits.answer, "the databases", ask).await?.is_none())
}

/// Whether a mapping that is gone has left options to its foreign server, which other mappings use: they
/// were changed with it, and are still what the step made of them.
fn shares(links: &LinksNow, step: &Step, place: &ForeignPlace, before: &str, after: &str) -> bool {
    let part = |conninfo: &str| {
        let conninfo = conninfo.parse::<ConnInfo>().ok()?;
        Some(place.of_server(&conninfo).to_masked_text())
    };
    let now = links.server(&step.node, place).filter(|_| place.first);
    now.is_some_and(|now| {
        part(after).as_deref() == Some(now) && part(before).as_deref() != Some(now)
    })
}

async fn link(
    work: &Arc<Work>,
    step: &Step,
    begun: Option<Found>,
    links: &LinksNow,
) -> Result<Undo, Error> {
    let (
        Action::SwitchLink { to, name, place, session, before, after, .. },
        Some(Action::SwitchLink { statements, reload, put_back, .. }),
    ) = (&step.action, &step.undo)
    else {
        return Ok(Act::Nothing.into());
    };
    let now = match links.find(&step.node, name, place) {
        LinkNow::Conninfo(now) => now,
        LinkNow::Gone => {
            let kept = Undo::kept(format!("the link {name} is gone"));
            let shared = |place: &ForeignPlace| shares(links, step, place, before, after);
            return Ok(match &**place {
                LinkPlace::ForeignServer(place) if shared(place) => {
                    Undo { act: Act::SwitchShared(statements.clone()), ..kept }
                }
                _ => kept,
            });
        }
        LinkNow::Unknown(reason) => {
            return Err(Error::NotTaken {
                reason: format!("nothing tells how the link {name} connects now: {reason}"),
            });
        }
    };
    if now == *before {
        // The file may not be, after an attempt that was interrupted.
        let put = |file| Act::PutBack { file, but: PRIMARY_CONNINFO.to_owned() };
        let act = put_back.clone().map_or(Act::Nothing, put);
        return Ok(act.into());
    }
    if now != *after {
        return Err(Error::NotTaken {
            reason: format!("the link {name} was given another connection string by hand: {now}"),
        });
    }
    let wait = matches!(begun, Some(Found::Session { session: Some(_) }));
    let session = step.session_before().unwrap_or(session);
    let session_before = if wait { session_now(work, to, session).await? } else { None };
    let link = LinkToProve {
        from: step.node.clone(),
        to: to.clone(),
        name: name.clone(),
        place: place.clone(),
        key: session.clone(),
        before: session_before,
    };
    let back = SwitchBack {
        statements: statements.clone(),
        reload: *reload,
        put_back: put_back.clone(),
        now: before.to_string(),
        link,
        wait,
    };
    Ok(Act::Switch(Box::new(back)).into())
}
