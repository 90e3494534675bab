//! What must be seen of packets that the machine begins, from what the spec lets out.

use super::filter::{Exit, Filter, METADATA, Metadata, Sender};
use super::net::{Cidr, FAR, Protocol, Protocol::Tcp, Protocol::Udp};
use super::proof::{Check, Outbound, Proof};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// Where the machine itself is made to begin something: nobody else sends there (RFC 5737, RFC 3849).
const OUTWARD: [(IpAddr, Protocol, u16); 3] = [(FAR[0], Tcp, 443), (FAR[3], Tcp, 443), (FAR[1], Udp, 53)];
const NOBODY: Sender<'static> = Sender { user: "nobody", group: None };
const ROOT: Sender<'static> = Sender { user: "root", group: None };

/// Each way out from those who may take it, and from those who may not.
#[must_use]
pub fn proofs(filter: &Filter) -> Vec<Proof> {
    let mut proofs: Vec<Proof> = Vec::new();
    let mut known = BTreeSet::new();
    let mut attempt = |dest: IpAddr, protocol: Protocol, port: u16, by: Sender<'_>| {
        let mut id = format!("outbound-{}-{port}-{dest}", protocol.as_str());
        if by != NOBODY {
            id.push_str(&format!("-by-{}", by.user));
        }
        // A group is mostly called as a user is.
        if let Some(group) = by.group {
            id.push_str(&format!("-in-{group}"));
        }
        if known.insert(id.clone()) {
            let leaves = filter.lets_out(protocol, port, dest, by);
            let who = match by {
                NOBODY => "a user of the machine".to_owned(),
                Sender { user, group: None } => user.to_owned(),
                Sender { user, group: Some(group) } if user == NOBODY.user => format!("the group {group}"),
                Sender { user, group: Some(group) } => format!("{user} in the group {group}"),
            };
            let what = if leaves { "leaves it" } else { "does not leave it" };
            let refs: &[&str] = if METADATA.contains(&dest) { &["R17", "R18"] } else { &["R17"] };
            let statement = format!("what {who} sends to {dest} at {port}/{} {what}", protocol.as_str());
            let user = (by != NOBODY).then(|| by.user.to_owned());
            let group = by.group.map(ToOwned::to_owned);
            let check = Check::Outbound(Outbound { dest, protocol, port, user, group, leaves });
            proofs.push(Proof::new("firewall", &id, refs, statement, check));
        }
    };
    for (dest, protocol, port) in OUTWARD {
        attempt(dest, protocol, port, NOBODY);
    }
    for exit in filter.exits.iter().flatten() {
        for (dest, port) in ends(exit) {
            let user = exit.user.as_deref().unwrap_or(NOBODY.user);
            attempt(dest, exit.protocol, port, Sender { user, group: exit.group.as_deref() });
            // Another user, and another place.
            attempt(dest, exit.protocol, port, NOBODY);
            attempt(if dest.is_ipv4() { FAR[2] } else { FAR[5] }, exit.protocol, port, NOBODY);
        }
    }
    if filter.exits.is_some() {
        // A port that no rule names is shut to root as well.
        let unlisted = (4444..=u16::MAX).find(|port| FAR.iter().all(|a| !filter.lets_out(Tcp, *port, *a, ROOT)));
        if let Some(port) = unlisted {
            attempt(FAR[0], Tcp, port, ROOT);
            attempt(FAR[3], Tcp, port, ROOT);
        }
    }
    if filter.metadata != Metadata::Open {
        for dest in METADATA {
            attempt(dest, Tcp, 80, NOBODY);
            attempt(dest, Tcp, 80, ROOT);
        }
    }
    proofs
}

// Somewhere in each network that it leads to, at the first port of each range.
fn ends(exit: &Exit) -> Vec<(IpAddr, u16)> {
    let dests: Vec<IpAddr> = if exit.to.is_empty() {
        vec![FAR[0], FAR[3]]
    } else {
        exit.to.iter().map(|net: &Cidr| net.sample(200)).collect()
    };
    dests.into_iter().flat_map(|dest| exit.ports.iter().map(move |ports| (dest, ports.first))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::filter::Unmatched;
    use crate::plan::net::Ports;
    use crate::report::FromText;

    fn exit(port: u16, to: &[&str], user: Option<&str>) -> Exit {
        let to = to.iter().map(|c| Cidr::from_text(c).unwrap()).collect();
        let user = user.map(str::to_owned);
        Exit { protocol: Tcp, ports: vec![Ports::one(port)], to, user, group: None, rate: None }
    }

    fn seen(exits: Option<Vec<Exit>>, metadata: Metadata) -> Vec<(String, bool)> {
        let filter = Filter {
            unmatched: Unmatched::Drop,
            opens: Vec::new(),
            exits,
            metadata,
            listed: None,
            ipv6: true,
            late: Vec::new(),
        };
        let of = |p: Proof| match p.check {
            Check::Outbound(o) => (p.id.trim_start_matches("firewall/outbound-").to_owned(), o.leaves),
            other => panic!("{other:?}"),
        };
        proofs(&filter).into_iter().map(of).collect()
    }

    #[test]
    fn a_user_and_a_group_of_one_name_are_two() {
        let entry = |user: Option<&str>, group: Option<&str>| Exit {
            group: group.map(str::to_owned),
            ..exit(443, &["10.9.0.0/16"], user)
        };
        let exits = vec![entry(Some("web"), None), entry(None, Some("web")), entry(Some("ada"), Some("web"))];
        let all = seen(Some(exits), Metadata::Open);
        for by in ["-by-web", "-by-nobody-in-web", "-by-ada-in-web"] {
            assert!(all.contains(&(format!("tcp-443-10.9.0.205{by}"), true)), "{by} in {all:?}");
        }
    }

    #[test]
    fn what_may_not_leave_is_tried_as_well() {
        let all = seen(None, Metadata::Open);
        assert!(all.len() == 3 && all.iter().all(|(_, leaves)| *leaves), "{all:?}");
        let all = seen(Some(vec![exit(443, &["10.9.0.0/16"], Some("backup"))]), Metadata::Root);
        let has = |id: &str, leaves: bool| assert!(all.contains(&(id.to_owned(), leaves)), "{id} in {all:?}");
        has("tcp-443-203.0.113.7", false);
        has("tcp-443-10.9.0.205-by-backup", true);
        has("tcp-443-10.9.0.205", false);
        has("tcp-4444-203.0.113.7-by-root", false);
        has("tcp-80-169.254.169.254", false);
        has("tcp-80-169.254.169.254-by-root", true);
    }
}
