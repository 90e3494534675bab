//! What is brought by hand: installed at once on a machine that runs, by rc.local, and served over HTTP to one that boots.

use super::bare_metal::{BOOT, booted};
use super::machine::{COMMAND, blame, built, config, text};
use crate::support::{bake, root};
use anyhow::{Context, Result};
use hardtack::archive::tree::Tree;
use hardtack::prove::guest::{Error, Guest};
use hardtack::prove::qemu::Vm;
use hardtack::prove::run::stick;
use hardtack::prove::wire::{Lan, Network};
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};

fn baked(sample: &str, image: &str) -> Result<(Tree, String)> {
    let spec = std::fs::read_to_string(root().join("tests/specs").join(sample))?;
    let spec = spec.replace("image: debian-12\n", &format!("image: {image}\n"));
    let (tree, _) = bake(&spec.replace("deliver: [cloud-init]", "deliver: [cloud-init, bare-metal]"), None, &|_| {});
    let manifest: serde_json::Value = serde_json::from_slice(&file(&tree, "bundle.json")?)?;
    Ok((tree, manifest["bundle_sha256"].as_str().context("a digest")?.to_owned()))
}

fn file(tree: &Tree, path: &str) -> Result<Vec<u8>> {
    Ok(tree.get(path).with_context(|| format!("no {path}"))?.data.clone())
}

/// A machine of the image with the installer beside it, up, and nothing installed.
fn start(image: &str, tree: &Tree, folder: &std::path::Path) -> Result<(Vm, Lan, Guest)> {
    let archive = tree.iter().map(|(path, _)| path).find(|path| path.ends_with(".tar.gz")).context("no archive")?;
    let name = archive.trim_start_matches("bare-metal/").to_owned();
    let seed = folder.join("stick.img");
    std::fs::write(&seed, stick(&file(tree, "bare-metal/install")?, &name, &file(tree, archive)?)?)?;
    let vm = Vm::start(&config(&built(image)?, &seed)?)?;
    let lan = Lan::connect(&vm.wire(0), Network::of(0, Vec::new()))?;
    let mut guest = Guest::connect(&vm)?;
    guest.wait_ready(BOOT).map_err(blame(&vm))?;
    Ok((vm, lan, guest))
}

const STICK: &str = "mkdir -p /run/stick && mount -o ro -L CIDATA /run/stick && ";

#[test]
#[ignore = "ci/full"]
fn a_machine_that_runs_is_hardened_at_once() -> Result<()> {
    let (tree, digest) = baked("other.yaml", "debian-12")?;
    let folder = tempfile::tempdir()?;
    let (vm, _lan, mut guest) = start("debian-12", &tree, folder.path())?;
    booted(&vm, &mut guest)?;
    let told = guest.run(&format!("{STICK}sh /run/stick/install 2>&1"), BOOT)?;
    assert_eq!(told.status, 0, "{}\n{}", String::from_utf8_lossy(&told.stdout), vm.console());
    let after = "cat /var/lib/hardtack/sealed; ls -d /var/lib/hardtack/payload* 2>/dev/null; systemctl is-active ssh; \
        systemctl --failed --plain --no-legend | cut -d' ' -f1; iptables-save | grep -c '^:INPUT DROP'; \
        until [ -e /etc/cloud/cloud-init.disabled ]; do sleep 0.2; done; sshd -T | grep -i ^permitrootlogin";
    let seen = text(guest.run(after, COMMAND))?;
    assert_eq!(seen, format!("{digest}\nactive\n1\npermitrootlogin no\n"), "{}", vm.console());
    // Once more, and nothing is done.
    let told = guest.run("sh /run/stick/install 2>&1", COMMAND)?;
    let said = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(told.status == 0 && said.contains("is on this machine already"), "{said}");
    vm.quit()
}

