//! The vocabulary of proofs: what must be seen on the booted machine. Closed, so that every reporter, every sabotage and
//! every delivery understands every proof. They ask the daemon, never the file that a hurdle wrote.

use super::net::{Cidr, Ports, Protocol};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;

/// One thing that must be seen for the spec to have come true.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// `hurdle/what-is-seen`, unique in a bundle: `ssh/root-refused`.
    pub id: String,
    /// The hurdle that brings it.
    pub hurdle: String,
    /// Requirement numbers and benchmark ids, or a man page.
    pub refs: Vec<String>,
    /// What holds, as a sentence without full stop.
    pub statement: String,
    /// How it is seen.
    pub check: Check,
    /// At which boots it is looked for.
    #[serde(default, skip_serializing_if = "When::is_every_boot")]
    pub when: When,
}

/// At which boots a proof is looked for. What does not hold after a reboot is not hardened.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum When {
    /// At the first and again after a reboot.
    #[default]
    EveryBoot,
    /// Only after a reboot: what the boot loader hands to the kernel, for one.
    AfterReboot,
}

impl When {
    fn is_every_boot(&self) -> bool {
        *self == When::EveryBoot
    }
}

/// Where a proof is seen from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeenFrom {
    /// By a command on the machine, through the root channel.
    Inside,
    /// By packets on the machine's own network.
    Wire,
    /// By the OpenSSH client, through that network.
    Login,
}

/// How a proof is seen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// The lines of a command's output that begin with a word say exactly this. Case and order do not count: `sshd -T`
    /// writes its keywords in lower case up to 10.0 and in mixed case after.
    Says {
        /// The command, as words.
        command: Vec<String>,
        /// The first word of the lines.
        keyword: String,
        /// The rest of each of these lines; several lines of one keyword add up.
        values: Vec<String>,
    },
    /// Every kernel parameter that the pattern names has this live value.
    Sysctl {
        /// The path under `/proc/sys`; `*` is every interface.
        path: String,
        /// The value, its blanks squeezed.
        value: String,
    },
    /// A unit is in this state.
    Unit {
        /// The unit.
        unit: String,
        /// `ActiveState` of `systemctl show`.
        active: String,
        /// `UnitFileState`, where it matters.
        enabled: Option<String>,
    },
    /// A file has this mode and owner. Its content is judged by what reads it.
    File {
        /// Its path.
        path: String,
        /// Its mode in octal, four digits.
        mode: String,
        /// Its owner and group, `root:root`.
        owner: String,
    },
    /// An account is there, in this state.
    Account(AccountState),
    /// What sudo says the account may do, by `sudo -l`.
    Sudo {
        /// The account.
        user: String,
        /// What it may do.
        may: Sudo,
    },
    /// A login by the OpenSSH client.
    Login(Login),
    /// The algorithms that sshd offers to whoever connects.
    Offers(Offers),
    /// A packet on the wire, to a port where something surely listens.
    Wire(Knock),
    /// Every port there is, from one address: what is declared and nothing else.
    Sweep(Sweep),
    /// Many connections of one source at once, where it may begin only so many.
    Burst(Burst),
    /// An ICMP or ICMPv6 echo.
    Echo(Echo),
    /// The machine itself begins, and what leaves it is seen on the wire.
    Outbound(Outbound),
    /// All of a boot, from the first instruction on: nothing answers before its stage.
    Window(Window),
    /// No IPv6 on the wire.
    WithoutIpv6(WithoutIpv6),
    /// Lists on the web are fetched anew, good ones and bad ones, while the machine is knocked on.
    Refresh(Refresh),
    /// A script, run by root with /bin/sh; it holds when the exit status is 0. Its last line says what was seen. With 75
    /// (`EX_TEMPFAIL`) it says that it could not tell, and why.
    Script {
        /// The script.
        script: String,
    },
}

