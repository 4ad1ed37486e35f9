//! Who must not get in: each is tried, as the links' roles, from here; from a peer's machine where the
//! rules for the links do not hold for this one and `ssh` leads there.
//!
//! That somebody is refused proves something only if who has what the links have gets in from the same
//! place: that is tried, too. Where it does not, for the rules are for the peers' addresses, the
//! refusal proves no more than that; what the peers' addresses are asked for is told by the rules.

use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use hba_parser::Method;
use pki::{Authority, Issued, KeyAlgorithm, Profile, Subject, Validity, tls::TlsClient};
use serde::Serialize;
use tokio::sync::Semaphore;

use super::{
    Code, Context, Finding,
    checks::{Login, link_addresses, link_password},
    probe::{self, Asked, Attempt, Outcome},
};
use crate::{
    authority::{self, BACKDATE},
    bounded::{AT_ONCE, first, for_each},
    demand::{Databases, Demand, WayIn},
    error::{Error, NodeContext as _},
    hba::{DecidingRule, Reading},
    inspect::{Node, NodeState},
    spec::Mode,
    sql::PATIENCE,
    tls,
    transport::SshNode,
};

/// An attempt that must fail, and how it went.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refusal {
    /// On which node.
    pub node: String,
    /// As which role.
    pub role: String,
    /// To which database; `None` for physical replication.
    pub database: Option<String>,
    /// What was tried.
    pub trial: Trial,
    /// Whether it failed, as it must.
    pub refused: bool,
    /// The server's answer, in words.
    pub answer: String,
    /// By what it is known that peers are refused.
    pub evidence: Evidence,
}

impl Refusal {
    /// Whether the attempt failed, as it must.
    #[must_use]
    pub fn proved(&self) -> bool {
        self.refused
    }

    /// An attempt that was not refused, as a finding.
    pub(super) fn finding(&self) -> Option<Finding> {
        let what = || {
            let Self { role, trial, answer, .. } = self;
            format!(
                "{role} to {}, {}: {answer}",
                target(self.database.as_deref()),
                trial.describe()
            )
        };
        (!self.refused).then(|| Finding::error(Code::NotRefused, &self.node, what()))
    }
}

/// By what it is known that an attempt fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Evidence {
    /// It was tried, from a place where the links' own login succeeds, or the rules are the links'.
    Tried,
    /// The rules decide so for the peers' addresses. From here it was refused, too, if it was tried;
    /// but so is everybody.
    Rules,
}

/// A login with what the links have, from here.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Control {
    /// On which node.
    pub node: String,
    /// As which role.
    pub role: String,
    /// To which database; `None` for physical replication.
    pub database: Option<String>,
    /// The address that the node sees the machine at which it was tried from: this one, or a peer's.
    pub from: IpAddr,
    /// Whether it succeeded; `None` where it could not be tried.
    pub let_in: Option<bool>,
    /// The server's answer, or why it was not tried.
    pub answer: String,
    /// Whether the rules for the links hold for this address.
    pub expected: bool,
}

impl Control {
    /// What it says if it is not as it should be.
    pub(crate) fn finding(&self) -> Option<Finding> {
        let Self { node, role, from, answer, .. } = self;
        let who = format!("{role} from {from} to {}", target(self.database.as_deref()));
        match (self.let_in, self.expected) {
            (Some(true), _) | (None, true) => None,
            (Some(false), true) => {
                let what = format!("{who}, with what the links have: {answer}");
                Some(Finding::error(Code::LoginRefused, node, what))
            }
            (_, false) => {
                let what = format!(
                    "{who}: the rules for the links do not hold for this address, from which pgward \
                     tries; that others are refused from it says nothing of the peers' addresses, of \
                     which the rules tell"
                );
                Some(Finding::warning(Code::OwnAddress, node, what))
            }
        }
    }
}

fn target(database: Option<&str>) -> String {
    database.map_or_else(|| "replication".to_owned(), |name| format!("database {name}"))
}

/// What must not get in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Trial {
    /// The role without TLS.
    PlainText,
    /// The role over TLS without a certificate.
    NoCertificate,
    /// The role without a password.
    NoPassword,
    /// The role with a certificate of another authority.
    StrangersCertificate,
    /// The role with another role's certificate of the cluster's own authority.
    OthersCertificate,
    /// The role with a wrong password.
    WrongPassword,
}

