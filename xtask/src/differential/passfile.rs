//! Password files: random files and connections, looked up by us and by every libpq of this machine;
//! then random entries, written by us and read back by every libpq.
//!
//! No connection is opened: each has an address that is none, so that libpq gives up just after it
//! has looked the password up. It tries each host, and `PQpass` tells the last one's password.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use passfile::{Connection, Libpq, NewEntry, PassFile, PgVersion};
use pgtest::libpq::Libpq as Real;

use super::{Options, Outcome, Random};

/// How many entries are written and read back.
const ENTRIES: usize = 2_000;

pub(super) fn compare(options: &Options) -> Result<Outcome, String> {
    if let Some((name, _)) = std::env::vars_os().find(|(name, _)| {
        name.to_str().is_some_and(|name| {
            matches!(
                name,
                "PGPASSWORD"
                    | "PGUSER"
                    | "PGHOST"
                    | "PGPORT"
                    | "PGDATABASE"
                    | "PGSERVICE"
                    | "PGHOSTADDR"
            )
        })
    }) {
        return Err(format!("unset {}: libpq reads it", name.display()));
    }
    let libpqs = libpqs()?;
    let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
    let path = folder.path().join("pgpass");
    let mut outcome = Outcome::default();
    let mut random = Random::new(options.seed);
    for number in 0..options.cases {
        let case = Case::random(&mut random);
        write(&path, &case.content)?;
        for (real, ours) in &libpqs {
            let expected = case.ask(real, &path)?;
            outcome.compare(expected, case.look_up(ours)?, || {
                format!("case {number}, libpq {}: {}", real.version(), case.shown())
            });
        }
    }
    read_back(&libpqs, &path, &mut random, &mut outcome)?;
    Ok(outcome)
}

impl Outcome {
    fn compare(
        &mut self,
        expected: Option<Vec<u8>>,
        got: Option<Vec<u8>>,
        what: impl FnOnce() -> String,
    ) {
        self.compared += 1;
        if expected != got {
            let shown = |password: Option<Vec<u8>>| password.map(|bytes| hex(&bytes));
            let (expected, got) = (shown(expected), shown(got));
            self.disagreements
                .push(format!("{}\n  expected {expected:?}\n  got      {got:?}", what()));
        }
    }
}

/// Every libpq of this machine, and what we call the same.
fn libpqs() -> Result<Vec<(Real, Libpq)>, String> {
    let mut libpqs: Vec<(Real, Libpq)> = Vec::new();
    for installation in pgtest::find_all() {
        let Ok(real) = Real::load(&installation) else { continue };
        if libpqs.iter().any(|(known, _)| known.path() == real.path()) {
            continue;
        }
        let bytes = fs::read(real.path()).map_err(|error| error.to_string())?;
        let distribution = bytes.windows(20).any(|window| window == b"/var/run/postgresql\0");
        let ours = if distribution { Libpq::distribution } else { Libpq::new };
        libpqs.push((real, ours(installation.version())));
    }
    for version in PgVersion::ALL {
        if !libpqs.iter().any(|(_, ours)| ours.version() == version) {
            eprintln!("no libpq {version} here: it is not compared");
        }
    }
    if libpqs.is_empty() {
        return Err("no libpq found: run cargo xtask pg install".to_owned());
    }
    Ok(libpqs)
}

fn write(path: &Path, content: &[u8]) -> Result<(), String> {
    let text = |error: std::io::Error| error.to_string();
    fs::write(path, content).map_err(text)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(text)
}

