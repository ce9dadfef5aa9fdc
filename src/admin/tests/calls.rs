//! Right calls and what they answer.

use super::*;

#[tokio::test]
async fn a_task_goes_from_add_to_ack() {
    let port = start().await;
    let added = port
        .post("/v1/tasks", &json!({"type": 1001, "priority": 1, "payload": {"a": [1, "x"]}}))
        .await;
    assert_eq!(added.status, 200, "{added:?}");
    assert!(added.head.contains("cache-control: no-store"), "{added:?}");
    assert!(added.head.contains("x-content-type-options: nosniff"), "{added:?}");
    let id = added.json()["id"].as_str().unwrap().to_owned();
    let claimed = port.post("/v1/tasks/claim", &json!({"type": "1001", "max": 10})).await.json();
    let task = &claimed["tasks"][0];
    assert_eq!(task["id"], json!(id));
    assert_eq!(task["payload"], json!({"a": [1, "x"]}));
    assert_eq!((&task["attempt"], &task["priority"]), (&json!(1), &json!(1)));
    let claim = json!({"claim": task["claim"]});
    let extended = port.post(&format!("/v1/tasks/{id}/extend"), &claim).await.json();
    assert_eq!(extended["state"], "claimed");
    assert!(extended["until"].is_string(), "{extended}");
    let acked = port.post(&format!("/v1/tasks/{id}/ack"), &claim).await;
    assert_eq!(acked.json(), json!({"id": id, "state": "acked"}));
    assert_eq!(port.get(&format!("/v1/tasks/{id}")).await.json()["state"], "acked");
    port.stop().await;
}

#[tokio::test]
async fn lists_go_from_the_oldest_or_from_the_newest() {
    let port = start().await;
    let batch: Vec<Json> = (0..5).map(|at| json!({"type": "a", "payload": at})).collect();
    port.post("/v1/tasks", &json!(batch)).await;
    let listed = async |order: &str| {
        let (mut ids, mut cursor) = (Vec::new(), String::new());
        loop {
            let page = port.get(&format!("/v1/tasks?limit=2{order}{cursor}")).await.json();
            let items = page["items"].as_array().unwrap().clone();
            ids.extend(items.iter().map(|task| task["id"].as_str().unwrap().to_owned()));
            match page["cursor"].as_str() {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return ids,
            }
        }
    };
    let oldest = listed("").await;
    let mut newest = listed("&order=desc").await;
    newest.reverse();
    assert_eq!((oldest.len(), &oldest), (5, &newest));
    assert_eq!(listed("&order=asc").await, oldest);
    for list in ["tasks", "notices", "log"] {
        assert_eq!(port.get(&format!("/v1/{list}?order=desc")).await.status, 200, "{list}");
        let refused = port.get(&format!("/v1/{list}?order=down")).await;
        assert_eq!(refused.json()["errors"][0]["detail"], "one of asc, desc", "{list}");
    }
    port.stop().await;
}

#[tokio::test]
async fn a_key_finds_what_it_stands_for() {
    let port = start().await;
    for key in ["k1", "k2"] {
        port.post("/v1/tasks", &json!({"type": "a", "payload": key, "key": key})).await;
        let mut one = notice(json!({"openids": ["o1"]}));
        one["key"] = json!(key);
        port.post("/v1/notices", &one).await;
    }
    let found = async |path: &str| {
        let page = port.get(path).await.json();
        page["items"].as_array().unwrap_or_else(|| panic!("{path}: {page}")).clone()
    };
    let task = found("/v1/tasks?type=a&key=k2&payload=true").await;
    assert_eq!((task.len(), &task[0]["payload"]), (1, &json!("k2")));
    assert_eq!(found("/v1/tasks?type=a&key=k2&state=acked").await.len(), 0);
    assert_eq!(found("/v1/tasks?type=b&key=k2").await.len(), 0);
    assert_eq!(found("/v1/notices?tenant=acme&key=k1").await.len(), 1);
    assert_eq!(found("/v1/notices?tenant=acme&key=k3").await.len(), 0);
    for (path, pointer) in [("/v1/tasks?key=k1", "/type"), ("/v1/notices?key=k1", "/tenant")] {
        let refused = port.get(path).await;
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{refused:?}");
    }
    port.stop().await;
}

