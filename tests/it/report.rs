//! Reports of outcomes that no machine had to be booted for.

mod markup;

use crate::support::{bake, good, root};
use hardtack::plan::net::{Ports, Protocol};
use hardtack::plan::proof::{Boot, Check, Knock, Moment, Proof, Reaction, Since, Sweep, When, Window};
use hardtack::plan::sabotage::sabotages;
use hardtack::plan::wire;
use hardtack::prove::event::Event;
use hardtack::prove::judge::sweep::{Run, Tone};
use hardtack::prove::judge::window::{Band, Mark, Timeline};
use hardtack::prove::qemu::Accelerator;
use hardtack::prove::reporter::human::Human;
use hardtack::prove::reporter::{Format, Reported, Subject};
use hardtack::prove::run::hunt::{Fate, Score, Tried};
use hardtack::prove::run::{Judged, Outcome, Phase, Picture};
use hardtack::prove::verdict::{Judgement, Verdict};
use markup::{Piece, read};
use std::net::IpAddr;
use std::path::Path;

/// Nothing of it may become markup, be hidden, or turn text around.
const HOSTILE: &str = "</td></desc></failure><script>alert(1)</script><img src=x onerror='y'>\" onload=\"z\" ]]><![CDATA[ &lt; &nbsp \u{1b}[31m\u{0}\u{202e}\u{ffff}-->";

fn subject(machine: &str) -> Subject {
    Subject {
        spec: format!("fleet/{machine}.yaml"),
        machine: machine.to_owned(),
        image: "debian-12".to_owned(),
        delivery: "cloud-init".to_owned(),
        bundle_sha256: "2db880a47e5d6b7098223f004c2fc1c59bedeab2a3e383d8c62fe3b5163c8672".to_owned(),
        templates: vec!["firewall/gate.sh".to_owned()],
    }
}

/// What comes back where all is as declared, and nothing listens but at the lowest port that is let in.
fn as_declared(sweep: &Sweep) -> Vec<Run> {
    let shut = if sweep.shut == Reaction::Refused { Tone::Refused } else { Tone::Silent };
    let first = sweep.open.iter().map(|p| p.first).min();
    let mut runs: Vec<Run> = Vec::new();
    for port in sweep.ports() {
        let tone = match (sweep.lets_in(port), sweep.protocol) {
            (true, Protocol::Tcp) if Some(port) == first => Tone::Open,
            (true, Protocol::Tcp) => Tone::Refused,
            (true, Protocol::Udp) => Tone::Silent,
            (false, _) => shut,
        };
        match runs.last_mut() {
            Some(run) if run.tone == tone && run.ports.last + 1 == port => run.ports.last = port,
            _ => runs.push(Run { ports: Ports::one(port), tone }),
        }
    }
    runs
}

fn phases() -> Vec<Phase> {
    [("boot", 112.9), ("inside", 19.3), ("wire", 19.2), ("reboot", 102.3)]
        .map(|(name, cpu_seconds)| Phase { name: name.to_owned(), cpu_seconds })
        .to_vec()
}

fn timeline(boot: Boot, bands: Vec<Band>) -> Timeline {
    let marks = [
        ("firewall", 30_625),
        ("network-pre", 30_810),
        ("sshd", 38_500),
        ("open", 52_000),
        ("cloud-init done", 58_252),
    ]
    .map(|(what, at_ms)| Mark { what: what.to_owned(), at_ms })
    .to_vec();
    let exposed_ms = bands.iter().map(|b| b.exposed_ms).sum();
    let (ports, turns) = (26, Some(3));
    Timeline {
        boot,
        length_ms: 60_123,
        every_ms: 100,
        rounds: 475,
        ports,
        turns,
        exposed_ms,
        ungated_ms: None,
        marks,
        bands,
    }
}

fn tcg() -> Accelerator {
    Accelerator::Tcg { why: "/dev/kvm exists, but the processor shows neither vmx nor svm".to_owned() }
}

