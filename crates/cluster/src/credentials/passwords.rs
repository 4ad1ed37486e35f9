//! The passwords that links log in with, and the password files that hold them.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};

use passfile::{EditError, Field, Key, Libpq, PassFile};
use pg_version::PgVersion;
use sha2::Digest as _;
use zeroize::Zeroizing;

use super::{
    Credentials, belongs_to,
    lines::{Line, Lines, Login},
    shared::Shared,
};
use crate::{
    error::{Error, NodeContext as _},
    hba,
    inspect::NodeState,
    parallel,
    spec::NodeSpec,
    topology::{Cluster, Demands, Link, LinkPlace, Topology, nodes_named},
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
    let files = Files::read(cluster, demands)?;
    let uses = password_uses(topology, cluster, demands)?;
    // Each is thousands of rounds of SHA-256, for each realm.
    let settled = parallel::shares(&uses, 1, |uses| settle_all(cluster, uses, &files, renew))?;
    let (mut logins, mut numbers) = (Vec::new(), HashMap::new());
    let settled = settled.into_iter().collect::<Result<Vec<_>, Error>>()?;
    for (used, (settled, secret)) in uses.iter().zip(settled.into_iter().flatten()) {
        let Settled { password, missing_on, called } = settled;
        if let Some(secret) = secret {
            let name = format!("{}: SCRAM secret of {}", used.realm, used.role);
            vault.insert(&name, Zeroizing::new(secret.to_text().as_bytes().to_vec()));
            for state in missing_on {
                if let Some(node) = credentials.nodes.get_mut(&state.name) {
                    node.scram_secrets.insert(used.role.to_owned(), name.clone());
                    if !renew && has_another(state, used.role, &password) {
                        node.replaced_passwords.insert(used.role.to_owned());
                    }
                }
            }
        }
        let password = Arc::new(password);
        for (to, called) in called {
            numbers.insert((&*to.name, called, used.role), logins.len());
            logins.push(Login { to, called, role: used.role, password: password.clone() });
        }
    }
    let Files { all: files, shared, .. } = files;
    credentials.shared.extend(shared.files());
    let lines = Lines::of(&logins)?;
    let filled = parallel::shares(&files, 16, |files| {
        let filled = |file: &File<'_>| file.filled(&lines, &file.logins(cluster, &numbers));
        files.iter().map(filled).collect::<Vec<_>>()
    })?;
    for (file, bytes) in files.iter().zip(filled.into_iter().flatten()) {
        let File { state, there, .. } = file;
        // A file that is as it was is not written.
        let bytes = bytes?;
        let good = there.map_or(bytes.is_empty(), |there| {
            there.bytes == bytes && there.access.mode & 0o077 == 0 && belongs_to(there, state)
        });
        if !good && let Some(node) = credentials.nodes.get_mut(&state.name) {
            let name = format!("{}: password file", state.name);
            vault.insert(&name, bytes);
            node.passfile = Some(name);
        }
    }
    Ok(())
}

/// The nodes' password files. Where several nodes have one and the same, it is written once, by the
/// first of them, with what all of them need.
struct Files<'a> {
    all: Vec<File<'a>>,
    /// The place of each node's file.
    of: HashMap<&'a str, usize>,
    /// Whether one of them is not empty.
    have_lines: bool,
    shared: Shared<'a>,
}

/// A password file as it is, and what it must have.
struct File<'a> {
    /// The node that writes it.
    state: &'a NodeState,
    there: Option<&'a NodeFile>,
    found: PassFile,
    /// The nodes whose file it is.
    nodes: Vec<&'a str>,
}

/// The numbers of logins: by the node that is logged in to, what it is called, and the role.
type Numbers<'a> = HashMap<(&'a str, Option<(&'a str, u16)>, &'a str), usize>;

impl File<'_> {
    /// The numbers of the logins whose passwords it must have.
    fn logins<'a>(&self, cluster: &Cluster<'a>, numbers: &Numbers<'a>) -> Vec<usize> {
        let links = self.nodes.iter().flat_map(|node| cluster.links_from(node));
        let targets = |link: &'a Link| {
            let role = cluster.spec.role_of(link.user());
            let number =
                move |to: &NodeSpec| numbers.get(&(&*to.name, called(link, to), role)).copied();
            targets(cluster, link).into_iter().flatten().filter_map(number)
        };
        links.flat_map(targets).collect()
    }

    /// What it shall hold: with the passwords that it has not. What is right stays as it is, and is not
    /// gone through again for each of what may be thousands of lines.
    fn filled(&self, lines: &Lines<'_>, logins: &[usize]) -> Result<Zeroizing<Vec<u8>>, Error> {
        let refused = |error: EditError| Error::plan(error.to_string());
        let wanted = lines.of_logins(logins);
        if self.found.line_count() == 0 && !wanted.is_empty() {
            let length = wanted.iter().map(|line| line.text.len() + 1).sum();
            let mut bytes = Zeroizing::new(Vec::with_capacity(length));
            for line in wanted {
                bytes.extend_from_slice(&line.text);
                bytes.push(b'\n');
            }
            return Ok(bytes);
        }
        let right = lines_that_are_right(&self.found, &wanted);
        let mut file = self.found.clone();
        for (line, _) in wanted.iter().zip(right).filter(|(_, is_right)| !is_right) {
            file.set(&line.entry()).map_err(refused)?;
        }
        Ok(file.to_bytes())
    }
}

