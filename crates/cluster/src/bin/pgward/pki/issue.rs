//! `pgward pki issue`.

use serde_json::json;

use super::{
    inspect::summary_json,
    material::AuthorityArguments,
    names::{
        KeyArguments, LifeArguments, NameArguments, OutArguments, in_folder, make_folder, now,
    },
};
use crate::frame::{answer::Answer, console::Console, failure::Failure, text::plain};

/// `pgward pki issue`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Hosts alone make a server's certificate, a role alone a client's, both together one for a node that \
is server and client of its peers. Names and addresses are written so that libpq 12 to 18 and rustls \
accept them under sslmode=verify-full.

Examples:
  pgward pki issue --host node-1 --host 10.0.0.1           node-1.key, node-1.crt
  pgward pki issue --role repl --days 90 --out secrets     secrets/repl.key, secrets/repl.crt

Better still the key never travels: pgward pki request on the node, pgward pki sign here.")]
pub(super) struct Arguments {
    #[command(flatten)]
    names: NameArguments,
    #[command(flatten)]
    authority: AuthorityArguments,
    #[command(flatten)]
    key: KeyArguments,
    #[command(flatten)]
    life: LifeArguments,
    #[command(flatten)]
    out: OutArguments,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let profile = arguments.names.profile()?;
    let authority = arguments.authority.authority(console)?;
    let life = arguments.life.within(&authority);
    let issued = authority.issue(arguments.key.key_type, &profile, life)?;
    let name = arguments.out.name.clone().unwrap_or_else(|| arguments.names.file_name());
    make_folder(&arguments.out.out)?;
    issued.write(&arguments.out.out, &name, arguments.out.replace.existing())?;
    let key = in_folder(&arguments.out.out, &format!("{name}.key"));
    let certificate = in_folder(&arguments.out.out, &format!("{name}.crt"));
    let summary = issued.certificate.summary(now());
    console.detail(&format!("a {} certificate: {}", profile.name(), profile.accepted_by()));
    let text = format!(
        "{}: the certificate of {}, valid until {}\n{}: its key (mode 0600)\n",
        certificate.display(),
        plain(&summary.subject),
        summary.not_after.date(),
        key.display()
    );
    let result = json!({
        "certificate-file": certificate.display().to_string(),
        "key-file": key.display().to_string(),
        "profile": profile.name(),
        "certificate": summary_json(&summary),
    });
    Ok(Answer::new(text, result))
}
