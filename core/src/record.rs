//! The record of finished work, `status.finishedNodes`: which node finished last with which template, and how.
//!
//! It is what keeps finished work from running again once its Job is gone, so nothing here ever guesses:
//! what is not understood is kept as it is.

use std::collections::{BTreeMap, BTreeSet};

use crate::names::{NodeUid, node_token};
use crate::types::FinishedNodes;

/// How a node finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Finish {
    /// Its Job failed.
    Failed,
    /// Its Job succeeded.
    Succeeded,
}

/// The run that a node finished last.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastRun {
    /// Hash of its template.
    pub template_hash: String,
    /// The generation of the DaemonJob that its Job was made from; 0 if it is not known.
    pub generation: i64,
    /// How it finished.
    pub finish: Finish,
}

/// The decoded record: each node's last run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    by_token: BTreeMap<String, LastRun>,
}

impl Record {
    /// Reads the record from the status of a DaemonJob of this generation. A token that stands there twice counts
    /// where it stands last. A later generation is that of an earlier life, brought back from a backup: not known.
    pub fn read(finished: &[FinishedNodes], newest: i64) -> Self {
        let mut by_token = BTreeMap::new();
        for group in finished {
            let generation = if group.generation > newest { 0 } else { group.generation };
            for (tokens, finish) in [(&group.failed, Finish::Failed), (&group.succeeded, Finish::Succeeded)] {
                for token in tokens.split_whitespace() {
                    let run = LastRun {
                        template_hash: group.template_hash.clone(),
                        generation,
                        finish,
                    };
                    by_token.insert(token.to_owned(), run);
                }
            }
        }
        Self { by_token }
    }

    /// What the node finished last.
    pub fn of(&self, node: &NodeUid) -> Option<&LastRun> {
        self.by_token.get(&node_token(node))
    }

    /// The node finished a run.
    pub fn finish(&mut self, node: &NodeUid, run: LastRun) {
        self.by_token.insert(node_token(node), run);
    }

    /// The node has started another template: what it finished before counts no longer.
    pub fn forget(&mut self, node: &NodeUid) {
        self.by_token.remove(&node_token(node));
    }

    /// The tokens of nodes that are not among these.
    pub fn strangers<'a>(&'a self, known: &'a BTreeSet<String>) -> impl Iterator<Item = &'a String> {
        self.by_token.keys().filter(|token| !known.contains(*token))
    }

    /// Drops the tokens of nodes that are gone for good: a node's UID never comes back.
    pub fn drop_gone(&mut self, gone: &BTreeSet<String>) {
        self.by_token.retain(|token, _| !gone.contains(token));
    }

