//! The cluster as a picture: nodes in a ring, and an arrow for each direction that is linked. Of many
//! nodes, of which a picture would show a tangle, the matrix is the picture.

use std::f64::consts::PI;

use maud::{Markup, html};

use super::{
    links::matrix,
    mark::{mark, scrolled},
    view::{Pair, State, View, count},
};

/// Up to so many nodes are drawn, however they are linked.
const MESH: usize = 8;
/// Up to so many are drawn if they have few links: a primary with its standbys.
const STAR: usize = 16;

const WIDTH: f64 = 148.0;
const HEIGHT: f64 = 46.0;
const MARGIN: f64 = 16.0;

pub(super) fn section(view: &View<'_>) -> Markup {
    let (nodes, pairs) = (view.drawn(), view.pairs());
    html! {
        @if nodes.is_empty() {
            p { "There is no node." }
        } @else {
            @if is_drawn(&nodes, &pairs) { (drawn(view, &nodes, &pairs)) } @else { (matrix(view, &nodes, &pairs)) }
            (legend())
        }
    }
}

/// Whether there are few enough to be drawn.
pub(super) fn is_drawn(nodes: &[usize], pairs: &[Pair<'_>]) -> bool {
    nodes.len() <= MESH || (nodes.len() <= STAR && pairs.len() <= 2 * nodes.len())
}

/// What the marks mean.
fn legend() -> Markup {
    let line = |state: State| {
        html! {
            svg.sample viewBox="0 0 44 16" aria-hidden="true" focusable="false" {
                path.line.(state.class()) d="M2 8H42" {}
            }
            (mark(state))
        }
    };
    html! {
        ul.legend aria-label="Legend" {
            li { (line(State::Good)) "proved" }
            li { (line(State::Bad)) "not as it should be" }
            li { (line(State::Unknown)) "no session, or nothing known" }
            li { (mark(State::Odd)) "to be looked at" }
        }
    }
}

#[derive(Clone, Copy)]
struct Point {
    x: f64,
    y: f64,
}

impl Point {
    fn between(self, other: Self, part: f64) -> Self {
        Self { x: self.x + (other.x - self.x) * part, y: self.y + (other.y - self.y) * part }
    }

    fn is_in_box(self, middle: Self) -> bool {
        const AIR: f64 = 5.0;
        (self.x - middle.x).abs() <= WIDTH / 2.0 + AIR
            && (self.y - middle.y).abs() <= HEIGHT / 2.0 + AIR
    }
}

/// A quadratic curve.
#[derive(Clone, Copy)]
struct Curve(Point, Point, Point);

impl Curve {
    fn at(self, part: f64) -> Point {
        let Self(a, b, c) = self;
        a.between(b, part).between(b.between(c, part), part)
    }

    /// The part of it between two places.
    fn part(self, from: f64, to: f64) -> Self {
        let Self(a, b, c) = self;
        let middle = a.between(b, from).between(b.between(c, from), to);
        Self(self.at(from), middle, self.at(to))
    }

    /// The part that is outside of both boxes.
    fn outside(self, from: Point, to: Point) -> Self {
        const STEPS: u32 = 400;
        let parts = (0..=STEPS).map(|step| f64::from(step) / f64::from(STEPS));
        let start = parts.clone().find(|part| !self.at(*part).is_in_box(from)).unwrap_or(0.0);
        let end = parts.rev().find(|part| !self.at(*part).is_in_box(to)).unwrap_or(1.0);
        if start < end { self.part(start, end) } else { self }
    }

    fn path(self) -> String {
        let Self(a, b, c) = self;
        format!("M{:.1} {:.1}Q{:.1} {:.1} {:.1} {:.1}", a.x, a.y, b.x, b.y, c.x, c.y)
    }

    /// The head of an arrow at its end.
    fn head(self) -> String {
        let Self(_, from, tip) = self;
        let (x, y) = (tip.x - from.x, tip.y - from.y);
        let length = x.hypot(y).max(1.0);
        let (x, y) = (x / length, y / length);
        let (back, side) = (11.0, 5.0);
        format!(
            "M{:.1} {:.1}L{:.1} {:.1}L{:.1} {:.1}Z",
            tip.x,
            tip.y,
            tip.x - back * x - side * y,
            tip.y - back * y + side * x,
            tip.x - back * x + side * y,
            tip.y - back * y - side * x,
        )
    }
}

/// Where the nodes are.
struct Ring {
    places: Vec<(usize, Point)>,
}

impl Ring {
    fn of(nodes: &[usize]) -> Self {
        let number = nodes.len();
        #[expect(clippy::cast_precision_loss, reason = "there are few nodes")]
        let count = number as f64;
        // Neighbours have room for an arrow between them.
        let chord = if number > MESH { WIDTH + 40.0 } else { WIDTH + 80.0 };
        let radius = match number {
            1 => 0.0,
            2 => WIDTH,
            _ => (chord / 2.0 / (PI / count).sin()).max(130.0),
        };
        // The first is on the left of two, and above of more.
        let first = if number == 2 { PI } else { -PI / 2.0 };
        let place = |(turn, node): (u32, &usize)| {
            let angle = first + 2.0 * PI * f64::from(turn) / count;
            (*node, Point { x: radius * angle.cos(), y: radius * angle.sin() })
        };
        Self { places: (0..).zip(nodes).map(place).collect() }
    }

    fn place(&self, node: usize) -> Point {
        let mut places = self.places.iter();
        places.find(|(there, _)| *there == node).map_or(Point { x: 0.0, y: 0.0 }, |(_, at)| *at)
    }

    /// The smallest frame: its left, its top, its width and its height.
    fn frame(&self) -> [f64; 4] {
        let extent = |of: fn(&Point) -> f64, half: f64| {
            let all = self.places.iter().map(|(_, at)| of(at));
            let least = all.clone().fold(f64::INFINITY, f64::min) - half - MARGIN;
            let most = all.fold(f64::NEG_INFINITY, f64::max) + half + MARGIN;
            (least, most - least)
        };
        // A link of a node to itself, and arrows between two, go above and below the nodes.
        let high = if self.places.len() < 3 { HEIGHT } else { HEIGHT / 2.0 + 14.0 };
        let (left, width) = extent(|at| at.x, WIDTH / 2.0);
        let (top, height) = extent(|at| at.y, high);
        [left, top, width, height]
    }
}

fn drawn(view: &View<'_>, nodes: &[usize], pairs: &[Pair<'_>]) -> Markup {
    let ring = Ring::of(nodes);
    let [left, top, width, height] = ring.frame();
    let proved = pairs.iter().filter(|pair| pair.state == State::Good).count();
    let words = format!(
        "{}. {} of {} proved; the links are listed below, each with its evidence.",
        count(nodes.len(), "node", "nodes"),
        proved,
        count(pairs.len(), "direction", "directions"),
    );
    let picture = html! {
        svg.cluster.large[nodes.len() > 4] role="group" aria-labelledby="picture-title" aria-describedby="picture-words"
            viewBox=(format!("{left:.0} {top:.0} {width:.0} {height:.0}"))
            width=(format!("{width:.0}")) height=(format!("{height:.0}")) {
            title #picture-title { "The nodes, and which of their links are proved" }
            desc #picture-words { (words) }
            @for pair in pairs { (link(view, &ring, pair, pairs)) }
            @for index in nodes { (node(view, *index, ring.place(*index))) }
        }
    };
    scrolled("Picture of the cluster", &picture)
}

