//! What PAM makes of passwords: how good a new one must be, which old ones are no new ones, and who has guessed too often.

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::proof::{Check, Proof};
use crate::plan::{NOTHING, Plan, Stage, Syntax};
use crate::report::{Lint, Report, Severity, Span};
use crate::yaml::{Node, Read, Spanned, Whole, whole};
use crate::{section, template};
use serde::Serialize;

section! {
    /// What PAM makes of passwords, root's included: of new ones, of old ones, and of whoever guesses.
    pub struct Passwords as "passwords" {
        /// How long a new one must be.
        min_length: Spanned<Number<8, 64>> = Spanned::default_of(Number(14)), or "14";
        /// Of how many of these it must have something: small letters, capitals, digits, other characters.
        min_classes: Spanned<Number<1, 4>> = Spanned::default_of(Number(3)), or "3";
        /// How many old ones are no new ones.
        remember: Spanned<Number<1, 400>> = Spanned::default_of(Number(24)), or "24";
        /// After how many wrong ones in a quarter of an hour no more are taken from a person.
        lock_after: Spanned<Number<3, 20>> = Spanned::default_of(Number(5)), or "5";
        /// For how many seconds then.
        unlock_after: Spanned<Number<60, 86_400>> = Spanned::default_of(Number(900)), or "900";
    }
}

/// A number with bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Number<const FROM: u32, const TO: u32>(pub u32);

impl<const FROM: u32, const TO: u32> TryFrom<i128> for Number<FROM, TO> {
    type Error = ();
    fn try_from(v: i128) -> Result<Self, ()> {
        u32::try_from(v).ok().filter(|n| (FROM..=TO).contains(n)).map(Number).ok_or(())
    }
}

impl<const FROM: u32, const TO: u32> Whole for Number<FROM, TO> {
    const WHAT: &'static str = match (FROM, TO) {
        (8, 64) => "a length (8 to 64)",
        (1, 4) => "a number of kinds (1 to 4)",
        (1, 400) => "a number of passwords (1 to 400)",
        (3, 20) => "a number of tries (3 to 20)",
        _ => "a number of seconds (60 to 86400)",
    };
}

impl<const FROM: u32, const TO: u32> Read for Number<FROM, TO> {
    fn read(node: &Node, report: &mut Report) -> Option<Self> {
        whole(node, report)
    }
}

