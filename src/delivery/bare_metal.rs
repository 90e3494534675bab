//! Bare metal: an archive and an installer, for machines that no cloud-init reaches. What was installed does at the next start what
//! cloud-init does elsewhere, and then the same first boot.

use super::{Delivery, Payload, proof, sudo_rule};
use crate::archive::digest::sha256_hex;
use crate::archive::tar_gz::tar_gz;
use crate::archive::tree::Tree;
use crate::plan::proof::Proof;
use crate::plan::{LIB, NAMESPACE, STATE};
use crate::template;
use crate::template::render;
use serde::Serialize;

/// Delivers without cloud-init: onto a live machine, a mounted root, from a stick or the web.
pub struct BareMetal;

/// Each unit, and what starts it.
const UNITS: [(&str, &str); 2] =
    [("hardtack-place.service", "sysinit.target"), ("hardtack-late.service", "multi-user.target")];
/// The same for SysV init, and when each runs.
const SCRIPTS: [(&str, &str); 2] = [("hardtack-place", "early"), ("hardtack-late", "late")];

/// Where the payload lies on the machine until the first boot is over.
fn place() -> String {
    format!("{STATE}/payload")
}

#[derive(Serialize)]
struct Person<'a> {
    name: &'a str,
    sudo: &'static str,
    groups: String,
    hash: &'a str,
    ssh_keys: Vec<&'a str>,
}

#[derive(Serialize)]
struct Unit {
    name: &'static str,
    at: String,
    wants: String,
}

#[derive(Serialize)]
struct Holes<'a> {
    payload: String,
    digest: &'a str,
    lib: &'static str,
    state: &'static str,
    host: &'a str,
    image: &'a str,
    people: Vec<Person<'a>>,
    own_scripts: Vec<&'a str>,
    host_keys: &'a [&'static str],
    /// What starts the machine: `systemd`, or `scripts`.
    starter: &'static str,
    units: Vec<Unit>,
    scripts: Vec<&'static str>,
    unit_folder: &'a str,
    name: &'static str,
    when: &'static str,
    network: &'a str,
    sshd: &'a str,
    archive: String,
    archive_sha256: String,
    namespace: &'static str,
    folder: &'static str,
}

fn holes<'a>(payload: &'a Payload) -> Result<Holes<'a>, String> {
    let (plan, facts) = (payload.plan, payload.facts);
    let folder = facts.path("systemd-units").map_err(|e| e.to_string())?;
    let units = UNITS.map(|(name, target)| Unit {
        name,
        at: format!("{folder}/{name}"),
        wants: format!("{folder}/{target}.wants"),
    });
    let people = plan.accounts.iter().map(|(name, account)| Person {
        name: name.as_str(),
        sudo: sudo_rule(account.sudo).unwrap_or_default(),
        groups: account.groups.iter().map(|g| g.as_str()).collect::<Vec<_>>().join(","),
        hash: account.password.as_ref().map_or("", |p| p.reveal()),
        ssh_keys: account.keys.iter().map(|k| k.as_str()).collect(),
    });
    Ok(Holes {
        payload: place(),
        digest: &payload.digest,
        lib: LIB,
        state: STATE,
        host: plan.name.as_str(),
        image: &plan.image,
        people: people.collect(),
        own_scripts: plan.scripts.iter().map(String::as_str).collect(),
        host_keys: plan.host_keys(),
        starter: if plan.systemd { "systemd" } else { "scripts" },
        units: if plan.systemd { units.into() } else { Vec::new() },
        scripts: SCRIPTS.iter().map(|(name, _)| *name).filter(|_| !plan.systemd).collect(),
        unit_folder: folder,
        name: "",
        when: "",
        network: facts.unit("network").map_err(|e| e.to_string())?,
        sshd: facts.unit("sshd").map_err(|e| e.to_string())?,
        archive: format!("{}.tar.gz", plan.name),
        archive_sha256: String::new(),
        namespace: NAMESPACE,
        folder: "",
    })
}

/// What lies on the machine until the first boot is over.
fn payload_tree(payload: &Payload, holes: &mut Holes) -> Result<Tree, String> {
    let own = &payload.plan.templates;
    let mut tree = Tree::new();
    let mut add = |path: &str, mode, data: String| tree.insert(path, mode, data).map_err(|e| e.to_string());
    for (path, file) in &payload.files {
        add(&format!("files{path}"), file.mode, file.text.clone())?;
    }
    // It has hashes of passwords.
    add("place", 0o700, render(own.of(template!("delivery/place.sh")), holes).map_err(|e| e.to_string())?)?;
    if payload.plan.systemd {
        for template in [template!("delivery/hardtack-place.service"), template!("delivery/hardtack-late.service")] {
            let name = template.name.trim_start_matches("delivery/");
            add(name, 0o644, render(own.of(template), holes).map_err(|e| e.to_string())?)?;
        }
    } else {
        for (name, when) in SCRIPTS {
            (holes.name, holes.when) = (name, when);
            add(name, 0o755, render(own.of(template!("delivery/place-script.sh")), holes).map_err(|e| e.to_string())?)?;
        }
    }
    let sums = tree.sums();
    tree.insert("SHA256SUMS", 0o600, sums).map_err(|e| e.to_string())?;
    Ok(tree)
}

/// The archive and what installs it, into a folder of the bundle.
pub(super) fn installer(payload: &Payload, folder: &'static str, tree: &mut Tree) -> Result<(), String> {
    let mut holes = holes(payload)?;
    holes.folder = folder;
    let inner = payload_tree(payload, &mut holes)?;
    let archive = tar_gz(&inner, payload.epoch).map_err(|e| e.to_string())?;
    holes.archive_sha256 = sha256_hex(&archive);
    let own = payload.plan.templates.of(template!("delivery/install.sh"));
    let installer = render(own, &holes).map_err(|e| e.to_string())?;
    let mut add = |path: &str, mode, data: Vec<u8>| tree.insert(path, mode, data).map_err(|e| e.to_string());
    // Whoever reads it can try passwords against its hashes.
    add(&format!("{folder}/{}", holes.archive), 0o600, archive)?;
    add(&format!("{folder}/install"), 0o755, installer.into_bytes())
}

/// What must be seen where a payload was installed.
pub(super) fn proofs() -> Vec<Proof> {
    let script = format!(
        "[ ! -e {0} ] && echo 'nothing is left' && exit 0\necho \"$(ls {0} | head -n 3 | tr '\\n' ' ')\"\nexit 1\n",
        place()
    );
    let gone = "what brought the first boot to the machine, with its hashes of passwords, has gone from it";
    vec![proof("payload-gone", &["R42", "shadow(5)"], gone, &script)]
}

impl Delivery for BareMetal {
    // Whoever installs it has the disk for it.
    fn room(&self) -> usize {
        usize::MAX
    }

    fn proofs(&self) -> Vec<Proof> {
        proofs()
    }

    fn files(&self, payload: &Payload, tree: &mut Tree) -> Result<(), String> {
        let holes = holes(payload)?;
        for template in [
            template!("delivery/preseed.cfg"),
            template!("delivery/kickstart.ks"),
            template!("delivery/autoinstall.yaml"),
        ] {
            let name = template.name.trim_start_matches("delivery/");
            let text = render(payload.plan.templates.of(template), &holes).map_err(|e| e.to_string())?;
            tree.insert(&format!("bare-metal/{name}"), 0o644, text).map_err(|e| e.to_string())?;
        }
        installer(payload, "bare-metal", tree)
    }
}
