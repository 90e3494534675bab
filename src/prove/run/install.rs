//! A bundle that is installed on a machine that has booted, for its next start.

use super::cut::Cut;
use super::machine::{Machine, SMALL};
use crate::archive::seed;
use crate::plan::proof::Window;
use anyhow::{Result, bail};

/// A stick with an installer and its archive, for a machine that nobody has asked for anything yet: not even for the account that
/// cloud-init makes unasked.
///
/// # Errors
/// What no volume can hold.
pub fn stick(script: &[u8], name: &str, archive: &[u8]) -> std::io::Result<Vec<u8>> {
    let asks: [(&str, &[u8]); 2] =
        [("meta-data", b"instance-id: hardtack-installs\n"), ("user-data", b"#cloud-config\nusers: []\n")];
    seed::vfat(&[asks[0], asks[1], ("install", script), (name, archive)], 0)
}

/// What a machine is given by a cloud that asks it for nothing.
///
/// # Errors
/// What no volume can hold.
pub fn nothing_asked(instance: &str) -> std::io::Result<Vec<u8>> {
    let about = format!("instance-id: {instance}\n");
    seed::vfat(&[("meta-data", about.as_bytes()), ("user-data", b"#cloud-config\n{}\n")], 0)
}

/// Installs from the stick, for the next start.
const INSTALL: &str = "m=/run/hardtack-stick; mkdir -p $m && mount -o ro -L CIDATA $m || exit\n\
    sh $m/install --next-boot 2>&1; s=$?; umount $m; exit $s\n";

impl Machine<'_> {
    /// Installs the bundle on the machine as it is, and starts it again: that boot is the bundle's first.
    pub(super) fn install(&mut self, window: Option<&Window>, cut: Option<Cut>) -> Result<()> {
        self.first_boot()?;
        self.say("installing the bundle");
        let done = self.guest.run(INSTALL, SMALL)?;
        if done.status != 0 {
            bail!(
                "the bundle was not installed: {}",
                crate::report::shown(String::from_utf8_lossy(&done.stdout).trim())
            );
        }
        self.phase("install");
        self.restart(window)?;
        if let Some(cut) = cut {
            self.cut(cut)?;
            self.watch(window);
            self.trust()?;
        }
        self.boot("first boot")
    }
}
