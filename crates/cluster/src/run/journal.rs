//! A run's journal: what was begun and done, one record a line, on disk before anything else happens.

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use serde::{Deserialize, Serialize};
use textfile::fs::FsError;
use time::OffsetDateTime;

use crate::{error::Error, rfc3339, sessions::SessionId};

/// A step's place in the plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct At {
    /// The stage, from 0.
    pub(crate) stage: usize,
    /// The step in its stage, from 0.
    pub(crate) step: usize,
}

/// What a line tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "record")]
pub(crate) enum Record {
    /// The work goes forward from here.
    Apply,
    /// A step is about to be done.
    Begin {
        #[serde(flatten)]
        at: At,
        /// For the reader.
        node: String,
        /// For the reader.
        what: String,
        /// What is there before.
        #[serde(default, skip_serializing_if = "Found::is_nothing")]
        found: Found,
    },
    /// A step was done.
    Done {
        #[serde(flatten)]
        at: At,
        /// What was seen after it.
        #[serde(default, skip_serializing_if = "Seen::is_nothing")]
        seen: Seen,
    },
    /// A step could not be done.
    Failed {
        #[serde(flatten)]
        at: At,
        reason: String,
        effect: Effect,
    },
    /// All steps were done.
    Applied,
    /// The work goes backward from here.
    TakeBack,
    /// A step is about to be taken back.
    Undo {
        #[serde(flatten)]
        at: At,
        /// SHA-256 of what a file will hold that somebody else has changed, too.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file: Option<String>,
    },
    /// A step was taken back.
    Undone {
        #[serde(flatten)]
        at: At,
        /// What somebody else had changed, and was left to them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        kept: Option<String>,
    },
    /// A step could not be taken back.
    Left {
        #[serde(flatten)]
        at: At,
        reason: String,
    },
    /// All was taken back.
    TakenBack,
    /// The run was given up, as it is.
    Abandoned,
}

/// What was there before a step.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Found {
    /// Nothing that matters.
    #[default]
    Nothing,
    /// Whether the folder was there.
    Folder {
        /// It was.
        there: bool,
    },
    /// The session that the link had.
    Session {
        /// None if it had none.
        session: Option<SessionId>,
    },
}

impl Found {
    fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

/// What was seen after a step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Seen {
    /// Nothing that matters.
    #[default]
    Nothing,
    /// The server has read its configuration.
    Loaded(Loaded),
    /// The link was used.
    Used {
        /// It could be.
        works: bool,
    },
}

impl Seen {
    fn is_nothing(&self) -> bool {
        *self == Self::Nothing
    }
}

/// When a server read its configuration, in microseconds since 1970 by its own clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Loaded {
    /// The time before.
    pub(crate) before: i64,
    /// The first session that we had by the new rules began then: no session by older rules began
    /// later.
    pub(crate) open: i64,
}

/// Whether a step that failed may have done something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Effect {
    /// It has not.
    None,
    /// It may have.
    Unknown,
}

/// Which way a run goes, or has gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It is being applied; or was, when its process ended.
    Applying,
    /// It was applied.
    Applied,
    /// It is being taken back; or was, when its process ended or something kept it from it.
    TakingBack,
    /// It was taken back.
    TakenBack,
    /// It was given up, as it was.
    Abandoned,
}

impl State {
    /// Whether nothing is left to be done.
    #[must_use]
    pub const fn is_finished(self) -> bool {
        matches!(self, Self::Applied | Self::TakenBack | Self::Abandoned)
    }
}

/// What the journal tells of one step.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StepState {
    /// What was there before its first attempt; `None` if there was none.
    pub(crate) begun: Option<Found>,
    /// What was seen when it was done.
    pub(crate) done: Option<Seen>,
    /// Whether its attempts certainly had no effect.
    pub(crate) no_effect: bool,
    /// What a file was to hold when taking it back began.
    pub(crate) undo_file: Option<String>,
    /// Whether taking it back was begun.
    pub(crate) undo_begun: bool,
    /// Whether it was taken back.
    pub(crate) undone: bool,
    /// Why it could not be done, at the last attempt.
    pub(crate) failed: Option<String>,
    /// What was left to others when it was taken back.
    pub(crate) kept: Option<String>,
    /// Why it could not be taken back, at the last attempt.
    pub(crate) left: Option<String>,
}

impl StepState {
    pub(crate) fn is_done(&self) -> bool {
        self.done.is_some()
    }

    /// Whether it may have changed something that has not been taken back.
    pub(crate) fn is_to_undo(&self) -> bool {
        self.begun.is_some() && !self.undone && (self.done.is_some() || !self.no_effect)
    }
}

/// All that a journal tells.
#[derive(Clone, Debug, Default)]
pub(crate) struct Told {
    pub(crate) state: Option<State>,
    pub(crate) steps: BTreeMap<At, StepState>,
    /// The time of the last record.
    pub(crate) last: Option<OffsetDateTime>,
}

