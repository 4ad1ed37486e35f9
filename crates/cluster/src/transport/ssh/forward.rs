//! SQL through the node's `ssh`: a socket here for each place that a connection string names there.

use std::{
    collections::BTreeMap,
    fmt, fs,
    os::unix::fs::{DirBuilderExt as _, PermissionsExt as _},
    path::{Path, PathBuf},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::UnixStream,
};

use super::{Inner, SshError, SshNode, command, link::Link};
use crate::conninfo::ConnInfo;

/// The sockets that there are, by where they lead to.
#[derive(Default)]
pub(super) struct Forwards {
    open: BTreeMap<Target, Forward>,
}

struct Forward {
    folder: PathBuf,
    /// The connection that it goes over.
    link: u64,
}

/// Where a server listens, as seen from the node.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Target {
    /// A Unix socket in this folder.
    Socket { folder: String, port: u16 },
    /// TCP.
    Tcp { host: String, port: u16 },
}

impl Target {
    /// Where a connection string leads to, by libpq's rules for one host: `hostaddr`, else `host`.
    fn of(conninfo: &ConnInfo) -> Result<Self, SshError> {
        let wrong = |reason| SshError::ConnInfo { conninfo: conninfo.to_masked_text(), reason };
        let given = |keyword| conninfo.get(keyword).filter(|value| !value.is_empty());
        let host = given("hostaddr").or(given("host")).ok_or_else(|| {
            wrong("name the host as seen from the node: for its socket, host=/var/run/postgresql")
        })?;
        let port = given("port").unwrap_or("5432");
        if host.contains(',') || port.contains(',') {
            return Err(wrong("name one host and one port"));
        }
        let port = port.parse().map_err(|_| wrong("the port must be a number up to 65535"))?;
        // `ssh` reads tokens and variables where a socket is named, in some versions.
        let strange = |c: char| c.is_control() || c.is_whitespace() || "%$".contains(c);
        if host.starts_with('/') {
            if host.contains(strange) {
                return Err(wrong(
                    "the folder of the socket has a character that ssh cannot be told",
                ));
            }
            return Ok(Self::Socket { folder: host.to_owned(), port });
        }
        if host.starts_with('@') {
            return Err(wrong("sockets in the abstract namespace cannot be forwarded"));
        }
        if host.starts_with('-') || host.contains(|c| strange(c) || "[]/\\".contains(c)) {
            return Err(wrong("that is no host name"));
        }
        Ok(Self::Tcp { host: host.to_owned(), port })
    }

    const fn port(&self) -> u16 {
        match self {
            Self::Socket { port, .. } | Self::Tcp { port, .. } => *port,
        }
    }
}

/// As `ssh -L` takes it.
impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket { folder, port } => {
                let folder = folder.trim_end_matches('/').replace('\\', "\\\\").replace(':', "\\:");
                write!(f, "{folder}/.s.PGSQL.{port}")
            }
            Self::Tcp { host, port } if host.contains(':') => write!(f, "[{host}]:{port}"),
            Self::Tcp { host, port } => write!(f, "{host}:{port}"),
        }
    }
}

impl SshNode {
    /// The connection string by which a client on this machine gets where `conninfo` leads to on the
    /// node: a Unix socket in a folder that only we can enter, which goes when the node does. The
    /// server's socket and TCP are both reached through a socket, since a port of this machine would be
    /// open to everybody on it. Called again for the same place it costs nothing, and opens the way
    /// anew where the connection broke.
    ///
    /// To a client the socket is a socket: it asks no TLS of it. Where TLS must go through, take the
    /// socket's name for a connection of your own.
    ///
    /// # Errors
    /// [`SshError::ConnInfo`] for a connection string without a host, or with more than one;
    /// [`SshError::NotForwarded`] where nobody listens there, or the node's `sshd` forwards nothing;
    /// else why there is no connection.
    pub async fn sql(&self, conninfo: &ConnInfo) -> Result<ConnInfo, SshError> {
        let target = Target::of(conninfo)?;
        let folder = self.0.forward(&target).await?;
        let mut here = conninfo.clone();
        here.remove("hostaddr");
        here.set("host", folder.display().to_string());
        here.set("port", target.port().to_string());
        Ok(here)
    }
}

