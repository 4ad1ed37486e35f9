//! Changes a setting of a server's files:
//! `cargo run -p pgconf --features fs --example set -- 17 /var/lib/postgresql/17/main work_mem 64MB`
#![expect(clippy::print_stdout, reason = "an example")]

use std::{error::Error, path::Path};

use pgconf::fs::Stored;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [version, data, name, value] = &arguments[..] else {
        return Err("usage: set VERSION DATA_DIRECTORY NAME VALUE".into());
    };
    let data = Path::new(data);
    let mut stored = Stored::open(data.join("postgresql.conf"), Some(data), version.parse()?)?;
    let outcome = stored.configuration.set(name, value)?;
    for path in stored.save()? {
        println!("{} line {}: {:?}", path.display(), outcome.line, outcome.change);
    }
    for warning in &outcome.warnings {
        println!("warning: {warning}");
    }
    if let (true, Some(activation)) = (outcome.effective_value_changed, outcome.activation) {
        println!("takes effect after: {activation}");
    }
    Ok(())
}
