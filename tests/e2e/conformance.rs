//! Docker's published schema of its API, endpoint by endpoint: statuses, bodies, what clients of the future send. An
//! endpoint of the schema that no case asks is a failure.

use std::collections::BTreeSet;
use std::sync::Mutex;

use anyhow::{Context, Result};
use cofferdam_tests::archive::Layer;
use cofferdam_tests::{Case, Daemon, Level, Response, Schema, Test, check, check_eq, request_as};
use serde_json::{Value, json};

pub const CASES: &[Test] = &[
    Test::both("conformance::every_endpoint", every_endpoint).with_vms(2),
    Test::engine("conformance::table_is_complete", table_is_complete),
    Test::engine("conformance::what_is_not_there", what_is_not_there),
    Test::engine("conformance::swarm_and_plugins", swarm_and_plugins),
];

/// The table for readers.
const TABLE: &str = include_str!("../../docs/api-endpoints.md");

/// Endpoints of what a Docker engine without Swarm does not do.
const SWARM: [&str; 6] = ["Swarm", "Node", "Service", "Task", "Secret", "Config"];

/// Where Docker itself is not as its schema has it: pointers that are null, a word that was forgotten, and a list that was
/// taken for its item. Each is the beginning of what is wrong, and how it ends.
const SLIPS: [(&str, &str); 5] = [
    (".HostConfig.MemorySwappiness: ", "null is no integer"),
    (".HostConfig.OomKillDisable: ", "null is no boolean"),
    (".HostConfig.RestartPolicy.Name: \"no\" is none of", ""),
    (".ExitCode: ", "null is no integer"),
    (".Containers[]: ", "} is no array"),
];

fn is_slip(fault: &str) -> bool {
    SLIPS.iter().any(|(begin, end)| fault.starts_with(begin) && fault.ends_with(end))
}

/// A client that looks at every answer with the schema's eyes.
struct Client<'a> {
    schema: &'a Schema,
    daemon: &'a Daemon,
    asked: Mutex<BTreeSet<(String, String)>>,
    /// What is wrong, all of which one run tells.
    faults: Mutex<Vec<String>>,
}

impl<'a> Client<'a> {
    fn new(schema: &'a Schema, daemon: &'a Daemon) -> Self {
        Self { schema, daemon, asked: Mutex::default(), faults: Mutex::default() }
    }

    fn fault(&self, text: String) {
        self.faults.lock().expect("no holder panics").push(text);
    }

    /// The endpoint's row in the documentation.
    fn documented(&self, method: &str, path: &str) -> Option<&'static str> {
        TABLE.lines().find(|line| line.starts_with(&format!("| `{method} {path}` |")))
    }

    fn finish(self) -> Result<()> {
        let faults = self.faults.into_inner().expect("no holder panics");
        check!(faults.is_empty(), "{}", faults.join("\n"));
        Ok(())
    }

    /// One request, with all parameters that have defaults, and with a field that nobody has heard of.
    fn ask(&self, method: &str, path: &str, of: &str, query: &str, body: Option<Value>) -> Result<Response> {
        let body = body.map(|mut body| {
            if let Some(object) = body.as_object_mut() {
                object.insert("Unheard".to_owned(), json!({ "Of": [1, null] }));
            }
            ("application/json", body.to_string().into_bytes())
        });
        self.send(method, path, of, query, body)
    }

    fn send(
        &self,
        method: &str,
        path: &str,
        of: &str,
        query: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Response> {
        self.asked.lock().expect("no holder panics").insert((method.to_owned(), path.to_owned()));
        let operation = self.schema.operation(method, path)?;
        let place = path.replace("{id}", of).replace("{name}", of);
        let mut whole = query.to_owned();
        let given = |name: &str| query.split('&').any(|pair| pair.split('=').next() == Some(name));
        for (name, value) in operation.defaults().filter(|(name, value)| !given(name) && !value.is_empty()) {
            whole.push_str(&format!("&{name}={value}"));
        }
        let target = format!("{}{place}?{whole}", self.schema.base()?);
        let (kind, bytes) = body.unzip();
        let headers: Vec<_> = kind.map(|kind| ("Content-Type", kind)).into_iter().collect();
        let answer = request_as(&self.daemon.socket(), method, &target, &headers, bytes.as_deref())?;
        let what = format!("{method} {target}: {} {:.200}", answer.status, answer.text());
        // Whatever is not there yet says so.
        if !operation.answers(answer.status) && !matches!(answer.status, 501 | 503) {
            self.fault(format!("the schema does not know this status: {what}"));
        }
        if answer.status == 501 && !self.documented(method, path).is_some_and(|row| row.contains("501")) {
            self.fault(format!("docs/api-endpoints.md does not say that it is not there: {what}"));
        }
        if answer.status >= 400 {
            if method != "HEAD" && answer.message().is_empty() {
                self.fault(format!("no reason is given: {what}"));
            }
            return Ok(answer);
        }
        // Events are a document for each line.
        let documents: Vec<Value> = match path {
            "/events" => answer.text().lines().map(serde_json::from_str).collect::<Result<_, _>>()?,
            _ => answer.json().into_iter().collect(),
        };
        let faults =
            documents.iter().flat_map(|document| self.schema.faults(&operation, answer.status, document));
        for fault in faults.filter(|fault| !is_slip(fault)) {
            self.fault(format!("{method} {path}: {fault}"));
        }
        Ok(answer)
    }

    /// The same, which must end with this status.
    fn gives(
        &self,
        status: u16,
        method: &str,
        path: &str,
        of: &str,
        query: &str,
        body: Option<Value>,
    ) -> Result<Response> {
        let answer = self.ask(method, path, of, query, body)?;
        if answer.status != status {
            self.fault(format!(
                "{method} {path}: {}, wanted {status}: {:.200}",
                answer.status,
                answer.text()
            ));
        }
        Ok(answer)
    }
}

