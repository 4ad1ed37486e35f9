//! Which servers this machine has.
//!
//! Places, in order of preference:
//! 1. `PGTEST_BINDIR_<MAJOR>`: the `bin` folder for one major; then `PGTEST_BINDIRS`: a list of
//!    them (separated like `PATH`). Who sets them wants exactly these.
//! 2. the [cache](crate::cache) that `cargo xtask pg install` fills: pinned versions, the same on
//!    every machine.
//! 3. `PATH`.
//! 4. the usual folders of distributions: `/usr/lib/postgresql/*/bin` (Debian),
//!    `/usr/pgsql-*/bin` (PGDG's RPMs), `/opt/homebrew/opt/postgresql@*/bin`,
//!    `/usr/local/opt/postgresql@*/bin`, `/usr/local/pgsql/bin` (built by hand).
//!
//! A distribution's build has what the ready-made ones lack (GSSAPI, LDAP, PAM):
//! [`find_where`] picks by [features](Features).

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Arc, OnceLock},
};

use memchr::memmem;
use pg_version::PgVersion;

use crate::{Error, Run, cache};

/// One installed build of PostgreSQL.
#[derive(Clone, Debug)]
pub struct Installation {
    version: PgVersion,
    full_version: String,
    bindir: PathBuf,
    features: Arc<OnceLock<Features>>,
}

/// What a build was linked with, told from the names that its program `postgres` imports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Features {
    /// OpenSSL: `ssl = on`, `hostssl`, `cert`.
    pub ssl: bool,
    /// GSSAPI: `hostgssenc`, `gss`.
    pub gss: bool,
    /// LDAP: `ldap`.
    pub ldap: bool,
    /// PAM: `pam`.
    pub pam: bool,
    /// ICU collations.
    pub icu: bool,
}

impl Installation {
    /// The build whose programs are in `bindir`, which may hold links to them.
    ///
    /// # Errors
    /// [`Error::NotABindir`] where `postgres` or `initdb` is missing, cannot be run, or is of a
    /// major that is not known.
    pub fn at(bindir: impl AsRef<Path>) -> Result<Self, Error> {
        let bindir = bindir.as_ref();
        let refuse = |reason: String| Error::NotABindir { bindir: bindir.to_owned(), reason };
        for program in ["postgres", "initdb"] {
            if !bindir.join(program).is_file() {
                return Err(refuse(format!("no program {program}")));
            }
        }
        // Where links lead, there the libraries are near.
        let real = fs::canonicalize(bindir.join("postgres"))
            .ok()
            .and_then(|program| program.parent().map(Path::to_owned))
            .filter(|folder| folder.join("initdb").is_file());
        let bindir = real.as_deref().unwrap_or(bindir);
        let output = Run::new(bindir.join("postgres"))
            .args(["--version"])
            .check()
            .map_err(|error| refuse(error.to_string()))?;
        let text = output.text();
        // "postgres (PostgreSQL) 15.13 (Debian 15.13-0+deb12u1)"
        let full_version = text
            .split_once(" (PostgreSQL) ")
            .map(|(_, version)| version.trim().to_owned())
            .ok_or_else(|| refuse(format!("postgres --version printed {text:?}")))?;
        let version = full_version.parse().map_err(|error| refuse(format!("{error}")))?;
        Ok(Self { version, full_version, bindir: bindir.to_owned(), features: Arc::default() })
    }

    /// The major.
    #[must_use]
    pub fn version(&self) -> PgVersion {
        self.version
    }

    /// What `postgres --version` prints after the product's name: `18.4`, or
    /// `15.13 (Debian 15.13-0+deb12u1)`.
    #[must_use]
    pub fn full_version(&self) -> &str {
        &self.full_version
    }

    /// The folder of the programs.
    #[must_use]
    pub fn bindir(&self) -> &Path {
        &self.bindir
    }

    /// The path of one of the build's programs. Ready-made servers have `postgres`, `initdb` and
    /// `pg_ctl` only; `psql` is a distribution's.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.bindir.join(name)
    }

    /// What the build can do.
    #[must_use]
    pub fn features(&self) -> Features {
        *self.features.get_or_init(|| {
            let program = fs::read(self.program("postgres")).unwrap_or_default();
            let imports = |name: &str| memmem::find(&program, name.as_bytes()).is_some();
            Features {
                ssl: imports("SSL_CTX_new"),
                gss: imports("gss_accept_sec_context"),
                ldap: imports("ldap_simple_bind_s"),
                pam: imports("pam_acct_mgmt"),
                icu: imports("ucol_open"),
            }
        })
    }

    /// The build's shared library libpq: beside its programs (`../lib`, `../lib64`), else where
    /// its `pg_config` says, else the system's. The system's may be of another major: Debian has
    /// one libpq for all servers.
    #[must_use]
    pub fn libpq(&self) -> Option<PathBuf> {
        let mut folders = Vec::new();
        if let Some(prefix) = self.bindir.parent() {
            folders.extend([prefix.join("lib"), prefix.join("lib64")]);
        }
        let pg_config = self.program("pg_config");
        if pg_config.is_file()
            && let Ok(output) = Run::new(pg_config).args(["--libdir"]).check()
        {
            folders.push(output.text().trim().into());
        }
        let multiarch = format!("/usr/lib/{}-linux-gnu", env::consts::ARCH);
        folders.extend([multiarch.into(), "/usr/lib64".into(), "/usr/lib".into()]);
        let names = ["libpq.so.5", "libpq.5.dylib"];
        folders
            .iter()
            .flat_map(|folder| names.iter().map(|name| folder.join(name)))
            .find(|path| path.is_file())
    }
}

