//! Running the program, and looking at what it says.

use std::{
    ffi::OsStr,
    io::Write as _,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use serde_json::Value;
use tokio::net::TcpSocket;

pub(crate) type Outcome = Result<(), Box<dyn std::error::Error>>;

/// A port of 127.0.0.1 at which nobody listens, and which nobody gets while the socket is there.
pub(crate) fn closed_port() -> std::io::Result<(TcpSocket, u16)> {
    let socket = TcpSocket::new_v4()?;
    socket.bind((Ipv4Addr::LOCALHOST, 0).into())?;
    let port = socket.local_addr()?.port();
    Ok((socket, port))
}

/// A folder, and the program run in it.
pub(crate) struct Place {
    folder: tempfile::TempDir,
}

/// What a run said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) talk: String,
}

impl Place {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self { folder: tempfile::Builder::new().prefix("pgward-program-").tempdir()? })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file with a mode.
    pub(crate) fn write(
        &self,
        name: &str,
        text: impl AsRef<[u8]>,
        mode: u32,
    ) -> std::io::Result<()> {
        use std::os::unix::fs::PermissionsExt as _;

        std::fs::write(self.path(name), text)?;
        std::fs::set_permissions(self.path(name), std::fs::Permissions::from_mode(mode))
    }

    pub(crate) fn read(&self, name: &str) -> std::io::Result<String> {
        std::fs::read_to_string(self.path(name))
    }

    /// Writes the description of a cluster of one node, which is asked by this connection string.
    pub(crate) fn describe(&self, node: &str, sql: &str) -> std::io::Result<()> {
        let text = format!(
            "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"\nsecrets = \"secrets\"\n\
             [[nodes]]\nname = \"{node}\"\naddress = \"127.0.0.1\"\npeers-from = [\"127.0.0.0/8\"]\n\
             sql = \"{sql}\"\n"
        );
        self.write("pgward.toml", text, 0o600)
    }

    pub(crate) fn command<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        self.command_of(Path::new(env!("CARGO_BIN_EXE_pgward")), arguments)
    }

    pub(crate) fn command_of<S: AsRef<OsStr>>(
        &self,
        program: &Path,
        arguments: impl IntoIterator<Item = S>,
    ) -> Command {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .current_dir(self.folder.path())
            .env_remove("PGPASSFILE")
            .env_remove("CLICOLOR_FORCE")
            .env("HOME", self.folder.path())
            // Nothing of a panic reaches a user, however much the surroundings ask for it.
            .env("RUST_BACKTRACE", "full")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        command
    }

    /// Runs the program with these arguments.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Said, Box<dyn std::error::Error>> {
        Said::of(self.command(arguments).output()?)
    }

    /// The same with something on standard input.
    pub(crate) fn run_with<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
        input: impl AsRef<[u8]>,
    ) -> Result<Said, Box<dyn std::error::Error>> {
        let mut child = self.command(arguments).stdin(Stdio::piped()).spawn()?;
        // It may end before it has read all.
        let _ = child.stdin.take().ok_or("no standard input")?.write_all(input.as_ref());
        Said::of(child.wait_with_output()?)
    }
}

impl Said {
    pub(crate) fn of(output: Output) -> Result<Self, Box<dyn std::error::Error>> {
        let said = Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            talk: String::from_utf8_lossy(&output.stderr).into_owned(),
        };
        for text in [&said.out, &said.talk] {
            for word in ["panicked", "RUST_BACKTRACE", "stack backtrace", "has a fault"] {
                assert!(!text.contains(word), "{said:?}");
            }
        }
        Ok(said)
    }

    /// The object on standard output, valid by its schema.
    pub(crate) fn json(&self) -> Result<Value, Box<dyn std::error::Error>> {
        let value: Value = serde_json::from_str(&self.out)
            .map_err(|error| format!("{error}: {} {}", self.out, self.talk))?;
        super::schema::validate(&value)?;
        let code = match value["outcome"].as_str() {
            Some("fine") => 0,
            Some("failed") => 2,
            _ => 1,
        };
        assert_eq!(self.code, Some(code), "{value:#}");
        assert_eq!(value["error"].is_null(), !value["result"].is_null(), "{value:#}");
        Ok(value)
    }
}
