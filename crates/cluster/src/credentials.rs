//! Certificates, keys and passwords of the links: what a node has already and may keep, and what is
//! made anew.

mod passwords;

use std::{collections::BTreeMap, net::IpAddr};

use hba_parser::Method;
use pki::{Authority, Certificate, GeneralName, HostNames, PrivateKey, Profile, Validity};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    authority::BACKDATE,
    demand::PairPlace,
    error::Error,
    inspect::NodeState,
    spec::{ClusterSpec, Mode, NodeSpec},
    topology::{Cluster, Demands, Topology},
    transport::NodeFile,
    vault::Vault,
};

/// What every node of the cluster gets.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// The authority's certificate.
    pub(crate) root: String,
    pub(crate) nodes: BTreeMap<String, NodeCredentials>,
}

/// What one node gets. What it has already and may keep is not here.
#[derive(Clone, Debug, Default)]
pub(crate) struct NodeCredentials {
    /// SHA-256 of the server certificate that the node shall show, in hexadecimal.
    pub(crate) server_fingerprint: Option<String>,
    /// Whether that certificate is a new one.
    pub(crate) new_server: bool,
    /// New certificates with their keys, and where they belong.
    pub(crate) pairs: Vec<(PairPlace, NewPair)>,
    /// The vault's names of the SCRAM secrets that the node shall store, by role.
    pub(crate) scram_secrets: BTreeMap<String, String>,
    /// The vault's name of the password file's new content.
    pub(crate) passfile: Option<String>,
}

/// A certificate, and the vault's name of its key.
#[derive(Clone, Debug)]
pub(crate) struct NewPair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// The settings by which a server speaks TLS with these files.
pub(crate) fn tls_settings(
    root: &str,
    certificate: &str,
    key: &str,
) -> Vec<(&'static str, String)> {
    [("ssl", "on"), ("ssl_ca_file", root), ("ssl_cert_file", certificate), ("ssl_key_file", key)]
        .map(|(name, value)| (name, value.to_owned()))
        .into()
}

/// The method of a mode.
pub(crate) const fn hba_method(mode: Mode) -> Method {
    match mode {
        Mode::Cert => Method::Cert,
        Mode::Scram => Method::ScramSha256,
        Mode::Trust => Method::Trust,
    }
}

/// Decides what each node keeps and makes the rest. Secrets go into the vault.
pub(crate) fn make(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    demands: &Demands,
    authority: &Authority,
    now: OffsetDateTime,
    vault: &mut Vault,
) -> Result<Credentials, Error> {
    let maker = Maker { spec: cluster.spec, authority, now };
    let mut nodes = BTreeMap::new();
    for state in cluster.states {
        let node = cluster.node(&state.name)?;
        let Some(demand) = demands.get(&state.name) else { continue };
        let mut own = NodeCredentials::default();
        if let Some(place) = &demand.server {
            let profile = Profile::Server(host_names(node)?);
            let (certificate, new) = maker.pair(state, place, &profile, vault)?;
            own.server_fingerprint = Some(certificate.fingerprint().to_string());
            own.new_server = new.is_some();
            own.pairs.extend(new.map(|new| (place.clone(), new)));
        }
        for client in &demand.clients {
            let profile = Profile::client(&client.role);
            let new = maker.pair(state, &client.pair, &profile, vault)?.1;
            own.pairs.extend(new.map(|new| (client.pair.clone(), new)));
        }
        nodes.insert(node.name.clone(), own);
    }
    let root = authority.root().to_pem();
    let mut credentials = Credentials { root, nodes };
    if cluster.spec.mode == Mode::Scram {
        passwords::make(topology, cluster, demands, &mut credentials, vault)?;
    }
    Ok(credentials)
}

/// The names by which peers verify a node: its host name, its own name and its address, in the forms
/// that libpq 12 to 18 and rustls all match.
fn host_names(node: &NodeSpec) -> Result<HostNames, Error> {
    Ok(HostNames::new([node.host(), node.name.as_str(), node.address.to_string().as_str()])?)
}

struct Maker<'a> {
    spec: &'a ClusterSpec,
    authority: &'a Authority,
    now: OffsetDateTime,
}

impl Maker<'_> {
    /// The certificate that a node has at these paths if it is good, else a new one with its key.
    fn pair(
        &self,
        state: &NodeState,
        place: &PairPlace,
        profile: &Profile,
        vault: &mut Vault,
    ) -> Result<(Certificate, Option<NewPair>), Error> {
        if let Some(good) = self.good(state, place, profile) {
            return Ok((good, None));
        }
        let policy = &self.spec.certificates;
        let validity = Validity::days(self.now - BACKDATE, policy.leaf_days.into());
        let issued = self.authority.issue(policy.key, profile, self.authority.within(validity))?;
        let name = format!("{}: {}", state.name, place.key.display());
        let pem = issued.key.to_pem();
        vault.insert(&name, Zeroizing::new(pem.as_bytes().to_vec()));
        let pair = NewPair { certificate: issued.chain_pem(), key: name };
        Ok((issued.certificate, Some(pair)))
    }

    fn good(&self, state: &NodeState, place: &PairPlace, profile: &Profile) -> Option<Certificate> {
        let certificate = state.file(&state.in_data_directory(&place.certificate))?;
        let key = state.file(&state.in_data_directory(&place.key))?;
        if key.access.mode & 0o077 != 0 || !belongs_to(key, state) {
            return None;
        }
        let found = Certificate::from_pem(&certificate.bytes).ok()?;
        let key = PrivateKey::from_pem(&key.bytes).ok()?;
        let validity = found.validity();
        // Renewed when a third of its time is left: the rest is time for an administrator.
        let renew = validity.not_after - (validity.not_after - validity.not_before) / 3;
        let good = key.matches(&found)
            && found.is_signed_by(self.authority.certificate().public_key())
            && validity.contains(self.now)
            && self.now < renew
            && serves(&found, profile);
        good.then_some(found)
    }
}

/// Whether a secret file is the server's own: another's, with a mode that keeps others out, it could
/// not read.
fn belongs_to(file: &NodeFile, state: &NodeState) -> bool {
    file.access.uid == state.owner.uid
}

/// Whether a certificate of ours is one of this profile.
fn serves(certificate: &Certificate, profile: &Profile) -> bool {
    let role = match profile.role() {
        Some(role) => {
            certificate.allows_client_auth()
                && certificate.subject().common_name().and_then(pki::Attribute::text).as_deref()
                    == Some(role)
        }
        None => true,
    };
    let hosts = match profile.host_names() {
        Some(names) => {
            let has = |name| {
                let names = certificate.extensions().subject_alt_names.as_deref();
                names.is_some_and(|names| names.contains(&name))
            };
            let dns = |name: &String| has(GeneralName::Dns(name.as_bytes().to_vec()));
            let ip = |address: &IpAddr| {
                has(GeneralName::Ip(match address {
                    IpAddr::V4(address) => address.octets().to_vec(),
                    IpAddr::V6(address) => address.octets().to_vec(),
                }))
            };
            certificate.allows_server_auth()
                && names.dns().iter().all(dns)
                && names.ip().iter().all(ip)
        }
        None => true,
    };
    role && hosts && !certificate.is_authority()
}