fn band(source: IpAddr, port: u16, since: Since, tone: Tone, first_ms: u64, last_ms: u64, exposed_ms: u64) -> Band {
    Band { source, interface: None, port, since, tone, first_ms, last_ms, every_ms: 100, exposed_ms }
}

/// A whole machine, of which every proof holds.
fn whole() -> Outcome {
    let text = std::fs::read_to_string(root().join("tests/specs/other.yaml")).unwrap();
    let (_, mut proofs) = bake(&text, None, &|_| {});
    let (_, _, plan) = good(&text, None);
    proofs.extend(wire::windows(plan.filter.as_ref().unwrap(), false));
    let judged: Vec<Judged> = proofs
        .into_iter()
        .enumerate()
        .map(|(at, proof)| Judged {
            judgement: Judgement { verdict: Verdict::Holds, seen: "as the spec says".to_owned(), took_ms: 1215 },
            again: (!matches!(proof.check, Check::Window(_))).then(|| Judgement::seen(true, "as the spec says")),
            control: Some(Judgement::seen(at % 3 == 0, "on the bare image")),
            proof,
        })
        .collect();
    let pictures = judged
        .iter()
        .enumerate()
        .filter_map(|(proof, j)| match &j.proof.check {
            Check::Sweep(sweep) => Some(Picture { proof, seen: as_declared(sweep) }),
            _ => None,
        })
        .collect();
    let office = IpAddr::from([10, 20, 0, 205]);
    let bands = || {
        vec![
            band(office, 2222, Since::Gate, Tone::Refused, 31_000, 38_400, 0),
            band(office, 2222, Since::Gate, Tone::Open, 38_500, 60_000, 0),
            band(office, 5432, Since::Open, Tone::Refused, 52_100, 60_000, 0),
        ]
    };
    let timelines = vec![timeline(Boot::First, bands()), timeline(Boot::Second, bands())];
    Outcome {
        accelerator: tcg(),
        judged,
        pictures,
        timelines,
        cpu_seconds: 328.11,
        phases: phases(),
        control_phases: Vec::new(),
        warm: false,
        console: vec!["hardtack: sealed: d1".to_owned()],
        identity: Vec::new(),
        left: Vec::new(),
    }
}

fn named<'a>(outcome: &'a mut Outcome, id: &str) -> (usize, &'a mut Judged) {
    let at = outcome.judged.iter().position(|j| j.proof.id == id).unwrap_or_else(|| panic!("there is no {id}"));
    (at, &mut outcome.judged[at])
}

/// The same machine with a stray port, one too few, half a second of exposure, what fails after the reboot, and what was not told.
fn spoilt() -> Outcome {
    let mut outcome = whole();
    let stray = "8080/tcp from 203.0.113.7 is open: `/usr/bin/python3 -m http.server 8080` (process 733, stray.service) listens, let in by \
        `iptables -A INPUT -p tcp -m tcp --dport 8080 -j ACCEPT`";
    let (far, judged) = named(&mut outcome, "firewall/sweep-tcp-203.0.113.7");
    judged.judgement = Judgement::seen(false, stray);
    judged.again = Some(Judgement::seen(false, stray));
    let (office, judged) = named(&mut outcome, "firewall/sweep-tcp-10.20.0.205");
    judged.judgement = Judgement::seen(false, "5432/tcp from 10.20.0.205 is let in by the spec and kept out");
    let (lost, judged) = named(&mut outcome, "firewall/sweep-tcp-fe80::77");
    judged.judgement = Judgement::unknown("the barrier was lost, at port 40000");
    judged.again = Some(Judgement::unknown("the barrier was lost, at port 40000"));
    let (_, judged) = named(&mut outcome, "accounts/root-locked");
    judged.again = Some(Judgement::seen(false, "password P, 0 keys, in root"));
    let (_, judged) = named(&mut outcome, "firewall/echo-203.0.113.7");
    judged.judgement = Judgement::seen(false, "silent");
    let (_, judged) = named(&mut outcome, "firewall/window-first-boot");
    judged.judgement =
        Judgement::seen(false, "500 ms of exposure: 8080/tcp was open to 203.0.113.7 from 31000 to 31400 ms");
    let (_, judged) = named(&mut outcome, "ssh/running");
    judged.judgement = Judgement::unknown("the machine was asked and said nothing");
    judged.control = None;
    let one = |first, last, tone| Run { ports: Ports { first, last }, tone };
    for picture in &mut outcome.pictures {
        if picture.proof == far {
            picture.seen =
                vec![one(1, 8079, Tone::Silent), one(8080, 8080, Tone::Open), one(8081, 65_535, Tone::Silent)];
        } else if picture.proof == office {
            picture.seen =
                vec![one(1, 2221, Tone::Silent), one(2222, 2222, Tone::Open), one(2223, 65_535, Tone::Silent)];
        } else if picture.proof == lost {
            picture.seen = vec![
                one(1, 39_999, Tone::Silent),
                one(40_000, 41_000, Tone::Unknown),
                one(41_001, 65_535, Tone::Silent),
            ];
        }
    }
    let stray = band(IpAddr::from([203, 0, 113, 7]), 8080, Since::Never, Tone::Open, 31_000, 31_400, 500);
    outcome.timelines[0].bands.insert(0, stray);
    outcome.timelines[0].exposed_ms = 500;
    outcome
}

