//! What things are called on an image: `images/*.yaml`. A file may say `from:` a family, and then says only what differs.

use crate::report::{Fault, FromText, Report, Source, did_you_mean, human, shown};
use crate::section;
use crate::yaml::{self, Read};
use std::collections::BTreeMap;

section! {
    /// How to build an image from distribution packages.
    pub struct Recipe as "a build recipe" {
        /// The distribution's suite, as its package tool knows it (`bookworm`).
        suite: String;
        /// The archive components to draw from (`main`).
        components: Vec<String>;
        /// Packages on top of the essential and required ones.
        packages: Vec<String>;
        /// Packages beside these that a vendor's disk starts with.
        boot_loader: Vec<String> = Vec::new(), or "none, and no such disk can be built";
        /// Whether SELinux is active on it, and every file has its label.
        labelled: bool = false, or "false";
        /// Size of the root file system in MiB.
        disk_mib: u64;
    }
}

section! {
    /// How QEMU starts an image.
    pub struct Start as "how an image is started" {
        /// The CPU model under TCG: the cheapest one that the distribution runs on.
        cpu: String;
        /// Kernel arguments beside those that the harness needs itself.
        arguments: Vec<String>;
        /// Memory in MiB.
        memory_mib: u64;
    }
}

section! {
    /// The vendor's image at Amazon EC2.
    pub struct Amazon as "where the image is at Amazon" {
        /// Its name, as a filter of Amazon's has it.
        name: String;
        /// The account that it is of.
        owner: String;
        /// Who may log in on it.
        user: String;
    }
}

section! {
    /// Where the vendor's own image is.
    pub struct Official as "where the official image is" {
        /// The image.
        image: String;
        /// The vendor's list of checksums. No digest stands here that nobody has checked.
        checksums: String;
    }
}

section! {
    /// What a service that nobody should run any more is called.
    pub struct Refused as "what is refused" {
        /// Packages that bring it.
        packages: Vec<String>;
        /// Units that these bring.
        units: Vec<String> = Vec::new(), or "none of its own";
    }
}

section! {
    /// One file of `images/`.
    pub struct ImageFile as "an image file" {
        /// What people call it.
        title: Option<String> = None, or "the file's name";
        /// The family whose words hold where this file has none of its own.
        from: Option<String> = None, or "no family";
        /// Whether the tests boot it. What is not booted here is rendered and linted only.
        booted: bool = false, or "false";
        /// Packages by what they are for.
        packages: BTreeMap<String, String> = BTreeMap::new(), or "the family's";
        /// Units by what they do.
        units: BTreeMap<String, String> = BTreeMap::new(), or "the family's";
        /// Paths by what is there.
        paths: BTreeMap<String, String> = BTreeMap::new(), or "the family's";
        /// Arguments of the kernel by what they do.
        arguments: BTreeMap<String, String> = BTreeMap::new(), or "the family's";
        /// Versions of what behaves differently from one to the next.
        versions: BTreeMap<String, String> = BTreeMap::new(), or "the family's";
        /// Services that nobody should run any more, by what they do.
        refused: BTreeMap<String, Refused> = BTreeMap::new(), or "the family's";
        /// Where security updates come from, as what installs them by itself names it.
        security: Vec<String> = Vec::new(), or "the family's";
        /// Sockets that the image's own daemons wait on, as a spec writes them.
        listens: Vec<String> = Vec::new(), or "the family's";
        /// Abilities.
        has: Vec<String> = Vec::new(), or "the family's";
        /// The vendor's image.
        official: Option<Official> = None, or "not known";
        /// The vendor's image at Amazon EC2.
        amazon: Option<Amazon> = None, or "not known";
        /// How to build one.
        build: Option<Recipe> = None, or "it cannot be built here";
        /// How QEMU starts it.
        start: Option<Start> = None, or "it cannot be booted here";
    }
}

macro_rules! images {
    ($($name:literal),*) => {
        const FILES: &[(&str, &str)] = &[$(($name, include_str!(concat!("../images/", $name, ".yaml")))),*];
    };
}

