use super::*;
use crate::search::Effort;

mod magnitudes;

fn parse(text: &str) -> Result<Problem, Malformed> {
    Problem::parse(Path::new("p.json"), text)
}

const SMALL: &str = r#"{
  "layers": [
    {"name": "a", "items": [
      {"level": "int8", "price": 0.5, "costs": {"ram": 10, "cycles": 5}},
      {"level": "fp32", "price": 0.0, "costs": {"ram": 40, "cycles": 9}}]},
    {"name": "b", "items": [
      {"level": "int8", "price": 0.125, "costs": {"ram": 20, "cycles": 7}},
      {"level": "fp32", "price": -0.25, "costs": {"ram": 80, "cycles": 11}}]},
    {"name": "c", "items": [
      {"level": "fp32", "price": 0.0, "costs": {"ram": 4, "cycles": 1}},
      {"level": "int8", "price": 0.0625, "costs": {"ram": 1, "cycles": 2}}]}
  ],
  "limits": {"ram": 100}
}"#;

fn solved(problem: &Problem, minimize: &str) -> Answer {
    problem
        .solve(minimize, &Effort::UNLIMITED)
        .expect("a layout")
}

#[test]
fn the_documented_format_is_solved() {
    let mut problem = parse(SMALL).expect("a problem");
    let answer = solved(&problem, PRICE);
    assert_eq!(answer.levels, ["fp32", "int8", "fp32"]);
    assert_eq!((answer.price, answer.bound), (0.125, 0.125));
    assert_eq!(answer.costs["ram"], 64);
    assert_eq!(answer.costs["cycles"], 17);
    assert!(answer.optimal);
    // any cost can be minimised, and the price limited, exactly
    problem.limits = BTreeMap::from([(PRICE.to_owned(), 0.1875)]);
    let cheapest = solved(&problem, "ram");
    assert_eq!(
        (cheapest.costs["ram"], cheapest.price, cheapest.bound),
        (61, 0.1875, 61.0)
    );
    problem.limits.insert(PRICE.to_owned(), 0.1874);
    assert_eq!(solved(&problem, "ram").costs["ram"], 64);
}

#[test]
fn ties_and_pins_hold() {
    let mut problem = parse(SMALL).expect("a problem");
    problem.ties = vec![vec!["a".into(), "b".into()]];
    assert_eq!(solved(&problem, PRICE).levels, ["int8", "int8", "fp32"]);
    problem.pins = BTreeMap::from([("c".to_owned(), "int8".to_owned())]);
    assert_eq!(solved(&problem, PRICE).levels, ["int8", "int8", "int8"]);
    problem.pins.insert("b".into(), "fp32".into());
    let error = problem
        .solve(PRICE, &Effort::UNLIMITED)
        .expect_err("121 bytes");
    let SolveError::Infeasible(infeasible) = error else {
        panic!("{error:?}");
    };
    let shortage = &infeasible.shortages[0];
    assert!(shortage.binds_alone() && infeasible.doubt.is_none());
    assert_eq!((shortage.limit, shortage.least), (100.0, 121.0));
    assert_eq!(shortage.largest[0], ("a+b".into(), "fp32".into(), 120.0));
}

#[test]
fn limits_that_exclude_each_other_are_told() {
    let mut problem = parse(SMALL).expect("a problem");
    problem.limits.insert("cycles".into(), 16.0);
    problem.limits.insert("ram".into(), 70.0);
    problem.limits.insert(PRICE.into(), 0.2);
    let error = problem
        .solve(PRICE, &Effort::UNLIMITED)
        .expect_err("too much asked");
    let SolveError::Infeasible(infeasible) = error else {
        panic!("{error:?}");
    };
    let least = |name: &str| {
        let mut shortages = infeasible.shortages.iter();
        let shortage = shortages.find(|s| s.name == name).expect("a limit");
        assert!(!shortage.binds_alone());
        shortage.least_with_others
    };
    // within 16 cycles a and b are both int8, at a price of 0.625
    assert_eq!(least("ram"), None);
    assert_eq!(least("cycles"), Some(17.0));
    assert_eq!(least(PRICE), Some(0.625));
}

