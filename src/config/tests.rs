#![allow(clippy::unwrap_used)]

use std::os::unix::fs::PermissionsExt;

use tempfile::TempDir;

use super::*;
use crate::model::keyword::Overflow;
use crate::model::retry::Backoff;
use crate::model::rules::{Action, Deliver};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS};

/// A text that no message may ever show.
const CANARY: &str = "canary-7f3a";

/// A directory with the files that the cases below refer to.
fn home() -> TempDir {
    let home = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("admin.token", "the-token\n"),
        ("acme.secret", "the-secret\r\n"),
        ("id.secret", CANARY),
        ("key.secret", CANARY),
        ("empty", "\n"),
        ("two-lines", "canary-7f3a\nmore"),
        ("words.txt", "x"),
    ] {
        write(&home.path().join(name), text, 0o600);
    }
    home
}

fn write(path: &Path, text: &str, mode: u32) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn load_in(home: &TempDir, text: &str) -> Result<Config, ConfigError> {
    let path = home.path().join("duebox.toml");
    write(&path, text, 0o600);
    Config::load_with(&path, None)
}

fn load(text: &str) -> Result<Config, ConfigError> {
    load_in(&home(), text)
}

/// The sample of the manual, whole.
const SAMPLE: &str = r#"
data_dir = "/var/lib/duebox"

[admin]
listen = "127.0.0.1:7280"
token_file = "admin.token"

[tenants.acme]
appid = "wx0000000000000001"
secret_file = "acme.secret"
base_url = "https://api.weixin.qq.com"
concurrency = 100
rate = 100
callback_token = "token"
encoding_aes_key = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"
retry = { policy = "exponential", first = "1s", max = "10m", max_attempts = 7 }

[tenants.acme.templates.new_task]
id = "TEMPLATE_ID"
overflow = "truncate"
fields = { thing1 = "reject" }

[[schedules]]
name = "new-tasks"
cron = "0 0/5 * * * ?"
timezone = "Asia/Shanghai"
pull = "http://127.0.0.1:8080/notices?tenant={tenant}&since={last_run}"

[[schedules]]
name = "nightly"
cron = "0 0 3 * * ?"
task = { type = "1001", priority = 2, payload = { report = "day", since = 2026-11-23 } }

[queues.1001]
retry = { policy = "fixed", delay = "5m", max_attempts = 20 }
claim_ttl = "10m"
deliver = { webhook = "http://127.0.0.1:9000/hook" }

[queues.articles]
deliver = { worker = "article-review", concurrency = 2 }

[review]
words = ["words.txt"]
moderation = { provider = "tencent", endpoint = "http://127.0.0.1:9001/", region = "ap-guangzhou", secret_id_file = "id.secret", secret_key_file = "key.secret" }
articles = "http://127.0.0.1:8081/articles/{id}"
publish = "http://127.0.0.1:8082/api/v1/article/save"

[retention]
log = "90d"
"#;

fn secret_of(tenant: &Tenant) -> &str {
    match &tenant.token {
        TokenFrom::Provider(secret) => secret.expose(),
        TokenFrom::Service(_) => "",
    }
}

