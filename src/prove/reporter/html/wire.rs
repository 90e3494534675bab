//! The wire as a picture: who reaches which port. A frame is what is declared, what fills it is what was seen.

use super::super::markup::Text;
use super::{Place, count, verb};
use crate::plan::net::{Ports, Protocol};
use crate::plan::proof::{Check, Echo, Reaction, Sweep};
use crate::prove::judge::sweep::{Run, Tone, right};
use crate::prove::run::{Judged, Outcome};
use crate::prove::verdict::Verdict;
use std::collections::BTreeSet;

/// How many columns are drawn at most. Where there are more, each holds several ports and shows the worst of them.
const COLUMNS: usize = 40;
/// How many differences are named; the rest is counted.
const NAMED: usize = 12;
/// A row is as high as this, and a column at least as wide; where there are few of them, they take what room there is.
const HEIGHT: usize = 28;
const WIDTH: usize = 34;
const WIDEST: usize = 64;
const ROOM: usize = 1030;

/// What is to be drawn of a port, the worst last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum State {
    /// It was not asked.
    Unasked,
    /// Kept out, as declared.
    Shut,
    /// Let in as declared, and UDP keeps silent.
    Quiet,
    /// Let in as declared, and nothing listens.
    Refused,
    /// Let in as declared, and something answers.
    Open,
    /// It could not be told.
    Unknown,
    /// Let in by the spec and kept out, or silent where it should refuse.
    Missing,
    /// Answers, and should not.
    Extra,
}

impl State {
    fn words(self) -> &'static str {
        match self {
            State::Unasked => "not asked",
            State::Shut => "kept out, as declared",
            State::Quiet => "let in as declared; silent, as UDP may be",
            State::Refused => "let in as declared; nothing listens",
            State::Open => "let in as declared; something answers",
            State::Unknown => "could not be told",
            State::Missing => "declared and not seen",
            State::Extra => "answers and is not declared",
        }
    }

    fn is_plain(self) -> bool {
        matches!(self, State::Unasked | State::Shut)
    }
}

/// A sweep, and what came back.
struct Row<'a> {
    sweep: &'a Sweep,
    seen: &'a [Run],
    echo: Option<State>,
    /// What came of the sweep after the reboot.
    again: Option<Verdict>,
}

impl Row<'_> {
    fn label(&self) -> String {
        let on = self.sweep.interface.as_ref().map(|i| format!(" on {i}")).unwrap_or_default();
        format!("{}{on}", self.sweep.source)
    }

    fn state(&self, port: u16) -> State {
        // The runs are in the order of the ports.
        let at = self.seen.partition_point(|r| r.ports.last < port);
        let Some(run) = self.seen.get(at).filter(|r| r.ports.contains(port)) else {
            let asked = self.sweep.protocol == Protocol::Tcp || self.sweep.lets_in(port);
            return if asked { State::Unknown } else { State::Unasked };
        };
        let declared = self.sweep.lets_in(port);
        match run.tone {
            Tone::Unknown => State::Unknown,
            tone => match (right(self.sweep, port, tone), declared, tone) {
                (true, false, _) => State::Shut,
                (true, true, Tone::Open) => State::Open,
                (true, true, Tone::Refused) => State::Refused,
                (true, true, Tone::Heard) if self.sweep.protocol == Protocol::Tcp => State::Refused,
                (true, true, _) => State::Quiet,
                (false, false, Tone::Open | Tone::Heard | Tone::Refused) => State::Extra,
                (false, ..) => State::Missing,
            },
        }
    }
}

/// Neighbouring ports that look alike from everywhere, and how they look from each.
struct Column {
    ports: Ports,
    states: Vec<State>,
}

