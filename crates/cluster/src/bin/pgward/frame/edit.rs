//! Files that commands change.

use serde::Serialize;

use super::{
    answer::Answer,
    console::Console,
    failure::Failure,
    input::Input,
    text::{self, diff},
};

/// How a change is shown and made.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct EditArguments {
    /// Change nothing; show what would be changed
    #[arg(long, short = 'n')]
    pub(crate) dry_run: bool,
    /// Show what is changed
    #[arg(long)]
    pub(crate) diff: bool,
}

/// What became of a file.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Edited {
    /// The file.
    pub(crate) file: String,
    /// Whether it is other than it was, or would be.
    pub(crate) changed: bool,
    /// Whether it was written.
    pub(crate) written: bool,
    /// The unified diff, with secrets as stars.
    pub(crate) diff: String,
    /// What standard input became.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) text: Option<String>,
}

/// What there is to show of a change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown<'a> {
    /// The unified diff, with secrets as stars; empty where nothing changes.
    pub(crate) diff: &'a str,
    /// What standard input became.
    pub(crate) output: Option<&'a [u8]>,
}

impl EditArguments {
    /// Writes a file anew, with its owner, mode and link kept; of standard input, hands the new bytes
    /// back. `shown` is the file before and after as they may be shown.
    pub(crate) fn write(
        self,
        input: &Input,
        new: &[u8],
        shown: (&[u8], &[u8]),
    ) -> Result<Edited, Failure> {
        let changed = new != input.bytes();
        let diff = textfile::diff::unified(&input.name, &input.name, shown.0, shown.1);
        let mut written = false;
        if let Some(snapshot) = input.snapshot()
            && changed
            && !self.dry_run
        {
            snapshot.replace(new)?;
            written = true;
        }
        let text = input.snapshot().is_none().then(|| String::from_utf8_lossy(new).into_owned());
        Ok(Edited { file: input.name.clone(), changed, written, diff, text })
    }

    /// The answer of a command that changed a file: what it says, and the diff if it is wanted; or
    /// what became of standard input.
    pub(crate) fn answer(
        self,
        console: &Console,
        shown: Shown<'_>,
        said: &str,
        result: impl Serialize,
    ) -> Answer {
        if let Some(new) = shown.output.filter(|_| !self.dry_run && !self.diff) {
            console.show("note", said);
            return Answer::file(new, result);
        }
        let mut out = String::new();
        if self.dry_run || self.diff {
            out.push_str(&diff(shown.diff));
        }
        out.push_str(said);
        if self.dry_run && !shown.diff.is_empty() {
            out.push_str(&text::styled(text::FAINT, "nothing was written (--dry-run)"));
            out.push('\n');
        }
        Answer::new(out, result)
    }
}
