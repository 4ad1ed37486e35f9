//! The client's side of an exchange, as a chain of states.
//!
//! [`Client`] → [`FirstSent`] → [`FinalSent`] → [`Authenticated`]: each step takes the state before
//! it, so that none can be skipped, and only a server that proved itself leads to the last.
//! A caller who gets AuthenticationOk early asks the state it is in
//! ([`Client::authentication_ok`], [`FirstSent::authentication_ok`],
//! [`FinalSent::authentication_ok`]) and must not decide itself.
//!
//! The rules are those of libpq (`fe-auth.c`, `fe-auth-scram.c`), with either of two profiles on
//! top: see [`Profile`].

mod error;

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

pub use self::error::{BadSalt, ClientError, NoChannelBinding};
use crate::{
    Mechanism, base64,
    channel::{Channel, EndPoint, TLS_SERVER_END_POINT},
    keys::{Keys, SaltedPassword, ServerKey},
    limits::Limits,
    message::{ServerFinal, ServerFirst},
    nonce::{Nonce, is_printable},
    password::Password,
    strtol::{strtol, to_int},
};

/// Whether to bind the exchange to the TLS connection: libpq's `channel_binding`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// Never (`channel_binding=disable`)
    Disable,
    /// If the server offers it over TLS (`channel_binding=prefer`, libpq's default). Not "if
    /// possible": where the server offers it and the certificate has no hash, the login fails.
    #[default]
    Prefer,
    /// Or don't log in at all (`channel_binding=require`)
    Require,
}

/// How much to put up with from a server.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Profile {
    /// What a real PostgreSQL sends, and no more. Refuses, of what libpq accepts: AuthenticationOk
    /// before the server proved itself, or with no exchange at all; a server nonce that adds
    /// nothing or is not printable; a salt shorter than [`MIN_SALT_LEN`]; salt or signature in
    /// sloppy base64; a count that is not plain digits, or outside the [`Limits`]; anything behind
    /// the last attribute.
    #[default]
    Strict,
    /// Exactly what libpq 12 to 18 accepts, for measuring and for proxies that must not be
    /// stricter than what they replace. Its limits are [`Limits::NONE`] unless set.
    Libpq,
}

/// The shortest salt in bytes that [`Profile::Strict`] accepts: half of what PostgreSQL makes, and
/// the least that RFC 8018 recommends.
pub const MIN_SALT_LEN: usize = 8;

/// What the client logs in with.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Credentials {
    /// A password
    Password(Password),
    /// Keys that somebody derived before, for the very secret that the server has
    Keys(Keys),
}

impl From<Password> for Credentials {
    fn from(password: Password) -> Self {
        Self::Password(password)
    }
}

impl From<Keys> for Credentials {
    fn from(keys: Keys) -> Self {
        Self::Keys(keys)
    }
}

/// A client before its first message.
///
/// ```
/// use pg_version::PgVersion;
/// use scram::{Channel, Client, Nonce, Password, Secret, Server};
///
/// let password = Password::new("pencil");
/// let server = Server::new(Secret::new(&password, b"0123456789abcdef", 4096)?, Channel::Plain);
///
/// let client = Client::new(password);
/// let first = client.begin(server.mechanisms(), &Nonce::from_bytes(&[1; 18]))?;
/// let asked =
///     server.begin(first.mechanism().name(), first.message(), &Nonce::from_bytes(&[2; 18]))?;
/// let proof = first.receive(asked.message())?;
/// let accepted = asked.finish(proof.message())?;
/// let authenticated = proof.receive(accepted.message())?;
/// assert!(!authenticated.is_channel_bound());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    credentials: Credentials,
    channel: Channel,
    policy: Policy,
    profile: Profile,
    limits: Option<Limits>,
    require_auth: bool,
    user_name: String,
}

impl Client {
    /// A strict client on a connection without TLS, with the default limits.
    #[must_use]
    pub fn new(credentials: impl Into<Credentials>) -> Self {
        Self {
            credentials: credentials.into(),
            channel: Channel::Plain,
            policy: Policy::default(),
            profile: Profile::default(),
            limits: None,
            require_auth: false,
            user_name: String::new(),
        }
    }

