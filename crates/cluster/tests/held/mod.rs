//! A session that does not leave its replication slot before the next one was refused there.

use std::{error::Error, time::Duration};

use pgtest::Connect;
use rustix::process::{Pid, Signal, kill_process};

/// What is not refused in all that time is none of a test's: its run gives up first.
const LIMIT: Duration = Duration::from_secs(120);

/// How often somebody was refused a slot, by the server's log. The pattern does not fit itself, where
/// statements are logged.
pub(crate) fn refusals(connect: &Connect) -> Result<u64, Box<dyn Error>> {
    const QUERY: &str = "SELECT count(*) FROM pg_catalog.regexp_matches( \
         pg_catalog.pg_read_file(pg_catalog.pg_current_logfile()), 'is active for PID [0-9]', 'g')";
    Ok(connect.open()?.query(QUERY)?.value().ok_or("no count")?.parse()?)
}

/// Stops the session that is in a slot of a server, until another one was refused there.
pub(crate) fn hold(connect: Connect) -> Result<(), Box<dyn Error>> {
    let pid = "SELECT active_pid FROM pg_replication_slots WHERE active";
    let pid = connect.open()?.query(pid)?.value().ok_or("no session")?.parse()?;
    let pid = Pid::from_raw(pid).ok_or("no process")?;
    let before = refusals(&connect)?;
    kill_process(pid, Signal::STOP)?;
    std::thread::spawn(move || {
        let refused = || refusals(&connect).map(|now| (now > before).then_some(()));
        let _ = pgtest::until(LIMIT, refused);
        let _ = kill_process(pid, Signal::CONT);
    });
    Ok(())
}