fn pieces(format: Format, runs: &[Reported]) -> Vec<Piece> {
    let file = format.write(runs);
    assert_eq!(file, format.write(runs), "the same outcome is the same bytes");
    read(&file).unwrap_or_else(|e| panic!("{format:?}: {e}"))
}

fn tags<'a>(pieces: &'a [Piece], name: &str) -> Vec<&'a [(String, String)]> {
    let of = |p: &'a Piece| if let Piece::Tag(tag, of) = p { (tag == name).then_some(of.as_slice()) } else { None };
    pieces.iter().filter_map(of).collect()
}

fn value<'a>(attributes: &'a [(String, String)], name: &str) -> &'a str {
    attributes.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value)
}

fn text(pieces: &[Piece]) -> String {
    pieces.iter().filter_map(|p| if let Piece::Text(text) = p { Some(text.as_str()) } else { None }).collect()
}

/// Nothing is loaded, nothing is run, and every reference stays in the page.
fn inert(page: &[Piece]) {
    for piece in page {
        let Piece::Tag(tag, attributes) = piece else { continue };
        assert!(
            !["script", "img", "iframe", "link", "object", "embed", "base", "form"].contains(&tag.as_str()),
            "{tag}"
        );
        for (name, value) in attributes {
            assert!(!name.starts_with("on") && !["src", "style", "srcdoc"].contains(&name.as_str()), "{tag} {name}");
            assert!(name != "href" || value.starts_with('#'), "{tag} {value}");
        }
    }
    let ids: Vec<&str> = page
        .iter()
        .filter_map(|p| if let Piece::Tag(_, of) = p { Some(value(of, "id")) } else { None })
        .filter(|id| !id.is_empty())
        .collect();
    assert_eq!(ids.iter().collect::<std::collections::BTreeSet<_>>().len(), ids.len(), "an anchor stands twice");
    for link in tags(page, "a") {
        assert!(ids.contains(&&value(link, "href")[1..]), "{link:?} leads nowhere");
    }
}