#[tokio::test]
async fn why_is_asked_for_one_person_and_one_notice() {
    let port = start().await;
    let made = port.post("/v1/notices", &notice(json!({"openids": ["o1"]}))).await.json();
    let id = made["id"].as_str().unwrap();
    let told = port.get(&format!("/v1/why?openid=o1&notice={id}&tenant=acme")).await.json();
    assert!(told["sentence"].as_str().unwrap().contains("due at 2099"), "{told}");
    for (query, pointer) in [
        (format!("notice={id}"), "/openid"),
        ("openid=o1".to_owned(), "/notice"),
        ("openid=o1&notice=x".to_owned(), "/notice"),
        (format!("openid=o1&notice={id}&tenant=beta"), "/tenant"),
        (format!("openid=o1&notice={id}&ref=x"), "/ref"),
    ] {
        let refused = port.get(&format!("/v1/why?{query}")).await;
        assert_eq!(refused.json()["errors"][0]["pointer"], pointer, "{query}: {refused:?}");
    }
    assert_eq!(port.get("/v1/why?openid=o1&notice=7").await.status, 404);
    port.stop().await;
}

#[tokio::test]
async fn many_tasks_are_added_and_settled_each_with_its_own_verdict() {
    let port = start().await;
    let batch = json!([
        {"type": "a", "payload": 1},
        {"type": "a", "payload": 2, "priority": 300},
        {"type": "bad name", "payload": 3},
        {"type": "a", "payload": null},
    ]);
    let added = port.post("/v1/tasks", &batch).await.json();
    let tasks = added["tasks"].as_array().unwrap();
    assert!(tasks[0]["id"].is_string() && tasks[3]["id"].is_string(), "{added}");
    assert_eq!(tasks[1]["error"]["errors"][0]["pointer"], "/1/priority");
    assert_eq!(tasks[2]["error"]["errors"][0]["pointer"], "/2/type");
    assert_eq!(tasks[2]["error"]["code"], "field_invalid");
    let none = port.post("/v1/tasks?atomic=true", &batch).await;
    assert_eq!(
        (none.status, none.json()["errors"][0]["pointer"].clone()),
        (422, json!("/1/priority"))
    );
    let lines = "{\"type\":\"b\",\"payload\":1}\n\n{\"type\":\"b\",\"payload\":2}\n";
    let headers = "Content-Type: application/x-ndjson\r\n";
    let added = port.send("POST", "/v1/tasks", headers, lines).await.json();
    assert_eq!(added["tasks"].as_array().unwrap().len(), 2);

    let claimed = port.post("/v1/tasks/claim", &json!({"type": "a", "max": 5})).await.json();
    let of = |at: usize, name: &str| claimed["tasks"][at][name].clone();
    let settled = port
        .post(
            "/v1/tasks/settle",
            &json!({"items": [
                {"id": of(0, "id"), "claim": of(0, "claim"), "nack": {"delay_ms": 5, "reason": "r"}},
                {"id": of(1, "id"), "claim": "wrong", "ack": true},
                {"id": of(1, "id"), "claim": of(1, "claim"), "ack": true, "reject": {}},
                {"id": "x", "claim": "c", "ack": true},
                {"id": of(1, "id"), "claim": of(1, "claim"), "reject": {"reason": "no"}},
            ]}),
        )
        .await
        .json();
    assert_eq!(settled["items"][0]["state"], "pending", "{settled}");
    assert!(settled["items"][0]["due"].is_string());
    assert_eq!(settled["items"][1]["error"]["code"], "claim_unknown");
    assert_eq!(settled["items"][1]["error"]["errors"][0]["pointer"], "/items/1/claim");
    assert_eq!(settled["items"][2]["error"]["code"], "invalid");
    assert_eq!(settled["items"][3]["error"]["errors"][0]["pointer"], "/items/3/id");
    assert_eq!(settled["items"][4]["state"], "rejected");
    let dead = port.get("/v1/dead?type=a").await.json();
    assert_eq!(dead["items"].as_array().unwrap().len(), 1);
    let again = port.post("/v1/dead/redrive", &json!({"type": "a"})).await.json();
    assert_eq!(again["count"], 1);
    port.stop().await;
}

