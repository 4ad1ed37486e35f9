//! The lines of password files: each is made once, however many files have it.

use std::{borrow::Cow, sync::Arc};

use passfile::{EntryError, NewEntry};
use zeroize::Zeroizing;

use crate::{error::Error, spec::NodeSpec};

/// A login of a role's links to a node.
pub(super) struct Login<'a> {
    pub(super) to: &'a NodeSpec,
    /// Another host and port by which the link calls it, and goes on to.
    pub(super) called: Option<(&'a str, u16)>,
    pub(super) role: &'a str,
    pub(super) password: Arc<Zeroizing<String>>,
}

/// A line that password files may have.
pub(super) struct Line<'a> {
    pub(super) host: Cow<'a, str>,
    port: u16,
    pub(super) port_text: String,
    pub(super) role: &'a str,
    pub(super) password: Arc<Zeroizing<String>>,
    /// Without a line end.
    pub(super) text: Zeroizing<Vec<u8>>,
    /// The login's number.
    login: usize,
    /// The same for lines of the same host, port and role.
    key: usize,
}

impl Line<'_> {
    pub(super) fn entry(&self) -> NewEntry<'_> {
        let entry = NewEntry::new(self.password.as_bytes());
        entry.host(&*self.host).port(&self.port_text).user(self.role)
    }
}

/// Every line that password files may have.
pub(super) struct Lines<'a> {
    /// In the order in which files have them.
    lines: Vec<Line<'a>>,
    /// The places of each login's lines.
    places: Vec<Vec<usize>>,
}

impl<'a> Lines<'a> {
    /// A node is logged in to by its host name, its own name and its address, and by what else a link
    /// calls it.
    pub(super) fn of(logins: &[Login<'a>]) -> Result<Self, Error> {
        let refused = |error: EntryError| Error::plan(error.to_string());
        let mut lines = Vec::with_capacity(3 * logins.len());
        for (login, Login { to, called, role, password }) in logins.iter().enumerate() {
            let address = Cow::Owned(to.address.to_string());
            let known = [to.host().into(), to.name.as_str().into(), address];
            let known = known.map(|host| (host, to.port)).into_iter();
            for (host, port) in known.chain(called.map(|(host, port)| (host.into(), port))) {
                let mut line = Line {
                    host,
                    port,
                    port_text: port.to_string(),
                    role,
                    password: password.clone(),
                    text: Zeroizing::default(),
                    login,
                    key: 0,
                };
                line.text = line.entry().to_line().map_err(refused)?;
                lines.push(line);
            }
        }
        let place = |line: &Line<'a>| (line.host.clone(), line.port, line.role);
        lines.sort_by_cached_key(|line| (place(line), line.login));
        let mut key = 0;
        for at in 1..lines.len() {
            key += usize::from(place(&lines[at - 1]) != place(&lines[at]));
            lines[at].key = key;
        }
        let mut places = vec![Vec::new(); logins.len()];
        for (at, line) in lines.iter().enumerate() {
            places[line.login].push(at);
        }
        Ok(Self { lines, places })
    }

    /// The lines of these logins, in their order; of several for the same host, port and role that of
    /// the last login.
    pub(super) fn of_logins(&self, logins: &[usize]) -> Vec<&Line<'a>> {
        let places = logins.iter().filter_map(|login| self.places.get(*login)).flatten();
        let mut places: Vec<usize> = places.copied().collect();
        places.sort_unstable();
        let mut lines: Vec<&Line<'a>> = Vec::with_capacity(places.len());
        for line in places.into_iter().filter_map(|place| self.lines.get(place)) {
            match lines.last_mut() {
                Some(last) if last.key == line.key => *last = line,
                _ => lines.push(line),
            }
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::FilesSpec;

    fn node(name: &str, host: Option<&str>, address: [u8; 4], port: u16) -> NodeSpec {
        NodeSpec {
            name: name.to_owned(),
            host: host.map(str::to_owned),
            address: address.into(),
            port,
            peers_from: Vec::new(),
            sql: String::new(),
            files: FilesSpec::Local,
        }
    }

    #[test]
    fn a_file_has_the_lines_of_its_logins_in_their_order() -> Result<(), Error> {
        let one = node("one", None, [10, 0, 0, 9], 5432);
        let two = node("two", Some("db:2"), [10, 0, 0, 10], 5433);
        // Another way to the second, by the same name.
        let twin = node("two", Some("db:2"), [10, 0, 0, 11], 5433);
        let login = |to, role, password: &str| Login {
            to,
            called: None,
            role,
            password: Arc::new(Zeroizing::new(password.to_owned())),
        };
        let logins = [
            login(&two, "b", "x"),
            login(&one, "b", "y"),
            login(&one, "a", "z"),
            login(&twin, "b", "t"),
            Login { called: Some(("db.example.com", 6432)), ..login(&one, "c", "u") },
        ];
        let lines = Lines::of(&logins)?;
        let text = |logins: &[usize]| -> Vec<String> {
            let lines = lines.of_logins(logins);
            lines.iter().map(|line| String::from_utf8_lossy(&line.text).into_owned()).collect()
        };
        let of_one = |role: &str, password: &str| {
            ["10.0.0.9", "one"].map(|host| format!("{host}:5432:*:{role}:{password}"))
        };
        assert_eq!(text(&[1]), of_one("b", "y"));
        // In whichever order the links are, and however many there are.
        let [address, name] = of_one("b", "y");
        let both =
            ["10.0.0.10:5433:*:b:x", &*address, "db\\:2:5433:*:b:x", &*name, "two:5433:*:b:x"];
        assert_eq!(text(&[0, 1]), both);
        assert_eq!(text(&[1, 0, 1, 0]), both);
        let [address_a, name_a] = of_one("a", "z");
        assert_eq!(text(&[1, 2]), [&*address_a, &*address, &*name_a, &*name]);
        // The last word on a name.
        let twins =
            ["10.0.0.10:5433:*:b:x", "10.0.0.11:5433:*:b:t", "db\\:2:5433:*:b:t", "two:5433:*:b:t"];
        assert_eq!(text(&[3, 0]), twins);
        assert_eq!(text(&[4])[1], "db.example.com:6432:*:c:u");
        assert!(text(&[]).is_empty());
        Ok(())
    }
}
