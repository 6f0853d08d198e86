//! The levels that an image stores, held against all sets of levels.

use std::collections::{BTreeMap, HashMap};

use bitbudget::capacity::{self, HostImage, HostNetwork};
use bitbudget::flash::{ChoiceError, Point, choose};
use bitbudget::graph::Graph;
use bitbudget::layout::{self, Bytes};
use bitbudget::pack;
use bitbudget::profile::{Options, Profile};
use bitbudget::search::Effort;
use bitbudget::size::Sizes;
use bitbudget_core::arena::Lifetimes;
use bitbudget_core::level::Level;
use bitbudget_core::network::Layer;
use bitbudget_core::op::Op;
use bitbudget_core::place::{Cycles, Places};
use bitbudget_core::plan::{Limits, Measure};
use bitbudget_core::quant::{Rounding, Width};
use bitbudget_tests::builder::Style;
use bitbudget_tests::model::Model;
use bitbudget_tests::whole::{self, Whole};
use bitbudget_tests::{digits, generate};
use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};

const INT8: Level = Level::Int(Width::Int8, Rounding::Nearest);
const FLOOR: Level = Level::Int(Width::Int8, Rounding::Floor);
const INT4: Level = Level::Int(Width::Int4, Rounding::Nearest);
const INT2: Level = Level::Int(Width::Int2, Rounding::Nearest);

/// Levels of every layer, by their places in its row.
type Sets = Vec<Vec<usize>>;

/// What an image is made of, by a formula of its own: the constant part, and what a set of items of a layer
/// adds. Postcard writes a row's length in one byte.
struct Formula {
    network: Box<HostNetwork>,
    constant: u64,
    has_cycles: bool,
}

impl Formula {
    fn new(network: &HostNetwork, names: &[String]) -> Self {
        let mut bare = network.clone();
        bare.prices.rows.iter_mut().for_each(|row| row.clear());
        let bare = postcard::to_stdvec(&bare).expect("bytes").len();
        let names = names.iter().map(|name| name.len() + 1);
        // a table for each function
        let applies = |layer: &&Layer| matches!(layer.op, Op::Unary(_));
        let tables = 512 * network.layers.iter().filter(applies).count();
        let mut items = network.prices.rows.iter().flatten();
        Self {
            network: Box::new(network.clone()),
            constant: (bare + names.sum::<usize>() + tables) as u64,
            has_cycles: items.any(|item| item.cycles != Cycles::default()),
        }
    }

    /// What items of a layer add, that are not tied to others.
    fn layer(&self, layer: usize, items: &[usize]) -> u64 {
        let row = &self.network.prices.rows[layer];
        let mut blocks = BTreeMap::new();
        let mut bytes = 0;
        for at in items {
            bytes += postcard::to_stdvec(&row[*at]).expect("bytes").len() as u64;
            if self.has_cycles {
                let cycles = postcard::to_stdvec(&row[*at].cycles).expect("bytes");
                bytes += cycles.len() as u64;
            }
            let level = row[*at].level;
            let block = self.network.block_bytes(layer, level).expect("a block");
            blocks.insert(format!("{:?}", level.weight_format()), u64::from(block));
        }
        bytes + blocks.values().sum::<u64>()
    }

    fn image(&self, of_layers: u64) -> u64 {
        32 + (self.constant + of_layers).next_multiple_of(4)
    }
}

/// A network without the other levels.
fn narrowed(network: &HostNetwork, sets: &Sets) -> Box<HostNetwork> {
    let mut network = Box::new(network.clone());
    for (row, set) in network.prices.rows.iter_mut().zip(sets) {
        *row = set.iter().map(|at| row[*at]).collect();
    }
    network
}

/// The digits' model and profile with these levels.
fn digits_at(levels: &[Level]) -> (Graph, Profile) {
    let (graph, data, options) = digits::model();
    let options = Options {
        refine: 0,
        levels: levels.to_vec(),
        ..options
    };
    let profile = digits::profiled(graph, &data, &options);
    let (graph, ..) = digits::model();
    (graph, profile)
}

/// The image of a profile whose network has these levels only.
fn packed(graph: &Graph, profile: &Profile, network: Box<HostNetwork>) -> Vec<u8> {
    let profile = Profile {
        network,
        ..profile.clone()
    };
    pack::pack(graph, &profile, &[]).expect("an image")
}

