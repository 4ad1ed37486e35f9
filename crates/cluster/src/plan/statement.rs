//! SQL statements that may need a secret.

use std::{borrow::Cow, fmt};

use postgres_protocol::escape::escape_literal;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::step::missing;
use crate::{error::Error, text::Text, vault::Vault};

/// An SQL statement. Where it needs a secret it has the secret's name; `Display` shows stars there.
///
/// ```
/// use cluster::plan::Statement;
///
/// let statement = Statement::with_secret("ALTER ROLE repl PASSWORD", "node-1: SCRAM secret");
/// assert_eq!(statement.to_string(), "ALTER ROLE repl PASSWORD '********'");
/// ```
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(from = "Stored", into = "Stored")]
pub struct Statement {
    /// The text, up to the value if there is one.
    text: Text,
    value: Value,
    /// What follows the value.
    rest: Cow<'static, str>,
    /// What it does, for people, where the text itself is not for them.
    shown: Option<Text>,
}

/// What follows the text as a quoted literal.
#[derive(Clone, Debug)]
enum Value {
    None,
    /// What others may have, too.
    Public(Text),
    /// The vault's secret of this name.
    Secret(Text),
}

/// A statement as it is written down.
#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Stored {
    /// The text, up to the secret if there is one.
    text: String,
    /// The vault's name of a secret that follows, as a quoted literal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<String>,
    /// What follows the secret.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    rest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    shown: Option<String>,
}

impl From<Statement> for Stored {
    fn from(statement: Statement) -> Self {
        let Statement { text, value, rest, shown } = statement;
        let (text, secret, rest) = match value {
            Value::None => ([&text, &*rest].concat(), None, String::new()),
            Value::Public(value) => {
                let literal = escape_literal(&value);
                ([&text, " ", literal.trim_start(), &rest].concat(), None, String::new())
            }
            Value::Secret(name) => (text.into(), Some(name.into()), rest.into_owned()),
        };
        Self { text, secret, rest, shown: shown.map(Into::into) }
    }
}

impl From<Stored> for Statement {
    fn from(stored: Stored) -> Self {
        Self {
            text: stored.text.into(),
            value: stored.secret.map_or(Value::None, |name| Value::Secret(name.into())),
            rest: stored.rest.into(),
            shown: stored.shown.map(Into::into),
        }
    }
}

/// The same text is the same statement.
impl PartialEq for Statement {
    fn eq(&self, other: &Self) -> bool {
        Stored::from(self.clone()) == Stored::from(other.clone())
    }
}

impl Eq for Statement {}

impl Statement {
    /// A statement without a secret.
    #[must_use]
    pub fn new(text: impl Into<Text>) -> Self {
        Self { text: text.into(), value: Value::None, rest: Cow::Borrowed(""), shown: None }
    }

    /// A statement that ends with a value as a quoted literal.
    #[must_use]
    pub fn with_literal(text: impl Into<Text>, value: impl Into<Text>) -> Self {
        Self { value: Value::Public(value.into()), ..Self::new(text) }
    }

    /// A statement that ends with a secret as a quoted literal.
    #[must_use]
    pub fn with_secret(text: impl Into<Text>, secret: impl Into<Text>) -> Self {
        Self { value: Value::Secret(secret.into()), ..Self::new(text) }
    }

    /// The same with more behind it.
    #[must_use]
    pub fn then(mut self, text: &'static str) -> Self {
        if self.rest.is_empty() {
            self.rest = Cow::Borrowed(text);
        } else {
            self.rest.to_mut().push_str(text);
        }
        self
    }

    /// The same, shown to people in other words: where the text looks first and then does what they
    /// would write.
    #[must_use]
    pub fn shown_as(mut self, words: impl Into<Text>) -> Self {
        self.shown = Some(words.into());
        self
    }

    /// Whether it needs a secret.
    #[must_use]
    pub const fn has_secret(&self) -> bool {
        matches!(self.value, Value::Secret(_))
    }

    /// The vault's name of the secret that it needs, if it needs one.
    #[must_use]
    pub fn secret(&self) -> Option<&str> {
        match &self.value {
            Value::Secret(name) => Some(name),
            Value::None | Value::Public(_) => None,
        }
    }

    /// The statement to send.
    ///
    /// # Errors
    /// [`Error::Plan`] if the vault has no such secret.
    pub fn resolve(&self, vault: &Vault) -> Result<Zeroizing<String>, Error> {
        let value = match &self.value {
            Value::None => return Ok(Zeroizing::new([&self.text, &*self.rest].concat())),
            Value::Public(value) => value,
            Value::Secret(name) => {
                let secret = vault.get(name).ok_or_else(|| missing(name))?;
                std::str::from_utf8(secret).map_err(|_| missing(name))?
            }
        };
        let literal = Zeroizing::new(escape_literal(value));
        Ok(Zeroizing::new([&self.text, " ", literal.trim_start(), &self.rest].concat()))
    }
}

impl fmt::Display for Statement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shown) = &self.shown {
            return f.write_str(shown);
        }
        f.write_str(&self.text)?;
        match &self.value {
            Value::None => {}
            Value::Public(value) => write!(f, " {}", escape_literal(value).trim_start())?,
            Value::Secret(_) => f.write_str(" '********'")?,
        }
        f.write_str(&self.rest)
    }
}
