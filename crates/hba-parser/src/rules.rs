//! pg_hba.conf as a server understands it.

use alloc::vec::Vec;
use core::net::IpAddr;

use textfile::{Files, Span};

use crate::{
    ConnectionType, Method, Server, address,
    diagnostics::{Diagnostic, FileId, Location, LogEntry, Verdict},
    options::Options,
    reading::Reading,
    record::{self, AddressData, RuleData},
    regex::Regex,
    text::Text,
    tokenize::{Tokenized, short},
};

/// A pg_hba.conf as one server understands it: rules, diagnostics, verdict.
///
/// Made by [`HbaDocument::interpret`](crate::HbaDocument::interpret). It owns what it holds.
#[derive(Debug)]
pub struct Rules {
    reading: Reading<RuleData>,
}

impl Rules {
    pub(crate) fn read(bytes: &[u8], path: &[u8], server: &Server, files: &dyn Files) -> Self {
        Self { reading: Reading::new(bytes, path, server, files, true, record::parse) }
    }

    /// Would the server load the file?
    #[must_use]
    pub fn verdict(&self) -> &Verdict {
        self.reading.verdict()
    }

    /// All problems, in the order in which the server logs them.
    #[must_use]
    pub fn diagnostics(&self) -> &[Diagnostic] {
        self.reading.diagnostics()
    }

    /// The rules in their order, with those of included files where they are included. Of a file
    /// that is refused, the ones that are rules; the server has none of them then.
    pub fn iter(
        &self,
    ) -> impl ExactSizeIterator<Item = Rule<'_>> + DoubleEndedIterator + Clone + '_ {
        (0..self.reading.items.len()).map(|index| Rule { rules: self, index: short(index) })
    }

    /// How many rules there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.reading.items.len()
    }

    /// Whether there is no rule.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reading.items.is_empty()
    }

    /// Rule number `index`, counted from 0.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<Rule<'_>> {
        (index < self.reading.items.len()).then(|| Rule { rules: self, index: short(index) })
    }

    /// The rule on this line of the main file, as the server counts lines.
    #[must_use]
    pub fn at_line(&self, line: u32) -> Option<Rule<'_>> {
        self.iter().find(|rule| rule.line() == line && rule.file() == FileId::MAIN)
    }

    /// The paths of all files that were read, by [`FileId`].
    #[must_use]
    pub fn files(&self) -> &[Text] {
        self.reading.files()
    }

    /// The path of a file.
    #[must_use]
    pub fn path(&self, file: FileId) -> &Text {
        self.reading.path(file)
    }

    /// The server that the file was read for.
    #[must_use]
    pub fn server(&self) -> &Server {
        self.reading.server()
    }

    /// What `pg_hba_file_rules` shows.
    pub fn rows(&self) -> impl Iterator<Item = Row<'_>> + '_ {
        self.reading.rows().map(|row| Row {
            rule_number: row.number,
            file: row.file,
            line_number: row.line,
            rule: row.item.map(|index| Rule { rules: self, index }),
            error: row.error,
        })
    }

    /// What the server logs when it reads the file at reload.
    #[must_use]
    pub fn reload_log(&self) -> Vec<LogEntry> {
        self.reading.reload_log("pg_hba.conf")
    }

    pub(crate) fn reading(&self) -> &Reading<RuleData> {
        &self.reading
    }

    fn tokens(&self) -> &Tokenized {
        &self.reading.tokens
    }
}

/// A row of the view `pg_hba_file_rules`.
///
/// ```
/// use hba_parser::{HbaDocument, PgVersion, Server};
///
/// let file = HbaDocument::parse(*b"hostssl all all all md5\nlocal all all none\n");
/// let rules = file.interpret(&Server::new(PgVersion::V16).with_ssl(false));
/// let rows: Vec<_> = rules.rows().collect();
/// // Loaded, with a warning; refused, and so the whole file.
/// assert!(rows[0].rule.is_some() && rows[0].error.is_some());
/// assert!(rows[1].rule.is_none());
/// assert_eq!(*rows[1].error.unwrap(), "invalid authentication method \"none\"");
/// assert!(!rules.verdict().is_loaded());
/// ```
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Row<'a> {
    /// `rule_number` (16 and newer): rules without an error, counted from 1.
    pub rule_number: Option<u32>,
    /// `file_name` (16 and newer).
    pub file: FileId,
    /// `line_number`
    pub line_number: u32,
    /// The rule; `None` where the view shows only NULL: the line is refused.
    pub rule: Option<Rule<'a>>,
    /// `error`. Some problems are only in the log, and others are worded differently there.
    pub error: Option<&'a Text>,
}