#[test]
fn images_have_the_bytes_that_their_levels_take() {
    let (graph, mut profile) = digits_at(&[Level::Fp32, INT8, FLOOR, INT4]);
    let mut rng = SmallRng::seed_from_u64(1);
    for round in 0..60 {
        if round == 30 {
            for item in profile.network.prices.rows.iter_mut().flatten() {
                item.cycles.flash = rng.random_range(1..1 << 24);
                item.cycles.ram = rng.random_range(0..1 << 10);
            }
        }
        let network = &profile.network;
        let rows = network.prices.rows.iter();
        let sets: Sets = rows
            .map(|row| {
                let all: Vec<usize> = (0..row.len()).collect();
                let count = rng.random_range(row.len().min(1)..=row.len());
                let mut some: Vec<usize> = all.choose_multiple(&mut rng, count).copied().collect();
                some.sort_unstable();
                some
            })
            .collect();
        let formula = Formula::new(network, &profile.names);
        let of_layers = sets.iter().enumerate();
        let of_layers = of_layers.map(|(layer, set)| formula.layer(layer, set));
        let expected = formula.image(of_layers.sum());
        let bits = |set: &Vec<usize>| set.iter().fold(0, |bits, at| bits | 1 << at);
        let items: Vec<u16> = sets.iter().map(bits).collect();
        let image = packed(&graph, &profile, narrowed(network, &sets));
        assert_eq!(image.len() as u64, expected);
        let sizes = Sizes::of(network, &profile.names);
        assert_eq!(sizes.image(&items), expected);
    }
}

/// Checks a choice for the digits: what its image takes, and that the image's own plans have what was
/// promised.
fn check_choice(
    (graph, profile): &(Graph, Profile),
    points: &[Point],
    flash: u64,
) -> Result<i64, ChoiceError> {
    let network = &profile.network;
    let choice = choose(
        network,
        &profile.names,
        points,
        Some(flash),
        &Effort::UNLIMITED,
    )?;
    assert!(choice.is_optimal());
    let mut kept = network.clone();
    choice.keep(&mut kept);
    let image = packed(graph, profile, kept);
    assert_eq!(image.len() as u64, choice.image_bytes);
    assert!(choice.image_bytes <= flash);
    let image = HostImage::parse(&image).expect("an image");
    let mut price = 0;
    for (point, plan) in points.iter().zip(&choice.plans) {
        let mut planner = capacity::planner(point.places, image.network());
        let own = planner.plan(image.network(), point.limits, u64::MAX);
        let own = own.expect("a plan at the point");
        assert!(own.is_within(&point.limits));
        assert_eq!(own.price, plan.price);
        price += own.price;
    }
    assert_eq!(price, choice.price);
    Ok(price)
}

/// `count` sizes from the first to the last one.
fn between(first: u64, last: u64, count: u64) -> impl Iterator<Item = u64> {
    (0..count).map(move |i| first + (last - first) * i / (count - 1))
}

#[test]
fn one_point_is_served_as_well_as_by_any_levels() {
    let digits = digits_at(&[Level::Fp32, INT8, FLOOR, INT4]);
    let network = &digits.1.network;
    let formula = Formula::new(network, &digits.1.names);
    let lifetimes = Lifetimes::new(network);
    // bytes of the image and of RAM, and price
    let layouts: Vec<(u64, u64, i64)> = layout::all_layouts(network)
        .iter()
        .map(|levels| {
            let (mut stored, mut price) = (0, 0);
            for (layer, level) in levels.iter().enumerate() {
                let row = &network.prices.rows[layer];
                if let Some(at) = row.iter().position(|item| item.level == *level) {
                    stored += formula.layer(layer, &[at]);
                    price += i64::from(row[at].price);
                }
            }
            let bytes = Bytes::of(network, &lifetimes, levels);
            (formula.image(stored), bytes.weights + bytes.arena, price)
        })
        .collect();
    let all =
        32 + formula.constant.next_multiple_of(4) + layouts.iter().map(|l| l.0).max().unwrap_or(0);
    for ram in [u64::MAX, 48 << 10] {
        let points = [Point {
            limits: Limits::ram(ram),
            places: Places::Ram,
        }];
        let within = |flash: u64| {
            let fitting = layouts.iter().filter(|l| l.0 <= flash && l.1 <= ram);
            fitting.map(|l| l.2).min()
        };
        let smallest = layouts.iter().filter(|l| l.1 <= ram).map(|l| l.0).min();
        let smallest = smallest.expect("a layout");
        for flash in between(smallest, all, 30) {
            assert_eq!(check_choice(&digits, &points, flash).ok(), within(flash));
        }
        for flash in [smallest - 1, smallest / 2, 40, 0] {
            let refused = check_choice(&digits, &points, flash);
            let expected = ChoiceError::Flash {
                flash,
                smallest,
                proven: true,
            };
            assert_eq!(refused, Err(expected));
        }
    }
}

