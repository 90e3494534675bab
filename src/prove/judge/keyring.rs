//! What the prober logs in with, and how the machine is told of it for as long as it tries.

use super::agent::SecurityKey;
use crate::plan::proof::{Code, Credential, Fault, Login};
use crate::prove::process::Program;
use anyhow::{Context, Result};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use totp_rs::{Algorithm, Secret, TOTP};

/// Where sshd looks for keys when the machine's dead-man's switch has fired.
const RESCUE: &str = "/etc/hardtack/rescue/keys";
/// The authorities whose certificates let in, and what is revoked, where a bundle has them.
const AUTHORITIES: &str = "/etc/hardtack/ssh/user-ca";
const REVOKED: &str = "/etc/hardtack/ssh/revoked";

/// What the prober logs in with: made for this run, and thrown away with it.
#[derive(Debug)]
pub struct Keyring {
    pub(super) folder: PathBuf,
    /// The public half of the key that is put beside a person's own.
    pub public: String,
    authority: String,
    revoked: String,
    password: String,
    /// A word that only a shell on the machine can say.
    pub(super) nonce: String,
    factor: TOTP,
    pub(super) security: SecurityKey,
}

// `prober` is put beside people's own keys, `stranger` nowhere; `authority` signs certificates, for `carried` and `revoked`.
const KEYS: [&str; 5] = ["prober", "stranger", "authority", "carried", "revoked"];

impl Keyring {
    /// Makes keys, a password and the secret of a second factor, in a folder that only we can read. `nonce` is this run's own secret.
    ///
    /// # Errors
    /// ssh-keygen is missing or fails.
    pub fn new(folder: &Path, nonce: &str) -> Result<Self> {
        for name in KEYS {
            Program::new("ssh-keygen")
                .args(["-q", "-t", "ed25519", "-N", "", "-C", "hardtack-prober", "-f"])
                .arg(folder.join(name))
                .output()?;
        }
        let read = |name: &str| -> Result<String> {
            let path = folder.join(name).with_extension("pub");
            Ok(std::fs::read_to_string(path).context("could not read the prober's key")?.trim().to_owned())
        };
        // As RFC 6238 has it by default, and all authenticators: SHA-1, six digits, thirty seconds.
        let factor = TOTP::new_unchecked(Algorithm::SHA1, 6, 1, 30, format!("{nonce:0<20}").into_bytes());
        let keyring = Keyring {
            folder: folder.to_owned(),
            public: read("prober")?,
            authority: read("authority")?,
            revoked: read("revoked")?,
            password: format!("Pw-{nonce}"),
            nonce: format!("HARDTACK-{nonce}"),
            factor,
            security: SecurityKey::new(nonce.as_bytes())?,
        };
        keyring.write("security.pub", &(keyring.security.public() + "\n"), 0o600)?;
        Ok(keyring)
    }

