//! How objects look: the documents' columns, and PowerShell's automatic tables and lists.

use crate::{Object, Value};

/// A column: its heading, the property, and which way it is aligned.
struct Column {
    heading: String,
    property: String,
    right: bool,
}

/// The columns of a type's own view. A heading with `>` in front is aligned to the right.
#[must_use]
pub fn view(kind: &str) -> Option<&'static [(&'static str, &'static str)]> {
    Some(match kind {
        "Container" => &[
            ("Name", "Name"),
            ("State", "State"),
            ("Uptime", "Uptime"),
            ("ParentImageName", "ParentImageName"),
        ],
        "ContainerImage" => &[
            ("Name", "Name"),
            ("Publisher", "Publisher"),
            ("Version", "Version"),
            ("IsOSImage", "IsOSImage"),
        ],
        "ContainerImageOffer" => &[("Name", "Name"), ("Version", "Version"), ("Description", "Description")],
        "ContainerSharedFolder" => &[
            ("ContainerName", "ContainerName"),
            ("SourcePath", "SourcePath"),
            ("DestinationPath", "DestinationPath"),
            ("AccessMode", "AccessMode"),
        ],
        "ContainerNetworkAdapter" => &[
            ("ContainerName", "ContainerName"),
            ("Name", "Name"),
            ("SwitchName", "SwitchName"),
            ("MacAddress", "MacAddress"),
            ("IPAddresses", "IPAddresses"),
        ],
        "VMSwitch" => &[
            ("Name", "Name"),
            ("SwitchType", "SwitchType"),
            ("NetAdapterInterfaceDescription", "NetAdapterInterfaceDescription"),
        ],
        "ContainerHost" => {
            &[("Name", "Name"), ("ContainerImageRepositoryLocation", "ContainerImageRepositoryLocation")]
        }
        "ComputeProcess" => &[("Id", "Id"), ("Name", "Name"), ("Owner", "Owner"), (">Type", "Type")],
        "Process" => &[
            (">Handles", "Handles"),
            (">NPM(K)", "NPM"),
            (">PM(K)", "PM"),
            (">WS(K)", "WS"),
            (">VM(M)", "VM"),
            (">CPU(s)", "CPU"),
            (">Id", "Id"),
            (">SI", "SI"),
            ("ProcessName", "ProcessName"),
        ],
        "ContainerImageReport" => {
            &[("Name", "Name"), ("Version", "Version"), ("IsValid", "IsValid"), ("Problem", "Problem")]
        }
        "NetNatStaticMapping" => &[
            ("NatName", "NatName"),
            ("Protocol", "Protocol"),
            ("ExternalIPAddress", "ExternalIPAddress"),
            (">ExternalPort", "ExternalPort"),
            ("InternalIPAddress", "InternalIPAddress"),
            (">InternalPort", "InternalPort"),
        ],
        "Job" => &[
            (">Id", "Id"),
            ("Name", "Name"),
            ("State", "State"),
            ("HasMoreData", "HasMoreData"),
            ("Command", "Command"),
        ],
        "Command" => &[("CommandType", "CommandType"), ("Name", "Name"), ("Source", "Source")],
        _ => return None,
    })
}

/// The types that have a view.
pub const KINDS: [&str; 13] = [
    "Container",
    "ContainerImage",
    "ContainerImageOffer",
    "ContainerSharedFolder",
    "ContainerNetworkAdapter",
    "VMSwitch",
    "ContainerHost",
    "ComputeProcess",
    "Process",
    "ContainerImageReport",
    "NetNatStaticMapping",
    "Job",
    "Command",
];

/// What follows each other with one type is one table, or one list.
#[must_use]
pub fn default(values: &[Value], width: usize) -> String {
    let mut text = String::new();
    let mut at = 0;
    while at < values.len() {
        let Some(object) = values[at].object() else {
            text += &format!("{}\n", values[at]);
            at += 1;
            continue;
        };
        let same = |value: &&Value| {
            value.object().is_some_and(|other| {
                other.kind == object.kind && (view(&object.kind).is_some() || names(other).eq(names(object)))
            })
        };
        let count = values[at..].iter().take_while(same).count();
        let group = &values[at..at + count];
        text += &match view(&object.kind) {
            Some(columns) => {
                let columns: Vec<_> = columns.iter().map(|(heading, name)| column(heading, name)).collect();
                render(&columns, group, width)
            }
            None if object.properties.len() <= 4 => table(group, &[], width),
            None => list(group, &[]),
        };
        at += count;
    }
    text
}

fn names(object: &Object) -> impl Iterator<Item = &str> {
    object.properties.iter().map(|(name, _)| name.as_str())
}

fn column(heading: &str, property: &str) -> Column {
    let right = heading.starts_with('>');
    Column { heading: heading.trim_start_matches('>').into(), property: property.into(), right }
}

/// `Format-Table`, with these properties or those that the first object has.
#[must_use]
pub fn table(values: &[Value], properties: &[String], width: usize) -> String {
    let wanted = if properties.is_empty() { own(values) } else { chosen(values, properties) };
    if wanted.is_empty() {
        return values.iter().map(|value| format!("{value}\n")).collect();
    }
    let numeric = |name: &str| {
        let mut of = values.iter().map(|value| value.member(name)).filter(|value| *value != Value::Null);
        of.next().is_some_and(|value| matches!(value, Value::Int(_) | Value::Double(_)))
    };
    let columns: Vec<_> = wanted
        .iter()
        .map(|(heading, property)| Column { right: numeric(property), ..column(heading, property) })
        .collect();
    render(&columns, values, width)
}

