//! The first few of a notice: they are sent, looked at, and then the rest goes on, or waits for a person.

use crate::engine::timer::Timer;
use crate::engine::tx::Tx;
use crate::kv::Kv;
use crate::model::delivery::DeliveryState;
use crate::model::notice::{Canary, CanaryRule, Notice};

/// All of the first are out and answered: what came of them is looked at after a while, when receipts
/// are there too.
pub(in crate::engine) fn canary_settled<K: Kv>(tx: &mut Tx<K>, notice: &mut Notice) {
    let sending = notice.counts.of(DeliveryState::Sending);
    let Some(canary) = &mut notice.canary else { return };
    if canary.left == 0 && sending == 0 && canary.decides.is_none() {
        let at = tx.now.plus(canary.wait_ms);
        canary.decides = Some(at);
        tx.set_timer(at, &Timer::Canary(notice.id));
    }
}

/// So many of the first are being sent.
pub(in crate::engine) fn canary_claimed(notice: &mut Notice, taken: usize) {
    if let Some(canary) = &mut notice.canary {
        let some = u32::try_from(taken).unwrap_or(canary.left).min(canary.left);
        canary.left -= some;
        canary.claimed += some;
    }
}

/// One of the first did not come to an end: its place is free again, for it or for another.
pub(in crate::engine) fn canary_unsent<K: Kv>(tx: &mut Tx<K>, notice: &mut Notice) {
    if let Some(canary) = &mut notice.canary
        && canary.claimed > 0
    {
        canary.claimed -= 1;
        canary.left += 1;
        if let Some(at) = canary.decides.take() {
            tx.clear_timer(at, &Timer::Canary(notice.id));
        }
    }
}

/// Nobody knows whether one of the first got it.
pub(in crate::engine) fn canary_doubted(notice: &mut Notice) {
    if let Some(canary) = &mut notice.canary {
        canary.doubts += 1;
    }
}

/// Why the rest is not sent, if it is not.
pub(in crate::engine) fn canary_verdict(
    notice: &Notice,
    canary: &Canary,
    rule: &CanaryRule,
) -> Option<String> {
    let sent = canary.claimed.max(1);
    let of = |state| notice.counts.of(state);
    let refused = of(DeliveryState::Refused) + of(DeliveryState::Failed) + of(DeliveryState::Dead);
    let over = |count: u32, limit: Option<u32>, what: &str| {
        let limit = limit?;
        let percent = u64::from(count) * 100 / u64::from(sent);
        (u64::from(count) * 100 > u64::from(sent) * u64::from(limit)).then(|| {
            format!(
                "of the first {sent}, {count} {what} ({percent} %, more than {limit} %): nothing more \
                 is sent. Look at them; resume to send the rest all the same, PATCH what is wrong, or \
                 cancel"
            )
        })
    };
    let refused = over(refused, rule.refused, "were refused or not delivered");
    refused.or_else(|| over(canary.doubts, rule.in_doubt, "had no clear answer"))
}
