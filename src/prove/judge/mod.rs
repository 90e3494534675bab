//! Judging a booted machine: from inside, by logins, from the wire.

pub mod agent;
pub mod culprit;
pub mod inside;
pub mod keyring;
pub mod login;
pub mod offers;
pub mod refresh;
pub mod sweep;
pub mod window;
pub mod wire;

use super::wire::Guest;
use std::net::IpAddr;

/// A network card of the machine, as it was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Card {
    /// What it was to be called; none is whatever it came to be called.
    pub wanted: Option<String>,
    /// What the machine calls it.
    pub name: String,
    /// What is known of the machine on its network.
    pub guest: Guest,
}

/// The card that a packet goes through, and the machine's address there of the packet's family and scope.
///
/// # Errors
/// Why there is none: nothing can be told then.
pub fn place(cards: &[Card], interface: Option<&str>, source: IpAddr) -> Result<(usize, IpAddr), String> {
    let found = cards.iter().enumerate().find(|(_, c)| c.wanted.as_deref() == interface);
    let Some((at, card)) = found else {
        return Err(match interface {
            Some(name) => format!("the machine has no network card {name} here"),
            None => "the machine has no network card here that no rule names".to_owned(),
        });
    };
    if let Some(wanted) = interface.filter(|w| *w != card.name) {
        return Err(format!("the machine calls its network card {}, and none is {wanted}", card.name));
    }
    let dest = match source {
        IpAddr::V4(_) => card.guest.ipv4.map(IpAddr::V4),
        IpAddr::V6(a) if a.is_unicast_link_local() => card.guest.ipv6_link_local.map(IpAddr::V6),
        IpAddr::V6(_) => card.guest.ipv6_global.map(IpAddr::V6),
    };
    dest.map(|dest| (at, dest)).ok_or_else(|| format!("the machine has no address that {source} could knock on"))
}