#[test]
fn two_points_are_served_as_well_as_by_any_levels() {
    let digits = digits_at(&[INT8, INT4, INT2]);
    let network = &digits.1.network;
    let formula = Formula::new(network, &digits.1.names);
    let lifetimes = Lifetimes::new(network);
    let weighted: Vec<usize> = (0..network.layers.len())
        .filter(|layer| !network.prices.rows[*layer].is_empty())
        .collect();
    // the union's bytes of every pair of items of half of the layers
    let halves = weighted.split_at(weighted.len() / 2);
    let pairs = |half: &[usize]| -> Vec<Vec<u64>> {
        let count = 3_usize.pow(half.len() as u32);
        let item = |code: usize, place: usize| code / 3_usize.pow(place as u32) % 3;
        let of = |one: usize, other: usize| {
            let layers = half.iter().enumerate();
            let bytes = layers.map(|(place, layer)| {
                let mut items = vec![item(one, place), item(other, place)];
                items.dedup();
                formula.layer(*layer, &items)
            });
            bytes.sum()
        };
        let row = |one| (0..count).map(|other| of(one, other)).collect();
        (0..count).map(row).collect()
    };
    let unions = [pairs(halves.0), pairs(halves.1)];
    let count = [unions[0].len(), unions[1].len()];
    // the codes of both halves, bytes of RAM, and price
    let mut layouts: Vec<([usize; 2], u64, i64)> = Vec::new();
    for code in 0..count[0] * count[1] {
        let codes = [code % count[0], code / count[0]];
        let mut levels = vec![Level::Fp32; network.layers.len()];
        let mut price = 0;
        for (half, mut code) in [halves.0, halves.1].into_iter().zip(codes) {
            for layer in half {
                let item = network.prices.rows[*layer][code % 3];
                (levels[*layer], code) = (item.level, code / 3);
                price += i64::from(item.price);
            }
        }
        let bytes = Bytes::of(network, &lifetimes, &levels);
        layouts.push((codes, bytes.weights + bytes.arena, price));
    }
    let most = layouts.iter().map(|l| l.1).max().expect("a layout");
    let least = layouts.iter().map(|l| l.1).min().expect("a layout");
    let mut joint = 0;
    for part in [8, 3] {
        let rams = [most, least + (most - least) / part];
        // the least price by bytes of the layers in the image
        let mut best: BTreeMap<u64, i64> = BTreeMap::new();
        let small: Vec<_> = layouts.iter().filter(|l| l.1 <= rams[1]).collect();
        for (one, _, own) in &layouts {
            let rows = [&unions[0][one[0]], &unions[1][one[1]]];
            let of = |(other, _, price): &&([usize; 2], u64, i64)| {
                (rows[0][other[0]] + rows[1][other[1]], own + price)
            };
            let mut pairs: Vec<(u64, i64)> = small.iter().map(of).collect();
            pairs.sort_unstable();
            let mut lowest = i64::MAX;
            for (bytes, price) in pairs {
                if price < lowest {
                    lowest = price;
                    let known = best.entry(formula.image(bytes)).or_insert(price);
                    *known = price.min(*known);
                }
            }
        }
        let points = rams.map(|ram| Point {
            limits: Limits::ram(ram),
            places: Places::Ram,
        });
        let (smallest, _) = best.first_key_value().expect("a pair");
        let (largest, _) = best.last_key_value().expect("a pair");
        let mut before = i64::MAX;
        for flash in between(*smallest, *largest, 30) {
            let expected = best.range(..=flash).map(|(_, price)| *price).min();
            let price = check_choice(&digits, &points, flash).ok();
            assert_eq!(price, expected, "{rams:?} in {flash}");
            joint += u32::from(price < Some(before));
            before = price.expect("a price");
        }
        let flash = smallest - 1;
        let expected = ChoiceError::Flash {
            flash,
            smallest: *smallest,
            proven: true,
        };
        assert_eq!(check_choice(&digits, &points, flash), Err(expected));
    }
    assert!(joint > 8, "{joint}");
}

