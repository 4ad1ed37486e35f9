//! The sessions of links, on the nodes that they lead to.

use tokio_postgres::Client;

use crate::{deadline::Deadline, error::Error, spec::NodeSpec, sql, topology::SessionKey};

/// A link's session, as the server that it leads to has it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) pid: i32,
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
}

/// The session of a link. A walsender that is still starting up has none.
pub(crate) async fn find(client: &Client, key: &SessionKey) -> Result<Option<Session>, Error> {
    let slot = match key {
        SessionKey::Slot(slot) => slot,
        SessionKey::None => return Ok(None),
    };
    const QUERY: &str = "SELECT r.pid, r.usename::text, r.client_addr, s.version, s.cipher, \
                                s.client_dn, r.state \
         FROM pg_catalog.pg_replication_slots l \
         JOIN pg_catalog.pg_stat_replication r ON r.pid = l.active_pid \
         JOIN pg_catalog.pg_stat_ssl s ON s.pid = r.pid WHERE l.slot_name = $1";
    let row = client.query_opt(QUERY, &[slot]).await?;
    Ok(row.map(|row| Session {
        pid: row.get(0),
        user: row.get(1),
        address: row.get(2),
        tls: row.get(3),
        cipher: row.get(4),
        certificate: row.get(5),
        state: row.get::<_, Option<String>>(6).unwrap_or_default(),
    }))
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

    /// Waits until the link replicates by another session.
    pub(crate) async fn until_anew(self) -> Result<(), Error> {
        let deadline = Deadline::new("the link to replicate by its new connection string");
        loop {
            let session = find(&self.client, self.key).await?;
            if session.is_some_and(|new| Some(new.pid) != self.before && new.replicates()) {
                return Ok(());
            }
            deadline.pause().await?;
        }
    }
}
