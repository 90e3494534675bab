//! One machine: started, booted, judged, started again, judged again.

use super::install::nothing_asked;
use super::refresh::Internet;
use super::{Datasource, Job, Pages, Phase, Seen, Then};
use crate::archive::seed;
use crate::plan::proof::{Boot, Check, Login, Offers, Proof, Reaction, When, Window};
use crate::prove::channel;
use crate::prove::event::{Event, Which};
use crate::prove::guest::{Error, Guest};
use crate::prove::image::{Disk, Starts};
use crate::prove::judge::{Card, window};
use crate::prove::metadata::{self, Metadata};
use crate::prove::qemu::{Accelerator, Begin, Budget, Config, Meter, Snapshot, Vm, mac};
use crate::prove::shell::{Ask, Keep, LINE};
use crate::prove::verdict::{Judgement, Verdict};
use crate::prove::wire::{Asked, Bridge, Lan, MOST_ROUTES, Network};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

/// What a whole boot may cost. A Debian costs about 60 CPU seconds under emulation.
pub(super) const BOOT: Budget = Budget::cpu_seconds(900);
/// What it may cost to go down and come up again as far as the root channel, which is a third of a boot.
pub(super) const AGAIN: Budget = Budget::cpu_seconds(300);
/// What one small thing may cost.
pub(super) const SMALL: Budget = Budget::cpu_seconds(120).idle(Duration::from_secs(90));

/// All of them in 16 seconds. Where QEMU translates the machine's code, each packet costs it 23 microseconds (400 from two addresses
/// on two cards: 4.9 CPU seconds in 10, none: 1.3), so all of them from both addresses 3 CPU seconds on each card.
const IN_TURN: usize = 400;
/// A boot under KVM may be over in ten seconds, and a packet costs it next to nothing.
const SWIFT_IN_TURN: usize = 1200;

/// One machine on its own network.
pub(super) struct Machine<'a> {
    pub(super) which: Which,
    disk: &'a Disk,
    pub(super) guest: Guest,
    /// Its networks, one a card.
    pub(super) lans: Vec<Lan>,
    /// What its cards are to be called.
    pub(super) names: Vec<Option<String>>,
    pub(super) vm: &'a Vm,
    pub(super) send: &'a Sender<Event>,
    pub(super) seen: Seen,
    /// When this boot began.
    pub(super) start: Instant,
    /// How many of the ports that no rule names are asked in a round when it is watched, from each of two addresses.
    in_turn: usize,
    /// How many rounds of logins there were: each has keys of its own.
    pub(super) rounds: u32,
    /// How many logins were tried since it was started: each comes from another address.
    pub(super) logins: u8,
    /// How many bursts were tried since it was made: each comes from another source.
    pub(super) bursts: usize,
    /// Nobody is told of judgements.
    pub(super) quiet: bool,
    /// Where it finds lists.
    pub(super) internet: Option<Internet>,
    pub(super) pages: &'a Pages,
    /// Whether it is to have IPv6.
    ipv6: bool,
    /// How many frames, and how many of IPv6, came from each card in the boots before this one.
    pub(super) before: Vec<(u64, u64)>,
}

/// Boots one of the two machines, and judges it.
pub(super) fn machine(job: &Job, which: Which, send: &Sender<Event>) -> Result<Seen> {
    let seed = match which {
        Which::Bundle => job.seed.to_vec(),
        Which::Control => nothing_asked("hardtack-control")?,
    };
    let done = with_machine(job, &seed, which, send, |machine, scratch| {
        machine.whole(job, scratch)?;
        machine.then(if which == Which::Bundle { job.then } else { Then::Nothing })
    });
    let (cpu, trouble) = match &done {
        Ok(seen) => (seen.cpu_seconds, None),
        Err(error) => (0.0, Some(format!("{error:#}"))),
    };
    // The receiver is gone only when the whole run is.
    let _ = send.send(Event::Ended { which, cpu, trouble });
    done
}

