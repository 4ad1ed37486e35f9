//! A server's configuration files, read from disk.

use std::{
    os::unix::ffi::OsStrExt as _,
    path::{Path, PathBuf},
};

use pg_version::PgVersion;
use pgconf::{Configuration, InvalidValue, Located, Problem, fs::Stored};
use textfile::{DiskFiles, FileError, FileKind, Files, fs::path_of};

use super::secrets;
use crate::frame::{
    console::Console,
    diagnostic::{Diagnostic, Place},
    failure::Failure,
    input::{Input, refuse_private_key},
    version,
};

/// Which files.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct FileArguments {
    /// The server's postgresql.conf; - is standard input
    #[arg(value_name = "FILE")]
    pub(super) path: PathBuf,
    #[command(flatten)]
    pub(super) auto: AutoArguments,
}

/// Where `postgresql.auto.conf` is.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct AutoArguments {
    /// The data directory, which has the postgresql.auto.conf of ALTER SYSTEM [default: the file's
    /// own folder, if that has one]
    #[arg(long, short = 'D', value_name = "FOLDER", conflicts_with = "no_auto")]
    data_directory: Option<PathBuf>,
    /// Leave postgresql.auto.conf out
    #[arg(long)]
    no_auto: bool,
}

impl AutoArguments {
    /// The data directory to read `postgresql.auto.conf` from.
    pub(super) fn folder(&self, console: &Console, main: &Path) -> Option<PathBuf> {
        if self.no_auto {
            return None;
        }
        if let Some(folder) = &self.data_directory {
            return Some(std::path::absolute(folder).unwrap_or_else(|_| folder.clone()));
        }
        let folder = main.parent()?;
        let has = folder.join("postgresql.auto.conf").exists();
        if has {
            console
                .detail(&format!("postgresql.auto.conf is read, too, from {}", folder.display()));
        }
        has.then(|| folder.to_owned())
    }
}

/// The files, and what was read of them.
pub(super) struct Reading {
    pub(super) input: Input,
    pub(super) configuration: Configuration,
}

/// Standard input as the main file, everything else from disk.
struct Beside<'a> {
    main: &'a [u8],
    bytes: &'a [u8],
}

impl Files for Beside<'_> {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        if path == self.main { Ok(self.bytes.to_vec()) } else { DiskFiles.read(path) }
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        DiskFiles.list(path)
    }
}

impl FileArguments {
    pub(super) fn read(
        &self,
        console: &Console,
        pg: version::VersionArguments,
    ) -> Result<Reading, Failure> {
        read(&self.path, &self.auto, console, pg.version(console))
    }
}

pub(super) fn read(
    path: &Path,
    auto: &AutoArguments,
    console: &Console,
    version: PgVersion,
) -> Result<Reading, Failure> {
    open(path, auto, console, version).map(|(reading, _)| reading)
}

/// The same, and the files on disk to save edits to; standard input has none.
pub(super) fn open(
    path: &Path,
    auto: &AutoArguments,
    console: &Console,
    version: PgVersion,
) -> Result<(Reading, Option<Stored>), Failure> {
    let input = Input::read_shown(path)?;
    let main = input.path();
    let folder = auto.folder(console, &main);
    if input.snapshot().is_some() {
        let stored = Stored::open(&main, folder.as_deref(), version)?;
        let configuration = stored.configuration.clone();
        refuse_included_keys(&input, &configuration)?;
        return Ok((Reading { input, configuration }, Some(stored)));
    }
    let bytes = main.as_os_str().as_bytes();
    let files = Beside { main: bytes, bytes: input.bytes() };
    let folder = folder.as_ref().map(|folder| folder.as_os_str().as_bytes());
    let configuration = Configuration::read(&files, bytes, folder, version);
    refuse_included_keys(&input, &configuration)?;
    Ok((Reading { input, configuration }, None))
}

fn refuse_included_keys(input: &Input, configuration: &Configuration) -> Result<(), Failure> {
    configuration.files().try_for_each(|(path, file)| {
        refuse_private_key(&input.name_of(path_of(path)), &file.to_bytes())
    })
}

