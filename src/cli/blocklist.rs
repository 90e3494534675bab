//! `hardtack blocklist FILE...`

use super::{BAD, Stop, USAGE, WELL, load, terminal};
use crate::plan::blocklist::{Account, Blocklist, Builder, Figures, Outcome, SET4, SET6, Tally};
use crate::plan::net::Cidr;
use serde_json::{Value, json};
use std::fmt;
use std::path::{Path, PathBuf};

const LONG: &str = "A list has one address, network or range (first-last) on each line, of IPv4 or IPv6; # and ; begin a comment. \
    So are Spamhaus' DROP (its JSON lines as well), FireHOL's netsets and plain lists.\n\n\
    Refused are default routes and whatever is wider than a /8 (IPv6: a /16); what meets private and link-local networks, and with \
    them a cloud's metadata, loopback, multicast and the like; host names, and what can be read in two ways. A refused line \
    keeps no other from being taken. A network of --allow is cut out of whatever holds it, and so is 168.63.129.16, from which \
    Azure speaks to its machines. It is an error when a file has no line that is taken, and when what is left is half of a family \
    or more.\n\n\
    With --format cidr or ipset, the account goes to standard error.\n\n\
    Exit codes: 0 there is a list; 1 there is none to load; 2 a file cannot be read.";

#[derive(clap::Args)]
#[command(after_long_help = LONG)]
pub(super) struct Args {
    /// The lists
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Never block this network: your own, a gateway, DNS. It is cut out of whatever holds it; as often as you like
    #[arg(long, value_name = "CIDR")]
    allow: Vec<String>,
    /// What to print: an account for people or for programs, the networks, or what `ipset restore` takes
    #[arg(long, value_enum, default_value = "human")]
    format: Format,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// What each file has, what is refused and why, and what the sets cost
    Human,
    /// The same as one JSON object
    Json,
    /// The networks, as few as they can be, one a line
    Cidr,
    /// Two sets, hardtack-block4 and hardtack-block6
    Ipset,
}

fn read(path: &Path, builder: &mut Builder) -> Result<(), Stop> {
    let name = path.display().to_string();
    let no = |why: String| Stop::Because(USAGE, format!("{name}: {why}"));
    if name.starts_with("https://") || name.starts_with("http://") {
        return Err(no("this verb reads files and asks no network; fetch the list into a file first".to_owned()));
    }
    let file = std::fs::File::open(path).map_err(|e| no(format!("cannot be read: {e}")))?;
    if file.metadata().is_ok_and(|about| about.is_dir()) {
        return Err(no("this is a directory; name the lists in it".to_owned()));
    }
    builder.source(&name, file).map_err(|e| no(format!("cannot be read: {e}")))
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    let allow: Result<Vec<Cidr>, String> = args.allow.iter().map(|text| load::word(text)).collect();
    let mut builder = Builder::new(&allow.map_err(|why| Stop::Because(USAGE, why))?);
    for path in &args.files {
        read(path, &mut builder)?;
    }
    let outcome = builder.finish();
    match args.format {
        Format::Human => terminal::out(&human(&outcome)),
        Format::Json => terminal::out(&format!("{}\n", machine(&outcome))),
        Format::Cidr | Format::Ipset => terminal::err(&human(&outcome)),
    }
    let list = match &outcome.blocklist {
        Ok(list) => list,
        Err(faults) => {
            let words: Vec<String> = faults.iter().map(|f| format!("hardtack: {}\n", f.message)).collect();
            terminal::err(&words.concat());
            return Ok(BAD);
        }
    };
    let mut out = Chunks(String::new());
    match args.format {
        Format::Human | Format::Json => Ok(()),
        Format::Cidr => list.write_networks(&mut out),
        Format::Ipset => list.write_restore(SET4, SET6, &mut out),
    }
    .map_err(Stop::bug)?;
    terminal::out(&out.0);
    Ok(WELL)
}

/// Writes what is longer than a person reads, a piece at a time: a million networks need not be in memory as text.
struct Chunks(String);

