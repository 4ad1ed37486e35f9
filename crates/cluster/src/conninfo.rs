//! libpq connection strings: read, changed and written without losing a parameter.
//!
//! Both forms are read: `host=a port=5432` (libpq's `conninfo_parse`) and
//! `postgresql://user@a:5432/db?sslmode=require` (`conninfo_uri_parse`). Written is always the
//! first, because that is what `ALTER SUBSCRIPTION … CONNECTION`, `primary_conninfo` and
//! `interface_dsn` hold. Source of the rules: PostgreSQL documentation, section "Connection
//! Strings", and `src/interfaces/libpq/fe-connect.c`; the same in majors 12 to 18.

use std::{
    fmt,
    hash::{Hash, Hasher},
    ops::Range,
    str::FromStr,
};

use zeroize::Zeroizing;

/// A connection string as its parameters, in their order. Where a keyword is given twice, libpq
/// takes the last; only that one is kept.
///
/// A connection string may hold a password, so there is no `Display`: [`ConnInfo::to_text`] gives
/// what libpq reads, [`ConnInfo::to_masked_text`] what people may see.
///
/// ```
/// use cluster::conninfo::ConnInfo;
///
/// let mut conninfo: ConnInfo = "host=10.0.0.2 user=repl password='it''s'".replace("''", "\\'").parse()?;
/// conninfo.set("sslmode", "verify-full");
/// assert_eq!(conninfo.get("password"), Some("it's"));
/// assert_eq!(
///     conninfo.to_masked_text(),
///     "host=10.0.0.2 user=repl password=******** sslmode=verify-full"
/// );
/// # Ok::<(), cluster::conninfo::ConnInfoError>(())
/// ```
#[derive(Clone, Default)]
pub struct ConnInfo {
    /// Keywords and values in turns, each ended by a NUL, as libpq's strings are: one piece of memory
    /// for each of what may be a million connection strings.
    parameters: Zeroizing<String>,
    /// What it was read from and has not been changed since, where that is not how it is written.
    read_from: Option<Zeroizing<Box<str>>>,
}

/// One of several hosts of a connection string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Host<'a> {
    /// Its entry in `host`.
    pub(crate) name: Option<&'a str>,
    /// Its entry in `hostaddr`.
    pub(crate) address: Option<&'a str>,
    pub(crate) port: u16,
}

/// An item of a list that libpq takes apart at its commas; one that is empty is none.
fn item<'a>(list: &Option<Vec<&'a str>>, index: usize) -> Option<&'a str> {
    list.as_ref()?.get(index).copied().filter(|item| !item.is_empty())
}

/// Whether the parameters are the same, in the same order.
impl PartialEq for ConnInfo {
    fn eq(&self, other: &Self) -> bool {
        self.parameters == other.parameters
    }
}

impl Eq for ConnInfo {}

/// Parameters whose values are secrets.
const SECRETS: [&str; 5] =
    ["password", "sslpassword", "oauth_client_secret", "scram_client_key", "scram_server_key"];

/// Whether a parameter's value is a secret.
pub(crate) fn is_secret(keyword: &str) -> bool {
    SECRETS.contains(&keyword)
}

impl ConnInfo {
    /// The value of a parameter.
    #[must_use]
    pub fn get(&self, keyword: &str) -> Option<&str> {
        self.iter().find(|parameter| parameter.0 == keyword).map(|parameter| parameter.1)
    }

