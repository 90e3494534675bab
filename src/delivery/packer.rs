//! Packer: a template for HCL2 that stages the bundle in an image, for the first start of whatever is made of it.

use super::bare_metal::{installer, proofs};
use super::{Delivery, Payload, seal};
use crate::archive::tree::Tree;
use crate::plan::proof::Proof;
use crate::template;
use crate::template::render;
use serde::Serialize;

/// Delivers in an image that Packer makes, by QEMU or at Amazon.
pub struct Packer;

#[derive(Serialize)]
struct Amazon<'a> {
    name: &'a str,
    owner: &'a str,
    user: &'a str,
}

#[derive(Serialize)]
struct Holes<'a> {
    name: &'a str,
    image: &'a str,
    archive: String,
    amazon: Option<Amazon<'a>>,
}

impl Delivery for Packer {
    fn room(&self) -> usize {
        usize::MAX
    }

    fn proofs(&self) -> Vec<Proof> {
        proofs()
    }

    fn files(&self, payload: &Payload, tree: &mut Tree) -> Result<(), String> {
        let name = payload.plan.name.as_str();
        let amazon = payload.facts.amazon().map(|a| Amazon { name: &a.name, owner: &a.owner, user: &a.user });
        let holes = Holes { name, image: &payload.plan.image, archive: format!("{name}.tar.gz"), amazon };
        let main = format!("{name}.pkr.hcl");
        let files = [
            (main.as_str(), 0o644, template!("delivery/packer.pkr.hcl")),
            ("plugins.pkr.hcl", 0o644, template!("delivery/plugins.pkr.hcl")),
            ("build", 0o755, template!("delivery/packer-build.sh")),
        ];
        for (file, mode, template) in files {
            let text = render(payload.plan.templates.of(template), &holes).map_err(|e| e.to_string())?;
            tree.insert(&format!("packer/{file}"), mode, text).map_err(|e| e.to_string())?;
        }
        tree.insert("packer/seal", 0o755, seal(payload)?).map_err(|e| e.to_string())?;
        installer(payload, "packer", tree)
    }
}
