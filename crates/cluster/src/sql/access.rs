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

use super::{
    keywords,
    require_auth::{Guarded, RequireAuth},
};
use crate::{conninfo::ConnInfo, error::Error};

/// What a connection string says, ready to be used.
pub(super) struct Access {
    config: Config,
    mode: SslMode,
    tls: Option<PgTls>,
    require_auth: Option<RequireAuth>,
}

impl Access {
    pub(super) fn of(conninfo: &ConnInfo) -> Result<Self, Error> {
        let (mut config, mode) = parse(conninfo)?;
        let require_auth = require_auth(conninfo)?;
        if let Some(path) = conninfo.get("passfile") {
            fill(&mut config, Path::new(path))?;
        }
        // A Unix socket has no TLS, whatever is asked for (fe-connect.c).
        let host = conninfo.get("host").unwrap_or_default();
        let is_socket =
            conninfo.get("hostaddr").is_none() && (host.is_empty() || host.starts_with(['/', '@']));
        let tls = if is_socket { None } else { tls(conninfo, mode)? };
        let mode = if is_socket { SslMode::Disable } else { mode };
        Ok(Self { config, mode, tls, require_auth })
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
        match (self.tls.clone().filter(|_| tls), self.require_auth) {
            (Some(tls), None) => {
                let (client, connection) = config.connect(tls).await?;
                tokio::spawn(connection);
                Ok(client)
            }
            (Some(tls), Some(require_auth)) => {
                let (client, connection) = config.connect(Guarded { tls, require_auth }).await?;
                tokio::spawn(connection);
                Ok(client)
            }
            (None, Some(_)) => Err(Error::plan(
                "require_auth is kept over TLS only: give sslmode=require or more, or, for a Unix \
                 socket, leave it out",
            )),
            (None, None) => {
                let (client, connection) = config.connect(NoTls).await?;
                tokio::spawn(connection);
                Ok(client)
            }
        }
    }
}

/// What a connection string says, without the files that it names.
pub(super) fn parse(conninfo: &ConnInfo) -> Result<(Config, SslMode), Error> {
    keywords::check(conninfo).map_err(Error::plan)?;
    require_auth(conninfo)?;
    let mut taken = keywords::taken(conninfo);
    // As libpq, which needs no name where none is verified.
    if let (None, Some(address)) = (taken.get("host"), taken.get("hostaddr").map(str::to_owned)) {
        taken.set("host", address);
    }
    let config = taken.to_text().parse()?;
    let sslmode = conninfo.get("sslmode").filter(|mode| !mode.is_empty()).unwrap_or("prefer");
    Ok((config, sslmode.parse()?))
}

fn require_auth(conninfo: &ConnInfo) -> Result<Option<RequireAuth>, Error> {
    let list = conninfo.get("require_auth").filter(|list| !list.is_empty());
    list.map(RequireAuth::parse).transpose().map_err(Error::plan)
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
    let pair = (conninfo.get("sslcert"), conninfo.get("sslkey"));
    let is_sent = conninfo.get("sslcertmode") != Some("disable");
    if let ((Some(certificate), Some(key)), true) = (pair, is_sent) {
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
