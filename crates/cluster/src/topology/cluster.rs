//! The cluster as a topology looks at it, and what is to be known of its links as a whole.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, OnceLock},
};

use pg_version::PgVersion;

use super::{Link, LinkPlace, nodes_named};
use crate::{
    error::Error,
    inspect::NodeState,
    parallel,
    spec::{ClusterSpec, NodeSpec},
    text::Text,
};

/// The whole cluster, as a topology looks at it.
#[derive(Debug)]
pub struct Cluster<'a> {
    /// The description.
    pub spec: &'a ClusterSpec,
    /// What inspection found.
    pub states: &'a [NodeState],
    /// Every link.
    pub links: &'a [Link],
    by_name: HashMap<&'a str, (Option<&'a NodeSpec>, Option<&'a NodeState>)>,
    indexes: Arc<Indexes>,
}

/// What is known of the links as a whole, once somebody asks: there may be a million.
#[derive(Debug, Default)]
pub(crate) struct Indexes {
    by_ends: OnceLock<Ends>,
    uses: OnceLock<HashMap<Text, RoleUse>>,
}

/// What links do as one role.
#[derive(Debug, Default)]
pub(crate) struct RoleUse {
    /// The nodes that they lead to.
    pub(crate) to: HashSet<Text>,
    /// The databases that they connect to there, but for physical replication.
    pub(crate) databases: BTreeSet<String>,
    /// Whether some are for physical replication.
    pub(crate) physical: bool,
    /// Whether some replicate.
    pub(crate) replicates: bool,
}

/// The places of links in their order, by the nodes at their ends.
#[derive(Debug, Default)]
struct Ends {
    from: HashMap<Text, Vec<usize>>,
    to: HashMap<Text, Vec<usize>>,
}

fn add(places: &mut HashMap<Text, Vec<usize>>, node: &Text, place: usize) {
    match places.get_mut(node) {
        Some(there) => there.push(place),
        None => drop(places.insert(node.clone(), vec![place])),
    }
}

impl<'a> Cluster<'a> {
    /// The cluster of a description.
    #[must_use]
    pub fn new(spec: &'a ClusterSpec, states: &'a [NodeState], links: &'a [Link]) -> Self {
        let mut by_name: HashMap<&str, (Option<&NodeSpec>, Option<&NodeState>)> = HashMap::new();
        for node in &spec.nodes {
            by_name.entry(&node.name).or_default().0.get_or_insert(node);
        }
        for state in states {
            by_name.entry(&state.name).or_default().1.get_or_insert(state);
        }
        Self { spec, states, links, by_name, indexes: Arc::default() }
    }

    /// This cluster with what is known of its links already.
    pub(crate) fn with(self, indexes: Arc<Indexes>) -> Self {
        Self { indexes, ..self }
    }

    /// What has been found out about its links, for another look at the same links.
    pub(crate) fn indexes(&self) -> Arc<Indexes> {
        self.indexes.clone()
    }

