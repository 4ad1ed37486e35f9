//! pg_hba.conf: random files, read by every server of this machine (`pg_hba_file_rules`) and by us.
//!
//! A case is a line, or a few physical ones; a file holds [`CASES_IN_A_FILE`] of them, so that what
//! one does to the next is seen, too. The view reads the file anew for each query: no reload is
//! needed. Disagreements that are known and explained stand in `hba-exceptions.txt`; one that no
//! longer disagrees is a failure.

use std::fmt::Write as _;

use hba_parser::{Build, DiskFiles, HbaDocument, PgVersion, Rules, Server};
use pgtest::{Features, Session};

use super::{Options, Outcome, Random};

const CASES_IN_A_FILE: usize = 40;

/// Disagreements that are known: a line of the file is a case as it is shown, and behind a tab why.
const EXCEPTIONS: &str = include_str!("hba-exceptions.txt");

struct Real {
    server: pgtest::Server,
    session: Session,
    ours: Server,
}

pub(super) fn compare(options: &Options) -> Result<Outcome, String> {
    let mut servers = servers()?;
    let mut outcome = Outcome::default();
    let mut random = Random::new(options.seed);
    let mut met: Vec<&str> = Vec::new();
    let known: Vec<(&str, &str)> = EXCEPTIONS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .filter_map(|line| line.split_once('\t'))
        .collect();
    while outcome.compared < options.cases {
        let count = CASES_IN_A_FILE.min(options.cases - outcome.compared);
        let cases: Vec<Vec<u8>> = (0..count).map(|_| case(&mut random)).collect();
        outcome.compared += count;
        let file = cases.concat();
        for real in &mut servers {
            if real.agrees(&file)? {
                continue;
            }
            let smallest = real.shrink(cases.clone())?;
            let shown = smallest.escape_ascii().to_string();
            if let Some((case, _)) = known.iter().find(|(case, _)| *case == shown) {
                met.push(case);
                continue;
            }
            let (theirs, ours) = (real.ask(&smallest)?, real.answer(&smallest));
            let version = real.server.version();
            outcome
                .disagreements
                .push(format!("PostgreSQL {version}: {shown}\n  server {theirs}\n  ours   {ours}"));
        }
    }
    for (case, _) in &known {
        let mut disagrees = met.contains(case);
        if !disagrees {
            let file = unescape(case)?;
            for real in &mut servers {
                disagrees |= !real.agrees(&file)?;
            }
        }
        if !disagrees {
            outcome.disagreements.push(format!("an exception that agrees: {case}"));
        }
    }
    Ok(outcome)
}

/// What `escape_ascii` made.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        match bytes.next() {
            Some(b'n') => out.push(b'\n'),
            Some(b'r') => out.push(b'\r'),
            Some(b't') => out.push(b'\t'),
            Some(b'x') => {
                let digits: String = bytes.by_ref().take(2).map(char::from).collect();
                out.push(u8::from_str_radix(&digits, 16).map_err(|error| error.to_string())?);
            }
            Some(other) => out.push(other),
            None => return Err(format!("no case: {text}")),
        }
    }
    Ok(out)
}

/// One server of each build of this machine, with TLS where it can.
fn servers() -> Result<Vec<Real>, String> {
    let text = |error: pgtest::Error| error.to_string();
    let mut servers = Vec::new();
    for installation in pgtest::find_all() {
        let Features { ssl, gss, ldap, pam, .. } = installation.features();
        let mut build = Build::MINIMAL;
        (build.ssl, build.gss, build.ldap, build.pam) = (ssl, gss, ldap, pam);
        let server = pgtest::Server::builder(&installation).start().map_err(text)?;
        let session = server.session().map_err(text)?;
        let mut ours = Server::new(installation.version()).with_build(build).with_ssl(false);
        // None of the names that cases have is one that DNS knows.
        ours.radius_names_resolve = false;
        servers.push(Real { server, session, ours });
    }
    Ok(servers)
}

