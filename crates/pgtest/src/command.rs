//! Running a program to its end: captured, and never for ever.

use std::{
    ffi::{OsStr, OsString},
    io::Read,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use crate::{Account, Error, Namespace, poll};

/// A program to run: no input, a bare environment (`PATH`, `LC_ALL=C`, `TZ=UTC`), captured output
/// and a deadline (ten minutes unless set).
///
/// ```
/// use pgtest::Run;
///
/// let output = Run::new("echo").args(["hello"]).output()?;
/// assert_eq!(output.stdout, b"hello\n");
/// # Ok::<(), pgtest::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Run {
    program: OsString,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    folder: PathBuf,
    account: Option<Account>,
    namespace: Option<Namespace>,
    limit: Duration,
}

/// What a program answered.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Output {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to its standard output.
    pub stdout: Vec<u8>,
    /// What it wrote to its standard error.
    pub stderr: Vec<u8>,
}

impl Run {
    /// A program by path, or by name in `PATH`.
    pub fn new(program: impl Into<OsString>) -> Self {
        Self {
            program: program.into(),
            args: Vec::new(),
            env: bare_environment(),
            folder: PathBuf::from("/"),
            account: None,
            namespace: None,
            limit: poll::PATIENCE,
        }
    }

    /// Further arguments.
    #[must_use]
    pub fn args<S: Into<OsString>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// A variable of the program's environment.
    #[must_use]
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// The folder to run in.
    #[must_use]
    pub fn folder(mut self, folder: impl AsRef<Path>) -> Self {
        self.folder = folder.as_ref().to_owned();
        self
    }

    /// The account to run as.
    #[must_use]
    pub fn account(mut self, account: &Account) -> Self {
        self.account = Some(account.clone());
        self
    }

    /// The network namespace to run in.
    #[must_use]
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.namespace = Some(namespace.clone());
        self
    }

    /// How long the program may take.
    #[must_use]
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Runs the program to its end, whatever its exit status.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be started, [`Error::Timeout`] where it was killed because
    /// it took too long.
    pub fn output(&self) -> Result<Output, Error> {
        self.output_watched(|_| Ok(()))
    }

    /// Runs the program to its end; an exit status other than 0 is an error.
    ///
    /// # Errors
    /// As [`output`](Self::output), and [`Error::Command`] for an exit status other than 0.
    pub fn check(&self) -> Result<Output, Error> {
        self.output()?.check(&self.program)
    }

    pub(crate) fn check_watched(
        &self,
        started: impl FnOnce(u32) -> Result<(), Error>,
    ) -> Result<Output, Error> {
        self.output_watched(started)?.check(&self.program)
    }

    fn output_watched(
        &self,
        started: impl FnOnce(u32) -> Result<(), Error>,
    ) -> Result<Output, Error> {
        let mut command = launch(&self.program, self.account.as_ref(), self.namespace.as_ref());
        command
            .args(&self.args)
            .env_clear()
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .current_dir(&self.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        let name = self.program.to_string_lossy();
        let mut child = command.spawn().map_err(Error::io(format!("starting {name}")))?;
        let watched = started(child.id());
        let (stdout, stderr) = (drain(child.stdout.take()), drain(child.stderr.take()));
        let status = match watched {
            Ok(()) => wait(&mut child, self.limit)?,
            Err(_) => None,
        };
        if status.is_none() {
            // Already gone is as good.
            let _ = child.kill();
            let _ = child.wait();
        }
        let collect = |reader: thread::JoinHandle<Vec<u8>>| reader.join().unwrap_or_default();
        watched?;
        match status {
            Some(status) => Ok(Output { status, stdout: collect(stdout), stderr: collect(stderr) }),
            None => Err(Error::Timeout {
                what: format!("the end of {name}"),
                after: self.limit,
                log: String::new(),
            }),
        }
    }
}

impl Output {
    /// The standard output as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    fn check(self, program: &OsStr) -> Result<Self, Error> {
        if self.status.success() {
            return Ok(self);
        }
        let mut output = String::from_utf8_lossy(&self.stderr).trim().to_owned();
        output.push_str(String::from_utf8_lossy(&self.stdout).trim());
        Err(Error::Command {
            program: program.to_string_lossy().into_owned(),
            status: self.status.to_string(),
            output,
        })
    }
}

/// The command that becomes a program as an account and in a namespace: its process is the
/// program's. Only root gets into a namespace, so the account is changed afterwards.
pub(crate) fn launch(
    program: &OsStr,
    account: Option<&Account>,
    namespace: Option<&Namespace>,
) -> Command {
    let Some(namespace) = namespace else {
        let mut command = Command::new(program);
        if let Some(account) = account {
            account.apply(&mut command);
        }
        return command;
    };
    let mut words = namespace.launcher().to_vec();
    words.extend(account.map(Account::launcher).into_iter().flatten());
    let mut words = words.into_iter();
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).arg(program);
    command
}

/// Nothing of the caller's environment that could change what PostgreSQL does.
pub(crate) fn bare_environment() -> Vec<(OsString, OsString)> {
    let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/bin:/bin".into());
    vec![("PATH".into(), path), ("LC_ALL".into(), "C".into()), ("TZ".into(), "UTC".into())]
}

fn drain(stream: Option<impl Read + Send + 'static>) -> thread::JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut stream) = stream {
            // What was read before an error is still worth showing.
            let _ = stream.read_to_end(&mut bytes);
        }
        bytes
    })
}

pub(crate) fn wait(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>, Error> {
    poll::until(limit, || child.try_wait().map_err(Error::io("waiting for a process")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_a_program_answered() {
        let error = Run::new("sh").args(["-c", "echo no >&2; exit 3"]).check().unwrap_err();
        assert!(error.to_string().contains("no"), "{error}");
        assert!(matches!(Run::new("/nowhere/at/all").output(), Err(Error::Io { .. })));
    }

    #[test]
    fn ends_what_never_ends() {
        let run = Run::new("sleep").args(["1000"]).limit(Duration::from_millis(50));
        assert!(matches!(run.output(), Err(Error::Timeout { .. })));
    }
}