    /// Every parameter in its order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> + '_ {
        let mut rest = self.parameters.as_str();
        std::iter::from_fn(move || Some((next_word(&mut rest)?, next_word(&mut rest)?)))
    }

    /// Gives a parameter a value: in its place if it is there, else at the end. What follows a NUL in
    /// it is left out, for that is where libpq's strings end.
    pub fn set(&mut self, keyword: &str, value: impl AsRef<str>) {
        let (keyword, value) = (until_nul(keyword), until_nul(value.as_ref()));
        match self.place(|name| name == keyword) {
            Some((_, old)) => self.splice(old, &[value]),
            None => self.push(keyword, value),
        }
    }

    /// What a repeated keyword does: the last one counts, and stands last.
    fn put(&mut self, keyword: &str, value: &str) {
        let (keyword, value) = (until_nul(keyword), until_nul(value));
        self.remove(keyword);
        self.push(keyword, value);
    }

    fn push(&mut self, keyword: &str, value: &str) {
        let end = self.parameters.len();
        self.splice(end..end, &[keyword, "\0", value, "\0"]);
    }

    /// Where the first such parameter is: where it begins, and its value without the NUL.
    fn place(&self, wanted: impl Fn(&str) -> bool) -> Option<(usize, Range<usize>)> {
        let mut begin = 0;
        for (name, value) in self.iter() {
            let start = begin + name.len() + 1;
            let end = start + value.len();
            if wanted(name) {
                return Some((begin, start..end));
            }
            begin = end + 1;
        }
        None
    }

    /// Puts other text in a place. Memory that gets too small is wiped.
    fn splice(&mut self, place: Range<usize>, pieces: &[&str]) {
        self.read_from = None;
        let added: usize = pieces.iter().map(|piece| piece.len()).sum();
        let length = self.parameters.len() - place.len() + added;
        if length > self.parameters.capacity() {
            // Several parameters are set one after another.
            let mut grown =
                Zeroizing::new(String::with_capacity(length.max(64).next_power_of_two()));
            grown.push_str(&self.parameters[..place.start]);
            grown.extend(pieces.iter().copied());
            grown.push_str(&self.parameters[place.end..]);
            self.parameters = grown;
        } else if let [piece] = pieces {
            self.parameters.replace_range(place, piece);
        } else {
            let text = Zeroizing::new(pieces.concat());
            self.parameters.replace_range(place, &text);
        }
    }

    /// The hosts of a connection string that names several, in the order in which libpq tries them
    /// (`pqConnectOptions2`). `None` for one that names a single host or none, and for lists that libpq
    /// refuses because they do not fit one another.
    pub(crate) fn several_hosts(&self) -> Option<Vec<Host<'_>>> {
        // Asked of a million connection strings, and few have lists.
        if !self.parameters.contains(',') {
            return None;
        }
        let is_list = |keyword| self.get(keyword).is_some_and(|value| value.contains(','));
        if !is_list("host") && !is_list("hostaddr") {
            return None;
        }
        let list = |keyword| {
            let value = self.get(keyword).filter(|value| !value.is_empty())?;
            Some(value.split(',').collect::<Vec<_>>())
        };
        let (names, addresses) = (list("host"), list("hostaddr"));
        let count = addresses.as_ref().or(names.as_ref())?.len();
        let ports = list("port").unwrap_or_else(|| vec![""]);
        let fits = |list: &Option<Vec<&str>>| list.as_ref().is_none_or(|list| list.len() == count);
        if count < 2 || !fits(&names) || !fits(&addresses) || ![1, count].contains(&ports.len()) {
            return None;
        }
        let host = |index: usize| {
            // A single port is that of all.
            let port = ports.get(index).or(ports.first()).copied().filter(|port| !port.is_empty());
            let port = port.map_or(Ok(5432), str::parse).ok()?;
            Some(Host { name: item(&names, index), address: item(&addresses, index), port })
        };
        (0..count).map(host).collect()
    }

    /// Whether a parameter's value is a secret.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.iter().any(|(keyword, _)| is_secret(keyword))
    }

    /// Takes out every parameter whose value is a secret.
    pub fn remove_secrets(&mut self) {
        self.remove_all(&SECRETS);
    }

    /// Takes a parameter out.
    pub fn remove(&mut self, keyword: &str) {
        self.remove_all(&[keyword]);
    }

    /// Takes several parameters out.
    pub fn remove_all(&mut self, keywords: &[&str]) {
        while let Some((begin, value)) = self.place(|keyword| keywords.contains(&keyword)) {
            self.splice(begin..value.end + 1, &[""]);
        }
    }

    /// The connection string in the form `keyword=value`, with its secrets.
    #[must_use]
    pub fn to_text(&self) -> Zeroizing<String> {
        let room = 2 * self.parameters.len() + 4 * self.iter().count();
        let mut text = Zeroizing::new(String::with_capacity(room));
        for (keyword, value) in self.iter() {
            write_parameter(&mut text, keyword, value);
        }
        text
    }

    /// The connection string as it was read, to the letter, unless it was changed since.
    #[must_use]
    pub(crate) fn to_text_as_read(&self) -> Zeroizing<String> {
        match &self.read_from {
            Some(text) => Zeroizing::new(text.to_string()),
            None => self.to_text(),
        }
    }

    /// [`ConnInfo::to_text`] with stars for each secret.
    #[must_use]
    pub fn to_masked_text(&self) -> String {
        let mut text = String::with_capacity(self.parameters.len() + 2 * self.iter().count());
        for (keyword, value) in self.iter() {
            let shown = if is_secret(keyword) { "********" } else { value };
            write_parameter(&mut text, keyword, shown);
        }
        text
    }
}

