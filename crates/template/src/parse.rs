//! Tokens into a tree.

use serde_json::Value;

use super::TemplateError;
use super::functions::Call;
use super::lex::{Kind, Piece, Token, pieces};

/// Parentheses and blocks may nest so deep: a bound for the stack.
const DEEPEST: usize = 100;

#[derive(Debug)]
pub(super) enum Node {
    Text(String),
    Action(Pipeline),
    If { condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { subject: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    Range { subject: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Break,
    Continue,
}

#[derive(Debug)]
pub(super) struct Pipeline {
    pub target: Option<Target>,
    /// At least one; each is at least one operand.
    pub commands: Vec<Vec<Operand>>,
}

/// `$a, $b :=`
#[derive(Debug)]
pub(super) struct Target {
    pub names: Vec<String>,
    pub declares: bool,
}

#[derive(Debug)]
pub(super) enum Operand {
    /// `.`, `.a`, `$x.a`, `(…).a`: a root and the fields taken of it.
    Path(Root, Vec<String>),
    Literal(Value),
    Function(Call),
}

#[derive(Debug)]
pub(super) enum Root {
    Dot,
    Variable(String),
    Nested(Box<Pipeline>),
}

fn error<T>(text: impl Into<String>) -> Result<T, TemplateError> {
    Err(TemplateError(text.into()))
}

/// What ended a block.
#[derive(PartialEq)]
enum End {
    File,
    Block,
    /// `{{else}}`, or `{{else if …}}` with the tokens after `else`.
    Else(Vec<Token>),
}

pub(super) fn parse(text: &str) -> Result<Vec<Node>, TemplateError> {
    let mut pieces = pieces(text)?.into_iter();
    match block(&mut pieces, DEEPEST)? {
        (nodes, End::File) => Ok(nodes),
        (_, End::Block) => error("unexpected {{end}}"),
        (_, End::Else(_)) => error("unexpected {{else}}"),
    }
}

fn block(pieces: &mut dyn Iterator<Item = Piece>, depth: usize) -> Result<(Vec<Node>, End), TemplateError> {
    if depth == 0 {
        return error("too deeply nested");
    }
    let mut nodes = Vec::new();
    while let Some(piece) = pieces.next() {
        let tokens = match piece {
            Piece::Text(text) => {
                nodes.push(Node::Text(text));
                continue;
            }
            Piece::Action(tokens) => tokens,
        };
        let keyword = match tokens.first() {
            Some(Token { kind: Kind::Word(word), .. }) => word.as_str(),
            _ => "",
        };
        match keyword {
            "end" if tokens.len() == 1 => return Ok((nodes, End::Block)),
            "else" => return Ok((nodes, End::Else(tokens[1..].to_vec()))),
            "break" if tokens.len() == 1 => nodes.push(Node::Break),
            "continue" if tokens.len() == 1 => nodes.push(Node::Continue),
            "if" | "with" | "range" => nodes.push(branch(keyword, &tokens[1..], pieces, depth)?),
            "template" | "define" | "block" => return error(format!("{{{{{keyword}}}}} is not supported")),
            _ => nodes.push(Node::Action(whole_pipeline(&tokens, depth)?)),
        }
    }
    Ok((nodes, End::File))
}

fn branch(
    keyword: &str,
    head: &[Token],
    pieces: &mut dyn Iterator<Item = Piece>,
    depth: usize,
) -> Result<Node, TemplateError> {
    let subject = whole_pipeline(head, depth)?;
    let (then, end) = block(pieces, depth - 1)?;
    let otherwise = match end {
        End::File => return error("unexpected EOF"),
        End::Block => Vec::new(),
        End::Else(tokens) => match tokens.split_first() {
            None => match block(pieces, depth - 1)? {
                (nodes, End::Block) => nodes,
                (_, End::File) => return error("unexpected EOF"),
                (_, End::Else(_)) => return error("expected end; found {{else}}"),
            },
            // The chain shares one `end`.
            Some((Token { kind: Kind::Word(word), .. }, rest)) if matches!(word.as_str(), "if" | "with") => {
                if depth <= 1 {
                    return error("too deeply nested");
                }
                vec![branch(word, rest, pieces, depth - 1)?]
            }
            Some(_) => return error("unexpected token after {{else}}"),
        },
    };
    Ok(match keyword {
        "if" => Node::If { condition: subject, then, otherwise },
        "with" => Node::With { subject, then, otherwise },
        _ => Node::Range { subject, body: then, otherwise },
    })
}

fn whole_pipeline(tokens: &[Token], depth: usize) -> Result<Pipeline, TemplateError> {
    let mut cursor = Cursor { tokens, at: 0 };
    let pipeline = cursor.pipeline(depth)?;
    match cursor.peek() {
        None => Ok(pipeline),
        Some(Kind::Close) => error("unexpected right paren"),
        Some(_) => error("unexpected token in command"),
    }
}

struct Cursor<'a> {
    tokens: &'a [Token],
    at: usize,
}

impl Cursor<'_> {
    fn peek(&self) -> Option<&Kind> {
        self.tokens.get(self.at).map(|token| &token.kind)
    }

    fn next(&mut self) -> Option<Kind> {
        let token = self.tokens.get(self.at)?;
        self.at += 1;
        Some(token.kind.clone())
    }

    /// Up to a closing parenthesis or the end.
    fn pipeline(&mut self, depth: usize) -> Result<Pipeline, TemplateError> {
        if depth == 0 {
            return error("too deeply nested");
        }
        let target = self.target();
        let mut commands = Vec::new();
        loop {
            let mut operands = Vec::new();
            while let Some(kind) = self.peek() {
                match kind {
                    Kind::Pipe | Kind::Close => break,
                    _ => operands.push(self.operand(depth)?),
                }
            }
            if operands.is_empty() {
                return error("missing value for command");
            }
            commands.push(operands);
            if self.peek() != Some(&Kind::Pipe) {
                return Ok(Pipeline { target, commands });
            }
            self.at += 1;
        }
    }

    /// `$a :=`, `$a, $b :=`, `$a =`; nothing is taken when it is none of them.
    fn target(&mut self) -> Option<Target> {
        let mut names = Vec::new();
        let mut at = self.at;
        loop {
            let Some(Token { kind: Kind::Variable(name), .. }) = self.tokens.get(at) else { return None };
            names.push(name.clone());
            let declares = match self.tokens.get(at + 1).map(|token| &token.kind) {
                Some(Kind::Comma) if names.len() < 2 => {
                    at += 2;
                    continue;
                }
                Some(Kind::Declare) => true,
                Some(Kind::Assign) => false,
                _ => return None,
            };
            self.at = at + 2;
            return Some(Target { names, declares });
        }
    }

    fn operand(&mut self, depth: usize) -> Result<Operand, TemplateError> {
        let root = match self.next() {
            Some(Kind::Dot) => return Ok(Operand::Path(Root::Dot, Vec::new())),
            Some(Kind::Field(name)) => {
                let mut fields = vec![name];
                fields.extend(self.fields());
                return Ok(Operand::Path(Root::Dot, fields));
            }
            Some(Kind::Variable(name)) => Root::Variable(name),
            Some(Kind::Open) => {
                let nested = self.pipeline(depth - 1)?;
                if self.next() != Some(Kind::Close) {
                    return error("unclosed left paren");
                }
                Root::Nested(Box::new(nested))
            }
            Some(Kind::Text(text)) => return Ok(Operand::Literal(text.into())),
            Some(Kind::Integer(number)) => return Ok(Operand::Literal(number.into())),
            Some(Kind::Float(number)) => return Ok(Operand::Literal(number.into())),
            Some(Kind::Word(word)) => {
                return match word.as_str() {
                    "true" => Ok(Operand::Literal(true.into())),
                    "false" => Ok(Operand::Literal(false.into())),
                    "nil" => Ok(Operand::Literal(Value::Null)),
                    name => match Call::named(name) {
                        Some(call) => Ok(Operand::Function(call)),
                        None => error(format!("function {name:?} not defined")),
                    },
                };
            }
            _ => return error("unexpected token in operand"),
        };
        let fields = self.fields();
        Ok(Operand::Path(root, fields))
    }

    /// The fields that follow without a space.
    fn fields(&mut self) -> Vec<String> {
        let mut fields = Vec::new();
        while let Some(Token { kind: Kind::Field(name), spaced: false }) = self.tokens.get(self.at) {
            fields.push(name.clone());
            self.at += 1;
        }
        fields
    }
}
