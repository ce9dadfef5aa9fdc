//! The query part of a request's target.

use percent_encoding::percent_decode_str;

use super::problem::Problem;
use crate::api::form;
use crate::api::unread::FieldError;
use crate::engine::query::Page;
use crate::limits;
use crate::model::marks::{Mark, wrong_name, wrong_text};
use crate::named::Named;
use crate::store::Order;
use crate::time::Timestamp;

/// What a parameter for a label begins with.
const LABEL: &str = "label.";

/// Parameters, each taken once. All mistakes are told at once by [`Params::finish`].
pub(super) struct Params {
    pairs: Vec<(String, String)>,
    errors: Vec<FieldError>,
}

impl Params {
    /// Reads the parameters; those not in `known` are refused by name.
    pub(super) fn new(query: Option<&str>, known: &[&str]) -> Self {
        let mut params = Self { pairs: Vec::new(), errors: Vec::new() };
        let pairs = query.unwrap_or("").split('&').filter(|pair| !pair.is_empty());
        if pairs.clone().nth(limits::PARAMETERS).is_some() {
            params.wrong("", format!("a request has at most {} parameters", limits::PARAMETERS));
            return params;
        }
        for pair in pairs {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name), decode(value));
            let is_label = name.starts_with(LABEL) && known.contains(&"label");
            if !is_label && !known.contains(&name.as_str()) {
                let detail = form::unknown("parameter", &name, known);
                let pointer = format!("/{}", crate::text::cut(&name, 80));
                params.errors.push(FieldError { pointer, detail, unknown: true });
            } else if params.pairs.iter().any(|(other, _)| *other == name) {
                params.wrong(&name, "given more than once");
            } else {
                params.pairs.push((name, value));
            }
        }
        params
    }

    pub(super) fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        self.errors.push(FieldError::new(format!("/{name}"), detail));
    }

    /// Takes a parameter; an empty one counts as absent.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        let at = self.pairs.iter().position(|(other, _)| other == name)?;
        Some(self.pairs.swap_remove(at).1).filter(|value| !value.is_empty())
    }

    /// Takes and parses a parameter.
    pub(super) fn parse<T: std::str::FromStr>(&mut self, name: &str, wanted: &str) -> Option<T> {
        let empty = |(other, value): &(String, String)| other == name && value.is_empty();
        if self.pairs.iter().any(empty) {
            self.wrong(name, format!("is empty; give {wanted}, or leave it out"));
        }
        let text = self.text(name)?;
        let found = text.parse().ok();
        if found.is_none() {
            let text = crate::text::cut(&text, 40);
            self.wrong(name, format!("give {wanted}, this is {text:?}"));
        }
        found
    }

    pub(super) fn flag(&mut self, name: &str) -> bool {
        self.parse(name, "true or false").unwrap_or(false)
    }

    /// A time. The `+` of its zone may have come as a space, which is what `+` means in a query.
    pub(super) fn time(&mut self, name: &str) -> Option<Timestamp> {
        let text = self.text(name)?;
        let parsed = match text.trim().parse() {
            Ok(number) => Timestamp::from_number(number),
            Err(_) => Timestamp::parse(&with_zone(&text)),
        };
        match parsed {
            Ok(at) => Some(at),
            Err(error) => {
                self.wrong(name, error.to_string());
                None
            }
        }
    }

    /// The marks that are asked for: `ref=…` and `label.NAME=…`.
    pub(super) fn marks(&mut self) -> Vec<Mark> {
        let mut marks: Vec<Mark> = self.text("ref").map(Mark::Ref).into_iter().collect();
        let labels = self.pairs.extract_if(.., |(name, _)| name.starts_with(LABEL));
        for (name, value) in labels.collect::<Vec<_>>() {
            let label = name.strip_prefix(LABEL).unwrap_or_default();
            match wrong_name(label).or_else(|| wrong_text(&value)) {
                Some(why) => self.wrong(&name, why),
                None => marks.push(Mark::Label(label.to_owned(), value)),
            }
        }
        marks
    }

    /// In which order a list is wanted.
    pub(super) fn order(&mut self, usual: Order) -> Order {
        let read = |name: &str| match name {
            "asc" => Some(Order::Ascending),
            "desc" => Some(Order::Descending),
            _ => None,
        };
        self.named("order", "asc, desc", read).unwrap_or(usual)
    }

    /// Which part of a list.
    pub(super) fn page(&mut self) -> Page {
        let wanted = format!("1 to {}", limits::PAGE_ITEMS);
        let limit = self.parse("limit", &wanted);
        if limit.is_some_and(|limit| limit == 0 || limit > limits::PAGE_ITEMS) {
            self.wrong("limit", wanted);
        }
        Page { limit: limit.unwrap_or(limits::PAGE_DEFAULT), cursor: self.text("cursor") }
    }

    /// Reads a value that has a fixed set of names.
    pub(super) fn named<T>(
        &mut self,
        name: &str,
        wanted: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(name)?;
        let found = read(&text);
        if found.is_none() {
            self.wrong(name, format!("one of {wanted}"));
        }
        found
    }

    /// One of the words for the cases of a type.
    pub(super) fn word<T: Named>(&mut self, name: &str) -> Option<T> {
        self.named(name, &T::words().replace(" or ", ", "), T::of_word)
    }

    /// All mistakes, if there are any.
    pub(super) fn finish(self) -> Result<(), Problem> {
        if self.errors.is_empty() { Ok(()) } else { Err(Problem::fields(self.errors)) }
    }
}

