//! `pgward explain`: what a code means, why it matters, what to do.

use std::fmt::Write as _;

use cluster::verify;
use serde::Serialize;
use serde_json::json;

use crate::frame::{
    answer::Answer,
    console::Console,
    failure::Failure,
    text::{FAINT, STRONG, styled},
};

/// `pgward explain`
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pgward explain PGW104
  pgward explain                  every code with its title")]
pub(crate) struct Arguments {
    /// The code, as findings have it in brackets [default: list them all]
    code: Option<String>,
}

/// What a code means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Explanation {
    code: String,
    title: String,
    why: String,
    fix: String,
}

const CODES: &str = include_str!("codes.md");

pub(crate) fn run(arguments: &Arguments, _console: &Console) -> Result<Answer, Failure> {
    let all = all();
    let Some(code) = &arguments.code else {
        let mut text = String::new();
        for Explanation { code, title, .. } in &all {
            let _ = writeln!(text, "{} {title}", styled(STRONG, format_args!("{code:<22}")));
        }
        return Ok(Answer::new(text, json!({ "codes": all })));
    };
    let found = all.iter().find(|explanation| explanation.code.eq_ignore_ascii_case(code));
    let Some(explanation) = found else {
        return Err(Failure::user(format!("there is no code {code}"))
            .fix("pgward explain lists every code"));
    };
    let Explanation { code, title, why, fix } = explanation;
    let text = format!(
        "{} {title}\n\n{why}\n\n{} {fix}\n",
        styled(STRONG, format_args!("{code}:")),
        styled(FAINT, "What to do:")
    );
    Ok(Answer::new(text, json!({ "codes": [explanation] })))
}

/// Every code: those of verification first, then those of the files by hand.
fn all() -> Vec<Explanation> {
    let mut all: Vec<Explanation> = verify::Code::ALL
        .into_iter()
        .map(|code| Explanation {
            code: code.id().to_owned(),
            title: code.title().to_owned(),
            why: code.why().to_owned(),
            fix: code.fix().to_owned(),
        })
        .collect();
    all.extend(written());
    all.extend(hba_parser::Code::ALL.iter().map(|code| Explanation {
        code: code.as_str().to_owned(),
        title: code.as_str().replace('-', " "),
        why: "A server says so when it reads pg_hba.conf or pg_ident.conf. An error makes it refuse \
              the whole file: it does not start with it, and a reload keeps the old rules, of which \
              only the log tells."
            .to_owned(),
        fix: code.help().to_owned(),
    }));
    all
}

/// The sections of `codes.md`.
fn written() -> Vec<Explanation> {
    let section = |section: &str| {
        let (head, body) = section.split_once('\n')?;
        let (code, title) = head.split_once(' ')?;
        let (why, fix) = body.split_once("\n-> ").unwrap_or((body, ""));
        let lint = hba_parser::Lint::ALL.iter().find(|lint| lint.code() == code);
        let fix = lint.map_or(fix.trim(), |lint| lint.help());
        Some(Explanation {
            code: code.to_owned(),
            title: title.to_owned(),
            why: why.trim().to_owned(),
            fix: fix.to_owned(),
        })
    };
    CODES.split("\n## ").skip(1).filter_map(section).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained_once() {
        let all = all();
        for (index, explanation) in all.iter().enumerate() {
            let Explanation { code, title, why, fix } = explanation;
            assert!(!title.is_empty() && !why.is_empty() && !fix.is_empty(), "{code}");
            let same = |other: &&Explanation| other.code.eq_ignore_ascii_case(code);
            assert!(all[..index].iter().find(same).is_none(), "{code} twice");
        }
        for lint in hba_parser::Lint::ALL {
            assert!(all.iter().any(|known| known.code == lint.code()), "{lint}");
        }
    }
}
