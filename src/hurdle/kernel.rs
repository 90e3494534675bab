//! Arguments of the kernel's command line, which the boot loader hands over from the next boot on.

use super::{Hurdle, Instruction, Part, Trouble};
use crate::facts::{Facts, Unknown};
use crate::plan::name::KernelArgument;
use crate::plan::proof::{Check, Proof, When};
use crate::plan::{BootLoader, Plan};
use crate::report::{Lint, Report, Severity, Span};
use crate::section;
use crate::yaml::Spanned;

section! {
    /// Arguments of the kernel's command line. The boot loader hands them over from the second boot on, and a machine whose
    /// kernel is started from outside (a hypervisor's direct boot) never sees them.
    pub struct Kernel as "kernel" {
        /// Arguments, each as the kernel reads it: `init_on_free=1`, `slab_nomerge`. They come after those of the image.
        arguments: Vec<Spanned<KernelArgument>>;
    }
}

const SHELL: Lint = Lint {
    code: "kernel/opens-a-shell",
    severity: Severity::Error,
    finds: "an argument that starts a shell, or another program, in place of the system",
    why: "whoever sees the console is root, and nothing that stands in an intruder's way is started",
    instead: "leave it out; type it into the boot menu of a machine that needs repair",
    refs: &["CIS 1.4.1", "kernel-command-line(7)"],
};
const CONTROL_OFF: Lint = Lint {
    code: "kernel/control-off",
    severity: Severity::Warning,
    finds: "an argument that switches a control of the kernel off",
    why: "SELinux, AppArmor, the audit log or lockdown cannot be switched on again before the next boot, whatever else asks for it",
    instead: "leave it out",
    refs: &["R55", "CIS 1.3.1", "CIS 1.6.1"],
};
const MITIGATIONS_OFF: Lint = Lint {
    code: "kernel/mitigations-off",
    severity: Severity::Warning,
    finds: "an argument that switches mitigations of the processor's faults off",
    why: "a program without rights can then read the memory of others, and of the kernel",
    instead: "leave it out; for a machine that runs nobody else's code, measure first what it brings",
    refs: &["ANSSI-BP-028 R8", "KSPP"],
};
const NO_IPV6: Lint = Lint {
    code: "kernel/ipv6-off",
    severity: Severity::Warning,
    finds: "`ipv6.disable=1`, which takes IPv6 out of the kernel",
    why: "parameters under net.ipv6 and rules of the firewall for IPv6 cannot be set any more, and programs that bind `::` fail",
    instead: "keep IPv6 and let the firewall filter it; it gets the same rules as IPv4",
    refs: &["R3"],
};

/// What this hurdle warns of.
pub const LINTS: &[Lint] = &[SHELL, CONTROL_OFF, MITIGATIONS_OFF, NO_IPV6];
/// The sections inside.
pub const PARTS: &[Part] = &[];
/// What became of the article.
pub const FROM_THE_ARTICLE: &[Instruction] = &[];

// kernel-parameters.txt of the kernel; kernel-command-line(7) of systemd.
const SHELLS: &[&str] = &[
    "init",
    "rdinit",
    "single",
    "s",
    "S",
    "1",
    "emergency",
    "rescue",
    "rd.break",
    "systemd.debug_shell",
    "systemd.debug-shell",
];
const CONTROLS: &[(&str, &[&str])] = &[
    ("selinux", &["0"]),
    ("enforcing", &["0"]),
    ("apparmor", &["0"]),
    ("audit", &["0", "off"]),
    ("security", &["none", ""]),
    ("lockdown", &["none"]),
    ("module.sig_enforce", &["0"]),
    ("init_on_alloc", &["0"]),
    ("init_on_free", &["0"]),
    ("randomize_kstack_offset", &["0", "off"]),
    ("nokaslr", &[""]),
    ("nosmap", &[""]),
    ("nosmep", &[""]),
];
const MITIGATIONS: &[(&str, &[&str])] = &[
    ("mitigations", &["off"]),
    ("nopti", &[""]),
    ("pti", &["off"]),
    ("nospectre_v1", &[""]),
    ("nospectre_v2", &[""]),
    ("spectre_v2", &["off"]),
    ("spec_store_bypass_disable", &["off"]),
    ("l1tf", &["off"]),
    ("mds", &["off"]),
    ("tsx_async_abort", &["off"]),
    ("mmio_stale_data", &["off"]),
    ("retbleed", &["off"]),
];

