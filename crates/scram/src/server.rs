//! The server's side of an exchange, as a chain of states.
//!
//! [`Server`] → [`FirstSent`] → [`Accepted`]. The checks are those of PostgreSQL's `auth-scram.c`,
//! all of them and no more; each refusal knows the SQLSTATE and the words that PostgreSQL has for
//! it ([`ServerError`]).
//!
//! Users that do not exist get an exchange too, see [`Mock`].

mod error;
mod mock;

use std::{fmt, hint::black_box};

use pg_version::PgVersion;
use subtle::{Choice, ConstantTimeEq};

pub use self::{
    error::{ServerError, SqlState},
    mock::Mock,
};
use crate::{
    Mechanism, base64,
    channel::{Channel, TLS_SERVER_END_POINT},
    keys::{ClientKey, Keys, SaltedPassword, ServerKey},
    message::{
        ClientFinal, ClientFirst, Gs2Flag, MAX_CLIENT_MESSAGE, Malformed, channel_binding, gs2_flag,
    },
    nonce::{Nonce, is_printable},
    password::Password,
    secret::Secret,
};

/// A server before the client's first message.
#[derive(Debug)]
pub struct Server {
    secret: Secret,
    channel: Channel,
    /// The exchange goes its whole way and fails.
    doomed: bool,
}

impl Server {
    /// A server for a user with this secret.
    ///
    /// Where the user may not exist, [`Server::for_user`] is the one to take.
    #[must_use]
    pub const fn new(secret: Secret, channel: Channel) -> Self {
        Self { secret, channel, doomed: false }
    }

    /// A server for a user with this secret, or without one: who does not exist, has no password,
    /// an expired one, or one that is stored in another form. Without, the exchange looks the same
    /// and fails at its end, as PostgreSQL's mock authentication does.
    #[must_use]
    pub fn for_user(user: &str, secret: Option<Secret>, mock: &Mock, channel: Channel) -> Self {
        // Made in either case, so that both take the same time.
        let nobody = mock.secret(user);
        let doomed = secret.is_none();
        Self { secret: secret.unwrap_or(nobody), channel, doomed }
    }

    /// A server for a user with this `rolpassword`, or without one (NULL, or no such user).
    ///
    /// What is no SCRAM secret by the rules of this major counts as none, an MD5 hash for instance.
    /// All take the same time: the mock secret is made and a secret's text is read for each.
    #[must_use]
    pub fn for_rolpassword(
        user: &str,
        rolpassword: Option<&[u8]>,
        version: PgVersion,
        mock: &Mock,
        channel: Channel,
    ) -> Self {
        let nobody = mock.secret(user);
        let text = nobody.to_text();
        // One text is read for everybody, whosever it is. An MD5 hash is seen at a glance, and nothing
        // passes for one. The text is chosen by its place: a branch costs more where it is rare.
        let stored = rolpassword.unwrap_or(b"md5");
        let is_md5 = stored.starts_with(b"md5");
        let texts = black_box([stored, text.as_bytes()]);
        let read = Secret::parse(texts[usize::from(is_md5)], version).ok();
        let doomed = is_md5 | read.is_none();
        // Whatever else is no secret is not worth its time; that of a secret is spent on the mock one.
        let secret = read.or_else(|| Secret::parse(text.as_bytes(), version).ok());
        Self { secret: secret.unwrap_or(nobody), channel, doomed }
    }

    /// A server that has the user's password instead of a secret.
    ///
    /// The salt is made of the mock's nonce and the user's name, in the same way for users with and
    /// without a password, and both cost the same derivation: neither salt, count nor time tells
    /// them apart.
    #[must_use]
    pub fn for_password(
        user: &str,
        password: Option<&Password>,
        mock: &Mock,
        channel: Channel,
    ) -> Self {
        let nobody = mock.secret(user);
        let salt = nobody.salt();
        let nothing = Password::from_raw(b"");
        let iterations = nobody.iterations().unsigned_abs();
        let salted = SaltedPassword::derive(password.unwrap_or(&nothing), &salt, iterations);
        let secret = Secret::from_salted(&salted, &salt, nobody.iterations());
        Self { secret, channel, doomed: password.is_none() }
    }

