//! A person's own files, commands and proofs, as strictly as ours.

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::listener::Listener;
use crate::plan::name::{AbsolutePath, GroupName, InputFile, ServiceName, UserName};
use crate::plan::proof::{Check, Knock, Proof, Reaction};
use crate::plan::{File, LIB, Plan, STATE, Stage, net};
use crate::report::{Fault, FromText, Lint, Report, Severity, Span, shown};
use crate::template::{Template, render};
use crate::yaml::{Described, Spanned};
use crate::{choice, section, template};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;

section! {
    /// Files, commands and proofs of your own.
    pub struct Files as "files" {
        /// Files that will lie on the machine.
        put: Vec<Spanned<OwnFile>> = Vec::new(), or "none";
        /// Commands of the first boot, in this order.
        run: Vec<Spanned<OwnCommand>> = Vec::new(), or "none";
        /// What must be seen on the booted machine, beside what the hurdles bring.
        proofs: Vec<Spanned<OwnProof>> = Vec::new(), or "none";
    }
}

section! {
    /// A file of your own. It is there before sshd starts.
    pub struct OwnFile as "a file" {
        /// Where it lies.
        path: Spanned<AbsolutePath>;
        /// What is in it.
        text: Option<Spanned<Text>> = None, or "what is in `from`";
        /// A file beside the spec that has it.
        from: Option<Spanned<InputFile>> = None, or "`text`";
        /// Permission bits in octal, in quotes.
        mode: Spanned<Mode> = Spanned::default_of(Mode(0o644)), or "\"0644\"";
        /// Whose it is: `NAME` or `NAME:GROUP`. Both must be there when the first boot applies it.
        owner: Spanned<Owner> = Spanned::default_of(Owner("root:root".to_owned())), or "root:root";
        /// What its holes are filled with, `{{ values.NAME }}` beside `{{ name }}` and `{{ image }}`: quoted as the ending of its path
        /// asks, `.sh`, `.conf`, `.service`, `.timer`, `.rules`, `.nft`; as they are where it has another one. Without this key it has no
        /// holes.
        values: Option<BTreeMap<String, Text>> = None, or "it is taken as it stands";
    }
}

section! {
    /// A command of your own: a script for /bin/sh, run by root. It may run twice, where a first boot was cut short.
    pub struct OwnCommand as "a command" {
        /// What it is called where it fails.
        name: Spanned<ServiceName>;
        /// The script.
        text: Option<Spanned<Text>> = None, or "what is in `from`";
        /// A file beside the spec that has it.
        from: Option<Spanned<InputFile>> = None, or "`text`";
        /// `apply`: while only ssh is let in, and again with the network where there was none. `open`: when all that has succeeded.
        stage: Spanned<When> = Spanned::default_of(When::Apply), or "apply";
    }
}

section! {
    /// A proof of your own: a script on the machine, or a port seen from outside.
    pub struct OwnProof as "a proof" {
        /// What it is called: `files/NAME`.
        name: Spanned<ServiceName>;
        /// What holds, as a sentence without full stop.
        statement: Spanned<Sentence>;
        /// A script for /bin/sh, run by root: it holds when that ends with 0, its last line says what was seen, and 75 says that it could
        /// not tell.
        script: Option<Spanned<Text>> = None, or "none: `port` is knocked on";
        /// A port that is knocked on: `8080/tcp`.
        port: Option<Spanned<Listener>> = None, or "none: `script` is run";
        /// Where the knock comes from: an address.
        from: Option<Spanned<Address>> = None, or "an address that no list names, far away";
        /// What must come back: `open`, `silent`, `refused`, or `shut`, which is either.
        answer: Spanned<Answer> = Spanned::default_of(Answer::Open), or "open";
    }
}

choice! {
    /// When a command runs.
    pub enum When as "a stage" {
        /// While only ssh is let in.
        Apply => "apply",
        /// When all that has succeeded.
        Open => "open",
    }
}

choice! {
    /// What comes back to a knock.
    pub enum Answer as "an answer" {
        /// Something listens.
        Open => "open",
        /// Nothing comes back.
        Silent => "silent",
        /// A refusal comes back.
        Refused => "refused",
        /// One of both.
        Shut => "shut",
    }
}

/// Text of a file or a script, of any number of lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text(String);

impl FromText for Text {
    const WHAT: &'static str = "a text";
    const NUMBERS: bool = true;
    fn from_text(text: &str) -> Result<Self, Fault> {
        // What no editor shows is a mistake in a spec; a file beside it may hold it.
        match text.chars().find(|c| c.is_control() && !matches!(c, '\n' | '\t')) {
            None => Ok(Text(text.to_owned())),
            Some(c) => Err(Fault::new(format!("this text holds U+{:04X}, which nobody sees", u32::from(c)))
                .help("take it out, or put the text into a file and name that in `from`")),
        }
    }
}