/// A file, and a connection that looks it up.
struct Case {
    content: Vec<u8>,
    /// Parameters as libpq is given them.
    params: Vec<(&'static str, Vec<u8>)>,
}

impl Case {
    fn random(random: &mut Random) -> Self {
        let key = [value(random), value(random), value(random), value(random)];
        let mut content = Vec::new();
        if random.once_in(30) {
            content.extend_from_slice(b"\xef\xbb\xbf");
        }
        for _ in 0..1 + random.below(6) {
            line(random, &key, &mut content);
        }
        let [host, port, dbname, user] = key;
        let mut params = vec![("user", user)];
        // Addresses that are none: libpq gives up on each host after it has looked its password up.
        let mut hostaddr = b"!".to_vec();
        let mut ports = port;
        match random.below(8) {
            0 => {
                // Without a host, the address is what is searched for.
                if random.once_in(2) {
                    hostaddr.extend_from_slice(&host);
                }
            }
            1 => {
                // The file's is the last one, which is the one that is asked for.
                let others: Vec<_> = (0..1 + random.below(2)).map(|_| value(random)).collect();
                let hosts = [others.join(&b","[..]), host].join(&b","[..]);
                params.push(("host", hosts));
                for _ in others {
                    hostaddr.extend_from_slice(b",!");
                    if random.once_in(2) {
                        let other = random.pick(&["1,", ",", "5433,", "x,", "70000,"]);
                        ports.splice(0..0, other.bytes());
                    }
                }
            }
            _ => params.push(("host", host)),
        }
        params.push(("hostaddr", hostaddr));
        if !random.once_in(6) {
            params.push(("port", ports));
        }
        if !random.once_in(6) {
            params.push(("dbname", dbname));
        }
        params.retain(|(_, value)| !value.is_empty());
        Self { content, params }
    }

    fn param(&self, name: &str) -> Option<&[u8]> {
        self.params.iter().find(|param| param.0 == name).map(|param| &*param.1)
    }

    fn ask(&self, real: &Real, path: &Path) -> Result<Option<Vec<u8>>, String> {
        let mut params = self.params.clone();
        let path = path.to_str().ok_or("the temporary folder's name is no UTF-8")?;
        params.push(("passfile", path.into()));
        real.lookup_password(&params).map_err(|error| error.to_string())
    }

    fn look_up(&self, libpq: &Libpq) -> Result<Option<Vec<u8>>, String> {
        let value = |name| self.param(name).map(Into::into);
        let connection = Connection {
            host: value("host"),
            hostaddr: value("hostaddr"),
            port: value("port"),
            dbname: value("dbname"),
            ..Connection::new(self.param("user").unwrap_or_default())
        };
        let Ok(keys) = connection.keys() else { return Ok(None) };
        let file = PassFile::parse(&self.content[..]).map_err(|error| error.to_string())?;
        // libpq stops at a host whose port is no number; with any other it goes on to the next.
        let ports: Vec<&[u8]> =
            self.param("port").unwrap_or_default().split(|byte| *byte == b',').collect();
        let is_number = |index: usize| {
            let port = ports.get(index).or(ports.first()).copied().unwrap_or_default();
            port.is_empty()
                || str::from_utf8(port)
                    .is_ok_and(|port| port.trim_matches(C_BLANKS).parse::<i32>().is_ok())
        };
        let key = (0..keys.len())
            .find(|index| !is_number(*index))
            .map_or(keys.last(), |stop| keys.get(stop));
        let found = key.and_then(|key| file.lookup(key, libpq));
        let password = found.map(|found| found.password().expose().to_vec());
        Ok(password.filter(|password| !password.is_empty()))
    }