    /// The connection that the exchange runs over.
    #[must_use]
    pub fn channel(mut self, channel: Channel) -> Self {
        self.channel = channel;
        self
    }

    /// Whether to bind the exchange to it.
    #[must_use]
    pub fn channel_binding(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// How much to put up with.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// The iteration counts to accept. They matter only with a password: with [`Keys`] nothing is
    /// hashed.
    #[must_use]
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// libpq's `require_auth=scram-sha-256` (from 16 on): no AuthenticationOk without a complete
    /// exchange. Always so in the strict profile.
    #[must_use]
    pub fn require_auth(mut self, require: bool) -> Self {
        self.require_auth = require;
        self
    }

    /// The user name in the first message: empty with libpq, and ignored by PostgreSQL, which goes
    /// by the startup message. Other servers of SCRAM want one.
    #[must_use]
    pub fn user_name(mut self, user_name: impl Into<String>) -> Self {
        self.user_name = user_name.into();
        self
    }

    /// The server sent AuthenticationOk without asking for anything: is that acceptable?
    ///
    /// A server does so whose `pg_hba.conf` says `trust`, and so does an impostor.
    ///
    /// # Errors
    /// [`ClientError::NoExchange`] in the strict profile, with `require_auth`, and with
    /// [`Policy::Require`].
    pub fn authentication_ok(self) -> Result<(), ClientError> {
        if self.insists() { Err(ClientError::NoExchange) } else { Ok(()) }
    }

    fn insists(&self) -> bool {
        self.profile == Profile::Strict || self.require_auth || self.policy == Policy::Require
    }

    /// Chooses among the mechanisms that the server offers in AuthenticationSASL, and makes the
    /// first message, as `pg_SASL_init()` does.
    ///
    /// # Errors
    /// [`ClientError::NoMechanism`], [`ClientError::PlusWithoutTls`], and
    /// [`ClientError::ChannelBinding`] if the policy cannot be kept.
    pub fn begin<M: AsRef<[u8]>>(
        self,
        offered: impl IntoIterator<Item = M>,
        nonce: &Nonce,
    ) -> Result<FirstSent, ClientError> {
        let required = self.policy == Policy::Require;
        if required && !self.channel.is_tls() {
            return Err(ClientError::ChannelBinding(NoChannelBinding::NoTls));
        }
        let mut mechanism = None;
        for name in offered {
            match Mechanism::from_name(name.as_ref()) {
                Some(Mechanism::ScramSha256Plus) if !self.channel.is_tls() => {
                    return Err(ClientError::PlusWithoutTls);
                }
                Some(Mechanism::ScramSha256Plus) if self.policy == Policy::Disable => {}
                Some(Mechanism::ScramSha256Plus) => mechanism = Some(Mechanism::ScramSha256Plus),
                Some(Mechanism::ScramSha256) => {
                    mechanism = mechanism.or(Some(Mechanism::ScramSha256));
                }
                None => {}
            }
        }
        let mechanism = mechanism.ok_or(ClientError::NoMechanism)?;
        if required && mechanism != Mechanism::ScramSha256Plus {
            return Err(ClientError::ChannelBinding(NoChannelBinding::NotOffered));
        }

        let binding = match (mechanism, &self.channel) {
            (Mechanism::ScramSha256Plus, Channel::Tls(Ok(end_point))) => {
                Binding::Bound(end_point.clone())
            }
            (Mechanism::ScramSha256Plus, Channel::Tls(Err(error))) => {
                return Err(ClientError::ChannelBinding(NoChannelBinding::EndPoint(error.clone())));
            }
            (_, Channel::Tls(_)) if self.policy != Policy::Disable => Binding::NotOffered,
            _ => Binding::None,
        };
        let mut message = binding.header();
        let bare_at = message.len();
        message.extend_from_slice(b"n=");
        for byte in self.user_name.bytes() {
            match byte {
                b',' => message.extend_from_slice(b"=2C"),
                b'=' => message.extend_from_slice(b"=3D"),
                _ => message.push(byte),
            }
        }
        message.extend_from_slice(b",r=");
        message.extend_from_slice(nonce.as_str().as_bytes());
        Ok(FirstSent {
            must_finish: self.insists(),
            limits: self.limits.unwrap_or_else(|| match self.profile {
                Profile::Strict => Limits::default(),
                Profile::Libpq => Limits::NONE,
            }),
            profile: self.profile,
            credentials: self.credentials,
            mechanism,
            binding,
            nonce: nonce.clone(),
            message,
            bare_at,
        })
    }
}

/// What the client says about channel binding.
#[derive(Clone, Debug)]
enum Binding {
    /// `n`
    None,
    /// `y`
    NotOffered,
    /// `p`
    Bound(EndPoint),
}

impl Binding {
    /// The GS2 header (RFC 5802 section 7).
    fn header(&self) -> Vec<u8> {
        match self {
            Self::None => b"n,,".to_vec(),
            Self::NotOffered => b"y,,".to_vec(),
            Self::Bound(_) => format!("p={TLS_SERVER_END_POINT},,").into_bytes(),
        }
    }