/// Every build that this machine has, the preferred ones first. Folders that hold no working
/// server are passed over; each build is listed once.
#[must_use]
pub fn find_all() -> Vec<Installation> {
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for bindir in places() {
        let Ok(real) = fs::canonicalize(bindir.join("postgres")) else { continue };
        if seen.contains(&real) {
            continue;
        }
        seen.push(real);
        found.extend(Installation::at(&bindir));
    }
    found
}

/// The preferred build of every major that this machine has, oldest major first.
///
/// # Errors
/// [`Error::NoServers`] where there is none at all, with the command that gets some.
pub fn find_each_major() -> Result<Vec<Installation>, Error> {
    let all = find_all();
    let found: Vec<_> = PgVersion::ALL
        .into_iter()
        .filter_map(|version| all.iter().find(|one| one.version == version).cloned())
        .collect();
    if found.is_empty() { Err(Error::NoServers { cache: cache::folder() }) } else { Ok(found) }
}

/// The preferred build of a major.
///
/// # Errors
/// [`Error::NoServer`] where this machine has none, with the command that gets it.
pub fn find(version: PgVersion) -> Result<Installation, Error> {
    let chosen = env::var_os(format!("PGTEST_BINDIR_{version}")).filter(|dir| !dir.is_empty());
    if let Some(bindir) = chosen {
        // Who names a folder wants to hear what is wrong with it.
        let one = Installation::at(Path::new(&bindir))?;
        if one.version == version {
            return Ok(one);
        }
        let reason = format!("PGTEST_BINDIR_{version} holds version {}", one.full_version);
        return Err(Error::NotABindir { bindir: one.bindir, reason });
    }
    find_all()
        .into_iter()
        .find(|one| one.version == version)
        .ok_or_else(|| Error::NoServer { version, cache: cache::folder() })
}

/// The preferred build of a major among those with certain features; `wanted` names them in the
/// error.
///
/// # Errors
/// [`Error::NoServer`] where this machine has no build of the major, [`Error::NoSuchBuild`] where
/// none of them has what is wanted.
///
/// ```no_run
/// use pg_version::PgVersion;
///
/// let kerberos = pgtest::find_where(PgVersion::V15, "GSSAPI", |features| features.gss)?;
/// # Ok::<(), pgtest::Error>(())
/// ```
pub fn find_where(
    version: PgVersion,
    wanted: &str,
    mut has: impl FnMut(Features) -> bool,
) -> Result<Installation, Error> {
    let builds: Vec<_> = find_all().into_iter().filter(|one| one.version == version).collect();
    if builds.is_empty() {
        return Err(Error::NoServer { version, cache: cache::folder() });
    }
    builds
        .into_iter()
        .find(|one| has(one.features()))
        .ok_or_else(|| Error::NoSuchBuild { version, wanted: wanted.to_owned() })
}

fn places() -> Vec<PathBuf> {
    let list = |name: &str| {
        env::var_os(name).map(|value| env::split_paths(&value).collect()).unwrap_or_default()
    };
    let mut places: Vec<PathBuf> = PgVersion::ALL
        .iter()
        .filter_map(|version| env::var_os(format!("PGTEST_BINDIR_{version}")).map(PathBuf::from))
        .collect();
    places.extend::<Vec<_>>(list("PGTEST_BINDIRS"));
    places.extend(cache::bindirs(&cache::folder()));
    places.extend::<Vec<_>>(list("PATH"));
    for (parent, prefix) in [
        ("/usr/lib/postgresql", ""),
        ("/usr", "pgsql-"),
        ("/opt/homebrew/opt", "postgresql@"),
        ("/usr/local/opt", "postgresql@"),
        ("/usr/local", "pgsql"),
    ] {
        let mut folders: Vec<_> = fs::read_dir(parent)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
            .map(|entry| entry.path().join("bin"))
            .collect();
        folders.sort();
        places.extend(folders);
    }
    places.retain(|place| place.join("postgres").is_file() && place.join("initdb").is_file());
    places
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_run() {
        let error = Error::NoServer { version: PgVersion::V16, cache: "/c".into() };
        assert!(error.to_string().contains("cargo xtask pg install 16"), "{error}");
        let error = Error::NoServers { cache: "/c".into() };
        assert!(error.to_string().contains("cargo xtask pg install"), "{error}");
    }

    #[test]
    fn refuses_folders_without_a_server() {
        let folder = tempfile::tempdir().unwrap();
        let error = Installation::at(folder.path()).unwrap_err();
        assert!(error.to_string().contains("no program postgres"), "{error}");
    }
}
