//! Which rule decides about a login over TLS, and why not the rules before it?
//!
//! `cargo run -p hba-parser --features fs --example who_decides -- pg_hba.conf 17 web app 10.1.2.3`
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, fs, path::absolute};

use hba_parser::{
    Connection, DiskFiles, Encryption, HbaDocument, PgVersion, RoleGraph, Server, UnknownNetwork,
};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [path, major, role, database, address] = &arguments[..] else {
        return Err("usage: who_decides FILE MAJOR ROLE DATABASE ADDRESS".into());
    };
    let file = HbaDocument::parse(fs::read(path)?);
    let server = Server::new(major.parse::<PgVersion>()?);
    // Included files are found from the file's own folder, as the server does.
    let place = absolute(path)?.into_os_string().into_encoded_bytes();
    let rules = file.interpret_at(&place, &server, &DiskFiles);
    for diagnostic in rules.diagnostics() {
        println!("{diagnostic}");
    }
    if !rules.verdict().is_loaded() {
        return Err("the server refuses the file: no rule of it decides".into());
    }

    let mut roles = RoleGraph::default();
    roles.create(role);
    let who =
        Connection::tcp(address.parse()?, Encryption::Tls, database.as_bytes(), role.as_bytes());
    let decision = rules.decide(&who, &roles, &UnknownNetwork);
    for (rule, mismatch) in &decision.passed {
        println!("line {}: not this one: {mismatch}", rule.line());
    }
    match decision.rule {
        Some(rule) => println!("line {}: {}", rule.line(), rule.method()),
        None => println!("no rule: rejected"),
    }
    Ok(())
}
