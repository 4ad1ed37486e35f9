//! Random rules and maps, and real logins: which rule decides, and whom `peer` lets in by a map.
//!
//! Every rule asks for a password and every client gives a wrong one, so that the server logs which
//! line it had matched; `reject` and no rule at all have answers of their own. Roles and databases of
//! the clients need not be there.

use std::collections::BTreeSet;

use hba_parser::{
    Connection, Encryption, HbaDocument, IdentDocument, Mappings, Method, PgVersion, RoleGraph,
    Rules, Server, StaticNetwork, regex::Regex,
};
use pgtest::Error;

use super::{
    super::{Options, Outcome, Random},
    lines, ours,
};

/// How many clients try each file.
const CLIENTS: usize = 12;

/// What became of a file, in the place of answers.
const REFUSED: &str = "refused";

/// Who connects.
struct Client {
    tcp: bool,
    database: &'static str,
    user: &'static str,
    physical: bool,
}

/// One file of rules and one of mappings, and who tries them.
struct Case {
    rules: String,
    maps: String,
    clients: Vec<Client>,
    roles: Vec<&'static str>,
}

struct Real {
    server: pgtest::Server,
    ours: Server,
    roles: RoleGraph,
    network: StaticNetwork,
    system_user: String,
}

pub(in super::super) fn compare(options: &Options) -> Result<Outcome, String> {
    let mut servers = Vec::new();
    for installation in pgtest::find_all() {
        servers.push(Real::start(&installation)?);
    }
    let mut outcome = Outcome::default();
    let mut random = Random::new(options.seed);
    while outcome.compared < options.cases {
        let case = Case::new(&mut random);
        outcome.compared += 1;
        for real in &servers {
            for (what, content, ask) in [
                ("rules", &case.rules, Real::compare_rules as fn(&Real, &Case) -> _),
                ("maps", &case.maps, Real::compare_maps),
            ] {
                let (theirs, ours): (Vec<String>, Vec<String>) = ask(real, &case)?;
                if theirs.len() == 1 && theirs == ours && theirs[0] == REFUSED {
                    outcome.explain("files that a major refuses");
                }
                if theirs != ours {
                    let version = real.server.installation().full_version();
                    outcome.disagreements.push(format!(
                        "PostgreSQL {version}, {what}:\n{content}\n  server {theirs:#?}\n  ours   \
                         {ours:#?}"
                    ));
                }
            }
        }
    }
    Ok(outcome)
}

fn text(error: Error) -> String {
    error.to_string()
}

impl Real {
    fn start(installation: &pgtest::Installation) -> Result<Self, String> {
        let server = pgtest::Server::builder(installation)
            .setting("log_line_prefix", "")
            .setting("autovacuum", "off")
            .start()
            .map_err(text)?;
        let mut session = server.session().map_err(text)?;
        let mut roles = RoleGraph::default();
        for role in ROLES {
            roles.create(role);
            session.query(&format!("CREATE ROLE {} LOGIN", identifier(role))).map_err(text)?;
        }
        // A superuser is a member of nothing that it was not made a member of.
        session.query("ALTER ROLE dave SUPERUSER").map_err(text)?;
        session.query("ALTER ROLE carol NOINHERIT").map_err(text)?;
        for (role, member) in MEMBERS {
            roles.grant(role, member);
            let grant = format!("GRANT {} TO {}", identifier(role), identifier(member));
            session.query(&grant).map_err(text)?;
        }
        let mut network = StaticNetwork::default();
        let loopback = std::net::IpAddr::from([127, 0, 0, 1]);
        network.interfaces.push((loopback, [255, 0, 0, 0].into()));
        network.hosts.push((b"localhost".to_vec(), loopback));
        let system_user = pgtest::Run::new("id").args(["-un"]).check().map_err(text)?;
        Ok(Self {
            ours: ours(installation),
            server,
            roles,
            network,
            system_user: system_user.text().trim().to_owned(),
        })
    }