#[test]
fn neighbours_are_the_next_steps() {
    let problem = parse(SMALL).expect("a problem");
    let answer = solved(&problem, PRICE);
    let neighbours = problem.neighbours(&answer, &Effort::UNLIMITED);
    assert_eq!(neighbours.len(), 1);
    let better = neighbours[0].better.as_ref().expect("a better one");
    assert_eq!((better.costs["ram"], better.price), (121, -0.1875));
    let smaller = neighbours[0].smaller.as_ref().expect("a smaller one");
    assert_eq!((smaller.costs["ram"], smaller.price), (61, 0.1875));
}

#[test]
fn faults_are_told_with_line_and_field() {
    let with = |from: &str, to: &str| {
        let text = SMALL.replacen(from, to, 1);
        assert_ne!(text, SMALL, "{from}");
        let fault = parse(&text).expect_err(to);
        (fault.line, fault.field, fault.reason)
    };
    let first = "layers[0].items[0]";
    for (from, to, line, field, reason) in [
        ("0.5", "\"x\"", 4, format!("{first}.price"), "invalid type"),
        (
            "0.5",
            "1e999",
            4,
            format!("{first}.price"),
            "number out of range",
        ),
        (
            "10,",
            "-1,",
            4,
            format!("{first}.costs.ram"),
            "invalid value",
        ),
        (
            "10,",
            "1.5,",
            4,
            format!("{first}.costs.ram"),
            "invalid type",
        ),
        (
            "\"price\": 0.5, ",
            "",
            4,
            first.into(),
            "missing field `price`",
        ),
        (
            "\"level\"",
            "\"lvl\"",
            4,
            format!("{first}.lvl"),
            "unknown field `lvl`",
        ),
        (
            "\"ram\": 40",
            "\"rom\": 40",
            5,
            "layers[0].items[1].costs".into(),
            "costs [cycles, rom]",
        ),
        (
            "\"fp32\"",
            "\"int8\"",
            5,
            "layers[0].items[1].level".into(),
            "another item `int8`",
        ),
        (
            "\"b\"",
            "\"a\"",
            6,
            "layers[1].name".into(),
            "another layer `a`",
        ),
        (
            "\"ram\": 100",
            "\"flash\": 1",
            13,
            "limits.flash".into(),
            "there are: cycles, ram, price",
        ),
        (
            "\"ram\": 100",
            "\"ram\": -1",
            13,
            "limits.ram".into(),
            "-1 is no limit",
        ),
        (
            "{\"ram\": 100}",
            "{}, \"ties\": [[\"a\", \"x\"]]",
            13,
            "ties[0][1]".into(),
            "no layer `x`",
        ),
        (
            "{\"ram\": 100}",
            "{}, \"pins\": {\"a\": \"int4\"}",
            13,
            "pins.a".into(),
            "its levels: int8, fp32",
        ),
        (
            "{\"ram\": 100}",
            "{}, \"ties\": [[\"a\", \"b\"]], \"pins\": {\"a\": \"int8\", \"b\": \"fp32\"}",
            13,
            "ties[0]".into(),
            "no level for all of a, b",
        ),
        ("\n}", "\n} 3", 14, String::new(), "more than one value"),
        ("100}", "100", 14, String::new(), "EOF"),
    ] {
        let (found_line, found_field, found_reason) = with(from, to);
        assert!(found_reason.contains(reason), "{to}: {found_reason}");
        assert_eq!(
            (found_line, found_field),
            (line, field),
            "{to}: {found_reason}"
        );
    }
    let empty = parse("{\"layers\": []}").expect_err("no layers");
    assert_eq!(empty.field, "layers");
    assert_eq!(
        empty.to_string(),
        "p.json, line 1: layers: 0 layers; there may be 1 to 1024"
    );
}

