//! Certificates, keys and passwords of the links: what a node has already and may keep, and what is
//! made anew.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    path::{Path, PathBuf},
};

use passfile::{Key, Libpq, NewEntry, PassFile};
use pki::{
    Authority, Certificate, GeneralName, HostNames, KeyAlgorithm, PrivateKey, Profile, Validity,
};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::{
    authority::BACKDATE,
    error::Error,
    inspect::NodeState,
    spec::{ClusterSpec, Mode, NodeSpec},
    topology::Link,
    transport::NodeFile,
    vault::Vault,
};

/// The folder in the data directory that holds them.
pub(crate) const FOLDER: &str = "pgward";
/// The authority's certificate, which server and links check their peers by.
pub(crate) const ROOT: &str = "pgward/root.crt";
/// The server's certificate.
pub(crate) const SERVER_CERTIFICATE: &str = "pgward/server.crt";
/// The server's key.
pub(crate) const SERVER_KEY: &str = "pgward/server.key";
/// The certificate that the node's links log in with.
pub(crate) const CLIENT_CERTIFICATE: &str = "pgward/client.crt";
/// Its key.
pub(crate) const CLIENT_KEY: &str = "pgward/client.key";
/// The password file that the node's links log in with.
pub(crate) const PASSFILE: &str = "pgward/passfile";

/// Every file, relative to the data directory.
pub(crate) fn paths() -> Vec<PathBuf> {
    [ROOT, SERVER_CERTIFICATE, SERVER_KEY, CLIENT_CERTIFICATE, CLIENT_KEY, PASSFILE]
        .map(PathBuf::from)
        .into()
}

/// What every node of the cluster gets.
#[derive(Clone, Debug)]
pub(crate) struct Credentials {
    /// The authority's certificate.
    pub(crate) root: String,
    pub(crate) nodes: BTreeMap<String, NodeCredentials>,
}

/// What one node gets. `None` is what it has already.
#[derive(Clone, Debug)]
pub(crate) struct NodeCredentials {
    /// SHA-256 of the server certificate that the node shall show, in hexadecimal.
    pub(crate) server_fingerprint: String,
    pub(crate) server: Option<NewPair>,
    pub(crate) client: Option<NewPair>,
    /// The vault's name of the SCRAM secret that the node shall store for the link role.
    pub(crate) scram_secret: Option<String>,
    /// The vault's name of the password file's new content.
    pub(crate) passfile: Option<String>,
}

