//! Makes every message of a recorded login again, from its nonces, on both sides.
//!
//! Shared with the workspace's replay of verdicts (`xtask/src/replay/scram.rs`), which knows other
//! logins.

use pg_version::PgVersion;
use scram::{
    Channel, Client, Nonce, Password, Profile, Secret, Server, client::FinalSent,
    message::ServerFirst,
};
use serde_json::Value;

/// A message, or the outcome, as it was recorded and as it is made again.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) what: &'static str,
    pub(crate) recorded: String,
    pub(crate) made: String,
}

/// Recomputes the login.
///
/// # Errors
/// What in the case is not understood.
pub(crate) fn recompute(case: &Value) -> Result<Vec<Made>, String> {
    let mut all = Vec::new();
    let mut compare = |what, recorded: &str, made: Result<&[u8], String>| {
        let made = made.map_or_else(
            |error| format!("refused: {error}"),
            |bytes| String::from_utf8_lossy(bytes).into_owned(),
        );
        all.push(Made { what, recorded: recorded.to_owned(), made });
    };
    let messages = case["messages"].as_array().ok_or("no messages")?;
    let sasl: Vec<_> = messages.iter().filter_map(|message| message["sasl"].as_str()).collect();
    let [first, challenge, proof, rest @ ..] = &*sasl else {
        return Err("fewer than three SASL messages".to_owned());
    };
    let client_nonce = first.rsplit("r=").next().unwrap_or_default();
    let both = ServerFirst::parse(challenge.as_bytes()).map_err(|error| error.to_string())?.nonce;
    let server_nonce =
        both.strip_prefix(client_nonce.as_bytes()).ok_or("the server has another nonce")?;
    let nonce = |text: &[u8]| {
        Nonce::from_text(String::from_utf8_lossy(text)).map_err(|error| error.to_string())
    };
    let (client_nonce, server_nonce) = (nonce(client_nonce.as_bytes())?, nonce(server_nonce)?);

    let offered = messages
        .iter()
        .find_map(|message| message["mechanisms"].as_array())
        .ok_or("no mechanisms")?;
    let password = case["password"].as_str().ok_or("no password")?;
    // libpq has no limits, and the servers of the record may have had any.
    let client = Client::new(Password::new(password))
        .profile(Profile::Libpq)
        .begin(offered.iter().filter_map(Value::as_str), &client_nonce)
        .map_err(|error| error.to_string())?;
    compare("client first", first, Ok(client.message()));
    let client = client.receive(challenge.as_bytes());
    let made = client.as_ref().map(FinalSent::message).map_err(ToString::to_string);
    compare("client final", proof, made);

    // The salt of a user without a secret is made of the cluster's nonce, which is not recorded.
    let Some(text) = case["stored_verifier"].as_str() else {
        return Ok(all);
    };
    let major = case["server_major"].to_string();
    let version: PgVersion =
        major.trim_matches('"').parse().map_err(|_| format!("unknown major {major}"))?;
    let secret = Secret::parse(text.as_bytes(), version).map_err(|error| error.to_string())?;
    compare("stored secret", text, Ok(secret.to_text().as_bytes()));
    let server = Server::new(secret, Channel::Plain)
        .begin(b"SCRAM-SHA-256", first.as_bytes(), &server_nonce)
        .map_err(|error| error.to_string())?;
    compare("server first", challenge, Ok(server.message()));
    match (server.finish(proof.as_bytes()), rest) {
        (Ok(accepted), [last, ..]) => {
            compare("server final", last, Ok(accepted.message()));
            let authenticated = client
                .map_err(|error| error.to_string())
                .and_then(|client| {
                    client.receive(last.as_bytes()).map_err(|error| error.to_string())
                })
                .map(|authenticated| authenticated.server_key() == accepted.server_key());
            compare(
                "mutual proof",
                "true",
                match authenticated {
                    Ok(true) => Ok(b"true"),
                    Ok(false) => Ok(b"false"),
                    Err(error) => Err(error),
                },
            );
        }
        (Ok(_), []) => compare("outcome", "refused", Ok(b"accepted")),
        (Err(error), _) => {
            let recorded = messages.iter().find_map(|message| message["fields"]["C"].as_str());
            compare("SQLSTATE", recorded.unwrap_or("none"), Ok(error.sqlstate().as_bytes()));
        }
    }
    Ok(all)
}
