//! What operators mean: comparisons of any two values, arithmetic.

use std::cmp::Ordering;

use cofferdam_cmdlet::{Failure, Value, wildcard};

/// No text grows beyond this.
const MOST_TEXT: usize = 1 << 20;
/// No list, either.
pub const MOST_ITEMS: usize = 100_000;

fn number(value: &Value) -> Option<f64> {
    #[allow(clippy::cast_precision_loss, reason = "comparisons with doubles, as .NET makes them")]
    match value {
        Value::Int(value) => Some(*value as f64),
        Value::Double(value) => Some(*value),
        Value::Bool(value) => Some(f64::from(u8::from(*value))),
        Value::Span(seconds) => Some(*seconds as f64),
        Value::Text(text) => cofferdam_cmdlet::size(text)
            .map(|whole| whole as f64)
            .or_else(|| text.trim().parse().ok().filter(|number: &f64| number.is_finite())),
        _ => None,
    }
}

/// The order of two values: by the left one's type. Texts are compared without case unless `exact`.
pub fn compare(left: &Value, right: &Value, exact: bool) -> Option<Ordering> {
    match (left, right) {
        (Value::Null, Value::Null) => Some(Ordering::Equal),
        (Value::Null, _) => Some(Ordering::Less),
        (_, Value::Null) => Some(Ordering::Greater),
        (Value::Int(a), Value::Int(b)) => Some(a.cmp(b)),
        (Value::Bool(a), _) => Some(a.cmp(&right.truth())),
        (Value::Int(_) | Value::Double(_) | Value::Span(_), _) => {
            number(left).zip(number(right)).and_then(|(a, b)| a.partial_cmp(&b))
        }
        (Value::Object(a), Value::Object(b)) if a == b => Some(Ordering::Equal),
        _ => {
            let (a, b) = (left.to_string(), right.to_string());
            Some(if exact { a.cmp(&b) } else { a.to_lowercase().cmp(&b.to_lowercase()) })
        }
    }
}

fn wrong(message: String) -> Failure {
    Failure::binding("InvalidOperation", message)
}

/// `-eq` and its like. With a list on the left, those of its items that fit.
pub fn binary(operator: &str, left: &Value, right: &Value) -> Result<Value, Failure> {
    let name = operator.trim_start_matches('-').to_ascii_lowercase();
    let (exact, base) = match name.as_str() {
        "contains" | "is" | "isnot" | "in" | "join" | "as" => (false, name.as_str()),
        other if other.starts_with('c') => (true, &other[1..]),
        other if other.starts_with('i') => (false, &other[1..]),
        other => (false, other),
    };
    let among = |items: &Value, one: &Value| {
        items.items().iter().any(|item| compare(item, one, exact) == Some(Ordering::Equal))
    };
    match base {
        "contains" => return Ok(among(left, right).into()),
        "notcontains" => return Ok((!among(left, right)).into()),
        "in" => return Ok(among(right, left).into()),
        "notin" => return Ok((!among(right, left)).into()),
        "join" => {
            let texts: Vec<_> = left.items().iter().map(ToString::to_string).collect();
            return bounded(texts.join(&right.to_string()));
        }
        "split" => {
            let pattern = expression(&right.to_string(), exact)?;
            return Ok(Value::list(
                pattern.split(&left.to_string()).take(MOST_ITEMS).map(Value::text).collect(),
            ));
        }
        "replace" => {
            let parts = right.items();
            let pattern = expression(&parts.first().map(ToString::to_string).unwrap_or_default(), exact)?;
            let with = parts.get(1).map(ToString::to_string).unwrap_or_default();
            return bounded(pattern.replace_all(&left.to_string(), with.as_str()).into_owned());
        }
        _ => {}
    }
    let test = |item: &Value| -> Result<bool, Failure> {
        let order = || compare(item, right, exact);
        Ok(match base {
            "eq" => order() == Some(Ordering::Equal),
            "ne" => order() != Some(Ordering::Equal),
            "lt" => order() == Some(Ordering::Less),
            "le" => matches!(order(), Some(Ordering::Less | Ordering::Equal)),
            "gt" => order() == Some(Ordering::Greater),
            "ge" => matches!(order(), Some(Ordering::Greater | Ordering::Equal)),
            "like" => wildcard::matches(&right.to_string(), &item.to_string()),
            "notlike" => !wildcard::matches(&right.to_string(), &item.to_string()),
            "match" => expression(&right.to_string(), exact)?.is_match(&item.to_string()),
            "notmatch" => !expression(&right.to_string(), exact)?.is_match(&item.to_string()),
            _ => return Err(crate::not_supported(&format!("the operator {operator}"))),
        })
    };
    if let Value::List(items) = left {
        let mut fitting = Vec::new();
        for item in items.iter() {
            if test(item)? {
                fitting.push(item.clone());
            }
        }
        return Ok(Value::list(fitting));
    }
    test(left).map(Value::from)
}

