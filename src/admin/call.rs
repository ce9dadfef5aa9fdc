//! A request on its way to the one who answers it.

use std::str::FromStr;

use hyper::Response;
use hyper::http::request::Parts;

use super::body::Upload;
use super::problem::Problem;
use super::query::Params;
use super::respond::Body;

/// What a handler gives.
pub(super) type Answer = Result<Response<Body>, Problem>;

/// A request on its way to a handler.
pub(super) struct Call<'a> {
    pub(super) head: Parts,
    pub(super) body: Upload<'a>,
    /// The variable parts of the path.
    pub(super) ids: Vec<String>,
    /// The parameters that its route takes.
    pub(super) takes: &'static [&'static str],
    /// Whether the caller may see names: it is on this machine, or has the token where one is set.
    pub(super) is_known: bool,
}

impl Call<'_> {
    /// The n-th variable part of the path.
    pub(super) fn id(&self, at: usize) -> &str {
        self.ids.get(at).map_or("", String::as_str)
    }

    /// It as an id; another text names nothing that exists.
    pub(super) fn named<I: FromStr>(&self, at: usize, what: &str) -> Result<I, Problem> {
        named(what, self.id(at))
    }

    pub(super) fn query(&self) -> Params {
        Params::new(self.head.uri.query(), self.takes)
    }
}

/// Reads an id; another text names nothing that exists.
pub(super) fn named<I: FromStr>(what: &str, text: &str) -> Result<I, Problem> {
    text.parse().map_err(|_| {
        let text = crate::text::cut(text, 80);
        Problem::not_found(format!("there is no {what} {text:?}"))
    })
}

/// The methods of the table. `hyper`'s own type cannot stand in a constant that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}