/// The state of an account.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountState {
    /// The account.
    pub user: String,
    /// `passwd -S`: P has a password, L is locked, NP has none.
    pub password: String,
    /// Groups that it must be in.
    pub groups: Vec<String>,
    /// The lines of its authorized_keys, and no others; none to leave them unasked.
    pub keys: Option<Vec<String>>,
}

/// What sudo lets an account do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sudo {
    /// Nothing.
    Nothing,
    /// All, after its password.
    WithPassword,
    /// All, without a password.
    WithoutPassword,
}

/// A login attempt, and what must come of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Login {
    /// The account.
    pub user: String,
    /// The port of sshd.
    pub port: u16,
    /// What it tries to get in with.
    pub with: Credential,
    /// Where a second factor is asked for: what of that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<Code>,
    /// What it wants when it is in.
    #[serde(default, skip_serializing_if = "Door::is_shell")]
    pub door: Door,
    /// A network that the firewall lets in; none is anywhere. Each attempt comes from another address of it, since sshd
    /// makes an address wait that has failed before (PerSourcePenalties).
    pub from: Option<Cidr>,
    /// The interface that it arrives on; none is one that no rule names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Whether it must get in.
    pub succeeds: bool,
}

/// What a login attempt offers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credential {
    /// A key that stands in the account's authorized_keys: the prober puts its own there, beside the others, for the attempt.
    ItsKey,
    /// A key that stands nowhere.
    StrangersKey,
    /// The account's right password: the prober sets one for the attempt, and sets the old hash back.
    ItsPassword,
    /// A security key (FIDO2) that stands in the account's authorized_keys, as [`Credential::ItsKey`]; and whether the person was asked for
    /// the PIN by it, and not only for a touch.
    ItsSecurityKey {
        /// The PIN was right.
        verified: bool,
    },
    /// A certificate: the prober adds an authority of its own to those of the spec for the attempt.
    Certificate(Certificate),
}

/// A certificate of a user's key (ssh-keygen(1), CERTIFICATES).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Whom it names.
    pub principal: String,
    /// What is wrong with it beside that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fault: Option<Fault>,
}

/// What is wrong with a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Its time is over.
    Expired,
    /// Its key stands among those that are revoked: the prober adds it there for the attempt.
    Revoked,
    /// An authority that nobody knows has signed it.
    StrangersAuthority,
}

/// What of a second factor: a code by time (RFC 6238).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Code {
    /// The account has none yet.
    NotSetUp,
    /// The account has one, which the prober sets up for the attempt, and no code is given.
    NotGiven,
    /// A code that is none of this hour.
    Wrong,
    /// The right one.
    Right,
}

/// What a login wants when it is in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Door {
    /// To run a command.
    #[default]
    Shell,
    /// To send files.
    Sftp,
    /// To be led on to a port of TCP, on the machine or beyond it.
    Tcp,
}

impl Door {
    fn is_shell(&self) -> bool {
        *self == Door::Shell
    }
}

/// The algorithms that sshd offers, each list in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offers {
    /// The port of sshd.
    pub port: u16,
    /// A network that the firewall lets in; none is anywhere.
    pub from: Option<Cidr>,
    /// The interface that it is asked on; none is one that no rule names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// Key exchanges.
    pub kex: Vec<String>,
    /// By which the machine shows itself.
    pub host_keys: Vec<String>,
    /// Ciphers, the same both ways.
    pub ciphers: Vec<String>,
    /// MACs, the same both ways.
    pub macs: Vec<String>,
}

/// A packet that knocks on the machine, and what must come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// Where it comes from. It goes to the machine's address of the same family and scope.
    pub source: IpAddr,
    /// The interface that it arrives on; none is one that no rule names.
    pub interface: Option<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port. Something listens there: the prober sees to that, so that only the firewall can keep it shut.
    pub port: u16,
    /// What must come back.
    pub wanted: Reaction,
}

