//! Go's built-in functions and Docker's.

use std::cmp::Ordering;

use serde_json::Value;

use super::TemplateError;
use super::print;

/// What Docker's functions do: in a table's header they leave the column's title as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Functions {
    /// They work on values.
    Values,
    /// They pass their argument through.
    Headers,
}

/// A function, named as in templates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    And,
    Or,
    Not,
    Len,
    Index,
    Slice,
    Print,
    Printf,
    Println,
    Urlquery,
    Html,
    Js,
    Eq,
    Ne,
    Lt,
    Le,
    Gt,
    Ge,
    Json,
    Split,
    Join,
    Title,
    Lower,
    Upper,
    Pad,
    Truncate,
    Pluralize,
}

impl Call {
    pub(super) fn named(name: &str) -> Option<Self> {
        Some(match name {
            "and" => Self::And,
            "or" => Self::Or,
            "not" => Self::Not,
            "len" => Self::Len,
            "index" => Self::Index,
            "slice" => Self::Slice,
            "print" => Self::Print,
            "printf" => Self::Printf,
            "println" => Self::Println,
            "urlquery" => Self::Urlquery,
            "html" => Self::Html,
            "js" => Self::Js,
            "eq" => Self::Eq,
            "ne" => Self::Ne,
            "lt" => Self::Lt,
            "le" => Self::Le,
            "gt" => Self::Gt,
            "ge" => Self::Ge,
            "json" => Self::Json,
            "split" => Self::Split,
            "join" => Self::Join,
            "title" => Self::Title,
            "lower" => Self::Lower,
            "upper" => Self::Upper,
            "pad" => Self::Pad,
            "truncate" => Self::Truncate,
            "pluralize" => Self::Pluralize,
            _ => return None,
        })
    }

    pub(super) fn apply(self, arguments: &[Value], functions: Functions) -> Result<Value, TemplateError> {
        let is_dockers = matches!(
            self,
            Self::Json
                | Self::Split
                | Self::Join
                | Self::Title
                | Self::Lower
                | Self::Upper
                | Self::Pad
                | Self::Truncate
        );
        if is_dockers && functions == Functions::Headers {
            return Ok(arguments.first().cloned().unwrap_or(Value::Null));
        }
        self.compute(arguments).map_err(|why| {
            let name = format!("{self:?}").to_lowercase();
            TemplateError(format!("error calling {name}: {why}"))
        })
    }

    fn compute(self, arguments: &[Value]) -> Result<Value, String> {
        let count = |wanted: usize| match arguments.len() {
            given if given == wanted => Ok(()),
            given => Err(format!("wrong number of args: want {wanted} got {given}")),
        };
        let text = |at: usize| arguments.get(at).map(print::plain).unwrap_or_default();
        Ok(match self {
            Self::And => choose(arguments, |value| !is_true(value))?,
            Self::Or => choose(arguments, is_true)?,
            Self::Not => {
                count(1)?;
                (!is_true(&arguments[0])).into()
            }
            Self::Len => {
                count(1)?;
                length(&arguments[0])?.into()
            }
            Self::Index => {
                let (collection, keys) = arguments.split_first().ok_or("index of untyped nil")?;
                keys.iter().try_fold(collection.clone(), item)?
            }
            Self::Slice => slice(arguments)?,
            Self::Print => print::sprint(arguments).into(),
            Self::Println => {
                let words: Vec<String> = arguments.iter().map(print::plain).collect();
                format!("{}\n", words.join(" ")).into()
            }
            Self::Printf => match arguments.split_first() {
                Some((Value::String(format), values)) => print::sprintf(format, values).into(),
                _ => return Err("printf needs a format".to_owned()),
            },
            Self::Urlquery => print::urlquery(&print::sprint(arguments)).into(),
            Self::Html => print::html(&print::sprint(arguments)).into(),
            Self::Js => {
                serde_json::to_string(&print::sprint(arguments)).unwrap_or_default().trim_matches('"').into()
            }
            Self::Eq => {
                let (first, rest) = arguments.split_first().ok_or("missing argument for comparison")?;
                if rest.is_empty() {
                    return Err("missing argument for comparison".to_owned());
                }
                rest.iter().any(|other| equal(first, other)).into()
            }
            Self::Ne => {
                count(2)?;
                (!equal(&arguments[0], &arguments[1])).into()
            }
            Self::Lt | Self::Le | Self::Gt | Self::Ge => {
                count(2)?;
                let order = compare(&arguments[0], &arguments[1])?;
                match self {
                    Self::Lt => order.is_lt(),
                    Self::Le => order.is_le(),
                    Self::Gt => order.is_gt(),
                    _ => order.is_ge(),
                }
                .into()
            }
            Self::Json => {
                count(1)?;
                print::json(&arguments[0]).into()
            }
            Self::Split => {
                count(2)?;
                let (whole, separator) = (text(0), text(1));
                let parts: Vec<Value> = match separator.as_str() {
                    "" => whole.chars().map(|c| c.to_string().into()).collect(),
                    separator => whole.split(separator).map(Value::from).collect(),
                };
                parts.into()
            }
            Self::Join => {
                count(2)?;
                let Value::Array(parts) = &arguments[0] else { return Ok(text(0).into()) };
                let parts: Vec<String> = parts.iter().map(print::plain).collect();
                parts.join(&text(1)).into()
            }
            Self::Title => title(&text(0)).into(),
            Self::Lower => text(0).to_lowercase().into(),
            Self::Upper => text(0).to_uppercase().into(),
            Self::Pad => {
                count(3)?;
                let blanks =
                    |at: usize| " ".repeat(usize::try_from(number(&arguments[at])).unwrap_or(0).min(10_000));
                match text(0).as_str() {
                    "" => "".into(),
                    text => format!("{}{text}{}", blanks(1), blanks(2)).into(),
                }
            }
            Self::Truncate => {
                count(2)?;
                let longest = usize::try_from(number(&arguments[1])).unwrap_or(0);
                text(0).chars().take(longest).collect::<String>().into()
            }
            Self::Pluralize => {
                count(3)?;
                if number(&arguments[0]) == 1 { arguments[1].clone() } else { arguments[2].clone() }
            }
        })
    }
}

