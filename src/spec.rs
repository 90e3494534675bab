//! The person's file: image, hurdles and deliveries, to a sealed plan or to a report of all that is wrong.

use crate::delivery::Way;
use crate::facts::{Facts, ImageName};
use crate::hurdle::{self, Hurdles, MANUALS};
use crate::plan::name::HostName;
use crate::plan::{BootLoader, Own, Plan, Sealed};
use crate::report::{Diagnostic, Fault, FromText, Lint, Report, Severity, Source, did_you_mean, shown};
use crate::yaml::{self, Kind, Read, Spanned};
use crate::{choice, section};
use std::sync::Arc;

section! {
    /// One machine.
    pub struct Spec as "a spec" {
        /// The version of this format: 1.
        hardtack: Format;
        /// The machine's name.
        name: Spanned<HostName>;
        /// The image that the machine starts from: `hardtack list images`.
        image: Spanned<ImageName>;
        /// What stands in an intruder's way: `hardtack list hurdles`.
        hurdles: Hurdles = Hurdles::default(), or "none";
        /// Warnings that you have read and live with, by their names (`hardtack list lints`). An error is never accepted.
        accept: Vec<Spanned<Accepted>> = Vec::new(), or "none";
        /// Whether cloud-init runs again when the first boot has succeeded: `once`, for a stick with a seed is not always its owner's; or
        /// `always`, for machines that live by it.
        cloud_init: CloudInit = CloudInit::Once, or "once";
        /// The ways to the machine: `hardtack list deliveries`.
        deliver: Vec<Spanned<Way>> = vec![Spanned::default_of(Way::CloudInit)], or "[cloud-init]";
    }
}

choice! {
    /// For how long a machine has its cloud-init.
    pub enum CloudInit as "when cloud-init runs" {
        /// Until the first boot has succeeded.
        Once => "once",
        /// At every boot.
        Always => "always",
    }
}

/// The version of the format of a spec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format;

impl FromText for Format {
    const WHAT: &'static str = "the version of the format, 1";
    const NUMBERS: bool = true;
    fn from_text(text: &str) -> Result<Self, Fault> {
        if text == "1" {
            Ok(Format)
        } else {
            Err(Fault::new("this hardtack reads version 1 of the format").help("write `hardtack: 1`"))
        }
    }
}

/// The name of a warning that a person lives with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted(&'static str);

impl FromText for Accepted {
    const WHAT: &'static str = "the name of a warning";
    fn from_text(text: &str) -> Result<Self, Fault> {
        match lints().find(|lint| lint.code == text) {
            Some(lint) if lint.severity == Severity::Warning => Ok(Accepted(lint.code)),
            Some(lint) => Err(Fault::new(format!("`{}` is an error, and nobody can live with it", lint.code))
                .help(format!("mend it: {}", lint.instead))),
            None => {
                let near = did_you_mean(text, lints().filter(|l| l.severity == Severity::Warning).map(|l| l.code));
                let help = match near {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => "`hardtack list lints` has their names".to_owned(),
                };
                Err(Fault::new(format!("there is no warning `{}`", shown(text))).help(help))
            }
        }
    }
}

/// A warning that is accepted, and that nothing gives.
const ACCEPTS_NOTHING: Lint = Lint {
    code: "spec/accepts-nothing",
    severity: Severity::Warning,
    finds: "`accept` names a warning that this spec does not give",
    why: "it may come back one day, and nobody would hear of it",
    instead: "take it out",
    refs: &["hardtack explain spec"],
};
/// What is wrong beside the hurdles' own and the plan's.
pub const LINTS: &[Lint] = &[ACCEPTS_NOTHING];

/// Everything that `check` can find.
pub fn lints() -> impl Iterator<Item = &'static Lint> {
    yaml::FAULTS.iter().chain(LINTS).chain(crate::plan::lints::ALL).chain(MANUALS.iter().flat_map(|m| m.lints))
}

