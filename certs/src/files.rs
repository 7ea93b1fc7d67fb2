//! A mounted key pair: `tls.crt` and `tls.key` in a folder, for the modes `certManager` and `existingSecret`.
//!
//! The kubelet replaces mounted files by swapping a symbolic link, which file notifications miss.
//! So the files are read on a timer and compared by content.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use thiserror::Error;

use crate::authority::{self, Fault};
use crate::resolver::{Resolver, ResolverError};

/// The certificate chain's file name, as in Secrets of type `kubernetes.io/tls`.
pub const CERTIFICATE_FILE: &str = "tls.crt";

/// The key's file name, as in Secrets of type `kubernetes.io/tls`.
pub const KEY_FILE: &str = "tls.key";

/// More than any chain needs, and as much as a Secret can hold.
const MAX_FILE_BYTES: u64 = 1 << 20;

/// A mounted key pair was not taken; the one before it still serves.
#[derive(Debug, Error)]
pub enum FilesError {
    /// The certificate file does not hold certificates.
    #[error("cannot read a certificate from {}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Fault,
    },
    /// The key file does not hold a key.
    #[error("cannot read a key from {}", path.display())]
    Key {
        /// The file.
        path: PathBuf,
        /// What the library says; it does not quote the file.
        #[source]
        source: pem::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// Certificate and key do not belong together.
    #[error("cannot serve the key pair in {}", directory.display())]
    Serve {
        /// The folder.
        directory: PathBuf,
        /// What the resolver says.
        #[source]
        source: ResolverError,
    },
}

/// What one look at the files found.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Looked {
    /// A new key pair is served.
    Loaded,
    /// Nothing changed since the last look.
    Unchanged,
}

/// The files' bytes.
#[derive(Eq, PartialEq)]
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

/// The validity of the certificate that is served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Validity {
    /// Its beginning.
    pub not_before: Timestamp,
    /// Its end.
    pub not_after: Timestamp,
}

/// A folder with a key pair, and the resolver that serves it.
pub struct MountedPair {
    directory: PathBuf,
    resolver: Arc<Resolver>,
    served: Option<(Content, Validity)>,
}

/// Without the key: it must never reach a log.
impl fmt::Debug for MountedPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("MountedPair");
        shown
            .field("directory", &self.directory)
            .field("served", &self.validity())
            .finish_non_exhaustive()
    }
}

impl MountedPair {
    /// The pair in `directory`; nothing is read yet.
    pub fn new(directory: PathBuf, resolver: Arc<Resolver>) -> Self {
        Self {
            directory,
            resolver,
            served: None,
        }
    }

    /// Reads the files and serves them if they changed. Blocks for two small reads.
    ///
    /// # Errors
    /// Why the files were not taken. The error comes again with each look until they are good;
    /// the last good pair serves meanwhile.
    pub fn look(&mut self) -> Result<Looked, FilesError> {
        let content = self.read()?;
        if self.served.as_ref().is_some_and(|(served, _)| *served == content) {
            return Ok(Looked::Unchanged);
        }
        let (chain, validity) = self.chain(&content.certificate)?;
        let key = PrivateKeyDer::from_pem_slice(&content.key).map_err(|source| FilesError::Key {
            path: self.directory.join(KEY_FILE),
            source,
        })?;
        self.resolver.swap(chain, key).map_err(|source| FilesError::Serve {
            directory: self.directory.clone(),
            source,
        })?;
        self.served = Some((content, validity));
        Ok(Looked::Loaded)
    }

    /// The validity of what is served.
    pub fn validity(&self) -> Option<Validity> {
        self.served.as_ref().map(|(_, validity)| *validity)
    }

    /// Whether a key pair is served and valid at `now`: what ready means in these modes.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.validity()
            .is_some_and(|validity| validity.not_before <= now && now <= validity.not_after)
    }

    /// Both files, from one side of a swap: read again if the certificate changed while the key was read.
    fn read(&self) -> Result<Content, FilesError> {
        let (certificate, key) = (self.directory.join(CERTIFICATE_FILE), self.directory.join(KEY_FILE));
        let before = Content {
            certificate: read_file(&certificate)?,
            key: read_file(&key)?,
        };
        let after = read_file(&certificate)?;
        if after == before.certificate {
            return Ok(before);
        }
        Ok(Content {
            certificate: after,
            key: read_file(&key)?,
        })
    }

    fn chain(&self, pem: &[u8]) -> Result<(Vec<CertificateDer<'static>>, Validity), FilesError> {
        let rejected = |source| FilesError::Certificate {
            path: self.directory.join(CERTIFICATE_FILE),
            source,
        };
        let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
        let chain = chain.map_err(|_| rejected(Fault::UnreadableCertificate))?;
        let first = chain.first().ok_or_else(|| rejected(Fault::Absent))?;
        let parsed = authority::parse(first).and_then(|parsed| authority::validity(&parsed));
        let (not_before, not_after) = parsed.map_err(rejected)?;
        Ok((chain, Validity { not_before, not_after }))
    }
}