#[test]
fn every_proof_is_a_case_and_what_is_not_told_is_not_green() {
    let runs = [(subject("db-7"), Ok(spoilt()))];
    let xml = pieces(Format::Junit, &runs);
    let (holds, fails, unknown) = runs[0].1.as_ref().unwrap().counts();
    assert_eq!((fails, unknown), (5, 2));
    let all = tags(&xml, "testsuites")[0];
    assert_eq!(
        ["tests", "failures", "errors"].map(|n| value(all, n).parse::<usize>().unwrap()),
        [holds + fails + unknown, fails, unknown]
    );
    let sum = |name: &str| -> usize {
        tags(&xml, "testsuite").iter().map(|s| value(s, name).parse::<usize>().unwrap()).sum()
    };
    assert_eq!(["tests", "failures", "errors", "skipped"].map(sum), [holds + fails + unknown, fails, unknown, 0]);
    assert_eq!(
        (tags(&xml, "failure").len(), tags(&xml, "error").len(), tags(&xml, "skipped").len()),
        (fails, unknown, 0)
    );
    let cases = tags(&xml, "testcase");
    for judged in &runs[0].1.as_ref().unwrap().judged {
        let case = cases.iter().filter(|c| value(c, "name") == judged.proof.id);
        assert_eq!(case.count(), 1, "{}", judged.proof.id);
    }
    assert!(cases.iter().any(|c| value(c, "time") == "1.215"), "seconds");
    assert!(cases.iter().all(|c| value(c, "classname").starts_with("fleet/db-7.yaml.debian-12.cloud-init.")));
    let bad = tags(&xml, "failure").into_iter().map(|f| value(f, "message")).find(|m| m.contains("stray.service"));
    assert!(bad.is_some(), "a failure says what was seen");
    assert!(text(&xml).contains("after the reboot: fails, seen: password P"), "and at which boot");
}

#[test]
fn the_page_shows_every_proof_and_both_pictures() {
    for outcome in [whole(), spoilt()] {
        let page = pieces(Format::Html, &[(subject("db-7"), Ok(outcome.clone()))]);
        inert(&page);
        let shown = text(&page);
        for judged in &outcome.judged {
            assert!(
                shown.contains(&judged.proof.id) && shown.contains(&judged.proof.refs.join(", ")),
                "{}",
                judged.proof.id
            );
        }
        assert!(tags(&page, "th").iter().all(|th| ["col", "row"].contains(&value(th, "scope"))));
        let pictures = tags(&page, "svg").into_iter().filter(|s| value(s, "role") == "img").count();
        assert_eq!((pictures, tags(&page, "desc").len()), (4, 4), "TCP, UDP and two boots");
    }
    let all = whole().judged.len();
    let good = text(&pieces(Format::Html, &[(subject("db-7"), Ok(whole()))]));
    assert!(
        good.contains(&format!("All {all} proofs hold."))
            && good.contains("0 ms of exposure")
            && !good.contains("What fails")
            && !good.contains("What the bundle said")
    );
    assert!(good.contains(
        "From 10.20.0.205: 2222 let in as declared; something answers, 5432 let in as declared; nothing listens."
    ));
    assert!(good.contains("about ten times slower than KVM"));
    let bad = text(&pieces(Format::Html, &[(subject("db-7"), Ok(spoilt()))]));
    assert!(bad.contains(&format!("Of {all} proofs, {} hold, 5 fail, 2 could not be told.", all - 7)));
    assert!(bad.contains("8080/tcp from 203.0.113.7: answers and is not declared"), "the cell");
    assert!(bad.contains("5432/tcp from 10.20.0.205: declared and not seen"), "the cell");
    assert!(bad.contains("40000-41000/tcp from fe80::77: could not be told"), "the cell");
    assert!(bad.contains("500 ms exposed") && bad.contains("500 ms of exposure"));
    assert!(bad.contains("What the bundle said on the console") && bad.contains("hardtack: sealed: d1"));
    // A terminal shows it under the same condition, and programs get it always.
    let terminal = |outcome: &Outcome| Human::new(&[], false, false).summary("debian-12", outcome);
    assert!(terminal(&spoilt()).contains("\nWhat the bundle said on the console:\n    hardtack: sealed: d1\n"));
    assert!(!terminal(&whole()).contains("What the bundle said"));
    assert!(Format::Json.write(&[(subject("db-7"), Ok(whole()))]).contains("\"hardtack: sealed: d1\""));
    let places =
        ["What fails", "What could not be told, and why", "The wire", "Every proof"].map(|s| bad.find(s).unwrap());
    assert!(places.is_sorted(), "what is wrong stands first");
}