/// Regular expressions are Rust's: linear in time, without look-around.
fn expression(pattern: &str, exact: bool) -> Result<regex::Regex, Failure> {
    let built = regex::RegexBuilder::new(pattern).size_limit(1 << 20).build();
    let with_case = |pattern: &str| regex::Regex::new(&format!("(?i:{pattern})"));
    let built = if exact { built } else { built.and_then(|_| with_case(pattern)) };
    built.map_err(|error| wrong(format!("The regular expression pattern {pattern} is not valid: {error}")))
}

fn bounded(text: String) -> Result<Value, Failure> {
    if text.len() > MOST_TEXT { Err(wrong("The text is too long.".into())) } else { Ok(text.into()) }
}

/// `+ - * / %`
pub fn arithmetic(operator: &str, left: &Value, right: &Value) -> Result<Value, Failure> {
    match (operator, left, right) {
        ("+", Value::List(_), _) | ("+", Value::Null, Value::List(_)) => {
            let mut items = left.items();
            items.extend(right.items());
            if items.len() > MOST_ITEMS {
                return Err(wrong("The list is too long.".into()));
            }
            return Ok(Value::list(items));
        }
        ("+", Value::Text(text), _) => return bounded(format!("{text}{right}")),
        ("+", Value::Null, _) => return Ok(right.clone()),
        ("*", Value::Text(text), _) => {
            let times = number(right).filter(|times| *times >= 0.0).unwrap_or(0.0);
            #[allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            return if times * text.len() as f64 > MOST_TEXT as f64 {
                Err(wrong("The text is too long.".into()))
            } else {
                Ok(text.repeat(times as usize).into())
            };
        }
        _ => {}
    }
    let whole = |value: &Value| match value {
        Value::Null => Some(0),
        Value::Int(value) => Some(*value),
        Value::Text(text) => cofferdam_cmdlet::size(text),
        _ => None,
    };
    if let Some((a, b)) = whole(left).zip(whole(right)) {
        let exact = match operator {
            "+" => a.checked_add(b),
            "-" => a.checked_sub(b),
            "*" => a.checked_mul(b),
            "/" | "%" if b == 0 => return Err(wrong("Attempted to divide by zero.".into())),
            "/" if a.checked_rem(b) == Some(0) => a.checked_div(b),
            "%" => a.checked_rem(b),
            _ => None,
        };
        if let Some(exact) = exact {
            return Ok(Value::Int(exact));
        }
    }
    let (Some(a), Some(b)) = (number(left), number(right)) else {
        return Err(wrong(format!(
            "Method invocation failed because [{}] does not contain a method for '{operator}' with [{}].",
            left.type_name(),
            right.type_name()
        )));
    };
    Ok(Value::Double(match operator {
        "+" => a + b,
        "-" => a - b,
        "*" => a * b,
        "/" => a / b,
        _ => a % b,
    }))
}

/// `1..5`
pub fn range(left: &Value, right: &Value) -> Result<Value, Failure> {
    let end = |value: &Value| {
        let text = value.to_string();
        cofferdam_cmdlet::size(&text)
            .ok_or_else(|| wrong(format!("Cannot convert value \"{text}\" to a number.")))
    };
    let (from, to) = (end(left)?, end(right)?);
    if from.abs_diff(to) >= MOST_ITEMS as u64 {
        return Err(wrong(format!("A range has at most {MOST_ITEMS} numbers.")));
    }
    let items = if from <= to {
        (from..=to).map(Value::Int).collect()
    } else {
        (to..=from).rev().map(Value::Int).collect()
    };
    Ok(Value::list(items))
}
