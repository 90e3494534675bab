//! What must be seen of who watches: each is asked of the daemon that does it, and each is seen to notice something.

use super::Watch;
use crate::facts::{Facts, Unknown};
use crate::plan::proof::{Check, Proof, When};
use crate::plan::verify;

pub(super) fn proofs(watch: &Watch, facts: &Facts) -> Result<Vec<Proof>, Unknown> {
    let mut all = Vec::new();
    let mut script = |what: &str, refs: &[&str], statement: &str, script: String| {
        all.push(Proof::new("watch", what, refs, statement, Check::Script { script }));
    };
    if *watch.audit {
        let refs = &["R52", "R53", "CIS 6.2.3", "ANSSI-BP-028 R73"];
        script("audit-rules", refs, "the kernel writes down what the rules say, all of them", RULES.to_owned());
        script(
            "audit-locked",
            &["R53", "CIS 6.2.3.20", "auditctl(8)"],
            "until the next boot nobody changes the rules",
            LOCKED.to_owned(),
        );
        script("audit-sees", refs, "who changes what lets in is written down", SEES.to_owned());
    }
    if *watch.integrity {
        let refs = &["R53", "CIS 6.3.1", "ANSSI-BP-028 R76"];
        script("integrity", refs, "no file has changed that nobody should change", INTEGRITY.to_owned());
        script(
            "integrity-notices",
            refs,
            "a program that is put beside the others does not go unseen",
            NOTICES_FILE.to_owned(),
        );
    }
    if *watch.bans {
        script(
            "bans",
            &["R52", "jail.conf(5)"],
            "who is banned does not reach sshd, and it is the journal that says who",
            BANS.to_owned(),
        );
    }
    script(
        "journal-settings",
        &["R53", "CIS 6.1.2", "journald.conf(5)"],
        "the journal is on the disk, for as long and as large as the spec says",
        format!("days={} mib={}\n{JOURNAL}", watch.journal_days.0, watch.journal_mib.0),
    );
    if let Some(url) = &watch.forward {
        script(
            "journal-is-sent",
            &["R42", "R53", "CIS 6.1.2.1"],
            "the journal is sent on by TLS",
            format!("url='{}'\n{SENT}", url.as_str()),
        );
    }
    let time = ["R53", "CIS 2.3.1", "ANSSI-BP-028 R71"];
    if !watch.time_servers.is_empty() {
        let wanted: Vec<&str> = watch.time_servers.iter().map(|s| s.as_str()).collect();
        script(
            "time-servers",
            &time,
            "the time comes from where the spec says",
            format!(
                "seen=$(timedatectl show-timesync -p SystemNTPServers --value)\necho \"$seen\"\n[ \"$seen\" = '{}' ]\n",
                wanted.join(" ")
            ),
        );
    }
    if *watch.verify {
        script("verify-holds", &["R14", "R53"], "the machine itself finds that all of this holds", HOLDS.to_owned());
        script("verify-notices", &["R53"], "the machine itself notices that something has changed", NOTICES.to_owned());
        script("verify-after-updates", &["R27", "R53"], "it looks again after updates", after_updates(facts));
    }
    let survives = "the journal has the boots before this one";
    let check = Check::Script { script: BOOTS.to_owned() };
    let proof = Proof::new("watch", "journal-survives", &["R53", "CIS 6.1.2.4"], survives, check);
    all.push(Proof { when: When::AfterReboot, ..proof });
    let unit = |what: &str, unit: &str, refs: &[&str], statement: &str| {
        let check = Check::Unit { unit: unit.to_owned(), active: "active".into(), enabled: Some("enabled".into()) };
        Proof::new("watch", what, refs, statement, check)
    };
    if *watch.audit {
        all.push(unit(
            "auditd",
            "auditd.service",
            &["R53", "CIS 6.2.1.2"],
            "what the kernel notes is written to the disk",
        ));
    }
    if let Ok(name) = facts.unit("time") {
        all.push(unit("time", name, &time, "somebody sees to it that the time is right"));
    }
    if *watch.integrity {
        all.push(unit(
            "integrity-every-day",
            "hardtack-integrity.timer",
            &["R53", "CIS 6.3.2"],
            "files are compared every day",
        ));
        let statement = "a machine that is made of this one's disk writes down anew what its files are";
        let check = Check::Script { script: AGAIN.to_owned() };
        all.push(Proof::new("watch", "integrity-of-clones", &["R53", "aide(1)"], statement, check));
    }
    if *watch.verify {
        all.push(unit("verify-every-day", "hardtack-verify.timer", &["R53"], "the machine looks at itself every day"));
        let check =
            Check::File { path: verify::PLACE.to_owned(), mode: "0700".to_owned(), owner: "root:root".to_owned() };
        all.push(Proof::new("watch", "verify-is-roots", &["R53"], "what looks is root's alone", check));
    }
    Ok(all)
}

fn after_updates(facts: &Facts) -> String {
    let service = facts.unit("updates").unwrap_or_default().replace(".timer", ".service");
    format!(
        "seen=$(systemctl show -p OnSuccess --value {service})\necho \"after {service}: $seen\"\n\
         case \" $seen \" in *' hardtack-verify.service '*) ;; *) exit 1 ;; esac\n"
    )
}

// One rule a line; how auditctl writes it differs from one release to the next, but not how many there are.
const RULES: &str = "wanted=$(grep -c '^-a ' /etc/audit/rules.d/50-hardtack.rules)\nseen=$(auditctl -l | grep -c '^-[aw] ')\n\
    echo \"$seen rules\"\n[ \"$seen\" -ge \"$wanted\" ] && [ \"$wanted\" -gt 0 ]\n";

