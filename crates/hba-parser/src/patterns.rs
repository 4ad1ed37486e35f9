//! The regular expressions of a file: each compiled once, and all together of bounded size.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    PgVersion,
    diagnostics::Code,
    record::Problem,
    regex::{Regex, RegexError},
    text::text,
    tokenize::{Tokenized, short},
};

/// How many steps all expressions of a file may have: what keeps a hostile file from filling the
/// memory. A server has no such limit but its memory.
const MAX_STEPS: usize = 2_000_000;

#[derive(Debug)]
pub(crate) struct Patterns {
    version: PgVersion,
    known: BTreeMap<Vec<u8>, Result<u32, RegexError>>,
    compiled: Vec<Regex>,
    steps: usize,
}

impl Patterns {
    pub(crate) fn new(version: PgVersion) -> Self {
        Self { version, known: BTreeMap::new(), compiled: Vec::new(), steps: 0 }
    }

    pub(crate) fn get(&self, index: u32) -> Option<&Regex> {
        self.compiled.get(index as usize)
    }

    /// Compiles the expression that a token has behind a slash: `None` if it has none. Quotes make no
    /// difference.
    pub(crate) fn compile(
        &mut self,
        tokens: &Tokenized,
        token: u32,
    ) -> Result<Option<u32>, Problem> {
        let Some(pattern) = tokens.token_text(token).strip_prefix(b"/") else { return Ok(None) };
        let compiled = match self.known.get(pattern) {
            Some(known) => *known,
            None => {
                let compiled = self.compile_new(pattern);
                self.known.insert(pattern.to_vec(), compiled);
                compiled
            }
        };
        compiled.map(Some).map_err(|error| {
            let message = text!("invalid regular expression \"", pattern, "\": ", error.as_str());
            Problem::new(Code::InvalidRegex, message, tokens.token(token).span)
        })
    }

    fn compile_new(&mut self, pattern: &[u8]) -> Result<u32, RegexError> {
        let regex = Regex::new(pattern, self.version)?;
        self.steps += regex.steps();
        if self.steps > MAX_STEPS {
            return Err(RegexError::TooComplex);
        }
        self.compiled.push(regex);
        Ok(short(self.compiled.len() - 1))
    }
}