impl Told {
    fn take(&mut self, line: Line) {
        self.last = Some(line.at);
        let steps = &mut self.steps;
        match line.record {
            Record::Apply => self.state = Some(State::Applying),
            Record::Applied => self.state = Some(State::Applied),
            Record::TakeBack => {
                self.state = Some(State::TakingBack);
                for step in steps.values_mut() {
                    step.left = None;
                }
            }
            Record::TakenBack => self.state = Some(State::TakenBack),
            Record::Abandoned => self.state = Some(State::Abandoned),
            Record::Begin { at, found, .. } => {
                let step = steps.entry(at).or_default();
                step.begun.get_or_insert(found);
                step.no_effect = false;
            }
            Record::Done { at, seen } => {
                let step = steps.entry(at).or_default();
                step.done = Some(seen);
                step.failed = None;
            }
            Record::Failed { at, reason, effect } => {
                let step = steps.entry(at).or_default();
                step.failed = Some(reason);
                step.no_effect = effect == Effect::None;
            }
            Record::Undo { at, file } => {
                let step = steps.entry(at).or_default();
                step.undo_begun = true;
                step.undo_file = file.or(step.undo_file.take());
            }
            Record::Undone { at, kept } => {
                let step = steps.entry(at).or_default();
                step.undone = true;
                step.kept = kept;
            }
            Record::Left { at, reason } => steps.entry(at).or_default().left = Some(reason),
        }
    }
}

/// One line.
#[derive(Serialize, Deserialize)]
struct Line {
    #[serde(with = "rfc3339")]
    at: OffsetDateTime,
    #[serde(flatten)]
    record: Record,
}

/// A journal that is open for more.
#[derive(Debug)]
pub(crate) struct Journal {
    path: PathBuf,
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    file: File,
    told: Told,
    /// Where the last whole record ends.
    end: u64,
}

impl Journal {
    /// Makes an empty journal, mode 0600.
    pub(crate) fn create(path: &Path) -> Result<(), FsError> {
        let io = |source| FsError::Io { action: "create", path: path.to_owned(), source };
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
        file.and_then(|file| file.sync_all()).map_err(io)
    }

    /// Opens a journal for more. A last line that was not written to its end goes: what it was to
    /// tell had not begun.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let (told, whole) = read(path)?;
        let io = |source| FsError::Io { action: "open", path: path.to_owned(), source };
        let mut file = OpenOptions::new().write(true).open(path).map_err(io)?;
        file.set_len(whole).map_err(io)?;
        file.seek(SeekFrom::End(0)).map_err(io)?;
        Ok(Self { path: path.to_owned(), inner: Mutex::new(Inner { file, told, end: whole }) })
    }

    /// Writes a record; it is on disk when this returns.
    pub(crate) fn append(&self, record: Record) -> Result<(), Error> {
        let io = |source| FsError::Io { action: "write", path: self.path.clone(), source };
        let line = Line { at: OffsetDateTime::now_utc(), record };
        let mut text = serde_json::to_vec(&line).map_err(|error| io(error.into()))?;
        text.push(b'\n');
        let mut inner = self.lock();
        let end = inner.end;
        let written = inner.file.write_all(&text).and_then(|()| inner.file.sync_data());
        if let Err(error) = written {
            // A half of a record must not stand before a whole one.
            let _ = inner.file.set_len(end).and_then(|()| inner.file.seek(SeekFrom::Start(end)));
            return Err(io(error).into());
        }
        inner.end += text.len() as u64;
        inner.told.take(line);
        Ok(())
    }

    /// What it tells of a step.
    pub(crate) fn state(&self, at: At) -> StepState {
        self.lock().told.steps.get(&at).cloned().unwrap_or_default()
    }

    /// All that it tells.
    pub(crate) fn told(&self) -> Told {
        self.lock().told.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // What a panic elsewhere left is what is on disk.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads a journal; also how many bytes of it are whole records.
pub(crate) fn read(path: &Path) -> Result<(Told, u64), Error> {
    let io = |source| FsError::Io { action: "read", path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(io)?;
    let mut told = Told::default();
    let mut whole = 0;
    let lines: Vec<&[u8]> = bytes.split_inclusive(|byte| *byte == b'\n').collect();
    for (index, text) in lines.iter().enumerate() {
        let last = index + 1 == lines.len();
        match serde_json::from_slice::<Line>(text) {
            // What has no end was not waited for.
            Ok(line) if text.ends_with(b"\n") => told.take(line),
            _ if last => break,
            Ok(_) => break,
            Err(error) => {
                return Err(Error::run(format!(
                    "line {} of {} is no record of this version: {error}",
                    index + 1,
                    path.display()
                )));
            }
        }
        whole += text.len() as u64;
    }
    Ok((told, whole))
}
