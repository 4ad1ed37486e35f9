//! What parentheses captured: PostgreSQL's `cdissect` and its relatives.
//!
//! Which part of a text a parenthesis gets depends on preferences: the whole match first, then each
//! part from left to right, greedy or not.

use alloc::{collections::BTreeSet, vec, vec::Vec};
use core::ops::Range;

use super::{
    MatchError, RegexError,
    parse::{Node, Tree},
    program::{Matcher, Program},
};

/// A node of the tree with its program.
#[derive(Debug)]
pub(super) struct Compiled {
    program: Program,
    shorter: bool,
    capture: u32,
    backrefs: bool,
    node: Kind,
}

#[derive(Debug)]
enum Kind {
    Leaf,
    /// Parts one after the other, or one of them
    Concat(Vec<Compiled>),
    Alternate(Vec<Compiled>),
    Repeat(Vec<Compiled>, u32, Option<u32>),
    Group(Vec<Compiled>),
    Backref(u32, u32, Option<u32>),
}

impl Compiled {
    /// With the programs of all nodes below where captures or back references need them.
    pub(super) fn new(tree: &Tree, top: Option<Program>) -> Result<Self, RegexError> {
        let all = |trees: &[Tree]| -> Result<Vec<Self>, RegexError> {
            trees.iter().map(|tree| Self::new(tree, None)).collect()
        };
        let node = match &tree.node {
            Node::Leaf(_) => Kind::Leaf,
            Node::Concat(parts) => Kind::Concat(all(parts.as_slice())?),
            Node::Alternate(branches) => Kind::Alternate(all(branches)?),
            Node::Repeat(child, min, max) => {
                Kind::Repeat(all(core::slice::from_ref(child))?, *min, *max)
            }
            Node::Group(child) => Kind::Group(all(core::slice::from_ref(child))?),
            Node::Backref(number, min, max, _) => Kind::Backref(*number, *min, *max),
        };
        let program = match top {
            Some(program) => program,
            None => Program::new(&tree.to_ast())?,
        };
        Ok(Self {
            program,
            shorter: tree.prefers_shorter(),
            capture: tree.capture,
            backrefs: tree.has_backrefs(),
            node,
        })
    }

    pub(super) fn program(&self) -> &Program {
        &self.program
    }

    pub(super) fn has_backrefs(&self) -> bool {
        self.backrefs
    }

    pub(super) fn len(&self) -> usize {
        let below = match &self.node {
            Kind::Leaf | Kind::Backref(..) => 0,
            Kind::Concat(parts)
            | Kind::Alternate(parts)
            | Kind::Repeat(parts, ..)
            | Kind::Group(parts) => parts.iter().map(Self::len).sum(),
        };
        below + self.program.len()
    }
}

/// How many attempts back references may cost. The server has no such limit, and may take forever.
const MAX_ATTEMPTS: u32 = 200_000;

/// Dissects a match.
pub(super) struct Dissector<'m, 'r, 't> {
    matcher: &'m mut Matcher<'r, 't>,
    ignore_case: bool,
    captured: Vec<Option<Range<usize>>>,
    attempts: u32,
}

impl<'m, 'r, 't> Dissector<'m, 'r, 't> {
    pub(super) fn new(matcher: &'m mut Matcher<'r, 't>, ignore_case: bool, captures: u32) -> Self {
        let captured = vec![None; captures as usize + 1];
        Self { matcher, ignore_case, captured, attempts: 0 }
    }

    /// The leftmost match and what its parentheses captured; the whole match is number 0.
    pub(super) fn find(
        mut self,
        tree: &Compiled,
    ) -> Result<Option<Vec<Option<Range<usize>>>>, MatchError> {
        let len = self.matcher.text.len();
        for start in 0..=len {
            let mut ends = self.matcher.ends(&tree.program, start, len);
            if !tree.shorter {
                ends.reverse();
            }
            for end in ends {
                self.captured.fill(None);
                if self.dissect(tree, start, end)? {
                    self.captured[0] = Some(start..end);
                    return Ok(Some(self.captured));
                }
                if !tree.backrefs {
                    break;
                }
            }
        }
        Ok(None)
    }

    /// Whether the node matches all of `start..end`, of which its program is sure but for back
    /// references.
    fn dissect(&mut self, tree: &Compiled, start: usize, end: usize) -> Result<bool, MatchError> {
        self.attempts += 1;
        if self.attempts > MAX_ATTEMPTS {
            return Err(MatchError::TooManyAttempts);
        }
        let matched = match &tree.node {
            Kind::Leaf => true,
            Kind::Concat(parts) => self.concat(parts, start, end)?,
            Kind::Alternate(branches) => self.alternate(branches, start, end)?,
            Kind::Repeat(child, min, max) => match child.first() {
                Some(child) => self.repeat(child, *min, *max, start, end)?,
                None => false,
            },
            Kind::Group(child) => match child.first() {
                Some(child) => self.dissect(child, start, end)?,
                None => false,
            },
            Kind::Backref(number, min, max) => self.back_reference(*number, *min, *max, start, end),
        };
        if matched && tree.capture > 0 {
            self.captured[tree.capture as usize] = Some(start..end);
        }
        Ok(matched)
    }

