//! The image that is shipped: the same wherever it is built, small, and running in a root that holds nothing else.
//!
//! Each build of the program takes minutes, so these run in `make image-check` alone.

use std::fs::{self, File, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use daemonjob_cluster::{Cluster, Options, Tools, until};
use daemonjob_image::program::{self, Profile};
use daemonjob_image::{ENTRYPOINT, Image, PROGRAM, USER, interpreter};
use jiff::Timestamp;
use tempfile::TempDir;

use crate::reader::open;

/// Bytes of the layer that nobody should have to pull.
const LARGEST: usize = 14_000_000;
/// What is aimed at.
const AIM: usize = 9_000_000;
/// A build gets this much of a busy machine.
const DEADLINE: Duration = Duration::from_secs(60);

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap()
}

fn image_of(program: &[u8]) -> Image {
    Image::new(program, Timestamp::UNIX_EPOCH).unwrap()
}

/// The program, built in this repository.
fn built() -> &'static [u8] {
    static BUILT: OnceLock<Vec<u8>> = OnceLock::new();
    BUILT.get_or_init(|| fs::read(program::build(&repository(), Profile::Dist, None).unwrap()).unwrap())
}

/// A copy of what git knows or would add.
fn copy_of_the_repository() -> TempDir {
    let folder = tempfile::Builder::new()
        .prefix("a folder with another name ")
        .tempdir()
        .unwrap();
    let mut git = Command::new("git");
    git.args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"]);
    let output = git.current_dir(repository()).output().unwrap();
    let list = String::from_utf8(output.stdout).unwrap();
    for path in list
        .split_terminator('\0')
        .filter(|path| repository().join(path).is_file())
    {
        let copy = folder.path().join(path);
        fs::create_dir_all(copy.parent().unwrap()).unwrap();
        fs::copy(repository().join(path), copy).unwrap();
    }
    folder
}

#[test]
#[ignore = "builds the program twice: make image-check"]
fn two_folders_give_one_digest() {
    let here = image_of(built());
    let copy = copy_of_the_repository();
    // Whatever folder for all builds this machine may have.
    let file = program::build(copy.path(), Profile::Dist, Some(&copy.path().join("target"))).unwrap();
    let there = image_of(&fs::read(file).unwrap());
    println!("here   {}\nthere  {}", here.digest(), there.digest());
    assert_eq!(here.digest(), there.digest());
}

#[test]
#[ignore = "builds the program: make image-check"]
fn the_layer_is_one_small_static_program_that_names_no_folder_of_this_machine() {
    let image = image_of(built());
    let mut file = Vec::new();
    image
        .write(&"localhost/daemonjob:1".parse().unwrap(), &mut file)
        .unwrap();
    let layer = open(&file).layer;
    assert_eq!(layer.keys().collect::<Vec<_>>(), [PROGRAM]);
    let program = &layer[PROGRAM].content;
    assert_eq!(interpreter(program).unwrap(), None);
    println!(
        "program {} bytes, layer {} bytes, aim {AIM}",
        program.len(),
        image.layer_size()
    );
    assert!(image.layer_size() <= LARGEST);
    let home = std::env::home_dir().expect("cargo has a home");
    for folder in [repository(), home] {
        let folder = format!("{}/", folder.display());
        let found = program.windows(folder.len()).any(|part| part == folder.as_bytes());
        assert!(!found, "the program names {folder}");
    }
}

/// Lays out the layer, and nothing else, as the root of a file system.
fn lay_out(root: &Path) {
    fs::create_dir(root).unwrap();
    let program = root.join(PROGRAM);
    fs::write(&program, built()).unwrap();
    fs::set_permissions(program, Permissions::from_mode(0o555)).unwrap();
}

/// `chroot` with the image's user, which has no other groups.
fn chroot(root: &Path) -> Vec<String> {
    let words = [
        "chroot",
        "--userspec",
        USER,
        "--groups",
        "",
        root.to_str().unwrap(),
        ENTRYPOINT,
    ];
    words.map(str::to_owned).to_vec()
}

/// A command that sees nothing of this process's settings but where programs are.
fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("PATH", std::env::var_os("PATH").unwrap());
    command
}

