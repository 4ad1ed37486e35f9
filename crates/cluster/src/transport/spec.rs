//! How the description says that a node's files are reached.

use std::{fmt, path::PathBuf, str::FromStr, time::Duration};

use serde::{
    Deserialize, Deserializer, Serialize,
    de::{self, MapAccess, Visitor, value::MapAccessDeserializer},
};

/// How a node's files are reached: the key `files` of a node.
///
/// ```
/// use cluster::transport::FilesSpec;
/// # #[derive(serde::Deserialize)] struct Node { files: FilesSpec }
/// # fn files(text: &str) -> Result<FilesSpec, serde_json::Error> {
/// #     serde_json::from_str::<Node>(text).map(|node| node.files)
/// # }
/// // In TOML: files = "local", files = { ssh = "root@db1" },
/// // files = { ssh = { host = "db1", port = 2222, identity-file = "/home/me/.ssh/pgward" } }
/// let FilesSpec::Ssh(ssh) = files(r#"{ "files": { "ssh": "root@db1:2222" } }"#)? else { panic!() };
/// assert_eq!((ssh.user.as_deref(), &*ssh.host, ssh.port), (Some("root"), "db1", Some(2222)));
/// let error = files(r#"{ "files": { "ssh": { "host": "db1", "key": "/k" } } }"#).unwrap_err();
/// assert!(error.to_string().starts_with("unknown field `key`, expected one of `host`, `user`"));
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FilesSpec {
    /// `"local"`: they are this machine's.
    #[default]
    Local,
    /// `{ ssh = … }`: by SFTP, as [`SshSpec`] says.
    Ssh(SshSpec),
    /// `{ bundle = … }`: they are out of reach; what shall be written is put into a folder for
    /// somebody to carry there, as [`BundleSpec`] says.
    Bundle(BundleSpec),
}

/// A node reached by the system's `ssh`: a table, or `"user@host:port"` for the first three keys.
///
/// What is not said here, `ssh` takes from its own configuration: keys, jump hosts, an agent to log
/// in by. Whatever that says, it never asks anybody anything, never takes a host key that it does
/// not know, and never forwards the agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct SshSpec {
    /// The host: a name, an address, or a `Host` of the configuration of `ssh`.
    pub host: String,
    /// Who to log in as: root, or the owner of the server's files.
    pub user: Option<String>,
    /// The port of `sshd`.
    pub port: Option<u16>,
    /// The private key to log in by, and no other.
    pub identity_file: Option<PathBuf>,
    /// The file of known host keys, in place of the user's and the system's.
    pub known_hosts: Option<PathBuf>,
    /// The configuration of `ssh`, in place of the user's and the system's; `none` for none.
    pub config: Option<PathBuf>,
    /// The program, if another than the `ssh` in `PATH`.
    pub program: PathBuf,
    /// How many seconds logging in may take.
    pub connect_timeout: u16,
    /// How many seconds one operation on a file may take.
    pub timeout: u16,
}

/// The keys of [`SshSpec`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct SshTable {
    host: String,
    user: Option<String>,
    port: Option<u16>,
    identity_file: Option<PathBuf>,
    known_hosts: Option<PathBuf>,
    config: Option<PathBuf>,
    program: Option<PathBuf>,
    connect_timeout: Option<u16>,
    timeout: Option<u16>,
}

impl SshSpec {
    /// A host with all else as `ssh` has it: 10 s for logging in, 20 s for an operation.
    #[must_use]
    pub fn new(host: impl Into<String>) -> Self {
        Self {
            host: host.into(),
            user: None,
            port: None,
            identity_file: None,
            known_hosts: None,
            config: None,
            program: "ssh".into(),
            connect_timeout: 10,
            timeout: 20,
        }
    }

