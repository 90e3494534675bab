//! Ways to a machine. Each puts the same payload there and starts the same first boot; only the envelope differs.
//!
//! To add one: `src/delivery/NAME.rs`, its envelope in `templates/delivery/`, and here a `mod` line and a list line.

pub mod bare_metal;
pub mod cloud;
pub mod cloud_init;
pub mod golden;
pub mod packer;

use crate::archive::digest::sha256_hex;
use crate::archive::tree::Tree;
use crate::facts::{Facts, Unknown};
use crate::plan::proof::{Check, Proof, Sudo};
use crate::plan::{LIB, STATE, Sealed, Stage};
use crate::report::{Fault, FromText, shown};
use crate::template;
use crate::template::{Template, TemplateFault, render};
use serde::Serialize;
use serde_json::json;
use std::collections::BTreeMap;

/// What cloud-init runs before the network.
pub(crate) const BOOTCMD: Template<'static> = template!("delivery/bootcmd.sh");

/// One way to a machine.
pub trait Delivery {
    /// How many bytes of lists it can carry beside all the rest.
    fn room(&self) -> usize;
    /// What must be seen for the bundle to have arrived whole.
    fn proofs(&self) -> Vec<Proof>;
    /// Its files in the bundle.
    ///
    /// # Errors
    /// A fact that the image does not say, or a bug of ours.
    fn files(&self, payload: &Payload, tree: &mut Tree) -> Result<(), String>;
}

macro_rules! ways {
    ($($(#[doc = $doc:literal])+ $variant:ident => $name:literal, $delivery:expr;)+) => {
        /// The deliveries, by the word that a spec uses.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Way { $($(#[doc = $doc])+ $variant,)+ }

        /// Every delivery: its word and what it is.
        pub const WAYS: &[(&str, &str)] = &[$(($name, concat!($($doc),+)),)+];

        impl Way {
            /// The word that a spec uses.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Way::$variant => $name,)+ }
            }

            /// What does it.
            #[must_use]
            pub fn delivery(self) -> &'static dyn Delivery {
                match self { $(Way::$variant => &$delivery,)+ }
            }
        }

        impl FromText for Way {
            const WHAT: &'static str = "a delivery";
            fn from_text(text: &str) -> Result<Self, Fault> {
                match text {
                    $($name => Ok(Way::$variant),)+
                    _ => Err(Fault::new(format!("there is no delivery `{}`", shown(text))).help(concat!("known:", $(" ", $name),+))),
                }
            }
        }
    };
}

ways! {
    /// user-data, meta-data and seed volumes for NoCloud and every cloud that runs cloud-init.
    CloudInit => "cloud-init", cloud_init::CloudInit;
    /// A tar archive and an installer in POSIX sh, for a live machine, a mounted root, a stick or the web.
    BareMetal => "bare-metal", bare_metal::BareMetal;
    /// A template for Packer (HCL2), by QEMU or at Amazon, and what seals the image.
    Packer => "packer", packer::Packer;
    /// An image that was hardened and proved, and of which machines are made: `hardtack bake --golden FILE`.
    Golden => "golden", golden::Golden;
}

/// A file of the payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PayloadFile {
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
}

/// What every delivery puts on the machine, and the number that tells one payload from another.
#[derive(Debug, Clone)]
pub struct Payload<'a> {
    /// What was asked for.
    pub plan: &'a Sealed,
    /// What things are called there.
    pub facts: &'a Facts,
    /// Files by absolute path.
    pub files: BTreeMap<String, PayloadFile>,
    /// SHA-256 over all that reaches the machine. The machine writes it down when the first boot has succeeded.
    pub digest: String,
    /// Seconds since 1970 for everything in the bundle that carries a time.
    pub epoch: u32,
    /// What is given to a cloud, where the bundle is fitted to one.
    pub fitted: Option<cloud::Fitted>,
}

const FIRSTBOOT_UNIT: &str = "hardtack-firstboot.service";
/// What switches cloud-init off.
const OFF_UNIT: &str = "hardtack-cloud-init-off.service";

