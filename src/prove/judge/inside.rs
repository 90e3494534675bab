//! Proofs seen from inside: one script asks for all of them, and each answer is judged here, not on the machine.

use crate::plan::proof::{AccountState, Check, SeenFrom, Sudo};
use crate::prove::verdict::Judgement;
use std::collections::BTreeMap;

/// How long one question may take on the machine, in its own seconds. A machine under emulation answers most in a few; hardtack-verify, which
/// asks nearly all of them at once, took 120 beside two others.
const PATIENCE: u32 = 600;

/// What the machine answered to one question.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Answer {
    status: i32,
    text: String,
    took_ms: u64,
}

/// Whether this kind of proof is asked for here.
#[must_use]
pub fn is_inside(check: &Check) -> bool {
    check.seen_from() == SeenFrom::Inside
}

/// What the machine is asked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Question {
    /// The values of kernel parameters.
    Kernel(String),
    /// A script for /bin/sh.
    Shell(String),
}

// The question for a proof. Two proofs that ask the same share one answer.
fn question(check: &Check) -> Option<Question> {
    let word = |w: &str| shlex::try_quote(w).ok().map(std::borrow::Cow::into_owned);
    Some(Question::Shell(match check {
        Check::Says { command, .. } => command.iter().map(|w| word(w)).collect::<Option<Vec<_>>>()?.join(" "),
        Check::Sysctl { path, .. } => return Some(Question::Kernel(path.clone())),
        Check::Unit { unit, enabled, .. } => {
            let unit = word(unit)?;
            match enabled {
                // What `show` says of UnitFileState is what systemd knew when it last read its units.
                Some(_) => format!(
                    "echo UnitFileState=$(systemctl is-enabled -- {unit} 2>/dev/null)\n\
                     systemctl show -p LoadState,ActiveState,Result -- {unit}"
                ),
                None => format!("systemctl show -p LoadState,ActiveState,UnitFileState,Result -- {unit}"),
            }
        }
        Check::File { path, .. } => format!("stat -c '%a %U:%G' -- {}", word(path)?),
        Check::Account(state) => {
            let user = word(&state.user)?;
            format!(
                "u={user}\np=$(getent passwd \"$u\") || {{ echo absent; exit 0; }}\n\
                 set -- $(passwd -S \"$u\")\necho \"password $2\"\nfor g in $(id -nG \"$u\"); do echo \"group $g\"; done\n\
                 p=${{p%:*}}\nsed -e '/^#/d' -e '/^$/d' -e 's/^/key /' \"${{p##*:}}/.ssh/authorized_keys\" 2>/dev/null\ntrue"
            )
        }
        Check::Sudo { user, .. } => {
            let user = word(user)?;
            // What sudo says it would do, and what it does: the list alone cannot show that a password is asked for.
            format!(
                "u={user}\ngetent passwd \"$u\" >/dev/null || {{ echo absent; exit 0; }}\n\
                 LC_ALL=C sudo -n -l -U \"$u\" 2>&1\necho ---\nLC_ALL=C runuser -u \"$u\" -- sudo -k -n id -u 2>&1\ntrue"
            )
        }
        Check::Script { script } => script.clone(),
        _ => return None,
    }))
}