impl Trial {
    /// In words.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::PlainText => "plain text",
            Self::NoCertificate => "TLS, no certificate",
            Self::NoPassword => "no password",
            Self::StrangersCertificate => "a stranger's certificate",
            Self::OthersCertificate => "another role's certificate",
            Self::WrongPassword => "a wrong password",
        }
    }
}

/// Tries everything on one node, if links lead to it.
pub(super) async fn prove(
    context: &Arc<Context>,
    node: &Node,
    state: &NodeState,
    demand: &Demand,
) -> Result<(Vec<Control>, Vec<Refusal>), Error> {
    if context.spec.mode == Mode::Trust {
        return Ok((Vec::new(), Vec::new()));
    }
    let prove = async {
        let targets = targets(context, &node.spec.name, demand);
        let reading = Reading::of(state, node.spec.address);
        let (own, from) = place(context, node, &reading, &targets).await?;
        let bench = Arc::new(Bench {
            own,
            from,
            node: node.clone(),
            reading,
            strangers: strangers(context)?,
            authority: authority::find(&context.spec.secrets, context.now).ok().flatten(),
            context: context.clone(),
            logins: Semaphore::new(LOGINS_AT_ONCE),
        });
        let tried = for_each(AT_ONCE, targets, move |target| {
            let bench = bench.clone();
            async move { bench.try_all(&Arc::new(target)).await }
        });
        let (mut controls, mut refusals) = (Vec::new(), Vec::new());
        for tried in tried.await? {
            let (control, refused) = tried?;
            controls.extend(control);
            refusals.extend(refused);
        }
        Ok::<_, Error>((controls, refusals))
    };
    prove.await.on_node(&node.spec.name)
}

/// An authority that nobody trusts.
fn strangers(context: &Context) -> Result<Authority, Error> {
    let subject = Subject::common_name("a stranger's CA");
    Ok(Authority::create(KeyAlgorithm::EcdsaP256, &subject, validity(context))?)
}

fn validity(context: &Context) -> Validity {
    Validity::days(context.now - BACKDATE, 1)
}

/// What links log in to on a node.
#[derive(Clone, Debug)]
struct Target {
    way: WayIn,
    /// `None` for physical replication.
    database: Option<String>,
}

impl Target {
    /// A login to it from an address.
    fn login_from(&self, address: IpAddr) -> Login<'_> {
        Login { way: &self.way, address, database: self.database.clone() }
    }

    /// Whether links are let in to it. To the database in a standby's connection string none is: it is
    /// tried all the same, for it is where the role would come in by `all`.
    fn is_for_links(&self) -> bool {
        self.way.databases.iter().any(|databases| match (databases, &self.database) {
            (Databases::Replication, None) | (Databases::All, Some(_)) => true,
            (Databases::Names(names), Some(database)) => names.contains(database),
            _ => false,
        })
    }
}

fn targets(context: &Context, node: &str, demand: &Demand) -> Vec<Target> {
    let mut targets = Vec::new();
    for way in &demand.ways_in {
        let links = context.links_to(node).filter(|(link, wanted)| {
            link.from != link.to && wanted.get("user") == Some(way.role.as_str())
        });
        let databases: BTreeSet<&str> = links.filter_map(|(link, _)| link.database()).collect();
        if databases.is_empty() {
            continue;
        }
        let mut to = |database: Option<&str>| {
            targets.push(Target { way: way.clone(), database: database.map(str::to_owned) });
        };
        databases.iter().for_each(|database| to(Some(database)));
        if way.databases.contains(&Databases::Replication) {
            to(None);
        }
    }
    targets
}

/// Whether the rules for the links hold for an address.
fn hold_for(reading: &Reading, targets: &[Target], address: IpAddr) -> bool {
    targets.iter().filter(|target| target.is_for_links()).all(|target| {
        let rule = target.login_from(address).decide(reading, target.way.tls);
        rule.is_some_and(|rule| is_for(&target.way, &rule))
    })
}