    /// Header and data, as the client repeats them in its last message.
    fn data(&self) -> Vec<u8> {
        let mut data = self.header();
        if let Self::Bound(end_point) = self {
            data.extend_from_slice(end_point.as_bytes());
        }
        data
    }
}

/// The client's first message is ready to be sent, in SASLInitialResponse.
#[derive(Debug)]
pub struct FirstSent {
    credentials: Credentials,
    mechanism: Mechanism,
    binding: Binding,
    profile: Profile,
    limits: Limits,
    must_finish: bool,
    nonce: Nonce,
    message: Vec<u8>,
    bare_at: usize,
}

impl FirstSent {
    /// The mechanism that the client chose.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The message to send.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// The server sent AuthenticationOk in answer to the first message, without proof that it knows
    /// the user's secret, and without asking for the client's: is that acceptable?
    ///
    /// libpq thinks so unless told `require_auth` or `channel_binding=require`.
    ///
    /// # Errors
    /// [`ClientError::ServerDidNotFinish`] in the strict profile, and with either of the two.
    pub fn authentication_ok(self) -> Result<(), ClientError> {
        if self.must_finish { Err(ClientError::ServerDidNotFinish) } else { Ok(()) }
    }

    /// Takes the server's first message (AuthenticationSASLContinue), derives the keys and makes
    /// the client's last message.
    ///
    /// With a password this is the costly step. Everything is checked before it.
    ///
    /// # Errors
    /// [`ClientError`], for a message that libpq refuses and, in the strict profile, for one that
    /// no PostgreSQL sends.
    pub fn receive(self, message: &[u8]) -> Result<FinalSent, ClientError> {
        let server = ServerFirst::parse(message)?;
        let added = server
            .nonce
            .strip_prefix(self.nonce.as_str().as_bytes())
            .ok_or(ClientError::NonceMismatch)?;
        let salt = base64::decode(server.salt).ok_or(ClientError::Salt(BadSalt::NotBase64))?;
        let iterations = read_iterations(server.iterations, self.profile)?;
        if self.profile == Profile::Strict {
            if added.is_empty() || !is_printable(added) {
                return Err(ClientError::ServerNonce);
            }
            if salt.len() < MIN_SALT_LEN {
                return Err(ClientError::Salt(BadSalt::TooShort { len: salt.len() }));
            }
            if base64::encode(&salt).as_bytes() != server.salt {
                return Err(ClientError::Salt(BadSalt::NotCanonical));
            }
            if server.rest.is_some() {
                return Err(ClientError::TrailingData);
            }
        }

        let mut reply = b"c=".to_vec();
        base64::encode_into(&self.binding.data(), &mut reply);
        reply.extend_from_slice(b",r=");
        reply.extend_from_slice(server.nonce);
        let keys = match self.credentials {
            Credentials::Keys(keys) => keys,
            Credentials::Password(password) => {
                let iterations = self.limits.check(iterations)?;
                Keys::new(&SaltedPassword::derive(&password, &salt, iterations))
            }
        };
        let bare = self.message.get(self.bare_at..).unwrap_or_default();
        let auth_message: [&[u8]; 5] = [bare, b",", message, b",", &reply];
        let proof = keys.client.proof(&auth_message);
        let signature = keys.server.signature(&auth_message);
        reply.extend_from_slice(b",p=");
        base64::encode_into(&proof, &mut reply);
        Ok(FinalSent {
            message: reply,
            signature,
            server_key: keys.server,
            profile: self.profile,
            must_finish: self.must_finish,
            bound: matches!(self.binding, Binding::Bound(_)),
        })
    }
}

/// Reads the iteration count: with C's `strtol()` into an `int`, which must be positive, as libpq
/// does; the strict profile wants RFC 5802's `posit-number` and nothing that overflows.
fn read_iterations(text: &[u8], profile: Profile) -> Result<i32, ClientError> {
    let number = strtol(text);
    let count = to_int(number.value);
    if number.has_rest || count < 1 {
        return Err(ClientError::IterationCount);
    }
    let is_plain = matches!(text, [b'1'..=b'9', rest @ ..] if rest.iter().all(u8::is_ascii_digit));
    if profile == Profile::Strict && (!is_plain || i64::from(count) != number.value) {
        return Err(ClientError::IterationCount);
    }
    Ok(count)
}

/// The client's last message is ready to be sent, in SASLResponse.
pub struct FinalSent {
    message: Vec<u8>,
    signature: Zeroizing<[u8; 32]>,
    server_key: ServerKey,
    profile: Profile,
    must_finish: bool,
    bound: bool,
}

impl FinalSent {
    /// The message to send.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Takes the server's last message (AuthenticationSASLFinal) and checks its signature.
    ///
    /// # Errors
    /// [`ClientError::ServerSignature`] if the server does not know the user's secret;
    /// [`ClientError::Rejected`] if it says that it refuses.
    pub fn receive(self, message: &[u8]) -> Result<Authenticated, ClientError> {
        match ServerFinal::parse(message)? {
            ServerFinal::Error(text) => Err(ClientError::Rejected {
                reason: String::from_utf8_lossy(text).escape_debug().to_string(),
            }),
            ServerFinal::Signature { signature, rest } => {
                if self.profile == Profile::Strict && rest.is_some() {
                    return Err(ClientError::TrailingData);
                }
                let text = signature;
                let signature = base64::decode_key(text).ok_or(ClientError::ServerSignatureForm)?;
                if self.profile == Profile::Strict && base64::encode(&*signature).as_bytes() != text
                {
                    return Err(ClientError::ServerSignatureForm);
                }
                if bool::from(signature.ct_eq(&*self.signature)) {
                    Ok(Authenticated { bound: self.bound, server_key: self.server_key })
                } else {
                    Err(ClientError::ServerSignature)
                }
            }
        }
    }

