//! A line of pg_hba.conf as a rule: `parse_hba_line`.

use alloc::{boxed::Box, format};
use core::{net::IpAddr, ops::Range};

use pg_version::PgVersion;
use textfile::Span;

use crate::{
    ConnectionType, Method, Server, address,
    diagnostics::{Code, Severity},
    options::{Options, Reader},
    reading::Parsing,
    text::{Text, text},
    tokenize::{LineData, Tokenized},
};

/// A rule, compactly.
#[derive(Clone, Debug)]
pub(crate) struct RuleData {
    /// Its number among the lines
    pub(crate) line: u32,
    pub(crate) connection: ConnectionType,
    pub(crate) method: Method,
    pub(crate) databases: (u32, u32),
    pub(crate) users: (u32, u32),
    pub(crate) address: AddressData,
    pub(crate) options: Option<Box<Options>>,
    /// The tokens of its fields, one range each, as they came
    pub(crate) method_token: u32,
}

/// An address, compactly.
#[derive(Clone, Debug)]
pub(crate) enum AddressData {
    /// `local` has none.
    None,
    All,
    SameHost,
    SameNet,
    /// The token with a host name
    Host(u32),
    Network(Box<(IpAddr, IpAddr)>),
}

/// Something that a rule is refused for, or warned of.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(crate) code: Code,
    pub(crate) message: Text,
    pub(crate) shown: Shown,
    pub(crate) hint: Option<&'static str>,
    pub(crate) context: bool,
    pub(crate) span: Span,
}

/// What the view shows of a problem.
#[derive(Debug)]
pub(crate) enum Shown {
    /// The same as the log.
    Same,
    /// Nothing: only the log has it.
    Nothing,
    Other(Text),
}

impl Problem {
    pub(crate) fn new(code: Code, message: impl Into<Text>, span: Span) -> Self {
        let message = message.into();
        Self { code, message, shown: Shown::Same, hint: None, context: true, span }
    }

    pub(crate) fn shown(mut self, shown: Shown) -> Self {
        self.shown = shown;
        self
    }

    fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }

    pub(crate) fn without_context(mut self) -> Self {
        self.context = false;
        self
    }
}

/// Where problems go that do not end a rule.
pub(crate) trait Report {
    fn report(&mut self, severity: Severity, problem: Problem);
    /// The view shows no warning about this rule any more.
    fn forget_warning(&mut self);
}

/// The fields of a line, in their order.
struct Fields<'t, I> {
    line: &'t LineData,
    fields: I,
}

impl<I: Iterator<Item = Range<u32>>> Fields<'_, I> {
    fn next(&mut self) -> Option<Range<u32>> {
        self.fields.next()
    }

    /// The next field, or the problem that there is none.
    fn expect(&mut self, code: Code, what: &str) -> Result<Range<u32>, Problem> {
        self.next().ok_or_else(|| {
            let message = format!("end-of-line before {what}");
            Problem::new(code, message, self.line.span)
        })
    }
}

/// The whole span of a field's tokens.
fn field_span(tokens: &Tokenized, field: &Range<u32>) -> Span {
    tokens.token(field.start).span
}

/// The only token of a field.
fn single(tokens: &Tokenized, field: &Range<u32>, code: Code, what: &str) -> Result<u32, Problem> {
    if field.len() > 1 {
        let message = format!("multiple values specified for {what}");
        return Err(Problem::new(code, message, field_span(tokens, field)));
    }
    Ok(field.start)
}

/// Whether a token is this keyword: one that begins with a quote never is.
pub(crate) fn is_keyword(tokens: &Tokenized, token: u32, keyword: &[u8]) -> bool {
    !tokens.token(token).quoted && tokens.token_text(token) == keyword
}

