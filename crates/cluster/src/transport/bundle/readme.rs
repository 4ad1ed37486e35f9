//! What a bundle tells the administrator who carries it.

use std::{fmt::Write as _, path::Path};

use time::{OffsetDateTime, macros::format_description};

use super::{Before, Entry, Manifest, Part, Phase, PhaseWork, Placed, SqlBack};

/// The README of a bundle.
pub(super) fn text(manifest: &Manifest, now: OffsetDateTime) -> String {
    let format = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
    let made = now.to_utc().format(&format).unwrap_or_default();
    let title = format!("Changes for the PostgreSQL server of node {}", manifest.node);
    let numbers: Vec<String> = manifest.phases.iter().map(|work| work.phase.to_string()).collect();
    let phases = match numbers.as_slice() {
        [only] => format!("phase {only}"),
        numbers => format!("phases {}", numbers.join(", ")),
    };
    let mut text = format!(
        "{title}\n{}\n\n\
         Made by pgward on {made}. manifest.json says the same for programs.\n\n\
         This folder may hold private keys and what servers store of passwords. Carry it on an\n\
         encrypted medium, show it to nobody, and destroy every copy when the work is done.\n\n\
         The order\n---------\n\
         The work is cut into phases, with the same numbers on every node of the cluster; this node\n\
         has its part in {phases}. Finish a phase on EVERY node before you begin the next on\n\
         ANY: in between all links work. Every node that pgward cannot reach has a folder like this.\n\n\
         Copy the folder to the node, become root there and go into it: all commands are for there.\n\
         Where psql is called it is for you to add how a superuser connects to the server:\n\
         \"runuser -u postgres -- psql\" on many systems.\n\
         Stop at the first thing that is not as it is said to be.\n",
        "=".repeat(title.chars().count()),
    );
    let kept = Kept::of(now);
    for work in &manifest.phases {
        phase(&mut text, work, &kept);
    }
    text.push_str(
        "\nTo go back\n----------\n\
         Take the phases back in the opposite order, each on EVERY node where it was done before the one\n\
         before it on ANY. What was not done of a phase need not be taken back.\n",
    );
    for work in manifest.phases.iter().rev() {
        back(&mut text, work, &kept);
    }
    let _ = write!(
        text,
        "\nWhen all is done\n----------------\n\
         Remove the copies PATH{}N and every copy of this folder.\n\n\
         To know\n-------\n",
        kept.0,
    );
    for note in &manifest.notes {
        let _ = writeln!(text, "- {note}");
    }
    text
}

/// What the names of the copies end with that are kept of files: they are one bundle's own, so that a later
/// one does not take their places.
struct Kept(String);

impl Kept {
    fn of(now: OffsetDateTime) -> Self {
        let format = format_description!("[year][month][day]T[hour][minute][second]Z");
        Self(format!(".before-{}-phase-", now.to_utc().format(&format).unwrap_or_default()))
    }

    /// The copy of a file from before a phase, as a word of a command line.
    fn copy(&self, path: &Path, phase: Phase) -> String {
        word(&format!("{}{}{phase}", path.display(), self.0))
    }
}

fn phase(text: &mut String, work: &PhaseWork, kept: &Kept) {
    let title = format!("Phase {}", work.phase);
    let _ = write!(text, "\n{title}\n{}\n", "-".repeat(title.len()));
    for (index, part) in work.parts.iter().enumerate() {
        let number = index + 1;
        let stages = match part {
            Part::PlaceFiles { stages, .. }
            | Part::RunSql { stages, .. }
            | Part::Reload { stages } => stages,
        };
        let stages: Vec<&str> =
            stages.iter().map(String::as_str).filter(|stage| !stage.is_empty()).collect();
        let what_for =
            if stages.is_empty() { String::new() } else { format!(", to {}", stages.join("; ")) };
        match part {
            Part::PlaceFiles { folder, archive, entries, .. } => {
                let _ = writeln!(text, "\n{number}. Put files in place{what_for}.");
                place(text, work.phase, kept, folder, archive.as_deref(), entries);
            }
            Part::RunSql { file, database, .. } => {
                let _ = writeln!(text, "\n{number}. Run statements{what_for}.");
                run(text, file, database.as_deref());
            }
            Part::Reload { .. } => {
                let _ = write!(
                    text,
                    "\n{number}. Have the server read its configuration{what_for}.\n     \
                     psql -X -c \"SELECT pg_reload_conf()\"\n   \
                     It says yes to anything. Look whether it took it: this must give no row,\n     \
                     psql -X -c \"SELECT * FROM pg_hba_file_rules WHERE type IS NULL\"\n   \
                     and its log no line with \"was not reloaded\".\n"
                );
            }
        }
    }
}

