//! Why does libpq find this password, or none?
//!
//! `cargo run -p passfile --features fs,env --example explain_lookup -- bob db1 5432 app`
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program for the terminal")]

use std::{env, error::Error};

use passfile::{Key, Libpq, Surroundings, fs};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [user, host, port, dbname] = &arguments[..] else {
        return Err("usage: explain_lookup USER HOST PORT DATABASE".into());
    };
    let libpq = Libpq::default();
    let path = Surroundings::of_process().passfile(None, &libpq).ok_or("no home folder")?;
    println!("{}", path.display());
    let file = match fs::open(&path) {
        Ok(file) => file,
        Err(error) => {
            if let Some(warning) = error.warning(&libpq) {
                eprintln!("{warning}");
            }
            return Err(error.into());
        }
    };
    let key = Key::new(user).host(host).port(port).dbname(dbname);
    print!("{}", file.trace(&key, &libpq));
    for finding in file.lint(&libpq, None) {
        println!("{finding}");
    }
    Ok(())
}
