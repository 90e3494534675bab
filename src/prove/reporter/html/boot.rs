//! A boot as a picture: what happened on the machine, and which port answered when. A frame is when it may answer.

use super::super::boot_name;
use super::super::markup::Text;
use super::{Place, count};
use crate::plan::proof::{Boot, Since};
use crate::prove::judge::sweep::Tone;
use crate::prove::judge::window::{Band, Mark, Timeline};
use crate::prove::run::Outcome;
use std::collections::BTreeMap;

/// How many rows are drawn at most; what was exposed comes first.
const ROWS: usize = 40;
/// The machine says what happened, and might say much.
const MARKS: usize = 16;
const HEIGHT: usize = 22;
const PLOT: usize = 820;

/// A port as one source sees it.
struct Row<'a> {
    label: String,
    since: Since,
    exposed_ms: u64,
    bands: Vec<&'a Band>,
}

fn rows(timeline: &Timeline) -> Vec<Row<'_>> {
    let mut by_port: BTreeMap<_, Vec<&Band>> = BTreeMap::new();
    for band in &timeline.bands {
        by_port.entry((band.port, band.source, &band.interface)).or_default().push(band);
    }
    let mut rows: Vec<Row> = by_port
        .into_values()
        .map(|bands| Row {
            label: bands.first().map(|b| b.label()).unwrap_or_default(),
            since: bands.first().map_or(Since::Never, |b| b.since),
            exposed_ms: bands.iter().map(|b| b.exposed_ms).sum(),
            bands,
        })
        .collect();
    // The sort is stable: among them, the order of the ports stays.
    rows.sort_by_key(|r| r.exposed_ms == 0);
    rows
}

fn seconds(ms: u64) -> String {
    format!("{}.{:02} s", ms / 1000, ms % 1000 / 10)
}

/// From milliseconds to places.
struct Scale {
    left: usize,
    length: u64,
}

impl Scale {
    fn at(&self, ms: u64) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a place in a picture")]
        let place = self.left as f64 + PLOT as f64 * (ms.min(self.length) as f64 / self.length as f64);
        place
    }

    // As many ticks as can be read.
    fn ticks(&self) -> Vec<u64> {
        let steps = [100, 200, 500, 1_000, 2_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 600_000];
        let step = steps.into_iter().find(|s| self.length / s <= 12).unwrap_or(self.length.div_ceil(12).max(1));
        (0..=self.length / step).map(|n| n * step).collect()
    }
}

fn mark(mark: &Mark, scale: &Scale, y: usize, bottom: usize) -> String {
    let x = scale.at(mark.at_ms);
    // Where there is no room at the right, the time stands at the left.
    let late = mark.at_ms.min(scale.length) * 10 > scale.length * 9;
    let (text_x, anchor) = if late { (x - 9.0, "end") } else { (x + 9.0, "start") };
    format!(
        "<path class=\"edge\" d=\"M{x:.1} {}V{bottom}\"/><path class=\"mark\" d=\"M{x:.1} {}l5 5l-5 5l-5 -5z\"/>\
         <text x=\"8\" y=\"{}\">{}</text><text class=\"soft\" x=\"{text_x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{}</text>\n",
        y + 11,
        y + 6,
        y + 15,
        Text(&mark.what),
        y + 15,
        seconds(mark.at_ms)
    )
}

fn bar(class: &str, from: f64, to: f64, y: usize, height: usize) -> String {
    // What is short is drawn wide enough to be seen.
    let width = (to - from).max(3.0);
    format!("<rect class=\"{class}\" x=\"{from:.1}\" y=\"{y}\" width=\"{width:.1}\" height=\"{height}\"/>")
}