#[test]
fn what_a_guest_or_a_spec_says_stays_a_word() {
    let mut outcome = spoilt();
    let hostile = || Judgement { verdict: Verdict::Fails, seen: HOSTILE.to_owned(), took_ms: u64::MAX };
    for judged in &mut outcome.judged {
        let at = judged.proof.id.clone();
        judged.proof.id = format!("{at}{HOSTILE}");
        judged.proof.hurdle.push_str(HOSTILE);
        judged.proof.refs = vec![HOSTILE.to_owned()];
        judged.proof.statement = HOSTILE.to_owned();
        judged.judgement = hostile();
        judged.again = Some(hostile());
        judged.control = Some(Judgement::unknown(HOSTILE));
        if let Check::Sweep(sweep) = &mut judged.proof.check {
            sweep.interface = Some(HOSTILE.to_owned());
        }
    }
    for t in &mut outcome.timelines {
        t.marks = vec![Mark { what: HOSTILE.to_owned(), at_ms: u64::MAX }; 100];
        t.bands.iter_mut().for_each(|b| (b.first_ms, b.last_ms, b.exposed_ms) = (u64::MAX, u64::MAX, u64::MAX / 8));
        t.bands.iter_mut().for_each(|b| b.interface = Some(HOSTILE.to_owned()));
        t.length_ms = 0;
    }
    outcome.accelerator = Accelerator::Tcg { why: HOSTILE.to_owned() };
    outcome.console = vec![HOSTILE.to_owned()];
    outcome.phases.iter_mut().for_each(|p| p.name = HOSTILE.to_owned());
    let subject = Subject {
        spec: HOSTILE.to_owned(),
        machine: HOSTILE.to_owned(),
        image: HOSTILE.to_owned(),
        delivery: HOSTILE.to_owned(),
        bundle_sha256: HOSTILE.to_owned(),
        templates: vec![HOSTILE.to_owned()],
    };
    let seen = HOSTILE
        .replace('\u{1b}', "\\u{1b}")
        .replace('\0', "\\u{0}")
        .replace('\u{202e}', "\\u{202e}")
        .replace('\u{ffff}', "\\u{ffff}");
    let runs = [(subject.clone(), Ok(outcome.clone())), (subject, Ok(outcome))];
    let page = pieces(Format::Html, &runs[..1]);
    inert(&page);
    assert!(text(&page).contains(&seen), "it is shown as it is");
    assert!(read(&Format::Html.write(&runs)).is_ok());
    let xml = pieces(Format::Junit, &runs);
    assert!(tags(&xml, "failure").iter().all(|f| value(f, "message") == seen));
    assert_eq!(tags(&xml, "script").len(), 0);
}

#[test]
fn ports_without_end_still_make_a_picture() {
    let mut outcome = whole();
    let (at, _) = named(&mut outcome, "firewall/sweep-tcp-203.0.113.7");
    let tone = |port| if port % 2 == 0 { Tone::Open } else { Tone::Silent };
    let every_other = (1..=u16::MAX).map(|port| Run { ports: Ports::one(port), tone: tone(port) }).collect();
    outcome.pictures.iter_mut().find(|p| p.proof == at).unwrap().seen = every_other;
    let page = Format::Html.write(&[(subject("db-7"), Ok(outcome))]);
    inert(&read(&page).unwrap());
    assert!(page.len() < 400_000, "{}", page.len());
    assert!(page.contains("answers and is not declared"), "the worst of a column is what it shows");
}

#[test]
fn several_machines_are_one_report() {
    let runs = [(subject("db-7"), Ok(whole())), (subject("web01"), Ok(spoilt()))];
    let page = pieces(Format::Html, &runs);
    inert(&page);
    assert!(text(&page).contains("2 machines") && tags(&page, "h1").len() == 1);
    let xml = pieces(Format::Junit, &runs);
    let all = runs[0].1.as_ref().unwrap().judged.len();
    assert_eq!(tags(&xml, "testcase").len(), 2 * all);
    let json: serde_json::Value = serde_json::from_str(&Format::Json.write(&runs)).unwrap();
    assert_eq!((json["format"].as_u64(), json["runs"][1]["machine"].as_str()), (Some(1), Some("web01")));
    assert_eq!(json["runs"][1]["summary"]["fails"], 5);
    // One machine is what it always was.
    let one: serde_json::Value = serde_json::from_str(&Format::Json.write(&runs[..1])).unwrap();
    assert_eq!(one, json["runs"][0]);
    assert_eq!(one["summary"], serde_json::json!({ "holds": all, "fails": 0, "unknown": 0 }));
}

