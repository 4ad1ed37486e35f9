//! Why a server refuses a client.

use std::fmt;

use crate::message::{Expected, Malformed};

/// A SQLSTATE: five characters, for the field `C` of ErrorResponse.
pub type SqlState = &'static str;

/// Why a server refuses a client. None quotes a secret.
///
/// Displayed in PostgreSQL's words; [`ServerError::sqlstate`] is its SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerError {
    /// The client chose a mechanism that was not offered.
    Mechanism,
    /// A message is not what the protocol has at this point.
    Malformed(Malformed),
    /// The client chose SCRAM-SHA-256-PLUS, but its message does not bind the channel.
    PlusWithoutBinding,
    /// The client binds the channel, but chose SCRAM-SHA-256.
    BindingWithoutPlus,
    /// The client thinks that the server has no channel binding, but it has: somebody in between
    /// may have struck it from the offer.
    Downgrade,
    /// The client wants another type of channel binding than `tls-server-end-point`.
    BindingType,
    /// The client's nonce has characters that are not printable.
    NonPrintableNonce,
    /// The client is bound to another TLS connection than this one.
    ChannelBinding,
    /// The client's two messages disagree on channel binding.
    BindingAttribute,
    /// The proof is not base64 of 32 bytes.
    Proof,
    /// The client's last message has another nonce: it belongs to another exchange.
    NonceMismatch,
    /// The password is wrong, or the user has none.
    AuthenticationFailed,
}

impl ServerError {
    /// The SQLSTATE that PostgreSQL sends.
    #[must_use]
    pub const fn sqlstate(&self) -> SqlState {
        match self {
            // What it does not read, PostgreSQL takes for an answer that never came.
            Self::AuthenticationFailed
            | Self::Malformed(Malformed { expected: Expected::Shorter, .. }) => "28P01",
            Self::ChannelBinding | Self::Downgrade => "28000",
            Self::Malformed(Malformed {
                expected: Expected::NoAuthorizationIdentity | Expected::NoMandatoryExtension,
                ..
            }) => "0A000",
            _ => "08P01",
        }
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Mechanism => "client selected an invalid SASL authentication mechanism",
            Self::Malformed(error) => return error.fmt(f),
            Self::PlusWithoutBinding => {
                "malformed SCRAM message: the client selected SCRAM-SHA-256-PLUS, but the SCRAM \
                 message does not include channel binding data"
            }
            Self::BindingWithoutPlus => {
                "malformed SCRAM message: the client selected SCRAM-SHA-256 without channel \
                 binding, but the SCRAM message includes channel binding data"
            }
            Self::Downgrade => {
                "SCRAM channel binding negotiation error: the client supports SCRAM channel \
                 binding but thinks the server does not, however, this server does support \
                 channel binding"
            }
            Self::BindingType => "unsupported SCRAM channel-binding type",
            Self::NonPrintableNonce => "non-printable characters in SCRAM nonce",
            Self::ChannelBinding => "SCRAM channel binding check failed",
            Self::BindingAttribute => {
                "unexpected SCRAM channel-binding attribute in client-final-message"
            }
            Self::Proof => "malformed SCRAM message: malformed proof in client-final-message",
            Self::NonceMismatch => "invalid SCRAM response: nonce does not match",
            Self::AuthenticationFailed => "password authentication failed",
        })
    }
}

impl std::error::Error for ServerError {}

impl From<Malformed> for ServerError {
    fn from(error: Malformed) -> Self {
        Self::Malformed(error)
    }
}
