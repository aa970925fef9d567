//! What cmdlets take and give: PowerShell's values as far as these cmdlets need them.

use std::sync::Arc;

/// A value.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// `$null`
    #[default]
    Null,
    /// `$true`, `$false`
    Bool(bool),
    /// `System.Int64`, and the smaller ones.
    Int(i64),
    /// `System.Double`
    Double(f64),
    /// `System.String`
    Text(Arc<str>),
    /// `System.TimeSpan`, in whole seconds.
    Span(u64),
    /// `System.Object[]`
    List(Arc<Vec<Value>>),
    /// Anything with properties.
    Object(Arc<Object>),
    /// `{ … }`: a script block's source, without the braces.
    Script(Arc<str>),
}

/// Something with properties.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object {
    /// The name of its type, as the table and the views know it: `Container`; empty for one made by `Select-Object`.
    pub kind: String,
    /// Its properties in order.
    pub properties: Vec<(String, Value)>,
}

impl Object {
    /// An object without properties yet.
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.to_owned(), properties: Vec::new() }
    }

    /// With a further property.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.properties.push((name.to_owned(), value.into()));
        self
    }

    /// A property, in any case.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.properties.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// Sets a property, or adds it.
    pub fn set(&mut self, name: &str, value: Value) {
        match self.properties.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name)) {
            Some((_, place)) => *place = value,
            None => self.properties.push((name.to_owned(), value)),
        }
    }
}

impl Value {
    /// A text.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self::Text(text.as_ref().into())
    }

    /// A list.
    #[must_use]
    pub fn list(items: Vec<Self>) -> Self {
        Self::List(Arc::new(items))
    }

    /// What a pipeline gives: nothing, the one value, or a list.
    #[must_use]
    pub fn of_pipeline(mut items: Vec<Self>) -> Self {
        match items.len() {
            0 => Self::Null,
            1 => items.pop().unwrap_or_default(),
            _ => Self::list(items),
        }
    }

    /// The values that it is in a pipeline: a list's items, nothing of nothing.
    #[must_use]
    pub fn items(&self) -> Vec<Self> {
        match self {
            Self::Null => Vec::new(),
            Self::List(items) => items.to_vec(),
            one => vec![one.clone()],
        }
    }

    /// The object that it is.
    #[must_use]
    pub fn object(&self) -> Option<&Object> {
        if let Self::Object(object) = self { Some(object) } else { None }
    }

    /// PowerShell's view of it as true or false.
    #[must_use]
    pub fn truth(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Double(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => match items.as_slice() {
                [] => false,
                [one] => one.truth(),
                _ => true,
            },
            Self::Span(_) | Self::Object(_) | Self::Script(_) => true,
        }
    }

    /// A member: of an object its property, of a list its items' and `Count`.
    #[must_use]
    pub fn member(&self, name: &str) -> Self {
        match self {
            Self::Object(object) => match object.get(name) {
                Some(value) => value.clone(),
                None if name.eq_ignore_ascii_case("count") => Self::Int(1),
                None => Self::Null,
            },
            Self::List(items) if is_count(name) => count(items.len()),
            Self::List(items) => {
                Self::of_pipeline(items.iter().flat_map(|item| item.member(name).items()).collect())
            }
            Self::Text(text) if name.eq_ignore_ascii_case("length") => count(text.chars().count()),
            Self::Span(seconds) => span_member(*seconds, name),
            Self::Null if name.eq_ignore_ascii_case("count") => Self::Int(0),
            Self::Null => Self::Null,
            _ if is_count(name) => Self::Int(1),
            _ => Self::Null,
        }
    }

    /// As PowerShell names its type.
    #[must_use]
    pub fn type_name(&self) -> &str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "System.Boolean",
            Self::Int(_) => "System.Int64",
            Self::Double(_) => "System.Double",
            Self::Text(_) => "System.String",
            Self::Span(_) => "System.TimeSpan",
            Self::List(_) => "System.Object[]",
            Self::Script(_) => "System.Management.Automation.ScriptBlock",
            Self::Object(object) if object.kind.is_empty() => "System.Management.Automation.PSCustomObject",
            Self::Object(object) => &object.kind,
        }
    }

    /// As JSON, `depth` levels of objects deep; below that, their texts.
    #[must_use]
    pub fn to_json(&self, depth: usize) -> serde_json::Value {
        use serde_json::Value as Json;
        match self {
            Self::Null => Json::Null,
            Self::Bool(value) => Json::from(*value),
            Self::Int(value) => Json::from(*value),
            Self::Double(value) => Json::from(*value),
            Self::Text(_) | Self::Span(_) | Self::Script(_) => Json::from(self.to_string()),
            _ if depth == 0 => Json::from(self.to_string()),
            Self::List(items) => Json::Array(items.iter().map(|item| item.to_json(depth - 1)).collect()),
            Self::Object(object) => Json::Object(
                object
                    .properties
                    .iter()
                    .map(|(name, value)| (name.clone(), value.to_json(depth - 1)))
                    .collect(),
            ),
        }
    }

    /// Of JSON. serde_json itself bounds how deep that may be.
    #[must_use]
    pub fn from_json(json: &serde_json::Value) -> Self {
        use serde_json::Value as Json;
        match json {
            Json::Null => Self::Null,
            Json::Bool(value) => Self::Bool(*value),
            Json::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value),
                None => Self::Double(number.as_f64().unwrap_or_default()),
            },
            Json::String(text) => Self::text(text),
            Json::Array(items) => Self::list(items.iter().map(Self::from_json).collect()),
            Json::Object(fields) => {
                let mut object = Object::new("");
                object.properties =
                    fields.iter().map(|(name, value)| (name.clone(), Self::from_json(value))).collect();
                object.into()
            }
        }
    }
}

