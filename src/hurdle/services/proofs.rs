//! What must be seen of services on the booted machine.

use super::{OwnUnit, Services};
use crate::facts::{Facts, Unknown};
use crate::plan::Plan;
use crate::plan::listener::{Kind, Listener};
use crate::plan::proof::{Check, Proof};

pub(super) fn proofs(services: &Services, facts: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown> {
    let mut all = vec![
        listens(plan, Kind::Ports, "ports", "no port of TCP or UDP is waited on that the spec does not name"),
        listens(plan, Kind::Unix, "sockets", "no socket of the machine is waited on that the spec does not name"),
        listens(plan, Kind::Vsock, "vsock", "nothing waits for the machine's host, where no packet filter sees it"),
    ];
    if let Some(resolver) = facts.unit("resolver").ok().filter(|_| facts.systemd()) {
        let script = format!(
            "systemctl is-active -q {resolver} || {{ echo 'there is no resolver'; exit 0; }}\nfor what in llmnr mdns; do\n  \
             resolvectl $what | grep -qx 'Global: no' || {{ echo $what: $(resolvectl $what); exit 1; }}\ndone\necho 'neither LLMNR nor mDNS'\n"
        );
        let statement = "the resolver neither asks neighbours for names nor answers them".to_owned();
        all.push(script_proof("no-neighbours-names", &["R29", "R44", "resolved.conf(5)"], statement, script));
    }
    for legacy in &services.refuse {
        let packages = facts.refused(legacy.as_str())?.packages.join(" ");
        let statement = format!("no package of {} is installed", legacy.as_str());
        let script = format!(
            "{INSTALLED}for package in {packages}; do installed $package && echo \"$package is here\" && exit 1; done\necho 'none of {packages}'\n"
        );
        all.push(script_proof(&format!("{}-away", legacy.as_str()), &["R43", "CIS 2.1"], statement, script));
    }
    if !plan.refused.is_empty() && facts.path("apt-preferences-d").is_ok() {
        let packages: Vec<&str> = plan.refused.iter().map(String::as_str).collect();
        let script = format!("packages='{}'\n{CANDIDATES}", packages.join(" "));
        let statement = "apt takes none of the refused packages from an archive that has them all";
        all.push(script_proof("stays-away", &["R43", "R56", "apt_preferences(5)"], statement.to_owned(), script));
    }
    if !plan.masked.is_empty() {
        let units: Vec<&str> = plan.masked.iter().map(String::as_str).collect();
        let script = format!(
            "for unit in {}; do\n  seen=$(systemctl is-enabled $unit 2>&1)\n  [ \"$seen\" = masked ] || {{ echo \"$unit is $seen\"; exit 1; }}\n  \
             [ \"$(systemctl is-active $unit)\" != active ] || {{ echo \"$unit runs\"; exit 1; }}\ndone\necho '{} units are masked'\n",
            units.join(" "),
            units.len()
        );
        let statement = "the units of what is refused are masked, and none runs".to_owned();
        all.push(script_proof("masked", &["R56", "systemd.preset(5)"], statement, script));
    }
    for unit in services.units.iter().filter(|_| facts.systemd()) {
        own(unit, &mut all);
    }
    Ok(all)
}

fn script_proof(what: &str, refs: &[&str], statement: String, script: String) -> Proof {
    Proof::new("services", what, refs, statement, Check::Script { script })
}

const INSTALLED: &str = "installed() {\n  if command -v dpkg-query >/dev/null; then\n    \
    case $(dpkg-query -W -f '${db:Status-Status}' $1 2>/dev/null) in '' | not-installed) return 1 ;; esac\n  \
    else rpm -q $1 >/dev/null 2>&1; fi\n}\n";

// An archive that has each of them, and one more that nobody refuses: where apt would not take that one either, it says nothing of them.
const CANDIDATES: &str = r#"d=$(mktemp -d) && trap 'rm -rf "$d"' EXIT
mkdir -p "$d/archive" "$d/lists/partial" "$d/cache/archives/partial"
for package in hardtack-probe $packages; do
  printf 'Package: %s\nVersion: 9999\nArchitecture: all\nMaintainer: nobody <nobody@localhost>\nFilename: ./%s.deb\nSize: 1\nSHA256: %064d\nDescription: none\n\n' \
    $package $package 1
done >"$d/archive/Packages"
echo "deb [trusted=yes] file:$d/archive ./" >"$d/list"
options="-o Dir::Etc::sourcelist=$d/list -o Dir::Etc::sourceparts=/dev/null -o Dir::State::lists=$d/lists -o Dir::Cache=$d/cache -o APT::Sandbox::User=root"
apt-get -q $options update >"$d/said" 2>&1 || { tail -n 1 "$d/said"; exit 75; }
candidates=$(LC_ALL=C apt-cache $options policy hardtack-probe $packages | sed -n 's/^\([^ ].*\):$/\1/p; s/^  Candidate: / /p' | paste -sd ' \n')
case $candidates in *'hardtack-probe  9999'*) ;; *) echo "apt judges nothing: $candidates"; exit 75 ;; esac
taken=$(echo "$candidates" | grep -v '^hardtack-probe ' | grep -v ' (none)$')
[ -z "$taken" ] || { echo "apt takes" $taken; exit 1; }
[ "$(echo "$candidates" | wc -l)" = "$(set -- $packages; echo $(($# + 1)))" ] || { echo "apt does not speak of all: $candidates"; exit 75; }
echo "none of" $packages
"#;