#[derive(Serialize)]
struct Holes<'a> {
    digest: &'a str,
    lib: &'static str,
    state: &'static str,
    packages: Vec<&'a str>,
    users: Vec<&'a str>,
    units: Vec<&'a str>,
    starts: Vec<&'a str>,
    scripts: Vec<&'a str>,
    firstboot_unit: &'static str,
    off_unit: &'static str,
    cloud_init_once: bool,
    systemd: bool,
    reload: bool,
}

impl<'a> Payload<'a> {
    /// Puts together what reaches the machine.
    ///
    /// # Errors
    /// A fact that the image does not say, or a template of ours that cannot be drawn.
    pub fn new(plan: &'a Sealed, facts: &'a Facts, epoch: u32) -> Result<Self, String> {
        let unknown = |e: Unknown| e.to_string();
        let fault = |e: TemplateFault| e.to_string();
        let mut files: BTreeMap<String, PayloadFile> = plan
            .files
            .iter()
            .map(|(path, f)| {
                (
                    path.clone(),
                    PayloadFile {
                        mode: f.mode,
                        text: f.text.clone(),
                        stage: f.stage,
                        hurdle: f.hurdle,
                        template: f.template,
                    },
                )
            })
            .collect();
        for c in plan.commands.iter().filter(|c| plan.rescue.is_some() || c.stage != Stage::Health) {
            let path = format!("{LIB}/{}.d/{}", c.stage.as_str(), command_name(c.hurdle, c.template));
            // What the gate runs must be there with the gate.
            let stage = c.stage.min(Stage::Apply);
            files.insert(
                path,
                PayloadFile { mode: 0o644, text: c.text.clone(), stage, hurdle: c.hurdle, template: c.template },
            );
        }
        // Without systemd, cloud-init itself runs it, and again at the next boot where one was cut short.
        let own_unit = plan.systemd.then_some(FIRSTBOOT_UNIT);
        let off_unit = (plan.systemd && plan.cloud_init_once).then_some(OFF_UNIT);
        let mut holes = Holes {
            digest: "",
            lib: LIB,
            state: STATE,
            packages: plan.packages.iter().map(String::as_str).collect(),
            users: plan.accounts.keys().map(|n| n.as_str()).collect(),
            units: plan.units.iter().map(String::as_str).chain(own_unit).chain(off_unit).collect(),
            starts: plan.starts.iter().map(String::as_str).collect(),
            scripts: plan.scripts.iter().map(String::as_str).collect(),
            firstboot_unit: FIRSTBOOT_UNIT,
            off_unit: OFF_UNIT,
            cloud_init_once: plan.cloud_init_once,
            systemd: plan.systemd,
            reload: plan.reload,
        };
        let own = |mode, text, template| PayloadFile { mode, text, stage: Stage::Gate, hurdle: "delivery", template };
        if let Some(name) = own_unit {
            let unit = template!("delivery/hardtack-firstboot.service");
            let path = format!("{}/{name}", facts.path("systemd-units").map_err(unknown)?);
            files.insert(path, own(0o644, render(plan.templates.of(unit), &holes).map_err(fault)?, unit.name));
        }
        if let Some(name) = off_unit {
            let unit = template!("delivery/hardtack-cloud-init-off.service");
            let path = format!("{}/{name}", facts.path("systemd-units").map_err(unknown)?);
            let file = own(0o644, render(plan.templates.of(unit), &holes).map_err(fault)?, unit.name);
            files.insert(path, PayloadFile { stage: Stage::Apply, ..file });
        }
        // The script carries the digest, so the digest is taken of the script without it.
        let script = template!("delivery/firstboot.sh");
        let path = format!("{LIB}/firstboot");
        files.insert(path.clone(), own(0o755, render(plan.templates.of(script), &holes).map_err(fault)?, script.name));
        let digest = digest(plan, &files);
        holes.digest = &digest;
        files.insert(path, own(0o755, render(plan.templates.of(script), &holes).map_err(fault)?, script.name));
        let sums: String =
            files.iter().map(|(path, f)| format!("{}  {path}\n", sha256_hex(f.text.as_bytes()))).collect();
        files.insert(format!("{LIB}/files.sha256"), PayloadFile { stage: Stage::Apply, ..own(0o644, sums, "") });
        Ok(Payload { plan, facts, files, digest, epoch, fitted: None })
    }

