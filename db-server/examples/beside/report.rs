//! The table of figures: medians, and the ratio of ours to the stock server's.

/// What was measured, by case, figure and server.
#[derive(Default)]
pub struct Table {
    rows: Vec<Row>,
    header: bool,
}

struct Row {
    case: String,
    figure: &'static str,
    values: [Vec<f64>; 2],
}

impl Table {
    /// Adds one turn of server `n`: 0 is the stock one.
    pub fn add(&mut self, case: &str, n: usize, figures: &[(&'static str, f64)]) {
        for (figure, value) in figures {
            let known = self
                .rows
                .iter()
                .position(|row| row.case == case && row.figure == *figure);
            let at = known.unwrap_or_else(|| {
                self.rows.push(Row {
                    case: case.to_owned(),
                    figure,
                    values: [Vec::new(), Vec::new()],
                });
                self.rows.len() - 1
            });
            self.rows[at].values[n].push(*value);
        }
    }

    /// Prints the figures of the case that was added last.
    pub fn print_last(&mut self) {
        let Some(case) = self.rows.last().map(|row| row.case.clone()) else {
            return;
        };
        if !self.header {
            println!(
                "| {:<34} | {:<15} | {:>10} | {:>10} | {:>6} | ours min-max |",
                "case", "figure", "stock", "ours", "ratio"
            );
            println!("| --- | --- | ---: | ---: | ---: | --- |");
            self.header = true;
        }
        for row in self.rows.iter().filter(|row| row.case == case) {
            let [stock, ours] = [median(&row.values[0]), median(&row.values[1])];
            let min = row.values[1].iter().copied().fold(f64::MAX, f64::min);
            let max = row.values[1].iter().copied().fold(0.0, f64::max);
            println!(
                "| {:<34} | {:<15} | {:>10} | {:>10} | {:>6.2} | {}-{} |",
                row.case,
                row.figure,
                number(stock),
                number(ours),
                ours / stock,
                number(min),
                number(max),
            );
        }
    }
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

fn number(value: f64) -> String {
    if value < 100.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    }
}