fn link(view: &View<'_>, ring: &Ring, pair: &Pair<'_>, pairs: &[Pair<'_>]) -> Markup {
    let (from, to) = (ring.place(pair.from), ring.place(pair.to));
    let curve = if pair.from == pair.to {
        itself(from)
    } else {
        let back = pairs.iter().any(|other| (other.from, other.to) == (pair.to, pair.from));
        let (x, y) = (to.x - from.x, to.y - from.y);
        let length = x.hypot(y).max(1.0);
        // Each direction bends to its own right hand, the less the more there are to cross.
        let bend = match (back, ring.places.len()) {
            (false, _) => 0.0,
            (true, ..=4) => 24.0,
            (true, _) => 13.0,
        };
        let middle = from.between(to, 0.5);
        let control =
            Point { x: middle.x - y / length * bend * 2.0, y: middle.y + x / length * bend * 2.0 };
        Curve(from, control, to).outside(from, to)
    };
    // Where many arrows cross, in the middle, marks would lie on one another.
    let mark_at = curve.at(if ring.places.len() > 4 { 0.72 } else { 0.5 });
    let (name_from, name_to) = (view.names[pair.from], view.names[pair.to]);
    let several = match pair.links.len() {
        1 => String::new(),
        more => format!(" ({})", count(more, "link", "links")),
    };
    let words = format!("{name_from} to {name_to}{several}: {}", word(pair.state));
    let class = pair.state.class();
    html! {
        a.entry.link href={ "#link-" (pair.worst()) } aria-label=(words)
            data-nodes=(view.numbers(&[name_from, name_to])) data-state=(pair.state.filter())
            data-codes=(super::view::codes(pair.links.iter().flat_map(|(_, one)| view.about(one)))) {
            title { (words) }
            path.reach d=(curve.path()) {}
            path.line.(class) d=(curve.path()) {}
            path.head.(class) d=(curve.head()) {}
            use.mark.(class) href={ "#mark-" (class) } width="18" height="18"
                x=(format!("{:.1}", mark_at.x - 9.0)) y=(format!("{:.1}", mark_at.y - 9.0)) {}
        }
    }
}

/// The curve of a node's link to itself: above it.
fn itself(at: Point) -> Curve {
    let top = at.y - HEIGHT / 2.0 - 5.0;
    Curve(
        Point { x: at.x - 22.0, y: top },
        Point { x: at.x, y: top - 44.0 },
        Point { x: at.x + 22.0, y: top },
    )
}

/// How the links from one node to another are.
pub(super) const fn word(state: State) -> &'static str {
    match state {
        State::Good => "proved",
        State::Odd => "to be looked at",
        State::Bad => "not proved",
        State::Unknown => "nothing known",
    }
}