/// Whether every libpq finds the password that is wanted, in a line that has no double: for each of
/// the lines.
fn lines_that_are_right(file: &PassFile, wanted: &[&Line<'_>]) -> Vec<bool> {
    let mut lines: HashMap<[Field<'_>; 4], Vec<usize>> = HashMap::new();
    let entries: Vec<_> = file.entries(&Libpq::default()).collect();
    for entry in &entries {
        lines.entry(entry.fields()).or_default().push(entry.line());
    }
    let versions = [PgVersion::OLDEST, PgVersion::NEWEST];
    let prepared = versions.map(|version| file.clone().prepare(Libpq::new(version)));
    let is_right = |wanted: &&Line<'_>| {
        let fields = [&*wanted.host, &wanted.port_text, "", wanted.role].map(Field::from);
        let fields = fields.map(|field| if field == Field::from("") { Field::Any } else { field });
        let Some([line]) = lines.get(&fields).map(Vec::as_slice) else { return false };
        let key = Key::new(wanted.role).host(&*wanted.host).port(&*wanted.port_text);
        prepared.iter().all(|prepared| {
            let found = prepared.lookup(&key);
            found.is_some_and(|found| {
                found.line() == *line && *found.password() == *wanted.password.as_bytes()
            })
        })
    };
    wanted.iter().map(is_right).collect()
}

impl<'a> Files<'a> {
    fn read(cluster: &Cluster<'a>, demands: &Demands) -> Result<Self, Error> {
        let (all, of) = (Vec::new(), HashMap::new());
        let mut files = Self { all, of, have_lines: false, shared: Shared::default() };
        for state in cluster.states {
            let demand = demands.get(&state.name);
            let Some(path) = demand.and_then(|demand| demand.passfile.as_ref()) else { continue };
            let path = state.in_data_directory(path);
            let writer = files.shared.writer(cluster.node(&state.name)?, state, &path)?;
            if writer.name != state.name {
                if let Some(place) = files.of.get(&*writer.name).copied() {
                    files.of.insert(&state.name, place);
                    files.all[place].nodes.push(&state.name);
                }
                continue;
            }
            let there = state.file(&path);
            let bytes = there.map(|file| file.bytes.to_vec()).unwrap_or_default();
            let found = PassFile::parse(bytes).map_err(|error| Error::plan(error.to_string()))?;
            files.of.insert(&state.name, files.all.len());
            files.have_lines |= found.line_count() > 0;
            files.all.push(File { state, there, found, nodes: vec![&state.name] });
        }
        Ok(files)
    }

    fn of(&self, node: &str) -> Option<&PassFile> {
        Some(&self.all.get(*self.of.get(node)?)?.found)
    }
}

/// Which passwords there are.
fn password_uses<'a>(
    topology: &dyn Topology,
    cluster: &Cluster<'a>,
    demands: &Demands,
) -> Result<Vec<PasswordUse<'a>>, Error> {
    let mut realms: BTreeMap<String, Vec<&NodeState>> = BTreeMap::new();
    for state in cluster.states {
        realms.entry(topology.realm(cluster, state)).or_default().push(state);
    }
    let realms: Vec<_> = realms.into_iter().collect();
    let mut realm_of: HashMap<&str, usize> = HashMap::new();
    for (number, (_, states)) in realms.iter().enumerate() {
        realm_of.extend(states.iter().map(|state| (state.name.as_str(), number)));
    }
    let links_of = |links: &'a [Link]| -> Result<BTreeMap<(usize, &'a str), Vec<_>>, Error> {
        let mut uses: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for link in links {
            let role = cluster.spec.role_of(link.user());
            for to in targets(cluster, link)? {
                let Some(number) = realm_of.get(&*to.name).copied() else { continue };
                uses.entry((number, role)).or_default().push((link, to));
            }
        }
        Ok(uses)
    };
    let mut uses: BTreeMap<(usize, &str), PasswordUse<'a>> = BTreeMap::new();
    for share in parallel::shares(cluster.links, 1024, links_of)? {
        for ((number, role), links) in share? {
            let used = uses.entry((number, role)).or_insert_with(|| {
                let (realm, states) = &realms[number];
                let stores = |state: &&&NodeState| {
                    demands.get(&state.name).is_some_and(|demand| demand.wants_password(role))
                };
                let stored_on = states.iter().filter(stores).copied().collect();
                PasswordUse { realm: realm.clone(), role, stored_on, links: Vec::new() }
            });
            used.links.extend(links);
        }
    }
    Ok(uses.into_values().collect())
}

