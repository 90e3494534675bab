//! cloud-init: user-data that a reader understands, and seed volumes that NoCloud finds.

use super::{BOOTCMD, Delivery, FIRSTBOOT_UNIT, Payload, PayloadFile, proof, sudo_rule};
use crate::archive::seed;
use crate::archive::tar_gz::{gzip, tar_gz};
use crate::archive::tree::Tree;
use crate::plan::proof::Proof;
use crate::plan::{Account, LIB, STATE, Stage};
use crate::template::render;
use crate::yaml::emit;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use std::borrow::Cow;

/// How the files stand in user-data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Each as it is.
    Readable,
    /// All of them packed: a third of the bytes, where a cloud takes text alone.
    Compact,
}

/// Characters of a line of base64.
const LINE: usize = 120;

/// Bytes of a file from which on it is packed, also where the rest is as it is: cloud-init reads user-data in pure Python, at each of its
/// four stages, which cost 21 CPU seconds under emulation for the article's 187 KiB. What is as large is a list or a program.
const LARGE: usize = 16 << 10;

/// Delivers by cloud-init, 22.4 to 26.x.
pub struct CloudInit;

#[derive(Serialize)]
struct UserData<'a> {
    hostname: &'a str,
    manage_etc_hosts: &'static str,
    // Without the hurdle `ssh` nothing is asked of sshd, and cloud-init leaves it as the image has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_pwauth: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ssh_genkeytypes: Option<&'a [&'static str]>,
    disable_root: bool,
    bootcmd: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    users: Vec<User<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    write_files: Vec<WriteFile<'a>>,
    runcmd: Vec<Vec<String>>,
}

#[derive(Serialize)]
struct User<'a> {
    name: &'a str,
    shell: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    groups: Vec<&'a str>,
    lock_passwd: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    hashed_passwd: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sudo: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ssh_authorized_keys: Vec<&'a str>,
}

#[derive(Serialize)]
struct WriteFile<'a> {
    path: &'a str,
    owner: &'static str,
    // A text of four digits: a number would be read as decimal (facts.md C.4).
    permissions: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<&'static str>,
    content: Cow<'a, str>,
}

impl<'a> WriteFile<'a> {
    fn new(path: &'a str, file: &'a PayloadFile) -> Result<Self, String> {
        let large = file.text.len() >= LARGE;
        Ok(WriteFile {
            path,
            owner: "root:root",
            permissions: format!("{:04o}", file.mode),
            encoding: large.then_some("gz+b64"),
            content: if large {
                Cow::Owned(in_lines(&gzip(file.text.as_bytes()).map_err(|e| e.to_string())?))
            } else {
                Cow::Borrowed(&file.text)
            },
        })
    }
}

#[derive(Serialize)]
struct MetaData<'a> {
    #[serde(rename = "instance-id")]
    instance_id: String,
    #[serde(rename = "local-hostname")]
    local_hostname: &'a str,
    // All of init runs before network-pre.target then, so nothing of the first boot is open for a moment (qemu.md 8).
    dsmode: &'static str,
}

#[derive(Serialize)]
struct GateFile<'a> {
    path: &'a str,
    parent: &'a str,
    mode: String,
    text: &'a str,
    end: String,
}

fn user<'a>(name: &'a str, account: &'a Account) -> User<'a> {
    User {
        name,
        shell: "/bin/bash",
        groups: account.groups.iter().map(|g| g.as_str()).collect(),
        // The default is true, and then sudo could never take the password (R40).
        lock_passwd: account.password.is_none(),
        hashed_passwd: account.password.as_ref().map(|p| p.reveal()),
        sudo: sudo_rule(account.sudo),
        ssh_authorized_keys: account.keys.iter().map(|k| k.as_str()).collect(),
    }
}

// A line that the text does not have ends its here-document.
fn end_of(text: &str) -> String {
    (0..)
        .map(|n| if n == 0 { "HARDTACK".to_owned() } else { format!("HARDTACK_{n}") })
        .find(|end| !text.lines().any(|l| l == end))
        .unwrap_or_default()
}

/// All files of the payload, in lines of base64.
fn packed(payload: &Payload) -> Result<String, String> {
    let mut tree = Tree::new();
    for (path, file) in &payload.files {
        let inside = path.trim_start_matches('/');
        tree.insert(inside, file.mode, file.text.clone().into_bytes()).map_err(|e| e.to_string())?;
    }
    Ok(in_lines(&tar_gz(&tree, payload.epoch).map_err(|e| e.to_string())?))
}

/// As base64.
fn in_lines(data: &[u8]) -> String {
    let text = STANDARD.encode(data);
    let lines: Vec<&str> =
        (0..text.len()).step_by(LINE).filter_map(|at| text.get(at..text.len().min(at + LINE))).collect();
    lines.join("\n")
}

