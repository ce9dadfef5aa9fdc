//! The published examples, and calls that are not WeChat's.
#![allow(clippy::unwrap_used)]

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockEncryptMut as _, KeyIvInit as _};

use super::signature::sign;
use super::*;
use crate::model::callback::What;

const APPID: &str = "wxba5fad812f8e6fb9";
const KEY: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
/// The encrypted body of the documentation.
const SEALED: &str = "+qdx1OKCy+5JPCBFWw70tm0fJGb2Jmeia4FCB7kao+/Q5c/ohsOzQHi8khUOb05JCpj0JB4RvQMkUyus8TPxLKJGQqcvZqzDpVzazhZv6JsXUnnR8XGT740XgXZUXQ7vJVnAG+tE8NUd4yFyjPy7GgiaviNrlCTj+l5kdfMuFUPpRSrfMZuMcp3Fn2Pede2IuQrKEYwKSqFIZoNqJ4M8EajAsjLY2km32IIjdf8YL/P50F7mStwntrA2cPDrM1kb6mOcfBgRtWygb3VIYnSeOBrebufAlr7F9mFUPAJGj04=";

/// Encrypts a message as WeChat does.
fn seal(key: &str, random: [u8; 16], message: &str, appid: &str) -> String {
    let key: [u8; 32] = AesKey::parse(key).unwrap().0;
    let length = u32::try_from(message.len()).unwrap().to_be_bytes();
    let mut plain = [&random[..], &length, message.as_bytes(), appid.as_bytes()].concat();
    let padding = 32 - plain.len() % 32;
    plain.resize(plain.len() + padding, u8::try_from(padding).unwrap());
    let vector: [u8; 16] = key[..16].try_into().unwrap();
    let cipher = cbc::Encryptor::<Aes256>::new(&key.into(), &vector.into());
    STANDARD.encode(cipher.encrypt_padded_vec_mut::<NoPadding>(&plain))
}

