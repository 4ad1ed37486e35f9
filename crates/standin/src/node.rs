//! A node: a server, and what its peers call it.

use std::{
    fs,
    net::IpAddr,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Instant,
};

use pgtest::{Installation, Namespace, Rows, Server, Session};

use super::{Error, PATIENCE, Result, site::Place};

/// A node of a stand-in. Its server stops and goes when the last handle of the node does.
#[derive(Debug)]
pub struct Node {
    name: String,
    place: Place,
    database: &'static str,
    root: PathBuf,
    home: PathBuf,
    server: Mutex<Server>,
}

/// A session, as the server's log tells of its beginning.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Login {
    /// The server's process.
    pub pid: i32,
    /// `cert`, `scram-sha-256`, `trust`; `None` where the log has no word on it (`trust` before 17).
    pub method: Option<String>,
    /// Who the method says it was.
    pub identity: Option<String>,
    /// The line of `pg_hba.conf` that decided.
    pub line: Option<u32>,
    /// The role that got in; `None` where it did not.
    pub user: Option<String>,
    /// The name that the client gives itself.
    pub application: Option<String>,
    /// Whether TLS was spoken.
    pub tls: bool,
}

/// What a node is to be.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    pub(crate) installation: Installation,
    pub(crate) name: String,
    pub(crate) place: Place,
    pub(crate) database: &'static str,
    pub(crate) create_database: bool,
    pub(crate) settings: Vec<(String, String)>,
    /// Lines after initdb's in `pg_hba.conf`.
    pub(crate) hba: String,
    /// Lines of `/etc/hosts`, where the node has one of its own.
    pub(crate) hosts: String,
    /// The server's `HOME`, if another than a folder of its own.
    pub(crate) home: Option<PathBuf>,
}

impl Node {
    /// Starts nodes side by side.
    pub(crate) async fn start_all(setups: Vec<Setup>) -> Result<Vec<Arc<Self>>> {
        let starting: Vec<_> = setups
            .into_iter()
            .map(|setup| tokio::task::spawn_blocking(move || Self::start(setup)))
            .collect();
        let mut nodes = Vec::new();
        for started in starting {
            nodes.push(Arc::new(started.await??));
        }
        Ok(nodes)
    }

    fn start(setup: Setup) -> Result<Self> {
        let mut builder = Server::builder(&setup.installation);
        if let Some(namespace) = &setup.place.namespace {
            namespace.hosts(&setup.hosts)?;
            builder = builder.namespace(namespace);
        }
        builder = builder
            .addr(setup.place.address)
            .setting("logging_collector", "on")
            // One file, also after a restart.
            .setting("log_filename", "postgresql.log")
            .setting("log_connections", "on");
        for (name, value) in setup.settings {
            builder = builder.setting(name, value);
        }
        let mut server = builder.init()?;
        let hba = server.data_dir().join("pg_hba.conf");
        let text = fs::read_to_string(&hba).map_err(file(&hba))?;
        server.write_file(&hba, text + &setup.hba, 0o600)?;
        if let Some(home) = setup.home {
            server.set_home_dir(home);
        }
        server.start()?;
        if setup.create_database {
            server.query(&format!("CREATE DATABASE {}", setup.database))?;
        }
        Ok(Self {
            name: setup.name,
            place: setup.place,
            database: setup.database,
            root: server.root().to_owned(),
            home: server.home_dir(),
            server: Mutex::new(server),
        })
    }

    /// What the cluster calls it: `node-1`, `access`, ...
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The host name that it has in other nodes' `/etc/hosts`, where nodes have one of their own.
    pub fn host(&self) -> String {
        host_of(&self.name)
    }

    /// The address that its peers connect to.
    pub fn address(&self) -> IpAddr {
        self.place.address
    }

    /// The namespace that it runs in, where it is in one.
    pub fn namespace(&self) -> Option<&Namespace> {
        self.place.namespace.as_ref()
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.server().port()
    }