/// A rule: what one line is for, and how clients prove who they are.
///
/// ```
/// use hba_parser::{Address, DatabaseKind, HbaDocument, PgVersion, Server, UserKind};
///
/// let file = HbaDocument::parse(*b"host app,\"all\" +web 10.1.2.3 255.255.0.0 md5\n");
/// let rules = file.interpret(&Server::new(PgVersion::V16));
/// let rule = rules.get(0).unwrap();
/// // In quotes it is a database that is called all.
/// assert!(rule.databases().all(|database| matches!(database.kind(), DatabaseKind::Name(_))));
/// assert!(matches!(rule.users().next().unwrap().kind(), UserKind::Member(b"web")));
/// // The bits that the mask does not have stay as they are written.
/// let expected = Address::Network([10, 1, 2, 3].into(), [255, 255, 0, 0].into());
/// assert_eq!(rule.address(), Some(expected));
/// assert_eq!(file.to_bytes()[rule.method_span().range()], *b"md5");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    rules: &'a Rules,
    index: u32,
}

impl<'a> Rule<'a> {
    pub(crate) fn data(&self) -> &'a RuleData {
        &self.rules.reading.items[self.index as usize]
    }

    /// Its number among the rules, counted from 0.
    #[must_use]
    pub const fn index(&self) -> usize {
        self.index as usize
    }

    /// The file that it is in.
    #[must_use]
    pub fn file(&self) -> FileId {
        self.location().file
    }

    /// The number of its line as the server counts.
    #[must_use]
    pub fn line(&self) -> u32 {
        self.location().line
    }

    /// Where it is.
    #[must_use]
    pub fn location(&self) -> Location {
        self.rules.reading.location(self.data().line)
    }

    /// Which connections it is for.
    #[must_use]
    pub fn connection(&self) -> ConnectionType {
        self.data().connection
    }

    /// The databases it is for: any of them.
    pub fn databases(&self) -> impl ExactSizeIterator<Item = Database<'a>> + Clone + use<'a> {
        let rules = self.rules;
        let (start, end) = self.data().databases;
        (start as usize..end as usize)
            .map(move |token| Database(Name { rules, token: short(token) }))
    }

    /// The users it is for: any of them.
    pub fn users(&self) -> impl ExactSizeIterator<Item = User<'a>> + Clone + use<'a> {
        let rules = self.rules;
        let (start, end) = self.data().users;
        (start as usize..end as usize).map(move |token| User(Name { rules, token: short(token) }))
    }

    /// The addresses that clients may have; `None` for Unix sockets.
    #[must_use]
    pub fn address(&self) -> Option<Address<'a>> {
        Some(match &self.data().address {
            AddressData::None => return None,
            AddressData::All => Address::All,
            AddressData::SameHost => Address::SameHost,
            AddressData::SameNet => Address::SameNet,
            AddressData::Host(token) => match self.rules.tokens().token_text(*token) {
                suffix @ [b'.', ..] => Address::Suffix(suffix),
                name => Address::Host(name),
            },
            AddressData::Network(network) => Address::Network(network.0, network.1),
        })
    }

    /// How the client must prove who it is. `ident` on a Unix socket is `peer`.
    #[must_use]
    pub fn method(&self) -> Method {
        self.data().method
    }

    /// The options, with what the method implies.
    #[must_use]
    pub fn options(&self) -> &'a Options {
        static NONE: Options = Options::NONE;
        self.data().options.as_deref().unwrap_or(&NONE)
    }

    /// Where its method is.
    #[must_use]
    pub fn method_span(&self) -> Span {
        self.rules.tokens().token(self.data().method_token).span
    }

    /// The column `address` of the view.
    #[must_use]
    pub fn shown_address(&self) -> Option<Text> {
        Some(match self.address()? {
            Address::All => "all".into(),
            Address::SameHost => "samehost".into(),
            Address::SameNet => "samenet".into(),
            Address::Host(name) | Address::Suffix(name) => name.into(),
            Address::Network(network, _) => address::display(network).into(),
        })
    }

    /// The column `netmask` of the view.
    #[must_use]
    pub fn shown_netmask(&self) -> Option<Text> {
        match self.address()? {
            Address::Network(_, mask) => Some(address::display(mask).into()),
            _ => None,
        }
    }

    /// The column `options` of the view.
    #[must_use]
    pub fn shown_options(&self) -> Vec<Text> {
        self.options().shown(self.method(), self.rules.server().version)
    }
}

