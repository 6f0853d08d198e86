//! Charts as SVG.

use bitbudget::decimal::{fixed, signed};
use bitbudget::memory::{Memory, TensorBlock};
use miette::miette;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

const SIZE: (u32, u32) = (760, 420);
/// Height of the panel of cycles.
const CYCLES_HEIGHT: u32 = 240;
const KIB: f64 = 1024.0;

/// What a plan takes and costs.
#[derive(Clone, Copy)]
pub(crate) struct Point {
    pub(crate) ram_bytes: u64,
    /// Predicted change of the loss.
    pub(crate) loss: f64,
    pub(crate) cycles: u64,
}

/// The predicted change of loss over the bytes of RAM: the optimal plans, each good up to the next one's
/// bytes, and the all-FP32 layout; below, where they are known, the cycles over the bytes of RAM.
pub(crate) fn staircase(plans: &[Point], fp32: Point, has_cycles: bool) -> miette::Result<String> {
    let mut svg = String::new();
    draw(&mut svg, plans, fp32, has_cycles)
        .map_err(|e| miette!("the chart could not be drawn: {e}"))?;
    Ok(svg)
}

/// One line for each series over named places, evenly spaced.
pub(crate) fn lines(places: &[String], series: &[(String, Vec<f64>)]) -> miette::Result<String> {
    let mut svg = String::new();
    draw_lines(&mut svg, places, series)
        .map_err(|e| miette!("the chart could not be drawn: {e}"))?;
    Ok(svg)
}

/// The tensors' blocks in the arena over the run of the layers, whole or as bands.
pub(crate) fn memory(names: &[String], memory: &Memory) -> miette::Result<String> {
    let mut svg = String::new();
    draw_memory(&mut svg, names, memory)
        .map_err(|e| miette!("the picture could not be drawn: {e}"))?;
    Ok(svg)
}

