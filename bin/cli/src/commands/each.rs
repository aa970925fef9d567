//! One operation on several operands: each is named when it is done, failures are reported and the rest goes on.

use crate::commands::Outcome;
use crate::output;
use crate::report::{self, AlreadyReported};

/// Does `operation` for each operand, in order, and prints what it gives.
pub async fn each<T: AsRef<str>>(
    operands: &[T],
    operation: impl AsyncFn(&str) -> anyhow::Result<Option<String>>,
) -> Outcome {
    let mut failed = false;
    for operand in operands {
        match operation(operand.as_ref()).await {
            Ok(Some(text)) => output::line(text)?,
            Ok(None) => {}
            Err(error) if operands.len() == 1 => return Err(error),
            Err(error) => {
                report::say(&error);
                failed = true;
            }
        }
    }
    if failed { Err(AlreadyReported.into()) } else { Ok(0) }
}