/// The nodes that a link logs in to: the one that it leads to, and the others that it names.
fn targets<'a>(
    cluster: &Cluster<'a>,
    link: &'a Link,
) -> Result<impl Iterator<Item = &'a NodeSpec>, Error> {
    let others = nodes_named(cluster.spec, &link.conninfo).filter(|to| link.to != *to.name);
    Ok(std::iter::once(cluster.node(&link.to)?).chain(others))
}

/// A password.
struct Settled<'a> {
    password: Zeroizing<String>,
    /// The nodes that store no secret of it.
    missing_on: Vec<&'a NodeState>,
    /// The nodes that are logged in to with it, by each of the ways in which they are called.
    called: Vec<Called<'a>>,
}

/// A node, and what a link calls it, by [`called`].
type Called<'a> = (&'a NodeSpec, Option<(&'a str, u16)>);

/// The passwords, each with what nodes shall store of it if some do not.
fn settle_all<'a>(
    cluster: &Cluster<'_>,
    uses: &[PasswordUse<'a>],
    files: &Files<'_>,
    renew: bool,
) -> Result<Vec<(Settled<'a>, Option<scram::Secret>)>, Error> {
    let settled = uses.iter().map(|used| settle(cluster, used, files, renew));
    let settled = settled.collect::<Result<Vec<_>, Error>>()?;
    let is_missing = |settled: &&Settled<'_>| !settled.missing_on.is_empty();
    let salted = |settled: &Settled<'_>| {
        let mut salt = [0; scram::DEFAULT_SALT_LEN];
        fill(&mut salt)?;
        Ok((scram::Password::new(settled.password.as_bytes()), salt))
    };
    let salted =
        settled.iter().filter(is_missing).map(salted).collect::<Result<Vec<_>, Error>>()?;
    let salted: Vec<(&scram::Password, &[u8])> =
        salted.iter().map(|(password, salt)| (password, salt.as_slice())).collect();
    let secrets = scram::Secret::new_batch(&salted, scram::DEFAULT_ITERATIONS);
    let mut secrets = secrets.map_err(|error| Error::plan(error.to_string()))?.into_iter();
    let with_secret = |settled: Settled<'a>| {
        let secret = if settled.missing_on.is_empty() { None } else { secrets.next() };
        (settled, secret)
    };
    Ok(settled.into_iter().map(with_secret).collect())
}

/// The password that is known, or a new one.
fn settle<'a>(
    cluster: &Cluster<'_>,
    used: &PasswordUse<'a>,
    files: &Files<'_>,
    renew: bool,
) -> Result<Settled<'a>, Error> {
    let known = if renew { None } else { known_password(cluster, used, files) };
    let (password, missing_on) = match known {
        Some(known) => known,
        None => (new_password()?, used.stored_on.clone()),
    };
    if let Some((link, _)) = used.links.iter().find(|(link, _)| keeps_another(link, &password)) {
        return Err(Error::plan(format!(
            "the user mapping by which {} logs in to {} has a password that wins over the password file, \
             and another than the role's shall be: take it out first, ALTER USER MAPPING … SERVER … \
             OPTIONS (DROP password)",
            used.role, link.name
        )));
    }
    for state in &missing_on {
        stays_the_admins(state, used.role, &password).on_node(&state.name)?;
    }
    let mut called: Vec<Called<'_>> = Vec::new();
    let mut seen: HashSet<(&str, _)> = HashSet::new();
    for (link, to) in &used.links {
        let by = self::called(link, to);
        // Most links of a role lead to the same node as the one before.
        if called.last().is_some_and(|(last, called)| std::ptr::eq(*last, *to) && *called == by) {
            continue;
        }
        if seen.insert((&to.name, by)) {
            called.push((to, by));
        }
    }
    Ok(Settled { password, missing_on, called })
}

/// Whether a role has a password on a node, and not this one.
fn has_another(state: &NodeState, role: &str, password: &str) -> bool {
    let stored = state.role(role).and_then(|found| found.stored_password.as_ref());
    stored.is_some_and(|stored| {
        judge(stored, state.version, role, password.as_bytes()) == Stored::Another
    })
}

