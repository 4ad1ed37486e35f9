//! Matching without captures: all states at once, so that time is linear in the text.

use alloc::{vec, vec::Vec};

use super::{
    RegexError,
    charset::{CharSet, is_word},
    lex::Look,
    parse::{Assertion, Ast},
};

/// A part of a regular expression, ready to run.
#[derive(Debug)]
pub(super) struct Program {
    steps: Vec<Step>,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Set(CharSet),
    Assert(Assertion),
    Look(u32),
    /// Both ways at once
    Split(u32, u32),
    Jump(u32),
    Done,
}

/// How many steps a program may have. The server's limit is memory, too.
const MAX_STEPS: usize = 100_000;

impl Program {
    pub(super) fn new(ast: &Ast) -> Result<Self, RegexError> {
        let mut program = Self { steps: Vec::new() };
        program.compile(ast)?;
        program.push(Step::Done)?;
        Ok(program)
    }

    pub(super) fn len(&self) -> usize {
        self.steps.len()
    }

    fn push(&mut self, step: Step) -> Result<u32, RegexError> {
        if self.steps.len() >= MAX_STEPS {
            return Err(RegexError::TooComplex);
        }
        let at = self.here();
        self.steps.push(step);
        Ok(at)
    }

    /// The number of the next step: never more than `MAX_STEPS`.
    #[expect(clippy::cast_possible_truncation, reason = "push keeps the length below MAX_STEPS")]
    fn here(&self) -> u32 {
        self.steps.len() as u32
    }

    fn set(&mut self, at: u32, step: Step) {
        if let Some(place) = self.steps.get_mut(at as usize) {
            *place = step;
        }
    }

    fn compile(&mut self, ast: &Ast) -> Result<(), RegexError> {
        match ast {
            Ast::Empty => {}
            Ast::Set(set) => {
                self.push(Step::Set(*set))?;
            }
            Ast::Assert(assertion) => {
                self.push(Step::Assert(*assertion))?;
            }
            Ast::Look(index) => {
                self.push(Step::Look(*index))?;
            }
            Ast::Concat(parts) => {
                for part in parts {
                    self.compile(part)?;
                }
            }
            Ast::Alternate(branches) => {
                let mut ends = Vec::new();
                for (index, branch) in branches.iter().enumerate() {
                    let last = index + 1 == branches.len();
                    let split = if last { None } else { Some(self.push(Step::Done)?) };
                    self.compile(branch)?;
                    if let Some(split) = split {
                        ends.push(self.push(Step::Done)?);
                        let next = self.here();
                        self.set(split, Step::Split(split + 1, next));
                    }
                }
                let end = self.here();
                ends.into_iter().for_each(|jump| self.set(jump, Step::Jump(end)));
            }
            Ast::Repeat(part, min, max) => self.repeat(part, *min, *max)?,
        }
        Ok(())
    }

    fn repeat(&mut self, part: &Ast, min: u32, max: Option<u32>) -> Result<(), RegexError> {
        for _ in 0..min {
            self.compile(part)?;
        }
        let Some(max) = max else {
            let split = self.push(Step::Done)?;
            self.compile(part)?;
            self.push(Step::Jump(split))?;
            let end = self.here();
            self.set(split, Step::Split(split + 1, end));
            return Ok(());
        };
        let mut splits = Vec::new();
        for _ in min..max {
            splits.push(self.push(Step::Done)?);
            self.compile(part)?;
        }
        let end = self.here();
        splits.into_iter().for_each(|split| self.set(split, Step::Split(split + 1, end)));
        Ok(())
    }
}

/// A lookaround of an expression.
#[derive(Debug)]
pub(super) struct Lookaround {
    pub(super) look: Look,
    pub(super) program: Program,
}

/// A text, and what was found out about it.
pub(super) struct Matcher<'r, 't> {
    pub(super) text: &'t [u8],
    looks: &'r [Lookaround],
    newline_anchors: bool,
    /// For each lookaround and place: not known, no, yes
    known: Vec<u8>,
}

/// The states of a program that a text can be in.
struct States {
    list: Vec<u32>,
    present: Vec<bool>,
}

impl States {
    fn new(len: usize) -> Self {
        Self { list: Vec::new(), present: vec![false; len] }
    }

    fn clear(&mut self) {
        for state in self.list.drain(..) {
            self.present[state as usize] = false;
        }
    }
}

