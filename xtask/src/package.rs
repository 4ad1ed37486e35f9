//! `cargo xtask deb`: a Debian package of the program.

use std::{
    fs,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use crate::tasks::cargo_path;

/// Builds the program, has it write its manual pages and completions, and packs all of it by cargo-deb
/// (`cargo install cargo-deb`).
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
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = crate::api::target_folder(&root)?;
    cargo(&root, &["build", "--release", "--package", "cluster"])?;
    // Where the manifest of cluster has them from: cargo-deb reads `target/` as cargo's own folder.
    let program = target.join("release/pgward");
    let assets = target.join("release/pgward-assets");
    fs::create_dir_all(&assets).map_err(|error| format!("{}: {error}", assets.display()))?;
    pgward(&program, &["man".as_ref(), assets.join("man").as_os_str()])?;
    for shell in ["bash", "zsh", "fish"] {
        let script = pgward(&program, &["completions".as_ref(), shell.as_ref()])?;
        let path = assets.join(format!("completion.{shell}"));
        fs::write(&path, script).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    cargo(&root, &["deb", "--no-build", "--package", "cluster"])
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