// All ports from 1 to 65535 in as few columns as there are differences; of UDP, those that were asked. And whether even these were
// too many.
fn columns(rows: &[Row], protocol: Protocol) -> (Vec<Column>, bool) {
    let state = |port: u16| -> Vec<State> { rows.iter().map(|r| r.state(port)).collect() };
    let mut columns: Vec<Column> = Vec::new();
    match protocol {
        Protocol::Tcp => {
            let declared = rows.iter().flat_map(|r| r.sweep.open.iter().copied());
            let cuts: BTreeSet<u16> = declared
                .chain(rows.iter().flat_map(|r| r.seen.iter().map(|s| s.ports)))
                .flat_map(|p| [Some(p.first), p.last.checked_add(1)])
                .flatten()
                .filter(|p| *p > 0)
                .chain([1])
                .collect();
            let mut cuts = cuts.into_iter().peekable();
            while let Some(first) = cuts.next() {
                let ports = Ports { first, last: cuts.peek().map_or(u16::MAX, |next| next - 1) };
                let states = state(first);
                match columns.last_mut() {
                    Some(column) if column.states == states => column.ports.last = ports.last,
                    _ => columns.push(Column { ports, states }),
                }
            }
        }
        Protocol::Udp => {
            let asked: BTreeSet<u16> = rows.iter().flat_map(|r| r.sweep.ports()).collect();
            columns.extend(asked.into_iter().map(|port| Column { ports: Ports::one(port), states: state(port) }));
        }
    }
    if columns.len() <= COLUMNS {
        return (columns, false);
    }
    let together = |some: &[Column]| {
        let (Some(first), Some(last)) = (some.first(), some.last()) else { return None };
        let ports = Ports { first: first.ports.first, last: last.ports.last };
        let worst = |row: usize| some.iter().filter_map(|c| c.states.get(row)).max().copied();
        Some(Column { ports, states: (0..rows.len()).filter_map(worst).collect() })
    };
    (columns.chunks(columns.len().div_ceil(COLUMNS)).filter_map(together).collect(), true)
}

fn echo(judged: &Judged, wanted: &Echo) -> State {
    match (judged.judgement.verdict, wanted.answered) {
        (Verdict::Unknown, _) => State::Unknown,
        (Verdict::Holds, true) => State::Open,
        (Verdict::Holds, false) => State::Shut,
        (Verdict::Fails, true) => State::Missing,
        (Verdict::Fails, false) => State::Extra,
    }
}

fn rows(outcome: &Outcome, protocol: Protocol) -> Vec<Row<'_>> {
    let echoes: Vec<(&Judged, &Echo)> = outcome
        .judged
        .iter()
        .filter_map(|j| if let Check::Echo(echo) = &j.proof.check { Some((j, echo)) } else { None })
        .collect();
    let mut rows = Vec::new();
    for (at, judged) in outcome.judged.iter().enumerate() {
        let Check::Sweep(sweep) = &judged.proof.check else { continue };
        if sweep.protocol != protocol {
            continue;
        }
        let seen = outcome.pictures.iter().find(|p| p.proof == at).map_or(&[][..], |p| &p.seen);
        let ping = echoes.iter().find(|(_, e)| e.source == sweep.source && e.interface == sweep.interface);
        let echo = ping.filter(|_| protocol == Protocol::Tcp).map(|(judged, wanted)| echo(judged, wanted));
        rows.push(Row { sweep, seen, echo, again: judged.again.as_ref().map(|a| a.verdict) });
    }
    rows
}