/// Packets to every port, and what may come back. Whether something listens does not matter: a machine answers for a
/// port that its firewall lets through, if only by a reset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// Where they come from.
    pub source: IpAddr,
    /// The interface that they arrive on; none is one that no rule names.
    pub interface: Option<String>,
    /// The protocol. Of UDP not every port is asked, but those of [`Sweep::ports`]: a machine may send only one ICMP error a second.
    pub protocol: Protocol,
    /// The ports that are let in from there. Each must answer, and no other may.
    pub open: Vec<Ports>,
    /// Of UDP: the ports that are let in from anywhere at all, which are asked from here as well.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub declared: Vec<Ports>,
    /// What must come back from the others.
    pub shut: Reaction,
    /// Who is answered an echo request by the same way, where no packet at all is answered from there: a list keeps it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<IpAddr>,
}

impl Sweep {
    /// The ports that are asked: all of TCP; of UDP the declared ones, at most their ends, and those that are known to be abused.
    #[must_use]
    pub fn ports(&self) -> Vec<u16> {
        match self.protocol {
            Protocol::Tcp => (1..=u16::MAX).collect(),
            Protocol::Udp => {
                let declared = self.open.iter().chain(&self.declared).flat_map(|p| [p.first, p.last]);
                let mut ports: Vec<u16> = declared.chain(COMMON_UDP.iter().copied()).collect();
                ports.sort_unstable();
                ports.dedup();
                ports
            }
        }
    }

    /// Whether the port is let in.
    #[must_use]
    pub fn lets_in(&self, port: u16) -> bool {
        self.open.iter().any(|p| p.contains(port))
    }
}

/// Connections of TCP that one source begins at once, where it may begin only so many in a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Burst {
    /// Sources that are each counted by themselves, and that nothing else comes from. They take turns: one that begins, and another one
    /// that must not be held back by that.
    pub sources: Vec<IpAddr>,
    /// The interface that they arrive on; none is one that no rule names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The port.
    pub port: u16,
    /// How many are begun.
    pub begun: u16,
    /// How many are let in at once.
    pub at_once: u16,
    /// After how many milliseconds one more is.
    pub every_ms: u64,
}

/// An echo request, and whether it is answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Echo {
    /// Where it comes from.
    pub source: IpAddr,
    /// The interface that it arrives on; none is one that no rule names.
    pub interface: Option<String>,
    /// Whether a reply comes back.
    pub answered: bool,
}

/// A packet that the machine sends by itself, as an ordinary user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outbound {
    /// Where it goes to.
    pub dest: IpAddr,
    /// The protocol.
    pub protocol: Protocol,
    /// The port there.
    pub port: u16,
    /// The account that sends it; none is nobody(65534), who has no rights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// The group that it has for that; none is that of nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    /// Whether it leaves the machine.
    pub leaves: bool,
}

/// A machine that says nothing by IPv6, unasked or asked, and answers by IPv4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WithoutIpv6 {
    /// The interface; none is one that no rule names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
}

/// A machine that fetches its lists anew, and who is to be answered before, then and after.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refresh {
    /// Where the lists are. The first is what is changed.
    pub urls: Vec<String>,
    /// A port of TCP that anybody may reach whom no list names.
    pub port: u16,
    /// Whom lists name all the time.
    pub kept_out: Vec<IpAddr>,
    /// Whom no list names at any time.
    pub let_in: Vec<IpAddr>,
    /// What is listed for a while.
    pub added: Vec<Cidr>,
}

/// What may answer while a machine boots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Which boot.
    pub boot: Boot,
    /// The ports that are knocked on without rest.
    pub knocks: Vec<Moment>,
    /// Whether it begins with the gate: where user-data comes by the network, the machine is as the image has it until then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub from_gate: bool,
    /// Ports of TCP that rules name. All others that are not in `knocks` are knocked on in turn, and may answer at no moment.
    pub declared: Vec<Ports>,
}

