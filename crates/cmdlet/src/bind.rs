//! From a command line to a cmdlet's parameters: abbreviated names, positions, types, parameter sets, and the
//! pipeline's objects.

use std::collections::BTreeMap;

use crate::table::{COMMON, Cmdlet, Kind, Parameter};
use crate::{Failure, Value};

/// A piece of a command line.
#[derive(Clone, Debug, PartialEq)]
pub enum Argument {
    /// `-Name`, or `-Name:value`.
    Named(String, Option<Value>),
    /// A value.
    Value(Value),
}

/// Parameters with their values.
#[derive(Clone, Debug)]
pub struct Bound {
    /// Of which cmdlet.
    pub cmdlet: &'static Cmdlet,
    values: BTreeMap<&'static str, Value>,
}

impl Bound {
    /// A parameter's value, if it was given.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(name)
    }

    /// A text.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<String> {
        self.get(name).map(ToString::to_string)
    }

    /// Texts.
    #[must_use]
    pub fn texts(&self, name: &str) -> Option<Vec<String>> {
        self.get(name).map(|value| value.items().iter().map(ToString::to_string).collect())
    }

    /// A number.
    #[must_use]
    pub fn long(&self, name: &str) -> Option<i64> {
        if let Some(Value::Int(value)) = self.get(name) { Some(*value) } else { None }
    }

    /// A switch.
    #[must_use]
    pub fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(Value::truth)
    }

    /// A switch that was given, either way.
    #[must_use]
    pub fn choice(&self, name: &str) -> Option<bool> {
        self.get(name).map(Value::truth)
    }

    /// Binds a pipeline's object, too: by its type first, then by its properties, then by conversion. The result is
    /// checked.
    pub fn with_input(&self, input: &Value) -> Result<Self, Failure> {
        let mut all = self.clone();
        let free = |all: &Self, parameter: &Parameter| {
            !all.values.contains_key(parameter.name) && all.can_have(parameter)
        };
        let mut taken = false;
        for coerce in [false, true] {
            for parameter in self.cmdlet.parameters.iter().filter(|parameter| parameter.by_value) {
                if taken || !free(&all, parameter) || (!coerce && !is_of(parameter.kind, input)) {
                    continue;
                }
                // An object is no name: its properties are for that.
                if coerce && (input.object().is_some() || matches!(parameter.kind, Kind::Object(_))) {
                    continue;
                }
                if let Ok(value) = convert(parameter, input) {
                    all.values.insert(parameter.name, value);
                    taken = true;
                }
            }
            if taken || input.object().is_none() {
                continue;
            }
            for parameter in self.cmdlet.parameters.iter().filter(|parameter| parameter.by_name) {
                let names = parameter.aliases.iter().chain([&parameter.name]);
                let found = names.filter_map(|name| input.object()?.get(name)).next();
                let Some(found) = found.filter(|_| free(&all, parameter)) else { continue };
                if let Ok(value) = convert(parameter, found) {
                    all.values.insert(parameter.name, value);
                    taken = true;
                }
            }
        }
        if !taken {
            return Err(Failure {
                terminating: false,
                ..Failure::binding(
                    "InputObjectNotBound",
                    "The input object cannot be bound to any parameters for the command either because the command \
                     does not take pipeline input or the input and its properties do not match any of the parameters \
                     that take pipeline input.",
                )
            });
        }
        all.complete()?;
        Ok(all)
    }

    /// Checks that one parameter set is chosen and has all that it must have.
    pub fn complete(&self) -> Result<(), Failure> {
        let sets = self.possible_sets();
        let missing = |set: &str| -> Vec<&'static str> {
            let of_set = self.cmdlet.parameters.iter().filter(|parameter| parameter.is_in(set));
            let must = of_set.filter(|parameter| parameter.mandatory);
            must.map(|parameter| parameter.name).filter(|name| !self.values.contains_key(name)).collect()
        };
        let Some(first) = sets.first() else { return Err(unresolved()) };
        if sets.iter().any(|set| missing(set).is_empty()) {
            return Ok(());
        }
        Err(Failure::binding(
            "MissingMandatoryParameter",
            format!(
                "Cannot process command because of one or more missing mandatory parameters: {}.",
                missing(first).join(" ")
            ),
        ))
    }

    /// The sets that what is bound leaves.
    fn possible_sets(&self) -> Vec<&'static str> {
        let bound = || self.cmdlet.parameters.iter().filter(|p| self.values.contains_key(p.name));
        let fits = |set: &&&'static str| bound().all(|parameter| parameter.is_in(set));
        self.cmdlet.sets.iter().filter(fits).copied().collect()
    }

    fn can_have(&self, parameter: &Parameter) -> bool {
        self.possible_sets().iter().any(|set| parameter.is_in(set))
    }
}