fn lint_of(argument: &KernelArgument) -> Option<Lint> {
    let (key, value) = (argument.key(), argument.value().unwrap_or_default());
    let among = |all: &[(&str, &[&str])]| all.iter().any(|(k, values)| *k == key && values.contains(&value));
    let a_shells_unit = matches!(key, "systemd.unit" | "rd.systemd.unit" | "systemd.wants")
        && ["rescue", "emergency", "debug-shell"].iter().any(|unit| value.starts_with(unit));
    if SHELLS.contains(&key) || a_shells_unit {
        Some(SHELL)
    } else if key == "ipv6.disable" && value == "1" {
        Some(NO_IPV6)
    } else if among(CONTROLS) {
        Some(CONTROL_OFF)
    } else if among(MITIGATIONS) {
        Some(MITIGATIONS_OFF)
    } else {
        None
    }
}

impl Hurdle for Kernel {
    fn lint(&self, _: Span, report: &mut Report) {
        for argument in &self.arguments {
            if let Some(lint) = lint_of(argument) {
                report.push(lint.at(argument.span, format!("`{}`: {}", argument.value, lint.why)));
            }
        }
    }

    fn plan(&self, facts: &Facts, plan: &mut Plan) -> Result<(), Trouble> {
        if plan.boot_loader != Some(BootLoader::Grubby) {
            facts.path("grub-d")?;
        }
        for argument in &self.arguments {
            plan.kernel_argument("kernel", argument.value.clone());
        }
        Ok(())
    }

    fn proofs(&self, _: &Facts, plan: &Plan) -> Result<Vec<Proof>, Unknown> {
        // All that any hurdle asked for: it is one command line.
        Ok(plan.kernel_arguments.iter().map(|argument| proof_of(argument, plan)).collect())
    }
}

fn proof_of(argument: &KernelArgument, plan: &Plan) -> Proof {
    // The kernel takes the last of several values, but for keys that add up.
    let key = argument.key();
    let adds_up = plan.kernel_arguments.iter().filter(|a| a.key() == key).count() > 1;
    let others = if adds_up { String::new() } else { format!("    '{key}' | '{key}='*) last=$word ;;\n") };
    // 0xb0 is what QEMU calls itself where it starts a kernel (boot.rst of the kernel); the harness does that with flat images.
    let script = format!(
        "if [ \"$(cat /proc/sys/kernel/bootloader_type)\" = 176 ]; then\n  \
         echo 'the harness starts this kernel itself; a vendor disk shows it'\n  exit 75\nfi\n\
         set -f\nlast=\nfor word in $(cat /proc/cmdline); do\n  case \"$word\" in\n    '{argument}') last=$word ;;\n{others}  esac\ndone\n\
         cat /proc/cmdline\n[ \"$last\" = '{argument}' ]\n"
    );
    let statement = format!("the boot loader hands {argument} to the kernel, and nothing after it takes it back");
    let proof = Proof::new(
        "kernel",
        argument.as_str(),
        &["kernel-parameters.txt", "KSPP"],
        statement,
        Check::Script { script },
    );
    Proof { when: When::AfterReboot, ..proof }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::FromText;

    #[test]
    fn what_weakens_is_found_and_what_hardens_is_not() {
        let code = |text: &str| lint_of(&KernelArgument::from_text(text).unwrap()).map(|l| l.code);
        for text in ["init=/bin/sh", "single", "systemd.unit=rescue.target", "rd.break", "systemd.debug-shell=1"] {
            assert_eq!(code(text), Some(SHELL.code), "{text}");
        }
        assert_eq!(code("selinux=0"), Some(CONTROL_OFF.code));
        assert_eq!(code("nokaslr"), Some(CONTROL_OFF.code));
        assert_eq!(code("mitigations=off"), Some(MITIGATIONS_OFF.code));
        assert_eq!(code("ipv6.disable=1"), Some(NO_IPV6.code));
        for text in
            ["selinux=1", "mitigations=auto,nosmt", "init_on_free=1", "slab_nomerge", "ipv6.disable=0", "audit=1"]
        {
            assert_eq!(code(text), None, "{text}");
        }
    }
}
