//! What this host has to give: cores and memory, as far as it lets us have them.

use crate::prove::qemu::Accelerator;
use std::fs;
use std::path::Path;

/// What QEMU takes beside the machine's memory, in MiB.
const EMULATOR_MIB: u64 = 128;
/// And the code that it has translated: the size that it is given for that.
const TRANSLATED_MIB: u64 = 512;

/// What is free on this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Cores that we may use.
    pub cores: usize,
    /// Memory that we may use; none where nobody knows.
    pub memory_mib: Option<u64>,
}

impl Room {
    /// Looks. The limits of a container count.
    #[must_use]
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).ok();
        let free = read("/proc/meminfo").as_deref().and_then(available);
        let allowed = limit(&read("/proc/self/cgroup").unwrap_or_default(), &read);
        Room {
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_mib: free.into_iter().chain(allowed).min(),
        }
    }

    /// How many runs of so many machines fit side by side, and never none. A machine has one core; several of them on
    /// one would only wait for each other.
    #[must_use]
    pub fn jobs(&self, machines: usize, memory_mib: u64, accelerator: &Accelerator) -> usize {
        let translated = if matches!(accelerator, Accelerator::Kvm) { 0 } else { TRANSLATED_MIB };
        let each = (memory_mib + EMULATOR_MIB + translated).saturating_mul(machines as u64).max(1);
        let by_memory = self.memory_mib.map_or(usize::MAX, |free| usize::try_from(free / each).unwrap_or(usize::MAX));
        (self.cores / machines.max(1)).min(by_memory).max(1)
    }
}

impl std::fmt::Display for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{} core{}", self.cores, if self.cores == 1 { "" } else { "s" })?;
        match self.memory_mib {
            Some(mib) => write!(f, " and {:.1} GiB of memory are free", mib as f64 / 1024.0),
            None => f.write_str(" are free, and nobody knows how much memory"),
        }
    }
}

/// `MemAvailable` of /proc/meminfo in MiB.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib / 1024)
}

/// What our control group and those above it still let us have, in MiB: version 2 and version 1.
fn limit(groups: &str, read: &dyn Fn(&str) -> Option<String>) -> Option<u64> {
    let number = |path: String| read(&path).and_then(|text| text.trim().parse::<u64>().ok());
    let cached = |path: String, key: &str| {
        let text = read(&path)?;
        text.lines().find_map(|l| l.strip_prefix(key)?.trim().parse::<u64>().ok())
    };
    let mut least = None;
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(kinds), Some(path)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (root, most, used, cache) = match kinds {
            "" => ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file "),
            "memory" => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ")
            }
            _ => continue,
        };
        // A container sees its own group as the root, and may be told of a path outside it: then only the root is there.
        for group in Path::new(path).ancestors() {
            let place = format!("{root}{}", group.display()).trim_end_matches('/').to_owned();
            let Some(most) = number(format!("{place}/{most}")) else { continue };
            // What is only cached for reading is given back when it is asked for.
            let used = number(format!("{place}/{used}")).unwrap_or(0);
            let held = used.saturating_sub(cached(format!("{place}/memory.stat"), cache).unwrap_or(0));
            let left = most.saturating_sub(held) >> 20;
            least = Some(least.map_or(left, |l: u64| l.min(left)));
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tcg() -> Accelerator {
        Accelerator::Tcg { why: "a test".to_owned() }
    }

    #[test]
    fn cores_and_memory_both_bound_the_runs() {
        let room = |cores, memory_mib| Room { cores, memory_mib };
        for (room, machines, accelerator, wanted) in [
            (room(2, Some(18_000)), 2, tcg(), 1),
            (room(2, Some(18_000)), 1, tcg(), 2),
            (room(16, Some(64_000)), 2, tcg(), 8),
            // 1024 + 128 + 512 each.
            (room(16, Some(1664 * 6)), 2, tcg(), 3),
            (room(16, Some(1664 * 6 - 1)), 2, tcg(), 2),
            (room(16, Some(1152 * 8)), 2, Accelerator::Kvm, 4),
            (room(16, None), 1, Accelerator::Kvm, 16),
            // One run is always tried.
            (room(1, Some(100)), 2, tcg(), 1),
        ] {
            assert_eq!(room.jobs(machines, 1024, &accelerator), wanted, "{room:?} {machines}");
        }
    }

    #[test]
    fn the_host_says_what_is_free() {
        assert_eq!(available("MemTotal:  9 kB\nMemAvailable:   18874368 kB\n"), Some(18_432));
        assert_eq!(available("MemAvailable: lots\n"), None);
        assert_eq!(available(""), None);
        let here = Room::here();
        assert!(here.cores >= 1 && here.memory_mib.is_some_and(|mib| mib > 0), "{here:?}");
    }

    #[test]
    fn the_limit_of_a_container_counts() {
        let files = |files: &'static [(&str, &str)]| {
            move |path: &str| files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        };
        // A pod: its own group is the root that it sees.
        let pod = files(&[
            ("/sys/fs/cgroup/memory.max", "4294967296\n"),
            ("/sys/fs/cgroup/memory.current", "2147483648\n"),
            ("/sys/fs/cgroup/memory.stat", "anon 5\ninactive_file 1073741824\n"),
        ]);
        assert_eq!(limit("0::/\n", &pod), Some(3072));
        // A service: the group above it is narrower.
        let service = files(&[
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/memory.max", "1048576000\n"),
            ("/sys/fs/cgroup/a/memory.current", "9999999999\n"),
        ]);
        assert_eq!(limit("0::/a/b\n", &service), Some(0));
        // Version 1, told of a path that is not in its container.
        let old = files(&[("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n")]);
        assert_eq!(limit("9:name=systemd:/\n4:memory:/docker/0a\n0::/\n", &old), Some(1024));
        assert_eq!(limit("0::/\n", &|_| None), None);
        assert_eq!(limit("", &|_| None), None);
    }
}
