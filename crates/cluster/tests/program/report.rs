//! `pgward verify --html`: where the page goes, and what is in its way.

use std::os::unix::fs::{PermissionsExt as _, symlink};

use tokio::net::TcpSocket;

use super::support::{Outcome, Place, closed_port};

/// A cluster of one node that nothing answers for, while the socket is there: there is something to
/// report all the same.
fn describe(place: &Place) -> Result<TcpSocket, Box<dyn std::error::Error>> {
    let (closed, port) = closed_port()?;
    place.describe("a <b>", &format!("host=127.0.0.1 port={port} user=x password=geheim"))?;
    let name = "name = \"a <b>\"\n";
    let text = place.read("pgward.toml")?.replace(name, &format!("{name}host = \"localhost\"\n"));
    place.write("pgward.toml", text, 0o600)?;
    Ok(closed)
}

fn mode(place: &Place, name: &str) -> std::io::Result<u32> {
    Ok(std::fs::metadata(place.path(name))?.permissions().mode() & 0o7777)
}

#[test]
fn a_page_is_made_and_replaced() -> Outcome {
    let place = Place::new()?;
    let _closed = describe(&place)?;
    let verify = ["verify", "--html", "report.html"];
    let said = place.run(verify)?;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.talk.contains("note: the report is in report.html"), "{said:?}");
    let page = place.read("report.html")?;
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("NOT PROVED"), "{page}");
    assert!(page.contains("PGW001") && page.contains("a &lt;b&gt;"), "{page}");
    assert!(!page.contains("geheim"));
    assert_eq!(mode(&place, "report.html")?, 0o600);

    // Somebody gives it to others, by way of a link: so it stays.
    std::fs::set_permissions(place.path("report.html"), std::fs::Permissions::from_mode(0o644))?;
    symlink("report.html", place.path("link.html"))?;
    let said = place.run(["verify", "--html", "link.html", "--format", "json"])?;
    assert_eq!(said.json()?["result"]["html"], "link.html");
    assert!(std::fs::symlink_metadata(place.path("link.html"))?.is_symlink());
    assert_eq!(mode(&place, "report.html")?, 0o644);
    assert!(place.read("report.html")?.contains("<!DOCTYPE html>"));
    // Nothing is left beside it.
    let there = std::fs::read_dir(place.path("."))?.count();
    assert_eq!(there, 3, "the description, the page, the link");
    Ok(())
}

/// The description in the place of the page: nobody loses it.
#[test]
fn nothing_else_is_replaced() -> Outcome {
    let place = Place::new()?;
    let _closed = describe(&place)?;
    let before = place.read("pgward.toml")?;
    let said = place.run(["verify", "--html", "pgward.toml"])?;
    assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
    assert!(said.talk.contains("pgward.toml is there already, and is no report"), "{said:?}");
    assert_eq!(place.read("pgward.toml")?, before);

    symlink("gone/report.html", place.path("link.html"))?;
    for (path, words) in [
        ("link.html", "link.html is a link to a file that is not there"),
        ("-", "the report is a file of its own"),
        ("nowhere/report.html", "there is no folder nowhere"),
        (".", "is no plain file"),
    ] {
        let said = place.run(["verify", "--html", path])?;
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
        assert!(said.talk.contains(words), "{said:?}");
    }
    Ok(())
}

/// To prove it took its time: what was proved is told, though it cannot be written.
#[test]
fn what_was_proved_is_told_without_a_page() -> Outcome {
    let place = Place::new()?;
    let _closed = describe(&place)?;
    // A name of which nothing is said before it is used: its page's would be too long.
    let path = "x".repeat(255);
    let said = place.run(["verify", "--html", &path])?;
    assert_eq!(said.code, Some(2), "{said:?}");
    assert!(said.out.contains("error: cannot create x"), "{said:?}");
    assert!(said.out.contains("NOT PROVED: 0 of 0 links"), "{said:?}");
    let said = place.run(["verify", "--html", &path, "--format", "json"])?;
    let told = said.json()?;
    assert_eq!(told["outcome"], "failed");
    assert_eq!(told["result"]["proved"], false);
    let findings = told["findings"].as_array().ok_or("no findings")?;
    let last = findings.last().ok_or("no finding")?;
    assert!(last["message"].as_str().is_some_and(|said| said.contains("xxx")), "{last}");
    Ok(())
}