    /// The database that matters.
    pub fn database(&self) -> &'static str {
        self.database
    }

    /// The server, to stop, start and reload it.
    pub fn server(&self) -> MutexGuard<'_, Server> {
        // A panic elsewhere must not keep it from being stopped.
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder of its Unix socket.
    pub fn socket_dir(&self) -> PathBuf {
        self.root.join("sock")
    }

    /// Its data directory.
    pub fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The server's `HOME`: from major 15 on its libpq looks for `.pgpass` here.
    pub fn home_dir(&self) -> PathBuf {
        self.home.clone()
    }

    /// The log of its logging collector.
    pub fn log_path(&self) -> PathBuf {
        self.data_dir().join("log/postgresql.log")
    }

    /// How its administrator connects: a libpq connection string.
    pub fn admin_conninfo(&self) -> String {
        let (socket, port) = (self.socket_dir(), self.port());
        format!("host={} port={port} user=postgres dbname={}", socket.display(), self.database)
    }

    /// A session as the superuser in the database that matters.
    pub fn session(&self) -> Result<Session> {
        let connect = self.server().connect();
        Ok(connect.database(self.database).open()?)
    }

    /// Runs SQL as the superuser in the database that matters.
    pub fn sql(&self, sql: &str) -> Result<Rows> {
        Ok(self.session()?.query(sql)?)
    }

    /// The first value of a query's result; NULL and no row are the empty text.
    pub fn value(&self, sql: &str) -> Result<String> {
        Ok(self.sql(sql)?.value().unwrap_or_default().to_owned())
    }

    /// Waits until a query's first value is `expected`.
    pub fn wait(&self, sql: &str, expected: &str) -> Result {
        let mut session = self.session()?;
        poll(|| {
            let rows = session.query(sql)?;
            let value = rows.value().unwrap_or_default();
            if value == expected {
                return Ok(None);
            }
            Ok(Some(format!("{}: {sql}\nis {value:?}, not {expected:?}", self.name)))
        })
    }

    /// Writes a file of the server's account; a relative path begins at the data directory.
    pub fn write(&self, path: impl AsRef<std::path::Path>, text: &[u8], mode: u32) -> Result {
        self.server().write_file(path, text, mode)?;
        Ok(())
    }

    /// Puts lines before or after those of `pg_hba.conf`.
    pub fn edit_hba(&self, before: &str, after: &str) -> Result {
        let path = self.data_dir().join("pg_hba.conf");
        let text = fs::read_to_string(&path).map_err(file(&path))?;
        self.write(&path, format!("{before}{text}{after}").as_bytes(), 0o600)
    }

    /// Adds lines to `postgresql.conf`.
    pub fn edit_conf(&self, lines: &str) -> Result {
        let path = self.data_dir().join("postgresql.conf");
        let text = fs::read_to_string(&path).map_err(file(&path))?;
        self.write(&path, format!("{text}{lines}").as_bytes(), 0o600)
    }

    /// Makes the server read its files again: what connects from now on follows them.
    pub fn reload(&self) -> Result {
        self.server().reload()?;
        Ok(())
    }

    /// What is in the log by now.
    pub fn log(&self) -> Result<String> {
        let path = self.log_path();
        fs::read(&path).map(|log| String::from_utf8_lossy(&log).into_owned()).map_err(file(&path))
    }

    /// The log with all that was said until now. Its collector writes when it comes to it, and in the
    /// order in which it was told.
    pub fn log_until_now(&self) -> Result<String> {
        static NEXT: AtomicU32 = AtomicU32::new(0);

        let mark = format!("until here: {}.", NEXT.fetch_add(1, Ordering::Relaxed));
        self.sql(&format!("DO $$ BEGIN RAISE LOG '{mark}'; END $$"))?;
        self.wait_for_log(&mark, 0)?;
        self.log()
    }

    /// How long that is: what is said from now on stands behind it.
    pub fn mark(&self) -> Result<usize> {
        Ok(self.log_until_now()?.len())
    }

    /// Waits for a line of the log that holds `pattern`, after the first `since` bytes.
    pub fn wait_for_log(&self, pattern: &str, since: usize) -> Result<String> {
        let mut found = String::new();
        poll(|| {
            let log = self.log()?;
            let new = log.get(since..).unwrap_or_default();
            match new.split_inclusive('\n').find(|l| l.contains(pattern) && l.ends_with('\n')) {
                Some(line) => {
                    line.trim_end().clone_into(&mut found);
                    Ok(None)
                }
                None => Ok(Some(format!("{}: no {pattern:?} in the log:\n{new}", self.name))),
            }
        })?;
        Ok(found)
    }

    /// How the last session of a server process was let in.
    pub fn login_of(&self, pid: i32) -> Result<Option<Login>> {
        Ok(self.logins_since(0)?.into_iter().rfind(|login| login.pid == pid))
    }

    /// The connections that the log tells of after its first `since` bytes. (Its lines must begin as
    /// the default `log_line_prefix` has them.)
    pub fn logins_since(&self, since: usize) -> Result<Vec<Login>> {
        let log = self.log_until_now()?;
        let mut logins: Vec<Login> = Vec::new();
        for line in log.get(since..).unwrap_or_default().lines() {
            let Some((prefix, message)) = line.split_once("] LOG:  ") else { continue };
            let pid = prefix.rsplit('[').next().and_then(|pid| pid.parse().ok());
            let Some(pid) = pid else { continue };
            if message.starts_with("connection received: ") {
                logins.push(Login { pid, ..Login::default() });
            }
            let Some(login) = logins.iter_mut().rfind(|login| login.pid == pid) else { continue };
            if let Some(rest) = message.strip_prefix("connection authenticated: ") {
                // identity="CN=x" method=cert (/…/pg_hba.conf:3); for trust user="x" method=trust (…)
                let mut words = rest.rsplit(' ');
                let place = words.next().unwrap_or_default().trim_end_matches(')');
                login.line = place.rsplit(':').next().and_then(|line| line.parse().ok());
                login.method = words.next().and_then(|m| m.strip_prefix("method=")).map(Into::into);
                let identity =
                    rest.strip_prefix("identity=\"").and_then(|rest| rest.split_once('"'));
                login.identity = identity.map(|(identity, _)| identity.to_owned());
            } else if let Some((_, rest)) = message.split_once("connection authorized: ") {
                let word = |name: &str| {
                    rest.split(' ').find_map(|word| word.strip_prefix(name)).map(str::to_owned)
                };
                login.user = word("user=");
                login.application = word("application_name=");
                login.tls = rest.contains("SSL enabled");
            }
        }
        Ok(logins)
    }
}

/// The lines of `/etc/hosts` that make nodes' names known.
pub(crate) fn hosts_of(names: &[String], places: &[Place]) -> String {
    let line = |(name, place): (&String, &Place)| format!("{} {}\n", place.address, host_of(name));
    names.iter().zip(places).map(line).collect()
}

pub(crate) fn host_of(name: &str) -> String {
    format!("{name}.standin.invalid")
}

pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Error {
    let path = path.display().to_string();
    move |error| Error::File(path, error)
}

/// Asks until there is nothing to complain of; the last complaint is the error.
pub(crate) fn poll(complaint: impl FnMut() -> Result<Option<String>>) -> Result {
    poll_until(Instant::now() + PATIENCE, complaint)
}

pub(crate) fn poll_until(
    deadline: Instant,
    mut complaint: impl FnMut() -> Result<Option<String>>,
) -> Result {
    loop {
        let late = Instant::now() > deadline;
        match complaint()? {
            None => return Ok(()),
            Some(complaint) if late => return Err(Error::Late(complaint)),
            Some(_) => std::thread::sleep(std::time::Duration::from_millis(5)),
        }
    }
}