#[test]
fn tokens_may_come_from_a_service_in_place_of_appid_and_secret() {
    let home = home();
    write(&home.path().join("headers"), "X-Api-Key: canary-7f3a\n", 0o600);
    let with = |lines: &str| load_in(&home, &format!("data_dir = '/d'\n[tenants.a]\n{lines}"));
    let read =
        with("token = { url = 'http://127.0.0.1:1/t?k=canary-7f3a', headers_file = 'headers' }");
    let config = read.unwrap();
    assert!(config.warnings.is_empty(), "{:?}", config.warnings);
    assert!(!format!("{config:?}").contains(CANARY));
    let TokenFrom::Service(service) = &config.tenants["a"].token else { panic!() };
    assert!(service.url.expose().ends_with("/t?k=canary-7f3a"));
    assert_eq!(service.carried.headers.len(), 1);
    let key = "A".repeat(43);
    let encrypted = format!(
        "token = {{ url = 'http://127.0.0.1:1/t' }}\ncallback_token = 't'\nencoding_aes_key = '{key}'"
    );
    for (lines, told) in [
        ("token = { url = 'http://127.0.0.1:1/t' }\nsecret = 's'", "tenants.a.token: is for"),
        ("token = {}", "tenants.a.token.url: is missing"),
        ("token = { url = 'canary-7f3a' }", "tenants.a.token.url: "),
        ("token = { uri = 'x' }", "tenants.a.token.uri"),
        ("token = 'canary-7f3a'", "tenants.a.token: must be a table"),
        ("appid = 'wx1'", "tenants.a.secret: is missing"),
        (&encrypted, "tenants.a.encoding_aes_key: needs the appid"),
    ] {
        let refused = with(lines).unwrap_err().to_string();
        assert!(refused.contains(told) && !refused.contains(CANARY), "{refused}");
    }
    let open = with("token = { url = 'http://tokens.example/t' }").unwrap().warnings;
    assert!(open[0].contains("unencrypted"), "{open:?}");
}

#[test]
fn who_is_asked_before_sending_is_an_address_or_a_table_with_one() {
    let home = home();
    write(&home.path().join("headers"), "X-Api-Key: canary-7f3a\n", 0o600);
    let with = |lines: &str| {
        let account = "[tenants.a]\nappid = 'wx1'\nsecret = 's'";
        load_in(&home, &format!("data_dir = '/d'\n{account}\n{lines}"))
    };
    for (lines, headers) in [
        ("check = 'http://127.0.0.1:1/bound?k=canary-7f3a'", 0),
        ("check = { url = 'http://127.0.0.1:1/bound', headers_file = 'headers' }", 1),
    ] {
        let config = with(lines).unwrap();
        assert!(!format!("{config:?}").contains(CANARY));
        assert_eq!(config.tenants["a"].check.as_ref().unwrap().carried.headers.len(), headers);
    }
    for (lines, told) in [
        ("check = 'canary-7f3a'", "tenants.a.check: "),
        ("check = ''", "tenants.a.check: "),
        ("check = 1", "tenants.a.check: must be a text"),
        ("check = {}", "tenants.a.check.url: is missing"),
    ] {
        let refused = with(lines).unwrap_err().to_string();
        assert!(refused.contains(told) && !refused.contains(CANARY), "{refused}");
    }
}

#[test]
fn the_sample_loads_and_every_key_counts() {
    let config = load(SAMPLE).unwrap();
    assert_eq!(config.warnings, Vec::<String>::new());
    assert_eq!(config.data_dir, Path::new("/var/lib/duebox"));
    assert_eq!(config.admin.token.unwrap().expose(), "the-token");
    let acme = &config.tenants["acme"];
    assert_eq!((secret_of(acme), acme.appid.as_str()), ("the-secret", "wx0000000000000001"));
    assert_eq!(acme.callback.as_ref().unwrap().token.expose(), "token");

    let rule = &config.rules.tenants["acme"];
    assert_eq!((rule.rate, rule.retry.max_attempts), (100, 7));
    let template = &rule.templates["new_task"];
    assert_eq!(template.overflow_of("thing1"), Overflow::Reject);
    assert_eq!(template.overflow_of("time2"), Overflow::Truncate);

    let pull = Action::Pull { tenants: vec!["acme".to_owned()], overlap_ms: 300_000, since: None };
    assert_eq!(config.rules.schedules["new-tasks"].action, pull);
    assert!(config.pulls["new-tasks"].url.contains("{last_run}"));
    let payload = r#"{"report":"day","since":"2026-11-23"}"#.to_owned();
    let task = Action::Task { kind: "1001".to_owned(), priority: 2, payload };
    assert_eq!(config.rules.schedules["nightly"].action, task);

    let queue = &config.rules.queues["1001"];
    assert_eq!(queue.retry.backoff, Backoff::Fixed { delay_ms: 5 * MINUTE_MS });
    assert!(matches!(&queue.deliver, Deliver::Push(push) if push.timeout_ms == 15_000));
    assert_eq!(config.webhooks["1001"].url, "http://127.0.0.1:9000/hook");
    assert_eq!(config.article_types, ["articles"]);
    let review = config.review.unwrap();
    assert!(review.words[0].is_absolute());
    assert!(matches!(review.moderation, Moderation::Tencent(t) if t.secret_id.expose() == CANARY));
    assert_eq!(config.rules.retention.log_ms, 90 * DAY_MS);
}