    /// Finds what cannot be given to `ssh`.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn check(&self) -> Result<(), FilesSpecError> {
        let word = |text: &str| {
            !text.is_empty()
                && !text.starts_with('-')
                && !text
                    .contains(|c: char| c.is_whitespace() || c.is_control() || "@/\\[]".contains(c))
        };
        if !word(&self.host) {
            return Err(FilesSpecError::Host { host: self.host.clone() });
        }
        if let Some(user) = self.user.as_ref().filter(|user| !word(user)) {
            return Err(FilesSpecError::User { user: user.clone() });
        }
        for (key, path) in [
            ("identity-file", &self.identity_file),
            ("known-hosts", &self.known_hosts),
            ("config", &self.config),
        ] {
            // These would be quotes and variables to `ssh`, whatever is done about it.
            let plain = |path: &PathBuf| {
                path.to_str().is_some_and(|text| {
                    !text.is_empty()
                        && !text.contains(|c: char| c.is_control() || "\"\\$".contains(c))
                })
            };
            if let Some(path) = path.as_ref().filter(|path| !plain(path)) {
                return Err(FilesSpecError::Path { key, path: path.clone() });
            }
        }
        for (key, seconds) in [("connect-timeout", self.connect_timeout), ("timeout", self.timeout)]
        {
            if seconds == 0 {
                return Err(FilesSpecError::NoTime { key });
            }
        }
        Ok(())
    }

    /// Who and where, for people: `root@db1:2222`.
    #[must_use]
    pub fn place(&self) -> String {
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        let port = self.port.map(|port| format!(":{port}")).unwrap_or_default();
        let v6 = self.host.contains(':') && self.port.is_some();
        let host = if v6 { format!("[{}]", self.host) } else { self.host.clone() };
        format!("{user}{host}{port}")
    }

    pub(crate) fn connect_limit(&self) -> Duration {
        Duration::from_secs(self.connect_timeout.into())
    }

    pub(crate) fn limit(&self) -> Duration {
        Duration::from_secs(self.timeout.into())
    }
}

/// `[user@]host[:port]`, with an IPv6 address in brackets where a port follows.
impl FromStr for SshSpec {
    type Err = FilesSpecError;

    fn from_str(text: &str) -> Result<Self, FilesSpecError> {
        let (user, rest) = match text.rsplit_once('@') {
            Some((user, rest)) => (Some(user.to_owned()), rest),
            None => (None, text),
        };
        let bracketed = rest.strip_prefix('[').and_then(|rest| rest.split_once(']'));
        let (host, port) = match (bracketed, rest.split_once(':')) {
            (Some((host, "")), _) => (host, None),
            (Some((host, port)), _) => (host, port.strip_prefix(':')),
            // An IPv6 address without brackets has no port.
            (None, Some((_, port))) if port.contains(':') => (rest, None),
            (None, Some((host, port))) => (host, Some(port)),
            (None, None) => (rest, None),
        };
        let port = match port.map(str::parse).transpose() {
            Ok(port) if port.is_some() || bracketed.is_none_or(|(_, after)| after.is_empty()) => {
                port
            }
            _ => return Err(FilesSpecError::Host { host: rest.to_owned() }),
        };
        let spec = Self { user, port, ..Self::new(host) };
        spec.check()?;
        Ok(spec)
    }
}

impl<'de> Deserialize<'de> for SshSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> Visitor<'de> for TextOrTable {
            type Value = SshSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("\"user@host:port\", or a table with the key host")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<SshSpec, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SshSpec, A::Error> {
                let table = SshTable::deserialize(MapAccessDeserializer::new(map))?;
                let usual = SshSpec::new(table.host);
                let spec = SshSpec {
                    user: table.user,
                    port: table.port,
                    identity_file: table.identity_file,
                    known_hosts: table.known_hosts,
                    config: table.config,
                    program: table.program.unwrap_or_else(|| usual.program.clone()),
                    connect_timeout: table.connect_timeout.unwrap_or(usual.connect_timeout),
                    timeout: table.timeout.unwrap_or(usual.timeout),
                    ..usual
                };
                spec.check().map_err(de::Error::custom)?;
                Ok(spec)
            }
        }

        deserializer.deserialize_any(TextOrTable)
    }
}

/// A node whose files somebody must carry there: a table, or the folder alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub struct BundleSpec {
    /// The folder on this machine that gets a folder for the node. It will hold private keys.
    pub folder: PathBuf,
    /// Whether the files are also packed as tar archives with their owner and mode.
    pub tar: bool,
    /// The operating system's account that the server runs as.
    pub user: String,
    /// Its group.
    pub group: String,
    /// The number of `user`, where the server cannot tell it.
    pub uid: Option<u32>,
    /// The number of `group`, where the server cannot tell it.
    pub gid: Option<u32>,
}

/// The keys of [`BundleSpec`].
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct BundleTable {
    folder: PathBuf,
    tar: Option<bool>,
    user: Option<String>,
    group: Option<String>,
    uid: Option<u32>,
    gid: Option<u32>,
}

impl BundleSpec {
    /// A folder with all else as usual: archives too, and files for `postgres:postgres`.
    #[must_use]
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self {
            folder: folder.into(),
            tar: true,
            user: "postgres".to_owned(),
            group: "postgres".to_owned(),
            uid: None,
            gid: None,
        }
    }
}