/// # Errors
/// [`Error::Plan`] where a role is to get another password on a node than the administrator, who comes in as
/// that role, has by now: neither the run nor anybody after it would get in.
fn stays_the_admins(state: &NodeState, role: &str, password: &str) -> Result<(), Error> {
    let comes_by_it = state.admin.user == role && hba::asks_admin_for_password(state);
    if !comes_by_it || !has_another(state, role, password) {
        return Ok(());
    }
    Err(Error::plan(format!(
        "you come in as {role} by its password, and that is to be another, for the links log in as this \
         role: connect over the Unix socket by a rule that asks for no password, or as another superuser; \
         or, for the links to have the password that you have, write it into the password file of each \
         node that connects (pgward passfile add) before you apply the description"
    )))
}

/// The host and port by which a link goes on to call a node, where the description has others: a data
/// node is what its foreign server says.
fn called<'a>(link: &'a Link, to: &NodeSpec) -> Option<(&'a str, u16)> {
    if *link.place != LinkPlace::AccessNode {
        return None;
    }
    let host = link.conninfo.get("host")?;
    let port = link.conninfo.get("port").map_or(Ok(5432), str::parse).ok()?;
    let is_known =
        port == to.port && [to.host(), &to.name, &to.address.to_string()].contains(&host);
    (!is_known).then_some((host, port))
}

/// Whether a link goes on to log in with another password than this, whatever is in the password file:
/// an access node's has what its user mapping says.
fn keeps_another(link: &Link, password: &str) -> bool {
    *link.place == LinkPlace::AccessNode
        && link.conninfo.get("password").is_some_and(|own| own != password)
}

/// The password that the peers have if one node's stored secret was made of it, and the nodes whose
/// secret was not. A link that logs in with it already can go on to do so until it is secured.
fn known_password<'a>(
    cluster: &Cluster<'_>,
    used: &PasswordUse<'a>,
    files: &Files<'_>,
) -> Option<(Zeroizing<String>, Vec<&'a NodeState>)> {
    // Trying one is work for each node, and most links have the same.
    let mut tried: Vec<Zeroizing<String>> = Vec::new();
    used.links.iter().find_map(|(link, to)| {
        let in_file = || {
            if !files.have_lines {
                return None;
            }
            let file = files.of(&link.from).filter(|file| file.line_count() > 0)?;
            let version = cluster.state(&link.from)?.version;
            let (host, port) = called(link, to).unwrap_or((to.host(), to.port));
            let port = port.to_string();
            let key = Key::new(used.role).host(host).port(port.as_str());
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
        if tried.contains(&password) {
            return None;
        }
        let mut judged: HashMap<(&str, PgVersion), Stored> = HashMap::new();
        let (mut is_known, mut missing) = (false, Vec::new());
        for state in used.stored_on.iter().copied() {
            let stored = state.role(used.role).and_then(|role| role.stored_password.as_ref());
            let stored = stored.map_or(Stored::Another, |stored| {
                let judge = || judge(stored, state.version, used.role, password.as_bytes());
                *judged.entry((stored, state.version)).or_insert_with(judge)
            });
            is_known |= stored != Stored::Another;
            if stored != Stored::Scram {
                missing.push(state);
            }
        }
        if !is_known {
            tried.push(password);
            return None;
        }
        Some((password, missing))
    })
}

/// What a stored secret was made of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Stored {
    /// The password, and links can log in with it by SCRAM.
    Scram,
    /// The password, by MD5: SCRAM cannot use it, but it is what links log in with
    /// (`md5_crypt_verify`, crypt.c).
    Md5,
    /// Another.
    Another,
}

fn judge(stored: &str, version: PgVersion, role: &str, password: &[u8]) -> Stored {
    if let Some(hash) = stored.strip_prefix("md5") {
        let digest = md5::Md5::new().chain_update(password).chain_update(role).finalize();
        let made = Zeroizing::new(crate::plan::hex(&digest));
        return if *made == *hash { Stored::Md5 } else { Stored::Another };
    }
    if is_of(stored, version, password) { Stored::Scram } else { Stored::Another }
}

/// Whether a SCRAM secret was made of this password.
fn is_of(stored: &str, version: PgVersion, password: &[u8]) -> bool {
    let secret = scram::Secret::parse(stored.as_bytes(), version).ok();
    secret.is_some_and(|secret| {
        secret.verify(&scram::Password::new(password), &scram::Limits::default()) == Ok(true)
    })
}

/// 192 random bits as text that needs no quoting anywhere.
fn new_password() -> Result<Zeroizing<String>, Error> {
    let mut bytes = Zeroizing::new([0_u8; 24]);
    fill(bytes.as_mut())?;
    Ok(Zeroizing::new(crate::plan::hex(bytes.as_ref())))
}

fn fill(bytes: &mut [u8]) -> Result<(), Error> {
    getrandom::fill(bytes)
        .map_err(|error| Error::plan(format!("the system has no random bytes: {error}")))
}
