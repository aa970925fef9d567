//! Statements and expressions.

use cofferdam_cmdlet::{Failure, Object, Value};
use tree_sitter::Node;

use crate::console::{Console, Evaluated, Host, Stop};
use crate::syntax::{Source, children, text};
use crate::{not_supported, operators};

impl<H: Host> Console<H> {
    /// A statement's output.
    pub(crate) fn statement(&mut self, source: &str, node: Node<'_>) -> Evaluated<Vec<Value>> {
        self.deeper(|this| match node.kind() {
            "pipeline" => this.pipeline(source, node),
            "if_statement" => this.if_statement(source, node),
            "foreach_statement" => this.foreach_statement(source, node),
            "flow_control_statement" => this.flow(source, node),
            "empty_statement" => Ok(Vec::new()),
            "statement_list" | "script_block_body" | "script_block" | "statement_block" | "program" => {
                let mut values = Vec::new();
                for child in children(node) {
                    let result = this.statement(source, child);
                    match result {
                        Ok(given) => values.extend(given),
                        Err(Stop::Leave(what, given)) => {
                            values.extend(given);
                            return Err(Stop::Leave(what, values));
                        }
                        Err(stop) => return Err(stop),
                    }
                    if values.len() > operators::MOST_ITEMS {
                        return Err(Failure::binding("TooMuchOutput", "The script gives too much.").into());
                    }
                }
                Ok(values)
            }
            kind => Err(not_supported(&shown(kind)).into()),
        })
    }