fn unresolved() -> Failure {
    Failure::binding(
        "AmbiguousParameterSet",
        "Parameter set cannot be resolved using the specified named parameters. One or more parameters issued cannot be \
         used together or an insufficient number of parameters were provided.",
    )
}

/// Binds a command line, without the pipeline. [`Bound::complete`] or [`Bound::with_input`] has to follow.
pub fn bind(cmdlet: &'static Cmdlet, arguments: &[Argument]) -> Result<Bound, Failure> {
    let mut bound = Bound { cmdlet, values: BTreeMap::new() };
    let mut without_names = Vec::new();
    let mut rest = arguments.iter().peekable();
    while let Some(argument) = rest.next() {
        let (name, attached) = match argument {
            Argument::Value(value) => {
                without_names.push(value.clone());
                continue;
            }
            Argument::Named(name, attached) => (name, attached),
        };
        let parameter = named(cmdlet, name)?;
        let value = match (attached, parameter.kind) {
            (Some(value), _) => value.clone(),
            (None, Kind::Switch) => Value::Bool(true),
            (None, kind) => match rest.peek() {
                Some(Argument::Value(value)) => {
                    rest.next();
                    value.clone()
                }
                _ => {
                    return Err(Failure::binding(
                        "MissingArgument",
                        format!(
                            "Missing an argument for parameter '{}'. Specify a parameter of type '{}' and try again.",
                            parameter.name,
                            type_of(kind)
                        ),
                    ));
                }
            },
        };
        let value = convert(parameter, &value)?;
        if bound.values.insert(parameter.name, value).is_some() {
            return Err(Failure::binding(
                "ParameterAlreadyBound",
                format!(
                    "Cannot bind parameter because parameter '{}' is specified more than once. To provide multiple \
                     values to parameters that can accept multiple values, use the array syntax.",
                    parameter.name
                ),
            ));
        }
    }
    if bound.possible_sets().is_empty() {
        return Err(unresolved());
    }
    for value in without_names {
        bind_position(&mut bound, &value)?;
    }
    if bound.get("Credential").is_some() {
        return Err(Failure::binding(
            "CredentialNotSupported",
            "-Credential is not supported: a daemon knows its clients by their TLS certificates. Set DOCKER_CERT_PATH \
             and DOCKER_TLS_VERIFY.",
        ));
    }
    Ok(bound)
}

/// The parameter of a name or of its unambiguous beginning.
fn named(cmdlet: &'static Cmdlet, name: &str) -> Result<&'static Parameter, Failure> {
    let all = || cmdlet.all_parameters().chain(COMMON);
    let names = |parameter: &'static Parameter| parameter.aliases.iter().chain([&parameter.name]);
    if let Some(exact) = all().find(|parameter| names(parameter).any(|own| own.eq_ignore_ascii_case(name))) {
        return Ok(exact);
    }
    let begins = |own: &str| own.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name));
    let found: Vec<_> = all().filter(|parameter| names(parameter).any(|own| begins(own))).collect();
    // A cmdlet's own parameters come before those that all have.
    let own: Vec<_> = found.iter().filter(|p| cmdlet.parameters.iter().any(|q| q.name == p.name)).collect();
    match (found.as_slice(), own.as_slice()) {
        _ if name.is_empty() => {}
        ([one], _) => return Ok(one),
        (_, [one]) => return Ok(one),
        ([], _) => {}
        (several, _) => {
            let matches: Vec<_> = several.iter().map(|parameter| format!("-{}", parameter.name)).collect();
            return Err(Failure::binding(
                "AmbiguousParameter",
                format!(
                    "Parameter cannot be processed because the parameter name '{name}' is ambiguous. Possible matches \
                     include: {}.",
                    matches.join(" ")
                ),
            ));
        }
    }
    Err(Failure::binding(
        "NamedParameterNotFound",
        format!("A parameter cannot be found that matches parameter name '{name}'."),
    ))
}