#[test]
fn a_run_that_could_not_be_run_is_nowhere_green() {
    for runs in [
        vec![(subject("db-7"), Err(HOSTILE.to_owned()))],
        vec![(subject("web01"), Ok(whole())), (subject("db-7"), Err(HOSTILE.to_owned()))],
    ] {
        let xml = pieces(Format::Junit, &runs);
        let all = tags(&xml, "testsuites")[0];
        assert_eq!((tags(&xml, "error").len(), value(all, "errors")), (1, "1"));
        assert_eq!(value(all, "tests").parse(), Ok(tags(&xml, "testcase").len()));
        let page = pieces(Format::Html, &runs);
        inert(&page);
        let shown = text(&page);
        assert!(shown.contains("Could not be run") && shown.contains("<script>alert(1)</script>"));
        assert_eq!(shown.contains("Proved"), runs.len() == 2);
        let json: serde_json::Value = serde_json::from_str(&Format::Json.write(&runs)).unwrap();
        let run = if runs.len() == 1 { &json } else { &json["runs"][1] };
        assert_eq!((run["trouble"].as_str(), run["summary"].is_null()), (Some(HOSTILE), true));
    }
    // No proofs at all prove nothing either.
    let none = Outcome { judged: Vec::new(), pictures: Vec::new(), ..whole() };
    assert!(!text(&pieces(Format::Html, &[(subject("db-7"), Ok(none))])).contains("Proved"));
}

// Small enough to be read whole.
fn small() -> Outcome {
    let far = IpAddr::from([203, 0, 113, 7]);
    let proof = |what: &str, refs: &[&str], statement: &str, check| {
        Proof::new(what.split('/').next().unwrap(), &what[what.find('/').unwrap() + 1..], refs, statement, check)
    };
    let sweep = Sweep {
        source: far,
        interface: None,
        protocol: Protocol::Tcp,
        open: vec![Ports::one(22)],
        declared: Vec::new(),
        shut: Reaction::Silent,
        witness: None,
    };
    let knock = Knock {
        source: far,
        interface: Some("eth0".to_owned()),
        protocol: Protocol::Udp,
        port: 53,
        wanted: Reaction::Silent,
    };
    let moment = Moment { source: far, interface: None, port: 22, since: Since::Gate, shut: Reaction::Silent };
    let window =
        |boot| Check::Window(Window { boot, knocks: vec![moment.clone()], from_gate: false, declared: Vec::new() });
    let script = || Check::Script { script: "true".to_owned() };
    let after =
        Proof { when: When::AfterReboot, ..proof("boot/argument", &[], "the kernel was started with it", script()) };
    let judged = |proof, judgement, again, control| Judged { proof, judgement, again, control };
    let seen = |holds, what: &str| Judgement::seen(holds, what);
    Outcome {
        accelerator: tcg(),
        control_phases: Vec::new(),
        warm: false,
        console: vec!["hardtack-firewall: only ssh may come in".to_owned()],
        identity: Vec::new(),
        left: Vec::new(),
        judged: vec![
            judged(
                proof("firewall/sweep", &["R9", "CIS 4.1"], "203.0.113.7 reaches 22 and no other", Check::Sweep(sweep)),
                seen(false, "8080/tcp is open: `python3` listens"),
                Some(seen(true, "22 answer, no other")),
                Some(seen(false, "1 ports are otherwise")),
            ),
            judged(
                proof("firewall/knock", &["R11"], "53/udp is kept out", Check::Wire(knock)),
                Judgement::unknown("the machine has no network card eth0 here"),
                None,
                Some(seen(true, "silent")),
            ),
            judged(
                proof("firewall/window", &["R10"], "nothing answers too early", window(Boot::First)),
                seen(true, "0 ms"),
                None,
                None,
            ),
            judged(
                proof("firewall/again", &["R10"], "nor after a reboot", window(Boot::Second)),
                seen(true, "0 ms"),
                None,
                None,
            ),
            judged(after, Judgement::unknown("the machine was not started again"), Some(seen(true, "it was")), None),
        ],
        pictures: vec![Picture {
            proof: 0,
            seen: [
                (1, 21, Tone::Silent),
                (22, 22, Tone::Open),
                (23, 8079, Tone::Silent),
                (8080, 8080, Tone::Open),
                (8081, 65_535, Tone::Silent),
            ]
            .map(|(first, last, tone)| Run { ports: Ports { first, last }, tone })
            .to_vec(),
        }],
        timelines: vec![timeline(
            Boot::First,
            vec![
                band(far, 22, Since::Gate, Tone::Open, 38_500, 60_000, 0),
                band(far, 80, Since::Open, Tone::Refused, 51_000, 59_000, 1000),
            ],
        )],
        cpu_seconds: 253.7,
        phases: phases(),
    }
}

