//! Plain tables out of JSON answers.

use serde_json::Value;

use super::output::clean;

/// A column: its heading and where its value is in a row (a JSON pointer).
pub(super) type Column = (&'static str, &'static str);

/// Widest cell of the last column, in columns of the terminal. Titles and payloads stand there and
/// may be cut; ids and claims stand before and must stay whole, since people copy them.
const CELL: usize = 48;

/// Rows under headings, columns aligned, one line each.
pub(super) fn table(rows: &[Value], columns: &[Column]) -> String {
    let cells = |row: &Value| -> Vec<String> {
        let mut cells: Vec<String> =
            columns.iter().map(|(_, pointer)| cell(row.pointer(pointer))).collect();
        if let Some(last) = cells.last_mut() {
            *last = fit(last);
        }
        cells
    };
    let mut lines = vec![columns.iter().map(|(head, _)| (*head).to_owned()).collect::<Vec<_>>()];
    lines.extend(rows.iter().map(cells));
    let widest = |column: usize| lines.iter().map(|line| width(&line[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(widest).collect();
    lines.iter().map(|line| aligned(line, &widths)).collect()
}

/// One record as `name  value` lines; absent values are left out.
pub(super) fn facts(record: &Value, columns: &[Column]) -> String {
    let known = columns.iter().filter_map(|(head, pointer)| {
        let value = record.pointer(pointer).filter(|value| !value.is_null())?;
        Some([(*head).to_owned(), cell(Some(value))])
    });
    let lines: Vec<[String; 2]> = known.collect();
    let left = lines.iter().map(|line| width(&line[0])).max().unwrap_or(0);
    lines.iter().map(|line| aligned(line, &[left, 0])).collect()
}

fn aligned(cells: &[String], widths: &[usize]) -> String {
    let mut line = String::new();
    for (cell, wide) in cells.iter().zip(widths) {
        line.push_str(cell);
        let gap = wide.saturating_sub(width(cell)) + 2;
        line.extend(std::iter::repeat_n(' ', gap));
    }
    format!("{}\n", line.trim_end())
}

fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => clean(text),
        Some(other) => clean(&other.to_string()),
    }
}

fn fit(text: &str) -> String {
    if width(text) <= CELL {
        return text.to_owned();
    }
    let mut room = CELL - 1;
    let fits = |c: &char| {
        let wide = columns_of(*c);
        let fits = wide <= room;
        room = room.saturating_sub(wide);
        fits
    };
    let mut cut: String = text.chars().take_while(fits).collect();
    cut.push('…');
    cut
}

fn width(text: &str) -> usize {
    text.chars().map(columns_of).sum()
}

/// Chinese, Japanese and Korean characters, full-width forms and emoji take two columns.
fn columns_of(c: char) -> usize {
    match u32::from(c) {
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn columns_line_up_also_under_chinese() {
        let rows = [json!({"a": "通知", "b": {"c": 1}}), json!({"a": "x", "b": null})];
        let shown = table(&rows, &[("A", "/a"), ("C", "/b/c")]);
        assert_eq!(shown, "A     C\n通知  1\nx     -\n");
    }

    #[test]
    fn long_titles_are_cut_and_long_ids_are_not() {
        let id = "7".repeat(60);
        let rows = [json!({"id": id, "a": "长".repeat(40)}), json!({"id": 1, "a": "one\ntwo"})];
        let shown = table(&rows, &[("ID", "/id"), ("A", "/a")]);
        assert!(shown.contains(&id), "{shown}");
        assert!(shown.lines().all(|line| width(line) <= 60 + 2 + CELL), "{shown}");
        assert_eq!(shown.lines().count(), 3);
        assert!(shown.contains('…') && shown.contains("one two"));
    }

    #[test]
    fn facts_leave_out_what_is_not_known() {
        let record = json!({"id": "7", "eta": null, "counts": {"dead": 2}});
        let columns = [("id", "/id"), ("eta", "/eta"), ("dead", "/counts/dead")];
        assert_eq!(facts(&record, &columns), "id    7\ndead  2\n");
    }
}
