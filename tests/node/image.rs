//! The image that the tests run: the program of this build's sources, quickly built, under the name of the shipped one.

use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use daemonjob_image::Image;
use daemonjob_image::program::{self, Profile};
use jiff::Timestamp;

/// What `make image` calls it.
pub(crate) const NAME: &str = concat!("localhost/justk8s/daemonjob:", env!("CARGO_PKG_VERSION"));

/// The file that holds it, built once.
pub(crate) fn file() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let workspace = Path::new(env!("CARGO_MANIFEST_DIR"));
        let program = program::build(workspace, Profile::Dev, None).expect("the program is built");
        let program = fs::read(program).expect("it was just built");
        let image = Image::new(&program, Timestamp::UNIX_EPOCH).expect("it is static");
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join("daemonjob.oci.tar");
        // Under another name first: other tests of this folder may read the old one.
        let partial = file.with_extension(std::process::id().to_string());
        let output = BufWriter::new(File::create(&partial).expect("the folder can be written"));
        let name = NAME.parse().expect("it is a name");
        image.write(&name, output).expect("the folder can be written");
        fs::rename(partial, &file).expect("the folder can be written");
        file
    })
}
