//! A golden image: the bundle is applied and proved once, and every machine of the image begins as that one ended, but for what makes
//! it a machine of its own.

use super::bare_metal::{installer, proofs};
use super::{Delivery, Payload, seal};
use crate::archive::tree::Tree;
use crate::plan::proof::Proof;

/// Delivers in an image that `hardtack bake --golden` makes.
pub struct Golden;

impl Delivery for Golden {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn proofs(&self) -> Vec<Proof> {
        proofs()
    }

    fn files(&self, payload: &Payload, tree: &mut Tree) -> Result<(), String> {
        tree.insert("golden/seal", 0o755, seal(payload)?).map_err(|e| e.to_string())?;
        installer(payload, "golden", tree)
    }
}
