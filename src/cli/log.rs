//! `duebox log`: search the send log.

use clap::Args;

use super::client::Connect;
use super::notice::Page;
use super::output::{Escape, Failure};
use super::table::Column;
use super::values;
use crate::time::Timestamp;

/// Arguments of `log`.
#[derive(Args, Clone, Debug)]
pub struct LogArgs {
    #[command(flatten)]
    connect: Connect,
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// Only this recipient's
    #[arg(long)]
    openid: Option<String>,
    /// Only this notice's
    #[arg(long, value_name = "ID")]
    notice: Option<String>,
    /// Only answers with this code
    #[arg(long, value_name = "CODE", allow_negative_numbers = true)]
    errcode: Option<i64>,
    /// Only from this time on: RFC 3339 with a zone
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    from: Option<Timestamp>,
    /// Only before this time
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    to: Option<Timestamp>,
    /// The newest first
    #[arg(long)]
    newest: bool,
    #[command(flatten)]
    page: Page,
    /// Print all that is found as CSV
    #[arg(long, conflicts_with_all = ["ndjson", "json", "limit", "cursor"])]
    csv: bool,
    /// Print all that is found as CSV for a spreadsheet: ids and texts as they are, times as it reads them
    #[arg(long, conflicts_with_all = ["csv", "ndjson", "json", "limit", "cursor"])]
    excel: bool,
    /// The zone of the times in CSV, such as Asia/Shanghai [default: UTC]
    #[arg(long, value_name = "ZONE")]
    tz: Option<String>,
    /// Print all that is found as lines of JSON
    #[arg(long, conflicts_with_all = ["json", "limit", "cursor"])]
    ndjson: bool,
}

const LOG: &[Column] = &[
    ("AT", "/at"),
    ("TENANT", "/tenant"),
    ("OPENID", "/openid"),
    ("DELIVERY", "/delivery"),
    ("ATTEMPT", "/attempt"),
    ("CLASS", "/class"),
    ("ERRCODE", "/errcode"),
    ("MSGID", "/msgid"),
    ("MS", "/duration_ms"),
    ("TITLE", "/title"),
];

pub(super) fn run(args: &LogArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let query = [
        ("tenant", args.tenant.clone()),
        ("openid", args.openid.clone()),
        ("notice", args.notice.clone()),
        ("errcode", args.errcode.map(|code| code.to_string())),
        ("from", args.from.map(|from| from.to_string())),
        ("to", args.to.map(|to| to.to_string())),
        ("for", args.excel.then(|| "excel".to_owned())),
        ("tz", args.tz.clone()),
        ("order", args.newest.then(|| "desc".to_owned())),
        ("limit", args.page.limit.map(|limit| limit.to_string())),
        ("cursor", args.page.cursor.clone()),
    ];
    if args.tz.is_some() && !args.csv && !args.excel {
        return Err(Failure::usage("--tz is for --csv and --excel"));
    }
    match (args.csv || args.excel, args.ndjson) {
        (true, _) => client.copy(&["v1", "log"], &query, "text/csv", Escape::Blank),
        (false, true) => client.copy(&["v1", "log"], &query, "application/x-ndjson", Escape::Json),
        (false, false) => client.show_list(&client.get(&["v1", "log"], &query)?, LOG),
    }
}
