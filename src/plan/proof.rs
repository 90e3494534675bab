//! The vocabulary of proofs: what must be seen on the booted machine. Closed, so that every reporter, every sabotage and
//! every delivery understands every proof. They ask the daemon, never the file that a hurdle wrote.

use super::net::{Cidr, Protocol};
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
    /// Packets on the wire.
    Wire(Knock),
    /// A script, run by root with /bin/sh; it holds when the exit status is 0. Its last line says what was seen.
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
    /// A network that the firewall lets in; none is anywhere. Each attempt comes from another address of it, since sshd
    /// makes an address wait that has failed before (PerSourcePenalties).
    pub from: Option<Cidr>,
    /// Whether it must get in.
    pub succeeds: bool,
}

/// What a login attempt offers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credential {
    /// A key that stands in the account's authorized_keys: the prober puts its own there, beside the others, for the attempt.
    ItsKey,
    /// A key that stands nowhere.
    StrangersKey,
    /// The account's right password: the prober sets one for the attempt, and sets the old hash back.
    ItsPassword,
}

/// A packet that knocks on the machine, and what must come back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Knock {
    /// Where it comes from. It goes to the machine's address of the same family and scope.
    pub source: IpAddr,
    /// The interface that it arrives on, where that matters.
    pub interface: Option<String>,
    /// The protocol.
    pub protocol: Protocol,
    /// The port. Something listens there: the prober sees to that, so that only the firewall can keep it shut.
    pub port: u16,
    /// What must come back.
    pub wanted: Reaction,
}

/// What comes back to a knock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reaction {
    /// The listener answers.
    Open,
    /// Nothing at all.
    Silent,
    /// A refusal: TCP reset or an ICMP error.
    Refused,
}

impl Proof {
    /// Where it is seen from.
    #[must_use]
    pub fn seen_from(&self) -> SeenFrom {
        match self.check {
            Check::Login(_) => SeenFrom::Login,
            Check::Wire(_) => SeenFrom::Wire,
            _ => SeenFrom::Inside,
        }
    }
}