impl Reading {
    /// What a file is called.
    pub(super) fn name(&self, path: &[u8]) -> String {
        self.input.name_of(path_of(path))
    }

    /// A line of one of the files.
    pub(super) fn place(&self, path: &[u8], line: usize) -> Place {
        let Some(file) = self.configuration.file(path) else {
            return Place::hidden(self.name(path), line);
        };
        Place::line(self.name(path), &file.to_bytes(), line, &secrets::find(file))
    }

    /// What makes the server refuse the files.
    pub(super) fn problem(&self, found: &Located<'_, Problem>) -> Diagnostic {
        let mut diagnostic =
            Diagnostic::error(found.what.to_string()).at(self.place(found.file, found.line));
        diagnostic.code = problem_code(&found.what).map(str::to_owned);
        diagnostic.fix = problem_fix(&found.what).map(str::to_owned);
        match &found.what {
            Problem::Syntax { near: Some(token) } => {
                diagnostic.why(format!("near \"{}\"", crate::frame::text::lossy(token)))
            }
            Problem::Syntax { near: None } => diagnostic.why("near the end of the line"),
            _ => diagnostic,
        }
    }

    /// A value that the server refuses.
    pub(super) fn invalid(&self, found: &Located<'_, InvalidValue>) -> Diagnostic {
        let invalid = &found.what;
        let mut diagnostic = if invalid.is_build_dependent() {
            Diagnostic::warning(invalid.message())
                .code("build-dependent-value")
                .why("only servers that are built with the library for it take the value")
        } else {
            Diagnostic::error(invalid.message()).code("invalid-value")
        };
        diagnostic = diagnostic.at(self.place(found.file, found.line));
        if let Some(detail) = invalid.detail() {
            diagnostic = diagnostic.why(detail);
        }
        match invalid.hint() {
            Some(hint) => diagnostic.fix(hint),
            None => {
                let line = self.configuration.file(found.file);
                let line = line.and_then(|file| file.line(found.line.saturating_sub(1)));
                let name = line.and_then(|line| line.name()).map(crate::frame::text::lossy);
                let name = name.unwrap_or_else(|| "NAME".to_owned());
                diagnostic.fix(format!("pgward conf explain {name} tells what the setting takes"))
            }
        }
    }
}

/// What `pgward explain` knows a problem by.
fn problem_code(problem: &Problem) -> Option<&'static str> {
    Some(match problem {
        Problem::Syntax { .. } => "syntax",
        Problem::UnknownName { .. } => "unknown-name",
        Problem::EmptyFileName => "empty-file-name",
        Problem::EmptyDirectoryName => "empty-folder-name",
        Problem::TooDeep => "include-too-deep",
        Problem::Recursion => "include-circle",
        Problem::CannotOpenFile { .. } => "cannot-open-file",
        Problem::CannotOpenDirectory { .. } => "cannot-open-folder",
        Problem::CannotStat { .. } => "dangling-link",
        Problem::Unreadable => "unreadable",
        Problem::Limit => "too-many-settings",
        _ => return None,
    })
}

/// What to do about a problem.
fn problem_fix(problem: &Problem) -> Option<&'static str> {
    Some(match problem {
        Problem::Syntax { .. } => {
            "write name = value, with single quotes around a value that is more than one word or \
             has a character other than letters, digits and . - : / in it"
        }
        Problem::UnknownName { .. } => "correct the name, or take the line out",
        Problem::EmptyFileName => "name the file behind include, or take the line out",
        Problem::EmptyDirectoryName => "name the folder behind include_dir, or take the line out",
        Problem::TooDeep => "include the file from one further up: ten levels are allowed",
        Problem::Recursion => "take out the include that leads back to the same file",
        Problem::CannotOpenFile { .. } => {
            "create the file, correct its path (relative to the folder of the including file), or \
             write include_if_exists"
        }
        Problem::CannotOpenDirectory { .. } => {
            "create the folder, or correct its path (relative to the folder of the including file)"
        }
        Problem::CannotStat { .. } => "remove the dangling link from the folder",
        Problem::Unreadable => "name a plain file, not a folder",
        _ => return None,
    })
}
