//! Why is this chain refused? `cargo run -p pki --example why -- client CHAIN.crt ROOT.crt`
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use pki::{Certificate, Check, Purpose, Verifier};
use time::OffsetDateTime;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [purpose, chain, root] = arguments.as_slice() else {
        return Err("say server or client, the presented chain's file, and the root file".into());
    };
    let purpose = if purpose == "server" { Purpose::Server } else { Purpose::Client };
    let chain = Certificate::all_from_pem(&std::fs::read(chain)?)?;
    let trust = Certificate::all_from_pem(&std::fs::read(root)?)?;
    let now = OffsetDateTime::now_utc();
    for (name, verifier) in [
        ("OpenSSL 1.1.1", Verifier::OPENSSL_1_1_1),
        ("OpenSSL 3.0  ", Verifier::OPENSSL_3_0),
        ("rustls       ", Verifier::WebPki),
        ("RFC 5280     ", Verifier::Rfc5280),
    ] {
        match Check::new(&chain, &trust, purpose, now).verifier(verifier).run() {
            Ok(path) => println!("{name} accepts: {} certificates", path.certificates().len()),
            Err(rejection) => println!("{name} refuses: {rejection}"),
        }
    }
    Ok(())
}
