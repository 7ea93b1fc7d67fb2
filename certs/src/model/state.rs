//! A state of the model: small, and free of absolute times and serial numbers, so that endless rotations stay finite.

use super::shipped::{AUTHORITY_DUE, LEAF_OVER, RETIRED_OVER};

/// An authority: the older one has the smaller number. A number is used again when nothing mentions it any more.
pub(super) type Id = u8;

/// As many authorities as are mentioned at once, and one that is just being made.
pub(super) const IDS: usize = 7;

/// Short ticks since a look; more make no difference, which is for the shipped soak to see to.
const LOOKED_LONG_AGO: u8 = 2;

/// A set of authorities.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Ids(u8);

impl Ids {
    pub(super) fn contains(self, id: Id) -> bool {
        self.0 & (1 << id) != 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) fn iter(self) -> impl Iterator<Item = Id> {
        (0..IDS as Id).filter(move |id| self.contains(*id))
    }

    pub(super) fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl FromIterator<Id> for Ids {
    fn from_iter<T: IntoIterator<Item = Id>>(ids: T) -> Self {
        Self(ids.into_iter().fold(0, |set, id| set | 1 << id))
    }
}

/// One place of the Secret.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Cell {
    #[default]
    Empty,
    Garbage,
    Good(Id),
    WrongKey(Id),
}

impl Cell {
    pub(super) fn id(self) -> Option<Id> {
        match self {
            Self::Empty | Self::Garbage => None,
            Self::Good(id) | Self::WrongKey(id) => Some(id),
        }
    }
}

/// The Secret; one that was deleted is like an empty one, as both are made from nothing by the next writer.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Secret {
    pub(super) current: Cell,
    pub(super) next: Cell,
    pub(super) previous: Ids,
    /// For how many long ticks there have been previous ones.
    pub(super) retired: u8,
}

impl Secret {
    pub(super) fn mentioned(&self) -> Ids {
        let slots: Ids = [self.current, self.next].into_iter().filter_map(Cell::id).collect();
        slots.or(self.previous)
    }
}

/// A webhook configuration, and what API servers may still use of it.
///
/// An API server influences nobody; it is nothing but the version of each configuration that it uses at the moment,
/// and it moves on to any later version whenever it likes, within the bound.
/// So a server that uses a version exists in some run exactly if that version is in force or was within the bound:
/// the model holds those versions, which stand for two servers as for any number, each with views of its own.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Configuration {
    pub(super) live: Ids,
    /// With the short ticks since each was replaced.
    pub(super) lagging: Vec<(Ids, u8)>,
}

impl Configuration {
    pub(super) fn replace(&mut self, ids: Ids) {
        let before = std::mem::replace(&mut self.live, ids);
        self.lagging
            .retain(|(version, _)| *version != before && *version != ids);
        self.lagging.push((before, 0));
        self.lagging.sort_unstable();
    }

    pub(super) fn views(&self) -> impl Iterator<Item = Ids> {
        self.lagging.iter().map(|(ids, _)| *ids).chain([self.live])
    }
}

/// The leaf that a replica serves.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Served {
    pub(super) issuer: Id,
    /// In long ticks.
    pub(super) age: u8,
}

/// A configuration as a replica read it, and whether it is still so.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Read {
    pub(super) ids: Ids,
    pub(super) fresh: bool,
}

/// What a pass does next.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Stage {
    /// Read the second configuration; the first was read when the pass began.
    ReadOther,
    ReadSecret,
    WriteSecret,
    IssueLeaf,
    Patch(usize),
}

/// A pass that is under way.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Pass {
    pub(super) stage: Stage,
    /// Short ticks between the look before and this one.
    pub(super) pause: Option<u8>,
    pub(super) seen: [Read; 2],
    pub(super) secret: Secret,
    /// Whether the Secret is still as it was read.
    pub(super) secret_fresh: bool,
    /// How often another writer came first.
    pub(super) conflicts: u8,
}

/// A replica: all of it is memory, and lost in a crash.
#[derive(Clone, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) struct Replica {
    pub(super) leaf: Option<Served>,
    /// For how many short ticks it has seen each authority in both configurations.
    pub(super) soak: [Option<u8>; IDS],
    /// Short ticks since its last look; unset until it starts.
    pub(super) looked: Option<u8>,
    /// For how many short ticks its leaf has verified.
    pub(super) verified: Option<u8>,
    /// Whether it may be asked.
    pub(super) ready: bool,
    pub(super) pass: Option<Pass>,
}

/// Everything.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct State {
    /// The age in long ticks of each authority that anything mentions.
    pub(super) ages: Vec<u8>,
    pub(super) secret: Secret,
    pub(super) configurations: [Configuration; 2],
    pub(super) replicas: [Replica; 2],
    /// How many crashes and lost requests there may still be.
    pub(super) faults: u8,
    /// How often the Secret may still be destroyed.
    pub(super) destructions: u8,
    /// A replica was ready and lost it without a crash.
    pub(super) was_lost: bool,
}

