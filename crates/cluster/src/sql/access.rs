//! A connection string as libpq takes it: TLS by `sslmode` and its kin, a password by `passfile`.
//!
//! tokio-postgres knows neither `verify-full` nor certificates nor password files; pki and passfile do.

use std::{path::Path, time::Duration};

use passfile::{Libpq, PassFile};
use pg_version::PgVersion;
use pki::{
    Certificate, PrivateKey,
    tls::{PgTls, SslMode, TlsClient, TlsSettings},
};
use textfile::fs::Snapshot;
use tokio_postgres::{Client, Config, NoTls, config::SslMode as Wire};

use crate::{conninfo::ConnInfo, error::Error};

/// What a connection string says, ready to be used.
pub(super) struct Access {
    config: Config,
    mode: SslMode,
    tls: Option<PgTls>,
}

/// The parameters that tokio-postgres does not know. The first are read here.
const OURS: [&str; 15] = [
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "passfile",
    "connect_timeout",
    // Without a meaning here: there is no GSSAPI and no compression, the server's name is always sent,
    // pgward has a name of its own, and takes whatever way in the server has for it.
    "require_auth",
    "gssencmode",
    "sslcertmode",
    "sslcompression",
    "fallback_application_name",
    "gssdelegation",
    "gsslib",
    "krbsrvname",
    "sslsni",
];

impl Access {
    pub(super) fn of(conninfo: &ConnInfo) -> Result<Self, Error> {
        let (mut config, mode) = parse(conninfo)?;
        if let Some(path) = conninfo.get("passfile") {
            fill(&mut config, Path::new(path))?;
        }
        // A Unix socket has no TLS, whatever is asked for (fe-connect.c).
        let host = conninfo.get("host").unwrap_or_default();
        let is_socket =
            conninfo.get("hostaddr").is_none() && (host.is_empty() || host.starts_with(['/', '@']));
        let tls = if is_socket { None } else { tls(conninfo, mode)? };
        Ok(Self { config, mode: if is_socket { SslMode::Disable } else { mode }, tls })
    }

    /// Whether each attempt, in its order, is with TLS.
    pub(super) fn attempts(&self) -> impl Iterator<Item = bool> + use<> {
        let attempts: Vec<bool> = match self.mode {
            SslMode::Disable => vec![false],
            SslMode::Allow => vec![false, true],
            SslMode::Prefer => vec![true, false],
            SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => vec![true],
        };
        attempts.into_iter()
    }

    pub(super) async fn connect(
        &self,
        tls: bool,
        application: &str,
        patience: Duration,
    ) -> Result<Client, Error> {
        let mut config = self.config.clone();
        config.application_name(application).connect_timeout(patience);
        config.ssl_mode(if tls { Wire::Require } else { Wire::Disable });
        // The connection ends when the client is dropped; its errors reach the client's callers.
        match self.tls.clone().filter(|_| tls) {
            Some(tls) => {
                let (client, connection) = config.connect(tls).await?;
                tokio::spawn(connection);
                Ok(client)
            }
            None => {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }
}

/// What a connection string says, without the files that it names.
pub(super) fn parse(conninfo: &ConnInfo) -> Result<(Config, SslMode), Error> {
    let mut plain = conninfo.clone();
    for keyword in OURS {
        plain.remove(keyword);
    }
    let config = plain.to_text().parse()?;
    let sslmode = conninfo.get("sslmode").unwrap_or("prefer");
    Ok((config, sslmode.parse()?))
}

fn tls(conninfo: &ConnInfo, mode: SslMode) -> Result<Option<PgTls>, Error> {
    if mode == SslMode::Disable {
        return Ok(None);
    }
    let read = |path: &str| Snapshot::read(path).map_err(Error::from);
    let mut settings = TlsSettings::new(mode);
    if let Some(path) = conninfo.get("sslrootcert").filter(|path| !path.is_empty()) {
        settings = settings.roots(Certificate::all_from_pem(read(path)?.bytes())?);
    }
    if let (Some(certificate), Some(key)) = (conninfo.get("sslcert"), conninfo.get("sslkey")) {
        let chain = Certificate::all_from_pem(read(certificate)?.bytes())?;
        let key = PrivateKey::from_pem(read(key)?.bytes())?;
        settings = settings.identity(chain, key);
    }
    let tls = PgTls::new(TlsClient::new(settings)?);
    // `hostaddr` says where to, `host` who that must be.
    let host = conninfo.get("host").filter(|_| conninfo.get("hostaddr").is_some());
    Ok(Some(match host {
        Some(host) => tls.host(host),
        None => tls,
    }))
}

/// The password that the file has for these hosts, if the string has none of its own.
fn fill(config: &mut Config, path: &Path) -> Result<(), Error> {
    let bytes = Snapshot::read(path)?.into_bytes();
    let file = PassFile::parse(bytes).map_err(|error| Error::plan(error.to_string()))?;
    file.fill(config, &Libpq::new(PgVersion::NEWEST))
        .map(drop)
        .map_err(|error| Error::plan(format!("{}: {error}", path.display())))
}
