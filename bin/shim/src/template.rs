//! `cofferdam-shim --template FILE`: makes a template (`cofferdam_model::TemplateOrder`) in namespaces of its own, as a
//! shim has them, and ends.

use std::io::Write as _;
use std::path::Path;

use anyhow::Context as _;
use cofferdam_model::{TemplateOrder, TemplateProgress};
use cofferdam_runtime::process::reaper::Reaper;

use crate::{become_shim, read_json, runtime, setup};

/// Makes the template of the order in `file`.
pub fn run(file: &Path) -> anyhow::Result<()> {
    let order: TemplateOrder = read_json(file)?;
    become_shim()?;
    let tap = setup::run_without_container().map_err(anyhow::Error::msg)?;
    runtime()?.block_on(async {
        // Helpers are its children.
        let _reaper = Reaper::start().context("reaper")?;
        cofferdam_runtime::vm::template::make(&order, tap, report).await?;
        Ok(())
    })
}

/// Tells the daemon; one that has gone does not hear it.
fn report(status: &str) {
    let line = serde_json::to_string(&TemplateProgress { status: status.to_owned() }).unwrap_or_default();
    let _ = writeln!(std::io::stdout(), "{line}");
}
