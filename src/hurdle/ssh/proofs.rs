//! What must be seen of sshd: what it says itself, what it offers on the wire, and whom it lets in.

use super::Ssh;
use crate::facts::{Facts, Unknown};
use crate::plan::name::UserName;
use crate::plan::proof::{Certificate, Check, Code, Credential, Door, Fault, Login, Offers, Proof};
use crate::plan::way_in::is_taken;
use crate::plan::{Account, Factor, Plan};

/// All of it.
///
/// # Errors
/// A fact that the image does not say.
pub(super) fn proofs(ssh: &Ssh, facts: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown> {
    let sshd = facts.path("sshd")?;
    let mut proofs: Vec<_> = ssh
        .directives(facts)?
        .iter()
        .map(|d| {
            let keyword = d.keyword.to_lowercase();
            let check = Check::Says {
                command: vec![sshd.to_owned(), "-T".to_owned()],
                keyword: keyword.clone(),
                values: d.effective(),
            };
            Proof::new("ssh", &format!("effective-{keyword}"), d.refs, d.statement, check)
        })
        .collect();
    let check = Check::File { path: Ssh::drop_in(facts)?, mode: "0600".into(), owner: "root:root".into() };
    proofs.push(Proof::new(
        "ssh",
        "drop-in-is-roots",
        &["CIS 5.1.1", "dev-sec sshd-05"],
        "only root can read and change the drop-in",
        check,
    ));
    let unit = facts.unit("sshd")?.to_owned();
    let check = match facts.systemd() {
        true => Check::Unit { unit, active: "active".into(), enabled: None },
        false => Check::Script { script: format!("service {unit} status 2>&1\n") },
    };
    proofs.push(Proof::new("ssh", "running", &["R11"], "sshd runs", check));
    let attempt = |user: &str, with, succeeds| plan.login(user, with, succeeds).map(Check::Login);
    if !*ssh.root_login {
        let statement = "root is refused, even with a key that stands in its authorized_keys";
        let refs = &["R30", "CIS 5.1.20"];
        proofs.extend(
            attempt("root", Credential::ItsKey, false).map(|c| Proof::new("ssh", "root-refused", refs, statement, c)),
        );
    }
    let taken = |name: &UserName, account: &Account| plan.logins.as_ref().is_some_and(|l| is_taken(l, name, account));
    let mut say = |what: String, refs: &[&str], statement: String, login: Option<Login>| {
        proofs.extend(login.map(|login| Proof::new("ssh", &what, refs, statement, Check::Login(login))));
    };
    for (name, account) in &plan.accounts {
        let login = |with, succeeds| plan.login(name.as_str(), with, succeeds);
        say(
            format!("strangers-key-refused-for-{name}"),
            &["R34"],
            format!("a key that stands nowhere does not let {name} in"),
            login(Credential::StrangersKey, false),
        );
        if !*ssh.password_login {
            say(
                format!("password-refused-for-{name}"),
                &["R39", "dev-sec sshd-27"],
                format!("the right password does not let {name} in"),
                login(Credential::ItsPassword, false),
            );
        } else if account.password.is_some() && taken(name, account) {
            // The spec wants it, so it must work.
            say(
                format!("password-taken-for-{name}"),
                &["sshd_config(5)"],
                format!("the right password lets {name} in"),
                login(Credential::ItsPassword, true),
            );
        }
    }
    let mut let_in = plan.accounts.iter().filter(|(name, account)| taken(name, account));
    for (name, account) in let_in.clone() {
        let user = name.as_str();
        let login_with = |with| plan.login(user, with, false);
        if ssh.asks_a_code() && !account.keys.is_empty() {
            let with = |code| plan.login(user, Credential::ItsKey, false).map(|l| Login { code: Some(code), ..l });
            let cases = [
                ("key-alone-refused-for", Code::NotGiven, "the key alone does not let NAME in"),
                ("wrong-code-refused-for", Code::Wrong, "the key and a code of another time do not let NAME in"),
                ("no-shell-before-a-code-for", Code::NotSetUp, "NAME gets no command to run before a code is set up"),
            ];
            for (what, code, statement) in cases {
                say(format!("{what}-{name}"), &["R41", "RFC 6238"], statement.replace("NAME", user), with(code));
            }
        }
        if ssh.factor() == Some(Factor::SecurityKey) && !account.keys.is_empty() {
            say(
                format!("touch-alone-refused-for-{name}"),
                &["R34", "R41", "sshd_config(5)"],
                format!("a security key that was touched, and has not asked for its PIN, does not let {name} in"),
                login_with(Credential::ItsSecurityKey { verified: false }),
            );
            say(
                format!("soft-key-refused-for-{name}"),
                &["R41", "sshd_config(5)"],
                format!("a key that is no hardware does not let {name} in, where it stands in the authorized_keys"),
                login_with(Credential::ItsKey),
            );
        }
        if !ssh.user_ca.is_empty() {
            let principals = account.principals(name);
            // Its own name would let in without any list.
            let last = principals.last().map_or(user, String::as_str);
            let certificate = |principal: &str, fault| {
                Credential::Certificate(Certificate { principal: principal.to_owned(), fault })
            };
            say(
                format!("certificate-taken-for-{name}"),
                &["R36", "sshd_config(5)"],
                format!("a certificate for {} lets {name} in", principals.join(" or ")),
                plan.login(user, certificate(last, None), true),
            );
            // Nobody's, whatever the spec calls people.
            let other = (0..).map(|n| format!("nobody-{n}")).find(|p| !principals.contains(p)).unwrap_or_default();
            say(
                format!("others-certificate-refused-for-{name}"),
                &["R36", "sshd_config(5)"],
                format!("a certificate for somebody else does not let {name} in"),
                plan.login(user, certificate(&other, None), false),
            );
        }
    }
    // How sshd judges a certificate, and which doors it opens, is the same for everybody.
    if let Some((name, account)) = let_in.find(|(_, account)| !account.keys.is_empty() || !ssh.user_ca.is_empty()) {
        let principal = account.principals(name).swap_remove(0);
        let faults = [
            ("expired-certificate-refused", Fault::Expired, "a certificate whose time is over does not let NAME in"),
            ("revoked-certificate-refused", Fault::Revoked, "a certificate of a revoked key does not let NAME in"),
            (
                "strangers-certificate-refused",
                Fault::StrangersAuthority,
                "a certificate of an authority that the spec does not name does not let NAME in",
            ),
        ];
        for (what, fault, statement) in faults.into_iter().filter(|_| !ssh.user_ca.is_empty()) {
            let with = Credential::Certificate(Certificate { principal: principal.clone(), fault: Some(fault) });
            let statement = statement.replace("NAME", name.as_str());
            say(what.to_owned(), &["R36", "sshd_config(5)"], statement, plan.login(name.as_str(), with, false));
        }
        let with = match (account.keys.is_empty(), ssh.factor()) {
            (true, _) => Credential::Certificate(Certificate { principal, fault: None }),
            (_, Some(Factor::SecurityKey)) => Credential::ItsSecurityKey { verified: true },
            _ => Credential::ItsKey,
        };
        let code = ssh.asks_a_code().then_some(Code::Right);
        for (what, door, open) in [("sftp", Door::Sftp, *ssh.sftp), ("forwarding", Door::Tcp, *ssh.tcp_forwarding)] {
            let does = if open { "opens" } else { "does not open" };
            let what = format!("{what}-{}", if open { "open" } else { "shut" });
            let statement = match door {
                Door::Sftp => format!("sshd {does} sftp for {name}"),
                _ => format!("sshd {does} a way to another port for {name}"),
            };
            let login = plan.login(name.as_str(), with.clone(), open).map(|l| Login { door, code, ..l });
            say(what, &["R45", "sshd_config(5)"], statement, login);
        }
    }
    let (from, interface) = plan.ssh_from();
    let version = facts.version("openssh")?;
    let owned = |list: Vec<&str>| list.into_iter().map(str::to_owned).collect();
    let [kex, ciphers, macs] = ssh.lists(&version).map(owned);
    let host_keys = owned(ssh.host_key_algorithms(&version));
    let offers = Offers { port: ssh.port.0, from, interface, kex, host_keys, ciphers, macs };
    proofs.push(Proof::new(
        "ssh",
        "offers",
        &["R48", "R49", "R50", "R51", "RFC 4253"],
        "whoever connects is offered the algorithms of the spec, in its order, and no others",
        Check::Offers(offers),
    ));
    if facts.has("selinux") && ssh.port.0 != 22 {
        let script = format!("semanage port -l | grep '^ssh_port_t ' | tr -s ' ,' '\\n' | grep -x {}\n", ssh.port.0);
        proofs.push(Proof::new(
            "ssh",
            "port-labelled",
            &["R11", "semanage-port(8)"],
            "SELinux lets sshd listen on the port of the spec",
            Check::Script { script },
        ));
    }
    if facts.version("systemd").is_ok_and(|version| version >= vec![256]) {
        proofs.push(Proof::new(
            "ssh",
            "no-unseen-doors",
            &["R45", "systemd-ssh-generator(8)"],
            "sshd listens neither for the host by AF_VSOCK nor at a socket of the machine, where no packet filter sees who comes",
            Check::Script { script: UNSEEN.to_owned() },
        ));
    }
    Ok(proofs)
}

// Listeners that systemd makes by itself (systemd-ssh-generator(8)).
const UNSEEN: &str = "open=$(ss -xlH 2>&1 | grep -o '/run/ssh-unix-local/socket'; ss -lH -f vsock 2>/dev/null | grep ':22 ')\n\
    [ -z \"$open\" ] && echo 'neither listens' && exit\necho \"$open\" | tail -n 1\nexit 1\n";
