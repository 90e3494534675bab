//! Boots a bundle and judges it.

pub mod archive;
pub mod channel;
pub mod event;
pub mod guest;
mod http;
pub mod image;
pub mod judge;
pub mod matrix;
pub mod metadata;
pub mod process;
pub mod qemu;
pub mod reporter;
pub mod run;
pub mod shell;
pub mod verdict;
pub mod web;
pub mod wire;