/// The view's columns, or every property.
fn own(values: &[Value]) -> Vec<(String, String)> {
    let Some(object) = values.iter().find_map(Value::object) else { return Vec::new() };
    match view(&object.kind) {
        Some(columns) => columns.iter().map(|(heading, name)| ((*heading).into(), (*name).into())).collect(),
        None => names(object).map(|name| (name.to_owned(), name.to_owned())).collect(),
    }
}

/// Property names, of which wildcards stand for several; with the case that the objects have.
fn chosen(values: &[Value], properties: &[String]) -> Vec<(String, String)> {
    let object = values.iter().find_map(Value::object);
    let mut found: Vec<(String, String)> = Vec::new();
    for wanted in properties {
        let own = object.into_iter().flat_map(names);
        let fitting: Vec<_> = own.filter(|name| crate::wildcard::matches(wanted, name)).collect();
        if fitting.is_empty() && !crate::wildcard::is_pattern(wanted) {
            found.push((wanted.clone(), wanted.clone()));
        }
        found.extend(fitting.iter().map(|name| ((*name).to_owned(), (*name).to_owned())));
    }
    found
}

/// A cell's text. Numbers have two digits behind the point, as processor times do.
fn cell(value: &Value) -> String {
    let text = match value {
        Value::Double(number) => format!("{number:.2}"),
        Value::List(items) => {
            let texts: Vec<_> = items.iter().map(ToString::to_string).collect();
            format!("{{{}}}", texts.join(", "))
        }
        other => other.to_string(),
    };
    // What others have written must not move the cursor.
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn render(columns: &[Column], values: &[Value], width: usize) -> String {
    let rows: Vec<Vec<String>> = values
        .iter()
        .map(|value| columns.iter().map(|column| cell(&value.member(&column.property))).collect())
        .collect();
    let mut widths: Vec<usize> = columns.iter().map(|column| column.heading.chars().count()).collect();
    for row in &rows {
        for (widest, text) in widths.iter_mut().zip(row) {
            *widest = (*widest).max(text.chars().count());
        }
    }
    // Too wide for the terminal: the widest columns give, but no further than they have a heading.
    while widths.iter().sum::<usize>() + widths.len() > width {
        let slack =
            |index: &usize| widths[*index] - columns[*index].heading.chars().count().min(widths[*index]);
        let Some(widest) = (0..widths.len()).max_by_key(slack).filter(|index| slack(index) > 0) else {
            break;
        };
        let excess = widths.iter().sum::<usize>() + widths.len() - width;
        widths[widest] -= slack(&widest).min(excess);
    }
    let line = |cells: Vec<String>| -> String {
        let mut text = String::new();
        for ((cell, column), wide) in cells.iter().zip(columns).zip(&widths) {
            let cell = shorten(cell, *wide);
            text += &if column.right { format!("{cell:>wide$} ") } else { format!("{cell:<wide$} ") };
        }
        text.trim_end().to_owned() + "\n"
    };
    let mut text = String::from("\n");
    text += &line(columns.iter().map(|column| column.heading.clone()).collect());
    text += &line(columns.iter().map(|column| "-".repeat(column.heading.chars().count())).collect());
    for row in rows {
        text += &line(row);
    }
    text + "\n"
}

fn shorten(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    format!("{kept}…")
}

/// `Format-List`.
#[must_use]
pub fn list(values: &[Value], properties: &[String]) -> String {
    let mut text = String::from("\n");
    for value in values {
        let one = std::slice::from_ref(value);
        let wanted = if properties.is_empty() {
            value.object().map_or_else(Vec::new, |object| names(object).map(str::to_owned).collect())
        } else {
            chosen(one, properties).into_iter().map(|(_, name)| name).collect()
        };
        if wanted.is_empty() {
            text += &format!("{value}\n");
            continue;
        }
        let widest = wanted.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        for name in wanted {
            text += format!("{name:<widest$} : {}", cell(&value.member(&name))).trim_end();
            text += "\n";
        }
        text += "\n";
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn views_are_the_documents() {
        let container = Object::new("Container")
            .with("Name", "TST")
            .with("State", "Off")
            .with("Uptime", Value::Span(0))
            .with("ParentImageName", "WindowsServerCore");
        let text = default(&[container.into()], 120);
        let want = "\nName State Uptime   ParentImageName\n---- ----- ------   ---------------\n\
                    TST  Off   00:00:00 WindowsServerCore\n\n";
        assert_eq!(text, want);
        for kind in KINDS {
            assert!(view(kind).is_some(), "{kind}");
        }
    }

    #[test]
    fn other_objects_are_tables_while_narrow() {
        let narrow: Value = Object::new("").with("A", 1_i64).with("B", "x").into();
        assert_eq!(default(&[narrow.clone(), narrow], 80), "\nA B\n- -\n1 x\n1 x\n\n");
        let mut wide = Object::new("");
        for name in ["A", "B", "C", "D", "Long"] {
            wide = wide.with(name, "x");
        }
        assert!(default(&[wide.into()], 80).contains("A    : x\n"));
        assert_eq!(default(&["a".into(), Value::Int(3)], 80), "a\n3\n");
    }
}
