//! The documents of the image and the tar file that holds them, after the OCI image specification.

use std::io::{self, Write};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use serde_json::{Value, json};
use tar::Builder;

use crate::blob::Blob;
use crate::elf;
use crate::layer::{self, Layer, PROGRAM};
use crate::name::Name;

/// The user and the group: a number that no system gives away, for there is no file here that names it.
/// The chart's `runAsUser` is the same.
pub const USER: &str = "65532:65532";
/// What is run; its arguments come from the Pod.
pub const ENTRYPOINT: &str = "/daemonjob";

const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// An image, whole.
#[derive(Debug)]
pub struct Image {
    layer: Layer,
    config: Blob,
    manifest: Blob,
}

impl Image {
    /// Makes the image of a program.
    ///
    /// # Errors
    ///
    /// When the program is no static executable for amd64: in an image that holds nothing else it could not start.
    pub fn new(program: &[u8], created: Timestamp) -> Result<Self> {
        let interpreter = elf::interpreter(program).context("the program cannot be put into an image")?;
        if let Some(interpreter) = interpreter {
            bail!("the program is not static: it asks for {interpreter}");
        }
        let layer = Layer::new(program)?;
        let config = Blob::json(CONFIG, &config(&layer, created));
        let manifest = Blob::json(MANIFEST, &manifest(&layer, &config));
        Ok(Self {
            layer,
            config,
            manifest,
        })
    }

    /// The digest of the manifest: the one that names the image behind an `@`.
    pub fn digest(&self) -> &str {
        &self.manifest.digest
    }

    /// Bytes of the layer as it is sent.
    pub fn layer_size(&self) -> usize {
        self.layer.blob.content.len()
    }

    /// Writes the layout as a tar file; the name stands in its index alone and changes no digest.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write(&self, name: &Name, to: impl Write) -> io::Result<()> {
        let mut tar = Builder::new(to);
        let version = json!({ "imageLayoutVersion": "1.0.0" }).to_string();
        layer::add_file(&mut tar, "oci-layout", 0o644, version.as_bytes())?;
        let index = index(&self.manifest, name).to_string();
        layer::add_file(&mut tar, "index.json", 0o644, index.as_bytes())?;
        for folder in ["blobs/", "blobs/sha256/"] {
            layer::add_folder(&mut tar, folder)?;
        }
        for blob in [&self.manifest, &self.config, &self.layer.blob] {
            layer::add_file(&mut tar, &blob.path(), 0o644, &blob.content)?;
        }
        tar.into_inner()?.flush()
    }
}

fn config(layer: &Layer, created: Timestamp) -> Value {
    json!({
        "architecture": "amd64",
        "os": "linux",
        "created": created.to_string(),
        "config": {
            "User": USER,
            "Entrypoint": [ENTRYPOINT],
            "Labels": {
                "org.opencontainers.image.title": PROGRAM,
                "org.opencontainers.image.source": env!("CARGO_PKG_REPOSITORY"),
                "org.opencontainers.image.licenses": env!("CARGO_PKG_LICENSE"),
                "org.opencontainers.image.version": env!("CARGO_PKG_VERSION"),
            },
        },
        "rootfs": { "type": "layers", "diff_ids": [layer.diff_id] },
        "history": [{ "created": created.to_string(), "created_by": "make image" }],
    })
}

fn manifest(layer: &Layer, config: &Blob) -> Value {
    json!({
        "schemaVersion": 2,
        "mediaType": MANIFEST,
        "config": config.descriptor(),
        "layers": [layer.blob.descriptor()],
    })
}

/// containerd and podman file the image under the first of the names, skopeo looks for the second.
fn index(manifest: &Blob, name: &Name) -> Value {
    let mut descriptor = manifest.descriptor();
    descriptor["platform"] = json!({ "architecture": "amd64", "os": "linux" });
    descriptor["annotations"] = json!({
        "io.containerd.image.name": name.to_string(),
        "org.opencontainers.image.ref.name": name.tag(),
    });
    json!({ "schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor] })
}
