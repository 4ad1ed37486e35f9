//! The sessions of links, on the nodes that they lead to.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use tokio_postgres::Client;

use crate::{deadline::Deadline, error::Error, topology::SessionKey};

/// A link's session, as the server that it leads to has it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) pid: i32,
    pub(crate) start: SystemTime,
    pub(crate) user: String,
    pub(crate) address: Option<std::net::IpAddr>,
    pub(crate) tls: Option<String>,
    pub(crate) cipher: Option<String>,
    pub(crate) certificate: Option<String>,
    /// `streaming` …; empty where the server does not tell it to this user.
    pub(crate) state: String,
}

impl Session {
    /// Whether changes flow through it.
    pub(crate) fn replicates(&self) -> bool {
        self.state == "streaming" || self.state == "catchup"
    }

    pub(crate) fn id(&self) -> SessionId {
        SessionId { pid: self.pid, start: microseconds(self.start) }
    }
}

/// What tells a session from every other of its server: numbers of processes come back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SessionId {
    pid: i32,
    /// When it began, in microseconds since 1970 by the server's clock.
    start: i64,
}

/// A server's time in microseconds since 1970, which is all that PostgreSQL keeps.
pub(crate) fn microseconds(time: SystemTime) -> i64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// [`microseconds`], the other way.
pub(crate) fn time_of(microseconds: i64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_micros(microseconds.try_into().unwrap_or_default())
}

/// The session of a link. A walsender that is still starting up has none.
pub(crate) async fn find(client: &Client, key: &SessionKey) -> Result<Option<Session>, Error> {
    let slot = match key {
        SessionKey::Slot(slot) => slot,
        SessionKey::None => return Ok(None),
    };
    const QUERY: &str = "SELECT r.pid, r.backend_start, r.usename::text, r.client_addr, s.version, s.cipher, \
                                s.client_dn, r.state \
         FROM pg_catalog.pg_replication_slots l \
         JOIN pg_catalog.pg_stat_replication r ON r.pid = l.active_pid \
         JOIN pg_catalog.pg_stat_ssl s ON s.pid = r.pid WHERE l.slot_name = $1";
    let row = client.query_opt(QUERY, &[slot]).await?;
    Ok(row.map(|row| Session {
        pid: row.get(0),
        start: row.get(1),
        user: row.get(2),
        address: row.get(3),
        tls: row.get(4),
        cipher: row.get(5),
        certificate: row.get(6),
        state: row.get::<_, Option<String>>(7).unwrap_or_default(),
    }))
}

/// Waits until the link replicates by another session than this.
pub(crate) async fn until_anew(
    client: &Client,
    key: &SessionKey,
    before: Option<SessionId>,
    patience: Duration,
) -> Result<(), Error> {
    let deadline = Deadline::new("the link to replicate by its new connection string", patience);
    loop {
        let session = find(client, key).await?;
        if session.is_some_and(|new| Some(new.id()) != before && new.replicates()) {
            return Ok(());
        }
        deadline.pause().await?;
    }
}

/// What a role's sessions must be like to have come by the secured way.
#[derive(Clone, Debug)]
pub(crate) struct SecuredWay<'a> {
    pub(crate) roles: &'a [String],
    /// The networks that it is open to, as PostgreSQL writes them.
    pub(crate) networks: Vec<String>,
    /// Whether it wants TLS.
    pub(crate) tls: bool,
    /// Since when it is open, by the server's clock.
    pub(crate) since: SystemTime,
}

/// Ends the sessions from the network that cannot have come by the secured way, and waits until they
/// are gone.
pub(crate) async fn end_old(
    client: &Client,
    way: &SecuredWay<'_>,
    patience: Duration,
) -> Result<(), Error> {
    const QUERY: &str = "SELECT count(pg_catalog.pg_terminate_backend(a.pid)) \
         FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_stat_ssl s USING (pid) \
         WHERE a.usename = ANY ($1::text[]) AND a.client_addr IS NOT NULL \
           AND (a.backend_start < $2 OR ($3 AND NOT s.ssl) \
                OR NOT a.client_addr <<= ANY ($4::text[]::inet[]))";
    let deadline = Deadline::new("the sessions from before to end", patience);
    loop {
        let ended =
            client.query_one(QUERY, &[&way.roles, &way.since, &way.tls, &way.networks]).await?;
        if ended.get::<_, i64>(0) == 0 {
            return Ok(());
        }
        deadline.pause().await?;
    }
}

/// Ends the sessions that an earlier process of the same run has left, whose last statement may not
/// have ended with it, and waits until they are gone.
pub(crate) async fn end_left(
    client: &Client,
    prefix: &str,
    own: &str,
    patience: Duration,
) -> Result<(), Error> {
    const QUERY: &str = "SELECT count(pg_catalog.pg_terminate_backend(pid)) \
         FROM pg_catalog.pg_stat_activity \
         WHERE pg_catalog.starts_with(application_name, $1) AND application_name <> $2";
    let deadline = Deadline::new("the sessions of an earlier process to end", patience);
    loop {
        if client.query_one(QUERY, &[&prefix, &own]).await?.get::<_, i64>(0) == 0 {
            return Ok(());
        }
        deadline.pause().await?;
    }
}