impl<'de> Deserialize<'de> for BundleSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextOrTable;

        impl<'de> Visitor<'de> for TextOrTable {
            type Value = BundleSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a folder, or a table with the key folder")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<BundleSpec, E> {
                Ok(BundleSpec::new(text))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<BundleSpec, A::Error> {
                let table = BundleTable::deserialize(MapAccessDeserializer::new(map))?;
                let usual = BundleSpec::new(table.folder);
                let user = table.user.unwrap_or_else(|| usual.user.clone());
                Ok(BundleSpec {
                    tar: table.tar.unwrap_or(usual.tar),
                    group: table.group.unwrap_or_else(|| user.clone()),
                    user,
                    uid: table.uid,
                    gid: table.gid,
                    ..usual
                })
            }
        }

        deserializer.deserialize_any(TextOrTable)
    }
}

/// What is wrong with the description of the way to a node's files.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FilesSpecError {
    /// No host of that name can be.
    #[error(
        "\"{host}\" is no host for ssh: name a host, an address or a Host of its configuration, \
         alone or as user@host:port"
    )]
    Host {
        /// What was written.
        host: String,
    },
    /// No user of that name can be.
    #[error("\"{user}\" is no user to log in as by ssh")]
    User {
        /// What was written.
        user: String,
    },
    /// A path that `ssh` would read as something else.
    #[error(
        "{key}: ssh cannot be told the path \"{}\": it must be UTF-8, without quotes, backslashes, \
         dollar signs and control characters",
        path.display()
    )]
    Path {
        /// The key.
        key: &'static str,
        /// Its value.
        path: PathBuf,
    },
    /// A time-out of nothing.
    #[error("{key} is 0: nothing can be done in no time; give the seconds that it may take")]
    NoTime {
        /// The key.
        key: &'static str,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_with_user_and_port_is_read() {
        for (text, user, host, port) in [
            ("db1", None, "db1", None),
            ("root@db1", Some("root"), "db1", None),
            ("root@db1:2222", Some("root"), "db1", Some(2222)),
            ("10.0.0.1:22", None, "10.0.0.1", Some(22)),
            ("fd00::1", None, "fd00::1", None),
            ("a@[fd00::1]", Some("a"), "fd00::1", None),
            ("a@[fd00::1]:22", Some("a"), "fd00::1", Some(22)),
        ] {
            let spec = text.parse::<SshSpec>().unwrap();
            assert_eq!(
                (spec.user.as_deref(), &*spec.host, spec.port),
                (user, host, port),
                "{text}"
            );
            assert_eq!(spec.place().parse(), Ok(spec), "{text}");
        }
        for text in [
            "",
            "@db1",
            "-oProxyCommand=x",
            "a@-b",
            "-a@b",
            "a b",
            "db1:",
            "db1:x",
            "db1:70000",
            "[fd00::1",
            "[::1]x",
            "ssh://db1",
            "a\n",
        ] {
            assert!(text.parse::<SshSpec>().is_err(), "{text}");
        }
    }

    /// serde_json stands for any reader: what is asked is what the types take and say.
    #[test]
    fn what_is_wrong_is_said() {
        for (text, message) in [
            (r#""lokal""#, "unknown variant `lokal`, expected one of `local`, `ssh`, `bundle`"),
            (r#"{"ssh":{"user":"a"}}"#, "missing field `host`"),
            (r#"{"ssh":{"host":"a","timeout":0}}"#, "timeout is 0"),
            (r#"{"ssh":{"host":"a","known-hosts":"$HOME/x"}}"#, "known-hosts: ssh cannot be told"),
            (r#"{"ssh":{"host":"a b"}}"#, "\"a b\" is no host for ssh"),
            (r#"{"ssh":7}"#, "expected \"user@host:port\", or a table with the key host"),
            (r#"{"bundle":{"dir":"/x"}}"#, "unknown field `dir`, expected one of `folder`, `tar`"),
            (r#"{"bundle":true}"#, "expected a folder, or a table with the key folder"),
        ] {
            let error = serde_json::from_str::<FilesSpec>(text).unwrap_err().to_string();
            assert!(error.contains(message), "{text}: {error}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let mut ssh = SshSpec::new("db1");
        ssh.identity_file = Some("/k/id".into());
        let bundle = BundleSpec { uid: Some(70), ..BundleSpec::new("/media/usb") };
        for files in [FilesSpec::Local, FilesSpec::Ssh(ssh), FilesSpec::Bundle(bundle)] {
            let text = serde_json::to_string(&files).unwrap();
            assert_eq!(serde_json::from_str::<FilesSpec>(&text).unwrap(), files, "{text}");
        }
    }
}
