//! What may go out, and who may send it.

use super::{Service, Transport};
use crate::plan::filter::{BURST, Exit, METADATA, Rate};
use crate::plan::name::{GroupName, UserName};
use crate::plan::net::{Cidr, Ports, Protocol, Protocol::Tcp, Protocol::Udp};
use crate::report::{Fault, FromText, Lint, Report, Severity, Span, shown};
use crate::section;
use crate::yaml::Spanned;
use serde::Serialize;

section! {
    /// Packets that may go out when the rest may not. It needs one of `service`, `services` and `ports`.
    pub struct AllowOut as "an entry of allow_out" {
        /// A service by name, at its usual port.
        service: Option<Spanned<Service>> = None, or "none";
        /// Several services.
        services: Vec<Spanned<Service>> = Vec::new(), or "none";
        /// Ports and ranges at the other end: 8080, "8000-8099".
        ports: Vec<Spanned<Ports>> = Vec::new(), or "none";
        /// The protocol of `ports`: `tcp` or `udp`.
        protocol: Spanned<Transport> = Spanned::default_of(Transport::Tcp), or "tcp";
        /// Networks that it may go to.
        to: Vec<Spanned<Cidr>> = Vec::new(), or "anywhere, in both families";
        /// The account that may send it, by name or number.
        user: Option<Spanned<Owner>> = None, or "any";
        /// The group that may send it, by name or number: the one that a process runs with, not all that its user is in.
        group: Option<Spanned<Owner>> = None, or "any";
        /// How many connections may be begun: `10/second`, `600/minute`. Twenty more may be begun at once.
        rate: Option<Spanned<Rate>> = None, or "any number";
    }
}

/// An account or a group, by name or number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(String);

impl FromText for Owner {
    const WHAT: &'static str = "an account or a group, by name or number";
    const NUMBERS: bool = true;
    fn from_text(text: &str) -> Result<Self, Fault> {
        match text.parse::<u32>() {
            Ok(0) => Ok(Owner("root".to_owned())),
            // 2^32 - 1 is no id, but "leave it as it is" (setresuid(2)).
            Ok(number) if number < u32::MAX && number.to_string() == text => Ok(Owner(number.to_string())),
            Ok(_) => Err(Fault::new(format!("`{}` is nobody's number", shown(text))).help("use 0 to 4294967294")),
            Err(_) => match (UserName::from_text(text), GroupName::from_text(text)) {
                (Ok(name), Ok(_)) => Ok(Owner(name.as_str().to_owned())),
                (Err(fault), _) | (_, Err(fault)) => Err(fault),
            },
        }
    }
}

pub(super) const GOES_NOWHERE: Lint = Lint {
    code: "firewall/lets-out-nothing",
    severity: Severity::Error,
    finds: "an entry of `allow_out` without `service`, `services` or `ports`",
    why: "it would let out everything or nothing",
    instead: "say what it lets out: `service: https`",
    refs: &["R17"],
};
pub(super) const NOT_SHUT: Lint = Lint {
    code: "firewall/allow-out-of-open",
    severity: Severity::Error,
    finds: "`allow_out` where `outbound` is `open`",
    why: "everything may go out, and whoever reads the list believes otherwise",
    instead: "say `outbound: deny`, or leave the list out",
    refs: &["R17"],
};
pub(super) const CUT_OFF: Lint = Lint {
    code: "firewall/outbound-cuts-off",
    severity: Severity::Warning,
    finds: "`outbound: deny` that lets out no names (dns), no time (ntp) or no packages (http, https)",
    why: "names are not found, certificates fail as the clock drifts, and no update arrives",
    instead: "add an entry to `allow_out`, with `to:` where you know the server; DHCP is never cut off",
    refs: &["R17", "R24"],
};

impl AllowOut {
    fn named(&self) -> impl Iterator<Item = &Service> {
        self.service.iter().chain(&self.services).map(|s| &s.value)
    }

