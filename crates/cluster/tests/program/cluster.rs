//! The cluster's commands without a cluster: nothing answers, or something does that is no server.

use std::{
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::Stdio,
};

use super::support::{Outcome, Place, Said, closed_port};

/// All but `verify`, to which a node that does not answer is a finding.
const COMMANDS: [&[&str]; 4] =
    [&["inspect"], &["plan"], &["apply", "--yes"], &["rotate", "certs", "--yes"]];

/// What `verify` says of a node that does not answer.
fn verify_finds(place: &Place, what: &str) -> Outcome {
    let said = place.run(["verify"])?;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.out.contains("error[PGW001]: node a: cannot connect"), "{said:?}");
    assert!(said.out.contains(what) && !said.out.contains("geheim"), "{said:?}");
    Ok(())
}

#[test]
fn a_server_that_is_down() -> Outcome {
    let place = Place::new()?;
    let (_closed, port) = closed_port()?;
    place.describe("a", &format!("host=127.0.0.1 port={port} user=x password=geheim"))?;
    for arguments in COMMANDS {
        let said = place.run(arguments)?;
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        assert!(said.talk.contains("error: node a: cannot connect to host=127.0.0.1"), "{said:?}");
        assert!(said.talk.contains("Connection refused"), "{said:?}");
        assert!(said.talk.contains("see that the server runs"), "{said:?}");
        assert!(!said.talk.contains("geheim"), "{said:?}");
        assert!(!place.path("secrets").exists(), "nothing is made for nothing");
    }
    verify_finds(&place, "Connection refused")?;
    let said = place.run(["status"])?;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.out.contains("NO ANSWER") && said.out.contains("Connection refused"), "{said:?}");
    place.run(["status", "--format", "json"])?.json()?;
    Ok(())
}

#[test]
fn a_server_that_never_answers() -> Outcome {
    let place = Place::new()?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let port = silent.local_addr()?.port();
    place.describe("a", &format!("host=127.0.0.1 port={port} user=x connect_timeout=1"))?;
    for arguments in COMMANDS {
        let said = place.run(arguments)?;
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        assert!(said.talk.contains("no answer within 1 s"), "{arguments:?}: {said:?}");
    }
    verify_finds(&place, "no answer within 1 s")
}

/// A machine that goes away, a firewall that forgets the session, a server that hangs: nobody waits for
/// it for ever. All commands wait at the same time, each for as long as it has patience.
#[test]
fn a_server_that_lets_in_and_falls_silent() -> Outcome {
    let place = Place::new()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    place.describe("a", &format!("host=127.0.0.1 port={port} user=x sslmode=disable"))?;
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            std::thread::spawn(move || let_in_and_fall_silent(client));
        }
    });
    let commands = [&["inspect"][..], &["plan"], &["rotate", "certs", "--yes"], &["status"]];
    let start = |arguments: &&[&str]| {
        let mut command = place.command(*arguments);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()
    };
    let started = commands.iter().map(start).collect::<Result<Vec<_>, _>>()?;
    for (arguments, running) in commands.iter().zip(started) {
        let said = Said::of(running.wait_with_output()?)?;
        assert_eq!(said.code, Some(2), "{arguments:?}: {said:?}");
        let all = said.out.clone() + &said.talk;
        let waited = ["gave up after waiting ", " s for the node's answer"];
        assert!(waited.iter().all(|words| all.contains(words)), "{arguments:?}: {said:?}");
        assert!(all.contains("node a: ") || arguments == &["status"], "{arguments:?}: {said:?}");
    }
    Ok(())
}

/// Lets a client in, answers its first statement, which is how pgward begins, and no other. One that
/// waits much too long is cut off, so that it ends.
fn let_in_and_fall_silent(mut client: TcpStream) -> std::io::Result<()> {
    const READY: &[u8] = b"Z\0\0\0\x05I";
    let mut message = |kind: usize| {
        let mut head = vec![0; kind + 4];
        client.read_exact(&mut head)?;
        let length =
            u32::from_be_bytes([head[kind], head[kind + 1], head[kind + 2], head[kind + 3]]);
        client.read_exact(&mut vec![0; length as usize - 4])?;
        // Let in (AuthenticationOk) after the start-up message, and a statement's end after that.
        let answer: &[u8] = if kind == 0 { b"R\0\0\0\x08\0\0\0\0" } else { b"C\0\0\0\x08SET\0" };
        client.write_all(&[answer, READY].concat())
    };
    message(0)?;
    message(1)?;
    client.set_read_timeout(Some(std::time::Duration::from_secs(300)))?;
    client.read_to_end(&mut Vec::new())?;
    Ok(())
}

