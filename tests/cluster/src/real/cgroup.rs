//! The control group below which the kubelet makes those of its Pods; the reaper removes it.

use std::fs;
use std::io::ErrorKind;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Makes the group in every hierarchy.
pub(crate) fn make(name: &str) -> Result<()> {
    let mounts = fs::read_to_string("/proc/self/mounts").context("/proc/self/mounts cannot be read")?;
    let hierarchies = hierarchies(&mounts);
    if hierarchies.is_empty() {
        bail!("no control groups are mounted");
    }
    for hierarchy in hierarchies {
        let folder = hierarchy.join(name);
        match fs::create_dir(&folder) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error).with_context(|| format!("{} cannot be made", folder.display())),
        }
    }
    Ok(())
}

/// Where control groups are mounted, of the first version and of the second.
/// One controller may be mounted with another, and then twice.
fn hierarchies(mounts: &str) -> Vec<PathBuf> {
    let mounted = mounts.lines().filter_map(|line| {
        let mut fields = line.split(' ').skip(1);
        let place = fields.next()?;
        matches!(fields.next()?, "cgroup" | "cgroup2").then(|| PathBuf::from(place))
    });
    mounted.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hierarchies_of_both_versions_are_found() {
        let mounts = "tmpfs /sys/fs/cgroup tmpfs rw 0 0\n\
                      cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n\
                      cgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        let found = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/unified"].map(PathBuf::from);
        assert_eq!(hierarchies(mounts), found);
    }
}
