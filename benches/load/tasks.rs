//! Tasks as the load makes, claims and settles them, every answer checked.

use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use duebox::time::Timestamp;

use crate::Outcome;
use crate::client::Client;
use crate::report::Latencies;
use crate::wire;

/// Tasks of one array.
pub(crate) const BATCH: u64 = 500;

/// A number of things to do, shared by all connections.
#[derive(Clone)]
pub(crate) struct Tickets {
    taken: Arc<AtomicU64>,
    total: u64,
}

impl Tickets {
    /// That many.
    pub(crate) fn new(total: u64) -> Self {
        Self { taken: Arc::default(), total }
    }

    /// Takes up to `wanted`: the first one's number and how many. `None` when all are taken.
    pub(crate) fn take(&self, wanted: u64) -> Option<(u64, u64)> {
        let first = self.taken.fetch_add(wanted, Ordering::Relaxed);
        (first < self.total).then(|| (first, wanted.min(self.total - first)))
    }
}

/// What the tasks look like.
#[derive(Clone, Copy)]
pub(crate) struct Shape {
    /// Their type.
    pub(crate) kind: &'static str,
    /// Bytes of the payload.
    pub(crate) payload: usize,
    /// When task `n` is due; now when absent.
    pub(crate) due: Option<Due>,
}

/// Due times spread at random, reproducibly.
#[derive(Clone, Copy)]
pub(crate) struct Due {
    /// The first possible one.
    pub(crate) from: Timestamp,
    /// They lie within this many milliseconds.
    pub(crate) within_ms: u64,
}

impl Due {
    fn of(self, number: u64) -> Timestamp {
        self.from.plus(crate::recipients::scatter(number) % self.within_ms.max(1))
    }
}

impl Shape {
    /// Appends task `number`. Its payload names its due time, for those who claim it.
    pub(crate) fn write(&self, number: u64, out: &mut String) {
        let due = self.due.map(|due| due.of(number));
        // Writing to a text does not fail.
        let _ = write!(out, r#"{{"type":"{}","#, self.kind);
        if let Some(due) = due {
            let _ = write!(out, r#""due":"{due}","#);
        }
        out.push_str(r#""payload":"#);
        let begin = out.len();
        let due_ms = due.map_or(0, |due| due.0);
        let _ = write!(out, r#"{{"n":{number},"due_ms":"{due_ms}","pad":""#);
        let written = out.len() - begin + r#""}"#.len();
        out.extend(std::iter::repeat_n('x', self.payload.saturating_sub(written)));
        out.push_str(r#""}}"#);
    }
}

/// Adds tasks one by one until no ticket is left.
pub(crate) async fn add_singly(
    mut client: Client,
    tickets: Tickets,
    shape: Shape,
) -> Outcome<Latencies> {
    let (mut latencies, mut body) = (Latencies::default(), String::new());
    while let Some((number, _)) = tickets.take(1) {
        body.clear();
        shape.write(number, &mut body);
        let began = Instant::now();
        let (_, answer) = client.post("/v1/tasks", &body).await?;
        latencies.since(began);
        wire::quoted(answer, r#""id":""#).ok_or_else(|| format!("no id in {answer}"))?;
    }
    Ok(latencies)
}

/// What one connection that adds arrays came to.
pub(crate) struct Added {
    /// Time of each array.
    pub(crate) latencies: Latencies,
    /// One task's id of each tenth array.
    pub(crate) samples: Vec<String>,
}

/// Adds arrays of [`BATCH`] tasks until no ticket is left; `done` counts along.
pub(crate) async fn add_arrays(
    mut client: Client,
    tickets: Tickets,
    shape: Shape,
    done: Arc<AtomicU64>,
) -> Outcome<Added> {
    let mut added = Added { latencies: Latencies::default(), samples: Vec::new() };
    let mut body = String::new();
    while let Some((first, count)) = tickets.take(BATCH) {
        body.clear();
        for number in first..first + count {
            body.push(if number == first { '[' } else { ',' });
            shape.write(number, &mut body);
        }
        body.push(']');
        let began = Instant::now();
        let (_, answer) = client.post("/v1/tasks", &body).await?;
        added.latencies.since(began);
        let ids = wire::all_quoted(answer, r#""id":""#);
        if ids.len() as u64 != count {
            return Err(format!("{} of {count} tasks were added", ids.len()).into());
        }
        no_error(answer)?;
        if (first / BATCH).is_multiple_of(10) {
            added.samples.extend(ids.first().map(|id| (*id).to_owned()));
        }
        done.fetch_add(count, Ordering::Relaxed);
    }
    Ok(added)
}

/// A claimed task.
pub(crate) struct Held {
    /// Its id.
    pub(crate) id: String,
    /// The token.
    pub(crate) claim: String,
    /// When it was due, epoch milliseconds, as its payload says.
    pub(crate) due_ms: u64,
}

/// Claims up to `max`.
pub(crate) async fn claim(
    client: &mut Client,
    kind: &str,
    max: u64,
    wait_ms: u64,
) -> Outcome<Vec<Held>> {
    let body = format!(r#"{{"type":"{kind}","max":{max},"wait_ms":{wait_ms}}}"#);
    let (_, answer) = client.post("/v1/tasks/claim", &body).await?;
    let [ids, claims, dues] =
        [r#""id":""#, r#""claim":""#, r#""due_ms":""#].map(|name| wire::all_quoted(answer, name));
    if ids.len() != claims.len() || ids.len() != dues.len() || ids.len() as u64 > max {
        return Err(format!("a claim that cannot be read: {answer}").into());
    }
    let held = ids.iter().zip(&claims).zip(&dues).map(|((id, claim), due)| {
        Ok(Held { id: (*id).into(), claim: (*claim).into(), due_ms: due.parse()? })
    });
    held.collect()
}

/// Acks one task.
pub(crate) async fn ack(client: &mut Client, held: &Held) -> Outcome<()> {
    let target = format!("/v1/tasks/{}/ack", held.id);
    client.post(&target, &format!(r#"{{"claim":"{}"}}"#, held.claim)).await?;
    Ok(())
}

/// Acks many at once.
pub(crate) async fn settle(client: &mut Client, held: &[Held]) -> Outcome<()> {
    let mut body = String::from(r#"{"items":["#);
    for (number, Held { id, claim, .. }) in held.iter().enumerate() {
        if number > 0 {
            body.push(',');
        }
        let _ = write!(body, r#"{{"id":"{id}","claim":"{claim}","ack":true}}"#);
    }
    body.push_str("]}");
    let (_, answer) = client.post("/v1/tasks/settle", &body).await?;
    no_error(answer)
}

fn no_error(answer: &str) -> Outcome<()> {
    match answer.find(r#""error":"#) {
        None => Ok(()),
        Some(at) => {
            let words: String = answer[at..].chars().take(400).collect();
            Err(format!("an item was refused: {words}").into())
        }
    }
}

/// Fails unless `count` different tasks were handed out and nothing is left to claim.
pub(crate) async fn verify_all_once(
    client: &mut Client,
    kind: &str,
    ids: Vec<String>,
    count: u64,
) -> Outcome<()> {
    let handed_out = ids.len() as u64;
    let different = ids.into_iter().collect::<HashSet<_>>().len() as u64;
    if (handed_out, different) != (count, count) {
        let what = format!("{handed_out} were handed out, {different} different ones, of {count}");
        return Err(what.into());
    }
    match claim(client, kind, 1, 0).await?.first() {
        None => Ok(()),
        Some(held) => Err(format!("task {} was still there after all were acked", held.id).into()),
    }
}
