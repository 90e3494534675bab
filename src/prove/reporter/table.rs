//! The end of several runs: a table, a line each.

use std::time::Duration;

/// One run in the table.
#[derive(Debug, Clone)]
pub struct Row {
    /// The spec's name.
    pub spec: String,
    /// The image's name.
    pub image: String,
    /// The delivery.
    pub delivery: String,
    /// How many proofs hold, fail, and could not be told; or why there are none.
    pub came: Result<(usize, usize, usize), String>,
    /// CPU seconds of its machines.
    pub cpu_seconds: f64,
    /// How long it took.
    pub wall: Duration,
}

const HEAD: [&str; 8] = ["spec", "image", "delivery", "holds", "fails", "unknown", "CPU s", "wall s"];

/// Draws it: words to the left, numbers to the right. Why a run could not be run stands below.
#[must_use]
pub fn table(rows: &[Row]) -> String {
    let mut cells = vec![HEAD.map(str::to_owned)];
    cells.extend(rows.iter().map(|row| {
        let number = |of: fn((usize, usize, usize)) -> usize| match &row.came {
            Ok(counts) => of(*counts).to_string(),
            Err(_) => "-".to_owned(),
        };
        [
            row.spec.clone(),
            row.image.clone(),
            row.delivery.clone(),
            number(|c| c.0),
            number(|c| c.1),
            number(|c| c.2),
            format!("{:.0}", row.cpu_seconds),
            row.wall.as_secs().to_string(),
        ]
    }));
    let widths: Vec<usize> = (0..HEAD.len())
        .map(|column| cells.iter().map(|line| line[column].chars().count()).max().unwrap_or_default())
        .collect();
    let mut out = String::from("\n");
    for line in &cells {
        let padded = line.iter().zip(&widths).enumerate().map(|(column, (text, width))| match column {
            0..=2 => format!("{text:width$}"),
            _ => format!("{text:>width$}"),
        });
        out.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    for row in rows {
        if let Err(why) = &row.came {
            out.push_str(&format!("{} on {} could not be run: {why}\n", row.spec, row.image));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_table_is_aligned_and_says_what_could_not_be_run() {
        let row = |spec: &str, came| Row {
            spec: spec.to_owned(),
            image: "an-image".to_owned(),
            delivery: "cloud-init".to_owned(),
            came,
            cpu_seconds: 70.6,
            wall: Duration::from_millis(123_456),
        };
        let drawn = table(&[row("fleet/é.yaml", Ok((120, 0, 3))), row("b.yaml", Err("it did not start".to_owned()))]);
        let wanted = "\n\
            spec          image     delivery    holds  fails  unknown  CPU s  wall s\n\
            fleet/é.yaml  an-image  cloud-init    120      0        3     71     123\n\
            b.yaml        an-image  cloud-init      -      -        -     71     123\n\
            b.yaml on an-image could not be run: it did not start\n";
        assert_eq!(drawn, wanted);
    }
}
