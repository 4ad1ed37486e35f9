//! The tokens of many rules, and which of them match all that one does.

use alloc::{collections::BTreeMap, vec::Vec};

use crate::{
    regex::Regex,
    scope::{Compiled, Token},
    tokenize::short,
};

/// The tokens that rules have, by number.
#[derive(Default)]
pub(super) struct Names<'r> {
    numbers: BTreeMap<Token<'r>, u32>,
    regexes: Vec<(u32, &'r Regex)>,
    /// For each name that was asked for: the expressions that match it, of so many
    matching: BTreeMap<&'r [u8], (Vec<u32>, usize)>,
}

impl<'r> Names<'r> {
    pub(super) fn insert(&mut self, (token, regex): Compiled<'r>) -> u32 {
        let next = short(self.numbers.len());
        let number = *self.numbers.entry(token).or_insert(next);
        if number == next
            && let Some(regex) = regex
        {
            self.regexes.push((number, regex));
        }
        number
    }

    /// The numbers of the tokens that match all that a token does; `work` counts.
    pub(super) fn covering(&mut self, token: Token<'r>, work: &mut usize) -> Vec<u32> {
        let number = |token: Token<'r>| self.numbers.get(&token).copied();
        let mut found = Vec::new();
        if token != Token::Replication && token != Token::All {
            found.extend(number(Token::All));
        }
        found.extend(number(token));
        let Token::Name(name) = token else { return found };
        // A role is a member of itself.
        found.extend(number(Token::Member(name)));
        let (matching, tested) = self.matching.entry(name).or_default();
        for (number, regex) in &self.regexes[*tested..] {
            *work += 1;
            if regex.is_match(name).unwrap_or(false) {
                matching.push(*number);
            }
        }
        *tested = self.regexes.len();
        found.extend_from_slice(matching);
        found
    }
}
