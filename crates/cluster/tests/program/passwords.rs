//! Where passwords come from, and where none ever is.

use std::process::Stdio;

use super::support::{Outcome, Place, Said};

const PASSWORD: &str = "correct horse : battery\\staple";

#[test]
fn from_a_file_a_descriptor_or_standard_input() -> Outcome {
    let place = Place::new()?;
    place.write("pw", format!("{PASSWORD}\n"), 0o600)?;
    let secret = |said: &Said| -> Result<String, Box<dyn std::error::Error>> {
        assert_eq!((said.code, said.talk.lines().count()), (Some(0), 0), "{said:?}");
        assert!(said.out.starts_with("SCRAM-SHA-256$4096:"), "{said:?}");
        Ok(said.out.clone())
    };
    let make = ["scram", "secret", "--pg", "17"];
    let by_file = secret(&place.run(make.iter().chain(&["--password-file", "pw"]))?)?;
    secret(&place.run_with(make.iter().chain(&["--password-file", "-"]), PASSWORD)?)?;
    let mut command = place.command(make.iter().chain(&["--password-fd", "0"]));
    command.stdin(Stdio::from(std::fs::File::open(place.path("pw"))?));
    secret(&Said::of(command.output()?)?)?;

    place.write("secret", &by_file, 0o600)?;
    let verify = ["scram", "verify", "secret", "--pg", "17", "--password-file"];
    let said = place.run(verify.iter().chain(&["pw"]))?;
    assert_eq!((said.code, said.out.as_str()), (Some(0), "it is the password's secret\n"));
    place.write("other", "wrong\n", 0o600)?;
    assert_eq!(place.run(verify.iter().chain(&["other"]))?.code, Some(1));
    Ok(())
}

#[test]
fn without_a_terminal_nobody_is_asked() -> Outcome {
    let place = Place::new()?;
    for arguments in [&["scram", "secret"][..], &["passfile", "add", "pgpass", "--host", "db1"]] {
        // A session of its own has no terminal.
        let mut command = std::process::Command::new("setsid");
        command
            .arg("--wait")
            .arg(env!("CARGO_BIN_EXE_pgward"))
            .args(arguments)
            .current_dir(place.path("."))
            .stdin(Stdio::null());
        let said = Said::of(command.output()?)?;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.talk.contains("there is no terminal to ask for the password"), "{said:?}");
        assert!(said.talk.contains("--password-file FILE or --password-fd NUMBER"), "{said:?}");
    }
    Ok(())
}

/// libpq says so, too, whenever it looks for a password.
#[test]
fn a_password_file_that_others_may_read_is_not_taken_and_that_is_said() -> Outcome {
    let place = Place::new()?;
    let (_socket, port) = super::support::closed_port()?;
    let status = |sql: &str, mode| {
        place.write(".pgpass", "*:*:*:*:secret\n", mode)?;
        place.describe("node-1", &format!("host=127.0.0.1 port={port} user=postgres {sql}"))?;
        place.run(["status"])
    };
    let path = place.path(".pgpass");
    let warning = format!(
        "warning: password file \"{}\" has group or world access; permissions should be u=rw (0600) \
         or less\n",
        path.display()
    );
    let said = status("", 0o644)?;
    assert_eq!((said.code, said.talk.as_str()), (Some(2), warning.as_str()), "{said:?}");
    for (sql, mode) in [("", 0o600), ("password=x", 0o644), ("passfile=/nowhere", 0o644)] {
        assert_eq!(status(sql, mode)?.talk, "", "{sql} {mode:o}");
    }
    Ok(())
}