/// A random model's network with the host's capacities.
fn on_host(model: &Model) -> Box<HostNetwork> {
    let bytes = postcard::to_stdvec(&model.network).expect("bytes");
    let mut network: Box<HostNetwork> = Box::new(postcard::from_bytes(&bytes).expect("a network"));
    let own = model.network.prices.rows.iter().flatten();
    let items = network.prices.rows.iter_mut().flatten();
    for (item, own) in items.zip(own) {
        item.cycles = own.cycles;
    }
    network
}

/// A random model's network on the host, and what its images take.
struct Random {
    network: Box<HostNetwork>,
    names: Vec<String>,
    formula: Formula,
}

/// Levels and price of the layouts within the limits of a point.
type Fitting = HashMap<Vec<Option<Level>>, i64>;

impl Random {
    /// Bytes of the image with the levels of these layouts.
    fn image_bytes(&self, layouts: [&[Option<Level>]; 2]) -> u64 {
        let rows = self.network.prices.rows.iter().enumerate();
        let stored = rows.map(|(layer, row)| {
            let level = |levels: &[Option<Level>]| levels.get(layer).copied().flatten();
            let at = |level| row.iter().position(|item| Some(item.level) == level);
            let mut items: Vec<usize> = layouts.map(level).into_iter().filter_map(at).collect();
            items.dedup();
            self.formula.layer(layer, &items)
        });
        self.formula.image(stored.sum())
    }

    /// Bytes of the image and sum of the prices of one layout at each of one or two points.
    fn images(&self, fitting: &[Fitting]) -> Vec<(u64, i64)> {
        let none = Fitting::from([(Vec::new(), 0)]);
        let mut images = Vec::new();
        for (one, price) in &fitting[0] {
            for (other, more) in fitting.get(1).unwrap_or(&none) {
                images.push((self.image_bytes([one, other]), price + more));
            }
        }
        images
    }

    /// Checks what is chosen for these points within so many bytes; whether there is an image.
    fn check(&self, points: &[Point], images: &[(u64, i64)], flash: u64) -> bool {
        let Self { network, names, .. } = self;
        let within = images.iter().filter(|(bytes, _)| *bytes <= flash);
        let best = within.map(|(_, price)| *price).min();
        let found = choose(network, names, points, Some(flash), &Effort::UNLIMITED);
        let Some(price) = best else {
            let smallest = images.iter().map(|(bytes, _)| *bytes).min();
            let error = ChoiceError::Flash {
                flash,
                smallest: smallest.expect("an image"),
                proven: true,
            };
            assert_eq!(found.expect_err("too small"), error);
            return false;
        };
        let choice = found.expect("an image");
        assert!(choice.is_optimal() && choice.image_bytes <= flash);
        assert_eq!(choice.price, price, "{points:?} in {flash}");
        let mut kept = network.clone();
        choice.keep(&mut kept);
        for (point, plan) in points.iter().zip(&choice.plans) {
            let mut planner = capacity::planner(point.places, &kept);
            let own = planner.plan(&kept, point.limits, u64::MAX);
            assert_eq!(own.expect("a plan").price, plan.price);
        }
        true
    }
}

/// Some of what a layout takes as limits.
fn limits_of(rng: &mut SmallRng, whole: &Whole) -> Limits {
    let mut limits = Limits::NONE;
    for measure in Measure::ALL {
        let amount = match measure {
            Measure::Ram => whole.ram,
            Measure::Cycles => whole.cycles,
            Measure::Weights => whole.weights,
        };
        if rng.random_bool(0.4) {
            limits = limits.with(measure, amount);
        }
    }
    limits
}

