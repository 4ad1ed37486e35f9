//! `pgward pki request`.

use std::path::PathBuf;

use pki::{PrivateKey, Request};
use serde_json::json;

use super::{
    material::{PassPhraseArgument, key},
    names::{KeyArguments, NameArguments, OutArguments, in_folder, make_folder},
};
use crate::frame::{answer::Answer, console::Console, failure::Failure, text::plain};

/// `pgward pki request`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward pki request --host node-1 --host 10.0.0.1     node-1.key (stays here), node-1.csr (send it)
  pgward pki request --role repl --key repl.key        for a key that is there already")]
pub(super) struct Arguments {
    #[command(flatten)]
    names: NameArguments,
    #[command(flatten)]
    key_type: KeyArguments,
    /// Take this key instead of making one
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    #[command(flatten)]
    pass_phrase: PassPhraseArgument,
    #[command(flatten)]
    out: OutArguments,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let profile = arguments.names.profile()?;
    let name = arguments.out.name.clone().unwrap_or_else(|| arguments.names.file_name());
    let existing = arguments.out.replace.existing();
    let request_path = in_folder(&arguments.out.out, &format!("{name}.csr"));
    if existing == pki::fs::Existing::Keep && request_path.symlink_metadata().is_ok() {
        return Err(Failure::user(format!("{} exists already", request_path.display()))
            .fix("name another with --name, or give --replace"));
    }
    let (key, key_path, made) = match &arguments.key {
        Some(path) => (key(path, &arguments.pass_phrase, console)?, path.clone(), false),
        None => {
            let key = PrivateKey::generate(arguments.key_type.key_type)?;
            (key, in_folder(&arguments.out.out, &format!("{name}.key")), true)
        }
    };
    let request = Request::create(&key, &profile)?;
    make_folder(&arguments.out.out)?;
    if made {
        key.write(&key_path, existing)?;
    }
    pki::fs::write_public(&request_path, &request.to_pem(), existing)?;
    let key_words =
        if made { "its key (mode 0600); it stays here" } else { "the key that it is for" };
    let text = format!(
        "{}: a request for a {} certificate of {}: send it to the authority\n{}: {key_words}\n",
        request_path.display(),
        profile.name(),
        plain(&request.subject().to_string()),
        key_path.display()
    );
    let result = json!({
        "request-file": request_path.display().to_string(),
        "key-file": key_path.display().to_string(),
        "key-made": made,
        "profile": profile.name(),
        "subject": request.subject().to_string(),
    });
    Ok(Answer::new(text, result))
}
