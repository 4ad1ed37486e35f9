//! The sessions of links, on the nodes that they lead to.

use std::{
    collections::BTreeSet,
    time::{Duration, SystemTime},
};

use postgres_protocol::escape::escape_identifier;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Row, error::SqlState};

use crate::{
    deadline::Deadline,
    error::{Error, NodeContext as _},
    spec::NodeSpec,
    sql,
    topology::{Link, SessionKey},
};

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
    /// `streaming` …, or what keeps the link from working; empty where the server does not tell it to
    /// this user.
    pub(crate) state: String,
    /// Whether the link works: changes flow through it, or what needs it has just worked.
    pub(crate) works: bool,
}

impl Session {
    fn of_walsender(row: &Row) -> Self {
        let state: String = row.get::<_, Option<String>>(7).unwrap_or_default();
        let works = state == "streaming" || state == "catchup";
        Self { state, works, ..Self::of(row) }
    }

    fn of(row: &Row) -> Self {
        Self {
            pid: row.get(0),
            start: row.get(1),
            user: row.get(2),
            address: row.get(3),
            tls: row.get(4),
            cipher: row.get(5),
            certificate: row.get(6),
            state: String::new(),
            works: true,
        }
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

/// The session of a link that has one at all times. A walsender that is still starting up has none.
pub(crate) async fn find(client: &Client, key: &SessionKey) -> Result<Option<Session>, Error> {
    const QUERY: &str = "SELECT r.pid, r.backend_start, r.usename::text, r.client_addr, s.version, s.cipher, \
                                s.client_dn, r.state \
         FROM pg_catalog.pg_replication_slots l \
         JOIN pg_catalog.pg_stat_replication r ON r.pid = l.active_pid \
         JOIN pg_catalog.pg_stat_ssl s ON s.pid = r.pid \
         WHERE CASE WHEN $2 THEN l.slot_name LIKE '%' || $3 ELSE l.slot_name = $1 END LIMIT 1";
    const BY_APPLICATION: &str = "SELECT r.pid, r.backend_start, r.usename::text, r.client_addr, s.version, s.cipher, \
                                s.client_dn, r.state \
         FROM pg_catalog.pg_stat_replication r JOIN pg_catalog.pg_stat_ssl s ON s.pid = r.pid \
         WHERE r.application_name = $1 \
         ORDER BY r.client_addr = $2 DESC NULLS LAST, r.backend_start DESC LIMIT 1";
    let (slot, by_ending) = match key {
        SessionKey::Slot(slot) => (slot, false),
        SessionKey::SlotEnding(ending) => (ending, true),
        SessionKey::Walreceiver { application, address } => {
            let row = client.query_opt(BY_APPLICATION, &[application, address]).await?;
            return Ok(row.as_ref().map(Session::of_walsender));
        }
        SessionKey::OnDemand { .. } | SessionKey::None => return Ok(None),
    };
    let pattern = slot.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    let row = client.query_opt(QUERY, &[slot, &by_ending, &pattern]).await?;
    Ok(row.as_ref().map(Session::of_walsender))
}

/// A link that is used only for this look, and its session.
pub(crate) struct OnDemand {
    pub(crate) session: Option<Session>,
    /// The session on `from` that uses the link: it ends with this.
    _user: Client,
}

/// Uses a link that has no session of its own, as its role, and looks at the session that this makes
/// on the other side. The statement reads nothing and changes nothing.
pub(crate) async fn open(
    client: &Client,
    from: &NodeSpec,
    link: &Link,
    database: &str,
    role: &str,
    statement: &str,
) -> Result<OnDemand, Error> {
    const QUERY: &str = "SELECT a.pid, a.backend_start, a.usename::text, a.client_addr, s.version, s.cipher, \
                                s.client_dn, NULL::text \
         FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_stat_ssl s USING (pid) \
         WHERE a.usename = $1 AND a.client_port IS NOT NULL AND a.pid <> pg_catalog.pg_backend_pid() \
         ORDER BY a.backend_start DESC";
    let remote = link.user().unwrap_or(role);
    let pids = |rows: &[Row]| rows.iter().map(|row| row.get(0)).collect::<BTreeSet<i32>>();
    let before = pids(&client.query(QUERY, &[&remote]).await?);
    let user = sql::connect(from, Some(database)).await?;
    let used = async {
        user.batch_execute(&format!("SET ROLE {}", escape_identifier(role))).await?;
        user.batch_execute(statement).await
    };
    let used = used.await;
    // Who asks a server for a schema that is not there has asked it.
    let used = match used {
        Err(error) if error.code() == Some(&SqlState::FDW_SCHEMA_NOT_FOUND) => Ok(()),
        other => other,
    };
    let rows = client.query(QUERY, &[&remote]).await?;
    let mut session = rows.iter().find(|row| !before.contains(&row.get(0))).map(Session::of);
    if let Err(error) = used {
        // What the node says is the evidence; a broken connection to the node itself is none.
        if error.as_db_error().is_none() {
            return Err(error).on_node(&from.name);
        }
        let state = Error::from(error).to_string();
        session = session.map(|session| Session { state: state.clone(), works: false, ..session });
        if session.is_none() {
            return Err(Error::LinkFails { reason: state }).on_node(&from.name);
        }
    }
    Ok(OnDemand { session, _user: user })
}

/// Waits until the link works by another session than this.
pub(crate) async fn until_anew(
    client: &Client,
    key: &SessionKey,
    before: Option<SessionId>,
    patience: Duration,
) -> Result<(), Error> {
    let deadline = Deadline::new("the link to replicate by its new connection string", patience);
    loop {
        let session = find(client, key).await?;
        if session.is_some_and(|new| Some(new.id()) != before && new.works) {
            return Ok(());
        }
        deadline.pause().await?;
    }
}

/// Ends a session; one that has ended is no error.
pub(crate) async fn end(client: &Client, session: SessionId) -> Result<(), Error> {
    const END: &str = "SELECT pg_catalog.pg_terminate_backend(pid) \
         FROM pg_catalog.pg_stat_activity WHERE pid = $1 AND backend_start = $2";
    client.execute(END, &[&session.pid, &time_of(session.start)]).await?;
    Ok(())
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
