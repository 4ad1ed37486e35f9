//! From a heap of PEM files to chains: found, ordered, completed.

use std::cmp::Reverse;
use std::collections::HashMap;

use time::OffsetDateTime;

use crate::certificate::{Certificate, Name};
use crate::check::{Check, Path, Purpose, Reason, Rejection, Verifier};
use crate::error::Error;
use crate::key::PrivateKey;
use crate::pem::{self, Kind};

/// The most certificates in a chain.
const LONGEST: usize = 16;
/// How many steps are tried before the search for chains is given up.
const MOST_STEPS: usize = 10_000;
/// How many chains of one certificate are kept.
const MOST_CHAINS: usize = 64;

/// Certificates of unknown order and relation: the contents of any number of PEM files.
///
/// ```
/// use pki::{Authority, AuthorityOptions, Heap, KeyAlgorithm, Profile, Subject, Validity};
/// use time::OffsetDateTime;
///
/// let validity = Validity::days(OffsetDateTime::UNIX_EPOCH, 30);
/// let p256 = KeyAlgorithm::EcdsaP256;
/// let root = Authority::create(p256, &Subject::common_name("root"), validity)?;
/// let issuing = root.intermediate(
///     p256,
///     &Subject::common_name("issuing"),
///     validity,
///     &AuthorityOptions::default(),
/// )?;
/// let node = issuing.issue(p256, &Profile::server(["node1"])?, validity)?;
///
/// let mut heap = Heap::new();
/// heap.add_pem(root.certificate().to_pem().as_bytes())?;
/// heap.add_pem(node.certificate.to_pem().as_bytes())?;
/// heap.add_pem(issuing.certificate().to_pem().as_bytes())?;
/// let leaf = heap.certificate_of(&node.key).unwrap();
/// let chain = heap.chains(leaf, OffsetDateTime::UNIX_EPOCH).remove(0);
/// assert!(chain.is_complete());
/// assert_eq!(chain.certificate_file(), node.chain_pem());
/// assert_eq!(chain.root_file(), Some(root.certificate().to_pem()));
/// # Ok::<(), pki::Error>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct Heap {
    certificates: Vec<Certificate>,
}

impl Heap {
    /// An empty heap.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds every certificate of a PEM file, once each, and tells how many were new. Keys and other
    /// blocks are passed over.
    ///
    /// # Errors
    /// [`Error::Pem`] and [`Error::Certificate`]. Nothing is added then.
    pub fn add_pem(&mut self, text: &[u8]) -> Result<usize, Error> {
        let read: Vec<_> = pem::read(text)?
            .iter()
            .filter(|block| block.kind == Kind::Certificate)
            .map(Certificate::from_block)
            .collect::<Result<_, _>>()?;
        let before = self.certificates.len();
        read.into_iter().for_each(|certificate| self.add(certificate));
        Ok(self.certificates.len() - before)
    }

    /// Adds a certificate, if it is not there yet.
    pub fn add(&mut self, certificate: Certificate) {
        if !self.certificates.contains(&certificate) {
            self.certificates.push(certificate);
        }
    }

    /// Everything in the heap, in the order in which it came.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// The certificate that was made for a key. Where there are several, it is the one that ends
    /// last.
    #[must_use]
    pub fn certificate_of(&self, key: &PrivateKey) -> Option<&Certificate> {
        let matching = self.certificates.iter().filter(|certificate| key.matches(certificate));
        matching.max_by_key(|certificate| certificate.validity().not_after)
    }

    /// The certificates that are nobody's issuer here: those of servers and clients.
    ///
    /// In a heap with more than some ten thousand signatures to verify, an authority counts as an
    /// issuer unverified.
    #[must_use]
    pub fn leaves(&self) -> Vec<&Certificate> {
        let mut by_issuer: HashMap<&Name, Vec<&Certificate>> = HashMap::new();
        for certificate in &self.certificates {
            by_issuer.entry(certificate.issuer()).or_default().push(certificate);
        }
        let mut verified = 0;
        let mut issues = |certificate: &Certificate| {
            let below = by_issuer.get(certificate.subject()).map(Vec::as_slice).unwrap_or_default();
            below.iter().any(|below| {
                if *below == certificate || names_another_key(below, certificate) {
                    return false;
                }
                verified += 1;
                if verified > MOST_STEPS {
                    return certificate.is_authority();
                }
                below.is_signed_by(certificate.public_key())
            })
        };
        let leaves = self.certificates.iter();
        leaves.filter(|one| !one.is_self_signed() && !issues(one)).collect()
    }

