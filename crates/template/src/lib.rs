//! Go's `text/template`, as far as `--format` and `--log-opt tag` use it: fields, variables, pipelines, `if`, `with`, `range`, comments,
//! trimmed spaces, Go's built-in functions and Docker's (`json`, `join`, `split`, `upper`, `truncate`, …). It works on
//! JSON values, prints them as Go does, and goes through maps in the order of their keys, as Go does.

#![cfg_attr(test, allow(clippy::unwrap_used))]

mod evaluate;
mod functions;
mod lex;
mod parse;
mod print;

pub use evaluate::LABELS;
pub use functions::Functions;
pub use print::quote;

use serde_json::Value;

/// A parsed template.
#[derive(Debug)]
pub struct Template {
    nodes: Vec<parse::Node>,
}

/// A template cannot be parsed or executed; in the words of Go's package.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("template: :1: {0}")]
pub struct TemplateError(pub String);

impl Template {
    /// Reads `--format` of a document: nothing asks for the plain text, `json` for all of it.
    pub fn of_format(format: Option<&str>) -> Result<Option<Self>, TemplateError> {
        match format {
            None | Some("") => Ok(None),
            Some("json") => Self::parse("{{json .}}").map(Some),
            Some(text) => Self::parse(text).map(Some),
        }
    }

    /// Parses; unknown functions are errors already here.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Ok(Self { nodes: parse::parse(text)? })
    }

    /// Executes with `.` as `data`.
    pub fn render(&self, data: &Value, functions: Functions) -> Result<String, TemplateError> {
        evaluate::render(&self.nodes, data, functions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn render(text: &str, data: &Value) -> Result<String, TemplateError> {
        Template::parse(text)?.render(data, Functions::Values)
    }

    #[test]
    fn templates_mean_what_go_means() {
        let data = json!({
            "Name": "/web", "Id": "0123456789abcdef", "N": 3, "Zero": 0, "Half": 0.5, "On": true, "Nothing": null,
            "Args": ["a", "b c"], "Env": [], "Labels": {"z": "1", "a": "2", "with.dot": "3"},
            "State": {"Running": true, "Pid": 42}, "Html": "<&>",
        });
        for (text, want) in [
            ("plain", "plain"),
            ("{{.Name}}", "/web"),
            ("{{.ID}}{{.name}}", "0123456789abcdef/web"),
            ("{{ .State.Pid }}{{.On}}", "42true"),
            ("{{.State.Running | json}}", "true"),
            ("{{json .State}}", r#"{"Pid":42,"Running":true}"#),
            ("{{json .Html}}", r#""<&>""#),
            ("{{.Args}} {{.Labels}}", "[a b c] map[a:2 with.dot:3 z:1]"),
            ("{{range .Args}}<{{.}}>{{end}}", "<a><b c>"),
            ("{{range $i, $a := .Args}}{{$i}}={{$a}};{{end}}", "0=a;1=b c;"),
            ("{{range $k, $v := .Labels}}{{$k}}={{$v}} {{end}}", "a=2 with.dot=3 z=1 "),
            ("{{range .Env}}x{{else}}none{{end}}", "none"),
            ("{{if .Zero}}a{{else if .On}}b{{else}}c{{end}}", "b"),
            ("{{with .State}}{{.Pid}} {{$.Name}}{{end}}", "42 /web"),
            ("{{index .Labels \"with.dot\"}} {{index .Args 1}}", "3 b c"),
            ("{{index .Labels \"missing\"}}.", "."),
            ("{{len .Args}} {{len .Labels}} {{len .Name}}", "2 3 4"),
            (
                "{{join .Args \",\"}} {{upper .Name}} {{lower \"AB\"}} {{title \"ab cd\"}}",
                "a,b c /WEB ab Ab Cd",
            ),
            ("{{(split .Name \"/\")}} {{truncate .Id 12}}", "[ web] 0123456789ab"),
            ("{{pad .Name 1 2}}|", " /web  |"),
            (
                "{{printf \"%s|%5d|%-4s|%q|%v|%.2f|%%\" .Name .N \"x\" .Name .Args .Half}}",
                "/web|    3|x   |\"/web\"|[a b c]|0.50|%",
            ),
            ("{{println .N .Name}}{{print .N .N .Name}}", "3 /web\n3 3/web"),
            (
                "{{eq .N 3}} {{ne .Name \"x\"}} {{lt 1 2}} {{ge 2 .N}} {{eq .N 1 2 3}}",
                "true true true false true",
            ),
            ("{{and .On .N}} {{or .Zero \"d\"}} {{not .On}}", "3 d false"),
            ("a {{- .N -}} b {{/* comment */}}c", "a3b c"),
            ("{{$x := .N}}{{$x = 4}}{{$x}}", "4"),
            ("{{slice .Id 1 3}} {{slice .Id 14}}", "12 ef"),
            ("{{.Nothing}} {{if .Nothing}}y{{else}}n{{end}}", "<no value> n"),
            ("{{(index .Args 0) | printf \"%s-%s\" \"p\"}}", "p-a"),
            ("{{`raw \\n`}}{{\"\\t\"}}{{'a'}}", "raw \\n\t97"),
            ("{{range .Args}}{{if eq . \"b c\"}}{{break}}{{end}}{{.}}{{end}}", "a"),
        ] {
            assert_eq!(render(text, &data).as_deref(), Ok(want), "{text}");
        }
    }

    #[test]
    fn errors_are_gos() {
        let data = json!({"Name": "x", "Args": ["a"]});
        for (text, want) in [
            ("{{.Name", "template: :1: unclosed action"),
            ("{{.Missing}}", "template: :1: map has no entry for key \"Missing\""),
            ("{{nofunc .}}", "template: :1: function \"nofunc\" not defined"),
            ("{{if .Name}}", "template: :1: unexpected EOF"),
            ("{{end}}", "template: :1: unexpected {{end}}"),
            ("{{.Name.First}}", "template: :1: can't evaluate field First in type string"),
            ("{{index .Args 7}}", "template: :1: error calling index: index out of range: 7"),
            ("{{}}", "template: :1: missing value for command"),
            ("{{\"a}}", "template: :1: unterminated quoted string"),
            ("{{$x}}", "template: :1: undefined variable \"$x\""),
        ] {
            assert_eq!(render(text, &data).unwrap_err().to_string(), want, "{text}");
        }
    }

    #[test]
    fn hostile_templates_do_not_panic() {
        for text in [
            "{{",
            "}}",
            "{{-",
            "{{- -}}",
            "{{\"\\",
            "{{'",
            "{{`",
            "{{.}}{{",
            "{{((((",
            "{{.é.ü}}",
            "{{|}}",
            "{{$}}",
            "{{printf \"%",
            "{{printf \"%9999999999d\" 1}}",
        ] {
            let _ = render(text, &json!({}));
        }
        let deep = format!("{{{{{}}}}}", "(".repeat(100_000));
        assert!(render(&deep, &json!({})).is_err());
    }
}