/// A random model with cycles, and every other one with layers that are tied.
fn random_model(seed: u64, rng: &mut SmallRng) -> Model {
    let mut model = generate::model_at(seed, Style::Real, 5, &[Level::Fp32, INT8, FLOOR, INT4]);
    whole::give_cycles(&mut model, rng);
    let rows = model.network.prices.rows.iter().enumerate();
    let weighted = rows.filter(|(_, row)| row.len() > 1);
    let weighted: Vec<usize> = weighted.map(|(layer, _)| layer).collect();
    if let [first, .., last] = weighted[..]
        && seed.is_multiple_of(2)
    {
        // they may have nothing in common
        let _ = model.network.tie(first, last);
    }
    model
}

/// Networks with blocks that levels share, ties, places, and limits of every kind, against all pairs of layouts.
#[test]
fn random_networks_are_served_as_well_as_by_any_levels() {
    let mut rng = SmallRng::seed_from_u64(71);
    let (mut chosen, mut refused) = (0, 0);
    for seed in 0..80 {
        let model = random_model(seed, &mut rng);
        let network = on_host(&model);
        let random = Random {
            formula: Formula::new(&network, &model.names),
            names: model.names.clone(),
            network,
        };
        let ties = &model.network.prices.ties;
        for places in [Places::Ram, Places::Flash, Places::Best] {
            let count = model.layouts().len();
            // layers that are tied share their place, too
            let is_best = places == Places::Best && (count > 1 << 6 || !ties.is_empty());
            if count > 1 << 8 || is_best {
                continue;
            }
            let mut all = whole::all(&model, places);
            all.retain(|whole| {
                let level = |layer: u16| whole.levels[usize::from(layer)];
                ties.iter().all(|[a, b]| level(*a) == level(*b))
            });
            for round in 0..4 {
                let (mut points, mut fitting) = (Vec::new(), Vec::new());
                for _ in 0..=round % 2 {
                    let some = &all[rng.random_range(0..all.len())];
                    let limits = limits_of(&mut rng, some);
                    let within = all.iter().filter(|whole| whole.is_within(&limits));
                    let within = within.map(|whole| (whole.levels.clone(), whole.price));
                    fitting.push(within.collect::<Fitting>());
                    points.push(Point { limits, places });
                }
                let images = random.images(&fitting);
                let bytes = || images.iter().map(|(bytes, _)| *bytes);
                let smallest = bytes().min().expect("an image");
                let largest = bytes().max().expect("an image");
                for flash in [
                    smallest - 1,
                    smallest,
                    rng.random_range(smallest..=largest),
                    rng.random_range(smallest..=largest),
                ] {
                    match random.check(&points, &images, flash) {
                        true => chosen += 1,
                        false => refused += 1,
                    }
                }
            }
        }
    }
    assert!(chosen > 500 && refused > 100, "{chosen} {refused}");
}

/// A search that is cut short says so, and what it has found fits.
#[test]
fn what_a_short_search_finds_fits_and_is_not_called_proven() {
    let digits = digits_at(&[Level::Fp32, INT8, INT4, INT2]);
    let network = &digits.1.network;
    let names = &digits.1.names;
    let points = [45 << 10, 33 << 10, 27 << 10].map(|ram| Point {
        limits: Limits::ram(ram),
        places: Places::Ram,
    });
    let mut cut = 0;
    for flash in between(60 << 10, 200 << 10, 15) {
        let best = choose(network, names, &points, Some(flash), &Effort::UNLIMITED);
        let best = best.expect("an image");
        assert!(best.is_optimal());
        for nodes in [0, 1, 3, 10] {
            let found = choose(network, names, &points, Some(flash), &Effort::nodes(nodes));
            let found = match found {
                Ok(found) => found,
                Err(ChoiceError::Flash { proven, .. }) => {
                    assert!(!proven);
                    continue;
                }
                Err(error) => panic!("{error}"),
            };
            assert!(found.image_bytes <= flash);
            assert!(found.bound <= best.price && best.price <= found.price);
            cut += u32::from(!found.is_optimal());
        }
    }
    assert!(cut > 0);
}