/// One script, for bash, that asks for all of these proofs. An answer is a line `number status milliseconds length`
/// and so many bytes. Programs are started sparingly, and the shell itself does not fork where it need not: under
/// emulation a program costs a tenth of a second, and a fork half of that. timeout(1) before each was half of what a
/// small question cost.
#[must_use]
pub fn script(checks: &[&Check]) -> String {
    let mut out = String::from(
        "export LC_ALL=C\n\
         now() { now=${EPOCHREALTIME/[.,]/}; now=${now%???}; }\n\
         reply() { local o=${2:0:65536}; now; printf '%s %s %s %s\\n%s\\n' $n \"$1\" $((now - t)) ${#o} \"$o\"; }\n\
         ask() { now; n=$1 t=$now; local o= part p s\n\
         exec 4< <(exec /bin/sh -c \"$2\" 2>&1); p=$!\n",
    );
    // A NUL ends a part, and is left out.
    out.push_str(&format!(
        "while IFS= read -r -d '' -t {PATIENCE} -u 4 part; s=$?; o+=$part; [ $s = 0 ]; do :; done\n"
    ));
    out.push_str(
        "if [ $s -gt 128 ]; then kill -KILL $p $(</proc/$p/task/$p/children); s=124; else wait $p; s=$?; fi\n\
         exec 4<&-; reply $s \"${o%$'\\n'}\"; }\n\
         kernel() { now; n=$1 t=$now; local f v o=; shift; for f; do [ -e \"$f\" ] || continue; v=; \
         IFS= read -r -d '' v <\"$f\"; o+=\"$f=${v%$'\\n'}\"$'\\n'; done 2>/dev/null; reply 0 \"$o\"; }\n",
    );
    for (number, question) in questions(checks).iter().enumerate() {
        match question {
            // The path has no character that the shell reads but `*`, which it is to read (SysctlKey).
            Question::Kernel(path) => out.push_str(&format!("kernel {number} {path}\n")),
            Question::Shell(text) => {
                let quoted = shlex::try_quote(text).map_or_else(|_| "false".into(), std::borrow::Cow::into_owned);
                out.push_str(&format!("ask {number} {quoted}\n"));
            }
        }
    }
    out
}

fn questions(checks: &[&Check]) -> Vec<Question> {
    let mut all: Vec<Question> = checks.iter().filter_map(|c| question(c)).collect();
    all.sort();
    all.dedup();
    all
}

/// Judges what the script printed, one judgement for each proof in the order asked.
#[must_use]
pub fn judge(checks: &[&Check], printed: &[u8]) -> Vec<Judgement> {
    let questions = questions(checks);
    let mut answers: BTreeMap<&Question, Answer> = BTreeMap::new();
    let mut rest = printed;
    while let Some((head, tail)) = split_line(rest) {
        let head = String::from_utf8_lossy(head);
        let words: Vec<usize> = head.split(' ').map_while(|w| w.parse().ok()).collect();
        let [number, status, took, length] = words[..] else { break };
        let (Some(question), Some((text, after))) = (questions.get(number), tail.split_at_checked(length)) else {
            break;
        };
        let (status, took_ms) = (i32::try_from(status).unwrap_or(i32::MAX), u64::try_from(took).unwrap_or(u64::MAX));
        answers.insert(question, Answer { status, text: String::from_utf8_lossy(text).into_owned(), took_ms });
        rest = after.strip_prefix(b"\n").unwrap_or(after);
    }
    checks
        .iter()
        .map(|check| match question(check).and_then(|q| answers.get(&q).cloned()) {
            None => Judgement::unknown("the machine did not answer"),
            Some(answer) if answer.status == 124 => Judgement::unknown(format!("no answer within {PATIENCE} s")),
            Some(answer) => Judgement { took_ms: answer.took_ms, ..look(check, &answer) },
        })
        .collect()
}

fn split_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == b'\n')?;
    Some((&bytes[..end], &bytes[end + 1..]))
}

// The last line that says something, made fit for one line of a report.
fn last_line(text: &str) -> String {
    let last = text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("nothing").trim();
    // As much as a line of the report for people has.
    crate::report::shown_up_to(160, last)
}

