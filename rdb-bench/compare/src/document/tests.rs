use super::*;
use crate::figures::Percentiles;
use crate::rows::ROWS;

fn performance() -> Performance {
    let side = |name: &str, rate: f64| {
        let latency = Some(Percentiles { p50_us: 250.0, p90_us: None, p99_us: 900.0, p99_9_us: None });
        let rounds = vec![Figures { latency, ..Figures::rate(rate) }; 5];
        MeasuredSide { name: name.into(), how: format!("{name} --flag"), rounds, ..MeasuredSide::default() }
    };
    let rows = ROWS.iter().map(|row| Measured::new(row, side("ours", 200_000.0), side("theirs", 100_000.0)));
    let curve = |plot: &str| Curve {
        plot: plot.into(),
        name: "SDK".into(),
        points: vec![(1, Figures::rate(9_000.0)), (64, side("", 180_000.0).rounds[0].clone())],
    };
    Performance { rows: rows.collect(), curves: vec![curve("get"), curve("cas")], ..Performance::default() }
}

#[test]
fn the_page_tells_ratio_verdict_and_both_sides_of_every_row() {
    let page = markdown(&performance());
    for row in &ROWS {
        let line = page.lines().find(|line| line.contains(&format!("](#{})", row.name))).unwrap();
        let ratio = if row.figure == Figure::PerSecond { "2.00x" } else { "1.00x" };
        assert!(line.contains(&format!("| {ratio} | {ratio} to {ratio} |")), "{line}");
        assert!(page.contains(&format!("\n### {}\n", row.name)), "{}", row.name);
    }
    let line = page.lines().find(|line| line.contains("(#cas-etcd)")).unwrap();
    assert!(line.ends_with("| 12x | 18x | not met |"), "{line}");
    let line = page.lines().find(|line| line.contains("(#cas-one-caller-raw)")).unwrap();
    assert!(line.contains("at most 2.2x"), "{line}");
    assert!(page.contains("| ours | 200,000 | 250 | 900 | 200,000, 200,000,"), "{page}");
}

#[test]
fn a_row_that_was_not_measured_says_why() {
    let mut performance = performance();
    performance.rows[4] = Measured::not_measured(&ROWS[4], "etcd is not installed".into());
    let page = markdown(&performance);
    assert!(page.contains("etcd is not installed."), "{page}");
    let line = page.lines().find(|line| line.contains("(#cas-etcd)")).unwrap();
    assert!(line.contains("| - | - | 12x | 18x | not measured |"), "{line}");
}

#[test]
fn what_is_written_is_what_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("performance.json");
    write(&performance(), &json).unwrap();
    assert_eq!(Performance::read(&json).unwrap(), performance());
    let plots: Vec<_> = plots(&performance()).into_iter().map(|it| it.0).collect();
    assert_eq!(plots, ["get-throughput.svg", "cas-throughput.svg", "get-latency.svg", "cas-latency.svg"]);
    assert!(folder.path().join("performance/get-latency.svg").is_file());
}

/// After a change of the page: `rdb-bench report docs/performance.json`.
#[test]
fn the_projects_page_is_what_its_json_gives_and_has_every_row() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs");
    let performance = Performance::read(&docs.join("performance.json")).unwrap();
    assert_eq!(fs::read_to_string(docs.join("performance.md")).unwrap(), markdown(&performance));
    for (name, svg) in plots(&performance) {
        assert_eq!(fs::read_to_string(docs.join("performance").join(name)).unwrap(), svg, "{name}");
    }
    let rows: Vec<_> = performance.rows.iter().map(|row| row.name.as_str()).collect();
    assert_eq!(rows, ROWS.map(|row| row.name));
}
