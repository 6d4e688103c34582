//! Medians, ratios, and the page they stand on.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::load::Workload;
use crate::server::Kind;

/// One run of one workload.
pub struct Measured {
    /// The broker's.
    pub cpu_seconds: f64,
    pub wall: Duration,
}

/// Every figure of every round.
#[derive(Default)]
pub struct Report {
    /// In the order in which they were first measured.
    names: Vec<(String, &'static str)>,
    figures: BTreeMap<(String, Kind), Vec<f64>>,
}

impl Report {
    pub fn add(&mut self, kind: Kind, name: &str, unit: &'static str, value: f64) {
        if !self.names.iter().any(|(known, _)| known == name) {
            self.names.push((name.to_owned(), unit));
        }
        self.figures.entry((name.to_owned(), kind)).or_default().push(value);
    }

    /// The figures that follow from a workload's run.
    pub fn workload(&mut self, kind: Kind, name: &str, workload: &Workload, measured: Measured) {
        let gigabytes = workload.records as f64 * workload.value_bytes as f64 / 1e9;
        let megabytes_per_second = gigabytes * 1e3 / measured.wall.as_secs_f64();
        let microseconds = measured.cpu_seconds * 1e6 / workload.records as f64;
        self.add(kind, &format!("{name}: broker CPU"), "s/GB", measured.cpu_seconds / gigabytes);
        self.add(kind, &format!("{name}: broker CPU per message"), "µs", microseconds);
        self.add(kind, &format!("{name}: throughput"), "MB/s", megabytes_per_second);
    }

    /// Both servers' medians and their ratio, as a table.
    pub fn ratios(&self) -> String {
        let mut page = String::from(
            "| figure | unit | Apache Kafka | Strata | Strata / Kafka |\n|---|---|---:|---:|---:|\n",
        );
        for (name, unit) in &self.names {
            let of = |kind| self.figures.get(&(name.clone(), kind)).and_then(|values| median(values));
            let (kafka, strata) = (of(Kind::Kafka), of(Kind::Strata));
            let ratio =
                kafka.zip(strata).filter(|(kafka, _)| *kafka > 0.0).map(|(kafka, strata)| strata / kafka);
            let _ =
                writeln!(page, "| {name} | {unit} | {} | {} | {} |", cell(kafka), cell(strata), cell(ratio));
        }
        page
    }

    /// Strata's medians alone, beside what was wanted.
    pub fn goals(&self, goals: &[(&str, &str)]) -> String {
        let mut page = String::from("| figure | unit | Strata | goal |\n|---|---|---:|---:|\n");
        for (name, unit) in &self.names {
            let figure = self.figures.get(&(name.clone(), Kind::Strata)).and_then(|values| median(values));
            let goal = goals.iter().find(|(known, _)| known == name).map_or("", |(_, goal)| goal);
            let _ = writeln!(page, "| {name} | {unit} | {} | {goal} |", cell(figure));
        }
        page
    }
}

fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    match sorted.len() {
        0 => None,
        length if length % 2 == 1 => Some(sorted[middle]),
        _ => Some(f64::midpoint(sorted[middle - 1], sorted[middle])),
    }
}

fn cell(value: Option<f64>) -> String {
    match value {
        None => "–".to_owned(),
        Some(value) if value >= 100.0 => format!("{value:.0}"),
        Some(value) if value >= 10.0 => format!("{value:.1}"),
        Some(value) => format!("{value:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_the_middle_two() {
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn a_figure_that_one_server_lacks_has_no_ratio() {
        let mut report = Report::default();
        report.add(Kind::Strata, "cold", "s", 2.0);
        report.add(Kind::Strata, "both", "s", 1.0);
        report.add(Kind::Kafka, "both", "s", 4.0);
        let page = report.ratios();
        assert!(page.contains("| cold | s | – | 2.00 | – |"), "{page}");
        assert!(page.contains("| both | s | 4.00 | 1.00 | 0.25 |"), "{page}");
    }
}