impl Inner {
    /// The folder with the socket that leads to `target`.
    async fn forward(&self, target: &Target) -> Result<PathBuf, SshError> {
        let mut forwards = self.forwards.lock().await;
        let link = self.link().await?;
        if let Some(forward) = forwards.open.get(target).filter(|it| it.link == link.number) {
            return Ok(forward.folder.clone());
        }
        let number = forwards.open.len();
        let folder = match forwards.open.get(target) {
            Some(forward) => forward.folder.clone(),
            None => self.folder.path().join(format!("s{number}")),
        };
        let limit = self.spec.limit();
        let opened = tokio::time::timeout(limit, self.open(&link, target, &folder)).await;
        opened.map_err(|_| self.timed_out("a forwarded connection", limit))??;
        let forward = Forward { folder: folder.clone(), link: link.number };
        forwards.open.insert(target.clone(), forward);
        Ok(folder)
    }

    async fn open(&self, link: &Link, target: &Target, folder: &Path) -> Result<(), SshError> {
        let no_folder = |error: std::io::Error| SshError::NoFolder {
            place: self.folder.path().to_owned(),
            reason: error.to_string(),
        };
        match fs::DirBuilder::new().mode(0o700).create(folder) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
                return Err(no_folder(error));
            }
            _ => {}
        }
        fs::set_permissions(folder, fs::Permissions::from_mode(0o700)).map_err(no_folder)?;
        let socket = folder.join(format!(".s.PGSQL.{}", target.port()));
        let way = format!("{}:{target}", socket.display());
        let start = link.said();
        let not_forwarded = |said| SshError::NotForwarded {
            place: link.place.clone(),
            target: target.to_string(),
            said,
        };
        let output = command::over(&self.spec, &link.control, &["-O", "forward", "-L", &way])
            .output()
            .await
            .map_err(|error| not_forwarded(error.to_string()))?;
        if !output.status.success() {
            return Err(not_forwarded(command::gist(&String::from_utf8_lossy(&output.stderr))));
        }
        // `ssh` listens here whether or not somebody does there.
        let Err(error) = greet(&socket).await else { return Ok(()) };
        let said = link.said_since(start).await;
        Err(not_forwarded(format!("{error}; {said}")))
    }
}

/// Asks the server for TLS and hears the one byte that it answers: no backend is started for it and
/// no line written to the log.
async fn greet(socket: &Path) -> std::io::Result<()> {
    let mut stream = UnixStream::connect(socket).await?;
    let mut request = bytes::BytesMut::new();
    postgres_protocol::message::frontend::ssl_request(&mut request);
    stream.write_all(&request).await?;
    stream.read_u8().await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_string_leads_to_one_place() {
        let target = |text: &str| Target::of(&text.parse().unwrap()).map(|it| it.to_string());
        for (text, expected) in [
            ("host=/var/run/postgresql", "/var/run/postgresql/.s.PGSQL.5432"),
            ("host=/ port=6543", "/.s.PGSQL.6543"),
            ("host=/a:b\\\\c", "/a\\:b\\\\c/.s.PGSQL.5432"),
            ("host=db1 hostaddr=10.0.0.1", "10.0.0.1:5432"),
            ("host=::1 port=5433", "[::1]:5433"),
            ("host=localhost", "localhost:5432"),
        ] {
            assert_eq!(target(text).as_deref(), Ok(expected), "{text}");
        }
        for text in [
            "",
            "host=''",
            "host=a,b",
            "host=@x",
            "host=-x",
            "host='/a b'",
            "host=/%h",
            "host=a port=1,2",
            "host=a port=x",
            "host='a b'",
        ] {
            assert!(matches!(target(text), Err(SshError::ConnInfo { .. })), "{text}");
        }
        let error = target("password=hunter2").unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
}
