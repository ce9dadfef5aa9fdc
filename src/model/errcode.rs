//! The provider's codes and what each means for us.
//!
//! The codes and their texts are those of the public error tables and of answers that users
//! reported; the class is our reading of them. Nothing here depends on the call's circumstances:
//! what does is marked by the small functions below and decided in `engine::settle`.

use super::attempt::Class;

/// One code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Row {
    /// The provider's `errcode`.
    pub code: i64,
    /// What it means for the delivery, the notice and the tenant.
    pub class: Class,
    /// What it says, for people.
    pub remark: &'static str,
}

const fn row(code: i64, class: Class, remark: &'static str) -> Row {
    Row { code, class, remark }
}

/// Every code with a meaning of its own; any other one is [`Class::Retry`].
pub const TABLE: &[Row] = &[
    row(0, Class::Ok, "accepted, not yet delivered: the receipt comes later"),
    row(-1, Class::InDoubt, "system error of the provider: may have been accepted"),
    // The pace.
    row(45011, Class::Retry, "calls per minute exceeded: slow down"),
    row(45066, Class::Retry, "message id sent too fast (mass send only)"),
    row(43117, Class::Retry, "this recipient gets messages too often: much later"),
    row(40241, Class::Retry, "duplicate within 60 seconds: an earlier try may have arrived"),
    row(45065, Class::Retry, "message id already used (mass send only)"),
    row(45009, Class::Day, "the day's quota is used up"),
    row(40251, Class::Day, "the quota was lowered because of past violations, and is used up"),
    // The access token of this call.
    row(40001, Class::Token, "access token invalid or not the latest"),
    row(40014, Class::Token, "access token invalid"),
    row(42001, Class::Token, "access token expired"),
    // This recipient.
    row(43004, Class::Recipient, "does not follow the account"),
    row(40003, Class::Recipient, "openid invalid, or of another account"),
    row(50005, Class::Recipient, "does not follow the account"),
    row(43019, Class::Recipient, "is on the account's blacklist"),
    row(43101, Class::Recipient, "did not agree to this message"),
    row(48002, Class::Recipient, "switched off messages of this account"),
    row(46004, Class::Recipient, "user does not exist"),
    row(41028, Class::Recipient, "form id invalid (old mini-program messages)"),
    row(41029, Class::Recipient, "form id used up (old mini-program messages)"),
    // What the notice says; a field's value may be the recipient's own, see `is_field_refused`.
    row(47003, Class::Notice, "a keyword's value is not permitted"),
    row(40250, Class::Notice, "content not permitted, or an empty value"),
    row(47001, Class::Notice, "not understood as JSON: a fault of ours"),
    row(44002, Class::Notice, "the request had no body: a fault of ours"),
    row(40039, Class::Notice, "url too long"),
    row(40066, Class::Notice, "url invalid"),
    row(45005, Class::Notice, "link over the limit"),
    row(45012, Class::Notice, "template over the limit"),
    row(45067, Class::Notice, "message id too long (mass send only)"),
    row(41030, Class::Notice, "page of the mini program invalid"),
    row(40165, Class::Notice, "page of the mini program invalid or not published"),
    row(40048, Class::Notice, "url or its domain invalid"),
    // Its template.
    row(40036, Class::Notice, "template id of the wrong length"),
    row(40037, Class::Notice, "template id invalid, or of another account or feature"),
    row(40249, Class::Notice, "template blocked for its content"),
    row(43116, Class::Notice, "template restricted because of misuse"),
    // The tenant's account, credentials and address.
    row(41001, Class::Tenant, "access token missing: a fault of ours"),
    row(40002, Class::Tenant, "grant type invalid: a fault of ours"),
    row(40013, Class::Tenant, "appid invalid"),
    row(40125, Class::Tenant, "appsecret invalid"),
    row(41002, Class::Tenant, "appid missing"),
    row(41004, Class::Tenant, "appsecret missing"),
    row(40243, Class::Tenant, "appsecret frozen"),
    row(40164, Class::Tenant, "our address is not on the account's whitelist"),
    row(61004, Class::Tenant, "our address is not on the platform's whitelist"),
    row(89501, Class::Tenant, "our address waits for the administrator's consent"),
    row(89503, Class::Tenant, "our address needs the administrator's consent"),
    row(89506, Class::Tenant, "administrator refused our address twice: 24 hours"),
    row(89507, Class::Tenant, "administrator refused our address: one hour"),
    row(48001, Class::Tenant, "the account may not use this call"),
    row(48004, Class::Tenant, "the call is barred for this account because of irregularities"),
    row(48008, Class::Tenant, "the account may not send this type of message"),
    row(50001, Class::Tenant, "the account has not authorised this platform"),
    row(50002, Class::Tenant, "the account is restricted, frozen or closed"),
    row(45109, Class::Tenant, "the call no longer exists"),
    // The platform's review.
    row(40252, Class::Review, "in review: the platform delivers it by itself or drops it"),
];

