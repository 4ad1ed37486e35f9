//! What hostile and sloppy servers say.

use base64::{Engine as _, engine::general_purpose::STANDARD};

use crate::player::{Say, Script};

pub(crate) const SALT: &str = "MDEyMzQ1Njc4OWFiY2RlZg==";
pub(crate) const PLAIN: &str = "SCRAM-SHA-256";
pub(crate) const PLUS: &str = "SCRAM-SHA-256-PLUS";

pub(crate) fn script(says: Vec<Say>) -> Script {
    Script { says, salt: b"0123456789abcdef".to_vec(), iterations: 1 }
}

/// A normal login but for the server's first message.
fn first(message: impl AsRef<[u8]>) -> Script {
    with(message, "v={v}")
}

/// A normal login but for the server's last message.
fn last(message: impl AsRef<[u8]>) -> Script {
    with(format!("r={{c}}x,s={SALT},i=1"), message)
}

fn with(first: impl AsRef<[u8]>, last: impl AsRef<[u8]>) -> Script {
    let (first, last) = (first.as_ref().to_vec(), last.as_ref().to_vec());
    script(vec![Say::Sasl(vec![PLAIN]), Say::Continue(first), Say::Final(last), Say::Ok])
}

/// Servers that are hostile, sloppy, or normal.
pub(crate) fn scripts() -> Vec<Script> {
    let mut all = vec![last("v={v}"), script(vec![Say::Ok])];
    let good = format!("r={{c}}x,s={SALT},i=1");
    // counts
    for (text, iterations) in [
        ("1", 1),
        ("2", 2),
        ("01", 1),
        ("000000000000000000000000000001", 1),
        ("+1", 1),
        (" 1", 1),
        ("\t\n\u{b}\u{c}\r 1", 1),
        (" +01", 1),
        ("4294967297", 1),
        ("-4294967295", 1),
        ("8589934594", 2),
        ("1 ", 1),
        ("1x", 1),
        ("1.0", 1),
        ("1e0", 1),
        ("0x1", 1),
        ("1_0", 1),
        ("+ 1", 1),
        ("++1", 1),
        ("+-1", 1),
        ("-1", 1),
        ("-0", 1),
        ("0", 1),
        ("00", 1),
        ("", 1),
        (" ", 1),
        ("+", 1),
        ("x", 1),
        ("\u{661}", 1),
        ("\u{a0}1", 1),
        ("2147483648", 1),
        ("4294967295", 1),
        ("4294967296", 1),
        ("9223372036854775807", 1),
        ("9223372036854775808", 1),
        ("18446744073709551617", 1),
        ("99999999999999999999", 1),
        ("-9223372036854775808", 1),
        ("-9223372036854775807", 1),
        ("-99999999999999999999", 1),
        ("=1", 1),
        ("1=", 1),
    ] {
        let mut script = first(format!("r={{c}}x,s={SALT},i={text}"));
        script.iterations = iterations;
        all.push(script);
    }
    // salts
    for (text, bytes) in [
        ("", &b""[..]),
        ("QQ==", b"A"),
        ("QR==", b"A"),
        ("QQ=A", b"A"),
        ("QUI=", b"AB"),
        ("QUJ=", b"AB"),
        ("QUJD", b"ABC"),
        ("QQ==QQ==", b"AA"),
        ("QQ==QUJD", b"AA"),
        ("QUI=QUJD", b"ABAB"),
        ("QUJDQQ==", b"ABCA"),
        ("QQ======", b"A\0"),
        ("+/+/", b"\xfb\xff\xbf"),
        ("Q", b""),
        ("QQ", b"A"),
        ("QUI", b"AB"),
        ("QQ=", b"A"),
        ("=", b""),
        ("====", b""),
        ("Q===", b""),
        ("=QQQ", b""),
        ("Q=QQ", b""),
        ("QQ= =", b"A"),
        ("QQ ==", b"A"),
        (" QQ==", b"A"),
        ("QQ== ", b"A"),
        ("QQ==\n", b"A"),
        ("Q\nQ==", b"A"),
        ("-_-_", b"\xfb\xff\xbf"),
        ("QUJ\u{e9}", b""),
        ("QUJ*", b""),
        ("!!!!", b""),
    ] {
        let mut script = first(format!("r={{c}}x,s={text},i=1"));
        script.salt = bytes.to_vec();
        all.push(script);
    }
    for len in [1, 16, 63, 64, 65, 200, 1000, 1400] {
        let bytes = vec![b'x'; len];
        let mut script = first(format!("r={{c}}x,s={},i=1", STANDARD.encode(&bytes)));
        script.salt = bytes;
        all.push(script);
    }
    // nonces
    for nonce in [
        "{c}",
        "",
        "x",
        "x{c}",
        "{c}{c}",
        "{c} ",
        "{c}\u{e9}",
        "{c}\u{1}",
        "{c}=",
        "{c}x=y",
        "{c}\"",
    ] {
        all.push(first(format!("r={nonce},s={SALT},i=1")));
    }
    all.push(first([&b"r={c}\xff\xfe"[..], format!(",s={SALT},i=1").as_bytes()].concat()));
    all.push(first(format!("r={{c}}{},s={SALT},i=1", "x".repeat(1900))));
    // order, repetition, extensions
    for message in [
        format!("s={SALT},r={{c}}x,i=1"),
        format!("i=1,r={{c}}x,s={SALT}"),
        format!("r={{c}}x,i=1,s={SALT}"),
        format!("m=x,r={{c}}x,s={SALT},i=1"),
        format!("m=,r={{c}}x,s={SALT},i=1"),
        format!("x=1,r={{c}}x,s={SALT},i=1"),
        format!("r={{c}}x,m=x,s={SALT},i=1"),
        format!("r={{c}}x,x=1,s={SALT},i=1"),
        format!("r={{c}}x,s={SALT},x=1,i=1"),
        format!("r={{c}}x,s={SALT},i=1,x=1"),
        format!("r={{c}}x,s={SALT},i=1,m=1"),
        format!("r={{c}}x,s={SALT},i=1,"),
        format!("r={{c}}x,s={SALT},i=1,,"),
        format!("r={{c}}x,s={SALT},i=1,x"),
        format!("r={{c}}x,s={SALT},i=1,i=2"),
        format!("r={{c}}x,r={{c}}x,s={SALT},i=1"),
        format!("r={{c}}x,s={SALT},s={SALT},i=1"),
        format!("r={{c}}x,,s={SALT},i=1"),
        format!("r={{c}}x,s={SALT},,i=1"),
        format!(",r={{c}}x,s={SALT},i=1"),
        format!(" r={{c}}x,s={SALT},i=1"),
        format!("r={{c}}x, s={SALT},i=1"),
        format!("r ={{c}}x,s={SALT},i=1"),
        format!("R={{c}}x,S={SALT},I=1"),
        format!("r={{c}}x,s={SALT}"),
        format!("r={{c}}x,s={SALT},"),
        format!("r={{c}}x,s={SALT},i"),
        format!("r={{c}}x,s={SALT},i1"),
        format!("r={{c}}x,s={SALT};i=1"),
        "r={c}x".to_owned(),
        "r={c}x,".to_owned(),
        "r".to_owned(),
        "r=".to_owned(),
        "=".to_owned(),
        ",".to_owned(),
        String::new(),
        "e=other-error".to_owned(),
        format!("{good}\0"),
        format!("r={{c}}x\0,s={SALT},i=1"),
        format!("\0{good}"),
        format!("{good},{}", "x".repeat(1992 - 24 - good.len() + 2)),
        format!("{good},{}", "x".repeat(1992 - 24 - good.len() + 3)),
    ] {
        all.push(first(message));
    }
    // the last message
    for message in [
        "v={sloppy}",
        "v={v},x=1",
        "v={v},",
        "v={v},,",
        "v={v},v={v}",
        "v={v},e=other-error",
        "v={v} ",
        "v= {v}",
        "v={v}\n",
        "v={v}=",
        "v={v}====",
        "v={v}AAAA",
        "V={v}",
        " v={v}",
        "x=1,v={v}",
        "m=x,v={v}",
        "v",
        "v:",
        "v=",
        "v=,",
        "v=AAAA",
        "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "v=!!!!",
        "",
        ",",
        "\0",
        "v={v}\0",
        "e=other-error",
        "e=invalid-proof,x=1",
        "e=",
        "e",
        "e:x",
        "E=x",
        "e=x,v={v}",
        "r={c}x,s=MDEy,i=1",
    ] {
        all.push(last(message));
    }
    // steps left out, repeated, and in the wrong frame
    let sasl = || Say::Sasl(vec![PLAIN]);
    let challenge = || Say::Continue(good.clone().into_bytes());
    let signature = || Say::Final(b"v={v}".to_vec());
    for says in [
        vec![sasl(), Say::Ok],
        vec![sasl(), challenge(), Say::Ok],
        vec![sasl(), challenge(), Say::Continue(b"v={v}".to_vec()), Say::Ok],
        vec![sasl(), challenge(), challenge(), Say::Ok],
        vec![sasl(), challenge(), signature(), signature(), Say::Ok],
        vec![sasl(), challenge(), signature(), challenge(), Say::Ok],
        vec![sasl(), Say::Final(good.clone().into_bytes()), Say::Ok],
        vec![sasl(), Say::Final(b"v=AAAA".to_vec()), Say::Ok],
        vec![sasl(), Say::Final(b"e=other-error".to_vec()), Say::Ok],
        vec![sasl(), Say::Continue(b"e=other-error".to_vec()), Say::Ok],
    ] {
        all.push(script(says));
    }
    // mechanisms
    for names in [
        vec![],
        vec![PLUS],
        vec![PLUS, PLAIN],
        vec![PLAIN, PLUS],
        vec![PLAIN, PLAIN],
        vec!["SCRAM-SHA-1"],
        vec!["SCRAM-SHA-512", PLAIN],
        vec![PLAIN, "SCRAM-SHA-512"],
        vec!["scram-sha-256"],
        vec!["SCRAM-SHA-256 "],
        vec!["SCRAM-SHA-256-PLUS2", PLAIN],
        vec!["SCRAM-SHA-25", "SCRAM-SHA-2567"],
        vec!["PLAIN", "GSSAPI"],
    ] {
        all.push(script(vec![Say::Sasl(names), challenge(), signature(), Say::Ok]));
    }
    all
}
