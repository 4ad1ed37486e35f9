//! What changes for a configuration between two majors.

use pg_version::PgVersion;

use crate::{
    Catalogue, Configuration, Occurrence, Setting,
    catalogue::{InvalidValue, Kind},
    name::names_eq,
};

/// What becomes of a setting in another major.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", tag = "change"))]
pub enum Difference {
    /// Only the other major has it.
    Added {
        /// The setting there.
        setting: Setting,
    },
    /// The other major has it no more: a server does not start with a file that sets it.
    Removed {
        /// The setting here.
        setting: Setting,
        /// What its release notes say to do instead.
        instead: Option<&'static str>,
    },
    /// It has another name there; the old one goes on working.
    Renamed {
        /// The name here.
        from: &'static str,
        /// The name there.
        to: &'static str,
    },
    /// The built-in default is another one, in the canonical form of each major.
    DefaultMoved {
        /// The setting.
        name: &'static str,
        /// The default here.
        from: Option<&'static str>,
        /// The default there.
        to: Option<&'static str>,
    },
    /// Its type, its bounds or its words are others.
    KindChanged {
        /// The setting here.
        from: Setting,
        /// The setting there.
        to: Setting,
    },
    /// What makes a change of it take effect is something else.
    ActivationChanged {
        /// The setting here.
        from: Setting,
        /// The setting there.
        to: Setting,
    },
}

impl Catalogue {
    /// What is different in `to`, setting by setting, by name in lower case.
    ///
    /// ```
    /// use pg_version::PgVersion;
    /// use pgconf::{Catalogue, Difference};
    ///
    /// let differences = Catalogue::new(PgVersion::V12).differences(PgVersion::V13);
    /// assert!(differences.iter().any(|difference| matches!(
    ///     difference,
    ///     Difference::Removed { setting, instead: Some("wal_keep_size") }
    ///         if setting.name() == "wal_keep_segments"
    /// )));
    /// ```
    #[must_use]
    pub fn differences(self, to: PgVersion) -> Vec<Difference> {
        let other = Self::new(to);
        let mut differences = Vec::new();
        for setting in self.settings().filter(|setting| !is_of_one_build(setting)) {
            let name = setting.name();
            match other.get(name) {
                None => {
                    differences.push(Difference::Removed { setting, instead: successor(name, to) });
                }
                Some(new) if !names_eq(new.name().as_bytes(), name.as_bytes()) => {
                    differences.push(Difference::Renamed { from: name, to: new.name() });
                    compare(&setting, &new, &mut differences);
                }
                Some(new) => compare(&setting, &new, &mut differences),
            }
        }
        let new_names: Vec<_> = differences
            .iter()
            .filter_map(|difference| match difference {
                Difference::Renamed { to, .. } => Some(*to),
                _ => None,
            })
            .collect();
        let added = other.settings().filter(|setting| {
            self.get(setting.name()).is_none()
                && !is_of_one_build(setting)
                && !new_names.contains(&setting.name())
        });
        differences.extend(added.map(|setting| Difference::Added { setting }));
        differences.sort_by_cached_key(|difference| difference.name().to_ascii_lowercase());
        differences
    }
}

impl Difference {
    /// The setting's name, here unless it is new.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Added { setting } | Self::Removed { setting, .. } => setting.name(),
            Self::Renamed { from, .. } => from,
            Self::DefaultMoved { name, .. } => name,
            Self::KindChanged { from, .. } | Self::ActivationChanged { from, .. } => from.name(),
        }
    }
}

/// Whether only the catalogue's one build of major 15 has it: Debian's, of a late minor release.
fn is_of_one_build(setting: &Setting) -> bool {
    matches!(
        setting.name(),
        "composite_type_mismatch" | "extension_destdir" | "output_plugin_libraries"
    )
}

fn compare(from: &Setting, to: &Setting, differences: &mut Vec<Difference>) {
    let same_kind = match (from.kind(), to.kind()) {
        // The words of some enums are a matter of how the server was built.
        (Kind::Enum(_), Kind::Enum(_)) => {
            let gone = from.values().filter(|value| to.check(value).is_err());
            let come = to.values().filter(|value| from.check(value).is_err());
            gone.chain(come).all(|value| {
                [from, to].iter().any(|setting| {
                    setting.check(&value).is_err_and(|invalid| invalid.is_build_dependent())
                })
            })
        }
        (one, other) => one == other,
    };
    if !same_kind {
        differences.push(Difference::KindChanged { from: *from, to: *to });
    }
    // Distributions build in other paths: no matter of the major.
    let is_path = matches!(from.name(), "krb_server_keyfile" | "unix_socket_directories");
    if from.default() != to.default() && !is_path {
        differences.push(Difference::DefaultMoved {
            name: from.name(),
            from: from.default(),
            to: to.default(),
        });
    }
    if from.activation() != to.activation() {
        differences.push(Difference::ActivationChanged { from: *from, to: *to });
    }
}

