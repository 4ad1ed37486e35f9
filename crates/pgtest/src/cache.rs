//! Where ready-made servers are kept: filled by `cargo xtask pg install`, read by
//! [`find`](crate::find).
//!
//! The layout is `<cache>/<full version>/{bin,lib,share}`, where the full version is the one of
//! the package that it came from (`18.4.0-beta.17`). A folder whose name starts with a dot is one
//! that is being unpacked, and is never read.

use std::{
    env,
    path::{Path, PathBuf},
};

/// The folder of ready-made servers: `PGWARD_PG_CACHE` where set; `/var/cache/pgward/pg` for root
/// (servers run as another account, which cannot look into root's home); else
/// `$XDG_CACHE_HOME/pgward/pg` or `$HOME/.cache/pgward/pg`.
#[must_use]
pub fn folder() -> PathBuf {
    let set = |name| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(folder) = set("PGWARD_PG_CACHE") {
        return folder;
    }
    if rustix::process::getuid().is_root() {
        return PathBuf::from("/var/cache/pgward/pg");
    }
    set("XDG_CACHE_HOME")
        .filter(|folder| folder.is_absolute())
        .or_else(|| set("HOME").map(|home| home.join(".cache")))
        .unwrap_or_else(env::temp_dir)
        .join("pgward/pg")
}

/// The place of one unpacked server in the cache.
#[must_use]
pub fn slot(cache: &Path, full_version: &str) -> PathBuf {
    cache.join(full_version)
}

/// The `bin` folders of the cache, newest version first.
#[must_use]
pub fn bindirs(cache: &Path) -> Vec<PathBuf> {
    let mut names: Vec<String> = std::fs::read_dir(cache)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| !name.starts_with('.'))
        .collect();
    names.sort_by_key(|name| std::cmp::Reverse(version_key(name)));
    names.into_iter().map(|name| slot(cache, &name).join("bin")).collect()
}

/// The numbers of a version, for sorting: `18.10.0` is newer than `18.4.0`.
pub(crate) fn version_key(version: &str) -> Vec<u64> {
    version
        .split(|c: char| !c.is_ascii_digit())
        .filter(|digits| !digits.is_empty())
        .map(|digits| digits.parse().unwrap_or(u64::MAX))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_first_and_nothing_half_unpacked() {
        let cache = tempfile::tempdir().unwrap();
        for name in ["18.4.0-beta.17", "18.10.0-beta.2", ".unpacking-18.11.0", "9.6"] {
            std::fs::create_dir(cache.path().join(name)).unwrap();
        }
        let names: Vec<_> = bindirs(cache.path())
            .into_iter()
            .map(|dir| dir.strip_prefix(cache.path()).unwrap().display().to_string())
            .collect();
        assert_eq!(names, ["18.10.0-beta.2/bin", "18.4.0-beta.17/bin", "9.6/bin"]);
        assert!(bindirs(&cache.path().join("missing")).is_empty());
    }
}