// A client that waits for an answer: systemd-timesyncd does not connect its socket, which is of a port that the kernel chose.
const ASKS_THE_TIME: &str =
    "$1 == \"udp\" && /\"systemd-timesyn\"/ && $5 ~ /:(3[2-9]|[45][0-9]|60)[0-9][0-9][0-9]$/ { next }";

fn listens(plan: &Plan, kind: Kind, what: &str, statement: &str) -> Proof {
    let patterns: Vec<String> =
        plan.listens.iter().filter(|l| l.kind() == kind).map(|l| format!("^{} ?$\n", l.pattern())).collect();
    // What is not named has no users either.
    let columns = "{ sub(/^users:/, \"\", $NF); print $1, $5, $NF }";
    let (list, columns) = match kind {
        Kind::Ports => ("ss -Hlntup", columns),
        // ss shows those of its own network alone, and a name in the file system is reached from any.
        Kind::Unix => {
            ("for pid in $(lsns -n -t net -o PID); do nsenter -t $pid -n ss -Hlxp 2>/dev/null; done", columns)
        }
        Kind::Vsock => ("ss -Hlp --vsock", columns),
    };
    // A datagram socket that has no name is waited on by nobody but its maker. Where all that is strange is nobody's it is looked at
    // again: ss finds out whose sockets are before it lists them, and one that a client opens in between has no owner yet.
    let script = format!(
        "allowed=$(mktemp) && trap 'rm -f \"$allowed\"' EXIT\ncat >\"$allowed\" <<'PATTERNS'\n{}PATTERNS\n\
         look() {{\n  seen=$({list} | awk '{ASKS_THE_TIME} $5 != \"*\" {columns}' | sort -u) || exit 75\n  \
         strange=$(echo \"$seen\" | while read -r protocol address users; do\n    \
         [ -z \"$protocol\" ] || echo \"$protocol $address\" | grep -qEf \"$allowed\" || echo \"$protocol $address by $users;\"\n  done)\n}}\n\
         look\n[ -z \"$strange\" ] || echo \"$strange\" | grep -q '((' || {{ sleep 1; look; }}\n[ -n \"$seen\" ] || {{ echo 'nothing'; exit 0; }}\n\
         [ -z \"$strange\" ] || {{ echo $strange; exit 1; }}\necho \"$(echo \"$seen\" | wc -l) are waited on, and named\"\n",
        patterns.concat()
    );
    script_proof(&format!("listens-{what}"), &["R29", "R56", "ss(8)"], statement.to_owned(), script)
}

