//! Rules for what may come in, as the templates write them.

use crate::plan::Open;
use crate::plan::filter::BURST;
use crate::plan::net::{Cidr, Ports};
use serde::Serialize;

/// One rule, as the templates write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Rule {
    protocol: &'static str,
    source: String,
    interface: String,
    ports: String,
    limit: Option<Limit>,
    /// Whether it lets in whoever looks after the machine: before any list is asked, so that no list can lock them out.
    admin: bool,
}

/// How many connections each source may begin, as the templates write it. Rules of one name count together (xt_hashlimit).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Limit {
    pub(super) name: String,
    rate: String,
    words: String,
    burst: u16,
    /// How long a source is remembered.
    milliseconds: u128,
    pub(super) seconds: u64,
}

impl Limit {
    pub(super) fn of(open: &Open) -> Option<Limit> {
        let (rate, port) = (open.rate?, open.ports.first()?.first);
        let name = format!("hardtack-{}-{port}-{}", open.protocol.as_str(), rate.rule().replace('/', "-"));
        let kept = rate.remembered();
        let (rate, words) = (rate.rule(), rate.words());
        // In whole seconds, and none too early.
        let seconds = kept.as_secs() + 1;
        Some(Limit { name, rate, words, burst: BURST, milliseconds: kept.as_millis(), seconds })
    }
}

// multiport takes fifteen places of ports and no more, and a range takes two (R15).
pub(super) fn chunks(ports: &[Ports]) -> Vec<String> {
    let mut chunks: Vec<Vec<Ports>> = vec![Vec::new()];
    for ports in ports {
        let last = chunks.len() - 1;
        if chunks[last].iter().map(|p| p.places()).sum::<usize>() + ports.places() > 15 {
            chunks.push(vec![*ports]);
        } else {
            chunks[last].push(*ports);
        }
    }
    chunks.iter().map(|chunk| chunk.iter().map(|p| p.rule()).collect::<Vec<_>>().join(",")).collect()
}

// Networks of one family; a rule that names none stands in both, without one.
pub(super) fn of_family(nets: &[Cidr], ipv4: bool) -> Vec<String> {
    if nets.is_empty() {
        return vec![String::new()];
    }
    nets.iter().filter(|net| net.is_ipv4() == ipv4).map(ToString::to_string).collect()
}

// One rule for each source and each chunk of ports.
pub(super) fn rules(opens: &[&Open], ipv4: bool) -> Vec<Rule> {
    let mut rules = Vec::new();
    for open in opens {
        for source in of_family(&open.from, ipv4) {
            for ports in chunks(&open.ports) {
                rules.push(Rule {
                    protocol: open.protocol.as_str(),
                    source: source.clone(),
                    interface: open.interface.clone().unwrap_or_default(),
                    ports,
                    limit: Limit::of(open),
                    admin: open.from_the_gate && !open.from.is_empty(),
                });
            }
        }
    }
    rules
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::net::Protocol::Tcp;
    use crate::report::FromText;

    fn open(ports: Vec<Ports>, from: &[&str]) -> Open {
        let from = from.iter().map(|c| Cidr::from_text(c).unwrap()).collect();
        Open { protocol: Tcp, ports, from, interface: None, rate: None, from_the_gate: false, span: None }
    }

    #[test]
    fn multiport_is_split_at_fifteen_places() {
        let ports: Vec<_> = (0..10).map(|n| Ports { first: 1000 + n * 10, last: 1005 + n * 10 }).collect();
        let made = rules(&[&open(ports, &[])], true);
        assert_eq!(made.len(), 2);
        assert_eq!(made[0].ports.split(',').count(), 7);
        let single: Vec<_> = (1..=16).map(Ports::one).collect();
        assert_eq!(
            rules(&[&open(single, &[])], false).iter().map(|r| r.ports.split(',').count()).collect::<Vec<_>>(),
            [15, 1]
        );
    }

    #[test]
    fn a_rule_stands_in_the_family_of_its_source() {
        let made = open(vec![Ports::one(80)], &["10.0.0.0/8", "2001:db8::/32"]);
        assert_eq!(rules(&[&made], true).iter().map(|r| r.source.as_str()).collect::<Vec<_>>(), ["10.0.0.0/8"]);
        assert_eq!(rules(&[&made], false).iter().map(|r| r.source.as_str()).collect::<Vec<_>>(), ["2001:db8::/32"]);
    }
}
