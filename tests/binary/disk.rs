//! A disk that is nearly full.

use serde_json::json;

use crate::binary::support::audit::id_of;
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{BASE, Home, TABLES};
use crate::binary::support::http::Http;
use crate::binary::support::{PATIENCE, until};

/// The tables with a demand that no disk meets.
fn never_enough() -> String {
    format!("{BASE}{TABLES}").replace("min_free_disk = \"0MiB\"", "min_free_disk = \"1024GiB\"")
}

#[test]
fn low_disk_refuses_new_work_and_finishes_the_old() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let task = json!({ "type": "1001", "payload": null });
    let old = id_of(&http.post(&daemon.at("/v1/tasks"), &task).good());
    daemon.kill();

    home.write("duebox.toml", &never_enough());
    let daemon = Daemon::start(&home, &http);
    until("the metrics show it", PATIENCE, || {
        (daemon.metric(&http, "duebox_storage_low") == Some(1.0)).then_some(())
    });
    let refused = http.post(&daemon.at("/v1/tasks"), &task);
    assert_eq!((refused.status, refused.code().as_str()), (507, "storage_low"));
    let claim = json!({ "type": "1001" });
    let claimed = http.post(&daemon.at("/v1/tasks/claim"), &claim).good();
    let claimed = &claimed["tasks"][0];
    assert_eq!(id_of(claimed), old);
    let ack = json!({ "claim": claimed["claim"] });
    assert_eq!(http.post(&daemon.at(&format!("/v1/tasks/{old}/ack")), &ack).status, 200);
}