    fn concat(&mut self, parts: &[Compiled], start: usize, end: usize) -> Result<bool, MatchError> {
        let [first, second] = parts else { return Ok(false) };
        let mut middles = self.matcher.ends(&first.program, start, end);
        if !first.shorter {
            middles.reverse();
        }
        for middle in middles {
            if !self.matcher.is_exact(&second.program, middle, end) {
                continue;
            }
            let before = self.captured.clone();
            if self.dissect(first, start, middle)? && self.dissect(second, middle, end)? {
                return Ok(true);
            }
            self.captured = before;
        }
        Ok(false)
    }

    fn alternate(
        &mut self,
        branches: &[Compiled],
        start: usize,
        end: usize,
    ) -> Result<bool, MatchError> {
        for branch in branches {
            if self.matcher.is_exact(&branch.program, start, end)
                && self.dissect(branch, start, end)?
            {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn repeat(
        &mut self,
        child: &Compiled,
        min: u32,
        max: Option<u32>,
        start: usize,
        end: usize,
    ) -> Result<bool, MatchError> {
        if min == 0 && start == end {
            return Ok(true);
        }
        let min = (min as usize).max(1);
        let longest = (end - start).max(min);
        let max = max.map_or(longest, |max| (max as usize).min(longest)).max(min);
        let mut iteration =
            Iteration { child, min, max, end, failed: BTreeSet::new(), limits: vec![start] };
        self.iterate(&mut iteration)
    }

    /// Finds the next iteration's end, then the others'.
    fn iterate(&mut self, iteration: &mut Iteration<'_>) -> Result<bool, MatchError> {
        let done = iteration.limits.len() - 1;
        let Some(&from) = iteration.limits.last() else { return Ok(false) };
        if iteration.failed.contains(&(done, from)) {
            return Ok(false);
        }
        self.attempts += 1;
        if self.attempts > MAX_ATTEMPTS {
            return Err(MatchError::TooManyAttempts);
        }
        let (min, max, end) = (iteration.min, iteration.max, iteration.end);
        let mut ends = self.matcher.ends(&iteration.child.program, from, end);
        if !iteration.child.shorter {
            ends.reverse();
        }
        for to in ends {
            let number = done + 1;
            // An empty iteration is good only to reach the minimum.
            if to == from && to != end && (number >= min || min - number < end - to) {
                continue;
            }
            if to == from && to == end && number > min {
                continue;
            }
            iteration.limits.push(to);
            let mut found = false;
            if to == end && number >= min {
                let before = self.captured.clone();
                found = self.verify(iteration)?;
                if !found {
                    self.captured = before;
                }
            }
            if !found && number < max && !(to == end && number >= min) {
                found = self.iterate(iteration)?;
            }
            if found {
                return Ok(true);
            }
            iteration.limits.pop();
        }
        if !iteration.child.backrefs {
            iteration.failed.insert((done, from));
        }
        Ok(false)
    }

    fn verify(&mut self, iteration: &Iteration<'_>) -> Result<bool, MatchError> {
        for pair in iteration.limits.windows(2) {
            if !self.dissect(iteration.child, pair[0], pair[1])? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn back_reference(
        &self,
        number: u32,
        min: u32,
        max: Option<u32>,
        start: usize,
        end: usize,
    ) -> bool {
        let Some(Some(referred)) = self.captured.get(number as usize) else { return false };
        let text = self.matcher.text;
        let (referred, target) = (&text[referred.clone()], &text[start..end]);
        if referred.is_empty() {
            return target.is_empty();
        }
        if target.is_empty() {
            return min == 0;
        }
        let times = target.len() / referred.len();
        let allowed = min as usize <= times && max.is_none_or(|max| times <= max as usize);
        target.len() % referred.len() == 0
            && allowed
            && target.chunks(referred.len()).all(|chunk| {
                if self.ignore_case {
                    chunk.eq_ignore_ascii_case(referred)
                } else {
                    chunk == referred
                }
            })
    }
}

/// A repeated node being divided into its iterations.
struct Iteration<'c> {
    child: &'c Compiled,
    min: usize,
    max: usize,
    end: usize,
    /// From where so many iterations lead nowhere
    failed: BTreeSet<(usize, usize)>,
    limits: Vec<usize>,
}