/// How a phase is taken back; nothing for one that leaves nothing.
fn back(text: &mut String, work: &PhaseWork, kept: &Kept) {
    let entries: Vec<&Entry> = work
        .parts
        .iter()
        .rev()
        .filter_map(|part| match part {
            Part::PlaceFiles { entries, .. } => Some(entries),
            _ => None,
        })
        .flat_map(|entries| entries.iter().rev())
        .collect();
    if work.back.is_empty() && entries.is_empty() {
        return;
    }
    let title = format!("Phase {}, back", work.phase);
    let _ = write!(text, "\n{title}\n{}\n", "-".repeat(title.len()));
    let mut number = 0;
    let mut begin = |text: &mut String, what: &str| {
        number += 1;
        let _ = writeln!(text, "\n{number}. {what}");
    };
    for SqlBack { file, database, statements } in &work.back {
        let Some(file) = file else {
            begin(
                text,
                "Run these statements with the secrets in place of the stars: they held what",
            );
            text.push_str(
                "   no bundle may. Without them the links stay as this phase has made them.\n",
            );
            if let Some(database) = database {
                let _ = writeln!(text, "   In the database {database}:");
            }
            for statement in statements {
                let _ = writeln!(text, "   - {statement}");
            }
            continue;
        };
        begin(text, "Run statements.");
        run(text, file, database.as_deref());
    }
    if !entries.is_empty() {
        begin(text, "Put files back.");
        let path = |path: &Path| word(&path.display().to_string());
        let changed = entries.iter().filter_map(|entry| match entry {
            Entry::File { path: of, before: Before::Sha256(_), .. }
            | Entry::RemoveFile { path: of, .. } => {
                Some(format!("mv {} {}", kept.copy(of, work.phase), path(of)))
            }
            _ => None,
        });
        list(text, "What was kept of those that were there:", changed);
        let made = entries.iter().filter_map(|entry| match entry {
            Entry::File { path: of, before: Before::Absent, .. } => {
                Some(format!("rm {}", path(of)))
            }
            Entry::Folder { path: of, .. } => Some(format!("rmdir {}", path(of))),
            _ => None,
        });
        list(text, "Remove what was not:", made);
    }
    if work.parts.iter().any(|part| matches!(part, Part::Reload { .. })) {
        begin(text, "Have the server read its configuration.");
        text.push_str("     psql -X -c \"SELECT pg_reload_conf()\"\n");
    }
}

/// The command that runs a file of statements.
fn run(text: &mut String, file: &str, database: Option<&str>) {
    let database = database.map(|it| format!(" -d {}", word(it))).unwrap_or_default();
    let _ = writeln!(text, "     psql -X -v ON_ERROR_STOP=1{database} < {}", word(file));
}