/// Which boot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// The first, that applies the bundle.
    First,
    /// The one after.
    Second,
}

/// A port that is knocked on during a whole boot, and from which stage on it may answer.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Moment {
    /// Where the knocks come from.
    pub source: IpAddr,
    /// The interface that they arrive on; none is one that no rule names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interface: Option<String>,
    /// The port, of TCP.
    pub port: u16,
    /// When it may answer.
    pub since: Since,
    /// What comes back before that.
    pub shut: Reaction,
}

/// From which stage on a port may answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Since {
    /// From the first packet on: ssh.
    Gate,
    /// When the first boot has succeeded.
    Open,
    /// At no moment.
    Never,
}

/// UDP services that are scanned for and abused: discovery, amplification, remote procedure calls, boot (US-CERT TA14-017A).
pub const COMMON_UDP: [u16; 14] = [53, 67, 69, 111, 123, 137, 161, 389, 500, 1900, 5353, 5355, 11211, 33434];

/// What comes back to a knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
    /// The listener answers.
    Open,
    /// Nothing at all.
    Silent,
    /// A refusal: TCP reset or an ICMP error.
    Refused,
    /// Not the listener: a refusal, or one that does not find its way back.
    Shut,
}

impl Reaction {
    /// Whether what was seen is what was wanted.
    #[must_use]
    pub fn is_met_by(self, seen: Reaction) -> bool {
        self == seen || (self == Reaction::Shut && matches!(seen, Reaction::Silent | Reaction::Refused))
    }
}

impl Proof {
    /// The proof `hurdle/what`, looked for at every boot.
    #[must_use]
    pub fn new(hurdle: &str, what: &str, refs: &[&str], statement: impl Into<String>, check: Check) -> Self {
        Proof {
            id: format!("{hurdle}/{what}"),
            hurdle: hurdle.to_owned(),
            refs: refs.iter().map(|r| (*r).to_owned()).collect(),
            statement: statement.into(),
            check,
            when: When::EveryBoot,
        }
    }
}

impl Check {
    /// Where it is seen from.
    #[must_use]
    pub fn seen_from(&self) -> SeenFrom {
        match self {
            Check::Login(_) => SeenFrom::Login,
            Check::Wire(_)
            | Check::Sweep(_)
            | Check::Burst(_)
            | Check::Echo(_)
            | Check::Offers(_)
            | Check::Outbound(_)
            | Check::Refresh(_)
            | Check::WithoutIpv6(_)
            | Check::Window(_) => SeenFrom::Wire,
            Check::Says { .. }
            | Check::Sysctl { .. }
            | Check::Unit { .. }
            | Check::File { .. }
            | Check::Account(_)
            | Check::Sudo { .. }
            | Check::Script { .. } => SeenFrom::Inside,
        }
    }

    /// Whether its packets are of IPv6.
    #[must_use]
    pub fn is_of_ipv6(&self) -> bool {
        let address = match self {
            Check::Wire(knock) => Some(knock.source),
            Check::Sweep(sweep) => Some(sweep.source),
            Check::Burst(burst) => burst.sources.first().copied(),
            Check::Echo(echo) => Some(echo.source),
            Check::Outbound(outbound) => Some(outbound.dest),
            _ => None,
        };
        address.is_some_and(|address| address.is_ipv6())
    }

    /// The interface that its packets arrive on, where it names one.
    #[must_use]
    pub fn interface(&self) -> Option<&str> {
        match self {
            Check::Wire(Knock { interface, .. })
            | Check::Sweep(Sweep { interface, .. })
            | Check::Burst(Burst { interface, .. })
            | Check::Echo(Echo { interface, .. })
            | Check::WithoutIpv6(WithoutIpv6 { interface })
            | Check::Offers(Offers { interface, .. })
            | Check::Login(Login { interface, .. }) => interface.as_deref(),
            _ => None,
        }
    }
}
