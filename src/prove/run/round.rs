//! One round of questions to a machine that has booted: from inside, by logins, from the wire.

use super::Picture;
use super::machine::{CARDS, LOGINS, Machine, SMALL};
use crate::plan::net::{Cidr, NEIGHBOUR6, Protocol, link4, neighbour4};
use crate::plan::proof::{Burst, Check, Code, Knock, Login, Offers, Outbound, Proof, Reaction, SeenFrom, Sweep};
use crate::prove::event::Which;
use crate::prove::judge::culprit::{self, Evidence};
use crate::prove::judge::keyring::{self, Keyring};
use crate::prove::judge::sweep::Swept;
use crate::prove::judge::wire::{Heard, Listening};
use crate::prove::judge::{Card, inside, place, sweep, wire};
use crate::prove::judge::{login, offers};
use crate::prove::qemu::{Budget, mac};
use crate::prove::verdict::{Judgement, Verdict};
use crate::prove::wire::{Answer, Lan, Probe, What, link_local};
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::time::Duration;

/// What all the questions together may cost.
pub(super) const QUESTIONS: Budget = Budget::cpu_seconds(300);

pub(super) type Kept = [Option<Judgement>];

/// Everyone on a link (RFC 4291, 2.7.1).
const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);

/// What came back to a sweep.
struct Asked {
    card: usize,
    dest: IpAddr,
    answers: Vec<Answer>,
    /// The verdict on silence, where nobody there is answered at all.
    unreached: Option<Judgement>,
    took_ms: u64,
}

pub(super) fn of<'p, T>(proofs: &[(usize, &'p Proof)], pick: impl Fn(&'p Check) -> Option<T>) -> Vec<(usize, T)> {
    proofs.iter().filter_map(|(at, p)| Some((*at, pick(&p.check)?))).collect()
}

// A knock on the port of a burst, that somebody listens there.
fn at_its_port(burst: &Burst) -> Option<Knock> {
    let (interface, protocol, wanted) = (burst.interface.clone(), Protocol::Tcp, Reaction::Open);
    Some(Knock { source: *burst.sources.first()?, interface, protocol, port: burst.port, wanted })
}

/// How sshd is reached.
struct Way<'a> {
    lan: &'a Lan,
    from: Cidr,
    machine: IpAddr,
    /// Tells one address of `from` from another.
    number: u8,
}

