//! The pairs, the table, and the gates.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use daemonjob_bench::{
    Arm, Flood, Genuine, KINDS, Kept, Persistence, Sample, Served, Spread, Took, allow_files, kept_connections,
    new_connections, percentile, request,
};
use daemonjob_webhook::Endpoint;

/// What an API server keeps open to a webhook.
const KEPT: usize = 25;
const AT_ONCE: usize = 64;
/// F34.
const HALF_OPEN: usize = 10_000;
const OTHER_FILES: u64 = 500;

/// The webhook's rate by the reader's for the smallest body, at least (P10). An echo is no measure of it: whoever reads
/// a review of 2 KB into values, and does nothing else, reaches less than half of the echo's rate.
/// Larger bodies are printed beside it.
const RATE_GATE: f64 = 0.75;
/// The webhook's p99 by the echo's, at most (P11).
const P99_GATE: f64 = 1.3;
/// The p99 of genuine reviews under half-open connections, at most (F34).
const HALF_OPEN_GATE: Duration = Duration::from_millis(250);

/// How long to measure.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Plan {
    /// Pairs of runs, webhook and echo; what is printed is their median
    #[arg(long, default_value_t = 7, value_parser = clap::value_parser!(u32).range(5..))]
    pairs: u32,
    /// Seconds of each run
    #[arg(long, default_value_t = 2)]
    seconds: u32,
    /// One of the tables alone
    #[arg(long)]
    only: Option<Table>,
}

/// The tables, by their numbers in the notes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Table {
    P10,
    P11,
    F34,
}

impl Plan {
    fn time(&self) -> Duration {
        Duration::from_secs(self.seconds.into())
    }
}

/// Runs all of it. Whether all gates were met.
pub(crate) async fn print(plan: &Plan) -> Result<bool> {
    let program = std::env::current_exe().context("the path of this program is known")?;
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let averages: Vec<&str> = load.split(' ').take(3).collect();
    say(&format!(
        "Load average before: {}. {} pairs of {} s, interleaved; median (quartiles).\n",
        averages.join(" "),
        plan.pairs,
        plan.seconds
    ))?;
    let is_wanted = |table| plan.only.is_none_or(|only| only == table);
    let mut is_met = true;
    if is_wanted(Table::P10) {
        is_met &= rates(plan, &program).await?;
    }
    if is_wanted(Table::P11) {
        is_met &= latencies(plan, &program).await?;
    }
    if is_wanted(Table::F34) {
        is_met &= half_open(plan, &program).await?;
    }
    Ok(is_met)
}

/// The processes that are compared, started afresh for each table.
struct Arms(Vec<(Arm, Served)>);

impl Arms {
    fn start(program: &Path, arms: &[Arm]) -> Result<Self> {
        let served = |arm: &Arm| Ok((*arm, Served::start(program, *arm, None)?));
        Ok(Self(arms.iter().map(served).collect::<Result<_>>()?))
    }

    /// Which of them goes first changes from round to round.
    fn in_order(&self, round: u32) -> impl Iterator<Item = &(Arm, Served)> {
        let first = round as usize % self.0.len();
        self.0.iter().cycle().skip(first).take(self.0.len())
    }
}

/// P10. The echo stands beside the reader to tell what TLS and HTTP cost alone.
async fn rates(plan: &Plan, program: &Path) -> Result<bool> {
    let arms = Arms::start(program, &[Arm::Webhook, Arm::Echo, Arm::Reader])?;
    say(&format!(
        "P10: {KEPT} kept connections, `/mutate` and `/validate` in turn; the reader is an echo that reads its JSON\n"
    ))?;
    say(
        "| body | requests/s | reader | echo | ÷ reader | gate | ÷ echo | reader ÷ echo | CPU µs/request | reader | echo |",
    )?;
    say("|---|---|---|---|---|---|---|---|---|---|---|")?;
    let mut is_met = true;
    for sample in Sample::ALL {
        // Held for the whole run, which takes a minute: the clients borrow it from several threads.
        let requests: &'static [Vec<u8>] = Box::leak(Box::new(
            [Endpoint::Mutate, Endpoint::Validate].map(|endpoint| request(sample, endpoint)),
        ));
        let (mut webhook, mut echo, mut reader) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..plan.pairs {
            for (arm, served) in arms.in_order(round) {
                let kept = kept_connections(served, KEPT, requests, plan.time()).await?;
                match arm {
                    Arm::Webhook => webhook.push(kept),
                    Arm::Echo => echo.push(kept),
                    Arm::Reader => reader.push(kept),
                }
            }
        }
        let by = |runs: &[Kept], others: &[Kept]| {
            Spread::of(runs.iter().zip(others).map(|(run, other)| run.rate / other.rate))
        };
        let rate = |runs: &[Kept]| Spread::of(runs.iter().map(|run| run.rate)).median;
        let cost = |runs: &[Kept]| Spread::of(runs.iter().map(|run| run.cost)).median;
        let ratio = by(&webhook, &reader);
        let is_gated = sample == Sample::Small;
        let is_enough = ratio.median >= RATE_GATE;
        let gate = if is_gated {
            format!("≥ {RATE_GATE} {}", word(is_enough))
        } else {
            String::new()
        };
        is_met &= is_enough || !is_gated;
        say(&format!(
            "| {} | {:.0} | {:.0} | {:.0} | {ratio} | {gate} | {} | {} | {:.1} | {:.1} | {:.1} |",
            sample.as_str(),
            rate(&webhook),
            rate(&reader),
            rate(&echo),
            by(&webhook, &echo),
            by(&reader, &echo),
            cost(&webhook),
            cost(&reader),
            cost(&echo),
        ))?;
    }
    Ok(is_met)
}

