//! Which file, for which libpq.

use std::path::{Path, PathBuf};

use passfile::{FileStatus, Libpq, PassFile, Surroundings, fs::Stored};

use crate::frame::{console::Console, failure::Failure, input::Input, version};

/// Which file, for which libpq.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PlaceArguments {
    /// The password file; - is standard input [default: the one that libpq takes: PGPASSFILE, else
    /// .pgpass in the home folder]
    #[arg(value_name = "FILE")]
    path: Option<PathBuf>,
    #[command(flatten)]
    pg: version::VersionArguments,
    /// libpq's default folder for Unix sockets, which it calls localhost: /tmp as PostgreSQL comes,
    /// /var/run/postgresql on Debian, Red Hat and their like
    #[arg(long, value_name = "FOLDER", default_value = "/var/run/postgresql")]
    socket_folder: String,
}

/// A password file as it was read.
pub(super) struct Read {
    pub(super) name: String,
    pub(super) file: PassFile,
    /// `None` for standard input.
    pub(super) status: Option<FileStatus>,
}

impl PlaceArguments {
    pub(super) fn libpq(&self, console: &Console) -> Libpq {
        Libpq::new(self.pg.version(console)).with_socket_dir(self.socket_folder.clone())
    }

    pub(super) fn is_input(&self) -> bool {
        self.path.as_deref() == Some(Path::new("-"))
    }

    pub(super) fn path(&self, console: &Console, libpq: &Libpq) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.path {
            return Ok(path.clone());
        }
        let path = Surroundings::of_process().passfile(None, libpq).ok_or_else(|| {
            Failure::user("this user has no home folder, and PGPASSFILE is not set")
                .fix("name the password file")
        })?;
        console.note(&format!("the password file is {}", path.display()));
        Ok(path)
    }

    pub(super) fn read(&self, console: &Console, libpq: &Libpq) -> Result<Read, Failure> {
        let path = self.path(console, libpq)?;
        if self.is_input() {
            let input = Input::read(&path)?;
            let file = PassFile::parse(input.bytes())
                .map_err(|error| Failure::user(format!("{}: {error}", input.name)))?;
            return Ok(Read { name: input.name.clone(), file, status: None });
        }
        let stored = open(&path)?;
        let (name, status) = (path.display().to_string(), stored.status());
        Ok(Read { name, file: stored.file, status })
    }
}

fn open(path: &Path) -> Result<Stored, Failure> {
    Stored::open(path).map_err(store_failure)
}

pub(super) fn store_failure(error: passfile::fs::StoreError) -> Failure {
    match error {
        passfile::fs::StoreError::File(error) => error.into(),
        other => Failure::user(other.to_string()),
    }
}
