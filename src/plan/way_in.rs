//! Ways into a machine, worked out before anything is written: who, from where, with what, and how they become root. And where
//! there is none, what stands in the way.
//!
//! Nothing here changes from stage to stage: ssh is let in from the gate on, and the gate asks no list.

use super::credential::PublicKey;
use super::name::UserName;
use super::net::{Cidr, Protocol};
use super::proof::Sudo;
use super::{Account, Factor, Logins, Plan};
use crate::report::FromText;
use serde::Serialize;

/// Where the firewall lets somebody reach sshd from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Door {
    /// Networks; none is anywhere.
    pub from: Vec<Cidr>,
    /// The interface; none is any.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

impl Door {
    /// No firewall.
    pub const WIDE: Door = Door { from: Vec::new(), interface: None };
}

/// What lets somebody in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum With {
    /// A key, by its label.
    Key(String),
    /// A certificate of an authority of the spec, for one of these names.
    Certificate(Vec<String>),
    /// The account's password.
    Password,
}

/// A way in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayIn {
    /// Who.
    pub user: String,
    /// From where.
    pub door: Door,
    /// The port of sshd.
    pub port: u16,
    /// With what.
    pub with: With,
    /// What is asked for as well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub second_factor: Option<Factor>,
    /// What sudo lets them do then.
    pub sudo: Sudo,
}

/// All ways in, best first: those that lead to root, and of those the ones with a key.
#[must_use]
pub fn ways(plan: &Plan) -> Vec<WayIn> {
    let Some(logins) = &plan.logins else { return Vec::new() };
    through(&doors(plan, logins.port), plan, logins)
}

/// All ways in through these doors.
#[must_use]
pub fn through(doors: &[Door], plan: &Plan, logins: &Logins) -> Vec<WayIn> {
    let mut all = Vec::new();
    for (name, account) in plan.accounts.iter().filter(|(name, account)| barred(logins, name, account).is_none()) {
        for door in doors {
            let way = |with| WayIn {
                user: name.to_string(),
                door: door.clone(),
                port: logins.port,
                with,
                second_factor: logins.second_factor,
                sudo: account.sudo,
            };
            let keys = account.keys.iter().filter(|key| useless(key, door, logins).is_none());
            all.extend(keys.map(|key| way(With::Key(key.label()))));
            if logins.certificates {
                all.push(way(With::Certificate(account.principals(name))));
            }
            if logins.passwords && account.password.is_some() {
                all.push(way(With::Password));
            }
        }
    }
    all.sort_by_key(|way| (way.sudo == Sudo::Nothing, way.with == With::Password));
    all
}

/// What stands in an account's way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// In words that follow the account's name.
    pub words: String,
    /// Whether that is surely what the person wants: a key that runs one command is no way in, and need not be one.
    pub meant: bool,
}

/// What stands in an account's way through these doors; none where it has a way in.
#[must_use]
pub fn obstacle(doors: &[Door], logins: &Logins, name: &UserName, account: &Account) -> Option<Obstacle> {
    let plain = |words: String| Some(Obstacle { words, meant: false });
    if let Some(list) = barred(logins, name, account) {
        return plain(format!("is not let in by `{list}`"));
    }
    let passwords = logins.certificates || (logins.passwords && account.password.is_some());
    let lets_in = |key: &PublicKey| doors.iter().any(|door| useless(key, door, logins).is_none());
    if passwords || account.keys.iter().any(lets_in) {
        return None;
    }
    let why = |key| useless(key, doors.first()?, logins).map(|why| (key, why));
    // What nobody can have meant is said first.
    match account.keys.iter().filter_map(why).min_by_key(|(_, why)| *why != Useless::Elsewhere) {
        Some((key, why)) => {
            let words = format!("has no key that lets in: {} {}", key.label(), why.words());
            Some(Obstacle { words, meant: matches!(why, Useless::Signs | Useless::Command) })
        }
        None if account.password.is_some() => plain("has no key, and sshd takes no passwords".to_owned()),
        None => plain("has neither a key nor a password".to_owned()),
    }
}

/// Whether sshd takes an account that knocks with something that it takes: both lists let it through, and it has a key, a certificate or a
/// password.
#[must_use]
pub fn is_taken(logins: &Logins, name: &UserName, account: &Account) -> bool {
    let has = !account.keys.is_empty() || logins.certificates || (logins.passwords && account.password.is_some());
    has && barred(logins, name, account).is_none()
}