#[test]
fn one_key_is_enough() {
    let config = load("data_dir = 'data'").unwrap();
    assert!(config.data_dir.is_absolute() && config.data_dir.ends_with("data"));
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:7280");
    assert_eq!(config.storage, Storage::default());
    assert_eq!(config.storage.image_every_ms, HOUR_MS);
}

/// A tenant that is right, as a start for wrong ones.
const TENANT: &str = "data_dir = '/d'\n[tenants.acme]\nappid = 'wx1'\nsecret = 's'\n";

#[test]
fn each_wrong_configuration_names_the_key_and_the_fix() {
    for (start, text, wanted) in [
        ("", "", &["data_dir: is missing", "/var/lib/duebox"][..]),
        ("", "data-dir = '/d'", &["data-dir: no such key; did you mean data_dir?"]),
        ("", "data_dir = 7", &["data_dir: must be a text in quotes, found 7"]),
        ("", "data_dir = ", &["line 1", "not TOML"]),
        ("", "data_dir = '/d'\ndrain = 20", &["drain: must be a duration", "found 20"]),
        ("", "data_dir = '/d'\nzebra = 1", &["zebra: no such key; known here: admin"]),
        ("", "data_dir = '/d'\n[storage]\ncache = '1KiB'", &["storage.cache", "8MiB", "\"1KiB\""]),
        ("", "data_dir = '/d'\n[storage]\ncache = '64MB'", &["KiB, MiB, GiB", "\"64MB\""]),
        ("", "data_dir = '/d'\n[admin]\nlisten = 'localhost:1'", &["admin.listen: must be an IP"]),
        ("", "data_dir = '/d'\n[admin]\nlisten = '0.0.0.0:1'", &["admin.listen", "token_file"]),
        ("", "data_dir = '/d'\n[admin]\ntoken_file = 'none'", &["admin.token_file", "/none: "]),
        ("", "data_dir = '/d'\n[admin]\ntoken_file = 'empty'", &["admin.token_file: ", "is empty"]),
        ("", "data_dir = '/d'\n[admin]\ntoken_file = 'two-lines'", &["more than one line"]),
        ("", "data_dir = '/d'\n[admin]\ntoken_credential = 'x'", &["LoadCredential=x"]),
        ("", "data_dir = '/d'\n[callback]", &["callback.listen: is missing"]),
        (
            "",
            "data_dir = '/d'\n[tenants.'a b']\nappid = 'x'\nsecret = 's'",
            &["tenants.a b: a name"],
        ),
        ("", "data_dir = '/d'\n[tenants.a]\nappid = 'wx1'", &["tenants.a.secret: is missing"]),
        ("", "data_dir = '/d'\n[tenants]\na = 'x'", &["tenants.a: must be a table, found string"]),
        (TENANT, "secrt_file = 'x'", &["tenants.acme.secrt_file", "mean secret_file?"]),
        (TENANT, "secret_file = 'acme.secret'", &["tenants.acme.secret_file: secret is given as"]),
        (TENANT, "rate = -1", &["tenants.acme.rate", "from 0 to 10000, found -1"]),
        (TENANT, "concurrency = 0", &["tenants.acme.concurrency", "from 1 to 1000, found 0"]),
        (TENANT, "base_url = 'ftp://x'", &["tenants.acme.base_url: must be an http"]),
        (TENANT, "encoding_aes_key = 'short'", &["encoding_aes_key: must be the 43"]),
        (
            TENANT,
            "retry = { policy = 'linear' }",
            &["retry.policy", "\"exponential\" or \"fixed\""],
        ),
        (TENANT, "retry = { delay = '1s' }", &["retry.delay: goes with policy = \"fixed\""]),
        (TENANT, "retry = { first = '1h', max = '1m' }", &["retry.max: is shorter than first"]),
        (TENANT, "templates.t = { overflow = 'reject' }", &["acme.templates.t.id: is missing"]),
        (TENANT, "templates.t = { id = 'T', overflow = 'cut' }", &["\"reject\" or \"truncate\""]),
        (TENANT, "templates.t = { id = 'T', fields.thing1 = 1 }", &["templates.t.fields.thing1"]),
        (TENANT, "[[schedules]]\ncron = '0 0/5 * * * ?'", &["schedules.1.name: is missing"]),
        (
            TENANT,
            "[[schedules]]\nname = 's'\ncron = '0 0/5 * * * ?'",
            &["schedules.s: does nothing"],
        ),
        (
            TENANT,
            "[[schedules]]\nname = 's'\ncron = 'often'\ntask.type = 't'",
            &["schedules.s.cron: \"often\""],
        ),
        (
            TENANT,
            "[schedules]\nname = 's'",
            &["schedules: must be repeated tables", "[[schedules]]"],
        ),
        (
            TENANT,
            "[[schedules]]\nname = 's'\ncron = '0 0/5 * * * ?'\npull = 'http://x/{tenat}'",
            &["schedules.s.pull", "did you mean tenant?"],
        ),
        (
            TENANT,
            "[[schedules]]\nname = 's'\ncron = '0 0/5 * * * ?'\npull = 'http://x/'\ntenants = ['acne']",
            &["schedules.s.tenants: there is no tenant \"acne\"; did you mean acme?"],
        ),
        (
            TENANT,
            "[[schedules]]\nname = 's'\ncron = '0 0 3 * * ?'\ntask = { type = 't', payload = nan }",
            &["schedules.s.task.payload: holds a number"],
        ),
        (TENANT, "[queues.q]\nclaim_ttl = '2d'", &["queues.q.claim_ttl", "\"1s\" to \"1d\""]),
        (
            TENANT,
            "[queues.q]\nclaim_ttl = '5s'\ndeliver.webhook = 'http://x'",
            &["longer than deliver"],
        ),
        (TENANT, "[queues.q]\ndeliver = {}", &["queues.q.deliver: needs webhook"]),
        (
            TENANT,
            "[queues.q]\ndeliver.webhook = 'x.y/z'",
            &["queues.q.deliver.webhook: must be an http"],
        ),
        (TENANT, "[queues.q]\ndeliver.worker = 'articles'", &["must be \"article-review\""]),
        (TENANT, "[queues.q]\ndeliver.worker = 'article-review'", &["deliver.worker", "[review]"]),
        (
            TENANT,
            "[review]\narticles = 'http://x/'",
            &[
                "review.moderation: is missing",
                "review.articles: must hold {id}",
                "review.publish: is missing",
            ],
        ),
        (
            TENANT,
            "[review]\nwords = ['none.txt']",
            &["review.words: there is no file", "/none.txt"],
        ),
        (TENANT, "[retention]\nlog = '90d'\nnotices = '1d'", &["retention.notices: must not be"]),
        (TENANT, "[retention]\nlogs = '90d'", &["retention.logs: no such key; did you mean log?"]),
    ] {
        let told = load(&format!("{start}{text}")).expect_err(text).to_string();
        for part in wanted {
            assert!(told.contains(part), "{text}\nwanted: {part}\ngot: {told}");
        }
    }
}

