//! The narrow waist: all that the hurdles ask of a machine. Hurdles meet only here, deliveries see only this.

pub mod blocklist;
pub mod credential;
pub mod filter;
pub mod lints;
pub mod listener;
pub mod name;
pub mod net;
pub mod outbound;
pub mod proof;
pub mod sabotage;
pub mod url;
pub mod verify;
pub mod way_in;
pub mod wire;

use crate::report::{Report, Span};
use crate::template;
pub use crate::template::Own;
use crate::template::{Template, TemplateFault, render};
use credential::{PasswordHash, PublicKey};
pub use filter::{Exit, Filter, Metadata, Open, Unmatched};
use name::{GroupName, HostName, KernelArgument, Principal, SysctlKey, SysctlValue, UserName};
use net::{Cidr, Ports, Protocol};
use proof::{Code, Credential, Door, Login, Proof, Sudo};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Where the machine keeps what is ours.
pub const LIB: &str = "/usr/local/lib/hardtack";
/// Where it keeps how far the first boot has come.
pub const STATE: &str = "/var/lib/hardtack";
/// What is signed is of this kind, so that a signature of anything else is none of a bundle (ssh-keygen(1), `-n`).
pub const NAMESPACE: &str = "hardtack-bundle";

/// The stages of the first boot that hurdles bring commands and files for, and what is asked when it is over. Install and seal are
/// the delivery's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Before anything listens. Must not need a package, a network or another file than those of this stage.
    Gate,
    /// Accounts, files, units. Each command may run twice.
    Apply,
    /// When all before has succeeded.
    Open,
    /// No stage: what must hold for the machine to be healthy, asked where there is a [`Plan::rescue`]. Each command changes nothing,
    /// may run many times, and says on its last line what is wrong.
    Health,
}

impl Stage {
    /// Its name on the machine.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Gate => "gate",
            Stage::Apply => "apply",
            Stage::Open => "open",
            Stage::Health => "health",
        }
    }
}

/// A file on the machine, owned by root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Permission bits.
    pub mode: u32,
    /// Its text.
    pub text: String,
    /// From which stage on it is needed.
    pub stage: Stage,
    /// Who asked for it.
    pub hurdle: &'static str,
    /// The template that it was drawn from.
    pub template: &'static str,
    /// What its lines are to a machine that runs; none where they are a program, or matter at a boot only.
    pub controls: Option<Controls>,
}

/// The lines of a file as controls of a running machine: each is one thing that a sabotage may break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Controls {
    /// How a line is written.
    pub syntax: Syntax,
    /// A command that makes the machine read the file anew.
    pub takes_effect: String,
}

/// The command that has nothing take effect, for what a running machine does not read.
pub const NOTHING: &str = "true";

/// How a line of a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Syntax {
    /// `Keyword value`, as sshd_config(5).
    Directives,
    /// `key = value`, as sysctl.d(5).
    Assignments,
    /// As iptables-save(8) writes.
    Rules,
    /// `Key=value`, as systemd.unit(5).
    Unit,
    /// `Key "value";`, as apt.conf(5).
    Apt,
    /// Words behind the last quotation mark `"`, as a file of grub's has the kernel's arguments.
    Arguments,
}

/// A command of a stage: a POSIX shell script.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// When it runs.
    pub stage: Stage,
    /// Who asked for it.
    pub hurdle: &'static str,
    /// The script.
    pub text: String,
    /// The template that it was drawn from.
    pub template: &'static str,
    /// Whether it changes nothing on a good machine, and only refuses what is wrong.
    pub guards: bool,
}

/// A person's account.
#[derive(Debug, Clone, PartialEq)]
pub struct Account {
    /// Keys that let it in.
    pub keys: Vec<PublicKey>,
    /// The hash of its password; none is a locked password.
    pub password: Option<PasswordHash>,
    /// What sudo lets it do.
    pub sudo: Sudo,
    /// Groups beside its own.
    pub groups: Vec<GroupName>,
    /// Names in certificates that let it in; none is its own.
    pub principals: Vec<Principal>,
    /// Where it was asked for.
    pub span: Option<Span>,
}

impl Account {
    /// Names in certificates that let it in; `name` is its own.
    #[must_use]
    pub fn principals(&self, name: &UserName) -> Vec<String> {
        if self.principals.is_empty() {
            return vec![name.to_string()];
        }
        self.principals.iter().map(ToString::to_string).collect()
    }
}

