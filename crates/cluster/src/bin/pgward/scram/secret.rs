//! `pgward scram secret`.

use scram::{DEFAULT_ITERATIONS, Limits, Password, Secret};
use serde_json::json;

use crate::frame::{
    answer::Answer,
    console::Console,
    failure::Failure,
    secret::{self, Ask},
    version,
};

/// `pgward scram secret`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward scram secret                              asks for the password, twice
  pgward scram secret --password-file new.pw > secret.txt

What is printed is for ALTER ROLE web PASSWORD 'SCRAM-SHA-256$...'. It is not the password, but \
passwords can be guessed against it: keep it to yourself.")]
pub(super) struct Arguments {
    #[command(flatten)]
    password: secret::PasswordArguments,
    /// How often the password is hashed; the server's own setting is scram_iterations (16 and newer)
    #[arg(long, value_name = "COUNT", default_value_t = DEFAULT_ITERATIONS)]
    iterations: u32,
    #[command(flatten)]
    pg: version::VersionArguments,
}

pub(super) fn run(arguments: &Arguments, console: &Console) -> Result<Answer, Failure> {
    let version = arguments.pg.version(console);
    let password = arguments.password.read(console, "password", Ask::Twice)?;
    if password.is_empty() {
        return Err(Failure::user(
            "the password is empty: a server would clear the role's password",
        ));
    }
    let password =
        Password::new_as(&*password, version).map_err(|error| Failure::user(error.to_string()))?;
    if let Err(bounds) = Limits::default().check(i32::try_from(arguments.iterations).unwrap_or(-1))
    {
        console.warn(&format!("{bounds} by clients that are careful"));
    }
    let secret = Secret::generate(&password, arguments.iterations)
        .map_err(|error| Failure::user(error.to_string()))?;
    let text = secret.to_text();
    let result = json!({
        "secret": *text,
        "iterations": secret.iterations(),
        "salt": secret.salt_base64(),
    });
    Ok(Answer::file(format!("{}\n", *text), result))
}