#[tokio::test]
async fn a_key_makes_a_submission_repeatable() {
    let port = start().await;
    let task = json!({"type": "a", "payload": {"n": 1}, "key": "k1"});
    let first = port.post("/v1/tasks", &task).await.json();
    let again = port.post("/v1/tasks", &task).await.json();
    assert_eq!(first["id"], again["id"]);
    assert_eq!((&first["created"], &again["created"]), (&json!(true), &json!(false)));
    let headers = "Content-Type: application/json\r\nIdempotency-Key: \"k1\"\r\n";
    let other = r#"{"payload":{"n":1},"type":"a"}"#;
    let by_header = port.send("POST", "/v1/tasks", headers, other).await.json();
    assert_eq!(by_header["id"], first["id"], "order of fields and place of key do not matter");
    let reused = port.post("/v1/tasks", &json!({"type": "a", "payload": 2, "key": "k1"})).await;
    assert_eq!((reused.status, reused.code()), (422, "key_reused".into()));

    let headers = "Content-Type: application/json\r\nIdempotency-Key: job-1\r\n";
    let body = notice(json!({"openids": ["oA", {"openid": "oB", "data": {"thing1": "x"}}]}));
    let first = port.send("POST", "/v1/notices", headers, &body.to_string()).await;
    let again = port.send("POST", "/v1/notices", headers, &body.to_string()).await;
    assert_eq!((first.status, again.status), (202, 200));
    assert_eq!(first.json()["id"], again.json()["id"]);
    assert_eq!(first.json()["state"], "scheduled");
    port.stop().await;
}

#[tokio::test]
async fn a_waiting_claim_gets_work_that_comes_later() {
    let port = start().await;
    let claim = json!({"type": "w", "wait_ms": 30_000});
    let (claimed, added) = tokio::join!(port.post("/v1/tasks/claim", &claim), async {
        port.post("/v1/tasks", &json!({"type": "w", "payload": 1})).await
    });
    assert_eq!(claimed.json()["tasks"][0]["id"], added.json()["id"]);
    port.stop().await;
}

#[tokio::test]
async fn tasks_are_moved_and_cancelled_and_queues_paused() {
    let port = start().await;
    let added = port.post("/v1/tasks", &json!({"type": "m", "payload": 1})).await.json();
    let path = format!("/v1/tasks/{}", added["id"].as_str().unwrap());
    let json = "Content-Type: application/json\r\n";
    let moved = port.send("PATCH", &path, json, r#"{"priority":9,"due":"2099-01-01T00:00:00Z"}"#);
    let moved = moved.await.json();
    assert_eq!(
        (&moved["priority"], &moved["due"]),
        (&json!(9), &json!("2099-01-01T00:00:00.000Z"))
    );
    let cancelled = port.send("DELETE", &path, "", "").await.json();
    assert_eq!(
        (&cancelled["state"], &cancelled["was_claimed"]),
        (&json!("cancelled"), &json!(false))
    );
    let paused = port.send("POST", "/v1/queues/m/pause", "", "").await;
    assert_eq!(paused.json(), json!({"type": "m", "paused": true}));
    assert_eq!(port.get("/v1/queues").await.json()["items"][0]["paused"], true);
    port.stop().await;
}

#[tokio::test]
async fn a_notice_is_paused_resumed_shown_and_cancelled() {
    let port = start().await;
    let made = port.post("/v1/notices", &notice(json!({"openids": ["oA", "oB"]}))).await.json();
    let path = format!("/v1/notices/{}", made["id"].as_str().unwrap());
    for (act, state) in [("pause", "paused"), ("resume", "scheduled"), ("cancel", "cancelled")] {
        let acted = port.send("POST", &format!("{path}/{act}"), "", "").await;
        assert_eq!(acted.json()["state"], state, "{act}");
    }
    let shown = port.get(&path).await.json();
    assert_eq!((&shown["total"], &shown["state"]), (&json!(2), &json!("cancelled")));
    let rows = port.get(&format!("{path}/deliveries?openid=oB")).await.json();
    assert_eq!(rows["items"][0]["openid"], "oB");
    let resend = port.post(&format!("{path}/resend"), &json!({"states": ["pending"]})).await;
    assert_eq!((resend.status, resend.code()), (422, "invalid".into()));
    let test = json!({"openid": "oT", "template": "new_task", "data": {"thing1": "x"}});
    let tested = port.post("/v1/tenants/acme/test", &test).await;
    assert_eq!(tested.status, 202, "{tested:?}");
    let listed = port.get("/v1/notices?tenant=acme&limit=1").await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 1);
    assert!(listed["cursor"].is_string());
    port.stop().await;
}

