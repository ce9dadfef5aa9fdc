//! Values made to fit their template: named as the template names them, none missing, none over its limit.

use std::borrow::Cow;
use std::collections::BTreeMap;

use crate::engine::command::Recipient;
use crate::engine::refusal::{Code, Refusal};
use crate::engine::tx::Tx;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::keyword;
use crate::model::message::{is_openid, json_bytes};
use crate::model::rules::TemplateRule;
use crate::model::templates::Learned;
use crate::near;
use crate::store::keys::{self, TenantNo};

/// Values by field.
type Data = BTreeMap<String, String>;

/// A template, as it is configured and as the provider lists it.
pub(super) struct Fit {
    rule: TemplateRule,
    /// Its fields, if they are known.
    fields: Option<Vec<String>>,
}

impl Fit {
    /// A template of a tenant.
    pub(super) fn look_up<K: Kv>(
        tx: &Tx<K>,
        tenant: TenantNo,
        template: &str,
    ) -> Result<Result<Self, Refusal>, Fault> {
        let rule = match tx.template(tx.names.tenant_name(tenant), template) {
            Ok(rule) => rule.clone(),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let learned = tx.store.read::<Learned>(&keys::template(tenant, &rule.id))?;
        let fields = learned.filter(|it| it.gone.is_none()).map(|it| it.fields);
        let fields = fields.filter(|fields| !fields.is_empty());
        if let Some(fields) = &fields
            && let Some((alias, field)) =
                rule.alias.iter().find(|(_, field)| !fields.contains(*field))
        {
            let detail = format!(
                "the configuration calls {field} {alias} in template {template}, and the template has \
                 no field {field}; it has {}",
                fields.join(", ")
            );
            return Ok(Err(Refusal::field(Code::FieldInvalid, "/template", detail)));
        }
        Ok(Ok(Self { rule, fields }))
    }

    /// The provider's id.
    pub(super) fn template_id(&self) -> &str {
        &self.rule.id
    }

    /// A notice's own values: by their names in the template, with its defaults, checked.
    pub(super) fn notice_values(&self, data: &Data) -> Result<Data, Refusal> {
        Ok(self.with_defaults(self.named_values(data, "/data")?))
    }

    /// The same with the template's defaults for what is not given.
    pub(super) fn with_defaults(&self, mut data: Data) -> Data {
        for (field, value) in &self.rule.default {
            data.entry(field.clone()).or_insert_with(|| value.clone());
        }
        data
    }

    /// Values by their names in the template, checked against their kinds' limits and cut where the
    /// template says so.
    pub(super) fn named_values(&self, data: &Data, pointer: &str) -> Result<Data, Refusal> {
        let mut checked = Data::new();
        let mut refusal: Option<Refusal> = None;
        let mut wrong = |code: Code, field: &str, words: String| {
            refusal
                .get_or_insert_with(|| Refusal::new(code, words.clone()))
                .fields
                .push((format!("{pointer}/{field}"), words));
        };
        for (name, value) in data {
            let field = self.rule.alias.get(name).unwrap_or(name);
            if let Some(fields) = self.fields.as_ref().filter(|fields| !fields.contains(field)) {
                let known = fields.iter().chain(self.rule.alias.keys()).map(String::as_str);
                let advice = near::advise(name, "it has", known);
                wrong(
                    Code::FieldInvalid,
                    name,
                    format!("the template has no field {name}; {advice}"),
                );
                continue;
            }
            match keyword::check(field, value, self.rule.overflow_of(field)) {
                Ok(value) => {
                    if checked.insert(field.clone(), Cow::into_owned(value)).is_some() {
                        let words = format!("{field} is given twice, once by another name of it");
                        wrong(Code::FieldInvalid, name, words);
                    }
                }
                Err(error) => {
                    let too_long = matches!(
                        error.problem,
                        keyword::Problem::TooLong | keyword::Problem::TooLongForGood
                    );
                    let code = if too_long { Code::FieldTooLong } else { Code::FieldInvalid };
                    wrong(code, name, error.to_string());
                }
            }
        }
        refusal.map_or(Ok(checked), Err)
    }

    /// Fields of the template that neither the notice nor the recipient has.
    fn missing_field(&self, notice: &Data, own: &Data) -> Option<&str> {
        let lacks = |field: &&String| !notice.contains_key(*field) && !own.contains_key(*field);
        self.fields.as_ref()?.iter().find(lacks).map(String::as_str)
    }

    /// A recipient of a notice with these values. `pointer` is where the recipient stands.
    pub(super) fn fitted(
        &self,
        notice: &Data,
        recipient: &Recipient,
        pointer: &str,
    ) -> Result<Recipient, Refusal> {
        let openid = &recipient.openid;
        if !is_openid(openid) {
            return Err(Refusal::field(
                Code::BadOpenid,
                format!("{pointer}/openid"),
                format!(
                    "{:?} is no openid: 1 to {} letters, digits, - and _",
                    crate::text::cut(openid, 80),
                    limits::OPENID_BYTES
                ),
            ));
        }
        let data = self.named_values(&recipient.data, &format!("{pointer}/data"))?;
        if let Some(field) = self.missing_field(notice, &data) {
            let detail = format!("the template has the field {field}, and nothing is given for it");
            // What is missing for everybody is the notice's own fault.
            let whose = if recipient.data.is_empty() { "" } else { pointer };
            return Err(Refusal::field(
                Code::FieldInvalid,
                format!("{whose}/data/{field}"),
                detail,
            ));
        }
        let bytes = json_bytes(&data);
        if bytes > limits::OVERRIDE_BYTES {
            return Err(Refusal::field(
                Code::FieldTooLong,
                format!("{pointer}/data"),
                format!("{bytes} bytes as JSON, {} are allowed", limits::OVERRIDE_BYTES),
            ));
        }
        Ok(Recipient { openid: openid.clone(), data })
    }
}
