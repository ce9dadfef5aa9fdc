//! The outbox: notices, and their deliveries to the provider.
//!
//! | file | what |
//! |---|---|
//! | `submit`, `fit` | notices and recipients come in; values fit their template |
//! | `rehearse` | what a submission would come to |
//! | `plan`, `audience` | when recipients are read from where they are; their reading |
//! | `claim`, `canary` | which deliveries are sent now; whether the rest follows the first few |
//! | `settle` | what an answer does |
//! | `receipt` | what a receipt does |
//! | `recover` | what becomes of a delivery whose answer nobody will have |
//! | `operate`, `patch` | what people do to notices; what they change of them |
//! | `transition` | the one way of a delivery from one state to another |
//! | `doubt`, `trouble` | how long a repetition is safe; failures that are nobody's in particular |
//! | `lane`, `log` | a notice's place among its tenant's; the send log |

pub(super) mod audience;
mod canary;
mod claim;
mod doubt;
mod fit;
pub(super) mod lane;
mod log;
mod operate;
mod patch;
mod plan;
mod receipt;
mod recover;
mod rehearse;
mod settle;
mod submit;
mod transition;
pub(super) mod trouble;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use crate::engine::tx::Tx;
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Kv};
use crate::model::delivery::Delivery;
use crate::model::notice::{Notice, NoticeBody};
use crate::store::keys::{self, TenantNo};

/// What the outbox remembers beside its rows.
#[derive(Debug, Default)]
pub(super) struct Outbox {
    /// Deliveries claimed and not settled, by tenant.
    in_flight: BTreeMap<TenantNo, u32>,
    /// Bodies of notices being sent.
    bodies: HashMap<Id, Arc<NoticeBody>>,
    /// Audiences that a worker reads, and its fence.
    resolving: BTreeMap<Id, u64>,
}

impl Outbox {
    /// Deliveries claimed and not yet settled.
    pub(super) fn in_flight(&self) -> u32 {
        self.in_flight.values().sum()
    }

    /// The same of one tenant.
    pub(super) fn in_flight_of(&self, tenant: TenantNo) -> u32 {
        self.in_flight.get(&tenant).copied().unwrap_or(0)
    }

    /// Forgets what a notice says.
    pub(super) fn forget_body(&mut self, notice: Id) {
        self.bodies.remove(&notice);
    }
}

/// The row of a delivery with its notice, if both are there.
pub(super) fn read_delivery<K: Kv>(
    tx: &Tx<K>,
    id: DeliveryId,
) -> Result<Option<(Notice, Delivery)>, Fault> {
    let Some(notice) = tx.store.read::<Notice>(&keys::id(id.notice))? else { return Ok(None) };
    let delivery = tx.store.read::<Delivery>(&keys::delivery(TenantNo(notice.tenant), id))?;
    Ok(delivery.map(|delivery| (notice, delivery)))
}
