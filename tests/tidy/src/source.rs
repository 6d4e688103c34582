//! The Rust files that we wrote, and how long their functions are.

use std::fs;
use std::path::{Path, PathBuf};

/// A source file, read whole.
pub struct Source {
    pub path: PathBuf,
    pub text: String,
}

/// A function: the line it starts in (from 1) and how many lines it has.
pub struct Function {
    pub line: usize,
    pub lines: usize,
}

/// Every `.rs` file below `folder`, build output left out, in the order of their paths.
pub fn files(folder: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    collect(folder, &mut found);
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

fn collect(folder: &Path, found: &mut Vec<Source>) {
    for entry in fs::read_dir(folder).expect("a folder of ours can be read") {
        let path = entry.expect("an entry can be read").path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if path.is_dir() {
            if name != "target" && name != "node_modules" && !name.starts_with('.') {
                collect(&path, found);
            }
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            found.push(Source { path, text });
        }
    }
}

impl Source {
    /// The functions, by the layout that rustfmt gives them: the closing brace stands in the column of the `fn` line.
    pub fn functions(&self) -> Vec<Function> {
        let lines: Vec<&str> = self.text.lines().collect();
        let mut functions = Vec::new();
        for (index, line) in lines.iter().enumerate() {
            if !starts_function(line) {
                continue;
            }
            let indent = line.len() - line.trim_start().len();
            let end = format!("{:indent$}}}", "");
            if let Some(length) = lines[index..].iter().position(|candidate| *candidate == end) {
                functions.push(Function { line: index + 1, lines: length + 1 });
            }
        }
        functions
    }
}

fn starts_function(line: &str) -> bool {
    let code = line.trim_start();
    let is_function = code.starts_with("fn ")
        || ["pub ", "pub(crate) ", "pub(super) ", "async ", "const ", "unsafe ", "extern "]
            .iter()
            .any(|modifier| code.starts_with(modifier) && code.contains("fn "));
    is_function && !code.ends_with(';') && !code.ends_with('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_ends_at_the_brace_below_its_first_letter() {
        let text = "impl X {\n    pub fn a(\n        b: u8,\n    ) {\n        if b > 1 {\n        }\n    }\n}\nfn c() {}\n";
        let source = Source { path: PathBuf::new(), text: text.to_owned() };
        let found: Vec<_> = source.functions().iter().map(|f| (f.line, f.lines)).collect();
        assert_eq!(found, [(2, 6)]);
    }
}
