//! Certificate signing requests: the key is made where it stays, only the request travels.

use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::prelude::FromDer;

use crate::authority::{Authority, NameSubtree, unmade};
use crate::certificate::{Certificate, Extensions, GeneralName, KeyUsage, Name, Validity, words};
use crate::check::{holds_dns, holds_ip};
use crate::error::Error;
use crate::frame;
use crate::key::PrivateKey;
use crate::oid;
use crate::pem::{self, Kind};
use crate::profile::Profile;
use crate::signature::{Curve, KeyKind, PublicKey, SignatureAlgorithm};

/// A certificate signing request (PKCS#10, RFC 2986).
///
/// ```
/// use pki::{
///     Authority, KeyAlgorithm, NameSubtree, PrivateKey, Profile, Request, RequestPolicy, Subject,
///     Validity,
/// };
/// use time::OffsetDateTime;
///
/// // On the node: the key never leaves it.
/// let key = PrivateKey::generate(KeyAlgorithm::EcdsaP256)?;
/// let request = Request::create(&key, &Profile::server(["node1.example.com"])?)?;
/// let sent = request.to_pem();
///
/// // At the authority.
/// let validity = Validity::days(OffsetDateTime::UNIX_EPOCH, 30);
/// let root = Authority::create(KeyAlgorithm::EcdsaP256, &Subject::common_name("CA"), validity)?;
/// let policy = RequestPolicy {
///     hosts: vec![NameSubtree::Dns("example.com".to_owned())],
///     ..RequestPolicy::default()
/// };
/// let request = Request::from_pem(sent.as_bytes())?;
/// let certificate = root.sign_request(&request, &policy, validity)?;
/// assert!(key.matches(&certificate));
/// # Ok::<(), pki::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    der: Vec<u8>,
    subject: Name,
    public_key: PublicKey,
    extensions: Extensions,
}

impl Request {
    /// A request for a certificate of `profile`, signed with `key`.
    ///
    /// # Errors
    /// [`Error::Refused`] for a profile that cannot be.
    pub fn create(key: &PrivateKey, profile: &Profile) -> Result<Self, Error> {
        let mut parameters = profile.parameters()?;
        // That is the authority's to say.
        parameters.use_authority_key_identifier_extension = false;
        let made = parameters
            .serialize_request(key)
            .map_err(|error| unmade("certificate signing request", &error))?;
        Self::from_der(made.der())
    }

    /// Reads a request from DER and verifies that its own key signed it.
    ///
    /// # Errors
    /// [`Error::Request`]
    pub fn from_der(der: &[u8]) -> Result<Self, Error> {
        let unusable = |reason: String| Error::Request(reason);
        let subject = frame::request(der).map_err(unusable)?;
        let (_, parsed) =
            X509CertificationRequest::from_der(der).map_err(|error| unusable(words(&error)))?;
        let info = &parsed.certification_request_info;
        let public_key = PublicKey::from_parsed(&info.subject_pki);
        let algorithm = SignatureAlgorithm::from_parsed(&parsed.signature_algorithm);
        public_key
            .verify(&algorithm, info.raw, &parsed.signature_value.data)
            .map_err(|error| unusable(error.to_string()))?;
        let extensions = info
            .iter_attributes()
            .find_map(|attribute| match attribute.parsed_attribute() {
                x509_parser::cri_attributes::ParsedCriAttribute::ExtensionRequest(request) => {
                    Some(Extensions::from_parsed(&request.extensions))
                }
                _ => None,
            })
            .unwrap_or_default();
        let damaged = [&extensions.malformed, &extensions.duplicate, &extensions.trailing];
        if let Some(oid) = damaged.into_iter().flatten().next() {
            return Err(unusable(format!("it asks for a damaged extension: {oid:?}")));
        }
        Ok(Self {
            der: der.to_vec(),
            subject: Name::from_der(subject)
                .ok_or_else(|| unusable("its subject cannot be read".to_owned()))?,
            public_key,
            extensions,
        })
    }

    /// Reads the first request of a PEM file.
    ///
    /// # Errors
    /// [`Error::Pem`], [`Error::Missing`] and [`Error::Request`].
    pub fn from_pem(text: &[u8]) -> Result<Self, Error> {
        let block = pem::first(text, Kind::Request, "certificate signing request")?;
        Self::from_der(block.contents())
    }

    /// The request as DER.
    #[must_use]
    pub fn as_der(&self) -> &[u8] {
        &self.der
    }

    /// The request as PEM. Nothing in it is secret.
    #[must_use]
    pub fn to_pem(&self) -> String {
        pem::write("CERTIFICATE REQUEST", &self.der)
    }

    /// For whom.
    #[must_use]
    pub fn subject(&self) -> &Name {
        &self.subject
    }

    /// The key that is to be certified.
    #[must_use]
    pub fn public_key(&self) -> &PublicKey {
        &self.public_key
    }

    /// The extensions that it asks for.
    #[must_use]
    pub fn extensions(&self) -> &Extensions {
        &self.extensions
    }
}

/// What requests may ask for. By default: nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestPolicy {
    /// Host names and addresses must lie in one of these.
    pub hosts: Vec<NameSubtree>,
    /// Names with a wildcard are allowed, if what they stand for is.
    pub wildcards: bool,
    /// The roles that may be asked for, exactly as PostgreSQL stores them.
    pub roles: Vec<String>,
    /// Whether a request may ask for a [`Profile::TimescaleIntermediate`].
    pub intermediates: bool,
}

/// Extensions that a request may ask for.
const REQUESTABLE: [&[u8]; 5] = [
    oid::SUBJECT_ALT_NAME,
    oid::KEY_USAGE,
    oid::EXTENDED_KEY_USAGE,
    oid::BASIC_CONSTRAINTS,
    oid::SUBJECT_KEY_ID,
];

