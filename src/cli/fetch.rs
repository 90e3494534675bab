//! `hardtack image fetch NAME`

use super::lock::{self, Draft, Pin};
use super::{BAD, Stop, USAGE, terminal};
use crate::facts::{Facts, ImageName};
use crate::prove::image::official::{self, Failure, Note, Order, Url, Wanted};
use crate::prove::process;
use crate::report::{Fault, FromText};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The image: `hardtack list images`
    name: String,
    /// Where the image is [default: where the lock file says, else where its vendor has it]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// The list of checksums that an image is held to that is not pinned [default: its vendor's]
    #[arg(long, value_name = "URL")]
    checksums: Option<String>,
    /// The lock file
    #[arg(long, value_name = "FILE", default_value = "hardtack.lock")]
    lock: PathBuf,
    /// Take what the vendor has now, and pin that
    #[arg(long)]
    update: bool,
    /// How long nothing may come before another try
    #[arg(long, value_name = "SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    patience: u64,
}

fn used_wrongly(fault: Fault) -> Stop {
    let help = fault.help.map(|help| format!("; {help}")).unwrap_or_default();
    Stop::Because(USAGE, format!("{}{help}", fault.message))
}

pub(super) fn run(args: &Args, cache: &Path) -> Result<(), Stop> {
    let name = ImageName::from_text(&args.name).map_err(used_wrongly)?.0;
    let facts = Facts::load(name).map_err(Stop::bug)?;
    let Some(vendor) = facts.official() else {
        return Err(Stop::Because(USAGE, format!("images/{name}.yaml does not say where the official image is")));
    };
    let given = |text: &Option<String>| text.as_deref().map(Url::from_text).transpose().map_err(used_wrongly);
    let (given_url, given_list) = (given(&args.url)?, given(&args.checksums)?);
    let pins = lock::read(&args.lock)?;
    let pin = pins.get(name).filter(|_| !args.update);
    let pinned_url = pin.map(|pin| {
        Url::from_text(&pin.image)
            .map_err(|f| Stop::Because(BAD, format!("{}: {name}: {}", args.lock.display(), f.message)))
    });
    let ours = |text: &str| Url::from_text(text).map_err(|f| Stop::bug(f.message));
    let url = match (given_url, pinned_url) {
        (Some(url), _) => url,
        (None, Some(url)) => url?,
        (None, None) => ours(&vendor.image)?,
    };
    let wanted = match (pin, given_list) {
        (Some(pin), _) => Wanted::Pinned { digest: pin.digest.clone(), size: pin.size },
        (None, Some(list)) => Wanted::Listed(list),
        (None, None) => Wanted::Listed(ours(&vendor.checksums)?),
    };
    let draft = pin.is_none().then(|| Draft::new(&args.lock)).transpose()?;
    process::watch_signals().map_err(|e| Stop::world(format!("{e:#}")))?;
    let order = Order { name, url: &url, wanted, patience: Duration::from_secs(args.patience) };
    let mut show = Show::new(name);
    let fetched = official::fetch(&order, cache, &mut |note| show.note(note));
    show.end();
    let fetched = fetched.map_err(|failure| match failure {
        Failure::World(why) => Stop::world(format!("{why:#}")),
        Failure::Wrong(why) if pin.is_some() => Stop::Because(
            BAD,
            format!(
                "{name} is not what {} pins: {why}. Where the vendor has replaced it, take the new one with: \
                 hardtack image fetch {name} --update; or name a place that still has the old one with --url",
                args.lock.display()
            ),
        ),
        Failure::Wrong(why) => Stop::Because(
            BAD,
            format!(
                "{why}. The list may be newer than the image on a mirror: try again later, or name another with --url"
            ),
        ),
    })?;
    if let Some(draft) = draft {
        let record = &fetched.record;
        let new = Pin { image: url.as_str().to_owned(), size: record.size, digest: record.digest.clone() };
        let before = pins.get(name);
        let changed = before != Some(&new);
        if changed {
            draft.pin(name, new)?;
        }
        terminal::err(&match (before, changed) {
            (None, _) => format!("pinned in {0}; commit {0}\n", args.lock.display()),
            (Some(_), true) => format!("pinned anew in {0}; commit {0}\n", args.lock.display()),
            (Some(_), false) => format!("{} pins it already\n", args.lock.display()),
        });
    }
    terminal::out(&format!("{name}: {}\n{}\n", fetched.disk.display(), fetched.record.digest));
    Ok(())
}

/// Progress: one line that changes where somebody watches, else a line each tenth of the way.
struct Show {
    name: &'static str,
    live: bool,
    /// The last tenth that was told.
    tenth: u64,
    /// When bytes began to come, and how many were here then.
    since: Option<(Instant, u64)>,
}

impl Show {
    fn new(name: &'static str) -> Self {
        Show { name, live: terminal::watched(), tenth: 0, since: None }
    }

    fn note(&mut self, note: Note<'_>) {
        match note {
            Note::Said(what) => {
                (self.tenth, self.since) = (0, None);
                let wipe = if self.live { "\r\x1b[K" } else { "" };
                terminal::err(&format!("{wipe}{}: {what}\n", self.name));
            }
            Note::Bytes(have, total) => {
                let (since, before) = *self.since.get_or_insert((Instant::now(), have));
                let line = bytes(self.name, have, total, have.saturating_sub(before), since.elapsed());
                let tenth = (10 * have).checked_div(total.unwrap_or(u64::MAX)).unwrap_or(0);
                if self.live {
                    terminal::err(&format!("\r\x1b[K{}", line.chars().take(78).collect::<String>()));
                } else if tenth > self.tenth {
                    terminal::err(&format!("{line}\n"));
                    self.tenth = tenth;
                }
            }
        }
    }

    fn end(&self) {
        if self.live {
            terminal::err("\r\x1b[K");
        }
    }
}

fn bytes(name: &str, have: u64, total: Option<u64>, came: u64, within: Duration) -> String {
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    let mut line = format!("{name}: {:.1}", mib(have));
    if let Some(total) = total {
        line.push_str(&format!(" of {:.1}", mib(total)));
    }
    line.push_str(" MiB");
    // A rate of less than a second is none.
    if within > Duration::from_secs(1) && came > 0 {
        let rate = came as f64 / within.as_secs_f64();
        line.push_str(&format!(", {:.1} MiB/s", rate / f64::from(1 << 20)));
        if let Some(left) = total.and_then(|total| total.checked_sub(have)).filter(|left| *left > 0) {
            line.push_str(&format!(", {:.0} s left", left as f64 / rate));
        }
    }
    line
}