fn every_endpoint(case: &Case) -> Result<()> {
    let schema = Schema::read()?;
    let daemon = Daemon::start(case.host, "conformance", &[])?;
    daemon.install_nanoserver()?;
    let client = Client::new(&schema, &daemon);
    images(&client)?;
    system(&client)?;
    volumes(&client)?;
    containers(&client, case.level)?;
    networks(&client)?;

    client.gives(200, "GET", "/system/df", "", "", None)?;
    let asked = client.asked.lock().expect("no holder panics").clone();
    let forgotten: Vec<String> = schema
        .operations()?
        .iter()
        .filter(|one| !SWARM.contains(&one.tag) && one.tag != "Plugin")
        .filter(|one| !asked.contains(&(one.method.clone(), one.path.to_owned())))
        .map(|one| format!("{} {}", one.method, one.path))
        .collect();
    check!(forgotten.is_empty(), "nobody asks {}", forgotten.join(", "));
    client.finish()?;
    daemon.remove_everything()
}

/// One row for each endpoint of the schema, and no other.
fn table_is_complete(_case: &Case) -> Result<()> {
    let schema = Schema::read()?;
    let wanted: BTreeSet<String> =
        schema.operations()?.iter().map(|one| format!("{} {}", one.method, one.path)).collect();
    let rows: Vec<String> = TABLE
        .lines()
        .filter_map(|line| Some(line.strip_prefix("| `")?.split_once('`')?.0.to_owned()))
        .collect();
    let listed: BTreeSet<String> = rows.iter().cloned().collect();
    check_eq!(rows.len(), listed.len(), "a row occurs twice");
    let differ: Vec<_> = wanted.symmetric_difference(&listed).collect();
    check!(differ.is_empty(), "docs/api-endpoints.md is not the schema: {differ:?}");
    Ok(())
}

fn system(client: &Client<'_>) -> Result<()> {
    for path in ["/info", "/version", "/_ping", "/system/df"] {
        client.gives(200, "GET", path, "", "", None)?;
    }
    client.gives(200, "HEAD", "/_ping", "", "", None)?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
    let events = client.gives(200, "GET", "/events", "", &format!("since=0&until={}", now + 1), None)?;
    check!(!events.text().is_empty(), "nothing has happened");
    client.ask(
        "POST",
        "/auth",
        "",
        "",
        Some(json!({ "username": "a", "password": "b", "serveraddress": "127.0.0.1:1" })),
    )?;
    client.ask("POST", "/session", "", "", None)?;
    Ok(())
}

fn images(client: &Client<'_>) -> Result<()> {
    let name = "nanoserver";
    client.gives(200, "GET", "/images/json", "", "digests=1", None)?;
    client.gives(200, "GET", "/images/{name}/json", name, "", None)?;
    client.gives(200, "GET", "/images/{name}/history", name, "", None)?;
    client.gives(201, "POST", "/images/{name}/tag", name, "repo=conformance&tag=1", None)?;
    client.gives(200, "DELETE", "/images/{name}", "conformance:1", "", None)?;
    let files = Layer::default().file("text", "imported").bytes();
    let tar = |bytes: &[u8]| Some(("application/x-tar", bytes.to_vec()));
    let made = client.send("POST", "/images/create", "", "fromSrc=-&repo=conformance&tag=2", tar(&files))?;
    check_eq!(made.status, 200, "{}", made.text());
    let saved = client.gives(200, "GET", "/images/{name}/get", "conformance:2", "", None)?;
    client.gives(200, "GET", "/images/get", "", "names=conformance:2", None)?;
    let loaded = client.send("POST", "/images/load", "", "", tar(&saved.body))?;
    check!(loaded.text().contains("conformance:2"), "{}", loaded.text());
    client.gives(200, "POST", "/images/prune", "", "", None)?;
    client.ask("POST", "/images/{name}/push", "127.0.0.1:1/nowhere", "tag=1", None)?;
    client.ask("GET", "/images/search", "", "term=x", None)?;
    client.ask("GET", "/distribution/{name}/json", "127.0.0.1:1/nowhere", "", None)?;
    let context = Layer::default().file("Dockerfile", "FROM scratch\nLABEL a=b\n").bytes();
    client.send("POST", "/build", "", "t=conformance:3", tar(&context))?;
    client.gives(200, "POST", "/build/prune", "", "", None)?;
    Ok(())
}

