//! Where libpq looks for the file.

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::{OsStrExt as _, OsStringExt as _},
    path::PathBuf,
};

use crate::{Libpq, PgVersion};

/// What of a process's surroundings says where its password file is. Passed in: this crate reads
/// none of it by itself, unless `Surroundings::of_process` (feature `env`) is asked to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The environment variable `PGPASSFILE`. Set and empty is the same as not set.
    pub pgpassfile: Option<OsString>,
    /// The environment variable `HOME`; libpq looks at it since 15.
    pub home: Option<OsString>,
    /// The home folder in the password database (`getpwuid` of the effective user).
    pub account_home: Option<OsString>,
}

impl Surroundings {
    /// Those of this process: reads its environment and the password database.
    #[cfg(feature = "env")]
    #[cfg_attr(docsrs, doc(cfg(feature = "env")))]
    #[must_use]
    pub fn of_process() -> Self {
        let account = nix::unistd::User::from_uid(nix::unistd::geteuid());
        Self {
            pgpassfile: std::env::var_os("PGPASSFILE"),
            home: std::env::var_os("HOME"),
            account_home: account.ok().flatten().map(|user| user.dir.into_os_string()),
        }
    }

    /// The file that libpq reads for a connection whose parameter `passfile` is this: that one, else
    /// `PGPASSFILE`, else `.pgpass` in the home folder. `None` if there is no home folder either.
    ///
    /// There is one file and no other: if it does not exist, libpq does not look elsewhere. `~` is a
    /// name like any other. An empty `passfile` hides `PGPASSFILE` in a connection string; where
    /// parameters are handed to libpq one by one (`PQconnectdbParams`), an empty one is none: give
    /// `None` then. A home folder's path of more than 1,023 bytes is cut, as libpq cuts it.
    ///
    /// ```
    /// use passfile::{Libpq, PgVersion, Surroundings};
    /// use std::path::Path;
    ///
    /// let surroundings = Surroundings {
    ///     home: Some("/home/bob".into()),
    ///     account_home: Some("/var/lib/bob".into()),
    ///     ..Surroundings::default()
    /// };
    /// let path = |version| surroundings.passfile(None, &Libpq::new(version));
    /// assert_eq!(path(PgVersion::V15).as_deref(), Some(Path::new("/home/bob/.pgpass")));
    /// assert_eq!(path(PgVersion::V14).as_deref(), Some(Path::new("/var/lib/bob/.pgpass")));
    /// ```
    #[must_use]
    pub fn passfile(&self, parameter: Option<&OsStr>, libpq: &Libpq) -> Option<PathBuf> {
        let named = parameter.or(self.pgpassfile.as_deref()).filter(|path| !path.is_empty());
        if let Some(named) = named {
            return Some(named.into());
        }
        // Not Path::join: an empty home folder makes "/.pgpass".
        let mut path = cut(self.home_folder(libpq)?.as_bytes()).to_vec();
        path.extend_from_slice(b"/.pgpass");
        Some(OsString::from_vec(cut(&path).to_vec()).into())
    }

    /// `pqGetHomeDirectory`
    fn home_folder(&self, libpq: &Libpq) -> Option<&OsStr> {
        let home = self.home.as_deref().filter(|home| !home.is_empty());
        home.filter(|_| libpq.version() >= PgVersion::V15).or(self.account_home.as_deref())
    }
}

/// As much as a buffer of `MAXPGPATH` holds.
fn cut(path: &[u8]) -> &[u8] {
    const MAXPGPATH: usize = 1024;
    &path[..path.len().min(MAXPGPATH - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_wins() {
        let all = Surroundings {
            pgpassfile: Some("/env".into()),
            home: Some("/home".into()),
            account_home: Some("/account".into()),
        };
        let no_env = Surroundings { pgpassfile: Some("".into()), ..all.clone() };
        let no_home = Surroundings { home: Some("".into()), ..no_env.clone() };
        let nothing = Surroundings::default();
        let old = Libpq::new(PgVersion::V14);
        let new = Libpq::new(PgVersion::V15);
        for (surroundings, parameter, libpq, path) in [
            (&all, Some("/given"), &new, Some("/given")),
            (&all, Some("~/given"), &new, Some("~/given")),
            (&all, Some(""), &new, Some("/home/.pgpass")),
            (&all, None, &new, Some("/env")),
            (&no_env, None, &new, Some("/home/.pgpass")),
            (&no_env, None, &old, Some("/account/.pgpass")),
            (&no_home, None, &new, Some("/account/.pgpass")),
            (&nothing, None, &new, None),
            (&nothing, None, &old, None),
        ] {
            let found = surroundings.passfile(parameter.map(OsStr::new), libpq);
            assert_eq!(found, path.map(PathBuf::from), "{parameter:?} {surroundings:?}");
        }
    }
}