impl RequestPolicy {
    /// The profile that a request amounts to, if it is allowed.
    ///
    /// What the request says is never copied into a certificate: only its key, the host names and
    /// the role are used, each after it was found allowed.
    ///
    /// # Errors
    /// [`Error::Policy`] with what is not allowed.
    pub fn judge(&self, request: &Request) -> Result<Profile, Error> {
        let extensions = request.extensions();
        for present in &extensions.present {
            if !REQUESTABLE.iter().any(|oid| present.oid == *oid) {
                return refuse(format!("the extension {:?}", present.oid));
            }
        }
        match request.public_key().kind() {
            KeyKind::Rsa { bits: 2048.. }
            | KeyKind::Ec(Curve::P256 | Curve::P384 | Curve::P521)
            | KeyKind::Ed25519 => {}
            kind => return refuse(format!("a key of type {kind}")),
        }
        let usages = extensions.extended_key_usage.as_deref().unwrap_or_default();
        if let Some(other) =
            usages.iter().find(|usage| **usage != oid::SERVER_AUTH && **usage != oid::CLIENT_AUTH)
        {
            return refuse(format!("the usage {other:?}"));
        }
        let names = self.hosts_of(request)?;
        let wants = |usage: &[u8]| usages.iter().any(|found| *found == *usage);
        let (server, client) = match usages {
            [] => (!names.is_empty(), names.is_empty()),
            _ => (wants(oid::SERVER_AUTH), wants(oid::CLIENT_AUTH)),
        };
        let signs = extensions.basic_constraints.is_some_and(|read| read.ca)
            || extensions.key_usage.is_some_and(|read| read.allows_any(KeyUsage::KEY_CERT_SIGN));
        if signs {
            if !self.intermediates {
                return refuse("a certificate that signs others".to_owned());
            }
            return Profile::timescale_intermediate(names);
        }
        if server && !client {
            if let Some(name) = common_name(request)?
                && !names.contains(&name)
            {
                return refuse(format!("the common name {name:?}, which is none of its hosts"));
            }
            return Profile::server(names);
        }
        let role = common_name(request)?.unwrap_or_default();
        if !self.roles.contains(&role) {
            return refuse(format!("the role {role:?}"));
        }
        if server {
            return Profile::node(role, names);
        }
        if !names.is_empty() {
            return refuse("host names in a client's certificate".to_owned());
        }
        Ok(Profile::client(role))
    }

    /// The host names and addresses that are asked for, all of them allowed.
    fn hosts_of(&self, request: &Request) -> Result<Vec<String>, Error> {
        let names = request.extensions().subject_alt_names.as_deref().unwrap_or_default();
        let mut hosts = Vec::new();
        for name in names {
            let (host, allowed) = match (name, name.ip()) {
                (_, Some(address)) => (address.to_string(), self.allows_address(address)),
                (GeneralName::Dns(text), None) => {
                    let host = String::from_utf8_lossy(text).into_owned();
                    let allowed = host
                        .parse()
                        .map_or_else(|_| self.allows_host(&host), |ip| self.allows_address(ip));
                    (host, allowed)
                }
                _ => return refuse(format!("the name {name}")),
            };
            if !allowed {
                return refuse(format!("the host {host:?}"));
            }
            hosts.push(host);
        }
        Ok(hosts)
    }

    fn allows_address(&self, address: std::net::IpAddr) -> bool {
        let octets = |address: std::net::IpAddr| match address {
            std::net::IpAddr::V4(address) => address.octets().to_vec(),
            std::net::IpAddr::V6(address) => address.octets().to_vec(),
        };
        self.hosts.iter().any(|tree| match tree {
            NameSubtree::Ip(base, bits) => {
                let mut subtree = octets(*base);
                let width = subtree.len();
                subtree.extend((0..width).map(|octet| {
                    let set = usize::from(*bits).saturating_sub(octet * 8).min(8);
                    u8::try_from(0xff00_u16 >> set & 0xff).unwrap_or(0)
                }));
                holds_ip(&subtree, &octets(address)).unwrap_or(false)
            }
            NameSubtree::Dns(_) => false,
        })
    }

    fn allows_host(&self, host: &str) -> bool {
        let wildcard = host.strip_prefix("*.");
        let name = wildcard.unwrap_or(host);
        (wildcard.is_none() || self.wildcards)
            && self.hosts.iter().any(|tree| match tree {
                NameSubtree::Dns(base) => holds_dns(base.as_bytes(), name.as_bytes()),
                NameSubtree::Ip(..) => false,
            })
    }
}

fn refuse<T>(words: String) -> Result<T, Error> {
    Err(Error::Policy(words))
}

fn common_name(request: &Request) -> Result<Option<String>, Error> {
    let Some(name) = request.subject().common_name() else { return Ok(None) };
    name.text()
        .map(Some)
        .ok_or_else(|| Error::Policy("a common name that cannot be read".to_owned()))
}

impl Authority {
    /// Signs a request that the policy allows.
    ///
    /// # Errors
    /// [`Error::Policy`], or as [`Authority::issue`].
    pub fn sign_request(
        &self,
        request: &Request,
        policy: &RequestPolicy,
        validity: Validity,
    ) -> Result<Certificate, Error> {
        let profile = policy.judge(request)?;
        self.issue_for(request.public_key(), &profile, validity)
    }

    /// What a signed request is answered with: the certificate and what must be presented with it.
    #[must_use]
    pub fn chain_pem(&self, certificate: &Certificate) -> String {
        let above = self.intermediates();
        let chain = std::iter::once(certificate).chain(&above);
        chain.map(Certificate::to_pem).collect()
    }
}
