//! Sets a password in a file; the new one comes from standard input, so that no other process sees it.
//!
//! `cargo run -p passfile --features fs --example rotate -- /tmp/pgpass bob db1`
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::{env, error::Error, io::stdin};

use passfile::{NewEntry, fs::Stored};

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
    Ok(())
}
