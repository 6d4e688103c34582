//! docs/hostile.md names a test for everything that a broker must withstand: each of them is there.

use std::collections::BTreeSet;

use strata_tidy::{house, source};

#[test]
fn every_test_that_the_page_on_hostile_input_names_exists() {
    let page = std::fs::read_to_string(house::root().join("docs/hostile.md")).expect("docs/hostile.md");
    // Between backticks: every second piece, where it is a name of a test and not a path.
    let is_name = |word: &&str| word.contains('_') && !word.contains(['/', ' ', '.']);
    let named: BTreeSet<&str> = page.split('`').skip(1).step_by(2).filter(is_name).collect();
    assert!(named.len() > 40, "the page is not read as it is written: {} names", named.len());
    let files = source::files(house::root());
    let is_there = |name: &str| files.iter().any(|file| file.text.contains(&format!("fn {name}(")));
    let missing: Vec<_> = named.into_iter().filter(|name| !is_there(name)).collect();
    assert!(missing.is_empty(), "no such tests: {missing:?}");
}
