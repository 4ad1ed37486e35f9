//! A server whose files are rewritten under it: it is asked what it sees in them, and never told to
//! use them.

use std::{
    fs::Permissions,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::PathBuf,
};

use pgconf::Configuration;
use pgtest::{Installation, Server};
use textfile::{DiskFiles, FileError, FileErrorKind, FileKind, Files, fs::path_of};

use super::generate::Content;

/// A row of `pg_file_settings`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) file: String,
    pub(super) line: i64,
    pub(super) name: Option<Vec<u8>>,
    pub(super) value: Option<Vec<u8>>,
    pub(super) applied: bool,
    pub(super) error: Option<String>,
}

pub(super) struct Reader {
    pub(super) server: Server,
    data: PathBuf,
    /// The main file as `initdb` made it: nearly every setting, commented out.
    pub(super) sample: Vec<u8>,
    written: Vec<PathBuf>,
}

impl Reader {
    pub(super) fn start(installation: &Installation) -> Result<Self, pgtest::Error> {
        // Bytes are bytes, whatever the case's file holds.
        let server = Server::builder(installation)
            .initdb_args(["--encoding=SQL_ASCII", "--locale=C"])
            .start()?;
        let data = server.data_dir();
        let path = data.join("postgresql.conf");
        let sample = std::fs::read(&path)
            .map_err(|source| pgtest::Error::Io { what: format!("{}", path.display()), source })?;
        Ok(Self { server, data, sample, written: Vec::new() })
    }

    /// Puts a case's files in place of the last one's. Names are relative to the data folder.
    pub(super) fn write(&mut self, files: &[(String, Content)]) -> std::io::Result<()> {
        for path in self.written.drain(..) {
            if path.is_dir() {
                std::fs::remove_dir_all(path)?;
            } else if path.symlink_metadata().is_ok() {
                std::fs::remove_file(path)?;
            }
        }
        for (name, content) in files {
            let path = self.data.join(name);
            match name.split_once('/') {
                Some((folder, _)) => self.written.push(self.data.join(folder)),
                None => self.written.push(path.clone()),
            }
            if let Some(folder) = path.parent() {
                std::fs::create_dir_all(folder)?;
            }
            match content {
                Content::Bytes(bytes) => std::fs::write(path, bytes)?,
                Content::Unreadable(bytes) => {
                    std::fs::write(&path, bytes)?;
                    std::fs::set_permissions(path, Permissions::from_mode(0o000))?;
                }
                Content::Link(target) => symlink(target, path)?,
                Content::Folder => std::fs::create_dir_all(path)?,
            }
        }
        Ok(())
    }

    /// What the crate reads there.
    pub(super) fn configuration(&self) -> Configuration {
        self.read(Some(self.data.as_os_str().as_encoded_bytes()))
    }

    /// What the crate reads there, `postgresql.auto.conf` left out.
    pub(super) fn configuration_without_auto(&self) -> Configuration {
        self.read(None)
    }

    fn read(&self, data: Option<&[u8]>) -> Configuration {
        let main = self.data.join("postgresql.conf");
        let main = main.as_os_str().as_encoded_bytes();
        Configuration::read(&AsTheServer, main, data, self.server.version())
    }

    /// What the server reads there, without what it adds about settings that were in its files when
    /// it started and are no more; in a session of its own: a session that looked once takes the
    /// names of extensions' settings for known.
    pub(super) fn rows(&self) -> Result<Vec<Row>, pgtest::Error> {
        let connect = self.server.connect().parameter("client_encoding", "SQL_ASCII");
        let rows = connect.open()?.query(
            "SELECT sourcefile, sourceline, encode(convert_to(name, 'SQL_ASCII'), 'hex'), \
             encode(convert_to(setting, 'SQL_ASCII'), 'hex'), applied, error \
             FROM pg_file_settings \
             WHERE sourcefile IS NOT NULL OR error NOT LIKE '%without restarting%' ORDER BY seqno",
        )?;
        let hex = |text: &str| {
            let pairs = text.as_bytes().chunks(2);
            pairs
                .filter_map(|pair| u8::from_str_radix(str::from_utf8(pair).ok()?, 16).ok())
                .collect::<Vec<u8>>()
        };
        Ok(rows
            .rows
            .iter()
            .map(|row| {
                let text = |column: usize| row.get(column).and_then(Option::as_deref);
                Row {
                    file: text(0).unwrap_or_default().to_owned(),
                    line: text(1).and_then(|line| line.parse().ok()).unwrap_or_default(),
                    name: text(2).map(hex),
                    value: text(3).map(hex),
                    applied: text(4) == Some("t"),
                    error: text(5).map(str::to_owned),
                }
            })
            .collect())
    }
}

/// The files of this machine, as the server's account may read them.
struct AsTheServer;

impl Files for AsTheServer {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        let hidden = std::fs::metadata(path_of(path))
            .is_ok_and(|file| file.permissions().mode() & 0o444 == 0);
        if hidden {
            return Err(FileError::new(FileErrorKind::PermissionDenied));
        }
        DiskFiles.read(path)
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        DiskFiles.list(path)
    }

    fn canonical(&self, path: &[u8]) -> Option<Vec<u8>> {
        DiskFiles.canonical(path)
    }
}