fn row(row: &Row, scale: &Scale, open_ms: Option<u64>, every_ms: u64, y: usize) -> String {
    let may = match row.since {
        Since::Gate => Some(0),
        Since::Open => open_ms,
        Since::Never => None,
    };
    let class = if row.exposed_ms > 0 { "mono bad" } else { "mono" };
    let mut out = format!("<text class=\"{class}\" x=\"8\" y=\"{}\">{}</text>", y + 15, Text(&row.label));
    if let Some(may) = may {
        out.push_str(&bar("may", scale.at(may), scale.at(scale.length), y + 3, HEIGHT - 6));
    }
    for band in &row.bands {
        let (class, from, height) = match band.tone {
            Tone::Open => ("open", y + 6, HEIGHT - 12),
            _ => ("refused", y + 9, HEIGHT - 18),
        };
        let words = if band.tone == Tone::Open { "open" } else { "let in, nothing listens" };
        let rare =
            if band.every_ms > every_ms { format!(", asked every {}", seconds(band.every_ms)) } else { String::new() };
        let title =
            format!("{}: {words} from {} to {}{rare}", row.label, seconds(band.first_ms), seconds(band.last_ms));
        let exposed = band.exposed_ms > 0;
        let until = band.first_ms.saturating_add(band.exposed_ms);
        out.push_str(&format!("<g><title>{}</title>", Text(&title)));
        if !exposed || band.last_ms.saturating_add(every_ms) > until {
            let begin = if exposed { until } else { band.first_ms };
            out.push_str(&bar(class, scale.at(begin), scale.at(band.last_ms), from, height));
        }
        if exposed {
            out.push_str(&bar("extra", scale.at(band.first_ms), scale.at(until), y + 3, HEIGHT - 6));
        }
        out.push_str("</g>");
    }
    if let Some(band) = row.bands.iter().rfind(|b| b.exposed_ms > 0) {
        let end = band.first_ms.saturating_add(band.exposed_ms);
        let early = end.min(scale.length) * 10 <= scale.length * 8;
        let first = row.bands.iter().find(|b| b.exposed_ms > 0).map_or(0, |b| b.first_ms);
        let (x, anchor) = if early {
            (scale.at(end).max(scale.at(band.first_ms) + 3.0) + 7.0, "start")
        } else {
            (scale.at(first) - 7.0, "end")
        };
        out.push_str(&format!(
            "<text class=\"bad\" x=\"{x:.1}\" y=\"{}\" text-anchor=\"{anchor}\">{} ms exposed</text>",
            y + 15,
            row.exposed_ms
        ));
    }
    out.push('\n');
    out
}

fn picture(timeline: &Timeline, name: &str) -> String {
    let rows = rows(timeline);
    let (shown, marks) = (&rows[..rows.len().min(ROWS)], &timeline.marks[..timeline.marks.len().min(MARKS)]);
    let longest = shown.iter().map(|r| r.label.chars().count() * 15 / 2).max().unwrap_or(0);
    let left = longest.max(marks.iter().map(|m| m.what.chars().count().min(40) * 7).max().unwrap_or(0)).max(120) + 26;
    let scale = Scale { left, length: timeline.length_ms.max(1) };
    let open_ms = match timeline.boot {
        Boot::First => timeline.marks.iter().find(|m| m.what == "open").map(|m| m.at_ms),
        Boot::Second => Some(0),
    };
    let top = 26;
    let below_marks = top + marks.len() * HEIGHT + 10;
    let bottom = below_marks + shown.len() * HEIGHT + 4;
    let (width, height) = (left + PLOT + 24, bottom + 6);
    let mut drawn = String::new();
    for (at, _) in shown.iter().enumerate().filter(|(at, _)| at % 2 == 0) {
        let y = below_marks + at * HEIGHT;
        drawn.push_str(&format!("<rect class=\"stripe\" x=\"0\" y=\"{y}\" width=\"{left}\" height=\"{HEIGHT}\"/>"));
    }
    for tick in scale.ticks() {
        let x = scale.at(tick);
        let label = if timeline.length_ms < 5_000 { format!("{tick} ms") } else { format!("{} s", tick / 1000) };
        drawn.push_str(&format!(
            "<path class=\"rule\" d=\"M{x:.1} {}V{bottom}\"/><text class=\"soft\" x=\"{x:.1}\" y=\"14\" text-anchor=\"middle\">{label}</text>\n",
            top - 6
        ));
    }
    for (at, m) in marks.iter().enumerate() {
        drawn.push_str(&mark(m, &scale, top + at * HEIGHT, bottom));
    }
    for (at, r) in shown.iter().enumerate() {
        drawn.push_str(&row(r, &scale, open_ms, timeline.every_ms, below_marks + at * HEIGHT));
    }
    let mut described: Vec<String> = marks.iter().map(|m| format!("{} at {}", m.what, seconds(m.at_ms))).collect();
    described.extend(shown.iter().map(|r| {
        let first = r.bands.iter().map(|b| b.first_ms).min().unwrap_or(0);
        let exposed = if r.exposed_ms > 0 { format!(", {} ms before it may", r.exposed_ms) } else { String::new() };
        format!("{} answers first at {}{exposed}", r.label, seconds(first))
    }));
    let mut out = format!(
        "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"{boot} as seen\">\n\
         <svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" role=\"img\" aria-labelledby=\"{name}-title {name}-desc\">\n\
         <title id=\"{name}-title\">{boot}: what happened, and which port answered when</title>\n<desc id=\"{name}-desc\">{}.</desc>\n{drawn}</svg>\n</div>\n",
        Text(&described.join("; ")),
        boot = boot_name(timeline),
    );
    if rows.len() > shown.len() || timeline.marks.len() > marks.len() {
        out.push_str(&format!(
            "<p class=\"soft\">{} and {} more are not drawn.</p>\n",
            count(rows.len() - shown.len(), "row"),
            count(timeline.marks.len() - marks.len(), "mark")
        ));
    }
    out
}