    /// The mechanisms to offer in AuthenticationSASL, best first.
    ///
    /// SCRAM-SHA-256-PLUS is offered over TLS, if the certificate has a channel binding. Where it
    /// has none (see [`channel`](crate::channel)) PostgreSQL offers it all the same, and no libpq can
    /// log in; not offering it lets every client in without.
    #[must_use]
    pub const fn mechanisms(&self) -> &'static [Mechanism] {
        match self.channel {
            Channel::Tls(Ok(_)) => &[Mechanism::ScramSha256Plus, Mechanism::ScramSha256],
            _ => &[Mechanism::ScramSha256],
        }
    }

    /// Takes the client's first message (SASLInitialResponse: mechanism and data).
    ///
    /// A client may choose a mechanism and say nothing yet (the data's length is -1, which is not
    /// an empty message). PostgreSQL answers with an empty AuthenticationSASLContinue, and the
    /// client's SASLResponse is then what to take here.
    ///
    /// # Errors
    /// [`ServerError`], as PostgreSQL has it.
    pub fn begin(
        self,
        mechanism: &[u8],
        message: &[u8],
        nonce: &Nonce,
    ) -> Result<FirstSent, ServerError> {
        // Beside the message there are the mechanism's name, its end, and the message's length.
        let max = MAX_CLIENT_MESSAGE.saturating_sub(mechanism.len() + 5);
        if message.len() > max {
            return Err(ServerError::Malformed(Malformed::too_long(max)));
        }
        let mechanism = Mechanism::from_name(mechanism)
            .filter(|mechanism| self.mechanisms().contains(mechanism))
            .ok_or(ServerError::Mechanism)?;
        let plus = mechanism == Mechanism::ScramSha256Plus;
        let (flag, rest) = gs2_flag(message)?;
        match flag {
            Gs2Flag::NotSupported | Gs2Flag::NotOffered if plus => {
                return Err(ServerError::PlusWithoutBinding);
            }
            Gs2Flag::NotOffered if self.mechanisms().contains(&Mechanism::ScramSha256Plus) => {
                return Err(ServerError::Downgrade);
            }
            Gs2Flag::Used(_) if !plus => return Err(ServerError::BindingWithoutPlus),
            Gs2Flag::Used(name) if name != TLS_SERVER_END_POINT.as_bytes() => {
                return Err(ServerError::BindingType);
            }
            _ => {}
        }
        let client = ClientFirst::after_flag(message, flag, rest)?;
        if !is_printable(client.nonce) {
            return Err(ServerError::NonPrintableNonce);
        }
        let mut reply = b"r=".to_vec();
        reply.extend_from_slice(client.nonce);
        reply.extend_from_slice(nonce.as_str().as_bytes());
        let nonce = reply.get(2..).unwrap_or_default().to_vec();
        let (salt, iterations) = (self.secret.salt_base64(), self.secret.iterations());
        reply.extend_from_slice(format!(",s={salt},i={iterations}").as_bytes());
        // What the client has to repeat: the header, and the certificate's hash if it binds.
        let header = message.get(..message.len() - client.bare.len()).unwrap_or_default();
        let mut binding = header.to_vec();
        if let (true, Channel::Tls(Ok(end_point))) = (plus, &self.channel) {
            binding.extend_from_slice(end_point.as_bytes());
        }
        Ok(FirstSent {
            secret: self.secret,
            doomed: self.doomed,
            plus,
            binding: base64::encode(&binding),
            client_first_bare: client.bare.to_vec(),
            nonce,
            message: reply,
        })
    }
}

/// The server's first message is ready to be sent, in AuthenticationSASLContinue.
#[derive(Debug)]
pub struct FirstSent {
    secret: Secret,
    doomed: bool,
    plus: bool,
    binding: String,
    client_first_bare: Vec<u8>,
    nonce: Vec<u8>,
    message: Vec<u8>,
}

impl FirstSent {
    /// The message to send.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Takes the client's last message (SASLResponse) and checks its proof.
    ///
    /// # Errors
    /// [`ServerError::AuthenticationFailed`] for a wrong password and for a user without one;
    /// others as PostgreSQL has them.
    pub fn finish(self, message: &[u8]) -> Result<Accepted, ServerError> {
        let (binding, rest) = channel_binding(message)?;
        if binding != self.binding.as_bytes() {
            return Err(if self.plus {
                ServerError::ChannelBinding
            } else {
                ServerError::BindingAttribute
            });
        }
        let client = ClientFinal::after_channel_binding(message, binding, rest)?;
        let proof = base64::decode_key(client.proof).ok_or(ServerError::Proof)?;
        if !bool::from(client.nonce.ct_eq(&self.nonce)) {
            return Err(ServerError::NonceMismatch);
        }
        let auth_message: [&[u8]; 5] =
            [&self.client_first_bare, b",", &self.message, b",", client.without_proof];
        let (client_key, fits) = self.secret.stored_key().open_proof(&proof, &auth_message);
        let signature = self.secret.server_key().signature(&auth_message);
        if !bool::from(fits & !Choice::from(u8::from(self.doomed))) {
            return Err(ServerError::AuthenticationFailed);
        }
        let mut reply = b"v=".to_vec();
        base64::encode_into(&*signature, &mut reply);
        Ok(Accepted {
            message: reply,
            keys: Keys { client: client_key, server: self.secret.server_key().clone() },
            plus: self.plus,
        })
    }
}

/// The client has proved that it knows the secret.
pub struct Accepted {
    message: Vec<u8>,
    keys: Keys,
    plus: bool,
}

impl Accepted {
    /// The server's last message, to be sent in AuthenticationSASLFinal before AuthenticationOk.
    #[must_use]
    pub fn message(&self) -> &[u8] {
        &self.message
    }

    /// Did the client bind the exchange to the TLS connection (SCRAM-SHA-256-PLUS)?
    #[must_use]
    pub const fn is_channel_bound(&self) -> bool {
        self.plus
    }

    /// The keys that a proxy can log the user in with elsewhere, on servers that hold the same
    /// secret (`use_scram_passthrough` of PostgreSQL 18's foreign data wrappers).
    #[must_use]
    pub const fn keys(&self) -> &Keys {
        &self.keys
    }

    /// The client's key, that its proof was made with.
    #[must_use]
    pub const fn client_key(&self) -> &ClientKey {
        &self.keys.client
    }

    /// The server's key.
    #[must_use]
    pub const fn server_key(&self) -> &ServerKey {
        &self.keys.server
    }
}

impl fmt::Debug for Accepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Accepted").field("plus", &self.plus).finish_non_exhaustive()
    }
}