impl CloudInit {
    /// The user-data: as a reader would have it, or compact, with all files packed.
    pub(super) fn user_data(payload: &Payload, form: Form) -> Result<String, String> {
        #[derive(Serialize)]
        struct Holes<'a> {
            files: Vec<GateFile<'a>>,
            packed: Option<String>,
            commands: Vec<&'a str>,
            digest: &'a str,
            lib: &'static str,
            state: &'static str,
            scripts: Vec<&'a str>,
            /// What runs the first boot before the network; none without systemd.
            unit: Option<&'static str>,
        }
        let gate: Vec<_> = payload.files.iter().filter(|(_, f)| f.stage == Stage::Gate).collect();
        let prefix = format!("{LIB}/gate.d/");
        let holes = Holes {
            packed: (form == Form::Compact).then(|| packed(payload)).transpose()?,
            files: gate
                .iter()
                .filter(|_| form == Form::Readable)
                .map(|(path, f)| GateFile {
                    path,
                    parent: path.rsplit_once('/').map_or("/", |(parent, _)| parent),
                    mode: format!("{:04o}", f.mode),
                    text: &f.text,
                    end: end_of(&f.text),
                })
                .collect(),
            commands: gate.iter().map(|(path, _)| path.as_str()).filter(|p| p.starts_with(&prefix)).collect(),
            digest: &payload.digest,
            lib: LIB,
            state: STATE,
            scripts: payload.plan.scripts.iter().map(String::as_str).collect(),
            unit: payload.plan.systemd.then_some(FIRSTBOOT_UNIT),
        };
        let plan = payload.plan;
        let data = UserData {
            hostname: plan.name.as_str(),
            manage_etc_hosts: "localhost",
            ssh_pwauth: plan.logins.as_ref().map(|l| l.passwords),
            ssh_genkeytypes: Some(plan.host_keys()).filter(|kinds| !kinds.is_empty()),
            disable_root: !plan.logins.as_ref().is_some_and(|l| l.root),
            bootcmd: vec![render(payload.plan.templates.of(BOOTCMD), &holes).map_err(|e| e.to_string())?],
            users: plan.accounts.iter().map(|(name, account)| user(name.as_str(), account)).collect(),
            write_files: payload
                .files
                .iter()
                .filter(|(_, f)| f.stage != Stage::Gate && form == Form::Readable)
                .map(|(path, file)| WriteFile::new(path, file))
                .collect::<Result<_, _>>()?,
            runcmd: vec![vec!["/bin/sh".to_owned(), format!("{LIB}/firstboot"), "late".to_owned()]],
        };
        let way = match form {
            Form::Readable => "sets the gate before anything listens; users and write_files follow",
            Form::Compact => "unpacks all files and sets the gate before anything listens; users follow",
        };
        Ok(format!(
            "#cloud-config\n\
             # Made by hardtack {} for {} on {}.\n\
             # bootcmd {way}; then hardtack-firstboot applies\n\
             # and opens, before sshd starts. runcmd does what had to wait for packages. Bundle {}.\n{}",
            env!("CARGO_PKG_VERSION"),
            plan.name,
            plan.image,
            payload.digest,
            emit(&data)?
        ))
    }
}

impl Delivery for CloudInit {
    // The most that one value of user-data may be at any cloud with a limit, GCP; at most clouds it is less, for NoCloud there is none
    // (facts.md C.8).
    fn room(&self) -> usize {
        256 << 10
    }

    fn proofs(&self) -> Vec<Proof> {
        // A status of `done` also stands over modules that failed, so the errors are read (facts.md C.12).
        // They are read where `cloud-init status` reads them: to start that costs five CPU seconds under emulation. Since it was
        // switched off, that is what its last boot has left.
        let script = "python3 -IS -c 'import json, os, sys\n\
            off = os.path.exists(\"/etc/cloud/cloud-init.disabled\") and not os.path.exists(\"/run/cloud-init/status.json\")\n\
            where = \"/var/lib/cloud/data/\" if off else \"/run/cloud-init/\"\n\
            v1 = json.load(open(where + \"status.json\"))[\"v1\"]\n\
            stages = [s for s in v1.values() if isinstance(s, dict)]\n\
            times = [(s.get(\"start\"), s.get(\"finished\")) for s in stages]\n\
            done = any(f for s, f in times) and not any(s and not f for s, f in times)\n\
            done = done and not v1.get(\"stage\") and os.path.exists(where + \"result.json\")\n\
            bad = [str(e) for s in stages for e in s.get(\"errors\", [])]\n\
            bad += [str(e) for s in stages for l in s.get(\"recoverable_errors\", {}).values() for e in l]\n\
            print(\"done\" if done else \"not done\", *bad)\n\
            sys.exit(not done or bool(bad))' 2>&1\n";
        let done = "cloud-init has finished, without an error and without a warning";
        let valid = "the machine's own cloud-init finds no fault in the user-data";
        vec![
            proof("cloud-init-done", &["cloud-init(1)"], done, script),
            // What it made of it. `--system` reads that too, but fetches and consumes it anew before, for a CPU second more.
            proof(
                "user-data-valid",
                &["cloud-init(1)"],
                valid,
                "cloud-init schema -c /var/lib/cloud/instance/cloud-config.txt 2>&1\n",
            ),
        ]
    }

    fn files(&self, payload: &Payload, tree: &mut Tree) -> Result<(), String> {
        let user_data = Self::user_data(payload, Form::Readable)?;
        let meta = MetaData {
            instance_id: format!("hardtack-{}", &payload.digest[..16]),
            local_hostname: payload.plan.name.as_str(),
            dsmode: "local",
        };
        let meta_data = emit(&meta)?;
        let files: [(&str, &[u8]); 2] = [("meta-data", meta_data.as_bytes()), ("user-data", user_data.as_bytes())];
        let vfat = seed::vfat(&files, payload.epoch).map_err(|e| e.to_string())?;
        let iso = seed::iso(&files, payload.epoch).map_err(|e| e.to_string())?;
        // Whoever reads user-data can try passwords against its hashes.
        let mut add = |path: &str, mode, data: Vec<u8>| tree.insert(path, mode, data).map_err(|e| e.to_string());
        add("cloud-init/user-data", 0o600, user_data.clone().into_bytes())?;
        add("cloud-init/meta-data", 0o644, meta_data.clone().into_bytes())?;
        add("seed.img", 0o600, vfat)?;
        add("seed.iso", 0o600, iso)?;
        if let Some(fitted) = &payload.fitted {
            add(&fitted.path, 0o600, fitted.data.clone())?;
        }
        Ok(())
    }
}
