//! Our client does what every libpq does with servers that are hostile or sloppy: takes and refuses
//! the same messages, and gives its proof away to the same servers.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use pg_version::PgVersion;
use scram::{Channel, Client, Password, Policy, Profile};

use crate::{
    certificates::self_signed,
    player::{PASSWORD, Say, Script, libpq_plays, we_play},
    scripts::{PLAIN, PLUS, SALT, script, scripts},
};

fn client() -> Client {
    Client::new(Password::new(PASSWORD)).profile(Profile::Libpq)
}

#[test]
fn libpq_profile_does_as_every_libpq() {
    let scripts = scripts();
    for (version, libpq) in crate::libpq::libpqs() {
        for script in &scripts {
            let (ours, why) = we_play(script, client());
            let (theirs, because) = libpq_plays(&libpq, script, None, &[]);
            assert_eq!(ours, theirs, "{version} {script:?}\nours: {why}\nlibpq: {because}");
        }
        if version < PgVersion::V16 {
            continue;
        }
        for script in scripts.iter().filter(|script| script.says.len() < 4) {
            let (ours, why) = we_play(script, client().require_auth(true));
            let required = [("require_auth", "scram-sha-256")];
            let (theirs, because) = libpq_plays(&libpq, script, None, &required);
            assert_eq!(ours, theirs, "{version} {script:?}\nours: {why}\nlibpq: {because}");
        }
    }
}

/// Whatever libpq refuses, the strict profile refuses, and of all the servers it takes the one kind
/// that is normal.
#[test]
fn strict_profile_takes_only_what_is_normal() {
    for script in scripts() {
        let strict = Client::new(Password::new(PASSWORD)).limits(scram::Limits::new(1..=10));
        let (outcome, why) = we_play(&script, strict);
        let (lenient, _) = we_play(&script, client());
        assert!(lenient.logged_in || !outcome.logged_in, "{script:?} {why}");
        let is_normal = is_normal(&script);
        assert_eq!(outcome.logged_in, is_normal, "{script:?}\n{why}");
        let unlimited = Client::new(Password::new(PASSWORD));
        assert!(!we_play(&script, unlimited).0.logged_in, "{script:?}: too few iterations");
    }
}

/// Are all messages such as PostgreSQL sends, but for the iteration count's size?
fn is_normal(script: &Script) -> bool {
    // Whether the last message comes in one frame or the other is not the mechanism's business.
    let [Say::Sasl(names), Say::Continue(first), Say::Final(last) | Say::Continue(last), Say::Ok] =
        &*script.says
    else {
        return false;
    };
    let Ok(first) = std::str::from_utf8(first) else { return false };
    let attributes: Vec<_> = first.split(',').collect();
    let [nonce, salt, count] = &*attributes else { return false };
    let added = nonce.strip_prefix("r={c}").unwrap_or_default();
    let salt = salt.strip_prefix("s=").and_then(|salt| STANDARD.decode(salt).ok());
    let count = count.strip_prefix("i=").unwrap_or_default();
    names.contains(&PLAIN)
        && !names.contains(&PLUS)
        && !added.is_empty()
        && added.bytes().all(|byte| byte.is_ascii_graphic())
        && first.len() + 24 - 3 <= scram::message::MAX_SERVER_MESSAGE
        && salt.is_some_and(|salt| salt.len() >= scram::client::MIN_SALT_LEN)
        && count.parse() == Ok(script.iterations)
        && count == script.iterations.to_string()
        && last == b"v={v}"
}

/// The choice of mechanism over TLS, by what is offered and what the client wants.
#[test]
fn mechanisms_over_tls_as_libpq_chooses() {
    let pair = self_signed(&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"]);
    let challenge = format!("r={{c}}x,s={SALT},i=1").into_bytes();
    for (version, libpq) in crate::libpq::libpqs() {
        for offered in [
            vec![PLUS],
            vec![PLAIN],
            vec![PLUS, PLAIN],
            vec![PLAIN, PLUS],
            vec![PLUS, PLUS],
            vec![],
        ] {
            for (policy, name) in [
                (Policy::Disable, "disable"),
                (Policy::Prefer, "prefer"),
                (Policy::Require, "require"),
            ] {
                // libpq 12 has no such parameter, and does what the others prefer.
                if version < PgVersion::V13 && policy != Policy::Prefer {
                    continue;
                }
                let ok = [Say::Final(b"v={v}".to_vec()), Say::Ok];
                let whole =
                    [&[Say::Sasl(offered.clone()), Say::Continue(challenge.clone())], &ok[..]];
                for says in [
                    whole.concat(),
                    [&whole.concat()[..2], &[Say::Ok]].concat(),
                    [&whole.concat()[..1], &[Say::Ok]].concat(),
                    vec![Say::Ok],
                ] {
                    let script = script(says);
                    let client =
                        client().channel(Channel::tls(&pair.der())).channel_binding(policy);
                    let (ours, why) = we_play(&script, client);
                    let parameters = [("channel_binding", name)];
                    let parameters: &[_] = if version < PgVersion::V13 { &[] } else { &parameters };
                    let (theirs, because) = libpq_plays(&libpq, &script, Some(&pair), parameters);
                    assert_eq!(
                        ours, theirs,
                        "{version} {policy:?} {script:?}\nours: {why}\nlibpq: {because}"
                    );
                }
            }
        }
    }
}
