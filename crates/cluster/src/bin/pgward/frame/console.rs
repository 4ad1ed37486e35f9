//! Where results go, and where talk goes.
//!
//! Results are on standard output, and nothing else is. Talk (notes, progress, questions) is on
//! standard error.

use std::{
    ffi::OsString,
    io::{self, BufRead as _, ErrorKind, IsTerminal as _, Write},
    time::Instant,
};

use anstream::AutoStream;
use clap::ValueEnum;
use serde_json::json;
use textfile::fs::system_words;

use super::{
    failure::Failure,
    text::{FAINT, ODD, STRONG, plain, styled},
    usage,
};

/// What standard output is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people
    Text,
    /// For programs: one JSON object; its schema is in the folder "schemas"
    Json,
}

/// What standard error is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// For programs: one JSON object on each line
    Json,
}

/// When output has colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Color {
    /// On a terminal, unless NO_COLOR is set or TERM is "dumb"
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The options that every command has.
#[derive(Clone, Debug, clap::Args)]
#[command(next_help_heading = "Options of all commands")]
pub(crate) struct ConsoleArguments {
    /// What is printed on standard output: text for people, json for programs (one object)
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "text|json",
        hide_possible_values = true,
        default_value_t = Format::Text
    )]
    pub(crate) format: Format,
    /// Say more about what is done, on standard error
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// What is said on standard error: text for people, json for programs (an object on each line)
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "text|json",
        hide_possible_values = true,
        default_value_t = LogFormat::Text
    )]
    pub(crate) log_format: LogFormat,
    /// When output has colours: auto is on a terminal, unless NO_COLOR is set
    #[arg(
        long,
        global = true,
        value_enum,
        value_name = "auto|always|never",
        hide_possible_values = true,
        default_value_t = Color::Auto
    )]
    pub(crate) color: Color,
}

/// Standard output and standard error, as the user wants them.
#[derive(Clone, Debug)]
pub(crate) struct Console {
    format: Format,
    verbose: u8,
    log_format: LogFormat,
}

impl Console {
    pub(crate) fn new(arguments: &ConsoleArguments) -> Self {
        let choice = match arguments.color {
            // Otherwise a terminal without colours would get them wherever CI is set.
            Color::Auto if is_dumb() => anstream::ColorChoice::Never,
            Color::Auto => anstream::ColorChoice::Auto,
            Color::Always => anstream::ColorChoice::AlwaysAnsi,
            Color::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        Self {
            format: arguments.format,
            verbose: arguments.verbose,
            log_format: arguments.log_format,
        }
    }

    /// As far as they can be told from a command line that was not understood.
    pub(crate) fn of_words(words: &[OsString]) -> Self {
        let json = |option| usage::says(words, option, "json");
        Self {
            format: if json("--format") { Format::Json } else { Format::Text },
            verbose: 0,
            log_format: if json("--log-format") { LogFormat::Json } else { LogFormat::Text },
        }
    }

    pub(crate) fn is_json(&self) -> bool {
        self.format == Format::Json
    }

    /// Whether anything that is said is for programs.
    pub(crate) fn is_for_programs(&self) -> bool {
        self.is_json() || self.log_format == LogFormat::Json
    }

    /// Text for people on standard output. Its styles are taken away where nobody sees them.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        let out = io::stdout().lock();
        written(write_all(&mut AutoStream::auto(out), text.as_bytes()))
    }

