//! The sessions of links, on the nodes that they lead to.

use std::{
    collections::BTreeSet,
    net::IpAddr,
    time::{Duration, SystemTime},
};

use postgres_protocol::escape::escape_identifier;
use serde::{Deserialize, Serialize};
use tokio_postgres::{Client, Row, error::SqlState};

use crate::{
    deadline::Deadline,
    error::{Error, NodeContext as _},
    plan::hex,
    spec::NodeSpec,
    sql::{self, literal},
    topology::{Link, SessionKey},
};

/// A link's session, as the server that it leads to has it.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) pid: i32,
    /// When it began, by the server's clock.
    pub(crate) start: SystemTime,
    pub(crate) user: String,
    pub(crate) address: Option<IpAddr>,
    pub(crate) tls: Option<String>,
    pub(crate) cipher: Option<String>,
    pub(crate) certificate: Option<String>,
    /// `streaming` …, or what keeps the link from working; empty where the server does not tell it to
    /// this user.
    pub(crate) state: String,
    /// Whether the link works: changes flow through it, or what needs it has just worked.
    pub(crate) works: bool,
    /// By what it was told from other sessions, in words.
    pub(crate) found_by: String,
}

impl Session {
    fn of(row: &Row, found_by: String) -> Self {
        Self {
            pid: row.get(0),
            start: row.get(1),
            // A process that is just ending has no role any more.
            user: row.get::<_, Option<String>>(2).unwrap_or_default(),
            address: row.get(3),
            tls: row.get(4),
            cipher: row.get(5),
            certificate: row.get(6),
            state: String::new(),
            works: true,
            found_by,
        }
    }