#[test]
fn a_small_outcome_looks_as_it_was_read_before() {
    let update = std::env::var_os("UPDATE").is_some();
    let runs = [(subject("web01"), Ok(small()))];
    for (format, name) in [(Format::Html, "report.html"), (Format::Junit, "report.xml")] {
        let file = format.write(&runs).replace(env!("CARGO_PKG_VERSION"), "VERSION");
        // How it is styled is for the eye.
        let drawn = match (file.find("<style>"), file.find("</style>")) {
            (Some(from), Some(to)) => format!("{}{}", &file[..from], &file[to + 8..]),
            _ => file,
        };
        let golden = root().join("tests/golden").join(name);
        if update {
            std::fs::write(&golden, &drawn).unwrap();
        } else {
            assert!(
                std::fs::read_to_string(&golden).ok().as_deref() == Some(&drawn),
                "{name} is otherwise; see with UPDATE=1 and git diff"
            );
        }
    }
    assert!(!update, "rewritten; read the diff, and run again without UPDATE");
}

#[test]
fn the_head_of_a_page_says_what_it_came_to() {
    // The pages stay in target/tmp/report-*.html, to be opened in a browser.
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for (name, runs) in [
        ("good", vec![(subject("db-7"), Ok(whole()))]),
        ("bad", vec![(subject("db-7"), Ok(spoilt()))]),
        ("several", vec![(subject("db-7"), Ok(whole())), (subject("web01"), Ok(small()))]),
    ] {
        let file = folder.join(format!("report-{name}.html"));
        let page = Format::Html.write(&runs);
        assert_eq!(page.contains("Not proved"), name != "good", "{name}");
        std::fs::write(&file, page).unwrap();
        std::fs::write(file.with_extension("xml"), Format::Junit.write(&runs)).unwrap();
    }
}

