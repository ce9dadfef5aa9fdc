//! `[admin]` and `[callback]`: where the daemon listens and who may speak to it.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use ipnet::IpNet;

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
    /// The file that it came from; read again when it changes.
    pub token_path: Option<PathBuf>,
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
        let short = token.as_ref().is_some_and(|token| token.expose().len() < TOKEN_MIN_BYTES);
        if short && !listen.ip().is_loopback() {
            let what = format!(
                "the token is short enough to be guessed; give at least {TOKEN_MIN_BYTES} characters, for \
                 example of `openssl rand -hex 32`"
            );
            section.problem(asked.into_iter().find(|key| section.has(key)).unwrap_or("token"), what);
        }
        let token_path = secrets::file_of(section, &TOKEN);
        let hosts = section.texts("hosts").into_iter().map(str::to_lowercase).collect();
        let most = u32::try_from(CONNECTIONS).unwrap_or(u32::MAX);
        let max_connections = section.number("max_connections", 8..=65_536, most) as usize;
        Admin { listen, token, token_path, hosts, max_connections }
    });
    let max_connections = CONNECTIONS;
    admin.unwrap_or(Admin {
        listen: LISTEN,
        token: None,
        token_path: None,
        hosts: Vec::new(),
        max_connections,
    })
}

/// A listener of its own for the paths of the old schedule service, whose clients know no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Legacy {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Networks whose callers are answered.
    pub allow: Vec<IpNet>,
}

/// Reads `[legacy]`.
pub(super) fn read_legacy(top: &Section<'_>) -> Option<Legacy> {
    let legacy = top.section("legacy", |section| {
        if !section.has("listen") {
            section.problem("listen", "is missing; add listen = \"0.0.0.0:51701\"");
        }
        let read = |text: &str| {
            let network =
                text.parse().ok().or_else(|| Some(IpNet::from(text.parse::<IpAddr>().ok()?)));
            if network.is_none() {
                let what = format!("must be networks such as \"10.1.0.0/16\", found {text:?}");
                section.problem("allow", what);
            }
            network
        };
        let allow: Vec<IpNet> = section.texts("allow").into_iter().filter_map(read).collect();
        let listen = listen(section)?;
        if allow.is_empty() && !section.has("allow") {
            if listen.ip().is_loopback() {
                return Some(Legacy { listen, allow: vec![IpNet::from(listen.ip())] });
            }
            let what = "is missing, and whoever reaches the port may take and delete tasks; add \
                        allow = [\"10.1.0.0/16\"] with the networks of its clients";
            section.problem("allow", what);
        }
        Some(Legacy { listen, allow })
    });
    legacy.flatten()
}

/// Shortest token where others can reach the port.
const TOKEN_MIN_BYTES: usize = 16;

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