#[tokio::test]
async fn the_old_paths_speak_the_old_shapes() {
    let port = start().await;
    let task = json!({"taskId": null, "taskType": 1001, "priority": 1,
        "executeTime": 1_700_000_000_000_u64, "parameters": "AQID"});
    let added = port.post("/api/v1/task/add", &task).await;
    let id = added.json()["data"].as_u64().unwrap();
    assert_eq!(
        added.json(),
        json!({"host": null, "code": 200, "errorMessage": "操作成功", "data": id})
    );
    let polled = port.get("/api/v1/task/poll/1001/1").await.json();
    assert_eq!(
        polled["data"],
        json!({"taskId": id, "taskType": 1001, "priority": 1,
            "executeTime": 1_700_000_000_000_u64, "parameters": "AQID"})
    );
    assert_eq!(port.get("/api/v1/task/1001/1").await.json()["data"], Json::Null);
    let done = port.send("DELETE", &format!("/api/v1/task/delete/{id}/1"), "", "").await.json();
    assert_eq!(done["code"], 200);
    let second = port.post("/api/v1/task/add", &task).await.json()["data"].as_u64().unwrap();
    let cancelled = port.get(&format!("/api/v1/task/{second}")).await.json();
    assert_eq!((&cancelled["code"], &cancelled["data"]), (&json!(200), &json!(true)));
    for (method, path, code) in [
        ("GET", "/api/v1/task/cancel/12345".to_owned(), 1002),
        ("GET", "/api/v1/task/cancel/x".to_owned(), 501),
        ("GET", "/api/v1/task/poll/1001/256".to_owned(), 501),
        ("DELETE", format!("/api/v1/task/delete/{second}/3"), 501),
        ("DELETE", "/api/v1/task/delete/12345/1".to_owned(), 1002),
    ] {
        let got = port.send(method, &path, "", "").await;
        assert_eq!((got.status, &got.json()["code"]), (200, &json!(code)), "{path}");
    }
    for (field, value) in
        [("priority", json!(256)), ("parameters", json!("?")), ("executeTime", json!("now"))]
    {
        let mut task = task.clone();
        task[field] = value;
        let got = port.post("/api/v1/task/add", &task).await.json();
        assert_eq!(got["code"], 501, "{field}");
    }
    port.stop().await;
}

#[tokio::test]
async fn the_rest_of_the_looks_answers() {
    let port = start().await;
    for path in
        ["/v1/tasks", "/v1/schedules", "/v1/runs", "/v1/tenants", "/v1/quarantine", "/v1/log"]
    {
        let got = port.get(path).await;
        assert!(got.status == 200 && got.json()["items"].is_array(), "{path}: {got:?}");
    }
    assert_eq!(port.get("/healthz").await.json(), json!({"status": "ok"}));
    let ready = port.get("/readyz").await;
    assert_eq!((ready.status, &ready.json()["role"]), (200, &json!("leader")));
    let metrics = port.get("/metrics").await;
    for line in [
        "duebox_ready 1.0",
        "duebox_role{role=\"leader\"} 1.0",
        "duebox_mode{mode=\"working\"} 1.0",
        "duebox_http_requests_total{status=\"2xx\"} 8.0",
        "duebox_requests_today{tenant=\"acme\"} 0.0",
        "# TYPE duebox_http_requests_total counter",
    ] {
        assert!(metrics.body.contains(line), "{line} is not in {}", metrics.body);
    }
    let backup = port.send("POST", "/v1/backup", "", "").await;
    assert_eq!(backup.json()["image"], "image-7");
    let released = port.send("POST", "/v1/release", "", "").await;
    assert_eq!((released.status, released.code()), (409, "wrong_state".into()));
    let page = port.get("/").await;
    assert!(page.head.contains("content-security-policy: default-src 'none'"), "{page:?}");
    assert!(page.body.contains("<title>duebox</title>") && !page.body.contains("http"), "{page:?}");
    assert_eq!(port.get("/openapi.json").await.json()["openapi"], "3.1.0");
    let head = port.send("HEAD", "/v1/tenants", "", "").await;
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    port.stop().await;
}
