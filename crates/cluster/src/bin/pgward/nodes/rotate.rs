//! `pgward rotate`.

use cluster::rotate;
use time::OffsetDateTime;

use super::{
    apply::{ConsentArguments, carry_out, nothing_unfinished},
    description::DescriptionArgument,
    plan::inspect_all,
};
use crate::frame::{answer::Answer, console::Console, failure::Failure};

/// `pgward rotate`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward rotate certs                     before they expire (PGW211)
  pgward rotate ca cluster.toml --yes     after a node was lost, taken out of the description
  pgward rotate passwords                 with mode = \"scram\"

A rotation is a plan like any other: it is shown, agreed to, done, taken back where it fails, and \
verified. Before anything is written it is proved that in every state on the way every node can connect \
to every other. Links stay up.

Exit codes are those of pgward apply.")]
pub(crate) struct Arguments {
    /// What gets a new one
    #[arg(value_enum)]
    what: What,
    #[command(flatten)]
    description: DescriptionArgument,
    #[command(flatten)]
    consent: ConsentArguments,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum What {
    /// The authority, and with it every certificate
    Ca,
    /// The certificates of servers and links, with new keys
    Certs,
    /// The links' passwords
    Passwords,
}

pub(crate) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let description = arguments.description.read(console)?;
    nothing_unfinished(&description)?;
    let states = inspect_all(&description, console)?;
    let spec = &description.spec;
    let now = OffsetDateTime::now_utc();
    let prepared = match arguments.what {
        What::Ca => rotate::authority(spec, &states, now),
        What::Certs => rotate::certificates(spec, &states, now),
        What::Passwords => rotate::passwords(spec, &states, now),
    }?;
    carry_out(&description, prepared, arguments.consent, console)
}
