//! The four messages of an exchange (RFC 5802 section 7), as borrowed parts.
//!
//! The parsers split what PostgreSQL's `read_attr_value()` and `read_any_attr()` split, and judge
//! nothing: an attribute's value is every byte up to the next comma, whatever it is. What is good
//! enough is decided by [`client`](crate::client) and [`server`](crate::server).

use std::fmt;

use nom::{
    IResult, Parser,
    bytes::complete::take_till,
    error::{ErrorKind, ParseError},
};

/// The longest message that a client takes from a server, in bytes.
///
/// libpq refuses authentication requests that are longer than 2000 bytes in all
/// (`fe-connect.c`): eight of them are not the mechanism's.
pub const MAX_SERVER_MESSAGE: usize = 1992;

/// The longest message that a server takes from a client, in bytes.
///
/// `PG_MAX_SASL_MESSAGE_LENGTH` (`auth-sasl.c`, `sasl.h`) is 1024 and counts the four bytes of the
/// message's length. Of the first message, the mechanism's name takes a part
/// ([`Server::begin`](crate::Server::begin)).
pub const MAX_CLIENT_MESSAGE: usize = 1020;

/// The server's first message: `r=nonce,s=salt,i=iterations`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerFirst<'a> {
    /// The client's nonce and the server's
    pub nonce: &'a [u8],
    /// The salt in base64
    pub salt: &'a [u8],
    /// The iteration count as it is written
    pub iterations: &'a [u8],
    /// What follows the count and its comma: nothing, unless a server is sloppy or extended
    pub rest: Option<&'a [u8]>,
}

impl<'a> ServerFirst<'a> {
    /// Splits the message.
    ///
    /// # Errors
    /// [`Malformed`], if an attribute is missing or out of order.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        parse(message, MAX_SERVER_MESSAGE, |input| {
            let (input, nonce) = attribute(b'r').parse(input)?;
            let (input, salt) = attribute(b's').parse(input)?;
            let (rest, iterations) = attribute(b'i').parse(input)?;
            let end = message.len() - rest.len();
            let rest = (message.get(end - 1) == Some(&b',')).then_some(rest);
            Ok((&[], Self { nonce, salt, iterations, rest }))
        })
    }
}

/// The server's last message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFinal<'a> {
    /// `v=signature`
    Signature {
        /// The signature in base64
        signature: &'a [u8],
        /// What follows the signature and its comma
        rest: Option<&'a [u8]>,
    },
    /// `e=error`. PostgreSQL's server never sends it: it sends an ErrorResponse.
    Error(&'a [u8]),
}

impl<'a> ServerFinal<'a> {
    /// Splits the message.
    ///
    /// # Errors
    /// [`Malformed`], if it is neither.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        parse(message, MAX_SERVER_MESSAGE, |input| {
            if input.first() == Some(&b'e') {
                let (_, error) = attribute(b'e').parse(input)?;
                return Ok((&[], Self::Error(error)));
            }
            let (rest, signature) = attribute(b'v').parse(input)?;
            let end = message.len() - rest.len();
            let rest = (message.get(end - 1) == Some(&b',')).then_some(rest);
            Ok((&[], Self::Signature { signature, rest }))
        })
    }
}

/// The GS2 flag, first byte of a client's first message: does the client bind the channel?
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gs2Flag<'a> {
    /// `n`: it cannot, or does not want to
    NotSupported,
    /// `y`: it could, but the server does not seem to
    NotOffered,
    /// `p=type`: it does
    Used(&'a [u8]),
}

/// The client's first message: `n,,n=user,r=nonce`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// Does the client bind the channel?
    pub flag: Gs2Flag<'a>,
    /// The message without its GS2 header, which goes into the proof
    pub bare: &'a [u8],
    /// The user's name. PostgreSQL's client leaves it empty, and its server ignores it.
    pub user_name: &'a [u8],
    /// The client's nonce
    pub nonce: &'a [u8],
}

/// The flag, read by itself since the server judges it before it reads on.
pub(crate) fn gs2_flag(message: &[u8]) -> Result<(Gs2Flag<'_>, &[u8]), Malformed> {
    let mut rest = message;
    let flag = parse(message, MAX_CLIENT_MESSAGE, |input| {
        let (after, flag) = match input {
            [b'n', after @ ..] => (after, Gs2Flag::NotSupported),
            [b'y', after @ ..] => (after, Gs2Flag::NotOffered),
            [b'p', ..] => {
                let (after, name) = attribute(b'p').parse(input)?;
                (after, Gs2Flag::Used(name))
            }
            _ => return failure(input, Expected::Gs2Flag),
        };
        rest = after;
        Ok((&[], flag))
    })?;
    Ok((flag, rest))
}