#[test]
fn all_problems_are_told_at_once_and_nothing_else() {
    let text = "data_dri = '/d'\n[admin]\nlisten = 'x'\n[tenants.acme]\nrate = 'fast'\nappid = 'wx1'\n\
                secret_file = 'acme.secret'";
    let problems = load(text).unwrap_err().problems;
    let keys: Vec<&str> = problems.iter().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(keys, ["data_dir", "admin.listen", "tenants.acme.rate", "data_dri"]);
}

#[test]
fn no_message_shows_a_secret() {
    for text in [
        "data_dir = '/d'\n[tenants.a]\nappid = 'x'\nsecret = 'canary-7f3a\\",
        "data_dir = '/d'\n[tenants.a]\nappid = 'x'\nsecret = \"canary-7f3a\\n.\"",
        "data_dir = '/d'\n[tenants.a]\nappid = 'x'\nsecret = ['canary-7f3a']",
        "data_dir = '/d'\n[tenants.a]\nappid = 'x'\nsecrets = 'canary-7f3a'",
        "data_dir = '/d'\n[tenants.a]\nappid = 'x'\nsecret = 's'\nencoding_aes_key = 'canary-7f3a'",
        "data_dir = '/d'\n[admin]\ntoken_file = 'two-lines'",
        "data_dir = '/d'\nadmin = 'canary-7f3a'",
        "data_dir = '/d'\n[queues.q.deliver]\nwebhook = 'canary-7f3a'",
    ] {
        let told = load(text).expect_err(text);
        assert!(!format!("{told} {told:?}").contains(CANARY), "{told}");
    }
    let config = load(SAMPLE).unwrap();
    assert!(!format!("{config:?}").contains(CANARY));
}