impl fmt::Write for Chunks {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.push_str(text);
        if self.0.len() >= 1 << 16 {
            terminal::out(&self.0);
            self.0.clear();
        }
        Ok(())
    }
}

fn count(number: impl Into<u128>, what: &str) -> String {
    let number = number.into();
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

fn human(outcome: &Outcome) -> String {
    let mut out = String::new();
    for account in &outcome.accounts {
        let refused: u64 = account.refused.values().map(|tally| tally.count).sum();
        out.push_str(&format!(
            "{}: {}: {} taken, {refused} refused, {} blank or a comment\n",
            account.name,
            count(account.lines, "line"),
            account.taken,
            account.blank
        ));
        for (why, tally) in &account.refused {
            lines(&mut out, &format!("refused {}: {}", tally.count, why.words()), tally);
        }
        if account.cut.count > 0 {
            lines(&mut out, &format!("cut {}: what is to be let in is taken out of", account.cut.count), &account.cut);
        }
    }
    if let Ok(list) = &outcome.blocklist {
        family(&mut out, "IPv4", "inet", &list.figures4());
        family(&mut out, "IPv6", "inet6", &list.figures6());
    }
    out
}

fn lines(out: &mut String, head: &str, tally: &Tally) {
    out.push_str(&format!("  {head}\n"));
    for (number, text) in &tally.examples {
        out.push_str(&format!("    line {number}: {text}\n"));
    }
    let more = tally.count - tally.examples.len() as u64;
    if more > 0 {
        out.push_str(&format!("    and {more} more\n"));
    }
}

fn family(out: &mut String, name: &str, family: &str, f: &Figures) {
    if f.networks == 0 {
        out.push_str(&format!("{name}: nothing\n"));
        return;
    }
    // Of IPv6 nobody counts addresses.
    let addresses = match (family, f.addresses) {
        ("inet", 1) => ", 1 address".to_owned(),
        ("inet", many) => format!(", {many} addresses"),
        _ => String::new(),
    };
    out.push_str(&format!(
        "{name}: {} of {}{addresses}\n  hash:net family {family} hashsize {} maxelem {}: about {} KiB of kernel memory\n",
        count(f.networks as u128, "network"),
        count(f.lengths as u128, "length"),
        f.hashsize,
        f.maxelem,
        f.memory.div_ceil(1024)
    ));
}

/// Format 1. Numbers of addresses are text: those of IPv6 are beyond what most readers of JSON can hold.
fn machine(outcome: &Outcome) -> Value {
    let tally = |t: &Tally| {
        let examples: Vec<_> = t.examples.iter().map(|(line, text)| json!({ "line": line, "text": text })).collect();
        json!({ "count": t.count, "examples": examples })
    };
    let source = |a: &Account| {
        let refused: Vec<Value> = a
            .refused
            .iter()
            .map(|(why, t)| {
                let mut value = json!({ "reason": why.code(), "words": why.words() });
                if let (Value::Object(all), Value::Object(more)) = (&mut value, tally(t)) {
                    all.extend(more);
                }
                value
            })
            .collect();
        json!({
            "file": a.name, "lines": a.lines, "taken": a.taken, "blank": a.blank, "refused": refused, "cut": tally(&a.cut),
        })
    };
    let figures = |f: Figures| {
        json!({
            "networks": f.networks, "lengths": f.lengths, "addresses": f.addresses.to_string(),
            "hashsize": f.hashsize, "maxelem": f.maxelem, "memory_bytes": f.memory,
        })
    };
    let list = outcome.blocklist.as_ref();
    let none: &[crate::report::Fault] = &[];
    let faults: Vec<&str> = list.err().map_or(none, Vec::as_slice).iter().map(|fault| fault.message.as_str()).collect();
    json!({
        "format": 1,
        "sources": outcome.accounts.iter().map(source).collect::<Vec<_>>(),
        "ipv4": list.ok().map(Blocklist::figures4).map(figures),
        "ipv6": list.ok().map(Blocklist::figures6).map(figures),
        "faults": faults,
    })
}
