//! The command line. Every flag has an environment variable, so that a chart needs no argument lists.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};
use daemonjob_certs::Timing;
use daemonjob_core::observed::Scope;

/// A namespace's name is a DNS label.
const NAMESPACE_MAX: usize = 63;

/// Runs one Job on every node of a Kubernetes cluster.
#[derive(Debug, Parser)]
#[command(name = "daemonjob", version, about, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the webhook and the controller
    Run(Box<RunArgs>),
    /// Print the CustomResourceDefinition as YAML
    ///
    /// Apply it with `daemonjob crd | kubectl apply -f -`.
    Crd,
    /// Print the template hash of DaemonJobs in a file
    ///
    /// One line per DaemonJob: the hash, two spaces, and namespace/name. It is what the annotation
    /// daemon.justk8s.com/template-hash must say.
    Hash {
        /// YAML or JSON, one or several documents; `-` for standard input
        file: PathBuf,
    },
}

/// Where keys and certificates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "camelCase")]
pub(crate) enum CertsMode {
    /// cert-manager mounts them and fills in caBundle
    CertManager,
    /// Mounted from a Secret of yours
    ExistingSecret,
    /// Made, renewed and published by this program
    #[value(name = "self")]
    Own,
}

/// The oldest TLS to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MinTls {
    /// TLS 1.2 and 1.3
    #[value(name = "1.2")]
    V1_2,
    /// TLS 1.3 alone
    #[value(name = "1.3")]
    V1_3,
}

/// How logs look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// One JSON object a line
    Json,
    /// For people
    Text,
}

/// Namespaces by name; none of them means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Namespaces(BTreeSet<String>);

