//! Results on standard output, talk on standard error, and nothing else on either.

use std::{io::Read as _, process::Stdio};

use super::support::{Outcome, Place, Said};

const RULES: &str = "local all all peer\nhost all all 10.0.0.0/8 md5\n";

#[test]
fn results_and_talk_are_apart() -> Outcome {
    let place = Place::new()?;
    place.write("pg_hba.conf", RULES, 0o600)?;
    let said = place.run(["hba", "check", "pg_hba.conf"])?;
    assert_eq!(said.out, "pg_hba.conf: PostgreSQL 18 loads it, 2 rules\n");
    assert!(said.talk.starts_with("note: PostgreSQL 18 is meant"), "{said:?}");

    let said = place.run(["hba", "check", "nothing.conf", "--pg", "17"])?;
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
    assert!(said.talk.starts_with("error: cannot find nothing.conf"), "{said:?}");
    Ok(())
}

#[test]
fn talk_is_json_where_it_is_wanted() -> Outcome {
    let place = Place::new()?;
    place.write("postgresql.conf", "port = 5433\n", 0o600)?;
    let said =
        place.run(["-v", "--log-format", "json", "conf", "get", "postgresql.conf", "port"])?;
    assert_eq!(said.out, "5433\n");
    let levels: Result<Vec<serde_json::Value>, _> =
        said.talk.lines().map(serde_json::from_str).collect();
    let levels = levels?;
    assert_eq!(levels.len(), 2, "{said:?}");
    assert_eq!(levels[0]["level"], "note");
    assert_eq!(levels[1]["message"], "postgresql.conf line 1 sets it");
    Ok(())
}

#[test]
fn colours_are_for_terminals_unless_they_are_wanted() -> Outcome {
    let place = Place::new()?;
    place.write("pg_hba.conf", RULES, 0o600)?;
    let lint = ["hba", "lint", "pg_hba.conf"];
    assert!(!place.run(lint)?.out.contains('\u{1b}'));
    let said = place.run(lint.iter().chain(&["--color", "always"]))?;
    assert!(said.out.contains("\u{1b}["), "{said:?}");
    let said = place.run(lint.iter().chain(&["--color", "never"]))?;
    assert!(!said.out.contains('\u{1b}'));
    // What somebody asks for by name counts more than what is set for all programs.
    let mut command = place.command(lint.iter().chain(&["--color", "always"]));
    let said = Said::of(command.env("NO_COLOR", "1").output()?)?;
    assert!(said.out.contains("\u{1b}["), "{said:?}");
    Ok(())
}

/// Escape sequences in files, names and messages do not reach the terminal.
#[test]
fn files_cannot_speak_to_the_terminal() -> Outcome {
    let place = Place::new()?;
    let evil = "host all \u{1b}]0;owned\u{7} 10.0.0.0/8 \u{1b}[2Jmd5\n";
    place.write("pg_hba.conf", evil, 0o600)?;
    place.write("a\u{1b}[2J", evil, 0o600)?;
    place.write("postgresql.conf", "port = '\u{1b}[2J'\n\u{1b}[2J = 1\n", 0o600)?;
    for arguments in [
        &["hba", "check", "pg_hba.conf"][..],
        &["hba", "lint", "a\u{1b}[2J"],
        &["hba", "decide", "pg_hba.conf", "--user", "\u{1b}[2J"],
        &["hba", "diff", "pg_hba.conf", "pg_hba.conf"],
        &["conf", "check", "postgresql.conf"],
        &["conf", "get", "postgresql.conf", "\u{1b}[2J"],
        &["conf", "get", "postgresql.conf", "port"],
        &["explain", "\u{1b}[2J"],
    ] {
        let said = place.run(arguments)?;
        assert!(!said.out.contains('\u{1b}') && !said.talk.contains('\u{1b}'), "{said:?}");
    }
    Ok(())
}

/// `pgward … | head -1`: whoever reads no further has read enough.
#[test]
fn a_closed_pipe_is_no_failure() -> Outcome {
    let place = Place::new()?;
    place.write("pg_hba.conf", RULES.repeat(400), 0o600)?;
    let mut child = place.command(["hba", "lint", "pg_hba.conf", "--pg", "17"]).spawn()?;
    let mut out = child.stdout.take().ok_or("no standard output")?;
    out.read_exact(&mut [0; 10])?;
    drop(out);
    let said = Said::of(child.wait_with_output()?)?;
    assert_eq!((said.code, said.talk.as_str()), (Some(1), ""));
    Ok(())
}