/// The cell of a port: as wide as `width`, its left upper corner at `x` and `y`.
fn cell(state: State, x: usize, y: usize, width: usize) -> String {
    // A cell is no wider than it needs to be, and stands in the middle of its column.
    let w = (width - 10).min(30);
    let (x, y, h) = (x + (width - w) / 2, y + 5, HEIGHT - 10);
    let (mid_x, mid_y) = (x + w / 2, y + h / 2);
    let frame = |class: &str| format!("<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"/>");
    match state {
        State::Unasked => String::new(),
        State::Shut => format!("<circle class=\"dot\" cx=\"{mid_x}\" cy=\"{mid_y}\" r=\"1.8\"/>"),
        State::Quiet => frame("want"),
        State::Refused => {
            format!("{}<circle class=\"refused\" cx=\"{mid_x}\" cy=\"{mid_y}\" r=\"3.6\"/>", frame("want"))
        }
        State::Open => format!(
            "{}<rect class=\"open\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            frame("want"),
            x + 3,
            y + 3,
            w - 6,
            h - 6
        ),
        State::Unknown => {
            format!(
                "{}<text class=\"unsure\" x=\"{mid_x}\" y=\"{}\" text-anchor=\"middle\">?</text>",
                frame("lost"),
                mid_y + 4
            )
        }
        State::Missing => format!("{}{}", frame("missing"), cross(mid_x, mid_y)),
        State::Extra => frame("extra"),
    }
}

fn cross(x: usize, y: usize) -> String {
    format!("<path class=\"cross\" d=\"M{} {}l8 8m0 -8l-8 8\"/>", x - 4, y - 4)
}

fn picture(rows: &[Row], columns: &[Column], protocol: Protocol, place: &Place) -> String {
    let label = rows.iter().map(|r| r.label().chars().count()).max().unwrap_or(0) * 15 / 2 + 18;
    let longest = columns.iter().map(|c| c.ports.to_string().len()).max().unwrap_or(0).max("echo".len());
    // The names of the ports lean over to the right.
    let (top, lean) = (longest * 6 + 20, longest * 5);
    let pings = rows.iter().any(|r| r.echo.is_some());
    let begin = label + if pings { WIDTH + 14 } else { 0 };
    let w = (ROOM.saturating_sub(begin + lean) / columns.len().max(1)).clamp(WIDTH, WIDEST);
    let edge = begin + columns.len() * w;
    let (width, height) = (edge + lean, top + rows.len() * HEIGHT + 6);
    let name = format!("{}wire-{}", place.prefix, protocol.as_str());
    let mut described = String::new();
    let mut drawn = String::new();
    for (at, row) in rows.iter().enumerate() {
        let y = top + at * HEIGHT;
        if at % 2 == 0 {
            drawn.push_str(&format!(
                "<rect class=\"stripe\" x=\"0\" y=\"{y}\" width=\"{}\" height=\"{HEIGHT}\"/>",
                edge
            ));
        }
        drawn.push_str(&format!("<text class=\"mono\" x=\"8\" y=\"{}\">{}</text>\n", y + 18, Text(&row.label())));
        let mut said = Vec::new();
        for column in columns {
            let state = column.states.get(at).copied().unwrap_or(State::Unasked);
            if !state.is_plain() {
                said.push(format!("{} {}", column.ports, state.words()));
            }
        }
        let said = if said.is_empty() { "nothing is declared, nothing answers".to_owned() } else { said.join(", ") };
        described.push_str(&format!("From {}: {said}. ", row.label()));
    }
    if pings {
        drawn.push_str(&head(label, WIDTH, top, "echo", "soft"));
        for (at, row) in rows.iter().enumerate() {
            let Some(state) = row.echo else { continue };
            let title = format!("echo from {}: {}", row.label(), state.words());
            let cell = cell(state, label, top + at * HEIGHT, WIDTH);
            drawn.push_str(&format!("<g><title>{}</title>{cell}</g>\n", Text(&title)));
        }
        let x = label + WIDTH + 7;
        drawn.push_str(&format!("<path class=\"rule\" d=\"M{x} {}V{}\"/>\n", top - 4, height - 6));
    }
    let mut x = begin;
    for column in columns {
        let class = if column.states.iter().all(|s| s.is_plain()) { "soft" } else { "port" };
        drawn.push_str(&head(x, w, top, &column.ports.to_string(), class));
        for (at, state) in column.states.iter().enumerate() {
            let cell = cell(*state, x, top + at * HEIGHT, w);
            if state.is_plain() {
                drawn.push_str(&cell);
            } else if let Some(row) = rows.get(at) {
                let title = format!("{}/{} from {}: {}", column.ports, protocol.as_str(), row.label(), state.words());
                drawn.push_str(&format!("<g><title>{}</title>{cell}</g>\n", Text(&title)));
            }
        }
        drawn.push('\n');
        x += w;
    }
    let shown = protocol.as_str().to_uppercase();
    format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{shown} as seen\">\n\
         <svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{name}-title {name}-desc\">\n\
         <title id=\"{name}-title\">{shown} ports by source, declared against seen</title>\n<desc id=\"{name}-desc\">{}</desc>\n{drawn}</svg>\n</div>\n",
        Text(described.trim_end()),
    )
}

fn head(x: usize, width: usize, top: usize, text: &str, class: &str) -> String {
    let (x, y) = (x + width / 2 + 3, top - 6);
    format!("<text class=\"{class}\" transform=\"translate({x} {y}) rotate(-50)\">{}</text>\n", Text(text))
}