fn place(
    text: &mut String,
    phase: Phase,
    kept: &Kept,
    folder: &str,
    archive: Option<&str>,
    entries: &[Entry],
) {
    let name = folder.strip_suffix("-files").unwrap_or(folder);
    if !sums_before(entries).is_empty() {
        let _ = write!(
            text,
            "   What is there must be what this was made from:\n     \
             sha256sum -c {name}-before.sha256\n"
        );
    }
    let new = entries.iter().filter_map(|entry| match entry {
        Entry::File { path, before: Before::Absent, .. } => Some(path),
        _ => None,
    });
    list(text, "These must not exist yet:", new.map(|path| path.display().to_string()));
    let there: Vec<&Path> = entries
        .iter()
        .filter_map(|entry| match entry {
            Entry::File { path, before: Before::Sha256(_), .. }
            | Entry::RemoveFile { path, .. } => Some(path.as_path()),
            _ => None,
        })
        .collect();
    let copy = |path: &Path| kept.copy(path, phase);
    let copies = there
        .iter()
        .map(|path| format!("cp -p {} {}", word(&path.display().to_string()), copy(path)));
    list(text, "Keep what is there, with its owner and mode:", copies);
    if !there.is_empty() {
        text.push_str(
            "   Where one of these is a symbolic link, copy by hand to the file that it leads to: \
             tar\n   would put a file in the place of the link.\n",
        );
    }
    if let Some(archive) = archive {
        let _ = write!(
            text,
            "   Unpack:\n     tar -C / --no-overwrite-dir -xpf {archive}\n   \
             Or copy them by hand from {folder}, with these owners and modes:\n"
        );
    } else {
        let _ = writeln!(text, "   Copy them from {folder}, with these owners and modes:");
    }
    for entry in entries {
        let (Entry::File { path, access, .. } | Entry::Folder { path, access }) = entry else {
            continue;
        };
        let _ = writeln!(text, "     {} {} {}", access.mode, owner(access), path.display());
    }
    let given_back = entries.iter().filter_map(|entry| match entry {
        Entry::File { path, access: Placed { assumed: true, .. }, .. } => {
            let (path, copy) = (word(&path.display().to_string()), copy(path));
            Some(format!("chown --reference={copy} {path} && chmod --reference={copy} {path}"))
        }
        _ => None,
    });
    list(text, "Give files that were there their owner and mode back:", given_back);
    let removed = entries.iter().filter_map(|entry| match entry {
        Entry::RemoveFile { path, .. } => Some(format!("rm {}", word(&path.display().to_string()))),
        _ => None,
    });
    list(text, "Remove:", removed);
    // From the inside out.
    let folders = entries.iter().rev().filter_map(|entry| match entry {
        Entry::RemoveFolder { path } => {
            Some(format!("rmdir {}", word(&path.display().to_string())))
        }
        _ => None,
    });
    list(text, "Remove, where they are empty:", folders);
    if !sums(entries).is_empty() {
        let _ = write!(
            text,
            "   Look whether all is in place:\n     sha256sum -c {name}-after.sha256\n"
        );
    }
}

fn list(text: &mut String, title: &str, lines: impl Iterator<Item = String>) {
    let mut lines = lines.peekable();
    if lines.peek().is_some() {
        let _ = writeln!(text, "   {title}");
    }
    for line in lines {
        let _ = writeln!(text, "     {line}");
    }
}

fn owner(placed: &Placed) -> String {
    let or_number = |name: &Option<String>, id: Option<u32>| {
        name.clone().or_else(|| id.map(|id| id.to_string())).unwrap_or_default()
    };
    format!("{}:{}", or_number(&placed.user, placed.uid), or_number(&placed.group, placed.gid))
}

/// A word of a shell's command line, for people to copy.
fn word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,=".contains(c);
    if !text.is_empty() && !text.starts_with('-') && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

/// What files shall hold afterwards, as `sha256sum -c` reads it.
pub(super) fn sums(entries: &[Entry]) -> String {
    let after = |entry: &Entry| match entry {
        Entry::File { path, sha256, .. } => sum(sha256, path),
        _ => String::new(),
    };
    entries.iter().map(after).collect()
}

/// What files must hold before, as `sha256sum -c` reads it.
pub(super) fn sums_before(entries: &[Entry]) -> String {
    let before = |entry: &Entry| match entry {
        Entry::File { path, before: Before::Sha256(sha256), .. }
        | Entry::RemoveFile { path, before: Before::Sha256(sha256) } => sum(sha256, path),
        _ => String::new(),
    };
    entries.iter().map(before).collect()
}

fn sum(sha256: &str, path: &Path) -> String {
    let path = path.display().to_string();
    if !path.contains(['\\', '\n', '\r']) {
        return format!("{sha256}  {path}\n");
    }
    let path = path.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r");
    format!("\\{sha256}  {path}\n")
}