    /// What inspection found on a node.
    #[must_use]
    pub fn state(&self, node: &str) -> Option<&'a NodeState> {
        self.by_name.get(node)?.1
    }

    fn by_ends(&self) -> &Ends {
        self.indexes.by_ends.get_or_init(|| {
            let of_share = |links: &'a [Link]| {
                let mut ends = Ends::default();
                for (place, link) in links.iter().enumerate() {
                    add(&mut ends.from, &link.from, place);
                    add(&mut ends.to, &link.to, place);
                }
                (links.len(), ends)
            };
            let (mut all, mut before) = (Ends::default(), 0);
            for (count, ends) in self.in_shares(of_share) {
                for (all, ends) in [(&mut all.from, ends.from), (&mut all.to, ends.to)] {
                    for (node, places) in ends {
                        let places = places.into_iter().map(|place| before + place);
                        all.entry(node).or_default().extend(places);
                    }
                }
                before += count;
            }
            all
        })
    }

    /// What the description says of a node.
    ///
    /// # Errors
    /// [`Error::Plan`] if it says nothing.
    pub fn node(&self, name: &str) -> Result<&'a NodeSpec, Error> {
        let missing = || Error::plan(format!("the description has no node {name}"));
        self.by_name.get(name).and_then(|found| found.0).ok_or_else(missing)
    }

    /// What is done as each of the roles that links log in as.
    #[must_use]
    pub(crate) fn uses(&self) -> &HashMap<Text, RoleUse> {
        self.indexes.uses.get_or_init(|| {
            let mut all: HashMap<Text, RoleUse> = HashMap::new();
            for (role, used) in self.in_shares(|links| self.uses_of(links)).into_iter().flatten() {
                let RoleUse { to, databases, physical, replicates } = used;
                let used = all.entry(role.into()).or_default();
                used.to.extend(to);
                used.databases.extend(databases);
                used.physical |= physical;
                used.replicates |= replicates;
            }
            all
        })
    }

    fn uses_of(&self, links: &'a [Link]) -> HashMap<&'a str, RoleUse> {
        let mut uses: HashMap<&str, RoleUse> = HashMap::new();
        for link in links {
            let used = uses.entry(self.spec.role_of(link.user())).or_default();
            if !used.to.contains(&link.to) {
                used.to.insert(link.to.clone());
            }
            used.to.extend(nodes_named(self.spec, &link.conninfo).map(|to| (&to.name).into()));
            let mut database = link.database();
            if *link.place == LinkPlace::PrimaryConninfo {
                used.physical = true;
                // From 17 on a standby comes for its primary's slots, too, to the database that is
                // named (`slotsync.c`; documentation, "Replication Slot Synchronization").
                let comes = self.state(&link.from).is_some_and(|it| it.version >= PgVersion::V17);
                database = link.conninfo.get("dbname").filter(|_| comes);
            }
            let new = database.filter(|name| !used.databases.contains(*name));
            used.databases.extend(new.map(str::to_owned));
            used.replicates |= !matches!(*link.place, LinkPlace::ForeignServer(_));
        }
        uses
    }

    /// What comes of the links in shares, in their order: there may be a million.
    fn in_shares<O: Send>(&self, work: impl Fn(&'a [Link]) -> O + Sync) -> Vec<O> {
        // What panics in a share panics here again.
        parallel::shares(self.links, 1024, &work).unwrap_or_else(|_| vec![work(self.links)])
    }

    /// The links that lead to a node.
    pub fn links_to(&self, node: &str) -> impl Iterator<Item = &'a Link> {
        let places = self.by_ends().to.get(node).into_iter().flatten();
        places.filter_map(|place| self.links.get(*place))
    }

    /// The links that start at a node.
    pub fn links_from(&self, node: &str) -> impl Iterator<Item = &'a Link> {
        let places = self.by_ends().from.get(node).into_iter().flatten();
        places.filter_map(|place| self.links.get(*place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::sample;

    /// So many that they are looked at in shares.
    #[test]
    fn links_are_found_by_their_ends_in_their_order() -> Result<(), Box<dyn std::error::Error>> {
        let spec = sample::spec(
            "topology = \"native\"\nmode = \"cert\"\nlink-role = \"repl\"",
            &[("n0", "10.0.0.1", 5432)],
        )?;
        let mut links = Vec::new();
        for number in 0..5000 {
            let mut link = sample::link(&format!("n{}", number / 100), &format!("n{}", number % 7));
            link.name = number.to_string().into();
            let database = format!("user=repl dbname=d{}", number / 1000);
            link.conninfo = database.parse::<crate::conninfo::ConnInfo>()?.into();
            link.place = LinkPlace::Subscription { database: "app".to_owned() }.into();
            links.push(link);
        }
        let cluster = Cluster::new(&spec, &[], &links);
        let names = |links: &mut dyn Iterator<Item = &Link>| -> Vec<String> {
            links.map(|link| link.name.to_string()).collect()
        };
        for node in ["n0", "n3", "n6", "n49", "n50"] {
            let from = names(&mut links.iter().filter(|link| link.from == *node));
            assert_eq!(names(&mut cluster.links_from(node)), from, "{node}");
            let to = names(&mut links.iter().filter(|link| link.to == *node));
            assert_eq!(names(&mut cluster.links_to(node)), to, "{node}");
        }
        let used = &cluster.uses()["repl"];
        assert_eq!(used.to.len(), 7);
        assert_eq!(used.databases.iter().collect::<Vec<_>>(), ["d0", "d1", "d2", "d3", "d4"]);
        assert!(used.replicates && !used.physical);
        Ok(())
    }
}
