//! Ports for a cluster, its own until it is deleted.
//!
//! The launcher can look for free ports itself, but two launchers find the same ones,
//! and the port of an API server that a test has stopped looks free too.
//! So each cluster takes a block, recorded in the user's cache folder because ports belong to the machine.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;

use anyhow::{Context, Result, bail};

/// Below the range from which Linux picks the ports of outgoing connections.
const FIRST: u16 = 21_000;
const BLOCKS: u16 = 500;
const BLOCK: u16 = 6;

/// The port of the Service `kubernetes`.
const HTTPS: u16 = 443;

/// The ports of one cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ports {
    apiserver: u16,
    base: u16,
}

impl Ports {
    pub(crate) const fn apiserver(self) -> u16 {
        self.apiserver
    }
    pub(crate) const fn etcd(self) -> u16 {
        self.base + 1
    }
    pub(crate) const fn etcd_peer(self) -> u16 {
        self.base + 2
    }
    pub(crate) const fn controller_manager(self) -> u16 {
        self.base + 3
    }
    pub(crate) const fn scheduler(self) -> u16 {
        self.base + 4
    }
    pub(crate) const fn kwok(self) -> u16 {
        self.base + 5
    }

    const fn block(base: u16) -> Self {
        Self { apiserver: base, base }
    }

    /// Those in a network namespace of one's own, where all are free; the API server is dialled at its Service's.
    pub(crate) const fn alone() -> Self {
        Self {
            apiserver: HTTPS,
            ..Self::block(FIRST)
        }
    }

    /// Takes the first free block for the cluster in `folder`; the block is free again once that folder is gone.
    pub(crate) fn reserve(cache: &Path, folder: &Path) -> Result<Self> {
        let records = cache.join("ports");
        fs::create_dir_all(&records).with_context(|| format!("{} cannot be made", records.display()))?;
        let lock = File::create(records.join("lock"))?;
        lock.lock().context("the ports cannot be locked")?;
        for block in 0..BLOCKS {
            let ports = Self::block(FIRST + block * BLOCK);
            let record = records.join(ports.base.to_string());
            if is_taken(&record) || !ports.are_free() {
                continue;
            }
            fs::write(&record, folder.to_string_lossy().as_bytes())?;
            return Ok(ports);
        }
        bail!(
            "no {BLOCK} free ports in a row between {FIRST} and {}: delete some clusters",
            FIRST + BLOCKS * BLOCK
        )
    }

    fn are_free(self) -> bool {
        (self.base..self.base + BLOCK).all(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
    }
}

/// A record counts as long as the folder of its cluster is there.
fn is_taken(record: &Path) -> bool {
    fs::read_to_string(record).is_ok_and(|folder| Path::new(&folder).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_belongs_to_one_cluster_until_its_folder_is_gone() {
        let cache = tempfile::tempdir().unwrap();
        let one = tempfile::tempdir().unwrap();
        let two = tempfile::tempdir().unwrap();
        let first = Ports::reserve(cache.path(), one.path()).unwrap();
        let second = Ports::reserve(cache.path(), two.path()).unwrap();
        assert_ne!(first, second);
        let record = |ports: Ports| cache.path().join("ports").join(ports.base.to_string());
        assert!(is_taken(&record(first)) && is_taken(&record(second)));
        drop(one);
        assert!(!is_taken(&record(first)) && is_taken(&record(second)));
    }

    #[test]
    fn a_block_that_somebody_listens_on_is_passed_over() {
        let cache = tempfile::tempdir().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let first = Ports::reserve(cache.path(), Path::new("/nowhere")).unwrap();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, first.scheduler())).unwrap();
        assert_ne!(Ports::reserve(cache.path(), folder.path()).unwrap(), first);
    }
}