    /// Whether it is the same session: numbers of processes come back.
    pub(crate) fn is(&self, other: &Self) -> bool {
        self.id() == other.id()
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

/// A process that sends changes to another server.
#[derive(Clone, Debug)]
pub(crate) struct WalSender {
    session: Session,
    application: String,
    slot: Option<String>,
}

/// Every walsender of a node. One that is still starting up is none.
pub(crate) async fn walsenders(client: &Client) -> Result<Vec<WalSender>, Error> {
    const QUERY: &str = "SELECT r.pid, r.backend_start, r.usename::text, r.client_addr, s.version, \
                                s.cipher, s.client_dn, r.state, l.slot_name::text, r.application_name \
         FROM pg_catalog.pg_stat_replication r \
         JOIN pg_catalog.pg_stat_ssl s ON s.pid = r.pid \
         LEFT JOIN pg_catalog.pg_replication_slots l ON l.active_pid = r.pid";
    let sender = |row: &Row| {
        let state: String = row.get::<_, Option<String>>(7).unwrap_or_default();
        let works = state == "streaming" || state == "catchup";
        let session = Session { state, works, ..Session::of(row, String::new()) };
        let application = row.get::<_, Option<String>>(9).unwrap_or_default();
        WalSender { session, application, slot: row.get(8) }
    };
    // Where the server does not show another user's session it has no start.
    let rows = client.query(QUERY, &[]).await?;
    Ok(rows
        .iter()
        .filter(|row| row.get::<_, Option<SystemTime>>(1).is_some())
        .map(sender)
        .collect())
}

/// The session of a link that has one at all times, among its node's walsenders.
pub(crate) fn pick(key: &SessionKey, senders: &[WalSender]) -> Option<Session> {
    let by_slot = |name: &str| {
        let found = senders.iter().find(|sender| sender.slot.as_deref() == Some(name))?;
        Some(found_by(found, format!("replication slot {name}")))
    };
    // Only where there is no other that it could be.
    let only = |is_it: &dyn Fn(&WalSender) -> bool| {
        let mut found = senders.iter().filter(|sender| is_it(sender));
        found.next().filter(|_| found.next().is_none())
    };
    match key {
        SessionKey::Slot(slot) => by_slot(slot),
        SessionKey::Peer { slots, ending, roles, address } => {
            let named = |sender: &WalSender| {
                sender.slot.as_ref().is_some_and(|slot| slot.ends_with(ending.as_str()))
            };
            let from_there = |sender: &WalSender| {
                sender.session.address == *address && roles.contains(&sender.session.user)
            };
            slots
                .iter()
                .find_map(|slot| by_slot(slot))
                .or_else(|| {
                    let found = only(&named)?;
                    let slot = found.slot.as_deref().unwrap_or_default();
                    Some(found_by(found, format!("replication slot {slot}")))
                })
                .or_else(|| {
                    let address = (*address)?;
                    let found = only(&from_there)?;
                    let user = &found.session.user;
                    Some(found_by(found, format!("the only walsender of {user} from {address}")))
                })
        }
        SessionKey::Walreceiver { application, address, others } => {
            let named = |sender: &WalSender| could_be(sender, application, others);
            let from_there =
                |sender: &WalSender| named(sender) && sender.session.address == Some(*address);
            let found = match senders.iter().any(from_there) {
                true => only(&from_there)?,
                // Something on the way may give it another address.
                false => only(&named)?,
            };
            Some(found_by(found, format!("the walsender for {application}")))
        }
        SessionKey::AnyWalreceiver { application } => {
            let named = senders.iter().filter(|sender| sender.application == *application);
            let newest = named.max_by_key(|sender| sender.session.start)?;
            Some(found_by(newest, format!("the last walsender for {application}")))
        }
        SessionKey::OnDemand { .. } | SessionKey::None => None,
    }
}

/// Whether a WAL receiver's session has the name, and comes from nobody else that is known.
fn could_be(sender: &WalSender, application: &str, others: &[IpAddr]) -> bool {
    sender.application == application
        && !sender.session.address.is_some_and(|from| others.contains(&from))
}

/// Why no session can be told to be the link's, though there are some that it could be.
pub(crate) fn of_several(key: &SessionKey, senders: &[WalSender]) -> Option<String> {
    let SessionKey::Walreceiver { application, address, others } = key else { return None };
    let named = senders.iter().filter(|sender| could_be(sender, application, others)).count();
    (named > 1 && pick(key, senders).is_none()).then(|| {
        format!(
            "which of {named} sessions called {application} is the link's cannot be told: no single one \
             comes from {address}. Give the standby a replication slot (primary_slot_name), or its \
             primary_conninfo an application_name of its own"
        )
    })
}

fn found_by(sender: &WalSender, what: String) -> Session {
    Session { found_by: what, ..sender.session.clone() }
}

/// The session of a link that has one at all times.
pub(crate) async fn find(client: &Client, key: &SessionKey) -> Result<Option<Session>, Error> {
    if !key.is_lasting() {
        return Ok(None);
    }
    Ok(pick(key, &walsenders(client).await?))
}

/// A link that is used only for this look, and its session.
pub(crate) struct OnDemand {
    pub(crate) session: Option<Session>,
    /// The session on `from` that uses the link: it ends with this.
    _user: Client,
}

/// How a link that has no session of its own is used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage<'a> {
    /// The database on the node that it starts at.
    pub(crate) database: &'a str,
    /// The role there.
    pub(crate) role: &'a str,
    /// The statement that needs it.
    pub(crate) statement: &'a str,
    /// Whether postgres_fdw can be told what to call the session.
    pub(crate) is_named: bool,
}

/// Uses a link that has no session of its own, as its role, and looks at the session that this makes
/// on the other side. The statement reads nothing and changes nothing.
pub(crate) async fn open(
    client: &Client,
    from: &NodeSpec,
    link: &Link,
    usage: Usage<'_>,
) -> Result<OnDemand, Error> {
    // pgward tries to log in as the same role, too.
    const QUERY: &str = "SELECT a.pid, a.backend_start, a.usename::text, a.client_addr, s.version, \
                                s.cipher, s.client_dn \
         FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_stat_ssl s USING (pid) \
         WHERE a.usename = $1 AND a.client_port IS NOT NULL \
           AND CASE WHEN $2 = '' THEN a.application_name NOT LIKE 'pgward%' \
                    ELSE a.application_name = $2 END \
         ORDER BY a.backend_start DESC";
    let Usage { database, role, statement, is_named } = usage;
    let name = if is_named { name()? } else { String::new() };
    let remote = link.user().unwrap_or(role);
    let pids = |rows: &[Row]| rows.iter().map(|row| row.get(0)).collect::<BTreeSet<i32>>();
    let before = pids(&client.query(QUERY, &[&remote, &name]).await?);
    let user = sql::connect(from, Some(database)).await?;
    let used = async {
        if is_named {
            let set = format!("SET postgres_fdw.application_name = {}", literal(&name));
            user.batch_execute(&set).await?;
        }
        use_link(&user, role, statement).await
    };
    let used = used.await;
    let rows = client.query(QUERY, &[&remote, &name]).await?;
    let made = rows.iter().find(|row| !before.contains(&row.get(0)));
    let mut session = made.map(|row| Session::of(row, format!("made by using the link as {role}")));
    if let Err(error) = used {
        // What the node says is the evidence; a broken connection to the node itself is none.
        if error.as_db_error().is_none() {
            return Err(error).on_node(&from.name);
        }
        let state = one_line(&Error::from(error).to_string());
        session = session.map(|session| Session { state: state.clone(), works: false, ..session });
        if session.is_none() {
            return Err(Error::LinkFails { reason: state }).on_node(&from.name);
        }
    }
    Ok(OnDemand { session, _user: user })
}

/// Uses a link that has no session of its own, as its role: in `user`, a session on the node that the link
/// starts at.
pub(crate) async fn use_link(
    user: &Client,
    role: &str,
    statement: &str,
) -> Result<(), tokio_postgres::Error> {
    // TimescaleDB puts the search path as it is into a statement for the data node: an empty one makes
    // that invalid.
    user.batch_execute("SET search_path = pg_catalog").await?;
    user.batch_execute(&format!("SET ROLE {}", escape_identifier(role))).await?;
    match user.batch_execute(statement).await {
        // Who asks a server for a schema that is not there has asked it.
        Err(error) if error.code() == Some(&SqlState::FDW_SCHEMA_NOT_FOUND) => Ok(()),
        other => other,
    }
}

/// A name that no other session has.
fn name() -> Result<String, Error> {
    let mut random = [0; 8];
    getrandom::fill(&mut random)
        .map_err(|error| Error::plan(format!("the system has no random bytes: {error}")))?;
    Ok(format!("pgward {}", hex(&random)))
}

/// What is said in several lines.
fn one_line(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join("; ")
}

/// Ends sessions.
pub(crate) async fn end_all(client: &Client, pids: &[i32]) -> Result<(), Error> {
    const END: &str =
        "SELECT pg_catalog.pg_terminate_backend(pid) FROM pg_catalog.unnest($1::integer[]) pid";
    client.execute(END, &[&pids]).await?;
    Ok(())
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

/// The sessions from the network of these roles that are none of `links`, and that began before the rules
/// in force, or cannot have come by the secured way: its networks are `way`'s, and so is whether it wants
/// TLS.
pub(crate) async fn beside(
    client: &Client,
    way: &SecuredWay<'_>,
    links: &[i32],
) -> Result<Vec<(Session, bool)>, Error> {
    const QUERY: &str = "SELECT a.pid, a.backend_start, a.usename::text, a.client_addr, s.version, \
             s.cipher, s.client_dn, coalesce(a.client_addr <<= ANY ($4::text[]::inet[]), false) \
         FROM pg_catalog.pg_stat_activity a JOIN pg_catalog.pg_stat_ssl s USING (pid) \
         WHERE a.usename = ANY ($1::text[]) AND a.client_addr IS NOT NULL AND a.pid <> ALL ($5::int[]) \
           AND (a.backend_start < $2 OR ($3 AND NOT s.ssl) \
                OR NOT a.client_addr <<= ANY ($4::text[]::inet[])) ORDER BY a.pid";
    let rows =
        client.query(QUERY, &[&way.roles, &way.since, &way.tls, &way.networks, &links]).await?;
    Ok(rows.iter().map(|row| (Session::of(row, String::new()), row.get(7))).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn sender(slot: Option<&str>, user: &str, address: [u8; 4]) -> WalSender {
        let session = Session {
            pid: 1,
            start: SystemTime::UNIX_EPOCH,
            user: user.to_owned(),
            address: Some(address.into()),
            tls: None,
            cipher: None,
            certificate: None,
            state: "streaming".to_owned(),
            works: true,
            found_by: String::new(),
        };
        WalSender { session, application: String::new(), slot: slot.map(str::to_owned) }
    }

    #[test]
    fn a_peers_session_is_told_only_where_it_can_be_no_other() {
        let key = SessionKey::Peer {
            slots: vec!["bdr_node_1234_ab".to_owned(), "bdr_app_group_node_1".to_owned()],
            ending: "_1".to_owned(),
            roles: vec!["repl".to_owned()],
            address: Some([10, 0, 0, 1].into()),
        };
        let found = |senders: &[WalSender]| pick(&key, senders).map(|session| session.found_by);
        let exact = sender(Some("bdr_app_group_node_1"), "repl", [10, 0, 0, 1]);
        let ending = sender(Some("other_1"), "repl", [10, 0, 0, 9]);
        let nameless = sender(None, "repl", [10, 0, 0, 1]);
        let elsewhere = sender(None, "repl", [10, 0, 0, 2]);
        let stranger = sender(None, "postgres", [10, 0, 0, 1]);

        let slot = "replication slot bdr_app_group_node_1".to_owned();
        assert_eq!(found(&[ending.clone(), nameless.clone(), exact.clone()]), Some(slot));
        assert_eq!(
            found(&[nameless.clone(), ending.clone()]).as_deref(),
            Some("replication slot other_1")
        );
        let two = [ending.clone(), sender(Some("another_1"), "repl", [10, 0, 0, 8])];
        assert_eq!(found(&two), None);
        assert_eq!(
            found(&[elsewhere.clone(), stranger.clone(), nameless.clone()]).as_deref(),
            Some("the only walsender of repl from 10.0.0.1")
        );
        assert_eq!(found(&[nameless.clone(), nameless.clone()]), None);
        assert_eq!(found(&[elsewhere, stranger]), None);

        // Another node comes from the same address: what is there may be that one's.
        let key = SessionKey::Peer {
            slots: vec!["bdr_app_group_node_1".to_owned()],
            ending: "_1".to_owned(),
            roles: vec!["repl".to_owned()],
            address: None,
        };
        assert!(pick(&key, std::slice::from_ref(&nameless)).is_none());
        assert!(pick(&key, &[nameless, exact]).is_some());
    }

    #[test]
    fn a_standbys_session_is_no_other_standbys() {
        let key = SessionKey::Walreceiver {
            application: "walreceiver".to_owned(),
            address: [10, 0, 0, 1].into(),
            others: vec![[10, 0, 0, 9].into(), [10, 0, 0, 8].into()],
        };
        let receiver = |pid, address| {
            let WalSender { session, .. } = sender(None, "repl", address);
            let session = Session { pid, ..session };
            WalSender { session, application: "walreceiver".to_owned(), slot: None }
        };
        let found = |senders: &[WalSender]| pick(&key, senders).map(|session| session.pid);
        let (other, another) = (receiver(2, [10, 0, 0, 2]), receiver(3, [10, 0, 0, 3]));
        assert_eq!(found(&[other.clone(), receiver(1, [10, 0, 0, 1])]), Some(1));
        // Something on the way gives it another address.
        assert_eq!(found(&[other.clone(), sender(None, "repl", [10, 0, 0, 1])]), Some(2));
        // It is down, and the others are not.
        let others = [receiver(5, [10, 0, 0, 9]), receiver(6, [10, 0, 0, 8])];
        for there in [&others[..1], &others] {
            assert_eq!(found(there), None);
            assert_eq!(of_several(&key, there), None);
        }
        let several = [other, another];
        assert_eq!(found(&several), None);
        assert!(of_several(&key, &several).is_some_and(|why| why.contains("primary_slot_name")));
        assert_eq!(of_several(&key, &several[..1]), None);
        // Two on one machine.
        let pair = [receiver(1, [10, 0, 0, 1]), receiver(4, [10, 0, 0, 1])];
        assert_eq!(found(&pair), None);
        assert!(of_several(&key, &pair).is_some());
        let any = SessionKey::AnyWalreceiver { application: "walreceiver".to_owned() };
        assert!(pick(&any, &pair).is_some());
        assert!(pick(&any, &[sender(None, "repl", [10, 0, 0, 1])]).is_none());
    }
}