    /// The person's own templates that something of the bundle was drawn from.
    #[must_use]
    pub fn own_templates(&self) -> Vec<&str> {
        let used = |name: &&str| *name == BOOTCMD.name || self.files.values().any(|f| f.template == *name);
        self.plan.templates.names().filter(used).collect()
    }

    /// What must be seen on the machine: what the hurdles bring, and that this very payload has come to its end.
    #[must_use]
    pub fn proofs(&self) -> Vec<Proof> {
        let mut proofs = self.plan.proofs.clone();
        proofs.push(sealed(&self.digest));
        proofs.push(files(self));
        proofs.extend(own_files(&self.files));
        proofs.extend(self.plan.cloud_init_once.then(cloud_init_off));
        proofs.sort_by(|a, b| a.id.cmp(&b.id));
        proofs
    }
}

fn command_name(hurdle: &str, template: &str) -> String {
    let file = template.rsplit('/').next().unwrap_or_default().trim_end_matches(".sh");
    format!("{hurdle}-{file}")
}

// Everything that makes one machine another: accounts too, which no file of the payload holds.
fn digest(plan: &Sealed, files: &BTreeMap<String, PayloadFile>) -> String {
    let accounts: Vec<_> = plan
        .accounts
        .iter()
        .map(|(name, a)| json!([name, a.keys, a.password.as_ref().map(|p| p.reveal()), a.sudo, a.groups]))
        .collect();
    let files: Vec<_> = files.iter().map(|(path, f)| json!([path, f.mode, f.text])).collect();
    let all = json!([1, env!("CARGO_PKG_VERSION"), plan.name, plan.image, plan.packages, accounts, plan.units, files]);
    sha256_hex(all.to_string().as_bytes())
}

/// Puts a whole bundle together.
///
/// # Errors
/// What a delivery cannot do; a bug of ours, since a spec that was taken can be delivered.
pub fn bundle(payload: &Payload, spec_sha256: &str, ways: &[Way]) -> Result<Tree, String> {
    let mut tree = Tree::new();
    for (path, f) in &payload.files {
        tree.insert(&format!("rootfs{path}"), f.mode, f.text.clone().into_bytes()).map_err(|e| e.to_string())?;
    }
    for way in ways {
        way.delivery().files(payload, &mut tree)?;
    }
    let files: Vec<_> = tree
        .iter()
        .map(|(path, entry)| {
            let from = path.strip_prefix("rootfs").and_then(|p| payload.files.get(p));
            json!({
                "path": path, "sha256": sha256_hex(&entry.data), "size": entry.data.len(), "mode": format!("{:04o}", entry.mode),
                "hurdle": from.map_or("delivery", |f| f.hurdle), "template": from.map(|f| f.template).filter(|t| !t.is_empty()),
            })
        })
        .collect();
    let proofs = serde_json::to_value(payload.proofs()).map_err(|e| e.to_string())?;
    let manifest = json!({
        "format": 1, "hardtack": env!("CARGO_PKG_VERSION"), "name": payload.plan.name, "image": payload.plan.image,
        "bundle_sha256": payload.digest, "spec_sha256": spec_sha256,
        "templates": payload.own_templates(),
        "deliveries": ways.iter().map(|w| w.as_str()).collect::<Vec<_>>(), "files": files, "proofs": proofs,
    });
    let text = serde_json::to_string_pretty(&manifest).map_err(|e| e.to_string())? + "\n";
    tree.insert("bundle.json", 0o644, text.into_bytes()).map_err(|e| e.to_string())?;
    let sums = tree.sums();
    tree.insert("SHA256SUMS", 0o644, sums.into_bytes()).map_err(|e| e.to_string())?;
    Ok(tree)
}

/// What sudoers(5) says of an account after its name; nothing where sudo does nothing for it.
fn sudo_rule(sudo: Sudo) -> Option<&'static str> {
    match sudo {
        Sudo::Nothing => None,
        Sudo::WithPassword => Some("ALL=(ALL:ALL) ALL"),
        Sudo::WithoutPassword => Some("ALL=(ALL:ALL) NOPASSWD:ALL"),
    }
}

