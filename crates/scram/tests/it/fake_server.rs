//! Plays recorded hostile and sloppy servers against the client.
//!
//! Shared with the workspace's replay of verdicts (`xtask/src/replay/scram.rs`), which knows other
//! cases of the same kind.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use scram::{Client, ClientError, Nonce, Password, Profile, SaltedPassword, client::Authenticated};
use serde_json::Value;

/// Base64 of the client's 18 bytes of nonce.
pub(crate) const NONCE: &str = "AQEBAQEBAQEBAQEBAQEBAQEB";
const SERVER_NONCE: &str = "AgICAgICAgICAgICAgICAgIC";
const NO_SIGNATURE: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

/// How far a login came.
#[derive(Debug)]
pub(crate) struct Played {
    /// Did the client send its last message, with the proof?
    pub(crate) sent_proof: bool,
    pub(crate) result: Result<(), ClientError>,
}

/// Plays the server described by how it differs from a normal one, with a client that knows the
/// right password. Salt and count that the server really uses are `rs` and `real`; `nonce` is the
/// whole nonce, `snonce` the server's part of it.
///
/// # Errors
/// What in the description is not understood.
pub(crate) fn play(server: &Value, profile: Profile, require_auth: bool) -> Result<Played, String> {
    const FIELDS: [&str; 12] = [
        "ext",
        "final",
        "final_first",
        "i",
        "mechs",
        "noauth",
        "nonce",
        "order",
        "real",
        "rs",
        "salt",
        "snonce",
    ];
    let fields = server.as_object().ok_or("the server is not an object")?;
    if let Some(unknown) = fields.keys().find(|key| !FIELDS.contains(&key.as_str())) {
        return Err(format!("the server has an unknown field {unknown}"));
    }
    let field = |name: &str, default: &str| server[name].as_str().unwrap_or(default).to_owned();
    let early = |result| Ok(Played { sent_proof: false, result });

    let password = Password::new("pencil");
    let client = Client::new(password.clone()).profile(profile).require_auth(require_auth);
    if server["noauth"] == true {
        return early(client.authentication_ok());
    }
    let mechanisms = match server["mechs"].as_array() {
        Some(names) => names.iter().filter_map(Value::as_str).collect(),
        None => vec!["SCRAM-SHA-256"],
    };
    let client = match client.begin(mechanisms, &Nonce::from_bytes(&[1; 18])) {
        Ok(client) => client,
        Err(error) => return early(Err(error)),
    };

    let real = server["real"].as_u64().unwrap_or(4096);
    let real = u32::try_from(real).map_err(|_| "real is no iteration count")?;
    let r = field("nonce", &format!("{NONCE}{}", field("snonce", SERVER_NONCE)));
    let (i, ext) = (field("i", &real.to_string()), field("ext", ""));
    let s = field("salt", "MDEyMzQ1Njc4OWFiY2RlZg==");
    let mut first: Vec<_> = field("order", "rsi")
        .chars()
        .map(|name| match name {
            'r' => Ok(format!("r={r}")),
            's' => Ok(format!("s={s}")),
            'i' => Ok(format!("i={i}")),
            'm' => Ok("m=x".to_owned()),
            other => Err(format!("the order has an unknown attribute {other}")),
        })
        .collect::<Result<_, _>>()?;
    if let Some(last) = first.last_mut() {
        last.push_str(&ext);
    }
    let first = first.join(",");
    if server["final_first"] == true {
        return early(client.receive(format!("v={NO_SIGNATURE}").as_bytes()).map(drop));
    }
    // without its header "n,,"
    let bare = client.message().get(3..).unwrap_or_default().to_vec();
    let client = match client.receive(first.as_bytes()) {
        Ok(client) => client,
        Err(error) => return early(Err(error)),
    };

    let without_proof: Vec<_> = client.message().split(|&byte| byte == b',').collect();
    let without_proof = without_proof.split_last().map(|(_, rest)| rest.join(&b','));
    let salted =
        SaltedPassword::derive(&password, field("rs", "0123456789abcdef").as_bytes(), real);
    let signature = salted.server_key().signature(&[
        &bare,
        b",",
        first.as_bytes(),
        b",",
        &without_proof.unwrap_or_default(),
    ]);
    let signature = format!("v={}", STANDARD.encode(*signature));
    let done = |result| Ok(Played { sent_proof: true, result });
    let last = match field("final", "").as_str() {
        "skip" => return done(client.authentication_ok()),
        "wrong" => format!("v={NO_SIGNATURE}"),
        "short" => "v=AAAA".to_owned(),
        "e" => "e=other-error".to_owned(),
        "ext" => format!("{signature},x=1"),
        "" | "dup" => signature,
        other => return Err(format!("the last message is of an unknown kind {other}")),
    };
    let authenticated = match client.receive(last.as_bytes()) {
        Ok(authenticated) => authenticated,
        Err(error) => return done(Err(error)),
    };
    if field("final", "") == "dup" {
        // The second one finds a state that takes no more messages: the type has no method for it.
        let Authenticated { .. } = authenticated;
        return done(Err(ClientError::TrailingData));
    }
    done(Ok(()))
}
