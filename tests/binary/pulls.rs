//! Pulls from a business system that is a little like real ones: late commits, wrong notices.

use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::binary::support::audit::{id_of, notice, rows};
use crate::binary::support::daemon::{Daemon, PROGRAM};
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::peer::{Answered, serve};
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, until};

/// A source that answers what a test wants and notes what it was asked.
#[derive(Clone)]
struct Source {
    url: String,
    answer: Arc<Mutex<Json>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Source {
    fn start() -> Self {
        let (answer, asked) = (Arc::new(Mutex::new(json!([]))), Arc::new(Mutex::new(Vec::new())));
        let (own, noted) = (answer.clone(), asked.clone());
        let url = serve(move |asked| {
            noted.lock().unwrap().push(asked.head.lines().next().unwrap().to_owned());
            let body = own.lock().unwrap().to_string();
            Answered { status: 200, kind: "application/json", body }
        }) + "/notices?since={last_run}";
        Self { url, answer, asked }
    }

    fn answers(&self, answer: Json) {
        *self.answer.lock().unwrap() = answer;
    }

    /// The time that the last question asked for.
    fn since(&self) -> String {
        let asked = self.asked.lock().unwrap();
        let line = asked.last().unwrap();
        let since = line.split("since=").nth(1).unwrap().split(' ').next().unwrap();
        since.replace("%3A", ":")
    }
}

/// Runs the schedule and waits for its end.
fn run(http: &Http, daemon: &Daemon) -> Json {
    let begun = http.post(&daemon.at("/v1/schedules/new/run"), &json!({})).good();
    let path = daemon.at(&format!("/v1/runs/{}", begun["run"].as_str().unwrap()));
    until("the run ends", PATIENCE, || {
        let run = http.get(&path).good();
        (run["outcome"] != "running").then_some(run)
    })
}

fn wrong(key: &str) -> Json {
    let mut wrong = notice(0, 0, 1, key);
    wrong["template"] = json!("not_there_yet");
    wrong
}

#[test]
fn a_pulled_notice_is_sent_once_or_kept_and_never_lost() {
    let http = Http::new();
    let sandbox = Sandbox::start(2, 6);
    let source = Source::start();
    let schedule = format!(
        "[[schedules]]\nname = \"new\"\ncron = \"0 0 3 1 1 ?\"\npull = \"{}\"\n",
        source.url
    );
    let home = Home::new("", &format!("{}{schedule}", tenant(&sandbox, 0)));
    let daemon = Daemon::start(&home, &http);

    // The first question asks for what is new since the schedule is there, a little before it.
    let first = run(&http, &daemon);
    assert_eq!((&first["outcome"], &first["counts"]["t0"]["found"]), (&json!("done"), &json!(0)));
    assert!(source.since().as_str() > "2026", "{}", source.since());

    // A person asks for more, or for others only: the next run of the schedule asks as ever.
    let begin = |body: Json| http.post(&daemon.at("/v1/schedules/new/run"), &body);
    let wanted = json!({"tenants": ["t0"], "since": "2026-01-02T00:00:00Z"});
    let run_id = begin(wanted).good()["run"].as_str().unwrap().to_owned();
    let asked = until("the run ends", PATIENCE, || {
        let run = http.get(&daemon.at(&format!("/v1/runs/{run_id}"))).good();
        (run["outcome"] != "running").then_some(run)
    });
    assert_eq!(source.since(), "2026-01-02T00:00:00.000Z");
    assert_eq!(asked["counts"].as_object().unwrap().len(), 1, "{asked}");
    assert!(asked["note"].as_str().unwrap().contains("t0 only"), "{asked}");
    for (body, pointer) in [
        (json!({"tenants": ["t9"]}), "/tenants/0"),
        (json!({"tenants": ["t0", "t0"]}), "/tenants/1"),
        (json!({"since": "2999-01-01T00:00:00Z"}), "/since"),
        (json!({"tenant": "t0"}), "/tenant"),
    ] {
        let refused = begin(body);
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{}", refused.text);
    }
    run(&http, &daemon);
    assert!(source.since().as_str() > "2026-01-03", "{}", source.since());
    // The same by the command line.
    let by_hand = |args: &[&str]| {
        let server = ["--server", daemon.url.as_str(), "--json"];
        let output = Command::new(PROGRAM).args(args).args(server).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let since = "2026-01-05T08:00:00+08:00";
    let (code, told) = by_hand(&["schedule", "run", "new", "--tenant", "t0", "--since", since]);
    assert_eq!(code, Some(0), "{told}");
    until("the source is asked", PATIENCE, || {
        (source.since() == "2026-01-05T00:00:00.000Z").then_some(())
    });
    until("the run ends", PATIENCE, || {
        let runs = http.get(&daemon.at("/v1/runs?limit=1")).good();
        (runs["items"][0]["outcome"] != "running").then_some(())
    });
    assert_eq!(by_hand(&["task", "list", "--type", "x", "--key", "k", "--newest"]).0, Some(0));
    assert_eq!(by_hand(&["notice", "list", "--tenant", "t0", "--key", "k"]).0, Some(0));
    assert_eq!(by_hand(&["log", "--newest"]).0, Some(0));
    assert_eq!(by_hand(&["task", "list", "--key", "k"]).0, Some(2), "a key needs its type");

    // Without a key: what the overlap brings again is known.
    let mut keyless = notice(0, 0, 1, "x");
    keyless.as_object_mut().unwrap().remove("key");
    source.answers(json!([keyless]));
    assert_eq!(run(&http, &daemon)["counts"]["t0"]["submitted"], 1);
    let again = run(&http, &daemon);
    assert_eq!((&again["counts"]["t0"]["known"], &again["outcome"]), (&json!(1), &json!("done")));

    // One of three is wrong: the others go out, and the run says so.
    source.answers(json!([notice(0, 1, 2, "a"), wrong("b"), notice(0, 2, 3, "c")]));
    let partly = run(&http, &daemon);
    assert_eq!(partly["outcome"], "partly", "{partly}");
    let counts = &partly["counts"]["t0"];
    assert_eq!((&counts["submitted"], &counts["refused"]), (&json!(2), &json!(1)));
    home.logged("pull.refused");
    source.answers(json!([]));
    assert_eq!(run(&http, &daemon)["outcome"], "done");

    // It is kept, also over a crash, and can be mended and sent.
    daemon.kill();
    let daemon = Daemon::start(&home, &http);
    let letters = rows(&http, &daemon, "/v1/dead?kind=notice");
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    assert_eq!((&letter["tenant"], &letter["schedule"]), (&json!("t0"), &json!("new")));
    assert!(letter["reason"].as_str().unwrap().contains("not_there_yet"), "{letter}");
    let id = id_of(letter);
    let redrive = daemon.at("/v1/dead/redrive");
    let still = http.post(&redrive, &json!({"notices": [id]}));
    assert_eq!((still.status, still.code().as_str()), (422, "still_refused"), "{}", still.text);
    let mut mended = letter["body"].clone();
    mended["template"] = json!("new_task");
    let done = http.post(&redrive, &json!({"notices": [id], "body": mended})).good();
    assert_eq!(done["count"], 1, "{done}");
    assert_eq!(rows(&http, &daemon, "/v1/dead?kind=notice").len(), 0);
    let titles: Vec<Json> = rows(&http, &daemon, "/v1/notices");
    assert_eq!(titles.len(), 4, "{titles:?}");
}

#[test]
fn a_stream_and_a_late_notice_in_a_pull() {
    let http = Http::new();
    let sandbox = Sandbox::start(2, 6);
    let source = Source::start();
    let schedule = format!(
        "[[schedules]]\nname = \"new\"\ncron = \"0 0 3 1 1 ?\"\npull = \"{}\"\n",
        source.url
    );
    let home = Home::new("", &format!("{}{schedule}", tenant(&sandbox, 0)));
    let daemon = Daemon::start(&home, &http);
    let mut stream = notice(0, 0, 1, "stream");
    stream["audience"] = json!({"stream": true});
    let mut late = notice(0, 1, 2, "late");
    late["send_at"] = json!("2026-01-01T00:00:00Z");
    source.answers(json!([stream, late]));
    let ran = run(&http, &daemon);
    let counts = &ran["counts"]["t0"];
    assert_eq!((&counts["submitted"], &counts["refused"]), (&json!(1), &json!(1)), "{ran}");
    assert_eq!(ran["outcome"], "partly");
    let letter = &rows(&http, &daemon, "/v1/dead?kind=notice")[0];
    assert!(letter["reason"].as_str().unwrap().contains("stream"), "{letter}");
    let forget = daemon.at(&format!("/v1/dead/{}", id_of(letter)));
    assert_eq!(http.delete(&forget).status, 200);
    assert_eq!(http.delete(&forget).status, 404);
}
