//! Where a suite's packages come from: the mirrors that this host's own package tool is set up with.
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::facts::Recipe;
use crate::prove::process::Program;

/// A person's mirror, or those of this host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirrors {
    main: String,
    security: Option<String>,
}

impl Mirrors {
    /// `URI` or `URI,SECURITY-URI`.
    ///
    /// # Errors
    /// What is no URI.
    pub fn given(text: &str) -> Result<Self> {
        let (main, security) = match text.split_once(',') {
            Some((main, security)) => (main, Some(security)),
            None => (text, None),
        };
        for uri in [Some(main), security].into_iter().flatten() {
            if !uri.contains(":/") || uri.contains([' ', '\t', '\n', '[', ']', '"']) {
                bail!("`{}` is not the URI of a mirror", uri.escape_debug());
            }
        }
        Ok(Mirrors { main: main.to_owned(), security: security.map(str::to_owned) })
    }

    /// What apt on this host uses.
    ///
    /// # Errors
    /// There is no apt, or it knows no such mirror.
    pub fn of_this_host() -> Result<Self> {
        let told = Program::new("apt-get")
            .args(["indextargets", "--format", "$(REPO_URI) $(RELEASE)"])
            .deadline(Duration::from_secs(60))
            .output()
            .context("could not ask apt for this host's mirrors")?;
        Self::among(&String::from_utf8_lossy(&told))
            .context("this host's apt knows no Debian mirror; name one with --mirror")
    }

    /// From lines of `URI release`. Debian's archives end in `/debian` and `/debian-security` on every mirror, so a
    /// suite other than this host's comes from the same places.
    fn among(targets: &str) -> Option<Self> {
        let ending = |name: &str| {
            targets
                .lines()
                .filter_map(|line| line.split_ascii_whitespace().next())
                .map(|uri| uri.trim_end_matches('/'))
                .find(|uri| uri.rsplit('/').next() == Some(name))
                .map(str::to_owned)
        };
        Some(Mirrors { main: ending("debian")?, security: ending("debian-security") })
    }

    /// Whether security updates are drawn.
    pub(crate) fn security(&self) -> bool {
        self.security.is_some()
    }

    /// Where the file of this path is that a machine asks for; none where it is no archive's.
    pub(crate) fn find(&self, path: &str) -> Option<String> {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~+:%".contains(c);
        // A server reads what is behind a `%` before it walks a path.
        let lower = path.to_ascii_lowercase();
        if ["/..", "%2e", "%2f", "%5c"].iter().any(|way| lower.contains(way)) || !path.chars().all(plain) {
            return None;
        }
        let (archive, file) = path.strip_prefix('/')?.split_once('/')?;
        let uri = match archive {
            "debian" => &self.main,
            "debian-security" => self.security.as_ref()?,
            _ => return None,
        };
        Some(format!("{}/{file}", uri.trim_end_matches('/')))
    }

    /// The lines of a sources.list.
    pub(crate) fn lines(&self, recipe: &Recipe) -> Vec<String> {
        let (suite, components) = (&recipe.suite, recipe.components.join(" "));
        let line = |uri: &str, suffix: &str| format!("deb {uri} {suite}{suffix} {components}");
        let mut lines = vec![line(&self.main, ""), line(&self.main, "-updates")];
        lines.extend(self.security.iter().map(|uri| line(uri, "-security")));
        lines
    }
}

/// The parts of this host's apt configuration without which its mirrors may not be reachable from here.
const NEEDED: &[&str] = &["Proxy", "Check-Valid-Until", "Check-Date", "Retries", "Timeout", "ForceIPv4", "ForceIPv6"];

/// Those parts as `Name "value"`.
pub(crate) fn options_of_this_host() -> Result<Vec<String>> {
    let told = Program::new("apt-config").args(["dump", "Acquire"]).deadline(Duration::from_secs(60)).output()?;
    Ok(options(&String::from_utf8_lossy(&told)))
}

fn options(dump: &str) -> Vec<String> {
    dump.lines()
        .filter_map(|line| line.strip_suffix(';')?.split_once(' '))
        .filter(|(name, value)| *value != "\"\"" && NEEDED.contains(&name.rsplit("::").next().unwrap_or_default()))
        .map(|(name, value)| format!("{name} {value}"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(suite: &str) -> Recipe {
        Recipe {
            suite: suite.into(),
            components: vec!["main".into()],
            packages: vec![],
            boot_loader: vec![],
            labelled: false,
            disk_mib: 1,
        }
    }

    #[test]
    fn a_machine_finds_the_archives_and_nothing_beside_them() {
        let mirrors = Mirrors::given("http://a.test/debian,http://a.test/x/debian-security/").unwrap();
        let find = |path| mirrors.find(path).unwrap_or_default();
        assert_eq!(find("/debian/pool/main/g/g++/g%2b_1~a.deb"), "http://a.test/debian/pool/main/g/g++/g%2b_1~a.deb");
        assert_eq!(find("/debian-security/dists/x/InRelease"), "http://a.test/x/debian-security/dists/x/InRelease");
        for path in [
            "/",
            "/ubuntu/x",
            "/debian/../x",
            "/debian/%2E%2e/x",
            "/debian/a%2f..",
            "/debian/x?y",
            "/debian/x\ny",
            "debian/x",
        ] {
            assert_eq!(find(path), "", "{path}");
        }
    }

    #[test]
    fn another_suite_comes_from_the_same_places() {
        let targets = "http://a.test/tools/ stable\n\
                       http://b.test/debian/ bookworm\n\
                       http://b.test/debian/ bookworm-updates\n\
                       http://b.test/debian-security/ bookworm-security\n";
        let lines = Mirrors::among(targets).map(|m| m.lines(&recipe("trixie")));
        assert_eq!(
            lines.unwrap_or_default(),
            [
                "deb http://b.test/debian trixie main",
                "deb http://b.test/debian trixie-updates main",
                "deb http://b.test/debian-security trixie-security main",
            ]
        );
    }

    #[test]
    fn a_host_without_debian_is_told_so() {
        assert_eq!(Mirrors::among("http://a.test/ubuntu/ noble\n"), None);
        assert_eq!(Mirrors::among(""), None);
    }

    #[test]
    fn a_given_mirror_may_bring_security() -> Result<()> {
        assert!(!Mirrors::given("http://a.test/debian")?.security());
        assert!(Mirrors::given("http://a.test/debian,http://a.test/sec")?.security());
        for wrong in
            ["", "a.test", "http://a.test x", "http://a.test\nX", "[trusted=yes] http://a.test", "http://a.test,"]
        {
            assert!(Mirrors::given(wrong).is_err(), "{wrong}");
        }
        Ok(())
    }

    #[test]
    fn only_what_reaching_the_mirror_needs_is_taken() {
        let dump = "Acquire \"\";\nAcquire::http::Proxy \"http://p.test:1/\";\nAcquire::https::Proxy \"\";\n\
                    Acquire::GzipIndexes \"true\";\nAcquire::Check-Date \"false\";\n";
        assert_eq!(options(dump), ["Acquire::http::Proxy \"http://p.test:1/\"", "Acquire::Check-Date \"false\""]);
    }
}