/// What sshd lets in.
#[derive(Debug, Clone, PartialEq)]
pub struct Logins {
    /// The port that it listens on.
    pub port: u16,
    /// Where that was asked for.
    pub span: Option<Span>,
    /// Accounts that alone may log in; empty is anyone.
    pub users: Vec<(UserName, Option<Span>)>,
    /// Groups whose members alone may log in; empty is anyone.
    pub groups: Vec<(GroupName, Option<Span>)>,
    /// Whether a password will do.
    pub passwords: bool,
    /// Whether root may log in, with a key.
    pub root: bool,
    /// What is asked for beside the key.
    pub second_factor: Option<Factor>,
    /// Whether certificates let in.
    pub certificates: bool,
    /// The kinds of key by which the machine shows itself, as ssh-keygen(1) calls them.
    pub host_keys: Vec<&'static str>,
}

/// What is asked for beside a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Factor {
    /// A code by time (RFC 6238).
    Code,
    /// That the key is one of hardware (FIDO2), and has asked for its PIN.
    SecurityKey,
}

/// Whom a machine that is not healthy lets in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// These people, with their keys.
    pub people: Vec<String>,
    /// From these networks.
    pub from: Vec<Cidr>,
}

/// What an image's boot loader reads the kernel's arguments from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BootLoader {
    /// Files in this folder, which update-grub reads.
    Grub(String),
    /// grubby, which writes them into every entry.
    Grubby,
}

/// Two hurdles, or one twice, asked for the same thing in different ways.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash(pub String);

/// All that is asked of one machine.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The machine's name.
    pub name: HostName,
    /// The image that it is for.
    pub image: String,
    /// Whether systemd starts it, and not SysV init.
    pub systemd: bool,
    /// Whether cloud-init is switched off when the first boot has succeeded.
    pub cloud_init_once: bool,
    /// Packages that must be there.
    pub packages: BTreeSet<String>,
    /// People, by name.
    pub accounts: BTreeMap<UserName, Account>,
    /// Files, by absolute path.
    pub files: BTreeMap<String, File>,
    /// Whose a file is, `NAME:GROUP`, where it is not root's.
    pub owners: BTreeMap<String, String>,
    /// Units that are started at every boot.
    pub units: BTreeSet<String>,
    /// Units that start when the machine opens, last of all. Together, for with each start systemd looks anew at all that the basic system
    /// wants; and not waited for, since some wait for the basic system, which waits for the first boot.
    pub starts: BTreeSet<String>,
    /// Whether systemd must have read units and drop-ins anew before what opens the machine runs: once for all, for it costs two CPU
    /// seconds under emulation.
    pub reload: bool,
    /// Scripts of SysV init that are started at every boot.
    pub scripts: BTreeSet<String>,
    /// Kernel parameters.
    pub sysctls: BTreeMap<SysctlKey, SysctlValue>,
    /// Profiles of PAM (pam-auth-update(8)), and what a line that each brings has: a pattern of grep(1).
    pub pam_profiles: BTreeMap<&'static str, String>,
    /// Arguments of the kernel's command line, in the order asked for.
    pub kernel_arguments: Vec<KernelArgument>,
    /// What hands them to the kernel, where the image says so.
    pub boot_loader: Option<BootLoader>,
    /// Commands, in the order of their stages.
    pub commands: Vec<Command>,
    /// What hurdles serve, by the names that a firewall rule can use.
    pub services: BTreeMap<&'static str, Ports>,
    /// Sockets that something may wait on, where a hurdle minds the others.
    pub listens: BTreeSet<listener::Listener>,
    /// Packages that must not be there.
    pub refused: BTreeSet<String>,
    /// Units that nothing may start.
    pub masked: BTreeSet<String>,
    /// What sshd does, when a hurdle says so.
    pub logins: Option<Logins>,
    /// What a firewall does, when there is one.
    pub filter: Option<Filter>,
    /// Whether the machine has `hardtack-verify`, to look at itself.
    pub verify: bool,
    /// Whether there are sets of addresses that a firewall must ask.
    pub blocks: bool,
    /// Who may come in when the machine finds itself not healthy after its first boot; none is a machine that does not ask.
    pub rescue: Option<Policy>,
    /// What the machine's lists block, where all of them are known here.
    pub listed: Option<Arc<blocklist::Blocklist>>,
    /// What is at the addresses that the machine fetches lists from, as far as it is known here: a proof may serve it.
    pub pages: BTreeMap<String, Arc<[u8]>>,
    /// The files beside the spec that hurdles read, by the names that the person gave them.
    pub inputs: BTreeMap<String, Arc<[u8]>>,
    /// How many bytes of lists every way to the machine can carry.
    pub room: usize,
    /// Whether cloud-init is one of the ways to the machine.
    pub by_cloud_init: bool,
    /// The person's own templates.
    pub templates: Arc<Own>,
    /// What must be seen.
    pub proofs: Vec<Proof>,
    /// Where the section stands whose hurdle is planning: what it asks for by default has no other place.
    pub here: Option<Span>,
    sysctl_d: String,
    kernel_askers: Vec<(&'static str, KernelArgument)>,
    clashes: Vec<Clash>,
}

