//! What no cluster can be.

use super::{CertificatePolicy, ClusterSpec, Mode, NodeSpec, SpecError, TopologyKind, UserChain};
use crate::sql;

impl ClusterSpec {
    /// Finds what no cluster can be: no node, two of one name, two at one address, no network; and
    /// what is weaker than it need be and was not asked for by name.
    ///
    /// # Errors
    /// The first thing wrong.
    pub fn check(&self) -> Result<(), SpecError> {
        if self.nodes.is_empty() {
            return Err(SpecError::new(
                "the cluster has no node: describe each with its name, address and port",
                "nodes",
            ));
        }
        self.check_roles()?;
        self.check_mode()?;
        self.check_timescale()?;
        self.check_certificates()?;
        for (index, node) in self.nodes.iter().enumerate() {
            check_node(node, &self.nodes[..index])?;
            if self.mode != Mode::Trust && !self.i_know.plain_text_can_be_read {
                check_host(node)?;
            }
        }
        Ok(())
    }

    fn check_roles(&self) -> Result<(), SpecError> {
        if self.link_role.is_empty() {
            return Err(SpecError::new(
                "link-role is missing: name the role that the links log in as",
                "topology",
            ));
        }
        for role in self.link_roles() {
            if role.is_empty() || role.contains('\0') || role.len() > 63 {
                return Err(SpecError::new(
                    format!(
                        "\"{}\" can be no role: a name has 1 to 63 octets",
                        role.escape_debug()
                    ),
                    "role",
                ));
            }
        }
        let twice =
            self.roles.iter().enumerate().find(|(index, role)| {
                **role == self.link_role || self.roles[..*index].contains(role)
            });
        match twice {
            None => Ok(()),
            Some((_, role)) => Err(SpecError::new(
                format!("the role {role} is named twice in link-role and roles"),
                "roles",
            )),
        }
    }

    fn check_mode(&self) -> Result<(), SpecError> {
        if self.mode == Mode::Trust {
            if self.topology != TopologyKind::Timescale {
                return Err(SpecError::new(
                    "mode = \"trust\" is only for topology = \"timescale\": choose \"cert\" or \"scram\"",
                    "mode",
                ));
            }
            if !self.i_know.trust_lets_anybody_in {
                return Err(SpecError::new(
                    "mode = \"trust\" lets whoever is at a peer's address be any role: choose \"cert\" \
                     or \"scram\", or write trust-lets-anybody-in = true under [i-know]",
                    "mode",
                ));
            }
        }
        let unused = [
            (
                "verify-ca-lets-nodes-pose-as-others",
                self.i_know.verify_ca_lets_nodes_pose_as_others,
            ),
            ("plain-text-can-be-read", self.i_know.plain_text_can_be_read),
        ];
        for (key, set) in unused {
            if set && self.mode != Mode::Scram {
                return Err(SpecError::new(
                    format!("{key} is for mode = \"scram\" only: take it out"),
                    key,
                ));
            }
        }
        Ok(())
    }

    fn check_certificates(&self) -> Result<(), SpecError> {
        let CertificatePolicy { ca_days, leaf_days, .. } = self.certificates;
        for (key, days) in [("ca-days", ca_days), ("leaf-days", leaf_days)] {
            if days == 0 {
                return Err(SpecError::new(
                    format!("{key} is 0: a certificate has to be valid for a day at least"),
                    key,
                ));
            }
        }
        Ok(())
    }

    fn check_timescale(&self) -> Result<(), SpecError> {
        let is_timescale = self.topology == TopologyKind::Timescale;
        match &self.timescale {
            None if is_timescale => {
                return Err(SpecError::new(
                    "topology = \"timescale\" needs a table [timescale] with access-node = \"NAME\"",
                    "topology",
                ));
            }
            Some(_) if !is_timescale => {
                return Err(SpecError::new(
                    "the table [timescale] is for topology = \"timescale\" only: take it out",
                    "[timescale]",
                ));
            }
            Some(timescale) => {
                if self.node(&timescale.access_node).is_none() {
                    return Err(SpecError::new(
                        format!("no node is called {}, the access node", timescale.access_node),
                        "access-node",
                    ));
                }
                if self.nodes.len() < 2 {
                    return Err(SpecError::new(
                        "there is no data node: describe each under [[nodes]]",
                        "access-node",
                    ));
                }
            }
            None => {}
        }
        if self.certificates.user_chain == UserChain::AccessNode
            && !(is_timescale && self.mode == Mode::Cert)
        {
            return Err(SpecError::new(
                "user-chain = \"access-node\" is for topology = \"timescale\" and mode = \"cert\" only",
                "user-chain",
            ));
        }
        Ok(())
    }
}

/// The host name goes into the node's certificate, and links verify the node by it.
fn check_host(node: &NodeSpec) -> Result<(), SpecError> {
    let Err(error) = pki::HostNames::new([node.host()]) else { return Ok(()) };
    Err(match &node.host {
        Some(host) => SpecError::new(format!("node {}: {error}", node.name), format!("\"{host}\"")),
        None => SpecError::new(
            format!(
                "node {}: its name cannot be its host name, too ({error}): give it a host",
                node.name
            ),
            format!("\"{}\"", node.name),
        ),
    })
}

fn check_node(node: &NodeSpec, earlier: &[NodeSpec]) -> Result<(), SpecError> {
    let quoted = format!("\"{}\"", node.name);
    let unusable = |c: char| c.is_control() || c == '/';
    if node.name.is_empty() || node.name.starts_with('(') || node.name.chars().any(unusable) {
        return Err(SpecError::new(
            "a node needs a name, without slashes and no bracket at its beginning",
            quoted,
        ));
    }
    if node.port == 0 {
        return Err(SpecError::new(format!("node {}: port 0 is no port", node.name), "port"));
    }
    if node.peers_from.is_empty() {
        return Err(SpecError::new(
            format!(
                "node {}: peers-from is empty: name the networks that its peers connect from",
                node.name
            ),
            quoted,
        ));
    }
    sql::check(&node.sql).map_err(|error| {
        let near = if node.sql.is_empty() { &quoted } else { &node.sql };
        SpecError::new(format!("node {}: sql: {error}", node.name), near)
    })?;
    for other in earlier {
        if other.name == node.name {
            return Err(SpecError::new(
                format!("two nodes are called {}: each needs a name of its own", node.name),
                quoted,
            ));
        }
        if (other.address, other.port) == (node.address, node.port) {
            return Err(SpecError::new(
                format!(
                    "the nodes {} and {} have the same address and port",
                    other.name, node.name
                ),
                quoted,
            ));
        }
    }
    Ok(())
}
