//! Calls whose body says nothing.

use super::body;
use super::call::Call;
use super::form::Form;
use super::port::Port;
use super::problem::Problem;

/// Refuses a body with anything in it.
pub(super) async fn no_fields(port: &Port, call: Call<'_>) -> Result<(), Problem> {
    let value = body::json(port, &call.head.headers, call.body).await?;
    match Form::new(value, "").finish() {
        errors if errors.is_empty() => Ok(()),
        errors => Err(Problem::fields(errors)),
    }
}
