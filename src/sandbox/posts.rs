//! Posting events to the accounts' addresses, each up to three times.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::events::Event;
use super::world::Sandbox;
use crate::outbound;

/// Events that wait to be posted; a call that makes one more waits itself.
pub(super) const WAITING: usize = 65_536;
/// Posts under way.
const AT_ONCE: usize = 64;
/// Posts of one event, and how long each waits for its answer.
const TRIES: usize = 3;
const PATIENCE: Duration = Duration::from_secs(5);
/// Pause before it is tried again.
const PAUSE: Duration = Duration::from_secs(1);

/// Posts events until there are no more senders.
pub(super) async fn post_all(sandbox: Arc<Sandbox>, mut events: mpsc::Receiver<Event>) {
    let Ok(client) = outbound::client() else { return };
    let slots = Arc::new(Semaphore::new(AT_ONCE));
    let mut posts = JoinSet::new();
    let mut number = 0;
    while let Some(event) = events.recv().await {
        // The semaphore is never closed, so there is always a permit.
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { return };
        while posts.try_join_next().is_some() {}
        number += u64::from(event.times) * 10;
        let (sandbox, client) = (Arc::clone(&sandbox), client.clone());
        posts.spawn(async move {
            post(&sandbox, &client, &event, number).await;
            drop(slot);
        });
    }
}

/// Posts one event, now; for one that shall be there before something else is answered.
pub(super) async fn post_first(sandbox: &Sandbox, event: &Event) {
    let Ok(client) = outbound::client_without_pool() else { return };
    post(sandbox, &client, event, event.at).await;
}

async fn post(sandbox: &Sandbox, client: &reqwest::Client, event: &Event, number: u64) {
    let callback = sandbox.world().accounts[event.account].callback.clone();
    let Some(callback) = callback else { return };
    if event.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(event.delay_ms)).await;
    }
    for time in 0..u64::from(event.times) {
        for attempt in 0..TRIES as u64 {
            let now = sandbox.world().now();
            let (body, query) = callback.written(event, now.0, number + 3 * time + attempt);
            let request = client.post(&callback.url).query(&query).timeout(PATIENCE).body(body);
            let taken = match request.send().await {
                Ok(answer) if answer.status() == 200 => {
                    answer.text().await.is_ok_and(|text| text.is_empty() || text == "success")
                }
                Ok(_) | Err(_) => false,
            };
            sandbox.world().accounts[event.account].counts.event(taken);
            if taken {
                break;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
