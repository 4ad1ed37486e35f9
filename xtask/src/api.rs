//! `cargo xtask api`: the public API of each library crate as a list in `api/`, so that a change of it
//! shows in review.
//!
//! The lists come from rustdoc's JSON, whose format is not stable: the crate public-api reads the one
//! of the compiler that the workspace is built with (Rust 1.95, format 57). Another compiler is told
//! as such, and the gate does not depend on it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

use public_api::PublicApi;

use crate::tasks::cargo_path;

/// The crates that others may use.
const CRATES: [&str; 9] = [
    "cluster",
    "hba-parser",
    "passfile",
    "pg-version",
    "pgconf",
    "pgtest",
    "pki",
    "scram",
    "textfile",
];

/// Write or compare the list of each library crate's public API.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Change nothing; end with 1 if a list is not what the code has
    #[arg(long)]
    check: bool,
    /// Only these crates
    #[arg(value_name = "CRATE", value_parser = CRATES)]
    crates: Vec<String>,
}

pub(crate) fn run(arguments: &Arguments) -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut changed = false;
    let crates: Vec<&str> = match arguments.crates.as_slice() {
        [] => CRATES.to_vec(),
        some => some.iter().map(String::as_str).collect(),
    };
    for name in crates {
        let path = root.join("api").join(format!("{name}.txt"));
        let found = list(&root, name).and_then(|found| {
            let before = match fs::read_to_string(&path) {
                Ok(before) => before,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
                Err(error) => return Err(format!("{}: {error}", path.display())),
            };
            if before == found {
                return Ok(());
            }
            changed = true;
            let named = format!("api/{name}.txt");
            print!(
                "{}",
                textfile::diff::unified(&named, &named, before.as_bytes(), found.as_bytes())
            );
            if arguments.check {
                return Ok(());
            }
            let written =
                fs::create_dir_all(root.join("api")).and_then(|()| fs::write(&path, found));
            written.map_err(|error| format!("{}: {error}", path.display()))
        });
        if let Err(failed) = found {
            eprintln!("error: {failed}");
            return ExitCode::from(2);
        }
    }
    if changed && arguments.check {
        eprintln!("the public API is not what api/ says: cargo xtask api writes it anew");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// A crate's public API with all features, an item a line.
fn list(root: &Path, name: &str) -> Result<String, String> {
    let target = target_folder(root)?;
    let status = Command::new(cargo_path())
        .args(["rustdoc", "--quiet", "--lib", "--all-features", "--package", name, "--"])
        .args(["-Z", "unstable-options", "--output-format", "json"])
        .env("RUSTDOC", unstable_rustdoc(&target)?)
        .current_dir(root)
        .status()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    if !status.success() {
        return Err(format!("rustdoc of {name} failed ({status})"));
    }
    let json = target.join("doc").join(format!("{}.json", name.replace('-', "_")));
    let api: PublicApi = public_api::Builder::from_rustdoc_json(&json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()
        .map_err(|error| {
            format!(
                "{}: {error}: the lists are made with the compiler that public-api in \
                 xtask/Cargo.toml is for",
                json.display()
            )
        })?;
    Ok(api.items().map(|item| format!("{item}\n")).collect())
}

/// rustdoc with its unstable options. Set for cargo as a whole, the variable would have build scripts
/// choose otherwise, and everything be built anew.
fn unstable_rustdoc(target: &Path) -> Result<PathBuf, String> {
    let folder = target.join("api");
    let path = folder.join("rustdoc");
    let script = "#!/bin/sh\nRUSTC_BOOTSTRAP=1 exec rustdoc \"$@\"\n";
    let write = || {
        fs::create_dir_all(&folder)?;
        fs::write(&path, script)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))
    };
    write().map_err(|error| format!("{}: {error}", path.display()))?;
    Ok(path)
}

/// Where cargo builds.
pub(crate) fn target_folder(root: &Path) -> Result<PathBuf, String> {
    let output = Command::new(cargo_path())
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo does not start: {error}"))?;
    let metadata: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("cargo metadata: {error}"))?;
    let folder = metadata["target_directory"].as_str().ok_or("cargo metadata tells no target")?;
    Ok(folder.into())
}