/// Through which sshd can be reached.
#[must_use]
pub fn doors(plan: &Plan, port: u16) -> Vec<Door> {
    let Some(filter) = &plan.filter else { return vec![Door::WIDE] };
    let ipv6 = filter.ipv6 && has_ipv6(plan);
    let opens = filter.opens.iter();
    let opens = opens.filter(|o| o.protocol == Protocol::Tcp && o.ports.iter().any(|p| p.contains(port)));
    opens
        .filter_map(|open| {
            let from: Vec<Cidr> = open.from.iter().copied().filter(|net| ipv6 || net.is_ipv4()).collect();
            // All of its networks are of a family that is off.
            let shut = from.is_empty() && !open.from.is_empty();
            (!shut).then(|| Door { from, interface: open.interface.clone() })
        })
        .collect()
}

// Whether neither a kernel argument nor a kernel parameter takes IPv6 away.
fn has_ipv6(plan: &Plan) -> bool {
    let by_argument = |key: &str| plan.kernel_arguments.iter().any(|a| a.key() == key && a.value() == Some("1"));
    let parameters = plan.sysctls.iter();
    let by_parameter = parameters.filter(|(key, _)| key.as_str() == "net.ipv6.conf.all.disable_ipv6");
    !by_argument("ipv6.disable")
        && !by_argument("ipv6.disable_ipv6")
        && by_parameter.into_iter().all(|(_, v)| v.to_string() != "1")
}

// The list of sshd that does not let an account in (sshd_config(5), AllowUsers and AllowGroups: both must).
fn barred(logins: &Logins, name: &UserName, account: &Account) -> Option<&'static str> {
    let by_name = logins.users.is_empty() || logins.users.iter().any(|(user, _)| user == name);
    let is_in = |group: &str| group == name.as_str() || account.groups.iter().any(|g| g.as_str() == group);
    let by_group = logins.groups.is_empty() || logins.groups.iter().any(|(group, _)| is_in(group.as_str()));
    match (by_name, by_group) {
        (false, _) => Some("ssh.allow_users"),
        (_, false) => Some("ssh.allow_groups"),
        _ => None,
    }
}

/// Why a key is no way in (sshd(8), AUTHORIZED_KEYS FILE FORMAT).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Useless {
    Soft,
    Signs,
    Command,
    Elsewhere,
}

impl Useless {
    // They follow the key.
    fn words(self) -> &'static str {
        match self {
            Useless::Soft => "is no security key, and sshd takes no other",
            Useless::Signs => "signs certificates, and is no key itself",
            Useless::Command => "runs one command, and gives no shell",
            Useless::Elsewhere => "is taken only from where the `firewall` lets nobody in",
        }
    }
}

/// Whether a key that sshd knows gives a shell to whoever comes through this door.
#[must_use]
pub fn lets_in(key: &PublicKey, door: &Door, logins: &Logins) -> bool {
    useless(key, door, logins).is_none()
}

fn useless(key: &PublicKey, door: &Door, logins: &Logins) -> Option<Useless> {
    if logins.second_factor == Some(Factor::SecurityKey) && !key.is_of_hardware() {
        Some(Useless::Soft)
    } else if key.option("cert-authority").is_some() {
        Some(Useless::Signs)
    } else if key.option("command").is_some() {
        Some(Useless::Command)
    } else if key.option("from").is_some_and(|patterns| !is_met(&patterns, &door.from)) {
        Some(Useless::Elsewhere)
    } else {
        None
    }
}

// Whether anybody whom these networks hold is let in by a list of patterns (ssh_config(5), PATTERNS). What is a name or has
// wildcards is no network: of that nothing is known here, and it counts as met.
fn is_met(patterns: &str, from: &[Cidr]) -> bool {
    let net = |text: &str| Cidr::from_text(text).ok();
    let inside = |a: Cidr, b: Cidr| a.prefix() >= b.prefix() && b.contains(a.network());
    let refused: Vec<Cidr> = patterns.split(',').filter_map(|p| net(p.trim().strip_prefix('!')?)).collect();
    let taken = patterns.split(',').map(str::trim).filter(|p| !p.starts_with('!'));
    taken.into_iter().any(|pattern| {
        let Some(mine) = net(pattern) else { return true };
        // Of two networks one is inside the other, or they do not meet.
        let met = from.iter().filter_map(|theirs| match (inside(mine, *theirs), inside(*theirs, mine)) {
            (true, _) => Some(mine),
            (_, true) => Some(*theirs),
            _ => None,
        });
        let met: Vec<Cidr> = if from.is_empty() { vec![mine] } else { met.collect() };
        met.iter().any(|met| !refused.iter().any(|no| inside(*met, *no)))
    })
}

