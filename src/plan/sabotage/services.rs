//! What runs and listens, broken on purpose.

use super::{Change, Sabotage};
use crate::plan::Plan;

/// Waits on a socket as somebody else's program would, until it is ended.
fn listens(open: &str) -> (String, String) {
    let program = format!(
        "import os, socket, sys, time\n{open}\nif os.fork(): os._exit(0)\nos.setsid()\nopen(\"/run/sabotage.pid\", \"w\").write(str(os.getpid()))\ntime.sleep(86400)"
    );
    let spoil = format!(
        "python3 -c '{program}' </dev/null >/dev/null 2>&1 && while ! [ -s /run/sabotage.pid ]; do sleep 0.1; done"
    );
    (spoil, "kill $(cat /run/sabotage.pid); rm -f /run/sabotage.pid /run/sabotage.sock".to_owned())
}

pub(super) fn services(plan: &Plan, all: &mut Vec<Sabotage>) {
    let has = |id: &str| plan.proofs.iter().any(|p| p.id == id);
    let mut add = |what: &str, sentence: &str, word: &str, spoil: String, mend: String| {
        all.push(Sabotage {
            id: format!("services/{what}"),
            hurdle: "services".to_owned(),
            what: sentence.to_owned(),
            change: Change::Scripts { spoil, mend },
            word: word.to_owned(),
            eyes: Vec::new(),
        });
    };
    if has("services/listens-ports") {
        for (what, open) in [
            ("tcp", "s = socket.socket(); s.bind((\"127.0.0.1\", 4444)); s.listen()"),
            ("udp", "s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); s.bind((\"::1\", 4444))"),
        ] {
            let (spoil, mend) = listens(open);
            add(&format!("wait on {what}"), "something waits on port 4444", "listens-ports", spoil, mend);
        }
        let (spoil, mend) = listens("s = socket.socket(socket.AF_UNIX); s.bind(\"/run/sabotage.sock\"); s.listen()");
        add("wait on a socket", "something waits on /run/sabotage.sock", "listens-sockets", spoil, mend);
        let (spoil, mend) = listens("s = socket.socket(socket.AF_UNIX); s.bind(\"\\0sabotage\"); s.listen()");
        add("wait on an abstract socket", "something waits on @sabotage", "listens-sockets", spoil, mend);
        let (spoil, mend) =
            listens("s = socket.socket(socket.AF_VSOCK); s.bind((socket.VMADDR_CID_ANY, 4444)); s.listen()");
        add("wait on vsock", "something waits for the machine's host", "listens-vsock", spoil, mend);
    }
    if let Some(path) = plan.files.keys().find(|path| path.ends_with("/hardtack-refused.pref")) {
        let (aside, back) = (format!("mv {path} /run/sabotage.pref"), format!("mv /run/sabotage.pref {path}"));
        add("take anything", "apt may take what is refused", "stays-away", aside, back);
    }
    for package in &plan.refused {
        // As dpkg would have written it down; a package that brings nothing. Where there is another package manager no hunt is run yet.
        let status = "/var/lib/dpkg/status";
        let spoil = format!(
            "cp -a {status} {status}.sabotage && : >/var/lib/dpkg/info/{package}.list && printf '\\nPackage: {package}\\nStatus: install ok installed\\nPriority: optional\\nSection: net\\nMaintainer: nobody <nobody@localhost>\\nArchitecture: all\\nVersion: 9999\\nDescription: none\\n' >>{status}"
        );
        let mend = format!("mv -f {status}.sabotage {status}; rm -f /var/lib/dpkg/info/{package}.list");
        add(&format!("install {package}"), &format!("{package} is installed"), package, spoil, mend);
    }
    for unit in &plan.masked {
        let (off, on) = (format!("systemctl --no-reload unmask {unit}"), format!("systemctl --no-reload mask {unit}"));
        add(&format!("unmask {unit}"), &format!("{unit} is not masked"), "services/masked", off, on);
    }
}
