//! Why a client does not log in.

use std::fmt;

use super::MIN_SALT_LEN;
use crate::{channel::EndPointError, limits::OutOfBounds, message::Malformed};

/// Why a client does not log in. None quotes a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ClientError {
    /// The server offers no mechanism that is known here and allowed.
    NoMechanism,
    /// The server offers SCRAM-SHA-256-PLUS, but the connection has no TLS: somebody may have
    /// stripped it.
    PlusWithoutTls,
    /// The policy on channel binding cannot be kept.
    ChannelBinding(NoChannelBinding),
    /// A message is not what the protocol has at this point.
    Malformed(Malformed),
    /// The server's nonce does not begin with the client's: the message belongs to another
    /// exchange.
    NonceMismatch,
    /// The server added nothing to the client's nonce, or something that is not printable (strict).
    ServerNonce,
    /// The salt is not acceptable.
    Salt(BadSalt),
    /// The iteration count is not a positive number; in the strict profile, not written plainly.
    IterationCount,
    /// The iteration count is outside the [`Limits`](crate::Limits).
    Iterations(OutOfBounds),
    /// Something follows the last attribute (strict).
    TrailingData,
    /// The server says that it refuses the login.
    Rejected {
        /// The server's words, escaped
        reason: String,
    },
    /// The server's signature is not base64 of 32 bytes; in the strict profile, has stray bits.
    ServerSignatureForm,
    /// The server's signature is wrong: it does not know the user's secret.
    ServerSignature,
    /// The server let the client in without proving that it knows the user's secret.
    ServerDidNotFinish,
    /// The server let the client in without asking for anything.
    NoExchange,
}

/// Why the channel cannot be bound to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum NoChannelBinding {
    /// Channel binding is required, and the connection has no TLS.
    NoTls,
    /// Channel binding is required, and the server does not offer it.
    NotOffered,
    /// The server's certificate has no channel binding data.
    EndPoint(EndPointError),
}

/// Why a salt is not acceptable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadSalt {
    /// It is not base64.
    NotBase64,
    /// It is base64 with stray bits or groups (strict).
    NotCanonical,
    /// It is shorter than [`MIN_SALT_LEN`] (strict).
    TooShort {
        /// Its length in bytes
        len: usize,
    },
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoMechanism => f.write_str(
                "the server offers none of SCRAM-SHA-256 and SCRAM-SHA-256-PLUS (as far as the \
                 channel binding policy allows)",
            ),
            Self::PlusWithoutTls => f.write_str(
                "the server offers SCRAM-SHA-256-PLUS over a connection without TLS: TLS may have \
                 been stripped on the way",
            ),
            Self::ChannelBinding(reason) => reason.fmt(f),
            Self::Malformed(error) => error.fmt(f),
            Self::NonceMismatch => {
                f.write_str("the server's nonce does not begin with the client's")
            }
            Self::ServerNonce => {
                f.write_str("the server's part of the nonce is empty or not printable")
            }
            Self::Salt(reason) => reason.fmt(f),
            Self::IterationCount => {
                f.write_str("the server's iteration count is not a positive number")
            }
            Self::Iterations(error) => write!(f, "the server asks for {error}"),
            Self::TrailingData => {
                f.write_str("the server's message goes on after its last attribute")
            }
            Self::Rejected { reason } => write!(f, "the server refuses: {reason}"),
            Self::ServerSignatureForm => {
                f.write_str("the server's signature is not base64 of 32 bytes")
            }
            Self::ServerSignature => f.write_str(
                "the server's signature is wrong: it does not know the user's secret, do not \
                 trust it",
            ),
            Self::ServerDidNotFinish => f.write_str(
                "the server did not prove that it knows the user's secret: do not trust it",
            ),
            Self::NoExchange => f.write_str(
                "the server let the client in without asking for a password: do not trust it",
            ),
        }
    }
}

impl fmt::Display for NoChannelBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTls => f.write_str("channel binding is required, but there is no TLS"),
            Self::NotOffered => {
                f.write_str("channel binding is required, but the server does not offer it")
            }
            Self::EndPoint(error) => write!(f, "no channel binding: {error}"),
        }
    }
}

impl fmt::Display for BadSalt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase64 => f.write_str("the server's salt is not base64"),
            Self::NotCanonical => f.write_str("the server's salt is base64 with stray bits"),
            Self::TooShort { len } => write!(
                f,
                "the server's salt has {len} bytes, but at least {MIN_SALT_LEN} are expected"
            ),
        }
    }
}

impl std::error::Error for ClientError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::ChannelBinding(NoChannelBinding::EndPoint(error)) => Some(error),
            _ => None,
        }
    }
}

impl From<Malformed> for ClientError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}

impl From<OutOfBounds> for ClientError {
    fn from(error: OutOfBounds) -> Self {
        Self::Iterations(error)
    }
}
