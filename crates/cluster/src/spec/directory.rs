//! Nodes by what connection strings call them.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
};

use super::{ClusterSpec, NodeSpec, is_localhost, is_loopback, is_own_machine};
use crate::conninfo::ConnInfo;

/// [`ClusterSpec::node_at`] for many connection strings: each is looked up in the same short time,
/// however many nodes there are.
#[derive(Debug)]
pub(crate) struct Directory<'s> {
    spec: &'s ClusterSpec,
    /// Of several nodes that are called the same, the first.
    hosts: HashMap<(String, u16), usize>,
    addresses: HashMap<(IpAddr, u16), usize>,
    /// Those that only their own machine reaches, by port.
    own_machine: HashMap<u16, usize>,
    names: BTreeMap<&'s str, usize>,
}

impl<'s> Directory<'s> {
    pub(crate) fn new(spec: &'s ClusterSpec) -> Self {
        let (mut hosts, mut addresses) = (HashMap::new(), HashMap::new());
        let (mut own_machine, mut names) = (HashMap::new(), BTreeMap::new());
        for (index, node) in spec.nodes.iter().enumerate() {
            for host in [node.host(), &node.name] {
                hosts.entry((host.to_ascii_lowercase(), node.port)).or_insert(index);
            }
            addresses.entry((node.address, node.port)).or_insert(index);
            if is_localhost(node.address) {
                own_machine.entry(node.port).or_insert(index);
            }
            names.entry(node.name.as_str()).or_insert(index);
        }
        Self { spec, hosts, addresses, own_machine, names }
    }

    /// As [`ClusterSpec::node_at`].
    pub(crate) fn at(
        &self,
        host: Option<&str>,
        hostaddr: Option<&str>,
        port: u16,
    ) -> Option<&'s NodeSpec> {
        let by_address = |text: &str| {
            let address = text.parse().ok()?;
            self.addresses.get(&(address, port)).copied()
        };
        let found = match (hostaddr, host) {
            (Some(address), _) => by_address(address),
            (None, Some(host)) => {
                let by_name = self.hosts.get(&(host.to_ascii_lowercase(), port)).copied();
                let own =
                    is_own_machine(host).then(|| self.own_machine.get(&port).copied()).flatten();
                [by_name, by_address(host), own].into_iter().flatten().min()
            }
            (None, None) => None,
        };
        self.spec.nodes.get(found?)
    }

    /// Where nodes come from.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = IpAddr> {
        self.spec.nodes.iter().map(|node| node.address)
    }

    /// The node that a connection string leads to.
    pub(crate) fn reached_by(&self, conninfo: &ConnInfo) -> Option<&'s NodeSpec> {
        let port = conninfo.get("port").map_or(Ok(5432), str::parse).ok()?;
        self.at(conninfo.get("host"), conninfo.get("hostaddr"), port)
    }

    /// The node that a connection string of the node `from` leads to: by its own name or address, or by
    /// the loopback of a machine that both are on.
    pub(crate) fn reached_from(&self, from: &str, conninfo: &ConnInfo) -> Option<&'s NodeSpec> {
        let beside = || {
            let from = self.named(from).filter(|_| is_loopback(conninfo))?;
            let port = conninfo.get("port").map_or(Ok(5432), str::parse).ok()?;
            let there = self.addresses.get(&(from.address, port))?;
            self.spec.nodes.get(*there).filter(|there| there.name != from.name)
        };
        self.reached_by(conninfo).or_else(beside)
    }

    /// The nodes that a connection string of several hosts names, in its order; `None` for one of a single
    /// host, and where one of them is not described.
    pub(crate) fn all_named(&self, conninfo: &ConnInfo) -> Option<Vec<&'s NodeSpec>> {
        let hosts = conninfo.several_hosts()?.into_iter();
        hosts.map(|host| self.at(host.name, host.address, host.port)).collect()
    }

    /// As [`ClusterSpec::node`].
    pub(crate) fn named(&self, name: &str) -> Option<&'s NodeSpec> {
        self.spec.nodes.get(*self.names.get(name)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_finds_whom_the_description_finds() -> Result<(), Box<dyn std::error::Error>> {
        let node = |name: &str, rest: &str| {
            format!("[[nodes]]\nname = \"{name}\"\npeers-from = []\nsql = \"\"\n{rest}\n")
        };
        let text = [
            "topology = \"pgd\"\nmode = \"cert\"\nsecrets = \"s\"\n".to_owned(),
            node("one", "address = \"10.0.0.1\""),
            node("two", "address = \"10.0.0.2\"\nhost = \"DB2.example.com\""),
            node("three", "address = \"10.0.0.2\"\nport = 5433\nhost = \"one\""),
            node("four", "address = \"fd00::1\"\nhost = \"10.0.0.1\"\nport = 5434"),
            node("five", "address = \"127.0.0.5\"\nport = 5434"),
            node("six", "address = \"127.0.0.1\"\nport = 5434"),
        ];
        let spec: ClusterSpec = toml::from_str(&text.concat())?;
        let directory = Directory::new(&spec);
        let words = [
            None,
            Some("one"),
            Some("ONE"),
            Some("two"),
            Some("db2.EXAMPLE.com"),
            Some("three"),
            Some("10.0.0.1"),
            Some("10.0.0.2"),
            Some("fd00:0::1"),
            Some("FD00::1"),
            Some("elsewhere"),
            Some("LocalHost"),
            Some(""),
        ];
        let name = |node: Option<&NodeSpec>| node.map(|node| node.name.clone());
        for host in words {
            for hostaddr in words {
                for port in [5432, 5433, 5434, 1] {
                    let expected = name(spec.node_at(host, hostaddr, port));
                    let found = name(directory.at(host, hostaddr, port));
                    assert_eq!(found, expected, "{host:?} {hostaddr:?} {port}");
                }
            }
            let word = host.unwrap_or_default();
            assert_eq!(name(directory.named(word)), name(spec.node(word)), "{word}");
        }
        Ok(())
    }
}
