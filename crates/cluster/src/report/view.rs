//! What the parts of the page have in common: nodes by number, links between them, states.

use std::collections::BTreeSet;

use crate::verify::{Code, Finding, LinkProof, Severity, Verification};

/// How something is. The worst comes last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum State {
    /// As it should be.
    Good,
    /// Somebody should look at it.
    Odd,
    /// Not as it should be.
    Bad,
    /// Nothing is known of it: that is not as it should be, either.
    Unknown,
}

impl State {
    pub(super) const fn good_if(good: bool) -> Self {
        if good { Self::Good } else { Self::Bad }
    }

    /// What the style calls it.
    pub(super) const fn class(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Odd => "odd",
            Self::Bad => "bad",
            Self::Unknown => "unknown",
        }
    }

    /// What the filter calls it.
    pub(super) const fn filter(self) -> &'static str {
        match self {
            Self::Unknown => "bad",
            other => other.class(),
        }
    }
}

/// A verification, and where in the page its parts are.
pub(super) struct View<'v> {
    pub(super) verification: &'v Verification,
    /// Every node that anything is said of, in the order of the description.
    pub(super) names: Vec<&'v str>,
}

/// The links from one node to another, of which there may be several.
pub(super) struct Pair<'v> {
    pub(super) from: usize,
    pub(super) to: usize,
    /// Their places in the verification.
    pub(super) links: Vec<(usize, &'v LinkProof)>,
    /// That of the worst of them.
    pub(super) state: State,
}

impl Pair<'_> {
    /// The link that a look at the pair leads to: the first of the worst.
    pub(super) fn worst(&self) -> usize {
        let worst = self.links.iter().find(|(_, link)| link_state(link) == self.state);
        worst.or(self.links.first()).map_or(0, |(index, _)| *index)
    }
}

impl<'v> View<'v> {
    pub(super) fn of(verification: &'v Verification) -> Self {
        let Verification { nodes, links, findings, certificates, .. } = verification;
        let mut names: Vec<&str> = nodes.iter().map(|node| node.name.as_str()).collect();
        let more = links
            .iter()
            .flat_map(|link| [link.from.as_str(), link.to.as_str()])
            .chain(findings.iter().map(|finding| finding.node.as_str()))
            .chain(certificates.iter().map(|certificate| certificate.node.as_str()));
        for name in more {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        Self { verification, names }
    }

    /// A node's number.
    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| *known == name)
    }

    /// Nodes as the filter reads them: their numbers, with blanks between.
    pub(super) fn numbers(&self, names: &[&str]) -> String {
        let numbers: BTreeSet<usize> = names.iter().filter_map(|name| self.index(name)).collect();
        numbers.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
    }

    /// The nodes that links lead from or to, and every other one of the description.
    pub(super) fn drawn(&self) -> Vec<usize> {
        let links = &self.verification.links;
        let described = self.verification.nodes.len();
        let linked = |name: &str| links.iter().any(|link| link.from == name || link.to == name);
        let all = self.names.iter().enumerate();
        all.filter(|(index, name)| *index < described || linked(name))
            .map(|(index, _)| index)
            .collect()
    }

    /// The links by where they lead, in the order of the nodes.
    pub(super) fn pairs(&self) -> Vec<Pair<'v>> {
        let mut pairs: std::collections::BTreeMap<(usize, usize), Vec<(usize, &LinkProof)>> =
            std::collections::BTreeMap::new();
        for (place, link) in self.verification.links.iter().enumerate() {
            if let (Some(from), Some(to)) = (self.index(&link.from), self.index(&link.to)) {
                pairs.entry((from, to)).or_default().push((place, link));
            }
        }
        let pairs = pairs.into_iter().map(|((from, to), links)| {
            let state = links.iter().map(|(_, link)| link_state(link)).max();
            Pair { from, to, links, state: state.unwrap_or(State::Unknown) }
        });
        pairs.collect()
    }

    /// How a node is, but for its links.
    pub(super) fn node_state(&self, name: &str) -> State {
        let Verification { nodes, findings, servers, refusals, .. } = self.verification;
        if nodes.iter().any(|node| node.name == name && node.server_version.is_none()) {
            return State::Unknown;
        }
        let own = findings.iter().filter(|finding| finding.node == name && finding.link.is_none());
        let wrong = servers.iter().any(|server| server.node == name && !server.proved())
            || refusals.iter().any(|refusal| refusal.node == name && !refusal.proved());
        own.map(finding_state).chain([State::good_if(!wrong)]).max().unwrap_or(State::Good)
    }

    /// The findings about a link.
    pub(super) fn about<'a>(
        &'a self,
        link: &'a LinkProof,
    ) -> impl Iterator<Item = &'v Finding> + 'a {
        let is_about = |finding: &&Finding| {
            finding.link.as_ref().is_some_and(|(from, to)| (from, to) == (&link.from, &link.to))
        };
        self.verification.findings.iter().filter(is_about)
    }
}

pub(super) fn link_state(link: &LinkProof) -> State {
    match (link.proved(), link.session.is_some() || link.method.is_some()) {
        (true, _) => State::Good,
        (false, true) => State::Bad,
        (false, false) => State::Unknown,
    }
}

pub(super) fn finding_state(finding: &Finding) -> State {
    match finding.severity {
        Severity::Error => State::Bad,
        Severity::Warning => State::Odd,
    }
}

/// Codes as the filter reads them: with blanks between.
pub(super) fn codes<'f>(findings: impl Iterator<Item = &'f Finding>) -> String {
    let codes: BTreeSet<Code> = findings.map(|finding| finding.code).collect();
    codes.iter().map(|code| code.id()).collect::<Vec<_>>().join(" ")
}

/// `1 link`, `2 links`
pub(super) fn count(number: usize, one: &str, many: &str) -> String {
    if number == 1 { format!("1 {one}") } else { format!("{number} {many}") }
}