fn is_count(name: &str) -> bool {
    name.eq_ignore_ascii_case("count") || name.eq_ignore_ascii_case("length")
}

fn count(number: usize) -> Value {
    Value::Int(i64::try_from(number).unwrap_or(i64::MAX))
}

fn span_member(seconds: u64, name: &str) -> Value {
    let whole = |value: u64| Value::Int(i64::try_from(value).unwrap_or(i64::MAX));
    match name.to_ascii_lowercase().as_str() {
        "days" => whole(seconds / 86_400),
        "hours" => whole(seconds / 3600 % 24),
        "minutes" => whole(seconds / 60 % 60),
        "seconds" => whole(seconds % 60),
        "totalseconds" => whole(seconds),
        _ => Value::Null,
    }
}

/// PowerShell's `ToString`.
impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Null => Ok(()),
            Self::Bool(true) => f.write_str("True"),
            Self::Bool(false) => f.write_str("False"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Double(value) => write!(f, "{value}"),
            Self::Text(text) | Self::Script(text) => f.write_str(text),
            Self::Span(seconds) => {
                if *seconds >= 86_400 {
                    write!(f, "{}.", seconds / 86_400)?;
                }
                write!(f, "{:02}:{:02}:{:02}", seconds / 3600 % 24, seconds / 60 % 60, seconds % 60)
            }
            Self::List(items) => {
                for (index, item) in items.iter().enumerate() {
                    write!(f, "{}{item}", if index > 0 { " " } else { "" })?;
                }
                Ok(())
            }
            Self::Object(object) => write!(f, "{object}"),
        }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let of = |name: &str| self.get(name).map(ToString::to_string).unwrap_or_default();
        match self.kind.as_str() {
            "Container" => write!(f, "Container (Name = '{}') [Id = '{}']", of("Name"), of("Id")),
            "ContainerImage" => write!(
                f,
                "ContainerImage (Name = '{}') [Publisher = '{}', Version = '{}']",
                of("Name"),
                of("Publisher"),
                of("Version")
            ),
            "" => {
                f.write_str("@{")?;
                for (index, (name, value)) in self.properties.iter().enumerate() {
                    write!(f, "{}{name}={value}", if index > 0 { "; " } else { "" })?;
                }
                f.write_str("}")
            }
            kind => write!(f, "Cofferdam.{kind}"),
        }
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(value)
    }
}

impl From<f64> for Value {
    fn from(value: f64) -> Self {
        Self::Double(value)
    }
}

impl From<Object> for Value {
    fn from(object: Object) -> Self {
        Self::Object(Arc::new(object))
    }
}

impl<T: Into<Value>> From<Option<T>> for Value {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}
