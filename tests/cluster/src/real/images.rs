//! The images that a node needs from the start, made of a static busybox: `busybox:stable`, and the one that holds a
//! Pod's namespaces open.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use data_encoding::HEXLOWER;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tar::{Builder, EntryType, Header};

use crate::command::run;

/// As Kubernetes completes the name `busybox:stable`.
pub(crate) const BUSYBOX: &str = "docker.io/library/busybox:stable";
/// The image of a Pod's first container.
pub(crate) const PAUSE: &str = "localhost/pause:1";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Writes both images into one OCI layout.
pub(crate) fn write(busybox: &Path, to: &Path) -> Result<()> {
    let program = fs::read(busybox).with_context(|| format!("{} cannot be read", busybox.display()))?;
    let applets = run(Command::new(busybox).arg("--list"), None)?.checked()?;
    let layer = Blob::new(LAYER, layer(&program, applets.lines())?);
    let mut layout = Layout::new(File::create(to)?, &layer)?;
    layout.add(BUSYBOX, &layer, &["sh"])?;
    layout.add(PAUSE, &layer, &["sleep", "infinity"])?;
    layout.finish()
}

/// The program, and a link for each of its names.
fn layer<'a>(program: &[u8], applets: impl Iterator<Item = &'a str>) -> io::Result<Vec<u8>> {
    let mut tar = Builder::new(Vec::new());
    for (folder, mode) in [("bin/", 0o755), ("tmp/", 0o1777)] {
        tar.append_data(&mut header(EntryType::Directory, mode, 0), folder, io::empty())?;
    }
    let mut file = header(EntryType::Regular, 0o755, program.len());
    tar.append_data(&mut file, "bin/busybox", program)?;
    for applet in applets.filter(|name| *name != "busybox") {
        let mut link = header(EntryType::Symlink, 0o777, 0);
        tar.append_link(&mut link, format!("bin/{applet}"), "busybox")?;
    }
    tar.into_inner()
}

fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_size(size as u64);
    header
}

/// A file that is named by its digest.
struct Blob {
    kind: &'static str,
    digest: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(kind: &'static str, content: Vec<u8>) -> Self {
        let digest = HEXLOWER.encode(&Sha256::digest(&content));
        Self { kind, digest, content }
    }

    fn descriptor(&self) -> Value {
        json!({"mediaType": self.kind, "digest": format!("sha256:{}", self.digest), "size": self.content.len()})
    }
}

/// An OCI layout in a tar file, while it is written.
struct Layout {
    tar: Builder<File>,
    manifests: Vec<Value>,
}

impl Layout {
    fn new(file: File, layer: &Blob) -> io::Result<Self> {
        let mut layout = Self {
            tar: Builder::new(file),
            manifests: Vec::new(),
        };
        layout.add_file("oci-layout", br#"{"imageLayoutVersion": "1.0.0"}"#)?;
        layout.add_blob(layer)?;
        Ok(layout)
    }

    fn add(&mut self, name: &str, layer: &Blob, command: &[&str]) -> io::Result<()> {
        let config = json!({
            "architecture": architecture(),
            "os": "linux",
            "config": {"Cmd": command, "Env": ["PATH=/bin"]},
            "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", layer.digest)]},
        });
        let config = Blob::new(CONFIG, config.to_string().into_bytes());
        let manifest = json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        });
        let manifest = Blob::new(MANIFEST, manifest.to_string().into_bytes());
        self.add_blob(&config)?;
        self.add_blob(&manifest)?;
        let mut descriptor = manifest.descriptor();
        descriptor["annotations"] = json!({"io.containerd.image.name": name});
        self.manifests.push(descriptor);
        Ok(())
    }

    fn finish(mut self) -> Result<()> {
        let index = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests});
        self.add_file("index.json", index.to_string().as_bytes())?;
        self.tar.into_inner()?.sync_all()?;
        Ok(())
    }

    fn add_blob(&mut self, blob: &Blob) -> io::Result<()> {
        self.add_file(&format!("blobs/sha256/{}", blob.digest), &blob.content)
    }

    fn add_file(&mut self, path: &str, content: &[u8]) -> io::Result<()> {
        self.tar
            .append_data(&mut header(EntryType::Regular, 0o644, content.len()), path, content)
    }
}

/// As Go calls the processor.
const fn architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "arm64"
    } else {
        "amd64"
    }
}
