//! `cargo xtask deb`: a Debian package of the program.

use std::{
    fs,
    io::Write as _,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use flate2::{Compression, GzBuilder};

use crate::tasks::cargo_path;

/// Builds the program, has it write its manual pages and completions, and packs all of it by cargo-deb
/// (`cargo install cargo-deb`; of Debian it takes dpkg-dev, which tells the libraries that the program needs).
pub(crate) fn deb() -> ExitCode {
    match build() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failed) => {
            eprintln!("error: {failed}");
            ExitCode::from(2)
        }
    }
}

fn build() -> Result<(), String> {
    // Without these the work of minutes would come to nothing, or to a package that depends on nothing.
    has("cargo-deb", "cargo install --locked cargo-deb")?;
    has("dpkg-shlibdeps", "apt-get install dpkg-dev")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = crate::api::target_folder(&root)?;
    cargo(&root, &["build", "--release", "--package", "cluster"])?;
    // Where the manifest of cluster has them from: cargo-deb reads `target/` as cargo's own folder.
    let program = target.join("release/pgward");
    let assets = target.join("release/pgward-assets");
    fs::create_dir_all(&assets).map_err(|error| format!("{}: {error}", assets.display()))?;
    let pages = assets.join("man");
    // Those of commands that are gone must not be packed.
    if pages.exists() {
        fs::remove_dir_all(&pages).map_err(|error| format!("{}: {error}", pages.display()))?;
    }
    pgward(&program, &["man".as_ref(), pages.as_os_str()])?;
    let pages = fs::read_dir(&pages).map_err(|error| format!("{}: {error}", pages.display()))?;
    for page in pages {
        let page = page.map_err(|error| error.to_string())?.path();
        let mut packed = page.clone().into_os_string();
        packed.push(".gz");
        compress(&page, packed.as_ref())?;
        fs::remove_file(&page).map_err(|error| format!("{}: {error}", page.display()))?;
    }
    compress(&root.join("CHANGELOG.md"), &assets.join("changelog.gz"))?;
    for shell in ["bash", "zsh", "fish"] {
        let script = pgward(&program, &["completions".as_ref(), shell.as_ref()])?;
        let path = assets.join(format!("completion.{shell}"));
        fs::write(&path, script).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    cargo(&root, &["deb", "--no-build", "--package", "cluster"])
}

/// As Debian's policy wants it: as small as can be, and the same of the same file.
fn compress(from: &Path, to: &Path) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", to.display());
    let bytes = fs::read(from).map_err(|error| format!("{}: {error}", from.display()))?;
    let file = fs::File::create(to).map_err(failed)?;
    let mut gz = GzBuilder::new().mtime(0).write(file, Compression::best());
    gz.write_all(&bytes).and_then(|()| gz.finish()).map(drop).map_err(failed)
}

/// Whether there is such a program; else how to have it.
fn has(program: &str, install: &str) -> Result<(), String> {
    let started = Command::new(program).arg("--version").stdout(Stdio::null()).status();
    started.map(drop).map_err(|error| format!("{program}: {error}: {install}"))
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<(), String> {
    let status = Command::new(cargo_path()).args(arguments).current_dir(root).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("cargo {} failed ({status})", arguments.join(" "))),
        Err(error) => Err(format!("cargo does not start: {error}")),
    }
}

fn pgward(program: &Path, arguments: &[&std::ffi::OsStr]) -> Result<Vec<u8>, String> {
    let output = Command::new(program).args(arguments).stderr(Stdio::inherit()).output();
    match output {
        Ok(output) if output.status.success() => Ok(output.stdout),
        Ok(output) => Err(format!("{} ended with {}", program.display(), output.status)),
        Err(error) => Err(format!("{}: {error}", program.display())),
    }
}
