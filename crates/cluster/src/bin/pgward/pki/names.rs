//! Who a certificate is for, and for how long.

use std::{
    fs::DirBuilder,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use pki::{Authority, KeyAlgorithm, Profile, Validity};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::frame::failure::Failure;

/// Who a certificate is for.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct NameArguments {
    /// A host name or address of the server that the certificate is for (may be repeated)
    #[arg(long, value_name = "NAME")]
    host: Vec<String>,
    /// The role that logs in with the certificate
    #[arg(long, value_name = "ROLE")]
    role: Option<String>,
}

impl NameArguments {
    /// Hosts alone make a server's certificate, a role alone a client's, both one for a node that is
    /// server and client of its peers.
    pub(super) fn profile(&self) -> Result<Profile, Failure> {
        Ok(match (&self.role, self.host.is_empty()) {
            (Some(role), true) => Profile::client(role),
            (Some(role), false) => Profile::node(role, &self.host)?,
            (None, false) => Profile::server(&self.host)?,
            (None, true) => {
                return Err(Failure::user("it is not said whom the certificate is for").fix(
                    "give --host for a server's, --role for a client's, both for a node that is both",
                ));
            }
        })
    }

    /// What files are called where no name is given: by the role, else by the first host.
    pub(super) fn file_name(&self) -> String {
        let name = self.role.as_ref().or(self.host.first());
        name.map_or("certificate", String::as_str).replace(['/', '\0', '*'], "_")
    }
}

/// For how long a certificate is valid.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct LifeArguments {
    /// For how many days it is valid, from now on; never longer than its authority
    #[arg(long, value_name = "DAYS", default_value_t = 397, value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,
}

impl LifeArguments {
    pub(super) fn within(&self, authority: &Authority) -> Validity {
        authority.within(validity(self.days))
    }
}

/// So many days from now on.
pub(super) fn validity(days: u32) -> Validity {
    Validity::days(now(), days)
}

/// Now, to the second, as certificates have it.
pub(super) fn now() -> OffsetDateTime {
    let now = OffsetDateTime::now_utc();
    now.replace_nanosecond(0).unwrap_or(now)
}

/// What kind of key is made.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct KeyArguments {
    /// What kind of key is made: ecdsa-p256, ecdsa-p384, ecdsa-p521, rsa-2048, rsa-3072, rsa-4096 or
    /// ed25519
    #[arg(long, value_name = "KIND", default_value_t = KeyAlgorithm::EcdsaP256)]
    pub(super) key_type: KeyAlgorithm,
}

/// Whether files that are there already are replaced.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(super) struct ReplaceArgument {
    /// Replace files that are there already
    #[arg(long)]
    replace: bool,
}

impl ReplaceArgument {
    pub(super) fn existing(self) -> pki::fs::Existing {
        if self.replace { pki::fs::Existing::Replace } else { pki::fs::Existing::Keep }
    }
}

/// Where key and certificate go.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct OutArguments {
    /// The folder that the files go to; it is made, with mode 0700, if it is not there
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    pub(super) out: PathBuf,
    /// What the files are called, without .key and .crt [default: by the role, else the first host]
    #[arg(long, value_name = "NAME")]
    pub(super) name: Option<String>,
    #[command(flatten)]
    pub(super) replace: ReplaceArgument,
}

/// A file in a folder; in the working folder it is called by its name alone.
pub(super) fn in_folder(folder: &Path, name: &str) -> PathBuf {
    if folder == Path::new(".") { PathBuf::from(name) } else { folder.join(name) }
}

/// Makes the folder that keys and certificates go to, if it is not there.
pub(super) fn make_folder(folder: &Path) -> Result<(), Failure> {
    if folder.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .mode(0o700)
        .create(folder)
        .map_err(|error| Failure::io("make the folder", &folder.display().to_string(), &error))
}

/// A moment, as RFC 3339 has it or as a day.
pub(super) fn moment(text: &str) -> Result<OffsetDateTime, String> {
    let whole = if text.len() == 10 { format!("{text}T00:00:00Z") } else { text.to_owned() };
    OffsetDateTime::parse(&whole, &Rfc3339)
        .map_err(|_| "write it as 2026-01-31 or 2026-01-31T12:00:00Z".to_owned())
}

/// A moment as certificates have it: to the second, in UTC.
pub(super) fn moment_text(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_else(|_| time.to_string())
}
