//! `pgward pki chain`.

use std::path::PathBuf;

use pki::{Certificate, Heap};
use serde_json::{Value, json};

use super::{
    inspect::summary_json,
    material::{PassPhraseArgument, in_file, key},
    names::{ReplaceArgument, now},
};
use crate::frame::{
    answer::Answer,
    console::Console,
    failure::{Exit, Failure},
    input::Input,
    text::{count, plain},
};

/// `pgward pki chain`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward pki chain *.pem --key server.key --out server.crt      for ssl_cert_file
  pgward pki chain *.pem --key server.key --root-out root.crt   for ssl_ca_file and sslrootcert

Exit code 0: the chain leads to a root; 1: it does not.")]
pub(super) struct Arguments {
    /// Files with certificates in any order (- is standard input)
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Begin with the certificate of this key [default: with the one that issued no other]
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    pass_phrase: PassPhraseArgument,
    /// Write the chain, without its root, to this file [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write the root to this file
    #[arg(long, value_name = "FILE")]
    root_out: Option<PathBuf>,
    #[command(flatten)]
    replace: ReplaceArgument,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let mut heap = Heap::new();
    for path in &arguments.files {
        let input = Input::read(path)?;
        heap.add_pem(input.bytes()).map_err(in_file(&input.name))?;
    }
    let leaf = match &arguments.key {
        Some(path) => {
            let key = key(path, &arguments.pass_phrase, console)?;
            heap.certificate_of(&key).cloned().ok_or_else(|| {
                Failure::user(format!("none of the certificates belongs to {}", path.display()))
            })?
        }
        None => match heap.leaves().as_slice() {
            [leaf] => (*leaf).clone(),
            [] => {
                return Err(Failure::user(
                    "there is no certificate of a server or client in the files",
                )
                .fix("name its file too, or its key with --key"));
            }
            several => {
                let names: Vec<String> = several
                    .iter()
                    .map(|leaf| plain(&leaf.subject().to_string()).into_owned())
                    .collect();
                return Err(Failure::user(format!(
                    "it could begin with each of {}",
                    names.join("; ")
                ))
                .fix("name the key of the one that is meant with --key"));
            }
        },
    };
    let time = now();
    let Some(chain) = heap.chains(&leaf, time).into_iter().next() else {
        return Err(Failure::failed("no chain was found"));
    };
    let existing = arguments.replace.existing();
    if !chain.is_complete() {
        let last = chain.certificates().last().map(|last| last.issuer().to_string());
        console.warn(&format!(
            "the chain ends without a root: the certificate of {} is missing",
            last.unwrap_or_default()
        ));
    }
    let file = chain.certificate_file();
    let mut text = String::new();
    if let Some(path) = &arguments.root_out {
        let Some(root) = chain.root_file() else {
            return Err(Failure::user(
                "there is no root to write: it is not among the certificates",
            )
            .fix("add the file that has it"));
        };
        pki::fs::write_public(path, &root, existing)?;
        text.push_str(&format!("{}: the root\n", path.display()));
    }
    let certificates: Vec<Value> =
        chain.certificates().iter().map(|part| summary_json(&part.summary(time))).collect();
    let result = json!({
        "complete": chain.is_complete(),
        "certificates": certificates,
        "certificate-file": arguments.out.as_ref().map(|path| path.display().to_string()),
        "root-file": arguments.root_out.as_ref().map(|path| path.display().to_string()),
        "pem": file,
        "root-pem": chain.root().map(Certificate::to_pem),
    });
    let exit = if chain.is_complete() { Exit::Fine } else { Exit::Findings };
    match &arguments.out {
        Some(path) => {
            pki::fs::write_public(path, &file, existing)?;
            let many = count(chain.presented().len(), "certificate", "certificates");
            text.push_str(&format!("{}: the chain, {many}\n", path.display()));
            Ok(Answer::new(text, result).exit(exit))
        }
        None if arguments.root_out.is_some() => Ok(Answer::new(text, result).exit(exit)),
        None => Ok(Answer::file(file, result).exit(exit)),
    }
}
