//! `benches/RESULTS.md`: each command replaces its own section, and leaves the others and what people wrote alone.

use std::path::Path;

use anyhow::Context;

use crate::say;

/// Replaces the section `## title` up to the next one, or adds it at the end. The machine is named in each section.
pub fn replace_section(path: &Path, title: &str, body: &str) -> anyhow::Result<()> {
    let page = std::fs::read_to_string(path).unwrap_or_else(|_| "# Results\n".to_owned());
    let section = format!("Machine: {}.\n{}", machine(), body.trim_end());
    std::fs::write(path, replaced(&page, title, &section)).with_context(|| path.display().to_string())?;
    say(&format!("written: {}, section {title:?}", path.display()));
    Ok(())
}

fn replaced(page: &str, title: &str, body: &str) -> String {
    let heading = format!("## {title}\n");
    let section = format!("{heading}\n{body}\n");
    let Some(from) = page.find(&heading) else { return format!("{}\n\n{section}", page.trim_end()) };
    let rest = &page[from + heading.len()..];
    match rest.find("\n## ") {
        Some(to) => format!("{}{section}{}", &page[..from], &rest[to..]),
        None => format!("{}{section}", &page[..from]),
    }
}

fn machine() -> String {
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("{} cores, {}", cores, model.map_or("unknown processor", |(_, model)| model))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_replaced_and_the_others_stay() {
        let page = "# Results\n\nWords.\n\n## A\n\nold\n\n## B\n\nb\n";
        assert_eq!(replaced(page, "A", "new"), "# Results\n\nWords.\n\n## A\n\nnew\n\n## B\n\nb\n");
        assert_eq!(replaced(page, "B", "new"), "# Results\n\nWords.\n\n## A\n\nold\n\n## B\n\nnew\n");
        assert_eq!(replaced("# Results\n", "C", "c"), "# Results\n\n## C\n\nc\n");
    }
}