#[test]
fn a_hunt_says_what_was_caught_and_what_survived() {
    let text = std::fs::read_to_string(root().join("tests/specs/sysctl.yaml")).unwrap();
    let (_, _, plan) = good(&text, None);
    let two: Vec<_> = sabotages(&plan).into_iter().take(2).collect();
    let human = Human::new(&[], false, false);
    let caught_by = [("sysctl/kernel.dmesg_restrict", "it is 0"), ("sysctl/all", "one is otherwise")];
    let caught = Fate {
        tried: Tried::Live,
        caught_by: caught_by.map(|(id, seen)| (id.to_owned(), seen.to_owned())).into(),
        meant_for: None,
    };
    let meant_for = Some("sysctl/kernel.kptr_restrict".to_owned());
    let survivor = Fate { tried: Tried::Boot, caught_by: Vec::new(), meant_for };
    let said = |id: &str, done, fate: &Fate| {
        let (id, what) = (id.to_owned(), "the value is 0".to_owned());
        human.event(&Event::Sabotaged { id, what, done, of: 2, fate: fate.clone() })
    };
    assert_eq!(
        said("flip dmesg", 1, &caught),
        "caught   1/2 flip dmesg: the value is 0\n               by sysctl/kernel.dmesg_restrict and 1 more: it is 0\n"
    );
    assert_eq!(
        said("flip kptr", 2, &survivor),
        "SURVIVED 2/2 flip kptr: the value is 0\n               meant for sysctl/kernel.kptr_restrict\n"
    );
    let score = Score { fates: vec![caught, survivor], boots: 2, cpu_seconds: 251.6 };
    let list = format!("    {}: {} (meant for sysctl/kernel.kptr_restrict)\n", two[1].id, two[1].what);
    assert_eq!(
        human.score("debian-12", &two, &score),
        format!(
            "\nSurvived, so their proofs cannot fail:\n{list}\ndebian-12: 1 of 2 sabotages were caught, 50 %; 1 on a running \
             machine, 1 by a boot of their own; 2 boots, 252 CPU s\n"
        )
    );
    // Of all that were caught, nobody survived.
    let score = Score { fates: score.fates[..1].to_vec(), boots: 1, cpu_seconds: 90.0 };
    assert_eq!(
        human.score("debian-12", &two[..1], &score),
        "\ndebian-12: 1 of 1 sabotages were caught, 100 %; 1 on a running machine, 0 by a boot of their own; 1 boots, 90 CPU s\n"
    );
}

#[test]
fn the_end_says_what_was_asked_and_what_the_machine_ran_on() {
    let proofs: Vec<Proof> = small().judged.into_iter().map(|j| j.proof).collect();
    let said = Human::new(&proofs, false, false).summary("debian-12", &small());
    let wanted = "\nfirst boot, watched from the wire for 60 s, 26 TCP ports every 100 ms, all others that no rule names 3 times: \
        1000 ms of exposure\n\
        \x20     30625 ms  firewall\n\
        \x20     30810 ms  network-pre\n\
        \x20     38500 ms  sshd\n\
        \x20     52000 ms  open\n\
        \x20     58252 ms  cloud-init done\n\
        \x20     51000 ms  80/tcp answers first  before its stage\n\
        \x20     38500 ms  22/tcp answers first\n\n\
        debian-12: 3 hold, 1 fail, 1 could not be told; 254 CPU s\n\
        accelerator: TCG, about ten times slower than KVM: /dev/kvm exists, but the processor shows neither vmx nor svm\n\
        reboot: 2 of them were judged again after one\n\
        control: on the bare image 1 of them fail, 1 are already so\n";
    assert_eq!(said.find("\nfirst boot").map(|at| &said[at..]), Some(wanted));
    let json: serde_json::Value =
        serde_json::from_str(&Format::Json.write(&[(subject("web01"), Ok(small()))])).unwrap();
    assert_eq!(
        ["format", "accelerator", "accelerator_why", "start"].map(|key| json[key].to_string()),
        ["1", "\"tcg\"", "\"/dev/kvm exists, but the processor shows neither vmx nor svm\"", "\"cold\""]
    );
    assert_eq!((&json["timelines"][0]["turns"], &json["timelines"][0]["ports"]), (&3.into(), &26.into()));
    // Of one with 65,000 ports open not all are told one by one.
    let mut open = small();
    let far = IpAddr::from([203, 0, 113, 7]);
    let stray = |port| Band { every_ms: 16_400, ..band(far, port, Since::Never, Tone::Open, 31_000, 31_000, 100) };
    open.timelines[0].bands.extend((1000..9000).map(stray));
    let said = Human::new(&proofs, false, false).summary("debian-12", &open);
    assert!(said.contains("at least 1000 ms of exposure\n") && said.contains("    and 7962 ports more\n"), "{said}");
    let page = text(&pieces(Format::Html, &[(subject("web01"), Ok(open))]));
    assert!(page.contains("1000/tcp from 203.0.113.7: open from 31.00 s to 31.00 s, asked every 16.40 s"));
}
