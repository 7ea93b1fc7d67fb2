//! A run in words, and what a controller saw in it as a text world for a regression test.

use super::shipped::Shipped;
use super::state::{Dj, Job, Node, Sight, State};
use super::{Action, World};

impl World {
    /// What a controller holds, as the planner's tests are written.
    pub(super) fn text(&self, sight: &Sight) -> String {
        let Some(dj) = sight.dj else {
            return "# no DaemonJob is seen".to_owned();
        };
        let ttl = if self.shipped.spec.ttl { " ttl=0" } else { "" };
        let replace = if self.shipped.spec.replace { " replace" } else { "" };
        let mut lines = vec![format!("template {}{replace}{ttl}", letter(dj.is_edited()))];
        lines.push("selector os=linux".to_owned());
        lines.push(format!("generation {}", dj.generation));
        lines.extend(dj.retry.then(|| "retry t n0".to_owned()));
        lines.extend(sight.nodes.iter().flatten().map(|node| node_line(*node)));
        lines.extend(sight.jobs.iter().flatten().map(|job| job_line("job", dj, *job)));
        lines.extend(sight.ended.iter().flatten().map(|job| job_line("ended", dj, *job)));
        lines.extend(self.status_lines(dj, sight));
        lines.push("now 20".to_owned());
        lines.join("\n")
    }

    fn status_lines(&self, dj: Dj, sight: &Sight) -> Vec<String> {
        let told = self.shipped.status(dj.status);
        let mut lines = Vec::new();
        for node in sight.nodes.iter().flatten() {
            let (token, uid) = (
                Shipped::token(node.place, node.uid),
                Shipped::node_uid(node.place, node.uid),
            );
            let holds = |tokens: &str| tokens.split(' ').any(|held| held == token);
            for group in told
                .status
                .finished_nodes
                .iter()
                .filter(|group| holds(&group.succeeded))
            {
                let letter = letter(group.template_hash == self.shipped.hash(true).as_str());
                lines.push(format!(
                    "record n{} hash={letter} succeeded nodeuid={} generation={}",
                    node.place,
                    uid.as_str(),
                    group.generation
                ));
            }
            let retry = told.status.retry.as_ref();
            let pending = retry.filter(|retry| holds(&retry.pending));
            lines.extend(
                pending.map(|retry| format!("pending {} n{} nodeuid={}", retry.token, node.place, uid.as_str())),
            );
        }
        lines
    }

    /// What is true, as if it were all seen.
    pub(super) fn truth(state: &State) -> Sight {
        let mut sight = Sight {
            dj: state.dj(),
            ..Sight::default()
        };
        for node in &state.nodes.now {
            sight.nodes[usize::from(node.place)] = Some(*node);
        }
        for job in &state.jobs.now {
            sight.jobs[usize::from(job.place)] = Some(*job);
        }
        sight
    }

    /// The run step by step; where a controller plans, what it sees.
    pub(super) fn story(&self, run: &[(State, Option<Action>)]) -> String {
        let mut story = Vec::new();
        let mut broken = 0;
        for (state, action) in run {
            if state.broken != broken {
                broken = state.broken;
                story.push("# this broke an invariant".to_owned());
            }
            let Some(action) = action else { continue };
            story.push(format!("# {action:?}"));
            if let Action::Plan(who) = action {
                story.push(self.text(&state.controllers[*who].sees));
            }
        }
        if let Some((last, _)) = run.last() {
            story.push("# and then this is true".to_owned());
            story.push(self.text(&Self::truth(last)));
        }
        story.join("\n")
    }
}

fn letter(is_edited: bool) -> &'static str {
    if is_edited { "B" } else { "A" }
}

fn node_line(node: Node) -> String {
    let os = if node.selected { "linux" } else { "windows" };
    let uid = Shipped::node_uid(node.place, node.uid);
    format!("node n{} os={os} uid={}", node.place, uid.as_str())
}

fn job_line(word: &str, dj: Dj, job: Job) -> String {
    let run = if job.done { "succeeded@5" } else { "running" };
    let uid = Shipped::node_uid(job.place, job.node);
    let mut line = format!(
        "{word} n{} hash={} {run} nodeuid={} generation={}",
        job.place,
        letter(job.is_edited()),
        uid.as_str(),
        job.generation
    );
    for (is_so, word) in [
        (job.retry, " retry=t"),
        (job.deleted, " deleted@10"),
        (job.owner != dj.uid, " owner=older"),
    ] {
        line.extend(is_so.then_some(word));
    }
    line
}