impl Machine<'_> {
    /// Judges these proofs. `phase` is "again " after a reboot.
    pub(super) fn round(
        &mut self,
        now: &[(usize, &Proof)],
        scratch: &Path,
        judged: &mut Kept,
        phase: &str,
    ) -> Result<()> {
        let again = !phase.is_empty();
        let asked = of(now, |c| inside::is_inside(c).then_some(c));
        if !asked.is_empty() {
            self.say(format!("asking {phase}from inside"));
            let checks: Vec<&Check> = asked.iter().map(|(_, c)| *c).collect();
            let printed = self.run(&inside::script(&checks), QUESTIONS)?;
            for ((at, _), judgement) in asked.iter().zip(inside::judge(&checks, &printed)) {
                self.keep(*at, judgement, judged, again);
            }
            self.phase(&format!("{phase}inside"));
        }

        let logins = of(now, |c| if let Check::Login(login) = c { Some(login) } else { None });
        if !logins.is_empty() {
            self.say(format!("logging in {phase}").trim_end().to_owned());
            self.logins(&logins, scratch, judged, again)?;
            self.phase(&format!("{phase}logins"));
        }

        if now.iter().any(|(_, p)| p.check.seen_from() == SeenFrom::Wire && !matches!(p.check, Check::Window(_))) {
            self.say(format!("knocking {phase}from the wire"));
            // One listener for all of them, and few scripts: each costs an emulated machine a quarter of a second.
            let checks = of(now, |c| match c {
                Check::Wire(knock) => Some(knock.clone()),
                Check::Burst(burst) => at_its_port(burst),
                _ => None,
            });
            let checks: Vec<&Knock> = checks.iter().map(|(_, knock)| knock).collect();
            let ears = self.ears(now);
            let listens = !checks.is_empty() || !ears.is_empty();
            let listen = if listens { wire::listen(&checks, &ears) } else { String::new() };
            let printed = self.run(&format!("{CARDS}{listen}"), SMALL)?;
            let cards = self.cards(&printed);
            let listening = Listening::read(&printed);
            self.knocks(now, &cards, &listening, judged, again)?;
            self.sweeps(now, &cards, &listening, judged, again)?;
            self.bursts(now, &cards, judged, again);
            self.without_ipv6(now, &cards, judged, again);
            self.offers(now, judged, again)?;
            self.outbound(now, if listens { wire::HUSH } else { "" }, judged, again)?;
            self.phase(&format!("{phase}wire"));
        }
        self.refreshes(now, self.pages, judged, again)?;
        Ok(())
    }

    // Logins that must succeed come first, on accounts as they are; then those that must not, on accounts that surely are there.
    fn logins(&mut self, logins: &[(usize, &Login)], scratch: &Path, judged: &mut Kept, again: bool) -> Result<()> {
        let nonce = crate::prove::guest::nonce()?;
        let place = scratch.join(format!("keys-{}", self.rounds));
        self.rounds += 1;
        std::fs::create_dir_all(&place)?;
        let keyring = Keyring::new(&place, &nonce)?;
        let bare_port = self.bare_port()?;
        // An account has a second factor or it has none, so those that want it otherwise take turns.
        let turn = |login: &Login| (!login.succeeds, login.code == Some(Code::NotSetUp));
        for now in [(false, false), (true, true), (true, false)] {
            let round: Vec<(usize, &Login)> = logins.iter().filter(|(_, l)| turn(l) == now).copied().collect();
            if round.is_empty() {
                continue;
            }
            let these: Vec<&Login> = round.iter().map(|(_, l)| *l).collect();
            let hosts = self.run(&keyring.arrange(&these, now.0), SMALL)?;
            for (at, login) in round {
                // sshd may make an address wait that has failed (PerSourcePenalties), in an earlier round as well.
                self.logins = self.logins.wrapping_add(1);
                let judgement = self.login(login, bare_port, &keyring, &hosts)?;
                self.keep(at, judgement, judged, again);
            }
            self.run(&keyring::restore(&these), SMALL)?;
        }
        Ok(())
    }

    // On the bare image sshd is where the image has it.
    fn bare_port(&mut self) -> Result<Option<u16>> {
        if self.which == Which::Bundle {
            return Ok(None);
        }
        let said = self.run("sshd -T | sed -n 's/^port //Ip' | head -n 1", SMALL)?;
        Ok(String::from_utf8_lossy(&said).trim().parse().ok())
    }

    fn offers(&mut self, now: &[(usize, &Proof)], judged: &mut Kept, again: bool) -> Result<()> {
        for (at, offers) in of(now, |c| if let Check::Offers(offers) = c { Some(offers) } else { None }) {
            let port = self.bare_port()?.unwrap_or(offers.port);
            self.logins = self.logins.wrapping_add(1);
            let judgement = match self.door(offers.interface.as_deref(), offers.from) {
                Err(why) => Judgement::unknown(why),
                Ok(door) => {
                    let source = door.from.sample(door.number);
                    let bridge = door.lan.bridge(source, SocketAddr::new(door.machine, port));
                    let bridge = bridge.context("could not open a way to the machine")?;
                    offers::ask(&Offers { port, ..offers.clone() }, bridge.local, source)
                }
            };
            self.keep(at, judgement, judged, again);
        }
        Ok(())
    }

    // How sshd is reached: by which card, from where, at which of its addresses.
    fn door(&self, interface: Option<&str>, from: Option<Cidr>) -> Result<Way<'_>, &'static str> {
        let wanted = self.names.iter().position(|name| name.as_deref() == interface);
        let Some((card, lan)) = wanted.and_then(|at| Some((u8::try_from(at).ok()?, &self.lans[at]))) else {
            return Err("the machine has no network card here for this login");
        };
        // Behind a card that a rule names lies nothing but what the proofs say: anyone is a neighbour there.
        let neighbours = || Some(Cidr::new(link4(card).into())).filter(|_| card > 0);
        let from = from.or_else(neighbours).unwrap_or(Cidr::EVERYWHERE4);
        let guest = lan.guest();
        let address = if from.is_ipv4() { guest.ipv4.map(IpAddr::V4) } else { guest.ipv6_global.map(IpAddr::V6) };
        let machine = address.ok_or("the machine took no address")?;
        let number = if card > 0 { self.logins % LOGINS } else { self.logins };
        Ok(Way { lan, from, machine, number })
    }

    fn login(&self, login: &Login, bare_port: Option<u16>, keyring: &Keyring, hosts: &[u8]) -> Result<Judgement> {
        match self.door(login.interface.as_deref(), login.from) {
            Err(why) => Ok(Judgement::unknown(why)),
            Ok(Way { lan, from, machine, number }) => {
                // What is judged there is whether it lets anyone in.
                let port = bare_port.unwrap_or(login.port);
                let login = Login { port, from: Some(from), ..login.clone() };
                login::attempt(&login, number, keyring, hosts, lan, machine, self.meter())
            }
        }
    }

    fn probe(&self, card: usize, probes: &[Probe]) -> Vec<Answer> {
        let budget = Budget::cpu_seconds(120).idle(Duration::from_secs(60)).start(self.meter());
        let budget = std::cell::RefCell::new(budget);
        self.lans[card].probe(probes, &|| budget.borrow_mut().check().is_err())
    }

    /// By which protocols the machine must say what was let through.
    fn ears(&self, now: &[(usize, &Proof)]) -> BTreeSet<Protocol> {
        let ear = |(_, proof): &(usize, &Proof)| match &proof.check {
            Check::Wire(knock) => (knock.protocol == Protocol::Udp).then_some(Protocol::Udp),
            Check::Sweep(sweep) => self.listens_to(sweep).then_some(sweep.protocol),
            _ => None,
        };
        now.iter().filter_map(ear).collect()
    }

    fn knocks(
        &mut self,
        now: &[(usize, &Proof)],
        cards: &[Card],
        listening: &Listening,
        judged: &mut Kept,
        again: bool,
    ) -> Result<()> {
        let knocks = of(now, |c| if let Check::Wire(knock) = c { Some(knock) } else { None });
        if knocks.is_empty() {
            return Ok(());
        }
        let checks: Vec<&Knock> = knocks.iter().map(|(_, k)| *k).collect();
        let mut trouble = None;
        let seen = wire::judge(&checks, cards, listening, &mut |card, probes| {
            let answers = self.probe(card, probes);
            if !probes.iter().any(|p| matches!(p.what, What::Udp(_))) {
                return (answers, Heard::default());
            }
            let heard = self.guest.run(wire::HEARD, SMALL).map(|h| Heard::read(&h.stdout));
            (answers, heard.map_err(|e| trouble = Some(e)).unwrap_or_default())
        });
        if let Some(error) = trouble {
            return Err(error.into());
        }
        for ((at, _), judgement) in knocks.iter().zip(seen) {
            self.keep(*at, judgement, judged, again);
        }
        Ok(())
    }

    /// Who listens on the machine and what its rules are, when someone is to blame.
    pub(super) fn evidence(&mut self) -> Evidence {
        // What cannot be asked blames nobody; the port is wrong all the same.
        self.run(culprit::SCRIPT, SMALL).map(|printed| Evidence::read(&printed)).unwrap_or_default()
    }

    fn sweeps(
        &mut self,
        now: &[(usize, &Proof)],
        cards: &[Card],
        listening: &Listening,
        judged: &mut Kept,
        again: bool,
    ) -> Result<()> {
        let sweeps = of(now, |c| if let Check::Sweep(sweep) = c { Some(sweep) } else { None });
        let (udp, tcp): (Vec<_>, Vec<_>) = sweeps.into_iter().partition(|(_, s)| s.protocol == Protocol::Udp);
        // Of UDP all are asked before anything is heard: each hearing takes a second.
        let asked: Vec<_> = udp.iter().map(|(_, sweep)| self.ask(sweep, cards)).collect();
        let heard = if udp.is_empty() { Heard::default() } else { self.heard()? };
        let mut blames = None;
        for ((at, sweep), asked) in udp.into_iter().zip(asked) {
            let swept = self.swept(sweep, asked, cards, (listening, &heard), &mut blames);
            self.keep_swept(at, swept, judged, again);
        }
        for (at, sweep) in tcp {
            let asked = self.ask(sweep, cards);
            let heard = if self.listens_to(sweep) { self.heard()? } else { Heard::default() };
            let swept = self.swept(sweep, asked, cards, (listening, &heard), &mut blames);
            self.keep_swept(at, swept, judged, again);
        }
        for (at, echo) in of(now, |c| if let Check::Echo(echo) = c { Some(echo) } else { None }) {
            let judgement = match sweep::ping(echo, cards) {
                Err(why) => Judgement::unknown(why),
                Ok((card, probe)) => match self.echo(card, probe) {
                    Some(answer) => sweep::pinged(echo, answer),
                    None => Judgement::unknown("no answer was kept"),
                },
            };
            self.keep(at, judgement, judged, again);
        }
        Ok(())
    }

    fn bursts(&mut self, now: &[(usize, &Proof)], cards: &[Card], judged: &mut Kept, again: bool) {
        for (at, burst) in of(now, |c| if let Check::Burst(burst) = c { Some(burst) } else { None }) {
            // Where it took too long, the next source may be quicker.
            let mut judgement = Judgement::unknown("nobody began");
            for _ in 0..3 {
                let began = std::time::Instant::now();
                judgement = match sweep::crowd(burst, self.bursts, cards) {
                    Err(why) => Judgement::unknown(why),
                    Ok((card, crowd, other)) => {
                        let answers = self.probe(card, &crowd);
                        let took = began.elapsed();
                        let other = self.probe(card, &[other]).first().copied();
                        sweep::crowded(burst, &answers, took, other)
                    }
                };
                self.bursts += 1;
                if judgement.verdict != Verdict::Unknown {
                    break;
                }
            }
            self.keep(at, judgement, judged, again);
        }
    }

    // There is no barrier in IPv6 where nobody answers: IPv4, asked after it, says that the machine has had time to.
    fn without_ipv6(&mut self, now: &[(usize, &Proof)], cards: &[Card], judged: &mut Kept, again: bool) {
        for (at, without) in of(now, |c| if let Check::WithoutIpv6(without) = c { Some(without) } else { None }) {
            let interface = without.interface.as_deref();
            let number = self.names.iter().position(|n| n.as_deref() == interface).unwrap_or_default();
            let near = IpAddr::V4(neighbour4(u8::try_from(number).unwrap_or_default()));
            let judgement = match place(cards, interface, near) {
                Err(why) => Judgement::unknown(why),
                Ok((card, dest)) => {
                    let source = IpAddr::V6(NEIGHBOUR6);
                    let all = [IpAddr::V6(link_local(mac(card))), IpAddr::V6(ALL_NODES)];
                    let asked = all.map(|dest| Probe { source, dest, what: What::Echo });
                    let answers = self.probe(card, &asked);
                    let four = self.echo(card, Probe { source: near, dest, what: What::Echo });
                    let mut guest = self.lans[card].guest();
                    let (frames, ipv6) = self.before.get(card).copied().unwrap_or_default();
                    guest.frames = guest.frames.saturating_sub(frames);
                    guest.ipv6_frames = guest.ipv6_frames.saturating_sub(ipv6);
                    sweep::without_ipv6(&answers, four, &guest)
                }
            };
            self.keep(at, judgement, judged, again);
        }
    }

    // On the bare image 65,535 ports from everyone would be heard by TCP, which costs minutes.
    fn listens_to(&self, sweep: &Sweep) -> bool {
        sweep::needs_ear(sweep) && (sweep.protocol == Protocol::Udp || self.which == Which::Bundle)
    }

    fn heard(&mut self) -> Result<Heard> {
        Ok(Heard::read(&self.run(wire::HEARD, SMALL)?))
    }

    fn ask(&self, sweep: &Sweep, cards: &[Card]) -> Result<Asked, String> {
        let began = std::time::Instant::now();
        let (card, packets) = sweep::packets(sweep, cards)?;
        let first = *packets.first().ok_or("there is no port to ask")?;
        let mut answers = self.probe(card, &packets);
        // A machine sends only so many errors of ICMP, and what it has sent by another card is not counted here. Once nine ports were
        // silent to fe80::77, which is on every card; why is not proved. So who is silent is asked again before it counts.
        let ports = sweep.ports();
        for _ in 0..3 {
            let silent: Vec<usize> =
                (0..answers.len()).filter(|at| answers[*at] == Answer::Silent && !sweep.lets_in(ports[*at])).collect();
            if sweep.protocol == Protocol::Tcp || sweep.shut != Reaction::Refused || silent.is_empty() {
                break;
            }
            std::thread::sleep(Duration::from_secs(2));
            let these: Vec<Probe> = silent.iter().map(|at| packets[*at]).collect();
            silent.into_iter().zip(self.probe(card, &these)).for_each(|(at, answer)| answers[at] = answer);
        }
        let unreached = match sweep::all_silent(&answers) {
            true => {
                let source = sweep.witness.unwrap_or(first.source);
                sweep::unreached(self.echo(card, Probe { what: What::Echo, source, ..first }))
            }
            false => None,
        };
        let took_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        Ok(Asked { card, dest: first.dest, answers, unreached, took_ms })
    }

    // The firewall lets in ten a second: who has asked too often is not answered for a while.
    fn echo(&self, card: usize, question: Probe) -> Option<Answer> {
        for _ in 0..2 {
            let echo = self.probe(card, &[question]).first().copied();
            if echo != Some(Answer::Silent) {
                return echo;
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        self.probe(card, &[question]).first().copied()
    }

    fn swept(
        &mut self,
        sweep: &Sweep,
        asked: Result<Asked, String>,
        cards: &[Card],
        (listening, heard): (&Listening, &Heard),
        blames: &mut Option<Evidence>,
    ) -> Result<Swept, String> {
        let Asked { card, dest, answers, unreached, took_ms } = asked?;
        if sweep::needs_ear(sweep) {
            if !self.listens_to(sweep) {
                return Err("a reset from a port that nobody serves looks like a refusal".to_owned());
            }
            listening.hears(sweep.protocol, dest)?;
        }
        let card = &cards[card];
        let mut swept = sweep::judge(sweep, &answers, &heard.ports(sweep.protocol, sweep.source, card));
        match (swept.judgement.verdict, self.which) {
            (Verdict::Holds, _) => swept.judgement = unreached.unwrap_or(swept.judgement),
            (Verdict::Fails, Which::Bundle) => {
                let evidence = blames.get_or_insert_with(|| self.evidence());
                sweep::blame(sweep, card, &mut swept, evidence);
            }
            // On the bare image everything is wrong, and nobody is to blame.
            (Verdict::Fails, Which::Control) => {
                swept.judgement.seen = format!("{} ports are otherwise", swept.wrong.len());
            }
            (Verdict::Unknown, _) => {}
        }
        swept.judgement.took_ms = took_ms;
        Ok(swept)
    }

    fn keep_swept(&mut self, at: usize, swept: Result<Swept, String>, judged: &mut Kept, again: bool) {
        let judgement = match swept {
            Err(why) => Judgement::unknown(why),
            Ok(Swept { judgement, seen, .. }) => {
                if !again {
                    self.seen.pictures.push(Picture { proof: at, seen });
                }
                judgement
            }
        };
        self.keep(at, judgement, judged, again);
    }

    // `before` is a script that must run first, and costs less in the same breath.
    fn outbound(&mut self, now: &[(usize, &Proof)], before: &str, judged: &mut Kept, again: bool) -> Result<()> {
        let outbound = of(now, |c| if let Check::Outbound(outbound) = c { Some(outbound) } else { None });
        let mut before = Some(before).filter(|script| !script.is_empty());
        for wave in sweep::waves(outbound) {
            let these: Vec<&Outbound> = wave.iter().map(|(_, o)| *o).collect();
            self.lans.iter().for_each(crate::prove::wire::Lan::forget_flows);
            let script = [before.take().unwrap_or_default(), &sweep::begin(&these)].concat();
            let tried = self.run(&script, SMALL)?;
            let seen: Vec<_> = self.lans.iter().flat_map(crate::prove::wire::Lan::capture).collect();
            for (number, (at, outbound)) in wave.into_iter().enumerate() {
                let judgement = match sweep::begun(&tried, number) {
                    Ok(()) => sweep::left(outbound, &seen),
                    Err(why) => Judgement::unknown(why),
                };
                self.keep(at, judgement, judged, again);
            }
        }
        if let Some(script) = before {
            self.run(script, SMALL)?;
        }
        Ok(())
    }
}
