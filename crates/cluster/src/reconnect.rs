//! Letting the links connect anew, so that what they are is what is in force now.

use crate::{
    error::{Error, NodeContext as _},
    inspect::{self, Node},
    sessions,
    spec::ClusterSpec,
    sql,
    topology::{self, Link},
};

/// Ends the session of each link that has one at all times, one after the other, and waits until the
/// link works by another. A session stays what it was when it began: after this, what verification
/// sees of a link is what the rules, certificates and passwords of now make of it. Returns how many
/// links there were.
///
/// # Errors
/// [`Error`] if a node cannot be asked; [`Error::TimedOut`] for a link that does not come back.
pub async fn reconnect(spec: &ClusterSpec, nodes: &[Node]) -> Result<usize, Error> {
    let states = inspect::inspect_all(spec, nodes).await?;
    let links = topology::of(spec.topology).links(spec, &states)?;
    let lasting: Vec<&Link> =
        links.iter().filter(|link| link.enabled && link.session.is_lasting()).collect();
    for link in &lasting {
        let Some(to) = nodes.iter().find(|node| node.spec.name == link.to) else { continue };
        let client = sql::connect(&to.spec, None).await?;
        let anew = async {
            let before = sessions::find(&client, &link.session).await?;
            let before = before.map(|session| session.id());
            if let Some(session) = before {
                sessions::end(&client, session).await?;
            }
            sessions::until_anew(&client, &link.session, before, sql::PATIENCE).await
        };
        anew.await.on_node(&link.to)?;
    }
    Ok(lasting.len())
}