impl Plan {
    /// A machine of which nothing is asked yet. `sysctl_d` is where the image keeps kernel parameters.
    #[must_use]
    pub fn new(name: HostName, image: &str, systemd: bool, sysctl_d: &str) -> Self {
        Plan {
            name,
            image: image.to_owned(),
            systemd,
            cloud_init_once: true,
            reload: false,
            starts: BTreeSet::new(),
            packages: BTreeSet::new(),
            accounts: BTreeMap::new(),
            files: BTreeMap::new(),
            owners: BTreeMap::new(),
            units: BTreeSet::new(),
            scripts: BTreeSet::new(),
            sysctls: BTreeMap::new(),
            pam_profiles: BTreeMap::new(),
            sysctl_d: sysctl_d.to_owned(),
            kernel_arguments: Vec::new(),
            boot_loader: None,
            commands: Vec::new(),
            services: BTreeMap::new(),
            listens: BTreeSet::new(),
            refused: BTreeSet::new(),
            masked: BTreeSet::new(),
            logins: None,
            filter: None,
            verify: false,
            blocks: false,
            rescue: None,
            listed: None,
            pages: BTreeMap::new(),
            inputs: BTreeMap::new(),
            room: usize::MAX,
            by_cloud_init: true,
            templates: Arc::default(),
            proofs: Vec::new(),
            here: None,
            kernel_askers: Vec::new(),
            clashes: Vec::new(),
        }
    }

    /// Asks for a file. Another text for a path that is taken is a clash that names both hurdles.
    pub fn file(&mut self, path: &str, file: File) {
        match self.files.get(path) {
            Some(other) if *other == file => {}
            Some(other) => {
                self.clashes.push(Clash(format!("`{}` and `{}` both write {path}", other.hurdle, file.hurdle)))
            }
            None => drop(self.files.insert(path.to_owned(), file)),
        }
    }

    /// Asks for a file drawn from a template.
    ///
    /// # Errors
    /// A template that cannot be drawn: a bug of ours, or a value that its syntax cannot hold.
    pub fn draw(
        &mut self,
        hurdle: &'static str,
        stage: Stage,
        path: &str,
        mode: u32,
        template: Template<'static>,
        context: &impl serde::Serialize,
    ) -> Result<(), TemplateFault> {
        let own = self.templates.clone();
        let text = render(own.of(template), context)?;
        self.file(path, File { mode, text, stage, hurdle, template: template.name, controls: None });
        Ok(())
    }

    /// Says of a file that was asked for what its lines are to a machine that runs.
    pub fn controls(&mut self, path: &str, syntax: Syntax, takes_effect: impl Into<String>) {
        if let Some(file) = self.files.get_mut(path) {
            file.controls = Some(Controls { syntax, takes_effect: takes_effect.into() });
        }
    }

    /// Asks for a command of a stage, drawn from a template.
    ///
    /// # Errors
    /// As [`Plan::draw`].
    pub fn command(
        &mut self,
        hurdle: &'static str,
        stage: Stage,
        template: Template<'static>,
        context: &impl serde::Serialize,
    ) -> Result<(), TemplateFault> {
        let own = self.templates.clone();
        let text = render(own.of(template), context)?;
        self.commands.push(Command { stage, hurdle, text, template: template.name, guards: false });
        Ok(())
    }

