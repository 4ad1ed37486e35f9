//! One run at a time on a node, whatever machine it is run from.
//!
//! The folder for secrets keeps the processes of one machine apart. What keeps machines apart is on the
//! nodes: for as long as a run works on a node, a session of it there has the advisory lock 123,589,686,817,380
//! (`pgward` in ASCII), which ends with the session, however that ends. PostgreSQL keeps such locks
//! apart by database; `pg_locks` shows those of all, so whoever has one looks whether another has it too,
//! in whatever database that is.

use std::time::Duration;

use postgres_protocol::escape::escape_literal;
use tokio_postgres::{Client, SimpleQueryMessage, SimpleQueryRow};

use super::Application;
use crate::{deadline::Deadline, error::Error};

/// The lock's key: `pgward` in ASCII, as a number.
const KEY: i64 = i64::from_be_bytes(*b"\0\0pgward");

/// A session that is just ending has the lock until it has ended.
const ENDING: Duration = Duration::from_secs(3);

/// Takes the lock of a node for this session, for as long as it lasts; the number of its process. `before`
/// is that of our session before this one, which the server may not know to have ended.
///
/// # Errors
/// [`Error::Run`] with whoever has it.
pub(super) async fn take(
    client: &Client,
    application: &Application,
    before: Option<i32>,
    patience: Duration,
) -> Result<i32, Error> {
    // Where the other machine is gone its server shall hear of it in minutes, not hours; and no server
    // ends the session for its idleness.
    client
        .batch_execute(
            "SET tcp_keepalives_idle = 30; SET tcp_keepalives_interval = 10; \
             SET tcp_keepalives_count = 3; \
             SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings \
             WHERE name = 'idle_session_timeout'",
        )
        .await?;
    // A lock by one number has its halves in two columns, and 1 in the third (lock.h,
    // `SET_LOCKTAG_ADVISORY`; lockfuncs.c). Other processes of the same run were killed: their sessions are
    // ended.
    let take = format!(
        "SELECT pg_catalog.pg_try_advisory_lock({KEY}), pg_catalog.pg_backend_pid(); \
         SELECT l.pid, coalesce(a.application_name, ''), coalesce(a.usename::text, ''), \
                coalesce(pg_catalog.host(a.client_addr), ''), coalesce(a.datname::text, ''), \
                coalesce(a.backend_start::text, ''), \
                CASE WHEN pg_catalog.starts_with(a.application_name, {}) \
                          AND (a.application_name <> {} OR l.pid = {}) \
                     THEN pg_catalog.pg_terminate_backend(l.pid) END \
         FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a USING (pid) \
         WHERE l.locktype = 'advisory' AND l.classid = {} AND l.objid = {} AND l.objsubid = 1 \
         AND l.granted AND l.pid <> pg_catalog.pg_backend_pid() ORDER BY l.pid LIMIT 1",
        escape_literal(&application.run),
        escape_literal(&application.own),
        before.unwrap_or_default(),
        KEY >> 32,
        KEY & 0xffff_ffff,
    );
    let give_back = format!("SELECT pg_catalog.pg_advisory_unlock({KEY})");
    let deadline = Deadline::new("the node to be free", patience.min(ENDING));
    loop {
        let answers = client.simple_query(&take).await?;
        let mut rows = answers.iter().filter_map(|answer| match answer {
            SimpleQueryMessage::Row(row) => Some(row),
            _ => None,
        });
        let own = rows.next();
        let taken = own.and_then(|row| row.get(0)) == Some("t");
        let other = rows.next();
        if taken && other.is_none() {
            let pid = own.and_then(|row| row.get(1)?.parse().ok());
            return Ok(pid.unwrap_or_default());
        }
        if taken {
            client.batch_execute(&give_back).await?;
        }
        if deadline.pause().await.is_err() {
            let other = other.map_or_else(|| "another session".to_owned(), who);
            return Err(Error::run(other));
        }
    }
}

/// Whose session it is, and what to do about it.
fn who(row: &SimpleQueryRow) -> String {
    let get = |column| row.get(column).unwrap_or_default();
    let (pid, application) = (get(0), get(1));
    let place = match get(3) {
        "" => "its own machine",
        address => address,
    };
    let mut known = Vec::new();
    for (name, column) in [("user", 2), ("database", 4), ("since", 5)] {
        let value = get(column);
        if !value.is_empty() {
            known.push(format!("{name} {value}"));
        }
    }
    format!(
        "another run is at work there: \"{application}\" from {place} ({}), session {pid}. Wait for it to \
         end. If it can not end, for the machine that it was run from is gone: SELECT \
         pg_terminate_backend({pid})",
        known.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_the_one_that_is_documented() {
        assert_eq!(KEY, 123_589_686_817_380);
    }
}
