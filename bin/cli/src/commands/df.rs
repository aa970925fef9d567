//! `system df`

use clap::Args;
use serde_json::Value;

use super::Outcome;
use crate::output::{self, Listing, Row, human_size};
use crate::session::Session;

/// Arguments of `system df`.
#[derive(Debug, Args)]
pub struct Arguments {
    /// Format output: table, table TEMPLATE, json, or a Go template
    #[arg(long)]
    format: Option<String>,
    /// Show detailed information on space usage
    #[arg(short, long)]
    verbose: bool,
}

const LISTING: Listing = Listing {
    titles: &[
        ("Type", "TYPE"),
        ("TotalCount", "TOTAL"),
        ("Active", "ACTIVE"),
        ("Size", "SIZE"),
        ("Reclaimable", "RECLAIMABLE"),
    ],
    table: "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}",
    quiet: "{{.Type}}",
};

impl Arguments {
    /// Shows what takes how much space.
    pub async fn run(&self, session: &Session) -> Outcome {
        let usage = session.client.disk_usage().await?;
        if self.verbose {
            output::line(output::indent(&usage.raw, 0))?;
            return Ok(0);
        }
        let rows = rows(&usage.value);
        output::print(&LISTING.render(self.format.as_deref().unwrap_or_default(), false, rows)?)?;
        Ok(0)
    }
}

fn rows(usage: &Value) -> Vec<Row> {
    let row = |name: &str, key: &str| {
        let number = |field: &str| usage[key][field].as_i64().unwrap_or(0).max(0);
        let (space, reclaimable) = (number("TotalSize"), number("Reclaimable"));
        let share = match space {
            0 => String::new(),
            space => format!(" ({}%)", reclaimable.saturating_mul(100) / space),
        };
        Row::default()
            .with("Type", name)
            .with("TotalCount", number("TotalCount").to_string())
            .with("Active", number("ActiveCount").to_string())
            .with("Size", human_size(space as f64, 4))
            .with("Reclaimable", format!("{}{share}", human_size(reclaimable as f64, 4)))
    };
    vec![
        row("Images", "ImageUsage"),
        row("Containers", "ContainerUsage"),
        row("Local Volumes", "VolumeUsage"),
        row("Build Cache", "BuildCacheUsage"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_dockers() {
        let usage = serde_json::json!({
            "ImageUsage": {"TotalCount": 2, "ActiveCount": 1, "TotalSize": 2_000_000, "Reclaimable": 1_500_000},
            "ContainerUsage": {"TotalCount": 2, "ActiveCount": 1, "TotalSize": 40, "Reclaimable": 30},
        });
        let want = "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
                    Images          2         1         2MB       1.5MB (75%)\n\
                    Containers      2         1         40B       30B (75%)\n\
                    Local Volumes   0         0         0B        0B\n\
                    Build Cache     0         0         0B        0B\n";
        assert_eq!(LISTING.render("", false, rows(&usage)).unwrap(), want);
    }
}
