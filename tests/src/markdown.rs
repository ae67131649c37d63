//! Fenced blocks of the documents, and the commands in them.

/// A fenced block.
#[derive(Debug)]
pub struct Block {
    /// The line where it begins.
    pub line: usize,
    /// What stands behind its fence.
    pub info: String,
    /// What is in it.
    pub text: String,
}

/// A command after `$`, and what it prints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    /// The command; a line that ends with `\` goes on.
    pub text: String,
    /// Without any it need only succeed.
    pub output: String,
}

/// The blocks of a document.
#[must_use]
pub fn blocks(text: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut open: Option<Block> = None;
    // In a list a block is indented as a whole.
    let mut margin = "";
    for (index, line) in text.lines().enumerate() {
        match (line.trim_start().strip_prefix("```"), open.as_mut()) {
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(info), None) => {
                margin = line.split('`').next().unwrap_or_default();
                open = Some(Block { line: index + 1, info: info.to_owned(), text: String::new() });
            }
            (None, Some(block)) => block.text.extend([line.strip_prefix(margin).unwrap_or(line), "\n"]),
            (None, None) => {}
        }
    }
    blocks
}

/// The commands of a block marked `console`.
///
/// # Panics
/// It does not begin with one.
#[must_use]
pub fn commands(text: &str) -> Vec<Command> {
    let mut commands: Vec<Command> = Vec::new();
    for line in text.lines() {
        match (line.strip_prefix("$ "), commands.last_mut()) {
            (Some(command), _) => commands.push(Command { text: command.to_owned(), output: String::new() }),
            (None, Some(Command { text, .. })) if text.ends_with('\\') => text.extend(["\n", line]),
            (None, Some(Command { output, .. })) => output.extend([line, "\n"]),
            (None, None) => panic!("`{line}`: a console block starts with `$ ` and a command"),
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_of_a_list_begins_where_its_fence_does() {
        let [block] = <[_; 1]>::try_from(blocks("1. a\n\n   ```yaml\n   a:\n     b: 1\n   ```\n")).unwrap();
        assert_eq!(block.text, "a:\n  b: 1\n");
    }

    #[test]
    fn a_command_goes_on_after_a_backslash() {
        let [block] = <[_; 1]>::try_from(blocks("a\n```console\n$ one \\\n  two\n1\n2\n$ three\n```\nb\n")).unwrap();
        assert_eq!((block.line, block.info.as_str()), (2, "console"));
        let command = |text: &str, output: &str| Command { text: text.to_owned(), output: output.to_owned() };
        assert_eq!(commands(&block.text), [command("one \\\n  two", "1\n2\n"), command("three", "")]);
    }
}
