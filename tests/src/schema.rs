//! Docker's published schema of its API (Swagger 2.0), and whether an answer has the shape that it promises.
//!
//! It is not part of this repository: `cargo xtask test` unpacks it from Debian's package.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::{Map, Value};

use crate::Skip;

/// Names the file where it is not below the target directory.
const PLACE: &str = "COFFERDAM_API_SCHEMA";

/// The schema.
pub struct Schema(Value);

/// One endpoint.
pub struct Operation<'a> {
    /// `GET`
    pub method: String,
    /// `/containers/{id}/json`
    pub path: &'a str,
    /// `Container`
    pub tag: &'a str,
    value: &'a Value,
}

impl Schema {
    /// Reads it; a host without it skips the case.
    pub fn read() -> Result<Self> {
        let usual = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/api-schema/swagger.yaml");
        let path = std::env::var_os(PLACE).map_or(usual, PathBuf::from);
        let Ok(text) = std::fs::read_to_string(&path) else {
            return Err(Skip::because(format!("no {}: `cargo xtask schema` fetches it", path.display())));
        };
        let yaml = serde_saphyr::from_str(&text).map_err(|error| anyhow::anyhow!("the schema: {error}"))?;
        Ok(Self(yaml))
    }

    /// `/v1.41`
    pub fn base(&self) -> Result<&str> {
        self.0["basePath"].as_str().context("a base path")
    }

    /// Every endpoint.
    pub fn operations(&self) -> Result<Vec<Operation<'_>>> {
        let paths = self.0["paths"].as_object().context("paths")?;
        let operations = paths.iter().flat_map(|(path, methods)| {
            methods.as_object().into_iter().flatten().map(|(method, value)| Operation {
                method: method.to_uppercase(),
                path,
                tag: value["tags"][0].as_str().unwrap_or_default(),
                value,
            })
        });
        Ok(operations.collect())
    }

    /// One endpoint.
    pub fn operation(&self, method: &str, path: &str) -> Result<Operation<'_>> {
        let found = self.operations()?.into_iter().find(|one| one.method == method && one.path == path);
        found.with_context(|| format!("{method} {path} is not in the schema"))
    }

    /// What is wrong with the body of an answer.
    #[must_use]
    pub fn faults(&self, operation: &Operation<'_>, status: u16, body: &Value) -> Vec<String> {
        let mut faults = Vec::new();
        let schema = &operation.value["responses"][status.to_string()]["schema"];
        self.look(schema, body, "", &mut faults);
        faults
    }

    fn look(&self, schema: &Value, value: &Value, at: &str, faults: &mut Vec<String>) {
        let Some(schema) = schema.as_object() else { return };
        if let Some(name) = schema.get("$ref").and_then(Value::as_str) {
            let target = name.strip_prefix('#').and_then(|pointer| self.0.pointer(pointer));
            match target {
                Some(target) => self.look(target, value, at, faults),
                None => faults.push(format!("{at}: the schema has no {name}")),
            }
            return;
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            self.look(part, value, at, faults);
        }
        let kind = schema.get("type").and_then(Value::as_str).unwrap_or_default();
        // Go's empty lists, maps and pointers are `null`, whatever the schema says.
        let nothing = value.is_null()
            && (schema.get("x-nullable") == Some(&Value::Bool(true))
                || matches!(kind, "" | "object" | "array"));
        if nothing {
            return;
        }
        let fits = match kind {
            "object" => value.is_object(),
            "array" => value.is_array(),
            "string" => value.is_string(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            _ => true,
        };
        if !fits {
            faults.push(format!("{at}: {value} is no {kind}"));
            return;
        }
        if let (Some(allowed), Some(text)) = (schema.get("enum").and_then(Value::as_array), value.as_str())
            && !text.is_empty()
            && !allowed.iter().any(|one| one == text)
        {
            faults.push(format!("{at}: {text:?} is none of {allowed:?}"));
        }
        if let (Some(items), Some(list)) = (schema.get("items"), value.as_array()) {
            list.iter().for_each(|item| self.look(items, item, &format!("{at}[]"), faults));
        }
        if let Some(object) = value.as_object() {
            self.members(schema, object, at, faults);
        }
    }

    fn members(
        &self,
        schema: &Map<String, Value>,
        object: &Map<String, Value>,
        at: &str,
        faults: &mut Vec<String>,
    ) {
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            if !name.as_str().is_some_and(|name| object.contains_key(name)) {
                faults.push(format!("{at}: {name} is missing"));
            }
        }
        let properties = schema.get("properties").and_then(Value::as_object);
        for (name, value) in object {
            let own = properties.and_then(|properties| properties.get(name));
            if let Some(schema) = own.or_else(|| schema.get("additionalProperties")) {
                self.look(schema, value, &format!("{at}.{name}"), faults);
            }
        }
    }
}

impl Operation<'_> {
    /// Whether the schema knows this status of it.
    #[must_use]
    pub fn answers(&self, status: u16) -> bool {
        self.value["responses"].get(status.to_string()).is_some()
    }

    /// The query parameters that have a default, with that.
    pub fn defaults(&self) -> impl Iterator<Item = (&str, String)> {
        let parameters = self.value["parameters"].as_array().into_iter().flatten();
        parameters.filter(|one| one["in"] == "query").filter_map(|one| {
            let default = match &one["default"] {
                Value::Null => return None,
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            Some((one["name"].as_str()?, default))
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Schema;

    #[test]
    fn shapes_are_looked_at() {
        let schema = Schema(json!({
            "definitions": { "Thing": {
                "type": "object", "required": ["Id"],
                "properties": {
                    "Id": { "type": "string" }, "State": { "type": "string", "enum": ["on", "off"] },
                    "Sizes": { "type": "array", "items": { "type": "integer" } },
                    "Labels": { "type": "object", "additionalProperties": { "type": "string" } },
                },
            } },
            "paths": { "/x": { "get": { "tags": ["T"], "responses": {
                "200": { "schema": { "type": "array", "items": { "$ref": "#/definitions/Thing" } } } } } } },
        }));
        let operation = schema.operation("GET", "/x").expect("it is there");
        let faults = |body| schema.faults(&operation, 200, &body).len();
        assert_eq!(
            faults(json!([{ "Id": "a", "State": "on", "Sizes": null, "Labels": { "a": "b" }, "New": 1 }])),
            0
        );
        assert_eq!(faults(json!([{ "Id": 5, "State": "up", "Sizes": [1.5], "Labels": { "a": 1 } }])), 4);
        assert_eq!(faults(json!([{}, { "Id": null }])), 2);
        assert_eq!(faults(json!({})), 1);
        assert!(operation.answers(200) && !operation.answers(404));
    }
}
