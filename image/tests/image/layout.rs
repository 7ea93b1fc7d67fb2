//! The image of a small program: what the file must say.

use daemonjob_image::{ENTRYPOINT, Image, Name, PROGRAM, USER};
use jiff::Timestamp;
use oci_spec::image::{Arch, MediaType, Os};
use tar::EntryType;

use crate::reader::{open, untar};

const NAME: &str = "localhost/justk8s/daemonjob:0.1.0";

/// The least that is a static executable: a header without a table of program headers.
fn program() -> Vec<u8> {
    let mut file = vec![0; 64];
    file[..6].copy_from_slice(b"\x7fELF\x02\x01");
    file[18] = 62;
    file.extend(b"the same bytes again and again, ".repeat(1000));
    file
}

fn image(seconds: i64) -> Image {
    Image::new(&program(), Timestamp::from_second(seconds).unwrap()).unwrap()
}

fn written(image: &Image, name: &str) -> Vec<u8> {
    let name: Name = name.parse().unwrap();
    let mut file = Vec::new();
    image.write(&name, &mut file).unwrap();
    file
}

#[test]
fn the_same_program_gives_the_same_bytes() {
    let (one, two) = (image(7), image(7));
    assert_eq!(one.digest(), two.digest());
    assert!(written(&one, NAME) == written(&two, NAME), "two files differ");
    let (later, renamed) = (image(8), written(&one, "registry.example/daemonjob:2"));
    assert_ne!(one.digest(), later.digest(), "the time is part of the image");
    let opened = open(&renamed);
    assert_eq!(opened.index.manifests()[0].digest().to_string(), one.digest());
}

#[test]
fn another_library_reads_what_was_written() {
    let image = image(1_700_000_000);
    let opened = open(&written(&image, NAME));
    let manifest = &opened.index.manifests()[0];
    assert_eq!(manifest.media_type(), &MediaType::ImageManifest);
    assert_eq!(manifest.digest().to_string(), image.digest());
    let platform = manifest.platform().as_ref().unwrap();
    assert_eq!((platform.os(), platform.architecture()), (&Os::Linux, &Arch::Amd64));
    let annotations = manifest.annotations().as_ref().unwrap();
    assert_eq!(annotations["io.containerd.image.name"], NAME);
    assert_eq!(annotations["org.opencontainers.image.ref.name"], "0.1.0");
    let layer = &opened.manifest.layers()[0];
    assert_eq!(layer.media_type(), &MediaType::ImageLayerGzip);
    assert_eq!(layer.size(), image.layer_size() as u64);
    assert_eq!(opened.manifest.config().media_type(), &MediaType::ImageConfig);
}

#[test]
fn the_configuration_says_who_runs_what() {
    let config = open(&written(&image(1_700_000_000), NAME)).config;
    assert_eq!((config.os(), config.architecture()), (&Os::Linux, &Arch::Amd64));
    assert_eq!(config.created().as_deref(), Some("2023-11-14T22:13:20Z"));
    let run = config.config().as_ref().unwrap();
    assert_eq!(run.user().as_deref(), Some(USER));
    assert_eq!(run.entrypoint().as_deref(), Some(&[ENTRYPOINT.to_owned()][..]));
    assert_eq!((run.cmd(), run.env()), (&None, &None));
    let labels = run.labels().as_ref().unwrap();
    for (label, value) in [
        ("title", "daemonjob"),
        ("source", env!("CARGO_PKG_REPOSITORY")),
        ("licenses", "Apache-2.0"),
        ("version", env!("CARGO_PKG_VERSION")),
    ] {
        assert_eq!(labels[&format!("org.opencontainers.image.{label}")], value);
    }
}

#[test]
fn user_and_program_are_those_of_the_chart() {
    assert_eq!(ENTRYPOINT, format!("/{PROGRAM}"));
    let rendered = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../charts/install.yaml");
    let rendered = std::fs::read_to_string(rendered).unwrap();
    let (user, group) = USER.split_once(':').unwrap();
    for line in [format!("runAsUser: {user}\n"), format!("runAsGroup: {group}\n")] {
        assert!(rendered.contains(&line), "the rendered chart does not say {line}");
    }
}

#[test]
fn the_layer_is_one_file_that_anybody_may_run_and_nobody_may_change() {
    let layer = open(&written(&image(7), NAME)).layer;
    assert_eq!(layer.keys().collect::<Vec<_>>(), ["daemonjob"]);
    let file = &layer["daemonjob"];
    assert_eq!(
        (file.kind, file.mode, file.owner),
        (EntryType::Regular, 0o555, (0, 0, 0))
    );
    assert!(file.content == program(), "the program is not the one that was given");
}

#[test]
fn no_header_tells_of_the_machine() {
    for (path, entry) in untar(&written(&image(7), NAME)) {
        assert_eq!(entry.owner, (0, 0, 0), "{path}");
    }
}

#[test]
fn a_program_that_needs_a_loader_is_refused() {
    let mut file = program();
    // One program header, right behind the file's own, that names a loader in the last bytes.
    let loader = b"/lib64/ld.so\0";
    file[32] = 64;
    file[54] = 56;
    file[56] = 1;
    file[64..120].fill(0);
    file[64] = 3;
    let start = file.len() as u64;
    file[72..80].copy_from_slice(&start.to_le_bytes());
    file[96] = loader.len() as u8;
    file.extend(loader);
    let error = Image::new(&file, Timestamp::UNIX_EPOCH).unwrap_err();
    assert_eq!(error.to_string(), "the program is not static: it asks for /lib64/ld.so");
    let error = Image::new(b"#!/bin/sh\n", Timestamp::UNIX_EPOCH).unwrap_err();
    assert!(format!("{error:#}").contains("no 64-bit ELF file"), "{error:#}");
}