/// One line for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sentence(String);

impl FromText for Sentence {
    const WHAT: &'static str = "a sentence";
    fn from_text(text: &str) -> Result<Self, Fault> {
        if (1..=200).contains(&text.len()) && !text.chars().any(crate::report::is_unseen) {
            return Ok(Sentence(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not a sentence", shown(text))).help("write one line, at most 200 characters"))
    }
}

/// Permission bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode(u32);

impl FromText for Mode {
    const WHAT: &'static str = "permission bits in octal, in quotes";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let octal = matches!(text.len(), 3 | 4) && text.bytes().all(|b| (b'0'..=b'7').contains(&b));
        match u32::from_str_radix(text, 8) {
            Ok(mode) if octal => Ok(Mode(mode)),
            _ => Err(Fault::new(format!("`{}` is no mode of a file", shown(text)))
                .help("write it in octal, in quotes: \"0644\"")),
        }
    }
}

/// An account and a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owner(String);

impl FromText for Owner {
    const WHAT: &'static str = "an owner";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let (user, group) = text.split_once(':').unwrap_or((text, text));
        match (UserName::from_text(user), GroupName::from_text(group)) {
            (Ok(user), Ok(group)) => Ok(Owner(format!("{user}:{group}"))),
            _ => Err(Fault::new(format!("`{}` is no owner of a file", shown(text)))
                .help("write an account, or an account and a group: shop:www-data")),
        }
    }
}

/// An address of IPv4 or IPv6.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Address(IpAddr);

impl FromText for Address {
    const WHAT: &'static str = "an address";
    fn from_text(text: &str) -> Result<Self, Fault> {
        text.parse().map(Address).map_err(|_| {
            Fault::new(format!("`{}` is not an address", shown(text))).help("write 192.0.2.7 or 2001:db8::7")
        })
    }
}

const NO_TEXT: Lint = Lint {
    code: "files/text-or-from",
    severity: Severity::Error,
    finds: "a file or a command with both `text` and `from`, or with neither",
    why: "nobody knows what is to be in it",
    instead: "keep one of them",
    refs: &["R53"],
};
const NOT_TEXT: Lint = Lint {
    code: "files/not-text",
    severity: Severity::Error,
    finds: "a file of `from` that is no UTF-8 text",
    why: "what carries a bundle carries text",
    instead: "bring a package, or have a command fetch it and check its digest",
    refs: &["R53"],
};
const BAD_TEMPLATE: Lint = Lint {
    code: "files/bad-template",
    severity: Severity::Error,
    finds: "a file with `values` that cannot be drawn",
    why: "a hole that nobody fills, or a value that would break out of the place where it lands",
    instead: "name the value in `values`, or use one that the syntax can hold",
    refs: &["R53"],
};
const OURS: Lint = Lint {
    code: "files/not-yours",
    severity: Severity::Error,
    finds: "a path that a hurdle writes, or that one would have to know of: accounts, sudo, sshd, PAM, the hurdles' own folders, a person's home",
    why: "two would write it, or a way in would depend on what nobody reads before the machine boots",
    instead: "say it in that hurdle; what belongs into a home, have a command put there",
    refs: &["R37", "R53"],
};
const TWICE: Lint = Lint {
    code: "files/same-name",
    severity: Severity::Error,
    finds: "two files of one path, or two commands or two proofs of one name",
    why: "one of them would be lost",
    instead: "make one of the two, or give it another name",
    refs: &["R53"],
};
const SECRET: Lint = Lint {
    code: "files/secret",
    severity: Severity::Warning,
    finds: "a private key in a file or a command",
    why: "whoever reads the user-data has it: every process of the machine that may ask the metadata service, and the cloud's console",
    instead: "have a command make it on the machine, or fetch it with what only this machine has",
    refs: &["R42", "R47"],
};
const LOOSE: Lint = Lint {
    code: "files/loose-mode",
    severity: Severity::Warning,
    finds: "a mode by which anybody may write the file, or by which it runs with its owner's rights",
    why: "whoever is on the machine makes it theirs",
    instead: "\"0644\", or \"0755\" for a program",
    refs: &["CIS 7.1.11", "CIS 7.1.13", "ANSSI-BP-028 R54"],
};
const NO_LOOK: Lint = Lint {
    code: "files/script-or-port",
    severity: Severity::Error,
    finds: "a proof with both `script` and `port`, or with neither, or with a port that no network reaches",
    why: "nobody knows what is to be seen",
    instead: "keep one of them: `port: 8080/tcp`",
    refs: &["R53"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[NO_TEXT, NOT_TEXT, BAD_TEMPLATE, OURS, TWICE, SECRET, LOOSE, NO_LOOK];
/// The sections inside.
pub const PARTS: &[Part] = &[
    Part { place: "files.put[]", doc: OwnFile::DOC, fields: OwnFile::FIELDS },
    Part { place: "files.run[]", doc: OwnCommand::DOC, fields: OwnCommand::FIELDS },
    Part { place: "files.proofs[]", doc: OwnProof::DOC, fields: OwnProof::FIELDS },
];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[Instruction {
    said: "Modify this file as your requirements change",
    became: "`files`: your own files, commands and proofs stand in the spec; change it, and bake and prove it again.",
    refs: &["R14", "R52"],
}];

/// What other hurdles answer for.
const TAKEN: [&str; 16] = [
    "/etc/passwd",
    "/etc/shadow",
    "/etc/group",
    "/etc/gshadow",
    "/etc/sudoers",
    "/etc/sudoers.d/",
    "/etc/ssh/",
    "/etc/pam.d/",
    "/etc/security/",
    "/etc/nologin",
    "/etc/hosts.deny",
    "/etc/cloud/",
    "/home/",
    "/root/",
    LIB,
    STATE,
];

#[derive(Serialize)]
struct Drawn<'a> {
    name: &'a str,
    image: &'a str,
    values: BTreeMap<&'a str, &'a str>,
}

#[derive(Serialize)]
struct Owned {
    path: String,
    owner: String,
    mode: String,
}

#[derive(Serialize)]
struct Holes {
    lib: &'static str,
    commands: Vec<String>,
    files: Vec<Owned>,
}

// What is to be in it, or what is wrong with that.
fn content(
    text: Option<&Spanned<Text>>,
    from: Option<&Spanned<InputFile>>,
    here: Option<Span>,
    plan: &Plan,
    report: &mut Report,
) -> Option<String> {
    let text = match (text, from) {
        (Some(text), None) => text.0.clone(),
        (None, Some(from)) => {
            // One that cannot be read has been named.
            let bytes = plan.inputs.get(from.as_str())?;
            let Some(text) = std::str::from_utf8(bytes).ok().filter(|text| !text.contains('\0')) else {
                report.push(NOT_TEXT.at(from.span, format!("`{}` is no text", shown(from.as_str()))));
                return None;
            };
            text.to_owned()
        }
        _ => {
            report.push(NO_TEXT.at(here, "either `text` or `from` says what is in it"));
            return None;
        }
    };
    if text.contains("PRIVATE KEY-----") {
        report.push(SECRET.at(here, "there is a private key in it"));
    }
    Some(text)
}

impl OwnFile {
    // The ending of the path says whose syntax it is.
    fn drawn(&self, text: String, plan: &Plan) -> Result<String, String> {
        let Some(values) = &self.values else { return Ok(text) };
        let path = self.path.as_str();
        let known = ["sh", "conf", "service", "timer", "rules", "nft"];
        let ending = path.rsplit_once('.').map_or("", |(_, ending)| ending);
        let name = if known.contains(&ending) { path.to_owned() } else { format!("{path}.plain") };
        let values = values.iter().map(|(key, value)| (key.as_str(), value.0.as_str())).collect();
        let context = Drawn { name: plan.name.as_str(), image: &plan.image, values };
        render(Template { name: &name, text: &text }, &context).map_err(|fault| {
            let fault = fault.to_string();
            fault.strip_prefix(&format!("templates/{name}, ")).map_or_else(|| fault.clone(), str::to_owned)
        })
    }
}

impl Hurdle for Files {
    fn inputs(&self) -> Vec<&Spanned<InputFile>> {
        let files = self.put.iter().filter_map(|file| file.from.as_ref());
        files.chain(self.run.iter().filter_map(|command| command.from.as_ref())).collect()
    }

    fn lint(&self, _: Span, report: &mut Report) {
        let mut twice = |names: Vec<(&str, Option<Span>)>, what: &str| {
            for (at, (name, span)) in names.iter().enumerate() {
                if names[..at].iter().any(|(other, _)| other == name) {
                    report.push(TWICE.at(*span, format!("there are two {what} `{name}`")));
                }
            }
        };
        twice(self.put.iter().map(|f| (f.path.as_str(), f.path.span)).collect(), "files");
        twice(self.run.iter().map(|c| (c.name.as_str(), c.name.span)).collect(), "commands");
        twice(self.proofs.iter().map(|p| (p.name.as_str(), p.name.span)).collect(), "proofs");
        for file in &self.put {
            if file.mode.0 & 0o6002 != 0 {
                report.push(LOOSE.at(file.mode.span, format!("{:04o} gives it away", file.mode.0)));
            }
        }
        for proof in &self.proofs {
            let reached = proof.port.as_ref().is_none_or(|port| port.open().is_some());
            if proof.script.is_some() == proof.port.is_some() || !reached {
                report.push(
                    NO_LOOK.at(proof.name.span, "either a `script` or a `port` of the network says what is looked at"),
                );
            }
        }
    }

    fn plan(&self, _: &Facts, _: &mut Plan) -> Result<(), Trouble> {
        // Which paths are free is known when all others have planned.
        Ok(())
    }

    fn settle(&self, _: &Facts, plan: &mut Plan, report: &mut Report) {
        let mut holes = Holes { lib: LIB, commands: Vec::new(), files: Vec::new() };
        for file in &self.put {
            let path = file.path.as_str();
            let taken = |taken: &&str| {
                path == taken.trim_end_matches('/') || path.starts_with(&format!("{}/", taken.trim_end_matches('/')))
            };
            if TAKEN.iter().any(taken)
                || path.contains("hardtack")
                || plan.files.get(path).is_some_and(|other| other.hurdle != "files")
            {
                report.push(OURS.at(file.path.span, format!("{path} is written, or answered for, by a hurdle")));
                continue;
            }
            let Some(text) = content(file.text.as_ref(), file.from.as_ref(), file.path.span, plan, report) else {
                continue;
            };
            match file.drawn(text, plan) {
                // Of two that are called alike it has been said.
                Ok(_) if plan.files.contains_key(path) => {}
                Ok(text) => {
                    let (mode, stage, hurdle) = (file.mode.0, Stage::Apply, "files");
                    plan.file(path, File { mode, text, stage, hurdle, template: "", controls: None });
                    if file.owner.span.is_some() {
                        let (owner, mode) = (file.owner.0.clone(), format!("{mode:04o}"));
                        plan.owners.insert(path.to_owned(), owner.clone());
                        holes.files.push(Owned { path: path.to_owned(), owner, mode });
                    }
                }
                Err(fault) => report.push(BAD_TEMPLATE.at(file.path.span, fault)),
            }
        }
        let mut stages: BTreeMap<Stage, Vec<String>> = BTreeMap::new();
        for (at, command) in self.run.iter().enumerate() {
            let here = command.name.span;
            let Some(text) = content(command.text.as_ref(), command.from.as_ref(), here, plan, report) else {
                continue;
            };
            let stage = if *command.stage == When::Apply { Stage::Apply } else { Stage::Open };
            let name = format!("{:02}-{}", at + 1, *command.name);
            let file = File { mode: 0o644, text, stage: Stage::Apply, hurdle: "files", template: "", controls: None };
            plan.file(&format!("{LIB}/own/{name}"), file);
            stages.entry(stage).or_default().push(name);
        }
        let mut drawn = Ok(());
        if !holes.files.is_empty() {
            drawn = plan.command("files", Stage::Apply, template!("files/apply.sh"), &holes);
        }
        for (stage, commands) in stages {
            holes.commands = commands;
            drawn = drawn.and(plan.command("files", stage, template!("files/run.sh"), &holes));
        }
        if let Err(fault) = drawn {
            report.push(BAD_TEMPLATE.at(plan.here, fault.to_string()));
        }
    }

    fn proofs(&self, _: &Facts, _: &Plan) -> Result<Vec<Proof>, Unknown> {
        // What is in the files is seen by the delivery, which has their digests.
        let mut all = Vec::new();
        for proof in &self.proofs {
            let check = match (&proof.script, &proof.port) {
                (Some(script), _) => Check::Script { script: whole_lines(&script.0) },
                (None, Some(port)) => {
                    let Some((protocol, port)) = port.open() else { continue };
                    let source = proof.from.as_ref().map_or(net::FAR[0], |from| from.0);
                    let wanted = match *proof.answer {
                        Answer::Open => Reaction::Open,
                        Answer::Silent => Reaction::Silent,
                        Answer::Refused => Reaction::Refused,
                        Answer::Shut => Reaction::Shut,
                    };
                    Check::Wire(Knock { source, interface: None, protocol, port, wanted })
                }
                (None, None) => continue,
            };
            all.push(Proof::new("files", proof.name.as_str(), &["R53"], proof.statement.0.clone(), check));
        }
        Ok(all)
    }
}

fn whole_lines(text: &str) -> String {
    if text.is_empty() || text.ends_with('\n') { text.to_owned() } else { format!("{text}\n") }
}
