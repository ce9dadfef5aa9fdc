//! `[admin]` and `[callback]`: where the daemon listens and who may speak to it.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};

use super::secrets::{self, TOKEN};
use super::section::Section;
use super::tenants::Tenant;
use crate::limits::CONNECTIONS;
use crate::secret::Secret;

/// The admin port.
#[derive(Clone, Debug)]
pub struct Admin {
    /// Where it listens; port 0 lets the system pick one.
    pub listen: SocketAddr,
    /// What a caller must present. Always there when `listen` is not on loopback.
    pub token: Option<Secret>,
    /// Host names accepted in `Host` and `Origin` beside the address itself, without port.
    pub hosts: Vec<String>,
    /// Connections at once, beside a few that are kept for probes and operators.
    pub max_connections: usize,
}

/// A listener of its own for WeChat's calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Callback {
    /// Where it listens. Its callers prove themselves by the signature with the tenant's token.
    pub listen: SocketAddr,
}

/// The admin port when the file does not say.
const LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7280);

/// Reads `[admin]`.
pub(super) fn read(top: &Section<'_>) -> Admin {
    let admin = top.section("admin", |section| {
        let listen = listen(section).unwrap_or(LISTEN);
        let token = secrets::secret(section, &TOKEN);
        let asked = ["token", "token_file", "token_credential"];
        let told = asked.into_iter().any(|key| section.has(key));
        if !listen.ip().is_loopback() && !told {
            section.problem(
                "listen",
                format!(
                    "{listen} can be reached from other machines; add token_file = \"/path\", or \
                     listen on 127.0.0.1"
                ),
            );
        }
        let hosts = section.texts("hosts").into_iter().map(str::to_lowercase).collect();
        let most = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        let max_connections = section.number("max_connections", 8..=65_536, most) as usize;
        Admin { listen, token, hosts, max_connections }
    });
    let max_connections = CONNECTIONS;
    admin.unwrap_or(Admin { listen: LISTEN, token: None, hosts: Vec::new(), max_connections })
}

/// Reads `[callback]`.
pub(super) fn read_callback(
    top: &Section<'_>,
    tenants: &BTreeMap<String, Tenant>,
) -> Option<Callback> {
    let callback = top.section("callback", |section| {
        if !section.has("listen") {
            section.problem("listen", "is missing; add listen = \"0.0.0.0:7281\"");
        }
        if tenants.values().all(|tenant| tenant.callback.is_none()) {
            section.warn("listen", "no tenant has a callback_token, so every call is refused");
        }
        listen(section).map(|listen| Callback { listen })
    });
    callback.flatten()
}

fn listen(section: &Section<'_>) -> Option<SocketAddr> {
    let text = section.text("listen")?;
    let address = text.parse();
    if address.is_err() {
        let what = format!("must be an IP address and a port (127.0.0.1:7280), found {text:?}");
        section.problem("listen", what);
    }
    address.ok()
}