/// Binds a value without a name to the first position that is free. Where sets differ in what is there, the value's
/// type decides, then the default set.
fn bind_position(bound: &mut Bound, value: &Value) -> Result<(), Failure> {
    let cmdlet = bound.cmdlet;
    let mut candidates: Vec<&Parameter> = cmdlet
        .parameters
        .iter()
        .filter(|p| p.position.is_some() && !bound.values.contains_key(p.name) && bound.can_have(p))
        .collect();
    let default_first = |parameter: &Parameter| !parameter.is_in(cmdlet.sets[0]);
    candidates.sort_by_key(|parameter| (parameter.position, default_first(parameter)));
    let Some(first) = candidates.first() else {
        return Err(Failure::binding(
            "PositionalParameterNotFound",
            format!("A positional parameter cannot be found that accepts argument '{value}'."),
        ));
    };
    let here: Vec<_> = candidates.iter().filter(|p| p.position == first.position).collect();
    let exact = here.iter().find(|parameter| is_of(parameter.kind, value));
    let converted = || here.iter().find_map(|parameter| Some((*parameter, convert(parameter, value).ok()?)));
    let (parameter, value) = match exact {
        Some(parameter) => (**parameter, convert(parameter, value)?),
        None => match converted() {
            Some((parameter, value)) => (*parameter, value),
            None => (*first, convert(first, value)?),
        },
    };
    bound.values.insert(parameter.name, value);
    Ok(())
}

/// Whether a value is of a parameter's type as it is.
fn is_of(kind: Kind, value: &Value) -> bool {
    match (kind, value) {
        (Kind::Objects(wanted), Value::List(items)) => {
            !items.is_empty() && items.iter().all(|item| is_of(Kind::Objects(wanted), item))
        }
        (Kind::Object(wanted) | Kind::Objects(wanted), Value::Object(object)) => stands_for(wanted, object),
        (Kind::Texts, Value::List(items)) => items.iter().all(|item| matches!(item, Value::Text(_))),
        (Kind::Text | Kind::Texts | Kind::Version | Kind::Guid | Kind::Enum(_), Value::Text(_))
        | (Kind::Long, Value::Int(_))
        | (Kind::Script, Value::Script(_))
        | (Kind::Switch, Value::Bool(_)) => true,
        _ => false,
    }
}

/// What identifies an object of a type; `Select-Object` and JSON lose the type, but not that.
fn stands_for(wanted: &str, object: &crate::Object) -> bool {
    if object.kind == wanted {
        return true;
    }
    let has = |names: &[&str]| names.iter().all(|name| object.get(name).is_some());
    object.kind.is_empty()
        && match wanted {
            "Container" => has(&["ContainerId"]),
            "ContainerImage" => has(&["ImageId", "Name"]),
            "ComputeProcess" => has(&["Id", "Owner"]),
            _ => false,
        }
}

fn type_of(kind: Kind) -> String {
    match kind {
        Kind::Text | Kind::Guid | Kind::Version => "System.String".into(),
        Kind::Texts => "System.String[]".into(),
        Kind::Long => "System.Int64".into(),
        Kind::Switch => "System.Management.Automation.SwitchParameter".into(),
        Kind::Enum(words) => words.join("|"),
        Kind::Object(kind) => format!("Cofferdam.{kind}"),
        Kind::Objects(kind) => format!("Cofferdam.{kind}[]"),
        Kind::Script => "System.Management.Automation.ScriptBlock".into(),
    }
}

