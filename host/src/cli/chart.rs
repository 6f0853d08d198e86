//! Charts as SVG.

use bitbudget::decimal::signed;
use miette::miette;
use plotters::prelude::*;

const SIZE: (u32, u32) = (760, 420);
const KIB: f64 = 1024.0;

/// The predicted change of loss over the bytes of RAM: the optimal layouts, each good up to the
/// next one's bytes, and the all-FP32 layout.
pub(crate) fn staircase(layouts: &[(u64, f64)], fp32: (u64, f64)) -> miette::Result<String> {
    let mut svg = String::new();
    draw(&mut svg, layouts, fp32).map_err(|e| miette!("the chart could not be drawn: {e}"))?;
    Ok(svg)
}

/// One line for each series over named places, evenly spaced.
pub(crate) fn lines(places: &[String], series: &[(String, Vec<f64>)]) -> miette::Result<String> {
    let mut svg = String::new();
    draw_lines(&mut svg, places, series)
        .map_err(|e| miette!("the chart could not be drawn: {e}"))?;
    Ok(svg)
}

const COLOURS: [RGBColor; 6] = [
    RGBColor(0, 96, 160),
    RGBColor(200, 80, 0),
    RGBColor(0, 140, 90),
    RGBColor(150, 60, 150),
    RGBColor(90, 90, 90),
    RGBColor(190, 150, 0),
];

/// A loss on a scale that shows thousandths and ones: its cube root.
fn squeezed(loss: f64) -> f64 {
    loss.cbrt()
}

fn draw_lines(
    svg: &mut String,
    places: &[String],
    series: &[(String, Vec<f64>)],
) -> Result<(), Box<dyn std::error::Error>> {
    let values = || series.iter().flat_map(|(_, values)| values);
    let ends = values().fold((0.0_f64, 0.0_f64), |(a, b), x| (a.min(*x), b.max(*x)));
    let (low, high) = (squeezed(ends.0), squeezed(ends.1));
    let margin = ((high - low) * 0.08).max(1e-3);
    let last = places.len().saturating_sub(1) as f64;
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(84)
        // with room for the legend above
        .build_cartesian_2d(-0.3..last + 0.3, low - margin..high + 5.0 * margin)?;
    let place = |x: &f64| {
        let whole = (x - x.round()).abs() < 1e-6;
        let name = places.get(x.round() as usize).filter(|_| whole);
        name.map_or_else(String::new, |name| name.replace("weights=", ""))
    };
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_labels(2 * places.len())
        .x_desc("budget")
        .y_desc("change of the test loss (cube-root scale)")
        .x_label_formatter(&place)
        .y_label_formatter(&|y| signed(y.powi(3), 4))
        .draw()?;
    for ((name, values), colour) in series.iter().zip(COLOURS.iter().cycle()) {
        let points = values.iter().enumerate();
        let points = points.map(|(x, y)| (x as f64, squeezed(*y)));
        let colour = *colour;
        chart
            .draw_series(LineSeries::new(points.clone(), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| Circle::new((x + 8, y), 4, colour.filled()));
        chart.draw_series(points.map(|point| Circle::new(point, 3, colour.filled())))?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .border_style(BLACK.mix(0.2))
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    Ok(())
}

fn draw(
    svg: &mut String,
    layouts: &[(u64, f64)],
    fp32: (u64, f64),
) -> Result<(), Box<dyn std::error::Error>> {
    let kib = |bytes: u64| bytes as f64 / KIB;
    let points: Vec<(f64, f64)> = layouts.iter().map(|(b, loss)| (kib(*b), *loss)).collect();
    let fp32 = (kib(fp32.0), fp32.1);
    let losses = || points.iter().chain([&fp32]).map(|point| point.1);
    let (low, high) = losses().fold((0.0_f64, 0.0_f64), |(a, b), x| (a.min(x), b.max(x)));
    let margin = ((high - low) * 0.08).max(1e-6);
    let first = points.first().map_or(0.0, |point| point.0);
    let right = points.last().map_or(fp32.0, |point| point.0.max(fp32.0));
    let room = (right - first).max(1.0) * 0.05;

    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(84)
        .build_cartesian_2d(
            (first - room).max(0.0)..right + room,
            low - margin..high + margin,
        )?;
    chart
        .configure_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .x_desc("RAM in KiB: resident weights and activations")
        .y_desc("predicted change of the loss")
        .y_label_formatter(&|loss| signed(*loss, 4))
        .x_label_formatter(&|kib| format!("{kib:.0}"))
        .draw()?;
    let mut steps = Vec::new();
    for (i, point) in points.iter().enumerate() {
        if let Some(before) = i.checked_sub(1) {
            steps.push((point.0, points[before].1));
        }
        steps.push(*point);
    }
    let optimal = RGBColor(0, 96, 160);
    steps.extend(points.last().map(|last| (right, last.1)));
    chart
        .draw_series(LineSeries::new(steps, optimal.stroke_width(2)))?
        .label("optimal layouts")
        .legend(move |(x, y)| Circle::new((x + 8, y), 4, optimal.filled()));
    let dots = points
        .iter()
        .map(|point| Circle::new(*point, 4, optimal.filled()));
    chart.draw_series(dots)?;
    chart
        .draw_series([Circle::new(fp32, 5, RED.stroke_width(2))])?
        .label("all FP32")
        .legend(|(x, y)| Circle::new((x + 8, y), 5, RED.stroke_width(2)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperMiddle)
        .border_style(BLACK.mix(0.2))
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    Ok(())
}
