//! Names that land in files of the machine: each type refuses what its target could misread.

use crate::report::{Fault, FromText, shown};
use serde::{Deserialize, Serialize};

macro_rules! name {
    ($(#[doc = $doc:literal])+ $name:ident) => {
        $(#[doc = $doc])+
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name.
            #[must_use]
            pub fn as_str(&self) -> &str { &self.0 }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result { f.write_str(&self.0) }
        }
    };
}

name! {
    /// A host name: RFC 1123 labels, lower case, at most 64 characters in all (`HOST_NAME_MAX` of Linux).
    HostName
}
name! {
    /// An account: what `useradd` of every distribution takes (`[a-z_][a-z0-9_-]*`, at most 32 characters).
    UserName
}
name! {
    /// A group, by the same rule as an account.
    GroupName
}
name! {
    /// A network interface: what the kernel takes (at most 15 characters), less what iptables would read as a pattern.
    Interface
}
name! {
    /// A kernel parameter in dotted form; `*` stands for every interface, as in sysctl.d(5).
    SysctlKey
}
name! {
    /// The value of a kernel parameter: one line of numbers and words.
    SysctlValue
}

name! {
    /// One argument of the kernel's command line: a word, or a word and a value. Nothing in it means anything to a shell or
    /// to a boot loader.
    KernelArgument
}

name! {
    /// A name that a certificate carries for whom it lets in: letters, digits and `._@:+-`, at most 64 characters.
    Principal
}

name! {
    /// A file on the desk, as seen from the spec's folder.
    InputFile
}

name! {
    /// A unit of systemd with its kind (systemd.unit(5)): `cups.socket`.
    UnitName
}

name! {
    /// The name of a service, without its kind: lower-case letters, digits and `-`, at most 32 characters.
    ServiceName
}

name! {
    /// A package: lower-case letters, digits and `+-.` (deb-control(5)), and what other families use beside (`_`, capitals).
    PackageName
}

name! {
    /// A module of the kernel.
    ModuleName
}

impl FromText for ModuleName {
    const WHAT: &'static str = "a module of the kernel";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        // MODULE_NAME_LEN of the kernel.
        if good && text.len() < 56 {
            return Ok(ModuleName(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not a module of the kernel", shown(text)))
            .help("write its name as lsmod does: usb_storage"))
    }
}

name! {
    /// A time of the day: `04:30`.
    TimeOfDay
}

impl FromText for PackageName {
    const WHAT: &'static str = "a package";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let good = text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-._".contains(&b));
        if good && (2..=100).contains(&text.len()) {
            return Ok(PackageName(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not a package", shown(text)))
            .help("write its name alone, without a version: postgresql-15"))
    }
}

impl FromText for TimeOfDay {
    const WHAT: &'static str = "a time of the day";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let number = |text: &str, most: u8| {
            text.len() == 2 && text.bytes().all(|b| b.is_ascii_digit()) && text.parse::<u8>().is_ok_and(|n| n <= most)
        };
        if text.split_once(':').is_some_and(|(hours, minutes)| number(hours, 23) && number(minutes, 59)) {
            return Ok(TimeOfDay(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not a time of the day", shown(text)))
            .help("write hours and minutes, in quotes: \"04:30\""))
    }
}

name! {
    /// A path from the root, of characters that need no quoting anywhere.
    AbsolutePath
}

impl FromText for UnitName {
    const WHAT: &'static str = "a unit";
    fn from_text(text: &str) -> Result<Self, Fault> {
        const KINDS: [&str; 6] = ["service", "socket", "timer", "path", "mount", "target"];
        let good = text.rsplit_once('.').is_some_and(|(name, kind)| {
            KINDS.contains(&kind)
                && name.starts_with(|c: char| c.is_ascii_alphanumeric())
                && name.bytes().all(|b| b.is_ascii_alphanumeric() || b":_.-@".contains(&b))
        });
        if good && text.len() < 128 {
            return Ok(UnitName(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not a unit", shown(text)))
            .help(format!("write it with its kind, one of {}: cups.socket", KINDS.join(", "))))
    }
}

impl FromText for ServiceName {
    const WHAT: &'static str = "the name of a service";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let good = text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if good && text.len() <= 32 {
            return Ok(ServiceName(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not the name of a service", shown(text))).help(
            "begin with a lower-case letter; then lower-case letters, digits and `-`, at most 32 characters: shop",
        ))
    }
}

impl FromText for AbsolutePath {
    const WHAT: &'static str = "a path";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let good = text.len() > 1
            && text.starts_with('/')
            && !text.ends_with('/')
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-@+".contains(&b))
            && text[1..].split('/').all(|part| !matches!(part, "" | "." | ".."));
        if good && text.len() < 1024 {
            return Ok(AbsolutePath(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not a path", shown(text)))
            .help("write it from the root, of letters, digits and `._-@+`, without `..`: /srv/shop/data"))
    }
}

impl FromText for InputFile {
    const WHAT: &'static str = "a file";
    fn from_text(text: &str) -> Result<Self, Fault> {
        // PATH_MAX of Linux.
        if !text.is_empty() && text.len() < 4096 && !text.chars().any(crate::report::is_unseen) {
            return Ok(InputFile(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not the name of a file", shown(text)))
            .help("write it as seen from the spec's folder: lists/drop.txt"))
    }
}

impl FromText for Principal {
    const WHAT: &'static str = "a principal";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._@:+-".contains(&b));
        if good && (1..=64).contains(&text.len()) && !text.starts_with('-') {
            return Ok(Principal(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not a principal", shown(text)))
            .help("write the name that `ssh-keygen -n` put into the certificate: letters, digits and `._@:+-`"))
    }
}

impl FromText for HostName {
    const WHAT: &'static str = "a host name";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let label = |l: &str| {
            (1..=63).contains(&l.len())
                && l.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
                && !l.starts_with('-')
                && !l.ends_with('-')
        };
        if text.len() <= 64 && text.split('.').all(label) {
            return Ok(HostName(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not a host name", shown(text)))
            .help("use lower-case letters, digits and `-` between dots, at most 64 characters: web01"))
    }
}

fn account(text: &str, what: &str) -> Result<String, Fault> {
    let mut bytes = text.bytes();
    let first = bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b == b'_');
    if first
        && text.len() <= 32
        && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-')
    {
        return Ok(text.to_owned());
    }
    Err(Fault::new(format!("`{}` is not {what}", shown(text)))
        .help("begin with a lower-case letter; then lower-case letters, digits, `_` and `-`, at most 32 characters"))
}

impl FromText for UserName {
    const WHAT: &'static str = "a user name";
    fn from_text(text: &str) -> Result<Self, Fault> {
        account(text, Self::WHAT).map(UserName)
    }
}

impl FromText for GroupName {
    const WHAT: &'static str = "a group name";
    fn from_text(text: &str) -> Result<Self, Fault> {
        account(text, Self::WHAT).map(GroupName)
    }
}

impl FromText for Interface {
    const WHAT: &'static str = "a network interface";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b".-_".contains(&b));
        if good && (1..=15).contains(&text.len()) && !text.starts_with(['.', '-']) {
            return Ok(Interface(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not a network interface", shown(text)))
            .help("write its name as `ip link` shows it: enp1s0"))
    }
}

impl FromText for SysctlKey {
    const WHAT: &'static str = "a kernel parameter";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let part =
            |p: &str| p == "*" || (!p.is_empty() && p.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
        let parts: Vec<_> = text.split('.').collect();
        if text.len() <= 120 && parts.len() >= 2 && parts.iter().all(|p| part(p)) && parts[0] != "*"
            // In sysctl.d(5) a `-` before a key means: say nothing when it cannot be set.
            && !text.starts_with('-')
        {
            return Ok(SysctlKey(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not a kernel parameter", shown(text)))
            .help("write it with dots: net.ipv4.ip_forward"))
    }
}

impl SysctlKey {
    /// The file under `/proc/sys`, where `*` is a pattern of the shell.
    #[must_use]
    pub fn path(&self) -> String {
        format!("/proc/sys/{}", self.0.replace('.', "/"))
    }
}

impl FromText for SysctlValue {
    const WHAT: &'static str = "a value of a kernel parameter";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b" \t._-/:,".contains(&b));
        if good && !text.trim().is_empty() && text.len() <= 200 {
            return Ok(SysctlValue(text.split_whitespace().collect::<Vec<_>>().join(" ")));
        }
        Err(Fault::new("this is not a value of a kernel parameter")
            .help("write one line of numbers and words, at most 200 characters"))
    }
}

impl FromText for KernelArgument {
    const WHAT: &'static str = "an argument of the kernel";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let good = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-=,:/@+".contains(&b));
        let begins = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric() || b == b'_');
        if good && begins && text.len() <= 200 {
            return Ok(KernelArgument(text.to_owned()));
        }
        Err(Fault::new(format!("`{}` is not an argument of the kernel", shown(text)))
            .help("write each by itself, without blanks and quotes: init_on_free=1"))
    }
}

impl KernelArgument {
    /// What stands before the first `=`.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.split_once('=').map_or(&self.0, |(key, _)| key)
    }

    /// What stands behind it.
    #[must_use]
    pub fn value(&self) -> Option<&str> {
        self.0.split_once('=').map(|(_, value)| value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_takes_what_its_target_takes_and_nothing_else() {
        fn check<T: FromText>(good: &[&str], bad: &[&str]) {
            for text in good {
                assert!(T::from_text(text).is_ok(), "{} refused: {text:?}", T::WHAT);
            }
            for text in bad.iter().chain(&[
                "", " ", "a b", "a\nb", "$(x)", "`x`", "{{ x }}", "a'b", "a\"b", "!tag x", "a\0", "é", "../x", "a#b",
                "a;b",
            ]) {
                assert!(T::from_text(text).is_err(), "{} accepted: {text:?}", T::WHAT);
            }
        }
        let long = "a".repeat(10_000_000);
        check::<HostName>(
            &["web01", "a", "db-1.example.org"],
            &["-a", "a-", "Web", "a..b", "a_b", &long, &"a".repeat(64)],
        );
        check::<UserName>(
            &["alice", "_x", "a-1", &"a".repeat(32)],
            &["1a", "Alice", "-a", "a.b", "root:x", &"a".repeat(33), &long],
        );
        check::<Interface>(&["eth0", "enp0s3", "br-lan", "eth0.100"], &["eth+", "a/b", &"e".repeat(16), "-i", &long]);
        check::<KernelArgument>(
            &["quiet", "init_on_free=1", "root=UUID=1-2", "console=ttyS0,115200n8", "slab_nomerge", "ipv6.disable=1"],
            &[
                "-x",
                "--",
                "=1",
                "a=b\\",
                "a={x}",
                "a&b",
                "a|b",
                "a<b",
                "a*",
                "a~b",
                "a%b",
                "a!",
                &long,
                &"a".repeat(201),
            ],
        );
        check::<UnitName>(
            &["cups.socket", "getty@tty1.service", "a-b.c.timer"],
            &["cups", ".service", "a.slice", "-a.service", "a/b.service", "a*.service", &format!("{long}.service")],
        );
        check::<PackageName>(&["libstdc++6", "postgresql-15", "python3.11"], &["a", "-a", "a=1", "a/b", "a*", &long]);
        check::<TimeOfDay>(
            &["00:00", "04:30", "23:59"],
            &["4:30", "24:00", "04:60", "04:30:00", "+4:30", "0430", "04:3a"],
        );
        check::<ServiceName>(&["shop", "a-1"], &["Shop", "1a", "a_b", "-a", &"a".repeat(33), &long]);
        check::<AbsolutePath>(
            &["/srv", "/srv/a.b/c-d_e@f+g"],
            &["/", "srv", "/srv/", "//srv", "/srv/../etc", "/srv/./x", "/a%n", "/a\\b", "/a*", &format!("/{long}")],
        );
        check::<SysctlKey>(
            &["net.ipv4.ip_forward", "net.ipv4.conf.*.rp_filter", "net.ipv4.conf.br-lan.rp_filter"],
            &["ip_forward", "a..b", "*.x", "-net.ipv4.ip_forward", "a.b=c", &long],
        );
    }

    #[test]
    fn a_value_of_a_kernel_parameter_is_one_line() {
        assert_eq!(SysctlValue::from_text("4096\t87380  6291456").unwrap().as_str(), "4096 87380 6291456");
        for bad in ["", " ", "1\n2", "$(x)", "a;b", "1=2", "#1"] {
            assert!(SysctlValue::from_text(bad).is_err(), "{bad:?}");
        }
    }
}
