//! Passwords for a [`tokio_postgres::Config`], which knows no password file itself.
//!
//! libpq looks each host of a connection up and may find another password for each. A `Config` has
//! one password for all of its hosts. So there are two ways:
//!
//! - [`PassFile::fill`] gives the config its password, if it is the same for all of its hosts;
//! - [`PassFile::for_each_host`] makes a config of each host, to be tried one after the other.
//!
//! ```no_run
//! use passfile::{Libpq, Surroundings, fs};
//! use tokio_postgres::{Config, NoTls};
//!
//! # async fn connect(surroundings: Surroundings) -> Result<(), Box<dyn std::error::Error>> {
//! let mut config: Config = "host=db1 user=bob dbname=app".parse()?;
//! let libpq = Libpq::default();
//! if let Some(path) = surroundings.passfile(None, &libpq) {
//!     match fs::open(&path) {
//!         Ok(file) => drop(file.fill(&mut config, &libpq)?),
//!         Err(error) if error.is_not_found() => {}
//!         Err(error) => eprintln!("{error}"), // libpq goes on without a password
//!     }
//! }
//! let (client, connection) = config.connect(NoTls).await?;
//! # Ok(())
//! # }
//! ```
//!
//! A `Config` keeps its own copy of the password and does not wipe it.

use tokio_postgres::{Config, config::Host};

use crate::{Found, Key, Libpq, PassFile, Value, secret::Password};

/// What [`PassFile::fill`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Filled {
    /// The config got the password of this line, counted from 1, the first host's.
    FromLine(usize),
    /// The config has a password already: that one is used, as libpq does.
    Given,
    /// No line matches, or the first that does has an empty password. The config is as it was.
    NoPassword,
}

/// Why a config cannot be given a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// The config names no user. tokio-postgres would ask the system for one, this crate does not.
    #[error("the connection names no user: set one to look its password up")]
    NoUser,
    /// The passwords of two hosts are not the same, or one of them has none. No host may get
    /// another one's.
    #[error(
        "hosts 1 and {host} of the connection have different passwords: make a config of each with \
         for_each_host"
    )]
    PasswordsDiffer {
        /// The first host that differs, counted from 1.
        host: usize,
    },
    /// There are not as many `hostaddr` as hosts, or more than one port and not as many.
    #[error(
        "the connection has {hosts} hosts, {addresses} addresses and {ports} ports: give as many of \
         each, or one port, or none"
    )]
    Counts {
        /// How many hosts.
        hosts: usize,
        /// How many addresses.
        addresses: usize,
        /// How many ports.
        ports: usize,
    },
}

impl PassFile {
    /// Gives the config the password that libpq would find for its hosts.
    ///
    /// # Errors
    /// [`ConfigError`]; the config is as it was.
    pub fn fill(&self, config: &mut Config, libpq: &Libpq) -> Result<Filled, ConfigError> {
        if has_password(config) {
            return Ok(Filled::Given);
        }
        let targets = targets(config)?;
        let mut passwords = targets.iter().map(|target| self.password(&target.key, libpq));
        let first = passwords.next().flatten();
        let same = |found: &Option<Found<'_>>| {
            found.as_ref().map(Found::password) == first.as_ref().map(Found::password)
        };
        if let Some(host) = passwords.position(|found| !same(&found)) {
            return Err(ConfigError::PasswordsDiffer { host: host + 2 });
        }
        drop(passwords);
        let found = first.map(|found| (found.line(), found.into_password()));
        drop(targets);
        Ok(match found {
            None => Filled::NoPassword,
            Some((line, password)) => {
                config.password(password.expose());
                Filled::FromLine(line)
            }
        })
    }

    /// A config for each of the hosts, in their order, with the password that libpq would find for
    /// it, or none. All else is as in the config given. The hosts are tried as libpq does:
    ///
    /// ```no_run
    /// # use passfile::{Libpq, PassFile};
    /// # use tokio_postgres::{Client, Config, Connection, Error, NoTls, Socket, tls::NoTlsStream};
    /// # async fn connect(file: PassFile, config: Config) -> Result<(), Box<dyn std::error::Error>> {
    /// let mut last = None;
    /// for config in file.for_each_host(&config, &Libpq::default())? {
    ///     match config.connect(NoTls).await {
    ///         Ok((client, connection)) => return Ok(()), // use them
    ///         Err(error) => last = Some(error),
    ///     }
    /// }
    /// # Err(last.map_or("no host".into(), Into::into))
    /// # }
    /// ```
    ///
    /// With `load_balance_hosts = random` the order is for the caller to shuffle.
    ///
    /// # Errors
    /// [`ConfigError`].
    pub fn for_each_host(
        &self,
        config: &Config,
        libpq: &Libpq,
    ) -> Result<Vec<Config>, ConfigError> {
        let given = has_password(config);
        let single = |target: Target<'_>| {
            let mut single = without_hosts(config);
            match target.host {
                Some(Host::Tcp(host)) => drop(single.host(host)),
                #[cfg(unix)]
                Some(Host::Unix(path)) => drop(single.host_path(path)),
                None => {}
            }
            if let Some(address) = target.address {
                single.hostaddr(address);
            }
            if let Some(port) = target.port {
                single.port(port);
            }
            if !given && let Some(found) = self.password(&target.key, libpq) {
                single.password(found.password().expose());
            }
            single
        };
        Ok(targets(config)?.into_iter().map(single).collect())
    }

    /// A password that is not empty.
    fn password(&self, key: &Key<'_>, libpq: &Libpq) -> Option<Found<'_>> {
        self.lookup(key, libpq).filter(|found| !Password::is_empty(found.password()))
    }
}

