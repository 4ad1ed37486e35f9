//! Stored secrets against what servers 12 to 18 did with them.

use crate::common::{major, recorded};
use pg_version::PgVersion;
use proptest::prelude::*;
use scram::{BadParameters, Limits, NotASecret, Outcome, Password, Secret, predict};

#[test]
fn as_servers_of_each_major() {
    let cases = recorded("verifiers");
    assert_eq!(cases.len(), 25);
    for case in cases {
        let text = case["verifier"].as_str().unwrap().as_bytes();
        for (key, verdict) in case["results"].as_object().unwrap() {
            let outcome = predict(text, major(key), &Limits::default());
            let predicted = match outcome {
                Outcome::Scram(_) | Outcome::Md5 => "verbatim",
                Outcome::ClearText(_) => "REHASHED",
                Outcome::TooLong { .. } => "ERR ERROR:  encrypted password is too long",
                other => panic!("{other:?}"),
            };
            let verdict = verdict.as_str().unwrap().lines().next().unwrap();
            assert_eq!(predicted, verdict, "{} {key}", case["name"]);
        }
    }
}

const SALT: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

#[test]
fn separators_doubled() {
    // strtok() up to 17 skips them, strsep() from 18 on sees empty parts
    for (text, old, new) in [
        (format!("$SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}"), true, false),
        (format!("SCRAM-SHA-256$$4096:{SALT}${KEY}:{KEY}"), false, false),
        (format!("SCRAM-SHA-256$:4096:{SALT}${KEY}:{KEY}"), true, false),
        (format!("SCRAM-SHA-256$4096::{SALT}${KEY}:{KEY}"), false, false),
        (format!("SCRAM-SHA-256$4096:${SALT}${KEY}:{KEY}"), true, false),
        (format!("SCRAM-SHA-256$4096:{SALT}$:{KEY}:{KEY}"), true, false),
        (format!("SCRAM-SHA-256$4096:{SALT}$${KEY}:{KEY}"), false, false),
        (format!("SCRAM-SHA-256$4096:{SALT}${KEY}::{KEY}"), false, false),
        (format!("SCRAM-SHA-256$:{SALT}${KEY}:{KEY}"), false, true),
        (format!("SCRAM-SHA-256$4096:${KEY}:{KEY}"), false, true),
    ] {
        for version in PgVersion::ALL {
            let expected = if version >= PgVersion::V18 { new } else { old };
            assert_eq!(
                Secret::parse(text.as_bytes(), version).is_ok(),
                expected,
                "{version} {text}"
            );
        }
    }
}

#[test]
fn every_missing_part_is_named() {
    use NotASecret::{Iterations, Salt, Scheme, ServerKey, StoredKey};
    for (text, reason) in [
        (String::new(), Scheme),
        ("SCRAM-SHA-1".into(), Scheme),
        ("SCRAM-SHA-256".into(), Iterations),
        ("SCRAM-SHA-256$4096".into(), Salt),
        (format!("SCRAM-SHA-256$4096:{SALT}"), StoredKey),
        (format!("SCRAM-SHA-256$4096:{SALT}${KEY}"), ServerKey),
        (format!("SCRAM-SHA-256$4096:{SALT}${KEY}:QQ=="), ServerKey),
        (format!("SCRAM-SHA-256$4096:{SALT}$QQ==:{KEY}"), StoredKey),
        (format!("SCRAM-SHA-256$many:{SALT}${KEY}:{KEY}"), Iterations),
    ] {
        for version in PgVersion::ALL {
            assert_eq!(Secret::parse(text.as_bytes(), version).unwrap_err(), reason, "{text}");
        }
    }
}

#[test]
fn counts_that_make_no_sense_are_read_as_a_server_reads_them() {
    for (text, count) in [("-1", -1), ("0", 0), (" +04096", 4096), ("4294967297", 1)] {
        let text = format!("SCRAM-SHA-256${text}:{SALT}${KEY}:{KEY}");
        assert_eq!(Secret::parse(text.as_bytes(), PgVersion::V16).unwrap().iterations(), count);
    }
}

#[test]
fn secrets_of_the_empty_password_are_cleared() {
    for (count, text) in [(4096, "4096"), (1, "1"), (1, "0"), (1, "-1"), (1, "4294967297")] {
        let secret = Secret::new(&Password::new(""), b"0123456789abcdef", count).unwrap();
        let text = secret.to_text().replacen(&format!("${count}:"), &format!("${text}:"), 1);
        for version in PgVersion::ALL {
            let outcome = predict(text.as_bytes(), version, &Limits::default());
            assert_eq!(outcome, Outcome::Cleared, "{text}");
        }
    }
    assert_eq!(predict(b"", PgVersion::V12, &Limits::default()), Outcome::Cleared);
}