    fn if_statement(&mut self, source: &str, node: Node<'_>) -> Evaluated<Vec<Value>> {
        let Some(condition) = node.child_by_field_name("condition") else { return Ok(Vec::new()) };
        let block = |node: Node<'_>| -> Option<usize> {
            (0..node.named_child_count()).find(|index| {
                u32::try_from(*index)
                    .ok()
                    .and_then(|index| node.named_child(index))
                    .is_some_and(|child| child.kind() == "statement_block")
            })
        };
        let run = |this: &mut Self, node: Node<'_>| -> Evaluated<Vec<Value>> {
            match block(node).and_then(|index| node.named_child(u32::try_from(index).ok()?)) {
                Some(block) => this.statement(source, block),
                None => Ok(Vec::new()),
            }
        };
        if Value::of_pipeline(self.pipeline(source, condition)?).truth() {
            return run(self, node);
        }
        if let Some(clauses) = node.child_by_field_name("elseif_clauses") {
            for clause in children(clauses) {
                let Some(condition) = clause.child_by_field_name("condition") else { continue };
                if Value::of_pipeline(self.pipeline(source, condition)?).truth() {
                    return run(self, clause);
                }
            }
        }
        match node.child_by_field_name("else_clause") {
            Some(clause) => run(self, clause),
            None => Ok(Vec::new()),
        }
    }

    fn foreach_statement(&mut self, source: &str, node: Node<'_>) -> Evaluated<Vec<Value>> {
        let parts = children(node);
        let [variable, list, block] = parts.as_slice() else {
            return Err(not_supported("foreach -parallel").into());
        };
        let name = variable_name(text(source, *variable));
        let mut output = Vec::new();
        for item in Value::of_pipeline(self.pipeline(source, *list)?).items() {
            self.variables.insert(name.clone(), item);
            match self.statement(source, *block) {
                Ok(values) => output.extend(values),
                Err(Stop::Leave("break", values)) => {
                    output.extend(values);
                    break;
                }
                Err(Stop::Leave("continue", values)) => output.extend(values),
                Err(stop) => return Err(stop),
            }
        }
        Ok(output)
    }

    fn flow(&mut self, source: &str, node: Node<'_>) -> Evaluated<Vec<Value>> {
        let word = node.child(0).map(|child| text(source, child).to_ascii_lowercase()).unwrap_or_default();
        let values = match children(node).first() {
            Some(pipeline) if pipeline.kind() == "pipeline" => self.pipeline(source, *pipeline)?,
            _ => Vec::new(),
        };
        match word.as_str() {
            "exit" => {
                let code = values.first().and_then(|code| cofferdam_cmdlet::size(&code.to_string()));
                Err(Stop::Exit(i32::try_from(code.unwrap_or(0) & 0xff).unwrap_or(1)))
            }
            "throw" => {
                let message = Value::of_pipeline(values).to_string();
                let message = if message.is_empty() { "ScriptHalted".to_owned() } else { message };
                Err(Stop::Failed("Exception".into(), Failure::binding("RuntimeException", message)))
            }
            "break" => Err(Stop::Leave("break", values)),
            "continue" => Err(Stop::Leave("continue", values)),
            _ => Err(Stop::Leave("return", values)),
        }
    }

    /// A script block, of its source. `$_` is what it is for.
    pub(crate) fn block(&mut self, script: &str, item: Option<&Value>) -> Evaluated<Vec<Value>> {
        let source = match Source::parse(script) {
            Ok(source) => source,
            Err(crate::syntax::Refused::Wrong(failure)) => return Err(failure.into()),
            Err(crate::syntax::Refused::Incomplete) => {
                return Err(Failure::binding("ParserError", "The block is not complete.").into());
            }
        };
        let before = item.map(|item| self.variables.insert("_".into(), item.clone()));
        let result = self.statement(&source.text, source.root());
        if let Some(before) = before {
            match before {
                Some(before) => self.variables.insert("_".into(), before),
                None => self.variables.remove("_"),
            };
        }
        match result {
            Err(Stop::Leave("return", values)) => Ok(values),
            other => other,
        }
    }

    pub(crate) fn assignment(&mut self, source: &str, node: Node<'_>) -> Evaluated<Vec<Value>> {
        let parts = children(node);
        let (Some(left), Some(value)) = (parts.first(), node.child_by_field_name("value")) else {
            return Err(not_supported("this assignment").into());
        };
        let operator = parts.get(1).map(|operator| text(source, *operator)).unwrap_or_default();
        let target = single(*left);
        if target.kind() != "variable" {
            return Err(not_supported("an assignment to anything but a variable").into());
        }
        let name = variable_name(text(source, target));
        if ["true", "false", "null", "?", "error"].contains(&name.as_str()) {
            let message = format!("Cannot overwrite variable {name} because it is read-only or constant.");
            return Err(Failure::binding("VariableNotWritable", message).into());
        }
        self.success = true;
        let value = Value::of_pipeline(self.statement(source, value)?);
        let value = match operator.strip_suffix('=') {
            Some("") => value,
            Some(operator) => {
                let before = self.variables.get(&name).cloned().unwrap_or_default();
                operators::arithmetic(operator, &before, &value)?
            }
            None => value,
        };
        if self.variables.len() >= 4096 && !self.variables.contains_key(&name) {
            return Err(Failure::binding("TooManyVariables", "There are too many variables.").into());
        }
        self.variables.insert(name, value);
        Ok(Vec::new())
    }

    pub(crate) fn variable(&self, name: &str) -> Value {
        match name {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "null" => Value::Null,
            "?" => Value::Bool(self.success),
            "lastexitcode" => Value::Int(self.last_exit),
            "error" => Value::list(self.errors.clone()),
            "home" => std::env::var("HOME").ok().into(),
            "pwd" => std::env::current_dir().ok().map(|path| path.to_string_lossy().into_owned()).into(),
            "psitem" => self.variables.get("_").cloned().unwrap_or_default(),
            name => match name.strip_prefix("env:") {
                Some(_) => Value::Null,
                None => self.variables.get(name).cloned().unwrap_or_default(),
            },
        }
    }

    /// An expression's value.
    pub(crate) fn expression(&mut self, source: &str, node: Node<'_>) -> Evaluated<Value> {
        self.deeper(|this| this.expression_here(source, node))
    }

    fn expression_here(&mut self, source: &str, node: Node<'_>) -> Evaluated<Value> {
        // Most levels of the grammar are only there for precedence.
        let node = single(node);
        let parts = children(node);
        let operator = || {
            let mut cursor = node.walk();
            let found = node.children(&mut cursor).find(|child| !child.is_named());
            found.map(|child| text(source, child).to_ascii_lowercase()).unwrap_or_default()
        };
        match node.kind() {
            "variable" => {
                let raw = text(source, node);
                let name = variable_name(raw);
                match name.strip_prefix("env:") {
                    // As it was written: names in the environment have their case.
                    Some(_) => Ok(std::env::var(raw.rsplit(':').next().unwrap_or_default()).ok().into()),
                    None => Ok(self.variable(&name)),
                }
            }
            "integer_literal" | "real_literal" => literal(text(source, node)),
            "string_literal" => self.string(source, node),
            "parenthesized_expression" | "sub_expression" => {
                let mut values = Vec::new();
                for part in parts {
                    values.extend(self.statement(source, part)?);
                }
                Ok(Value::of_pipeline(values))
            }
            "array_expression" => {
                let mut values = Vec::new();
                for part in parts {
                    values.extend(self.statement(source, part)?);
                }
                Ok(Value::list(values))
            }
            "array_literal_expression" => {
                let mut items = Vec::new();
                for part in parts {
                    items.push(self.expression(source, part)?);
                }
                Ok(Value::list(items))
            }
            "script_block_expression" => {
                let whole = text(source, node);
                Ok(Value::Script(whole[1..whole.len() - 1].into()))
            }
            "hash_literal_expression" => self.hash(source, node),
            "member_access" => {
                if operator() == "::" {
                    return Err(not_supported("a static member of .NET").into());
                }
                let [object, member] = parts.as_slice() else { return Ok(Value::Null) };
                let object = self.expression(source, *object)?;
                let name = self.member_name(source, *member)?;
                Ok(object.member(&name))
            }
            "element_access" => {
                let [list, index] = parts.as_slice() else { return Ok(Value::Null) };
                let (list, index) = (self.expression(source, *list)?, self.expression(source, *index)?);
                Ok(element(&list, &index))
            }
            "expression_with_unary_operator" => self.unary(source, node),
            "logical_expression" | "logical_argument_expression" => {
                let [left, right] = parts.as_slice() else { return Ok(Value::Null) };
                let left = self.expression(source, *left)?.truth();
                Ok(Value::Bool(match operator().as_str() {
                    "-and" => left && self.expression(source, *right)?.truth(),
                    "-or" => left || self.expression(source, *right)?.truth(),
                    _ => left != self.expression(source, *right)?.truth(),
                }))
            }
            "comparison_expression" | "comparison_argument_expression" => {
                let [left, operator, right] = parts.as_slice() else { return Ok(Value::Null) };
                let (left, right) = (self.expression(source, *left)?, self.expression(source, *right)?);
                Ok(operators::binary(text(source, *operator), &left, &right)?)
            }
            "additive_expression"
            | "multiplicative_expression"
            | "additive_argument_expression"
            | "multiplicative_argument_expression" => {
                let [left, right] = parts.as_slice() else { return Ok(Value::Null) };
                let (left, right) = (self.expression(source, *left)?, self.expression(source, *right)?);
                Ok(operators::arithmetic(&operator(), &left, &right)?)
            }
            "range_expression" | "range_argument_expression" => {
                let [left, right] = parts.as_slice() else { return Ok(Value::Null) };
                let (left, right) = (self.expression(source, *left)?, self.expression(source, *right)?);
                Ok(operators::range(&left, &right)?)
            }
            kind => Err(not_supported(&shown(kind)).into()),
        }
    }

    fn unary(&mut self, source: &str, node: Node<'_>) -> Evaluated<Value> {
        let operator =
            node.child(0).map(|child| text(source, child).to_ascii_lowercase()).unwrap_or_default();
        let parts = children(node);
        let Some(operand) = parts.first() else { return Ok(Value::Null) };
        match operator.as_str() {
            "!" | "-not" => Ok(Value::Bool(!self.expression(source, *operand)?.truth())),
            "-" => Ok(operators::arithmetic("-", &Value::Int(0), &self.expression(source, *operand)?)?),
            "+" => Ok(operators::arithmetic("+", &Value::Int(0), &self.expression(source, *operand)?)?),
            "," => Ok(Value::list(vec![self.expression(source, *operand)?])),
            "-join" => Ok(operators::binary("-join", &self.expression(source, *operand)?, &Value::text(""))?),
            _ if operand.kind() == "cast_expression" => {
                let cast = children(*operand);
                let [kind, value] = cast.as_slice() else { return Ok(Value::Null) };
                let kind = text(source, *kind).trim_matches(['[', ']']).to_ascii_lowercase();
                let value = self.expression(source, *value)?;
                convert(&kind, value)
            }
            other => Err(not_supported(&format!("the operator {other}")).into()),
        }
    }

    fn member_name(&mut self, source: &str, node: Node<'_>) -> Evaluated<String> {
        match node.named_child(0) {
            Some(child) if child.kind() != "simple_name" => Ok(self.expression(source, child)?.to_string()),
            _ => Ok(text(source, node).to_owned()),
        }
    }

    fn hash(&mut self, source: &str, node: Node<'_>) -> Evaluated<Value> {
        let mut object = Object::new("Hashtable");
        for body in children(node) {
            for entry in children(body) {
                let parts = children(entry);
                let [key, value] = parts.as_slice() else { return Err(not_supported("this table").into()) };
                let name = match key.named_child(0) {
                    Some(child) if child.kind() != "simple_name" => {
                        self.expression(source, child)?.to_string()
                    }
                    _ => text(source, *key).to_owned(),
                };
                let value = Value::of_pipeline(self.statement(source, *value)?);
                object.set(&name, value);
            }
        }
        Ok(object.into())
    }

    fn string(&mut self, source: &str, node: Node<'_>) -> Evaluated<Value> {
        let Some(inner) = node.named_child(0) else { return Ok(Value::text("")) };
        let whole = text(source, inner);
        match inner.kind() {
            "verbatim_string_characters" => Ok(Value::from(whole[1..whole.len() - 1].replace("''", "'"))),
            "verbatim_here_string_characters" | "expandable_here_string_literal" => {
                let body = whole.split_once('\n').map_or("", |(_, body)| body);
                let end = body.rfind('\n').unwrap_or(0);
                let from = whole.len() - body.len();
                let to = from + body[..end].trim_end_matches('\r').len();
                if inner.kind().starts_with("verbatim") {
                    return Ok(Value::text(&whole[from..to]));
                }
                self.expand(source, inner, inner.start_byte() + from, inner.start_byte() + to, false)
            }
            _ => self.expand(source, inner, inner.start_byte() + 1, inner.end_byte() - 1, true),
        }
    }

    /// The text between two bytes of a node, with its variables and subexpressions replaced.
    fn expand(
        &mut self,
        source: &str,
        node: Node<'_>,
        from: usize,
        to: usize,
        quotes: bool,
    ) -> Evaluated<Value> {
        let mut output = String::new();
        let mut at = from;
        for child in children(node) {
            output += &unescape(source.get(at..child.start_byte()).unwrap_or_default(), quotes);
            at = child.end_byte();
            output += &self.expression(source, child)?.to_string();
            if output.len() > 1 << 20 {
                return Err(Failure::binding("TooLong", "The text is too long.").into());
            }
        }
        output += &unescape(source.get(at..to).unwrap_or_default(), quotes);
        Ok(Value::from(output))
    }
}

