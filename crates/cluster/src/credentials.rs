//! Certificates, keys and passwords of the links: what a node has already and may keep, and what is
//! made anew.

mod lines;
mod passwords;
mod shared;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use pki::{Authority, Certificate, GeneralName, HostNames, PrivateKey, Profile, Validity};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use self::shared::Shared;
use crate::{
    authority::BACKDATE,
    demand::PairPlace,
    error::Error,
    inspect::NodeState,
    plan::SharedFile,
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
    /// The files that one node gets for others, too.
    pub(crate) shared: Vec<SharedFile>,
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
    /// The roles that have a password on the node, and get another.
    pub(crate) replaced_passwords: BTreeSet<String>,
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

/// What is made anew although it is good.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Renew {
    /// Certificates and their keys.
    pub(crate) certificates: bool,
    /// Passwords.
    pub(crate) passwords: bool,
}

/// Decides what each node keeps and makes the rest. Secrets go into the vault.
pub(crate) fn make(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    demands: &Demands,
    authority: &Authority,
    renew: Renew,
    now: OffsetDateTime,
    vault: &mut Vault,
) -> Result<Credentials, Error> {
    let maker = Maker { spec: cluster.spec, renew: renew.certificates, now };
    let mut nodes = BTreeMap::new();
    let mut shared = Shared::default();
    // Who signs comes first: what it shares with others is signed by it.
    let signs = |state: &&NodeState| !demands.get(&state.name).is_some_and(|d| d.server_signs);
    let mut states: Vec<&NodeState> = cluster.states.iter().collect();
    states.sort_by_key(signs);
    for state in states {
        let node = cluster.node(&state.name)?;
        let Some(demand) = demands.get(&state.name) else { continue };
        let mut own = NodeCredentials::default();
        let mut signing = None;
        if let Some(place) = &demand.server {
            let names = host_names(node)?;
            let profile = if demand.server_signs {
                Profile::TimescaleIntermediate(names)
            } else {
                Profile::Server(names)
            };
            let pair = maker.pair(authority, state, place, &profile, vault)?;
            own.server_fingerprint = Some(pair.certificate.fingerprint().to_string());
            own.new_server = pair.new.is_some();
            if demand.server_signs {
                signing = Some(pair.signer(authority)?);
            }
            own.pairs.extend(pair.new.map(|new| (place.clone(), new)));
        }
        for client in &demand.clients {
            let key = state.in_data_directory(&client.pair.key);
            if shared.writer(node, state, &key)?.name != state.name {
                continue;
            }
            let profile = Profile::client(&client.role);
            let signer = signing.as_ref().unwrap_or(authority);
            let new = maker.pair(signer, state, &client.pair, &profile, vault)?.new;
            own.pairs.extend(new.map(|new| (client.pair.clone(), new)));
        }
        nodes.insert(node.name.clone(), own);
    }
    let root = authority.root().to_pem();
    let mut credentials = Credentials { root, nodes, shared: shared.files().collect() };
    if cluster.spec.mode == Mode::Scram {
        passwords::make(topology, cluster, demands, renew.passwords, &mut credentials, vault)?;
    }
    Ok(credentials)
}

/// The names by which peers verify a node: its host name, its own name and its address, in the forms
/// that libpq 12 to 18 and rustls all match.
fn host_names(node: &NodeSpec) -> Result<HostNames, Error> {
    let address = node.address.to_string();
    // A node may be called what no host can be called: then peers do not use that.
    HostNames::new([node.host(), node.name.as_str(), address.as_str()])
        .or_else(|_| HostNames::new([node.host(), address.as_str()]))
        .or_else(|_| HostNames::new([address.as_str()]))
        .map_err(Into::into)
}

struct Maker<'a> {
    spec: &'a ClusterSpec,
    renew: bool,
    now: OffsetDateTime,
}

/// A certificate with its key.
struct Pair {
    certificate: Certificate,
    /// The certificate with its chain, and the key.
    pem: (Zeroizing<Vec<u8>>, Zeroizing<Vec<u8>>),
    /// What is written if it is not there yet.
    new: Option<NewPair>,
}

impl Pair {
    /// The authority that this certificate is, below `above`.
    fn signer(&self, above: &Authority) -> Result<Authority, Error> {
        let chain = [self.pem.0.as_slice(), above.root().to_pem().as_bytes()].concat();
        Ok(Authority::from_pem(&chain, &self.pem.1)?)
    }
}