images!(
    "debian",
    "debian-12",
    "debian-12-selinux",
    "debian-12-sysvinit",
    "debian-13",
    "redhat",
    "rocky-9",
    "ubuntu",
    "ubuntu-24.04"
);

/// What an image does not say and a hurdle wanted to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unknown {
    /// The image.
    pub image: String,
    /// `units.sshd`.
    pub fact: String,
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "images/{}.yaml does not say `{}`", self.image, self.fact)
    }
}

impl std::error::Error for Unknown {}

/// The name of an image that there are facts of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageName(pub &'static str);

impl FromText for ImageName {
    const WHAT: &'static str = "an image";
    fn from_text(text: &str) -> Result<Self, Fault> {
        let names = Facts::names();
        names.iter().find(|n| **n == text).map(|n| ImageName(n)).ok_or_else(|| {
            let help = match did_you_mean(text, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known: {}", names.join(", ")),
            };
            Fault::new(format!("there is no image `{}`", shown(text))).help(help)
        })
    }
}

/// What is true of one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Its name in a spec: `debian-12`.
    pub name: String,
    file: ImageFile,
}

impl Facts {
    /// The images that a spec can name.
    #[must_use]
    pub fn names() -> Vec<&'static str> {
        // A family is no image: nothing can be built or booted from it, and no version is known of it.
        let is_image = |text: &str| text.lines().any(|line| line.starts_with("from:"));
        FILES.iter().filter(|(_, text)| is_image(text)).map(|(name, _)| *name).collect()
    }

    /// The facts of an image.
    ///
    /// # Errors
    /// An unknown name, or a fault in one of our own files, drawn for a person.
    pub fn load(name: &str) -> Result<Facts, String> {
        let mut file = read(name)?;
        if let Some(family) = file.from.clone() {
            let family = read(&family)?;
            let merge = |mine: &mut BTreeMap<String, String>, theirs: BTreeMap<String, String>| {
                for (key, value) in theirs {
                    mine.entry(key).or_insert(value);
                }
            };
            merge(&mut file.packages, family.packages);
            merge(&mut file.units, family.units);
            merge(&mut file.paths, family.paths);
            merge(&mut file.arguments, family.arguments);
            merge(&mut file.versions, family.versions);
            for (key, value) in family.refused {
                file.refused.entry(key).or_insert(value);
            }
            file.listens.extend(family.listens);
            file.security.extend(family.security);
            file.has.extend(family.has);
            file.start = file.start.or(family.start);
        }
        Ok(Facts { name: name.to_owned(), file })
    }

    /// The facts of an image that is like another, but for a version.
    #[cfg(test)]
    pub(crate) fn with_version(mut self, key: &str, version: &str) -> Self {
        self.file.versions.insert(key.to_owned(), version.to_owned());
        self
    }

    fn find<'a>(&self, kind: &str, map: &'a BTreeMap<String, String>, key: &str) -> Result<&'a str, Unknown> {
        map.get(key)
            .map(String::as_str)
            .ok_or_else(|| Unknown { image: self.name.clone(), fact: format!("{kind}.{key}") })
    }

    /// The package for something: `ssh-server`.
    ///
    /// # Errors
    /// The image does not say.
    pub fn package(&self, key: &str) -> Result<&str, Unknown> {
        self.find("packages", &self.file.packages, key)
    }

    /// The argument of the kernel that does something: `selinux-off`.
    ///
    /// # Errors
    /// The image does not say.
    pub fn argument(&self, key: &str) -> Result<&str, Unknown> {
        self.find("arguments", &self.file.arguments, key)
    }

    /// The unit that does something: `sshd`.
    ///
    /// # Errors
    /// The image does not say.
    pub fn unit(&self, key: &str) -> Result<&str, Unknown> {
        self.find("units", &self.file.units, key)
    }

    /// Where something is: `sshd-config-d`.
    ///
    /// # Errors
    /// The image does not say.
    pub fn path(&self, key: &str) -> Result<&str, Unknown> {
        self.find("paths", &self.file.paths, key)
    }

    /// The version of something, as numbers that compare: `9.2` is `[9, 2]`.
    ///
    /// # Errors
    /// The image does not say, or not in numbers.
    pub fn version(&self, key: &str) -> Result<Vec<u32>, Unknown> {
        let text = self.find("versions", &self.file.versions, key)?;
        let numbers: Result<Vec<u32>, _> = text.split('.').map(str::parse).collect();
        numbers.map_err(|_| Unknown { image: self.name.clone(), fact: format!("versions.{key} in numbers") })
    }

    /// What a service that nobody should run any more is called here: `telnet`.
    ///
    /// # Errors
    /// The image does not say.
    pub fn refused(&self, key: &str) -> Result<&Refused, Unknown> {
        self.file.refused.get(key).ok_or_else(|| Unknown { image: self.name.clone(), fact: format!("refused.{key}") })
    }

    /// Where security updates come from, as what installs them by itself names it.
    #[must_use]
    pub fn security(&self) -> &[String] {
        &self.file.security
    }

    /// Sockets that the image's own daemons wait on.
    #[must_use]
    pub fn listens(&self) -> &[String] {
        &self.file.listens
    }

    /// Whether the image has an ability: `selinux`.
    #[must_use]
    pub fn has(&self, ability: &str) -> bool {
        self.file.has.iter().any(|a| a == ability)
    }

    /// Whether systemd starts it. Else SysV init does, and what it starts are scripts.
    #[must_use]
    pub fn systemd(&self) -> bool {
        self.file.versions.contains_key("systemd")
    }

    /// The command that has a daemon read its settings anew.
    #[must_use]
    pub fn reload(&self, unit: &str) -> String {
        if self.systemd() { format!("systemctl reload {unit}") } else { format!("service {unit} reload") }
    }

    /// What people call it.
    #[must_use]
    pub fn title(&self) -> &str {
        self.file.title.as_deref().unwrap_or(&self.name)
    }

    /// Whether the tests boot it.
    #[must_use]
    pub fn booted(&self) -> bool {
        self.file.booted
    }

    /// The vendor's image at Amazon EC2.
    #[must_use]
    pub fn amazon(&self) -> Option<&Amazon> {
        self.file.amazon.as_ref()
    }

    /// Where the vendor's image is.
    #[must_use]
    pub fn official(&self) -> Option<&Official> {
        self.file.official.as_ref()
    }

    /// How to build it.
    #[must_use]
    pub fn recipe(&self) -> Option<&Recipe> {
        self.file.build.as_ref()
    }

    /// How to start it.
    ///
    /// # Errors
    /// The image does not say.
    pub fn start(&self) -> Result<&Start, Unknown> {
        self.file.start.as_ref().ok_or_else(|| Unknown { image: self.name.clone(), fact: "start".to_owned() })
    }
}

fn read(name: &str) -> Result<ImageFile, String> {
    let (_, text) = FILES.iter().find(|(n, _)| *n == name).ok_or_else(|| format!("there is no image `{name}`"))?;
    let mut report = Report::default();
    let file = yaml::parse(text, &mut report).and_then(|node| ImageFile::read(&node, &mut report));
    let source = Source { name: format!("images/{name}.yaml"), text: (*text).to_owned() };
    file.filter(|_| !report.has_errors()).ok_or_else(|| human(&report, &source, false))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_image_is_read_and_a_missing_fact_is_a_sentence() {
        assert_eq!(
            Facts::names(),
            ["debian-12", "debian-12-selinux", "debian-12-sysvinit", "debian-13", "rocky-9", "ubuntu-24.04"]
        );
        for name in Facts::names() {
            let facts = Facts::load(name).unwrap_or_else(|e| panic!("{e}"));
            assert!(facts.version("openssh").unwrap() >= vec![8, 7], "{name}");
            assert_eq!(
                facts.unit("nope").unwrap_err().to_string(),
                format!("images/{name}.yaml does not say `units.nope`")
            );
            assert_eq!(facts.booted(), facts.recipe().is_some(), "{name}: what is booted here is built here");
        }
    }
}
