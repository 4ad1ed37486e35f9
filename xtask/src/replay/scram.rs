//! SCRAM: passwords, stored secrets, hostile servers, whole logins.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use scram::{Limits, Outcome, Profile, client::MIN_SALT_LEN, predict, saslprep::saslprep_as};
use serde_json::Value;

use super::Comparison;

// The crate's own tests play and recompute the cases that they know with the same code.
#[path = "../../../crates/scram/tests/it/fake_server.rs"]
mod fake_server;
#[path = "../../../crates/scram/tests/it/recompute.rs"]
mod recompute;
#[path = "../../../crates/scram/tests/it/recorded_binding.rs"]
mod recorded_binding;

/// The bytes that each major hashes for a password.
pub(super) fn saslprep(case: &Value) -> Result<Vec<Comparison>, String> {
    let repeat = case["input_repeat"].as_u64().unwrap_or(1);
    let repeat = usize::try_from(repeat).map_err(|error| error.to_string())?;
    let input = unhex(&case["input_hex"]).ok_or("no input_hex")?.repeat(repeat);
    pg_version::PgVersion::ALL
        .into_iter()
        .map(|version| {
            let major = version.to_string();
            let hashed = saslprep_as(&input, version);
            let hex = hashed.as_deref().map_or_else(|_| "refused".to_owned(), hex);
            let (expected, got) = match case["per_major_differs"].get(&major) {
                Some(Value::Null) => ("refused".to_owned(), hex),
                Some(Value::String(len)) if len.starts_with("len=") => {
                    (len.clone(), hashed.map_or(hex, |hashed| format!("len={}", hashed.len())))
                }
                Some(Value::String(bytes)) => (bytes.clone(), hex),
                Some(other) => return Err(format!("{major}: unknown verdict {other}")),
                None => (case["hashed_hex"].as_str().unwrap_or("refused").to_owned(), hex),
            };
            Ok(Comparison { major, expected, got })
        })
        .collect()
}

/// What each major does with a text given as PASSWORD.
pub(super) fn verifier(case: &Value) -> Result<Vec<Comparison>, String> {
    let text = case["verifier"].as_str().ok_or("no verifier")?;
    let results = case["results"].as_object().ok_or("no results")?;
    results
        .iter()
        .map(|(major, verdict)| {
            let version = major.parse().map_err(|_| format!("unknown major {major}"))?;
            let got = match predict(text.as_bytes(), version, &Limits::default()) {
                Outcome::Scram(_) | Outcome::Md5 => "verbatim",
                Outcome::ClearText(_) => "REHASHED",
                Outcome::TooLong { .. } => "ERR ERROR:  encrypted password is too long",
                Outcome::PasswordTooLong(_) => "ERR ERROR:  password too long",
                _ => "cleared",
            };
            // an error's first line: the others are detail, and cut short in the record
            let expected = verdict.as_str().and_then(|text| text.lines().next());
            Ok(Comparison {
                major: major.clone(),
                expected: expected.unwrap_or("no verdict").to_owned(),
                got: got.to_owned(),
            })
        })
        .collect()
}

/// Whether each libpq logs in through a hostile or sloppy server and sends its proof: the `libpq`
/// profile must do the same. The strict profile must refuse whatever libpq refuses, and every
/// server whose messages differ from the normal ones.
pub(super) fn fake_server(case: &Value) -> Result<Vec<Comparison>, String> {
    let verdicts = case["libpq"].as_object().ok_or("no verdicts of libpq")?;
    let server = &case["server"];
    // The client's parameters stand behind the name, in brackets.
    let require_auth =
        case["name"].as_str().is_some_and(|name| name.contains("[require_auth=scram-sha-256]"));
    let outcome = |profile| match fake_server::play(server, profile, require_auth) {
        Ok(played) => {
            let result = if played.result.is_ok() { "OK" } else { "refused" };
            let proof = if played.sent_proof { "client-final sent" } else { "no proof" };
            (result.to_owned(), format!("{result}, {proof}"))
        }
        Err(error) => (error.clone(), error),
    };
    let (_, lenient) = outcome(Profile::Libpq);
    let mut comparisons: Vec<_> = verdicts
        .iter()
        .map(|(major, verdict)| {
            let result = if verdict[0] == "OK" { "OK" } else { "refused" };
            let proof = match verdict[1].as_str() {
                Some("") | None => "no proof",
                Some(proof) => proof,
            };
            let expected = format!("{result}, {proof}");
            Comparison { major: major.clone(), expected, got: lenient.clone() }
        })
        .collect();

    let accepted = verdicts.values().all(|verdict| verdict[0] == "OK");
    let (strict, _) = outcome(Profile::Strict);
    comparisons.push(Comparison {
        major: "strict".to_owned(),
        expected: if accepted && is_normal(server) { "OK" } else { "refused" }.to_owned(),
        got: strict,
    });
    Ok(comparisons)
}

/// Does the server differ from a usual one in nothing but what real servers differ in: the names of
/// other mechanisms, an iteration count within the limits, another salt of a usual length?
fn is_normal(server: &Value) -> bool {
    let only_usual = server.as_object().is_some_and(|fields| {
        fields.keys().all(|field| ["mechs", "i", "real", "salt", "rs"].contains(&&**field))
    });
    let real = server["real"].as_i64().unwrap_or(4096);
    let count = server["i"].as_str().map_or_else(|| real.to_string(), ToOwned::to_owned);
    let within = i32::try_from(real).is_ok_and(|real| Limits::default().check(real).is_ok());
    let salt = server["salt"].as_str().map_or(Some(16), |text| {
        let bytes = STANDARD.decode(text).ok()?;
        (server["rs"].as_str().map(str::as_bytes) == Some(&*bytes)).then_some(bytes.len())
    });
    only_usual && count == real.to_string() && within && salt.is_some_and(|len| len >= MIN_SALT_LEN)
}

/// Every message of a whole login.
pub(super) fn transcript(case: &Value) -> Result<Vec<Comparison>, String> {
    let majors = format!("srv{}/libpq{}", case["server_major"], case["libpq_major"]);
    let made = recompute::recompute(case)?;
    Ok(made
        .into_iter()
        .map(|made| Comparison {
            major: format!("{majors}, {}", made.what),
            expected: made.recorded,
            got: made.made,
        })
        .collect())
}

/// Whether the channel is bound through a certificate of each kind, by servers and libpqs.
pub(super) fn channel_binding(case: &Value) -> Result<Vec<Comparison>, String> {
    let certificates =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../crates/scram/tests/data/certificates");
    let verdicts = recorded_binding::judge(case, &certificates)?;
    Ok(verdicts
        .into_iter()
        .map(|verdict| Comparison {
            major: verdict.key,
            expected: verdict.recorded.to_owned(),
            got: verdict.ours.to_owned(),
        })
        .collect())
}

fn unhex(value: &Value) -> Option<Vec<u8>> {
    let digits = value.as_str()?.as_bytes();
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|it| u8::try_from(it).ok());
    digits
        .chunks(2)
        .map(|pair| match pair {
            [high, low] => Some(digit(high)? << 4 | digit(low)?),
            _ => None,
        })
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
