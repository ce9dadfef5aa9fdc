//! The rules of the house, held against the sources themselves.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// What a file may hold at most, so that it stays one idea.
const MOST_LINES: usize = 600;
/// Files that were longer when the rule was made. They may only shrink.
const LONGER: [(&str, usize); 1] = [("engine/command.rs", 680)];

/// Modules from the ground up, as on the page of `src/lib.rs`. A module uses those of lower layers;
/// on the ground, those beside it as well.
const LAYERS: [&[&str]; 10] = [
    &[
        "boot", "caught", "id", "json", "limits", "logger", "named", "near", "regular", "secret",
        "text", "time",
    ],
    &["kv"],
    &["store"],
    &["model"],
    &["engine"],
    &["mailbox"],
    &["api"],
    &["outbound"],
    &[
        "admin", "audience", "bound", "config", "data_dir", "lease", "pull", "sandbox", "webhook",
        "wechat",
    ],
    &["daemon"],
];

/// What a function may hold at most, so that it is read at a glance.
const MOST_LINES_OF_A_FUNCTION: usize = 80;

/// What may not be written, where it may be, and what to write instead.
const FORBIDDEN: [(&str, &[&str], &str); 10] = [
    ("unbounded", &[], "a channel has a bound"),
    ("mpsc::channel()", &[], "a channel has a bound: sync_channel"),
    (
        "thread::sleep",
        &["kv/sled.rs", "daemon/lead.rs", "cli/demo.rs", "cli/demo/processes.rs"],
        "wait for the event",
    ),
    ("println!(", &[], "cli::output for people, tracing for the log"),
    ("SystemTime::now", &["time.rs"], "the clock is a seam: time::Clock"),
    ("process::exit", &["logger/mod.rs"], "return an Exit"),
    ("process::abort", &[], "return a Fault"),
    ("fastrand", &[], "decisions do not roll dice"),
    (
        ".stand(",
        &["engine/outbox/transition.rs", "engine/queue/transition.rs"],
        "a state changes with its indexes and counts: the transition does it",
    ),
    (concat!("FIX", "ME"), &[], "mend it, or say in plain words what is left"),
];

struct Source {
    /// Below `src/`.
    name: String,
    /// Without tests and comments.
    code: String,
    lines: usize,
    text: String,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files_below(dir: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files_below(&path, found);
        } else if path.extension().is_some_and(|kind| kind == "rs") {
            found.push(path);
        }
    }
}

/// All sources but those that only hold tests.
fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    files_below(&root().join("src"), &mut paths);
    paths.sort();
    let mut sources = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path).unwrap();
        let name = path.strip_prefix(root().join("src")).unwrap().to_str().unwrap().to_owned();
        let of_tests = ["tests", "conformance", "oracle", "support", "mutants", "hostile"];
        if name.split(['/', '.', '_']).any(|part| of_tests.contains(&part)) {
            continue;
        }
        let end = text.find("mod tests {").unwrap_or(text.len());
        let code = text[..end].lines().filter(|line| !line.trim_start().starts_with("//"));
        let code = code.collect::<Vec<_>>().join("\n");
        let lines = text.lines().count();
        sources.push(Source { name, code, lines, text });
    }
    assert!(sources.len() > 100, "{}", sources.len());
    sources
}

/// The module of a source or of a path behind `crate::`.
fn module(name: &str) -> &str {
    let name = name.split('/').next().unwrap();
    name.strip_suffix(".rs").unwrap_or(name)
}

fn layer(module: &str) -> Option<usize> {
    LAYERS.iter().position(|layer| layer.contains(&module))
}

/// The modules that a source uses.
fn uses(code: &str) -> BTreeSet<&str> {
    let behind = code.split("crate::").skip(1);
    behind
        .map(|text| {
            let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            &text[..end.unwrap_or(text.len())]
        })
        .filter(|name| !name.is_empty())
        .collect()
}

