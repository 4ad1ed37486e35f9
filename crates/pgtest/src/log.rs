//! What a server has logged.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::Path,
    time::Duration,
};

use crate::{Error, poll};

/// A place in a server's log: what is logged later comes after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct LogPosition(u64);

impl LogPosition {
    /// The start of the log.
    pub const START: Self = Self(0);
}

pub(crate) fn position(path: &Path) -> Result<LogPosition, Error> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(LogPosition(metadata.len())),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(LogPosition::START),
        Err(error) => Err(Error::io(format!("reading {}", path.display()))(error)),
    }
}

pub(crate) fn since(path: &Path, start: LogPosition) -> Result<String, Error> {
    let read = || {
        let mut file = File::open(path)?;
        file.seek(SeekFrom::Start(start.0))?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().map_err(Error::io(format!("reading {}", path.display())))
}

/// The first whole line after `start` that holds `pattern`.
pub(crate) fn wait(
    path: &Path,
    pattern: &str,
    start: LogPosition,
    limit: Duration,
) -> Result<String, Error> {
    let found = poll::until(limit, || {
        let text = since(path, start)?;
        let line = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
            .find(|line| line.contains(pattern));
        Ok::<_, Error>(line.map(|line| line.trim_end().to_owned()))
    })?;
    found.ok_or_else(|| Error::Timeout {
        what: format!("a line with {pattern:?} in the log"),
        after: limit,
        log: tail(path, start),
    })
}

/// The last lines, for an error's text.
pub(crate) fn tail(path: &Path, start: LogPosition) -> String {
    let text = since(path, start).unwrap_or_default();
    let lines: Vec<_> = text.lines().collect();
    lines.get(lines.len().saturating_sub(30)..).unwrap_or_default().join("\n")
}