impl Real {
    /// The rows of the view, one a line. Text as hexadecimal digits: it may be in any encoding.
    fn ask(&mut self, file: &[u8]) -> Result<String, String> {
        self.server.write_file("pg_hba.conf", file, 0o600).map_err(|error| error.to_string())?;
        let new = self.ours.version >= PgVersion::V16;
        let more = if new { "rule_number::text" } else { "NULL::text" };
        let hex = |column: &str| format!("encode(textsend({column}), 'hex')");
        let list = |column: &str| {
            let each = hex("item");
            format!(
                "CASE WHEN {column} IS NULL THEN NULL ELSE (SELECT string_agg({each}, ',' ORDER BY \
                 place) FROM unnest({column}) WITH ORDINALITY AS list(item, place)) END"
            )
        };
        let columns = [
            "line_number::text".to_owned(),
            more.to_owned(),
            "type".to_owned(),
            list("database"),
            list("user_name"),
            hex("address"),
            hex("netmask"),
            "auth_method".to_owned(),
            list("options"),
            hex("error"),
        ];
        let columns: Vec<_> =
            columns.iter().map(|column| format!("coalesce({column}, '-')")).collect();
        let sql = format!("SELECT concat_ws(' ', {}) FROM pg_hba_file_rules", columns.join(", "));
        let rows = self.session.query(&sql).map_err(|error| {
            format!("PostgreSQL {}: {error}: {}", self.server.version(), file.escape_ascii())
        })?;
        Ok(rows.column().join("\n"))
    }

    fn answer(&self, file: &[u8]) -> String {
        let path = self.server.data_dir().join("pg_hba.conf");
        let path = path.as_os_str().as_encoded_bytes();
        let rules = HbaDocument::parse(file).interpret_at(path, &self.ours, &DiskFiles);
        rows(&rules)
    }

    fn agrees(&mut self, file: &[u8]) -> Result<bool, String> {
        Ok(self.ask(file)? == self.answer(file))
    }

