//! A running server.

use std::{
    fs::{self, OpenOptions},
    io::Write,
    net::{IpAddr, SocketAddr},
    os::unix::{
        fs::{OpenOptionsExt, PermissionsExt},
        process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Stdio},
    time::Duration,
};

use pg_version::PgVersion;
use rustix::process::{Pid, Signal, kill_process};

use crate::{
    Account, Builder, Connect, Error, Installation, LogPosition, Namespace, Rows, Run, Session,
    builder::{free_port, port_line, read},
    command,
    home::Home,
    log, poll,
    session::ssl_request,
};

/// A PostgreSQL server with a folder of its own, stopped and removed when dropped.
///
/// Also where the test panics (`Drop`), and where the process is killed: see the crate's page.
///
/// ```no_run
/// use pg_version::PgVersion;
/// use pgtest::Server;
///
/// let mut server = Server::builder(&pgtest::find(PgVersion::V17)?)
///     .setting("wal_level", "logical")
///     .start()?;
/// assert_eq!(server.query("SHOW wal_level")?.value(), Some("logical"));
/// # Ok::<(), pgtest::Error>(())
/// ```
#[derive(Debug)]
pub struct Server {
    installation: Installation,
    account: Account,
    /// `None` once the folder was given away.
    home: Option<Home>,
    root: PathBuf,
    addr: IpAddr,
    port: u16,
    any_port: bool,
    namespace: Option<Namespace>,
    limit: Duration,
    process: Option<Child>,
    /// It was killed, so others of its processes may live on for a moment.
    crashed: bool,
    /// `HOME`, where it is not in the folder.
    other_home: Option<PathBuf>,
}

/// How a server is asked to stop (PostgreSQL documentation, "Shutting Down the Server").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shutdown {
    /// SIGTERM: waits for the clients to leave.
    Smart,
    /// SIGINT: ends the sessions, then stops in good order.
    Fast,
    /// SIGQUIT: ends at once; the next start recovers as after a crash.
    Immediate,
}

/// A server that was left running by [`Server::keep`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Kept {
    /// The postmaster's process.
    pub pid: u32,
    /// The folder that holds everything of the server.
    pub root: PathBuf,
}

impl Kept {
    /// The shell command that stops the server and removes its folder.
    #[must_use]
    pub fn stop_command(&self) -> String {
        let root = self.root.display().to_string().replace('\'', r"'\''");
        // The server still writes into its folder for a moment; its last deed removes this file.
        format!(
            "kill -QUIT {} && while [ -e '{root}/data/postmaster.pid' ]; do sleep 0.1; done && \
             rm -rf '{root}'",
            self.pid
        )
    }
}

impl Server {
    /// A server of this build, to be described further.
    pub fn builder(installation: &Installation) -> Builder {
        Builder::new(installation)
    }

    pub(crate) fn new(
        installation: Installation,
        account: Account,
        home: Home,
        (addr, port, any_port): (IpAddr, u16, bool),
        namespace: Option<Namespace>,
        limit: Duration,
    ) -> Self {
        Self {
            installation,
            account,
            root: home.root.clone(),
            home: Some(home),
            addr,
            port,
            any_port,
            namespace,
            limit,
            process: None,
            crashed: false,
            other_home: None,
        }
    }

    /// Starts a server that is not running, and returns when it accepts connections.
    ///
    /// # Errors
    /// [`Error::Start`] where it ends instead, [`Error::Timeout`] where it does not get ready;
    /// both with the end of its log. [`Error::State`] where it is running.
    pub fn start(&mut self) -> Result<(), Error> {
        if self.process.is_some() {
            return Err(Error::State { is: "running", needs: "start needs a stopped one" });
        }
        let mut ports_left = 10;
        let started = poll::until(self.limit, || match self.start_once() {
            Ok(()) => Ok(Some(())),
            Err(Error::Start { log, .. })
                if self.any_port && ports_left > 0 && port_taken(&log) =>
            {
                ports_left -= 1;
                self.change_port()?;
                Ok(None)
            }
            // The killed server's other processes end by themselves, but not at once.
            Err(Error::Start { log, .. }) if self.crashed && still_in_use(&log) => Ok(None),
            Err(error) => Err(error),
        })?;
        self.crashed = false;
        started.ok_or_else(|| self.late("the start", LogPosition::START))
    }

