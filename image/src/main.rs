//! `make image`: builds the program and writes its image, with the name, the digest and the sizes of it.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Parser;
use daemonjob_image::program::{self, Profile};
use daemonjob_image::{Image, Name};
use jiff::Timestamp;

/// Where documents look for the image, in the repository.
const OUTPUT: &str = "target/image/daemonjob.oci.tar";

/// Writes the container image of daemonjob: an OCI layout in a tar file.
#[derive(Debug, Parser)]
#[command(name = "daemonjob-image", version)]
struct Cli {
    /// The name that the file gives the image: REGISTRY/REPOSITORY:TAG
    #[arg(long, env = "IMAGE_NAME", default_value = concat!("localhost/justk8s/daemonjob:", env!("CARGO_PKG_VERSION")))]
    name: Name,
    /// The file to write [default: target/image/daemonjob.oci.tar of the repository]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// The program to put into it, a static executable; it is built if none is given
    #[arg(long, value_name = "FILE")]
    program: Option<PathBuf>,
    /// When the image was made, in seconds since 1970; without it the time of the last commit
    #[arg(long, env = "SOURCE_DATE_EPOCH", value_name = "SECONDS")]
    created: Option<i64>,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell when standard error is closed.
            drop(writeln!(io::stderr(), "image: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize()?;
    let file = match &cli.program {
        Some(file) => file.clone(),
        None => program::build(&workspace, Profile::Dist, None)?,
    };
    let content = fs::read(&file).with_context(|| format!("{} cannot be read", file.display()))?;
    let created = cli
        .created
        .unwrap_or_else(|| last_commit(&workspace).unwrap_or_default());
    let image = Image::new(&content, Timestamp::from_second(created)?)?;
    let output = cli.output.clone().unwrap_or_else(|| workspace.join(OUTPUT));
    store(&image, &cli.name, &output).with_context(|| format!("{} cannot be written", output.display()))?;
    writeln!(io::stdout(), "{}", summary(&image, &cli.name, content.len(), &output))?;
    Ok(())
}

/// The time of the last commit, where git and a commit are.
fn last_commit(workspace: &Path) -> Option<i64> {
    let mut git = Command::new("git");
    let output = git
        .current_dir(workspace)
        .args(["log", "-1", "--format=%ct"])
        .output()
        .ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}

/// Under another name first: whoever finds the file finds all of it.
fn store(image: &Image, name: &Name, output: &Path) -> Result<()> {
    if let Some(folder) = output.parent() {
        fs::create_dir_all(folder)?;
    }
    let partial = output.with_extension("partial");
    image.write(name, BufWriter::new(File::create(&partial)?))?;
    Ok(fs::rename(&partial, output)?)
}

fn summary(image: &Image, name: &Name, program: usize, output: &Path) -> String {
    let megabytes = |bytes: usize| format!("{bytes} bytes ({:.2} MB)", bytes as f64 / 1e6);
    format!(
        "image    {name}\ndigest   {}\nprogram  {}\nlayer    {}\nfile     {}",
        image.digest(),
        megabytes(program),
        megabytes(image.layer_size()),
        output.display()
    )
}