pub(crate) fn parse(parsing: &mut Parsing<'_>) -> Result<RuleData, Problem> {
    let (tokens, server) = (parsing.tokens, parsing.server);
    let line = &tokens.lines[parsing.line as usize];
    let mut fields = Fields { line, fields: tokens.fields(line) };
    let field = fields.expect(Code::InvalidConnectionType, "connection type")?;
    let connection = connection_type(tokens, &field, server, parsing)?;
    let databases = fields.expect(Code::NoDatabase, "database specification")?;
    compile(parsing, databases.clone())?;
    let users = fields.expect(Code::NoUser, "role specification")?;
    compile(parsing, users.clone())?;
    let address = if connection == ConnectionType::Local {
        AddressData::None
    } else {
        address(tokens, &mut fields, server)?
    };
    let field = fields.expect(Code::NoMethod, "authentication method")?;
    let token = single(tokens, &field, Code::MultipleMethods, "authentication type")
        .map_err(|problem| problem.hint("Specify exactly one authentication type per line."))?;
    let method = method(tokens, token, connection, server)?;
    let line = parsing.line;
    let mut reader = Reader::new(method, connection, server, parsing);
    while let Some(field) = fields.next() {
        for token in field {
            reader.read(tokens.token_text(token), tokens.token(token).span)?;
        }
    }
    let options = reader.finish(tokens.token(token).span)?;
    Ok(RuleData {
        line,
        connection,
        method,
        databases: (databases.start, databases.end),
        users: (users.start, users.end),
        address,
        options: (!options.is_trivial()).then(|| Box::new(options)),
        method_token: token,
    })
}

/// Compiles the regular expressions of a field. Before 16 a slash in a name is just that.
fn compile(parsing: &mut Parsing<'_>, mut field: Range<u32>) -> Result<(), Problem> {
    if parsing.server.version < PgVersion::V16 {
        return Ok(());
    }
    field.try_for_each(|token| parsing.compile(token))
}

fn connection_type(
    tokens: &Tokenized,
    field: &Range<u32>,
    server: &Server,
    report: &mut dyn Report,
) -> Result<ConnectionType, Problem> {
    let token = single(tokens, field, Code::MultipleConnectionTypes, "connection type")
        .map_err(|problem| problem.hint("Specify exactly one connection type per line."))?;
    let text = tokens.token_text(token);
    let span = tokens.token(token).span;
    let connection = ConnectionType::named(text).ok_or_else(|| {
        let message = text!("invalid connection type \"", text, "\"");
        Problem::new(Code::InvalidConnectionType, message, span)
    })?;
    let version = server.version;
    let warning = match connection {
        ConnectionType::HostSsl if !server.build.ssl => {
            let message = "hostssl record cannot match because SSL is not supported by this build";
            let problem = Problem::new(Code::SslNotSupported, message, span);
            Some(if version < PgVersion::V14 {
                problem.hint("Compile with --with-openssl to use SSL connections.")
            } else if version == PgVersion::V14 {
                problem.hint("Compile with --with-ssl to use SSL connections.")
            } else {
                problem
            })
        }
        ConnectionType::HostSsl if !server.ssl => {
            let message = "hostssl record cannot match because SSL is disabled";
            let problem = Problem::new(Code::SslDisabled, message, span);
            Some(if version < PgVersion::V17 {
                problem.hint("Set ssl = on in postgresql.conf.")
            } else {
                problem.hint("Set \"ssl = on\" in postgresql.conf.")
            })
        }
        ConnectionType::HostGssEnc if !server.build.gss => {
            let message =
                "hostgssenc record cannot match because GSSAPI is not supported by this build";
            let problem = Problem::new(Code::GssNotSupported, message, span);
            Some(if version < PgVersion::V15 {
                problem.hint("Compile with --with-gssapi to use GSSAPI connections.")
            } else {
                problem
            })
        }
        _ => None,
    };
    if let Some(warning) = warning {
        report.report(Severity::Warning, warning);
    }
    Ok(connection)
}