/// The text up to a NUL; `rest` begins behind it. (Byte by byte: the words are shorter than what a
/// search for more bytes at once needs to get going.)
fn next_word<'a>(rest: &mut &'a str) -> Option<&'a str> {
    let end = rest.bytes().position(|byte| byte == 0)?;
    let word = &rest[..end];
    *rest = &rest[end + 1..];
    Some(word)
}

fn until_nul(text: &str) -> &str {
    next_word(&mut { text }).unwrap_or(text)
}

fn write_parameter(text: &mut String, keyword: &str, value: &str) {
    if !text.is_empty() {
        text.push(' ');
    }
    text.push_str(keyword);
    text.push('=');
    // libpq ends an unquoted value at white space (C locale) and takes quotes and backslashes out.
    let plain = !value.is_empty()
        && !value.chars().any(|c| c == '\'' || c == '\\' || c.is_ascii_whitespace() || c == '\x0b');
    if plain {
        text.push_str(value);
        return;
    }
    text.push('\'');
    for c in value.chars() {
        if c == '\'' || c == '\\' {
            text.push('\\');
        }
        text.push(c);
    }
    text.push('\'');
}

impl Hash for ConnInfo {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parameters.as_str().hash(state);
    }
}

/// Shows the masked form.
impl fmt::Debug for ConnInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ConnInfo").field(&self.to_masked_text()).finish()
    }
}

impl FromStr for ConnInfo {
    type Err = ConnInfoError;

    fn from_str(text: &str) -> Result<Self, ConnInfoError> {
        let uri = |scheme: &&str| text.strip_prefix(*scheme).map(|rest| (rest, scheme.len()));
        let uri = ["postgresql://", "postgres://"].iter().find_map(uri);
        let mut conninfo = match uri {
            Some((rest, offset)) => parse_uri(rest, offset)?,
            None => parse_keywords(text)?,
        };
        if *conninfo.to_text() != text {
            conninfo.read_from = Some(Zeroizing::new(text.into()));
        }
        Ok(conninfo)
    }
}

/// `conninfo_parse` of fe-connect.c.
fn parse_keywords(text: &str) -> Result<ConnInfo, ConnInfoError> {
    let mut conninfo = ConnInfo::default();
    let space = |c: char| c.is_ascii_whitespace() || c == '\x0b';
    let mut rest = text.trim_start_matches(space);
    while !rest.is_empty() {
        let at = text.len() - rest.len();
        let missing = || ConnInfoError::MissingEquals { column: at + 1 };
        let end = rest.find(|c| c == '=' || space(c)).ok_or_else(missing)?;
        let (keyword, after) = rest.split_at(end);
        rest = after.trim_start_matches(space).strip_prefix('=').ok_or_else(missing)?;
        rest = rest.trim_start_matches(space);

        let mut value = Zeroizing::new(String::with_capacity(rest.len()));
        let quoted = rest.starts_with('\'');
        let mut chars = rest.char_indices().skip(usize::from(quoted));
        let end = loop {
            match chars.next() {
                None if quoted => return Err(ConnInfoError::UnterminatedQuote { column: at + 1 }),
                None => break rest.len(),
                Some((at, '\'')) if quoted => break at + 1,
                Some((at, c)) if !quoted && space(c) => break at,
                // A backslash takes the next character as it is; at the end it is dropped.
                Some((_, '\\')) => value.extend(chars.next().map(|(_, c)| c)),
                Some((_, c)) => value.push(c),
            }
        };
        conninfo.put(keyword, &value);
        rest = rest[end..].trim_start_matches(space);
    }
    Ok(conninfo)
}

