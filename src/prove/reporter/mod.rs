//! What a run has come to, for people and for machines. Reporters see events and the outcome, and nothing else.

pub mod human;
pub mod json;