impl<'r, 't> Matcher<'r, 't> {
    pub(super) fn new(text: &'t [u8], looks: &'r [Lookaround], newline_anchors: bool) -> Self {
        Self { text, looks, newline_anchors, known: vec![0; looks.len() * (text.len() + 1)] }
    }

    /// Whether the program matches anywhere in the text.
    pub(super) fn is_match(&mut self, program: &Program) -> bool {
        let mut found = false;
        self.run(program, 0, self.text.len(), true, &mut |_| {
            found = true;
            false
        });
        found
    }

    /// Where in `start..=limit` matches end that begin at `start`, in order.
    pub(super) fn ends(&mut self, program: &Program, start: usize, limit: usize) -> Vec<usize> {
        let mut ends = Vec::new();
        self.run(program, start, limit, false, &mut |end| {
            ends.push(end);
            true
        });
        ends
    }

    /// Whether the program matches all of `start..end`.
    pub(super) fn is_exact(&mut self, program: &Program, start: usize, end: usize) -> bool {
        self.ends(program, start, end).last() == Some(&end)
    }

    /// Runs the program from `start`, or from each place on, up to `limit`. `done` hears of each
    /// place where a match ends, and says whether to go on.
    fn run(
        &mut self,
        program: &Program,
        start: usize,
        limit: usize,
        anywhere: bool,
        done: &mut dyn FnMut(usize) -> bool,
    ) {
        let len = program.steps.len();
        let (mut now, mut next) = (States::new(len), States::new(len));
        let mut stack = Vec::new();
        self.add(program, &mut now, 0, start, &mut stack);
        for place in start..=limit {
            if now.present[len - 1] && !done(place) {
                return;
            }
            let Some(byte) = self.text.get(place).copied().filter(|_| place < limit) else {
                return;
            };
            for state in &now.list {
                if let Step::Set(set) = &program.steps[*state as usize]
                    && set.contains(byte)
                {
                    self.add(program, &mut next, state + 1, place + 1, &mut stack);
                }
            }
            if anywhere {
                self.add(program, &mut next, 0, place + 1, &mut stack);
            }
            if next.list.is_empty() {
                return;
            }
            now.clear();
            core::mem::swap(&mut now, &mut next);
        }
    }

    /// Adds a state and all that it leads to without a character.
    fn add(
        &mut self,
        program: &Program,
        states: &mut States,
        state: u32,
        place: usize,
        stack: &mut Vec<u32>,
    ) {
        stack.push(state);
        while let Some(state) = stack.pop() {
            let index = state as usize;
            if core::mem::replace(&mut states.present[index], true) {
                continue;
            }
            states.list.push(state);
            match program.steps[index] {
                Step::Set(_) | Step::Done => {}
                Step::Split(first, second) => stack.extend([second, first]),
                Step::Jump(to) => stack.push(to),
                Step::Assert(assertion) => {
                    if self.holds(assertion, place) {
                        stack.push(state + 1);
                    }
                }
                Step::Look(look) => {
                    if self.looks_like(look as usize, place) {
                        stack.push(state + 1);
                    }
                }
            }
        }
    }

    fn holds(&self, assertion: Assertion, place: usize) -> bool {
        let before = place.checked_sub(1).map(|before| self.text[before]);
        let after = self.text.get(place).copied();
        let at_newline = |byte: Option<u8>| self.newline_anchors && byte == Some(b'\n');
        let word_before = before.is_some_and(is_word);
        let word_after = after.is_some_and(is_word);
        match assertion {
            Assertion::TextStart => before.is_none(),
            Assertion::TextEnd => after.is_none(),
            Assertion::LineStart => before.is_none() || at_newline(before),
            Assertion::LineEnd => after.is_none() || at_newline(after),
            Assertion::WordStart => !word_before && word_after,
            Assertion::WordEnd => word_before && !word_after,
            Assertion::WordBoundary => word_before != word_after,
            Assertion::NotWordBoundary => word_before == word_after,
        }
    }

    fn looks_like(&mut self, index: usize, place: usize) -> bool {
        let looks = self.looks;
        let Some(Lookaround { look, program }) = looks.get(index) else { return false };
        let slot = index * (self.text.len() + 1) + place;
        if self.known[slot] == 0 {
            let mut found = false;
            if look.ahead {
                self.run(program, place, self.text.len(), false, &mut |_| {
                    found = true;
                    false
                });
            } else {
                self.run(program, 0, place, true, &mut |end| {
                    found = end == place;
                    true
                });
            }
            self.known[slot] = if found == look.positive { 2 } else { 1 };
        }
        self.known[slot] == 2
    }
}
