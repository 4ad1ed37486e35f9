//! Where the nodes of a stand-in are.

use std::{
    hash::{BuildHasher as _, RandomState},
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
};

use pgtest::{Namespace, Network};

use super::Result;

/// Where the nodes are, and by which addresses they reach one another.
#[derive(Clone, Debug)]
pub enum Site {
    /// On 127.0.0.0/8: an address for each node, but every connection comes from 127.0.0.1.
    Loopback,
    /// Each in a network namespace of its own, on port 5432 of an IPv4 address.
    Namespaces(Network),
    /// The same by IPv6.
    NamespacesV6(Network),
}

/// A node's place.
#[derive(Clone, Debug)]
pub struct Place {
    /// The address.
    pub address: IpAddr,
    /// The namespace, where the nodes have some of their own.
    pub namespace: Option<Namespace>,
}

impl Site {
    /// Namespaces on a network of their own; `None`, and said so past the test harness, where the
    /// system refuses them. Any other failure is an error.
    pub fn namespaces() -> Result<Option<Self>> {
        match Network::create() {
            Ok(network) => Ok(Some(Self::Namespaces(network))),
            Err(error @ pgtest::Error::NoNamespaces { .. }) => {
                not_proved(&format!("nodes in namespaces of their own: {error}"));
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The same by IPv6; `None`, and said so, also where the system has no IPv6.
    pub fn namespaces_v6() -> Result<Option<Self>> {
        let Some(Self::Namespaces(network)) = Self::namespaces()? else { return Ok(None) };
        if network.addr6().is_none() {
            not_proved("nodes with IPv6 addresses: the system has no IPv6");
            return Ok(None);
        }
        Ok(Some(Self::NamespacesV6(network)))
    }

    /// The network that nodes see one another's connections come from, as `pg_hba.conf` has it.
    /// Connections from the test's own process come from it too.
    pub fn peers_from(&self) -> String {
        match self {
            Self::Loopback => "127.0.0.1/32".to_owned(),
            Self::Namespaces(network) => network.cidr(),
            Self::NamespacesV6(network) => network.cidr6().unwrap_or_default(),
        }
    }

    /// The network, where the nodes have one of their own.
    pub fn network(&self) -> Option<&Network> {
        match self {
            Self::Loopback => None,
            Self::Namespaces(network) | Self::NamespacesV6(network) => Some(network),
        }
    }

    /// Where so many nodes are.
    ///
    /// # Errors
    /// What the system says of a namespace that cannot be made.
    pub fn places(&self, count: u8) -> Result<Vec<Place>> {
        // Two clusters at the same time get different addresses, most of the time; where not, they
        // get different ports.
        let [a, b, ..] = RandomState::new().hash_one(0).to_le_bytes();
        (1..=count)
            .map(|number| {
                let Some(network) = self.network() else {
                    let address = Ipv4Addr::new(127, a % 200 + 20, b, number).into();
                    return Ok(Place { address, namespace: None });
                };
                let namespace = network.namespace()?;
                let six = matches!(self, Self::NamespacesV6(_));
                let address = if six { namespace.addr6() } else { None };
                let address = address.unwrap_or_else(|| namespace.addr());
                Ok(Place { address, namespace: Some(namespace) })
            })
            .collect()
    }
}

/// Past the test harness, which shows only what failed tests print.
fn not_proved(what: &str) {
    let line = format!("NOT PROVED on this machine: {what}\n");
    // Where nobody listens there is nobody to tell.
    let _ = std::io::stderr().write_all(line.as_bytes());
}
