//! What the two dialects mean and the parser takes otherwise, or takes in silence.
//!
//! A rule is read here before the parser gets it, part by part: nothing is dropped, no step is longer
//! than its field, and weeks may go over their end.

use std::collections::BTreeSet;

/// A rule for the parser.
pub(super) struct Prepared {
    /// Its text, with what the parser does not know written out.
    pub(super) text: String,
    /// Weekdays are counted from 1 as in Quartz, not from 0 as in Unix.
    pub(super) quartz: bool,
    /// A day must fit both day fields; else one is enough.
    pub(super) both_days: bool,
    /// What a person should know about it though it is a rule.
    pub(super) remarks: Vec<String>,
}

/// A field: its name, its lowest and highest value, the field above it, and how to count that.
struct Field {
    name: &'static str,
    low: u16,
    high: u16,
    above: &'static str,
    instead: &'static str,
}

const SECOND: Field = Field {
    name: "second",
    low: 0,
    high: 59,
    above: "minute",
    instead: "count minutes in their own field (0/2)",
};
const MINUTE: Field = Field {
    name: "minute",
    low: 0,
    high: 59,
    above: "hour",
    instead: "count whole hours in their own field (0/2)",
};
const HOUR: Field = Field {
    name: "hour",
    low: 0,
    high: 23,
    above: "day",
    instead: "count days in their own field (1/2)",
};
const DAY: Field = Field {
    name: "day of month",
    low: 1,
    high: 31,
    above: "month",
    instead: "count months in their own field (1/2)",
};
const MONTH: Field = Field {
    name: "month",
    low: 1,
    high: 12,
    above: "year",
    instead: "count years in a seventh field (2026/2)",
};
const WEEKDAY: Field = Field {
    name: "day of week",
    low: 0,
    high: 7,
    above: "week",
    instead: "name days of the month instead",
};
const FIELDS: [Field; 6] = [SECOND, MINUTE, HOUR, DAY, MONTH, WEEKDAY];
const DAYS: [&str; 7] = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"];

/// Reads a rule. The error names the field and part that is wrong, and what to write instead.
pub(super) fn prepare(expr: &str) -> Result<Prepared, String> {
    let upper = expr.to_ascii_uppercase();
    let given: Vec<&str> = upper.split_whitespace().collect();
    let quartz = given.len() > 5;
    if upper.starts_with('@') && given.len() == 1 {
        let text = expr.to_owned();
        return Ok(Prepared { text, quartz, both_days: false, remarks: Vec::new() });
    }
    if !(5..=7).contains(&given.len()) {
        return Err(format!(
            "it has {} fields; give minute hour day month weekday, with seconds before them if need \
             be, and then years behind them",
            given.len()
        ));
    }
    let (mut fields, mut remarks) = (Vec::new(), Vec::new());
    for (field, text) in FIELDS[usize::from(!quartz)..].iter().zip(&given) {
        fields.push(field.prepare(text, quartz, &mut remarks)?);
    }
    // The years.
    fields.extend(given.get(fields.len()).map(|text| (*text).to_owned()));
    let open = |at: usize| given[usize::from(quartz) + at].starts_with(['*', '?', '/']);
    Ok(Prepared {
        text: fields.join(" "),
        quartz,
        both_days: quartz || open(2) || open(4),
        remarks,
    })
}

impl Field {
    fn prepare(
        &self,
        text: &str,
        quartz: bool,
        remarks: &mut Vec<String>,
    ) -> Result<String, String> {
        // The parser keeps only one of them.
        let lasts = text.split(',').filter(|part| matches!(*part, "L" | "LW" | "WL"));
        if self.name == DAY.name && lasts.collect::<BTreeSet<_>>().len() > 1 {
            let why = "L and LW cannot stand beside each other; write two schedules";
            return Err(self.wrong(text, why));
        }
        let parts: Result<Vec<String>, String> = text
            .split(',')
            .map(|part| {
                if part.is_empty() {
                    return Err(self.wrong(text, "there is nothing beside a comma; remove it"));
                }
                self.check_step(part, quartz, remarks)?;
                self.check_last(part)?;
                self.check_values(part, quartz)?;
                self.unwind(part, quartz)
            })
            .collect();
        Ok(parts?.join(","))
    }

    fn wrong(&self, part: &str, why: &str) -> String {
        format!("{} {part:?}: {why}", self.name)
    }

    /// A step that is longer than its field never does what it says: `*/90` is once an hour. Quartz
    /// refuses it; in Unix it is allowed, and never meant.
    fn check_step(
        &self,
        part: &str,
        quartz: bool,
        remarks: &mut Vec<String>,
    ) -> Result<(), String> {
        let step = part.split_once('/').and_then(|(_, step)| step.parse::<u16>().ok());
        let Some(step) = step.filter(|step| *step > self.high) else { return Ok(()) };
        let (high, above, instead) = (self.high, self.above, self.instead);
        let what = self.wrong(
            part,
            &format!(
                "the step {step} is longer than the field, where {high} is the longest; each {above} \
                 begins anew, so {instead}, or write two schedules that take turns"
            ),
        );
        if quartz {
            return Err(what);
        }
        remarks.push(what);
        Ok(())
    }

    fn check_last(&self, part: &str) -> Result<(), String> {
        if self.name == DAY.name && part.starts_with("L-") {
            let why = "days before the last are not known; name a day, L or LW";
            return Err(self.wrong(part, why));
        }
        Ok(())
    }

    fn check_values(&self, part: &str, quartz: bool) -> Result<(), String> {
        let span = part.split('/').next().unwrap_or(part);
        let numbers = span.split('-').filter_map(|text| text.parse::<u32>().ok());
        let low = if self.name == WEEKDAY.name { u32::from(quartz) } else { u32::from(self.low) };
        let high = u32::from(self.high);
        match numbers.into_iter().find(|number| !(low..=high).contains(number)) {
            Some(_) => Err(self.wrong(part, &format!("values go from {low} to {high}"))),
            None => Ok(()),
        }
    }

    /// A part as the parser knows it: `L` alone as the last day of the week, and ranges that go over
    /// the end of the week written out. Other ranges that end before they begin are refused.
    fn unwind(&self, part: &str, quartz: bool) -> Result<String, String> {
        let is_week = self.name == WEEKDAY.name;
        if is_week && part == "L" {
            return Ok("SAT".to_owned());
        }
        let (span, step) = part.split_once('/').unwrap_or((part, "1"));
        let ends = span.split_once('-').and_then(|(from, to)| {
            Some((self.value(from, quartz)?, self.value(to, quartz)?, step.parse::<usize>().ok()?))
        });
        let Some((from, to, step)) = ends.filter(|(from, to, step)| to < from && *step > 0) else {
            return Ok(part.to_owned());
        };
        if !is_week {
            let why =
                format!("it ends before it begins; write {from}-{},{}-{to}", self.high, self.low);
            return Err(self.wrong(part, &why));
        }
        let first = usize::from(quartz);
        let days = (usize::from(from)..=usize::from(to) + 7).step_by(step);
        let names: Vec<&str> = days.map(|day| DAYS[(day - first) % 7]).collect();
        Ok(names.join(","))
    }

    /// A value by its number, or a day of the week by its name.
    fn value(&self, text: &str, quartz: bool) -> Option<u16> {
        let day = DAYS.iter().position(|day| *day == text && self.name == WEEKDAY.name);
        match day {
            Some(day) => u16::try_from(day).ok().map(|day| day + u16::from(quartz)),
            None => text.parse().ok().filter(|value| (self.low..=self.high).contains(value)),
        }
    }
}