#[test]
fn a_password_file_from_its_beginning() -> Outcome {
    let place = Place::new()?;
    place.write("pw", format!("{PASSWORD}\n"), 0o600)?;
    let add = ["passfile", "add", "--host", "db1", "--user", "repl", "--pg", "17"];
    // The file that libpq takes is not there yet: it is made, for its owner alone.
    let said = place.run(add.iter().chain(&["--password-file", "pw"]))?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.talk.contains("the password file is"), "{said:?}");
    use std::os::unix::fs::MetadataExt as _;
    assert_eq!(std::fs::metadata(place.path(".pgpass"))?.mode() & 0o7777, 0o600);
    let said = place.run(add.iter().chain(&["--password-file", "pw"]))?;
    assert!(said.out.contains("line 1 is so already"), "{said:?}");

    let lookup = ["passfile", "lookup", "--host", "db1", "--user", "repl", "--pg", "17"];
    let said = place.run(lookup)?;
    assert!(said.out.contains("line 1 has the password"), "{said:?}");
    assert!(!said.out.contains("horse") && !said.talk.contains("horse"), "{said:?}");
    let said = place.run(lookup.iter().chain(&["--reveal"]))?;
    assert_eq!(said.out, format!("{PASSWORD}\n"));
    let said =
        place.run(["passfile", "lookup", "--host", "db2", "--user", "repl", "--pg", "17"])?;
    assert_eq!(said.code, Some(1));
    assert!(said.out.contains("no line is for this connection"), "{said:?}");

    let said = place.run(["passfile", "check", "--pg", "17"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let said =
        place.run(["passfile", "remove", "--host", "db1", "--user", "repl", "--pg", "17"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(place.read(".pgpass")?, "");
    let said = place.run(["passfile", "remove", "--host", "db1", "--pg", "17"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    Ok(())
}

/// Control characters are a part of it, also for programs; what JSON cannot hold is not made up.
#[test]
fn a_password_is_revealed_to_the_letter() -> Outcome {
    let place = Place::new()?;
    place.write("pgpass", b"db1:*:*:bob:a\tb\xc2\x85\\\\c\ndb2:*:*:bob:\xff\n", 0o600)?;
    let lookup = ["passfile", "lookup", "pgpass", "--user", "bob", "--pg", "17", "--reveal"];
    let json = lookup.iter().chain(&["--format", "json"]);
    let said = place.run(json.clone().chain(&["--host", "db1"]))?.json()?;
    assert_eq!(said["result"]["password"], "a\tb\u{85}\\c");
    let said = place.run(json.chain(&["--host", "db2"]))?.json()?;
    assert_eq!(said["outcome"], "error", "{said:#}");
    assert!(said["error"]["message"].to_string().contains("not UTF-8"), "{said:#}");
    let output = place.command(lookup.iter().chain(&["--host", "db2"])).output()?;
    assert_eq!(output.stdout, b"\xff\n");
    Ok(())
}

#[test]
fn what_is_wrong_with_a_password_file_is_told_without_a_line_of_it() -> Outcome {
    let place = Place::new()?;
    let text = "db1:*:*:bob:geheim # mine\ngeheim\n *:x\ndb1:*:*:bob:geheim\n*:*:*:*:geheim\n";
    place.write("pgpass", text, 0o644)?;
    let said = place.run(["passfile", "check", "pgpass", "--pg", "17"])?;
    assert_eq!(said.code, Some(1));
    for code in ["PASS001", "PASS002", "PASS003", "PASS005", "PASS014"] {
        assert!(said.out.contains(code), "{code}: {said:?}");
    }
    assert!(said.out.contains("chmod 600 pgpass"), "{said:?}");
    assert!(!said.out.contains("geheim"), "{said:?}");
    // libpq has no password from such a file, and says why.
    let said = place.run(["passfile", "lookup", "pgpass", "--user", "bob", "--pg", "17"])?;
    assert_eq!(said.code, Some(1));
    assert!(
        said.talk.contains("libpq says: WARNING: password file \"pgpass\" has group"),
        "{said:?}"
    );
    let said = place.run(["passfile", "check", "nothing", "--pg", "17"])?;
    assert_eq!(said.code, Some(1));
    Ok(())
}

#[test]
fn what_a_server_makes_of_a_stored_secret() -> Outcome {
    let place = Place::new()?;
    for (text, code, word) in [
        ("SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==$", 1, "SCRAM002"),
        ("md5e8a48653851e28c69d0506508fb27fc5", 1, "SCRAM001"),
        ("hunter2", 1, "SCRAM002"),
        ("", 1, "SCRAM003"),
    ] {
        place.write("secret", text, 0o600)?;
        let said = place.run(["scram", "inspect", "secret", "--pg", "17"])?;
        assert_eq!(said.code, Some(code), "{said:?}");
        assert!(said.out.contains(word), "{said:?}");
        assert!(!said.out.contains("hunter2"), "{said:?}");
    }
    place.write("pw", "pencil", 0o600)?;
    let few = ["scram", "secret", "--iterations", "100", "--password-file", "pw", "--pg", "17"];
    let said = place.run(few)?;
    assert!(said.talk.contains("100 SCRAM iterations"), "{said:?}");
    place.write("secret", said.out, 0o600)?;
    let said = place.run(["scram", "inspect", "secret", "--pg", "17"])?;
    assert!(said.out.contains("SCRAM005"), "{said:?}");
    place.write("empty", "\n", 0o600)?;
    let said = place.run(["scram", "secret", "--password-file", "empty", "--pg", "17"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    Ok(())
}

/// A password in an argument would be read by every user of the machine: no option takes one.
#[test]
fn no_option_takes_a_password() -> Outcome {
    let place = Place::new()?;
    for command in [&["scram", "secret"][..], &["scram", "verify"], &["passfile", "add"]] {
        let said = place.run(command.iter().chain(&["--password", "x"]))?;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.talk.contains("unexpected argument '--password'"), "{said:?}");
    }
    Ok(())
}

/// A private key that was named by mistake: messages about its lines would show them.
#[test]
fn no_line_of_a_private_key_is_shown() -> Outcome {
    let place = Place::new()?;
    let key =
        "-----BEGIN EC PRIVATE KEY-----\r\nMHcCAQEEIhunter2\r\n-----END EC PRIVATE KEY-----\r\n";
    place.write("server.key", key, 0o600)?;
    place.write("pg_hba.conf", "include server.key\n", 0o600)?;
    place.write("pg_ident.conf", "include server.key\n", 0o600)?;
    place.write("postgresql.conf", "include 'server.key'\n", 0o600)?;
    place.write("good.conf", "local all all peer\n", 0o600)?;
    for (arguments, named) in [
        (&["hba", "check", "server.key"][..], "server.key"),
        (&["hba", "check", "--ident", "server.key"], "server.key"),
        (&["hba", "lint", "server.key"], "server.key"),
        (&["hba", "fmt", "server.key"], "server.key"),
        (&["hba", "decide", "server.key", "--user", "x"], "server.key"),
        (&["hba", "diff", "good.conf", "server.key"], "server.key"),
        (&["hba", "upgrade", "server.key", "--from", "13"], "server.key"),
        (&["hba", "add", "server.key", "local all all peer", "--diff"], "server.key"),
        (&["hba", "remove", "server.key", "--line", "2", "--diff"], "server.key"),
        (&["hba", "remove", "-", "--line", "2", "--diff"], "standard input"),
        (&["hba", "check", "pg_hba.conf"], "server.key"),
        (&["hba", "check", "pg_ident.conf"], "server.key"),
        (&["conf", "check", "server.key"], "server.key"),
        (&["conf", "check", "-"], "standard input"),
        (&["conf", "get", "server.key", "port"], "server.key"),
        (&["conf", "set", "server.key", "port", "1", "--diff"], "server.key"),
        (&["conf", "unset", "server.key", "port", "--diff"], "server.key"),
        (&["conf", "check", "postgresql.conf"], "server.key"),
        (&["plan", "server.key"], "server.key"),
        (&["passfile", "check", "server.key"], "server.key"),
        (&["passfile", "lookup", "server.key", "--host", "x", "--user", "x"], "server.key"),
    ] {
        for format in ["text", "json"] {
            let mut command = place.command(arguments.iter().chain(&["--format", format]));
            command.stdin(std::fs::File::open(place.path("server.key"))?);
            let said = Said::of(command.output()?)?;
            for part in ["MHcCAQEEI", "hunter2"] {
                assert!(!said.out.contains(part), "{arguments:?} {said:?}");
                assert!(!said.talk.contains(part), "{arguments:?} {said:?}");
            }
            assert_eq!(said.code, Some(1), "{arguments:?} {said:?}");
            if arguments[0] != "passfile" {
                let words = format!("{named}: there is a private key in it");
                let all = said.out.clone() + &said.talk;
                assert!(all.contains(&words), "{arguments:?} {said:?}");
            }
        }
    }
    assert_eq!(place.read("server.key")?, key);
    Ok(())
}

/// A value that comes from a file may be a password: it is written, and shown nowhere.
#[test]
fn a_value_from_a_file_is_not_shown() -> Outcome {
    let place = Place::new()?;
    place.write("postgresql.conf", "port = 5432\n", 0o600)?;
    place.write("value", "hunter2\n", 0o600)?;
    for (setting, code) in [
        ("port", 1),
        ("wal_level", 1),
        ("work_mem", 1),
        ("datestyle", 1),
        ("cluster_name", 0),
        ("archive_command", 0),
    ] {
        for format in ["text", "json"] {
            let set = ["conf", "set", "postgresql.conf", setting, "--value-file", "value"];
            let how = ["--pg", "16", "--diff", "-n", "--format", format];
            let said = place.run(set.iter().chain(&how))?;
            assert_eq!(said.code, Some(code), "{said:?}");
            assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
            let stars = said.out.contains(&format!("+{setting} = ********"));
            assert_eq!(stars, code == 0, "{said:?}");
            let told = (said.out.clone() + &said.talk).contains("came from a file");
            assert_eq!(told, code == 1, "{said:?}");
        }
    }
    Ok(())
}

/// `pg_basebackup -R` writes a password into postgresql.auto.conf: that its line counts is told
/// without it.
#[test]
fn the_line_that_has_the_last_word_is_told_without_its_password() -> Outcome {
    let place = Place::new()?;
    place.write("postgresql.conf", "primary_conninfo = 'host=old'\n", 0o600)?;
    let auto = "primary_conninfo = 'host=a user=r password=hunter2'\n";
    place.write("postgresql.auto.conf", auto, 0o600)?;
    for command in [
        &["set", "postgresql.conf", "primary_conninfo", "host=b"][..],
        &["unset", "postgresql.conf", "primary_conninfo"],
    ] {
        for format in ["text", "json"] {
            let how = ["--pg", "16", "-n", "--format", format];
            let said = place.run(["conf"].iter().chain(command).chain(&how))?;
            assert_eq!(said.code, Some(0), "{said:?}");
            assert!(!format!("{said:?}").contains("hunter2"), "{said:?}");
            assert!(
                said.talk.contains("still sets it to \"host=a user=r password=***"),
                "{said:?}"
            );
        }
    }
    Ok(())
}
