//! hardtack bakes hardened first-boot bundles and proves them by booting them.
//!
//! The map, bottom up (`tests/it/house.rs` holds it):
//!
//! - ground: [`report`], [`archive`], [`template`] use nothing of ours;
//! - 1: [`yaml`]; 2: [`facts`] and [`plan`], the waist;
//! - 3: [`hurdle`], [`delivery`], [`prove`], which never use one another;
//! - 4: [`spec`]; 5: [`cli`].
pub mod archive;
pub mod cli;
pub mod delivery;
pub mod facts;
pub mod hurdle;
pub mod plan;
pub mod prove;
pub mod report;
pub mod spec;
pub mod template;
pub mod yaml;
