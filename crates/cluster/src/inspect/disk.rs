//! What is on a node's disk.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use hba_parser::{HbaDocument, Server, Verdict};
use pg_version::PgVersion;
use pgconf::Configuration;
use textfile::{
    FileError, FileKind, Files, MemoryFiles,
    fs::{Access, path_of},
};

use super::{HbaError, Homes};
use crate::{
    error::Error,
    transport::{NodeFile, NodeFiles},
};

/// Where the server has its files.
pub(super) struct Places {
    pub(super) data_directory: PathBuf,
    pub(super) config_file: PathBuf,
    pub(super) hba_file: PathBuf,
    /// What may hold credentials, or may be made to.
    pub(super) credentials: Vec<PathBuf>,
    /// The server's TLS files.
    pub(super) tls: Vec<PathBuf>,
}

/// What is on the node's disk.
pub(super) struct OnDisk {
    pub(super) owner: Access,
    pub(super) files: BTreeMap<PathBuf, Option<NodeFile>>,
    pub(super) folders: BTreeSet<PathBuf>,
    pub(super) shut_folders: BTreeSet<PathBuf>,
    pub(super) configuration: Configuration,
    pub(super) hba_included: MemoryFiles,
    /// What the server reads at a reload beside those that its views name: what `pg_hba.conf` includes,
    /// and the TLS files.
    pub(super) read_at_reload: Vec<PathBuf>,
    /// The line of `pg_hba.conf` over which the server would die, should it read it.
    pub(super) hba_crash: Option<HbaError>,
}

pub(super) async fn read_files(
    files: Arc<dyn NodeFiles>,
    places: Places,
    version: PgVersion,
) -> Result<OnDisk, Error> {
    let read = move || -> Result<OnDisk, Error> {
        let Places { data_directory, config_file, hba_file, credentials, tls } = places;
        let owner = files
            .access(&data_directory)?
            .ok_or_else(|| Error::NoDataDirectory { path: data_directory.clone() })?;
        let configuration = Configuration::read(
            &files.as_ref(),
            config_file.as_os_str().as_bytes(),
            Some(data_directory.as_os_str().as_bytes()),
            version,
        );
        let Included { files: hba_included, names, crash: hba_crash } =
            hba_included(files.as_ref(), &hba_file, version)?;
        let read_at_reload = [names, tls].concat();
        let Credentials { files: mut found, folders, shut_folders } =
            Credentials::read(&*files, credentials, owner)?;
        let others = configuration.files().map(|(path, _)| path_of(path).to_owned());
        for path in std::iter::once(hba_file).chain(others) {
            let file = files.find(&path)?;
            found.insert(path, file);
        }
        Ok(OnDisk {
            owner,
            files: found,
            folders,
            shut_folders,
            configuration,
            hba_included,
            read_at_reload,
            hba_crash,
        })
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| Error::Cancelled)?
}

/// Files that hold credentials, or may be made to, and which of the folders above them are there.
pub(super) struct Credentials {
    pub(super) files: BTreeMap<PathBuf, Option<NodeFile>>,
    pub(super) folders: BTreeSet<PathBuf>,
    /// Those of them that the server's user cannot enter.
    pub(super) shut_folders: BTreeSet<PathBuf>,
}

impl Credentials {
    fn read(files: &dyn NodeFiles, paths: Vec<PathBuf>, server: Access) -> Result<Self, Error> {
        let (mut folders, mut shut_folders) = (BTreeSet::new(), BTreeSet::new());
        for folder in paths.iter().flat_map(|path| path.ancestors().skip(1)) {
            if folders.contains(folder) {
                continue;
            }
            let Some(access) = files.access(folder)? else { continue };
            folders.insert(folder.to_owned());
            // What other groups its user is in is not known.
            let bits = if access.uid == server.uid { 0o100 } else { 0o011 };
            if access.mode & bits == 0 {
                shut_folders.insert(folder.to_owned());
            }
        }
        let mut found = BTreeMap::new();
        for path in paths {
            let file = files.find(&path)?;
            found.insert(path, file);
        }
        Ok(Self { files: found, folders, shut_folders })
    }
}

/// Reads further files of a node that may hold credentials.
pub(super) async fn read_credentials(
    files: Arc<dyn NodeFiles>,
    paths: Vec<PathBuf>,
    server: Access,
) -> Result<Credentials, Error> {
    let read = move || Credentials::read(&*files, paths, server);
    tokio::task::spawn_blocking(read).await.map_err(|_| Error::Cancelled)?
}

