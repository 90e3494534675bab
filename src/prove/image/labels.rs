//! SELinux's labels of an image's files. They are written into the file system itself: no tarball keeps them, and of this host's users
//! only root may set them.
use std::fs;
use std::io::{Seek, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};

use super::build::DISK_LIMIT;
use crate::prove::process::Program;

/// Writes the labels that `setfiles -n -v` wants into the file system, and reads them back. What has gone since then needs none.
pub(super) fn write(root: &Path, list: &Path) -> Result<()> {
    let list = fs::read_to_string(list).context("could not read the labels")?;
    let labels = wanted(&list)?;
    debugfs(
        &["-w"],
        root,
        labels.iter().map(|(path, label)| format!("ea_set \"{path}\" security.selinux {label}\\000\n")),
    )?;
    // The tool ends well whatever became of what it was told.
    let seen = debugfs(
        &[],
        root,
        labels.iter().map(|(path, _)| format!("ea_get \"{path}\" security.selinux\nstat \"{path}\"\n")),
    )?;
    let mut answers = seen.split("debugfs: ea_get ").skip(1);
    for (path, label) in &labels {
        let answer = answers.next().with_context(|| format!("nothing is said of {path}"))?;
        let (its, stat) = answer.split_once("debugfs: stat ").unwrap_or((answer, ""));
        if stat.contains("Inode: ") && !its.contains(&format!("\"{label}\\000\"")) {
            bail!("{path} has not become {label}");
        }
    }
    Ok(())
}

fn debugfs(options: &[&str], root: &Path, commands: impl Iterator<Item = String>) -> Result<String> {
    let mut script = tempfile::tempfile().context("could not make a file")?;
    script
        .write_all(commands.collect::<String>().as_bytes())
        .and_then(|()| script.rewind())
        .context("could not write")?;
    let said = Program::new("debugfs")
        .args(options)
        .args(["-f", "-"])
        .arg(root)
        .input(script)
        .deadline(DISK_LIMIT)
        .output()?;
    Ok(String::from_utf8_lossy(&said).into_owned())
}

/// Paths with their labels, of lines `Would relabel PATH from OLD to LABEL`.
fn wanted(list: &str) -> Result<Vec<(&str, &str)>> {
    let mut all = Vec::new();
    for line in list.lines() {
        let Some((path, label)) = line.strip_prefix("Would relabel ").and_then(|rest| {
            let (rest, label) = rest.rsplit_once(" to ")?;
            Some((rest.rsplit_once(" from ")?.0, label))
        }) else {
            bail!("a line of labels is not understood: {}", line.escape_debug());
        };
        // Between quotation marks debugfs takes all else as it is, a backslash too.
        let plain = |text: &str| !text.contains('"') && !text.chars().any(char::is_control);
        if !path.starts_with('/') || !plain(path) || !plain(label) || label.contains(' ') {
            bail!("a label cannot be written: {}", line.escape_debug());
        }
        all.push((path, label));
    }
    if all.is_empty() {
        bail!("no file has a label: does the recipe name a policy?");
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_and_written() -> Result<()> {
        let list = "Would relabel / from <no context> to system_u:object_r:root_t:s0\n\
                    Would relabel /etc/a\\x2d from b from <no context> to system_u:object_r:etc_t:s0\n";
        assert_eq!(wanted(list)?[1], ("/etc/a\\x2d from b", "system_u:object_r:etc_t:s0"));
        for bad in ["", "what\n", "Would relabel /a\"b from x to y\n", "Would relabel a from x to y\n"] {
            wanted(bad).unwrap_err();
        }
        let folder = tempfile::tempdir()?;
        let at = |name: &str| folder.path().join(name);
        fs::create_dir_all(at("root/etc"))?;
        fs::write(at("root/etc/a\\x2d from b"), "")?;
        fs::write(at("list"), list)?;
        fs::File::create(at("raw"))?.set_len(8 << 20)?;
        super::super::build::fill(&[], &at("root"), &at("raw"), None)?;
        write(&at("raw"), &at("list"))?;
        let read = Program::new("debugfs")
            .args(["-R", "ea_get \"/etc/a\\x2d from b\" security.selinux"])
            .arg(at("raw"))
            .output()?;
        assert!(String::from_utf8_lossy(&read).contains("system_u:object_r:etc_t:s0"));
        // What has gone is no fault; what cannot be labelled is.
        fs::write(at("list"), list.replace("/etc/a", "/etc/gone/a"))?;
        write(&at("raw"), &at("list"))?;
        fs::write(at("list"), list.replace("etc_t:s0", &"c".repeat(5000)))?;
        assert!(write(&at("raw"), &at("list")).unwrap_err().to_string().contains(" has not become "));
        Ok(())
    }
}