/// Where attempts on a node come from: this machine, where the rules for the links hold for it, or that
/// of a peer which `ssh` leads to.
async fn place(
    context: &Context,
    node: &Node,
    reading: &Reading,
    targets: &[Target],
) -> Result<(IpAddr, Option<SshNode>), Error> {
    let own = probe::own_address(&node.spec).await?;
    let holds_for = |address: IpAddr| hold_for(reading, targets, address);
    if holds_for(own) {
        return Ok((own, None));
    }
    let there = SocketAddr::new(node.spec.address, node.spec.port);
    let peers: BTreeSet<&str> =
        context.links_to(&node.spec.name).map(|(link, _)| &*link.from).collect();
    let mut machines = Vec::new();
    for peer in peers.into_iter().filter(|peer| *peer != node.spec.name) {
        let peer = context.node(peer)?;
        let machine = peer.files.machine().filter(|_| holds_for(peer.spec.address));
        machines.extend(machine.map(|machine| (peer.spec.address, machine.clone())));
    }
    // All at once, and no longer than one of them may take.
    let ask =
        |(_, machine): (IpAddr, SshNode)| async move { probe::answers(&machine, there).await };
    let answers = first(PEERS_AT_ONCE, PATIENCE, machines.clone(), ask).await;
    Ok(match answers.and_then(|place| machines.into_iter().nth(place)) {
        Some((address, machine)) => (address, Some(machine)),
        None => (own, None),
    })
}

/// So many peers are asked at the same time whether they reach a node.
const PEERS_AT_ONCE: usize = 16;

/// What attempts on one node are made with.
struct Bench {
    context: Arc<Context>,
    node: Node,
    /// The address that they come from.
    own: IpAddr,
    /// The machine that they come from, if not this one.
    from: Option<SshNode>,
    reading: Reading,
    strangers: Authority,
    /// Only where the authority's key is at hand. The certificates that it makes here live in memory
    /// for the time of this call.
    authority: Option<Authority>,
    /// One for each login that may be tried now.
    logins: Semaphore,
}

/// So many logins are tried on a node at the same time: each takes one of its connections.
const LOGINS_AT_ONCE: usize = 32;

impl Bench {
    /// The links' own login, where there is one, and everything else that must be refused. All at
    /// once: a node that is far away is waited for once.
    async fn try_all(
        self: &Arc<Self>,
        target: &Arc<Target>,
    ) -> Result<(Option<Control>, Vec<Refusal>), Error> {
        let way = &target.way;
        let expected = target
            .login_from(self.own)
            .decide(&self.reading, way.tls)
            .is_some_and(|rule| is_for(way, &rule));
        // A role that others may come in as from elsewhere, by other rules.
        let here = way.links_only || way.networks.iter().any(|network| network.contains(&self.own));
        let tried = for_each(AT_ONCE, self.trials(way)?, |(trial, tls, password)| {
            let (bench, target) = (self.clone(), target.clone());
            async move {
                let attempt = bench.attempt(&target, tls.as_ref(), password.as_ref(), false);
                (trial, if here { Some(attempt.await) } else { None })
            }
        });
        let control = async {
            match target.is_for_links() {
                true => self.control(target, expected).await.map(Some),
                false => Ok(None),
            }
        };
        let (control, tried) = tokio::join!(control, tried);
        let control = control?;
        let is_proof = expected || control.as_ref().is_some_and(|own| own.let_in == Some(true));
        let mut refusals = Vec::new();
        for (trial, outcome) in tried? {
            let mut refusal = Refusal {
                node: self.node.spec.name.clone(),
                role: way.role.clone(),
                database: target.database.clone(),
                trial,
                refused: true,
                answer: "not tried from here".to_owned(),
                evidence: Evidence::Tried,
            };
            if let Some(outcome) = outcome.transpose()? {
                refusal.refused = is_refused(trial, &outcome);
                refusal.answer = match (refusal.refused, &outcome) {
                    (false, Outcome::Refused { .. } | Outcome::TlsRefused { .. }) => {
                        format!("not let in, but not because of what was tried: {outcome}")
                    }
                    _ => outcome.to_string(),
                };
            }
            if !is_proof {
                refusal.evidence = Evidence::Rules;
                let (refused, words) = self.by_rules(target, trial);
                refusal.refused &= refused;
                refusal.answer = format!("{}; {words}", refusal.answer);
            }
            refusals.push(refusal);
        }
        Ok((control, refusals))
    }

