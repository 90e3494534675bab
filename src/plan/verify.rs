//! `hardtack-verify`, the machine's own look at itself: the proofs from inside, as one script that needs nothing but a shell.

use super::STATE;
use super::proof::{AccountState, Check, Proof, Sudo, When};
use serde::Serialize;

/// Where it is.
pub const PLACE: &str = "/usr/local/sbin/hardtack-verify";

/// What the script asks for.
#[derive(Debug, Serialize)]
pub struct Asked<'a> {
    state: &'static str,
    proofs: Vec<One<'a>>,
}

#[derive(Debug, Serialize)]
struct One<'a> {
    id: &'a str,
    statement: &'a str,
    kind: &'static str,
    word: String,
    number: usize,
    path: &'a str,
    words: Vec<String>,
    later: bool,
}

/// Those of these proofs that are seen from inside, for the template `plan/verify.sh`.
#[must_use]
pub fn asked(proofs: &[Proof]) -> Asked<'_> {
    Asked { state: STATE, proofs: proofs.iter().filter(|proof| lasts(proof)).filter_map(one).collect() }
}

fn one(proof: &Proof) -> Option<One<'_>> {
    let of = |kind: &'static str, words: Vec<String>| One {
        id: &proof.id,
        statement: &proof.statement,
        kind,
        word: String::new(),
        number: 0,
        path: "",
        words,
        later: proof.when == When::AfterReboot,
    };
    Some(match &proof.check {
        Check::Says { command, keyword, values } => {
            let words = values.iter().chain(command).cloned().collect();
            One { word: keyword.to_lowercase(), number: values.len(), ..of("says", words) }
        }
        // The path has no character that the shell reads but `*`, which it is to read (SysctlKey).
        Check::Sysctl { path, value } => One { word: value.clone(), path, ..of("parameter", Vec::new()) },
        Check::Unit { unit, active, enabled } => {
            of("unit", [unit, active].into_iter().chain(enabled).cloned().collect())
        }
        Check::File { path, mode, owner } => of("file", vec![path.clone(), mode.clone(), owner.clone()]),
        Check::Account(AccountState { user, password, groups, keys }) => {
            let any = if keys.is_some() { "these" } else { "any" };
            let mut words = vec![user.clone(), password.clone(), groups.join(" "), any.to_owned()];
            words.extend(keys.iter().flatten().map(|key| key.trim().to_owned()));
            of("account", words)
        }
        Check::Sudo { user, may } => {
            let may = match may {
                Sudo::Nothing => "nothing",
                Sudo::WithPassword => "with-password",
                Sudo::WithoutPassword => "without-password",
            };
            of("sudo", vec![user.clone(), may.to_owned()])
        }
        // On one line, whatever it holds: no word of it can become a line of the script that asks.
        Check::Script { script } => {
            let word = script.trim_end_matches('\n').replace('\\', "\\\\").replace('\n', "\\n");
            One { word, ..of("script", Vec::new()) }
        }
        _ => return None,
    })
}

/// Whether the machine is asked for it again and again: not what is true once, when the first boot is over, not what asks for all of this,
/// not what makes an account to see what becomes of it, which would stand in the logs every day, and not how the bundle came.
fn lasts(proof: &Proof) -> bool {
    let makes_an_account = matches!(&proof.check, Check::Script { script } if script.contains("useradd "));
    !makes_an_account
        && !proof.id.starts_with("delivery/")
        && !["updates/nothing-is-left", "watch/verify-holds", "watch/verify-notices"].contains(&proof.id.as_str())
}
