//! A command line that cannot be understood, told as programs want it.

use std::ffi::{OsStr, OsString};

use super::diagnostic::Diagnostic;

/// Whether an option has this value in a command line that was not understood as a whole.
pub(crate) fn says(words: &[OsString], option: &str, value: &str) -> bool {
    let words: Vec<&OsStr> =
        words.iter().map(OsString::as_os_str).take_while(|word| *word != "--").collect();
    let apart = words.windows(2).any(|pair| pair[0] == option && pair[1] == value);
    let joined = format!("{option}={value}");
    apart || words.iter().any(|word| *word == joined.as_str())
}

/// The command that was meant, as far as it can be told: `hba check`; else the program's name.
pub(crate) fn command_of(words: &[OsString], program: &clap::Command) -> String {
    let (mut command, mut names) = (program, Vec::new());
    for word in words.iter().take_while(|word| *word != "--") {
        if let Some(below) = command.find_subcommand(word) {
            command = below;
            names.push(below.get_name());
        }
    }
    if names.is_empty() { program.get_name().to_owned() } else { names.join(" ") }
}

/// What clap says, in parts: what is wrong, how the command is used, and what to do.
pub(crate) fn problem(said: &str) -> Diagnostic {
    if !said.starts_with("error: ") {
        // The help in place of an error: there is no command, or only the name of its family.
        let usage = said.lines().find(|line| line.starts_with("Usage: "));
        let mut problem = Diagnostic::error("no command is given").fix("try '--help'");
        problem.why.extend(usage.map(str::to_owned));
        return problem;
    }
    let mut problem = Diagnostic::error("");
    let mut help = None;
    for paragraph in said.split("\n\n") {
        let lines: Vec<&str> = paragraph.lines().map(str::trim).collect();
        let text = lines.join(" ").trim().to_owned();
        if let Some(tip) = text.strip_prefix("tip: ") {
            problem.fix = Some(tip.to_owned());
        } else if text.starts_with("Usage: ") {
            problem.why.push(text);
        } else if let Some(more) = text.strip_prefix("For more information, ") {
            help = Some(more.trim_end_matches('.').to_owned());
        } else if problem.message.is_empty() {
            problem.message = text.strip_prefix("error: ").unwrap_or(&text).to_owned();
        } else if !text.is_empty() {
            problem.why.push(text);
        }
    }
    problem.fix = problem.fix.or(help);
    problem
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split_whitespace().map(OsString::from).collect()
    }

    #[test]
    fn an_option_is_found_in_any_place() {
        for line in ["--format json hba", "hba --format json", "hba check --format=json --x"] {
            assert!(says(&words(line), "--format", "json"), "{line}");
        }
        for line in ["", "--format", "json --format", "--format text json", "x -- --format json"] {
            assert!(!says(&words(line), "--format", "json"), "{line}");
        }
    }

    #[test]
    fn the_command_is_told_as_far_as_it_is_one() {
        let program = crate::Arguments::command();
        for (line, command) in [
            ("--format json hba check --nonsense", "hba check"),
            ("hba nonsense", "hba"),
            ("rotate ca --nonsense", "rotate"),
            ("--nonsense", "pgward"),
            ("-- plan", "pgward"),
        ] {
            assert_eq!(command_of(&words(line), &program), command, "{line}");
        }
    }

    #[test]
    fn what_clap_says_is_taken_apart() {
        let of = |line: &str| {
            use clap::Parser as _;
            let words = ["pgward"].into_iter().chain(line.split_whitespace());
            let error = crate::Arguments::try_parse_from(words).unwrap_err();
            problem(&error.render().to_string())
        };
        let wrong = of("plan --nonsense");
        assert_eq!(wrong.message, "unexpected argument '--nonsense' found");
        assert_eq!(wrong.why, ["Usage: pgward plan [OPTIONS] [FILE]"]);
        assert_eq!(
            wrong.fix.as_deref(),
            Some("to pass '--nonsense' as a value, use '-- --nonsense'")
        );
        let wrong = of("hba decide");
        assert_eq!(
            wrong.message,
            "the following required arguments were not provided: --user <ROLE> <FILE>"
        );
        assert_eq!(wrong.fix.as_deref(), Some("try '--help'"));
        let wrong = of("hba");
        assert_eq!(wrong.message, "no command is given");
        assert_eq!(wrong.why, ["Usage: pgward hba [OPTIONS] <COMMAND>"]);
    }
}
