//! What real servers do with texts given as PASSWORD, and with secrets made here.

use pgtest::Server;
use scram::{Limits, Outcome, Password, Secret, predict};

const SALT: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
const KEY: &str = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=";

/// What the server did, in words.
fn store(session: &mut pgtest::Session, text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if let Err(error) = session.query(&format!("ALTER ROLE a PASSWORD '{quoted}'")) {
        return error.to_string().lines().next().unwrap_or_default().to_owned();
    }
    session.take_notices();
    let sql = "SELECT rolpassword FROM pg_authid WHERE rolname = 'a'";
    match session.query(sql).unwrap().rows[0][0].as_deref() {
        None => "cleared".to_owned(),
        Some(stored) if stored == text => "verbatim".to_owned(),
        Some(_) => "hashed".to_owned(),
    }
}

fn texts() -> Vec<String> {
    let good = format!("SCRAM-SHA-256$4096:{SALT}${KEY}:{KEY}");
    let mut texts = vec![good.clone(), String::new(), "pencil".to_owned()];
    for count in [
        "",
        " ",
        "0",
        "-0",
        "-1",
        "+4096",
        "\t4096",
        "4096 ",
        "0x10",
        "1e3",
        "4_096",
        "2147483647x",
        "-9223372036854775808",
        "9223372036854775808",
        "99999999999999999999",
        "4294967297",
        "-4294967295",
        "\u{b}7",
        "+-7",
        "٤",
    ] {
        texts.push(format!("SCRAM-SHA-256${count}:{SALT}${KEY}:{KEY}"));
    }
    for salt in [
        "", "Q", "QQ", "QQ=", "QQ==", "QUI=", "QQ=A", "Q=Q=", "====", "=", "QQ==QQ==", "QUI=QUJD",
        "QQ==,", "QQ==\n", " QQ==", "Q Q==", "Q-==", "Q_==", "QR==", "é===", "QQ==:x", "QQ$==",
    ] {
        texts.push(format!("SCRAM-SHA-256$4096:{salt}${KEY}:{KEY}"));
    }
    for key in [
        "",
        "AQ==",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQF=",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQ==",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE= ",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=:",
        "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=AAAA",
    ] {
        texts.push(format!("SCRAM-SHA-256$4096:{SALT}${key}:{KEY}"));
        texts.push(format!("SCRAM-SHA-256$4096:{SALT}${KEY}:{key}"));
    }
    // every separator doubled, missing, or another; the scheme changed; something before and after
    for (at, _) in good.match_indices(['$', ':']) {
        for with in ["$$", "::", "$:", ":$", "", "$", ":", "$$$", ":::", " "] {
            texts.push(format!("{}{with}{}", &good[..at], &good[at + 1..]));
        }
    }
    for scheme in ["scram-sha-256", "SCRAM-SHA-256-PLUS", "SCRAM-SHA-1", "", "$", "$$", "md5"] {
        texts.push(good.replace("SCRAM-SHA-256", scheme));
    }
    for (before, after) in
        [("$", ""), (":", ""), (" ", ""), ("", " "), ("", "$"), ("", ":"), ("$$", "")]
    {
        texts.push(format!("{before}{good}{after}"));
    }
    for digit in ['0', 'a', 'f', 'A', 'g', ' '] {
        texts.push(format!("md5{}", digit.to_string().repeat(32)));
    }
    texts.push(format!("md5{}", "0".repeat(31)));
    texts.push(format!("MD5{}", "0".repeat(32)));
    // around the limit of 512 bytes
    for salt in [284, 285, 288, 291, 294, 400] {
        let salt = "QUJD".repeat(salt / 3);
        texts.push(format!("SCRAM-SHA-256$4096:{salt}${KEY}:{KEY}"));
    }
    // around the limit of 1024 bytes that 12 and 13 have for passwords, but not for secrets
    for len in [1023, 1024, 1025, 5000] {
        texts.push("x".repeat(len));
    }
    texts.push("\u{e9}".repeat(513));
    texts.push(format!("SCRAM-SHA-256$4096:{}${KEY}:{KEY}", "QUJD".repeat(300)));
    texts.push(format!("SCRAM-SHA-256$4096:{}=${KEY}:{KEY}", "QUJD".repeat(300)));
    // secrets of the empty password, sensible and senseless
    for count in [1, 2, 4096] {
        let secret = Secret::new(&Password::new(""), b"0123456789abcdef", count).unwrap();
        texts.push(secret.to_text().to_string());
        if count == 1 {
            for sloppy in ["$0:", "$-1:", "$4294967297:", "$ +01:"] {
                texts.push(secret.to_text().replacen("$1:", sloppy, 1));
            }
        }
    }
    texts
}

pub(crate) fn predicted_as_the_server_does(server: &Server) {
    let mut session = server.session().unwrap();
    for text in &texts() {
        let predicted = match predict(text.as_bytes(), server.version(), &Limits::NONE) {
            Outcome::Scram(_) | Outcome::Md5 => "verbatim",
            Outcome::ClearText(_) => "hashed",
            Outcome::Cleared => "cleared",
            Outcome::TooLong { .. } => "encrypted password is too long",
            Outcome::PasswordTooLong(_) => "password too long",
            other => panic!("{other:?}"),
        };
        let did = store(&mut session, text);
        let text = text.get(..200).unwrap_or(text);
        assert!(did.contains(predicted), "{text:?}: {did}, not {predicted}");
    }
}

pub(crate) fn made_here_are_stored_verbatim(server: &Server) {
    let mut session = server.session().unwrap();
    for (password, iterations) in [("pencil", 4096), ("Ⅸ\u{a0}", 10_000), ("é", 1)] {
        let secret = Secret::generate(&Password::new(password), iterations).unwrap();
        assert_eq!(store(&mut session, &secret.to_text()), "verbatim");
    }
}
