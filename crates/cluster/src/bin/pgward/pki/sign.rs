//! `pgward pki sign`.

use std::path::PathBuf;

use pki::{Request, RequestPolicy};
use serde_json::json;

use super::{
    ca::subtree,
    inspect::summary_json,
    material::{AuthorityArguments, in_file},
    names::{LifeArguments, ReplaceArgument, now},
};
use crate::frame::{answer::Answer, console::Console, failure::Failure, input::Input, text::plain};

/// `pgward pki sign`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
What a request says is never copied into the certificate: it may ask for the hosts and roles that are \
allowed here, and for nothing else.

Examples:
  pgward pki sign node-1.csr --allow-host node-1 --allow-host 10.0.0.1
  pgward pki sign - --allow-role repl --days 90 < repl.csr > repl.crt")]
pub(super) struct Arguments {
    /// The request; - is standard input, and the certificate goes to standard output
    #[arg(value_name = "FILE")]
    request: PathBuf,
    /// A host, with what is below it, or a network that the request may ask for (may be repeated)
    #[arg(long, value_name = "NAME|NETWORK")]
    allow_host: Vec<String>,
    /// A role that the request may ask for (may be repeated)
    #[arg(long, value_name = "ROLE")]
    allow_role: Vec<String>,
    /// The request may ask for names with a wildcard
    #[arg(long)]
    allow_wildcards: bool,
    #[command(flatten)]
    authority: AuthorityArguments,
    #[command(flatten)]
    life: LifeArguments,
    /// Where the certificate goes; - is standard output [default: beside the request, as .crt]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    replace: ReplaceArgument,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let input = Input::read(&arguments.request)?;
    let request = Request::from_pem(input.bytes()).map_err(in_file(&input.name))?;
    let hosts = arguments.allow_host.iter().map(|host| subtree(host)).collect::<Result<_, _>>()?;
    let policy = RequestPolicy {
        hosts,
        wildcards: arguments.allow_wildcards,
        roles: arguments.allow_role.clone(),
        intermediates: false,
    };
    let authority = arguments.authority.authority(console)?;
    let life = arguments.life.within(&authority);
    let certificate = authority.sign_request(&request, &policy, life).map_err(|error| {
        let policy = matches!(error, pki::Error::Policy(_));
        let failure = in_file(&input.name)(error);
        if policy {
            failure.fix("allow it with --allow-host or --allow-role, if it is meant to be")
        } else {
            failure
        }
    })?;
    let chain = authority.chain_pem(&certificate);
    let summary = certificate.summary(now());
    let out = match &arguments.out {
        Some(path) => path.clone(),
        None if input.snapshot().is_none() => PathBuf::from("-"),
        None => arguments.request.with_extension("crt"),
    };
    let to_output = out.as_os_str() == "-";
    let result = json!({
        "certificate-file": (!to_output).then(|| out.display().to_string()),
        "certificate": summary_json(&summary),
        "pem": chain,
    });
    if to_output {
        return Ok(Answer::file(chain, result));
    }
    pki::fs::write_public(&out, &chain, arguments.replace.existing())?;
    let text = format!(
        "{}: the certificate of {}, valid until {}\n",
        out.display(),
        plain(&summary.subject),
        summary.not_after.date()
    );
    Ok(Answer::new(text, result))
}