    /// Says of the command that was asked for last that it only refuses what is wrong.
    pub fn guards(&mut self) {
        if let Some(command) = self.commands.last_mut() {
            command.guards = true;
        }
    }

    /// Asks for a kernel parameter. Another value for one that is taken is a clash.
    pub fn sysctl(&mut self, hurdle: &'static str, key: SysctlKey, value: SysctlValue) {
        if let Some(other) = self.sysctls.insert(key.clone(), value.clone())
            && other != value
        {
            self.clashes.push(Clash(format!("`{hurdle}` wants {key} = {value}, another hurdle wants {other}")));
        }
    }

    /// Asks for a profile of PAM that is there, and for what one of its lines has.
    pub fn pam(&mut self, profile: &'static str, line: &str) {
        self.pam_profiles.insert(profile, line.to_owned());
    }

    /// Asks for an argument of the kernel's command line. Another value for a key that another hurdle has given is a clash;
    /// one hurdle may give a key several values, since some add up (`console=`).
    pub fn kernel_argument(&mut self, hurdle: &'static str, argument: KernelArgument) {
        let other = self.kernel_askers.iter().find(|(who, other)| *who != hurdle && other.key() == argument.key());
        if let Some((who, other)) = other.filter(|(_, other)| *other != argument) {
            self.clashes.push(Clash(format!("`{hurdle}` wants the kernel argument {argument}, `{who}` wants {other}")));
        }
        if !self.kernel_arguments.contains(&argument) {
            self.kernel_arguments.push(argument.clone());
        }
        self.kernel_askers.push((hurdle, argument));
    }

    /// The kinds of key by which the machine shows itself; none where no hurdle says which.
    #[must_use]
    pub fn host_keys(&self) -> &[&'static str] {
        self.logins.as_ref().map_or(&[], |logins| &logins.host_keys)
    }

    /// Adds a proof. Two proofs of one name are a clash, found when the plan is sealed.
    pub fn proof(&mut self, proof: Proof) {
        self.proofs.push(proof);
    }

    /// Where sshd may be reached from: a network, IPv4 first, or none for anywhere; and on which interface, where only rules
    /// that name one let it in.
    #[must_use]
    pub fn ssh_from(&self) -> (Option<Cidr>, Option<String>) {
        let port = self.logins.as_ref().map(|l| l.port);
        let opens = self.filter.iter().flat_map(|f| &f.opens);
        let open = opens
            .filter(|o| {
                o.protocol == Protocol::Tcp && o.ports.iter().any(|p| port.is_some_and(|port| p.contains(port)))
            })
            .min_by_key(|o| o.interface.is_some());
        let Some(open) = open else { return (None, None) };
        let from = open.from.iter().find(|net| net.is_ipv4()).or(open.from.first()).copied();
        (from, open.interface.clone())
    }

    /// A login that must succeed or must not; none where nothing says what sshd does. One with the account's key that must succeed has
    /// what is asked for beside it.
    #[must_use]
    pub fn login(&self, user: &str, with: Credential, succeeds: bool) -> Option<Login> {
        let logins = self.logins.as_ref()?;
        let (from, interface) = self.ssh_from();
        let by_code = logins.second_factor == Some(Factor::Code) && with != Credential::ItsPassword;
        let code = (by_code && succeeds).then_some(Code::Right);
        let with = match (logins.second_factor, with) {
            (Some(Factor::SecurityKey), Credential::ItsKey) if succeeds => {
                Credential::ItsSecurityKey { verified: true }
            }
            (_, with) => with,
        };
        let (user, port, door) = (user.to_owned(), logins.port, Door::Shell);
        Some(Login { user, port, with, code, door, from, interface, succeeds })
    }