/// A certificate, and the vault's name of its key.
#[derive(Clone, Debug)]
pub(crate) struct NewPair {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// Decides what each node keeps and makes the rest. Secrets go into the vault.
pub(crate) fn make(
    spec: &ClusterSpec,
    states: &[NodeState],
    links: &[Link],
    authority: &Authority,
    now: OffsetDateTime,
    vault: &mut Vault,
) -> Result<Credentials, Error> {
    let maker = Maker { spec, authority, now };
    let mut nodes = BTreeMap::new();
    for (node, state) in pairs(spec, states) {
        let profile = Profile::Server(host_names(node)?);
        let server = maker.pair(state, SERVER_CERTIFICATE, SERVER_KEY, &profile, vault)?;
        let connects = links.iter().any(|link| link.from == node.name);
        let client = if spec.mode == Mode::Cert && connects {
            let profile = Profile::client(&spec.link_role);
            maker.pair(state, CLIENT_CERTIFICATE, CLIENT_KEY, &profile, vault)?.1
        } else {
            None
        };
        let credentials = NodeCredentials {
            server_fingerprint: server.0.fingerprint().to_string(),
            server: server.1,
            client,
            scram_secret: None,
            passfile: None,
        };
        nodes.insert(node.name.clone(), credentials);
    }
    let root = authority.root().to_pem();
    let mut credentials = Credentials { root, nodes };
    if spec.mode == Mode::Scram {
        passwords(spec, states, links, &mut credentials, vault)?;
    }
    Ok(credentials)
}

fn pairs<'a>(
    spec: &'a ClusterSpec,
    states: &'a [NodeState],
) -> impl Iterator<Item = (&'a NodeSpec, &'a NodeState)> {
    states.iter().filter_map(|state| Some((spec.node(&state.name)?, state)))
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
        certificate: &str,
        key: &str,
        profile: &Profile,
        vault: &mut Vault,
    ) -> Result<(Certificate, Option<NewPair>), Error> {
        if let Some(good) = self.good(state, certificate, key, profile) {
            return Ok((good, None));
        }
        let days = self.spec.certificates.leaf_days.into();
        let validity = self.authority.within(Validity::days(self.now - BACKDATE, days));
        let issued = self.authority.issue(KeyAlgorithm::EcdsaP256, profile, validity)?;
        let name = format!("{}: {key}", state.name);
        let pem = issued.key.to_pem();
        vault.insert(&name, Zeroizing::new(pem.as_bytes().to_vec()));
        let pair = NewPair { certificate: issued.chain_pem(), key: name };
        Ok((issued.certificate, Some(pair)))
    }

    fn good(
        &self,
        state: &NodeState,
        certificate: &str,
        key: &str,
        profile: &Profile,
    ) -> Option<Certificate> {
        let certificate = state.file(&state.in_data_directory(certificate))?;
        let key = state.file(&state.in_data_directory(key))?;
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

/// The password with which links log in to each node: the one that peers have in their password
/// files if the node's stored secret is of it, else a new one.
fn passwords(
    spec: &ClusterSpec,
    states: &[NodeState],
    links: &[Link],
    credentials: &mut Credentials,
    vault: &mut Vault,
) -> Result<(), Error> {
    let mut files = BTreeMap::new();
    for state in states {
        let path = state.in_data_directory(PASSFILE);
        let bytes = state.file(&path).map(|file| file.bytes.to_vec()).unwrap_or_default();
        let file = PassFile::parse(bytes).map_err(|error| Error::plan(error.to_string()))?;
        files.insert(state.name.as_str(), file);
    }
    for (to, state) in pairs(spec, states) {
        let peers: Vec<&str> =
            links.iter().filter(|link| link.to == to.name).map(|link| link.from.as_str()).collect();
        if peers.is_empty() {
            continue;
        }
        let kept = known_password(spec, to, state, peers.iter().filter_map(|peer| files.get(peer)));
        let password = match kept {
            Some(password) => password,
            None => {
                let password = new_password()?;
                let secret = scram::Secret::generate(
                    &scram::Password::new(password.as_bytes()),
                    scram::DEFAULT_ITERATIONS,
                )
                .map_err(|error| Error::plan(error.to_string()))?;
                let name = format!("{}: SCRAM secret of {}", to.name, spec.link_role);
                vault.insert(&name, Zeroizing::new(secret.to_text().as_bytes().to_vec()));
                if let Some(node) = credentials.nodes.get_mut(&to.name) {
                    node.scram_secret = Some(name);
                }
                password
            }
        };
        for peer in peers {
            if let Some(file) = files.get_mut(peer) {
                for host in [to.host(), to.name.as_str(), &to.address.to_string()] {
                    let port = to.port.to_string();
                    let entry = NewEntry::new(password.as_bytes())
                        .host(host)
                        .port(&port)
                        .user(&spec.link_role);
                    file.set(&entry).map_err(|error| Error::plan(error.to_string()))?;
                }
            }
        }
    }
    for (peer, file) in files {
        // A file that is as it was is not written.
        let there = states
            .iter()
            .find(|state| state.name == peer)
            .and_then(|state| state.file(&state.in_data_directory(PASSFILE)));
        let bytes = file.to_bytes();
        let good = there.map_or(bytes.is_empty(), |there| {
            there.bytes == bytes
                && there.access.mode & 0o077 == 0
                && states.iter().any(|state| state.name == peer && belongs_to(there, state))
        });
        if !good && let Some(node) = credentials.nodes.get_mut(peer) {
            let name = format!("{peer}: password file");
            vault.insert(&name, bytes);
            node.passfile = Some(name);
        }
    }
    Ok(())
}

/// The password that the peers have for a node, if the node's stored secret was made of it.
fn known_password<'f>(
    spec: &ClusterSpec,
    to: &NodeSpec,
    state: &NodeState,
    mut files: impl Iterator<Item = &'f PassFile>,
) -> Option<Zeroizing<String>> {
    let stored = state.role(&spec.link_role)?.stored_password.as_ref()?;
    let secret = scram::Secret::parse(stored.as_bytes(), state.version).ok()?;
    files.find_map(|file| {
        let port = to.port.to_string();
        let key = Key::new(spec.link_role.as_str()).host(to.host()).port(port.as_str());
        let found = file.lookup(&key, &Libpq::new(state.version))?;
        let bytes = found.password().expose();
        let matches = secret.verify(&scram::Password::new(bytes), &scram::Limits::default());
        let text = std::str::from_utf8(bytes).ok()?;
        (matches == Ok(true)).then(|| Zeroizing::new(text.to_owned()))
    })
}

/// 192 random bits as text that needs no quoting anywhere.
fn new_password() -> Result<Zeroizing<String>, Error> {
    let mut bytes = Zeroizing::new([0_u8; 24]);
    getrandom::fill(bytes.as_mut())
        .map_err(|error| Error::plan(format!("the system has no random bytes: {error}")))?;
    Ok(Zeroizing::new(crate::plan::hex(bytes.as_ref())))
}

/// Whether a path is one of those that hold a secret.
pub(crate) fn is_secret(path: &Path) -> bool {
    [SERVER_KEY, CLIENT_KEY, PASSFILE].iter().any(|secret| path.ends_with(secret))
}