    fn start_once(&mut self) -> Result<(), Error> {
        let since = self.log_position()?;
        let log_path = self.log_path();
        let file = OpenOptions::new()
            .append(true)
            .create(true)
            .mode(0o644)
            .open(&log_path)
            .map_err(Error::io(format!("opening {}", log_path.display())))?;
        let error_file = file.try_clone().map_err(Error::io("duplicating the log's handle"))?;
        let program = self.installation.program("postgres");
        let (account, namespace) = (Some(&self.account), self.namespace.as_ref());
        let mut command = command::launch(program.as_os_str(), account, namespace);
        command
            .arg("-D")
            .arg(self.data_dir())
            .env_clear()
            .envs(command::bare_environment())
            .env("HOME", self.home_dir())
            .current_dir(self.data_dir())
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(error_file)
            // Ctrl-C is for us, who then stop the server in good order.
            .process_group(0);
        let Some(home) = &mut self.home else {
            return Err(Error::State { is: "given away", needs: "start needs its folder" });
        };
        home.watchdog.starting()?;
        let child = command.spawn().map_err(Error::io(format!(
            "starting {} as {}",
            program.display(),
            self.account.name()
        )))?;
        let pid = child.id();
        home.watchdog.server(pid)?;
        let child = self.process.insert(child);
        // The file's eighth line, which pg_ctl waits for too; no connection, so no hba line is
        // needed and nothing is logged.
        let pid_file = self.root.join("data/postmaster.pid");
        let ready = poll::until(self.limit, || {
            if let Some(status) = child.try_wait().map_err(Error::io("waiting for the server"))? {
                let log = log::tail(&log_path, since);
                return Err(Error::Start { status: status.to_string(), log });
            }
            let text = fs::read_to_string(&pid_file).unwrap_or_default();
            let mut lines = text.lines();
            let ours = lines.next().is_some_and(|line| line.trim() == pid.to_string());
            let status = lines.nth(6).map(str::trim);
            Ok((ours && matches!(status, Some("ready" | "standby"))).then_some(()))
        });
        match ready {
            Ok(Some(())) => Ok(()),
            Ok(None) => {
                let late = self.late("readiness for connections", since);
                self.kill9()?;
                Err(late)
            }
            Err(error) => {
                self.process = None;
                home.watchdog.stopped()?;
                Err(error)
            }
        }
    }

    fn change_port(&mut self) -> Result<(), Error> {
        let port = free_port(self.addr)?;
        let conf = read(&self.data_dir().join("postgresql.conf"))?;
        let conf = conf.replace(&port_line(self.port), &port_line(port));
        self.write_file("postgresql.conf", conf, 0o600)?;
        self.port = port;
        Ok(())
    }

    /// Stops the server; its folder stays until it is dropped. A stopped one stays stopped.
    ///
    /// # Errors
    /// [`Error::Timeout`] where it did not stop as asked; it was killed then.
    pub fn stop(&mut self, how: Shutdown) -> Result<(), Error> {
        let signal = match how {
            Shutdown::Smart => Signal::TERM,
            Shutdown::Fast => Signal::INT,
            Shutdown::Immediate => Signal::QUIT,
        };
        if self.process.is_none() || self.end(signal, self.limit)? {
            return Ok(());
        }
        let late = self.late("the stop", LogPosition::START);
        self.kill9()?;
        Err(late)
    }

    /// Stops the server in good order and starts it again, on the same port.
    ///
    /// # Errors
    /// As [`stop`](Self::stop) and [`start`](Self::start).
    pub fn restart(&mut self) -> Result<(), Error> {
        self.stop(Shutdown::Fast)?;
        self.start()
    }

    /// Kills the postmaster with SIGKILL: a crash. [`start`](Self::start) recovers.
    ///
    /// # Errors
    /// [`Error::Io`] where the system refuses.
    pub fn kill9(&mut self) -> Result<(), Error> {
        if self.process.is_some() {
            self.crashed = true;
            self.end(Signal::KILL, Duration::from_secs(30))?;
        }
        Ok(())
    }