const SHORT: Lint = Lint {
    code: "passwords/short",
    severity: Severity::Warning,
    finds: "`min_length` below 12",
    why: "whoever gets the hash tries all of that length",
    instead: "ask for 14, or leave it out",
    refs: &["R33", "CIS 5.3.3.2.2", "ANSSI-BP-028 R31"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[SHORT];
/// The sections inside.
pub const PARTS: &[Part] = &[];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[Instruction {
    said: "A password policy for complex passwords can be set",
    became: "`passwords`: pwquality judges new ones, pwhistory remembers old ones, faillock counts wrong ones, as the image's family wires \
             them into PAM.",
    refs: &["R33"],
}];

const QUALITY: &str = "/etc/security/pwquality.conf.d/50-hardtack.conf";
const LOCK: &str = "/etc/security/faillock.conf";

#[derive(Serialize)]
struct Holes {
    length: u32,
    classes: u32,
    remember: u32,
    tries: u32,
    seconds: u32,
}

impl Hurdle for Passwords {
    fn lint(&self, _: Span, report: &mut Report) {
        if self.min_length.0 < 12 {
            report.push(SHORT.at(self.min_length.span, format!("{} characters are soon tried", self.min_length.0)));
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        let holes = Holes {
            length: self.min_length.0,
            classes: self.min_classes.0,
            remember: self.remember.0,
            tries: self.lock_after.0,
            seconds: self.unlock_after.0,
        };
        for package in ["pwquality", "cracklib", "wordlist", "sudo"] {
            plan.packages.insert(facts.package(package)?.to_owned());
        }
        let apply = Stage::Apply;
        plan.draw("passwords", apply, QUALITY, 0o644, template!("passwords/pwquality.conf"), &holes)?;
        plan.draw("passwords", apply, LOCK, 0o644, template!("passwords/faillock.conf"), &holes)?;
        for path in [QUALITY, LOCK] {
            // PAM reads them whenever it is asked.
            plan.controls(path, Syntax::Assignments, NOTHING);
        }
        if facts.has("authselect") {
            plan.draw(
                "passwords",
                apply,
                "/etc/security/pwhistory.conf",
                0o644,
                template!("passwords/pwhistory.conf"),
                &holes,
            )?;
            plan.command("passwords", apply, template!("passwords/authselect.sh"), &holes)?;
            return Ok(());
        }
        let profiles = facts.path("pam-profiles")?;
        for (name, line, template) in [
            ("hardtack-faillock", "pam_faillock[.]so", template!("passwords/faillock.rules")),
            ("hardtack-faillock-first", "pam_faillock[.]so", template!("passwords/faillock-first.rules")),
            ("hardtack-pwhistory", "pam_pwhistory[.]so", template!("passwords/pwhistory.rules")),
        ] {
            plan.draw("passwords", apply, &format!("{profiles}/{name}"), 0o644, template, &holes)?;
            plan.pam(name, line);
        }
        // The package's own.
        plan.pam("pwquality", "pam_pwquality[.]so");
        plan.command("passwords", apply, template!("passwords/apply.sh"), &holes)?;
        Ok(())
    }

    fn proofs(&self, _: &Facts, _: &Plan) -> Result<Vec<Proof>, Unknown> {
        let proof = |what: &str, refs: &[&str], statement: String, script: String| {
            Proof::new("passwords", what, refs, statement, Check::Script { script: format!("{ACCOUNT}{script}") })
        };
        let (length, classes) = (self.min_length.0 as usize, self.min_classes.0);
        // Of as many kinds as are asked for, and one character too few or one kind too few.
        let of = |kinds: u32, length: usize| -> String {
            let kinds = &["qzv", "XKW", "739", "%_+"][..kinds as usize];
            let all: Vec<char> = (0..3).flat_map(|at| kinds.iter().filter_map(move |k| k.chars().nth(at))).collect();
            let mut text: Vec<char> = all.iter().copied().cycle().take(length).collect();
            // Whatever repeats itself is bad for another reason.
            for (at, c) in text.iter_mut().enumerate().skip(all.len()) {
                *c = char::from_u32(u32::from('a') + u32::try_from(at * 7 % 26).unwrap_or_default()).unwrap_or('q');
            }
            text.into_iter().collect()
        };
        let good = of(classes, length);
        let mut bad = vec![of(classes, length - 1)];
        if classes > 1 {
            bad.push(of(classes - 1, length));
        }
        let refused: String =
            bad.iter().map(|bad| format!("takes '{bad}' && fail 'it takes one that is too plain: {bad}'\n")).collect();
        Ok(vec![
            proof(
                "plain-ones-refused",
                &["R33", "CIS 5.3.3.2.2", "CIS 5.3.3.2.3", "pwquality.conf(5)"],
                format!("a new password of {length} characters and {classes} kinds is taken, and no plainer one"),
                format!(
                    "{refused}takes '{good}' || fail 'it does not take a good one'\necho 'plain ones are refused'\n"
                ),
            ),
            proof(
                "old-ones-refused",
                &["R33", "CIS 5.3.3.3.1", "pam_pwhistory(8)"],
                "an old password is no new one".to_owned(),
                format!("first='{good}' second='Wz-{good}-4k'\n{HISTORY}"),
            ),
            proof(
                "guessing-locks",
                &["R33", "CIS 5.3.3.1.1", "faillock.conf(5)"],
                format!(
                    "after {} wrong passwords the right one is not taken either, for {} seconds",
                    self.lock_after.0, self.unlock_after.0
                ),
                format!("tries={} seconds={} word='{good}'\n{GUESSING}", self.lock_after.0, self.unlock_after.0),
            ),
        ])
    }
}

// An account for as long as it is asked, whose passwords are nobody's.
const ACCOUNT: &str = "export LC_ALL=C.UTF-8\nname=hardtack-probe\n\
    gone() { userdel -f -r $name 2>/dev/null; rm -f /run/faillock/$name; sed -i \"/^$name:/d\" /etc/security/opasswd 2>/dev/null; }\n\
    fail() { echo \"$1\"; gone; exit 1; }\n\
    gone; useradd -m -s /bin/sh $name || { echo 'no account can be made'; exit 75; }\ntrap gone EXIT\n\
    takes() { echo \"$name:$1\" | chpasswd >/dev/null 2>&1; }\n\
    as() { setpriv --reuid=$1 --regid=65534 --clear-groups sh -c \"$2\"; }\n";

const HISTORY: &str = "takes \"$first\" || fail 'it does not take a good one'\n\
    changes() { printf '%s\\n%s\\n%s\\n' \"$1\" \"$2\" \"$2\" | as $name passwd >/dev/null 2>&1; }\n\
    changes \"$first\" \"$second\" || fail 'a person cannot change a password'\n\
    changes \"$second\" \"$first\" && fail 'it takes the old one again'\necho 'the old one is refused'\n";

// sudo asks three times, so three wrong ones are one run of it; one that is asked and gets nothing is a wrong one too.
// When each was wrong stands in a file, and is moved back there: 64 bytes each, with the time at their end (pam_faillock's faillock.h).
const GUESSING: &str = "takes \"$word\" || fail 'it does not take a good one'\n\
    enters() { printf '%s\\n' \"$@\" | as $name 'sudo -S -k true' 2>&1 | grep -q 'may not run\\|not in the sudoers\\|not allowed'; }\n\
    after() { n=$1; while [ $n -ge 3 ]; do enters wrong wrong wrong; n=$((n - 3)); done\n\
    case $n in 2) enters wrong wrong \"$word\" ;; 1) enters wrong \"$word\" ;; 0) enters \"$word\" ;; esac; }\n\
    back() { python3 -IS -c 'import struct, sys\n\
    with open(\"/run/faillock/\" + sys.argv[1], \"r+b\") as f:\n\
    \x20   all = bytearray(f.read())\n\
    \x20   for at in range(56, len(all), 64): struct.pack_into(\"<Q\", all, at, struct.unpack_from(\"<Q\", all, at)[0] - int(sys.argv[2]))\n\
    \x20   f.seek(0)\n\
    \x20   f.write(all)' $name $1; }\n\
    after 0 || fail 'the right one is not taken before'\n\
    after $((tries - 1)) || fail \"the right one is not taken after $((tries - 1)) wrong ones\"\n\
    after $tries && fail \"the right one is taken after $tries wrong ones\"\n\
    back $((seconds - 50)); enters \"$word\" && fail \"the right one is taken before $seconds seconds are over\"\n\
    back 51; enters \"$word\" || fail \"the right one is not taken after $seconds seconds\"\n\
    echo \"$tries wrong ones lock for $seconds seconds\"\n";