/// P11.
async fn latencies(plan: &Plan, program: &Path) -> Result<bool> {
    let arms = Arms::start(program, &[Arm::Webhook, Arm::Echo])?;
    let request: &'static [u8] = request(Sample::Small, Endpoint::Validate).leak();
    let (mut webhook, mut echo) = (Vec::new(), Vec::new());
    for pair in 0..plan.pairs {
        for (arm, served) in arms.in_order(pair) {
            let took = new_connections(served.client(), AT_ONCE, request, plan.time()).await?;
            let p99 = percentile(&took, 0.99).context("some were answered")?.as_secs_f64() * 1e3;
            match arm {
                Arm::Webhook => webhook.push(p99),
                Arm::Echo | Arm::Reader => echo.push(p99),
            }
        }
    }
    let ratio = Spread::of(webhook.iter().zip(&echo).map(|(ours, bare)| ours / bare));
    let is_met = ratio.median <= P99_GATE;
    say(&format!("\nP11: {AT_ONCE} at once, a handshake each, 2 KB\n"))?;
    say("| p99 ms | echo | ratio | gate |")?;
    say("|---|---|---|---|")?;
    say(&format!(
        "| {} | {} | {ratio} | ≤ {P99_GATE} {} |",
        Spread::of(webhook),
        Spread::of(echo),
        word(is_met)
    ))?;
    Ok(is_met)
}

/// F34: first while they are opened, then while all that are thrown out come again.
async fn half_open(plan: &Plan, program: &Path) -> Result<bool> {
    let files = allow_files(HALF_OPEN as u64 + OTHER_FILES)?;
    let number = HALF_OPEN.min(usize::try_from(files - OTHER_FILES)?);
    let served = Served::start(program, Arm::Webhook, None)?;
    let review = request(Sample::Small, Endpoint::Validate);
    let mut genuine = Genuine::begin(served.client(), KEPT, review).await?;
    say(&format!("\nF34: {number} half-open connections\n"))?;
    say("| | reviews | p99 ms, new connection | p99 ms, kept connection | longest ms | gate |")?;
    say("|---|---|---|---|---|---|")?;
    let mut is_met = true;
    let quiet = genuine.run(1_000, || true).await?;
    is_met &= row("before", &quiet)?;
    let flood = Flood::begin(served.client(), number, &KINDS, Persistence::Stubborn)?;
    let rising = genuine.run(100, || flood.tried() >= number).await?;
    is_met &= row("while they are opened", &rising)?;
    let begin = std::time::Instant::now();
    let time = plan.time() * plan.pairs;
    let standing = genuine.run(1_000, || begin.elapsed() > time).await?;
    is_met &= row("while those thrown out come again after 3 s", &standing)?;
    say(&format!(
        "\n{flood:?} at the end, {} at most at the same time",
        flood.most_held()
    ))?;
    Ok(is_met)
}

fn row(when: &str, took: &Took) -> Result<bool> {
    let p99 = |sorted: &[Duration]| percentile(sorted, 0.99).copied().context("some were answered");
    let (new, kept) = (p99(&took.new)?, p99(&took.kept)?);
    let longest = took.new.last().max(took.kept.last()).copied().unwrap_or_default();
    let is_met = new.max(kept) <= HALF_OPEN_GATE;
    say(&format!(
        "| {when} | {} | {:.1} | {:.1} | {:.1} | ≤ {} {} |",
        took.new.len() + took.kept.len(),
        new.as_secs_f64() * 1e3,
        kept.as_secs_f64() * 1e3,
        longest.as_secs_f64() * 1e3,
        HALF_OPEN_GATE.as_millis(),
        word(is_met)
    ))?;
    Ok(is_met)
}

fn word(is_met: bool) -> &'static str {
    if is_met { "met" } else { "MISSED" }
}

/// The table goes to standard output, line by line, so that one sees how far it is.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