    async fn attempt(
        &self,
        target: &Target,
        tls: Option<&TlsClient>,
        password: Option<&scram::Password>,
        to_the_end: bool,
    ) -> Result<Outcome, Error> {
        let physical = target.database.is_none();
        let _login = self.logins.acquire().await.map_err(|_| Error::Cancelled)?;
        probe::attempt(&Attempt {
            from: self.from.as_ref(),
            node: &self.node.spec,
            user: &target.way.role,
            database: target.database.as_deref().unwrap_or(&target.way.role),
            replication: physical.then_some("true"),
            tls,
            password,
            to_the_end,
        })
        .await
    }

    /// The links' own login.
    async fn control(&self, target: &Target, expected: bool) -> Result<Control, Error> {
        let spec = &self.context.spec;
        let way = &target.way;
        let mut control = Control {
            node: self.node.spec.name.clone(),
            role: way.role.clone(),
            database: target.database.clone(),
            from: self.own,
            let_in: None,
            answer: String::new(),
            expected,
        };
        let (mut identity, mut password) = (None, None);
        match spec.mode {
            Mode::Cert => {
                let Some(authority) = &self.authority else {
                    "the authority's key is not at hand".clone_into(&mut control.answer);
                    return Ok(control);
                };
                let profile = Profile::client(&way.role);
                let validity = authority.within(validity(&self.context));
                identity = Some(authority.issue(KeyAlgorithm::EcdsaP256, &profile, validity)?);
            }
            Mode::Scram => {
                password = link_password(&self.context, &self.node.spec.name, &way.role);
                if password.is_none() {
                    "no password file has its password".clone_into(&mut control.answer);
                    return Ok(control);
                }
            }
            Mode::Trust => return Ok(control),
        }
        let verified = spec.secrets.join(authority::CERTIFICATE).exists();
        let client = match (way.tls, verified) {
            (false, _) => None,
            (true, true) => Some(tls::verify_full(&spec.secrets, identity.as_ref())?),
            (true, false) => Some(tls::any_server(identity.as_ref())?),
        };
        let outcome = self.attempt(target, client.as_ref(), password.as_ref(), true).await?;
        control.let_in = Some(matches!(outcome, Outcome::LetIn { .. }));
        control.answer = outcome.to_string();
        Ok(control)
    }

    #[expect(clippy::type_complexity, reason = "it is taken apart at once")]
    fn trials(
        &self,
        way: &WayIn,
    ) -> Result<Vec<(Trial, Option<TlsClient>, Option<scram::Password>)>, Error> {
        let any =
            |identity: Option<&Issued>| way.tls.then(|| tls::any_server(identity)).transpose();
        let validity = validity(&self.context);
        let mut trials = Vec::new();
        if way.tls {
            let profile = Profile::client(&way.role);
            let strangers = self.strangers.issue(KeyAlgorithm::EcdsaP256, &profile, validity)?;
            trials.push((Trial::PlainText, None, None));
            trials.push((Trial::StrangersCertificate, any(Some(&strangers))?, None));
        }
        match way.method {
            Method::Cert => {
                trials.push((Trial::NoCertificate, any(None)?, None));
                if let Some(authority) = &self.authority {
                    let others = Profile::client("pgward-nobody");
                    let validity = authority.within(validity);
                    let others = authority.issue(KeyAlgorithm::EcdsaP256, &others, validity)?;
                    trials.push((Trial::OthersCertificate, any(Some(&others))?, None));
                }
            }
            Method::ScramSha256 => {
                let wrong = scram::Password::new("not the password");
                trials.push((Trial::NoPassword, any(None)?, None));
                trials.push((Trial::WrongPassword, any(None)?, Some(wrong)));
            }
            _ => {}
        }
        Ok(trials)
    }

