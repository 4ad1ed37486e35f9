//! Files that are read and changed: standard input, links, modes, accounts, folders that are none.

use std::os::unix::{
    fs::{MetadataExt as _, PermissionsExt as _, symlink},
    process::CommandExt as _,
};

use super::support::{Outcome, Place, Said};

const RULES: &str = "local all all peer\nhost all all 10.0.0.0/8 md5\n";
const RULE: &str = "hostssl app web 10.1.0.0/16 cert";

#[test]
fn standard_input_in_place_of_a_file() -> Outcome {
    let place = Place::new()?;
    let said = place.run_with(["hba", "check", "-", "--pg", "16"], RULES)?;
    assert_eq!(said.out, "standard input: PostgreSQL 16 loads it, 2 rules\n");
    let said = place.run_with(["hba", "decide", "-", "--user", "x", "--pg", "16"], RULES)?;
    assert!(said.out.starts_with("x to database x over the Unix socket: peer by line 1"));
    // A changed file goes to standard output, and what was done to standard error.
    let said = place.run_with(["hba", "add", "-", RULE, "--pg", "16"], RULES)?;
    let expected = format!("local all all peer\n{RULE}\nhost all all 10.0.0.0/8 md5\n");
    assert_eq!(said.out, expected, "{said:?}");
    assert!(said.talk.contains("the rule is line 2"), "{said:?}");
    let said =
        place.run_with(["conf", "set", "-", "port", "5433", "--pg", "16"], "#port = 5432 # x\n")?;
    assert_eq!(said.out, "port = 5433 # x\n", "{said:?}");
    let said = place.run_with(["conf", "check", "-", "--pg", "16"], "port = x\n")?;
    assert_eq!(said.code, Some(1));
    Ok(())
}

/// A pipe, such as a shell's `<(…)`, is read once as standard input is; so is a device.
#[test]
fn a_pipe_in_place_of_a_file() -> Outcome {
    let place = Place::new()?;
    place.write("pg_hba.conf", RULES, 0o600)?;
    let said = place.run_with(["hba", "check", "/dev/stdin", "--pg", "16"], RULES)?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.starts_with("/dev/stdin: PostgreSQL 16 loads it"), "{said:?}");
    let said = place.run_with(["hba", "add", "/dev/stdin", RULE], RULES)?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains(RULE) && said.out.len() > RULES.len(), "{said:?}");
    let said = place.run(["hba", "diff", "pg_hba.conf", "/dev/null", "--pg", "16"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.out.contains("loses "), "{said:?}");
    Ok(())
}