/// Settings of `daemonjob run`.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArgs {
    /// Run the controller; with `false` nothing is started or stopped in the cluster
    #[arg(long, env = "DAEMONJOB_CONTROLLER", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub controller: bool,
    /// Serve the admission webhook
    #[arg(long, env = "DAEMONJOB_WEBHOOK", value_name = "BOOL", action = ArgAction::Set,
          default_value_t = true, default_missing_value = "true", num_args = 0..=1, require_equals = true)]
    pub webhook: bool,
    /// Where the webhook listens (HTTPS)
    #[arg(
        long,
        env = "DAEMONJOB_WEBHOOK_ADDRESS",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:9443"
    )]
    pub webhook_address: SocketAddr,
    /// Where /livez, /readyz and /metrics are served (HTTP)
    #[arg(
        long,
        env = "DAEMONJOB_ADMIN_ADDRESS",
        value_name = "ADDRESS:PORT",
        default_value = "0.0.0.0:8080"
    )]
    pub admin_address: SocketAddr,
    /// Own namespace: that of the Lease and of the certificate Secret
    #[arg(
        long,
        env = "DAEMONJOB_NAMESPACE",
        value_name = "NAME",
        default_value = "daemonjob-system"
    )]
    pub namespace: String,
    /// The namespaces whose DaemonJobs the controller looks after, separated by commas; empty means all
    #[arg(
        long,
        env = "DAEMONJOB_WATCH_NAMESPACES",
        value_name = "NAMES",
        default_value = "",
        hide_default_value = true,
        value_parser = parse_namespaces
    )]
    pub watch_namespaces: Namespaces,
    /// Name of this replica on the Lease; unique among replicas [default: HOSTNAME_PID]
    #[arg(long, env = "DAEMONJOB_IDENTITY", value_name = "NAME")]
    pub identity: Option<String>,
    /// The Lease that elects the leading controller
    #[arg(long, env = "DAEMONJOB_LEASE_NAME", value_name = "NAME", default_value = "daemonjob")]
    pub lease_name: String,
    /// Most writes to Jobs a second, all DaemonJobs together; 0 means no limit
    #[arg(
        long,
        env = "DAEMONJOB_WRITES_PER_SECOND",
        value_name = "NUMBER",
        default_value_t = 200
    )]
    pub writes_per_second: u32,
    /// Key of a taint that passes by itself, such as one that an agent of yours takes away: its nodes wait instead of
    /// being skipped; several are separated by commas
    #[arg(
        long = "passing-taints",
        env = "DAEMONJOB_PASSING_TAINTS",
        value_name = "KEYS",
        value_delimiter = ','
    )]
    pub passing_taints: Vec<String>,
    /// Where the webhook's key and certificate come from
    #[arg(long, env = "DAEMONJOB_CERTS_MODE", value_name = "MODE", default_value = "self")]
    pub certs_mode: CertsMode,
    /// The Secret that holds the certificate authority (mode self)
    #[arg(
        long,
        env = "DAEMONJOB_CERTS_SECRET",
        value_name = "NAME",
        default_value = "daemonjob-webhook-ca"
    )]
    pub certs_secret: String,
    /// The folder with tls.crt and tls.key (modes certManager and existingSecret)
    #[arg(long, env = "DAEMONJOB_CERTS_DIR", value_name = "FOLDER", required_if_eq_any =
          [("certs_mode", "certManager"), ("certs_mode", "existingSecret")])]
    pub certs_dir: Option<PathBuf>,
    /// For tests of rotations: five times in milliseconds, as `Timing` of daemonjob-certs has them
    #[arg(long, env = "DAEMONJOB_CERTS_TIMING", value_name = "MS,MS,MS,MS,MS", hide = true, value_parser = parse_timing)]
    pub certs_timing: Option<Timing>,
    /// Name of the mutating and of the validating webhook configuration
    #[arg(
        long,
        env = "DAEMONJOB_WEBHOOK_CONFIGURATION",
        value_name = "NAME",
        default_value = "daemonjob"
    )]
    pub webhook_configuration: String,
    /// The Service in front of the webhook; its names stand on the certificate
    #[arg(
        long,
        env = "DAEMONJOB_WEBHOOK_SERVICE",
        value_name = "NAME",
        default_value = "daemonjob-webhook"
    )]
    pub webhook_service: String,
    /// URL of a webhook outside the cluster, such as https://127.0.0.1:9443; its host stands on the certificate
    #[arg(long, env = "DAEMONJOB_WEBHOOK_URL", value_name = "URL")]
    pub webhook_url: Option<http::Uri>,
    /// The oldest TLS that the webhook speaks
    #[arg(
        long,
        env = "DAEMONJOB_TLS_MIN_VERSION",
        value_name = "VERSION",
        default_value = "1.3"
    )]
    pub tls_min_version: MinTls,
    /// Seconds that the webhook goes on answering after SIGTERM, until no API server asks it any more
    #[arg(long, env = "DAEMONJOB_DRAIN_SECONDS", value_name = "SECONDS", default_value_t = 15)]
    pub drain_seconds: u64,
    /// The cluster to work in [default: the one this runs in, else the usual kubeconfig]
    #[arg(long, env = "KUBECONFIG", value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// How logs look
    #[arg(long, env = "DAEMONJOB_LOG_FORMAT", value_name = "FORMAT", default_value = "text")]
    pub log_format: LogFormat,
    /// What to log: error, warn, info, debug, trace, or a filter such as info,daemonjob=debug
    #[arg(long, env = "DAEMONJOB_LOG_LEVEL", value_name = "FILTER", default_value = "info")]
    pub log_level: String,
}

impl RunArgs {
    /// How long the webhook drains.
    pub(crate) fn drain(&self) -> Duration {
        Duration::from_secs(self.drain_seconds)
    }

    /// Where DaemonJobs are looked after.
    pub(crate) fn scopes(&self) -> Vec<Scope> {
        let names = &self.watch_namespaces.0;
        if names.is_empty() {
            return vec![Scope::All];
        }
        names
            .iter()
            .map(|name| Scope::Namespace(name.as_str().into()))
            .collect()
    }

    /// What this replica is called on the Lease and in Events.
    pub(crate) fn identity(&self) -> String {
        self.identity.clone().unwrap_or_else(|| {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_else(|_| "unknown".to_owned());
            format!("{}_{}", host.trim(), std::process::id())
        })
    }

    /// The names that API servers may call the webhook by.
    pub(crate) fn webhook_names(&self) -> Vec<String> {
        let service = format!("{}.{}.svc", self.webhook_service, self.namespace);
        let host = self.webhook_url.as_ref().and_then(http::Uri::host);
        // An IPv6 address stands in brackets in a URL and without them on a certificate.
        let host = host.map(|host| host.trim_start_matches('[').trim_end_matches(']').to_owned());
        [format!("{service}.cluster.local"), service]
            .into_iter()
            .chain(host)
            .collect()
    }
}