fn proof(what: &str, refs: &[&str], statement: &str, script: &str) -> Proof {
    Proof::new("delivery", what, refs, statement, Check::Script { script: script.to_owned() })
}

fn sealed(digest: &str) -> Proof {
    let script = format!("cat {STATE}/sealed 2>&1 && [ \"$(cat {STATE}/sealed)\" = {digest} ]\n");
    proof("sealed", &["R22", "R23"], "the first boot has come to its end with this very bundle", &script)
}

/// What makes an image of a machine.
fn seal(payload: &Payload) -> Result<String, String> {
    #[derive(Serialize)]
    struct Holes<'a> {
        state: &'static str,
        systemd: bool,
        own_people: bool,
        host_keys: &'a [&'static str],
    }
    let plan = payload.plan;
    let (own_people, host_keys) = (!plan.accounts.is_empty(), plan.host_keys());
    let holes = Holes { state: STATE, systemd: plan.systemd, own_people, host_keys };
    render(plan.templates.of(template!("delivery/seal.sh")), &holes).map_err(|e| e.to_string())
}

fn cloud_init_off() -> Proof {
    let stick = "a stick with another seed is not read: cloud-init does not run again, and has not in a boot since";
    // A boot that began when it had been switched off; the one that switched it off has had it.
    let script = "off=/etc/cloud/cloud-init.disabled\n\
        [ -d /etc/cloud ] || { echo 'there is none'; exit 0; }\n\
        [ -e $off ] || { echo 'it would run again'; exit 1; }\n\
        [ \"$(stat -c %Y $off)\" -lt \"$(sed -n 's/^btime //p' /proc/stat)\" ] || { echo 'off from the next boot on'; exit 0; }\n\
        [ -e /run/cloud-init/result.json ] || [ -e /run/cloud-init/status.json ] || { echo 'it has not run'; exit 0; }\n\
        echo 'it has run'\nexit 1\n";
    proof("cloud-init-off", &["cloud-init(1)"], stick, script)
}

fn quoted(text: &str) -> String {
    shlex::try_quote(text).map_or_else(|_| String::new(), std::borrow::Cow::into_owned)
}

// Their content is judged by what reads them.
fn files(payload: &Payload) -> Proof {
    let files = &payload.files;
    let paths: Vec<String> = files.keys().map(|path| quoted(path)).collect();
    let owner = |path: &str| payload.plan.owners.get(path).map_or("root:root", String::as_str);
    let expected: Vec<String> = files.iter().map(|(path, f)| format!("{:o} {} {path}", f.mode, owner(path))).collect();
    let script = format!(
        "expected={}\nseen=$(LC_ALL=C stat -c '%a %U:%G %n' -- {} 2>&1)\n\
         [ \"$seen\" = \"$expected\" ] && echo '{} files' && exit 0\n\
         printf '%s\\n' \"$seen\" | grep -vxF -e \"$expected\" | head -n 3 | tr '\\n' ' '\nexit 1\n",
        quoted(&expected.join("\n")),
        paths.join(" "),
        files.len(),
    );
    let statement = "every file of the bundle has its mode, and is root's or whose the spec says";
    proof("files-are-roots", &["CIS 7.1", "stat(1)"], statement, &script)
}

// Nothing of ours reads a person's own files. By their digests: what is in them is in no report.
fn own_files(files: &BTreeMap<String, PayloadFile>) -> Option<Proof> {
    let own = files.iter().filter(|(path, f)| f.hurdle == "files" && !path.starts_with(LIB));
    let sums: Vec<String> = own.map(|(path, f)| format!("{}  {path}", sha256_hex(f.text.as_bytes()))).collect();
    let script = format!(
        "seen=$(echo {} | LC_ALL=C sha256sum --quiet -c 2>&1) && echo '{} files' && exit 0\necho $seen\nexit 1\n",
        quoted(&sums.join("\n")),
        sums.len()
    );
    let statement = "what is in your own files is what the spec has";
    (!sums.is_empty()).then(|| proof("own-files", &["R53", "sha256sum(1)"], statement, &script))
}
