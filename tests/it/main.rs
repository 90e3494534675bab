//! The one integration binary.
#![allow(clippy::disallowed_methods, reason = "tests run the real tools and read their own environment")]
#![allow(unreachable_pub, reason = "modules of one binary")]

mod algorithms;
mod archive;
mod bare_metal;
mod blocklist;
mod boot;
mod cli;
mod fetch;
mod golden;
mod hostile;
mod house;
mod let_in;
mod lints;
mod lockouts;
mod matrix;
mod packer;
mod readme;
mod report;
mod reproduce;
mod support;
mod verify;
mod wire;
