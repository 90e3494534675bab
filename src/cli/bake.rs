//! `hardtack bake [SPEC] [-o DIR]`

use super::load::{self, Loaded};
use super::sign::{SIGNATURE, SUMS, sign};
use super::{BAD, Stop, USAGE, WELL, environment, golden, new, prove, templates, terminal};
use crate::archive::tree::{Tree, WriteError};
use crate::delivery::cloud::Cloud;
use crate::delivery::{self, Payload, Way};
use crate::plan::proof::Proof;
use crate::plan::url::Url;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
pub(super) struct Args {
    /// The spec [default: the built-in starter, with the first key of ~/.ssh/*.pub]
    spec: Option<PathBuf>,
    /// Where the bundle goes; a bundle that is there is replaced, anything else is left alone [default: NAME.bundle]
    #[arg(short, long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Sign it with this SSH key: a private one, or a public one whose private half your agent has; `hardtack verify` says whose it is
    #[arg(long, value_name = "KEY")]
    sign: Option<PathBuf>,
    /// Fit the user-data to what this cloud takes: `hardtack list clouds`
    #[arg(long, value_name = "NAME")]
    cloud: Option<String>,
    /// For user-data that no packing makes small enough: where you will put it for the machine to read, https only
    #[arg(long, value_name = "URL", requires = "cloud")]
    include: Option<String>,
    /// Bake for this image instead of the one that the spec names; with --golden NAME-vendor, or any disk by its path
    #[arg(long, value_name = "NAME")]
    image: Option<String>,
    /// Make an image instead of a bundle: boots the disk of --image [default: the spec's own, as its vendor ships it], applies the bundle,
    /// proves it, seals it, and proves two machines of it; FILE.qcow2, FILE.raw, FILE.vmdk or FILE.vhdx
    #[arg(long, value_name = "FILE", conflicts_with_all = ["output", "sign", "cloud"])]
    golden: Option<PathBuf>,
    /// With --golden, lead the machines to the packages of this mirror (URI, or URI,SECURITY-URI), whatever they call the archive [default
    /// where no URI is given: the machine's own package configuration; else they find none]
    #[arg(long, value_name = "URI", num_args = 0..=1, require_equals = true, default_missing_value = "", requires = "golden")]
    mirror: Option<String>,
    #[command(flatten)]
    templates: templates::Templates,
}

/// A bundle in memory.
pub(super) struct Baked {
    pub(super) loaded: Loaded,
    pub(super) tree: Tree,
    pub(super) digest: String,
    pub(super) proofs: Vec<Proof>,
    /// The person's own templates that it was drawn from.
    pub(super) own_templates: Vec<String>,
    /// What was done to fit it to a cloud.
    pub(super) fitted: Option<String>,
}

/// The cloud that a bundle is for, and where the rest of it will lie.
type To<'a> = Option<(&'static Cloud, Option<&'a str>)>;

/// Bakes, and writes nothing.
fn bake(spec: Option<&Path>, image: Option<&str>, beside: Option<&Path>, to: To) -> Result<Baked, Stop> {
    let source = match spec {
        Some(path) => load::source(path)?,
        None => new::starter(beside.unwrap_or(Path::new("web01.bundle")))?,
    };
    baked(load::good(&source, image)?, to)
}

/// Bakes what was planned.
pub(super) fn baked(loaded: Loaded, to: To) -> Result<Baked, Stop> {
    let epoch = environment::epoch().map_err(|e| Stop::Because(USAGE, e))?;
    let mut payload = Payload::new(&loaded.plan, &loaded.facts, epoch).map_err(Stop::bug)?;
    let ways: Vec<_> = loaded.spec.deliver.iter().map(|w| w.value).collect();
    if let Some((cloud, include)) = to {
        if !ways.contains(&Way::CloudInit) {
            let why = "--cloud is for user-data, and this spec does not deliver by cloud-init";
            return Err(Stop::Because(USAGE, why.to_owned()));
        }
        payload.fitted = Some(cloud.fit(&payload, include).map_err(|why| Stop::Because(BAD, why))?);
    }
    let tree = delivery::bundle(&payload, &loaded.sha256, &ways).map_err(Stop::bug)?;
    let (digest, proofs) = (payload.digest.clone(), payload.proofs());
    let own_templates: Vec<String> = payload.own_templates().into_iter().map(str::to_owned).collect();
    for name in loaded.plan.templates.names() {
        let words = match own_templates.iter().any(|own| own == name) {
            true => format!("your own template takes the place of {name}\n"),
            false => format!("your own template {name} takes no place: this bundle is drawn from none of that name\n"),
        };
        terminal::err(&words);
    }
    let fitted = payload.fitted.map(|f| format!("{}: {}", f.path, f.said));
    Ok(Baked { loaded, tree, digest, proofs, own_templates, fitted })
}

// A manifest of ours and nothing that only looks like one.
pub(super) fn is_bundle(dir: &Path) -> bool {
    let text = std::fs::read(dir.join("bundle.json")).unwrap_or_default();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap_or_default();
    manifest["format"].is_u64() && manifest["hardtack"].is_string() && manifest["bundle_sha256"].is_string()
}

pub(super) fn run(args: &Args) -> Result<u8, Stop> {
    templates::read(&args.templates)?;
    if let Some(file) = &args.golden {
        let mirrors = prove::mirrors(args.mirror.as_deref())?;
        return golden::run(args.spec.as_deref(), args.image.as_deref(), mirrors.as_ref(), file);
    }
    let cloud: Option<&Cloud> = match &args.cloud {
        None => None,
        Some(name) => Some(load::word(name).map_err(|why| Stop::Because(USAGE, why))?),
    };
    if let Some(url) = &args.include {
        let _: Url = load::word(url).map_err(|why| Stop::Because(USAGE, why))?;
    }
    let to = cloud.map(|cloud| (cloud, args.include.as_deref()));
    let mut baked = bake(args.spec.as_deref(), args.image.as_deref(), args.output.as_deref(), to)?;
    if let Some(key) = &args.sign {
        let sums = baked.tree.get(SUMS).ok_or_else(|| Stop::bug("a bundle has no digests"))?.data.clone();
        baked.tree.insert(SIGNATURE, 0o644, sign(key, &sums)?).map_err(Stop::bug)?;
    }
    let dir = args.output.clone().unwrap_or_else(|| PathBuf::from(format!("{}.bundle", baked.loaded.plan.name)));
    baked.tree.write(&dir, &is_bundle).map_err(|e| match &e {
        WriteError::Failed { cause, .. } if cause.kind() == std::io::ErrorKind::NotFound => {
            Stop::Because(USAGE, e.to_string())
        }
        WriteError::InTheWay { .. } => Stop::Because(USAGE, e.to_string()),
        _ => Stop::world(e),
    })?;
    terminal::out(&format!(
        "{}: {} files for {} on {}, bundle {}\n",
        dir.display(),
        baked.tree.len(),
        baked.loaded.plan.name,
        baked.loaded.facts.name,
        &baked.digest[..12]
    ));
    if let Some(fitted) = &baked.fitted {
        terminal::err(&format!("{}/{fitted}\n", dir.display()));
    }
    let spec = args.spec.as_ref().map(|spec| format!(" {}", spec.display())).unwrap_or_default();
    terminal::err(&format!(
        "attach {0}/seed.img as a disk, or give {0}/cloud-init/user-data to a cloud; next: hardtack prove{spec}\n",
        dir.display()
    ));
    Ok(WELL)
}