/// Starts a machine with a seed, does something with it, and throws it away.
pub(super) fn with_machine(
    job: &Job,
    data: &[u8],
    which: Which,
    send: &Sender<Event>,
    work: impl FnOnce(&mut Machine<'_>, &Path) -> Result<()>,
) -> Result<Seen> {
    let scratch =
        tempfile::Builder::new().prefix("hardtack-").tempdir().context("could not make a folder for the machine")?;
    let path = scratch.path().join("seed.img");
    std::fs::write(&path, channel::seed(job.disk, data.to_vec())?).context("could not write the seed")?;
    let mut config = Config::new(job.disk, job.start, job.accelerator.clone());
    let cloud = job.datasource == Datasource::Ec2 && which == Which::Bundle;
    if cloud {
        config.smbios = Some(metadata::SMBIOS);
    } else {
        config.seed = Some(path);
    }
    config.cards = cards(job.proofs);
    if let Some(cache) = job.warm {
        let mut say = |what: &str| drop(send.send(Event::Progress { which, what: what.to_owned(), cpu: 0.0 }));
        config.begin = Begin::Warm(Snapshot::of(&config, cache, &mut say)?);
    }
    let vm = Vm::start(&config)?;
    let start = Instant::now();
    let lans = networks(&config.cards, job.proofs)?
        .into_iter()
        .enumerate()
        .map(|(at, network)| Lan::connect(&vm.wire(at), network))
        .collect::<std::io::Result<Vec<Lan>>>()
        .context("could not connect the machine's network")?;
    let _cloud = if cloud { Some(service(job, data, &config, &lans[0])?) } else { None };
    // The bare image has nothing to look for there.
    let internet = match which {
        Which::Bundle => Internet::new(job.pages, job.mirrors, &lans[0])?,
        Which::Control => None,
    };
    let guest = Guest::connect(&vm)?;
    let names = config.cards.clone();
    let mut machine = Machine {
        which,
        disk: job.disk,
        guest,
        lans,
        names,
        vm: &vm,
        send,
        seen: Seen::default(),
        start,
        in_turn: if job.accelerator == Accelerator::Kvm { SWIFT_IN_TURN } else { IN_TURN },
        rounds: 0,
        logins: 0,
        bursts: 0,
        quiet: false,
        internet,
        pages: job.pages,
        ipv6: !job.proofs.iter().any(|p| matches!(p.check, Check::WithoutIpv6(_))),
        before: Vec::new(),
    };
    let done = work(&mut machine, scratch.path())
        .with_context(|| format!("the console says last: {}", last_lines(&vm.console())));
    // One that has been switched off has none any more.
    machine.seen.cpu_seconds = machine.seen.cpu_seconds.max(vm.cpu_seconds());
    if which == Which::Bundle {
        machine.lend(job, done.as_ref().err());
    }
    done?;
    let Machine { seen, .. } = machine;
    vm.quit()?;
    Ok(seen)
}

// The cloud of a machine without a seed.
fn service(job: &Job, seed: &[u8], config: &Config, lan: &Lan) -> Result<(Metadata, Bridge)> {
    if !matches!(job.disk.starts, Starts::Harness { .. }) {
        bail!("{} has no root channel of its own, and without a seed none can be brought to it", job.disk.name);
    }
    let files = seed::files(seed)?;
    let file = |name: &str| files.iter().find(|(n, _)| n == name).map(|(_, data)| data.clone()).unwrap_or_default();
    let about = String::from_utf8_lossy(&file("meta-data")).into_owned();
    let says = |key: &str| about.lines().find_map(|l| l.strip_prefix(key)?.strip_prefix(": ")).unwrap_or_default();
    let cards: Vec<[u8; 6]> = (0..config.cards.len()).map(mac).collect();
    let metadata = Metadata::new(&file("user-data"), says("instance-id"), says("local-hostname"), &cards)?;
    let bridge =
        lan.serve(metadata::place(), metadata.local()).context("could not lead the machine to its metadata")?;
    Ok((metadata, bridge))
}

// One card that no rule names, which is the way out; and one for each that a rule names.
fn cards(proofs: &[Proof]) -> Vec<Option<String>> {
    let named: BTreeSet<&str> = proofs.iter().filter_map(|p| p.check.interface()).collect();
    std::iter::once(None).chain(named.into_iter().map(|name| Some(name.to_owned()))).collect()
}

/// Say that the boot is done, or which job runs. systemd is waited for and not asked every second, for a machine that waits for
/// itself must be seen to stand idle; but early in a boot it may say at once that it cannot wait.
const BOOTED: &str = "s=$(timeout 30 systemctl is-system-running --wait 2>/dev/null); waited=$?\n\
    case $s in running|degraded|maintenance|stopping) echo done; exit ;; esac\n\
    [ $waited = 124 ] || sleep 1\n\
    systemctl list-jobs --no-legend 2>/dev/null | awk '$4 == \"running\" { print $2; exit }'\n";
/// SysV init can be asked only for the runlevel that it goes to, and has come there when no `rc` runs any more.
const BOOTED_BY_SCRIPTS: &str = "case $(runlevel) in *[2-5]) pgrep -x rc >/dev/null || { echo done; exit; } ;; esac\nsleep 2\n\
    pgrep -a . | sed -n 's,^[0-9]* /bin/sh /etc/init.d/\\([^ ]*\\) start.*,\\1,p' | grep -vx rc | head -n 1\n";

// As its machine's init can be asked.
fn either(systemd: &str, scripts: &str) -> String {
    format!("if [ -d /run/systemd/system ]; then\n{systemd}\nelse\n{scripts}\nfi\n")
}

/// Prints what the machine calls its cards, and how each is known here.
pub(super) const CARDS: &str = "for n in /sys/class/net/*; do read -r a <$n/address && echo \"${n##*/} $a\"; done\n";

/// So many addresses are led to a card for the logins that a rule lets in there.
pub(super) const LOGINS: u8 = 16;

// Behind the router of a card that a rule names lies who comes from far away to it, and nobody else: single addresses, so
// that the same networks can be knocked from on other cards.
fn networks(cards: &[Option<String>], proofs: &[Proof]) -> Result<Vec<Network>> {
    let far = |name: &str| -> Result<Vec<IpAddr>> {
        let mut far = BTreeSet::new();
        for check in proofs.iter().map(|p| &p.check).filter(|c| c.interface() == Some(name)) {
            match check {
                Check::Wire(knock) => drop(far.insert(knock.source)),
                Check::Sweep(sweep) => drop(far.insert(sweep.source)),
                Check::Burst(burst) => far.extend(&burst.sources),
                Check::Echo(echo) => drop(far.insert(echo.source)),
                Check::Login(Login { from, .. }) | Check::Offers(Offers { from, .. }) => {
                    far.extend(from.iter().flat_map(|net| (0..LOGINS).map(|n| net.sample(n))));
                }
                _ => {}
            }
        }
        for proof in proofs {
            let Check::Window(window) = &proof.check else { continue };
            far.extend(window.knocks.iter().filter(|m| m.interface.as_deref() == Some(name)).map(|m| m.source));
        }
        far.retain(|address| !near(*address));
        let four = far.iter().filter(|a| a.is_ipv4()).count();
        if four > MOST_ROUTES {
            bail!(
                "the rules for {name} are tried from {four} addresses, and DHCP leads only {MOST_ROUTES} to one card"
            );
        }
        Ok(far.into_iter().collect())
    };
    (0..)
        .zip(cards)
        .map(|(at, name)| Ok(Network::of(at, name.as_deref().map(far).transpose()?.unwrap_or_default())))
        .collect()
}

fn near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(a) => (0..=u8::MAX).any(|card| crate::plan::net::link4(card).contains(&a)),
        IpAddr::V6(a) => a.is_unicast_link_local(),
    }
}

