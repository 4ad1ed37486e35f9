//! What to do about a server's files before another major reads them:
//! `cargo run -p pgconf --features fs --example upgrade -- 13 18 /var/lib/postgresql/13/main`
#![expect(clippy::print_stdout, reason = "an example")]

use std::{error::Error, path::Path};

use pgconf::{UpgradeIssue, fs::Stored};

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, data] = &arguments[..] else {
        return Err("usage: upgrade FROM TO DATA_DIRECTORY".into());
    };
    let data = Path::new(data);
    let stored = Stored::open(data.join("postgresql.conf"), Some(data), from.parse()?)?;
    for finding in stored.configuration.upgrade(to.parse()?) {
        if let Some(occurrence) = &finding.occurrence {
            let (file, name) = (occurrence.file, occurrence.name);
            let text = String::from_utf8_lossy;
            print!("{}:{}: {}: ", text(file), occurrence.line, text(name));
        }
        match finding.what {
            UpgradeIssue::Gone { instead: Some(instead) } => println!("gone; instead: {instead}"),
            UpgradeIssue::Gone { instead: None } => println!("gone"),
            UpgradeIssue::OldName { to } => println!("now called {to}"),
            UpgradeIssue::InvalidValue(invalid) => println!("{invalid}"),
            UpgradeIssue::DefaultMoved { name, from, to } => {
                let shown = |value: Option<&str>| value.unwrap_or("(none)").to_owned();
                println!("{name}: the default moves from {} to {}", shown(from), shown(to));
            }
            other => println!("{other:?}"),
        }
    }
    Ok(())
}
