//! Logins with all that sshd can ask for, by the real OpenSSH client: each the right way and the wrong ones.

use super::{Broken, proved, typed};
use crate::support::root;
use hardtack::plan::proof::Proof;
use hardtack::prove::event::Event;
use hardtack::prove::shell::Keep;

fn held(report: &serde_json::Value, ids: &[&str], said: &str) {
    for id in ids {
        let proof = report["proofs"].as_array().unwrap().iter().find(|p| p["id"] == *id);
        assert_eq!(proof.unwrap_or_else(|| panic!("no proof {id}"))["verdict"], "holds", "{id}: {said}");
    }
}

/// The machine, judged, and what was said of it.
fn judged(more: &[&str]) -> (serde_json::Value, String) {
    let spec = root().join("tests/specs/logins.yaml");
    proved(&[&[spec.to_str().unwrap(), "--no-reboot"], more].concat(), None)
}

#[test]
fn a_code_and_certificates_hold_on_debian_13() {
    let (report, said) = judged(&["--no-control"]);
    let ids = [
        "accounts/alice-logs-in",
        "ssh/key-alone-refused-for-alice",
        "ssh/wrong-code-refused-for-alice",
        "ssh/no-shell-before-a-code-for-alice",
        "ssh/certificate-taken-for-alice",
        "ssh/certificate-taken-for-courier",
        "ssh/others-certificate-refused-for-courier",
        "ssh/expired-certificate-refused",
        "ssh/revoked-certificate-refused",
        "ssh/strangers-certificate-refused",
        "ssh/sftp-shut",
        "ssh/forwarding-shut",
        "ssh/offers",
        "ssh/no-unseen-doors",
        "rescue/never-needed",
    ];
    held(&report, &ids, &said);
}

#[test]
#[ignore = "ci/full"]
fn on_the_bare_image_a_key_alone_lets_in() {
    let (report, said) = judged(&[]);
    // Files are sent too, and sshd listens where no packet filter sees it.
    for id in [
        "ssh/key-alone-refused-for-alice",
        "ssh/certificate-taken-for-alice",
        "ssh/sftp-shut",
        "ssh/offers",
        "ssh/no-unseen-doors",
    ] {
        assert_eq!(super::control_of(&report, id), "fails", "{id}: {said}");
    }
}

#[test]
#[ignore = "ci/full"]
fn a_security_key_holds_on_debian_12() {
    let spec = root().join("tests/specs/security-key.yaml");
    let (report, said) = proved(&[spec.to_str().unwrap(), "--no-reboot", "--no-control"], None);
    let ids =
        ["accounts/mira-logs-in", "ssh/touch-alone-refused-for-mira", "ssh/soft-key-refused-for-mira", "ssh/sftp-open"];
    held(&report, &ids, &said);
}

/// A person at a terminal, who scans what is shown, types the code that it gives, and is in.
const ENROLS: &str = r##"
import base64, hashlib, hmac, os, pty, re, select, struct, sys, time
pid, fd = pty.fork()
if pid == 0:
    os.execvp('su', ['su', '-', 'alice', '-c', 'SHELL=/bin/bash /usr/local/lib/hardtack/enrol'])
said = b''
def until(word):
    global said
    end = time.time() + 120
    while word not in said:
        assert time.time() < end, said
        if select.select([fd], [], [], 1)[0]:
            said += os.read(fd, 65536)
until(b'Enter code from app')
key = base64.b32decode(re.search(rb'secret key is: ([A-Z2-7]+)', said).group(1) + b'=' * 6)
mac = hmac.new(key, struct.pack('>Q', int(time.time()) // 30), hashlib.sha1).digest()
at = mac[-1] & 15
os.write(fd, b'%06d\n' % ((struct.unpack('>I', mac[at:at + 4])[0] & 0x7fffffff) % 1000000))
until(b'Keep it open until another one has worked')
os.write(fd, b'id -un; exit\n')
until(b'alice\r\n')
"##;

#[test]
#[ignore = "ci/full"]
fn a_person_sets_up_a_code_at_a_terminal() {
    let broken = Broken::of("logins.yaml", &|_| {});
    // One proof that cannot hold, so that the machine is kept.
    let mut proofs: Vec<Proof> = broken.proofs.iter().filter(|p| p.id == "delivery/sealed").cloned().collect();
    let hardtack::plan::proof::Check::Script { script } = &mut proofs[0].check else { panic!("no script") };
    *script = "exit 1\n".to_owned();
    let mut seen = None;
    let mut tell = |event| {
        if let Event::Kept { ask, .. } = event {
            let program = ENROLS.replace('\'', "'\\''");
            let ran = typed(&ask, "/root", &format!("python3 -c '{program}' 2>&1"));
            let kept = typed(
                &ask,
                "/root",
                "stat -c '%a %U' /home/alice/.google_authenticator; grep -c TOTP_AUTH /home/alice/.google_authenticator",
            );
            seen = Some((ran, kept));
        }
    };
    broken.run(proofs, false, Keep::NotProved, &mut tell).unwrap();
    let (ran, kept) = seen.expect("the machine was not kept");
    assert_eq!(ran.0, 0, "{}", ran.1);
    assert_eq!(kept.1, "400 alice\n1\n");
}