fn own(unit: &OwnUnit, all: &mut Vec<Proof>) {
    let (name, file) = (unit.name.as_str(), unit.unit());
    let check = Check::Unit { unit: file.clone(), active: "active".into(), enabled: Some("enabled".into()) };
    all.push(Proof::new(
        "services",
        &format!("{name}-runs"),
        &["R56"],
        format!("{file} runs, and starts at boot"),
        check,
    ));
    let script = format!(
        "said=$(systemd-analyze verify {file} 2>&1) || {{ echo \"$said\" | tail -n 1; exit 1; }}\n\
         [ -z \"$said\" ] || {{ echo \"$said\" | tail -n 1; exit 1; }}\necho 'nothing to say'\n"
    );
    let statement = format!("systemd finds no fault in {file}");
    all.push(script_proof(&format!("{name}-sound"), &["systemd-analyze(1)"], statement, script));
    // What it has in force, drop-ins of others included. The filter of calls comes out as a list of calls.
    let sandbox = unit.sandbox();
    let shown = |(key, value): &(&str, String)| match *key {
        "SystemCallFilter" => None,
        "CapabilityBoundingSet" | "AmbientCapabilities" => Some(format!("{key}={}", value.to_lowercase())),
        _ => Some(format!("{key}={value}")),
    };
    let mut expected: Vec<String> = sandbox.iter().filter_map(shown).collect();
    expected.push(format!("DynamicUser={}", if unit.user.is_some() { "no" } else { "yes" }));
    expected.sort();
    let properties: Vec<&str> = expected.iter().filter_map(|line| line.split('=').next()).collect();
    let filtered = sandbox.iter().any(|(key, _)| *key == "SystemCallFilter");
    let calls = if filtered {
        format!(
            "systemctl show -p SystemCallFilter --value {file} | tr ' ' '\\n' | grep -qx read || {{ echo 'no call is filtered'; exit 1; }}\n\
                 systemctl show -p SystemCallFilter --value {file} | tr ' ' '\\n' | grep -x 'mount\\|reboot\\|setpriority' && exit 1\n"
        )
    } else {
        String::new()
    };
    let script = format!(
        "expected='{}'\nseen=$(systemctl show -p {} {file} | sed 's/^RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX/RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6/' | sort)\n\
         [ \"$seen\" = \"$expected\" ] || {{ echo $(echo \"$seen\" | grep -vxF -e \"$expected\"); exit 1; }}\n{calls}\
         systemd-analyze security --no-pager --threshold={} {file} | tail -n 1 | tr -cd '[:print:]'\n\
         systemd-analyze security --no-pager --threshold={} {file} >/dev/null\n",
        expected.join("\n"),
        properties.join(","),
        unit.exposure.0,
        unit.exposure.0,
    );
    let statement =
        format!("{file} is in its sandbox, and exposed by at most {}.{}", unit.exposure.0 / 10, unit.exposure.0 % 10);
    all.push(script_proof(
        &format!("{name}-sandboxed"),
        &["R29", "systemd.exec(5)", "systemd-analyze(1)"],
        statement,
        script,
    ));
    for listener in &unit.listens {
        let (list, what) = match listener.value {
            Listener::Port { .. } => ("ss -Hlntup", listener.to_string()),
            Listener::Unix(_) => ("nsenter -t $pid -n ss -Hlxp", listener.to_string()),
            Listener::Vsock(_) => ("ss -Hlp --vsock", listener.to_string()),
        };
        let script = format!(
            "pid=$(systemctl show -p MainPID --value {file})\n\
             {list} | grep -F \"pid=$pid,\" | awk '{{ print $1, $5 }}' | grep -E '^{}$' && exit 0\necho 'its main process does not'\nexit 1\n",
            listener.pattern()
        );
        let statement = format!("{file} waits on {what}");
        let id =
            format!("{name}-listens-{}", what.trim_start_matches(['/', '@']).replace('/', "-").replace('*', "any"));
        all.push(script_proof(&id, &["ss(8)"], statement, script));
    }
}