fn draw_memory(
    svg: &mut String,
    names: &[String],
    memory: &Memory,
) -> Result<(), Box<dyn std::error::Error>> {
    let root = SVGBackend::with_string(svg, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let most = f64::from(memory.arena_bytes).max(1.0) / KIB;
    let mut chart = ChartBuilder::on(&root)
        .margin(16)
        .x_label_area_size(104)
        .y_label_area_size(64)
        .build_cartesian_2d((0..names.len() - 1).into_segmented(), 0.0..most * 1.12)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE)
        .bold_line_style(BLACK.mix(0.12))
        .y_desc("address in the arena in KiB")
        .disable_x_axis()
        .y_label_formatter(&|kib| fixed(*kib, if most < 4.0 { 1 } else { 0 }))
        .draw()?;
    // names stand upright, below the axis
    let upright = TextStyle::from(("sans-serif", 12).into_font())
        .transform(FontTransform::Rotate90)
        .pos(Pos::new(HPos::Left, VPos::Center));
    for (tensor, name) in names.iter().enumerate() {
        let (x, y) = chart.backend_coord(&(SegmentValue::CenterOf(tensor), 0.0));
        root.draw(&Text::new(name.clone(), (x, y + 6), upright.clone()))?;
    }
    let block = |block: &TensorBlock| {
        let [first, last] = block.made;
        let end = match last + 1 < names.len() {
            true => SegmentValue::Exact(last + 1),
            false => SegmentValue::Last,
        };
        let ends = [block.offset, block.offset + block.bytes].map(|at| f64::from(at) / KIB);
        [(SegmentValue::Exact(first), ends[0]), (end, ends[1])]
    };
    for (is_band, label, colour) in [(false, "whole", COLOURS[0]), (true, "band", COLOURS[1])] {
        let blocks = memory.blocks.iter();
        let of_kind = blocks.filter(|block| block.band_rows.is_some() == is_band);
        let boxes = of_kind.flat_map(|of| {
            let ends = block(of);
            [
                Rectangle::new(ends.clone(), colour.mix(0.45).filled()),
                Rectangle::new(ends, colour.stroke_width(1)),
            ]
        });
        chart
            .draw_series(boxes)?
            .label(label)
            .legend(move |(x, y)| {
                Rectangle::new([(x, y - 5), (x + 16, y + 5)], colour.mix(0.45).filled())
            });
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .border_style(BLACK.mix(0.2))
        .background_style(WHITE)
        .draw()?;
    root.present()?;
    Ok(())
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
    plans: &[Point],
    fp32: Point,
    has_cycles: bool,
) -> Result<(), Box<dyn std::error::Error>> {
    let height = SIZE.1 + if has_cycles { CYCLES_HEIGHT } else { 0 };
    let root = SVGBackend::with_string(svg, (SIZE.0, height)).into_drawing_area();
    root.fill(&WHITE)?;
    let (upper, lower) = root.split_vertically(SIZE.1);
    let over_ram = |value: fn(&Point) -> f64| -> Panel {
        let point = |plan: &Point| (plan.ram_bytes as f64 / KIB, value(plan));
        Panel {
            points: plans.iter().map(point).collect(),
            fp32: point(&fp32),
        }
    };
    let losses = Axes {
        x: "RAM in KiB: resident weights and activations",
        y: "predicted change of the loss",
        label: &|loss| signed(*loss, 4),
        from: 0.0,
        has_legend: true,
    };
    over_ram(|point| point.loss).draw(&upper, &losses)?;
    if has_cycles {
        let fewest = plans.iter().map(|plan| plan.cycles).min();
        let millions = Axes {
            y: "cycles in millions",
            label: &|millions| fixed(*millions, 2),
            from: fewest.unwrap_or(0) as f64 / 1e6,
            has_legend: false,
            ..losses
        };
        over_ram(|point| point.cycles as f64 / 1e6).draw(&lower, &millions)?;
    }
    root.present()?;
    Ok(())
}

/// Names and labels of a panel's axes.
struct Axes<'a> {
    x: &'a str,
    y: &'a str,
    label: &'a dyn Fn(&f64) -> String,
    /// A value that is shown at any rate.
    from: f64,
    has_legend: bool,
}

/// Plans, each good up to the next one, and the all-FP32 layout, over the RAM in KiB.
struct Panel {
    points: Vec<(f64, f64)>,
    fp32: (f64, f64),
}

impl Panel {
    fn draw(
        &self,
        area: &DrawingArea<SVGBackend<'_>, plotters::coord::Shift>,
        axes: &Axes<'_>,
    ) -> Result<(), Box<dyn std::error::Error>> {
        let Self { points, fp32 } = self;
        let values = points.iter().chain([fp32]).map(|point| point.1);
        let ends = values.fold((axes.from, axes.from), |(a, b), x| (a.min(x), b.max(x)));
        let margin = ((ends.1 - ends.0) * 0.08).max(1e-6);
        let first = points.first().map_or(0.0, |point| point.0);
        let right = points.last().map_or(fp32.0, |point| point.0.max(fp32.0));
        let room = (right - first).max(1.0) * 0.05;
        let mut chart = ChartBuilder::on(area)
            .margin(16)
            .x_label_area_size(44)
            .y_label_area_size(84)
            .build_cartesian_2d(
                (first - room).max(0.0)..right + room,
                ends.0 - margin..ends.1 + margin,
            )?;
        chart
            .configure_mesh()
            .light_line_style(WHITE)
            .bold_line_style(BLACK.mix(0.12))
            .x_desc(axes.x)
            .y_desc(axes.y)
            .y_label_formatter(axes.label)
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
            .draw_series([Circle::new(*fp32, 5, RED.stroke_width(2))])?
            .label("all FP32")
            .legend(|(x, y)| Circle::new((x + 8, y), 5, RED.stroke_width(2)));
        if axes.has_legend {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperMiddle)
                .border_style(BLACK.mix(0.2))
                .background_style(WHITE)
                .draw()?;
        }
        Ok(())
    }
}