fn run_in(root: &Path, arguments: &[&str]) -> Output {
    let chroot = chroot(root);
    let output = command(&chroot[0]).args(&chroot[1..]).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{arguments:?} (needs root, for chroot): {}",
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

#[test]
#[ignore = "builds the program: make image-check"]
fn it_runs_as_its_user_in_a_root_that_holds_nothing_else() {
    let folder = TempDir::new().unwrap();
    let root = folder.path().join("root");
    lay_out(&root);
    let version = run_in(&root, &["--version"]).stdout;
    let expected = format!("{PROGRAM} {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(String::from_utf8(version).unwrap(), expected);
    let crd = fs::read(repository().join("charts/daemonjob/files/crd.yaml")).unwrap();
    assert!(
        run_in(&root, &["crd"]).stdout == crd,
        "it prints another CRD than the chart installs"
    );
}

/// A process that dies with this value, or, if this process is killed, with the cluster.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts `daemonjob run` in the root.
/// The cluster's reaper knows its processes by the path that they were started by, which `chroot` hides: so that path
/// is that of `unshare`, with which everything in its namespace of processes dies.
fn start_in(root: &Path, cluster: &Cluster, flags: &[&str]) -> Running {
    let unshare = cluster.folder().join("unshare");
    let found = std::env::split_paths(&std::env::var_os("PATH").unwrap())
        .map(|folder| folder.join("unshare"))
        .find(|file| file.is_file());
    symlink(found.expect("unshare, of util-linux, is installed"), &unshare).unwrap();
    let log = File::create(cluster.folder().join("daemonjob.log")).unwrap();
    let child = command(unshare)
        // A change of user would make `chroot` forget that it is to die with its parent; the shell does not change it.
        .args([
            "--pid",
            "--fork",
            "--kill-child",
            "--",
            "sh",
            "-c",
            "\"$@\" & wait",
            "sh",
        ])
        .args(chroot(root))
        .arg("run")
        .args(flags)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    Running(child)
}

/// The memory that a program takes, as the system tells of the process that runs this file.
fn memory_of(program: &Path) -> Option<String> {
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let running = |process: &PathBuf| fs::read_link(process.join("exe")).is_ok_and(|file| file == program);
    let status = fs::read_to_string(processes.into_iter().find(running)?.join("status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().to_owned())
}

#[test]
#[ignore = "builds the program: make image-check"]
fn it_runs_a_daemonjob_in_a_root_that_holds_nothing_else() {
    let tools = Tools::ensure(&mut |line| eprintln!("{line}")).unwrap();
    let cluster = Cluster::start(&tools, &Options::with_nodes(2)).unwrap();
    let root = cluster.folder().join("root");
    lay_out(&root);
    // As a kubelet does it: names are resolved by files that it mounts. The server is named, not numbered.
    let kubeconfig = cluster.run(["config", "view", "--raw", "--flatten"]).unwrap();
    let by_name = kubeconfig.replace("https://127.0.0.1:", "https://api-server.example:");
    assert_ne!(by_name, kubeconfig, "the server is not where it was");
    let by_name = by_name.replace("server: ", "tls-server-name: localhost\n    server: ");
    fs::write(root.join("kubeconfig"), by_name).unwrap();
    fs::create_dir(root.join("etc")).unwrap();
    fs::write(root.join("etc/hosts"), "127.0.0.1 api-server.example\n").unwrap();

    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let webhook = port.local_addr().unwrap().to_string();
    let url = format!("https://{webhook}");
    let chart = repository().join("charts/daemonjob");
    let set = format!("webhook.url={url}");
    let install = [
        "install",
        PROGRAM,
        chart.to_str().unwrap(),
        "--namespace=daemonjob-system",
    ];
    let installed = cluster.helm(install.iter().chain(&["--create-namespace", "--set", &set]));
    installed.unwrap().checked().unwrap();
    drop(port);
    let flags = [
        "--kubeconfig=/kubeconfig",
        "--webhook-address",
        &webhook,
        "--webhook-url",
        &url,
    ];
    let running = start_in(
        &root,
        &cluster,
        &[&flags[..], &["--admin-address=127.0.0.1:0"]].concat(),
    );

    let sample = repository().join("examples/01-sample.yaml");
    let log = || fs::read_to_string(cluster.folder().join("daemonjob.log")).unwrap();
    let admitted = until("the sample to be admitted", DEADLINE, || {
        cluster.run(["apply", "-f", sample.to_str().unwrap()]).map(Some)
    });
    admitted.unwrap_or_else(|error| panic!("{error:#}\n{}", log()));
    let waited = cluster.run([
        "wait",
        "dj/daemonjob-sample",
        "--for=condition=Complete",
        "--timeout=60s",
    ]);
    waited.unwrap_or_else(|error| panic!("{error:#}\n{}", log()));
    let memory = memory_of(&root.join(PROGRAM)).expect("the program is what was started");
    println!("memory after the sample: {memory}");
    drop(running);
    let gone = until("the program to be gone", DEADLINE, || {
        Ok(memory_of(&root.join(PROGRAM)).is_none().then_some(()))
    });
    gone.unwrap();
}
