//! One run: boots the bundle, and beside it the same image without it; asks, logs in, knocks; judges.

use super::event::{Event, Which};
use super::guest::Guest;
use super::image::Built;
use super::judge::login::{self, Keyring};
use super::judge::{inside, wire};
use super::qemu::{Accelerator, Budget, Config, Meter, Vm};
use super::verdict::{Judgement, Verdict};
use super::wire::{Lan, Network};
use crate::archive::seed;
use crate::facts::Start;
use crate::plan::net::Protocol;
use crate::plan::proof::{Check, Knock, Login, Proof};
use anyhow::{Context, Result, bail};
use std::collections::BTreeSet;
use std::net::IpAddr;
use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

/// What to prove, and on what.
#[derive(Debug)]
pub struct Job<'a> {
    /// The base image.
    pub image: &'a Built,
    /// How it is started.
    pub start: &'a Start,
    /// What runs its code.
    pub accelerator: Accelerator,
    /// The seed volume of the bundle, as a cloud would attach it.
    pub seed: &'a [u8],
    /// What must be seen.
    pub proofs: &'a [Proof],
    /// Whether the image is also booted without the bundle.
    pub control: bool,
}

/// A proof and what came of it.
#[derive(Debug, Clone)]
pub struct Judged {
    /// The proof.
    pub proof: Proof,
    /// What came of it on the machine.
    pub judgement: Judgement,
    /// What came of it on the bare image, where that was booted.
    pub control: Option<Judgement>,
}

/// What came of a run.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What ran the machines' code.
    pub accelerator: &'static str,
    /// Every proof, in the order of the bundle.
    pub judged: Vec<Judged>,
    /// CPU seconds of the bundle's machine.
    pub cpu_seconds: f64,
}

impl Outcome {
    /// How many proofs hold, fail, and could not be told.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let of = |v| self.judged.iter().filter(|j| j.judgement.verdict == v).count();
        (of(Verdict::Holds), of(Verdict::Fails), of(Verdict::Unknown))
    }
}

/// What a whole first boot may cost. A Debian costs about 60 CPU seconds under emulation.
const BOOT: Budget = Budget::cpu_seconds(900);
/// What all the questions together may cost.
const QUESTIONS: Budget = Budget::cpu_seconds(300);
/// What one small thing may cost.
const SMALL: Budget = Budget::cpu_seconds(120).idle(Duration::from_secs(90));

/// Runs a job. What happens on the way goes to `tell`, on the caller's own thread.
///
/// # Errors
/// The harness could not do its part: no QEMU, a machine that never came up.
pub fn prove(job: &Job, tell: &mut dyn FnMut(Event)) -> Result<Outcome> {
    tell(Event::Accelerator(job.accelerator.to_string()));
    let (send, receive) = channel();
    let (bundle, control) = std::thread::scope(|scope| {
        let bundle = scope.spawn({
            let send = send.clone();
            move || machine(job, Which::Bundle, &send)
        });
        let control = job.control.then(|| {
            scope.spawn({
                let send = send.clone();
                move || machine(job, Which::Control, &send)
            })
        });
        drop(send);
        for event in receive {
            tell(event);
        }
        (bundle.join(), control.map(std::thread::ScopedJoinHandle::join))
    });
    let Ok(bundle) = bundle else { bail!("the thread of the machine ended by a bug of hardtack") };
    let (judgements, cpu_seconds) = bundle?;
    // A control that could not be booted takes nothing away from what was seen on the machine itself: it is said, as unknown.
    let control = match control {
        None => None,
        Some(Ok(Ok((judgements, _)))) => Some(judgements),
        Some(Ok(Err(error))) => Some(job.proofs.iter().map(|_| Judgement::unknown(format!("{error:#}"))).collect()),
        Some(Err(_)) => bail!("the thread of the control ended by a bug of hardtack"),
    };
    let judged = job
        .proofs
        .iter()
        .zip(judgements)
        .enumerate()
        .map(|(at, (proof, judgement))| Judged {
            proof: proof.clone(),
            judgement,
            control: control.as_ref().and_then(|c| c.get(at).cloned()),
        })
        .collect();
    let accelerator = if matches!(job.accelerator, Accelerator::Kvm) { "kvm" } else { "tcg" };
    Ok(Outcome { accelerator, judged, cpu_seconds })
}

/// One machine on its own network.
struct Machine<'a> {
    which: Which,
    guest: Guest,
    lan: Lan,
    vm: &'a Vm,
    send: &'a Sender<Event>,
}