// What is not as declared, in words too: a picture may be wider than a screen, or not be seen at all.
fn differences(rows: &[Row], columns: &[Column], protocol: Protocol) -> String {
    let mut said = Vec::new();
    for (at, row) in rows.iter().enumerate() {
        let ports =
            columns.iter().filter_map(|c| Some((format!("{}/{}", c.ports, protocol.as_str()), *c.states.get(at)?)));
        for (what, state) in row.echo.map(|e| ("echo".to_owned(), e)).into_iter().chain(ports) {
            if state >= State::Unknown {
                said.push((state, format!("{what} from {}: {}", row.label(), state.words())));
            }
        }
    }
    if said.is_empty() {
        return String::new();
    }
    // The worst first; the sort is stable.
    said.sort_by_key(|(state, _)| std::cmp::Reverse(*state));
    let mut out = String::from("<ul>\n");
    said.iter().take(NAMED).for_each(|(_, words)| out.push_str(&format!("<li>{}</li>\n", Text(words))));
    if said.len() > NAMED {
        out.push_str(&format!("<li>and {} more</li>\n", said.len() - NAMED));
    }
    out.push_str("</ul>\n");
    out
}

fn legend(states: &BTreeSet<State>) -> String {
    let mut out = String::from("<ul class=\"legend\">\n");
    for state in states.iter().filter(|s| **s != State::Unasked) {
        out.push_str(&format!(
            "<li><svg width=\"{WIDTH}\" height=\"{HEIGHT}\" aria-hidden=\"true\">{}</svg>{}</li>\n",
            cell(*state, 0, 0, WIDTH),
            state.words()
        ));
    }
    out.push_str("</ul>\n");
    out
}

/// The section of the page; nothing where no sweep was asked for.
pub(super) fn section(outcome: &Outcome, place: &Place) -> String {
    let mut body = String::new();
    let mut states = BTreeSet::new();
    for protocol in [Protocol::Tcp, Protocol::Udp] {
        let rows = rows(outcome, protocol);
        if rows.is_empty() {
            continue;
        }
        let (columns, several) = columns(&rows, protocol);
        let echoes = rows.iter().filter_map(|r| r.echo);
        let cells: Vec<State> = columns.iter().flat_map(|c| c.states.iter().copied()).chain(echoes).collect();
        states.extend(&cells);
        let differ = cells.iter().filter(|s| matches!(s, State::Missing | State::Extra)).count();
        let lost = cells.iter().filter(|s| **s == State::Unknown).count();
        let what = match protocol {
            Protocol::Tcp => "TCP, all 65,535 ports",
            Protocol::Udp => "UDP, the declared ports and those that are commonly abused",
        };
        let mut said = match differ {
            0 if lost > 0 => "nothing that was seen differs from what is declared".to_owned(),
            0 => "what is seen is what is declared".to_owned(),
            1 => "<b class=\"bad\">in one place</b> what is seen is not what is declared".to_owned(),
            n => format!("<b class=\"bad\">in {n} places</b> what is seen is not what is declared"),
        };
        if lost > 0 {
            said.push_str(&format!("; <b class=\"unsure\">{}</b> could not be told", count(lost, "place")));
        }
        if rows.iter().any(|r| r.sweep.shut == Reaction::Refused) {
            said.push_str(". What is not declared must be refused");
        }
        if several {
            said.push_str(
                ". There are so many differences that a column holds several ports and shows the worst of them",
            );
        }
        // The picture is of the first boot; what is otherwise after the reboot is not to be overlooked beside it.
        let later = rows.iter().filter(|r| r.again == Some(Verdict::Fails)).count();
        if later > 0 {
            let fail = verb(later, "fails", "fail");
            said.push_str(&format!(". <b class=\"bad\">{later} of these sweeps</b> {fail} after the reboot"));
        }
        body.push_str(&format!(
            "<figure><figcaption><b>{what}</b>, from {}: {said}.{}</figcaption>\n{}</figure>\n",
            count(rows.len(), "source"),
            differences(&rows, &columns, protocol),
            picture(&rows, &columns, protocol, place)
        ));
    }
    if body.is_empty() {
        return body;
    }
    let text = "<p>Who reaches which port of the machine, at its first boot. A frame is what the spec declares, what fills it is what was seen. \
        Ports that look alike from everywhere share a column, so that all of them fit.</p>\n";
    place.section("wire", "The wire", &format!("{text}{}{body}", legend(&states)))
}
