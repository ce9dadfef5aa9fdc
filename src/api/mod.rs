//! The API's bodies and answers, each described once.
//!
//! A body is a function over a [`form::Form`]: run over a text it reads it and finds what is wrong, run
//! over nothing it is the schema. An answer is a type whose fields are written as they stand and
//! described by their comments ([`answers`], and the engine's views). The admin port, the pulls and the
//! OpenAPI document share them; HTTP is the port's business.
//!
//! A further field of a body is one line in its function and one in what the engine takes.

pub mod answers;
pub mod bodies;
pub mod form;
mod raw;
pub mod recipients;
pub mod schemas;
pub mod submitted;
mod tree;
pub mod unread;