/// What is no file is the user's mistake, and what to do is said.
#[test]
fn a_folder_in_place_of_a_file() -> Outcome {
    let place = Place::new()?;
    for arguments in [
        &["hba", "check", "."][..],
        &["hba", "add", ".", RULE],
        &["conf", "get", ".", "port"],
        &["passfile", "check", "."],
        &["passfile", "lookup", ".", "--user", "x"],
        &["pki", "inspect", "."],
        &["scram", "inspect", "."],
        &["plan", "."],
    ] {
        let said = place.run(arguments)?;
        assert_eq!(said.code, Some(1), "{arguments:?}: {said:?}");
        assert!(said.talk.contains("= help: name "), "{arguments:?}: {said:?}");
    }
    place.write("file", "", 0o600)?;
    let said = place.run(["pki", "ca", "--name", "x", "--out", "file/secrets"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.talk.contains("what should be a folder in it is a file"), "{said:?}");
    Ok(())
}

/// Bytes that are no text, and line ends of others, come out as they went in.
#[test]
fn every_byte_stays() -> Outcome {
    let place = Place::new()?;
    let bytes = b"# caf\xe9\r\nlocal all all peer\r\nhost all all ::1/128 md5";
    place.write("pg_hba.conf", bytes, 0o600)?;
    let said = place.run(["hba", "remove", "pg_hba.conf", "--line", "2", "--pg", "17"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    let expected = b"# caf\xe9\r\nhost all all ::1/128 md5";
    assert_eq!(std::fs::read(place.path("pg_hba.conf"))?, expected);
    Ok(())
}

#[test]
fn owner_mode_and_link_stay() -> Outcome {
    let place = Place::new()?;
    place.write("real.conf", RULES, 0o640)?;
    symlink("real.conf", place.path("pg_hba.conf"))?;
    let before = std::fs::metadata(place.path("real.conf"))?;
    assert_eq!(place.run(["hba", "add", "pg_hba.conf", RULE, "--pg", "17"])?.code, Some(0));
    assert!(place.path("pg_hba.conf").is_symlink());
    let after = std::fs::metadata(place.path("real.conf"))?;
    assert_eq!(after.permissions().mode() & 0o7777, 0o640);
    assert_eq!((after.uid(), after.gid()), (before.uid(), before.gid()));
    assert!(place.read("real.conf")?.contains(RULE));
    // Nothing to do, nothing written.
    let said = place.run(["hba", "add", "pg_hba.conf", RULE, "--pg", "17"])?;
    assert!(said.out.contains("there already"), "{said:?}");
    let left = std::fs::read_dir(place.path("."))?.count();
    assert_eq!(left, 2, "no temporary file is left");
    Ok(())
}

#[test]
fn a_dry_run_writes_nothing() -> Outcome {
    let place = Place::new()?;
    place.write("pg_hba.conf", RULES, 0o600)?;
    place.write("postgresql.conf", "#port = 5432\n", 0o600)?;
    place.write("pgpass", "db1:*:*:bob:pw\n", 0o600)?;
    place.write("pw", "new\n", 0o600)?;
    for arguments in [
        &["hba", "add", "pg_hba.conf", RULE, "--dry-run"][..],
        &["hba", "remove", "pg_hba.conf", "--line", "1", "-n"],
        &["hba", "fmt", "pg_hba.conf"],
        &["conf", "set", "postgresql.conf", "port", "1", "-n"],
        &["passfile", "add", "pgpass", "--host", "db2", "--password-file", "pw", "-n"],
        &["passfile", "remove", "pgpass", "--line", "1", "-n"],
    ] {
        let said = place.run(arguments)?;
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    assert_eq!(place.read("pg_hba.conf")?, RULES);
    assert_eq!(place.read("postgresql.conf")?, "#port = 5432\n");
    assert_eq!(place.read("pgpass")?, "db1:*:*:bob:pw\n");
    Ok(())
}

/// A file that the user may not read is a failure, not a mistake: exit code 2, and what to do.
#[test]
fn files_that_may_not_be_read() -> Outcome {
    const NOBODY: u32 = 65_534;
    let place = Place::new()?;
    let names = ["pg_hba.conf", "postgresql.conf", "pgpass", "key", "pgward.toml"];
    for name in names {
        place.write(name, "x\n", 0o000)?;
    }
    // The test's own folder may be closed to others.
    let program = place.path("pgward");
    std::fs::copy(env!("CARGO_BIN_EXE_pgward"), &program)?;
    let set_mode =
        |mode| std::fs::set_permissions(place.path("."), std::fs::Permissions::from_mode(mode));
    set_mode(0o555)?;
    for arguments in [
        &["hba", "check", "pg_hba.conf"][..],
        &["hba", "add", "pg_hba.conf", RULE],
        &["conf", "get", "postgresql.conf", "port"],
        &["conf", "set", "postgresql.conf", "port", "1"],
        &["passfile", "check", "pgpass"],
        &["passfile", "lookup", "pgpass", "--user", "x"],
        &["pki", "inspect", "key"],
        &["scram", "inspect", "key"],
        &["plan"],
        &["verify", "--html", "report.html"],
    ] {
        let mut command = place.command_of(&program, arguments);
        if rustix::process::geteuid().is_root() {
            command.uid(NOBODY).gid(NOBODY);
        }
        let said = Said::of(command.output()?)?;
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        assert!(said.talk.contains("Permission denied"), "{arguments:?}: {said:?}");
        assert!(said.talk.contains("run pgward as a user that may"), "{arguments:?}: {said:?}");
        // Before the cluster is asked, even before its description is read.
        let folder = said.talk.contains("cannot write into the folder .");
        assert_eq!(folder, arguments[0] == "verify", "{said:?}");
    }
    Ok(())
}

#[test]
fn an_included_file_is_read_and_named() -> Outcome {
    let place = Place::new()?;
    std::fs::create_dir(place.path("conf.d"))?;
    place.write("pg_hba.conf", "include_dir conf.d\n", 0o600)?;
    place.write("conf.d/10.conf", "local all all pear\n", 0o600)?;
    let said = place.run(["hba", "check", "pg_hba.conf", "--pg", "16"])?;
    assert!(said.out.contains("--> conf.d/10.conf:1:15"), "{said:?}");
    // Named from the root, everything is.
    let path = place.path("pg_hba.conf").display().to_string();
    let said = place.run(["hba", "check", &path, "--pg", "16"])?;
    let included = place.path("conf.d/10.conf").display().to_string();
    assert!(said.out.contains(&included), "{said:?}");
    Ok(())
}

/// Standard input is one file: what counts in another is not changed behind its back.
#[test]
fn standard_input_only_includes() -> Outcome {
    let place = Place::new()?;
    place.write("more.conf", "port = 5434\n", 0o600)?;
    let said = place.run_with(
        ["conf", "set", "-", "port", "5433", "--pg", "17"],
        "port = 1\ninclude 'more.conf'\n",
    )?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert!(said.talk.contains("port counts in more.conf"), "{said:?}");
    assert_eq!(place.read("more.conf")?, "port = 5434\n");
    Ok(())
}
