//! A golden image: a machine that was proved is made nobody's, switched off and written down; and what makes each of its clones a
//! machine of its own.

use super::machine::{BOOT, Machine, SMALL};
use crate::prove::guest::Error;
use crate::prove::qemu::Overrun;
use crate::prove::verdict::Verdict;
use anyhow::{Context, Result};
use std::path::Path;
use std::time::Duration;

/// What happens to the machine of the bundle when it has been judged.
#[derive(Debug, Clone, Copy, Default)]
pub enum Then<'a> {
    /// It is thrown away.
    #[default]
    Nothing,
    /// Where every proof holds, an image is made of it.
    Golden {
        /// The script that makes it nobody's.
        seal: &'a str,
        /// Where the image goes: qcow2, whole.
        to: &'a Path,
    },
    /// It is asked what makes it a machine of its own.
    Identity,
}

/// What makes a machine one and no other: what it is, and what it is on this machine. A secret is there as a digest.
pub type Identity = Vec<(String, String)>;

/// Prints each thing that would make every machine of an image the same: what it is, a colon, where it lies. It knows nothing of what
/// the sealing does.
pub const LEFT: &str = r#"shopt -s nullglob
left() { what=$1; shift; for f in "$@"; do if [ -e "$f" ] || [ -L "$f" ]; then printf '%s: %s\n' "$what" "$f"; fi; done; }
left 'host key' /etc/ssh/ssh_host_*
[ ! -s /etc/machine-id ] || echo 'machine id: /etc/machine-id'
[ -L /var/lib/dbus/machine-id ] || left 'machine id' /var/lib/dbus/machine-id
left 'random seed' /var/lib/systemd/random-seed /var/lib/urandom/random-seed /boot/efi/loader/random-seed /boot/loader/random-seed
left 'secret of its own' /var/lib/systemd/credential.secret
left 'DHCP identity' /var/lib/{dhcp,dhclient,dhcpcd,NetworkManager}/*
left 'instance state' /var/lib/cloud/instance /var/lib/cloud/{instances,data,sem}/* /var/lib/cloud/seed/*/* \
    /etc/netplan/50-cloud-init.yaml /etc/network/interfaces.d/50-cloud-init /etc/systemd/network/10-cloud-init-*
left 'word that its clones have no cloud-init' /etc/cloud/cloud-init.disabled
left 'account of its builder' /etc/sudoers.d/90-cloud-init-users
left 'key of its builder' /root/.ssh/authorized_keys
left 'history' /root/.{bash_history,lesshst,viminfo} /home/*/.{bash_history,lesshst,viminfo}
left 'payload' /var/lib/hardtack/payload*
left 'journal' /var/log/journal/*
find /var/log -type f -size +0 -printf 'log: %p\n'
"#;

/// Prints what makes the machine one and no other, a line each: what, a tab, and what it is here.
const IDENTITY: &str = r#"shopt -s nullglob
is() { [ -z "$2" ] || printf '%s\t%s\n' "$1" "$2"; }
of() { sha256sum <"$1" 2>/dev/null | cut -c 1-16; }
is 'machine id' "$(cat /etc/machine-id)"
for f in /etc/ssh/ssh_host_*_key.pub; do is "host key ${f##*/}" "$(of "$f")"; done
for f in /run/systemd/netif/leases/*; do is "DHCP identity of link ${f##*/}" "$(sed -n 's/^CLIENTID=//p' "$f")"; done
is 'DHCP identity of dhclient' "$(sed -n 's/^default-duid //p' /var/lib/dhcp/*.leases 2>/dev/null | tail -n 1)"
for f in /var/lib/dhcpcd/duid /var/lib/NetworkManager/secret_key; do is "DHCP identity $f" "$(of "$f")"; done
for f in /var/lib/systemd/random-seed /var/lib/urandom/random-seed; do [ ! -e "$f" ] || is "random seed $f" "$(of "$f")"; done
[ ! -e /var/lib/systemd/credential.secret ] || is 'secret of its own' "$(of /var/lib/systemd/credential.secret)"
is 'instance state' "$(ls /var/lib/cloud/instances 2>/dev/null | tr '\n' ' ')"
is 'first boot in the journal' "$(journalctl --list-boots --no-pager -q 2>/dev/null | awk '$1 != "IDX" { print $2; exit }')"
"#;

