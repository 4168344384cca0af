//! The figures as tables.

use super::{
    harness::Cost,
    paper::{grouped, rounded, shown, table},
};

/// One operation at every size; none where the operation has no such size.
pub(super) struct Row {
    /// What is done.
    pub(super) operation: &'static str,
    /// What it costs, size by size.
    pub(super) costs: Vec<Option<Cost>>,
}

/// Operations below each other, sizes side by side.
pub(super) fn by_size(unit: &str, sizes: &[usize], rows: &[Row]) -> String {
    let mut header = vec![unit.to_owned(), String::new()];
    header.extend(sizes.iter().map(|size| grouped(*size as u64)));
    let mut table = table(header, 2);
    for Row { operation, costs } in rows {
        let line = |title: &str, name: &str, shown: fn(&Cost) -> String| {
            let cells = costs.iter().map(|cost| cost.as_ref().map_or("–".to_owned(), shown));
            [title.to_owned(), name.to_owned()].into_iter().chain(cells).collect::<Vec<_>>()
        };
        table.add_row(line(operation, "median", |cost| time(cost.median)));
        table.add_row(line("", "fastest", |cost| time(cost.fastest)));
        table.add_row(line("", "allocations", allocations));
    }
    shown(&table)
}

/// Operations below each other, figures side by side.
pub(super) fn at_one_size(title: &str, rows: &[(&str, Cost)]) -> String {
    let header = [title, "median", "fastest", "allocations"];
    let mut table = table(header.map(str::to_owned).to_vec(), 1);
    for (operation, cost) in rows {
        table.add_row([
            (*operation).to_owned(),
            time(cost.median),
            time(cost.fastest),
            allocations(cost),
        ]);
    }
    shown(&table)
}

/// Three digits that count, in the unit that fits.
fn time(nanoseconds: f64) -> String {
    let (value, unit) = match nanoseconds {
        small if small < 1e3 => (small, "ns"),
        middle if middle < 1e6 => (middle / 1e3, "µs"),
        large => (large / 1e6, "ms"),
    };
    format!("{} {unit}", rounded(value))
}

/// How often, and how much in all.
fn allocations(cost: &Cost) -> String {
    let bytes = match cost.bytes {
        0 => return "none".to_owned(),
        few if few < 10_000 => format!("{few} B"),
        many if many < 1_000_000 => format!("{} kB", many / 1_000),
        most => format!("{} MB", grouped(most / 1_000_000)),
    };
    format!("{} · {bytes}", grouped(cost.allocations))
}