/// A way in, step by step, for a person.
#[must_use]
pub fn steps(way: &WayIn, host: &str) -> Vec<String> {
    let nets: Vec<String> = way.door.from.iter().map(ToString::to_string).collect();
    let from = if nets.is_empty() { "anywhere".to_owned() } else { nets.join(" or ") };
    let on = way.door.interface.as_ref().map(|name| format!(", on {name}")).unwrap_or_default();
    let with = match &way.with {
        With::Key(label) => format!("the key {label}"),
        With::Certificate(names) => format!("a certificate of a `user_ca` for {}", names.join(" or ")),
        With::Password => "the account's password".to_owned(),
    };
    let code = match way.second_factor {
        None => "",
        Some(Factor::Code) => ", and a code, which is set up at the first login",
        Some(Factor::SecurityKey) => ", and its PIN",
    };
    let root = match way.sudo {
        Sudo::Nothing => "sudo does nothing: this way ends here".to_owned(),
        Sudo::WithPassword => "sudo asks for the account's password, and does anything".to_owned(),
        Sudo::WithoutPassword => "sudo does anything".to_owned(),
    };
    let port = if way.port == 22 { String::new() } else { format!("-p {} ", way.port) };
    vec![
        format!("from {from}{on}, at {}/tcp, from the first moment on", way.port),
        format!("ssh {port}{}@{host}, with {with}{code}", way.user),
        root,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nets(text: &[&str]) -> Vec<Cidr> {
        text.iter().map(|t| Cidr::from_text(t).unwrap()).collect()
    }

    #[test]
    fn a_pattern_meets_the_networks_that_are_let_in_or_it_does_not() {
        let office = nets(&["10.20.0.0/16", "2001:db8:20::/48"]);
        for (patterns, met) in [
            ("10.20.1.0/24", true),
            ("10.0.0.0/8", true),
            ("10.20.1.7", true),
            ("2001:db8:20::7", true),
            ("192.0.2.0/24", false),
            ("192.0.2.7,10.20.0.1", true),
            ("10.0.0.0/8,!10.20.0.0/16", false),
            ("10.0.0.0/8,!10.20.1.0/24", true),
            ("!10.20.0.0/16", false),
            ("*.example.org", true),
            ("10.20.*", true),
        ] {
            assert_eq!(is_met(patterns, &office), met, "{patterns}");
        }
        assert!(is_met("192.0.2.0/24", &[]) && !is_met("192.0.2.0/24,!192.0.0.0/16", &[]));
    }

    #[test]
    fn a_key_that_gives_no_shell_is_no_way_in() {
        const BODY: &str =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIMvPmmMqA1HNNjQZ4Xqz6nY0W3yI0yO8fQ5yK3J5m0q5 alice@laptop";
        let anywhere = Door { from: Vec::new(), interface: None };
        let mut logins = Logins {
            port: 22,
            span: None,
            users: Vec::new(),
            groups: Vec::new(),
            passwords: false,
            root: false,
            second_factor: None,
            certificates: false,
            host_keys: vec!["ed25519"],
        };
        let key = |options: &str| PublicKey::from_text(&format!("{options}{BODY}")).unwrap();
        let why = |options: &str| useless(&key(options), &anywhere, &logins);
        assert_eq!(why(""), None);
        assert_eq!(why("no-agent-forwarding,from=\"192.0.2.0/24\" "), None);
        assert_eq!(why("cert-authority "), Some(Useless::Signs));
        assert_eq!(why("restrict,command=\"/bin/backup \\\"x\\\", y\" "), Some(Useless::Command));
        logins.second_factor = Some(Factor::SecurityKey);
        assert_eq!(useless(&key(""), &anywhere, &logins), Some(Useless::Soft));
        let key = PublicKey::from_text(&format!("command=\"say \\\"x\\\", y\" {BODY}")).unwrap();
        assert_eq!(key.option("COMMAND").as_deref(), Some("say \"x\", y"));
        assert_eq!(key.label(), "ssh-ed25519 …K3J5m0q5 alice@laptop");
    }
}