#[test]
fn something_that_is_no_server() -> Outcome {
    let place = Place::new()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    place.describe("a", &format!("host=127.0.0.1 port={port} user=x connect_timeout=60"))?;
    let answering = std::thread::spawn(move || {
        for client in listener.incoming().take(2).flatten() {
            let mut client = client;
            let _ = client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        }
    });
    for arguments in [&["inspect"][..], &["plan", "--format", "json"]] {
        let said = place.run(arguments)?;
        assert_eq!(said.code, Some(2), "{said:?}");
        assert!(
            format!("{said:?}").contains("node a: cannot connect to host=127.0.0.1"),
            "{said:?}"
        );
        assert!(!format!("{said:?}").contains("no answer within"), "{said:?}");
    }
    answering.join().map_err(|_| "the answering thread")?;
    Ok(())
}

#[test]
fn descriptions_are_written_once() -> Outcome {
    use std::os::unix::fs::MetadataExt as _;

    let place = Place::new()?;
    let said = place.run(["init"])?;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(std::fs::metadata(place.path("pgward.toml"))?.mode() & 0o7777, 0o600);
    let first = place.read("pgward.toml")?;
    let said = place.run(["init", "--mode", "scram"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    assert_eq!(place.read("pgward.toml")?, first);
    let said = place.run(["init", "no/such/folder.toml"])?;
    assert_eq!(said.code, Some(1), "{said:?}");
    // What is to be done next is for the file that was named.
    for (path, next) in [
        ("cluster.toml", "pgward plan cluster.toml\n"),
        ("./pgward.toml.new", "pgward plan ./pgward.toml.new\n"),
        ("my cluster.toml", "pgward plan FILE\n"),
    ] {
        let said = place.run(["init", path])?;
        assert!(said.talk.ends_with(next), "{said:?}");
    }
    Ok(())
}

#[test]
fn a_description_is_text() -> Outcome {
    let place = Place::new()?;
    let utf16: Vec<u8> = "mode = 1".bytes().flat_map(|byte| [byte, 0]).collect();
    for (name, bytes, at) in [
        ("latin1.toml", &b"# caf\xe9\n"[..], "latin1.toml:1:6"),
        ("marked.toml", &[b"\xff\xfe", &utf16[..]].concat(), "marked.toml:1:1"),
        ("utf16.toml", &utf16, "utf16.toml:1:2"),
    ] {
        place.write(name, bytes, 0o600)?;
        let said = place.run(["plan", name])?;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.talk.contains(at) && said.talk.contains("save it as UTF-8"), "{said:?}");
    }
    // As Windows saves it: read like any other.
    place.describe("a", "host=a port=x")?;
    let text = format!("\u{feff}{}", place.read("pgward.toml")?.replace('\n', "\r\n"));
    place.write("pgward.toml", text, 0o600)?;
    let said = place.run(["plan"])?;
    assert!(said.talk.contains("pgward.toml:9:8"), "{said:?}");
    Ok(())
}

/// A host name is what people write first.
#[test]
fn an_address_that_is_a_name_is_told_where_names_go() -> Outcome {
    let place = Place::new()?;
    for (key, name) in [
        ("address = \"127.0.0.1\"", "address = \"db1.example.com\""),
        ("peers-from = [\"127.0.0.0/8\"]", "peers-from = [\"db1.example.com\"]"),
    ] {
        place.describe("a", "host=127.0.0.1")?;
        let text = place.read("pgward.toml")?.replace(key, name);
        place.write("pgward.toml", text, 0o600)?;
        let said = place.run(["plan"])?;
        assert_eq!(said.code, Some(1), "{said:?}");
        assert!(said.talk.contains(name), "{said:?}");
        assert!(said.talk.contains("a host name is for the node's host"), "{said:?}");
    }
    Ok(())
}
