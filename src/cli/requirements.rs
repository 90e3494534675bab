//! `hardtack list requirements`: what became of each instruction of the article. All of it is worked out from the `refs` of hurdles, lints
//! and proofs; written down is only what no machine can show.

use super::Stop;
use crate::facts::Facts;
use crate::hurdle::MANUALS;
use crate::report::{Report, Source};
use crate::spec;

/// The instructions, by their numbers from 1 on, in short; and why no machine can show one, where that is so.
const ALL: &[(&str, Option<&str>)] = &[
    ("iptables, the same on every system", None),
    ("forwarding off", None),
    ("IPv6 off where it is not needed", None),
    ("flush the tables first", None),
    ("delete chains of others", None),
    ("drop what comes in by default", None),
    ("let out by default", None),
    ("forward nothing", None),
    ("let in by loopback", None),
    ("let in what belongs to something", None),
    ("let in ssh", None),
    ("a script that starts right after the network", None),
    ("or /etc/rc.local", None),
    ("change it as needs change", None),
    ("let in ssh, http and https", None),
    ("let in from the intranet alone", None),
    ("decide on what goes out", None),
    ("what goes out, by program, user and rate", None),
    ("drop or reject", None),
    ("see that sysctl is there", None),
    ("full paths in scripts", None),
    ("all of it within minutes", None),
    ("no application's port before it is ready", None),
    ("all updates while only ssh is open", None),
    ("then by hand or by themselves", None),
    ("or by a script in cron.daily", None),
    ("updates sometimes break things", None),
    (
        "read the lists on security",
        Some("a person reads; `updates` brings what is mended, and `watch` says what has changed"),
    ),
    ("as little as possible that can be attacked", None),
    ("no login as root", None),
    ("root by sudo alone", None),
    ("only named accounts log in", None),
    ("complex passwords", None),
    ("better: a key, with a passphrase", None),
    ("make the key well", None),
    ("its public half on the machine", None),
    ("try it before you go on", None),
    (
        "key and passphrase in a vault",
        Some(
            "it is a person's vault; the spec names whose keys `rescue.people` lets in on a bad day, and no secret is in a bundle",
        ),
    ),
    ("no login by password", None),
    ("a password for sudo", None),
    ("more factors than one", None),
    ("encrypt what matters", None),
    ("no clear-text logins", None),
    ("neighbours lie about who they are", None),
    ("sftp and scp", None),
    ("TLS for the logins of applications", None),
    ("no passwords stored, only hashes", None),
    ("switch algorithms on and off, of OpenSSH and OpenSSL", None),
    ("these ciphers", None),
    ("these MACs", None),
    ("add and remove as needed", None),
    ("more to install, use and tune", None),
    ("a mistake, an update or luck can undo it", None),
    (
        "backdoors of vendors",
        Some(
            "nobody sees them from a machine that has them; `image fetch` holds an image to its vendor's checksums and to your lock file",
        ),
    ),
    ("SELinux", None),
    ("turn off and block what is not needed", None),
    ("lists of botnets and countries", None),
    ("fetched anew every day", None),
    ("sets for many addresses, not rules", None),
    ("what a set costs, and how many it holds", None),
    (
        "hurdles: what an intruder must get over, one after the other",
        Some("it is what this program is called after: each section of a spec is one, and each brings its own proof"),
    ),
];

/// The specs that show all of it, and the files beside them.
const SPECS: [(&str, &str); 2] = [
    ("tests/specs/article.yaml", include_str!("../../tests/specs/article.yaml")),
    ("tests/specs/fortress.yaml", include_str!("../../tests/specs/fortress.yaml")),
];
const LIST: &[u8] = include_bytes!("../../tests/lists/drop.netset");

/// So many of one kind are named.
const NAMED: usize = 4;

fn named(mut all: Vec<&str>) -> String {
    all.sort_unstable();
    all.dedup();
    let more = all.len().saturating_sub(NAMED);
    all.truncate(NAMED);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", all.join(", "))
}

/// The listing.
pub(super) fn text() -> Result<String, Stop> {
    let mut proofs = Vec::new();
    for (name, text) in SPECS {
        let source = Source { name: name.to_owned(), text: text.to_owned() };
        let mut report = Report::default();
        let spec = spec::read(&source, &mut report).ok_or_else(|| Stop::bug(format!("{name} is no good spec")))?;
        let facts = Facts::load(spec.image.0).map_err(Stop::bug)?;
        let plan =
            spec::plan(&spec, &facts, &|_| Ok(LIST.to_vec()), &Default::default(), &mut report).map_err(Stop::bug)?;
        proofs.extend(plan.ok_or_else(|| Stop::bug(format!("{name} cannot be planned")))?.proofs.iter().cloned());
    }
    let mut out = String::new();
    for (number, (title, duty)) in (1..).zip(ALL) {
        let number = format!("R{number}");
        let cited = |refs: &[&str]| refs.contains(&number.as_str());
        let its: Vec<&str> = proofs.iter().filter(|p| p.refs.contains(&number)).map(|p| p.id.as_str()).collect();
        let lints: Vec<&str> = spec::lints().filter(|l| cited(l.refs)).map(|l| l.code).collect();
        let hurdles = MANUALS.iter().filter(|m| {
            m.article.iter().any(|i| cited(i.refs))
                || m.lints.iter().any(|l| cited(l.refs))
                || its.iter().any(|id| id.strip_prefix(m.name).is_some_and(|rest| rest.starts_with('/')))
        });
        let hurdles: Vec<&str> = hurdles.map(|m| m.name).collect();
        out.push_str(&format!("{number}  {title}\n"));
        for (what, all) in [("hurdles", hurdles), ("lints", lints), ("proofs", its)] {
            if !all.is_empty() {
                out.push_str(&format!(
                    "     {what}: {}\n",
                    if what == "hurdles" { all.join(", ") } else { named(all) }
                ));
            }
        }
        if let Some(duty) = duty {
            out.push_str(&format!("     not shown by a machine: {duty}\n"));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// No number without a proof or a reason; the numbers are those of the list that this was built from.
    #[test]
    fn every_requirement_has_a_proof_or_a_reason() {
        let text = text().unwrap_or_else(|_| panic!("the specs are good"));
        let mut numbers = Vec::new();
        for block in text.split("\nR") {
            let block = block.trim_start_matches('R');
            let number: u32 = block.split(' ').next().unwrap().parse().unwrap();
            numbers.push(number);
            let (shown, duty) = (block.contains("     proofs: "), block.contains("     not shown by a machine: "));
            assert!(shown || duty, "R{number} has neither a proof nor a reason:\n{block}");
            assert!(!block.contains("     hurdles: \n"), "{block}");
        }
        assert_eq!(numbers, (1..=61).collect::<Vec<_>>());
    }

    /// Where the list of requirements is at hand its numbers are these.
    #[test]
    fn the_numbers_are_those_of_the_list() {
        let list = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/requirements.md");
        let Ok(list) = std::fs::read_to_string(list) else { return };
        let number = |line: &str| -> Option<usize> {
            let digits: String = line.strip_prefix("**R")?.chars().take_while(char::is_ascii_digit).collect();
            digits.parse().ok()
        };
        let numbers: Vec<usize> = list.lines().filter_map(number).collect();
        assert_eq!(numbers, (1..=ALL.len()).collect::<Vec<_>>());
    }
}