const LOCKED: &str = "seen=$(auditctl -s | grep '^enabled')\necho \"$seen\"\n[ \"$seen\" = 'enabled 2' ] || exit 1\n\
    auditctl -D >/dev/null 2>&1 && { echo 'rules can be deleted'; exit 1; }\n! auditctl -e 0 >/dev/null 2>&1 && auditctl -s | grep -q '^enabled 2'\n";

// The mode that it has already: nothing changes, and it is written down all the same. The last note is another one then: to count them
// was tried, and those of the boot fell out of `recent` meanwhile, so that there were three fewer.
const SEES: &str = "last() { ausearch -k identity --raw -ts recent 2>/dev/null </dev/null | grep '^type=SYSCALL' | tail -n 1 | grep -o 'audit([^)]*)'; }\n\
    before=$(last)\nchmod \"$(stat -c %a /etc/gshadow)\" /etc/gshadow\nn=0 after=$before\n\
    while { [ -z \"$after\" ] || [ \"$after\" = \"$before\" ]; } && [ $n -lt 20 ]; do\n  sleep 0.5\n  n=$((n + 1))\n  after=$(last)\ndone\n\
    [ -n \"$after\" ] && [ \"$after\" != \"$before\" ] || { echo 'nothing is written down'; exit 1; }\necho \"$after\"\n";

const INTEGRITY: &str = "[ -s /var/lib/hardtack/aide.db ] || { echo 'nothing says what the files were'; exit 1; }\n\
    said=$(hardtack-integrity check); status=$?\necho \"$said\" | grep -m 1 -E '^(File|Directory|Link|[fdl][^ ]*): ' || echo \"$said\" | tail -n 1\n[ $status = 0 ]\n";

// Whether it runs says nothing: the first boot starts it as well, and then it is over.
const AGAIN: &str =
    "seen=$(systemctl is-enabled hardtack-integrity-again.service 2>&1)\necho \"$seen\"\n[ \"$seen\" = enabled ]\n";

const NOTICES_FILE: &str = "probe=/usr/local/bin/hardtack-probe\n: >$probe\n\
    said=$(aide --check --config /usr/local/lib/hardtack/aide.conf --limit '^/usr/local/bin' 2>&1)\nrm -f $probe\n\
    echo \"$said\" | grep \"$probe\" | head -n 1\necho \"$said\" | grep -q \"$probe\"\n";

const BANS: &str = "fail2ban-client get sshd journalmatch | grep -q _COMM=sshd || { fail2ban-client status sshd 2>&1 | tail -n 1; exit 1; }\n\
    fail2ban-client set sshd banip 192.0.2.250 >/dev/null || exit 1\n\
    seen=$(nft list ruleset | grep -c '192[.]0[.]2[.]250')\nfail2ban-client set sshd unbanip 192.0.2.250 >/dev/null\n\
    echo \"$seen sets have who is banned\"\n[ \"$seen\" -gt 0 ]\n";

// What journald itself has taken, and not a file: it says how large it may become when it opens the journal.
const JOURNAL: &str = "seen=$(systemd-analyze cat-config systemd/journald.conf | grep -E '^(Storage|SystemMaxUse|MaxRetentionSec)=')\n\
    for key in Storage=persistent SystemMaxUse=${mib}M MaxRetentionSec=${days}day; do\n  \
    [ \"$(echo \"$seen\" | grep \"^${key%%=*}=\" | tail -n 1)\" = \"$key\" ] || { echo \"not $key\"; exit 1; }\ndone\n\
    systemctl is-active --quiet systemd-journald || exit 1\n\
    file=$(journalctl --header 2>/dev/null | sed -n 's/^File path: //p' | head -n 1)\necho \"$file\"\n\
    case $file in /var/log/journal/*) ;; *) exit 1 ;; esac\n";

const BOOTS: &str = "n=$(journalctl --list-boots --no-pager 2>/dev/null | grep -c '[0-9a-f]\\{32\\}')\necho \"$n boots\"\n[ \"$n\" -gt 1 ]\n";

const SENT: &str = "[ \"$(systemctl is-enabled systemd-journal-upload 2>/dev/null)\" = enabled ] || { echo 'it is not enabled'; exit 1; }\n\
    seen=$(systemd-analyze cat-config systemd/journal-upload.conf | grep '^URL=' | tail -n 1)\necho \"$seen\"\n[ \"$seen\" = \"URL=$url\" ] || exit 1\n\
    [ \"$(systemctl is-active systemd-journal-upload)\" = active ] || { journalctl -u systemd-journal-upload -n 1 -o cat --no-pager; exit 75; }\n";

const HOLDS: &str = "said=$(hardtack-verify 2>&1); status=$?\necho \"$said\" | tail -n 1\n\
    case $status in 0 | 75) exit $status ;; esac\necho \"$said\" | grep -m 1 '^fails '\nexit 1\n";

// Something small that a proof of our own looks at.
const NOTICES: &str = "it=/usr/local/sbin/hardtack-verify\nhardtack-verify watch/verify-is-roots >/dev/null || { echo 'it is wrong already'; exit 1; }\n\
    chmod 0755 $it\nsaid=$(hardtack-verify watch/verify-is-roots); status=$?\nchmod 0700 $it\n\
    echo \"$said\" | head -n 1\n[ $status = 1 ]\n";
