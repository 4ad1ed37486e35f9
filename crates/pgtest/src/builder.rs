//! What a server is to be, before it is.

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, TcpListener},
    path::Path,
    sync::atomic::{AtomicU16, Ordering},
    time::Duration,
};

use crate::{Account, Error, Installation, Namespace, Server, home::Home, poll::PATIENCE};

/// A server to make. Every part has a default; [`start`](Self::start) makes and starts it.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    installation: Installation,
    addr: IpAddr,
    port: Option<u16>,
    settings: Vec<(String, String)>,
    hba: Option<String>,
    ident: Option<String>,
    account: Option<Account>,
    namespace: Option<Namespace>,
    initdb_args: Vec<String>,
    limit: Duration,
}

impl Builder {
    pub(crate) fn new(installation: &Installation) -> Self {
        Self {
            installation: installation.clone(),
            addr: Ipv4Addr::LOCALHOST.into(),
            port: None,
            settings: Vec::new(),
            hba: None,
            ident: None,
            account: None,
            namespace: None,
            initdb_args: Vec::new(),
            limit: PATIENCE,
        }
    }

    /// The address to listen on: 127.0.0.1 unless set. Linux has all of 127.0.0.0/8, so several
    /// servers can have an address each.
    pub fn addr(mut self, addr: impl Into<IpAddr>) -> Self {
        self.addr = addr.into();
        self
    }

    /// A certain port. Unless set, a free one is chosen.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// A line of `postgresql.conf`. It comes after what this crate sets (`listen_addresses`,
    /// `port`, `unix_socket_directories`, `fsync = off`, `full_page_writes = off`,
    /// `dynamic_shared_memory_type = mmap`), so it wins.
    pub fn setting(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.settings.push((name.into(), value.to_string()));
        self
    }

    /// The whole of `pg_hba.conf`, in place of initdb's, which trusts everyone on this machine.
    ///
    /// [`Server::query`] logs in as `postgres` over the Unix socket: keep a line such as
    /// `local all postgres trust` where it is used, or open a session first.
    pub fn hba(mut self, text: impl Into<String>) -> Self {
        self.hba = Some(text.into());
        self
    }

    /// The whole of `pg_ident.conf`.
    pub fn ident(mut self, text: impl Into<String>) -> Self {
        self.ident = Some(text.into());
        self
    }

    /// The account that the server runs as: [`Account::choose`] unless set.
    pub fn account(mut self, account: Account) -> Self {
        self.account = Some(account);
        self
    }

    /// The network namespace that the server runs in. It listens on the namespace's address
    /// (`listen_addresses` for more) and on port 5432, which is free there, unless
    /// [`port`](Self::port) is set.
    pub fn namespace(mut self, namespace: &Namespace) -> Self {
        self.addr = namespace.addr();
        self.port.get_or_insert(5432);
        self.namespace = Some(namespace.clone());
        self
    }

    /// Further arguments for initdb. A server with its own arguments cannot start from the copy
    /// that others share, and takes a second longer.
    pub fn initdb_args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.initdb_args.extend(args.into_iter().map(Into::into));
        self
    }

    /// How long starting or stopping may take: ten minutes unless set.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Makes the server's folder, and starts nothing: its files can be changed before
    /// [`Server::start`].
    ///
    /// # Errors
    /// Where there is no account to run as, initdb fails, or no port is free.
    pub fn init(self) -> Result<Server, Error> {
        let account = match self.account {
            Some(account) => account,
            None => Account::choose()?,
        };
        let port = match self.port {
            Some(port) => port,
            None => free_port(self.addr)?,
        };
        let mut home = Home::create(&account)?;
        let filled = if self.initdb_args.is_empty() {
            home.copy_template(&self.installation, &account)
        } else {
            home.initdb(&self.installation, &account, &self.initdb_args)
        };
        let server = Server::new(
            self.installation,
            account,
            home,
            (self.addr, port, self.port.is_none()),
            self.namespace,
            self.limit,
        );
        // From here on the server's Drop cleans up.
        filled?;
        let mut conf = read(&server.data_dir().join("postgresql.conf"))?;
        conf.push_str(&format!("\n# pgtest\n{}", port_line(port)));
        let socket_dir = server.socket_dir().display().to_string();
        let ours = [
            ("listen_addresses", self.addr.to_string()),
            ("unix_socket_directories", socket_dir),
            ("fsync", "off".to_owned()),
            ("full_page_writes", "off".to_owned()),
            // Nothing outside of the folder that a killed server could leave behind.
            ("dynamic_shared_memory_type", "mmap".to_owned()),
        ];
        let ours = ours.iter().map(|(name, value)| (*name, value));
        let theirs = self.settings.iter().map(|(name, value)| (name.as_str(), value));
        for (name, value) in ours.chain(theirs) {
            let value = value.replace('\\', "\\\\").replace('\'', "''");
            conf.push_str(&format!("{name} = '{value}'\n"));
        }
        server.write_file("postgresql.conf", conf, 0o600)?;
        for (name, text) in [("pg_hba.conf", self.hba), ("pg_ident.conf", self.ident)] {
            if let Some(text) = text {
                server.write_file(name, text, 0o600)?;
            }
        }
        Ok(server)
    }

    /// Makes the server and starts it; returns when it accepts connections.
    ///
    /// # Errors
    /// As [`init`](Self::init) and [`Server::start`].
    pub fn start(self) -> Result<Server, Error> {
        let mut server = self.init()?;
        server.start()?;
        Ok(server)
    }
}

pub(crate) fn port_line(port: u16) -> String {
    format!("port = {port} # chosen by pgtest\n")
}

pub(crate) fn read(path: &Path) -> Result<String, Error> {
    fs::read_to_string(path).map_err(Error::io(format!("reading {}", path.display())))
}

/// A port that nobody listens on. It lies below the range from which systems take the ports of
/// outgoing connections, so that it is still free after a restart.
pub(crate) fn free_port(addr: IpAddr) -> Result<u16, Error> {
    const FIRST: u16 = 20_000;
    const COUNT: u16 = 12_000;
    static NEXT: AtomicU16 = AtomicU16::new(0);
    // Processes start at different places, so that they seldom meet. (They may: the start of a
    // server whose port was taken in between is tried again.)
    let start = std::process::id().wrapping_mul(97) % u32::from(COUNT);
    let mut last = None;
    for _ in 0..200 {
        let step = u32::from(NEXT.fetch_add(1, Ordering::Relaxed));
        let offset = u16::try_from((start + step) % u32::from(COUNT)).unwrap_or_default();
        match TcpListener::bind((addr, FIRST + offset)) {
            Ok(_) => return Ok(FIRST + offset),
            Err(error) => last = Some(error),
        }
    }
    let source = last.unwrap_or_else(|| std::io::ErrorKind::AddrInUse.into());
    Err(Error::Io { what: format!("finding a free port on {addr}"), source })
}
