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
    let list = |key: &str| usage[key].as_array().cloned().unwrap_or_default();
    let number = |value: &Value| value.as_i64().unwrap_or(0);
    let (images, containers, volumes) = (list("Images"), list("Containers"), list("Volumes"));
    let used = |image: &&Value| number(&image["Containers"]) > 0;
    let image_space = number(&usage["LayersSize"]);
    let in_use: i64 = images.iter().filter(used).map(|image| number(&image["Size"])).sum();
    let running =
        |container: &&Value| matches!(container["State"].as_str(), Some("running" | "paused" | "restarting"));
    let container_space: i64 = containers.iter().map(|container| number(&container["SizeRw"])).sum();
    let idle: i64 =
        containers.iter().filter(|c| !running(c)).map(|container| number(&container["SizeRw"])).sum();
    let volume_space: i64 = volumes.iter().map(|volume| number(&volume["UsageData"]["Size"]).max(0)).sum();
    let row = |name: &str, total: usize, active: usize, space: i64, reclaimable: i64| {
        let reclaimable = reclaimable.clamp(0, space.max(0));
        let share = match space {
            ..=0 => String::new(),
            space => format!(" ({}%)", reclaimable.saturating_mul(100) / space),
        };
        Row::default()
            .with("Type", name)
            .with("TotalCount", total.to_string())
            .with("Active", active.to_string())
            .with("Size", human_size(space as f64, 4))
            .with("Reclaimable", format!("{}{share}", human_size(reclaimable as f64, 4)))
    };
    vec![
        row("Images", images.len(), images.iter().filter(used).count(), image_space, image_space - in_use),
        row("Containers", containers.len(), containers.iter().filter(running).count(), container_space, idle),
        row("Local Volumes", volumes.len(), 0, volume_space, volume_space),
        row("Build Cache", 0, 0, 0, 0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_dockers() {
        let usage = serde_json::json!({
            "LayersSize": 2_000_000,
            "Images": [{"Size": 500_000, "Containers": 1}, {"Size": 1_500_000, "Containers": 0}],
            "Containers": [{"State": "running", "SizeRw": 10}, {"State": "exited", "SizeRw": 30}],
            "Volumes": null,
        });
        let want = "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
                    Images          2         1         2MB       1.5MB (75%)\n\
                    Containers      2         1         40B       30B (75%)\n\
                    Local Volumes   0         0         0B        0B\n\
                    Build Cache     0         0         0B        0B\n";
        assert_eq!(LISTING.render("", false, rows(&usage)).unwrap(), want);
    }
}