    /// The fewest cases that still disagree.
    fn shrink(&mut self, mut cases: Vec<Vec<u8>>) -> Result<Vec<u8>, String> {
        let mut index = 0;
        while index < cases.len() {
            let without: Vec<_> = [&cases[..index], &cases[index + 1..]].concat();
            if self.agrees(&without.concat())? {
                index += 1;
            } else {
                cases = without;
            }
        }
        Ok(cases.concat())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

fn rows(rules: &Rules) -> String {
    let new = rules.server().version >= PgVersion::V16;
    let text = |text: Option<&[u8]>| text.map_or_else(|| "-".to_owned(), hex);
    let list = |items: Option<Vec<String>>| items.map_or_else(|| "-".to_owned(), |i| i.join(","));
    let rows = rules.rows().map(|row| {
        let rule = row.rule;
        let address = rule.and_then(|rule| rule.shown_address());
        let netmask = rule.and_then(|rule| rule.shown_netmask());
        let options = rule.map(|rule| rule.shown_options()).filter(|options| !options.is_empty());
        [
            row.line_number.to_string(),
            row.rule_number.filter(|_| new).map_or_else(|| "-".to_owned(), |n| n.to_string()),
            rule.map_or("-", |rule| rule.connection().as_str()).to_owned(),
            list(rule.map(|rule| rule.databases().map(|name| hex(name.text())).collect())),
            list(rule.map(|rule| rule.users().map(|name| hex(name.text())).collect())),
            text(address.as_ref().map(hba_parser::Text::as_bytes)),
            text(netmask.as_ref().map(hba_parser::Text::as_bytes)),
            rule.map_or("-", |rule| rule.method().as_str()).to_owned(),
            list(options.map(|o| o.iter().map(|option| hex(option.as_bytes())).collect())),
            text(row.error.map(hba_parser::Text::as_bytes)),
        ]
        .join(" ")
    });
    rows.collect::<Vec<_>>().join("\n")
}

/// A random line: mostly of the grammar, with something wrong in many.
fn case(random: &mut Random) -> Vec<u8> {
    let mut out = Vec::new();
    if random.once_in(12) {
        junk(random, &mut out);
        out.push(b'\n');
        return out;
    }
    let connection = random.pick(&[
        "local",
        "host",
        "host",
        "hostssl",
        "hostnossl",
        "hostgssenc",
        "hostnogssenc",
        "\"host\"",
        "LOCAL",
        "hosts",
        "local,host",
        "include",
        "include_if_exists",
        "include_dir",
    ]);
    let mut fields = vec![connection.to_owned(), names(random, DATABASES), names(random, USERS)];
    if !connection.contains("local") || random.once_in(20) {
        fields.push(address(random));
        if random.once_in(6) {
            fields.push(random.pick(MASKS).to_owned());
        }
    }
    fields.push(random.pick(METHODS).to_owned());
    while random.once_in(2) && fields.len() < 12 {
        fields.push(option(random));
    }
    if random.once_in(15) {
        let gone = random.below(fields.len());
        fields.remove(gone);
    }
    if random.once_in(10) {
        fields.push("# comment".into());
    }
    for (index, field) in fields.iter().enumerate() {
        if index > 0 {
            let gap = random.pick(&[" ", " ", " ", "\t", "  ", " \\\n", "\\\r\n ", " , ", "\r"]);
            out.extend_from_slice(if random.once_in(4) { gap.as_bytes() } else { b" " });
        }
        out.extend_from_slice(field.as_bytes());
    }
    if random.once_in(25) {
        let place = random.below(out.len());
        out.insert(place, *b"\"#,\\\0\x0b\xff\r".get(random.below(8)).unwrap_or(&b'"'));
    }
    out.extend_from_slice(
        random.pick(&["\n", "\n", "\n", "\n", "\r\n", "\r\r\n", "\\\n"]).as_bytes(),
    );
    out
}

fn junk(random: &mut Random, out: &mut Vec<u8>) {
    const BYTES: &[u8] = b" \t\r\"#,\\@+/a=local trust\x00\xc3\xa9\xff";
    for _ in 0..random.below(40) {
        out.push(BYTES[random.below(BYTES.len())]);
    }
}

const DATABASES: &[&str] = &[
    "all",
    "app",
    "sameuser",
    "samerole",
    "samegroup",
    "replication",
    "\"all\"",
    "\"a b\"",
    "@nosuch",
    "+x",
    "\"\"",
    "ALL",
    "a\"ll\"",
    "x#y",
    "\"x#y\"",
    "\"a\"\"b\"",
    "@",
    "/^a",
    "/(",
    "/a{1",
    "\u{e9}",
];
const USERS: &[&str] = &[
    "all",
    "alice",
    "+grp",
    "+\"my grp\"",
    "\"+grp\"",
    "\"all\"",
    "\"a, b\"",
    "@nosuch",
    "+",
    "/^al",
    "/[",
    "/*",
    "\"/^(a|b)$\"",
    "bob\"",
];
const MASKS: &[&str] = &[
    "255.255.255.0",
    "255.0.255.0",
    "24",
    "ffff::",
    "bogus",
    "0.0.0.0",
    "\"\"",
    "0xff000000",
    "255.0.0.0,255.255.0.0",
    "255.0.0.0/8",
    "256.0.0.0",
    "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];
const METHODS: &[&str] = &[
    "trust",
    "reject",
    "md5",
    "password",
    "scram-sha-256",
    "peer",
    "ident",
    "cert",
    "gss",
    "sspi",
    "pam",
    "ldap",
    "radius",
    "bsd",
    "oauth",
    "krb5",
    "TRUST",
    "\"md5\"",
    "trust,md5",
    "",
    "implicit reject",
];

fn names(random: &mut Random, from: &[&str]) -> String {
    let mut out = match random.below(8) {
        0 => regex(random),
        _ => random.pick(from).to_owned(),
    };
    while random.once_in(3) {
        out.push_str(random.pick(&[",", ",", ",", ", ", ",,"]));
        out.push_str(random.pick(from));
    }
    out
}

/// A regular expression in quotes, right or wrong.
fn regex(random: &mut Random) -> String {
    const PARTS: &[&str] = &[
        "a",
        "b",
        ".",
        "^",
        "$",
        "*",
        "+",
        "?",
        "|",
        "(",
        ")",
        "(?:",
        "(?=",
        "(?!",
        "(?<=",
        "(?i)",
        "(?#c)",
        "[",
        "]",
        "[a-z]",
        "[^a]",
        "[z-a]",
        "[[:alpha:]]",
        "[[:bogus:]]",
        "[[.a.]]",
        "[[.space.]]",
        "[[=a=]]",
        "[a-",
        "[]a]",
        "[[:<:]]",
        "{",
        "{1}",
        "{1,2}",
        "{2,1}",
        "{1,}",
        "{256}",
        "{1,2",
        "\\d",
        "\\w",
        "\\m",
        "\\y",
        "\\1",
        "\\2",
        "\\10",
        "\\x41",
        "\\x",
        "\\u00e9",
        "\\u12",
        "\\q",
        "\\0",
        "\\",
        "***:",
        "***=",
        "***x",
        "(?e)",
        "(?b)",
        "(?q)",
        "(?x)",
        "(?z)",
        "*?",
        "+?",
        "??",
        "{1,2}?",
        "-",
        "[\\d]",
        "[\\W]",
        "[\\m]",
        "[a-\\d]",
        "[[.nosuch.]]",
        "\\cA",
        "\\B",
        "\\A",
        "\\Z",
    ];
    let mut out = String::from("\"/");
    for _ in 0..=random.below(5) {
        out.push_str(random.pick(PARTS));
    }
    out.push('"');
    out
}

fn address(random: &mut Random) -> String {
    if random.once_in(3) {
        return random
            .pick(&[
                "all",
                "samehost",
                "samenet",
                "\"all\"",
                "ALL",
                "example.com",
                ".example.com",
                "",
                "\"\"",
                "ho$t!",
                "[::1]/128",
                "10/8",
                "10.1/16",
                "010.0.0.1/32",
                "0x0a000001/32",
                "167772161/32",
                "256.1.1.1/32",
                "1.2.3.4.5/32",
                "fe80::1%lo/64",
                "fe80::1%1/64",
                "fe80::1%x/64",
                "::1%1",
                "10.0.0.1,10.0.0.2",
                "all/0",
                "1.2.3.4",
                "::1",
                "/",
                "\"10.0.0.0/ 8\"",
                "::ffff:1.2.3.4/128",
                "1::2::3/64",
                "::1.2.3.4/96",
                "1:2:3:4:5:6:7::/112",
                "08.1.1.1/8",
                "1.2.3.4/",
            ])
            .to_owned();
    }
    let bits =
        random.pick(&["0", "8", "24", "32", "33", "128", "129", "-1", "+8", "024", "8x", "0x8"]);
    if random.once_in(2) {
        let octet = |random: &mut Random| random.below(260);
        let (a, b, c, d) = (octet(random), octet(random), octet(random), octet(random));
        return format!("{a}.{b}.{c}.{d}/{bits}");
    }
    let groups: Vec<String> = (0..8)
        .map(|_| if random.once_in(2) { "0".into() } else { format!("{:x}", random.below(70_000)) })
        .collect();
    format!("{}/{bits}", groups.join(":"))
}

fn option(random: &mut Random) -> String {
    const OPTIONS: &[&str] = &[
        "map=m",
        "map=",
        "map",
        "map=\"a b\"",
        "clientcert=verify-full",
        "clientcert=verify-ca",
        "clientcert=1",
        "clientcert=0",
        "clientcert=no-verify",
        "clientcert=x",
        "clientname=CN",
        "clientname=DN",
        "clientname=x",
        "pamservice=x",
        "pam_use_hostname=1",
        "include_realm=0",
        "include_realm=1",
        "krb_realm=R",
        "compat_realm=1",
        "upn_username=1",
        "ldapserver=h",
        "ldapserver=\"a b\"",
        "ldapport=389",
        "ldapport=x",
        "ldapport=-1",
        "ldaptls=1",
        "ldapscheme=ldaps",
        "ldapscheme=x",
        "ldapprefix=\"cn=\"",
        "ldapsuffix=x",
        "ldapbasedn=x",
        "ldapbasedn=\"dc=x,dc=y\"",
        "ldapbinddn=x",
        "ldapbindpasswd=x",
        "ldapsearchattribute=uid",
        "ldapsearchfilter=\"(a=$username)\"",
        "ldapurl=\"ldap://h/dc=x?uid?sub\"",
        "ldapurl=\"ldap://h:99/dc=x??one?(a=b)\"",
        "ldapurl=ldap://",
        "ldapurl=http://x",
        "ldapurl=\"ldap://[::1]:389/x\"",
        "ldapurl=\"ldap://h/x??bad\"",
        "ldapurl=",
        "ldapurl=ldaps://h",
        "ldapurl=ldapi://x",
        "ldapurl=\"ldap://h/%41%zz\"",
        "ldapurl=\"<ldap://h/>\"",
        "radiusservers=127.0.0.1",
        "radiusservers=\"127.0.0.1,::1\"",
        "radiusservers=\"\"",
        "radiusservers=\"a b\"",
        "radiussecrets=s",
        "radiussecrets=\"a,b\"",
        "radiussecrets=\"a,\"",
        "radiusports=1812",
        "radiusports=\"1,2\"",
        "radiusports=x",
        "radiusports=\"1,\"",
        "radiusidentifiers=i",
        "radiusidentifiers=\"a,,b\"",
        "issuer=x",
        "scope=x",
        "validator=x",
        "delegate_ident_mapping=1",
        "bogus=1",
        "=x",
        "MAP=m",
        "foo",
        "map=a,b",
        "\"map=a,b\"",
        "@nosuch",
    ];
    random.pick(OPTIONS).to_owned()
}
