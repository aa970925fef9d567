//! The grammar: tree-sitter's for PowerShell. Nothing of the language is parsed by hand.

use cofferdam_cmdlet::Failure;
use tree_sitter::{Node, Parser, Tree};

/// More than anybody types; what is larger is refused before it is parsed.
pub const MOST_SOURCE: usize = 256 * 1024;

/// Text and its tree.
pub struct Source {
    /// The text.
    pub text: String,
    tree: Tree,
}

/// Why a text is not run.
pub enum Refused {
    /// More lines are to come.
    Incomplete,
    /// It is not PowerShell.
    Wrong(Failure),
}

impl Source {
    /// Parses.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        let wrong = |message: String| Refused::Wrong(Failure::binding("ParserError", message));
        if text.len() > MOST_SOURCE {
            return Err(wrong(format!("The script is larger than {} KiB.", MOST_SOURCE / 1024)));
        }
        let mut parser = Parser::new();
        parser
            .set_language(&tree_sitter_powershell::LANGUAGE.into())
            .map_err(|error| wrong(format!("The grammar cannot be used: {error}.")))?;
        let tree = parser.parse(text, None).ok_or_else(|| wrong("The script was not parsed.".into()))?;
        let source = Self { text: text.to_owned(), tree };
        if !source.root().has_error() {
            return Ok(source);
        }
        if is_open(text) {
            return Err(Refused::Incomplete);
        }
        let at = first_error(source.root());
        let row = at.start_position().row;
        let line = text.lines().nth(row).unwrap_or_default().trim();
        let near: String = text[at.byte_range()].chars().take(40).collect();
        Err(wrong(format!("Line {}: unexpected syntax near '{}' in: {line}", row + 1, near.trim())))
    }

    /// The whole tree.
    pub fn root(&self) -> Node<'_> {
        self.tree.root_node()
    }
}

/// The text of a node.
pub fn text<'a>(source: &'a str, node: Node<'_>) -> &'a str {
    &source[node.byte_range()]
}

/// The named children of a node, without comments.
pub fn children(node: Node<'_>) -> Vec<Node<'_>> {
    let mut cursor = node.walk();
    node.named_children(&mut cursor).filter(|child| child.kind() != "comment").collect()
}

/// The deepest error that is first.
fn first_error(root: Node<'_>) -> Node<'_> {
    let mut node = root;
    loop {
        let mut cursor = node.walk();
        let next = node.children(&mut cursor).find(|child| child.has_error() || child.is_missing());
        match next {
            Some(child) if !node.is_error() => node = child,
            _ => return node,
        }
    }
}

/// Whether brackets or quotes are open at the end, or a pipeline goes on.
fn is_open(text: &str) -> bool {
    let (mut open, mut quote, mut letters) = (0_i32, None, text.chars().peekable());
    while let Some(letter) = letters.next() {
        match (quote, letter) {
            (_, '`') => drop(letters.next()),
            (Some(mark), _) if mark == letter => quote = None,
            (Some(_), _) => {}
            (None, '"' | '\'') => quote = Some(letter),
            (None, '#') => while letters.next_if(|letter| *letter != '\n').is_some() {},
            (None, '(' | '{' | '[') => open += 1,
            (None, ')' | '}' | ']') => open -= 1,
            _ => {}
        }
    }
    let last = text.trim_end();
    open > 0 || quote.is_some() || last.ends_with(['|', '`', ','])
}
