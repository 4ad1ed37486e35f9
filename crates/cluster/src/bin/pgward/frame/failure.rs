//! Why a command has no answer, and the exit code that says so.

use std::io;

use cluster::Error;
use textfile::fs::{FsError, system_words};

use super::diagnostic::Diagnostic;

/// How the program ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is as it should be.
    Fine = 0,
    /// Something was found, or the user's input cannot be worked with.
    Findings = 1,
    /// The work could not be done: a server is down, a file may not be read.
    Failed = 2,
}

impl From<Exit> for std::process::ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why there is no answer.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) problem: Box<Diagnostic>,
}

impl Failure {
    /// The user's input cannot be worked with: exit code 1.
    pub(crate) fn user(message: impl Into<String>) -> Self {
        Self { exit: Exit::Findings, problem: Box::new(Diagnostic::error(message)) }
    }

    /// The work could not be done: exit code 2.
    pub(crate) fn failed(message: impl Into<String>) -> Self {
        Self { exit: Exit::Failed, problem: Box::new(Diagnostic::error(message)) }
    }

    /// With what to do about it.
    pub(crate) fn fix(mut self, fix: impl Into<String>) -> Self {
        self.problem.fix = Some(fix.into());
        self
    }

    /// A problem with a place in the user's input.
    pub(crate) fn at(problem: Diagnostic) -> Self {
        Self { exit: Exit::Findings, problem: Box::new(problem) }
    }

    /// What the system says about a file.
    pub(crate) fn io(action: &str, path: &str, error: &io::Error) -> Self {
        let failure = Self::failed(format!("cannot {action} {path}: {}", system_words(error)));
        match error.kind() {
            io::ErrorKind::NotFound if path.starts_with('/') => {
                Self { exit: Exit::Findings, ..failure }.fix("look at the path")
            }
            io::ErrorKind::NotFound => Self { exit: Exit::Findings, ..failure }
                .fix("look at the path; it is relative to the folder that pgward was called in"),
            io::ErrorKind::PermissionDenied => {
                failure.fix("run pgward as a user that may, such as the file's owner or root")
            }
            io::ErrorKind::IsADirectory => {
                Self { exit: Exit::Findings, ..failure }.fix("name a file, or - for standard input")
            }
            io::ErrorKind::NotADirectory => Self { exit: Exit::Findings, ..failure }
                .fix("look at the path: what should be a folder in it is a file"),
            io::ErrorKind::AlreadyExists => Self { exit: Exit::Findings, ..failure }
                .fix("name a folder: there is a file of that name"),
            _ => failure,
        }
    }
}

impl From<FsError> for Failure {
    fn from(error: FsError) -> Self {
        match &error {
            FsError::Io { action, path, source } => {
                Self::io(action, &path.display().to_string(), source)
            }
            FsError::Exists { .. } => Self::user(error.to_string())
                .fix("name another file, or remove that one if nobody needs it"),
            FsError::NotAFile { .. } => {
                Self::user(error.to_string()).fix("name a file, or - for standard input")
            }
            FsError::Changed { .. } => {
                Self::failed(error.to_string()).fix("call pgward again: it does so")
            }
            _ => Self::failed(error.to_string()),
        }
    }
}

impl From<pki::Error> for Failure {
    fn from(error: pki::Error) -> Self {
        match &error {
            pki::Error::File { path, source } => Self::io("open", path, source),
            pki::Error::Exists { path } => {
                let path = path.strip_prefix("./").unwrap_or(path);
                Self::user(format!("{path} exists already"))
                    .fix("name another file, or give --replace if nobody needs it")
            }
            pki::Error::Make { .. } => Self::failed(error.to_string()),
            _ => Self::user(error.to_string()),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let user = is_users(&error);
        let fix = fix_of(&error);
        let failure =
            if user { Self::user(error.to_string()) } else { Self::failed(error.to_string()) };
        match fix {
            Some(fix) => failure.fix(fix),
            None => failure,
        }
    }
}

/// Whether the user must change something, in the description or in the cluster, before it can work.
fn is_users(error: &Error) -> bool {
    match error {
        Error::Node { source, .. } => is_users(source),
        other => matches!(
            other,
            Error::Spec(_) | Error::Plan { .. } | Error::ConnInfo { .. } | Error::Run { .. }
        ),
    }
}

/// What to do about an error of the cluster, where its message does not say it.
fn fix_of(error: &Error) -> Option<&'static str> {
    match error {
        Error::Node { source, .. } => fix_of(source),
        Error::Connect { .. } => Some(
            "see that the server runs, that \"sql\" in the description leads to it, and that its \
             pg_hba.conf lets this user in from here",
        ),
        Error::TimedOut { .. } => Some(
            "see what the node is busy with, in its server's log and on its machine, and try again",
        ),
        Error::Sql(lost) if lost.is_closed() => {
            Some("the session broke off: look into the server's log, and try again")
        }
        Error::Files(FsError::Io { source, .. })
            if source.kind() == io::ErrorKind::PermissionDenied =>
        {
            Some("run pgward as root, or as the user that owns it")
        }
        _ => None,
    }
}
