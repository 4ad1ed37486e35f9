//! A connection string as libpq takes it: TLS by `sslmode` and its kin, a password by `passfile`.
//!
//! tokio-postgres knows neither `verify-full` nor certificates nor password files; pki and passfile do.

use std::{path::Path, time::Duration};

use passfile::Libpq;
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
    /// The password file that is named and that libpq would go without, and why.
    ignored: Option<String>,
}

impl Access {
    pub(super) fn of(conninfo: &ConnInfo) -> Result<Self, Error> {
        let (mut config, mode) = parse(conninfo)?;
        let require_auth = require_auth(conninfo)?;
        let ignored = match conninfo.get("passfile").filter(|_| conninfo.get("password").is_none())
        {
            Some(path) => fill(&mut config, Path::new(path))?,
            None => None,
        };
        // A Unix socket has no TLS, whatever is asked for (fe-connect.c).
        let host = conninfo.get("host").unwrap_or_default();
        let is_socket =
            conninfo.get("hostaddr").is_none() && (host.is_empty() || host.starts_with(['/', '@']));
        let tls = if is_socket { None } else { tls(conninfo, mode)? };
        let mode = if is_socket { SslMode::Disable } else { mode };
        Ok(Self { config, mode, tls, require_auth, ignored })
    }

    /// Why the password file that is named has not been used, as libpq would not.
    pub(super) fn ignored_passfile(&self) -> Option<&str> {
        self.ignored.as_deref()
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

/// The password that the file has for these hosts. libpq goes on without a file that it cannot open, or
/// that others may read, and so is done here: why is told for whoever is asked for a password then.
fn fill(config: &mut Config, path: &Path) -> Result<Option<String>, Error> {
    let libpq = Libpq::new(PgVersion::NEWEST);
    let file = match passfile::fs::open(path) {
        Ok(file) => file,
        Err(error) => {
            let system = std::error::Error::source(&error).map(ToString::to_string);
            let system = system.map(|words| format!(": {}", super::without_number(&words)));
            return Ok(Some(format!("{error}{}", system.unwrap_or_default())));
        }
    };
    file.fill(config, &libpq)
        .map(|_| None)
        .map_err(|error| Error::plan(format!("{}: {error}", path.display())))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt as _};

    use super::*;

    #[test]
    fn a_password_file_counts_where_it_counts_for_libpq() -> Result<(), Box<dyn std::error::Error>>
    {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("pass");
        let access = |more: &str| -> Result<Access, Box<dyn std::error::Error>> {
            let conninfo = format!("host=db1 user=a passfile='{}' {more}", path.display());
            Ok(Access::of(&conninfo.parse()?)?)
        };
        let why = |access: &Access| access.ignored_passfile().unwrap_or_default().to_owned();
        assert!(why(&access("")?).ends_with("cannot be opened: No such file or directory"));

        fs::write(&path, "db1:*:*:a:secret\n")?;
        for (mode, password, ignored) in
            [(0o600, Some(&b"secret"[..]), ""), (0o644, None, "has group or world access")]
        {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode))?;
            let access = access("")?;
            assert_eq!(access.config.get_password(), password, "{mode:o}");
            assert_eq!(access.ignored_passfile().is_none(), password.is_some(), "{mode:o}");
            assert!(why(&access).contains(ignored), "{mode:o}");
        }
        // Whoever has a password is asked for no file.
        assert_eq!(access("password=x")?.ignored_passfile(), None);
        Ok(())
    }
}