    /// The record as a status holds it, sorted, so that equal records are equal texts.
    pub fn render(&self) -> Vec<FinishedNodes> {
        let mut groups: BTreeMap<(i64, &str), FinishedNodes> = BTreeMap::new();
        for (token, run) in &self.by_token {
            let group = groups.entry((run.generation, &run.template_hash));
            let group = group.or_insert_with(|| FinishedNodes {
                template_hash: run.template_hash.clone(),
                generation: run.generation,
                succeeded: String::new(),
                failed: String::new(),
            });
            let tokens = match run.finish {
                Finish::Failed => &mut group.failed,
                Finish::Succeeded => &mut group.succeeded,
            };
            if !tokens.is_empty() {
                tokens.push(' ');
            }
            tokens.push_str(token);
        }
        groups.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The generation of the DaemonJob.
    const NEWEST: i64 = 5;

    fn hash(c: char) -> String {
        c.to_string().repeat(64)
    }

    fn run(template: char, generation: i64, finish: Finish) -> LastRun {
        LastRun {
            template_hash: hash(template),
            generation,
            finish,
        }
    }

    fn read(groups: &[FinishedNodes]) -> Record {
        Record::read(groups, NEWEST)
    }

    #[test]
    fn a_node_stands_only_under_what_it_finished_last() {
        let node = NodeUid::new("n1");
        let mut record = Record::default();
        record.finish(&node, run('a', 1, Finish::Failed));
        record.finish(&node, run('b', 2, Finish::Succeeded));
        assert_eq!(record.of(&node), Some(&run('b', 2, Finish::Succeeded)));
        assert_eq!(record.render().len(), 1);
        record.forget(&node);
        assert_eq!(record.render(), []);
    }

    #[test]
    fn e06_only_the_tokens_of_gone_nodes_are_dropped() {
        let (here, gone) = (NodeUid::new("here"), NodeUid::new("gone"));
        let mut record = Record::default();
        record.finish(&here, run('a', 1, Finish::Succeeded));
        record.finish(&gone, run('a', 1, Finish::Failed));
        let known = BTreeSet::from([node_token(&here)]);
        let strangers: BTreeSet<String> = record.strangers(&known).cloned().collect();
        assert_eq!(strangers, BTreeSet::from([node_token(&gone)]));
        record.drop_gone(&strangers);
        assert_eq!((record.of(&gone), record.of(&here).is_some()), (None, true));
    }

    #[test]
    fn a_token_that_stands_there_twice_counts_where_it_stands_last_and_stands_there_once() {
        let node = NodeUid::new("n1");
        let group = |hash: String, succeeded: &str, failed: &str| FinishedNodes {
            template_hash: hash,
            generation: 1,
            succeeded: succeeded.to_owned(),
            failed: failed.to_owned(),
        };
        let token = node_token(&node);
        let twice = format!("{token} {token}");
        let record = read(&[group(hash('b'), &twice, ""), group(hash('a'), &token, &token)]);
        assert_eq!(record.of(&node), Some(&run('a', 1, Finish::Succeeded)));
        assert_eq!(record.render(), [group(hash('a'), &token, "")]);
    }

    #[test]
    fn a_template_that_was_changed_and_changed_back_has_two_groups() {
        let mut record = Record::default();
        for (node, generation) in [("n1", 3), ("n2", 1), ("n3", 0)] {
            record.finish(&NodeUid::new(node), run('a', generation, Finish::Succeeded));
        }
        let generations: Vec<i64> = record.render().iter().map(|group| group.generation).collect();
        assert_eq!(generations, [0, 1, 3]);
        let unknown = serde_json::to_value(&record.render()[0]).unwrap();
        assert_eq!(unknown.get("generation"), None);
    }

    /// A DaemonJob that was made again counts its generations anew, and may be given its record back.
    #[test]
    fn a_generation_that_is_still_to_come_is_not_known() {
        let node = NodeUid::new("n1");
        let mut record = Record::default();
        record.finish(&node, run('a', 7, Finish::Failed));
        let again = Record::read(&record.render(), 6);
        assert_eq!(again.of(&node), Some(&run('a', 0, Finish::Failed)));
    }

    #[test]
    fn e41_5000_nodes_take_at_most_60_kb_whatever_they_ran() {
        let mut record = Record::default();
        for n in 0..5000_u32 {
            let template = char::from(b'a' + u8::try_from(n % 6).unwrap());
            let finish = if n % 7 == 0 { Finish::Failed } else { Finish::Succeeded };
            let uid = NodeUid::new(format!("0b8e7c1e-5a52-4a7b-9a4c-{n:012}"));
            record.finish(&uid, run(template, i64::from(n % 6), finish));
        }
        assert!(serde_json::to_vec(&record.render()).unwrap().len() <= 60_000);
    }

    /// Which node finished, whether it succeeded, and of which generation.
    type Finished = (u16, bool, u8);

    /// Five generations of two templates.
    fn recorded(finished: &[Finished]) -> Record {
        let mut record = Record::default();
        for (node, succeeded, generation) in finished {
            let finish = if *succeeded { Finish::Succeeded } else { Finish::Failed };
            record.finish(&uid(*node), run(letter(*generation), i64::from(*generation), finish));
        }
        record
    }

    fn letter(generation: u8) -> char {
        char::from(b'a' + generation % 2)
    }

    fn uid(node: u16) -> NodeUid {
        NodeUid::new(format!("uid-{node}"))
    }

    fn finished() -> impl Strategy<Value = Vec<Finished>> {
        prop::collection::vec((0_u16..80, any::<bool>(), 0_u8..5), 0..200)
    }

    /// One finish a node, in two orders.
    fn in_two_orders() -> impl Strategy<Value = (Vec<Finished>, Vec<Finished>)> {
        let nodes = prop::collection::btree_map(0_u16..500, (any::<bool>(), 0_u8..5), 0..100);
        nodes.prop_flat_map(|nodes| {
            let finished: Vec<Finished> = nodes.into_iter().map(|(node, (how, what))| (node, how, what)).collect();
            (Just(finished.clone()), Just(finished).prop_shuffle())
        })
    }

    /// Groups as no version of ours has written them: any hash, any tokens, any white space between.
    fn garbage() -> impl Strategy<Value = Vec<FinishedNodes>> {
        let tokens = || prop::collection::vec("[!-~é]{1,14}", 0..4).prop_map(|tokens| tokens.join(" \n "));
        let group = ("[!-~]{0,70}", any::<i64>(), tokens(), tokens());
        let group = group.prop_map(|(template_hash, generation, succeeded, failed)| FinishedNodes {
            template_hash,
            generation,
            succeeded,
            failed,
        });
        prop::collection::vec(group, 0..4)
    }

    /// All tokens of a record as it is written, a text list each.
    fn lists(record: &Record) -> Vec<String> {
        let groups = record.render().into_iter();
        let lists = groups.flat_map(|group| [group.succeeded, group.failed]);
        lists.filter(|list| !list.is_empty()).collect()
    }

    proptest! {
        #[test]
        fn reading_what_was_rendered_gives_the_same_record(finished in finished()) {
            let record = recorded(&finished);
            prop_assert_eq!(read(&record.render()), record);
        }

        #[test]
        fn each_node_stands_once_under_what_it_finished_last(finished in finished()) {
            let record = recorded(&finished);
            let last: BTreeMap<u16, (bool, u8)> =
                finished.iter().map(|(node, succeeded, generation)| (*node, (*succeeded, *generation))).collect();
            for (node, (succeeded, generation)) in &last {
                let finish = if *succeeded { Finish::Succeeded } else { Finish::Failed };
                let expected = run(letter(*generation), i64::from(*generation), finish);
                prop_assert_eq!(record.of(&uid(*node)), Some(&expected));
            }
            let lists = lists(&record);
            let tokens: Vec<&str> = lists.iter().flat_map(|list| list.split(' ')).collect();
            let distinct: BTreeSet<String> = last.keys().map(|node| node_token(&uid(*node))).collect();
            prop_assert_eq!(tokens.len(), distinct.len());
            prop_assert!(tokens.iter().all(|token| distinct.contains(*token)));
        }

        #[test]
        fn what_is_written_is_sorted_and_takes_eleven_bytes_a_node(finished in finished()) {
            let groups = recorded(&finished).render();
            prop_assert!(groups.iter().map(|group| (group.generation, &group.template_hash)).is_sorted_by(|a, b| a < b));
            prop_assert!(groups.iter().all(|group| !group.succeeded.is_empty() || !group.failed.is_empty()));
            for list in lists(&recorded(&finished)) {
                let tokens: Vec<&str> = list.split(' ').collect();
                prop_assert!(tokens.is_sorted_by(|a, b| a < b), "{}", list);
                prop_assert_eq!(list.len() + 1, 11 * tokens.len());
            }
        }

        #[test]
        fn records_of_the_same_finishes_are_the_same_text((finished, again) in in_two_orders()) {
            prop_assert_eq!(recorded(&finished).render(), recorded(&again).render());
            let mut groups = recorded(&finished).render();
            groups.reverse();
            prop_assert_eq!(read(&groups), recorded(&finished));
        }

        #[test]
        fn what_is_not_understood_is_kept(groups in garbage(), node in any::<u16>()) {
            let mut record = read(&groups);
            let read = record.clone();
            let written = groups.iter().flat_map(|group| [&group.succeeded, &group.failed]);
            let written: BTreeSet<&str> = written.flat_map(|list| list.split_whitespace()).collect();
            let kept = lists(&record);
            let kept: BTreeSet<&str> = kept.iter().flat_map(|list| list.split(' ')).collect();
            prop_assert_eq!(kept, written);
            record.finish(&uid(node), run('a', 1, Finish::Failed));
            record.forget(&uid(node));
            prop_assert_eq!(record, read);
        }
    }
}