fn read_file(path: &Path) -> Result<Vec<u8>, FilesError> {
    let failed = |source| FilesError::Read {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes));
    let length = read.map_err(failed)?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_FILE_BYTES) {
        return Err(failed(io::Error::from(io::ErrorKind::FileTooLarge)));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::authority::Authority;
    use crate::leaf::{LEAF_LIFE, Leaf};
    use crate::resolver::tests::{NAME, client, now, server, shake};
    use crate::time;

    /// When a pair that begins now has ended.
    fn later() -> Timestamp {
        time::later(now(), LEAF_LIFE * 2)
    }

    /// A pair as PEM texts, made by rcgen alone: what a user would mount.
    fn pair(now: Timestamp) -> (String, String) {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut params = rcgen::CertificateParams::new(["hook.jobs.svc".to_owned()]).expect("params");
        time::set_validity(&mut params, now, time::later(now, LEAF_LIFE));
        (
            params.self_signed(&key).expect("a certificate").pem(),
            key.serialize_pem(),
        )
    }

    fn write(directory: &Path, (certificate, key): &(String, String)) {
        fs::create_dir_all(directory).expect("a folder");
        fs::write(directory.join(CERTIFICATE_FILE), certificate).expect("written");
        fs::write(directory.join(KEY_FILE), key).expect("written");
    }

    fn mounted(directory: &Path) -> (MountedPair, Arc<Resolver>) {
        let resolver = Arc::new(Resolver::new());
        (MountedPair::new(directory.to_owned(), resolver.clone()), resolver)
    }

    #[test]
    fn loads_once_and_reports_validity() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &pair(now()));
        let (mut files, resolver) = mounted(folder.path());
        assert!(!files.is_valid(now()));
        assert_eq!(files.look().expect("loaded"), Looked::Loaded);
        assert_eq!(files.look().expect("read"), Looked::Unchanged);
        assert!(resolver.has_key());
        assert!(files.is_valid(now()));
        assert!(!files.is_valid(time::later(now(), LEAF_LIFE + std::time::Duration::from_secs(1))));
    }

    #[test]
    fn the_kubelets_link_swap_is_seen() {
        let folder = tempfile::tempdir().expect("a folder");
        let (first, second) = (folder.path().join("..2026_01"), folder.path().join("..2026_02"));
        write(&first, &pair(now()));
        write(&second, &pair(now()));
        symlink("..2026_01", folder.path().join("..data")).expect("linked");
        for name in [CERTIFICATE_FILE, KEY_FILE] {
            symlink(Path::new("..data").join(name), folder.path().join(name)).expect("linked");
        }
        let (mut files, _) = mounted(folder.path());
        assert_eq!(files.look().expect("loaded"), Looked::Loaded);

        symlink("..2026_02", folder.path().join("..data_tmp")).expect("linked");
        fs::rename(folder.path().join("..data_tmp"), folder.path().join("..data")).expect("swapped");
        assert_eq!(files.look().expect("loaded"), Looked::Loaded);
        assert_eq!(files.look().expect("read"), Looked::Unchanged);
    }

    #[test]
    fn bad_files_are_reported_each_time_and_the_good_pair_stays() {
        let folder = tempfile::tempdir().expect("a folder");
        let good = pair(now());
        write(folder.path(), &good);
        let (mut files, resolver) = mounted(folder.path());
        files.look().expect("loaded");

        let other_key = pair(now()).1;
        let bad = [
            (good.0.clone(), other_key),
            (good.0.clone(), "garbage".into()),
            ("garbage".into(), good.1.clone()),
        ];
        for content in bad {
            write(folder.path(), &content);
            assert!(files.look().is_err());
            assert!(files.look().is_err(), "reported until it is repaired");
            assert!(resolver.has_key() && files.is_valid(now()));
        }
        fs::remove_file(folder.path().join(KEY_FILE)).expect("removed");
        assert!(matches!(files.look(), Err(FilesError::Read { .. })));
        assert!(files.is_valid(now()));

        write(folder.path(), &good);
        assert_eq!(files.look().expect("repaired"), Looked::Unchanged);
    }

    #[test]
    fn half_of_a_new_pair_is_not_served_and_the_whole_is() {
        let folder = tempfile::tempdir().expect("a folder");
        let (old, new) = (pair(now()), pair(later()));
        write(folder.path(), &old);
        let (mut files, _) = mounted(folder.path());
        files.look().expect("loaded");

        write(folder.path(), &(new.0.clone(), old.1));
        assert!(matches!(files.look(), Err(FilesError::Serve { .. })));
        assert!(files.is_valid(now()), "the old pair is served");
        write(folder.path(), &new);
        assert_eq!(files.look().expect("both are there"), Looked::Loaded);
        assert!(!files.is_valid(now()) && files.is_valid(later()), "the new one is");
    }

    #[test]
    fn a_file_that_cannot_be_read_or_is_too_large_leaves_the_good_pair() {
        let folder = tempfile::tempdir().expect("a folder");
        let good = pair(now());
        write(folder.path(), &good);
        let (mut files, resolver) = mounted(folder.path());
        files.look().expect("loaded");

        let key = folder.path().join(KEY_FILE);
        // Root may read any file, so permissions would show nothing here.
        fs::remove_file(&key).expect("removed");
        fs::create_dir(&key).expect("a folder in its place");
        assert!(matches!(files.look(), Err(FilesError::Read { path, .. }) if path == key));
        fs::remove_dir(&key).expect("removed");

        for name in [KEY_FILE, CERTIFICATE_FILE] {
            // A sparse file of a terabyte: who read it whole would not come back.
            let file = File::create(folder.path().join(name)).expect("created");
            file.set_len(1 << 40).expect("sparse");
            let refused = files.look();
            let too_large = |source: &io::Error| source.kind() == io::ErrorKind::FileTooLarge;
            assert!(
                matches!(&refused, Err(FilesError::Read { source, .. }) if too_large(source)),
                "{refused:?}"
            );
            write(folder.path(), &good);
        }
        assert!(resolver.has_key() && files.is_valid(now()));
        assert_eq!(files.look().expect("repaired"), Looked::Unchanged);
    }

    #[test]
    fn an_expired_pair_is_served_and_not_valid() {
        let folder = tempfile::tempdir().expect("a folder");
        write(folder.path(), &pair(time::earlier(now(), LEAF_LIFE * 2)));
        let (mut files, resolver) = mounted(folder.path());
        assert_eq!(files.look().expect("loaded"), Looked::Loaded);
        assert!(resolver.has_key(), "API servers say best what is wrong with it");
        assert!(!files.is_valid(now()));
    }

    /// Handshakes without a pause, while the links are swapped and looked at without a pause.
    #[test]
    fn no_handshake_fails_while_the_kubelet_swaps_links() {
        let folder = tempfile::tempdir().expect("a folder");
        let authority = Authority::generate(now()).expect("an authority");
        for name in ["..0", "..1"] {
            write(&folder.path().join(name), &signed(&authority));
        }
        symlink("..0", folder.path().join("..data")).expect("linked");
        for name in [CERTIFICATE_FILE, KEY_FILE] {
            symlink(Path::new("..data").join(name), folder.path().join(name)).expect("linked");
        }
        let (mut files, resolver) = mounted(folder.path());
        files.look().expect("loaded");
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let shaking = scope.spawn(|| {
                let mut count = 0;
                while count == 0 || !is_over.load(Ordering::Relaxed) {
                    shake(&mut client(&[authority.anchor()]), &mut server(&resolver)).expect("a handshake");
                    count += 1;
                }
                count
            });
            for turn in 1..=200 {
                let next = folder.path().join("..data_tmp");
                symlink(format!("..{}", turn % 2), &next).expect("linked");
                fs::rename(&next, folder.path().join("..data")).expect("swapped");
                assert_eq!(files.look().expect("loaded"), Looked::Loaded);
            }
            is_over.store(true, Ordering::Relaxed);
            assert!(shaking.join().expect("every handshake succeeded") > 0);
        });
    }

    #[test]
    fn errors_name_the_file_and_never_quote_a_key() {
        let folder = tempfile::tempdir().expect("a folder");
        let (certificate, key) = pair(now());
        write(folder.path(), &(certificate, key.replace("PRIVATE KEY", "ODD THING")));
        let (mut files, _) = mounted(folder.path());
        let error = files.look().expect_err("no key in it");
        let shown = format!("{error} {error:?} {files:?}");
        assert!(shown.contains(KEY_FILE), "{shown}");
        assert!(!shown.contains(key.lines().nth(1).expect("a line")), "{shown}");
    }

    #[test]
    fn a_leaf_of_ours_can_be_mounted_too() {
        let folder = tempfile::tempdir().expect("a folder");
        write(
            folder.path(),
            &signed(&Authority::generate(now()).expect("an authority")),
        );
        let (mut files, _) = mounted(folder.path());
        assert_eq!(files.look().expect("loaded"), Looked::Loaded);
        assert_eq!(
            files.validity().map(|validity| validity.not_after),
            Some(time::later(now(), LEAF_LIFE))
        );
    }

    /// A chain and its key, as PEM texts.
    fn signed(authority: &Authority) -> (String, String) {
        let leaf = Leaf::issue(authority, &[NAME.to_owned()], now()).expect("a leaf");
        let key = rcgen::KeyPair::try_from(leaf.key().secret_der()).expect("a key");
        (
            pem_of(leaf.certificate()) + &authority.anchor().pem(),
            key.serialize_pem(),
        )
    }

    fn pem_of(der: &CertificateDer<'_>) -> String {
        let body = data_encoding::BASE64.encode(der);
        format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n")
    }
}
