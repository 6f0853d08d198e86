//! The table: layers of many shapes, and a whole network.

use std::io::{Read, Write};

use bitbudget_core::level::Level;
use bitbudget_core::place::Place;
use bitbudget_core::plan::Limits;

use super::cases::{self, CASES, Case, FORMS, IN_NETWORK, LEVELS};
use super::{Bench, BenchError, Row, Step, bare_row, items_near, layer_row, sample_row, whole_row};
use crate::capacity::HostImage;
use crate::pack::PackError;

/// The name of the row of a whole network.
pub const NETWORK: &str = "network";
/// The name of the row of a whole depthwise network.
pub const KEYWORDS: &str = "keyword spotting";
/// The level of a row in which all levels take part.
pub const MIXED: &str = "mixed";

impl<P: Read + Write> Bench<P> {
    /// The table, with seeded random weights; `progress` is told how much of how much is done.
    ///
    /// # Errors
    /// [`BenchError`].
    pub fn table(&mut self, progress: &dyn Fn(usize, usize)) -> Result<Vec<Row>, BenchError> {
        // by the bytes on the wire, which take the time
        let mut images = vec![cases::network().image()?];
        for case in &CASES {
            images.push(case.synthetic().0.image()?);
        }
        images.push(cases::keyword_spotting().image()?);
        let total = images.iter().map(Vec::len).sum();
        let mut done = 0;
        let mut layers = Vec::new();
        let mut whole = Vec::new();
        for (at, bytes) in images.iter().enumerate() {
            let image = HostImage::parse(bytes).map_err(PackError::from)?;
            self.load(&image, bytes, &|sent| progress(done + sent, total))?;
            done += bytes.len();
            match at.checked_sub(1) {
                None => {
                    let (inside, rows) = self.network(&image)?;
                    layers.extend(inside);
                    whole = rows;
                }
                Some(case) if case < CASES.len() => {
                    layers.extend(self.case(&CASES[case], &image)?);
                }
                Some(_) => whole.extend(self.keyword_spotting(&image)?),
            }
        }
        layers.extend(whole);
        Ok(layers)
    }

    /// A layer at its levels.
    fn case(&mut self, case: &Case, image: &HostImage<'_>) -> Result<Vec<Row>, BenchError> {
        let (network, counted) = (image.network(), case.synthetic().1);
        self.at_levels(image, case.levels, |level, steps| {
            layer_row(network, counted, case.name, level, steps)
        })
    }

    /// The depthwise network at each level.
    fn keyword_spotting(&mut self, image: &HostImage<'_>) -> Result<Vec<Row>, BenchError> {
        let network = image.network();
        self.at_levels(image, &LEVELS, |level, steps| {
            whole_row(KEYWORDS, network, level, steps)
        })
    }

    /// A row for each of these levels that there is room for, with all layers at it or near it.
    fn at_levels(
        &mut self,
        image: &HostImage<'_>,
        levels: &[Level],
        row: impl Fn(Level, &[Step]) -> Row,
    ) -> Result<Vec<Row>, BenchError> {
        let network = image.network();
        let mut rows = Vec::new();
        for level in levels {
            let items = items_near(network, *level);
            if self.choose(Place::Ram, &items)?.is_ok() {
                rows.push(row(*level, &self.steps(network)?));
            }
        }
        Ok(rows)
    }

    /// The network's layers that are rows of their own, by layer and level, and the rows of the whole.
    fn network(&mut self, image: &HostImage<'_>) -> Result<(Vec<Row>, Vec<Row>), BenchError> {
        let network = image.network();
        let mut inside = Vec::new();
        let [mut whole, mut samples, mut copied] = [const { Vec::new() }; 3];
        for level in LEVELS {
            // no layer has the level before: all of it is copied
            let items = items_near(network, level);
            let Ok(plan) = self.choose(Place::Ram, &items)? else {
                continue;
            };
            let steps = self.steps(network)?;
            for (place, (name, tensor)) in IN_NETWORK.into_iter().enumerate() {
                let row = layer_row(network, tensor, name, level, &steps);
                if row.macs > 0 || FORMS.contains(&level) {
                    inside.push((place, row));
                }
            }
            whole.push(whole_row(NETWORK, network, level, &steps));
            if FORMS.contains(&level) {
                samples.push(sample_row(network, level, &steps));
            }
            let copy = self.count(plan.copy_ticks);
            copied.push(bare_row("copy network", level.name(), copy));
        }
        // all layers are FP32 now; the plan is the best in half the memory of the best of all
        let mut plan = self.replan(Limits::ram(u64::MAX))?;
        plan = self.replan(Limits::ram(plan.plan.ram_bytes() / 2))?;
        let solved = bare_row("solve network", MIXED, self.count(plan.solve_ticks));
        let moved = bare_row("re-copy network", MIXED, self.count(plan.copy_ticks));
        inside.sort_by_key(|(place, _)| *place);
        let inside = inside.into_iter().map(|(_, row)| row);
        let rows = whole.into_iter().chain(samples).chain(copied);
        Ok((inside.collect(), rows.chain([solved, moved]).collect()))
    }
}
