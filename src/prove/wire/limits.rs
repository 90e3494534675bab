//! The limits Linux sets to its own ICMP errors, as they are seen from outside.
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::{Duration, Instant};

const PURSE: f64 = 5.0;
const REFILL: f64 = 1.0 / 1.2;
const TOGETHER: f64 = 40.0;
const TOGETHER_REFILL: f64 = 500.0;
/// So many destinations are kept apart. The guest says where it sends to, and might name every address there is.
const DESTINATIONS: usize = 1024;

/// How many ICMP errors the guest may still send. Linux gives each destination a purse of six (a constant) and
/// refills it with one each `icmp_ratelimit`, a second unless set otherwise; and all of them together fifty, and a
/// thousand a second. Counted a little stricter than that, silence before the purse is empty is silence.
#[derive(Default)]
pub(super) struct Limits {
    spent: BTreeMap<IpAddr, (f64, Option<Instant>)>,
    together: (f64, Option<Instant>),
    dry: BTreeSet<IpAddr>,
    flooded: bool,
}

fn leak((level, then): &mut (f64, Option<Instant>), rate: f64, now: Instant) {
    let passed = then.map_or(0.0, |then| now.saturating_duration_since(then).as_secs_f64());
    *level = (*level - passed * rate).max(0.0);
    *then = Some(now);
}

impl Limits {
    /// A window begins: who has little left, has so from the start.
    pub(super) fn begin(&mut self, now: Instant) {
        self.spent.values_mut().for_each(|spent| leak(spent, REFILL, now));
        leak(&mut self.together, TOGETHER_REFILL, now);
        self.dry = self.spent.iter().filter(|(_, spent)| PURSE <= spent.0).map(|(&source, _)| source).collect();
        self.flooded = TOGETHER <= self.together.0;
    }

    /// One was sent.
    pub(super) fn error(&mut self, to: IpAddr, now: Instant) {
        if self.spent.len() >= DESTINATIONS && !self.spent.contains_key(&to) {
            self.spent.values_mut().for_each(|spent| leak(spent, REFILL, now));
            self.spent.retain(|kept, spent| spent.0 > 0.0 || self.dry.contains(kept));
        }
        if self.spent.len() < DESTINATIONS || self.spent.contains_key(&to) {
            let spent = self.spent.entry(to).or_default();
            leak(spent, REFILL, now);
            spent.0 += 1.0;
            if PURSE <= spent.0 {
                self.dry.insert(to);
            }
        } else {
            // Whose purse is not known may have an empty one.
            self.flooded = true;
        }
        leak(&mut self.together, TOGETHER_REFILL, now);
        self.together.0 += 1.0;
        self.flooded |= TOGETHER <= self.together.0;
    }

    /// Whether silence towards this source may be for want of errors to send.
    pub(super) fn dry(&self, source: IpAddr) -> bool {
        self.flooded || self.dry.contains(&source)
    }

    /// How long until all of these have a full purse.
    pub(super) fn rest(&mut self, sources: &BTreeSet<IpAddr>, now: Instant) -> Option<Duration> {
        self.begin(now);
        let spent = self.spent.iter().filter(|(source, _)| sources.contains(source)).map(|(_, spent)| spent.0);
        let most = spent.fold(self.together.0 * REFILL / TOGETHER_REFILL, f64::max);
        (0.0 < most).then(|| Duration::from_secs_f64(most / REFILL).max(Duration::from_millis(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_names_every_address_is_doubted_and_costs_nothing() {
        let (mut limits, now) = (Limits::default(), Instant::now());
        let address = |n: u32| IpAddr::from((n + 1).to_be_bytes());
        limits.begin(now);
        // Slowly enough for all of them together.
        let at = |n: u32| now + Duration::from_micros(2100) * n;
        for n in 0..1020 {
            limits.error(address(n), at(n));
        }
        assert!(!limits.dry(address(9999)));
        // Those of the beginning have full purses again, and make room.
        for n in 1020..20_000 {
            limits.error(address(n), at(n));
        }
        assert!(limits.spent.len() <= DESTINATIONS && limits.dry.len() <= DESTINATIONS && !limits.dry(address(9999)));
        for n in 20_000..22_000 {
            limits.error(address(n), at(20_000));
        }
        assert!(limits.spent.len() <= DESTINATIONS && limits.dry(address(9999)));
    }
}