    /// Closes the plan: nothing is asked for any more. Judges what belongs to no single hurdle.
    ///
    /// # Errors
    /// Clashes of hurdles: bugs of ours, since no spec should be able to make one.
    pub fn seal(mut self, report: &mut Report) -> Result<Sealed, Clash> {
        lints::lint(&self, report);
        self.proofs.sort_by(|a, b| a.id.cmp(&b.id));
        if let Some(twins) = self.proofs.windows(2).find(|p| p[0].id == p[1].id) {
            self.clashes.push(Clash(format!("two proofs are called {}", twins[0].id)));
        }
        if let Some(clash) = self.clashes.first() {
            return Err(clash.clone());
        }
        if !self.sysctls.is_empty() {
            // Several hurdles ask for parameters, so the waist writes their one file.
            // systemd's own 50-default.conf sets some keys for `default` by name and takes `all` out of the pattern, and a
            // name wins over a pattern (sysctl.d(5)): so what every interface gets is written for these two by name too.
            let named = |key: &str| match key.split_once(".*.") {
                Some((head, tail)) => {
                    vec![format!("{head}.all.{tail}"), format!("{head}.default.{tail}"), key.to_owned()]
                }
                None => vec![key.to_owned()],
            };
            let lines: Vec<_> = self
                .sysctls
                .iter()
                .flat_map(|(key, value)| named(key.as_str()).into_iter().map(|name| (name, value.to_string())))
                .collect();
            let context = BTreeMap::from([("lines", lines)]);
            let path = format!("{}/99-zz-hardtack.conf", self.sysctl_d);
            self.draw("sysctl", Stage::Apply, &path, 0o644, template!("plan/sysctl.conf"), &context)
                .map_err(|e| Clash(e.to_string()))?;
            // Whoever does so several times in ten seconds is held up (systemd.unit(5), StartLimitBurst=).
            let effect = match self.systemd {
                true => "systemctl reset-failed systemd-sysctl.service; systemctl restart systemd-sysctl.service",
                false => "service procps start",
            };
            self.controls(&path, Syntax::Assignments, effect);
            let init = BTreeMap::from([("systemd", self.systemd)]);
            self.command("sysctl", Stage::Apply, template!("plan/sysctl.sh"), &init)
                .map_err(|e| Clash(e.to_string()))?;
        }
        if !self.pam_profiles.is_empty() {
            let profiles: BTreeSet<String> = self.pam_profiles.keys().map(|&name| name.to_owned()).collect();
            let lines: BTreeSet<String> = self.pam_profiles.values().cloned().collect();
            let holes = BTreeMap::from([("profiles", profiles), ("lines", lines)]);
            self.command("system", Stage::Apply, template!("plan/pam.sh"), &holes).map_err(|e| Clash(e.to_string()))?;
        }
        self.boot_loader_files().map_err(|e| Clash(e.to_string()))?;
        if self.verify {
            let proofs = self.proofs.clone();
            let asked = verify::asked(&proofs);
            self.draw("watch", Stage::Apply, verify::PLACE, 0o700, template!("plan/verify.sh"), &asked)
                .map_err(|e| Clash(e.to_string()))?;
        }
        self.commands.sort_by_key(|c| (c.stage, c.hurdle));
        Ok(Sealed(self))
    }
}

impl Plan {
    // As with parameters, several hurdles ask and the waist writes the one file.
    fn boot_loader_files(&mut self) -> Result<(), TemplateFault> {
        #[derive(serde::Serialize)]
        struct Holes {
            arguments: Vec<String>,
            line: String,
            grubby: bool,
        }
        let arguments: Vec<String> = self.kernel_arguments.iter().map(ToString::to_string).collect();
        let Some(loader) = self.boot_loader.clone().filter(|_| !arguments.is_empty()) else { return Ok(()) };
        let holes = Holes { line: arguments.join(" "), arguments, grubby: loader == BootLoader::Grubby };
        if let BootLoader::Grub(folder) = &loader {
            let path = format!("{folder}/99-hardtack.cfg");
            self.draw("kernel", Stage::Apply, &path, 0o644, template!("plan/kernel-arguments.sh"), &holes)?;
            // The kernel that runs has its arguments already.
            self.controls(&path, Syntax::Arguments, NOTHING);
        }
        self.command("kernel", Stage::Apply, template!("plan/boot-loader.sh"), &holes)
    }

    /// Closes a plan that was sealed once and then broken on purpose, as a sabotage does. Nothing is judged again.
    #[must_use]
    pub fn resealed(self) -> Sealed {
        Sealed(self)
    }
}

/// A plan to which nothing is added any more.
#[derive(Debug, Clone)]
pub struct Sealed(Plan);

impl std::ops::Deref for Sealed {
    type Target = Plan;
    fn deref(&self) -> &Plan {
        &self.0
    }
}