    /// The server sent AuthenticationOk without AuthenticationSASLFinal, that is, without proof
    /// that it knows the user's secret: is that acceptable?
    ///
    /// libpq thinks so unless told `require_auth` or `channel_binding=require`.
    ///
    /// # Errors
    /// [`ClientError::ServerDidNotFinish`] in the strict profile, and with either of the two.
    pub fn authentication_ok(self) -> Result<(), ClientError> {
        if self.must_finish { Err(ClientError::ServerDidNotFinish) } else { Ok(()) }
    }
}

impl fmt::Debug for FinalSent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FinalSent").field("bound", &self.bound).finish_non_exhaustive()
    }
}

/// Client and server have proved to each other that they know the secret.
///
/// The server has yet to say AuthenticationOk: it may still refuse the user for another reason.
#[derive(Debug)]
pub struct Authenticated {
    bound: bool,
    server_key: ServerKey,
}

impl Authenticated {
    /// Is the exchange bound to the TLS connection (SCRAM-SHA-256-PLUS)?
    #[must_use]
    pub const fn is_channel_bound(&self) -> bool {
        self.bound
    }

    /// The key that the server proved to have, to recognise it by next time.
    #[must_use]
    pub const fn server_key(&self) -> &ServerKey {
        &self.server_key
    }
}
