//! The passwords that links log in with, and the password files that hold them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    rc::Rc,
};

use passfile::{EditError, Field, Key, Libpq, NewEntry, PassFile};
use pg_version::PgVersion;
use sha2::Digest as _;
use zeroize::Zeroizing;

use super::{Credentials, belongs_to, shared::Shared};
use crate::{
    error::Error,
    inspect::NodeState,
    spec::NodeSpec,
    topology::{Cluster, Demands, Link, Topology},
    transport::NodeFile,
    vault::Vault,
};

/// The nodes that share the passwords of their roles, and the links that lead to them as one role.
struct PasswordUse<'a> {
    realm: String,
    role: &'a str,
    /// The nodes that store its secret.
    stored_on: Vec<&'a NodeState>,
    /// (the link, the node that is connected to)
    links: Vec<(&'a Link, &'a NodeSpec)>,
}

/// The passwords that links log in with: the one that peers have in their password files if a stored
/// secret is of it, else a new one.
pub(super) fn make(
    topology: &dyn Topology,
    cluster: &Cluster<'_>,
    demands: &Demands,
    renew: bool,
    credentials: &mut Credentials,
    vault: &mut Vault,
) -> Result<(), Error> {
    let mut files = Files::read(cluster, demands)?;
    for used in password_uses(topology, cluster, demands)? {
        let known = if renew { None } else { known_password(cluster, &used, &files) };
        let (password, missing_on) = match known {
            Some(known) => known,
            None => (new_password()?, used.stored_on.clone()),
        };
        if !missing_on.is_empty() {
            let secret = scram::Secret::generate(
                &scram::Password::new(password.as_bytes()),
                scram::DEFAULT_ITERATIONS,
            )
            .map_err(|error| Error::plan(error.to_string()))?;
            let name = format!("{}: SCRAM secret of {}", used.realm, used.role);
            vault.insert(&name, Zeroizing::new(secret.to_text().as_bytes().to_vec()));
            for state in missing_on {
                if let Some(node) = credentials.nodes.get_mut(&state.name) {
                    node.scram_secrets.insert(used.role.to_owned(), name.clone());
                }
            }
        }
        let password = Rc::new(password);
        for (link, to) in used.links {
            if let Some(file) = files.of_mut(&link.from) {
                file.wanted.push(Wanted { to, role: used.role, password: password.clone() });
            }
        }
    }
    credentials.shared.extend(files.shared.files());
    let addresses = cluster.spec.nodes.iter().map(|node| (&*node.name, node.address.to_string()));
    let addresses = addresses.collect();
    for (peer, mut file) in files.by_writer {
        file.fill(&addresses)?;
        let File { state, there, file, .. } = file;
        // A file that is as it was is not written.
        let bytes = file.to_bytes();
        let good = there.map_or(bytes.is_empty(), |there| {
            there.bytes == bytes && there.access.mode & 0o077 == 0 && belongs_to(there, state)
        });
        if !good && let Some(node) = credentials.nodes.get_mut(peer) {
            let name = format!("{peer}: password file");
            vault.insert(&name, bytes);
            node.passfile = Some(name);
        }
    }
    Ok(())
}

/// The nodes' password files. Where several nodes have one and the same, it is written once, by the
/// first of them, with what all of them need.
struct Files<'a> {
    /// By the node that writes it.
    by_writer: BTreeMap<&'a str, File<'a>>,
    /// Which node writes a node's file.
    writers: BTreeMap<&'a str, &'a str>,
    shared: Shared<'a>,
}

/// A password file as it will be.
struct File<'a> {
    /// The node that writes it.
    state: &'a NodeState,
    /// As it was found.
    there: Option<&'a NodeFile>,
    file: PassFile,
    /// The passwords that it must have; of several for one name, port and role the last.
    wanted: Vec<Wanted<'a>>,
}

/// The password by which a role's links log in to a node.
struct Wanted<'a> {
    to: &'a NodeSpec,
    role: &'a str,
    password: Rc<Zeroizing<String>>,
}

/// The nodes' addresses as text, by their names.
type Addresses<'a> = HashMap<&'a str, String>;

/// Passwords by host, port and role.
type Lines<'w> = BTreeMap<(&'w str, u16, &'w str), &'w Zeroizing<String>>;