    /// Makes the server read a file; says whether it did.
    fn load(&self, rules: &str, maps: &str) -> Result<bool, String> {
        for (name, content) in [("pg_hba.conf", rules), ("pg_ident.conf", maps)] {
            self.server.write_file(name, content, 0o600).map_err(text)?;
        }
        let since = self.server.reload().map_err(text)?;
        Ok(!self.server.log_since(since).map_err(text)?.contains(" not reloaded"))
    }

    /// Which line decides about each client.
    fn compare_rules(&self, case: &Case) -> Result<(Vec<String>, Vec<String>), String> {
        let rules = || HbaDocument::parse(case.rules.as_str()).interpret(&self.ours);
        let loaded = self.load(&case.rules, "")?;
        let rules = (rules(), rules().compile());
        if !loaded || !rules.0.verdict().is_loaded() {
            let word = |loaded: bool| vec![if loaded { "loaded" } else { REFUSED }.to_owned()];
            return Ok((word(loaded), word(rules.0.verdict().is_loaded())));
        }
        let since = self.server.log_position().map_err(text)?;
        let mut theirs = Vec::new();
        let mut ours = Vec::new();
        for client in &case.clients {
            theirs.push(self.log_in(client)?);
            let indexed = rules.1.decide(&client.asks(), &self.roles, &self.network);
            let indexed = indexed.map(|rule| rule.line());
            ours.push(self.decide(&rules.0, client, indexed)?);
        }
        // The lines stand in the log, in the order of the logins.
        let log = self.server.log_since(since).map_err(text)?;
        let mut lines = log.split("Connection matched ").skip(1).map(|rest| {
            let number = rest.split_once(" line ").map_or("", |(_, number)| number);
            number.chars().take_while(char::is_ascii_digit).collect::<String>()
        });
        for answer in theirs.iter_mut().filter(|answer| *answer == "password") {
            *answer = format!("line {}", lines.next().unwrap_or_default());
        }
        let named = |answers: Vec<String>| {
            let clients = case.clients.iter().map(Client::shown);
            clients.zip(answers).map(|(client, answer)| format!("{client}: {answer}")).collect()
        };
        Ok((named(theirs), named(ours)))
    }

    fn log_in(&self, client: &Client) -> Result<String, String> {
        let connect = if client.tcp { self.server.connect_tcp() } else { self.server.connect() };
        let connect = connect.database(client.database).user(client.user).password("wrong");
        let connect =
            if client.physical { connect.parameter("replication", "true") } else { connect };
        match connect.open() {
            Ok(_) => Err("a wrong password is taken".to_owned()),
            Err(Error::Sql(refused)) => Ok(match refused.message.as_str() {
                message if message.starts_with("password authentication failed") => "password",
                message if message.starts_with("no pg_hba.conf entry") => "none",
                message if message.starts_with("pg_hba.conf rejects") => "reject",
                other => other,
            }
            .to_owned()),
            Err(other) => Err(other.to_string()),
        }
    }

    fn decide(
        &self,
        rules: &Rules,
        client: &Client,
        indexed: Option<u32>,
    ) -> Result<String, String> {
        let decided = rules.decide(&client.asks(), &self.roles, &self.network);
        if decided.rule.map(|rule| rule.line()) != indexed {
            return Err(format!("the index decides otherwise: {}", client.shown()));
        }
        Ok(match decided.rule {
            None => "none".to_owned(),
            Some(rule) if rule.method() == Method::Reject => "reject".to_owned(),
            Some(rule) => format!("line {}", rule.line()),
        })
    }

    /// Which roles the map lets this process in as.
    fn compare_maps(&self, case: &Case) -> Result<(Vec<String>, Vec<String>), String> {
        let maps_text = case.maps.replace("root", &self.system_user);
        let maps = IdentDocument::parse(maps_text.as_str()).interpret(&self.ours);
        let loaded = self.load("local all all peer map=m\n", &maps_text)?;
        if !loaded || !maps.verdict().is_loaded() {
            let word = |loaded: bool| vec![if loaded { "loaded" } else { REFUSED }.to_owned()];
            return Ok((word(loaded), word(maps.verdict().is_loaded())));
        }
        let mut theirs = Vec::new();
        let mut ours = Vec::new();
        for role in &case.roles {
            let refused = match self.server.connect().user(*role).open() {
                Ok(_) => false,
                Err(Error::Sql(error)) => error.message.starts_with("Peer authentication failed"),
                Err(other) => return Err(other.to_string()),
            };
            theirs.push(format!("{role}: {}", !refused));
            ours.push(format!("{role}: {}", self.allows(&maps, role)));
        }
        Ok((theirs, ours))
    }

