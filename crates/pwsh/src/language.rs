//! The language's own cmdlets: choosing, sorting, counting, showing, help, jobs.

use cofferdam_cmdlet::{Argument, Failure, Object, Value, format, help, table, wildcard};

use crate::console::{Console, Evaluated, Host};
use crate::{LANGUAGE, not_supported, operators};

/// A command line of one of these: switches, parameters with values, and the rest in order.
struct Line {
    named: Vec<(&'static str, Value)>,
    rest: Vec<Value>,
}

impl Line {
    /// Names may be abbreviated; one that ends in `!` is a switch.
    fn read(arguments: &[Argument], known: &[&'static str]) -> Result<Self, Failure> {
        let (mut named, mut rest) = (Vec::new(), Vec::new());
        let mut left = arguments.iter().peekable();
        while let Some(argument) = left.next() {
            match argument {
                Argument::Value(value) => rest.push(value.clone()),
                Argument::Named(name, attached) => {
                    let begins = |full: &&&str| {
                        full.get(..name.len()).is_some_and(|start| start.eq_ignore_ascii_case(name))
                    };
                    let exact =
                        known.iter().find(|full| full.trim_end_matches('!').eq_ignore_ascii_case(name));
                    let full = exact.or_else(|| known.iter().find(begins)).ok_or_else(|| {
                        Failure::binding(
                            "NamedParameterNotFound",
                            format!("A parameter cannot be found that matches parameter name '{name}'."),
                        )
                    })?;
                    let value = match (attached, full.ends_with('!')) {
                        (Some(value), _) => value.clone(),
                        (None, true) => Value::Bool(true),
                        (None, false) => match left.next_if(|next| matches!(next, Argument::Value(_))) {
                            Some(Argument::Value(value)) => value.clone(),
                            _ => {
                                let message = format!("Missing an argument for parameter '{full}'.");
                                return Err(Failure::binding("MissingArgument", message));
                            }
                        },
                    };
                    named.push((full.trim_end_matches('!'), value));
                }
            }
        }
        Ok(Self { named, rest })
    }

    fn get(&self, name: &str) -> Option<&Value> {
        self.named.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    fn flag(&self, name: &str) -> bool {
        self.get(name).is_some_and(Value::truth)
    }

    fn number(&self, name: &str) -> Option<usize> {
        self.get(name)
            .and_then(|value| cofferdam_cmdlet::size(&value.to_string()))
            .and_then(|number| usize::try_from(number).ok())
    }

    /// A parameter, or the first argument without a name.
    fn first(&self, name: &str) -> Option<Value> {
        self.get(name).or(self.rest.first()).cloned()
    }
}

impl<H: Host> Console<H> {
    pub(crate) fn language(
        &mut self,
        name: &str,
        arguments: &[Argument],
        input: Vec<Value>,
    ) -> Evaluated<Vec<Value>> {
        self.success = true;
        match name {
            "Where-Object" => self.where_object(arguments, input),
            "ForEach-Object" => {
                let line = Line::read(arguments, &["Process", "MemberName"])?;
                let what =
                    line.first("Process").or_else(|| line.get("MemberName").cloned()).unwrap_or_default();
                let mut output = Vec::new();
                for item in input {
                    match &what {
                        Value::Script(script) => output.extend(self.block(script, Some(&item))?),
                        name => output.extend(item.member(&name.to_string()).items()),
                    }
                }
                Ok(output)
            }
            "Select-Object" => self.select(arguments, input),
            "Sort-Object" => self.sort(arguments, input),
            "Measure-Object" => measure(arguments, &input),
            "Format-Table" | "Format-List" => {
                let line = Line::read(
                    arguments,
                    &["Property", "AutoSize!", "Wrap!", "HideTableHeaders!", "Force!"],
                )?;
                let properties = line.first("Property").unwrap_or_default();
                let properties: Vec<String> = properties.items().iter().map(ToString::to_string).collect();
                let text = if name == "Format-Table" {
                    format::table(&input, &properties, self.host.width())
                } else {
                    format::list(&input, &properties)
                };
                Ok(vec![Object::new(crate::FORMATTED).with("Text", text).into()])
            }
            "ConvertTo-Json" => {
                let line = Line::read(arguments, &["Depth", "Compress!", "AsArray!", "InputObject"])?;
                let depth = line.number("Depth").unwrap_or(2).min(32) + 1;
                let value = line.get("InputObject").cloned().unwrap_or_else(|| {
                    if line.flag("AsArray") {
                        Value::list(input.clone())
                    } else {
                        Value::of_pipeline(input.clone())
                    }
                });
                // A list is no level of its own.
                let json = value.to_json(depth + usize::from(matches!(value, Value::List(_))));
                let text = if line.flag("Compress") {
                    json.to_string()
                } else {
                    serde_json::to_string_pretty(&json).unwrap_or_default()
                };
                Ok(vec![Value::from(text)])
            }
            "Out-Null" | "Import-Module" => Ok(Vec::new()),
            "Write-Output" => {
                let line = Line::read(arguments, &["InputObject", "NoEnumerate!"])?;
                let given: Vec<_> = line.get("InputObject").into_iter().chain(&line.rest).cloned().collect();
                Ok(input.into_iter().chain(given).flat_map(|value| value.items()).collect())
            }
            "Start-Sleep" => {
                let line = Line::read(arguments, &["Seconds", "Milliseconds"])?;
                let number =
                    |value: Option<Value>| value.and_then(|value| value.to_string().parse::<f64>().ok());
                let seconds = match line.get("Milliseconds") {
                    Some(value) => number(Some(value.clone())).map(|milliseconds| milliseconds / 1000.0),
                    None => number(line.first("Seconds")),
                };
                self.host.sleep(seconds.unwrap_or(0.0).clamp(0.0, 86_400.0));
                Ok(Vec::new())
            }
            "Get-Help" => get_help(arguments),
            "Get-Command" => get_command(arguments),
            _ => self.jobs(name, arguments, &input),
        }
    }

    fn where_object(&mut self, arguments: &[Argument], input: Vec<Value>) -> Evaluated<Vec<Value>> {
        let mut output = Vec::new();
        if let [Argument::Value(Value::Script(script))]
        | [Argument::Named(_, None), Argument::Value(Value::Script(script))] = arguments
        {
            for item in input {
                if Value::of_pipeline(self.block(script, Some(&item))?).truth() {
                    output.push(item);
                }
            }
            return Ok(output);
        }
        // `where State -eq Running`: the operator is a parameter's name.
        let (property, rest) = match arguments {
            [Argument::Value(property), rest @ ..] => (property.to_string(), rest),
            [Argument::Named(name, None), Argument::Value(property), rest @ ..]
                if name.eq_ignore_ascii_case("Property") =>
            {
                (property.to_string(), rest)
            }
            _ => {
                return Err(Failure::binding(
                    "MissingMandatoryParameter",
                    "Cannot process command because of one or more missing mandatory parameters: FilterScript.",
                )
                .into());
            }
        };
        for item in input {
            let left = item.member(&property);
            let fits = match rest {
                [] => left.truth(),
                [Argument::Named(operator, None), Argument::Value(right)] => {
                    operators::binary(operator, &left, right)?.truth()
                }
                _ => return Err(not_supported("this form of Where-Object").into()),
            };
            if fits {
                output.push(item);
            }
        }
        Ok(output)
    }

    /// What `Select-Object` and `Sort-Object` take for a property: a name, a block, or a table with both.
    fn property(&mut self, wanted: &Value, item: &Value) -> Evaluated<(String, Value)> {
        match wanted {
            Value::Script(script) => {
                Ok((script.trim().to_owned(), Value::of_pipeline(self.block(script, Some(item))?)))
            }
            Value::Object(table) => {
                let name = ["Name", "N", "Label", "L"].iter().find_map(|key| table.get(key)).cloned();
                let expression = ["Expression", "E"].iter().find_map(|key| table.get(key)).cloned();
                let (shown, value) = self.property(&expression.unwrap_or_default(), item)?;
                Ok((name.map_or(shown, |name| name.to_string()), value))
            }
            name => {
                let name = name.to_string();
                // As the object writes it; the documents ask for ContainerID and print ContainerId.
                let own = item.object().and_then(|object| {
                    object.properties.iter().find(|(key, _)| key.eq_ignore_ascii_case(&name))
                });
                Ok((own.map_or(name.clone(), |(key, _)| key.clone()), item.member(&name)))
            }
        }
    }

    fn select(&mut self, arguments: &[Argument], mut input: Vec<Value>) -> Evaluated<Vec<Value>> {
        let line = Line::read(
            arguments,
            &["Property", "First", "Last", "Skip", "ExpandProperty", "ExcludeProperty", "Unique!"],
        )?;
        if let Some(count) = line.number("Skip") {
            input.drain(..count.min(input.len()));
        }
        if let Some(count) = line.number("First") {
            input.truncate(count);
        }
        if let Some(count) = line.number("Last") {
            input.drain(..input.len().saturating_sub(count));
        }
        if let Some(name) = line.get("ExpandProperty") {
            let name = name.to_string();
            return Ok(input.iter().flat_map(|item| item.member(&name).items()).collect());
        }
        let excluded: Vec<String> = line
            .get("ExcludeProperty")
            .map(Value::items)
            .unwrap_or_default()
            .iter()
            .map(ToString::to_string)
            .collect();
        let wanted = match line.first("Property") {
            Some(wanted) => wanted.items(),
            None if !excluded.is_empty() => vec!["*".into()],
            None => Vec::new(),
        };
        let mut output = Vec::new();
        for item in input {
            if wanted.is_empty() {
                output.push(item);
                continue;
            }
            let mut chosen = Object::new("");
            for property in &wanted {
                let pattern = property.to_string();
                if matches!(property, Value::Text(_)) && wildcard::is_pattern(&pattern) {
                    for (name, value) in
                        item.object().map(|object| object.properties.clone()).unwrap_or_default()
                    {
                        if wildcard::matches(&pattern, &name) {
                            chosen.set(&name, value);
                        }
                    }
                    continue;
                }
                let (name, value) = self.property(property, &item)?;
                chosen.set(&name, value);
            }
            chosen
                .properties
                .retain(|(name, _)| !excluded.iter().any(|pattern| wildcard::matches(pattern, name)));
            output.push(chosen.into());
        }
        if line.flag("Unique") {
            let mut unique: Vec<Value> = Vec::new();
            for item in output {
                if !unique.contains(&item) {
                    unique.push(item);
                }
            }
            return Ok(unique);
        }
        Ok(output)
    }

    fn sort(&mut self, arguments: &[Argument], input: Vec<Value>) -> Evaluated<Vec<Value>> {
        let line = Line::read(arguments, &["Property", "Descending!", "Unique!", "CaseSensitive!"])?;
        let wanted = line.first("Property").map(|wanted| wanted.items()).unwrap_or_default();
        let mut keyed = Vec::new();
        for item in input {
            let mut keys = Vec::new();
            for property in &wanted {
                keys.push(self.property(property, &item)?.1);
            }
            if wanted.is_empty() {
                keys.push(item.clone());
            }
            keyed.push((keys, item));
        }
        let exact = line.flag("CaseSensitive");
        let order = |a: &[Value], b: &[Value]| {
            let mut orders = a.iter().zip(b).filter_map(|(a, b)| operators::compare(a, b, exact));
            orders.find(|order| order.is_ne()).unwrap_or(std::cmp::Ordering::Equal)
        };
        let descending = line.flag("Descending");
        // By merging: an order that contradicts itself, as of numbers and texts, must not upset the sort.
        keyed = merge_sort(keyed, &|a, b| if descending { order(&b.0, &a.0) } else { order(&a.0, &b.0) });
        if line.flag("Unique") {
            keyed.dedup_by(|a, b| order(&a.0, &b.0).is_eq());
        }
        Ok(keyed.into_iter().map(|(_, item)| item).collect())
    }

    fn jobs(&mut self, name: &str, arguments: &[Argument], input: &[Value]) -> Evaluated<Vec<Value>> {
        let line = Line::read(
            arguments,
            &["Id", "Name", "Job", "Wait!", "AutoRemoveJob!", "Force!", "Keep!", "Timeout"],
        )?;
        let given: Vec<Value> = if input.is_empty() {
            ["Id", "Name", "Job"]
                .iter()
                .filter_map(|key| line.get(key))
                .chain(&line.rest)
                .flat_map(Value::items)
                .collect()
        } else {
            input.to_vec()
        };
        let all = self.host.jobs();
        let mut chosen = Vec::new();
        for one in &given {
            let wanted = if one.object().is_some() { one.member("Id") } else { one.clone() };
            let fits = |job: &&Value| {
                job.member("Id").to_string() == wanted.to_string()
                    || wildcard::matches(&wanted.to_string(), &job.member("Name").to_string())
            };
            let found: Vec<_> = all.iter().filter(fits).cloned().collect();
            if found.is_empty() {
                let message = format!("The command cannot find the job with the ID or name {wanted}.");
                let category = cofferdam_cmdlet::Category::ObjectNotFound;
                self.report(name, &Failure::of(category, "JobNotFound", &wanted.to_string(), message));
            }
            chosen.extend(found);
        }
        if name == "Get-Job" {
            return Ok(if given.is_empty() { all } else { chosen });
        }
        let mut output = Vec::new();
        for job in chosen {
            let Value::Int(id) = job.member("Id") else { continue };
            match name {
                "Remove-Job" => drop(self.host.remove_job(id)),
                "Wait-Job" => {
                    self.host.receive_job(-id);
                    output.extend(
                        self.host.jobs().into_iter().filter(|job| job.member("Id") == Value::Int(id)),
                    );
                }
                _ => {
                    let Some(given) = self.host.receive_job(id) else { continue };
                    output.extend(given.objects);
                    for failure in given.errors {
                        self.report(&job.member("Command").to_string(), &failure);
                    }
                    if line.flag("AutoRemoveJob") {
                        self.host.remove_job(id);
                    }
                }
            }
        }
        Ok(output)
    }
}

type Keyed = (Vec<Value>, Value);

fn merge_sort(mut items: Vec<Keyed>, order: &dyn Fn(&Keyed, &Keyed) -> std::cmp::Ordering) -> Vec<Keyed> {
    if items.len() < 2 {
        return items;
    }
    let right = merge_sort(items.split_off(items.len() / 2), order);
    let (mut left, mut right) =
        (merge_sort(items, order).into_iter().peekable(), right.into_iter().peekable());
    let mut sorted = Vec::new();
    loop {
        let take_right = match (left.peek(), right.peek()) {
            (Some(a), Some(b)) => order(a, b).is_gt(),
            (None, Some(_)) => true,
            (_, None) => false,
        };
        match if take_right { right.next() } else { left.next() } {
            Some(item) => sorted.push(item),
            None => return sorted,
        }
    }
}

fn measure(arguments: &[Argument], input: &[Value]) -> Evaluated<Vec<Value>> {
    let line = Line::read(arguments, &["Property", "Sum!", "Average!", "Maximum!", "Minimum!"])?;
    let property = line.first("Property").map(|name| name.to_string());
    let numbers: Vec<f64> = input
        .iter()
        .map(|item| property.as_ref().map_or_else(|| item.clone(), |name| item.member(name)))
        .filter_map(|value| value.to_string().parse().ok())
        .collect();
    let sum: f64 = numbers.iter().sum();
    let count = if property.is_some() { numbers.len() } else { input.len() };
    #[allow(clippy::cast_precision_loss, reason = "a mean")]
    let mean = (!numbers.is_empty()).then(|| sum / numbers.len() as f64);
    let edge = |better: fn(f64, f64) -> f64| numbers.iter().copied().reduce(better);
    let chosen = |flag: &str, value: Option<f64>| {
        if line.flag(flag) { value.map_or(Value::Null, plain) } else { Value::Null }
    };
    let measured = Object::new("")
        .with("Count", i64::try_from(count).unwrap_or(i64::MAX))
        .with("Average", chosen("Average", mean))
        .with("Sum", chosen("Sum", Some(sum)))
        .with("Maximum", chosen("Maximum", edge(f64::max)))
        .with("Minimum", chosen("Minimum", edge(f64::min)))
        .with("Property", property);
    Ok(vec![measured.into()])
}

/// A whole number where it is one.
fn plain(number: f64) -> Value {
    #[allow(clippy::cast_possible_truncation, reason = "bounded, and without a fraction")]
    if number.fract() == 0.0 && number.abs() < 9e15 {
        Value::Int(number as i64)
    } else {
        Value::Double(number)
    }
}

fn get_help(arguments: &[Argument]) -> Evaluated<Vec<Value>> {
    let line = Line::read(arguments, &["Name", "Full!", "Detailed!", "Examples!", "Parameter"])?;
    let name = line.first("Name").map(|name| name.to_string()).unwrap_or_else(|| "*".into());
    let text = |text: String| Value::from(Object::new(crate::FORMATTED).with("Text", text));
    if let Some(cmdlet) = table::find(&name) {
        return Ok(vec![text(help::full(cmdlet))]);
    }
    let own = LANGUAGE.iter().find(|own| own.eq_ignore_ascii_case(&name));
    if let Some(own) = own {
        return Ok(vec![text(format!(
            "\nNAME\n    {own}\n\nSYNOPSIS\n    As PowerShell's, as far as the Containers module needs it.\n\n"
        ))]);
    }
    let found: Vec<_> = table::all().filter(|cmdlet| wildcard::matches(&name, cmdlet.name)).collect();
    if found.is_empty() {
        let message = format!("Get-Help could not find {name} in a help file in this session.");
        return Err(Failure::binding("HelpNotFound", message).into());
    }
    let rows = found
        .iter()
        .map(|cmdlet| Object::new("").with("Name", cmdlet.name).with("Synopsis", cmdlet.synopsis).into());
    Ok(rows.collect())
}

fn get_command(arguments: &[Argument]) -> Evaluated<Vec<Value>> {
    let line = Line::read(arguments, &["Name", "Module", "Verb", "Noun"])?;
    let fits = |key: &str, text: &str| {
        line.get(key).is_none_or(|patterns| {
            patterns.items().iter().any(|pattern| wildcard::matches(&pattern.to_string(), text))
        })
    };
    let name = line.first("Name").map(|name| name.to_string()).unwrap_or_else(|| "*".into());
    let of_table = table::all().map(|cmdlet| (cmdlet.name, "Containers"));
    let of_language = LANGUAGE.iter().map(|name| (*name, "Microsoft.PowerShell"));
    let command = |(name, module): (&str, &str)| {
        let command = Object::new("Command").with("CommandType", "Cmdlet").with("Name", name);
        Value::from(command.with("Source", module))
    };
    let found = of_table.chain(of_language).filter(|(own, module)| {
        let (verb, noun) = own.split_once('-').unwrap_or((own, ""));
        wildcard::matches(&name, own) && fits("Module", module) && fits("Verb", verb) && fits("Noun", noun)
    });
    Ok(found.map(command).collect())
}
