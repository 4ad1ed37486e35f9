//! The commands as people call them: each file in `tests/cmd` is a session at a terminal, with what is
//! printed. `TRYCMD=overwrite cargo test -p cluster --test cmd` writes anew what they print; read it.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

fn sessions() -> trycmd::TestCases {
    let sessions = trycmd::TestCases::new();
    sessions.default_bin_name("pgward").env("NO_COLOR", "1").env("COLUMNS", "100");
    sessions
}

#[test]
fn commands_print_what_the_sessions_say() {
    sessions().case("tests/cmd/*.trycmd");
}

/// The sessions in the documents, but for those that need servers (`console,ignore`). They find the
/// files of `tests/cmd/documents`.
#[test]
fn documents_print_what_they_say() -> std::io::Result<()> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let folder = tempfile::tempdir()?;
    let mut copied: Vec<PathBuf> = Vec::new();
    for name in ["tour.md", "troubleshooting.md"] {
        let copy = folder.path().join(name);
        fs::copy(here.join("../../docs").join(name), &copy)?;
        let files = copy.with_extension("in");
        fs::create_dir(&files)?;
        for entry in fs::read_dir(here.join("tests/cmd/documents"))? {
            let entry = entry?;
            let file = files.join(entry.file_name());
            fs::copy(entry.path(), &file)?;
            // A version control system keeps no such mode.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o600))?;
        }
        copied.push(copy);
    }
    let sessions = sessions();
    for copy in &copied {
        sessions.case(copy);
    }
    sessions.run();
    Ok(())
}
