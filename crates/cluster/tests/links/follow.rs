//! A standby as `pg_basebackup -R` leaves it.

use std::fs;

use pgtest::{Run, Server, Shutdown};

/// Makes a server that has not been started a standby of another: its primary's files, with a configuration
/// of its own. The primary is restarted.
pub(crate) fn follow(
    primary: &mut Server,
    mut standby: Server,
    conninfo: &str,
    slot: Option<&str>,
) -> Result<Server, Box<dyn std::error::Error>> {
    let data = standby.data_dir();
    let mut own = Vec::new();
    for name in ["postgresql.conf", "pg_hba.conf"] {
        own.push((name, fs::read(data.join(name))?));
    }
    let conninfo =
        format!("host={} port={} user=replicator {conninfo}", primary.addr(), primary.port());
    primary.stop(Shutdown::Fast)?;
    fs::remove_dir_all(&data)?;
    Run::new("cp")
        .args(["-a".as_ref(), primary.data_dir().as_os_str(), data.as_os_str()])
        .check()?;
    for (name, bytes) in own {
        fs::write(data.join(name), bytes)?;
    }
    standby.write_file(data.join("standby.signal"), b"", 0o600)?;
    let mut auto = format!("# as pg_basebackup leaves it\nprimary_conninfo = '{conninfo}'\n");
    if let Some(slot) = slot {
        auto.push_str(&format!("primary_slot_name = '{slot}'\n"));
    }
    standby.write_file(data.join("postgresql.auto.conf"), auto.as_bytes(), 0o600)?;
    primary.start()?;
    standby.start()?;
    Ok(standby)
}
