//! Time limits in CPU seconds of the machine, so that a busy host does not turn a proof red.
use std::fmt;
use std::fs;
use std::time::{Duration, Instant};

use crate::prove::process;

/// How long something may take: so much work, and never standing idle for long.
///
/// Plain wall clock would be wrong: under four times oversubscription a boot takes four times as long but only
/// slightly more CPU seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    work: Duration,
    idle: Duration,
}

impl Budget {
    /// So many CPU seconds of the machine, and at most three minutes on end of doing next to nothing. (A boot
    /// without a DHCP server stands idle for two minutes and is then well.)
    pub const fn cpu_seconds(seconds: u64) -> Self {
        Budget { work: Duration::from_secs(seconds), idle: Duration::from_secs(180) }
    }

    /// The same with another bound on standing idle.
    #[must_use]
    pub const fn idle(self, limit: Duration) -> Self {
        Budget { idle: limit, ..self }
    }

    /// Start counting.
    pub fn start(self, meter: Meter) -> Deadline {
        let now = Instant::now();
        let spent = meter.cpu().unwrap_or_default();
        Deadline { budget: self, meter, began: spent, slice: (now, spent), busy: now }
    }
}

/// Reads how many CPU seconds a process has used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meter(pub(crate) u32);

impl Meter {
    /// CPU time so far, user and system; `None` when the process is gone.
    pub fn cpu(self) -> Option<Duration> {
        parse(&fs::read_to_string(format!("/proc/{}/stat", self.0)).ok()?)
    }
}

/// The fields of /proc/PID/stat after the name, which stands in parentheses and may hold anything.
fn parse(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    // One that has ended and waits to be reaped is gone.
    if matches!(fields.next()?, "Z" | "X") {
        return None;
    }
    let mut fields = fields.skip(10);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    // USER_HZ has been 100 on every Linux that has QEMU.
    Some(Duration::from_millis(user.checked_add(system)?.checked_mul(10)?))
}

/// A running budget.
#[derive(Debug)]
pub struct Deadline {
    budget: Budget,
    meter: Meter,
    began: Duration,
    /// When the present slice of time began, and the CPU time then.
    slice: (Instant, Duration),
    /// When the machine was last seen to do real work.
    busy: Instant,
}

/// Work is judged by slices of this length.
const SLICE: Duration = Duration::from_secs(5);

/// Less than one part in this many of a core is idle: timer ticks of a guest with nothing to do cost 1 to 3 %.
const IDLE_SHARE: u32 = 12;

impl Deadline {
    /// An error when the budget is overdrawn, the machine is gone, or a person wants us to stop.
    pub fn check(&mut self) -> Result<(), Overrun> {
        if process::interrupted() {
            return Err(Overrun::Interrupted);
        }
        let spent = self.meter.cpu().ok_or(Overrun::Gone)?;
        if spent.saturating_sub(self.began) > self.budget.work {
            return Err(Overrun::Work(self.budget.work));
        }
        let (since, then) = self.slice;
        if since.elapsed() >= SLICE {
            if spent.saturating_sub(then) > since.elapsed() / IDLE_SHARE {
                self.busy = Instant::now();
            }
            self.slice = (Instant::now(), spent);
        }
        if self.busy.elapsed() > self.budget.idle {
            return Err(Overrun::Idle(self.budget.idle));
        }
        Ok(())
    }
}

/// Why a wait was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overrun {
    /// It used more CPU than it was given.
    Work(Duration),
    /// It did next to nothing for so long.
    Idle(Duration),
    /// QEMU is no longer there.
    Gone,
    /// A signal asked us to stop.
    Interrupted,
}

impl fmt::Display for Overrun {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Overrun::Work(limit) => write!(f, "not done after {} CPU seconds", limit.as_secs()),
            Overrun::Idle(limit) => write!(f, "the machine did nothing for {} s", limit.as_secs()),
            Overrun::Gone => f.write_str("QEMU ended"),
            Overrun::Interrupted => f.write_str("interrupted"),
        }
    }
}

impl std::error::Error for Overrun {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_is_read_after_the_last_parenthesis() {
        let tail = "S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0 1";
        assert_eq!(parse(&format!("7 (qemu) {tail}")), Some(Duration::from_secs(3)));
        assert_eq!(parse(&format!("7 (a) b) 99 99 () {tail}")), Some(Duration::from_secs(3)));
        assert_eq!(parse(&format!("7 (qemu) {}", tail.replace('S', "Z"))), None);
        assert_eq!(parse("7 (qemu) S 1"), None);
        assert_eq!(parse(""), None);
        assert_eq!(parse(&format!("7 (q) {}", tail.replace("250", "18446744073709551615"))), None);
    }

    #[test]
    fn work_is_bounded() {
        let mut deadline = Budget::cpu_seconds(0).start(Meter(std::process::id()));
        let started = Instant::now();
        while deadline.check().is_ok() && started.elapsed() < Duration::from_secs(20) {
            std::hint::black_box((0..100_000_u64).fold(0, |a, b| a ^ b));
        }
        assert_eq!(deadline.check(), Err(Overrun::Work(Duration::ZERO)));
    }

    #[test]
    fn a_process_that_is_gone_is_an_overrun() {
        assert_eq!(Budget::cpu_seconds(1).start(Meter(u32::MAX)).check(), Err(Overrun::Gone));
    }

    #[test]
    fn standing_idle_is_bounded() {
        // Process 2 (kthreadd) does nothing; in a container that hides it, it is gone instead.
        let mut deadline = Budget::cpu_seconds(9).idle(Duration::ZERO).start(Meter(2));
        assert!(matches!(deadline.check(), Err(Overrun::Idle(_) | Overrun::Gone)));
    }
}