#[test]
fn clear_text_that_is_too_long() {
    let long = vec![b'x'; 1025];
    for version in PgVersion::ALL {
        let outcome = predict(&long, version, &Limits::default());
        let refused = matches!(outcome, Outcome::PasswordTooLong(_));
        assert_eq!(refused, version < PgVersion::V14, "{version}");
        let fits = predict(&long[1..], version, &Limits::default());
        assert_eq!(fits, Outcome::ClearText(NotASecret::Scheme));
    }
}

#[test]
fn hostile_counts_cost_nothing() {
    for count in ["2147483647", "200000000", "-2147483649"] {
        let text = format!("SCRAM-SHA-256${count}:{SALT}${KEY}:{KEY}");
        let outcome = predict(text.as_bytes(), PgVersion::V15, &Limits::default());
        let Outcome::Scram(secret) = outcome else { panic!("{outcome:?}") };
        let verified = secret.verify(&Password::new("x"), &Limits::default());
        assert_eq!(verified.unwrap_err().iterations, secret.iterations());
    }
}

#[test]
fn parameters_that_no_secret_should_have() {
    let password = Password::new("pencil");
    for count in [0, 1 << 31, u32::MAX] {
        let refused = Secret::new(&password, b"salt", count).unwrap_err();
        assert_eq!(refused, BadParameters::Iterations(count));
        assert!(Secret::new_batch(&[(&password, b"salt")], count).is_err());
    }
    assert_eq!(Secret::new(&password, b"", 1).unwrap_err(), BadParameters::EmptySalt);
    assert!(Secret::new_batch(&[(&password, b"")], 1).is_err());
}

#[test]
fn fresh_secrets_have_fresh_salts() {
    let password = Password::new("pencil");
    let [a, b] = [(); 2].map(|()| Secret::generate(&password, 4096).unwrap());
    assert_eq!(a.salt().len(), 16);
    assert_ne!(a.salt(), b.salt());
    assert_eq!(a.verify(&password, &Limits::default()), Ok(true));
}

#[test]
fn nothing_secret_is_printed() {
    let secret = Secret::new(&Password::new("pencil"), b"0123456789abcdef", 4096).unwrap();
    insta::assert_snapshot!(
        format!("{secret:?} {:?}", secret.stored_key()),
        @r#"Secret { iterations: 4096, salt: "MDEyMzQ1Njc4OWFiY2RlZg==", .. } StoredKey(..)"#
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn texts_come_back(
        password in any::<String>(),
        salt in prop::collection::vec(any::<u8>(), 1..40),
        iterations in 1u32..50,
    ) {
        let password = Password::new(password);
        let secret = Secret::new(&password, &salt, iterations).unwrap();
        let text = secret.to_text();
        for version in PgVersion::ALL {
            let again = Secret::parse(text.as_bytes(), version).unwrap();
            prop_assert_eq!(again.to_text(), text.clone());
            prop_assert_eq!(&again, &secret);
            prop_assert_eq!(again.verify(&password, &Limits::NONE), Ok(true));
        }
        prop_assert_eq!(secret.salt(), salt);
    }

    #[test]
    fn batches_equal_one_by_one(passwords in prop::collection::vec(any::<String>(), 0..9)) {
        let passwords: Vec<_> = passwords.iter().map(Password::new).collect();
        let jobs: Vec<_> = passwords.iter().map(|password| (password, &b"salty"[..])).collect();
        let one_by_one: Vec<_> = passwords
            .iter()
            .map(|password| Secret::new(password, b"salty", 7).unwrap())
            .collect();
        prop_assert_eq!(Secret::new_batch(&jobs, 7).unwrap(), one_by_one);
    }

    #[test]
    fn any_bytes_are_read(text in prop::collection::vec(any::<u8>(), 0..200)) {
        for version in PgVersion::ALL {
            let _ = predict(&text, version, &Limits::new(1..=10));
        }
    }

    #[test]
    fn near_secrets_are_read(text in "[$]?SCRAM-SHA-256[$:]{1,2}[-+ 0-9]{0,12}[$:]{1,2}[A-Za-z0-9+/=]{0,12}[$:]{1,2}[A-Za-z0-9+/=]{40,48}[$:]{1,2}[A-Za-z0-9+/=]{40,48}") {
        for version in PgVersion::ALL {
            if let Outcome::Scram(secret) = predict(text.as_bytes(), version, &Limits::new(1..=10)) {
                // What was understood is understood again once it is tidy.
                let tidy = secret.to_text();
                if secret.salt().is_empty() && version < PgVersion::V18 {
                    continue;
                }
                prop_assert_eq!(Secret::parse(tidy.as_bytes(), version).unwrap(), secret);
            }
        }
    }
}