    /// Writes a file for the client, of which others may know nothing.
    ///
    /// # Errors
    /// It cannot be written.
    pub(super) fn write(&self, name: &str, text: &str, mode: u32) -> Result<()> {
        use std::os::unix::fs::PermissionsExt;
        let path = self.folder.join(name);
        std::fs::write(&path, text).with_context(|| format!("could not write {}", path.display()))?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode))
            .with_context(|| format!("could not set the mode of {}", path.display()))
    }

    /// What the client answers when it is asked, since there is no terminal.
    ///
    /// # Errors
    /// The clock stands before 1970.
    #[expect(clippy::disallowed_methods, reason = "a code is of this very moment, and in no bundle")]
    pub(super) fn answer(&self, login: &Login) -> Result<String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).context("the clock stands before 1970")?.as_secs();
        let right = self.factor.generate(now);
        Ok(match login.code {
            Some(Code::Right) => right,
            // Of another time, and surely another one than those around now.
            Some(Code::Wrong) => {
                let near: Vec<String> = (0..9).map(|n| self.factor.generate(now - 120 + n * 30)).collect();
                let far = (1..).map(|n| self.factor.generate(now - 86_400 * n)).find(|code| !near.contains(code));
                far.unwrap_or_default()
            }
            Some(Code::NotGiven | Code::NotSetUp) => String::new(),
            None => self.password.clone(),
        })
    }

    /// The private key that a login offers, with its certificate beside it where it has one; none for a password.
    ///
    /// # Errors
    /// ssh-keygen fails.
    pub(super) fn identity(&self, login: &Login, number: u8) -> Result<Option<PathBuf>> {
        let Credential::Certificate(certificate) = &login.with else {
            let name = match login.with {
                Credential::ItsPassword => return Ok(None),
                Credential::StrangersKey => "stranger",
                // The half that the client has of a key that its agent has.
                Credential::ItsSecurityKey { .. } => "security.pub",
                _ => "prober",
            };
            return Ok(Some(self.folder.join(name)));
        };
        let (fault, name) = (certificate.fault, format!("certificate-{number}"));
        let carried = if fault == Some(Fault::Revoked) { "revoked" } else { "carried" };
        let path = self.folder.join(&name);
        for end in ["", ".pub"] {
            let to = self.folder.join(format!("{name}{end}"));
            std::fs::copy(self.folder.join(format!("{carried}{end}")), to).context("could not copy a key")?;
        }
        let valid = if fault == Some(Fault::Expired) { "-2h:-1h" } else { "-1h:+1h" };
        let authority = if fault == Some(Fault::StrangersAuthority) { "stranger" } else { "authority" };
        Program::new("ssh-keygen")
            .args(["-q", "-I", "hardtack-prober", "-n", &certificate.principal, "-V", valid, "-s"])
            .arg(self.folder.join(authority))
            .arg(path.with_extension("pub"))
            .output()?;
        Ok(Some(path))
    }

    /// A script that gives the accounts what these logins offer, and says the machine's host keys. `create` makes accounts
    /// that are not there: on the bare image, so that a refusal is judged by sshd's settings and not by a missing name.
    #[must_use]
    pub fn arrange(&self, logins: &[&Login], create: bool) -> String {
        let users = |of: &dyn Fn(&Login) -> bool| {
            logins.iter().filter(|l| of(l)).map(|l| l.user.as_str()).collect::<BTreeSet<_>>()
        };
        // Names are UserNames, the keys, the password and the secret are ours: none has a character that the shell reads.
        let mut script = String::from("d=/run/hardtack-prove; mkdir -p -m 700 $d\n");
        if create {
            for user in users(&|_| true) {
                script.push_str(&format!("getent passwd {user} >/dev/null || useradd -m -s /bin/bash {user}\n"));
            }
        }
        let keys = |user: &str| -> String {
            let has = |of: &dyn Fn(&Credential) -> bool| logins.iter().any(|l| l.user == user && of(&l.with));
            let soft = has(&|with| *with == Credential::ItsKey).then_some(self.public.clone());
            let hard = has(&|with| matches!(with, Credential::ItsSecurityKey { .. })).then(|| self.security.public());
            soft.into_iter().chain(hard).map(|key| format!("'{key}' ")).collect()
        };
        for user in users(&|l| matches!(l.with, Credential::ItsKey | Credential::ItsSecurityKey { .. })) {
            script.push_str(&format!(
                "if u={user}; h=$(getent passwd $u); then h=$(echo \"$h\" | cut -d: -f6); g=$(id -gn $u)\n\
                 [ -d \"$h/.ssh\" ] || install -d -m 700 -o $u -g $g \"$h/.ssh\"\n\
                 k=\"$h/.ssh/authorized_keys\"; [ ! -e \"$k\" ] || [ -e $d/$u.keys ] || cp -p \"$k\" $d/$u.keys\n\
                 printf '\\n%s\\n' {0}>>\"$k\"; chown $u:$g \"$k\"; chmod 600 \"$k\"\n\
                 [ ! -e /var/lib/hardtack/rescued ] || {{ printf '%s\\n' {0}>>{RESCUE}/$u; chmod 644 {RESCUE}/$u; }}; fi\n",
                keys(user)
            ));
        }
        // By no way that PAM judges: a policy for passwords has nothing against this one.
        for user in users(&|l| l.with == Credential::ItsPassword) {
            script.push_str(&format!(
                "if getent shadow {user} >/dev/null; then [ -e $d/{user}.hash ] || getent shadow {user} | cut -d: -f2 >$d/{user}.hash\n\
                 printf '%s:%s\\n' {user} '{}' | chpasswd -c SHA512; fi\n",
                self.password
            ));
        }
        let secret = Secret::Raw(self.factor.secret.clone()).to_encoded();
        for (user, set_up) in users(&|l| matches!(l.code, Some(Code::NotGiven | Code::Wrong | Code::Right)))
            .into_iter()
            .map(|user| (user, true))
            .chain(users(&|l| l.code == Some(Code::NotSetUp)).into_iter().map(|user| (user, false)))
        {
            let write = if set_up {
                format!(
                    "printf '%s\\n' {secret} '\" WINDOW_SIZE 5' '\" TOTP_AUTH' >\"$t\"; chown $u \"$t\"; chmod 400 \"$t\""
                )
            } else {
                "rm -f \"$t\"".to_owned()
            };
            script.push_str(&format!(
                "if u={user}; h=$(getent passwd $u); then t=$(echo \"$h\" | cut -d: -f6)/.google_authenticator\n\
                 [ -e $d/$u.factor ] || {{ [ -e \"$t\" ] && cp -p \"$t\" $d/$u.factor || : >$d/$u.factor; }}\n{write}; fi\n",
            ));
        }
        if logins.iter().any(|l| matches!(l.with, Credential::Certificate(_))) {
            for (file, key) in [(AUTHORITIES, &self.authority), (REVOKED, &self.revoked)] {
                script.push_str(&format!(
                    "f={file}; if [ -e $f ]; then [ -e $d/${{f##*/}} ] || cp -p $f $d/; printf '%s\\n' '{key}' >>$f; fi\n"
                ));
            }
        }
        script.push_str("cat /etc/ssh/ssh_host_*_key.pub\n");
        script
    }
}

