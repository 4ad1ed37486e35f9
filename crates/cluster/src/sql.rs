//! SQL on a node, as its administrator.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use crate::{
    conninfo::ConnInfo,
    error::{Error, NodeContext as _},
    spec::NodeSpec,
};

/// How long a statement may take, and a connection to come up, unless the description's `sql` has a
/// `connect_timeout` of its own.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// Connects to a node as the description says, to another database if one is given.
pub(crate) async fn connect(node: &NodeSpec, database: Option<&str>) -> Result<Client, Error> {
    let connect = async {
        let mut conninfo: ConnInfo = node
            .sql
            .parse()
            .map_err(|source| Error::ConnInfo { what: "sql".to_owned(), source })?;
        if let Some(database) = database {
            conninfo.set("dbname", database);
        }
        connect_to(&conninfo).await
    };
    connect.await.on_node(&node.name)
}

async fn connect_to(conninfo: &ConnInfo) -> Result<Client, Error> {
    let mut config: Config = conninfo.to_text().parse()?;
    let patience = connect_patience(conninfo);
    config.application_name("pgward").connect_timeout(patience);
    let refused = |reason: String| Error::Connect { place: conninfo.to_masked_text(), reason };
    let connected = tokio::time::timeout(patience, config.connect(NoTls)).await;
    let (client, connection) = match connected {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Err(refused(Error::from(error).to_string())),
        Err(_) => return Err(refused(format!("no answer within {} s", patience.as_secs()))),
    };
    // The connection ends when the client is dropped; its errors reach the client's callers.
    tokio::spawn(connection);
    let timeout = PATIENCE.as_millis();
    client
        .batch_execute(&format!("SET statement_timeout = {timeout}; SET lock_timeout = {timeout}"))
        .await?;
    Ok(client)
}

/// The seconds of `connect_timeout`; 0, libpq's "for ever", is nothing that anybody wants here.
fn connect_patience(conninfo: &ConnInfo) -> Duration {
    let given = conninfo.get("connect_timeout").and_then(|seconds| seconds.trim().parse().ok());
    given.filter(|seconds| *seconds > 0).map_or(PATIENCE, Duration::from_secs)
}
