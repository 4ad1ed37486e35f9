//! Where a stored secret comes from: a file or standard input.

use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::frame::{console::Console, failure::Failure, secret};

/// Where a stored secret comes from.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct StoredArgument {
    /// The file that holds the text, as pg_authid.rolpassword has it (its first line; - is standard
    /// input)
    #[arg(value_name = "FILE")]
    path: PathBuf,
}

impl StoredArgument {
    pub(super) fn read(&self, console: &Console) -> Result<Zeroizing<Vec<u8>>, Failure> {
        secret::from_file(console, &self.path)
    }
}