fn volumes(client: &Client<'_>) -> Result<()> {
    client.gives(
        201,
        "POST",
        "/volumes/create",
        "",
        "",
        Some(json!({ "Name": "conformance", "Labels": { "a": "b" } })),
    )?;
    client.gives(200, "GET", "/volumes", "", "", None)?;
    client.gives(200, "GET", "/volumes/{name}", "conformance", "", None)?;
    client.gives(204, "DELETE", "/volumes/{name}", "conformance", "", None)?;
    client.gives(200, "POST", "/volumes/prune", "", "", None)?;
    Ok(())
}

fn containers(client: &Client<'_>, level: Level) -> Result<()> {
    let body = json!({
        "Image": "nanoserver", "Cmd": ["sleep", "1000"], "Tty": true, "Env": ["A=b"], "Labels": { "a": "b" },
        "ExposedPorts": { "80/tcp": {} }, "Volumes": { "/data": {} },
        "HostConfig": { "Isolation": level.as_str(), "Memory": 256 << 20, "Unheard": { "Of": 1 } },
        "NetworkingConfig": { "EndpointsConfig": {} },
    });
    let made = client.gives(201, "POST", "/containers/create", "", "name=conformance", Some(body))?.json()?;
    let id = made["Id"].as_str().context("an ID")?;
    client.gives(204, "POST", "/containers/{id}/start", id, "", None)?;
    client.gives(304, "POST", "/containers/{id}/start", id, "", None)?;
    for path in ["/containers/{id}/json", "/containers/{id}/top", "/containers/{id}/changes"] {
        client.gives(200, "GET", path, id, "", None)?;
    }
    client.gives(200, "GET", "/containers/json", "", "size=1", None)?;
    client.gives(200, "GET", "/containers/{id}/logs", id, "stdout=1", None)?;
    client.gives(200, "GET", "/containers/{id}/stats", id, "stream=0", None)?;
    client.gives(200, "GET", "/containers/{id}/stats", id, "stream=0&one-shot=1", None)?;
    client.gives(200, "POST", "/containers/{id}/resize", id, "h=30&w=100", None)?;
    let update = json!({ "RestartPolicy": { "Name": "no" } });
    client.gives(200, "POST", "/containers/{id}/update", id, "", Some(update))?;
    client.gives(204, "POST", "/containers/{id}/rename", id, "name=conformant", None)?;
    client.gives(204, "POST", "/containers/{id}/pause", id, "", None)?;
    client.gives(204, "POST", "/containers/{id}/unpause", id, "", None)?;
    client.gives(200, "POST", "/containers/{id}/attach", id, "logs=1&stdout=1", None)?;
    // Not a WebSocket's request.
    client.gives(400, "GET", "/containers/{id}/attach/ws", id, "", None)?;

    let files = Layer::default().file("put", "there").bytes();
    let put = client.send(
        "PUT",
        "/containers/{id}/archive",
        id,
        "path=/tmp",
        Some(("application/x-tar", files)),
    )?;
    check_eq!(put.status, 200, "{}", put.text());
    client.gives(200, "HEAD", "/containers/{id}/archive", id, "path=/tmp/put", None)?;
    client.gives(200, "GET", "/containers/{id}/archive", id, "path=/tmp/put", None)?;
    client.gives(200, "GET", "/containers/{id}/export", id, "", None)?;

    let exec = json!({ "Cmd": ["sleep", "1000"], "Tty": true, "Env": ["B=c"] });
    let exec = client.gives(201, "POST", "/containers/{id}/exec", id, "", Some(exec))?.json()?;
    let exec = exec["Id"].as_str().context("an ID")?;
    client.gives(200, "POST", "/exec/{id}/start", exec, "", Some(json!({ "Detach": true, "Tty": true })))?;
    client.gives(200, "POST", "/exec/{id}/resize", exec, "h=30&w=100", None)?;
    client.gives(200, "GET", "/exec/{id}/json", exec, "", None)?;

    client.gives(204, "POST", "/containers/{id}/restart", id, "t=0", None)?;
    client.gives(204, "POST", "/containers/{id}/kill", id, "", None)?;
    let waited = client.gives(200, "POST", "/containers/{id}/wait", id, "", None)?.json()?;
    check_eq!(waited["StatusCode"], 137);
    client.gives(409, "POST", "/containers/{id}/kill", id, "", None)?;
    client.gives(304, "POST", "/containers/{id}/stop", id, "", None)?;
    client.gives(200, "GET", "/containers/{id}/json", id, "", None)?;
    client.ask(
        "POST",
        "/commit",
        "",
        &format!("container={id}&repo=conformance&tag=4"),
        Some(json!({ "User": "1" })),
    )?;
    client.gives(204, "DELETE", "/containers/{id}", id, "v=1", None)?;
    client.gives(200, "POST", "/containers/prune", "", "", None)?;
    Ok(())
}