/// What `pg_hba.conf` includes, and the line over which the server would die.
#[derive(Default)]
struct Included {
    files: MemoryFiles,
    /// Which files that are.
    names: Vec<PathBuf>,
    crash: Option<HbaError>,
}

/// What `pg_hba.conf` includes: reading it asks for the files, and they are kept.
fn hba_included(
    files: &dyn NodeFiles,
    hba_file: &Path,
    version: PgVersion,
) -> Result<Included, Error> {
    let Some(main) = files.find(hba_file)? else { return Ok(Included::default()) };
    let recorder = Recorder { files, seen: RefCell::default() };
    let document = HbaDocument::try_parse(main.bytes.to_vec())
        .map_err(|error| Error::plan(format!("{}: {error}", hba_file.display())))?;
    let path = hba_file.as_os_str().as_bytes();
    let rules = document.interpret_at(path, &Server::new(version), &recorder);
    let crash = match rules.verdict() {
        Verdict::ServerDown(crash) => {
            let line = rules.diagnostics().last().map_or(1, |last| last.location.line);
            Some(HbaError { line: line.try_into().unwrap_or(1), message: crash.to_string() })
        }
        _ => None,
    };
    let (files, names) = recorder.seen.into_inner();
    Ok(Included { files, names, crash })
}

/// Files that remember what was asked for.
struct Recorder<'a> {
    files: &'a dyn NodeFiles,
    seen: RefCell<(MemoryFiles, Vec<PathBuf>)>,
}

impl Files for Recorder<'_> {
    fn read(&self, path: &[u8]) -> Result<Vec<u8>, FileError> {
        let bytes = self.files.read(path)?;
        let (files, names) = &mut *self.seen.borrow_mut();
        files.insert(path, bytes.clone());
        names.push(path_of(path).to_owned());
        Ok(bytes)
    }

    fn list(&self, path: &[u8]) -> Result<Vec<(Vec<u8>, FileKind)>, FileError> {
        let listed = self.files.list(path)?;
        self.seen.borrow_mut().0.insert_dir(path);
        Ok(listed)
    }
}

/// Where the server process' libpq looks for password files; what cannot be told is left out.
pub(super) async fn homes(
    files: Arc<dyn NodeFiles>,
    data_directory: PathBuf,
) -> Result<Homes, Error> {
    let read = move || -> Homes {
        let account = files.access(&data_directory).ok().flatten().and_then(|access| {
            let passwd = files.read(b"/etc/passwd").ok()?;
            home_of(&passwd, access.uid)
        });
        let pid = data_directory.join("postmaster.pid");
        let environment = files.read(pid.as_os_str().as_bytes()).ok().and_then(|pid| {
            let pid = pid.split(|byte| *byte == b'\n').next()?.to_vec();
            let pid: u32 = String::from_utf8(pid).ok()?.trim().parse().ok()?;
            let environment = files.read(format!("/proc/{pid}/environ").as_bytes()).ok()?;
            let home =
                environment.split(|byte| *byte == 0).find_map(|v| v.strip_prefix(b"HOME="))?;
            Some(PathBuf::from(std::ffi::OsString::from_vec(home.to_vec())))
        });
        Homes { environment, account }
    };
    tokio::task::spawn_blocking(read).await.map_err(|_| Error::Cancelled)
}

/// The home folder of a user id in `/etc/passwd` (passwd(5)).
fn home_of(passwd: &[u8], uid: u32) -> Option<PathBuf> {
    passwd.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':');
        let id = std::str::from_utf8(fields.nth(2)?).ok()?;
        (id.parse() == Ok(uid)).then_some(())?;
        Some(PathBuf::from(std::ffi::OsString::from_vec(fields.nth(2)?.to_vec())))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_home_of_a_user_id() {
        let passwd =
            b"root:x:0:0:root:/root:/bin/bash\npostgres:x:117:125:P,,:/var/lib/pg:/bin/sh\n";
        assert_eq!(home_of(passwd, 117), Some(PathBuf::from("/var/lib/pg")));
        assert_eq!(home_of(passwd, 17), None);
        assert_eq!(home_of(b"broken\n::\n", 0), None);
    }
}