fn machine(job: &Job, which: Which, send: &Sender<Event>) -> Result<(Vec<Judgement>, f64)> {
    let done = boot_and_judge(job, which, send);
    let (cpu, trouble) = match &done {
        Ok((_, cpu)) => (*cpu, None),
        Err(error) => (0.0, Some(format!("{error:#}"))),
    };
    // The receiver is gone only when the whole run is.
    let _ = send.send(Event::Ended { which, cpu, trouble });
    done
}

fn boot_and_judge(job: &Job, which: Which, send: &Sender<Event>) -> Result<(Vec<Judgement>, f64)> {
    let scratch =
        tempfile::Builder::new().prefix("hardtack-").tempdir().context("could not make a folder for the machine")?;
    let path = scratch.path().join("seed.img");
    let data = match which {
        Which::Bundle => job.seed.to_vec(),
        Which::Control => {
            seed::vfat(&[("meta-data", b"instance-id: hardtack-control\n"), ("user-data", b"#cloud-config\n{}\n")], 0)?
        }
    };
    std::fs::write(&path, data).context("could not write the seed")?;
    let mut config = Config::new(job.image, job.start, job.accelerator.clone());
    config.seed = Some(path);
    config.card = card(job.proofs);
    let vm = Vm::start(&config)?;
    let lan = Lan::connect(&vm.wire(), Network::default()).context("could not connect the machine's network")?;
    let guest = Guest::connect(&vm)?;
    let mut machine = Machine { which, guest, lan, vm: &vm, send };
    let judgements = machine
        .judge(job.proofs, scratch.path())
        .with_context(|| format!("the console says last: {}", last_lines(&vm.console())))?;
    let cpu = vm.cpu_seconds();
    drop(machine);
    vm.quit()?;
    Ok((judgements, cpu))
}

// The machine has one card, called as the first rule that names one calls it.
fn card(proofs: &[Proof]) -> Option<String> {
    proofs.iter().find_map(|p| match &p.check {
        Check::Wire(knock) => knock.interface.clone(),
        _ => None,
    })
}

fn last_lines(console: &str) -> String {
    let lines: Vec<_> = console.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    lines[lines.len().saturating_sub(3)..].join(" | ")
}