fn look(check: &Check, answer: &Answer) -> Judgement {
    let words = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    match check {
        Check::Says { keyword, values, .. } => {
            if answer.status != 0 {
                return Judgement::unknown(format!(
                    "the command ended with {}: {}",
                    answer.status,
                    last_line(&answer.text)
                ));
            }
            let plain = |text: &str| words(&text.to_lowercase()).replace("without-password", "prohibit-password");
            let mut seen: Vec<_> = answer
                .text
                .lines()
                .map(plain)
                .filter_map(|l| {
                    l.split_once(' ')
                        .filter(|(first, _)| *first == keyword.to_lowercase())
                        .map(|(_, rest)| rest.to_owned())
                })
                .collect();
            let mut wanted: Vec<_> = values.iter().map(|v| plain(v)).collect();
            seen.sort();
            wanted.sort();
            let said =
                if seen.is_empty() { format!("no `{keyword}`") } else { format!("{keyword} {}", seen.join(", ")) };
            Judgement::seen(seen == wanted, said)
        }
        Check::Sysctl { value, .. } => {
            let seen: Vec<_> =
                answer.text.lines().filter_map(|l| l.split_once('=')).map(|(path, v)| (path, words(v))).collect();
            let wrong: Vec<_> =
                seen.iter().filter(|(_, v)| v != value).map(|(path, v)| format!("{path} is {v}")).collect();
            match (seen.first(), wrong.is_empty()) {
                (None, _) => Judgement::unknown("the kernel has no such parameter"),
                (Some(_), true) => Judgement::seen(true, format!("{value} in {} of {}", seen.len(), seen.len())),
                (Some(_), false) => Judgement::seen(false, wrong.join(", ")),
            }
        }
        Check::Unit { active, enabled, .. } => {
            let state: BTreeMap<_, _> = answer.text.lines().filter_map(|l| l.split_once('=')).collect();
            let get = |key: &str| state.get(key).copied().unwrap_or("unknown");
            if !state.contains_key("ActiveState") {
                return Judgement::unknown(last_line(&answer.text));
            }
            let holds = get("ActiveState") == active && enabled.as_ref().is_none_or(|e| get("UnitFileState") == e);
            Judgement::seen(holds, format!("{}, {}, {}", get("ActiveState"), get("UnitFileState"), get("Result")))
        }
        Check::File { mode, owner, .. } => {
            if answer.status != 0 {
                return Judgement::seen(false, last_line(&answer.text));
            }
            let seen = answer.text.trim().split_once(' ').map(|(m, o)| (format!("{m:0>4}"), o.to_owned()));
            let holds = seen.as_ref().is_some_and(|(m, o)| m == mode && o == owner);
            Judgement::seen(holds, answer.text.trim())
        }
        Check::Account(state) => account(state, &answer.text),
        Check::Sudo { user, may } => sudo(user, *may, &answer.text),
        Check::Script { .. } if answer.status == 75 => Judgement::unknown(last_line(&answer.text)),
        Check::Script { .. } => Judgement::seen(answer.status == 0, last_line(&answer.text)),
        _ => Judgement::unknown("not asked from inside"),
    }
}

fn account(state: &AccountState, text: &str) -> Judgement {
    if text.trim() == "absent" {
        return Judgement::seen(false, format!("there is no account {}", state.user));
    }
    let of =
        |kind: &str| text.lines().filter_map(|l| l.strip_prefix(kind)).map(|l| l.trim().to_owned()).collect::<Vec<_>>();
    let (password, groups, mut keys) = (of("password "), of("group "), of("key "));
    let mut wrong = Vec::new();
    match password.first() {
        None => return Judgement::unknown("passwd does not say what the password is"),
        // P has one, L is locked, NP has none (passwd(1)); NP is never right.
        Some(seen) if *seen != state.password => wrong.push(format!("its password is {seen}, not {}", state.password)),
        Some(_) => {}
    }
    for group in state.groups.iter().filter(|g| !groups.contains(g)) {
        wrong.push(format!("it is not in {group}"));
    }
    // Its own group, and the one that some images put everyone in, give nothing away. Root's groups are the image's.
    let own = |g: &String| *g == state.user || g == "users" || state.user == "root";
    for group in groups.iter().filter(|g| !own(g) && !state.groups.contains(g)) {
        wrong.push(format!("it is in {group}"));
    }
    if let Some(wanted) = &state.keys {
        let mut wanted: Vec<_> = wanted.iter().map(|k| k.trim().to_owned()).collect();
        wanted.sort();
        keys.sort();
        if keys != wanted {
            let extra = keys.iter().filter(|k| !wanted.contains(k)).count();
            let missing = wanted.iter().filter(|k| !keys.contains(k)).count();
            wrong.push(format!("{extra} keys too many, {missing} missing"));
        }
    }
    let seen = if wrong.is_empty() {
        format!("password {}, {} keys, in {}", state.password, keys.len(), groups.join(" "))
    } else {
        wrong.join("; ")
    };
    Judgement::seen(wrong.is_empty(), seen)
}

