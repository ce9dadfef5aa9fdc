//! A request on its way to the one who answers it.

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

    pub(super) fn query(&self) -> Params {
        Params::new(self.head.uri.query(), self.takes)
    }
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