/// A name that is none must not be dropped: what would be left might mean all namespaces.
fn parse_namespaces(text: &str) -> Result<Namespaces, String> {
    if text.is_empty() {
        return Ok(Namespaces::default());
    }
    let names = text.split(',').map(|name| {
        let is_inner = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        let is_label = (1..=NAMESPACE_MAX).contains(&name.len())
            && name.bytes().all(is_inner)
            && !name.starts_with('-')
            && !name.ends_with('-');
        is_label
            .then(|| name.to_owned())
            .ok_or_else(|| format!("`{name}` is no name of a namespace"))
    });
    names.collect::<Result<_, _>>().map(Namespaces)
}

fn parse_timing(text: &str) -> Result<Timing, String> {
    let times: Result<Vec<u64>, _> = text.split(',').map(str::parse).collect();
    let times = times.map_err(|error| error.to_string())?;
    let &[rotate_after, soak, retirement, steady, unsettled] = times.as_slice() else {
        return Err("expected rotate after, soak, retirement, steady, unsettled".to_owned());
    };
    let [rotate_after, soak, retirement, steady, unsettled] =
        [rotate_after, soak, retirement, steady, unsettled].map(Duration::from_millis);
    Ok(Timing {
        rotate_after,
        soak,
        retirement,
        steady,
        unsettled,
    })
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn run(args: &[&str]) -> RunArgs {
        let cli = Cli::try_parse_from([&["daemonjob", "run"], args].concat()).unwrap();
        let Command::Run(run) = cli.command else {
            panic!("not run")
        };
        *run
    }

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_flag_has_an_environment_variable() {
        let command = Cli::command();
        let run = command.find_subcommand("run").unwrap();
        for flag in run.get_arguments().filter(|flag| flag.get_id() != "help") {
            let expected = match flag.get_id().as_str() {
                "kubeconfig" => "KUBECONFIG".to_owned(),
                id => format!("DAEMONJOB_{}", id.to_ascii_uppercase()),
            };
            assert_eq!(flag.get_env().and_then(|name| name.to_str()), Some(expected.as_str()));
        }
    }

    #[test]
    fn a_switch_takes_a_value_or_none() {
        assert!(run(&[]).controller && run(&["--controller"]).controller);
        assert!(!run(&["--controller=false"]).controller);
    }

    #[test]
    fn mounted_modes_need_a_folder() {
        let without = Cli::try_parse_from(["daemonjob", "run", "--certs-mode", "certManager"]);
        assert!(without.unwrap_err().to_string().contains("--certs-dir"));
    }

    #[test]
    fn watched_namespaces_are_named_once_each_and_none_means_all() {
        let only = |name: &str| Scope::Namespace(name.into());
        assert_eq!(run(&["--watch-namespaces", "b,a,b"]).scopes(), [only("a"), only("b")]);
        for none in [&[][..], &["--watch-namespaces="]] {
            assert_eq!(run(none).scopes(), [Scope::All]);
        }
        let long = "a".repeat(64);
        for wrong in ["a,", ",", "a, b", "A", "-a", "a-", "a.b", "*", &long] {
            let flag = format!("--watch-namespaces={wrong}");
            let refused = Cli::try_parse_from(["daemonjob", "run", &flag]);
            assert!(
                refused.unwrap_err().to_string().contains("no name of a namespace"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn the_timing_of_tests_is_five_numbers() {
        let timing = run(&["--certs-timing=1,2,3,4,5"]).certs_timing.unwrap();
        assert_eq!(
            (timing.rotate_after, timing.unsettled),
            (Duration::from_millis(1), Duration::from_millis(5))
        );
        assert!(Cli::try_parse_from(["daemonjob", "run", "--certs-timing=1,2"]).is_err());
        assert_eq!(run(&[]).certs_timing, None);
    }

    #[test]
    fn the_certificate_names_the_service_and_the_host_of_the_url() {
        let names = run(&["--namespace", "ns", "--webhook-url", "https://127.0.0.1:9443"]).webhook_names();
        assert_eq!(
            names,
            [
                "daemonjob-webhook.ns.svc.cluster.local",
                "daemonjob-webhook.ns.svc",
                "127.0.0.1"
            ]
        );
        assert_eq!(
            run(&["--webhook-url", "https://[::1]:1"])
                .webhook_names()
                .pop()
                .unwrap(),
            "::1"
        );
    }
}