fn node(view: &View<'_>, index: usize, at: Point) -> Markup {
    let name = view.names[index];
    let state = view.node_state(name);
    let known = view.verification.nodes.iter().find(|node| node.name == name);
    let below = match known.map(|node| node.server_version.as_deref()) {
        Some(Some(version)) => {
            format!("PostgreSQL {}", version.split(' ').next().unwrap_or_default())
        }
        Some(None) => "does not answer".to_owned(),
        None => "not described".to_owned(),
    };
    let (x, y) = (at.x - WIDTH / 2.0, at.y - HEIGHT / 2.0);
    let place = |value: f64| format!("{value:.1}");
    // It begins with what is to be seen: who speaks to the browser says that.
    let words = format!("{name} {below}: {}", node_word(state));
    html! {
        a.entry.node href={ "#node-" (index) } aria-label=(words)
            data-nodes=(index) data-state=(state.filter()) data-codes="" {
            title { (words) }
            rect.box.(state.class()) x=(place(x)) y=(place(y)) width=(WIDTH) height=(HEIGHT) rx="8" {}
            use.mark.(state.class()) href={ "#mark-" (state.class()) } width="16" height="16"
                x=(place(x + 9.0)) y=(place(y + 15.0)) {}
            text.name x=(place(x + 33.0)) y=(place(y + 20.0)) { (cut(name, 13)) }
            " "
            text.below x=(place(x + 33.0)) y=(place(y + 36.0)) { (cut(&below, 16)) }
        }
    }
}

/// How a node is, but for its links.
pub(super) const fn node_word(state: State) -> &'static str {
    match state {
        State::Good => "as it should be",
        State::Odd => "to be looked at",
        State::Bad => "not as it should be",
        State::Unknown => "could not be asked",
    }
}

/// What fits into a box.
fn cut(text: &str, wide: usize) -> String {
    if text.chars().count() <= wide {
        return text.to_owned();
    }
    text.chars().take(wide - 1).chain(['…']).collect()
}