fn last_lines(console: &str) -> String {
    let lines: Vec<_> = console.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

/// So many lines of a console are kept.
const LINES: usize = 40;

// What a bundle's own scripts say there, whatever a journal or a kernel puts before it.
fn said(console: &str) -> impl Iterator<Item = String> {
    let ours = |line: &str| ["hardtack: ", "hardtack-firewall: "].iter().filter_map(|who| line.find(who)).min();
    console.lines().filter_map(move |line| Some(crate::report::shown_up_to(200, line[ours(line)?..].trim_end())))
}

impl Machine<'_> {
    /// Keeps what the bundle has said on the console since the machine was switched on.
    fn hear_console(&mut self) {
        for line in said(&self.vm.console()) {
            if self.seen.console.len() < LINES && !self.seen.console.contains(&line) {
                self.seen.console.push(line);
            }
        }
    }

    pub(super) fn say(&self, what: impl Into<String>) {
        let _ = self.send.send(Event::Progress { which: self.which, what: what.into(), cpu: self.vm.cpu_seconds() });
    }

    pub(super) fn meter(&self) -> Meter {
        self.vm.meter()
    }

    pub(super) fn run(&mut self, script: &str, budget: Budget) -> Result<Vec<u8>> {
        Ok(self.guest.run(script, budget)?.stdout)
    }

    /// Notes what the machine has cost since the last phase.
    pub(super) fn phase(&mut self, name: &str) {
        let before: f64 = self.seen.phases.iter().map(|p| p.cpu_seconds).sum();
        self.seen.phases.push(Phase { name: name.to_owned(), cpu_seconds: self.vm.cpu_seconds() - before });
    }

    fn whole(&mut self, job: &Job, scratch: &Path) -> Result<()> {
        let proofs = job.proofs;
        let window = |boot: Boot| {
            proofs.iter().find_map(|p| match &p.check {
                Check::Window(window) if window.boot == boot => Some(window),
                _ => None,
            })
        };
        let reboot = job.reboot && self.which == Which::Bundle;
        if job.installs && self.which == Which::Bundle {
            self.install(window(Boot::First), job.cut)?;
        } else {
            self.watch(window(Boot::First).filter(|_| self.which == Which::Bundle));
            if let Some(cut) = job.cut.filter(|_| self.which == Which::Bundle) {
                self.say("starting");
                self.cut(cut)?;
                // What was seen before is of a boot that has no end.
                self.watch(window(Boot::First));
            }
            self.first_boot()?;
        }
        self.hear_console();
        let mut judged = vec![None; proofs.len()];
        self.judge_window(Boot::First, proofs, &mut judged)?;
        self.phase("boot");
        let all: Vec<(usize, &Proof)> = proofs.iter().enumerate().collect();
        let now: Vec<_> = all.iter().filter(|(_, p)| p.when == When::EveryBoot).copied().collect();
        self.round(&now, scratch, &mut judged, "")?;
        let mut again = vec![None; proofs.len()];
        if reboot {
            self.restart(window(Boot::Second))?;
            self.boot("after the reboot")?;
            self.hear_console();
            self.judge_window(Boot::Second, proofs, &mut judged)?;
            self.phase("reboot");
            self.round(&all, scratch, &mut again, "again ")?;
            // What holds at the first boot counts only when it was looked at again.
            for (judgement, proof) in again.iter_mut().zip(proofs) {
                if judgement.is_none() && !matches!(proof.check, Check::Window(_)) {
                    *judgement = Some(Judgement::unknown("it was not looked at after the reboot"));
                }
            }
            self.seen.again = Some(again);
        }
        self.seen.first = judged
            .into_iter()
            .zip(proofs)
            .map(|(judgement, proof)| match judgement {
                Some(judgement) => judgement,
                None if proof.when == When::AfterReboot => Judgement::unknown("it is seen only after a reboot"),
                None if matches!(proof.check, Check::Window(_)) => Judgement::unknown("this boot was not watched"),
                None => Judgement::unknown("it was not looked at"),
            })
            .collect();
        Ok(())
    }

    /// Waits until the first boot has come to its end, whatever that is.
    pub(super) fn first_boot(&mut self) -> Result<()> {
        self.say("starting");
        self.guest.wait_ready(BOOT).with_context(|| channel::absent(self.disk))?;
        self.trust()?;
        self.boot("first boot")
    }

    // To a person, until they have had enough of it.
    fn lend(&mut self, job: &Job, trouble: Option<&anyhow::Error>) {
        let proved = |m: &Self| m.seen.judged(job.proofs).iter().all(|j| j.counts().verdict == Verdict::Holds);
        let wanted = match job.keep {
            Keep::Never => false,
            Keep::NotProved => trouble.is_some() || !proved(self),
            Keep::Always => true,
        };
        // One that never came up has nobody who would answer.
        if !wanted || self.guest.boot_id().is_none() {
            return;
        }
        let (ask, asked) = channel();
        let _ = self.send.send(Event::Kept { trouble: trouble.map(|e| format!("{e:#}")), ask });
        for Ask { script, answer } in asked {
            let _ = answer.send(self.guest.run(&script, LINE));
        }
    }

    /// Starts it again, and waits until it is up.
    pub(super) fn second_boot(&mut self) -> Result<()> {
        self.restart(None)?;
        self.boot("after the reboot")
    }

    pub(super) fn keep(&self, at: usize, judgement: Judgement, judged: &mut [Option<Judgement>], again: bool) {
        if self.quiet {
            judged[at] = Some(judgement);
            return;
        }
        let _ = self.send.send(Event::Judged { which: self.which, proof: at, again, judgement: judgement.clone() });
        judged[at] = Some(judgement);
    }

    // Every card, each with its own.
    pub(super) fn watch(&mut self, window: Option<&Window>) {
        let Some(window) = window else { return };
        let known = |port: u16| {
            window.declared.iter().any(|p| p.contains(port)) || window.knocks.iter().any(|m| m.port == port)
        };
        let others: Vec<u16> = (1..=u16::MAX).filter(|port| !known(*port)).collect();
        for (at, (lan, name)) in self.lans.iter().zip(&self.names).enumerate() {
            let here = || window.knocks.iter().filter(|m| m.interface == *name);
            lan.watch(Asked {
                mac: mac(at),
                knocks: here().map(|m| (m.source, m.port)).collect(),
                others: others.clone(),
                // Without IPv6 one asks instead of two, and the boot is shorter.
                in_turn: if self.ipv6 { self.in_turn } else { 2 * self.in_turn },
                // Until the gate stands a machine refuses whatever nobody serves: more than can be kept.
                refused: window.from_gate || here().any(|m| m.shut != Reaction::Silent),
            });
        }
    }

    fn judge_window(&mut self, boot: Boot, proofs: &[Proof], judged: &mut [Option<Judgement>]) -> Result<()> {
        // A boot without cloud-init is over before all ports can have been asked; what is up goes on being watched until they were.
        let mut deadline = SMALL.start(self.meter());
        while !self.lans.iter().all(Lan::has_asked_all) && deadline.check().is_ok() {
            std::thread::sleep(Duration::from_millis(100));
        }
        let cards = self.names.iter().zip(&self.lans);
        let seen = |(name, lan): (&Option<String>, &Lan)| {
            Some(window::Seen { interface: name.clone(), watched: lan.watched()? })
        };
        let seen: Vec<_> = cards.filter_map(seen).collect();
        if seen.is_empty() {
            return Ok(());
        }
        let (asked, start) = (Instant::now(), self.start);
        let printed = self.run(&window::script(), SMALL)?;
        let answered = Instant::now();
        for (at, proof) in proofs.iter().enumerate() {
            let Check::Window(window) = &proof.check else { continue };
            if window.boot != boot {
                continue;
            }
            let told = window::Told { asked, answered, printed: &printed };
            let (judgement, timeline) = window::judge(window, &seen, start, told, &mut || self.evidence());
            self.seen.timelines.push(timeline);
            self.keep(at, judgement, judged, boot == Boot::Second);
        }
        Ok(())
    }

    /// Waits until all that the boot starts has come to its end, whatever that is: a proof of the delivery judges it.
    pub(super) fn boot(&mut self, what: &str) -> Result<()> {
        let mut deadline = BOOT.start(self.meter());
        let mut last = what.to_owned();
        let booted = either(BOOTED, BOOTED_BY_SCRIPTS);
        loop {
            let said = String::from_utf8_lossy(&self.run(&booted, SMALL)?).trim().to_owned();
            if said == "done" {
                return Ok(());
            }
            deadline.check().with_context(|| format!("{last}: that does not come to an end"))?;
            // Where no job runs at this moment, the last that did is what it waits for.
            if !said.is_empty() {
                last = format!("{what}: {}", crate::report::shown(&said));
            }
            self.say(last.clone());
        }
    }

    /// Starts it again as its owner would, not by pulling the plug.
    pub(super) fn restart(&mut self, window: Option<&Window>) -> Result<()> {
        self.say("starting again");
        let old = self.guest.boot_id().unwrap_or_default().to_owned();
        if let Some(carry) = channel::carry(self.disk) {
            self.run(&carry, SMALL)?;
        }
        let said = self.vm.console_length();
        let sent = |lan: &Lan| (lan.guest().frames, lan.guest().ipv6_frames);
        self.before = self.lans.iter().map(sent).collect();
        // The shell that answers goes down with the machine, perhaps in the middle of a word. To have it done a second later was
        // tried: it is undone when the shell is let go of.
        // SysV init makes whoever asks wait.
        let reboot = either("systemctl --no-block reboot", "setsid shutdown -r now >/dev/null 2>&1 &");
        match self.guest.run(&reboot, SMALL) {
            Ok(_) | Err(Error::Restarted | Error::Garbled) => {}
            Err(error) => return Err(error).context("the machine could not be asked to start again"),
        }
        if window.is_some() && self.has_gone_down(said) {
            self.start = Instant::now();
            self.watch(window);
        }
        let mut deadline = AGAIN.start(self.meter());
        loop {
            match self.guest.meet_anew(AGAIN) {
                Ok(()) | Err(Error::Restarted | Error::Garbled) => {}
                Err(error) => return Err(error).context("the machine did not come back after a reboot"),
            }
            if self.guest.boot_id().is_some_and(|id| id != old) {
                return self.trust();
            }
            deadline.check().context("the machine was asked to start again and did not")?;
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    // A boot is watched from here on and not while the machine goes down: Linux 6.1.192 was seen to spin for ever in virtnet_poll
    // then, under 16,000 packets a second.
    // The kernel says this when it has switched its cards off.
    fn has_gone_down(&self, said: u64) -> bool {
        let mut deadline = Budget::cpu_seconds(300).idle(Duration::from_secs(60)).start(self.meter());
        while !self.vm.console_since(said).contains("reboot: Restarting system") {
            if deadline.check().is_err() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        true
    }

    /// The cards, as the machine has them now: [`CARDS`] has printed their names.
    pub(super) fn cards(&self, printed: &[u8]) -> Vec<Card> {
        let budget = std::cell::RefCell::new(Budget::cpu_seconds(60).idle(Duration::from_secs(20)).start(self.meter()));
        let late = || budget.borrow_mut().check().is_err();
        for lan in &self.lans {
            lan.wait(&late, &|guest| {
                let six = guest.ipv6_global.is_some() && guest.ipv6_link_local.is_some();
                guest.ipv4.is_some() && (six || !self.ipv6)
            });
        }
        let printed = String::from_utf8_lossy(printed);
        let name_of = |at: usize| {
            let mac = mac(at).map(|byte| format!("{byte:02x}")).join(":");
            let line = printed.lines().find_map(|l| l.strip_suffix(&mac).map(str::trim_end));
            line.unwrap_or("nothing").to_owned()
        };
        let cards = self.names.iter().zip(&self.lans).enumerate();
        cards
            .map(|(at, (wanted, lan))| Card { wanted: wanted.clone(), name: name_of(at), guest: lan.guest() })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::prove::process::Program;

    /// What a script prints where these programs are on the machine, and how long it takes for it.
    fn booted(script: &str, programs: &[(&str, &str)]) -> (String, Duration) {
        let bin = tempfile::tempdir().unwrap();
        for (name, text) in programs {
            let fake = bin.path().join(name);
            std::fs::write(&fake, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&fake, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        }
        let path = format!("{}:/usr/sbin:/usr/bin:/sbin:/bin", bin.path().display());
        let began = Instant::now();
        let said = Program::new("sh").arg("-c").arg(script).environment("PATH", path).output().unwrap();
        (String::from_utf8(said).unwrap(), began.elapsed())
    }

    #[test]
    fn a_boot_is_waited_for_and_not_asked_without_rest() {
        let jobs = "echo '1 a.service start waiting'; echo '2 b.service start running'";
        let early = format!("case $1 in is-*) echo offline; exit 1 ;; *) {jobs} ;; esac");
        let (said, took) = booted(BOOTED, &[("systemctl", &early)]);
        assert_eq!((said.as_str(), took >= Duration::from_secs(1)), ("b.service\n", true));
        assert_eq!(booted(BOOTED, &[("systemctl", "echo degraded; exit 1")]).0, "done\n");
    }

    #[test]
    fn a_boot_by_scripts_is_over_when_all_of_the_runlevel_have_run() {
        let all =
            "echo '1 init [2]'; echo '9 /bin/sh /etc/init.d/rc 2'; echo '12 /bin/sh /etc/init.d/cloud-final start'";
        let runs = format!("case $1 in -x) exit $RC ;; *) {all} ;; esac");
        let asked = |level: &str, rc: &str| {
            let programs = [("runlevel", format!("echo {level}")), ("pgrep", runs.replace("$RC", rc))];
            booted(BOOTED_BY_SCRIPTS, &programs.each_ref().map(|(name, text)| (*name, text.as_str()))).0
        };
        assert_eq!(asked("'N 2'", "1"), "done\n");
        assert_eq!(asked("'N 2'", "0"), "cloud-final\n");
        assert_eq!(asked("unknown", "1"), "cloud-final\n", "rcS runs, and the runlevel is not entered");
        assert_eq!(asked("'N S'", "1"), "cloud-final\n");
    }

    #[test]
    fn what_the_bundle_says_is_told_from_what_others_say() {
        let console = "[  1.0] systemd[1]: Hostname set to <hardtack>.\n[  3.2] sh[301]: hardtack-firewall: the rules cannot be loaded\r\n\
            hardtack: FAILED: open: 10\x1b[0m\nStarting hardtack firewall...\n";
        let heard: Vec<String> = said(console).collect();
        assert_eq!(heard[0], "hardtack-firewall: the rules cannot be loaded");
        assert!(heard[1].starts_with("hardtack: FAILED: open: 10") && !heard[1].contains('\x1b'), "{heard:?}");
        assert_eq!(heard.len(), 2);
    }
}
