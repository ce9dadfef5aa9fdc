//! WeChat's own calls, tenant by tenant: the gates that the admin port asks.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::admin::{self, CallbackParams, CallbackRefused};
use crate::config::{Config, Tenant};
use crate::model::callback::Told;
use crate::time::Clock;
use crate::wechat::callback::{Gate, NotTaken};

/// A tenant's refused calls are told of in the log so often.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// All tenants' gates.
pub(super) struct Gates {
    gates: BTreeMap<String, Gate>,
    clock: Arc<dyn Clock>,
    /// When a refused call of a tenant was last told of, and how many came since.
    said: Mutex<BTreeMap<String, (Instant, u64)>>,
}

impl Gates {
    pub(super) fn new(config: &Config, clock: Arc<dyn Clock>) -> Self {
        let gate = |(name, tenant): (&String, &Tenant)| Some((name.clone(), gate(tenant)?));
        let gates = config.tenants.iter().filter_map(gate).collect();
        Self { gates, clock, said: Mutex::default() }
    }

    fn of(&self, tenant: &str) -> Result<&Gate, CallbackRefused> {
        self.gates.get(tenant).ok_or_else(|| {
            let tenant = crate::text::cut(tenant, 80);
            CallbackRefused::NoSuchTenant(format!(
                "no callbacks are taken for {tenant:?}: there is no such tenant, or it has no \
                 callback_token in the configuration"
            ))
        })
    }

    fn refused(&self, tenant: &str, why: &NotTaken) -> CallbackRefused {
        let detail = why.to_string();
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let since = said.get(tenant).map(|(at, more)| (at.elapsed(), *more));
        if since.is_none_or(|(ago, _)| ago > SAY_EVERY) {
            let more = since.map_or(0, |(_, more)| more);
            tracing::warn!(
                event = "callback.refused",
                tenant,
                more,
                "a call for WeChat's address was not taken: {detail}"
            );
            said.insert(tenant.to_owned(), (Instant::now(), 0));
        } else if let Some((_, more)) = said.get_mut(tenant) {
            *more += 1;
        }
        let code = match why {
            NotTaken::Unsigned(_) => "unsigned",
            NotTaken::WrongSignature => "wrong_signature",
            NotTaken::Old(_) => "old_signature",
            NotTaken::NoKey | NotTaken::WrongKey | NotTaken::OtherAccount(_) => "not_opened",
            NotTaken::Body(_) => return CallbackRefused::Body(detail),
        };
        CallbackRefused::NotWeChat { code, detail }
    }
}

fn gate(tenant: &Tenant) -> Option<Gate> {
    let keys = tenant.callback.as_ref()?;
    let tokens = [Some(keys.token.clone()), keys.token_previous.clone()];
    let aes = [keys.encoding_aes_key.clone(), keys.encoding_aes_key_previous.clone()];
    let aes: Vec<_> = aes.into_iter().flatten().collect();
    Some(Gate::new(&tenant.appid, tokens.into_iter().flatten().collect(), &aes))
}

impl admin::Callbacks for Gates {
    fn echo(&self, tenant: &str, params: &CallbackParams) -> Result<String, CallbackRefused> {
        self.of(tenant)?.echo(params).map_err(|why| self.refused(tenant, &why))
    }

    fn open(
        &self,
        tenant: &str,
        params: &CallbackParams,
        body: &[u8],
    ) -> Result<Option<Told>, CallbackRefused> {
        let opened = self.of(tenant)?.open(params, body, self.clock.now());
        opened.map_err(|why| self.refused(tenant, &why))
    }
}
