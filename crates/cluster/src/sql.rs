//! SQL on a node, as its administrator.

use std::time::Duration;

use tokio_postgres::{Client, Config, NoTls};

use crate::{
    conninfo::ConnInfo,
    error::{Error, NodeContext as _},
    spec::NodeSpec,
};

/// How long a connection may take to come up, and a statement to end.
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
    config.application_name("pgward").connect_timeout(PATIENCE);
    let refused = |reason: String| Error::Connect { place: conninfo.to_masked_text(), reason };
    let connected = tokio::time::timeout(PATIENCE, config.connect(NoTls)).await;
    let (client, connection) = match connected {
        Ok(Ok(connected)) => connected,
        Ok(Err(error)) => return Err(refused(Error::from(error).to_string())),
        Err(_) => return Err(refused(format!("no answer within {} s", PATIENCE.as_secs()))),
    };
    // The connection ends when the client is dropped; its errors reach the client's callers.
    tokio::spawn(connection);
    let timeout = PATIENCE.as_millis();
    client
        .batch_execute(&format!("SET statement_timeout = {timeout}; SET lock_timeout = {timeout}"))
        .await?;
    Ok(client)
}