#[test]
fn a_full_disk_is_one() -> Outcome {
    let place = Place::new()?;
    for arguments in [&["explain"][..], &["init", "-"], &["--help"], &["--version"]] {
        let full = std::fs::OpenOptions::new().write(true).open("/dev/full")?;
        let output = place.command(arguments).stdout(Stdio::from(full)).output()?;
        let said = Said::of(output)?;
        let words = "error: standard output cannot be written to: No space left on device\n";
        assert_eq!((said.code, said.talk.as_str()), (Some(2), words), "{arguments:?}");
    }
    Ok(())
}

#[test]
fn every_command_has_help() -> Outcome {
    let place = Place::new()?;
    let families = [
        (
            None,
            "init inspect plan apply verify rotate resume rollback abandon status explain completions",
        ),
        (Some("hba"), "check lint fmt decide diff upgrade add remove"),
        (Some("conf"), "get set unset check explain"),
        (Some("passfile"), "check lookup add remove"),
        (Some("pki"), "ca request sign issue chain check inspect"),
        (Some("scram"), "secret verify inspect"),
    ];
    for (family, commands) in families {
        for command in commands.split(' ') {
            let said = place.run(family.into_iter().chain([command, "--help"]))?;
            assert_eq!((said.code, said.talk.as_str()), (Some(0), ""), "{family:?} {command}");
            let wide = said.out.lines().find(|line| line.chars().count() > 100);
            assert_eq!(wide, None, "{family:?} {command}");
            let told = ["Example", "Exit code"].iter().any(|word| said.out.contains(word));
            assert!(told, "{family:?} {command}: {}", said.out);
        }
    }
    Ok(())
}

#[test]
fn completions_and_manual_pages_know_every_command() -> Outcome {
    let place = Place::new()?;
    for shell in ["bash", "zsh", "fish"] {
        let said = place.run(["completions", shell])?;
        assert_eq!(said.code, Some(0));
        for word in ["decide", "passfile", "rotate"] {
            assert!(said.out.contains(word), "{shell}");
        }
    }
    assert_eq!(place.run(["man", "pages"])?.code, Some(0));
    for page in ["pgward.1", "pgward-hba-decide.1", "pgward-apply.1", "pgward-scram-secret.1"] {
        let page = place.read(&format!("pages/{page}"))?;
        assert!(page.contains(" 1 \"\" \"pgward ") && !page.contains(".SH EXTRA"), "{page}");
        assert!(page.is_ascii(), "not every terminal has more: {page}");
    }
    let page = place.read("pages/pgward-verify.1")?;
    assert!(page.contains(".SH EXAMPLES\n.nf\npgward verify\n"), "{page}");
    assert!(page.contains(".SH \"EXIT STATUS\"\nExit code 0"), "{page}");
    Ok(())
}

/// A file that is asked about is named as it was named: a pipe has no path, and standard input none.
#[test]
fn nothing_on_standard_input_is_said_so() -> Outcome {
    let place = Place::new()?;
    let said = place.run(["hba", "check", "-", "--pg", "17"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("]: standard input contains no entries\n"), "{said:?}");
    let decide = ["hba", "decide", "-", "--pg", "17", "--user", "u"];
    let said = place.run(decide)?;
    assert!(said.talk.contains("run pgward hba check -, and mend"), "{said:?}");
    Ok(())
}

#[test]
fn standard_input_is_for_one_thing() -> Outcome {
    let place = Place::new()?;
    for arguments in [
        &["passfile", "add", "-", "--password-file", "-"][..],
        &["hba", "add", "-", "--rule-file", "-"],
        &["hba", "diff", "-", "-"],
        &["conf", "set", "-", "port", "--value-file", "-"],
    ] {
        let said = place.run_with(arguments, "local all all peer\n")?;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.talk.contains("standard input can be read once"), "{said:?}");
    }
    Ok(())
}