/// What took the place of a setting that is gone, as the release notes of the major have it that
/// dropped it.
fn successor(name: &str, to: PgVersion) -> Option<&'static str> {
    const SUCCESSORS: [(&str, &str); 6] = [
        ("wal_keep_segments", "wal_keep_size"),
        ("vacuum_cleanup_index_scale_factor", "nothing: its work is no longer needed"),
        ("stats_temp_directory", "nothing: statistics are in shared memory"),
        ("promote_trigger_file", "pg_ctl promote or pg_promote()"),
        ("vacuum_defer_cleanup_age", "hot_standby_feedback and replication slots"),
        ("force_parallel_mode", "debug_parallel_query"),
    ];
    let (_, instead) = SUCCESSORS.iter().find(|(old, _)| *old == name)?;
    // A name is worth telling where that major has it.
    let is_name = instead.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_');
    (!is_name || Catalogue::new(to).knows(instead)).then_some(*instead)
}

/// What to do about a setting in a configuration before another major reads it.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct UpgradeFinding<'a> {
    /// Where it is set; for a default that moved, where nothing sets it, there is no place.
    pub occurrence: Option<Occurrence<'a>>,
    /// What is the matter.
    pub what: UpgradeIssue,
}

/// Why a configuration means something else to another major, or nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case", tag = "issue"))]
pub enum UpgradeIssue {
    /// The other major does not know the name: it would not start.
    Gone {
        /// What its release notes say to do instead.
        instead: Option<&'static str>,
    },
    /// The name still works, but is an old one.
    OldName {
        /// The new one.
        to: &'static str,
    },
    /// The other major refuses the value.
    InvalidValue(InvalidValue),
    /// No file sets it, and the built-in default is another one: the server will behave otherwise.
    DefaultMoved {
        /// The setting.
        name: &'static str,
        /// The default here.
        from: Option<&'static str>,
        /// The default there.
        to: Option<&'static str>,
    },
}

impl Configuration {
    /// What to do before `to` reads these files: first what would keep it from starting or is worth
    /// renaming, in reading order, then the defaults that move under settings that no file sets.
    ///
    /// ```
    /// use pg_version::PgVersion;
    /// use pgconf::{Configuration, UpgradeIssue};
    ///
    /// let mut files = textfile::MemoryFiles::default();
    /// files.insert("/pg/postgresql.conf", "wal_keep_segments = 64\nwork_mem = 8MB\n");
    /// let conf = Configuration::read(&files, "/pg/postgresql.conf", None, PgVersion::V12);
    /// let findings = conf.upgrade(PgVersion::V16);
    /// assert_eq!(findings[0].occurrence.as_ref().unwrap().line, 1);
    /// assert_eq!(findings[0].what, UpgradeIssue::Gone { instead: Some("wal_keep_size") });
    /// ```
    #[must_use]
    pub fn upgrade(&self, to: PgVersion) -> Vec<UpgradeFinding<'_>> {
        let (here, there) = (Catalogue::new(self.version()), Catalogue::new(to));
        let mut findings: Vec<UpgradeFinding<'_>> = Vec::new();
        for occurrence in self.occurrences() {
            let Some(old) = here.get(occurrence.name) else { continue };
            let what = match there.get(occurrence.name) {
                None => UpgradeIssue::Gone { instead: successor(old.name(), to) },
                Some(new) => match new.check_in_file(&occurrence.value) {
                    Err(invalid) if old.check_in_file(&occurrence.value).is_ok() => {
                        UpgradeIssue::InvalidValue(invalid)
                    }
                    _ if !names_eq(new.name().as_bytes(), occurrence.name) => {
                        UpgradeIssue::OldName { to: new.name() }
                    }
                    _ => continue,
                },
            };
            findings.push(UpgradeFinding { occurrence: Some(occurrence), what });
        }
        for difference in here.differences(to) {
            if let Difference::DefaultMoved { name, from, to } = difference
                && self.get(name).is_none()
            {
                let what = UpgradeIssue::DefaultMoved { name, from, to };
                findings.push(UpgradeFinding { occurrence: None, what });
            }
        }
        findings
    }
}