impl Machine<'_> {
    fn say(&self, what: impl Into<String>) {
        let _ = self.send.send(Event::Progress { which: self.which, what: what.into(), cpu: self.vm.cpu_seconds() });
    }

    fn meter(&self) -> Meter {
        self.vm.meter()
    }

    fn run(&mut self, script: &str, budget: Budget) -> Result<Vec<u8>> {
        Ok(self.guest.run(script, budget)?.stdout)
    }

    fn judge(&mut self, proofs: &[Proof], scratch: &Path) -> Result<Vec<Judgement>> {
        self.boot()?;
        let mut judgements: Vec<Option<Judgement>> = vec![None; proofs.len()];
        let mut keep = |at: usize, judgement: Judgement, send: &Sender<Event>, which| {
            let _ = send.send(Event::Judged { which, proof: at, judgement: judgement.clone() });
            judgements[at] = Some(judgement);
        };
        let (send, which) = (self.send.clone(), self.which);

        self.say("asking from inside");
        let asked: Vec<(usize, &Check)> =
            proofs.iter().enumerate().map(|(at, p)| (at, &p.check)).filter(|(_, c)| inside::is_inside(c)).collect();
        let checks: Vec<&Check> = asked.iter().map(|(_, c)| *c).collect();
        let printed = self.run(&inside::script(&checks), QUESTIONS)?;
        for ((at, _), judgement) in asked.iter().zip(inside::judge(&checks, &printed)) {
            keep(*at, judgement, &send, which);
        }

        let logins: Vec<(usize, &Login)> = proofs
            .iter()
            .enumerate()
            .filter_map(|(at, p)| match &p.check {
                Check::Login(login) => Some((at, login)),
                _ => None,
            })
            .collect();
        if !logins.is_empty() {
            self.say("logging in");
            self.logins(&logins, scratch, &mut |at, judgement| keep(at, judgement, &send, which))?;
        }

        let knocks: Vec<(usize, &Knock)> = proofs
            .iter()
            .enumerate()
            .filter_map(|(at, p)| match &p.check {
                Check::Wire(knock) => Some((at, knock)),
                _ => None,
            })
            .collect();
        if !knocks.is_empty() {
            self.say("knocking from the wire");
            for ((at, _), judgement) in
                knocks.iter().zip(self.knocks(&knocks.iter().map(|(_, k)| *k).collect::<Vec<_>>())?)
            {
                keep(*at, judgement, &send, which);
            }
        }
        Ok(judgements.into_iter().map(|j| j.unwrap_or_else(|| Judgement::unknown("it was not looked at"))).collect())
    }

    // Until cloud-init has come to its end, whatever that is: a proof of the delivery judges it.
    fn boot(&mut self) -> Result<()> {
        self.say("starting");
        self.guest.wait_ready(BOOT)?;
        let mut deadline = BOOT.start(self.meter());
        let script = "for n in $(seq 20); do [ -e /run/cloud-init/result.json ] || [ -e /run/cloud-init/disabled ] && break; sleep 0.5; done\n\
            if [ -e /run/cloud-init/result.json ] || [ -e /run/cloud-init/disabled ]; then echo done\n\
            else systemctl list-jobs --no-legend 2>/dev/null | awk '$4 == \"running\" { print $2; exit }'; fi\n";
        loop {
            let said = String::from_utf8_lossy(&self.run(script, SMALL)?).trim().to_owned();
            if said == "done" {
                break;
            }
            deadline.check()?;
            self.say(if said.is_empty() {
                "first boot".to_owned()
            } else {
                format!("first boot: {}", crate::report::shown(&said))
            });
        }
        // The last of cloud-init writes its result before systemd knows that it has ended.
        self.run("systemctl is-system-running --wait >/dev/null 2>&1; true", SMALL)?;
        Ok(())
    }

    fn address(&self, like: IpAddr) -> Option<IpAddr> {
        let guest = self.lan.guest();
        match like {
            IpAddr::V4(_) => guest.ipv4.map(IpAddr::V4),
            IpAddr::V6(_) => guest.ipv6_global.map(IpAddr::V6),
        }
    }

    // Logins that must succeed come first, on accounts as they are; then those that must not, on accounts that surely are there.
    fn logins(
        &mut self,
        logins: &[(usize, &Login)],
        scratch: &Path,
        keep: &mut dyn FnMut(usize, Judgement),
    ) -> Result<()> {
        let nonce = super::guest::nonce()?;
        let keyring = Keyring::new(scratch, &nonce)?;
        let bare_port = match self.which {
            Which::Bundle => None,
            Which::Control => {
                let said = self.run("sshd -T | sed -n 's/^port //Ip' | head -n 1", SMALL)?;
                String::from_utf8_lossy(&said).trim().parse().ok()
            }
        };
        let mut number = 0;
        for succeeds in [true, false] {
            let round: Vec<(usize, &Login)> = logins.iter().filter(|(_, l)| l.succeeds == succeeds).copied().collect();
            if round.is_empty() {
                continue;
            }
            let these: Vec<&Login> = round.iter().map(|(_, l)| *l).collect();
            let hosts = self.run(&login::arrange(&these, &keyring, !succeeds), SMALL)?;
            for (at, login) in round {
                number += 1;
                // On the bare image sshd is where the image has it: what is judged is whether it lets anyone in.
                let login = &Login { port: bare_port.unwrap_or(login.port), ..login.clone() };
                let like = login.from.map_or(IpAddr::from([0, 0, 0, 0]), |net| net.sample(0));
                let judgement = match self.address(like) {
                    None => Judgement::unknown("the machine took no address"),
                    Some(address) => login::attempt(login, number, &keyring, &hosts, &self.lan, address, self.meter())?,
                };
                keep(at, judgement);
            }
            self.run(&login::restore(&these), SMALL)?;
        }
        Ok(())
    }

    fn knocks(&mut self, knocks: &[&Knock]) -> Result<Vec<Judgement>> {
        self.run(&wire::listen(knocks), SMALL)?;
        let budget = std::cell::RefCell::new(Budget::cpu_seconds(60).idle(Duration::from_secs(20)).start(self.meter()));
        let late = || budget.borrow_mut().check().is_err();
        self.lan.wait(&late, &|guest| {
            guest.ipv4.is_some() && guest.ipv6_global.is_some() && guest.ipv6_link_local.is_some()
        });
        let interface =
            String::from_utf8_lossy(&self.run("ip -o link show | grep -v ' lo: ' | cut -d: -f2 | head -n 1", SMALL)?)
                .trim()
                .to_owned();
        let guest = self.lan.guest();
        let (mut trouble, udp) = (None, knocks.iter().any(|k| k.protocol == Protocol::Udp));
        let seen = wire::judge(knocks, &guest, &interface, &mut |probes| {
            let answers = self.lan.probe(probes, &late);
            let heard = if udp { self.guest.run(wire::HEARD, SMALL) } else { return (answers, BTreeSet::new()) };
            (answers, heard.map(|h| wire::heard(&h.stdout)).map_err(|e| trouble = Some(e)).unwrap_or_default())
        });
        if let Some(error) = trouble {
            return Err(error.into());
        }
        self.run(wire::HUSH, SMALL)?;
        Ok(seen)
    }
}