fn sudo(user: &str, may: Sudo, text: &str) -> Judgement {
    if text.trim() == "absent" {
        return Judgement::seen(false, format!("there is no account {user}"));
    }
    let Some((listed, tried)) = text.split_once("---\n") else { return Judgement::unknown(last_line(text)) };
    let rules: Vec<_> = listed.lines().map(str::trim).filter(|l| l.starts_with('(')).collect();
    let tried = tried.trim();
    let asks = tried.contains("a password is required");
    let all = rules.iter().any(|r| r.ends_with(" ALL"));
    let free = rules.iter().any(|r| r.contains("NOPASSWD"));
    let (holds, seen) = match may {
        Sudo::Nothing => (rules.is_empty() && tried != "0", last_line(listed)),
        Sudo::WithPassword => {
            (all && !free && asks, format!("{}; without a password: {}", rules.join(", "), last_line(tried)))
        }
        Sudo::WithoutPassword => (
            all && free && tried == "0",
            format!("{}; without a password it is user {}", rules.join(", "), last_line(tried)),
        ),
    };
    Judgement::seen(holds, seen)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::verdict::Verdict::{self, Fails, Holds, Unknown};

    fn verdict(check: &Check, status: i32, text: &str) -> Verdict {
        look(check, &Answer { status, text: text.to_owned(), took_ms: 0 }).verdict
    }

    #[test]
    fn sshd_is_understood_whatever_its_case() {
        let root = Check::Says {
            command: vec!["sshd".into()],
            keyword: "permitrootlogin".into(),
            values: vec!["prohibit-password".into()],
        };
        assert_eq!(verdict(&root, 0, "port 22\npermitrootlogin without-password\n"), Holds);
        assert_eq!(verdict(&root, 0, "Port 22\nPermitRootLogin prohibit-password\n"), Holds);
        assert_eq!(verdict(&root, 0, "permitrootlogin yes\n"), Fails);
        assert_eq!(verdict(&root, 0, ""), Fails);
        assert_eq!(verdict(&root, 255, "bad configuration\n"), Unknown);
        let users = Check::Says {
            command: vec!["sshd".into()],
            keyword: "allowusers".into(),
            values: vec!["bob".into(), "alice".into()],
        };
        assert_eq!(verdict(&users, 0, "allowusers alice\nallowusers bob\n"), Holds);
        // A second drop-in that adds a name does not go unseen.
        assert_eq!(verdict(&users, 0, "allowusers alice\nallowusers bob\nallowusers eve\n"), Fails);
    }

    #[test]
    fn every_interface_must_have_the_value() {
        let check = Check::Sysctl { path: "/proc/sys/net/ipv4/conf/*/rp_filter".into(), value: "1".into() };
        assert_eq!(verdict(&check, 0, "/proc/a=1\n/proc/b=1\n"), Holds);
        assert_eq!(verdict(&check, 0, "/proc/a=1\n/proc/b=0\n"), Fails);
        assert_eq!(verdict(&check, 0, ""), Unknown);
    }

    #[test]
    fn a_unit_a_file_and_a_script_are_judged() {
        let unit = Check::Unit { unit: "x.service".into(), active: "active".into(), enabled: Some("enabled".into()) };
        assert_eq!(verdict(&unit, 0, "ActiveState=active\nUnitFileState=enabled\n"), Holds);
        assert_eq!(verdict(&unit, 0, "ActiveState=active\nUnitFileState=disabled\n"), Fails);
        assert_eq!(verdict(&unit, 1, "no systemd here"), Unknown);
        let file = Check::File { path: "/x".into(), mode: "0600".into(), owner: "root:root".into() };
        assert_eq!(verdict(&file, 0, "600 root:root\n"), Holds);
        assert_eq!(verdict(&file, 0, "644 root:root\n"), Fails);
        assert_eq!(verdict(&file, 1, "No such file\n"), Fails);
        assert_eq!(verdict(&Check::Script { script: "x".into() }, 1, ""), Fails);
        assert_eq!(verdict(&Check::Script { script: "x".into() }, 75, "it is started from outside"), Unknown);
    }

    #[test]
    fn an_account_has_exactly_its_keys() {
        let state = AccountState {
            user: "alice".into(),
            password: "L".into(),
            groups: vec!["adm".into()],
            keys: Some(vec!["k1 a b".into()]),
        };
        let check = Check::Account(state);
        assert_eq!(verdict(&check, 0, "password L\ngroup alice\ngroup adm\nkey k1 a b\n"), Holds);
        for bad in [
            "password P\ngroup adm\nkey k1 a b\n",
            "password L\nkey k1 a b\n",
            "password L\ngroup adm\n",
            "password L\ngroup adm\nkey k1 a b\nkey k2 x y\n",
            "absent\n",
        ] {
            assert_eq!(verdict(&check, 0, bad), Fails, "{bad}");
        }
        assert_eq!(verdict(&check, 0, ""), Unknown);
    }

    #[test]
    fn sudo_is_judged_by_what_it_does() {
        let with = Check::Sudo { user: "a".into(), may: Sudo::WithPassword };
        assert_eq!(
            verdict(&with, 0, "User a may run:\n    (ALL : ALL) ALL\n---\nsudo: a password is required\n"),
            Holds
        );
        assert_eq!(verdict(&with, 0, "    (ALL : ALL) ALL\n    (ALL) NOPASSWD: ALL\n---\n0\n"), Fails);
        let none = Check::Sudo { user: "a".into(), may: Sudo::Nothing };
        assert_eq!(
            verdict(&none, 0, "User a is not allowed to run sudo on x.\n---\nsudo: a password is required\n"),
            Holds
        );
        assert_eq!(verdict(&none, 0, "    (ALL) ALL\n---\nsudo: a password is required\n"), Fails);
        let free = Check::Sudo { user: "a".into(), may: Sudo::WithoutPassword };
        assert_eq!(verdict(&free, 0, "    (ALL : ALL) NOPASSWD: ALL\n---\n0\n"), Holds);
        assert_eq!(verdict(&free, 0, "    (ALL : ALL) ALL\n---\nsudo: a password is required\n"), Fails);
    }

    #[test]
    fn the_script_really_asks_and_no_answer_is_lost() {
        let checks = [
            Check::Script { script: "echo 'a \"b\" $HOME é'; echo; echo 0 0 0 9; exit 3\n".into() },
            Check::Says {
                command: vec!["printf".into(), "Port %s\\n".into(), "2222 x".into()],
                keyword: "port".into(),
                values: vec!["2222 X".into()],
            },
            Check::Sysctl { path: "/proc/sys/kernel/ostype".into(), value: "Linux".into() },
        ];
        let checks: Vec<&Check> = checks.iter().collect();
        let run = crate::prove::process::Program::new("bash").arg("-c").arg(script(&checks)).output().unwrap();
        let seen = judge(&checks, &run);
        assert_eq!(seen.iter().map(|j| j.verdict).collect::<Vec<_>>(), [Fails, Holds, Holds], "{seen:?}");
        assert!(judge(&checks, b"rubbish\n99 0 0 !!\n").iter().all(|j| j.verdict == Unknown));
    }

    #[test]
    fn a_question_that_does_not_end_is_given_up_and_the_next_is_asked() {
        let hangs = "printf 'so\\0far'; sleep 60 & sleep 60\n";
        let checks = [hangs, "exit 124\n", "echo \"$(printf 'a\\0b')\"\n"];
        let checks = checks.map(|script| Check::Script { script: script.into() });
        let checks: Vec<&Check> = checks.iter().collect();
        let hasty = script(&checks).replace(&format!("-t {PATIENCE} "), "-t 1 ");
        let run = crate::prove::process::Program::new("bash").arg("-c").arg(hasty).output().unwrap();
        let seen = judge(&checks, &run);
        assert_eq!(seen.iter().map(|j| j.verdict).collect::<Vec<_>>(), [Unknown, Unknown, Holds], "{seen:?}");
        assert_eq!(seen[2].seen, "ab");
    }
}