    fn allows(&self, maps: &Mappings, role: &str) -> bool {
        let system_user = self.system_user.as_bytes();
        maps.check(Some(b"m"), system_user, role.as_bytes(), &self.roles).is_allowed()
    }
}

impl Client {
    fn asks(&self) -> Connection<'static> {
        let (database, user) = (self.database.as_bytes(), self.user.as_bytes());
        let asks = if self.tcp {
            Connection::tcp([127, 0, 0, 1].into(), Encryption::None, database, user)
        } else {
            Connection::local(database, user)
        };
        if self.physical { asks.physical_replication() } else { asks }
    }

    fn shown(&self) -> String {
        let via = if self.tcp { "tcp" } else { "socket" };
        let physical = if self.physical { " replication" } else { "" };
        format!("{via} {:?} as {:?}{physical}", self.database, self.user)
    }
}

fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

const ROLES: &[&str] = &[
    "alice", "bob", "carol", "dave", "Alice", "all", "+grp", "a b", "\u{e9}", "/^a", "grp", "team",
    "a", "ab", "aab", "root", "oot", "ot", "xroot", "rootx", "\\1", "b-1", "A", "q\"q",
];

const MEMBERS: &[(&str, &str)] = &[
    ("grp", "alice"),
    ("grp", "team"),
    ("team", "bob"),
    ("team", "all"),
    ("grp", "carol"),
    ("a", "ab"),
    ("\u{e9}", "aab"),
];

const DATABASES: &[&str] = &[
    "alice",
    "grp",
    "team",
    "all",
    "replication",
    "sameuser",
    "a b",
    "\u{e9}",
    "a",
    "ab",
    "aab",
    "b-1",
    "A",
    "/^a",
    "q\"q",
    "@x",
    "a,b",
    "a#b",
    "Z",
    "1",
    "\u{e9}a",
];

/// Tokens of both fields.
const NAMES: &[&str] = &[
    "all",
    "\"all\"",
    "a\"ll\"",
    "ALL",
    "alice",
    "grp",
    "+grp",
    "\"+grp\"",
    "+\"team\"",
    "+team",
    "+a",
    "+nosuch",
    "+",
    "\"a b\"",
    "\u{e9}",
    "+\u{e9}",
    "a",
    "ab",
    "A",
    "/^a",
    "\"/^a\"",
    "\"q\"\"q\"",
    "\"a,b\"",
    "\"a#b\"",
    "\"@x\"",
    "@",
    "/^.$",
    "/^..$",
    "/\u{e9}",
    "/^[\u{e9}]$",
    "/\\w",
    "/^\\W",
    "\"/(?i)^a$\"",
    "\"/^(a|ab)(b|)$\"",
    "/^[[:alpha:]]+$",
    "/^[^a-z]",
    "/x|",
    "\"/(?=a)ab\"",
    "/\\ma",
    "\"/^(.)\\1\"",
    "/b{1}",
    "***=a",
    "/***=a",
    "/^A|b$",
    "root",
    "/-",
];

const FOR_DATABASES: &[&str] =
    &["sameuser", "samerole", "samegroup", "replication", "\"replication\"", "\"sameuser\""];

const ADDRESSES: &[&str] = &[
    "all",
    "samehost",
    "samenet",
    "127.0.0.1/32",
    "127.0.0.0/8",
    "127.1/32",
    "127/8",
    "0.0.0.0/0",
    "0/0",
    "::1/128",
    "::/0",
    "::ffff:127.0.0.1/128",
    "10.0.0.0/8",
    "127.0.0.1 255.0.0.1",
    "64.0.0.1 64.0.0.1",
    "127.0.0.1 0.0.0.255",
    "0x7f000001/32",
    "0177.0.0.1/32",
    "2130706433/32",
    "127.0.0.2/31",
    "127.0.0.2/30",
    "localhost",
    "LOCALHOST",
    ".localhost",
    "ocalhost",
    "localhost.",
    "\"all\"",
    "\"samenet\"",
];

