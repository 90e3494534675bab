//! The parts of a build that need no package server.
use super::*;

/// A recipe with all that one can ask for.
fn labelled() -> Recipe {
    Recipe {
        suite: "bookworm".into(),
        components: vec!["main".into()],
        packages: vec!["sudo".into()],
        boot_loader: vec!["grub".into()],
        labelled: true,
        disk_mib: 3072,
    }
}

#[test]
fn only_installed_packages_count() {
    let status = "Package: sudo\nStatus: install ok installed\nVersion: 1.9\nDescription: x\n Version: 2\n\n\
                  Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n\n\
                  Package: bash\nVersion: 5\nStatus: install ok installed\n";
    let names: Vec<_> = packages(status).into_iter().map(|p| format!("{} {}", p.name, p.version)).collect();
    assert_eq!(names, ["bash 5", "sudo 1.9"]);
    assert_eq!(packages(""), []);
}

/// An apt that ran after our hooks once emptied the package lists of the host.
#[test]
fn the_hosts_apt_is_out_of_reach() {
    assert!(SKIPPED.contains(&"--skip=cleanup/apt"));
    let deletes_temporary = |line: &str| line.starts_with("rm ") && line.contains("\"/tmp");
    let recipe = &labelled();
    assert!(![Kind::Flat, Kind::Vendor].iter().any(|k| k.customise(recipe).lines().any(deletes_temporary)));
}

#[test]
fn progress_is_stages_and_warnings() {
    assert_eq!(milestone("I: creating tarball..."), Some("creating tarball..."));
    assert_eq!(milestone("W: slow"), Some("W: slow"));
    assert_eq!(milestone("I: running --customize-hook in shell: sh -c 'x"), None);
    assert_eq!(milestone("set -eu"), None);
}

#[test]
fn a_path_in_a_hook_is_one_word() -> Result<()> {
    let odd = Path::new("/a b/$(x)'");
    for (root, kind) in [(true, Kind::Flat), (false, Kind::Flat), (true, Kind::Vendor)] {
        for hook in hooks(root, kind, &labelled(), odd, odd, odd)? {
            if let Some((_, command)) = hook.split_once("-hook=").filter(|(_, c)| !c.contains('\n')) {
                let words = shlex::split(command).unwrap_or_default();
                assert!(!command.contains("(x)") || words.iter().any(|w| w == "/a b/$(x)'"), "{command}");
            }
        }
    }
    Ok(())
}

#[test]
fn there_is_one_kernel() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let told = || only(directory.path(), "vmlinuz-").map_err(|e| e.to_string());
    assert!(told().is_err_and(|e| e.contains("no vmlinuz-*")));
    fs::write(directory.path().join("vmlinuz-1"), "")?;
    assert_eq!(told(), Ok(directory.path().join("vmlinuz-1")));
    fs::write(directory.path().join("vmlinuz-2"), "")?;
    assert!(told().is_err_and(|e| e.contains("more than one")));
    Ok(())
}

#[test]
fn the_old_image_makes_way() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let at = |name: &str| directory.path().join(name);
    for name in ["fresh", "place"] {
        fs::create_dir(at(name))?;
        fs::write(at(name).join("which"), name)?;
    }
    replace(&at("fresh"), &at("place"), &at("old"))?;
    assert_eq!(fs::read_to_string(at("place").join("which"))?, "fresh");
    Ok(())
}

#[test]
fn two_builds_do_not_collide() -> Result<()> {
    let directory = tempfile::tempdir()?;
    let path = directory.path().join("lock");
    let held = lock(&path, &mut |_| {})?;
    let waiter = std::thread::spawn({
        let path = path.clone();
        move || {
            let mut told = Vec::new();
            lock(&path, &mut |line| told.push(line.to_owned())).map(|_| told)
        }
    });
    std::thread::sleep(Duration::from_millis(300));
    drop(held);
    let told = waiter.join().map_err(|_| anyhow!("the waiter panicked"))??;
    assert_eq!(told, ["waiting for another hardtack that makes or fetches the same"]);
    Ok(())
}
