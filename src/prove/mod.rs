//! Boots a bundle and judges it.
pub mod image;
pub mod process;
pub mod qemu;
pub mod guest;
pub mod wire;
pub mod judge;
pub mod verdict;
