//! Takes an image file apart with another library than the one that wrote it, and believes no size and no digest.

use std::collections::BTreeMap;
use std::io::Read;

use data_encoding::HEXLOWER;
use flate2::read::GzDecoder;
use oci_spec::image::{Descriptor, ImageConfiguration, ImageIndex, ImageManifest, OciLayout};
use sha2::{Digest, Sha256};
use tar::{Archive, EntryType};

/// What a tar file says of one entry.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) kind: EntryType,
    pub(crate) mode: u32,
    /// User, group, and the time of the last change.
    pub(crate) owner: (u64, u64, u64),
    pub(crate) content: Vec<u8>,
}

pub(crate) type Files = BTreeMap<String, Entry>;

/// All entries of a tar file, each of which it holds once.
pub(crate) fn untar(tar: &[u8]) -> Files {
    let mut files = Files::new();
    for entry in Archive::new(tar).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        let header = entry.header();
        let owner = (header.uid().unwrap(), header.gid().unwrap(), header.mtime().unwrap());
        let (kind, mode) = (header.entry_type(), header.mode().unwrap());
        let read = Entry {
            kind,
            mode,
            owner,
            content,
        };
        assert!(files.insert(path.clone(), read).is_none(), "{path} is there twice");
    }
    files
}

/// An image, read back.
pub(crate) struct Opened {
    pub(crate) index: ImageIndex,
    pub(crate) manifest: ImageManifest,
    pub(crate) config: ImageConfiguration,
    pub(crate) layer: Files,
}

fn digest(content: &[u8]) -> String {
    format!("sha256:{}", HEXLOWER.encode(&Sha256::digest(content)))
}

/// Takes the file that a descriptor means, and compares the two.
fn blob(files: &mut Files, descriptor: &Descriptor) -> Vec<u8> {
    let path = format!("blobs/sha256/{}", descriptor.digest().digest());
    let entry = files.remove(&path).unwrap_or_else(|| panic!("{path} is missing"));
    assert_eq!(digest(&entry.content), descriptor.digest().to_string(), "{path}");
    assert_eq!(entry.content.len() as u64, descriptor.size(), "{path}");
    entry.content
}

/// Reads a layout; whatever nobody refers to is an error.
pub(crate) fn open(image: &[u8]) -> Opened {
    let mut files = untar(image);
    let mut take = |path: &str| {
        files
            .remove(path)
            .unwrap_or_else(|| panic!("{path} is missing"))
            .content
    };
    let layout = OciLayout::from_reader(&take("oci-layout")[..]).unwrap();
    assert_eq!(layout.image_layout_version(), "1.0.0");
    let index = ImageIndex::from_reader(&take("index.json")[..]).unwrap();
    let [of_manifest] = &index.manifests()[..] else {
        panic!("{index:?}")
    };
    let manifest = ImageManifest::from_reader(&blob(&mut files, of_manifest)[..]).unwrap();
    let config = ImageConfiguration::from_reader(&blob(&mut files, manifest.config())[..]).unwrap();
    let [of_layer] = &manifest.layers()[..] else {
        panic!("{manifest:?}")
    };
    let mut layer = Vec::new();
    let packed = blob(&mut files, of_layer);
    GzDecoder::new(&packed[..]).read_to_end(&mut layer).unwrap();
    assert_eq!(config.rootfs().diff_ids(), &[digest(&layer)]);
    files.retain(|_, entry| entry.kind != EntryType::Directory);
    assert!(files.is_empty(), "nobody refers to {:?}", files.keys());
    let layer = untar(&layer);
    Opened {
        index,
        manifest,
        config,
        layer,
    }
}
