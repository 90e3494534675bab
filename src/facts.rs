//! What things are called on an image: `images/*.yaml`.

/// How to build an image from distribution packages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recipe {
    /// The distribution's suite, as its package tool knows it (`bookworm`).
    pub suite: String,
    /// The archive components to draw from (`main`).
    pub components: Vec<String>,
    /// Packages on top of the essential and required ones.
    pub packages: Vec<String>,
    /// Size of the root file system in MiB.
    pub disk_mib: u64,
}

/// How QEMU starts an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Start {
    /// The CPU model under TCG: the cheapest one that the distribution runs on.
    pub cpu: String,
    /// Kernel arguments beside those that the harness needs itself.
    pub arguments: Vec<String>,
    /// Memory in MiB.
    pub memory_mib: u64,
}