const LEGEND: &str = "<ul class=\"legend\">\n\
<li><svg width=\"34\" height=\"22\" aria-hidden=\"true\"><rect class=\"may\" x=\"2\" y=\"3\" width=\"30\" height=\"16\"/></svg>may answer</li>\n\
<li><svg width=\"34\" height=\"22\" aria-hidden=\"true\"><rect class=\"may\" x=\"2\" y=\"3\" width=\"30\" height=\"16\"/><rect class=\"open\" x=\"4\" y=\"6\" width=\"26\" height=\"10\"/></svg>something answers</li>\n\
<li><svg width=\"34\" height=\"22\" aria-hidden=\"true\"><rect class=\"may\" x=\"2\" y=\"3\" width=\"30\" height=\"16\"/><rect class=\"refused\" x=\"4\" y=\"9\" width=\"26\" height=\"4\"/></svg>let in, nothing listens</li>\n\
<li><svg width=\"34\" height=\"22\" aria-hidden=\"true\"><rect class=\"extra\" x=\"2\" y=\"3\" width=\"30\" height=\"16\"/></svg>exposed: answers and may not</li>\n\
</ul>\n";

/// The section of the page; nothing where no boot was watched.
pub(super) fn section(outcome: &Outcome, place: &Place) -> String {
    if outcome.timelines.is_empty() {
        return String::new();
    }
    let mut body = format!(
        "<p>Knocked on from the wire by TCP without rest, from power-on to the end of the boot: 0 ms of exposure is the claim. A port \
         that is asked only in turn with all others is exposed for at least as long as is measured, and for nobody knows how much \
         longer until it is asked again. Diamonds are what the machine itself says of its boot.</p>\n{LEGEND}"
    );
    for (at, timeline) in outcome.timelines.iter().enumerate() {
        let exposure = match timeline.exposed_ms {
            // Nobody was there to be exposed, or to be heard.
            0 if timeline.rounds == 0 => "<b class=\"unsure\">no packet went out</b>".to_owned(),
            0 => format!("<b>{}</b>", timeline.exposure()),
            _ => format!("<b class=\"bad\">{}</b>", timeline.exposure()),
        };
        body.push_str(&format!(
            "<figure><figcaption><b>{}</b>, watched for {}, {} of knocks: {}: {exposure}.</figcaption>\n{}</figure>\n",
            boot_name(timeline),
            seconds(timeline.length_ms),
            count(timeline.rounds.try_into().unwrap_or(usize::MAX), "round"),
            timeline.asked(),
            picture(timeline, &format!("{}boot-{at}", place.prefix))
        ));
    }
    place.section("boots", "The boot, from power-on", &body)
}
