//! Recorded verdicts of libpq, replayed: the case's file and its surroundings are made in a
//! temporary folder, and `passfile` is asked what `PQconnectStart` and then `PQpass` said.
//!
//! Made for real: the file, its mode, its kind (link, pipe, folder, nothing), its owner where we
//! are root. Modelled: the environment (passed in), the system user (root, as when it was
//! recorded; his home folder has no password file), and which host's password `PQpass` reports:
//! that of the first host that is not given up at once.

use std::{
    ffi::OsString,
    fs::{self, Permissions},
    os::unix::{
        ffi::OsStringExt as _,
        fs::{PermissionsExt as _, chown, symlink},
    },
    path::Path,
};

use passfile::{
    Connection, FileStatus, Key, Libpq, PassFile, PgVersion, Surroundings, Value as Parameter,
    fs::OpenError,
};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use serde_json::Value;

/// What one libpq said, and what we say.
pub(crate) struct Comparison {
    pub(crate) major: String,
    pub(crate) expected: String,
    pub(crate) got: String,
}

const MAJORS: [&str; 8] = ["12", "13", "14", "15", "15-debian", "16", "17", "18"];

pub(crate) fn judge(case: &Value) -> Result<Vec<Comparison>, String> {
    let folder = Folder::make(case)?;
    let verdict = &case["verdict"];
    let common = verdict.get("all").or_else(|| verdict.get("base")).ok_or("no verdict")?;
    let compare = |major: &str| {
        let expected = verdict.get("diff").and_then(|diff| diff.get(major)).unwrap_or(common);
        let [Value::String(password), Value::String(printed)] =
            &expected.as_array().ok_or("a verdict is no list")?[..]
        else {
            return Err("a verdict is no pair of texts".to_owned());
        };
        let got = folder.ask(case, &libpq(major)?)?;
        Ok(Comparison {
            major: major.to_owned(),
            expected: shown(password, printed),
            got: shown(&hex(&got.password), &got.printed),
        })
    };
    MAJORS.into_iter().map(compare).collect()
}

fn shown(password: &str, printed: &str) -> String {
    format!("{password} {printed:?}")
}

fn libpq(major: &str) -> Result<Libpq, String> {
    let (number, distribution) = match major.strip_suffix("-debian") {
        Some(number) => (number, true),
        None => (major, false),
    };
    let version: PgVersion = number.parse().map_err(|error| format!("{major}: {error}"))?;
    Ok(if distribution { Libpq::distribution(version) } else { Libpq::new(version) })
}

/// The folder `$D` with the case's file in it.
struct Folder {
    folder: tempfile::TempDir,
}

struct Answer {
    password: Vec<u8>,
    printed: String,
}

impl Folder {
    fn make(case: &Value) -> Result<Self, String> {
        let text = |error: std::io::Error| error.to_string();
        let folder = tempfile::tempdir().map_err(text)?;
        let name = if case["homefile"] == true { ".pgpass" } else { "pgpass" };
        let path = folder.path().join(name);
        let kind = case["kind"].as_str().unwrap_or("plain");
        let mode = mode_of(case)?;
        let plain = |path: &Path| -> Result<(), String> {
            fs::write(path, content(case)?).map_err(text)?;
            if let Some(uid) = case["uid"].as_u64()
                && rustix::process::geteuid().is_root()
            {
                chown(path, u32::try_from(uid).ok(), None).map_err(text)?;
            }
            fs::set_permissions(path, Permissions::from_mode(mode)).map_err(text)
        };
        match kind {
            "plain" => plain(&path)?,
            "symlink" => {
                let target = folder.path().join("target");
                plain(&target)?;
                symlink(&target, &path).map_err(text)?;
            }
            "dangling" => symlink(folder.path().join("nothing"), &path).map_err(text)?,
            "dir" => {
                fs::create_dir(&path).map_err(text)?;
                if case.get("mode").is_some() {
                    fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(text)?;
                }
            }
            "fifo" => {
                let access = Mode::RUSR | Mode::WUSR;
                mknodat(CWD, &path, FileType::Fifo, access, 0)
                    .map_err(|error| error.to_string())?;
                fs::set_permissions(&path, Permissions::from_mode(mode)).map_err(text)?;
            }
            "missing" => {}
            other => return Err(format!("no file can be of the kind {other}")),
        }
        Ok(Self { folder })
    }

    fn ask(&self, case: &Value, libpq: &Libpq) -> Result<Answer, String> {
        let parameter = |name: &str, variable: &str| -> Result<Option<Vec<u8>>, String> {
            match case["params"].get(name) {
                Some(value) => self.bytes(value).map(Some),
                None => self.variable(case, variable),
            }
        };
        let none = Answer { password: Vec::new(), printed: String::new() };

        let given = parameter("password", "PGPASSWORD")?.unwrap_or_default();
        if !given.is_empty() {
            return Ok(Answer { password: given, ..none });
        }
        let user = parameter("user", "PGUSER")?.filter(|user| !user.is_empty());
        let connection = Connection {
            host: parameter("host", "PGHOST")?.map(Parameter::from),
            hostaddr: parameter("hostaddr", "PGHOSTADDR")?.map(Parameter::from),
            port: parameter("port", "PGPORT")?.map(Parameter::from),
            dbname: parameter("dbname", "PGDATABASE")?.map(Parameter::from),
            ..Connection::new(user.unwrap_or_else(|| b"root".to_vec()))
        };
        let Ok(keys) = connection.keys() else { return Ok(none) };
        let surroundings = Surroundings {
            pgpassfile: self.variable(case, "PGPASSFILE")?.map(OsString::from_vec),
            home: self.variable(case, "HOME")?.map(OsString::from_vec),
            account_home: Some(self.folder.path().join("account").into_os_string()),
        };
        let passfile = match case["params"].get("passfile") {
            Some(value) => Some(OsString::from_vec(self.bytes(value)?)),
            None if case["nopassfile"] == true => None,
            None => Some(self.folder.path().join("pgpass").into_os_string()),
        };
        let Some(path) = surroundings.passfile(passfile.as_deref(), libpq) else {
            return Ok(none);
        };
        self.look_up(case, &path, &connection, &keys, libpq)
    }