impl File<'_> {
    /// Gives it the passwords that it has not. What is right stays as it is, and is not gone through
    /// again for each of what may be thousands of lines.
    fn fill(&mut self, addresses: &Addresses<'_>) -> Result<(), Error> {
        let refused = |error: EditError| Error::plan(error.to_string());
        let mut wanted = Lines::new();
        for Wanted { to, role, password } in &self.wanted {
            let address = addresses.get(&*to.name).map(String::as_str);
            for host in [Some(to.host()), Some(&*to.name), address].into_iter().flatten() {
                wanted.insert((host, to.port, role), password);
            }
        }
        let right = lines_that_are_right(&self.file, &wanted);
        let mut new = Zeroizing::new(Vec::new());
        for ((host, port, role), password) in &wanted {
            let port_text = port.to_string();
            let entry = NewEntry::new(password.as_bytes()).host(*host).port(&port_text).user(*role);
            if self.file.line_count() == 0 {
                let line = entry.to_line().map_err(|error| refused(error.into()))?;
                // Memory that gets too small is wiped.
                if new.capacity() < new.len() + line.len() + 1 {
                    let room = 2 * (new.len() + line.len() + 1);
                    let mut grown = Zeroizing::new(Vec::with_capacity(room));
                    grown.extend_from_slice(&new);
                    new = grown;
                }
                new.extend_from_slice(&line);
                new.push(b'\n');
            } else if !right.contains(&(*host, *port, *role)) {
                self.file.set(&entry).map_err(refused)?;
            }
        }
        if !new.is_empty() {
            let parsed = PassFile::parse(std::mem::take(&mut *new));
            self.file = parsed.map_err(|error| Error::plan(error.to_string()))?;
        }
        Ok(())
    }
}

/// What every libpq finds with the password that is wanted, in a line that has no double.
fn lines_that_are_right<'w>(
    file: &PassFile,
    wanted: &Lines<'w>,
) -> HashSet<(&'w str, u16, &'w str)> {
    let mut lines: HashMap<[Field<'_>; 4], Vec<usize>> = HashMap::new();
    let entries: Vec<_> = file.entries(&Libpq::default()).collect();
    for entry in &entries {
        lines.entry(entry.fields()).or_default().push(entry.line());
    }
    let versions = [PgVersion::OLDEST, PgVersion::NEWEST];
    let prepared = versions.map(|version| file.clone().prepare(Libpq::new(version)));
    let is_right = |host: &str, port: &str, role: &str, password: &str| {
        let fields = [host, port, "", role].map(Field::from);
        let fields = fields.map(|field| if field == Field::from("") { Field::Any } else { field });
        let Some([line]) = lines.get(&fields).map(Vec::as_slice) else { return false };
        let key = Key::new(role).host(host).port(port);
        prepared.iter().all(|prepared| {
            let found = prepared.lookup(&key);
            found.is_some_and(|found| {
                found.line() == *line && *found.password() == *password.as_bytes()
            })
        })
    };
    wanted
        .iter()
        .filter(|((host, port, role), password)| is_right(host, &port.to_string(), role, password))
        .map(|(line, _)| *line)
        .collect()
}

impl<'a> Files<'a> {
    fn read(cluster: &Cluster<'a>, demands: &Demands) -> Result<Self, Error> {
        let mut files = Self {
            by_writer: BTreeMap::new(),
            writers: BTreeMap::new(),
            shared: Shared::default(),
        };
        for state in cluster.states {
            let demand = demands.get(&state.name);
            let Some(path) = demand.and_then(|demand| demand.passfile.as_ref()) else { continue };
            let path = state.in_data_directory(path);
            let writer = files.shared.writer(cluster.node(&state.name)?, state, &path)?;
            files.writers.insert(&state.name, &writer.name);
            if writer.name != state.name {
                continue;
            }
            let there = state.file(&path);
            let bytes = there.map(|file| file.bytes.to_vec()).unwrap_or_default();
            let file = PassFile::parse(bytes).map_err(|error| Error::plan(error.to_string()))?;
            files.by_writer.insert(&state.name, File { state, there, file, wanted: Vec::new() });
        }
        Ok(files)
    }

    fn of(&self, node: &str) -> Option<&PassFile> {
        Some(&self.by_writer.get(self.writers.get(node)?)?.file)
    }

    fn of_mut(&mut self, node: &str) -> Option<&mut File<'a>> {
        self.by_writer.get_mut(self.writers.get(node)?)
    }
}

