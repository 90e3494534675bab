//! IPv6 truly off: the kernel's switch, those who would turn it back, and rules that let nothing pass all the same.

use super::UNIT;
use crate::facts::{Facts, Unknown};
use crate::hurdle::Trouble;
use crate::plan::name::{SysctlKey, SysctlValue};
use crate::plan::net::Cidr;
use crate::plan::proof::{Check, Proof, When, WithoutIpv6};
use crate::plan::{Filter, LIB, Plan, Stage, Syntax};
use crate::report::{FromText, Lint, Report, Severity};
use crate::template;
use crate::yaml::Spanned;
use std::collections::BTreeMap;

pub(super) const OFF_AND_NAMED: Lint = Lint {
    code: "firewall/ipv6-off-and-named",
    severity: Severity::Error,
    finds: "a network of IPv6 in `allow` or `allow_out` where `ipv6` is `off`",
    why: "no packet of IPv6 comes in or goes out: whoever comes from there is kept out",
    instead: "take the network out, or say `ipv6: same`",
    refs: &["R3"],
};

/// What is said of networks where IPv6 is off.
pub(super) fn lint<'a>(nets: impl Iterator<Item = &'a Spanned<Cidr>>, report: &mut Report) {
    for net in nets.filter(|net| !net.is_ipv4()) {
        report.push(OFF_AND_NAMED.at(net.span, format!("{} is of IPv6, which is off", net.value)));
    }
}

/// Those who set a link up, and with it IPv6 as they are told (systemd.network(5), nm-settings(5)).
const MANAGERS: [&str; 2] = ["systemd-networkd.service", "NetworkManager.service"];

/// Asks for it.
pub(super) fn plan(facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
    let holes = BTreeMap::from([("lib", LIB)]);
    let script = template!("firewall/ipv6-off.sh");
    plan.draw("firewall", Stage::Gate, &format!("{LIB}/ipv6-off"), 0o755, script, &holes)?;
    let units = facts.path("systemd-units")?;
    // What else sets links up leaves the switch be (interfaces(5)).
    for manager in MANAGERS.iter().copied().filter(|_| facts.systemd()) {
        let path = format!("{units}/{manager}.d/99-hardtack-ipv6.conf");
        plan.draw("firewall", Stage::Gate, &path, 0o644, template!("firewall/ipv6-off.service"), &holes)?;
        // What no program of the image reads can be broken without anybody noticing.
        if manager == facts.unit("network")? {
            plan.controls(&path, Syntax::Unit, format!("systemctl daemon-reload; systemctl try-restart {manager}"));
        }
    }
    for (link, value) in [("all", "1"), ("default", "1"), ("lo", "0")] {
        // Both are constants of ours.
        let key = SysctlKey::from_text(&format!("net.ipv6.conf.{link}.disable_ipv6"));
        if let (Ok(key), Ok(value)) = (key, SysctlValue::from_text(value)) {
            plan.sysctl("firewall", key, value);
        }
    }
    Ok(())
}

/// What must be seen for it to be off.
///
/// # Errors
/// The image does not say who sets its links up.
pub(super) fn proofs(facts: &Facts, filter: &Filter) -> Result<Vec<Proof>, Unknown> {
    let proof =
        |what: &str, refs: &[&str], statement: String, check| Proof::new("firewall", what, refs, statement, check);
    let script = |text: &str| Check::Script { script: text.replace("UNIT", UNIT) };
    let mut proofs = vec![proof(
        "ipv6-off",
        &["R3", "CIS 3.3.11"],
        "IPv6 is off on every link but lo, and on those that come later, and no link has an address of it".to_owned(),
        script(OFF),
    )];
    if facts.systemd() {
        proofs.push(proof(
            "ipv6-held-off",
            &["R3", "systemd.exec(5)"],
            "whoever sets links up cannot turn IPv6 on again".to_owned(),
            script(&HELD.replace("MANAGERS", &MANAGERS.join(" "))),
        ));
    }
    if facts.unit("network")? == MANAGERS[0] {
        proofs.push(proof(
            "ipv6-not-waited-for",
            &["R3", "networkctl(1)"],
            "no link waits for an address of IPv6, and the boot with it".to_owned(),
            script(READY),
        ));
    }
    for interface in std::iter::once(None).chain(filter.interfaces().into_iter().map(Some)) {
        let on = interface.map(|name| format!(" on {name}")).unwrap_or_default();
        let id = format!("ipv6-silent{}", interface.map(|name| format!("-{name}")).unwrap_or_default());
        let check = Check::WithoutIpv6(WithoutIpv6 { interface: interface.map(ToOwned::to_owned) });
        let statement = format!("the machine sends no frame of IPv6 and answers none{on}, while it answers IPv4");
        let silent = proof(&id, &["R3"], statement, check);
        // Scripts bring the network up before the first boot can say anything of it.
        proofs.push(if facts.systemd() { silent } else { Proof { when: When::AfterReboot, ..silent } });
    }
    Ok(proofs)
}

const OFF: &str = "cd /proc/sys/net/ipv6/conf || { echo 'this kernel has no IPv6'; exit 0; }\n\
    bad=0\nfor link in *; do\n\
    want=1\n[ \"$link\" != lo ] || want=0\n\
    read -r is <\"$link/disable_ipv6\"\n[ \"$is\" = $want ] || { echo \"$link: disable_ipv6 is $is\"; bad=1; }\ndone\n\
    has=$(ip -6 -o addr show | awk '$2 != \"lo\" { print $2, $4 }' | tr '\\n' ' ')\n\
    [ -z \"$has\" ] || { echo \"there is an address: $has\"; bad=1; }\n\
    [ $bad = 0 ] && echo 'off but for lo'\nexit $bad\n";

// What networkd does not look after is none of its own.
const READY: &str = "links=$(networkctl --no-legend --no-pager list | awk '$5 != \"unmanaged\" { print $2, $5 }')\n\
    [ -n \"$links\" ] || { echo 'networkd looks after no link'; exit 75; }\n\
    waits=$(echo \"$links\" | grep -v ' configured$' | tr '\\n' ' ')\n\
    [ -z \"$waits\" ] || { echo \"not ready: $waits\"; exit 1; }\necho $links\n";

// They are tried from where they stand: their own view of /proc.
const HELD: &str = "asked=0\nfor unit in MANAGERS; do\n\
    pid=$(systemctl show -p MainPID --value \"$unit\")\n[ \"${pid:-0}\" != 0 ] || continue\n\
    asked=$((asked + 1))\n\
    if nsenter -t \"$pid\" -m sh -c 'echo 1 >/proc/sys/net/ipv6/conf/default/disable_ipv6' 2>/dev/null; then\n\
    echo \"$unit can write to /proc/sys/net/ipv6\"; exit 1\nfi\ndone\n\
    [ $asked != 0 ] || { echo 'nobody who sets links up is running'; exit 75; }\n\
    echo \"asked of $asked\"\n";
