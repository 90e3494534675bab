//! The verbs, one file each. Nothing below this floor knows of arguments, the environment or the terminal.

mod bake;
mod blocklist;
mod check;
mod disk;
mod environment;
mod explain;
mod fetch;
mod golden;
mod image;
mod list;
mod load;
mod lock;
mod new;
mod passwd;
mod prove;
mod published;
mod reports;
mod requirements;
mod sabotage;
mod serve;
mod sign;
mod templates;
mod terminal;
mod verify;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// All is well.
pub const WELL: u8 = 0;
/// The spec or a proof is bad.
pub const BAD: u8 = 1;
/// Used wrongly.
pub const USAGE: u8 = 2;
/// Nothing was proved.
pub const NOTHING: u8 = 3;
/// The harness, or another thing of the world, could not do its part (`EX_UNAVAILABLE` of sysexits.h).
pub const WORLD: u8 = 69;
/// A bug of ours (`EX_SOFTWARE`).
pub const BUG: u8 = 70;

const BUG_WORDS: &str = "This is a bug of hardtack, not a fault of yours. Please report it with the spec.";

#[derive(Parser)]
#[command(name = "hardtack", version, about, max_term_width = 100, arg_required_else_help = true)]
#[command(long_about = "Bakes hardened first-boot bundles, and proves them by booting them.\n\n\
    One YAML spec of a machine goes in. Out come cloud-init user-data and seed volumes; and `hardtack prove` boots them \
    under QEMU and shows, from inside the machine and from its network, that what the spec says has come true.")]
#[command(after_help = "A first round:\n  \
    hardtack new machine.yaml     a spec to start from, with your own public key in it\n  \
    hardtack check machine.yaml   what is wrong with it, and what to write instead\n  \
    hardtack bake machine.yaml    the bundle: user-data, seed.img, seed.iso\n  \
    hardtack image build debian-12\n  \
    hardtack prove machine.yaml   boots it, and shows that each proof holds\n\n\
    Exit codes: 0 all well; 1 the spec or a proof is bad; 2 used wrongly; 3 nothing was proved; 69 the harness could not run; 70 a bug.")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Write the bundle of a spec; without one, of the built-in starter with your own public key
    Bake(bake::Args),
    /// Say what is wrong with specs, all of it, and what to write instead
    Check(check::Args),
    /// Bake, boot under QEMU and judge: from inside the machine and from its network
    Prove(prove::Args),
    /// Say whether a bundle is as it was baked, and who has signed it
    Verify(verify::Args),
    /// Hand out bundles over HTTP to machines that boot from the network: each file once
    Serve(serve::Args),
    /// Print a spec to start from, with your own public key in it
    New(new::Args),
    /// Tell what a hurdle, a lint or a proof is: what, why, what instead, and the source
    Explain(explain::Args),
    /// List hurdles, lints, proofs, requirements, images, deliveries or clouds
    List(list::Args),
    /// Show what lists of addresses to block would do: what is refused, what is left, and its cost
    Blocklist(blocklist::Args),
    /// Read a password without showing it, and print its hash for `password_hash`
    Passwd(passwd::Args),
    /// List, build or fetch the images that `prove` boots
    Image(image::Args),
}

/// Why a verb ends early, and with which exit code. The words are printed once, here.
enum Stop {
    /// What is to be said has been said.
    Said(u8),
    /// The exit code, and what to say.
    Because(u8, String),
}

impl Stop {
    fn world(why: impl std::fmt::Display) -> Self {
        Stop::Because(WORLD, why.to_string())
    }
    fn bug(why: impl std::fmt::Display) -> Self {
        Stop::Because(BUG, format!("{why}\n{BUG_WORDS}"))
    }
}

/// Runs the program.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are no faults.
            let code = if e.use_stderr() { USAGE } else { WELL };
            let _ = e.print();
            return ExitCode::from(code);
        }
    };
    // A panic is a bug of ours wherever it comes from, and says so; a person's mistake never gets here.
    std::panic::set_hook(Box::new(|panic| terminal::err(&format!("hardtack: {panic}\n{BUG_WORDS}\n"))));
    let run = move || verb(&cli.verb);
    match std::panic::catch_unwind(run).unwrap_or(Err(Stop::Said(BUG))) {
        Ok(code) | Err(Stop::Said(code)) => ExitCode::from(code),
        Err(Stop::Because(code, why)) => {
            terminal::err(&format!("hardtack: {why}\n"));
            ExitCode::from(code)
        }
    }
}

fn verb(verb: &Verb) -> Result<u8, Stop> {
    match verb {
        Verb::Bake(args) => bake::run(args),
        Verb::Check(args) => check::run(args),
        Verb::Prove(args) => prove::run(args),
        Verb::Verify(args) => verify::run(args),
        Verb::Serve(args) => serve::run(args),
        Verb::New(args) => new::run(args),
        Verb::Explain(args) => explain::run(args),
        Verb::List(args) => list::run(args),
        Verb::Blocklist(args) => blocklist::run(args),
        Verb::Passwd(args) => passwd::run(args),
        Verb::Image(args) => image::run(args),
    }
}
