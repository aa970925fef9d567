//! Executing the tree.

use std::ops::ControlFlow;

use serde_json::Value;

use super::functions::{Functions, is_true};
use super::parse::{Node, Operand, Pipeline, Root};
use super::{TemplateError, print};

/// A key of an object that `.Label "name"` looks into. No template can name it, and `json` leaves it out.
pub const LABELS: &str = "\0labels";

pub(super) fn render(nodes: &[Node], data: &Value, functions: Functions) -> Result<String, TemplateError> {
    let mut scope = Scope { variables: vec![(String::new(), data.clone())], functions, out: String::new() };
    // A stray `break` at the top ends the output, as an ended loop would.
    let _ = scope.walk(nodes, data)?;
    Ok(scope.out)
}

/// How a loop's body ended early.
enum Leave {
    Break,
    Continue,
}

struct Scope {
    /// Innermost last; `$` is the first.
    variables: Vec<(String, Value)>,
    functions: Functions,
    out: String,
}

fn error<T>(text: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(text.into()))
}

impl Scope {
    fn walk(&mut self, nodes: &[Node], dot: &Value) -> Result<ControlFlow<Leave>, TemplateError> {
        for node in nodes {
            let flow = match node {
                Node::Text(text) => {
                    self.out.push_str(text);
                    ControlFlow::Continue(())
                }
                Node::Action(pipeline) => {
                    let value = self.pipeline(pipeline, dot)?;
                    if pipeline.target.is_none() {
                        self.out.push_str(&print::plain(&value));
                    }
                    ControlFlow::Continue(())
                }
                Node::If { condition, then, otherwise } => self.scoped(|scope| {
                    let holds = is_true(&scope.pipeline(condition, dot)?);
                    scope.walk(if holds { then } else { otherwise }, dot)
                })?,
                Node::With { subject, then, otherwise } => self.scoped(|scope| {
                    let value = scope.pipeline(subject, dot)?;
                    if is_true(&value) { scope.walk(then, &value) } else { scope.walk(otherwise, dot) }
                })?,
                Node::Range { subject, body, otherwise } => {
                    self.scoped(|scope| scope.range(subject, body, otherwise, dot))?
                }
                Node::Break => ControlFlow::Break(Leave::Break),
                Node::Continue => ControlFlow::Break(Leave::Continue),
            };
            if flow.is_break() {
                return Ok(flow);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Variables declared in a block end with it.
    fn scoped<T>(&mut self, body: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.variables.len();
        let result = body(self);
        self.variables.truncate(outer);
        result
    }

    fn range(
        &mut self,
        subject: &Pipeline,
        body: &[Node],
        otherwise: &[Node],
        dot: &Value,
    ) -> Result<ControlFlow<Leave>, TemplateError> {
        let items: Vec<(Value, Value)> = match self.commands(subject, dot)? {
            Value::Array(items) => {
                items.into_iter().enumerate().map(|(at, item)| (at.into(), item)).collect()
            }
            Value::Object(map) => map.into_iter().map(|(key, item)| (key.into(), item)).collect(),
            Value::Number(count) => (0..count.as_u64().unwrap_or(0)).map(|n| (n.into(), n.into())).collect(),
            Value::Null => Vec::new(),
            other => return error(format!("range can't iterate over {}", print::plain(&other))),
        };
        if items.is_empty() {
            return self.walk(otherwise, dot);
        }
        let names = subject.target.as_ref().map_or(&[][..], |target| &target.names);
        for (key, item) in items {
            let flow = self.scoped(|scope| {
                match names {
                    [] => {}
                    [only] => scope.variables.push((only.clone(), item.clone())),
                    [first, second, ..] => {
                        scope.variables.push((first.clone(), key));
                        scope.variables.push((second.clone(), item.clone()));
                    }
                }
                scope.walk(body, &item)
            })?;
            if matches!(flow, ControlFlow::Break(Leave::Break)) {
                break;
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    /// A pipeline's value, with its assignment.
    fn pipeline(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let value = self.commands(pipeline, dot)?;
        if let Some(target) = &pipeline.target {
            for name in &target.names {
                if target.declares {
                    self.variables.push((name.clone(), value.clone()));
                    continue;
                }
                match self.variables.iter_mut().rev().find(|(known, _)| known == name) {
                    Some((_, variable)) => *variable = value.clone(),
                    None => return error(format!("undefined variable \"${name}\"")),
                }
            }
        }
        Ok(value)
    }

    /// Each command gets the previous one's value as its last argument.
    fn commands(&mut self, pipeline: &Pipeline, dot: &Value) -> Result<Value, TemplateError> {
        let mut piped = None;
        for command in &pipeline.commands {
            piped = Some(self.command(command, piped, dot)?);
        }
        Ok(piped.unwrap_or(Value::Null))
    }

    fn command(
        &mut self,
        operands: &[Operand],
        piped: Option<Value>,
        dot: &Value,
    ) -> Result<Value, TemplateError> {
        let (first, rest) =
            operands.split_first().ok_or_else(|| TemplateError("missing value for command".into()))?;
        let mut arguments = Vec::with_capacity(rest.len() + 1);
        for operand in rest {
            arguments.push(self.operand(operand, dot)?);
        }
        arguments.extend(piped);
        match first {
            Operand::Function(call) => call.apply(&arguments, self.functions),
            Operand::Path(root, fields) if !arguments.is_empty() => {
                let (last, before) =
                    fields.split_last().map_or(("", &[][..]), |(last, rest)| (last.as_str(), rest));
                let receiver = self.path(root, before, dot)?;
                method(&receiver, last, &arguments)
            }
            Operand::Literal(value) if !arguments.is_empty() => {
                error(format!("can't give argument to non-function {}", print::plain(value)))
            }
            operand => self.operand(operand, dot),
        }
    }

    fn operand(&mut self, operand: &Operand, dot: &Value) -> Result<Value, TemplateError> {
        match operand {
            Operand::Literal(value) => Ok(value.clone()),
            Operand::Function(call) => call.apply(&[], self.functions),
            Operand::Path(root, fields) => self.path(root, fields, dot),
        }
    }

    fn path(&mut self, root: &Root, fields: &[String], dot: &Value) -> Result<Value, TemplateError> {
        let mut value = match root {
            Root::Dot => dot.clone(),
            Root::Variable(name) => match self.variables.iter().rev().find(|(known, _)| known == name) {
                Some((_, value)) => value.clone(),
                None => return error(format!("undefined variable \"${name}\"")),
            },
            Root::Nested(pipeline) => self.pipeline(pipeline, dot)?,
        };
        for field in fields {
            value = take_field(value, field)?;
        }
        Ok(value)
    }
}

fn take_field(value: Value, field: &str) -> Result<Value, TemplateError> {
    let kind = match value {
        Value::Object(mut map) => {
            // Docker's templates use Go's names, which differ from the API's at most in case: `ID` and `Id`.
            let named = map.remove(field);
            let other_case = || map.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(field));
            let value = named.or_else(|| other_case().map(|(_, value)| value));
            return value.ok_or_else(|| TemplateError(format!("map has no entry for key {field:?}")));
        }
        Value::Null => return error(format!("nil data; no entry for key {field:?}")),
        Value::String(_) => "string",
        Value::Bool(_) => "bool",
        Value::Number(_) => "int",
        Value::Array(_) => "slice",
    };
    error(format!("can't evaluate field {field} in type {kind}"))
}

/// The one method with an argument that rows have: `.Label "name"`.
fn method(receiver: &Value, name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    match (name, receiver.get(LABELS), arguments) {
        ("Label", Some(labels), [Value::String(label)]) => {
            Ok(labels.get(label).cloned().unwrap_or_else(|| "".into()))
        }
        // A table's header is made of the same template.
        ("Label", None, [Value::String(label)]) if receiver.get("Labels").is_some() => {
            Ok(label.clone().into())
        }
        ("", ..) => error("can't give argument to non-function ."),
        _ => error(format!("{name} is not a method but has arguments")),
    }
}
