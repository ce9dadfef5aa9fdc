//! Query strings.

use std::borrow::Cow;

use percent_encoding::percent_decode_str;

/// The value of the first parameter of this name, decoded.
pub(super) fn param<'a>(query: &'a str, name: &str) -> Option<Cow<'a, str>> {
    let mut pairs = query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    let (_, value) = pairs.find(|(key, _)| *key == name)?;
    Some(decode(value))
}

fn decode(value: &str) -> Cow<'_, str> {
    if !value.contains('+') {
        return percent_decode_str(value).decode_utf8_lossy();
    }
    let spaced = value.replace('+', " ");
    Cow::Owned(percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_by_whole_name_and_decoded() {
        let query = "xa=0&a=1%2F2+3&b&a=4";
        assert_eq!(param(query, "a").as_deref(), Some("1/2 3"));
        assert_eq!(param(query, "b").as_deref(), Some(""));
        assert_eq!(param(query, "c"), None);
        assert_eq!(param("", "a"), None);
    }
}
