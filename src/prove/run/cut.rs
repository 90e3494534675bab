//! A power cut in the middle of the first boot: the machine is started again, and must come to the same end.

use super::machine::{AGAIN, BOOT, Machine};
use anyhow::{Context, Result};
use std::str::FromStr;
use std::time::{Duration, Instant};

/// When the plug is pulled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cut {
    /// When the machine has used so many CPU seconds of the boot.
    Cpu(f64),
    /// When this has come to be on the machine.
    Mark(&'static str),
}

/// The stages by which a cut may be named, and what is on the machine when each has been reached.
const MARKS: [(&str, &str); 4] = [
    ("gate", "/run/hardtack/gate"),
    ("apply", "/run/hardtack/firstboot.lock"),
    ("open", "/var/lib/hardtack/provisioned"),
    ("seal", "/var/lib/hardtack/sealed"),
];

impl FromStr for Cut {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if let Some((_, path)) = MARKS.iter().find(|(name, _)| *name == text) {
            return Ok(Cut::Mark(path));
        }
        let seconds = text.parse().ok().filter(|s: &f64| (0.0..=600.0).contains(s));
        seconds.map(Cut::Cpu).ok_or_else(|| "write gate, apply, open, seal, or CPU seconds from 0 to 600".to_owned())
    }
}

impl Machine<'_> {
    /// Pulls the plug, and waits until the machine is on its way again.
    pub(super) fn cut(&mut self, cut: Cut) -> Result<()> {
        match cut {
            Cut::Cpu(seconds) => {
                let wanted = self.vm.cpu_seconds() + seconds;
                let mut deadline = BOOT.start(self.meter());
                // One that has nothing left to do has long come to its end.
                while self.vm.cpu_seconds() < wanted && deadline.check().is_ok() {
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
            Cut::Mark(path) => {
                self.guest.wait_ready(BOOT)?;
                let reached = format!("until [ -e {path} ]; do sleep 0.1; done\n");
                self.run(&reached, BOOT).with_context(|| format!("there never was a {path}"))?;
            }
        }
        self.say("pulling the plug");
        self.phase("cut");
        let old = self.guest.boot_id().map(str::to_owned);
        self.vm.reset()?;
        self.start = Instant::now();
        let mut deadline = AGAIN.start(self.meter());
        loop {
            // What the old one has said last may still be on its way.
            std::thread::sleep(Duration::from_millis(300));
            let met = self.guest.meet_anew(AGAIN).is_ok();
            if met && self.guest.boot_id().map(str::to_owned) != old {
                return Ok(());
            }
            deadline.check().context("the machine did not start again")?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cut_is_at_a_stage_or_after_so_many_seconds() {
        assert_eq!("gate".parse(), Ok(Cut::Mark("/run/hardtack/gate")));
        assert_eq!("12.5".parse(), Ok(Cut::Cpu(12.5)));
        for text in ["", "later", "-1", "601", "inf", "NaN"] {
            assert!(text.parse::<Cut>().is_err(), "{text}");
        }
    }
}