/// What no machine is without.
const MUST: [&str; 3] = ["machine id", "host key ", "instance state"];

/// What two clones have in common that makes each of them the other, and what nobody could tell of them.
#[must_use]
pub fn shared(one: &Identity, other: &Identity) -> Vec<String> {
    let same = one.iter().filter(|(what, is)| other.iter().any(|(o, its)| o == what && its == is));
    let mut all: Vec<String> = same.map(|(what, is)| format!("{what}: {is} on both")).collect();
    for must in MUST {
        if [one, other].iter().any(|clone| !clone.iter().any(|(what, _)| what.starts_with(must))) {
            all.push(format!("{}: one of them has none", must.trim()));
        }
    }
    all
}

impl Machine<'_> {
    /// What is to be done when it has been judged.
    pub(super) fn then(&mut self, then: Then<'_>) -> Result<()> {
        match then {
            Then::Nothing => Ok(()),
            Then::Identity => {
                let printed = self.run(IDENTITY, SMALL)?;
                let lines = String::from_utf8_lossy(&printed);
                let pairs = lines.lines().filter_map(|line| line.split_once('\t'));
                let shown = |text| crate::report::shown_up_to(120, text);
                self.seen.identity = pairs.map(|(what, is)| (shown(what), shown(is))).collect();
                Ok(())
            }
            Then::Golden { seal, to } => {
                // What does not hold on this machine holds on none of its clones.
                if self.seen.first.iter().any(|judgement| judgement.verdict != Verdict::Holds) {
                    return Ok(());
                }
                self.say("making it nobody's");
                self.run(&format!("set -- --stay\n{seal}"), SMALL)?;
                let left = self.run(LEFT, SMALL)?;
                let left = String::from_utf8_lossy(&left).into_owned();
                let lines = left.lines().filter(|line| !line.trim().is_empty());
                self.seen.left = lines.map(|line| crate::report::shown_up_to(120, line)).collect();
                if !self.seen.left.is_empty() {
                    return Ok(());
                }
                self.switch_off()?;
                self.say("writing the image");
                self.vm.flatten(to)
            }
        }
    }

    fn switch_off(&mut self) -> Result<()> {
        match self.guest.run("systemctl --no-block poweroff", SMALL) {
            Ok(_) | Err(Error::Restarted | Error::Garbled | Error::Overrun(Overrun::Gone)) => {}
            Err(error) => return Err(error).context("the machine could not be asked to switch off"),
        }
        self.seen.cpu_seconds = self.vm.cpu_seconds();
        let mut deadline = BOOT.start(self.meter());
        loop {
            match deadline.check() {
                Ok(()) => std::thread::sleep(Duration::from_millis(100)),
                Err(Overrun::Gone) => return Ok(()),
                Err(other) => return Err(other).context("the machine did not switch off"),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_two_clones_share_is_named_and_so_is_what_nobody_can_tell() {
        let clone = |id: &str, key: &str, instance: &str| -> Identity {
            let all = [("machine id", id), ("host key ssh_host_rsa_key.pub", key), ("instance state", instance)];
            all.iter()
                .filter(|(_, is)| !is.is_empty())
                .map(|(what, is)| (str::to_owned(what), str::to_owned(is)))
                .collect()
        };
        let one = clone("a", "k", "i1");
        assert_eq!(shared(&one, &clone("b", "l", "i2")), Vec::<String>::new());
        assert_eq!(shared(&one, &clone("b", "k", "i2")), ["host key ssh_host_rsa_key.pub: k on both"]);
        assert_eq!(shared(&one, &clone("b", "l", "")), ["instance state: one of them has none"]);
        assert_eq!(shared(&Vec::new(), &Vec::new()).len(), MUST.len());
    }
}