/// `conninfo_uri_parse_options` of fe-connect.c, after the scheme.
fn parse_uri(text: &str, offset: usize) -> Result<ConnInfo, ConnInfoError> {
    let mut conninfo = ConnInfo::default();
    // Every part is a slice of `text`, so its place can be told.
    let column = |part: &str| offset + (part.as_ptr() as usize - text.as_ptr() as usize) + 1;
    let decode = |raw: &str| {
        percent_decode(raw).ok_or_else(|| ConnInfoError::PercentEncoding { column: column(raw) })
    };
    let (address, query) = text.split_once('?').unwrap_or((text, ""));
    let (address, dbname) = address.split_once('/').unwrap_or((address, ""));
    let (user, hosts) = address.split_once('@').unwrap_or(("", address));
    let (user, password) = user.split_once(':').unwrap_or((user, ""));
    for (keyword, raw) in [("user", user), ("password", password)] {
        if !raw.is_empty() {
            conninfo.put(keyword, &decode(raw)?);
        }
    }
    let (mut names, mut ports) = (Vec::new(), Vec::new());
    for host in hosts.split(',') {
        let (name, port) = match host.strip_prefix('[') {
            Some(bracketed) => {
                let unterminated = || ConnInfoError::UnterminatedBracket { column: column(host) };
                let (name, rest) = bracketed.split_once(']').ok_or_else(unterminated)?;
                (name, rest.strip_prefix(':').unwrap_or(""))
            }
            None => host.split_once(':').unwrap_or((host, "")),
        };
        names.push(decode(name)?);
        ports.push(decode(port)?);
    }
    for (keyword, list) in [("host", names), ("port", ports)] {
        if list.iter().any(|item| !item.is_empty()) {
            let list: Vec<&str> = list.iter().map(|item| item.as_str()).collect();
            conninfo.set(keyword, list.join(","));
        }
    }
    if !dbname.is_empty() {
        conninfo.put("dbname", &decode(dbname)?);
    }
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let missing = || ConnInfoError::MissingEquals { column: column(parameter) };
        let (keyword, value) = parameter.split_once('=').ok_or_else(missing)?;
        // JDBC's way to ask for TLS, which libpq takes too.
        if (keyword, value) == ("ssl", "true") {
            conninfo.set("sslmode", "require");
        } else {
            conninfo.put(&decode(keyword)?, &decode(value)?);
        }
    }
    Ok(conninfo)
}

fn percent_decode(raw: &str) -> Option<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(raw.len()));
    let mut rest = raw.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || char::from(rest.next()?).to_digit(16);
            let code = u8::try_from(digit()? * 16 + digit()?).ok()?;
            // libpq forbids %00: a C string ends there.
            bytes.push(Some(code).filter(|code| *code != 0)?);
        } else {
            bytes.push(byte);
        }
    }
    std::str::from_utf8(&bytes).ok().map(|text| Zeroizing::new(text.to_owned()))
}