fn has_password(config: &Config) -> bool {
    config.get_password().is_some_and(|password| !password.is_empty())
}

/// One host of a config.
struct Target<'a> {
    host: Option<&'a Host>,
    address: Option<std::net::IpAddr>,
    port: Option<u16>,
    key: Key<'a>,
}

/// The hosts of a config. There is always one at least.
fn targets(config: &Config) -> Result<Vec<Target<'_>>, ConfigError> {
    let user = config.get_user().filter(|user| !user.is_empty()).ok_or(ConfigError::NoUser)?;
    let (hosts, addresses, ports) =
        (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
    let count = hosts.len().max(addresses.len()).max(1);
    let fits = |length: usize| length == 0 || length == count;
    if !fits(hosts.len()) || !fits(addresses.len()) || !(fits(ports.len()) || ports.len() == 1) {
        let (hosts, addresses, ports) = (hosts.len(), addresses.len(), ports.len());
        return Err(ConfigError::Counts { hosts, addresses, ports });
    }
    let target = |index: usize| {
        let host = hosts.get(index);
        let address = addresses.get(index).copied();
        let port = ports.get(index).or(ports.first()).copied();
        let mut key = Key::new(user);
        if let Some(host) = host {
            key = key.host(name(host));
        }
        if let Some(address) = address {
            key = key.hostaddr(address.to_string());
        }
        if let Some(port) = port {
            key = key.port(port);
        }
        if let Some(dbname) = config.get_dbname() {
            key = key.dbname(dbname);
        }
        Target { host, address, port, key }
    };
    Ok((0..count).map(target).collect())
}

fn name(host: &Host) -> Value<'_> {
    match host {
        Host::Tcp(name) => name.into(),
        #[cfg(unix)]
        Host::Unix(path) => std::os::unix::ffi::OsStrExt::as_bytes(path.as_os_str()).into(),
    }
}

/// The config without hosts, addresses and ports: there is no way to take them out of one.
fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    if let Some(user) = config.get_user() {
        copy.user(user);
    }
    if let Some(password) = config.get_password() {
        copy.password(password);
    }
    if let Some(dbname) = config.get_dbname() {
        copy.dbname(dbname);
    }
    if let Some(options) = config.get_options() {
        copy.options(options);
    }
    if let Some(name) = config.get_application_name() {
        copy.application_name(name);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        copy.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        copy.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        copy.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        copy.keepalives_retries(retries);
    }
    copy.ssl_mode(config.get_ssl_mode())
        .ssl_negotiation(config.get_ssl_negotiation())
        .keepalives(config.get_keepalives())
        .keepalives_idle(config.get_keepalives_idle())
        .target_session_attrs(config.get_target_session_attrs())
        .channel_binding(config.get_channel_binding())
        .load_balance_hosts(config.get_load_balance_hosts());
    copy
}
