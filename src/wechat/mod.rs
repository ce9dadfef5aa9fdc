//! The provider: WeChat's official-account API for one tenant.
//!
//! [`send::Provider`] owns what one tenant's sends share: a pool of connections and the access
//! token. A tenant never uses another one's provider, so a message cannot go out with the wrong
//! account's token.

mod answer;
pub mod callback;
pub mod calls;
mod client;
#[cfg(test)]
mod fake;
pub mod send;
pub mod token;

pub use calls::{CallError, People};
pub use client::{Account, ClientError, TokenFrom};
pub use send::{Limits, Message, Provider};
pub use token::{Token, TokenError, TokenOwner};