    /// Signals the process and waits for its end: did it come in time?
    fn end(&mut self, signal: Signal, limit: Duration) -> Result<bool, Error> {
        let Some(child) = &mut self.process else { return Ok(true) };
        // A child that has not been waited for keeps its number: this is never another process.
        if child.try_wait().map_err(Error::io("waiting for the server"))?.is_none() {
            kill_process(Pid::from_child(child), signal)
                .map_err(|error| Error::io("signalling the server")(error.into()))?;
        }
        if command::wait(child, limit)?.is_none() {
            return Ok(false);
        }
        self.process = None;
        if let Some(home) = &mut self.home {
            home.watchdog.stopped()?;
        }
        Ok(true)
    }

    /// Makes the server read its files again (SIGHUP), and returns when the postmaster has done
    /// so: what it has to say about the files is in the log, and connections from now on follow
    /// the new ones. Sessions that are open follow a moment later. The answer is the log's
    /// position before.
    ///
    /// # Errors
    /// [`Error::State`] where it is not running, [`Error::Io`] where it does not answer.
    pub fn reload(&self) -> Result<LogPosition, Error> {
        let since = self.log_position()?;
        let Some(child) = &self.process else {
            return Err(Error::State { is: "stopped", needs: "reload needs a running one" });
        };
        kill_process(Pid::from_child(child), Signal::HUP)
            .map_err(|error| Error::io("signalling the server")(error.into()))?;
        // The postmaster has one thread and looks at its signals first.
        ssl_request(&self.connect().limit(self.limit))?;
        Ok(since)
    }

    /// Leaves the server running, and its folder, even when this process ends.
    ///
    /// # Errors
    /// [`Error::State`] where it is not running.
    pub fn keep(mut self) -> Result<Kept, Error> {
        let (Some(child), Some(home)) = (self.process.take(), self.home.take()) else {
            return Err(Error::State { is: "stopped", needs: "keep needs a running one" });
        };
        home.watchdog.release();
        Ok(Kept { pid: child.id(), root: self.root.clone() })
    }

    /// Runs SQL as the superuser `postgres` in the database `postgres`, over the Unix socket, and
    /// gives the last statement's result. Every call is a session of its own.
    ///
    /// # Errors
    /// As [`Connect::open`] and [`Session::query`].
    pub fn query(&self, sql: &str) -> Result<Rows, Error> {
        self.session()?.query(sql)
    }

    /// A session as the superuser `postgres` in the database `postgres`, over the Unix socket.
    ///
    /// # Errors
    /// As [`Connect::open`].
    pub fn session(&self) -> Result<Session, Error> {
        self.connect().open()
    }

    /// How to connect over the Unix socket, to be changed at will.
    #[must_use]
    pub fn connect(&self) -> Connect {
        Connect::unix(self.socket_dir(), self.port)
    }

    /// How to connect over TCP, to be changed at will.
    #[must_use]
    pub fn connect_tcp(&self) -> Connect {
        Connect::tcp(SocketAddr::new(self.addr, self.port))
    }

    /// Writes a file that belongs to the server's account; a relative path begins at the data
    /// folder. A private key wants mode `0o600`.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be written.
    pub fn write_file(
        &self,
        path: impl AsRef<Path>,
        content: impl AsRef<[u8]>,
        mode: u32,
    ) -> Result<PathBuf, Error> {
        let path = self.data_dir().join(path);
        let write = || {
            let mut file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(true)
                .mode(mode)
                .open(&path)?;
            file.set_permissions(fs::Permissions::from_mode(mode))?;
            file.write_all(content.as_ref())
        };
        write().map_err(Error::io(format!("writing {}", path.display())))?;
        self.account.own(&path)?;
        Ok(path)
    }

    /// The whole log.
    ///
    /// # Errors
    /// [`Error::Io`] where there is none yet.
    pub fn log_text(&self) -> Result<String, Error> {
        log::since(&self.log_path(), LogPosition::START)
    }