#[test]
fn a_bare_name_is_a_credential_first_and_a_file_beside_the_configuration_else() {
    let home = home();
    let credentials = tempfile::tempdir().unwrap();
    write(&credentials.path().join("acme.secret"), "from systemd\n", 0o400);
    let path = home.path().join("duebox.toml");
    let secret = |line: &str| {
        let text = format!("data_dir = '/d'\n[tenants.a]\nappid = 'x'\n{line}\n");
        write(&path, &text, 0o600);
        let config = Config::load_with(&path, Some(credentials.path())).unwrap();
        secret_of(&config.tenants["a"]).to_owned()
    };
    assert_eq!(secret("secret_file = 'acme.secret'"), "from systemd");
    assert_eq!(secret("secret_credential = 'acme.secret'"), "from systemd");
    assert_eq!(secret("secret_file = 'admin.token'"), "the-token");
}

#[test]
fn secrets_that_everybody_can_read_are_warned_of() {
    let home = home();
    write(&home.path().join("acme.secret"), "s", 0o644);
    let config = load_in(&home, SAMPLE).unwrap();
    assert_eq!(config.warnings.len(), 1, "{:?}", config.warnings);
    assert!(config.warnings[0].starts_with("tenants.acme.secret_file: "));

    let path = home.path().join("open.toml");
    write(&path, TENANT, 0o644);
    let warnings = Config::load_with(&path, None).unwrap().warnings;
    assert!(warnings[0].contains("holds a secret"), "{warnings:?}");
}

#[test]
fn long_log_retention_keeps_notices_as_long() {
    let config = load("data_dir = '/d'\n[retention]\nlog = '400d'").unwrap();
    assert_eq!(config.rules.retention.notices_ms, 400 * DAY_MS);
}

#[test]
fn what_stands_at_the_ends_of_a_secret_by_mistake_is_left_out_and_told() {
    let home = home();
    let text = "data_dir = '/d'\n[tenants.a]\nappid = 'x'\nsecret_file = 'acme.secret'";
    for (written, read, told) in [
        ("canary-7f3a\n", CANARY, ""),
        ("canary-7f3a \n", CANARY, "are left out"),
        (" canary-7f3a", CANARY, "are left out"),
        ("\u{feff}canary-7f3a\r\n", CANARY, "byte order mark"),
        ("\"canary-7f3a\"\n", "\"canary-7f3a\"", "quotes"),
    ] {
        write(&home.path().join("acme.secret"), written, 0o600);
        let config = load_in(&home, text).unwrap();
        assert_eq!(secret_of(&config.tenants["a"]), read, "{written:?}");
        let warnings = config.warnings.join("\n");
        assert_eq!(warnings.is_empty(), told.is_empty(), "{warnings}");
        assert!(warnings.contains(told) && !warnings.contains(CANARY), "{warnings}");
    }
    write(&home.path().join("acme.secret"), CANARY, 0o620);
    let warnings = load_in(&home, text).unwrap().warnings;
    assert!(warnings[0].contains("changed by others"), "{warnings:?}");
}