/// Which addresses a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Address<'a> {
    /// `all`
    All,
    /// `samehost`: any address of the server's own machine.
    SameHost,
    /// `samenet`: any address in a network of the server's own machine.
    SameNet,
    /// A host name. It never matches unless names resolve in both directions.
    Host(&'a [u8]),
    /// A host name's end, with the dot that it begins with.
    Suffix(&'a [u8]),
    /// An address and a mask: the bits that the mask has must be the same.
    Network(IpAddr, IpAddr),
}

/// A token of a rule's fields for databases or users.
#[derive(Clone, Copy)]
pub(crate) struct Name<'a> {
    rules: &'a Rules,
    pub(crate) token: u32,
}

impl<'a> Name<'a> {
    fn text(&self) -> &'a [u8] {
        self.rules.tokens().token_text(self.token)
    }

    fn quoted(&self) -> bool {
        self.rules.tokens().token(self.token).quoted
    }

    fn location(&self) -> (FileId, Span) {
        let token = self.rules.tokens().token(self.token);
        (token.file, token.span)
    }
}

/// A database, or several, that a rule is for.
#[derive(Clone, Copy)]
pub struct Database<'a>(pub(crate) Name<'a>);

/// What a [`Database`] matches.
#[derive(Clone, Copy, Debug)]
pub enum DatabaseKind<'a> {
    /// `all`: any database, but not physical replication.
    All,
    /// `sameuser`: the database with the user's name.
    SameUser,
    /// `samerole` or `samegroup`: a database with the name of a role that the user is a member of.
    SameRole,
    /// `replication`: physical replication only.
    Replication,
    /// `/regex` (16 and newer)
    Regex(&'a Regex),
    /// A name.
    Name(&'a [u8]),
}

impl<'a> Database<'a> {
    /// The token's text without quotes.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.0.text()
    }

    /// Whether it begins with a quote, and so is no keyword.
    #[must_use]
    pub fn is_quoted(&self) -> bool {
        self.0.quoted()
    }

    /// Where it is: in the rule's file, or in an @file.
    #[must_use]
    pub fn location(&self) -> (FileId, Span) {
        self.0.location()
    }

    /// What it matches.
    #[must_use]
    pub fn kind(&self) -> DatabaseKind<'a> {
        let text = self.text();
        if !self.is_quoted() {
            match text {
                b"all" => return DatabaseKind::All,
                b"sameuser" => return DatabaseKind::SameUser,
                b"samerole" | b"samegroup" => return DatabaseKind::SameRole,
                b"replication" => return DatabaseKind::Replication,
                _ => {}
            }
        }
        match self.0.rules.reading.regex(self.0.token) {
            Some(regex) => DatabaseKind::Regex(regex),
            None => DatabaseKind::Name(text),
        }
    }
}

impl core::fmt::Debug for Database<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("Database").field(&Text::from(self.text())).finish()
    }
}

/// A user, or several, that a rule is for.
#[derive(Clone, Copy)]
pub struct User<'a>(pub(crate) Name<'a>);

/// What a [`User`] matches.
#[derive(Clone, Copy, Debug)]
pub enum UserKind<'a> {
    /// `all`
    All,
    /// `+role`: whoever is a member of the role, directly or not.
    Member(&'a [u8]),
    /// `/regex` (16 and newer)
    Regex(&'a Regex),
    /// A name.
    Name(&'a [u8]),
}

impl<'a> User<'a> {
    /// The token's text without quotes.
    #[must_use]
    pub fn text(&self) -> &'a [u8] {
        self.0.text()
    }

    /// Whether it begins with a quote, and so is no keyword.
    #[must_use]
    pub fn is_quoted(&self) -> bool {
        self.0.quoted()
    }

    /// Where it is: in the rule's file, or in an @file.
    #[must_use]
    pub fn location(&self) -> (FileId, Span) {
        self.0.location()
    }

    /// What it matches.
    #[must_use]
    pub fn kind(&self) -> UserKind<'a> {
        let text = self.text();
        if !self.is_quoted() {
            match text {
                b"all" => return UserKind::All,
                [b'+', role @ ..] => return UserKind::Member(role),
                _ => {}
            }
        }
        match self.0.rules.reading.regex(self.0.token) {
            Some(regex) => UserKind::Regex(regex),
            None => UserKind::Name(text),
        }
    }
}

impl core::fmt::Debug for User<'_> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("User").field(&Text::from(self.text())).finish()
    }
}
