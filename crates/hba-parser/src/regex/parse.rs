//! From tokens to a tree: PostgreSQL's `parse`, `parsebranch` and `parseqatom`.
//!
//! The tree has a node for each part of the expression whose limits must be known to say what a
//! parenthesis captured or what a back reference refers to; everything else is a leaf.

use alloc::{boxed::Box, vec, vec::Vec};

use super::{
    RegexError,
    charset::{CharSet, Class, element},
    lex::{Flavor, Lexer, Look, Token},
};

/// A regular expression without captures and preferences: what strings match.
#[derive(Clone, Debug)]
pub(super) enum Ast {
    Empty,
    Set(CharSet),
    Assert(Assertion),
    /// A lookaround, by its index
    Look(u32),
    Concat(Vec<Ast>),
    Alternate(Vec<Ast>),
    /// How often; without the second number without limit
    Repeat(Box<Ast>, u32, Option<u32>),
}

/// What matches a place and no character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Assertion {
    LineStart,
    LineEnd,
    TextStart,
    TextEnd,
    WordStart,
    WordEnd,
    WordBoundary,
    NotWordBoundary,
}

/// A node whose limits matter.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) node: Node,
    /// Preferences, and what is below
    flags: u8,
    /// Which parenthesis this is, from 1; 0 for none
    pub(super) capture: u32,
}

#[derive(Debug)]
pub(super) enum Node {
    Leaf(Ast),
    Concat(Box<[Tree; 2]>),
    Alternate(Vec<Tree>),
    Repeat(Box<Tree>, u32, Option<u32>),
    /// A parenthesis directly within another
    Group(Box<Tree>),
    /// A back reference: its number, how often, and what it can match at most
    Backref(u32, u32, Option<u32>, Ast),
}

const LONGER: u8 = 1;
const SHORTER: u8 = 2;
const MIXED: u8 = 4;
const CAPTURES: u8 = 8;
const BACKREFS: u8 = 16;
const PREFERENCE: u8 = LONGER | SHORTER;

/// What of a node's flags its parent has too: also that preferences differ.
const fn up(flags: u8) -> u8 {
    let clash = if flags & PREFERENCE == PREFERENCE { MIXED } else { 0 };
    (flags & (MIXED | CAPTURES | BACKREFS)) | clash
}

const fn messy(flags: u8) -> bool {
    flags & (MIXED | CAPTURES | BACKREFS) != 0
}

/// The flags of two parts together: the first one's preference counts.
const fn combine(first: u8, second: u8) -> u8 {
    let preference = if first & PREFERENCE == 0 { second & PREFERENCE } else { first & PREFERENCE };
    up(first | second) | preference
}

impl Tree {
    fn leaf(ast: Ast, flags: u8) -> Self {
        Self { node: Node::Leaf(ast), flags, capture: 0 }
    }

    fn concat(first: Self, second: Self, flags: u8) -> Self {
        Self { node: Node::Concat(Box::new([first, second])), flags, capture: 0 }
    }

    pub(super) fn prefers_shorter(&self) -> bool {
        self.flags & SHORTER != 0
    }

    pub(super) fn has_backrefs(&self) -> bool {
        self.flags & BACKREFS != 0
    }

    /// What the node matches, or, below a back reference, can match at most.
    pub(super) fn to_ast(&self) -> Ast {
        match &self.node {
            Node::Leaf(ast) => ast.clone(),
            Node::Concat(parts) => Ast::Concat(parts.iter().map(Self::to_ast).collect()),
            Node::Alternate(branches) => {
                Ast::Alternate(branches.iter().map(Self::to_ast).collect())
            }
            Node::Repeat(child, min, max) => Ast::Repeat(Box::new(child.to_ast()), *min, *max),
            Node::Group(child) => child.to_ast(),
            Node::Backref(_, min, max, ast) => Ast::Repeat(Box::new(ast.clone()), *min, *max),
        }
    }
}

impl Ast {
    fn concat(mut parts: Vec<Self>) -> Self {
        if parts.len() == 1
            && let Some(part) = parts.pop()
        {
            return part;
        }
        if parts.is_empty() { Self::Empty } else { Self::Concat(parts) }
    }

