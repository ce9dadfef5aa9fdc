//! The send log as CSV: for programs, or for the spreadsheet of a person.

use std::collections::HashMap;

use jiff::tz::TimeZone;
use serde_json::value::RawValue;

use crate::text::cut;
use crate::time::Timestamp;

/// A column: its name in the log's JSON, and what stands in it.
const COLUMNS: [(&str, Kind); 19] = [
    ("id", Kind::Id),
    ("at", Kind::Time),
    ("tenant", Kind::Id),
    ("notice", Kind::Id),
    ("delivery", Kind::Id),
    ("openid", Kind::Id),
    ("attempt", Kind::Number),
    ("duration_ms", Kind::Number),
    ("class", Kind::Id),
    ("errcode", Kind::Number),
    ("errmsg", Kind::Text),
    ("msgid", Kind::Id),
    ("rid", Kind::Text),
    ("template_id", Kind::Text),
    ("title", Kind::Text),
    ("request", Kind::Text),
    ("response", Kind::Text),
    ("worker", Kind::Text),
    ("term", Kind::Number),
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Number,
    Time,
    /// Letters, digits, `_` and `-`: no formula can be made of them.
    Id,
    /// Written by somebody else.
    Text,
}

/// Digits that a spreadsheet keeps of a number; it rounds the rest away.
const DIGITS: usize = 15;
/// Bytes of a cell for a spreadsheet: Excel takes 32,767 characters and moves the rest into other
/// cells (support.microsoft.com, "Excel specifications and limits").
const CELL_BYTES: usize = 32_000;

/// How the log is written.
#[derive(Clone, Debug)]
pub(super) struct Style {
    /// For a spreadsheet: with a byte order mark, ids as text, long cells cut, times as it reads them.
    pub(super) excel: bool,
    /// The zone of times; UTC if none was asked for.
    pub(super) zone: TimeZone,
}

impl Style {
    /// The first line.
    pub(super) fn heading(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let zone = self.zone.iana_name().unwrap_or("UTC");
        let named = COLUMNS.iter().map(|(name, kind)| match kind {
            Kind::Time if self.excel => format!("{name} ({zone})"),
            _ => (*name).to_owned(),
        });
        if self.excel {
            // Without it Excel takes the text for one in the machine's own code page.
            out.extend_from_slice("\u{feff}".as_bytes());
        }
        push(&mut out, named);
        out
    }

    /// Writes an entry of the log, given as its JSON.
    pub(super) fn row(&self, out: &mut Vec<u8>, entry: &str) -> serde_json::Result<()> {
        let fields: HashMap<&str, &RawValue> = serde_json::from_str(entry)?;
        let mut cells = Vec::with_capacity(COLUMNS.len());
        for (name, kind) in COLUMNS {
            let text = match fields.get(name).map(|value| value.get()) {
                None | Some("null") => String::new(),
                Some(value) if value.starts_with('"') => serde_json::from_str(value)?,
                // A number, or a document as it is.
                Some(value) => value.to_owned(),
            };
            cells.push(self.cell(kind, text));
        }
        push(out, cells);
        Ok(())
    }

    fn cell(&self, kind: Kind, text: String) -> String {
        let digits = text.len() > DIGITS && text.bytes().all(|byte| byte.is_ascii_digit());
        match kind {
            Kind::Number => text,
            Kind::Time => self.time(text),
            Kind::Id if self.excel && digits => format!("=\"{text}\""),
            Kind::Id if !self.excel => text,
            Kind::Id | Kind::Text => self.harmless(text),
        }
    }

    fn time(&self, text: String) -> String {
        let Ok(at) = Timestamp::parse(&text) else { return text };
        let ms = i64::try_from(at.0).unwrap_or(i64::MAX);
        let Ok(at) = jiff::Timestamp::from_millisecond(ms) else { return text };
        let at = at.to_zoned(self.zone.clone());
        if self.excel {
            return at.strftime("%Y-%m-%d %H:%M:%S").to_string();
        }
        // As given, unless another zone was asked for.
        if self.zone == TimeZone::UTC {
            text
        } else {
            at.strftime("%Y-%m-%dT%H:%M:%S%.3f%:z").to_string()
        }
    }