/// Go's truth: not false, not zero, not empty.
pub(super) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

/// The first argument that decides, else the last.
fn choose(arguments: &[Value], decides: impl Fn(&Value) -> bool) -> Result<Value, String> {
    let chosen = arguments.iter().find(|value| decides(value)).or(arguments.last());
    chosen.cloned().ok_or_else(|| "wrong number of args: want at least 1 got 0".to_owned())
}

fn number(value: &Value) -> i64 {
    value.as_i64().unwrap_or(0)
}

fn length(value: &Value) -> Result<usize, String> {
    match value {
        Value::String(text) => Ok(text.len()),
        Value::Array(items) => Ok(items.len()),
        Value::Object(map) => Ok(map.len()),
        Value::Null => Ok(0),
        other => Err(format!("len of type {}", print::plain(other))),
    }
}

fn item(collection: Value, key: &Value) -> Result<Value, String> {
    match (collection, key) {
        (Value::Array(items), Value::Number(at)) => {
            let index = at.as_u64().and_then(|at| usize::try_from(at).ok());
            let item = index.and_then(|index| items.get(index).cloned());
            item.ok_or_else(|| format!("index out of range: {at}"))
        }
        // Go gives a map's zero value, and the maps that people index hold texts.
        (Value::Object(mut map), Value::String(key)) => Ok(map.remove(key).unwrap_or_else(|| "".into())),
        (Value::Null, _) => Ok("".into()),
        (Value::String(text), Value::Number(at)) => {
            let index = at.as_u64().and_then(|at| usize::try_from(at).ok());
            let byte = index.and_then(|index| text.as_bytes().get(index).copied());
            byte.map(Value::from).ok_or_else(|| format!("index out of range: {at}"))
        }
        (other, key) => Err(format!("can't index {} with {}", print::plain(&other), print::plain(key))),
    }
}

fn slice(arguments: &[Value]) -> Result<Value, String> {
    let subject = arguments.first().ok_or("slice of untyped nil")?;
    let bound = |at: usize, default: usize| match arguments.get(at) {
        None => Ok(default),
        Some(value) => value
            .as_u64()
            .and_then(|value| usize::try_from(value).ok())
            .ok_or_else(|| format!("index out of range: {}", print::plain(value))),
    };
    let size = length(subject)?;
    let (start, end) = (bound(1, 0)?, bound(2, size)?);
    let out_of_range = || format!("index out of range: {end}");
    match subject {
        Value::String(text) => text.get(start..end).map(Value::from).ok_or_else(out_of_range),
        Value::Array(items) => {
            items.get(start..end).map(|items| items.to_vec().into()).ok_or_else(out_of_range)
        }
        other => Err(format!("can't slice item of type {}", print::plain(other))),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        _ => a == b,
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, String> {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            let order = match (a.as_i64(), b.as_i64()) {
                (Some(a), Some(b)) => Some(a.cmp(&b)),
                _ => a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b)),
            };
            order.ok_or_else(|| "incomparable numbers".to_owned())
        }
        (Value::String(a), Value::String(b)) => Ok(a.cmp(b)),
        _ => Err("incompatible types for comparison".to_owned()),
    }
}

fn title(text: &str) -> String {
    let mut starts = true;
    let upper = text.chars().flat_map(|c| {
        let first = std::mem::replace(&mut starts, !c.is_alphanumeric() && c != '_' && c != '\'');
        if first { c.to_uppercase().collect::<Vec<_>>() } else { vec![c] }
    });
    upper.collect()
}