/// The address, and the mask that may follow it.
fn address(
    tokens: &Tokenized,
    fields: &mut Fields<'_, impl Iterator<Item = Range<u32>>>,
    server: &Server,
) -> Result<AddressData, Problem> {
    let field = fields.expect(Code::NoAddress, "IP address specification")?;
    let token = single(tokens, &field, Code::MultipleAddresses, "host address")
        .map_err(|problem| problem.hint("Specify one address range per line."))?;
    for (keyword, data) in [
        (&b"all"[..], AddressData::All),
        (b"samehost", AddressData::SameHost),
        (b"samenet", AddressData::SameNet),
    ] {
        if is_keyword(tokens, token, keyword) {
            return Ok(data);
        }
    }
    let text = tokens.token_text(token);
    let span = tokens.token(token).span;
    let (host, bits) = address::split_cidr(text);
    let network = address::parse(host, server);
    let (network, mask) = match (network, bits) {
        (None, Some(_)) => {
            let message =
                text!("specifying both host name and CIDR mask is invalid: \"", text, "\"");
            return Err(Problem::new(Code::HostNameWithMask, message, span));
        }
        (None, None) => return Ok(AddressData::Host(token)),
        (Some(network), Some(bits)) => {
            let mask = address::cidr_mask(bits, network).ok_or_else(|| {
                let message = text!("invalid CIDR mask in address \"", text, "\"");
                Problem::new(Code::InvalidCidrMask, message, span)
            })?;
            (network, mask)
        }
        (Some(network), None) => (network, mask(tokens, fields, network, server)?),
    };
    Ok(AddressData::Network(Box::new((network, mask))))
}

fn mask(
    tokens: &Tokenized,
    fields: &mut Fields<'_, impl Iterator<Item = Range<u32>>>,
    network: IpAddr,
    server: &Server,
) -> Result<IpAddr, Problem> {
    const HINT: &str = "Specify an address range in CIDR notation, or provide a separate netmask.";
    let field = fields
        .expect(Code::NoMask, "netmask specification")
        .map_err(|problem| problem.hint(HINT))?;
    let token = single(tokens, &field, Code::MultipleMasks, "netmask")?;
    let text = tokens.token_text(token);
    let span = tokens.token(token).span;
    let mask = address::parse(text, server).ok_or_else(|| {
        let message = text!("invalid IP mask \"", text, "\": Name or service not known");
        Problem::new(Code::InvalidMask, message, span)
    })?;
    if mask.is_ipv4() != network.is_ipv4() {
        let message = "IP address and mask do not match";
        return Err(Problem::new(Code::MaskMismatch, message, span));
    }
    Ok(mask)
}

fn method(
    tokens: &Tokenized,
    token: u32,
    connection: ConnectionType,
    server: &Server,
) -> Result<Method, Problem> {
    let text = tokens.token_text(token);
    let span = tokens.token(token).span;
    let method = Method::named(text, server.version).ok_or_else(|| {
        let message = text!("invalid authentication method \"", text, "\"");
        Problem::new(Code::InvalidMethod, message, span)
    })?;
    if !method.is_built(server.build) {
        let message =
            text!("invalid authentication method \"", text, "\": not supported by this build");
        return Err(Problem::new(Code::MethodNotSupported, message, span));
    }
    let local = connection == ConnectionType::Local;
    match method {
        // For compatibility with old files.
        Method::Ident if local => Ok(Method::Peer),
        Method::Gss if local => {
            let message = "gssapi authentication is not supported on local sockets";
            Err(Problem::new(Code::GssOnLocal, message, span))
        }
        Method::Peer if !local => {
            let message = "peer authentication is only supported on local sockets";
            Err(Problem::new(Code::PeerNotLocal, message, span))
        }
        Method::Cert if connection != ConnectionType::HostSsl => {
            let message = "cert authentication is only supported on hostssl connections";
            Err(Problem::new(Code::CertNeedsHostssl, message, span))
        }
        method => Ok(method),
    }
}