impl State {
    /// Both replicas have long been ready with leaves of one authority, whose successor is due at the next long tick.
    pub(super) fn settled(soak: u8, settle: u8) -> Self {
        let ids = Ids::from_iter([0]);
        let configuration = Configuration {
            live: ids,
            lagging: Vec::new(),
        };
        let mut replica = Replica {
            leaf: Some(Served { issuer: 0, age: 0 }),
            looked: Some(0),
            verified: Some(settle),
            ready: true,
            ..Replica::default()
        };
        replica.soak[0] = Some(soak);
        let secret = Secret {
            current: Cell::Good(0),
            ..Secret::default()
        };
        Self {
            ages: vec![AUTHORITY_DUE - 1],
            secret,
            configurations: [configuration.clone(), configuration],
            replicas: [replica.clone(), replica],
            ..Self::installed()
        }
    }

    /// The chart was installed and nothing has run yet.
    pub(super) fn installed() -> Self {
        Self {
            ages: Vec::new(),
            secret: Secret::default(),
            configurations: Default::default(),
            replicas: Default::default(),
            faults: 0,
            destructions: 0,
            was_lost: false,
        }
    }

    /// Some time goes by: lags end, the soak counts.
    pub(super) fn tick(&mut self, lag: u8, settle: u8) {
        for configuration in &mut self.configurations {
            configuration.lagging.iter_mut().for_each(|(_, age)| *age += 1);
            configuration.lagging.retain(|(_, age)| *age <= lag);
        }
        for replica in &mut self.replicas {
            replica
                .looked
                .iter_mut()
                .for_each(|looked| older(looked, LOOKED_LONG_AGO));
            replica.verified.iter_mut().for_each(|verified| older(verified, settle));
        }
    }

    /// Days go by, in which nothing is under way. Where nothing depends on it any more, an age stays as it is.
    pub(super) fn long_tick(&mut self) {
        self.ages.iter_mut().for_each(|age| older(age, AUTHORITY_DUE));
        if self.secret.previous != Ids::default() {
            older(&mut self.secret.retired, RETIRED_OVER);
        }
        for leaf in self.replicas.iter_mut().filter_map(|replica| replica.leaf.as_mut()) {
            older(&mut leaf.age, LEAF_OVER);
        }
    }

    /// An authority that has just been made.
    pub(super) fn add_authority(&mut self) -> Id {
        self.ages.push(0);
        Id::try_from(self.ages.len() - 1).expect("there are few")
    }

    /// The Secret was written: what others read of it is out of date.
    pub(super) fn write_secret(&mut self, secret: Secret) {
        self.secret = secret;
        for pass in self.replicas.iter_mut().filter_map(|replica| replica.pass.as_mut()) {
            pass.secret_fresh = false;
        }
    }

    /// A configuration was written.
    pub(super) fn write_configuration(&mut self, index: usize, ids: Ids) {
        self.configurations[index].replace(ids);
        for pass in self.replicas.iter_mut().filter_map(|replica| replica.pass.as_mut()) {
            pass.seen[index].fresh = false;
        }
    }

    /// The one form of all states that differ in names alone: authorities are numbered in their order without those
    /// that nothing mentions any more, and the replicas, which are alike, stand in the order of what they know.
    pub(super) fn normalise(&mut self) {
        let old: Vec<Id> = self.mentioned().iter().collect();
        if old.len() < self.ages.len() {
            self.renumber(&old);
        }
        self.replicas.sort_unstable();
    }

    fn mentioned(&self) -> Ids {
        let configurations = self.configurations.iter().flat_map(Configuration::views);
        let replicas = self.replicas.iter().flat_map(|replica| {
            let leaf: Ids = replica.leaf.iter().map(|leaf| leaf.issuer).collect();
            let pass = replica.pass.iter();
            let read = pass.map(|pass| pass.seen[0].ids.or(pass.seen[1].ids).or(pass.secret.mentioned()));
            read.chain([leaf])
        });
        configurations.chain(replicas).fold(self.secret.mentioned(), Ids::or)
    }

    fn renumber(&mut self, old: &[Id]) {
        self.ages = old.iter().map(|id| self.ages[usize::from(*id)]).collect();
        self.map_ids(&|id| {
            let place = old.iter().position(|old| *old == id).expect("it is mentioned");
            Id::try_from(place).expect("there are few")
        });
        for replica in &mut self.replicas {
            let mut soak = [None; IDS];
            for (new, old) in old.iter().enumerate() {
                soak[new] = replica.soak[usize::from(*old)];
            }
            replica.soak = soak;
        }
    }

    fn map_ids(&mut self, new: &impl Fn(Id) -> Id) {
        let set = |ids: &mut Ids| *ids = ids.iter().map(new).collect();
        let secret = |secret: &mut Secret| {
            for cell in [&mut secret.current, &mut secret.next] {
                match cell {
                    Cell::Empty | Cell::Garbage => {}
                    Cell::Good(id) | Cell::WrongKey(id) => *id = new(*id),
                }
            }
            set(&mut secret.previous);
        };
        secret(&mut self.secret);
        for configuration in &mut self.configurations {
            set(&mut configuration.live);
            configuration.lagging.iter_mut().for_each(|(ids, _)| set(ids));
            configuration.lagging.sort_unstable();
        }
        for replica in &mut self.replicas {
            replica.leaf.iter_mut().for_each(|leaf| leaf.issuer = new(leaf.issuer));
            if let Some(pass) = &mut replica.pass {
                pass.seen.iter_mut().for_each(|read| set(&mut read.ids));
                secret(&mut pass.secret);
            }
        }
    }
}

fn older(age: &mut u8, end: u8) {
    *age = (*age + 1).min(end);
}