/// The recipient does not follow the account.
pub const NOT_A_FOLLOWER: i64 = 43004;
/// The recipient switched this template off; WeChat tells it by no event.
pub const TEMPLATE_SWITCHED_OFF: i64 = 43101;

/// What an answer to a send means. Codes that are not in [`TABLE`] are tried again.
#[must_use]
pub fn classify(errcode: i64) -> Class {
    row_of(errcode).map_or(Class::Retry, |row| row.class)
}

/// What a refused token call means: there 40001 is a wrong secret, and asking again harms nobody.
#[must_use]
pub fn classify_token_call(errcode: i64) -> Class {
    match classify(errcode) {
        Class::Token | Class::Tenant => Class::Tenant,
        Class::Day => Class::Day,
        Class::Ok
        | Class::Retry
        | Class::Recipient
        | Class::Notice
        | Class::Review
        | Class::InDoubt
        | Class::Unreached => Class::Retry,
    }
}

/// The row of a code, if it has one.
#[must_use]
pub fn row_of(errcode: i64) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.code == errcode)
}

/// The calls of this minute are used up: the whole tenant slows down until the next one.
#[must_use]
pub fn is_minute_limit(errcode: i64) -> bool {
    errcode == 45011
}

/// This recipient had too many messages: it is tried again much later.
#[must_use]
pub fn is_too_often(errcode: i64) -> bool {
    errcode == 43117
}

/// The openid is not one of this account: a few are typing mistakes, all are the wrong tenant.
#[must_use]
pub fn is_foreign_openid(errcode: i64) -> bool {
    errcode == 40003
}

/// What a code means, in words.
#[must_use]
pub fn meaning(errcode: i64) -> &'static str {
    row_of(errcode).map_or("a code that is not in our table", |row| row.remark)
}

/// The provider has seen this message already: success if an earlier attempt is in doubt.
#[must_use]
pub fn is_duplicate(errcode: i64) -> bool {
    matches!(errcode, 40241 | 45065)
}

/// The template is not there. Bursts of false alarms are known, so it takes several in a row to
/// stop a notice.
#[must_use]
pub fn is_template_missing(errcode: i64) -> bool {
    matches!(errcode, 40036 | 40037)
}

/// A value was refused: final for the notice when the value is the notice's, for the recipient
/// alone when it is the recipient's own.
#[must_use]
pub fn is_field_refused(errcode: i64) -> bool {
    matches!(errcode, 47003 | 40250)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_listed_code_has_its_class() {
        let listed: &[(Class, &[i64])] = &[
            (Class::Ok, &[0]),
            (Class::InDoubt, &[-1]),
            (Class::Retry, &[45011, 43117, 40241, 45065, 45066]),
            (Class::Token, &[40001, 40014, 42001]),
            (Class::Day, &[45009, 40251]),
            (Class::Recipient, &[43004, 40003, 50005, 43019, 43101, 48002, 46004, 41028, 41029]),
            (Class::Review, &[40252]),
            (
                Class::Notice,
                &[
                    47003, 40250, 47001, 44002, 40037, 40036, 40249, 43116, 40039, 40066, 45005,
                    45012, 41030, 45067, 40165, 40048,
                ],
            ),
            (
                Class::Tenant,
                &[
                    41001, 40013, 40125, 40002, 41002, 41004, 40243, 40164, 61004, 89501, 89503,
                    89506, 89507, 48001, 48004, 48008, 50001, 50002, 45109,
                ],
            ),
        ];
        let mut count = 0;
        for (class, codes) in listed {
            for code in *codes {
                assert_eq!(row_of(*code).map(|row| row.class), Some(*class), "{code}");
                assert_eq!(classify(*code), *class, "{code}");
                count += 1;
            }
        }
        assert_eq!(TABLE.len(), count, "a row is missing from this test or listed twice");
    }

    #[test]
    fn unknown_codes_are_tried_again() {
        for code in [1, -2, 99_999, i64::MIN, i64::MAX] {
            assert_eq!(classify(code), Class::Retry, "{code}");
        }
    }

    #[test]
    fn a_refused_token_call_is_about_the_tenant_or_passes() {
        for (code, class) in [
            (40001, Class::Tenant),
            (40013, Class::Tenant),
            (40125, Class::Tenant),
            (40164, Class::Tenant),
            (50002, Class::Tenant),
            (45009, Class::Day),
            (45011, Class::Retry),
            (-1, Class::Retry),
            (12_345, Class::Retry),
        ] {
            assert_eq!(classify_token_call(code), class, "{code}");
        }
    }
}