    /// Without what matches places: a back reference compares characters only.
    fn without_constraints(&self) -> Self {
        match self {
            Self::Empty | Self::Assert(_) | Self::Look(_) => Self::Empty,
            Self::Set(set) => Self::Set(*set),
            Self::Concat(parts) => {
                Self::Concat(parts.iter().map(Self::without_constraints).collect())
            }
            Self::Alternate(parts) => {
                Self::Alternate(parts.iter().map(Self::without_constraints).collect())
            }
            Self::Repeat(part, min, max) => {
                Self::Repeat(Box::new(part.without_constraints()), *min, *max)
            }
        }
    }

    fn nodes(&self) -> usize {
        1 + match self {
            Self::Empty | Self::Set(_) | Self::Assert(_) | Self::Look(_) => 0,
            Self::Concat(parts) | Self::Alternate(parts) => parts.iter().map(Self::nodes).sum(),
            Self::Repeat(part, ..) => part.nodes(),
        }
    }
}

/// What the parser found.
pub(super) struct Parsed {
    pub(super) tree: Tree,
    pub(super) looks: Vec<(Look, Ast)>,
    pub(super) captures: u32,
    pub(super) ignore_case: bool,
    pub(super) newline_anchors: bool,
}

pub(super) fn parse(pattern: &[u8], before_14: bool) -> Result<Parsed, RegexError> {
    let lexer = Lexer::new(pattern, before_14)?;
    let refers = pattern.windows(2).any(|pair| pair[0] == b'\\' && pair[1].is_ascii_digit());
    let mut parser = Parser {
        lexer,
        looks: Vec::new(),
        groups: Vec::new(),
        keep_groups: refers,
        depth: 0,
        copied: 0,
    };
    let tree = parser.expression(Token::End, false)?;
    let Parser { lexer, looks, .. } = parser;
    Ok(Parsed {
        tree,
        looks,
        captures: lexer.captures,
        ignore_case: lexer.flags.ignore_case,
        newline_anchors: lexer.flags.newline_anchors,
    })
}

struct Parser<'p> {
    lexer: Lexer<'p>,
    looks: Vec<(Look, Ast)>,
    /// What each finished parenthesis matches, for back references
    groups: Vec<Option<Ast>>,
    keep_groups: bool,
    depth: u32,
    copied: usize,
}

/// How deep parentheses may nest here. The server's own limit is its stack.
const MAX_DEPTH: u32 = 400;
/// How much back references may copy.
const MAX_COPIED: usize = 100_000;
/// `DUPMAX`
const MAX_REPEAT: u32 = 255;

/// A part of a branch: one that needs no node, or the whole rest of the branch.
enum Part {
    Plain(Ast, u8),
    Rest(Tree),
}

