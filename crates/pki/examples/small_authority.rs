//! An authority and a node's certificate in a folder: `cargo run -p pki --example small_authority
//! --features fs -- FOLDER node1.example.com 192.0.2.1`
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::path::Path;

use pki::fs::{Existing, write_public};
use pki::{Authority, KeyAlgorithm, Profile, Subject, Validity};
use time::OffsetDateTime;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("say which folder, and then the node's hosts")?;
    let hosts: Vec<String> = arguments.collect();
    let folder = Path::new(&folder);
    let now = OffsetDateTime::now_utc();
    // Before anything is written: it may be refused.
    let profile = Profile::node("replicator", &hosts)?;

    let root = Authority::create(
        KeyAlgorithm::EcdsaP256,
        &Subject::common_name("small authority"),
        Validity::days(now, 3650),
    )?;
    root.key().write(&folder.join("root.key"), Existing::Keep)?;
    write_public(&folder.join("root.crt"), &root.certificate().to_pem(), Existing::Keep)?;

    let node = root.issue(KeyAlgorithm::EcdsaP256, &profile, Validity::days(now, 90))?;
    let (key, certificate) = node.write(folder, "node", Existing::Keep)?;
    println!("{}", node.certificate.summary(now));
    println!("{} and {}: {}", key.display(), certificate.display(), profile.accepted_by());
    Ok(())
}
