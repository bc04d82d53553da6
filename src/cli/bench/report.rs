//! The report: a page that needs nothing else, with a plot of the latencies.

use std::fmt::Write;

use super::measure::Measured;
use super::{SHOWN, unit};

/// Points of a curve: parts of the answers, in hundredths of a percent. Further to the right they lie closer, as it is the
/// slowest answers that one wants to see.
const PARTS: [u32; 14] = [0, 2500, 5000, 7500, 9000, 9500, 9750, 9900, 9950, 9975, 9990, 9995, 9999, 10_000];
const COLOURS: [&str; 8] =
    ["#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f"];
const WIDTH: u64 = 840;
const HEIGHT: f64 = 360.0;
/// Where the longest time stands.
const TOP: f64 = 20.0;
const LEFT: u64 = 70;
/// Powers of ten of the vertical axis: from 10 ns to 10 s.
const POWERS: std::ops::RangeInclusive<u32> = 1..=10;

/// Shows a time: `123 ns`, `4.5 us`.
pub(super) fn show_time(ns: u64) -> String {
    let units = [(1_000_000_000, "s"), (1_000_000, "ms"), (1000, "us")];
    for (size, name) in units {
        if ns >= size {
            let tenths = ns.saturating_mul(10).checked_div(size).unwrap_or(0);
            return format!("{}.{} {name}", tenths / 10, tenths % 10);
        }
    }
    format!("{ns} ns")
}

/// Returns the page.
pub(super) fn page(facts: &str, all: &[Measured]) -> String {
    let mut rows = String::new();
    for one in all {
        let unit = unit(one);
        let times = SHOWN.map(|(part, _)| format!("<td>{}</td>", show_time(one.at(part)))).concat();
        // A formatted write into a string cannot fail.
        writeln!(
            rows,
            "<tr><th>{}</th><td>{}</td><td>{}</td><td>{}</td>{times}</tr>",
            one.name,
            one.threads,
            unit.per_second,
            unit.bytes_per_second / 1_000_000
        )
        .ok();
    }
    let heads = SHOWN.map(|(_, name)| format!("<th>{name}</th>")).concat();
    let plot = plot(all);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>store bench</title><style>\n\
         body {{ font: 15px sans-serif; margin: 2em; max-width: 70em }}\n\
         td, th {{ padding: .2em .8em; text-align: right; border-bottom: 1px solid #ddd }}\n\
         th:first-child {{ text-align: left }}\n</style></head><body>\n<h1>store bench</h1>\n<p>{facts}</p>\n{plot}\
         <table><tr><th>measure</th><th>threads</th><th>per second</th><th>MB/s</th>{heads}</tr>\n{rows}</table>\n\
         <p>Time of an answer at each percentile; the vertical axis is logarithmic. The clock itself costs some tens of \
         nanoseconds an answer.</p>\n</body></html>\n"
    )
}

fn plot(all: &[Measured]) -> String {
    let mut svg = format!(
        "<svg viewBox=\"0 0 {} {}\" width=\"100%\" role=\"img\" aria-label=\"latency by percentile\">\n",
        WIDTH.saturating_add(260),
        HEIGHT + 40.0
    );
    for power in POWERS {
        let y = height_of(10u64.saturating_pow(power));
        let label = show_time(10u64.saturating_pow(power)).replace(".0", "");
        writeln!(svg, "<line x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#ddd\"/><text x=\"{}\" y=\"{}\" font-size=\"12\" text-anchor=\"end\">{label}</text>", LEFT.saturating_sub(6), y + 4.0).ok();
    }
    for (place, part) in PARTS.iter().enumerate() {
        let label = format!("{}.{:02}", part / 100, part % 100);
        let label = label.trim_end_matches('0').trim_end_matches('.');
        let (x, y) = (across(place), HEIGHT + 20.0);
        writeln!(svg, "<text x=\"{x}\" y=\"{y}\" font-size=\"11\" text-anchor=\"middle\">{label}</text>")
            .ok();
    }
    for (number, (one, colour)) in all.iter().zip(COLOURS.iter().cycle()).enumerate() {
        let points: Vec<String> = PARTS
            .iter()
            .enumerate()
            .map(|(place, part)| format!("{},{:.1}", across(place), height_of(one.at(*part))))
            .collect();
        let (x, y) = (
            WIDTH.saturating_add(16),
            u64::try_from(number).unwrap_or(0).saturating_mul(20).saturating_add(20),
        );
        let threads = if one.threads > 1 { format!(", {} threads", one.threads) } else { String::new() };
        writeln!(svg, "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\" points=\"{}\"/><text x=\"{x}\" y=\"{y}\" font-size=\"13\" fill=\"{colour}\">{}{threads}</text>", points.join(" "), one.name).ok();
    }
    svg.push_str("</svg>\n");
    svg
}

fn across(place: usize) -> u64 {
    let width = WIDTH.saturating_sub(LEFT);
    let step = u64::try_from(PARTS.len()).ok().and_then(|parts| width.checked_div(parts)).unwrap_or(0);
    LEFT.saturating_add(u64::try_from(place).unwrap_or(0).saturating_mul(step)).saturating_add(step / 2)
}

/// Height of a time on the logarithmic axis, in units of the plot, from above.
fn height_of(ns: u64) -> f64 {
    let ns = ns.clamp(10, 10_000_000_000);
    // The leading digits are enough, and fit a number that converts without loss.
    let power = ns.ilog10();
    let leading = ns.saturating_mul(1000).checked_div(10u64.saturating_pow(power)).unwrap_or(1000);
    let leading = f64::from(u32::try_from(leading).unwrap_or(1000)) / 1000.0;
    let powers = f64::from(power) + leading.log10() - 1.0;
    HEIGHT - powers * (HEIGHT - TOP) / 9.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_shown_with_their_unit() {
        for (ns, expect) in
            [(999, "999 ns"), (1500, "1.5 us"), (2_000_000, "2.0 ms"), (61_000_000_000, "61.0 s")]
        {
            assert_eq!(show_time(ns), expect);
        }
    }

    #[test]
    fn the_axis_is_logarithmic_and_every_time_stands_on_the_plot() {
        let heights = [1, 10, 100, 1000, 10_000_000_000, u64::MAX].map(height_of);
        assert_eq!((heights[0], heights[1], heights[5]), (HEIGHT, HEIGHT, TOP));
        assert!((heights[4] - TOP).abs() < 0.01, "{heights:?}");
        // Half way between two powers of ten stands the square root of their product.
        let between = height_of(316);
        assert!((between - f64::midpoint(heights[2], heights[3])).abs() < 0.1, "{between} in {heights:?}");
    }
}
