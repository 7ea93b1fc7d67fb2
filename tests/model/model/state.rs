//! One state of the cluster and its controllers, as small as it can be: the explorer keeps millions of them.
//!
//! Versions are ranks: two states that differ only in how high their versions have counted are one.

/// So many places there can be; a world says how many it has.
pub(super) const PLACES: usize = 3;
pub(super) const FIRST: u8 = 1;

/// A version of the DaemonJob. What it says beyond this is its [`status`](Self::status), a number of the tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Dj {
    pub(super) version: u8,
    pub(super) uid: u8,
    pub(super) generation: u8,
    /// The annotation asks for the first node to run again.
    pub(super) retry: bool,
    pub(super) status: u32,
}

impl Dj {
    pub(super) fn is_edited(self) -> bool {
        is_edited(self.generation)
    }
}

/// The template is A in the first generation, B after an edit, and A again after the next.
fn is_edited(generation: u8) -> bool {
    (generation - FIRST) % 2 == 1
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) place: u8,
    pub(super) uid: u8,
    /// Whether its labels are those that the selector wants.
    pub(super) selected: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Job {
    pub(super) place: u8,
    /// Jobs of one place have one name, unless somebody names them otherwise.
    pub(super) name: u8,
    pub(super) version: u8,
    pub(super) uid: u8,
    pub(super) owner: u8,
    pub(super) node: u8,
    /// That it was made from.
    pub(super) generation: u8,
    /// Started by the retry.
    pub(super) retry: bool,
    pub(super) done: bool,
    pub(super) deleted: bool,
}

impl Job {
    /// Made from template B.
    pub(super) fn is_edited(&self) -> bool {
        is_edited(self.generation)
    }
}

/// What is kept under a name.
pub(super) trait Named: Copy + Ord {
    fn has_name_of(&self, other: &Self) -> bool;
}

impl Named for Dj {
    fn has_name_of(&self, _: &Self) -> bool {
        true
    }
}

impl Named for Node {
    fn has_name_of(&self, other: &Self) -> bool {
        self.place == other.place
    }
}

impl Named for Job {
    fn has_name_of(&self, other: &Self) -> bool {
        (self.place, self.name) == (other.place, other.name)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Event<T> {
    Applied(T),
    Gone(T),
}

/// The objects of a kind: what is there, and how it came to be since the oldest time that anybody may still see.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Store<T> {
    pub(super) now: Vec<T>,
    pub(super) past: Vec<T>,
    pub(super) events: Vec<Event<T>>,
}

impl<T: Named> Store<T> {
    pub(super) fn of(objects: Vec<T>) -> Self {
        Self {
            past: objects.clone(),
            now: objects,
            events: Vec::new(),
        }
    }

    pub(super) fn put(&mut self, object: T) {
        self.tell(Event::Applied(object));
    }

    pub(super) fn remove(&mut self, object: T) {
        self.tell(Event::Gone(object));
    }

    fn tell(&mut self, event: Event<T>) {
        happen(&mut self.now, event);
        self.events.push(event);
    }

    pub(super) fn forget_first(&mut self) {
        let first = self.events.remove(0);
        happen(&mut self.past, first);
    }
}

fn happen<T: Named>(objects: &mut Vec<T>, event: Event<T>) {
    let (Event::Applied(object) | Event::Gone(object)) = event;
    objects.retain(|other| !other.has_name_of(&object));
    if let Event::Applied(_) = event {
        objects.push(object);
        objects.sort_unstable();
    }
}

/// What a controller's index holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Sight {
    pub(super) listed: [bool; 3],
    pub(super) dj: Option<Dj>,
    pub(super) nodes: [Option<Node>; PLACES],
    pub(super) jobs: [Option<Job>; PLACES],
    pub(super) ended: [Option<Job>; PLACES],
}

/// A write that a plan asked for, with what it was planned on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Order {
    pub(super) place: u8,
    pub(super) dj: Dj,
    /// The node of a create.
    pub(super) node: u8,
    /// The Job of a delete.
    pub(super) job: Option<Job>,
    pub(super) why: u8,
}

impl Order {
    /// The same without versions, which no guard and no Job depends on.
    pub(super) fn plain(mut self) -> Self {
        self.dj.version = 0;
        self.job = self.job.map(|job| Job { version: 0, ..job });
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Write {
    pub(super) order: Order,
    /// What it was planned on was suspect.
    pub(super) suspect: bool,
    /// Another controller has deleted a recorded Job of this place, and this one has not read the DaemonJob since.
    pub(super) overtaken: bool,
    pub(super) flight: Option<Flight>,
}

/// What a write learned before it was sent on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Flight {
    pub(super) read: Option<Dj>,
    /// The read answers the suspicion.
    pub(super) verified: bool,
    /// The delete was right when its guard was asked.
    pub(super) just: bool,
}

/// A status on its way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Report {
    pub(super) version: u8,
    pub(super) from: u32,
    pub(super) to: u32,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Controller {
    pub(super) sees: Sight,
    /// How many events of each kind it has seen.
    pub(super) at: [u8; 3],
    pub(super) dirty: bool,
    pub(super) suspect: bool,
    pub(super) setbacks: [bool; PLACES],
    pub(super) overtaken: [bool; PLACES],
    pub(super) writes: Vec<Write>,
    pub(super) report: Option<Report>,
}

/// The last run of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct LastRun {
    pub(super) job: u8,
    pub(super) owner: u8,
    pub(super) node: u8,
    pub(super) edited: bool,
    pub(super) retry: bool,
    pub(super) done: bool,
}

