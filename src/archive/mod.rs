//! Byte-exact writers: no clock, no owner, no locale reaches a byte.
pub mod digest;
pub mod seed;
pub mod tar_gz;
pub mod tree;
