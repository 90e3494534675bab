//! The archive against independent readers: blkid, fsck.vfat, mtools, isoinfo, xorriso, sha256sum.
mod seed;
mod tar;
mod tree;

use std::ffi::OsStr;
use std::process::Command;

/// Runs an oracle and gives its standard output. A missing tool is a failure: a test that did not run is not green.
#[track_caller]
fn run(tool: &str, arguments: &[&dyn AsRef<OsStr>]) -> Vec<u8> {
    let output = Command::new(tool)
        .args(arguments.iter().map(|argument| argument.as_ref()))
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .env("TZ", "UTC")
        .output()
        .unwrap_or_else(|error| panic!("this test needs the tool {tool}: {error}"));
    let said = [output.stdout.as_slice(), b"\n", &output.stderr].concat();
    let said = String::from_utf8_lossy(&said);
    assert!(output.status.success(), "{tool}: {}\n{said}", output.status);
    output.stdout
}

#[track_caller]
fn text(tool: &str, arguments: &[&dyn AsRef<OsStr>]) -> String {
    String::from_utf8(run(tool, arguments)).expect("text")
}
