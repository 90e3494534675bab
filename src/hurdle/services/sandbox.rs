//! The sandbox of a person's own unit: what systemd.exec(5) can take away from a program that never asked for it.

use crate::report::{Fault, FromText, did_you_mean, shown};

/// Directive and value. What `systemctl show` prints for it is the same, but where [`SHOWN`] says otherwise.
pub(super) const SANDBOX: &[(&str, &str)] = &[
    ("NoNewPrivileges", "yes"),
    ("ProtectSystem", "strict"),
    ("ProtectHome", "yes"),
    ("PrivateTmp", "yes"),
    ("PrivateDevices", "yes"),
    ("PrivateUsers", "yes"),
    ("ProtectKernelTunables", "yes"),
    ("ProtectKernelModules", "yes"),
    ("ProtectKernelLogs", "yes"),
    ("ProtectControlGroups", "yes"),
    ("ProtectClock", "yes"),
    ("ProtectHostname", "yes"),
    ("ProtectProc", "invisible"),
    ("ProcSubset", "pid"),
    ("RestrictNamespaces", "yes"),
    ("RestrictRealtime", "yes"),
    ("RestrictSUIDSGID", "yes"),
    ("LockPersonality", "yes"),
    ("MemoryDenyWriteExecute", "yes"),
    ("RemoveIPC", "yes"),
    ("UMask", "0077"),
    ("SystemCallArchitectures", "native"),
    ("SystemCallFilter", "@system-service"),
    ("SystemCallFilter", "~@privileged @resources"),
];

/// A directive of the sandbox that a program cannot live with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Directive(pub(super) &'static str);

impl FromText for Directive {
    const WHAT: &'static str = "a directive of the sandbox";
    fn from_text(text: &str) -> Result<Self, Fault> {
        if let Some((name, _)) = SANDBOX.iter().find(|(name, _)| *name == text) {
            return Ok(Directive(name));
        }
        let mut names: Vec<&str> = SANDBOX.iter().map(|(name, _)| *name).collect();
        names.dedup();
        let help = match did_you_mean(text, names.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known: {}", names.join(", ")),
        };
        Err(Fault::new(format!("`{}` is not a directive of the sandbox", shown(text))).help(help))
    }
}