    /// Whether the rules refuse it to every peer, and in words which rule does to the last of them.
    fn by_rules(&self, target: &Target, trial: Trial) -> (bool, String) {
        let way = &target.way;
        let tls = way.tls && trial != Trial::PlainText;
        let mut words = "the rules cannot be told".to_owned();
        if self.reading.refusal().is_some() {
            return (false, words);
        }
        let Context { spec, links, .. } = &*self.context;
        let to = self.node.spec.name.as_str();
        let links = links.get(to).map(Vec::as_slice).unwrap_or_default();
        for address in link_addresses(spec, links, way, to) {
            let rule = target.login_from(address).decide(&self.reading, tls);
            let decision = rule.as_ref().map_or_else(|| "no rule".to_owned(), ToString::to_string);
            words = format!("for {address} the rules have {decision}");
            let refused = match &rule {
                None => true,
                Some(rule) if rule.rejects() => true,
                Some(_) if trial == Trial::PlainText => false,
                Some(rule) => is_for(way, rule),
            };
            if !refused {
                return (false, words);
            }
        }
        (true, words)
    }
}

/// Whether a rule asks for what the links have.
fn is_for(way: &WayIn, rule: &DecidingRule) -> bool {
    rule.method == way.method && rule.map.is_none()
}

/// Whether an outcome is the refusal that a trial wants.
fn is_refused(trial: Trial, outcome: &Outcome) -> bool {
    match (trial, outcome) {
        (_, Outcome::LetIn { .. }) => false,
        // To ask for the password is to refuse whoever has none; but only SCRAM, which gives nothing
        // away to a listener.
        (Trial::NoPassword, Outcome::Asked(Asked::Sasl(_))) => true,
        // In password mode a certificate is looked at, not asked for: the password still is.
        (Trial::StrangersCertificate, Outcome::Asked(Asked::Sasl(_))) => true,
        (_, Outcome::Asked(_)) => false,
        // Without TLS there, whatever needs TLS gets in nowhere, but what the trial wants to know
        // was not tried.
        (_, Outcome::NoTls) => false,
        // "Too many clients" or "starting up" would be no refusal of this user.
        (Trial::WrongPassword, Outcome::Refused { asked: Some(Asked::Sasl(_)), code, .. }) => {
            code == "28P01"
        }
        (_, Outcome::Refused { code, .. }) => code.starts_with("28"),
        // A handshake that failed for another reason would have failed for the right client, too.
        (trial, Outcome::TlsRefused { for_certificate, .. }) => {
            *for_certificate
                && matches!(trial, Trial::StrangersCertificate | Trial::OthersCertificate)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inspect::sample;

    #[test]
    fn the_rules_hold_for_where_the_links_get_in() {
        let hba = b"hostssl replication repl 10.0.0.0/8 scram-sha-256\nhost all all all reject\n";
        let reading = Reading::of(&sample::node(hba, &[]), [10, 0, 0, 1].into());
        let way = WayIn {
            role: "repl".to_owned(),
            databases: vec![Databases::Replication],
            networks: Vec::new(),
            method: Method::ScramSha256,
            tls: true,
            links_only: true,
        };
        // A standby's connection string names a database, to which it never connects.
        let targets = [Some("postgres".to_owned()), None];
        let targets = targets.map(|database| Target { way: way.clone(), database });
        assert!(hold_for(&reading, &targets, [10, 0, 0, 2].into()));
        assert!(!hold_for(&reading, &targets, [192, 168, 0, 2].into()));
    }

    #[test]
    fn only_the_refusal_of_this_login_counts() {
        let refused = |code: &str| Outcome::Refused {
            asked: None,
            code: code.to_owned(),
            message: String::new(),
        };
        let tls = |for_certificate| Outcome::TlsRefused { reason: String::new(), for_certificate };
        assert!(is_refused(Trial::PlainText, &refused("28000")));
        // Too many connections; starting up.
        for code in ["53300", "57P03"] {
            assert!(!is_refused(Trial::PlainText, &refused(code)), "{code}");
            assert!(!is_refused(Trial::WrongPassword, &refused(code)), "{code}");
        }
        assert!(is_refused(Trial::StrangersCertificate, &tls(true)));
        assert!(!is_refused(Trial::StrangersCertificate, &tls(false)));
        assert!(!is_refused(Trial::WrongPassword, &tls(true)));
        assert!(!is_refused(Trial::PlainText, &Outcome::NoTls));
    }
}