// Takes what is accepted out of the report.
fn accept(spec: &Spec, report: &mut Report) {
    let accepted: Vec<&str> = spec.accept.iter().map(|a| a.0).collect();
    let given = report.accept(&accepted);
    for name in spec.accept.iter().filter(|name| !given.contains(&name.0)) {
        report.push(ACCEPTS_NOTHING.at(name.span, format!("this spec gives no warning `{}`", name.0)));
    }
}

/// Reads a spec. None when there is an error; the report has all of them, and the lints.
pub fn read(source: &Source, report: &mut Report) -> Option<Spec> {
    let node = yaml::parse(&source.text, report)?;
    if let Kind::Map(pairs) = &node.kind
        && let Some((_, hurdles)) = pairs.iter().find(|(key, _)| key.name == "hurdles")
    {
        hurdle::lint(hurdles, report);
    }
    Spec::read(&node, report)
}

/// What reads a file beside the spec, or says why it cannot.
pub type Inputs<'a> = &'a dyn Fn(&str) -> Result<Vec<u8>, String>;

/// Plans a machine. None when the lints of the whole plan found an error.
///
/// # Errors
/// What is not the person's fault: an image without a fact that a hurdle needs, a template of ours.
pub fn plan(
    spec: &Spec,
    facts: &Facts,
    inputs: Inputs<'_>,
    templates: &Arc<Own>,
    report: &mut Report,
) -> Result<Option<Sealed>, String> {
    let sysctl_d = facts.path("sysctl-d").map_err(|e| e.to_string())?;
    let mut plan = Plan::new(spec.name.value.clone(), &facts.name, facts.systemd(), sysctl_d);
    plan.cloud_init_once = spec.cloud_init == CloudInit::Once;
    plan.templates = templates.clone();
    plan.boot_loader = match facts.has("grubby") {
        true => Some(BootLoader::Grubby),
        false => facts.path("grub-d").ok().map(|folder| BootLoader::Grub(folder.to_owned())),
    };
    plan.by_cloud_init = spec.deliver.iter().any(|way| way.value == Way::CloudInit);
    plan.room = spec.deliver.iter().map(|way| way.value.delivery().room()).min().unwrap_or(usize::MAX);
    for file in spec.hurdles.each().iter().flat_map(|(_, hurdle)| hurdle.inputs()) {
        match inputs(file.as_str()) {
            Ok(bytes) => _ = plan.inputs.insert(file.to_string(), bytes.into()),
            Err(why) => report.push(Diagnostic {
                code: "spec/no-such-file",
                severity: Severity::Error,
                message: format!("`{}` cannot be read: {why}", shown(file.as_str())),
                span: file.span,
                help: Some("name a file as seen from the spec's folder".to_owned()),
            }),
        }
    }
    // All hurdles plan even where one cannot, so that every missing fact is named at once.
    let mut troubles: Vec<String> = Vec::new();
    for (name, hurdle) in spec.hurdles.each() {
        plan.here = spec.hurdles.place(name);
        if let Err(trouble) = hurdle.plan(facts, &mut plan) {
            troubles.push(trouble.to_string());
        }
    }
    for (name, hurdle) in spec.hurdles.each() {
        plan.here = spec.hurdles.place(name);
        hurdle.settle(facts, &mut plan, report);
    }
    // They may be large, and what is made of them is in the plan by now.
    plan.inputs.clear();
    for (_, hurdle) in spec.hurdles.each() {
        match hurdle.proofs(facts, &plan) {
            Ok(proofs) => proofs.into_iter().for_each(|p| plan.proof(p)),
            Err(unknown) => troubles.push(unknown.to_string()),
        }
    }
    for proof in spec.deliver.iter().flat_map(|way| way.value.delivery().proofs()) {
        if !plan.proofs.iter().any(|p| p.id == proof.id) {
            plan.proof(proof);
        }
    }
    if !troubles.is_empty() {
        troubles.dedup();
        return Err(troubles.join("\n"));
    }
    let sealed = plan.seal(report).map_err(|clash| clash.0)?;
    accept(spec, report);
    Ok((!report.has_errors()).then_some(sealed))
}
