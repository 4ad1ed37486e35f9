//! SQL statements that may need a secret.

use std::fmt;

use postgres_protocol::escape::escape_literal;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::step::missing;
use crate::{error::Error, vault::Vault};

/// An SQL statement. Where it needs a secret it has the secret's name; `Display` shows stars there.
///
/// ```
/// use cluster::plan::Statement;
///
/// let statement = Statement::with_secret("ALTER ROLE repl PASSWORD", "node-1: SCRAM secret");
/// assert_eq!(statement.to_string(), "ALTER ROLE repl PASSWORD '********'");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Statement {
    /// The text, up to the secret if there is one.
    text: String,
    /// The vault's name of a secret that follows, as a quoted literal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// What follows the secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    rest: String,
    /// What it does, for people, where the text itself is not for them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<String>,
}

impl Statement {
    /// A statement without a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), secret: None, rest: String::new(), shown: None }
    }

    /// A statement that ends with a value as a quoted literal.
    #[must_use]
    pub fn with_literal(text: impl Into<String>, value: &str) -> Self {
        let mut text = text.into();
        text.push(' ');
        text.push_str(escape_literal(value).trim_start());
        Self::new(text)
    }

    /// A statement that ends with a secret as a quoted literal.
    #[must_use]
    pub fn with_secret(text: impl Into<String>, secret: impl Into<String>) -> Self {
        Self { text: text.into(), secret: Some(secret.into()), rest: String::new(), shown: None }
    }

    /// The same with more behind it.
    #[must_use]
    pub fn then(mut self, text: &str) -> Self {
        let end = if self.secret.is_some() { &mut self.rest } else { &mut self.text };
        end.push_str(text);
        self
    }

    /// The same, shown to people in other words: where the text looks first and then does what they
    /// would write.
    #[must_use]
    pub fn shown_as(mut self, words: impl Into<String>) -> Self {
        self.shown = Some(words.into());
        self
    }

    /// Whether it needs a secret.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        self.secret.is_some()
    }

    /// The vault's name of the secret that it needs, if it needs one.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        self.secret.as_deref()
    }

    /// The statement to send.
    ///
    /// # Errors
    /// [`Error::Plan`] if the vault has no such secret.
    pub fn resolve(&self, vault: &Vault) -> Result<Zeroizing<String>, Error> {
        let Some(name) = &self.secret else { return Ok(Zeroizing::new(self.text.clone())) };
        let secret = vault.get(name).ok_or_else(|| missing(name))?;
        let secret = std::str::from_utf8(secret).map_err(|_| missing(name))?;
        let literal = Zeroizing::new(escape_literal(secret));
        Ok(Zeroizing::new([&self.text, " ", literal.trim_start(), &self.rest].concat()))
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shown) = &self.shown {
            return f.write_str(shown);
        }
        f.write_str(&self.text)?;
        if self.secret.is_some() {
            f.write_str(" '********'")?;
        }
        f.write_str(&self.rest)
    }
}