impl Case {
    fn new(random: &mut Random) -> Self {
        let rules = (0..3 + random.below(8)).map(|_| rule(random)).collect();
        let maps = (0..1 + random.below(4)).map(|_| mapping(random)).collect();
        let clients = (0..CLIENTS).map(|_| client(random)).collect();
        let roles: BTreeSet<&str> = (0..6).map(|_| random.pick(ROLES)).collect();
        Self { rules, maps, clients, roles: roles.into_iter().collect() }
    }
}

/// A regular expression in quotes that all majors take: whether they take it is compared elsewhere.
fn regex(random: &mut Random) -> String {
    loop {
        let token = lines::regex(random);
        let pattern = token.trim_matches('"').trim_start_matches('/');
        if Regex::new(pattern.as_bytes(), PgVersion::V12).is_ok() {
            return token;
        }
    }
}

fn names(random: &mut Random, more: &[&str]) -> String {
    let mut out = Vec::new();
    loop {
        out.push(match random.below(10) {
            0 => regex(random),
            1 | 2 if !more.is_empty() => random.pick(more).to_owned(),
            _ => random.pick(NAMES).to_owned(),
        });
        if !random.once_in(3) {
            return out.join(random.pick(&[",", ",", ", "]));
        }
    }
}

fn rule(random: &mut Random) -> String {
    let types = ["local", "local", "host", "host", "host", "hostnossl", "hostnogssenc", "hostssl"];
    let connection = random.pick(&types);
    let (databases, users) = (names(random, FOR_DATABASES), names(random, &[]));
    let address = if connection == "local" { "" } else { random.pick(ADDRESSES) };
    let method = if random.once_in(6) { "reject" } else { "password" };
    format!("{connection} {databases} {users} {address} {method}\n")
}

fn client(random: &mut Random) -> Client {
    Client {
        tcp: random.once_in(2),
        database: random.pick(DATABASES),
        user: if random.once_in(12) { "nosuch" } else { random.pick(ROLES) },
        physical: random.once_in(8),
    }
}

/// A line of a map: `root` stands for who the process is.
fn mapping(random: &mut Random) -> String {
    const SYSTEM_USERS: &[&str] = &[
        "root",
        "root",
        "\"root\"",
        "ROOT",
        "other",
        "all",
        "+grp",
        "/^root$",
        "/^(.*)$",
        "\"/^r(oo)t\"",
        "/o",
        "/(x)?",
        "\"/(x)|root\"",
        "\"/^(ro)(ot)$\"",
        "/^(r)(.*)",
        "\"/(?i)^ROO(T)\"",
        "\"/(?:ro)(ot)\"",
        "\"/(o)\\1\"",
        "/()",
        "\"/(o*)t\"",
        "\"/(o*?)t\"",
        "/root|(root)",
        "\"/^(?=(r))root\"",
        "\"/((o)+)t\"",
        "/[^r](.*)",
        "/***:(ot)",
    ];
    const DATABASE_USERS: &[&str] = &[
        "all", "\"all\"", "root", "\\1", "\\1", "\"\\1\"", "x\\1", "\\1x", "a\\1b", "\\1\\1",
        "+grp", "\"+grp\"", "+team", "+\\1", "/^a", "\"/^a\"", "/\\1", "/^(.)\\1", "alice", "\\2",
        "/t$", "ab", "+nosuch", "\\\\1", "A",
    ];
    let map = if random.once_in(8) { "n" } else { "m" };
    let system_user =
        if random.once_in(8) { regex(random) } else { random.pick(SYSTEM_USERS).to_owned() };
    format!("{map} {system_user} {}\n", random.pick(DATABASE_USERS))
}