/// The optimum among all layouts, in the numbers as given.
fn exhaustive(problem: &Problem, minimize: &str) -> Option<f64> {
    let mut sums = vec![(Vec::<usize>::new(), BTreeMap::<String, f64>::new())];
    for layer in &problem.layers {
        let mut longer = Vec::new();
        for (choice, sum) in &sums {
            for (j, item) in layer.items.iter().enumerate() {
                let mut sum = sum.clone();
                *sum.entry(PRICE.into()).or_default() += item.price;
                for (name, cost) in &item.costs {
                    *sum.entry(name.clone()).or_default() += *cost as f64;
                }
                longer.push(([&choice[..], &[j]].concat(), sum));
            }
        }
        sums = longer;
    }
    let level = |choice: &[usize], name: &str| {
        let at = problem.layers.iter().position(|layer| layer.name == name);
        let at = at.expect("a layer");
        problem.layers[at].items[choice[at]].level.clone()
    };
    let fits = sums.iter().filter(|(choice, sum)| {
        problem.limits.iter().all(|(name, most)| sum[name] <= *most)
            && problem
                .pins
                .iter()
                .all(|(name, pin)| level(choice, name) == *pin)
            && problem.ties.iter().all(|tie| {
                tie.windows(2)
                    .all(|pair| level(choice, &pair[0]) == level(choice, &pair[1]))
            })
    });
    fits.map(|(_, sum)| sum[minimize]).min_by(f64::total_cmp)
}

/// A small generator: the tests of this file need no statistics.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

#[test]
fn random_problems_agree_with_exhaustive_search() {
    let mut numbers = Numbers(7);
    let (mut solved, mut refused) = (0, 0);
    for round in 0..1_500 {
        let count = 2 + numbers.below(4) as usize;
        let layers = (0..count).map(|i| Layer {
            name: format!("l{i}"),
            items: (0..1 + numbers.below(4))
                .map(|j| Item {
                    level: format!("v{j}"),
                    // exact sums: equality is then a question of the search alone
                    price: (numbers.below(2_000) as f64 - 700.0) / 1024.0,
                    costs: ["cycles", "flash", "ram"]
                        .map(|name| (name.to_owned(), numbers.below(50) << (5 * (round % 9))))
                        .into(),
                })
                .collect(),
        });
        let mut problem = Problem {
            layers: layers.collect(),
            limits: BTreeMap::new(),
            ties: Vec::new(),
            pins: BTreeMap::new(),
        };
        let names = ["cycles", "flash", "ram", PRICE];
        let minimize = names[numbers.below(4) as usize];
        for name in names {
            if numbers.below(2) == 0 {
                let most = match name {
                    PRICE => numbers.below(3_000) as f64 / 1024.0,
                    _ => {
                        ((10 + numbers.below(35)) * count as u64) as f64
                            * (1_u64 << (5 * (round % 9))) as f64
                    }
                };
                problem.limits.insert(name.into(), most);
            }
        }
        let (a, b) = (numbers.below(count as u64), numbers.below(count as u64));
        if numbers.below(3) == 0 {
            problem.ties.push(vec![format!("l{a}"), format!("l{b}")]);
        }
        if numbers.below(3) == 0 {
            problem.pins.insert(format!("l{b}"), "v0".into());
        }
        problem.check().expect("level v0 is in every layer");
        let best = exhaustive(&problem, minimize);
        match problem.solve(minimize, &Effort::UNLIMITED) {
            Ok(answer) => {
                let sum = answer
                    .costs
                    .get(minimize)
                    .map_or(answer.price, |cost| *cost as f64);
                assert_eq!(Some(sum), best);
                assert_eq!(answer.bound, sum);
                assert!(answer.optimal);
                solved += 1;
            }
            Err(SolveError::Infeasible(infeasible)) => {
                assert_eq!(best, None);
                assert!(infeasible.doubt.is_none());
                // what it says would do does
                for shortage in &infeasible.shortages {
                    let mut other = problem.clone();
                    other.limits.remove(&shortage.name);
                    assert_eq!(
                        exhaustive(&other, &shortage.name),
                        shortage.least_with_others
                    );
                }
                refused += 1;
            }
            Err(error) => panic!("{error:?}"),
        }
    }
    assert!(solved > 500 && refused > 100, "{solved} {refused}");
}

/// A problem of `count` layers of two items each: nothing, and a cost with a gain.
fn two_items(count: usize, limit: f64, item: impl Fn(usize) -> (u64, f64)) -> Problem {
    let layer = |i: usize| {
        let (cost, gain) = item(i);
        let item = |level: &str, cost: u64, price: f64| Item {
            level: level.into(),
            price,
            costs: BTreeMap::from([("ram".to_owned(), cost)]),
        };
        Layer {
            name: format!("l{i}"),
            items: vec![item("none", 0, 0.0), item("all", cost, -gain)],
        }
    };
    Problem {
        layers: (0..count).map(layer).collect(),
        limits: BTreeMap::from([("ram".to_owned(), limit)]),
        ties: Vec::new(),
        pins: BTreeMap::new(),
    }
}

