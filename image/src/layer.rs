//! Tar files that are the same each time: no clock, no user, no folder of the machine reaches their headers.

use std::io::{self, Write};

use flate2::{Compression, GzBuilder};
use tar::{Builder, EntryType, Header};

use crate::blob::{Blob, digest};

/// The one file of the image, below its root.
pub const PROGRAM: &str = "daemonjob";

/// A header of the oldest format that all readers know; root owns what it describes, since 1970.
fn header(kind: EntryType, mode: u32, size: usize) -> Header {
    let mut header = Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(mode);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(0);
    header.set_size(size as u64);
    header
}

/// Adds a file.
pub(crate) fn add_file<W: Write>(tar: &mut Builder<W>, path: &str, mode: u32, content: &[u8]) -> io::Result<()> {
    tar.append_data(&mut header(EntryType::Regular, mode, content.len()), path, content)
}

/// Adds a folder.
pub(crate) fn add_folder<W: Write>(tar: &mut Builder<W>, path: &str) -> io::Result<()> {
    tar.append_data(&mut header(EntryType::Directory, 0o755, 0), path, io::empty())
}

/// The program as a layer.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) blob: Blob,
    /// The digest before compression: the configuration names layers by it.
    pub(crate) diff_id: String,
}

impl Layer {
    pub(crate) fn new(program: &[u8]) -> io::Result<Self> {
        let mut tar = Builder::new(Vec::new());
        // Anybody may run it, nobody may change it.
        add_file(&mut tar, PROGRAM, 0o555, program)?;
        let tar = tar.into_inner()?;
        let mut gzip = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
        gzip.write_all(&tar)?;
        Ok(Self {
            blob: Blob::new("application/vnd.oci.image.layer.v1.tar+gzip", gzip.finish()?),
            diff_id: digest(&tar),
        })
    }
}