fn networks(client: &Client<'_>) -> Result<()> {
    let body = json!({ "Name": "conformance", "Labels": { "a": "b" }, "CheckDuplicate": true });
    client.gives(201, "POST", "/networks/create", "", "", Some(body))?;
    client.gives(200, "GET", "/networks", "", "", None)?;
    client.gives(200, "GET", "/networks/{id}", "conformance", "", None)?;
    let body = json!({ "Image": "nanoserver", "Cmd": ["true"] });
    let made = client.gives(201, "POST", "/containers/create", "", "", Some(body))?.json()?;
    let of = json!({ "Container": made["Id"] });
    client.gives(200, "POST", "/networks/{id}/connect", "conformance", "", Some(of.clone()))?;
    client.gives(200, "POST", "/networks/{id}/disconnect", "conformance", "", Some(of))?;
    client.gives(204, "DELETE", "/networks/{id}", "conformance", "", None)?;
    client.gives(403, "DELETE", "/networks/{id}", "none", "", None)?;
    client.gives(200, "POST", "/networks/prune", "", "", None)?;
    Ok(())
}

/// Every endpoint about one thing, asked about a thing that is not there.
fn what_is_not_there(case: &Case) -> Result<()> {
    let schema = Schema::read()?;
    let client = Client::new(&schema, case.daemon()?);
    let mut count = 0;
    for operation in schema.operations()? {
        let (method, path) = (operation.method.as_str(), operation.path);
        let of_one = path.contains("{id}") || path.contains("{name}");
        if !of_one || SWARM.contains(&operation.tag) || !operation.answers(404) {
            continue;
        }
        let query = match path {
            "/containers/{id}/archive" => "path=/",
            "/containers/{id}/rename" => "name=other",
            "/containers/{id}/resize" | "/exec/{id}/resize" => "h=1&w=1",
            "/images/{name}/tag" => "repo=x",
            "/containers/{id}/stats" => "stream=0",
            _ => "",
        };
        let body = match path {
            "/containers/{id}/exec" => Some(json!({ "Cmd": ["true"] })),
            "/exec/{id}/start" => Some(json!({ "Detach": true })),
            path if path.starts_with("/networks/") && method == "POST" => Some(json!({ "Container": "x" })),
            _ => (method == "POST").then(|| json!({})),
        };
        let answer = client.ask(method, path, "no-such-thing", query, body)?;
        check!(matches!(answer.status, 404 | 501), "{method} {path}: {} {}", answer.status, answer.text());
        if answer.status == 404 && method != "HEAD" {
            check!(answer.message().contains("no-such-thing"), "{method} {path}: {}", answer.text());
            count += 1;
        }
    }
    check!(count > 30, "only {count} endpoints say that something is not there");
    client.finish()
}

/// As an engine without them: a Swarm's endpoints with 503, plugins are none.
fn swarm_and_plugins(case: &Case) -> Result<()> {
    let schema = Schema::read()?;
    let client = Client::new(&schema, case.daemon()?);
    for operation in schema.operations()? {
        let (method, path) = (operation.method.as_str(), operation.path);
        if SWARM.contains(&operation.tag) {
            let answer = client.ask(method, path, "x", "", (method == "POST").then(|| json!({})))?;
            check_eq!(answer.status, 503, "{method} {path}: {}", answer.text());
            check!(answer.message().to_lowercase().contains("swarm"), "{method} {path}: {}", answer.text());
        } else if operation.tag == "Plugin" {
            let answer = client.ask(method, path, "x", "", (method == "POST").then(|| json!([])))?;
            let wanted: &[u16] = match path {
                "/plugins" => &[200],
                _ if path.contains("{name}") => &[404],
                _ => &[501],
            };
            check!(wanted.contains(&answer.status), "{method} {path}: {} {}", answer.status, answer.text());
        }
    }
    client.finish()
}
