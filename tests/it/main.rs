//! The one integration binary.
mod archive;