/// Why a connection string cannot be read. None shows the string: it may hold a password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnInfoError {
    /// A keyword without `=`.
    #[error("missing \"=\" after the keyword at column {column} of the connection string")]
    MissingEquals {
        /// Where the keyword starts, in bytes from 1.
        column: usize,
    },
    /// A quoted value that does not end.
    #[error(
        "unterminated quote in the value of the keyword at column {column} of the connection string"
    )]
    UnterminatedQuote {
        /// Where the keyword starts, in bytes from 1.
        column: usize,
    },
    /// An IPv6 address without its `]`.
    #[error("missing \"]\" for the address at column {column} of the connection string")]
    UnterminatedBracket {
        /// Where the bracket opens, in bytes from 1.
        column: usize,
    },
    /// `%` that two hexadecimal digits do not follow, `%00`, or bytes that are no UTF-8.
    #[error("invalid percent-encoding in the value at column {column} of the connection string")]
    PercentEncoding {
        /// Where the value starts, in bytes from 1.
        column: usize,
    },
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn parameters(text: &str) -> Result<Vec<(String, String)>, ConnInfoError> {
        let conninfo: ConnInfo = text.parse()?;
        Ok(conninfo.iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect())
    }

    #[test]
    fn it_is_remembered_to_the_letter() -> Result<(), ConnInfoError> {
        for text in ["host=a port=1", " host = 'a'  port=1", "postgres://u:p@a:1/d?sslmode=allow"] {
            let mut conninfo: ConnInfo = text.parse()?;
            assert_eq!(*conninfo.to_text_as_read(), text);
            assert_eq!(conninfo, conninfo.to_text().parse()?);
            conninfo.set("port", "2");
            assert_eq!(conninfo.to_text_as_read(), conninfo.to_text());
        }
        Ok(())
    }

    #[test]
    fn reads_what_libpq_reads() {
        for (text, expected) in [
            ("", vec![]),
            ("  host = a  port= 1 ", vec![("host", "a"), ("port", "1")]),
            ("host='a b\\'c\\\\d' user=x\\ y", vec![("host", "a b'c\\d"), ("user", "x y")]),
            ("host='' port=1", vec![("host", ""), ("port", "1")]),
            ("host=a'b", vec![("host", "a'b")]),
            ("user=a user=b", vec![("user", "b")]),
            ("password=a=b", vec![("password", "a=b")]),
            (
                "postgresql://u%40x:p%3A@h:5433/d%20b?sslmode=require&ssl=true",
                vec![
                    ("user", "u@x"),
                    ("password", "p:"),
                    ("host", "h"),
                    ("port", "5433"),
                    ("dbname", "d b"),
                    ("sslmode", "require"),
                ],
            ),
            ("postgres://[::1]:1/", vec![("host", "::1"), ("port", "1")]),
            ("postgresql://a:1,b:2", vec![("host", "a,b"), ("port", "1,2")]),
            ("postgresql://%2Ftmp/db", vec![("host", "/tmp"), ("dbname", "db")]),
            ("postgresql:///?host=/tmp", vec![("host", "/tmp")]),
        ] {
            let expected: Vec<(String, String)> =
                expected.into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            assert_eq!(parameters(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn names_the_place_of_what_it_cannot_read() {
        for (text, message) in [
            ("host", "missing \"=\" after the keyword at column 1 of the connection string"),
            ("a=1 host 2", "missing \"=\" after the keyword at column 5 of the connection string"),
            (
                "a='b",
                "unterminated quote in the value of the keyword at column 1 of the connection string",
            ),
            (
                "postgresql://u:%zz@h",
                "invalid percent-encoding in the value at column 16 of the connection string",
            ),
            (
                "postgresql://[::1",
                "missing \"]\" for the address at column 14 of the connection string",
            ),
        ] {
            let error = text.parse::<ConnInfo>().map_err(|error| error.to_string());
            assert_eq!(error.err().as_deref(), Some(message), "{text}");
        }
    }

    #[test]
    fn what_is_set_is_what_is_got() {
        let mut conninfo = ConnInfo::default();
        conninfo.set("host", "a");
        conninfo.set("password", "first");
        conninfo.set("port", "1");
        conninfo.set("host", "a longer name");
        conninfo.set("password", "");
        conninfo.set("user", "x\0y");
        conninfo.remove("port");
        conninfo.remove("none");
        let all: Vec<_> = conninfo.iter().collect();
        assert_eq!(all, [("host", "a longer name"), ("password", ""), ("user", "x")]);
        conninfo.remove_secrets();
        assert_eq!(conninfo.to_text().as_str(), "host='a longer name' user=x");
        // A value is no keyword.
        conninfo.set("user", "host");
        conninfo.remove("host");
        assert_eq!(conninfo.to_text().as_str(), "user=host");
    }

    #[test]
    fn shows_no_secret() {
        let conninfo: Result<ConnInfo, _> = "host=a password=hunter2 sslpassword=x2".parse();
        assert!(conninfo.as_ref().is_ok_and(ConnInfo::has_secret));
        let shown = format!("{conninfo:?}");
        assert!(!shown.contains("hunter2") && !shown.contains("x2"), "{shown}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            values in proptest::collection::btree_map("[a-z_]{1,8}", "\\PC{0,12}|[ '\\\\=a]{0,6}", 0..6)
        ) {
            let mut conninfo = ConnInfo::default();
            for (keyword, value) in &values {
                conninfo.set(keyword, value.clone());
            }
            prop_assert_eq!(conninfo.to_text().parse::<ConnInfo>(), Ok(conninfo));
        }
    }
}
