//! Boots a bundle and judges it.

pub mod event;
pub mod guest;
pub mod image;
pub mod judge;
pub mod process;
pub mod qemu;
pub mod reporter;
pub mod run;
pub mod verdict;
pub mod wire;
