//! TLS to the nodes: to look who is there, and to prove that it is who it should be.

use std::path::Path;

use pki::{
    Certificate, Issued,
    tls::{SslMode, TlsClient, TlsSettings},
};
use textfile::fs::Snapshot;

use crate::{authority, error::Error};

/// A client that takes any server's certificate, because it asks what is shown, not whether it is
/// good; with a certificate of its own, if one is given.
pub(crate) fn any_server(identity: Option<&Issued>) -> Result<TlsClient, Error> {
    let mut settings = TlsSettings::new(SslMode::Require);
    if let Some(issued) = identity {
        settings = settings.identity(issued.chain(), issued.key.clone());
    }
    Ok(TlsClient::new(settings)?)
}

/// A client that verifies the server as the links do: by the cluster's authority, and by name; with a
/// certificate of its own, if one is given.
pub(crate) fn verify_full(secrets: &Path, identity: Option<&Issued>) -> Result<TlsClient, Error> {
    let root = Snapshot::read(secrets.join(authority::CERTIFICATE))?;
    let root = Certificate::all_from_pem(root.bytes())?;
    let mut settings = TlsSettings::new(SslMode::VerifyFull).roots(root);
    if let Some(issued) = identity {
        settings = settings.identity(issued.chain(), issued.key.clone());
    }
    Ok(TlsClient::new(settings)?)
}
