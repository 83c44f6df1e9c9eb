//! Finds every path that a Rust file names. Enough of the language for that, not a parser.

/// Every path of `source`, whose module is `depth` below the crate's root: `use` groups are written out, and `super` is
/// resolved where it reaches the root.
pub fn paths_named_in(source: &str, depth: usize) -> Vec<String> {
    paths_in(&tokens_of(source), depth)
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    PathSeparator,
    Mark(char),
}

// Words and marks, without comments, strings and character literals.
fn tokens_of(source: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut rest = source;
    while let Some(character) = rest.chars().next() {
        let raw = rest
            .strip_prefix('b')
            .unwrap_or(rest)
            .strip_prefix('r')
            .map(|raw| raw.trim_start_matches('#'));
        let length = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment_length(rest)
        } else if let Some(body) = raw.filter(|body| body.starts_with('"')) {
            let hashes = "#".repeat(rest[..rest.len() - body.len()].matches('#').count());
            let opening = rest.len() - body.len() + 1;
            body[1..]
                .find(&format!("\"{hashes}"))
                .map_or(rest.len(), |end| opening + end + 1 + hashes.len())
        } else if character == '"' {
            quoted_length(rest, '"')
        } else if character == '\'' {
            // A lifetime has no closing quote where a character literal has one.
            let is_character = rest[1..].starts_with('\\') || rest.chars().nth(2) == Some('\'');
            if is_character { quoted_length(rest, '\'') } else { 1 }
        } else if character.is_alphanumeric() || character == '_' {
            let length = rest
                .find(|c: char| !c.is_alphanumeric() && c != '_')
                .unwrap_or(rest.len());
            tokens.push(Token::Word(rest[..length].to_owned()));
            length
        } else if rest.starts_with("::") {
            tokens.push(Token::PathSeparator);
            2
        } else {
            if !character.is_whitespace() {
                tokens.push(Token::Mark(character));
            }
            character.len_utf8()
        };
        rest = &rest[length..];
    }
    tokens
}

fn block_comment_length(text: &str) -> usize {
    let (mut depth, mut position) = (0, 0);
    while position < text.len() {
        let here = &text.as_bytes()[position..];
        match here {
            [b'/', b'*', ..] => (depth, position) = (depth + 1, position + 2),
            [b'*', b'/', ..] => (depth, position) = (depth - 1, position + 2),
            _ => position += 1,
        }
        if depth == 0 {
            break;
        }
    }
    position
}

fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (index, character) in text.char_indices().skip(1) {
        match character {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if character == quote => return index + 1,
            _ => {}
        }
    }
    text.len()
}

fn paths_in(tokens: &[Token], depth: usize) -> Vec<String> {
    let mut paths = Vec::new();
    let mut position = 0;
    // For each open brace, whether it opened an inline module, inside of which `super` is one shorter.
    let mut braces: Vec<bool> = Vec::new();
    while position < tokens.len() {
        match &tokens[position] {
            Token::Word(word) if word == "mod" && tokens.get(position + 2) == Some(&Token::Mark('{')) => {
                braces.push(true);
                position += 3;
            }
            Token::Word(_) => {
                let inline = braces.iter().filter(|is_module| **is_module).count();
                let first = paths.len();
                position = write_out(tokens, position, "", &mut paths);
                let to_root = "super::".repeat(depth + inline);
                for path in &mut paths[first..] {
                    if let Some(rest) = path.strip_prefix(&to_root) {
                        *path = format!("crate::{rest}");
                    }
                }
            }
            mark => {
                if *mark == Token::Mark('{') {
                    braces.push(false);
                } else if *mark == Token::Mark('}') {
                    braces.pop();
                }
                position += 1;
            }
        }
    }
    paths
}

// Reads one path that starts at `position`, adds it (each of it, for a group) behind `prefix`, and gives where it ends.
fn write_out(tokens: &[Token], position: usize, prefix: &str, paths: &mut Vec<String>) -> usize {
    let mut path = prefix.to_owned();
    let mut position = position;
    while let Some(Token::Word(word)) = tokens.get(position) {
        path.push_str(word);
        position += 1;
        if tokens.get(position) != Some(&Token::PathSeparator) {
            break;
        }
        position += 1;
        if tokens.get(position) == Some(&Token::Mark('{')) {
            return write_out_group(tokens, position + 1, &format!("{path}::"), paths);
        }
        if matches!(tokens.get(position), Some(Token::Word(_))) {
            path.push_str("::");
        }
    }
    paths.push(path);
    position
}

fn write_out_group(tokens: &[Token], position: usize, prefix: &str, paths: &mut Vec<String>) -> usize {
    let mut position = position;
    while position < tokens.len() {
        match &tokens[position] {
            Token::Mark('}') => return position + 1,
            Token::Word(word) if word == "as" => position += 2,
            Token::Word(_) => position = write_out(tokens, position, prefix, paths),
            _ => position += 1,
        }
    }
    position
}
