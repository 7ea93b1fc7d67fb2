//! One replica: the parts of the process that have to do with DaemonJobs, put together as the supervisor does.

use std::sync::Arc;
use std::time::Duration;

use daemonjob_core::observed::Scope;
use kube::Client;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::controller::{Clients, Settings, follow_lead, preflight};
use crate::lease::Elector;
use crate::metrics::Metrics;
use crate::network::Line;
use crate::rules::SYSTEM;
use crate::world::World;

/// A running replica. Dropped, it is killed where it stands.
pub(crate) struct Replica {
    tasks: JoinSet<()>,
    stop: CancellationToken,
}

impl Replica {
    /// Starts one that takes part in the election for this Lease.
    pub(crate) fn start(world: &Arc<World>, number: usize, lease: &str) -> Self {
        let (mut tasks, stop) = (JoinSet::new(), CancellationToken::new());
        let client = || {
            let line = Line {
                world: Arc::clone(world),
                replica: number,
            };
            Client::new(line, "default")
        };
        let clients = Clients {
            watch: client(),
            write: client(),
        };
        let (world, lease, until) = (Arc::clone(world), lease.to_owned(), stop.clone());
        tasks.spawn(async move {
            let settings = Settings {
                identity: format!("replica-{number}"),
                scopes: vec![Scope::All],
                passing_taints: Vec::new(),
                writes_per_second: 0,
            };
            // A process that meets no cluster ends, and is started again.
            while preflight(&clients.write, &settings.scopes, "the simulation")
                .await
                .is_err()
            {
                sleep(Duration::from_secs(1)).await;
            }
            let (elector, fence, leading) = Elector::new(clients.write.clone(), SYSTEM, &lease, &settings.identity);
            let electing = elector.run(until.clone());
            let following = follow_lead(clients, fence, leading, Arc::new(Metrics::new()), settings, until);
            let ((), followed) = futures::join!(electing, following);
            if let Err(error) = followed {
                world.lock().judge.breach(&format!("O6: the controller ended: {error}"));
            }
        });
        Self { tasks, stop }
    }

    /// Asks it to end, and waits until it has given its Lease back.
    pub(crate) async fn end(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}