    /// Bytes on standard output, as they are.
    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        written(write_all(&mut io::stdout().lock(), bytes))
    }

    /// Something that the user should know.
    pub(crate) fn note(&self, message: &str) {
        self.say("note", FAINT, message);
    }

    /// Something that the user should mind.
    pub(crate) fn warn(&self, message: &str) {
        self.say("warning", ODD, message);
    }

    /// Something for a user who wants to know more (`-v`).
    pub(crate) fn detail(&self, message: &str) {
        if self.verbose > 0 {
            self.say("detail", FAINT, message);
        }
    }

    fn say(&self, level: &str, style: anstyle::Style, message: &str) {
        match self.log_format {
            LogFormat::Text => {
                tell(&format!("{} {}\n", styled(style, format_args!("{level}:")), plain(message)));
            }
            LogFormat::Json => {
                tell(&format!("{}\n", json!({ "level": level, "message": message })));
            }
        }
    }

    /// Text for people on standard error, in place of a note: a rendered problem, a table.
    pub(crate) fn show(&self, level: &str, text: &str) {
        match self.log_format {
            LogFormat::Text => tell(text),
            LogFormat::Json => {
                let text = anstream::adapter::strip_str(text).to_string();
                tell(&format!("{}\n", json!({ "level": level, "message": text.trim_end() })));
            }
        }
    }

    /// Begins something that may take longer than a second.
    pub(crate) fn begin(&self, what: &str) -> Progress<'_> {
        let live = self.log_format == LogFormat::Text && io::stderr().is_terminal() && !is_dumb();
        if live {
            redraw(&format!("{what} …"));
        } else if self.log_format == LogFormat::Json {
            tell(&format!(
                "{}\n",
                json!({ "level": "progress", "message": what, "state": "begun" })
            ));
        }
        Progress { console: self, what: what.to_owned(), live, since: Instant::now() }
    }

    /// Asks a question on standard error that is answered with yes or no; `None` where there is no
    /// terminal to ask at.
    pub(crate) fn confirm(&self, question: &str) -> Option<bool> {
        if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
            return None;
        }
        tell(&format!("{} [y/N] ", styled(STRONG, question)));
        let mut answer = String::new();
        io::stdin().lock().read_line(&mut answer).ok()?;
        Some(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
    }
}

/// Work under way, and how long it takes.
pub(crate) struct Progress<'c> {
    console: &'c Console,
    what: String,
    live: bool,
    since: Instant,
}

impl Progress<'_> {
    /// A step of it is done.
    pub(crate) fn step(&self, what: &str) {
        let Self { console, live, .. } = self;
        let shown = plain(what);
        if *live {
            redraw(&format!("{} … {}", self.what, cut(&shown)));
        } else if console.log_format == LogFormat::Json {
            tell(&format!(
                "{}\n",
                json!({ "level": "progress", "message": what, "state": "done" })
            ));
        } else if console.verbose > 0 {
            tell(&format!("  {shown}\n"));
        }
    }

    fn clear(&self) {
        if self.live {
            redraw("");
        }
    }

    /// It is over. What took less than a second is not worth a line, unless the user wants to know.
    pub(crate) fn end(self, ended: &str) {
        let seconds = self.since.elapsed().as_secs_f64();
        self.clear();
        match self.console.log_format {
            LogFormat::Json => tell(&format!(
                "{}\n",
                json!({ "level": "progress", "message": self.what, "state": ended, "seconds": seconds })
            )),
            LogFormat::Text if seconds >= 1.0 || self.console.verbose > 0 => {
                tell(&format!("{}: {ended} ({seconds:.2} s)\n", self.what));
            }
            LogFormat::Text => {}
        }
    }
}

/// Work that is broken off leaves no half line.
impl Drop for Progress<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

/// What fits on a line beside the name of the work.
fn cut(text: &str) -> String {
    const WIDE: usize = 50;
    if text.chars().count() <= WIDE {
        return text.to_owned();
    }
    text.chars().take(WIDE - 1).chain(['…']).collect()
}

/// To standard error. Where nobody listens, nobody is told.
pub(crate) fn tell(text: &str) {
    let _ = write_all(&mut AutoStream::auto(io::stderr().lock()), text.as_bytes());
}

/// Whether the terminal, if there is one, knows no control sequences.
fn is_dumb() -> bool {
    std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb")
}

/// Puts a text in the place of the terminal's current line. That is no colour: NO_COLOR does not mind.
fn redraw(text: &str) {
    let _ = write_all(&mut io::stderr().lock(), format!("\r\u{1b}[K{text}").as_bytes());
}

fn write_all(out: &mut impl Write, bytes: &[u8]) -> io::Result<()> {
    out.write_all(bytes).and_then(|()| out.flush())
}

/// Whoever closed the pipe has read enough: that is no failure.
pub(crate) fn written(result: io::Result<()>) -> Result<(), Failure> {
    match result {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            let words = system_words(&error);
            Err(Failure::failed(format!("standard output cannot be written to: {words}")))
        }
        _ => Ok(()),
    }
}
