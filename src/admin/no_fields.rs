//! Calls whose body says nothing.

use super::body;
use super::call::Call;
use super::port::Port;
use super::problem::Problem;
use crate::api::bodies::operate::Nothing;

/// Refuses a body with anything in it.
pub(super) async fn no_fields(port: &Port, call: Call<'_>) -> Result<(), Problem> {
    let Nothing = body::read(port, &call.head.headers, call.body).await?;
    Ok(())
}
