//! Sets the password of a user for every port and database of a host; it comes from standard input, so
//! that no other process sees it. Lines before it for one port or database go on deciding for that, and are
//! told.
//!
//! `cargo run -p passfile --features fs --example rotate -- /tmp/pgpass bob db1`
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, io::stdin};

use passfile::{Field, Libpq, NewEntry, fs::Stored};
use pg_version::PgVersion;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [path, user, host] = &arguments[..] else {
        return Err("usage: rotate FILE USER HOST < PASSWORD".into());
    };
    let mut password = String::new();
    stdin().read_line(&mut password)?;
    let password = password.trim_end_matches('\n');

    let mut stored = Stored::open_or_new(path)?;
    let change = stored.file.set(&NewEntry::new(password).host(host).user(user))?;
    stored.save()?;
    println!("{change:?}");

    let (host, user) = (Field::from(host), Field::from(user));
    for entry in stored.file.entries(&Libpq::new(PgVersion::NEWEST)) {
        let is_narrower = entry.port() != Field::Any || entry.dbname() != Field::Any;
        if is_narrower && host.covers(&entry.host()) && user.covers(&entry.user()) {
            println!("line {} has its own password, and may come first", entry.line());
        }
    }
    Ok(())
}