#[test]
fn imports_go_downward_only() {
    let mut wrong = Vec::new();
    for source in sources() {
        let own = module(&source.name);
        // The roots, and the command line above all layers.
        if ["lib", "main", "cli"].contains(&own) {
            continue;
        }
        let at = layer(own).unwrap_or_else(|| panic!("{own} has a place in LAYERS and in lib.rs"));
        for used in uses(&source.code) {
            let allowed =
                used == own || layer(used).is_some_and(|used| used < at || (used == 0 && at == 0));
            if !allowed {
                wrong.push(format!("{} uses crate::{used}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_architecture_page_names_every_module() {
    let page = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let words: String = page.lines().filter(|line| line.starts_with("//!")).collect();
    let page = page.replace("#[cfg(test)]\nmod ", "of tests: ");
    let declared = page.lines().filter_map(|line| {
        let name = line.strip_prefix("pub mod ").or(line.strip_prefix("mod "))?;
        name.strip_suffix(';')
    });
    for name in declared {
        assert!(words.contains(&format!("`{name}`")), "the page says nothing of {name}");
        let placed = name == "cli" || layer(name).is_some();
        assert!(placed, "{name} has no layer");
    }
}

#[test]
fn files_are_one_idea_and_say_which() {
    let mut wrong = Vec::new();
    for source in sources() {
        let longer = LONGER.iter().find(|(name, _)| *name == source.name);
        let most = longer.map_or(MOST_LINES, |(_, most)| *most);
        if source.lines > most {
            wrong.push(format!("{} has {} lines, {most} at most", source.name, source.lines));
        }
        if !source.text.starts_with("//!") {
            wrong.push(format!("{} does not begin with what it is", source.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// The functions of a source that are longer than allowed, with their lengths. A function ends where
/// a closing brace stands below its beginning, as the formatter puts it.
fn long_functions(code: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut long = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let text = line.trim_start();
        let words: Vec<&str> = text.split([' ', '(', '<']).collect();
        let Some(word) = words.iter().position(|word| *word == "fn") else { continue };
        let before = ["pub", "super)", "crate)", "const", "async", "in", "unsafe"];
        let is_one =
            words[..word].iter().all(|word| before.contains(word) || word.starts_with("crate::"));
        if !is_one || line.ends_with('}') || line.ends_with(';') {
            continue;
        }
        let end = format!("{}}}", &line[..line.len() - text.len()]);
        let length = lines[at..].iter().position(|line| **line == *end).map_or(0, |end| end + 1);
        if length > MOST_LINES_OF_A_FUNCTION {
            long.push((words[word + 1].to_owned(), length));
        }
    }
    long
}

#[test]
fn functions_are_read_at_a_glance() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (name, length) in long_functions(&source.code) {
            wrong.push(format!("{}: {name} has {length} lines", source.name));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
    let long = format!(
        "impl X {{\n    pub(crate) async fn f() {{\n{}    }}\n}}",
        "        x\n".repeat(90)
    );
    assert_eq!(long_functions(&long), [("f".to_owned(), 92)], "the rule itself");
}

#[test]
fn nothing_forbidden_is_written() {
    let mut wrong = Vec::new();
    for source in sources() {
        for (text, allowed, instead) in FORBIDDEN {
            if source.code.contains(text) && !allowed.contains(&source.name.as_str()) {
                wrong.push(format!("{}: {text}: {instead}", source.name));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Names that many types have: a call of one says nothing about whose it is.
const COMMON: [&str; 11] = [
    "push",
    "len",
    "is_empty",
    "body",
    "key",
    "base",
    "outstanding",
    "next_due",
    "time",
    "record",
    "text",
];

/// The functions that a source defines, and those that it calls.
fn functions(code: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut defined, mut called) = (BTreeSet::new(), BTreeSet::new());
    let (mut before, mut rest) = ("", code);
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_';
    while let Some(start) = rest.find(named) {
        let end = rest[start..].find(|c| !named(c)).map_or(rest.len(), |end| start + end);
        let (name, after) = (&rest[start..end], &rest[end..]);
        if before == "fn" {
            defined.insert(name);
        } else if after.starts_with('(') || after.starts_with("::<") {
            called.insert(name);
        }
        (before, rest) = (name, after);
    }
    (defined, called)
}

/// What is left of a graph when whatever leads nowhere is taken away again and again: its circles,
/// and what leads into them.
fn circles<'a>(mut graph: BTreeMap<&'a str, BTreeSet<&'a str>>) -> Vec<&'a str> {
    loop {
        let ends: Vec<&str> =
            graph.iter().filter(|(_, to)| to.is_empty()).map(|(from, _)| *from).collect();
        if ends.is_empty() {
            return graph.into_keys().collect();
        }
        for end in ends {
            graph.remove(end);
            graph.values_mut().for_each(|to| {
                to.remove(end);
            });
        }
    }
}

/// The path of a source as a module: `kv/sled.rs` is `kv::sled`, `kv/mod.rs` is `kv`.
fn path_of(name: &str) -> String {
    let name = name.strip_suffix(".rs").unwrap_or(name);
    name.strip_suffix("/mod").unwrap_or(name).replace('/', "::")
}

/// What one `use` names, with its braces taken apart.
fn named_by(before: &str, text: &str, found: &mut Vec<String>) {
    let text = text.trim();
    let joined = |name: &str| match (before, name) {
        (before, "self") => before.to_owned(),
        ("", name) => name.to_owned(),
        (before, name) => format!("{before}::{name}"),
    };
    if let Some(inner) = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
        let (mut depth, mut start) = (0, 0);
        for (at, c) in inner.char_indices() {
            match c {
                '{' => depth += 1,
                '}' => depth -= 1,
                ',' if depth == 0 => {
                    named_by(before, &inner[start..at], found);
                    start = at + 1;
                }
                _ => {}
            }
        }
        named_by(before, &inner[start..], found);
    } else if let Some((first, rest)) = text.split_once("::") {
        named_by(&joined(first), rest, found);
    } else if !text.is_empty() {
        found.push(joined(text.split(" as ").next().unwrap()));
    }
}

/// The sources that a source imports from, by their paths.
fn imports<'a>(own: &str, code: &str, all: &BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let mut named = Vec::new();
    for text in code.split("use ").skip(1) {
        if let Some((text, _)) = text.split_once(';') {
            named_by("", text, &mut named);
        }
    }
    let mut found = BTreeSet::new();
    for name in named {
        let mut parts: Vec<&str> = name.split("::").collect();
        let mut base: Vec<&str> = own.split("::").collect();
        match parts[0] {
            "crate" => base.clear(),
            "self" => {}
            "super" => {
                while parts.first() == Some(&"super") {
                    parts.remove(0);
                    base.pop();
                }
                parts.insert(0, "super");
            }
            _ => continue,
        }
        parts.remove(0);
        base.extend(parts);
        // The longest beginning that is a source; the rest is an item of it.
        while !base.is_empty() {
            if let Some(source) = all.get(&*base.join("::")) {
                if *source != own {
                    found.insert(*source);
                }
                break;
            }
            base.pop();
        }
    }
    found
}

#[test]
fn imports_between_files_form_no_circle() {
    let sources = sources();
    let paths: Vec<(String, &Source)> =
        sources.iter().map(|source| (path_of(&source.name), source)).collect();
    let all: BTreeSet<&str> = paths.iter().map(|(path, _)| path.as_str()).collect();
    let graph: BTreeMap<&str, BTreeSet<&str>> =
        paths.iter().map(|(path, it)| (path.as_str(), imports(path, &it.code, &all))).collect();
    assert!(graph["engine::outbox::settle"].contains("engine::outbox::doubt"), "{graph:#?}");
    assert!(graph["admin::table"].contains("admin::route"));
    assert_eq!(circles(graph), [""; 0]);
}

#[test]
fn calls_between_the_files_of_the_engine_form_no_circle() {
    let sources = sources();
    let engine: Vec<&Source> =
        sources.iter().filter(|source| source.name.starts_with("engine/")).collect();
    let mut homes: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for source in &engine {
        for name in functions(&source.code).0 {
            homes.entry(name).or_default().push(&source.name);
        }
    }
    let mut graph: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for source in &engine {
        let to = functions(&source.code).1.into_iter().filter(|name| !COMMON.contains(name));
        let to = to.filter_map(|name| match homes.get(name).map(Vec::as_slice) {
            Some([home]) if *home != source.name => Some(*home),
            _ => None,
        });
        graph.insert(&source.name, to.collect());
    }
    assert!(graph["engine/mod.rs"].contains("engine/outbox/settle.rs"), "{graph:#?}");
    assert!(graph["engine/outbox/settle.rs"].contains("engine/outbox/transition.rs"));
    assert_eq!(circles(graph), [""; 0]);
    let circle = [("a", BTreeSet::from(["b"])), ("b", BTreeSet::from(["a"])), ("c", [].into())];
    assert_eq!(circles(circle.into()), ["a", "b"], "the rule itself");
}

#[test]
fn a_module_uses_another_only_as_its_layer_allows() {
    // The rule itself, tried on what it must find.
    assert!(layer("engine") > layer("model") && layer("admin") == layer("data_dir"));
    let code = "use crate::engine::Engine;\nlet x = crate::time::now();\n";
    assert_eq!(uses(code).into_iter().collect::<Vec<_>>(), ["engine", "time"]);
    assert_eq!((module("kv/sled.rs"), module("boot.rs")), ("kv", "boot"));
}
