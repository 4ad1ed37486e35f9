//! Keys and certificates, read from files.

use std::path::{Path, PathBuf};

use pki::{Authority, Certificate, Crl, PrivateKey, pem};

use crate::frame::{
    console::Console,
    failure::Failure,
    input::Input,
    secret::{self, Ask},
};

/// Says in which file something is wrong.
pub(super) fn in_file(name: &str) -> impl Fn(pki::Error) -> Failure + '_ {
    move |error| {
        let failure = Failure::from(error);
        let message = format!("{name}: {}", failure.problem.message);
        let mut failure = failure;
        failure.problem.message = message;
        failure
    }
}

/// The certificates of a file, at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<Certificate>, Failure> {
    let input = Input::read(path)?;
    let found = Certificate::all_from_pem(input.bytes()).map_err(in_file(&input.name))?;
    if found.is_empty() {
        return Err(Failure::user(format!("{}: there is no certificate in it", input.name))
            .fix("a certificate stands between -----BEGIN CERTIFICATE----- and its END"));
    }
    Ok(found)
}

/// The revocation lists of a file.
pub(super) fn crls(path: &Path) -> Result<Vec<Crl>, Failure> {
    let input = Input::read(path)?;
    Crl::all_from_pem(input.bytes()).map_err(in_file(&input.name))
}

/// Where a key's pass phrase comes from.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct PassPhraseArgument {
    /// Read the key's pass phrase from this file (its first line) instead of asking for it
    #[arg(long, value_name = "FILE")]
    pass_phrase_file: Option<PathBuf>,
}

/// A key, with its pass phrase if it has one.
pub(super) fn key(
    path: &Path,
    pass_phrase: &PassPhraseArgument,
    console: &Console,
) -> Result<PrivateKey, Failure> {
    let input = Input::read(path)?;
    let blocks = pem::read(input.bytes()).map_err(in_file(&input.name))?;
    let encrypted = blocks.iter().any(|block| block.kind == pem::Kind::EncryptedPrivateKey)
        && !blocks.iter().any(|block| block.kind == pem::Kind::PrivateKey);
    if !encrypted {
        return PrivateKey::from_pem(input.bytes()).map_err(in_file(&input.name));
    }
    let phrase = match &pass_phrase.pass_phrase_file {
        Some(path) => secret::from_file(console, path)?,
        None => secret::ask(&format!("pass phrase of {}", input.name), Ask::Once)?,
    };
    PrivateKey::from_encrypted_pem(input.bytes(), &phrase).map_err(in_file(&input.name))
}

/// Which authority signs.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct AuthorityArguments {
    /// The authority's certificate; an intermediate's with those above it
    #[arg(long, value_name = "FILE", default_value = "ca.crt")]
    ca_cert: PathBuf,
    /// The authority's key
    #[arg(long, value_name = "FILE", default_value = "ca.key")]
    ca_key: PathBuf,
    #[command(flatten)]
    pass_phrase: PassPhraseArgument,
}

impl AuthorityArguments {
    pub(super) fn authority(&self, console: &Console) -> Result<Authority, Failure> {
        let mut above = certificates(&self.ca_cert)?;
        let key = key(&self.ca_key, &self.pass_phrase, console)?;
        let own = above.remove(0);
        Authority::new(own, key, &above).map_err(in_file(&self.ca_cert.display().to_string()))
    }
}
