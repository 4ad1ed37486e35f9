//! PostgreSQL's own logical replication: each subscription is a link from the subscriber to the
//! publisher.
//!
//! The connection string is `pg_subscription.subconninfo`. `ALTER SUBSCRIPTION … CONNECTION` changes
//! it; the apply worker notices, ends, and is started again with the new one (`worker.c`,
//! `maybe_reread_subscription`).

use std::path::PathBuf;

use postgres_protocol::escape::escape_identifier;

use super::{Cluster, Dsn, Link, LinkPlace, Places, SessionKey, Switch, Topology};
use crate::{
    credentials,
    demand::{ClientPlace, Databases, Demand, PairPlace, RoleDemand, WayIn},
    error::Error,
    inspect::NodeState,
    spec::{ClusterSpec, Mode},
};

/// Subscriptions.
#[derive(Clone, Copy, Debug, Default)]
pub struct Native;

/// The authority's certificate.
const ROOT: &str = "pgward/root.crt";
const SERVER_CERTIFICATE: &str = "pgward/server.crt";
const SERVER_KEY: &str = "pgward/server.key";
const CLIENT_CERTIFICATE: &str = "pgward/client.crt";
const CLIENT_KEY: &str = "pgward/client.key";
const PASSFILE: &str = "pgward/passfile";

impl Topology for Native {
    fn links(&self, spec: &ClusterSpec, nodes: &[NodeState]) -> Result<Vec<Link>, Error> {
        let mut links = Vec::new();
        for node in nodes {
            for subscription in &node.subscriptions {
                let conninfo = &subscription.conninfo;
                let port = conninfo.get("port").map_or(Ok(5432), str::parse);
                let to = port.ok().and_then(|port| {
                    spec.node_at(conninfo.get("host"), conninfo.get("hostaddr"), port)
                });
                let Some(to) = to else {
                    return Err(Error::plan(format!(
                        "subscription {} of node {} leads to none of the described nodes ({}): \
                         describe that node too, or drop the subscription",
                        subscription.name,
                        node.name,
                        conninfo.to_masked_text()
                    )));
                };
                links.push(Link {
                    from: node.name.clone(),
                    to: to.name.clone(),
                    name: subscription.name.clone(),
                    place: LinkPlace::Subscription { database: subscription.database.clone() },
                    conninfo: conninfo.clone(),
                    session: subscription.slot.clone().map_or(SessionKey::None, SessionKey::Slot),
                    enabled: subscription.enabled,
                });
            }
        }
        Ok(links)
    }

    fn demand(&self, cluster: &Cluster<'_>, state: &NodeState) -> Result<Demand, Error> {
        let Cluster { spec, links, .. } = *cluster;
        let node = cluster.node(&state.name)?;
        let connects = cluster.links_from(&state.name).next().is_some();
        // Every node has the same rules: the roles of publisher and subscriber may change.
        let mut databases: Vec<String> =
            links.iter().filter_map(|link| link.database().map(str::to_owned)).collect();
        databases.sort();
        databases.dedup();
        let client = ClientPlace {
            role: spec.link_role.clone(),
            pair: PairPlace::new(CLIENT_CERTIFICATE, CLIENT_KEY),
        };
        Ok(Demand {
            root: Some(ROOT.into()),
            server: Some(PairPlace::new(SERVER_CERTIFICATE, SERVER_KEY)),
            server_signs: false,
            clients: if spec.mode == Mode::Cert && connects { vec![client] } else { Vec::new() },
            passfile: (spec.mode == Mode::Scram && connects).then(|| PASSFILE.into()),
            settings: credentials::tls_settings(ROOT, SERVER_CERTIFICATE, SERVER_KEY),
            ways_in: vec![WayIn {
                role: spec.link_role.clone(),
                databases: vec![Databases::Names(databases)],
                networks: node.peers_from.clone(),
                method: credentials::hba_method(spec.mode),
                tls: true,
                links_only: true,
            }],
            roles: vec![RoleDemand {
                replication: true,
                password: spec.mode == Mode::Scram
                    && cluster.links_to(&state.name).next().is_some(),
                ..RoleDemand::new(&spec.link_role)
            }],
            above_zero: Vec::new(),
            notes: Vec::new(),
            statements: Vec::new(),
        })
    }

    fn switch(&self, link: &Link, dsn: Dsn<'_>) -> Option<Switch> {
        let LinkPlace::Subscription { database } = &link.place else { return None };
        let alter = format!("ALTER SUBSCRIPTION {} CONNECTION", escape_identifier(&link.name));
        let statements = vec![(Some(database.clone()), dsn.after(alter))];
        Some(Switch { statements, reload: false })
    }

    fn credential_paths(&self, _spec: &ClusterSpec, _places: &Places<'_>) -> Vec<PathBuf> {
        [ROOT, SERVER_CERTIFICATE, SERVER_KEY, CLIENT_CERTIFICATE, CLIENT_KEY, PASSFILE]
            .map(PathBuf::from)
            .into()
    }
}