impl<'a> ClientFirst<'a> {
    /// Reads what follows the flag.
    pub(crate) fn after_flag(
        message: &'a [u8],
        flag: Gs2Flag<'a>,
        rest: &'a [u8],
    ) -> Result<Self, Malformed> {
        let offset = message.len() - rest.len();
        let parsed = parse(rest, MAX_CLIENT_MESSAGE, |input| {
            let input = match flag {
                // as the value of an attribute, it has its comma behind it
                Gs2Flag::Used(_) => input,
                _ => comma(input)?.0,
            };
            if input.first() == Some(&b'a') {
                return failure(input, Expected::NoAuthorizationIdentity);
            }
            let (bare, ()) = comma(input)?;
            if bare.first() == Some(&b'm') {
                return failure(bare, Expected::NoMandatoryExtension);
            }
            let (input, user_name) = attribute(b'n').parse(bare)?;
            let (mut input, nonce) = attribute(b'r').parse(input)?;
            // any number of extensions, which are ignored
            while !input.is_empty() {
                (input, _) = any_attribute(input)?;
            }
            Ok((input, Self { flag, bare, user_name, nonce }))
        });
        parsed.map_err(|error| error.shifted(offset))
    }

    /// Splits the message.
    ///
    /// # Errors
    /// [`Malformed`]; also if the client wants another identity or an extension, neither of which
    /// PostgreSQL knows.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let (flag, rest) = gs2_flag(message)?;
        Self::after_flag(message, flag, rest)
    }
}

/// The client's last message: `c=binding,r=nonce,p=proof`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    /// GS2 header and channel binding data in base64
    pub channel_binding: &'a [u8],
    /// The client's nonce and the server's
    pub nonce: &'a [u8],
    /// The proof in base64
    pub proof: &'a [u8],
    /// The message up to the comma before the proof, which goes into the proof
    pub without_proof: &'a [u8],
}

/// The channel binding attribute, read by itself since the server judges it before it reads on.
pub(crate) fn channel_binding(message: &[u8]) -> Result<(&[u8], &[u8]), Malformed> {
    let mut rest = message;
    let binding = parse(message, MAX_CLIENT_MESSAGE, |input| {
        let (after, binding) = attribute(b'c').parse(input)?;
        rest = after;
        Ok((&[], binding))
    })?;
    Ok((binding, rest))
}

impl<'a> ClientFinal<'a> {
    /// Reads what follows the channel binding.
    pub(crate) fn after_channel_binding(
        message: &'a [u8],
        channel_binding: &'a [u8],
        rest: &'a [u8],
    ) -> Result<Self, Malformed> {
        let offset = message.len() - rest.len();
        let parsed = parse(rest, MAX_CLIENT_MESSAGE, |input| {
            let (mut input, nonce) = attribute(b'r').parse(input)?;
            // any number of extensions, which are ignored, then the proof
            loop {
                let end = message.len() - input.len();
                let (after, (name, proof)) = any_attribute(input)?;
                if name == b'p' {
                    // The proof ends the message; a comma after it is dropped unseen.
                    let without_proof = message.get(..end.saturating_sub(1)).unwrap_or_default();
                    return Ok((after, Self { channel_binding, nonce, proof, without_proof }));
                }
                input = after;
            }
        });
        parsed.map_err(|error| error.shifted(offset))
    }

    /// Splits the message.
    ///
    /// # Errors
    /// [`Malformed`], if an attribute is missing or something follows the proof.
    pub fn parse(message: &'a [u8]) -> Result<Self, Malformed> {
        let (binding, rest) = channel_binding(message)?;
        Self::after_channel_binding(message, binding, rest)
    }
}

/// Runs a parser over a whole message.
fn parse<'a, T>(
    message: &'a [u8],
    max: usize,
    parser: impl FnOnce(&'a [u8]) -> IResult<&'a [u8], T, Trouble<'a>>,
) -> Result<T, Malformed> {
    if message.len() > max {
        return Err(Malformed::too_long(max));
    }
    if let Some(at) = message.iter().position(|&byte| byte == 0) {
        return Err(Malformed { at, expected: Expected::NoNul });
    }
    let at = |rest: &[u8]| message.len() - rest.len();
    match parser(message) {
        Ok(([], value)) => Ok(value),
        Ok((rest, _)) => Err(Malformed { at: at(rest), expected: Expected::End }),
        Err(nom::Err::Error(trouble) | nom::Err::Failure(trouble)) => {
            Err(Malformed { at: at(trouble.rest), expected: trouble.expected })
        }
        Err(nom::Err::Incomplete(_)) => {
            Err(Malformed { at: message.len(), expected: Expected::AnyAttribute })
        }
    }
}