    /// What a spreadsheet would take for a formula begins with an apostrophe instead
    /// (owasp.org, "CSV injection").
    fn harmless(&self, text: String) -> String {
        let formula =
            text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠']);
        let text = if formula { format!("'{text}") } else { text };
        if self.excel && text.len() > CELL_BYTES {
            return format!("{}…", cut(&text, CELL_BYTES));
        }
        text
    }
}

fn push(out: &mut Vec<u8>, cells: impl IntoIterator<Item = String>) {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(out);
    // Writing to memory cannot fail, and rows of another length were not written before.
    let _ = writer.write_record(cells);
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use serde_json::{Value as Json, json};

    use super::*;

    fn style(excel: bool, zone: &str) -> Style {
        let zone = match zone {
            "UTC" => TimeZone::UTC,
            name => jiff::tz::db().get(name).unwrap(),
        };
        Style { excel, zone }
    }

    fn row(style: &Style, entry: &Json) -> String {
        let mut out = Vec::new();
        style.row(&mut out, &entry.to_string()).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn cells_are_quoted_when_they_must_be() {
        let entry = json!({"id": "1", "errmsg": "a \"b\", c\nd", "errcode": 0});
        let text = row(&style(false, "UTC"), &entry);
        assert_eq!(text, "1,,,,,,,,,0,\"a \"\"b\"\", c\nd\",,,,,,,,\r\n");
    }

    #[test]
    fn no_text_of_somebody_else_is_a_formula() {
        for excel in [false, true] {
            for bad in ["=1+1", "+1", "-cmd", "@SUM(A1)", "\tx", "\rx", "\nx", "＝1"] {
                for column in ["errmsg", "title", "request", "response", "rid", "template_id"] {
                    let text = row(&style(excel, "UTC"), &json!({ column: bad }));
                    let mut rows =
                        csv::ReaderBuilder::new().has_headers(false).from_reader(text.as_bytes());
                    let read = rows.records().next().unwrap().unwrap();
                    assert!(read.iter().any(|cell| cell == format!("'{bad}")), "{text}");
                }
            }
            // Numbers stay what they are, and so does what programs look ids up by.
            let text = row(&style(false, "UTC"), &json!({"errcode": -1, "openid": "-abc"}));
            assert_eq!(text, ",,,,,-abc,,,,-1,,,,,,,,,\r\n");
        }
    }

    #[test]
    fn a_spreadsheet_keeps_every_digit_and_reads_the_times() {
        let excel = style(true, "Asia/Shanghai");
        let heading = String::from_utf8(excel.heading()).unwrap();
        assert!(heading.starts_with("\u{feff}id,at (Asia/Shanghai),tenant,"), "{heading}");
        let entry = json!({"id": "1880000000000000001", "at": "2026-11-26T16:30:00.250Z",
            "msgid": "4098711234567890123", "openid": "-abc", "title": "通知"});
        let text = row(&excel, &entry);
        assert!(
            text.starts_with("\"=\"\"1880000000000000001\"\"\",2026-11-27 00:30:00,"),
            "{text}"
        );
        assert!(text.contains(",\"=\"\"4098711234567890123\"\"\",") && text.contains(",'-abc,"));
        let long = row(&excel, &json!({"response": "通".repeat(20_000)}));
        assert!(long.len() < 33_000 && long.contains('…'));
    }

    #[test]
    fn programs_get_times_with_their_zone() {
        let entry = json!({"at": "2026-11-26T16:30:00.250Z"});
        let text = row(&style(false, "UTC"), &entry);
        assert!(text.contains(",2026-11-26T16:30:00.250Z,"), "{text}");
        let text = row(&style(false, "Asia/Shanghai"), &entry);
        assert!(text.contains(",2026-11-27T00:30:00.250+08:00,"), "{text}");
        let heading = String::from_utf8(style(false, "UTC").heading()).unwrap();
        assert!(heading.starts_with("id,at,tenant,") && heading.ends_with(",term\r\n"));
    }
}