#[test]
#[ignore = "ci/full"]
fn what_rc_local_applies_is_there_when_it_has_run() -> Result<()> {
    let (tree, digest) = baked("rc-local.yaml", "debian-12-sysvinit")?;
    let folder = tempfile::tempdir()?;
    let (vm, _lan, mut guest) = start("debian-12-sysvinit", &tree, folder.path())?;
    let up = "until case $(runlevel) in *[2-5]) ! pgrep -x rc >/dev/null ;; *) false ;; esac; do sleep 1; done\n";
    guest.run(up, BOOT).map_err(blame(&vm))?;
    let told = guest.run(&format!("{STICK}sh /run/stick/install --rc-local 2>&1; cat /etc/rc.local"), COMMAND)?;
    let said = String::from_utf8_lossy(&told.stdout).into_owned();
    assert!(said.contains("/var/lib/hardtack/payload/place early"), "{said}");
    vm.reset()?;
    let told = guest.run("sleep 1000", BOOT);
    assert!(matches!(told, Err(Error::Restarted)), "{told:?}");
    guest.wait_ready(BOOT).map_err(blame(&vm))?;
    let seen = text(guest.run(
        &format!(
            "{up}cat /var/lib/hardtack/sealed; ls -d /var/lib/hardtack/payload* 2>/dev/null; \
        grep -c payload/place /etc/rc.local; iptables-save | grep -c '^:INPUT DROP'"
        ),
        BOOT,
    ))?;
    assert_eq!(seen, format!("{digest}\n0\n1\n"), "{}", vm.console());
    vm.quit()
}

#[test]
fn what_is_served_hardens_a_machine_that_boots_by_the_network() -> Result<()> {
    let (tree, digest) = baked("other.yaml", "debian-12")?;
    let folder = tempfile::tempdir()?;
    tree.write(&folder.path().join("db-7"), &|_| false)?;
    let mut serve = Command::new(assert_cmd::cargo::cargo_bin!("hardtack"))
        .args(["serve", "--listen", "127.0.0.1:0"])
        .arg(folder.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    let done = served(&mut serve, &digest);
    serve.kill()?;
    serve.wait()?;
    done
}

fn served(serve: &mut std::process::Child, digest: &str) -> Result<()> {
    let mut lines = BufReader::new(serve.stdout.take().context("its output")?).lines();
    let address = lines.next().context("no address")??;
    let local = address.trim_start_matches("http://").split('/').next().context("no port")?.parse()?;
    let there = "198.51.100.80:8000";
    let url = address.replace(&format!("http://{local}/"), &format!("http://{there}/"));
    let folder = tempfile::tempdir()?;
    let seed = folder.path().join("no-seed");
    let mut config = config(&built("debian-12")?, &seed)?;
    config.seed = None;
    config.kernel_line.push(format!("ds=nocloud-net;s={url}"));
    let vm = Vm::start(&config)?;
    let lan = Lan::connect(&vm.wire(0), Network::of(0, Vec::new()))?;
    let _bridge = lan.serve(there.parse()?, local)?;
    let mut guest = Guest::connect(&vm)?;
    guest.wait_ready(BOOT).map_err(blame(&vm))?;
    booted(&vm, &mut guest)?;
    let seen =
        text(guest.run("cat /var/lib/hardtack/sealed; hostname; iptables-save | grep -c '^:INPUT DROP'", COMMAND))?;
    assert_eq!(seen, format!("{digest}\ndb-7\n1\n"), "{}", vm.console());
    // Whoever asks now is not the machine.
    let again = format!("python3 -c 'import urllib.request as r; r.urlopen(\"{url}user-data\")' 2>&1 | tail -n 1");
    let told = text(guest.run(&again, COMMAND))?;
    assert!(told.contains("410"), "{told}");
    let log: Vec<String> = lines.take(4).collect::<std::io::Result<_>>()?;
    for line in ["200 db-7 meta-data", "200 db-7 user-data", "410 taken before: user-data"] {
        assert!(log.iter().any(|said| said.contains(line)), "{line}: {log:?}");
    }
    vm.quit()
}