    fn exits(&self) -> Vec<Exit> {
        let owner = |o: &Option<Spanned<Owner>>| o.as_ref().map(|o| o.value.0.clone());
        let mut exits = Vec::new();
        for protocol in [Tcp, Udp] {
            let services = self.named().flat_map(|s| s.ports).filter(|(p, _)| *p == protocol);
            let listed = self.ports.iter().filter(|_| self.protocol.value.protocol() == protocol);
            let mut ports: Vec<Ports> =
                services.map(|(_, port)| Ports::one(*port)).chain(listed.map(|p| p.value)).collect();
            ports.sort();
            ports.dedup();
            if !ports.is_empty() {
                exits.push(Exit {
                    protocol,
                    ports,
                    to: self.to.iter().map(|c| c.value).collect(),
                    user: owner(&self.user),
                    group: owner(&self.group),
                    rate: self.rate.as_ref().map(|r| r.value),
                });
            }
        }
        exits
    }
}

/// All that may go out.
pub(super) fn exits(allow: &[Spanned<AllowOut>]) -> Vec<Exit> {
    allow.iter().flat_map(|allow| allow.exits()).collect()
}

/// What is said of the whole list.
pub(super) fn lint(deny: Option<Span>, open: bool, allow: &[Spanned<AllowOut>], report: &mut Report) {
    for entry in allow {
        if open {
            report.push(NOT_SHUT.at(entry.span, "everything may go out: this entry changes nothing"));
        }
        if entry.service.is_none() && entry.services.is_empty() && entry.ports.is_empty() {
            report.push(GOES_NOWHERE.at(entry.span, "this entry does not say what it lets out"));
        }
    }
    if open {
        return;
    }
    let exits = exits(allow);
    let lets = |protocol: Protocol, port: u16| {
        exits.iter().any(|e| e.protocol == protocol && e.ports.iter().any(|p| p.contains(port)))
    };
    let needs: [(&str, bool); 3] = [
        ("no name can be looked up: dns is not let out", lets(Udp, 53) || lets(Tcp, 853)),
        ("the clock cannot be set: ntp is not let out", lets(Udp, 123)),
        ("no update can be fetched: neither http nor https is let out", lets(Tcp, 80) || lets(Tcp, 443)),
    ];
    for (what, _) in needs.into_iter().filter(|(_, there)| !there) {
        report.push(CUT_OFF.at(deny, what));
    }
}

/// One rule, as the templates write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Rule {
    protocol: &'static str,
    dest: String,
    ports: String,
    user: Option<String>,
    group: Option<String>,
    rate: Option<String>,
    burst: u16,
}

pub(super) fn rules(exits: &[Exit], ipv4: bool) -> Vec<Rule> {
    // iptables says 0 back, whatever it was told.
    let id = |owner: &Option<String>| owner.as_ref().map(|o| if o == "root" { "0".to_owned() } else { o.clone() });
    let mut rules = Vec::new();
    for exit in exits {
        for dest in super::of_family(&exit.to, ipv4) {
            for ports in super::chunks(&exit.ports) {
                rules.push(Rule {
                    protocol: exit.protocol.as_str(),
                    dest: dest.clone(),
                    ports,
                    user: id(&exit.user),
                    group: id(&exit.group),
                    rate: exit.rate.map(Rate::rule),
                    burst: BURST,
                });
            }
        }
    }
    rules
}

/// The metadata address of a family.
pub(super) fn metadata(ipv4: bool) -> String {
    METADATA.into_iter().filter(|a| a.is_ipv4() == ipv4).map(|a| Cidr::new(a.into()).to_string()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_name_or_a_number() {
        assert_eq!(Owner::from_text("0"), Ok(Owner("root".to_owned())));
        assert_eq!(Owner::from_text("_apt"), Ok(Owner("_apt".to_owned())));
        for bad in ["4294967295", "99999999999", "-1", "a b", "$(id)", "0-999", "0644", "+5", ""] {
            assert!(Owner::from_text(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_rule_stands_in_the_family_of_its_destination() {
        let to = ["10.0.0.0/8", "2001:db8::/32"].iter().map(|c| Cidr::from_text(c).unwrap()).collect();
        let exit =
            Exit { protocol: Tcp, ports: vec![Ports::one(80)], to, user: Some("root".into()), group: None, rate: None };
        let of =
            |ipv4| rules(std::slice::from_ref(&exit), ipv4).into_iter().map(|r| (r.dest, r.user)).collect::<Vec<_>>();
        assert_eq!(of(true), [("10.0.0.0/8".to_owned(), Some("0".to_owned()))]);
        assert_eq!(of(false), [("2001:db8::/32".to_owned(), Some("0".to_owned()))]);
        assert_eq!((metadata(true), metadata(false)), ("169.254.169.254/32".into(), "fd00:ec2::254/128".into()));
    }
}
