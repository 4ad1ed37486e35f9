//! The operating system's account that a server runs as: PostgreSQL refuses to run as root.

use std::{
    os::unix::process::CommandExt,
    path::Path,
    process::{Command, Stdio},
};

use crate::Error;

/// The account that owns a server's files and runs its processes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Account {
    name: String,
    uid: u32,
    gid: u32,
    /// We are root and have to become this account.
    switch: bool,
}

impl Account {
    /// The account for servers: who we are where we are not root; else the one that the
    /// environment variable `PGTEST_USER` names, else `postgres` where it exists, else `nobody`.
    ///
    /// # Errors
    /// [`Error::NoAccount`] where none of them exists.
    pub fn choose() -> Result<Self, Error> {
        if !rustix::process::geteuid().is_root() {
            let uid = rustix::process::geteuid().as_raw();
            let gid = rustix::process::getegid().as_raw();
            let name = id(&["-un"]).unwrap_or_else(|_| uid.to_string());
            return Ok(Self { name, uid, gid, switch: false });
        }
        if let Some(name) = std::env::var("PGTEST_USER").ok().filter(|name| !name.is_empty()) {
            return Self::named(&name);
        }
        Self::named("postgres").or_else(|_| Self::named("nobody"))
    }

    /// The account of this name.
    ///
    /// # Errors
    /// [`Error::NoAccount`] where there is none, where it is root, or where it is not ours and we
    /// are not root.
    pub fn named(name: &str) -> Result<Self, Error> {
        let refuse = |reason: String| Error::NoAccount { name: name.to_owned(), reason };
        if name.is_empty() || name.starts_with('-') {
            return Err(refuse("not an account's name".to_owned()));
        }
        let number = |option| {
            id(&[option, name])
                .and_then(|text| text.parse::<u32>().map_err(|error| error.to_string()))
                .map_err(refuse)
        };
        let (uid, gid) = (number("-u")?, number("-g")?);
        if uid == 0 {
            return Err(refuse("PostgreSQL refuses to run as root".to_owned()));
        }
        let us = rustix::process::geteuid();
        if !us.is_root() && us.as_raw() != uid {
            return Err(refuse("only root can become another account".to_owned()));
        }
        Ok(Self { name: name.to_owned(), uid, gid, switch: us.is_root() })
    }

    /// The account's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The account's number.
    #[must_use]
    pub fn uid(&self) -> u32 {
        self.uid
    }

    /// The number of the account's first group.
    #[must_use]
    pub fn gid(&self) -> u32 {
        self.gid
    }

    /// Gives a file or folder to the account.
    pub(crate) fn own(&self, path: &Path) -> Result<(), Error> {
        if self.switch {
            std::os::unix::fs::chown(path, Some(self.uid), Some(self.gid))
                .map_err(Error::io(format!("chown {} {}", self.name, path.display())))?;
        }
        Ok(())
    }

    /// Makes the program run as the account, without any further group.
    ///
    /// The standard library does what `setpriv` or `runuser` would, in the child itself, so the
    /// child's number is the program's.
    pub(crate) fn apply(&self, command: &mut Command) {
        if self.switch {
            command.gid(self.gid).uid(self.uid);
        }
    }

    /// The words before a command that run it as the account, where [`apply`](Self::apply) would
    /// come too early.
    pub(crate) fn launcher(&self) -> Vec<String> {
        if !self.switch {
            return Vec::new();
        }
        let (uid, gid) = (format!("--reuid={}", self.uid), format!("--regid={}", self.gid));
        vec!["setpriv".into(), uid, gid, "--clear-groups".into(), "--".into()]
    }
}

fn id(args: &[&str]) -> Result<String, String> {
    let output = Command::new("id")
        .args(args)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("id: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_root() {
        assert_ne!(Account::choose().unwrap().uid(), 0);
        for name in ["root", "", "-u", "no such account"] {
            assert!(matches!(Account::named(name), Err(Error::NoAccount { .. })), "{name}");
        }
    }
}
