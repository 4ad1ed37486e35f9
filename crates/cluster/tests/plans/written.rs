//! A plan in lines, without what is another each time: certificates, keys and digests of them.

use std::collections::HashMap;

use cluster::plan::Plan;
use serde_json::Value;

/// One line for each file, link, step and warning, in JSON as the plan is stored.
pub(crate) fn written(plan: &Plan) -> Result<String, serde_json::Error> {
    let mut digests = Digests::default();
    let mut text = String::new();
    let mut line = |of: &str, value: &Value| {
        text.push_str(&format!("{of} {}\n", digests.numbered(&value.to_string())));
    };
    let Value::Object(mut parts) = serde_json::to_value(plan)? else { return Ok(text) };
    let stages = parts.remove("stages").unwrap_or_default();
    for stage in stages.as_array().into_iter().flatten() {
        line("stage", &serde_json::json!([stage["title"], stage["pace"]]));
        stage["steps"].as_array().into_iter().flatten().for_each(|step| line("  step", step));
    }
    for (name, part) in &parts {
        match part.as_array() {
            Some(all) => all.iter().for_each(|one| line(name, one)),
            None => line(name, part),
        }
    }
    Ok(without_certificates(&text))
}

/// Digests by the order in which they come: the same one has the same number.
#[derive(Default)]
struct Digests(HashMap<String, usize>);

impl Digests {
    fn numbered(&mut self, text: &str) -> String {
        let mut shown = String::new();
        let mut rest = text;
        while !rest.is_empty() {
            // Those of certificates have colons.
            let of_digest = |byte: &u8| byte.is_ascii_hexdigit() || *byte == b':';
            let length = rest.bytes().take_while(of_digest).count();
            let (word, behind) = rest.split_at(length);
            if length == 64 || length == 95 {
                let number = self.0.len() + 1;
                let number = *self.0.entry(word.to_owned()).or_insert(number);
                shown.push_str(&format!("(digest {number})"));
            } else {
                shown.push_str(word);
            }
            let next = behind.chars().next().map_or(0, char::len_utf8);
            shown.push_str(&behind[..next]);
            rest = &behind[next..];
        }
        shown
    }
}

/// What is between the lines that begin and end a certificate goes, and of a diff how many there are.
fn without_certificates(text: &str) -> String {
    let mut pieces = text.split("-----BEGIN CERTIFICATE-----");
    let mut shown = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        if shown.ends_with(r" @@\n+") {
            shown.truncate(shown.rfind("@@ ").unwrap_or(shown.len()));
        }
        shown.push_str("(certificate)");
        let end = piece.split_once("-----END CERTIFICATE-----");
        shown.push_str(end.map_or("", |(_, behind)| behind));
    }
    shown
}