    /// The file is opened, and warned of, for each host.
    fn look_up(
        &self,
        case: &Value,
        path: &Path,
        connection: &Connection<'_>,
        keys: &[Key<'_>],
        libpq: &Libpq,
    ) -> Result<Answer, String> {
        let current = current_host(connection, keys.len());
        let mut answer = Answer { password: Vec::new(), printed: String::new() };
        for (index, key) in keys.iter().enumerate() {
            let opened = self.open(case, path)?;
            match &opened {
                Ok(file) if index == current => {
                    if let Some(found) = file.lookup(key, libpq) {
                        answer.password = found.password().expose().to_vec();
                    }
                }
                Ok(_) => {}
                Err(error) => {
                    let folder = self.folder.path().display().to_string();
                    if let Some(warning) = error.warning(libpq) {
                        answer.printed += &warning.replace(&folder, "$D");
                        answer.printed.push('\n');
                    }
                }
            }
        }
        Ok(answer)
    }

    /// Opens the file as root would.
    fn open(&self, case: &Value, path: &Path) -> Result<Result<PassFile, OpenError>, String> {
        let opened = passfile::fs::open(path);
        let denied = matches!(&opened, Err(OpenError::Unopened { source, .. })
            if source.kind() == std::io::ErrorKind::PermissionDenied);
        if denied && FileStatus::plain(mode_of(case)?).check().is_ok() {
            return PassFile::parse(content(case)?).map(Ok).map_err(|error| error.to_string());
        }
        Ok(opened)
    }

    fn variable(&self, case: &Value, name: &str) -> Result<Option<Vec<u8>>, String> {
        let value = case.get("env").and_then(|env| env.get(name));
        value.map(|value| self.bytes(value)).transpose()
    }

    /// A value's bytes, `$D` filled in.
    fn bytes(&self, value: &Value) -> Result<Vec<u8>, String> {
        match (value, value.get("hex")) {
            (Value::String(text), _) => {
                let folder = self.folder.path().to_str().ok_or("the folder's name is no UTF-8")?;
                Ok(text.replace("$D", folder).into_bytes())
            }
            (_, Some(Value::String(hex))) => unhex(hex),
            _ => Err(format!("no text: {value}")),
        }
    }
}

/// Which host's password `PQpass` reports after `PQconnectStart`, which tries the hosts in turn
/// until it has to wait for one: a socket folder has no server here, and a name without an address
/// cannot be resolved; only `localhost` can. The last one stays.
fn current_host(connection: &Connection<'_>, count: usize) -> usize {
    let element = |list: &Option<Parameter<'_>>, index: usize| {
        let list = list.as_ref().map(Parameter::as_bytes).unwrap_or_default();
        let elements: Vec<&[u8]> = list.split(|byte| *byte == b',').collect();
        String::from_utf8_lossy(elements.get(index).copied().unwrap_or_default()).into_owned()
    };
    let ports: usize = connection
        .port
        .as_ref()
        .map_or(1, |ports| ports.as_bytes().split(|byte| *byte == b',').count());
    for index in 0..count.saturating_sub(1) {
        let port = element(&connection.port, if ports == 1 { 0 } else { index });
        let address = element(&connection.hostaddr, index);
        let host = element(&connection.host, index);
        match port.trim().parse::<i64>() {
            _ if port.is_empty() => {}
            // Not a number is an error of the connection, not of the host.
            Err(_) => return index,
            Ok(1..=65535) => {}
            Ok(_) => continue,
        }
        let reachable = |name: &str| name.parse::<std::net::IpAddr>().is_ok();
        if reachable(&address) || address.is_empty() && (reachable(&host) || host == "localhost") {
            return index;
        }
    }
    count.saturating_sub(1)
}

fn mode_of(case: &Value) -> Result<u32, String> {
    match case.get("mode") {
        None => Ok(0o600),
        Some(Value::String(mode)) => {
            u32::from_str_radix(mode, 8).map_err(|error| format!("mode {mode}: {error}"))
        }
        Some(other) => Err(format!("mode {other} is no text")),
    }
}

fn content(case: &Value) -> Result<Vec<u8>, String> {
    unhex(case["hex"].as_str().unwrap_or_default())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(hex: &str) -> Result<Vec<u8>, String> {
    let digit =
        |digit: u8| char::from(digit).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pair = |pair: &[u8]| match pair {
        [high, low] => Some(digit(*high)? * 16 + digit(*low)?),
        _ => None,
    };
    hex.as_bytes().chunks(2).map(pair).collect::<Option<_>>().ok_or_else(|| "not hex".to_owned())
}
