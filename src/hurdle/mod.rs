//! Things in an intruder's way. One file each; a hurdle brings its lints, its plan and its own proofs.
//!
//! To add one: `src/hurdle/NAME.rs`, `templates/NAME/`, `tests/specs/NAME.yaml`, and here a `mod` line and a list line.

pub mod accounts;
pub mod blocklist;
pub mod files;
pub mod firewall;
pub mod kernel;
pub mod passwords;
pub mod rescue;
pub mod selinux;
pub mod services;
pub mod ssh;
pub mod sysctl;
pub mod system;
pub mod updates;
pub mod watch;

use crate::facts::{Facts, Unknown};
use crate::plan::Plan;
use crate::plan::name::InputFile;
use crate::plan::proof::Proof;
use crate::report::{Lint, Report, Span};
use crate::template::TemplateFault;
use crate::yaml::{Described, FieldDoc, Fields, Kind, Node, Read, Spanned};
use std::collections::BTreeMap;

/// One hurdle: its struct is its section of the spec.
pub trait Hurdle {
    /// The files beside the spec that it reads.
    fn inputs(&self) -> Vec<&Spanned<InputFile>> {
        Vec::new()
    }
    /// Says what is unwise in what the person wrote. `here` is where the section's key stands.
    fn lint(&self, here: Span, report: &mut Report);
    /// Asks the machine for what the section means.
    ///
    /// # Errors
    /// A fact that the image does not say, or a bug of ours.
    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble>;
    /// Asks for what depends on the others, and says what is unwise then: all hurdles have planned.
    fn settle(&self, _: &Facts, _: &mut Plan, _: &mut Report) {}
    /// What must be seen on the booted machine for the section to have come true. All hurdles have planned by then.
    ///
    /// # Errors
    /// A fact that the image does not say.
    fn proofs(&self, facts: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown>;
}

/// Why a hurdle could not plan. None of it is the person's fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trouble {
    /// The image lacks a fact.
    Unknown(Unknown),
    /// A template could not be drawn.
    Template(TemplateFault),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        match self {
            Trouble::Unknown(unknown) => unknown.fmt(f),
            Trouble::Template(fault) => fault.fmt(f),
        }
    }
}

impl std::error::Error for Trouble {}

impl From<Unknown> for Trouble {
    fn from(unknown: Unknown) -> Self {
        Trouble::Unknown(unknown)
    }
}

impl From<TemplateFault> for Trouble {
    fn from(fault: TemplateFault) -> Self {
        Trouble::Template(fault)
    }
}

/// What `hardtack list` and `hardtack explain` know of a hurdle.
#[derive(Debug, Clone, Copy)]
pub struct Manual {
    /// Its name, and its key in a spec.
    pub name: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys.
    pub fields: &'static [FieldDoc],
    /// The sections inside it: name, what for, keys.
    pub parts: &'static [Part],
    /// What it warns of.
    pub lints: &'static [Lint],
    /// What became of the instructions of the article that it grew from.
    pub article: &'static [Instruction],
}

/// An instruction of Greg Bledsoe's article "Server Hardening", and what became of it.
#[derive(Debug, Clone, Copy)]
pub struct Instruction {
    /// As the article has it.
    pub said: &'static str,
    /// What to write in a spec instead, and why where that is something else.
    pub became: &'static str,
    /// The numbers of requirements.
    pub refs: &'static [&'static str],
}

/// A section inside a section, for the manual.
#[derive(Debug, Clone, Copy)]
pub struct Part {
    /// Where it stands: `accounts.people[]`.
    pub place: &'static str,
    /// What it is for.
    pub doc: &'static str,
    /// Its keys.
    pub fields: &'static [FieldDoc],
}

macro_rules! hurdles {
    ($($name:ident: $section:ty,)+) => {
        /// The `hurdles:` of a spec. A hurdle that is left out asks nothing of the machine.
        #[derive(Debug, Clone, PartialEq, Default)]
        pub struct Hurdles {
            $(#[doc = concat!("`", stringify!($name), ":`")] pub $name: Option<$section>,)+
            places: BTreeMap<&'static str, Span>,
        }

        impl Hurdles {
            /// Where a section's key stands.
            #[must_use]
            pub fn place(&self, name: &str) -> Option<Span> {
                self.places.get(name).copied()
            }

            /// Those that the spec has, in the order in which they plan.
            #[must_use]
            pub fn each(&self) -> Vec<(&'static str, &dyn Hurdle)> {
                let mut all: Vec<(&'static str, &dyn Hurdle)> = Vec::new();
                $(if let Some(hurdle) = &self.$name { all.push((stringify!($name), hurdle)); })+
                all
            }
        }

        /// Lints every section that can be read, so that a fault in one does not hide what is unwise in another.
        pub fn lint(node: &Node, report: &mut Report) {
            let Kind::Map(pairs) = &node.kind else { return };
            for (key, value) in pairs {
                // What cannot be read has been said when the whole was read.
                let mut said = Report::default();
                match key.name.as_str() {
                    $(stringify!($name) => {
                        if let Some(hurdle) = <$section>::read(value, &mut said) { hurdle.lint(key.span, report); }
                    })+
                    _ => {}
                }
            }
        }

        impl Read for Hurdles {
            fn read(node: &Node, report: &mut Report) -> Option<Self> {
                let mut fields = Fields::of(node, "hurdles", &[$(stringify!($name)),+], report)?;
                $(let $name = fields.optional::<Option<$section>>(stringify!($name), || None, report);)+
                if !fields.good() { return None; }
                let places = [$(stringify!($name)),+].into_iter().filter_map(|n| Some((n, fields.place(n)?))).collect();
                Some(Hurdles { $($name: $name?,)+ places })
            }
        }

        /// The manual of every hurdle.
        pub const MANUALS: &[Manual] = &[$(Manual {
            name: stringify!($name), doc: <$section>::DOC, fields: <$section>::FIELDS, parts: $name::PARTS, lints: $name::LINTS,
            article: $name::FROM_THE_ARTICLE,
        },)+];
    };
}

// In the order in which they plan: the firewall comes late, since it opens what the others have said that they serve; and then what asks
// if all of that has come true.
hurdles! {
    accounts: accounts::Accounts,
    passwords: passwords::Passwords,
    ssh: ssh::Ssh,
    sysctl: sysctl::Sysctl,
    kernel: kernel::Kernel,
    system: system::System,
    services: services::Services,
    blocklist: blocklist::Blocklist,
    firewall: firewall::Firewall,
    updates: updates::Updates,
    rescue: rescue::Rescue,
    watch: watch::Watch,
    files: files::Files,
    selinux: selinux::Selinux,
}