/// What may still happen to the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Budget {
    pub(super) edits: u8,
    pub(super) recreations: u8,
    pub(super) crashes: u8,
    /// Of the first node: it is gone and comes back as another one.
    pub(super) replacements: u8,
    /// Of the first node: it loses its label and gets it back.
    pub(super) flaps: u8,
    pub(super) retries: u8,
    /// Watches that begin anew with a list, and so skip versions.
    pub(super) relists: u8,
    /// Answers that are lost after the write was done.
    pub(super) losses: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct State {
    pub(super) djs: Store<Dj>,
    pub(super) nodes: Store<Node>,
    pub(super) jobs: Store<Job>,
    pub(super) controllers: Vec<Controller>,
    /// Pods whose Job is gone before them.
    pub(super) orphans: [u8; PLACES],
    pub(super) last: [Option<LastRun>; PLACES],
    /// The next UIDs.
    pub(super) next_dj: u8,
    pub(super) next_node: [u8; PLACES],
    pub(super) next_job: [u8; PLACES],
    pub(super) budget: Budget,
    /// Breaches, a bit each.
    pub(super) broken: u8,
}

impl State {
    pub(super) fn dj(&self) -> Option<Dj> {
        self.djs.now.first().copied()
    }

    pub(super) fn node(&self, place: u8) -> Option<Node> {
        self.nodes.now.iter().find(|node| node.place == place).copied()
    }

    pub(super) fn jobs_at(&self, place: u8) -> impl Iterator<Item = &Job> {
        self.jobs.now.iter().filter(move |job| job.place == place)
    }

    /// A version that is newer than all that are told of. There is no wrapping: ranks stay few.
    pub(super) fn versions(&mut self, see: &mut impl FnMut(Kind, &mut u8)) {
        let djs = self.djs.now.iter_mut().chain(&mut self.djs.past);
        djs.for_each(|dj| see(Kind::DaemonJobs, &mut dj.version));
        for Event::Applied(dj) | Event::Gone(dj) in &mut self.djs.events {
            see(Kind::DaemonJobs, &mut dj.version);
        }
        let jobs = self.jobs.now.iter_mut().chain(&mut self.jobs.past);
        jobs.for_each(|job| see(Kind::Jobs, &mut job.version));
        for Event::Applied(job) | Event::Gone(job) in &mut self.jobs.events {
            see(Kind::Jobs, &mut job.version);
        }
        for controller in &mut self.controllers {
            let reads = controller
                .writes
                .iter_mut()
                .filter_map(|write| write.flight.as_mut()?.read.as_mut());
            let djs = controller.sees.dj.iter_mut().chain(reads);
            djs.for_each(|dj| see(Kind::DaemonJobs, &mut dj.version));
            let report = controller.report.iter_mut();
            report.for_each(|report| see(Kind::DaemonJobs, &mut report.version));
            let examined = controller
                .writes
                .iter_mut()
                .filter_map(|write| write.order.job.as_mut());
            let jobs = controller.sees.jobs.iter_mut().flatten().chain(examined);
            jobs.for_each(|job| see(Kind::Jobs, &mut job.version));
        }
    }

    /// Forgets what nobody can see any more, and how high the versions have counted.
    pub(super) fn make_canonical(&mut self) {
        // A controller that starts may list what was true a little before.
        let kept = if self.budget.crashes > 0 { 2 } else { 0 };
        self.trim(Kind::DaemonJobs, kept);
        self.trim(Kind::Jobs, kept);
        self.trim(Kind::Nodes, kept);
        let mut seen = [[false; 256]; 2];
        self.versions(&mut |kind, version| seen[kind as usize][usize::from(*version)] = true);
        let ranks = seen.map(|seen| {
            let mut next = 0;
            seen.map(|is_seen| {
                next += u8::from(is_seen);
                next
            })
        });
        self.versions(&mut |kind, version| *version = ranks[kind as usize][usize::from(*version)]);
    }

    fn trim(&mut self, kind: Kind, kept: usize) {
        let length = match kind {
            Kind::DaemonJobs => self.djs.events.len(),
            Kind::Jobs => self.jobs.events.len(),
            Kind::Nodes => self.nodes.events.len(),
        };
        let mut positions = self
            .controllers
            .iter()
            .filter(|controller| controller.sees.listed[kind as usize]);
        let slowest = positions
            .clone()
            .map(|controller| usize::from(controller.at[kind as usize]))
            .min();
        let is_starting = positions.by_ref().count() < self.controllers.len();
        let kept = if is_starting { kept.max(2) } else { kept };
        let passed = slowest.unwrap_or(length).min(length.saturating_sub(kept));
        for _ in 0..passed {
            match kind {
                Kind::DaemonJobs => self.djs.forget_first(),
                Kind::Jobs => self.jobs.forget_first(),
                Kind::Nodes => self.nodes.forget_first(),
            }
        }
        for controller in &mut self.controllers {
            let at = &mut controller.at[kind as usize];
            *at = at.saturating_sub(u8::try_from(passed).unwrap_or(u8::MAX));
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    DaemonJobs,
    Jobs,
    Nodes,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::DaemonJobs, Self::Jobs, Self::Nodes];
}