/// A time as it was before its `+` became a space. The space between date and time stays.
fn with_zone(text: &str) -> String {
    match text.trim().rsplit_once(' ') {
        Some((time, zone)) if time.contains(':') => format!("{}+{zone}", time.trim_end()),
        _ => text.to_owned(),
    }
}

fn decode(text: &str) -> String {
    percent_decode_str(&text.replace('+', " ")).decode_utf8_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_survive_what_a_query_does_to_plus_and_space() {
        let at = Some(Timestamp(1_795_667_333_000));
        for text in [
            "2026-11-26T12:28:53+08:00",
            "2026-11-26T12:28:53%2B08:00",
            "2026-11-26%2012:28:53%2B08:00",
            "2026-11-26+12:28:53+08:00",
            "2026-11-26%2012:28:53%2008:00",
            "2026-11-26T04:28:53Z",
            "2026-11-26+04:28:53Z",
            "1795667333000",
        ] {
            let mut params = Params::new(Some(&format!("from={text}")), &["from"]);
            assert_eq!(params.time("from"), at, "{text}");
        }
        let mut params = Params::new(Some("from=1795667333"), &["from"]);
        assert_eq!(params.time("from"), None);
        let told = params.finish().map_err(|problem| problem.detail).err().unwrap_or_default();
        assert!(told.contains("looks like seconds"), "{told}");
    }

    #[test]
    fn parameters_are_decoded_and_strangers_refused() {
        let query = Some("openid=a%2Bb&from=2026-11-23T09:00:00+08:00&to=1795395600000&limit=7");
        let mut params = Params::new(query, &["openid", "from", "to", "limit"]);
        assert_eq!(params.text("openid").as_deref(), Some("a+b"));
        assert_eq!(params.time("from"), Some(Timestamp(1_795_395_600_000)));
        assert_eq!(params.time("to"), Some(Timestamp(1_795_395_600_000)));
        assert_eq!(params.page().limit, 7);
        assert!(params.finish().is_ok());
        for bad in ["limt=1", "limit=0", "limit=1001", "limit=x", "limit=1&limit=2"] {
            let mut params = Params::new(Some(bad), &["limit", "cursor"]);
            params.page();
            assert_eq!(params.finish().map_err(|problem| problem.status), Err(422), "{bad}");
        }
        let many = "a&".repeat(30_000);
        let told = Params::new(Some(&many), &[]).finish().map_err(|problem| problem.detail);
        assert_eq!(told, Err("/: a request has at most 32 parameters".to_owned()));
    }
}