/// A script that takes away again what [`Keyring::arrange`] gave.
#[must_use]
pub fn restore(logins: &[&Login]) -> String {
    let mut script = String::from("d=/run/hardtack-prove\n");
    for user in logins.iter().map(|l| l.user.as_str()).collect::<BTreeSet<_>>() {
        script.push_str(&format!(
            "if u={user}; h=$(getent passwd $u); then h=$(echo \"$h\" | cut -d: -f6); k=\"$h/.ssh/authorized_keys\"\n\
             if [ -e $d/$u.keys ]; then cp -p $d/$u.keys \"$k\"; elif [ -e \"$k\" ]; then sed -i -e '/hardtack-prober$/d' -e '/^$/d' \"$k\"; fi\n\
             [ ! -e {RESCUE}/$u ] || sed -i '/hardtack-prober$/d' {RESCUE}/$u\n\
             t=\"$h/.google_authenticator\"; if [ -s $d/$u.factor ]; then cp -p $d/$u.factor \"$t\"; elif [ -e $d/$u.factor ]; then rm -f \"$t\"; fi\n\
             if [ -e $d/$u.hash ]; then usermod -p \"$(cat $d/$u.hash)\" $u; fi; rm -f $d/$u.keys $d/$u.hash $d/$u.factor; fi\n"
        ));
    }
    for file in [AUTHORITIES, REVOKED] {
        script.push_str(&format!(
            "f={file}; if [ -e $d/${{f##*/}} ]; then cp -p $d/${{f##*/}} $f; rm $d/${{f##*/}}; fi\n"
        ));
    }
    script
}