/// A value as a parameter takes it.
fn convert(parameter: &Parameter, value: &Value) -> Result<Value, Failure> {
    let name = parameter.name;
    let wrong = |why: String| {
        Failure::binding("ParameterArgumentTransformation", format!("Cannot bind parameter '{name}'. {why}"))
    };
    let cannot =
        || wrong(format!("Cannot convert value \"{value}\" to type \"{}\".", type_of(parameter.kind)));
    let nothing = || {
        let what = if matches!(value, Value::Null) { "null" } else { "an empty string" };
        Failure::binding(
            "ParameterArgumentValidationError",
            format!("Cannot bind argument to parameter '{name}' because it is {what}."),
        )
    };
    match parameter.kind {
        Kind::Switch => match value {
            Value::Bool(_) | Value::Int(_) | Value::Null => Ok(Value::Bool(value.truth())),
            _ => Err(cannot()),
        },
        Kind::Text | Kind::Version | Kind::Guid => match value {
            Value::Null => Err(nothing()),
            Value::List(items) if items.len() != 1 => Err(cannot()),
            Value::Object(object) if parameter.kind == Kind::Guid || name == "ContainerName" => {
                // A container in the place of its name or ID.
                let key = if parameter.kind == Kind::Guid { "ContainerId" } else { "ContainerName" };
                object.get(key).cloned().ok_or_else(cannot)
            }
            other => {
                let text = other.to_string();
                if text.is_empty() {
                    return Err(nothing());
                }
                let is_id = text.chars().all(|letter| letter.is_ascii_hexdigit() || letter == '-');
                if parameter.kind == Kind::Guid && !is_id {
                    return Err(cannot());
                }
                Ok(Value::from(text))
            }
        },
        Kind::Texts => {
            let texts: Vec<_> = value.items().iter().map(|item| Value::from(name_of(item, name))).collect();
            if texts.is_empty() || texts.iter().any(|text| !text.truth()) {
                return Err(nothing());
            }
            Ok(Value::list(texts))
        }
        Kind::Long => match value {
            Value::Int(value) => Ok(Value::Int(*value)),
            Value::Double(value) if value.abs() < 9e15 => {
                #[allow(clippy::cast_possible_truncation, reason = "bounded above; .NET rounds, too")]
                let whole = value.round() as i64;
                Ok(Value::Int(whole))
            }
            Value::Text(text) => size(text).map(Value::Int).ok_or_else(cannot),
            _ => Err(cannot()),
        },
        Kind::Enum(words) => {
            let text = value.to_string();
            let exact = words.iter().find(|word| word.eq_ignore_ascii_case(&text));
            let begins =
                |word: &&&str| word.get(..text.len()).is_some_and(|start| start.eq_ignore_ascii_case(&text));
            let mut beginnings = words.iter().filter(begins);
            let one = beginnings.next().filter(|_| !text.is_empty() && beginnings.next().is_none());
            exact.or(one).map(Value::text).ok_or_else(|| {
                wrong(format!(
                    "Unable to match the identifier name {text} to a valid enumerator name. Specify one of the \
                     following enumerator names and try again: {}",
                    words.join(", ")
                ))
            })
        }
        Kind::Object(wanted) => match value {
            Value::Object(object) if stands_for(wanted, object) => Ok(value.clone()),
            Value::List(items) if items.len() == 1 => convert(parameter, &items[0]),
            Value::Null => Err(nothing()),
            _ => Err(cannot()),
        },
        Kind::Objects(wanted) => {
            let items = value.items();
            let fit = |item: &Value| item.object().is_some_and(|object| stands_for(wanted, object));
            if items.is_empty() {
                return Err(nothing());
            }
            if items.iter().all(fit) { Ok(Value::list(items)) } else { Err(cannot()) }
        }
        Kind::Script => match value {
            Value::Script(_) => Ok(value.clone()),
            Value::Text(text) => Ok(Value::Script(text.clone())),
            _ => Err(cannot()),
        },
    }
}

/// The text of a value where a name is wanted: of an object, its name.
fn name_of(value: &Value, parameter: &str) -> String {
    let name = || {
        let object = value.object()?;
        object
            .get(parameter)
            .or_else(|| object.get("Name"))
            .filter(|value| value.truth())
            .map(ToString::to_string)
    };
    name().unwrap_or_else(|| value.to_string())
}