impl<'p> Parser<'p> {
    fn expression(&mut self, stop: Token, in_look: bool) -> Result<Tree, RegexError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(RegexError::TooComplex);
        }
        let mut branches = Vec::new();
        let mut flags = LONGER;
        loop {
            let branch = self.branch(stop, in_look)?;
            flags |= up(flags | branch.flags);
            branches.push(branch);
            if self.lexer.next != Token::Alternative {
                break;
            }
            self.lexer.advance()?;
        }
        if self.lexer.next != stop {
            return Err(RegexError::Paren);
        }
        self.depth -= 1;
        if branches.len() == 1
            && let Some(branch) = branches.pop()
        {
            return Ok(branch);
        }
        if messy(flags) {
            return Ok(Tree { node: Node::Alternate(branches), flags, capture: 0 });
        }
        let alternatives = branches.iter().map(Tree::to_ast).collect();
        Ok(Tree::leaf(Ast::Alternate(alternatives), flags))
    }

    fn at_branch_end(&self, stop: Token) -> bool {
        let next = self.lexer.next;
        next == Token::Alternative || next == stop || next == Token::End
    }

    fn branch(&mut self, stop: Token, in_look: bool) -> Result<Tree, RegexError> {
        let mut parts = Vec::new();
        let mut flags = 0;
        while !self.at_branch_end(stop) {
            match self.quantified_atom(stop, in_look, &mut parts, flags)? {
                Part::Plain(ast, new_flags) => {
                    parts.push(ast);
                    flags = new_flags;
                }
                Part::Rest(tree) => return Ok(tree),
            }
        }
        Ok(Tree::leaf(Ast::concat(parts), flags))
    }

    /// An atom with its quantifier. Where its limits matter, the rest of the branch too: with
    /// `before`, what the branch holds up to here.
    fn quantified_atom(
        &mut self,
        stop: Token,
        in_look: bool,
        before: &mut Vec<Ast>,
        flags: u8,
    ) -> Result<Part, RegexError> {
        if let Some(constraint) = self.constraint()? {
            return Ok(Part::Plain(constraint, flags));
        }
        let (atom, capturing) = self.atom(in_look)?;
        let backref = matches!(atom.node, Node::Backref(..));
        let (min, max, preference) = self.quantifier()?;
        if min == 0 && max == Some(0) {
            return Ok(Part::Plain(Ast::Empty, flags));
        }
        let all = flags | preference | atom.flags;
        if !capturing && !backref && !messy(up(all)) {
            let ast = match atom.node {
                Node::Leaf(ast) => ast,
                _ => atom.to_ast(),
            };
            let once = min == 1 && max == Some(1);
            let ast = if once { ast } else { Ast::Repeat(Box::new(ast), min, max) };
            return Ok(Part::Plain(ast, all));
        }
        let mut rest_flags = combine(preference, atom.flags);
        let atom = Self::repeated(atom, min, max, preference);
        let prefix = Ast::concat(core::mem::take(before));
        let has_prefix = !matches!(prefix, Ast::Empty);
        if self.at_branch_end(stop) {
            if !has_prefix {
                return Ok(Part::Rest(atom));
            }
            let top_flags = flags | combine(flags, atom.flags);
            return Ok(Part::Rest(Tree::concat(Tree::leaf(prefix, flags), atom, top_flags)));
        }
        let rest = self.branch(stop, in_look)?;
        rest_flags |= combine(rest_flags, rest.flags);
        let top_flags = flags | combine(flags, rest_flags);
        if !has_prefix {
            return Ok(Part::Rest(Tree::concat(atom, rest, top_flags)));
        }
        let both_leaves = matches!((&atom.node, &rest.node), (Node::Leaf(_), Node::Leaf(_)));
        let tail = if both_leaves && !messy(up(atom.flags | rest.flags)) {
            let flags = combine(atom.flags, rest.flags);
            Tree::leaf(Ast::Concat(vec![atom.to_ast(), rest.to_ast()]), flags)
        } else {
            Tree::concat(atom, rest, rest_flags)
        };
        Ok(Part::Rest(Tree::concat(Tree::leaf(prefix, flags), tail, top_flags)))
    }

    /// The node for an atom and how often it comes.
    fn repeated(mut atom: Tree, min: u32, max: Option<u32>, preference: u8) -> Tree {
        const ALL: u8 = LONGER | SHORTER | MIXED;
        let own = atom.flags & ALL;
        let flags = combine(preference, atom.flags);
        if let Node::Backref(number, _, _, ast) = atom.node {
            atom.node = Node::Backref(number, min, max, ast);
            atom.flags |= flags;
            return atom;
        }
        if min == 1 && max == Some(1) && (preference == 0 || own == 0 || preference == own) {
            return atom;
        }
        if atom.flags & (CAPTURES | BACKREFS) == 0 {
            return Tree::leaf(Ast::Repeat(Box::new(atom.to_ast()), min, max), flags);
        }
        if min > 0 && atom.flags & BACKREFS == 0 {
            // Only the last one's captures count.
            let others = Ast::Repeat(Box::new(atom.to_ast()), min - 1, max.map(|max| max - 1));
            return Tree::concat(Tree::leaf(others, flags & PREFERENCE), atom, flags);
        }
        Tree { node: Node::Repeat(Box::new(atom), min, max), flags, capture: 0 }
    }

    /// What matches a place: it takes no quantifier.
    fn constraint(&mut self) -> Result<Option<Ast>, RegexError> {
        let assertion = match self.lexer.next {
            Token::LineStart => Assertion::LineStart,
            Token::LineEnd => Assertion::LineEnd,
            Token::TextStart => Assertion::TextStart,
            Token::TextEnd => Assertion::TextEnd,
            Token::WordStart => Assertion::WordStart,
            Token::WordEnd => Assertion::WordEnd,
            Token::WordBoundary => Assertion::WordBoundary,
            Token::NotWordBoundary => Assertion::NotWordBoundary,
            Token::Look(look) => {
                self.lexer.advance()?;
                let inner = self.expression(Token::Close, true)?;
                self.lexer.advance()?;
                let index = u32::try_from(self.looks.len()).map_err(|_| RegexError::TooComplex)?;
                self.looks.push((look, inner.to_ast()));
                return Ok(Some(Ast::Look(index)));
            }
            _ => return Ok(None),
        };
        self.lexer.advance()?;
        Ok(Some(Ast::Assert(assertion)))
    }

    /// An atom, and whether it is a capturing parenthesis.
    fn atom(&mut self, in_look: bool) -> Result<(Tree, bool), RegexError> {
        let ignore_case = self.lexer.flags.ignore_case;
        let set = match self.lexer.next {
            Token::Star(_) | Token::Plus(_) | Token::Question(_) | Token::BraceOpen => {
                return Err(RegexError::BadRepetition);
            }
            Token::Close if self.lexer.flags.flavor != Flavor::Extended => {
                return Err(RegexError::Paren);
            }
            Token::Close => CharSet::one(b')'.into(), false),
            Token::Plain(character) => CharSet::one(character, ignore_case),
            Token::Bracket(positive) => {
                let mut set = self.bracket()?;
                if !positive {
                    if self.lexer.flags.newline_stops {
                        set.insert(b'\n'.into(), false);
                    }
                    set = set.complement();
                }
                set
            }
            Token::Class(class) => class_set(class, ignore_case),
            Token::NotClass(class) => class_set(class, ignore_case).complement(),
            Token::Dot => {
                let mut set = CharSet::ALL;
                if self.lexer.flags.newline_stops {
                    set.remove(b'\n');
                }
                set
            }
            Token::Open(captures) => return self.group(captures && !in_look, in_look),
            Token::Backref(number) => return Ok((self.back_reference(number, in_look)?, false)),
            _ => return Err(RegexError::Assertion),
        };
        self.lexer.advance()?;
        Ok((Tree::leaf(Ast::Set(set), 0), false))
    }

    fn group(&mut self, captures: bool, in_look: bool) -> Result<(Tree, bool), RegexError> {
        let mut number = 0;
        if captures {
            self.lexer.captures += 1;
            number = self.lexer.captures;
        }
        self.lexer.advance()?;
        let mut atom = self.expression(Token::Close, in_look)?;
        self.lexer.advance()?;
        if captures {
            if atom.capture == 0 {
                atom.flags |= CAPTURES;
                atom.capture = number;
            } else {
                let flags = atom.flags | CAPTURES;
                atom = Tree { node: Node::Group(Box::new(atom)), flags, capture: number };
            }
            if self.keep_groups {
                let index = usize::try_from(number).map_err(|_| RegexError::TooComplex)?;
                self.groups.resize(self.groups.len().max(index + 1), None);
                let ast = atom.to_ast().without_constraints();
                self.count_copy(&ast)?;
                self.groups[index] = Some(ast);
            }
        }
        Ok((atom, captures))
    }

    fn count_copy(&mut self, ast: &Ast) -> Result<(), RegexError> {
        self.copied += ast.nodes();
        if self.copied > MAX_COPIED { Err(RegexError::TooComplex) } else { Ok(()) }
    }

    fn back_reference(&mut self, number: u32, in_look: bool) -> Result<Tree, RegexError> {
        let group = usize::try_from(number).ok().and_then(|number| self.groups.get(number));
        let ast = match group {
            Some(Some(ast)) if !in_look => ast.clone(),
            _ => return Err(RegexError::BackReference),
        };
        self.count_copy(&ast)?;
        self.lexer.advance()?;
        let node = Node::Backref(number, 1, Some(1), ast);
        Ok(Tree { node, flags: BACKREFS, capture: 0 })
    }

    /// How often at least and at most, and which preference that expresses.
    fn quantifier(&mut self) -> Result<(u32, Option<u32>, u8), RegexError> {
        let preference = |greedy| if greedy { LONGER } else { SHORTER };
        let found = match self.lexer.next {
            Token::Star(greedy) => (0, None, preference(greedy)),
            Token::Plus(greedy) => (1, None, preference(greedy)),
            Token::Question(greedy) => (0, Some(1), preference(greedy)),
            Token::BraceOpen => return self.bound(),
            _ => return Ok((1, Some(1), 0)),
        };
        self.lexer.advance()?;
        Ok(found)
    }

    fn bound(&mut self) -> Result<(u32, Option<u32>, u8), RegexError> {
        self.lexer.advance()?;
        let min = self.number()?;
        let (max, range) = if self.lexer.next == Token::Comma {
            self.lexer.advance()?;
            let max = match self.lexer.next {
                Token::Digit(_) => Some(self.number()?),
                _ => None,
            };
            if max.is_some_and(|max| min > max) {
                return Err(RegexError::BadBrace);
            }
            (max, true)
        } else {
            (Some(min), false)
        };
        let Token::BraceClose(greedy) = self.lexer.next else { return Err(RegexError::BadBrace) };
        self.lexer.advance()?;
        let preference = match (range, greedy) {
            (false, _) => 0,
            (true, true) => LONGER,
            (true, false) => SHORTER,
        };
        Ok((min, max, preference))
    }

    fn number(&mut self) -> Result<u32, RegexError> {
        let mut number = 0;
        while let Token::Digit(digit) = self.lexer.next
            && number < MAX_REPEAT
        {
            number = number * 10 + digit;
            self.lexer.advance()?;
        }
        if matches!(self.lexer.next, Token::Digit(_)) || number > MAX_REPEAT {
            return Err(RegexError::BadBrace);
        }
        Ok(number)
    }

    /// The insides of brackets; the closing one stays to be read.
    fn bracket(&mut self) -> Result<CharSet, RegexError> {
        self.lexer.advance()?;
        let mut set = CharSet::default();
        while !matches!(self.lexer.next, Token::BracketClose | Token::End) {
            self.bracket_part(&mut set)?;
        }
        Ok(set)
    }

    fn bracket_part(&mut self, set: &mut CharSet) -> Result<(), RegexError> {
        let ignore_case = self.lexer.flags.ignore_case;
        let first = match self.lexer.next {
            Token::Range => return Err(RegexError::Range),
            Token::Plain(character) => {
                self.lexer.advance()?;
                character
            }
            Token::CollatingElement => element(self.name()?)?,
            Token::EquivalenceClass => {
                let character = element(self.name()?)?;
                set.insert(character, ignore_case);
                return Ok(());
            }
            Token::CharacterClass => {
                let name = self.name()?;
                let class = Class::named(name, self.lexer.before_14)?;
                set.insert_class(class, ignore_case);
                return Ok(());
            }
            Token::Class(class) => {
                set.insert_class(class, ignore_case);
                return self.lexer.advance();
            }
            Token::NotClass(class) => {
                set.union(class_set(class, ignore_case).complement());
                return self.lexer.advance();
            }
            _ => return Err(RegexError::Assertion),
        };
        if self.lexer.next != Token::Range {
            set.insert(first, ignore_case);
            return Ok(());
        }
        self.lexer.advance()?;
        let last = match self.lexer.next {
            Token::Plain(character) => {
                self.lexer.advance()?;
                character
            }
            Token::Range => {
                self.lexer.advance()?;
                b'-'.into()
            }
            Token::CollatingElement => element(self.name()?)?,
            _ => return Err(RegexError::Range),
        };
        if first > last {
            return Err(RegexError::Range);
        }
        set.insert_range(first, last, ignore_case);
        Ok(())
    }

    /// The name within `[.`, `[=` or `[:`.
    fn name(&mut self) -> Result<&'p [u8], RegexError> {
        let start = self.lexer.position();
        self.lexer.advance()?;
        let mut end = self.lexer.position();
        while matches!(self.lexer.next, Token::Plain(_)) {
            end = self.lexer.position();
            self.lexer.advance()?;
        }
        self.lexer.advance()?;
        Ok(self.lexer.slice(start, end))
    }
}

fn class_set(class: Class, ignore_case: bool) -> CharSet {
    let mut set = CharSet::default();
    set.insert_class(class, ignore_case);
    set
}