    /// Where the log ends now.
    ///
    /// # Errors
    /// [`Error::Io`] where it cannot be looked at.
    pub fn log_position(&self) -> Result<LogPosition, Error> {
        log::position(&self.log_path())
    }

    /// What was logged after a position.
    ///
    /// # Errors
    /// [`Error::Io`] where there is no log yet.
    pub fn log_since(&self, start: LogPosition) -> Result<String, Error> {
        log::since(&self.log_path(), start)
    }

    /// Waits for a line that holds `pattern`, logged after a position.
    ///
    /// # Errors
    /// [`Error::Timeout`] where none comes within `limit`, with what came instead.
    pub fn wait_for_log(
        &self,
        pattern: &str,
        start: LogPosition,
        limit: Duration,
    ) -> Result<String, Error> {
        log::wait(&self.log_path(), pattern, start, limit)
    }

    fn late(&self, what: &str, since: LogPosition) -> Error {
        let log = log::tail(&self.log_path(), since);
        Error::Timeout { what: what.to_owned(), after: self.limit, log }
    }

    /// Is the postmaster alive?
    pub fn is_running(&mut self) -> bool {
        self.process.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(None)))
    }

    /// The postmaster's process, where it was started.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.process.as_ref().map(Child::id)
    }

    /// The build.
    #[must_use]
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// The major.
    #[must_use]
    pub fn version(&self) -> PgVersion {
        self.installation.version()
    }

    /// The account that it runs as and that owns its files.
    #[must_use]
    pub fn account(&self) -> &Account {
        &self.account
    }

    /// The network namespace that it runs in, where it is in one.
    #[must_use]
    pub fn namespace(&self) -> Option<&Namespace> {
        self.namespace.as_ref()
    }

    /// The address that it listens on.
    #[must_use]
    pub fn addr(&self) -> IpAddr {
        self.addr
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The folder that holds everything of the server.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The data folder, with `postgresql.conf`, `pg_hba.conf` and `pg_ident.conf`.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The folder of the Unix socket: the `host` of a connection string.
    #[must_use]
    pub fn socket_dir(&self) -> PathBuf {
        self.root.join("sock")
    }

    /// The server's `HOME`: its libpq looks for `.pgpass` and `.postgresql` here.
    #[must_use]
    pub fn home_dir(&self) -> PathBuf {
        self.other_home.clone().unwrap_or_else(|| self.root.join("home"))
    }

    /// Gives the server another `HOME` from its next start on, as where several servers run as one
    /// account.
    pub fn set_home_dir(&mut self, path: impl Into<PathBuf>) {
        self.other_home = Some(path.into());
    }

    /// The log's file.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.root.join("server.log")
    }

    /// A killed server leaves the small System V segment by which PostgreSQL notices other
    /// servers on its data folder; its number is on the seventh line of `postmaster.pid`.
    fn remove_segment(&self) {
        let text = fs::read_to_string(self.data_dir().join("postmaster.pid")).unwrap_or_default();
        let segment = text.lines().nth(6).and_then(|line| line.split_whitespace().nth(1));
        if let Some(segment) = segment {
            // Where it is gone already, all is well.
            let _ = Run::new("ipcrm").args(["-m", segment]).account(&self.account).output();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let steps = [(Signal::INT, 20), (Signal::QUIT, 10), (Signal::KILL, 10)];
        for (signal, seconds) in steps {
            if signal == Signal::KILL && self.process.is_some() {
                self.crashed = true;
            }
            if matches!(self.end(signal, Duration::from_secs(seconds)), Ok(true)) {
                break;
            }
        }
        if let Some(home) = self.home.take() {
            if self.crashed {
                self.remove_segment();
            }
            // Drop cannot report; the watchdog has tried as well.
            let _ = home.watchdog.remove();
        }
    }
}

fn port_taken(log: &str) -> bool {
    log.contains("could not bind") && log.contains("Address already in use")
}

fn still_in_use(log: &str) -> bool {
    log.contains("shared memory block") || log.contains("postmaster.pid\" already exists")
}
