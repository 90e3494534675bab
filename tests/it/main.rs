//! The one integration binary.

mod archive;
mod boot;
mod cli;
mod golden;
mod hostile;
mod house;
mod lints;
mod matrix;
mod readme;
mod reproduce;
mod support;
mod wire;
