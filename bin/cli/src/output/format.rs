//! Lists of things: Docker's default table, `--format` in its forms (`table`, `table TEMPLATE`, `json`, `TEMPLATE`),
//! `--quiet`.

use serde_json::{Map, Value};

use super::align;
use cofferdam_template::{Functions, Template, TemplateError};

/// One thing: its fields as text, under the names that templates use.
#[derive(Clone, Debug, Default)]
pub struct Row(Map<String, Value>);

impl Row {
    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.insert(name.to_owned(), value.into());
        self
    }

    /// Adds what `.Label "name"` looks into.
    #[must_use]
    pub fn with_labels<'a>(mut self, labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> Self {
        let labels: Map<String, Value> =
            labels.into_iter().map(|(name, value)| (name.clone(), value.clone().into())).collect();
        self.0.insert(cofferdam_template::LABELS.to_owned(), labels.into());
        self
    }
}

/// How a kind of thing is listed.
#[derive(Clone, Copy, Debug)]
pub struct Listing {
    /// The titles of the columns, by field.
    pub titles: &'static [(&'static str, &'static str)],
    /// The template of the default table, with tabs between columns.
    pub table: &'static str,
    /// The template of `--quiet`.
    pub quiet: &'static str,
}

impl Listing {
    /// The list as text. `format` is the flag's value, empty for the default.
    pub fn render(&self, format: &str, quiet: bool, rows: Vec<Row>) -> Result<String, TemplateError> {
        let format = format.trim();
        let (is_table, body) = match format {
            _ if quiet && !format.is_empty() && !matches!(format, "table" | "json") => self.custom(format),
            "" | "table" if quiet => (false, self.quiet.to_owned()),
            "" | "table" => (true, self.table.to_owned()),
            "json" => (false, "{{json .}}".to_owned()),
            custom => self.custom(custom),
        };
        let template = Template::parse(&body)?;
        let mut out = String::new();
        if is_table {
            let titles = self.titles.iter().map(|(field, title)| ((*field).to_owned(), Value::from(*title)));
            out.push_str(&template.render(&Value::Object(titles.collect()), Functions::Headers)?);
            out.push('\n');
        }
        for row in rows {
            out.push_str(&template.render(&Value::Object(row.0), Functions::Values)?);
            out.push('\n');
        }
        Ok(if is_table { align(&out, 10) } else { out })
    }

    /// `\t` and `\n` may be written out: shells do not expand them.
    fn custom(&self, format: &str) -> (bool, String) {
        let (is_table, body) = match format.strip_prefix("table ") {
            Some(body) => (true, body.trim()),
            None => (false, format),
        };
        (is_table, body.replace("\\t", "\t").replace("\\n", "\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: Listing = Listing {
        titles: &[("ID", "THING ID"), ("Name", "NAME"), ("Labels", "LABELS")],
        table: "{{.ID}}\t{{.Name}}",
        quiet: "{{.ID}}",
    };

    fn rows() -> Vec<Row> {
        let labels = std::collections::BTreeMap::from([("color".to_owned(), "red".to_owned())]);
        vec![
            Row::default()
                .with("ID", "1")
                .with("Name", "one")
                .with("Labels", "color=red")
                .with_labels(&labels),
            Row::default()
                .with("ID", "22222222222")
                .with("Name", "two")
                .with("Labels", "")
                .with_labels(&labels),
        ]
    }

    #[test]
    fn every_form_of_format() {
        for (format, quiet, want) in [
            ("", false, "THING ID      NAME\n1             one\n22222222222   two\n"),
            ("table", false, "THING ID      NAME\n1             one\n22222222222   two\n"),
            ("", true, "1\n22222222222\n"),
            (
                "table {{.Name}}\\t{{upper .ID}}",
                false,
                "NAME      THING ID\none       1\ntwo       22222222222\n",
            ),
            ("{{.Name}}: {{.Label \"color\"}}", false, "one: red\ntwo: red\n"),
            ("table {{.Label \"color\"}}", false, "color\nred\nred\n"),
            ("{{.Name}}", true, "one\ntwo\n"),
            (
                "json",
                false,
                "{\"ID\":\"1\",\"Labels\":\"color=red\",\"Name\":\"one\"}\n{\"ID\":\"22222222222\",\"Labels\":\"\",\"Name\":\"two\"}\n",
            ),
        ] {
            assert_eq!(LISTING.render(format, quiet, rows()).as_deref(), Ok(want), "{format}");
        }
        assert!(LISTING.render("{{.Nope}}", false, rows()).is_err());
        assert_eq!(LISTING.render("", false, Vec::new()).unwrap(), "THING ID   NAME\n");
    }
}