    fn shown(&self) -> String {
        let params: Vec<String> = self
            .params
            .iter()
            .map(|(name, value)| format!("{name}={:?}", String::from_utf8_lossy(value)))
            .collect();
        format!("{}\n  file {}", params.join(" "), hex(&self.content))
    }
}

/// What `isspace` of C knows.
const C_BLANKS: [char; 6] = [' ', '\t', '\n', '\r', '\x0b', '\x0c'];

/// Bytes that mean something in a password file more often than not; no NUL, no comma.
fn value(random: &mut Random) -> Vec<u8> {
    const COMMON: [&str; 14] = [
        "*",
        "localhost",
        "Localhost",
        "5432",
        "05432",
        "/tmp",
        "/tmp/",
        "/var/run/postgresql",
        "@/tmp",
        "::1",
        "127.0.0.1",
        "replication",
        "#a",
        "a*",
    ];
    if random.once_in(2) {
        return random.pick(&COMMON).as_bytes().to_vec();
    }
    let length = 1 + random.below(5);
    let mut value = Vec::new();
    while value.len() < length {
        value.push(match random.below(10) {
            0..4 => *random.pick(&[b"a", b"b", b"1"]).first().unwrap_or(&b'a'),
            4 => b':',
            5 => b'\\',
            6 => b'*',
            7 => *random.pick(&[b"#", b" ", b"\r"]).first().unwrap_or(&b'#'),
            8 => b'a',
            _ => match u8::try_from(1 + random.below(255)) {
                Ok(b',') | Err(_) => b'x',
                Ok(byte) => byte,
            },
        });
    }
    value
}

fn line(random: &mut Random, key: &[Vec<u8>; 4], content: &mut Vec<u8>) {
    let start = content.len();
    match random.below(16) {
        0 => content.push(b'#'),
        1 => content.push(b' '),
        2 => content.extend((0..random.below(40)).map(|_| b"a:\\* #"[random.below(6)])),
        _ => {}
    }
    for field in key {
        match random.below(9) {
            0 => content.push(b'*'),
            1 => content.extend(value(random)),
            // As it has to be written, as it must not be, and with more escapes than needed.
            2..7 => content.extend_from_slice(&passfile::escape(field)),
            7 => content.extend_from_slice(field),
            _ => content.extend(field.iter().flat_map(|byte| [b'\\', *byte])),
        }
        if !random.once_in(40) {
            content.push(b':');
        }
    }
    let length = match random.below(12) {
        // To just where libpq's buffer is full.
        0 => {
            [255, 511, 1_023, 2_047, 4_095][random.below(5)] + random.below(4).saturating_sub(1) - 1
        }
        1 => random.below(700),
        _ => random.below(12),
    };
    if length < 20 {
        content.extend((0..length).flat_map(|_| value(random)));
    } else {
        let filled = content.len() - start;
        content.extend((filled..length).map(|_| b'p'));
    }
    if random.once_in(25) {
        let at = start + random.below(content.len() - start);
        content.insert(at, 0);
    }
    if random.once_in(25) {
        let at = start + random.below(content.len() - start);
        if let Some(byte) = content.get_mut(at) {
            *byte = u8::try_from(random.below(256)).unwrap_or_default();
        }
    }
    content.extend_from_slice(match random.below(12) {
        0 => b"\r\n",
        1 => b"\r\r\n",
        2 => b"",
        3 => b"\r",
        _ => b"\n",
    });
}

/// Entries of every kind, each for a user of its own, in one file.
fn read_back(
    libpqs: &[(Real, Libpq)],
    path: &Path,
    random: &mut Random,
    outcome: &mut Outcome,
) -> Result<(), String> {
    let mut file = PassFile::new();
    let mut written = Vec::new();
    for number in 0..ENTRIES {
        let no_line_feed = |mut value: Vec<u8>| {
            value.iter_mut().filter(|byte| **byte == b'\n').for_each(|byte| *byte = b'\\');
            value
        };
        let mut field = || no_line_feed(value(random));
        let (host, port, dbname) = (field(), field(), field());
        let user = [field(), number.to_string().into_bytes()].concat();
        let parts = random.below(60);
        let password = no_line_feed((0..parts).flat_map(|_| value(random)).collect());
        // libpq never looks for its own socket folder by name.
        let host = if host.starts_with(b"/") { b"#host".to_vec() } else { host };
        let mut entry = NewEntry::new(&password).user(&user[..]);
        let any = [0, 1, 2].map(|_| random.once_in(4));
        if !any[0] {
            entry = entry.host(&host[..]);
        }
        if !any[1] {
            entry = entry.port(&port[..]);
        }
        if !any[2] {
            entry = entry.dbname(&dbname[..]);
        }
        file.push(&entry).map_err(|error| error.to_string())?;
        let params = vec![
            ("user", user),
            ("host", host),
            ("port", port),
            ("dbname", dbname),
            ("hostaddr", b"!".to_vec()),
        ];
        written.push((Case { content: Vec::new(), params }, password));
    }
    write(path, &file.to_bytes())?;
    for (case, password) in &written {
        for (real, _) in libpqs {
            let expected = Some(password.clone()).filter(|password| !password.is_empty());
            let read = case.ask(real, path)?;
            outcome.compare(read, expected, || {
                format!("written for libpq {}: {}", real.version(), case.shown())
            });
        }
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