/// Backticks, and doubled quotes.
pub(crate) fn unescape(text: &str, quotes: bool) -> String {
    let mut output = String::new();
    let mut letters = text.chars().peekable();
    while let Some(letter) = letters.next() {
        match letter {
            '`' => match letters.next() {
                Some('n') => output.push('\n'),
                Some('t') => output.push('\t'),
                Some('r') => output.push('\r'),
                Some('0') => output.push('\0'),
                Some('\n') | None => {}
                Some(other) => output.push(other),
            },
            '"' if quotes => {
                letters.next_if_eq(&'"');
                output.push('"');
            }
            other => output.push(other),
        }
    }
    output
}

/// Down to the node that is more than a level of precedence.
fn single(mut node: Node<'_>) -> Node<'_> {
    const LEVELS: [&str; 18] = [
        "left_assignment_expression",
        "logical_expression",
        "bitwise_expression",
        "comparison_expression",
        "additive_expression",
        "multiplicative_expression",
        "format_expression",
        "range_expression",
        "array_literal_expression",
        "unary_expression",
        "argument_expression",
        "logical_argument_expression",
        "bitwise_argument_expression",
        "comparison_argument_expression",
        "additive_argument_expression",
        "multiplicative_argument_expression",
        "format_argument_expression",
        "range_argument_expression",
    ];
    while node.child_count() == 1 && LEVELS.contains(&node.kind()) {
        match node.named_child(0) {
            Some(child) => node = child,
            None => break,
        }
    }
    node
}

/// `$Con`, `${a b}`, `$global:x`: the name that it is kept under.
pub(crate) fn variable_name(text: &str) -> String {
    let name = text.trim_start_matches(['$', '@']).trim_matches(['{', '}']).to_lowercase();
    for scope in ["global:", "local:", "private:", "script:", "using:"] {
        if let Some(rest) = name.strip_prefix(scope) {
            return rest.to_owned();
        }
    }
    name
}

fn literal(text: &str) -> Evaluated<Value> {
    if let Some(whole) = cofferdam_cmdlet::size(text) {
        return Ok(Value::Int(whole));
    }
    let lower = text.to_ascii_lowercase();
    let units = [("kb", 10), ("mb", 20), ("gb", 30), ("tb", 40), ("pb", 50)];
    let unit = units.iter().find_map(|(name, shift)| Some((lower.strip_suffix(name)?, *shift)));
    let (digits, shift) = unit.unwrap_or((&lower, 0));
    #[allow(clippy::cast_precision_loss, reason = "a power of two")]
    let factor = (1_u64 << shift) as f64;
    let number: Option<f64> = digits.trim_end_matches(['d', 'l']).parse().ok();
    match number {
        Some(number) => Ok(Value::Double(number * factor)),
        None => {
            Err(Failure::binding("BadNumericConstant", format!("The numeric constant {text} is not valid."))
                .into())
        }
    }
}

fn element(list: &Value, index: &Value) -> Value {
    if let (Some(object), Value::Text(name)) = (list.object(), index) {
        return object.get(name).cloned().unwrap_or_default();
    }
    let items = match list {
        Value::Text(text) => text.chars().map(|letter| Value::from(letter.to_string())).collect(),
        other => other.items(),
    };
    let at = |index: &Value| -> Value {
        let Value::Int(index) = index else { return Value::Null };
        let length = i64::try_from(items.len()).unwrap_or(i64::MAX);
        let place = if *index < 0 { length.saturating_add(*index) } else { *index };
        usize::try_from(place).ok().and_then(|place| items.get(place)).cloned().unwrap_or_default()
    };
    match index {
        Value::List(several) => Value::list(several.iter().map(at).collect()),
        one => at(one),
    }
}

fn convert(kind: &str, value: Value) -> Evaluated<Value> {
    let cannot = |value: &Value| {
        let message = format!("Cannot convert value \"{value}\" to type \"{kind}\".");
        Stop::from(Failure::binding("InvalidCast", message))
    };
    match kind {
        "string" => Ok(Value::from(value.to_string())),
        "bool" | "switch" => Ok(Value::Bool(value.truth())),
        "int" | "int32" | "int64" | "long" => match value {
            Value::Null => Ok(Value::Int(0)),
            other => cofferdam_cmdlet::size(&other.to_string()).map(Value::Int).ok_or_else(|| cannot(&other)),
        },
        "double" => {
            let text = value.to_string();
            text.parse().map(Value::Double).map_err(|_unreadable| cannot(&value))
        }
        "guid" | "version" => Ok(Value::from(value.to_string())),
        "pscustomobject" | "ordered" | "hashtable" => match value.object() {
            Some(object) => {
                let kind = if kind == "pscustomobject" { "" } else { "Hashtable" };
                Ok(Object { kind: kind.into(), properties: object.properties.clone() }.into())
            }
            None => Err(cannot(&value)),
        },
        "void" => Ok(Value::Null),
        other if other.starts_with("string[") || other == "array" => Ok(Value::list(value.items())),
        other => Err(not_supported(&format!("the type [{other}]")).into()),
    }
}

/// A node's kind in words.
fn shown(kind: &str) -> String {
    match kind {
        "invokation_expression" => "calling a method".into(),
        "type_literal" => "a type of .NET".into(),
        "format_expression" => "the operator -f".into(),
        other => format!("a {}", other.replace('_', " ")),
    }
}