#[test]
fn costs_are_divided_by_their_common_divisor() {
    let mut numbers = Numbers(3);
    let costs: Vec<u64> = (0..30).map(|_| 2 * (500 + numbers.below(5_000))).collect();
    let total: u64 = costs.iter().sum();
    // even costs and an odd limit: no layout reaches it
    let problem = two_items(30, ((total / 2) | 1) as f64, |i| {
        (costs[i], costs[i] as f64)
    });
    let answer = problem
        .solve(PRICE, &Effort::nodes(20_000))
        .expect("a layout");
    assert!(answer.optimal, "{} nodes", answer.nodes);
    assert_eq!(answer.costs["ram"] as f64, -answer.price);
}

#[test]
fn whole_limits_are_met_exactly_by_one_search() {
    let mut numbers = Numbers(4);
    for round in 0..20 {
        let costs: Vec<u64> = (0..14).map(|_| 1 + numbers.below(10_000)).collect();
        let total: u64 = costs.iter().sum();
        let limit = total * (20 + 3 * round) / 100;
        let problem = two_items(14, limit as f64, |i| (costs[i], (costs[i] + 10) as f64));
        let answer = problem.solve(PRICE, &Effort::UNLIMITED).expect("a layout");
        assert_eq!(Some(answer.price), exhaustive(&problem, PRICE));
        // what the core's solver takes on the same numbers
        let group = |cost: &u64| {
            let item = |cost: u64, price: i32| bitbudget_core::mckp::Item {
                cost: [cost as u32],
                price,
                class: 0,
            };
            [item(0, 0), item(*cost, -(*cost as i32 + 10))]
        };
        let groups = costs.iter().map(group);
        let mut solver = bitbudget_core::mckp::Solver::<14, 2>::new(groups).expect("room");
        let solution = solver.solve([limit], u64::MAX).expect("a layout");
        assert_eq!(answer.nodes, solution.nodes);
        // cut, it is near the optimum all the same
        let cut = problem.solve(PRICE, &Effort::nodes(50)).expect("a layout");
        assert!(cut.bound <= answer.price && cut.price - answer.price < 0.01 * total as f64);
    }
}

#[test]
fn limits_on_large_costs_are_not_exceeded_by_one() {
    // the unit of their differences is far above 1
    let half = 1_u64 << 51;
    let item = |i: usize| (half + [0, 1, 3][i % 3], 1.0);
    for (limit, least) in [
        (3 * half + 4, -3.0),
        (3 * half + 3, -2.0),
        (2 * half + 1, -2.0),
        (2 * half, -1.0),
    ] {
        let problem = two_items(3, limit as f64, item);
        let answer = problem.solve(PRICE, &Effort::nodes(1000));
        let answer = answer.expect("nothing costs nothing");
        assert!(answer.costs["ram"] <= limit, "{answer:?}");
        assert!(answer.bound <= least && least <= answer.price, "{answer:?}");
        assert!(!answer.optimal || answer.price == least, "{answer:?}");
    }
}

#[test]
fn a_watcher_ends_a_search_with_its_incumbent() {
    let mut numbers = Numbers(5);
    let costs: Vec<u64> = (0..200).map(|_| 1 + numbers.below(1_000_000)).collect();
    let total: u64 = costs.iter().sum();
    let problem = two_items(200, (total / 3) as f64, |i| {
        (costs[i], (costs[i] + 10_000) as f64)
    });
    let watched = std::sync::atomic::AtomicU64::new(0);
    let effort = Effort {
        node_limit: u64::MAX,
        watch: &|progress| {
            watched.store(progress.nodes, std::sync::atomic::Ordering::Relaxed);
            assert!(progress.gap.is_some());
            false
        },
    };
    let answer = problem.solve(PRICE, &effort).expect("a layout");
    assert!(!answer.optimal && answer.bound < answer.price);
    assert_eq!(watched.into_inner(), answer.nodes);
}
