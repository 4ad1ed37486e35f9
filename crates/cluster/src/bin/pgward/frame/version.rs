//! Which major of PostgreSQL is meant.

use pg_version::PgVersion;

use super::console::Console;

/// `--pg MAJOR`
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct VersionArguments {
    /// The major version of PostgreSQL that is meant, 12 to 18 [default: the newest, and it is said]
    #[arg(long, value_name = "MAJOR")]
    pg: Option<PgVersion>,
}

impl VersionArguments {
    /// The major; where the user gave none, the newest, and says so.
    pub(crate) fn version(self, console: &Console) -> PgVersion {
        self.pg.unwrap_or_else(|| {
            console.note(&format!(
                "PostgreSQL {} is meant, the newest that pgward knows; --pg MAJOR names another",
                PgVersion::NEWEST
            ));
            PgVersion::NEWEST
        })
    }
}