/// `read_attr_value()`: name, equals sign, value up to a comma or the end; eats the comma.
fn attribute<'a>(name: u8) -> impl Parser<&'a [u8], Output = &'a [u8], Error = Trouble<'a>> {
    move |input: &'a [u8]| match input {
        [first, ..] if *first == name => value(name, input),
        _ => failure(input, Expected::Attribute(char::from(name))),
    }
}

/// `read_any_attr()`: the same with any letter for a name.
fn any_attribute(input: &[u8]) -> IResult<&[u8], (u8, &[u8]), Trouble<'_>> {
    match input {
        [name, ..] if name.is_ascii_alphabetic() => {
            let (rest, value) = value(*name, input)?;
            Ok((rest, (*name, value)))
        }
        _ => failure(input, Expected::AnyAttribute),
    }
}

fn value(name: u8, input: &[u8]) -> IResult<&[u8], &[u8], Trouble<'_>> {
    let Some((b'=', after)) = input.get(1..).and_then(<[u8]>::split_first) else {
        return failure(input.get(1..).unwrap_or_default(), Expected::Equals(char::from(name)));
    };
    let (rest, value) = take_till(|byte| byte == b',').parse(after)?;
    Ok((rest.get(1..).unwrap_or_default(), value))
}

fn comma(input: &[u8]) -> IResult<&[u8], (), Trouble<'_>> {
    match input {
        [b',', rest @ ..] => Ok((rest, ())),
        _ => failure(input, Expected::Comma),
    }
}

fn failure<T>(rest: &[u8], expected: Expected) -> IResult<&[u8], T, Trouble<'_>> {
    Err(nom::Err::Failure(Trouble { rest, expected }))
}

/// nom's view of an error: where parsing stopped, and what was expected there.
#[derive(Debug)]
struct Trouble<'a> {
    rest: &'a [u8],
    expected: Expected,
}

impl<'a> ParseError<&'a [u8]> for Trouble<'a> {
    fn from_error_kind(rest: &'a [u8], _: ErrorKind) -> Self {
        Self { rest, expected: Expected::AnyAttribute }
    }

    fn append(_: &'a [u8], _: ErrorKind, other: Self) -> Self {
        other
    }
}

/// A message that is not what the protocol has at this point. Quotes nothing of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Malformed {
    /// Offset in the message, in bytes, where something else was expected
    pub at: usize,
    /// What was expected there
    pub expected: Expected,
}

impl Malformed {
    /// A message of more than so many bytes.
    pub(crate) const fn too_long(max: usize) -> Self {
        Self { at: max, expected: Expected::Shorter }
    }

    fn shifted(self, offset: usize) -> Self {
        Self { at: self.at + offset, ..self }
    }
}

/// What a parser of messages expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Expected {
    /// The attribute of this name
    Attribute(char),
    /// An equals sign after this attribute's name
    Equals(char),
    /// An attribute: a letter and an equals sign
    AnyAttribute,
    /// A comma
    Comma,
    /// `n`, `y` or `p` as the first byte
    Gs2Flag,
    /// No `a=`: PostgreSQL has no authorization identities
    NoAuthorizationIdentity,
    /// No `m=`: PostgreSQL has no mandatory extensions
    NoMandatoryExtension,
    /// No NUL byte
    NoNul,
    /// The end of the message
    End,
    /// A shorter message: PostgreSQL does not read one this long
    Shorter,
}

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "malformed SCRAM message: at byte {}, ", self.at)?;
        match self.expected {
            Expected::Attribute(name) => write!(f, "attribute \"{name}\" expected"),
            Expected::Equals(name) => {
                write!(f, "expected character \"=\" for attribute \"{name}\"")
            }
            Expected::AnyAttribute => f.write_str("an attribute expected"),
            Expected::Comma => f.write_str("a comma expected"),
            Expected::Gs2Flag => f.write_str("channel-binding flag n, y or p expected"),
            Expected::NoAuthorizationIdentity => {
                f.write_str("an authorization identity, which PostgreSQL does not support")
            }
            Expected::NoMandatoryExtension => {
                f.write_str("a mandatory extension, and PostgreSQL supports none")
            }
            Expected::NoNul => f.write_str("a NUL byte"),
            Expected::End => f.write_str("the end of the message expected"),
            Expected::Shorter => f.write_str("more than PostgreSQL reads of a message"),
        }
    }
}

impl std::error::Error for Malformed {}
