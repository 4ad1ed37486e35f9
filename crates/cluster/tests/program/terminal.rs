//! What is different at a terminal: colours, and what is told of work under way.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    process::{Command, Stdio},
};

use serde_json::Value;

use super::support::{Outcome, Place, Said};

/// Runs the program at a terminal that `script` makes; both streams come as one.
fn at_a_terminal(
    place: &Place,
    arguments: &str,
    environment: &[(&str, &str)],
) -> Result<Said, Box<dyn std::error::Error>> {
    let mut command = Command::new("script");
    command
        .args(["--quiet", "--return", "--command"])
        .arg(format!("{} {arguments}", env!("CARGO_BIN_EXE_pgward")))
        .arg("/dev/null")
        .current_dir(place.path("."))
        .env_remove("NO_COLOR")
        .env_remove("CLICOLOR")
        .env_remove("CLICOLOR_FORCE")
        .env("TERM", "xterm")
        .envs(environment.iter().copied())
        .stdin(Stdio::null());
    Said::of(command.output()?)
}

const COLOUR: &str = "\u{1b}[1m";

#[test]
fn colours_are_for_terminals_that_want_them() -> Outcome {
    let place = Place::new()?;
    place.write("pg_hba.conf", "host all all 10.0.0.0/8 md5\n", 0o600)?;
    let lint = "hba lint pg_hba.conf --pg 17";
    let said = at_a_terminal(&place, lint, &[])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains(COLOUR), "{said:?}");
    // Whatever else the surroundings say.
    for environment in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        for other in [("LANG", "C"), ("CI", "true"), ("COLORTERM", "truecolor")] {
            let said = at_a_terminal(&place, lint, &[environment, other])?;
            assert!(said.out.contains("HBA006") && !said.out.contains('\u{1b}'), "{said:?}");
        }
    }
    let said = at_a_terminal(&place, &format!("{lint} --color never"), &[])?;
    assert!(!said.out.contains('\u{1b}'), "{said:?}");
    Ok(())
}

/// A node that takes connections and says nothing, for longer than a second.
#[test]
fn what_takes_longer_than_a_second_is_told_of() -> Outcome {
    let place = Place::new()?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let port = silent.local_addr()?.port();
    place.describe("a", &format!("host=127.0.0.1 port={port} user=x connect_timeout=1"))?;

    // At a terminal at once, in a line that is taken away again.
    let said = at_a_terminal(&place, "verify", &[])?;
    let (line, gone) = ("\r\u{1b}[Kverify the links …", "\r\u{1b}[K");
    assert!(said.out.contains(line) && said.out.matches(gone).count() > 1, "{said:?}");
    // Elsewhere when it has ended.
    let said = place.run(["verify"])?;
    assert!(said.talk.starts_with("verify the links: done ("), "{said:?}");
    assert!(!said.talk.contains('\u{1b}'), "{said:?}");
    // And for programs.
    let said = place.run(["verify", "--log-format", "json"])?;
    let told: Vec<Value> = said.talk.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(told.len(), 2, "{said:?}");
    for (line, state) in told.iter().zip(["begun", "done"]) {
        assert_eq!((&line["level"], &line["state"]), (&"progress".into(), &state.into()));
        assert_eq!(line["message"], "verify the links");
    }
    assert!(told[1]["seconds"].as_f64().is_some_and(|seconds| seconds >= 1.0), "{said:?}");
    Ok(())
}

/// Whoever thinks better of it at a prompt has a terminal that shows what is typed afterwards.
#[test]
fn a_prompt_leaves_the_terminal_as_it_was() -> Outcome {
    let place = Place::new()?;
    // The shell outlives the signal, and tells how the program ended and what the terminal is like.
    let script = format!(
        "trap : INT; {} scram secret --pg 17; echo ended $?; stty -a",
        env!("CARGO_BIN_EXE_pgward")
    );
    // Where the tests were started without the signal (a shell's `&`), Ctrl-C is no answer, like Ctrl-D.
    for (typed, ended) in [
        ("\x03", &[130, 1][..]),
        ("\x04", &[1]),
        ("hunter2\nhunter3\n", &[1]),
        ("hunter2\nhunter2\n", &[0]),
    ] {
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &script, "/dev/null"]);
        command.current_dir(place.path(".")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = command.spawn()?;
        let mut input = running.stdin.take().ok_or("no input")?;
        let mut output = running.stdout.take().ok_or("no output")?;
        let (mut said, mut part) = (Vec::new(), [0; 4096]);
        let mut answers = typed.split_inclusive('\n');
        let mut asked = 0;
        loop {
            let length = output.read(&mut part)?;
            if length == 0 {
                break;
            }
            said.extend_from_slice(&part[..length]);
            // An answer for each question, once it is there: what is typed before is not for it.
            let questions = String::from_utf8_lossy(&said).matches(": ").count();
            while asked < questions.min(2) {
                asked += 1;
                input.write_all(answers.next().unwrap_or_default().as_bytes())?;
            }
        }
        running.wait()?;
        let said = String::from_utf8_lossy(&said).into_owned();
        let is_there = |code: &i32| said.contains(&format!("ended {code}\r"));
        assert!(ended.iter().any(is_there), "{typed:?}: {said}");
        let modes: Vec<&str> = said.split_whitespace().collect();
        for mode in ["echo", "icanon", "isig"] {
            assert!(modes.contains(&mode), "{typed:?}: {mode}: {said}");
        }
        assert!(!said.contains("hunter"), "{typed:?}: {said}");
        let eof = typed == "\x04" && said.contains("no password was given");
        assert!(eof || typed != "\x04", "{said}");
    }
    Ok(())
}

/// So has whoever ends it from elsewhere: `kill`, a time limit, a service that is stopped.
#[test]
fn a_prompt_that_is_ended_leaves_the_terminal_as_it_was() -> Outcome {
    let place = Place::new()?;
    // By the hand of a shell in the background, once the prompt is there and the terminal hides.
    let program = env!("CARGO_BIN_EXE_pgward");
    for (signal, ended) in [("TERM", 143), ("HUP", 129)] {
        let script = format!(
            "trap : {signal}; {{ until stty -a < /dev/tty | grep -q -- '-echo '; do :; done; \
             kill -{signal} $(cat pid); }} & \
             sh -c 'echo $$ > pid; exec {program} scram secret --pg 17'; echo ended $?; stty -a"
        );
        let mut command = Command::new("script");
        command.args(["--quiet", "--return", "--command", &script, "/dev/null"]);
        // A pipe that stays open: at the end of its input the prompt would end, too.
        command.current_dir(place.path(".")).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut running = command.spawn()?;
        let input = running.stdin.take();
        let mut said = String::new();
        running.stdout.take().ok_or("no output")?.read_to_string(&mut said)?;
        drop(input);
        running.wait()?;
        assert!(said.contains(&format!("ended {ended}\r")), "{signal}: {said}");
        let modes: Vec<&str> = said.split_whitespace().collect();
        for mode in ["echo", "icanon", "isig"] {
            assert!(modes.contains(&mode), "{signal}: {mode}: {said}");
        }
    }
    Ok(())
}