/// `12`, `0x10`, `256MB`.
#[must_use]
pub fn size(text: &str) -> Option<i64> {
    let text = text.trim().to_ascii_lowercase();
    let units = [("kb", 10), ("mb", 20), ("gb", 30), ("tb", 40), ("pb", 50)];
    let unit = units.iter().find_map(|(name, shift)| Some((text.strip_suffix(name)?, *shift)));
    let (digits, shift) = unit.unwrap_or((&text, 0));
    let digits = digits.strip_suffix('l').unwrap_or(digits);
    let number = match digits.strip_prefix("0x") {
        Some(hexadecimal) => i64::from_str_radix(hexadecimal, 16).ok()?,
        None => digits.parse::<i64>().ok()?,
    };
    number.checked_mul(1_i64 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Object, table};

    fn line(cmdlet: &str, arguments: &[&str]) -> Result<Bound, Failure> {
        let arguments: Vec<_> = arguments
            .iter()
            .map(|text| match text.strip_prefix('-') {
                Some(name) => Argument::Named(name.into(), None),
                None => Argument::Value(Value::text(text)),
            })
            .collect();
        let bound = bind(table::find(cmdlet).unwrap(), &arguments)?;
        bound.complete()?;
        Ok(bound)
    }

    fn container() -> Value {
        Object::new("Container").with("Name", "DEMO").with("ContainerId", "ab12").into()
    }

    #[test]
    fn names_may_be_short() {
        let bound =
            line("new-container", &["DEMO", "-ContainerImageN", "nano", "-Run", "hyperv", "-Max", "256MB"])
                .unwrap();
        assert_eq!(bound.text("Name").unwrap(), "DEMO");
        assert_eq!(bound.text("RuntimeType").unwrap(), "HyperV");
        assert_eq!(bound.long("MaximumMemoryBytes"), Some(256 << 20));
        let said = line("New-Container", &["-ContainerImage", "x"]).unwrap_err().message;
        assert!(said.contains("Cannot bind parameter 'ContainerImage'"), "{said}");
        let said = line("New-Container", &["-Con", "x"]).unwrap_err().message;
        assert!(said.contains("'Con' is ambiguous. Possible matches include: -ContainerImageName"), "{said}");
        let said = line("Get-Container", &["-Colour", "x"]).unwrap_err().message;
        assert_eq!(said, "A parameter cannot be found that matches parameter name 'Colour'.");
    }

    #[test]
    fn what_is_wrong_is_said_as_powershell_says_it() {
        for (cmdlet, arguments, words) in [
            ("New-Container", &["a", "-ContainerImageName"][..], "Missing an argument for parameter"),
            ("New-Container", &["a"], "missing mandatory parameters: ContainerImageName."),
            ("Start-Container", &["a", "b"], "cannot be found that accepts argument 'b'."),
            ("Get-Container", &["-Name", "a", "-Id", "1"], "Parameter set cannot be resolved"),
            ("Get-Container", &["-Name", "a", "-Name", "b"], "is specified more than once"),
            ("Get-Container", &["-Id", "nope"], "Cannot convert value \"nope\""),
            ("Get-Container", &["-Credential", "me"], "TLS certificates"),
            (
                "Set-ContainerMemory",
                &["a", "much"],
                "Cannot convert value \"much\" to type \"System.Int64\".",
            ),
            ("Set-Container", &["a", "-RuntimeType", "x"], "enumerator names and try again: Default, HyperV"),
        ] {
            let said = line(cmdlet, arguments).unwrap_err().message;
            assert!(said.contains(words), "{cmdlet} {arguments:?}: {said}");
        }
    }

    #[test]
    fn an_object_goes_where_its_type_is() {
        let set = table::find("Set-Container").unwrap();
        let bound = bind(set, &[Argument::Value(container())]).unwrap();
        assert!(bound.get("Container").is_some() && bound.get("Name").is_none());
        let start = bind(table::find("Start-Container").unwrap(), &[]).unwrap();
        assert!(start.with_input(&container()).unwrap().get("Container").is_some());
        let get = bind(table::find("Get-Container").unwrap(), &[]).unwrap();
        assert_eq!(get.with_input(&"S*".into()).unwrap().texts("Name").unwrap(), ["S*"]);
        let adapters = bind(table::find("Get-ContainerSharedFolder").unwrap(), &[]).unwrap();
        let named = Value::from(Object::new("").with("ContainerName", "DEMO"));
        assert_eq!(adapters.with_input(&named).unwrap().texts("ContainerName").unwrap(), ["DEMO"]);
        let said = start.with_input(&Value::Int(3)).unwrap_err().message;
        assert!(said.starts_with("The input object cannot be bound"), "{said}");
    }
}