impl Maker<'_> {
    /// The certificate that a node has at these paths if it is good, else a new one with its key.
    fn pair(
        &self,
        authority: &Authority,
        state: &NodeState,
        place: &PairPlace,
        profile: &Profile,
        vault: &mut Vault,
    ) -> Result<Pair, Error> {
        if let Some(good) = self.good(authority, state, place, profile)
            && !self.renew
        {
            return Ok(good);
        }
        let policy = &self.spec.certificates;
        let validity = Validity::days(self.now - BACKDATE, policy.leaf_days.into());
        let issued = authority.issue(policy.key, profile, authority.within(validity))?;
        let name = format!("{}: {}", state.name, place.key.display());
        let key = Zeroizing::new(issued.key.to_pem().as_bytes().to_vec());
        vault.insert(&name, key.clone());
        let chain = issued.chain_pem();
        let pem = (Zeroizing::new(chain.clone().into_bytes()), key);
        let new = NewPair { certificate: chain, key: name };
        Ok(Pair { certificate: issued.certificate, pem, new: Some(new) })
    }

    fn good(
        &self,
        authority: &Authority,
        state: &NodeState,
        place: &PairPlace,
        profile: &Profile,
    ) -> Option<Pair> {
        let certificate = state.file(&state.in_data_directory(&place.certificate))?;
        let key_file = state.file(&state.in_data_directory(&place.key))?;
        if key_file.access.mode & 0o077 != 0
            || !belongs_to(key_file, state)
            || !state.can_read(&state.in_data_directory(&place.certificate), certificate)
        {
            return None;
        }
        let found = Certificate::from_pem(&certificate.bytes).ok()?;
        let key = PrivateKey::from_pem(&key_file.bytes).ok()?;
        let validity = found.validity();
        // Renewed when a third of its time is left: the rest is time for an administrator.
        let renew = validity.not_after - (validity.not_after - validity.not_before) / 3;
        let good = key.matches(&found)
            && found.is_signed_by(authority.certificate().public_key())
            && validity.contains(self.now)
            && self.now < renew
            && serves(&found, profile);
        let pem = (certificate.bytes.clone(), key_file.bytes.clone());
        good.then(|| Pair { certificate: found, pem, new: None })
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
    let signs = matches!(profile, Profile::TimescaleIntermediate(_));
    role && hosts && certificate.is_authority() == signs
}

#[cfg(test)]
mod tests {
    use pki::{KeyAlgorithm, Subject};

    use super::*;
    use crate::inspect::sample;

    /// What somebody made as root with a narrow umask looks good to whoever reads it as root.
    #[test]
    fn a_pair_that_the_server_cannot_read_is_made_anew() -> Result<(), Box<dyn std::error::Error>> {
        let head = "topology = \"pgd\"\nmode = \"cert\"\nlink-role = \"repl\"";
        let spec = sample::spec(head, &[("n", "10.0.0.1", 5432)])?;
        let now = OffsetDateTime::now_utc();
        let validity = Validity::days(now - BACKDATE, 100);
        let subject = Subject::common_name("ca");
        let authority = Authority::create(KeyAlgorithm::EcdsaP256, &subject, validity)?;
        let profile = Profile::client("repl");
        let issued = authority.issue(KeyAlgorithm::EcdsaP256, &profile, validity)?;
        let place = PairPlace::new("client.crt", "client.key");
        let maker = Maker { spec: &spec, renew: false, now };

        let mut state = sample::node(b"", &[]);
        let certificate = sample::file(issued.chain_pem().as_bytes());
        let key = sample::file(issued.key.to_pem().as_bytes());
        let roots = |file: &NodeFile, mode| {
            let mut file = file.clone();
            (file.access.uid, file.access.gid, file.access.mode) = (0, 0, mode);
            file
        };
        for (certificate, key, is_kept) in [
            (certificate.clone(), key.clone(), true),
            (roots(&certificate, 0o644), key.clone(), true),
            (roots(&certificate, 0o600), key.clone(), false),
            (certificate.clone(), roots(&key, 0o600), false),
        ] {
            let accesses = (certificate.access, key.access);
            sample::put(&mut state, "/d/client.crt", Some(certificate));
            sample::put(&mut state, "/d/client.key", Some(key));
            let mut vault = Vault::default();
            let pair = maker.pair(&authority, &state, &place, &profile, &mut vault)?;
            assert_eq!(pair.new.is_none(), is_kept, "{accesses:?}");
        }
        Ok(())
    }
}