    /// Every chain from `leaf` upwards, the best first: complete before incomplete, valid at `time`
    /// before invalid, then the one whose weakest certificate ends last, then the shorter.
    ///
    /// Each link is a verified signature. A heap with more than some ten thousand links to try
    /// gives the chains that were found until then.
    #[must_use]
    pub fn chains(&self, leaf: &Certificate, time: OffsetDateTime) -> Vec<Chain> {
        let mut search = Search { heap: self, found: Vec::new(), steps: 0 };
        search.climb(&mut vec![leaf.clone()]);
        let mut chains = search.found;
        chains.sort_by_key(|chain| {
            let valid = chain.certificates.iter().all(|part| part.validity().contains(time));
            let ends = chain.certificates.iter().map(|part| part.validity().not_after).min();
            (Reverse(chain.complete), Reverse(valid), Reverse(ends), chain.certificates.len())
        });
        chains
    }

    /// The best chain that a verifier accepts, with its own root as the trusted one.
    ///
    /// # Errors
    /// Why the best chain is refused, if all are.
    pub fn accepted_chain(
        &self,
        leaf: &Certificate,
        purpose: Purpose,
        time: OffsetDateTime,
        verifier: Verifier,
    ) -> Result<Chain, Rejection> {
        let mut first = None;
        for chain in self.chains(leaf, time) {
            match chain.check(purpose, time, verifier) {
                Ok(_) => return Ok(chain),
                Err(rejection) => {
                    first.get_or_insert(rejection);
                }
            }
        }
        Err(first.unwrap_or_else(|| Rejection::new(Reason::IssuerUnknown, leaf)))
    }
}

/// Whether the key identifiers say that another key signed `below`.
fn names_another_key(below: &Certificate, issuer: &Certificate) -> bool {
    let wanted = below.extensions().authority_key_id.as_ref().and_then(|id| id.key_id.as_ref());
    let found = issuer.extensions().subject_key_id.as_ref();
    wanted.is_some() && found.is_some() && wanted != found
}

struct Search<'a> {
    heap: &'a Heap,
    found: Vec<Chain>,
    steps: usize,
}

impl Search<'_> {
    fn climb(&mut self, chain: &mut Vec<Certificate>) {
        let Some(last) = chain.last().cloned() else { return };
        if self.found.len() >= MOST_CHAINS {
            return;
        }
        if last.is_self_signed() {
            self.found.push(Chain { certificates: chain.clone(), complete: true });
            return;
        }
        let mut grown = false;
        for issuer in &self.heap.certificates {
            if chain.len() >= LONGEST || self.steps >= MOST_STEPS {
                break;
            }
            if issuer.subject() != last.issuer() || chain.contains(issuer) {
                continue;
            }
            self.steps += 1;
            if last.is_signed_by(issuer.public_key()) {
                grown = true;
                chain.push(issuer.clone());
                self.climb(chain);
                chain.pop();
            }
        }
        if !grown {
            self.found.push(Chain { certificates: chain.clone(), complete: false });
        }
    }
}

/// A chain, leaf first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chain {
    certificates: Vec<Certificate>,
    complete: bool,
}

impl Chain {
    /// The certificates, leaf first.
    #[must_use]
    pub fn certificates(&self) -> &[Certificate] {
        &self.certificates
    }

    /// Whether it ends in a root.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.complete
    }

    /// The root, if it is there.
    #[must_use]
    pub fn root(&self) -> Option<&Certificate> {
        self.certificates.last().filter(|_| self.complete)
    }

    /// What is presented: the leaf and its intermediates, without the root.
    #[must_use]
    pub fn presented(&self) -> &[Certificate] {
        let length = self.certificates.len();
        // A leaf that is its own root is presented all the same.
        let end = if self.complete && length > 1 { length - 1 } else { length };
        &self.certificates[..end]
    }

    /// The file for `ssl_cert_file` or `sslcert`. Servers want the leaf first; in any other order
    /// they do not start (`key values mismatch`).
    #[must_use]
    pub fn certificate_file(&self) -> String {
        self.presented().iter().map(Certificate::to_pem).collect()
    }

    /// The file for `ssl_ca_file` or `sslrootcert`.
    #[must_use]
    pub fn root_file(&self) -> Option<String> {
        self.root().map(Certificate::to_pem)
    }

    /// Whether a verifier that trusts its root accepts it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(
        &self,
        purpose: Purpose,
        time: OffsetDateTime,
        verifier: Verifier,
    ) -> Result<Path, Rejection> {
        let trust = self.root().map(std::slice::from_ref).unwrap_or_default();
        Check::new(self.presented(), trust, purpose, time).verifier(verifier).run()
    }
}
