//! What became of the firewall script of the article, line by line.

use crate::hurdle::Instruction;

const fn of(said: &'static str, became: &'static str, refs: &'static [&'static str]) -> Instruction {
    Instruction { said, became, refs }
}

/// In the order of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[
    of(
        "I don't bother with them, as iptables is the same on all systems",
        "The same rules everywhere, by iptables; it is installed where an image lacks it, and until then nftables is the gate.",
        &["R1"],
    ),
    of(
        "sysctl net.ipv6.conf.all.disable_ipv6=1",
        "`ipv6: off`, or `same`, which filters IPv6 by the same rules and is the default. The article's script leaves ip6tables \
         open, and systemd-networkd and NetworkManager turn IPv6 on again for each link; with `off` they cannot, and should anybody, \
         all of ip6tables is DROP.",
        &["R3"],
    ),
    of(
        "sysctl net.ipv4.ip_forward=0",
        "`sysctl: { baseline: article }`, or `sound`, which has it for both families, from a file: a value that is only set \
         is gone after a reboot. FORWARD is DROP beside it, for Docker turns forwarding on again.",
        &["R2", "R8"],
    ),
    of(
        "iptables -F, --flush, -t nat --flush, -t mangle --flush; --delete-chain, the same",
        "One iptables-restore and one ip6tables-restore, each of which replaces the filter table whole, in one step. A flush \
         leaves the policies as they are: with INPUT at DROP it cuts off whoever typed it. The tables nat and mangle are \
         left to those who fill them.",
        &["R4", "R5"],
    ),
    of(
        "iptables --policy INPUT DROP",
        "The same, for IPv6 too, and from before the network comes up. `policy: reject` says no instead of nothing.",
        &["R6", "R19"],
    ),
    of("iptables --policy OUTPUT ACCEPT", "The same with `outbound: open`, which is the default.", &["R7"]),
    of(
        "iptables --policy FORWARD DROP",
        "The same, for IPv6 too; and what Docker publishes, which FORWARD never sees, is let in only where `allow` says so \
         (DOCKER-USER).",
        &["R8"],
    ),
    of(
        "iptables -A INPUT -i lo -j ACCEPT",
        "The same; and what claims to come from 127.0.0.0/8 or ::1 by another way is dropped.",
        &["R9", "CIS 4.4.2.2"],
    ),
    of(
        "iptables -A INPUT -m state --state",
        "`-m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`. The line was cut when it was printed: iptables refuses it, \
         the script goes on, and no answer to anything that the machine asks comes back.",
        &["R10"],
    ),
    of(
        "iptables -A INPUT -m tcp -p tcp --dport 22 -j ACCEPT",
        "`allow: [{ service: ssh, from: [NETWORK] }]`, at whatever port sshd listens on, from the first moment on; with `rate`, no \
         source begins more than so many connections.",
        &["R11"],
    ),
    of(
        "a script in /etc/rc.d, linked to /etc/rcX.d, right after networking; or /etc/rc.local",
        "A unit of systemd before network-pre.target; where SysV init starts the machine, a script that is linked into rcS.d, before \
         the one that brings up the network. `start: init-script` and `start: rc-local` are the article's own ways, where the \
         image's init goes them. Right after networking is too late: what listens is open until then, and `prove --timeline` shows \
         for how many milliseconds.",
        &["R12", "R13", "R22"],
    ),
    of(
        "you modify this file as requirements change",
        "Change the spec, and bake it again: the rules are never edited, so what is loaded is what is written.",
        &["R14"],
    ),
    of(
        "-m state --state NEW -m multiport --dports ssh,http,https -j ACCEPT",
        "`allow: [{ services: [http, https] }]`. Rules carry numbers, for a name needs /etc/services on the machine, and more \
         than 15 ports become several rules, for multiport takes no more.",
        &["R15"],
    ),
    of(
        "iptables -A INPUT -i eth0 -s -p tcp -m state --state NEW -m multiport --dports http,https",
        "`allow: [{ services: [http, https], from: [10.0.0.0/8], interface: eth0 }]`. As printed, the network is missing and \
         the rule has no -j: iptables refuses it, and with a network it would count packets and let in none.",
        &["R16"],
    ),
    of(
        "setting outbound traffic to default deny",
        "`outbound: deny` with `allow_out`, once the first boot has succeeded. DHCP and answers are never cut off, and `check` \
         says where names, time or updates would be.",
        &["R17"],
    ),
    of(
        "control outbound communications by process name and owning user ID, rate limit connections",
        "`user`, `group` and `rate` of `allow_out`; `metadata: root` for the cloud's own address. The kernel knows no process \
         names any more: a name said nothing of who has it.",
        &["R18"],
    ),
    of(
        "the default to DROP instead of REJECT",
        "`policy: drop` or `policy: reject`, for TCP, UDP and the rest, in both families.",
        &["R19"],
    ),
    of(
        "make sure sysctl is on and works",
        "The kernel itself is asked, in /proc/sys, for each parameter, and again after a reboot.",
        &["R20"],
    ),
    of(
        "full paths to the binaries (/sbin/iptables and /sbin/sysctl)",
        "Scripts set PATH, with /usr/sbin and /sbin in it.",
        &["R21"],
    ),
    of(
        "finished within a few minutes of bringing up the server",
        "Finished before the first packet: the gate stands before the network comes up.",
        &["R22"],
    ),
    of(
        "not opening the ports for your application until after you've installed and configured",
        "Ports other than ssh open when the first boot has succeeded, and stay shut where it has not.",
        &["R23"],
    ),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_requirement_of_the_script_is_explained_once_or_more() {
        let explained: BTreeSet<&str> = FROM_THE_ARTICLE.iter().flat_map(|i| i.refs).copied().collect();
        let missing: Vec<String> =
            (1..=23).map(|n| format!("R{n}")).filter(|r| !explained.contains(r.as_str())).collect();
        assert!(missing.is_empty(), "{missing:?}");
    }
}
