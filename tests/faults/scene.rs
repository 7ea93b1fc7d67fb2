//! A namespace, a proxy in front of the API server, and a controller behind it.

use std::ops::Deref;
use std::time::{Duration, Instant};

use daemonjob_cluster::{Call, Node, until};

use crate::proxy::{Proxy, is_write, kind};
use crate::support::DEADLINE;
use crate::support::operator::{Operator, free_port};
use crate::support::rules::complaint;
use crate::support::trial::Trial;
use crate::support::world::{Duty, IDENTITY};

/// Waits until what began then has lasted so long.
pub(crate) fn lasts(begun: Instant, time: Duration) {
    until("time to pass", time + DEADLINE, || {
        Ok((begun.elapsed() >= time).then_some(()))
    })
    .expect("time passes");
}

/// What a test of faults has. Its parts end in this order.
pub(crate) struct Scene {
    controller: Option<Operator>,
    pub(crate) proxy: Proxy,
    pub(crate) trial: Trial,
}

impl Deref for Scene {
    type Target = Trial;

    fn deref(&self) -> &Trial {
        &self.trial
    }
}

impl Scene {
    /// A controller that leads, and so far nothing goes wrong.
    pub(crate) fn begin() -> Self {
        let mut scene = Self::without_controller();
        scene.start();
        scene
    }

    /// Nobody leads yet.
    pub(crate) fn without_controller() -> Self {
        let trial = Trial::begin_with(Duty::Webhook);
        Self {
            controller: None,
            proxy: Proxy::start(&trial.kubeconfig),
            trial,
        }
    }

    /// Starts a controller and waits until it leads.
    pub(crate) fn start(&mut self) {
        let controller = self.spawn(&self.proxy, IDENTITY, &[]);
        controller.wait_leading(DEADLINE).expect("it leads");
        self.controller = Some(controller);
    }

    /// Starts a controller behind a proxy.
    pub(crate) fn spawn(&self, proxy: &Proxy, identity: &str, flags: &[&str]) -> Operator {
        let file = self
            .cluster
            .folder()
            .join(format!("{}-{identity}.kubeconfig", self.namespace));
        let kubeconfig = proxy.kubeconfig(&self.kubeconfig, &file);
        let flags: Vec<&str> = ["--webhook=false"].iter().chain(flags).copied().collect();
        self.spawn_with(&kubeconfig, identity, free_port(), &flags)
    }

    /// The controller.
    pub(crate) fn controller(&mut self) -> &mut Operator {
        self.controller.as_mut().expect("it was started")
    }

    /// The controller, for a test that ends it.
    pub(crate) fn take(&mut self) -> Operator {
        self.controller.take().expect("it was started")
    }

    /// Makes so many nodes for this test.
    pub(crate) fn nodes(&self, test: &str, count: usize) {
        let node = |n| Node::new(&format!("{test}-{n}")).label("test", test);
        let nodes: Vec<Node> = (0..count).map(node).collect();
        self.add_nodes(&nodes);
    }

    /// How often the Lease was renewed since anything else was written.
    pub(crate) fn renewals_since_the_last_write(&self) -> usize {
        renewals_since_the_last_write(&self.proxy)
    }

    /// How many events of this kind the watches of the controller have told it.
    pub(crate) fn told(&self, kind: &str) -> usize {
        let controller = self.controller.as_ref().expect("it was started");
        let series = format!(r#"daemonjob_watch_events_total{{kind="{kind}"}}"#);
        let count = controller.metric(&series).expect("it tells its metrics");
        // A count of less than 2⁵³.
        count as usize
    }

    /// O2: the controller writes nothing any more.
    pub(crate) fn assert_quiet(&self) {
        assert_quiet(&self.proxy);
    }
}

/// How many calls of a kind the API server has done since a mark.
pub(crate) fn done(scene: &Scene, mark: usize, of: &str) -> usize {
    let calls = scene.proxy.since(mark);
    let is_such = |call: &&Call| kind(call) == of && (200..300).contains(&call.code);
    calls.iter().filter(is_such).count()
}

/// How often the Lease was renewed since anything else was written.
pub(crate) fn renewals_since_the_last_write(proxy: &Proxy) -> usize {
    let calls = proxy.calls();
    let after = calls.iter().rev().take_while(|call| !is_write(call));
    after.filter(|call| kind(call) == "update leases").count()
}

/// O2: waits until the Lease has been renewed twice, while nothing else may be written; but for the Events of the
/// status that the test has just seen, which follow it.
pub(crate) fn assert_quiet(proxy: &Proxy) {
    until("the last Events", DEADLINE, || {
        Ok((renewals_since_the_last_write(proxy) >= 1).then_some(()))
    })
    .expect("writes end");
    let mark = proxy.mark();
    until("the Lease to be renewed", DEADLINE, || {
        let calls = proxy.since(mark);
        let renewals = calls.iter().filter(|call| kind(call) == "update leases");
        Ok((renewals.count() >= 2).then_some(()))
    })
    .expect("the controller leads");
    let written: Vec<Call> = proxy.since(mark).into_iter().filter(is_write).collect();
    assert!(written.is_empty(), "{written:#?}");
}

impl Drop for Scene {
    fn drop(&mut self) {
        // It gives its Lease back.
        self.proxy.heal();
        self.proxy.spare();
        let wrong = self.proxy.calls().iter().find_map(complaint);
        assert!(wrong.is_none() || std::thread::panicking(), "O4: {wrong:?}");
    }
}