/// Which passwords there are.
fn password_uses<'a>(
    topology: &dyn Topology,
    cluster: &Cluster<'a>,
    demands: &Demands,
) -> Result<Vec<PasswordUse<'a>>, Error> {
    let mut realms: BTreeMap<String, Vec<&NodeState>> = BTreeMap::new();
    let mut realm_of: HashMap<&str, String> = HashMap::new();
    for state in cluster.states {
        let realm = topology.realm(cluster, state);
        realms.entry(realm.clone()).or_default().push(state);
        realm_of.insert(&state.name, realm);
    }
    let mut uses: BTreeMap<(&str, &str), PasswordUse<'a>> = BTreeMap::new();
    for link in cluster.links {
        let to = cluster.node(&link.to)?;
        let Some(realm) = realm_of.get(&*link.to) else { continue };
        let role = cluster.spec.role_of(link.user());
        let used = uses.entry((realm, role)).or_insert_with(|| {
            let stores = |state: &&&NodeState| {
                demands.get(&state.name).is_some_and(|demand| demand.wants_password(role))
            };
            let stored_on = realms.get(realm).into_iter().flatten().filter(stores).copied();
            PasswordUse {
                realm: realm.clone(),
                role,
                stored_on: stored_on.collect(),
                links: Vec::new(),
            }
        });
        used.links.push((link, to));
    }
    Ok(uses.into_values().collect())
}

/// The password that the peers have if one node's stored secret was made of it, and the nodes whose
/// secret was not. A link that logs in with it already can go on to do so until it is secured.
fn known_password<'a>(
    cluster: &Cluster<'_>,
    used: &PasswordUse<'a>,
    files: &Files<'_>,
) -> Option<(Zeroizing<String>, Vec<&'a NodeState>)> {
    used.links.iter().find_map(|(link, to)| {
        let in_file = || {
            let file = files.of(&link.from)?;
            let version = cluster.state(&link.from)?.version;
            let port = to.port.to_string();
            let key = Key::new(used.role).host(to.host()).port(port.as_str());
            let found = file.lookup(&key, &Libpq::new(version))?;
            let text = std::str::from_utf8(found.password().expose()).ok()?;
            Some(Zeroizing::new(text.to_owned()))
        };
        // Where a connection string has a password, libpq asks no file. One that no file could hold
        // for every libpq is replaced.
        let own = link.conninfo.get("password").filter(|own| {
            link.user() == Some(used.role) && own.len() < 128 && !own.contains(char::is_control)
        });
        let password = own.map(|own| Zeroizing::new(own.to_owned())).or_else(in_file)?;
        let (good, missing): (Vec<_>, Vec<_>) =
            used.stored_on.iter().partition(|state| is_of(state, used.role, password.as_bytes()));
        let is_md5 = |state: &&NodeState| is_md5_of(state, used.role, password.as_bytes());
        let known = !good.is_empty() || missing.iter().any(is_md5);
        known.then_some((password, missing))
    })
}

/// Whether a node's stored secret of a role is the MD5 one of this password, which SCRAM cannot use, but
/// which links log in by (`md5_crypt_verify`, crypt.c).
fn is_md5_of(state: &NodeState, role: &str, password: &[u8]) -> bool {
    let stored = state.role(role).and_then(|role| role.stored_password.as_ref());
    let Some(stored) = stored.and_then(|stored| stored.strip_prefix("md5")) else { return false };
    let digest = md5::Md5::new().chain_update(password).chain_update(role).finalize();
    crate::plan::hex(&digest) == stored
}

/// Whether a node's stored secret of a role was made of this password.
fn is_of(state: &NodeState, role: &str, password: &[u8]) -> bool {
    let stored = state.role(role).and_then(|role| role.stored_password.as_ref());
    let secret = stored.and_then(|text| scram::Secret::parse(text.as_bytes(), state.version).ok());
    secret.is_some_and(|secret| {
        secret.verify(&scram::Password::new(password), &scram::Limits::default()) == Ok(true)
    })
}

/// 192 random bits as text that needs no quoting anywhere.
fn new_password() -> Result<Zeroizing<String>, Error> {
    let mut bytes = Zeroizing::new([0_u8; 24]);
    getrandom::fill(bytes.as_mut())
        .map_err(|error| Error::plan(format!("the system has no random bytes: {error}")))?;
    Ok(Zeroizing::new(crate::plan::hex(bytes.as_ref())))
}
