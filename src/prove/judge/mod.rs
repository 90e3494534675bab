//! Judging a booted machine: from inside, by logins, from the wire.

pub mod inside;
pub mod login;
pub mod wire;
