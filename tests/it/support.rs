//! What the tests share: the program, the samples, and bakes in memory.

use hardtack::archive::tree::Tree;
use hardtack::delivery::{self, Payload};
use hardtack::facts::Facts;
use hardtack::plan::proof::Proof;
use hardtack::plan::{Plan, Sealed};
use hardtack::report::{Report, Source, human};
use hardtack::spec::{self, Spec};
use std::path::{Path, PathBuf};

/// The project's folder.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The program, with nothing of the tester's own: no home, no colour.
pub(crate) fn hardtack() -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("hardtack"));
    command.env_remove("NO_COLOR").env_remove("SOURCE_DATE_EPOCH");
    command
}

/// The samples, by name.
pub(crate) fn samples() -> Vec<(String, PathBuf)> {
    let mut found: Vec<_> = std::fs::read_dir(root().join("tests/specs"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .map(|p| (p.file_stem().unwrap().to_str().unwrap().to_owned(), p))
        .collect();
    found.sort();
    assert!(found.len() >= 5, "the samples are gone");
    found
}

/// A file that a spec names, as a sample would: from the folder of the samples.
pub(crate) fn input(name: &str) -> Result<Vec<u8>, String> {
    std::fs::read(root().join("tests/specs").join(name)).map_err(|e| e.to_string())
}

/// A spec, what is true of its image (or of another one), and what is said of it.
fn planned(text: &str, image: Option<&str>) -> (Option<(Spec, Facts, Sealed)>, Report, Source) {
    let source = Source { name: "test.yaml".to_owned(), text: text.to_owned() };
    let mut report = Report::default();
    let spec = spec::read(&source, &mut report);
    let planned = spec.and_then(|spec| {
        let facts = Facts::load(image.unwrap_or(spec.image.0)).unwrap();
        let plan =
            spec::plan(&spec, &facts, &input, &Default::default(), &mut report).unwrap_or_else(|e| panic!("{e}"))?;
        Some((spec, facts, plan))
    });
    (planned, report, source)
}

/// What an image cannot do, and the lint that says so.
const REFUSED: &[(&str, &str, &[&str])] = &[
    ("rescue", "debian-12-sysvinit", &["rescue/needs-systemd"]),
    ("logins", "debian-12-sysvinit", &["rescue/needs-systemd"]),
    ("services", "debian-12-sysvinit", &["services/needs-systemd"]),
    ("selinux", "debian-12-sysvinit", &["selinux/not-here"]),
    ("watch", "debian-12-sysvinit", &["watch/needs-systemd"]),
    ("watch", "rocky-9", &["watch/not-packaged"]),
    ("article", "debian-12-sysvinit", &["watch/needs-systemd", "selinux/not-here"]),
    ("article", "rocky-9", &["ssh/second-factor-not-packaged"]),
    (
        "fortress",
        "debian-12-sysvinit",
        &[
            "services/needs-systemd",
            "updates/cron-has-its-time",
            "watch/needs-systemd",
            "rescue/needs-systemd",
            "selinux/not-here",
        ],
    ),
    ("fortress", "rocky-9", &["ssh/second-factor-not-packaged"]),
    ("logins", "rocky-9", &["ssh/second-factor-not-packaged"]),
];

/// The images that a sample can be planned on. All, but for those where a lint refuses just one thing.
pub(crate) fn images_of(sample: &str, text: &str) -> Vec<&'static str> {
    let can = |image: &&str| {
        let Some((.., lints)) = REFUSED.iter().find(|(s, i, _)| s == &sample && i == image) else { return true };
        let (plan, report, _) = planned(text, Some(image));
        let errors = report.sorted().into_iter().filter(|d| d.severity == hardtack::report::Severity::Error);
        let codes: Vec<&str> = errors.map(|d| d.code).collect();
        assert!(plan.is_none() && codes == *lints, "{sample} on {image}: {codes:?}");
        false
    };
    Facts::names().into_iter().filter(can).collect()
}

/// A spec that must be good, and what is true of its image (or of another one).
pub(crate) fn good(text: &str, image: Option<&str>) -> (Spec, Facts, Sealed) {
    let (planned, report, source) = planned(text, image);
    planned.unwrap_or_else(|| panic!("{}", human(&report, &source, false)))
}

/// Bakes a plan, broken on purpose where `spoil` says so; and the proofs of what it should have been.
pub(crate) fn bake(text: &str, image: Option<&str>, spoil: &dyn Fn(&mut Plan)) -> (Tree, Vec<Proof>) {
    let (spec, facts, plan) = good(text, image);
    let ways: Vec<_> = spec.deliver.iter().map(|w| w.value).collect();
    let mut broken = (*plan).clone();
    spoil(&mut broken);
    let broken = broken.resealed();
    let payload = Payload::new(&broken, &facts, 0).unwrap();
    (delivery::bundle(&payload, "", &ways).unwrap(), payload.proofs())
}
