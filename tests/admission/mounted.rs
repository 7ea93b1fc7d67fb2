//! Certificates that somebody else provides, as a kubelet mounts them: exchanged under load, and broken.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use daemonjob_certs::{Authority, Leaf};
use daemonjob_cluster::until;
use data_encoding::BASE64;
use jiff::{SignedDuration, Timestamp};

use crate::load::Load;
use crate::stage::{Act, Replica};
use crate::support::DEADLINE;
use crate::support::world::{install, install_with};

const ENDS: &str = r#"daemonjob_certificate_expiry_timestamp_seconds{certificate="leaf"}"#;
const REFUSED: &str = r#"daemonjob_certificate_changes_total{change="mounted_refused"}"#;

#[expect(clippy::disallowed_methods, reason = "a real API server looks at a real clock")]
fn now() -> Timestamp {
    Timestamp::try_from(SystemTime::now()).expect("a time of this age")
}

/// A leaf of this authority that was issued so many hours ago.
fn leaf(authority: &Authority, hours: i64) -> Leaf {
    let issued = now() - SignedDuration::from_hours(hours);
    Leaf::issue(authority, &["127.0.0.1".to_owned()], issued).expect("a leaf")
}

fn pem(label: &str, der: &[u8]) -> String {
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        BASE64.encode(der)
    )
}

/// A volume as a kubelet writes it: files are links through `..data`, which is exchanged in one step.
struct Volume {
    folder: PathBuf,
    version: u32,
}

impl Volume {
    fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).expect("the folder can be made");
        for name in ["tls.crt", "tls.key"] {
            symlink(Path::new("..data").join(name), folder.join(name)).expect("a link can be made");
        }
        Self {
            folder: folder.to_owned(),
            version: 0,
        }
    }

    fn write(&mut self, certificate: &str, key: &str) {
        self.version += 1;
        let name = format!("..version-{}", self.version);
        let content = self.folder.join(&name);
        std::fs::create_dir(&content).expect("it is new");
        std::fs::write(content.join("tls.crt"), certificate).expect("it can be written");
        std::fs::write(content.join("tls.key"), key).expect("it can be written");
        let draft = self.folder.join("..data_tmp");
        symlink(&name, &draft).expect("a link can be made");
        std::fs::rename(&draft, self.folder.join("..data")).expect("it can be exchanged");
    }

    fn mount(&mut self, leaf: &Leaf) {
        self.write(
            &pem("CERTIFICATE", leaf.certificate()),
            &pem("PRIVATE KEY", leaf.key().secret_der()),
        );
    }
}

/// Waits until all replicas serve this leaf.
fn wait_served(replicas: &[Replica], leaf: &Leaf) {
    let ends = leaf.not_after().as_duration().as_secs_f64();
    until("the mounted certificate to be served", DEADLINE, || {
        for replica in replicas {
            if (replica.operator.metric(ENDS)? - ends).abs() > 0.5 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })
    .expect("files are looked at every ten seconds");
}

#[test]
fn mounted_certificates_are_exchanged_under_load_and_a_broken_pair_changes_nothing() {
    let act = Act::begin();
    let stage = act.stage();
    let [old, new] = [0, 1].map(|_| Authority::generate(now()).expect("an authority"));
    let bundle = BASE64.encode([old.anchor().pem(), new.anchor().pem()].concat().as_bytes());
    // In mode self, which another test may have left, `caBundle` is the process's own.
    let flags = [
        "--force-conflicts",
        "--set=webhook.certs.mode=existingSecret",
        "--set=webhook.certs.secretName=mine",
        &format!("--set=webhook.certs.caBundle={bundle}"),
    ];
    install_with(&stage.cluster, stage.balancer.port(), &flags);
    let folder = stage.cluster.folder().join("mounted");
    let mut volume = Volume::new(&folder);
    let [first, second] = [leaf(&old, 2), leaf(&new, 1)];
    volume.mount(&first);
    let certs_dir = format!("--certs-dir={}", folder.display());
    let replicas = stage.two_replicas(&["--certs-mode=existingSecret", &certs_dir]);
    wait_served(&replicas, &first);

    let load = Load::start(&stage.cluster);
    volume.mount(&second);
    wait_served(&replicas, &second);
    // The certificate of one pair with the key of another, as a secret that is written in two steps shows it.
    volume.write(
        &pem("CERTIFICATE", first.certificate()),
        &pem("PRIVATE KEY", second.key().secret_der()),
    );
    until("the broken pair to be seen", DEADLINE, || {
        let counts: anyhow::Result<Vec<f64>> = replicas.iter().map(|it| it.operator.metric(REFUSED)).collect();
        Ok(counts?.iter().all(|count| *count > 0.0).then_some(()))
    })
    .expect("it is counted");
    assert_eq!(stage.balancer.ready().len(), 2, "the last good pair is still served");
    let report = load.stop();
    report.assert_all_admitted();

    replicas.into_iter().for_each(|replica| stage.end(replica));
    install(&stage.cluster, stage.balancer.port());
    assert!(report.longest() < Duration::from_secs(30));
}