fn params(pairs: &[(&str, &str)]) -> Params {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn gate(keys: &[&str]) -> Gate {
    let keys: Vec<Secret> = keys.iter().map(|key| Secret::new(*key)).collect();
    Gate::new(APPID, vec![Secret::new("AAAAA"), Secret::new("before")], &keys)
}

fn signed(token: &str, timestamp: &str, rest: &[(&str, &str)]) -> Params {
    let signature = sign(token, &[timestamp, "n"]);
    let mut all = params(rest);
    all.extend(params(&[
        ("timestamp", timestamp),
        ("nonce", "n"),
        ("signature", signature.as_str()),
    ]));
    all
}

fn event(event: &str, more: &str) -> String {
    format!(
        "<xml><ToUserName><![CDATA[gh_1]]></ToUserName><FromUserName><![CDATA[oA]]></FromUserName>\
         <CreateTime>1395658920</CreateTime><MsgType><![CDATA[event]]></MsgType>\
         <Event><![CDATA[{event}]]></Event>{more}</xml>"
    )
}

const NOW: Timestamp = Timestamp(1_714_037_059_000);

#[test]
fn the_published_signatures_are_right() {
    let echo = gate(&[]).echo(&params(&[
        ("signature", "f464b24fc39322e44b38aa78f5edd27bd1441696"),
        ("timestamp", "1714036504"),
        ("nonce", "1514711492"),
        ("echostr", "4375120948345356249"),
    ]));
    assert_eq!(echo.as_deref(), Ok("4375120948345356249"));
    assert_eq!(
        sign("AAAAA", &["1714037059", "486452656"]),
        "899cf89e464efb63f54ddac96b0a0a235f53aa78"
    );
    assert_eq!(
        sign("AAAAA", &["1714112445", "415670741", SEALED]),
        "046e02f8204d34f8ba5fa3b1db94908f3df2e9b3"
    );
}

#[test]
fn the_published_encrypted_call_opens_in_json_and_in_xml() {
    let address = params(&[
        ("signature", "6c5c811b55cc85e0e1b54100749188c20beb3f5d"),
        ("timestamp", "1714112445"),
        ("nonce", "415670741"),
        ("encrypt_type", "aes"),
        ("msg_signature", "046e02f8204d34f8ba5fa3b1db94908f3df2e9b3"),
    ]);
    for body in [
        format!("{{\"ToUserName\":\"gh_97417a04a28d\",\"Encrypt\":\"{SEALED}\"}}"),
        format!("<xml><ToUserName>gh_1</ToUserName><Encrypt><![CDATA[{SEALED}]]></Encrypt></xml>"),
    ] {
        // An event that means nothing here; that it was read is what counts.
        assert_eq!(gate(&[KEY]).open(&address, body.as_bytes(), NOW), Ok(None));
    }
    let opened = AesKey::parse(KEY).unwrap().open(SEALED).unwrap();
    assert_eq!(opened.appid, APPID);
    assert!(opened.message.starts_with("{\"ToUserName\":\"gh_97417a04a28d\""));
    assert!(opened.message.ends_with("\"debug_str\":\"hello world\"}"));
    assert_eq!(opened.message.len(), 167);
    let again = seal(KEY, *b"a8eedb185eb2fecf", &opened.message, APPID);
    assert_eq!(again, SEALED);
}

#[test]
fn the_published_reply_is_sealed_as_published() {
    let sealed = seal(KEY, *b"707722b803182950", "{\"demo_resp\":\"good luck\"}", APPID);
    assert_eq!(
        sealed,
        "ELGduP2YcVatjqIS+eZbp80MNLoAUWvzzyJxgGzxZO/5sAvd070Bs6qrLARC9nVHm48Y4hyRbtzve1L32tmxSQ=="
    );
    assert_eq!(
        sign("AAAAA", &["1713424427", "415670741", &sealed]),
        "1b9339964ed2e271e7c7b6ff2b0ef902fc94dea1"
    );
}

#[test]
fn a_plain_receipt_is_read_in_xml_and_json() {
    let address = signed("AAAAA", "1714037059", &[]);
    let xml = event(
        "TEMPLATESENDJOBFINISH",
        "<MsgID>3557254367693750277</MsgID><Status><![CDATA[success]]></Status>",
    );
    let json = "{\"ToUserName\":\"gh_1\",\"FromUserName\":\"oA\",\"CreateTime\":1395658920,\
                \"MsgType\":\"event\",\"Event\":\"TEMPLATESENDJOBFINISH\",\
                \"MsgID\":3557254367693750277,\"Status\":\"success\"}";
    for body in [xml.as_str(), json] {
        let told = gate(&[]).open(&address, body.as_bytes(), NOW).unwrap().unwrap();
        let what = What::Receipt { msgid: "3557254367693750277".into(), failed: None };
        assert_eq!(told, Told { openid: "oA".into(), at: Timestamp(1_395_658_920_000), what });
    }
    let other =
        event("templatesendjobfinish", "<MsgId>7</MsgId><Status>failed: system failed</Status>");
    let told = gate(&[]).open(&address, other.as_bytes(), NOW).unwrap().unwrap();
    let failed = Some("failed:system failed".to_owned());
    assert_eq!(told.what, What::Receipt { msgid: "7".into(), failed });
}

#[test]
fn who_follows_is_read_and_the_rest_is_left_alone() {
    let address = signed("before", "1714037059", &[]);
    let read = |body: &str| gate(&[]).open(&address, body.as_bytes(), NOW);
    let what = |body: &str| read(body).unwrap().map(|told| told.what);
    let key = "<EventKey><![CDATA[qrscene_123]]></EventKey><Ticket>T</Ticket>";
    assert_eq!(what(&event("subscribe", key)), Some(What::Followed));
    assert_eq!(what(&event("unsubscribe", "<EventKey/>")), Some(What::Unfollowed));
    assert_eq!(what(&event("CLICK", "")), None);
    assert_eq!(what("<xml><MsgType>text</MsgType><Content>hi</Content></xml>"), None);
}

#[test]
fn a_compatible_call_is_read_from_its_encrypted_part_if_there_is_a_key() {
    let plain = event("subscribe", "");
    let hidden = event("unsubscribe", "");
    let sealed = seal(KEY, [b'r'; 16], &hidden, APPID);
    let body = plain.replace("</xml>", &format!("<Encrypt><![CDATA[{sealed}]]></Encrypt></xml>"));
    let signature = sign("AAAAA", &["1714037059", "n", &sealed]);
    let address = signed(
        "AAAAA",
        "1714037059",
        &[("encrypt_type", "aes"), ("msg_signature", signature.as_str())],
    );
    let what = |gate: Gate| gate.open(&address, body.as_bytes(), NOW).unwrap().unwrap().what;
    assert_eq!(what(gate(&[KEY])), What::Unfollowed);
    assert_eq!(what(gate(&[])), What::Followed);
}

#[test]
fn the_key_before_opens_too_also_one_with_bits_left_over() {
    // The last character stands for four bits of the key and two that are none of it.
    let before = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";
    let sealed = seal(before, [b'r'; 16], &event("subscribe", ""), APPID);
    let body = format!("<xml><Encrypt>{sealed}</Encrypt></xml>");
    let signature = sign("before", &["1", "n", &sealed]);
    let address = params(&[
        ("timestamp", "1"),
        ("nonce", "n"),
        ("encrypt_type", "aes"),
        ("msg_signature", signature.as_str()),
    ]);
    assert!(gate(&[KEY, before]).open(&address, body.as_bytes(), NOW).is_ok());
    let wrong = gate(&[KEY]).open(&address, body.as_bytes(), NOW);
    assert_eq!(wrong, Err(NotTaken::WrongKey));
    let none = gate(&[]).open(&address, body.as_bytes(), NOW);
    assert_eq!(none, Err(NotTaken::NoKey));
    let other = seal(KEY, [b'r'; 16], &event("subscribe", ""), "wxother");
    let signature = sign("AAAAA", &["1", "n", &other]);
    let address =
        params(&[("timestamp", "1"), ("nonce", "n"), ("msg_signature", signature.as_str())]);
    let body = format!("<xml><Encrypt>{other}</Encrypt></xml>");
    let refused = gate(&[KEY]).open(&address, body.as_bytes(), NOW);
    assert_eq!(refused, Err(NotTaken::OtherAccount("wxother".into())));
}

#[test]
fn calls_that_are_not_wechats_are_refused_each_in_its_own_words() {
    let body = event("subscribe", "");
    let open = |address: &Params| gate(&[KEY]).open(address, body.as_bytes(), NOW);
    assert_eq!(open(&Params::new()), Err(NotTaken::Unsigned("timestamp")));
    let unsigned = params(&[("timestamp", "1714037059"), ("nonce", "n")]);
    assert_eq!(open(&unsigned), Err(NotTaken::Unsigned("signature")));
    assert_eq!(open(&signed("other", "1714037059", &[])), Err(NotTaken::WrongSignature));
    let old = open(&signed("AAAAA", "1714036000", &[]));
    assert_eq!(old, Err(NotTaken::Old("1714036000".into())));
    let words = old.unwrap_err().to_string();
    assert!(words.contains("old"), "{words}");
    assert!(matches!(open(&signed("AAAAA", "x", &[])), Err(NotTaken::Old(_))));
    assert!(open(&signed("AAAAA", "1714037059", &[])).is_ok());
}

#[test]
fn bodies_that_are_no_messages_are_refused() {
    let address = signed("AAAAA", "1714037059", &[]);
    let open = |body: &[u8]| gate(&[]).open(&address, body, NOW);
    let doctype = b"<!DOCTYPE xml [<!ENTITY a SYSTEM \"file:///etc/passwd\">]><xml><MsgType>&a;</MsgType></xml>";
    for body in [
        &b""[..],
        b" ",
        b"\xff\xfe",
        b"hello",
        b"{",
        b"[]",
        b"{}",
        b"<xml></xml>",
        b"<xml><MsgType>event</MsgType></xml>",
        doctype,
    ] {
        let found = open(body);
        assert!(matches!(found, Err(NotTaken::Body(_))), "{found:?}");
    }
    for wrong in [
        event("subscribe", "").replace("<![CDATA[oA]]>", "o A"),
        event("subscribe", "").replace("1395658920", "now"),
        event("subscribe", "").replace("1395658920", "99999999999999999"),
        event("TEMPLATESENDJOBFINISH", "<Status>success</Status>"),
        event("TEMPLATESENDJOBFINISH", "<MsgID>7</MsgID>"),
    ] {
        assert!(matches!(open(wrong.as_bytes()), Err(NotTaken::Body(_))), "{wrong}");
    }
}

#[test]
fn nothing_of_a_gate_is_printed() {
    let printed = format!("{:?}", gate(&[KEY]));
    assert!(!printed.contains("AAAAA") && printed.contains(APPID), "{printed}");
}