#[test]
fn a_token_that_can_be_guessed_is_no_token_for_other_machines() {
    let home = home();
    let text = "data_dir = '/d'\n[admin]\nlisten = '0.0.0.0:7280'\ntoken_file = 'admin.token'";
    let refused = load_in(&home, text).unwrap_err().to_string();
    assert!(
        refused.starts_with("admin.token_file: ") && refused.contains("at least 16"),
        "{refused}"
    );
    write(&home.path().join("admin.token"), "0123456789abcdef\n", 0o600);
    let config = load_in(&home, text).unwrap();
    assert_eq!(config.admin.token_path, Some(home.path().join("admin.token")));
    assert_eq!(read_token(&home.path().join("admin.token")).unwrap(), "0123456789abcdef");
    assert!(read_token(&home.path().join("two-lines")).is_err());
}

#[test]
fn the_old_paths_get_a_port_of_their_own_for_named_networks() {
    let with = |lines: &str| load(&format!("data_dir = '/d'\n[legacy]\n{lines}"));
    let legacy = with("listen = '0.0.0.0:51701'\nallow = ['10.1.0.0/16', '::1', '10.2.3.4']");
    let allow: Vec<String> =
        legacy.unwrap().legacy.unwrap().allow.iter().map(ToString::to_string).collect();
    assert_eq!(allow, ["10.1.0.0/16", "::1/128", "10.2.3.4/32"]);
    assert!(with("listen = '127.0.0.1:51701'").is_ok());
    for (lines, told) in [
        ("listen = '0.0.0.0:51701'", "legacy.allow: is missing"),
        ("allow = ['10.1.0.0/16']", "legacy.listen: is missing"),
        ("listen = '0.0.0.0:1'\nallow = ['everybody']", "legacy.allow: must be networks"),
        ("listen = '0.0.0.0:1'\nallow = []\nalow = 1", "legacy.alow"),
    ] {
        let refused = with(lines).unwrap_err().to_string();
        assert!(refused.contains(told), "{refused}");
    }
}

#[test]
fn a_pull_that_comes_unencrypted_from_elsewhere_is_warned_of() {
    let home = home();
    for (url, warns) in [
        ("http://shop.example/new?since={last_run}", true),
        ("https://shop.example/new?since={last_run}", false),
        ("http://127.0.0.1:8080/new?since={last_run}", false),
    ] {
        let text = format!(
            "data_dir = 'x'\n[tenants.a]\nappid = 'w'\nsecret = 's'\n\
             [[schedules]]\nname = 'new'\ncron = '*/5 * * * *'\npull = '{url}'\n"
        );
        let warnings = load_in(&home, &text).unwrap().warnings;
        assert_eq!(warnings.iter().any(|line| line.contains("unencrypted")), warns, "{warnings:?}");
    }
}

#[test]
fn a_hostile_configuration_is_read_or_refused_in_words() {
    use crate::mutants::Mutants;
    let home = home();
    let example = include_str!("../../systemd/duebox.toml");
    let switched_on: String = example
        .lines()
        .map(|line| match line.strip_prefix('#') {
            Some(rest) if !rest.starts_with(' ') => format!("{rest}\n"),
            _ => format!("{line}\n"),
        })
        .collect();
    let path = home.path().join("mutant.toml");
    for bytes in Mutants::of(&[example.as_bytes(), switched_on.as_bytes()], 1_000) {
        std::fs::write(&path, &bytes).unwrap();
        if let Err(error) = Config::load(&path) {
            assert!(!error.problems.is_empty());
            let longest = error.problems.iter().map(String::len).max();
            assert!(longest.is_some_and(|bytes| 0 < bytes && bytes < 4_096), "{error:?}");
        }
    }
}
