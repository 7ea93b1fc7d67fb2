//! The program as a container image: an OCI layout in a tar file, written without a container engine.
//!
//! [`program::build`] makes one static executable that names no folder of the machine that built it;
//! [`Image`] puts it alone into one layer, for a user without rights.
//! The same program and the same time give the same bytes, so an image can be checked by building it again.
//!
//! It never speaks to a registry, and it holds no shell, no libraries and no files but the program:
//! the user is a number, so there is no `/etc/passwd`; a Pod's `/etc/hosts` and `/etc/resolv.conf` come from the
//! kubelet, and the API server's authority with the service account.

mod blob;
mod elf;
mod image;
mod layer;
mod name;
pub mod program;

pub use elf::interpreter;
pub use image::{ENTRYPOINT, Image, USER};
pub use layer::PROGRAM;
pub use name::Name;
