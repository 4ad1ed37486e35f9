//! SASLprep against what libpq 12 to 18 hashed, and against RFC 4013's examples.

use crate::common::{major, recorded, unhex};
use pg_version::PgVersion;
use scram::{
    Password,
    saslprep::{MAX_LEN_BEFORE_14, saslprep, saslprep_as},
};

#[test]
fn as_libpq_of_each_major() {
    let cases = recorded("saslprep");
    assert_eq!(cases.len(), 149);
    for case in cases {
        let name = &case["name"];
        let repeat = case["input_repeat"].as_u64().unwrap_or(1);
        let input = unhex(&case["input_hex"]).repeat(usize::try_from(repeat).unwrap());
        let newest = saslprep_as(&input, PgVersion::V18).unwrap().into_owned();
        if !case["hashed_hex"].is_null() {
            assert_eq!(newest, unhex(&case["hashed_hex"]), "{name}");
        }
        if let Some(majors) = case["per_major_differs"].as_object() {
            for (key, verdict) in majors {
                match saslprep_as(&input, major(key)) {
                    Ok(hashed) => {
                        let expected = format!("len={}", hashed.len());
                        assert_eq!(verdict.as_str(), Some(&*expected), "{name} {key}");
                    }
                    Err(_) => assert!(verdict.is_null(), "{name} {key}"),
                }
            }
        } else {
            for version in PgVersion::ALL {
                assert_eq!(saslprep_as(&input, version).unwrap(), newest, "{name} {version}");
            }
        }
    }
}

#[test]
fn length_limit_of_12_and_13() {
    let fits = vec![b'a'; MAX_LEN_BEFORE_14];
    let too_long = vec![b'a'; MAX_LEN_BEFORE_14 + 1];
    for version in PgVersion::ALL {
        assert!(saslprep_as(&fits, version).is_ok());
        assert_eq!(saslprep_as(&too_long, version).is_err(), version <= PgVersion::V13);
        assert_eq!(Password::new_as(&too_long, version).is_err(), version <= PgVersion::V13);
    }
}

#[test]
fn where_postgresql_leaves_rfc_4013() {
    // The RFC refuses these; PostgreSQL hashes the bytes unchanged.
    for text in ["\u{ad}", "\u{7}é", "\u{5d0}1", "\u{e000}", "\u{1f600}", "a\u{340}"] {
        assert_eq!(*saslprep(text.as_bytes()), *text.as_bytes(), "{text:?}");
    }
    // The RFC refuses what these become: left-to-right and right-to-left at once.
    assert_eq!(*saslprep("\u{2135}a".as_bytes()), *"\u{5d0}a".as_bytes());
    // Braille patterns had no direction in Unicode 3.2; today they run left to right.
    let text = "\u{5d0}\u{2801}\u{a0}\u{5d0}";
    assert_eq!(*saslprep(text.as_bytes()), *"\u{5d0}\u{2801} \u{5d0}".as_bytes());
}
