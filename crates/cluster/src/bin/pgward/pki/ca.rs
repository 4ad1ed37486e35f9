//! `pgward pki ca`.

use std::path::PathBuf;

use pki::{Authority, AuthorityOptions, Certificate, NameSubtree, Subject};
use serde_json::json;

use super::{
    inspect::summary_json,
    material::{PassPhraseArgument, in_file},
    names::{KeyArguments, ReplaceArgument, in_folder, make_folder, now, validity},
};
use crate::frame::{answer::Answer, console::Console, failure::Failure, text::plain};

/// `pgward pki ca`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward pki ca --name 'our cluster' --out secrets        secrets/ca.key (mode 0600), secrets/ca.crt
  pgward pki ca --name issuing --under-cert root.crt --under-key root.key --file issuing

ca.crt is what servers and clients trust (ssl_ca_file, sslrootcert). Whoever has ca.key can be any \
node and any role: keep it off the nodes.")]
pub(super) struct Arguments {
    /// What the authority is called (its common name)
    #[arg(long, value_name = "NAME")]
    name: String,
    /// Its organization
    #[arg(long, value_name = "NAME")]
    organization: Option<String>,
    #[command(flatten)]
    key: KeyArguments,
    /// For how many days it is valid, from now on
    #[arg(long, value_name = "DAYS", default_value_t = 3650, value_parser = clap::value_parser!(u32).range(1..))]
    days: u32,
    /// It may sign for this host, what is below it, or this network only (may be repeated)
    #[arg(long, value_name = "NAME|NETWORK")]
    only: Vec<String>,
    /// Make an intermediate authority under the one with this certificate
    #[arg(long, value_name = "FILE", requires = "under_key")]
    under_cert: Option<PathBuf>,
    /// The key of that one
    #[arg(long, value_name = "FILE", requires = "under_cert")]
    under_key: Option<PathBuf>,
    #[command(flatten)]
    pass_phrase: PassPhraseArgument,
    /// The folder that the files go to; it is made, with mode 0700, if it is not there
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
    /// What the files are called, without .key and .crt
    #[arg(long, value_name = "NAME", default_value = "ca")]
    file: String,
    #[command(flatten)]
    replace: ReplaceArgument,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let mut subject = Subject::common_name(&arguments.name);
    if let Some(organization) = &arguments.organization {
        subject = subject.organization(organization);
    }
    let permitted = arguments.only.iter().map(|name| subtree(name)).collect::<Result<_, _>>()?;
    let options = AuthorityOptions { permitted, ..AuthorityOptions::default() };
    let life = validity(arguments.days);
    let key_type = arguments.key.key_type;
    if let Some(reason) = key_type.scram_refusal() {
        console.warn(reason);
    }
    let authority = match (&arguments.under_cert, &arguments.under_key) {
        (Some(certificate), Some(key)) => {
            let mut above = super::material::certificates(certificate)?;
            let key = super::material::key(key, &arguments.pass_phrase, console)?;
            let own = above.remove(0);
            let name = certificate.display().to_string();
            let upper = Authority::new(own, key, &above).map_err(in_file(&name))?;
            upper.intermediate(key_type, &subject, upper.within(life), &options)?
        }
        _ => Authority::create_with(key_type, &subject, life, &options)?,
    };
    let existing = arguments.replace.existing();
    let certificate_path = in_folder(&arguments.out, &format!("{}.crt", arguments.file));
    let key_path = in_folder(&arguments.out, &format!("{}.key", arguments.file));
    if existing == pki::fs::Existing::Keep && certificate_path.symlink_metadata().is_ok() {
        return Err(Failure::user(format!("{} exists already", certificate_path.display()))
            .fix("name another with --file, or give --replace: what it signed is worthless then"));
    }
    // With what is above it: whoever gets a certificate of an intermediate must present these, too.
    let mut chain: Vec<Certificate> = vec![authority.certificate().clone()];
    if authority.certificate() != authority.root() {
        chain = authority.intermediates();
        chain.push(authority.root().clone());
    }
    let pem: String = chain.iter().map(Certificate::to_pem).collect();
    make_folder(&arguments.out)?;
    authority.key().write(&key_path, existing)?;
    pki::fs::write_public(&certificate_path, &pem, existing)?;
    let summary = authority.certificate().summary(now());
    let text = format!(
        "{}: the authority {}, valid until {}\n{}: its key (mode 0600)\n",
        certificate_path.display(),
        plain(&summary.subject),
        summary.not_after.date(),
        key_path.display(),
    );
    let result = json!({
        "certificate-file": certificate_path.display().to_string(),
        "key-file": key_path.display().to_string(),
        "certificate": summary_json(&summary),
    });
    Ok(Answer::new(text, result))
}

/// A host with what is below it, or a network.
pub(super) fn subtree(text: &str) -> Result<NameSubtree, Failure> {
    if let Ok(network) = text.parse::<ipnet::IpNet>() {
        return Ok(NameSubtree::Ip(network.network(), network.prefix_len()));
    }
    if let Ok(address) = text.parse::<std::net::IpAddr>() {
        return Ok(NameSubtree::Ip(address, if address.is_ipv4() { 32 } else { 128 }));
    }
    if text.is_empty() || text.contains(['/', ' ']) {
        return Err(Failure::user(format!(
            "\"{}\" is neither a host name nor a network",
            plain(text)
        ))
        .fix("write a name such as db.example.com, or a network such as 10.0.0.0/8"));
    }
    Ok(NameSubtree::Dns(text.to_owned()))
}
