//! The sessions of links, on the nodes that they lead to.

use std::collections::BTreeSet;

use postgres_protocol::escape::escape_identifier;
use tokio_postgres::{Client, Row};

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
        let state: String = row.get::<_, Option<String>>(6).unwrap_or_default();
        let works = state == "streaming" || state == "catchup";
        Self { state, works, ..Self::of(row) }
    }

    fn of(row: &Row) -> Self {
        Self {
            pid: row.get(0),
            user: row.get(1),
            address: row.get(2),
            tls: row.get(3),
            cipher: row.get(4),
            certificate: row.get(5),
            state: String::new(),
            works: true,
        }
    }
}

/// The session of a link that has one at all times. A walsender that is still starting up has none.
pub(crate) async fn find(client: &Client, key: &SessionKey) -> Result<Option<Session>, Error> {
    const QUERY: &str = "SELECT r.pid, r.usename::text, r.client_addr, s.version, s.cipher, \
                                s.client_dn, r.state \
         FROM pg_catalog.pg_replication_slots l \
         JOIN pg_catalog.pg_stat_replication r ON r.pid = l.active_pid \
         JOIN pg_catalog.pg_stat_ssl s ON s.pid = r.pid \
         WHERE CASE WHEN $2 THEN l.slot_name LIKE '%' || $3 ELSE l.slot_name = $1 END LIMIT 1";
    let (slot, by_ending) = match key {
        SessionKey::Slot(slot) => (slot, false),
        SessionKey::SlotEnding(ending) => (ending, true),
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
    const QUERY: &str = "SELECT a.pid, a.usename::text, a.client_addr, s.version, s.cipher, \
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

/// Sees a link connect anew.
pub(crate) struct Watch<'k> {
    client: Client,
    key: &'k SessionKey,
    before: Option<i32>,
}

impl<'k> Watch<'k> {
    /// Remembers the session that the link has now.
    pub(crate) async fn begin(to: &NodeSpec, key: &'k SessionKey) -> Result<Self, Error> {
        let client = sql::connect(to, None).await?;
        let before = find(&client, key).await?.map(|session| session.pid);
        Ok(Self { client, key, before })
    }

    /// Ends the session that the link has now.
    pub(crate) async fn end(&self) -> Result<(), Error> {
        const END: &str = "SELECT pg_catalog.pg_terminate_backend($1)";
        self.client.execute(END, &[&self.before]).await?;
        Ok(())
    }

    /// Waits until the link works by another session.
    pub(crate) async fn until_anew(self) -> Result<(), Error> {
        let deadline = Deadline::new("the link to replicate by its new connection string");
        loop {
            let session = find(&self.client, self.key).await?;
            if session.is_some_and(|new| Some(new.pid) != self.before && new.works) {
                return Ok(());
            }
            deadline.pause().await?;
        }
    }
}
