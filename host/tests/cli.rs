//! The command as a user meets it: every command on the demo's files, and the obvious mistakes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::sync::OnceLock;

use serde_json::Value;
use tempfile::TempDir;

/// Runs `bitbudget` with these arguments in `folder`.
fn bitbudget(folder: &Path, arguments: &[&str]) -> Output {
    let mut command = assert_cmd::Command::cargo_bin("bitbudget").expect("the program");
    let command = command.current_dir(folder).env("RUST_BACKTRACE", "0");
    command.args(arguments).output().expect("an exit")
}

/// The standard output of a run that must succeed.
fn stdout(folder: &Path, arguments: &[&str]) -> String {
    let output = bitbudget(folder, arguments);
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {error}");
    String::from_utf8(output.stdout).expect("text")
}

/// The JSON of a run that must succeed.
fn json(folder: &Path, arguments: &[&str]) -> Value {
    let arguments = [arguments, &["--json"]].concat();
    serde_json::from_str(&stdout(folder, &arguments)).expect("one JSON value")
}

/// Checks that a run fails with an error that contains all of `parts`, without a panic.
fn fails(folder: &Path, arguments: &[&str], parts: &[&str]) {
    let output = bitbudget(folder, arguments);
    check_failure(&output, arguments, parts);
}

fn check_failure(output: &Output, arguments: &[&str], parts: &[&str]) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{arguments:?} succeeded");
    assert!(!error.contains("panicked"), "{arguments:?}: {error}");
    for part in parts {
        assert!(
            error.contains(part),
            "{arguments:?} does not say `{part}`:\n{error}"
        );
    }
}

/// The demo's files, made once.
fn demo() -> &'static Path {
    static DEMO: OnceLock<TempDir> = OnceLock::new();
    let made = DEMO.get_or_init(|| {
        let folder = TempDir::new().expect("a folder");
        stdout(folder.path(), &["demo", "--keep", "."]);
        folder
    });
    made.path()
}

/// A folder with the demo's files, to write into.
fn copy() -> TempDir {
    let folder = TempDir::new().expect("a folder");
    for entry in fs::read_dir(demo()).expect("files") {
        let entry = entry.expect("a file");
        fs::copy(entry.path(), folder.path().join(entry.file_name())).expect("a copy");
    }
    folder
}

const PROFILE: [&str; 8] = [
    "profile",
    "digits.onnx",
    "--data",
    "calib_images.npy",
    "--scale",
    "1/16",
    "-o",
    "x.profile",
];

fn number(value: &Value) -> f64 {
    value.as_f64().expect("a number")
}

#[test]
fn the_demo_is_what_starts_without_a_command() {
    let text = stdout(demo(), &[]);
    assert!(
        text.contains("FP32 loss 0.041915 (raw 0.041915), accuracy 99.56 %"),
        "{text}"
    );
    assert!(text.contains("450 samples"), "{text}");
    assert!(text.contains("within 1400000 cycles"), "{text}");
}

#[test]
fn profile_and_pack_give_what_the_demo_made() {
    let folder = copy();
    let at = folder.path();
    let profile = json(at, &PROFILE);
    assert_eq!(profile["samples"], 450);
    assert_eq!(profile["metric"], "measured");
    assert!(!at.join("x.profile.partial").exists());
    let pack = ["pack", "digits.onnx", "x.profile", "-o", "x.image"];
    let all = json(at, &[&pack[..], &["--all-levels"]].concat());
    let bytes = |name: &str| fs::read(at.join(name)).expect("an image");
    assert!(bytes("x.image") == bytes("digits.image"));
    // the levels that no plan needs are left out, and no plan changes
    let needed = json(at, &pack);
    assert!(needed["image_bytes"].as_u64() < all["image_bytes"].as_u64());
    assert!(needed["levels"].as_u64() < all["levels"].as_u64());
    for place in ["ram", "flash"] {
        let layouts = |image| json(at, &["pareto", image, "--place", place])["layouts"].clone();
        assert!(layouts("x.image") == layouts("digits.image"), "{place}");
    }
}

/// What the project does is tested with a C compiler, in `tests`.
#[test]
fn an_image_goes_out_as_c() {
    let folder = copy();
    let at = folder.path();
    let export = ["export", "c", "digits.image", "-o", "c"];
    let printed = stdout(at, &export);
    let files = [
        "CMakeLists.txt",
        "bitbudget.h",
        "main.c",
        "model.c",
        "model.h",
    ];
    assert_eq!(printed.lines().count(), files.len());
    let image = fs::read(at.join("digits.image")).expect("the image");
    let source = fs::read_to_string(at.join("c/model.c")).expect("the source");
    let array = source.split("= {\n").nth(1).expect("an array");
    let array = array.split('}').next().expect("its end").replace('\n', "");
    let array: Vec<u8> = array
        .split_terminator(',')
        .map(|byte| byte.parse().expect("a byte"))
        .collect();
    assert!(array == image, "{} of {} bytes", array.len(), image.len());

    // what a user changes stays, what bitbudget wrote is written anew
    fs::write(at.join("c/main.c"), "mine").expect("a file");
    fs::write(at.join("c/model.h"), "/* Written by bitbudget, some day */").expect("a file");
    let again = json(at, &[&export[..], &["--input", "test_images.npy"]].concat());
    assert_eq!(again["kept"], 2);
    assert_eq!(again["written"].as_array().map(Vec::len), Some(3));
    let kept = fs::read_to_string(at.join("c/main.c")).expect("a file");
    assert_eq!(kept, "mine");
    let header = fs::read_to_string(at.join("c/model.h")).expect("a file");
    assert!(header.contains("#define MODEL_INPUT_LEN 64u") && header.contains("MODEL_ARENA_LEAST"));

    fs::write(at.join("c/model.c"), "my own").expect("a file");
    fails(
        at,
        &export,
        &["model.c", "is not C source that bitbudget wrote"],
    );
    fails(
        at,
        &[&export[..], &["--name", "1st"]].concat(),
        &["\"1st\" is no name that C allows", "letters"],
    );
    fails(
        at,
        &["export", "c", "digits.profile", "-o", "d"],
        &["is not a bitbudget image"],
    );
    fails(
        at,
        &["export", "c", "digits.image", "-o", "digits.image"],
        &["digits.image"],
    );
    assert!(!at.join("d").exists());
    let zephyr = [
        "export",
        "c",
        "digits.image",
        "--for",
        "zephyr",
        "--name",
        "kws",
        "-o",
        "z",
    ];
    let printed = stdout(at, &zephyr);
    assert!(
        printed.contains("z/modules/bitbudget/zephyr/module.yml")
            && printed.contains("z/src/kws.c")
    );
}

#[test]
fn weights_stay_in_flash_where_they_are_wanted_there() {
    let folder = copy();
    let at = folder.path();
    let pack = [
        "pack",
        "digits.onnx",
        "digits.profile",
        "--pin",
        "int8",
        "-o",
    ];
    let packed = json(at, &[&pack[..], &["x.image"]].concat());
    // 77,000 weights, biases and factors
    let image_bytes = packed["image_bytes"].as_u64().expect("bytes");
    assert!((76_764..80 * 1024).contains(&image_bytes), "{image_bytes}");
    let plan = ["plan", "x.image", "--place", "flash", "--budget", "2KiB"];
    let plan = json(at, &plan);
    assert_eq!(plan["total_bytes"], 2_048);
    assert_eq!(plan["weight_bytes"], 76_764);
    assert_eq!(
        (&plan["ram_bytes"], &plan["layers"][0]["place"]),
        (&2_048.into(), &"flash".into())
    );
    let run = |rest: &[&str]| {
        let run = [
            "run",
            "x.image",
            "--input",
            "test_images.npy",
            "--index",
            "3",
        ];
        json(at, &[&run[..], rest].concat())["outputs"].clone()
    };
    let in_flash = run(&["--place", "flash", "--budget", "2KiB"]);
    assert_eq!(in_flash, run(&["--budget", "100%"]));
    fails(
        at,
        &["plan", "x.image", "--place", "flash", "--budget", "1687"],
        &["too small", "--ram 1688"],
    );
    // in less than whole tensors take, layers run row by row
    let rows = ["--place", "flash", "--budget", "1688"];
    assert_eq!(in_flash, run(&rows));
    let svg = ["--memory", "--svg", "memory.svg"];
    let plan = json(at, &[&["plan", "x.image"], &rows[..], &svg].concat());
    assert_eq!(
        (&plan["ram_bytes"], &plan["turns"]),
        (&1_688.into(), &36.into())
    );
    assert_eq!(plan["cascades"][0][0], "input");
    let steps = plan["memory"].as_array().expect("steps");
    let bytes = |step: &Value| {
        let bytes = ["whole_bytes", "band_bytes"].map(|key| step[key].as_u64());
        bytes.iter().flatten().sum::<u64>()
    };
    assert_eq!(steps.iter().map(bytes).max(), Some(1_688));
    let band = &steps[0]["tensors"][1];
    assert_eq!(
        (&band["name"], &band["band_rows"]),
        (&"stem.0".into(), &3.into())
    );
    let svg = fs::read_to_string(at.join("memory.svg")).expect("the picture");
    assert!(svg.contains("stem.0") && svg.contains("band"));
}

/// Of a model alone, what an image of it takes later.
#[test]
fn a_model_is_analyzed_before_there_is_data() {
    let folder = copy();
    let at = folder.path();
    let analyze = ["analyze", "digits.onnx", "--board", "nucleo-f446re"];
    let analysis = json(at, &analyze);
    assert_eq!(analysis["parameters"], 74_762);
    let levels = analysis["levels"].as_array().expect("levels");
    let names: Vec<&Value> = levels.iter().map(|level| &level["level"]).collect();
    assert_eq!(names, ["fp32", "fp16", "int8", "int4", "int2"]);
    let pack = [
        "pack",
        "digits.onnx",
        "digits.profile",
        "--frozen",
        "-o",
        "x.image",
    ];
    for level in levels {
        let name = level["level"].as_str().expect("a name");
        assert_eq!(level["fits"], true, "{name}");
        let packed = json(at, &[&pack[..], &["--pin", name]].concat());
        // ranges, prices and a plan take some bytes that are not known yet
        let real = number(&packed["image_bytes"]);
        let told = number(&level["flash_bytes"]);
        assert!(
            told <= real && real < told + 400.0,
            "{name}: {told}, {real}"
        );
        let plan = |ram: &Value| {
            let ram = ram.to_string();
            let board = ["--board", "nucleo-f446re", "--place", "flash"];
            json(
                at,
                &[&["plan", "x.image", "--ram", &ram], &board[..]].concat(),
            )
        };
        let whole = plan(&level["whole_ram_bytes"]);
        assert_eq!(whole["arena_bytes"], level["whole_ram_bytes"], "{name}");
        assert_eq!(whole["cycles"], level["cycles"], "{name}");
        assert_eq!(whole["turns"], 0, "{name}");
        let least = plan(&level["ram_bytes"]);
        assert_eq!(least["arena_bytes"], level["ram_bytes"], "{name}");
        let less = (number(&level["ram_bytes"]) - 1.0).to_string();
        let less = ["plan", "x.image", "--place", "flash", "--ram", &less];
        fails(at, &less, &["too small"]);
    }
    let text = stdout(at, &[&analyze[..], &["--flash", "100KiB"]].concat());
    assert!(
        text.contains("no: flash") && text.contains("fits at int8, int4, int2"),
        "{text}"
    );
    let text = stdout(
        at,
        &["analyze", "digits.onnx", "--ram", "1KiB", "--flash", "1KiB"],
    );
    assert!(text.contains("does not fit at any level"), "{text}");
    assert!(text.contains("no: flash, RAM"), "{text}");
    let text = stdout(at, &[&analyze[..], &["--ms", "1"]].concat());
    assert!(text.contains("no: time"), "{text}");
    let unlimited = json(at, &["analyze", "digits.onnx"]);
    assert_eq!(
        (&unlimited["levels"][0]["fits"], &unlimited["board"]),
        (&Value::Null, &Value::Null)
    );
    fails(at, &["analyze", "digits.onnx", "--ms", "1"], &["--board"]);
    fails(at, &[&analyze[..], &["--ms", "soon"]].concat(), &["--ms"]);
    fails(at, &[&analyze[..], &["--ms=-1"]].concat(), &["--ms"]);
    fails(
        at,
        &[&analyze[..], &["--ram", "50%"]].concat(),
        &["no percentages"],
    );
    fails(
        at,
        &["analyze", "digits.image"],
        &["not in a model format", "analyze"],
    );
}

#[test]
fn operators_are_listed_by_format() {
    let operators = json(demo(), &["operators"])["operators"].clone();
    let of = |format: &str| {
        let all = operators.as_array().expect("a list").iter();
        let names = all
            .filter(|it| it["format"] == format)
            .map(|it| &it["name"]);
        names
            .map(|name| name.as_str().expect("a name"))
            .collect::<Vec<_>>()
    };
    assert!(of("onnx").contains(&"Conv") && of("onnx").is_sorted());
    assert!(of("tflite").contains(&"DEPTHWISE_CONV_2D"));
    let text = stdout(demo(), &["operators", "--format", "tflite"]);
    assert!(
        text.contains("CONV_2D") && !text.contains("BatchNormalization"),
        "{text}"
    );
}

/// Cycles of a board, in the image or named: places, limits, duals, and what is refused.
#[test]
fn plans_keep_to_cycles_and_move_weights() {
    let folder = copy();
    let at = folder.path();
    let board = "nucleo-f446re";
    let pack = ["pack", "digits.onnx", "digits.profile", "--all-levels"];
    json(
        at,
        &[&pack[..], &["--board", board, "-o", "x.image"]].concat(),
    );
    let plan = |file: &str, more: &[&str]| json(at, &[&["plan", file], more].concat());
    let number = |plan: &Value, key: &str| plan[key].as_u64().unwrap_or_else(|| panic!("{key}"));
    let (roomy, tight) = (
        plan("x.image", &["--ram", "48KiB"]),
        plan("x.image", &["--ram", "4KiB"]),
    );
    assert!(number(&roomy, "ram_bytes") <= 48 * 1024);
    assert!(number(&roomy, "cycles") < number(&tight, "cycles"));
    let sums = |plan: &Value| {
        let layers = plan["layers"].as_array().expect("layers").clone();
        let bytes = |layer: &Value| match layer["place"].as_str() {
            Some("ram") => layer["bytes"].as_u64(),
            _ => Some(0),
        };
        let ram: u64 = layers.iter().filter_map(bytes).sum();
        let cycles: u64 = layers.iter().filter_map(|l| l["cycles"].as_u64()).sum();
        (ram + number(plan, "arena_bytes"), cycles)
    };
    for one in [&roomy, &tight] {
        assert_eq!(sums(one), (number(one, "ram_bytes"), number(one, "cycles")));
    }
    // the board that is named counts as the one in the image
    let on_board = ["--ram", "48KiB", "--board", board];
    let named = plan("digits.profile", &on_board);
    assert_eq!(named["layers"], roomy["layers"]);
    let ms = named["ms"].as_f64().expect("a clock");
    assert!((ms * 180e3 - named["cycles"].as_f64().expect("cycles")).abs() < 1.0);

    let limit = (number(&roomy, "cycles") * 995 / 1_000).to_string();
    let faster = plan("x.image", &["--ram", "48KiB", "--cycles", &limit]);
    assert!(number(&faster, "cycles") <= limit.parse().expect("a number"));
    assert!(faster["price"].as_f64() > roomy["price"].as_f64());
    assert_eq!(faster["optimal"], true);
    let price = faster["price"].to_string();
    let dual = ["--max-loss", &price, "--ram", "48KiB", "--least", "cycles"];
    assert!(number(&plan("x.image", &dual), "cycles") <= number(&faster, "cycles"));
    let lightest = ["--ram", "48KiB", "--cycles", &limit, "--least", "weights"];
    let lightest = [&lightest[..], &["--max-loss", &price]].concat();
    let lightest = plan("x.image", &lightest);
    assert!(number(&lightest, "weight_bytes") <= number(&faster, "weight_bytes"));
    assert_eq!(lightest["optimal"], true);
    let run = |more: &[&str]| {
        let run = ["run", "x.image", "--input", "test_images.npy"];
        json(at, &[&run[..], more].concat())["outputs"].clone()
    };
    let levels = |places: &str| run(&["--ram", "100%", "--place", places]);
    assert_eq!(levels("best"), levels("flash"));
    let stairs = json(at, &["pareto", "x.image", "--svg", "x.svg"]);
    let layouts = stairs["layouts"].as_array().expect("layouts");
    for pair in layouts.windows(2) {
        let cost = |layout: &Value| (layout["price"].as_f64(), layout["cycles"].as_u64());
        assert!(cost(&pair[1]).0 < cost(&pair[0]).0 || cost(&pair[1]).1 < cost(&pair[0]).1);
    }
    let svg = fs::read_to_string(at.join("x.svg")).expect("the chart");
    assert!(svg.contains("cycles in millions"));

    for (arguments, parts) in [
        (
            &[
                "plan",
                "digits.profile",
                "--ram",
                "48KiB",
                "--cycles",
                "2e6",
            ][..],
            &["not known how many cycles", "--board"][..],
        ),
        (
            &["plan", "x.image", "--ram", "4KiB", "--cycles", "10"],
            &["too small", "--ram 1688, --cycles"],
        ),
        (
            &["plan", "x.image", "--ram", "4KiB", "--cycles", "1.5"],
            &["whole number of cycles"],
        ),
        (
            &["plan", "x.image", "--ram", "4KiB", "--ms", "10"],
            &["--board"],
        ),
        (
            &["plan", "x.image", "--ram", "4KiB", "--board", "pico-2"],
            &["not modelled", "nucleo-f446re"],
        ),
        (
            &[
                "pack",
                "digits.onnx",
                "digits.profile",
                "--board",
                "nope",
                "-o",
                "y.image",
            ],
            &["unknown board `nope`", "nucleo-f446re"],
        ),
    ] {
        fails(at, arguments, parts);
    }
}

#[test]
fn plans_have_the_documented_keys_and_hold_the_budget() {
    for file in ["digits.image", "digits.profile"] {
        for (budget, weights_only) in [("90KiB", false), ("60%", false), ("weights=30%", true)] {
            let plan = json(demo(), &["plan", file, "--budget", budget]);
            let number = |key: &str| plan[key].as_f64().unwrap_or_else(|| panic!("{key}"));
            let layers = plan["layers"].as_array().expect("layers");
            let sum: f64 = layers
                .iter()
                .filter_map(|layer| layer["bytes"].as_f64())
                .sum();
            assert_eq!(layers.len(), 8);
            // of no board
            assert!(plan["cycles"].is_null() && layers[0]["cycles"].is_null());
            assert!(
                layers
                    .iter()
                    .all(|layer| layer["name"].is_string() && layer["level"].is_string())
            );
            assert_eq!(sum, number("weight_bytes"));
            // of 9 layers with 5 levels
            assert_eq!(number("state_bytes"), 10256.0);
            assert_eq!(number("stack_bytes"), 10528.0);
            assert_eq!(
                number("weight_bytes") + number("arena_bytes"),
                number("total_bytes")
            );
            let limited = if weights_only {
                "weight_bytes"
            } else {
                "total_bytes"
            };
            assert!(number(limited) <= number("budget_bytes"));
            let prices: f64 = layers
                .iter()
                .filter_map(|layer| layer["price"].as_f64())
                .sum();
            assert!((prices - number("price")).abs() < 1e-9);
            assert_eq!(number("bound"), number("price"));
            assert_eq!(plan["optimal"], true);
            assert!(plan["nodes"].is_u64());
        }
    }
}

#[test]
fn plans_obey_rules_and_are_explained() {
    let image = "digits.image";
    let plan = |more: &[&str]| json(demo(), &[&["plan", image], more].concat());
    let levels = |plan: &Value, name: &str| {
        let mut layers = plan["layers"].as_array().expect("a list").iter();
        let layer = layers.find(|layer| layer["name"] == name);
        layer.expect("the layer")["level"].clone()
    };
    let free = plan(&["--budget", "48KiB"]);
    let ruled = plan(&[
        "--budget",
        "48KiB",
        "--pin",
        "fc=fp32",
        "--forbid",
        "int2",
        "--tie",
        "convs.0.0,convs.1.0",
    ]);
    assert_eq!(levels(&ruled, "fc"), "fp32");
    assert_eq!(levels(&ruled, "convs.0.0"), levels(&ruled, "convs.1.0"));
    assert!(!ruled["layers"].to_string().contains("int2"));
    assert!(ruled["price"].as_f64() >= free["price"].as_f64());
    // the next step up begins where it says
    let free = plan(&["--budget", "28KiB", "--explain"]);
    let better = &free["explain"]["better"];
    let bytes = better["bytes"].as_u64().expect("a number");
    let stepped = plan(&["--budget", &bytes.to_string()]);
    let below = plan(&["--budget", &(bytes - 1).to_string()]);
    assert_eq!(below["price"], free["price"]);
    assert!(stepped["price"].as_f64() < free["price"].as_f64());
    // the other way round
    let price = stepped["price"].to_string();
    let cheapest = plan(&["--max-loss", &price]);
    assert_eq!(cheapest["total_bytes"], bytes);
    assert!(cheapest["price"].as_f64() <= stepped["price"].as_f64());
    let said = stdout(demo(), &["plan", image, "--budget", "28KiB", "--explain"]);
    for part in ["1 KiB more", "next step up", "next step down", " -> "] {
        assert!(said.contains(part), "{said}");
    }
    for (more, parts) in [
        (&["--max-loss", "-9"][..], &["no layout", "the least"][..]),
        (
            &["--budget", "9KiB"],
            &["too small", "most is for: convs.5.0"],
        ),
        (
            &["--budget", "64KiB", "--pin", "nope=int8"],
            &["no layer `nope`", "fc"],
        ),
        (
            &["--budget", "64KiB", "--pin", "fc=int8-floor"],
            &["`fc`", "does not offer"],
        ),
        (
            &["--budget", "64KiB", "--pin", "fc=int9"],
            &["examples: conv1=int8"],
        ),
        (
            &["--budget", "64KiB", "--tie", "fc"],
            &["two layers or more"],
        ),
        (&[], &["--ram"]),
    ] {
        fails(demo(), &[&["plan", image], more].concat(), parts);
    }
}

#[test]
fn rules_and_plans_go_into_an_image() {
    let folder = copy();
    let pack = |more: &[&str]| {
        let files = ["pack", "digits.onnx", "digits.profile", "-o", "ruled.image"];
        json(folder.path(), &[&files, more].concat())
    };
    let packed = pack(&[
        "--store-plans",
        "--forbid",
        "int2",
        "--tie",
        "convs.0.0,convs.1.0",
    ]);
    let layouts = json(folder.path(), &["pareto", "ruled.image"])["layouts"].clone();
    let layouts = layouts.as_array().expect("a list");
    assert_eq!(packed["stored_plans"], layouts.len());
    for layout in layouts {
        let levels = &layout["levels"];
        assert_eq!(levels["convs.0.0"], levels["convs.1.0"]);
        assert!(!levels.to_string().contains("int2"));
    }
    let evaluated = json(
        folder.path(),
        &[
            "eval",
            "ruled.image",
            "--data",
            "test_images.npy",
            "--budget",
            "60KiB",
            "--limit",
            "50",
        ],
    );
    assert!(evaluated.to_string().contains("total_bytes"));
    assert_eq!(pack(&[])["stored_plans"], 0);
}

/// Images within limits of flash, for operating points and with nothing to choose: as large as they say, and
/// with the plans that they promise.
#[test]
fn images_store_what_flash_and_operating_points_ask_for() {
    let folder = copy();
    let at = folder.path();
    let board = ["--board", "nucleo-f446re"];
    let pack = |more: &[&str]| {
        let files = ["pack", "digits.onnx", "digits.profile", "-o", "x.image"];
        let packed = json(at, &[&files, more].concat());
        let bytes = fs::metadata(at.join("x.image")).expect("an image").len();
        assert_eq!(packed["image_bytes"], bytes);
        packed
    };
    let price =
        |file: &str, more: &[&str]| json(at, &[&["plan", file], more].concat())["price"].clone();
    let check = |flash: u64, packed: &Value, plans: &[&[&str]]| {
        assert!(packed["image_bytes"].as_u64() <= Some(flash));
        assert_eq!(packed["proven"], true);
        let points = packed["points"].as_array().expect("points");
        assert_eq!(points.len(), plans.len());
        for (point, plan) in points.iter().zip(plans) {
            assert_eq!(point["price"], price("x.image", plan), "{plan:?}");
        }
    };
    let two = ["--for", "ram=64KiB", "--for", "ram = 24KiB"];
    let roomy = pack(&two);
    let plans: [&[&str]; 2] = [&["--ram", "64KiB"], &["--ram", "24KiB"]];
    check(u64::MAX, &roomy, &plans);
    for plan in plans {
        assert_eq!(price("digits.profile", plan), price("x.image", plan));
    }
    let tight = pack(&[&two[..], &["--flash", "40KiB"]].concat());
    check(40 << 10, &tight, &plans);
    assert!(tight["price"].as_f64() > roomy["price"].as_f64());
    assert!(tight["blocks"].as_u64() > Some(8));

    let timed = [
        "--for",
        "ram=16KiB,ms=8",
        "--for",
        "weights=20%,cycles=2e6",
        "--flash",
        "50KiB",
    ];
    let packed = pack(&[&timed[..], &board].concat());
    assert_eq!(packed["points"][0]["place"], "best");
    let plans: [&[&str]; 2] = [
        &["--ram", "16KiB", "--ms", "8", "--board", "nucleo-f446re"],
        &["--ram", "weights=20%", "--cycles", "2e6"],
    ];
    check(50 << 10, &packed, &plans);
    let in_flash = ["--flash", "50KiB", "--for", "ram=4KiB", "--place", "flash"];
    check(
        50 << 10,
        &pack(&in_flash),
        &[&["--ram", "4KiB", "--place", "flash"]],
    );

    let alone = pack(&["--flash", "64KiB"]);
    check(64 << 10, &alone, &[&["--ram", "100%"]]);
    assert_eq!(alone["blocks"], 8);
    let frozen = pack(&["--frozen"]);
    check(u64::MAX, &frozen, &[&["--ram", "100%"]]);
    assert_eq!(frozen["levels"], 8);
    assert_eq!(price("digits.profile", &["--ram", "100%"]), frozen["price"]);
    let int8 = pack(&["--pin", "int8", "--frozen"]);
    check(80 << 10, &int8, &[&["--ram", "100%"]]);
    assert_eq!(int8["levels"], 8);
    let text = ["pack", "digits.onnx", "digits.profile", "-o", "x.image"];
    let text = stdout(at, &[&text[..], &two, &["--flash", "40KiB"]].concat());
    for part in [
        "of 40.0 KiB",
        "of 40 blocks",
        "at ram=64KiB",
        "at ram = 24KiB",
        "proven optimal",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn images_that_cannot_be_are_refused() {
    let folder = copy();
    let at = folder.path();
    let two = "--for ram=64KiB --for ram=30KiB";
    let cases: [(&str, &[&str]); 19] = [
        ("--flash 20KiB", &["20480 bytes is too small", "--flash 2"]),
        (&format!("{two} --flash 1"), &["does: --flash ", two]),
        ("--flash 75%", &["no percentages", "128KiB"]),
        ("--flash lots", &["not a number of bytes"]),
        ("--flash=-1", &["not a number of bytes"]),
        (
            "--for ram=16KiB",
            &["--for ram=16KiB is too small", "ram=2"],
        ),
        (
            "--for ram=64KiB,weights=1KiB",
            &["weights=1KiB is too small", "without the other limits"],
        ),
        ("--for ram=64KiB,ram=3", &["limited twice"]),
        ("--for ram=weights=3", &["two things"]),
        ("--for rom=3", &["`rom=3`", "ram, weights, cycles or ms"]),
        ("--for 64KiB", &["`64KiB`", "ram=64KiB"]),
        ("--for ram=", &["not a budget"]),
        ("--for ms=40", &["--board"]),
        ("--for cycles=4e6", &["--board"]),
        ("--for ms=4,cycles=4e6", &["same thing"]),
        ("--for ms=soon", &["no time"]),
        ("--place ram --flash 64KiB", &["--for"]),
        ("--frozen --store-plans", &["--frozen", "--store-plans"]),
        (&format!("{two} --frozen"), &["--frozen", "2 points"]),
    ];
    for (options, parts) in cases {
        let options: Vec<&str> = options.split(' ').collect();
        let files = ["pack", "digits.onnx", "digits.profile", "-o", "y.image"];
        fails(at, &[&files[..], &options].concat(), parts);
    }
    for other in ["--all-levels", "--store-plans"] {
        let pack = [
            "pack",
            "digits.onnx",
            "digits.profile",
            "-o",
            "y.image",
            other,
        ];
        fails(
            at,
            &[&pack[..], &["--flash", "64KiB"]].concat(),
            &[other, "--flash"],
        );
    }
    assert!(!at.join("y.image").exists());
}

#[test]
fn problems_of_ones_own_are_solved() {
    let folder = TempDir::new().expect("a folder");
    let text = r#"{"layers": [
      {"name": "a", "items": [
        {"level": "int8", "price": 0.5, "costs": {"ram": 10, "cycles": 5}},
        {"level": "fp32", "price": 0, "costs": {"ram": 40, "cycles": 9}}]},
      {"name": "b", "items": [
        {"level": "int8", "price": 0.125, "costs": {"ram": 20, "cycles": 7}},
        {"level": "fp32", "price": -0.25, "costs": {"ram": 80, "cycles": 11}}]}],
      "limits": {"ram": 110}}"#;
    fs::write(folder.path().join("p.json"), text).expect("a file");
    let solve = |more: &[&str]| json(folder.path(), &[&["solve", "p.json"], more].concat());
    let answer = solve(&["--explain"]);
    assert_eq!(answer["levels"]["a"], "fp32");
    assert_eq!(
        (&answer["price"], &answer["bound"]),
        (&Value::from(0.125), &Value::from(0.125))
    );
    assert_eq!(answer["costs"]["ram"], 60);
    assert_eq!(answer["optimal"], true);
    assert_eq!(answer["explain"]["ram"]["better"]["costs"]["ram"], 120);
    assert_eq!(solve(&["--limit", "ram=1KiB"])["price"], -0.25);
    let cheap = solve(&["--minimize", "cycles", "--limit", "price=0.3"]);
    assert_eq!(
        (&cheap["costs"]["cycles"], &cheap["levels"]["b"]),
        (&16.into(), &"int8".into())
    );
    let said = stdout(folder.path(), &["solve", "p.json", "--explain"]);
    assert!(
        said.contains("the least there is") && said.contains("a fp32 -> "),
        "{said}"
    );
    let wrong = text.replace("0.125", "\"x\"");
    fs::write(folder.path().join("wrong.json"), wrong).expect("a file");
    for (arguments, parts) in [
        (
            &["p.json", "--limit", "ram=29"][..],
            &["no layout is within ram 29", "the least ram is 30"][..],
        ),
        (
            &["p.json", "--limit", "ram=60", "--limit", "price=0.1"],
            &["all limits", "ram must be 120"],
        ),
        (
            &["p.json", "--limit", "rom=1"],
            &["no cost `rom`", "cycles, ram, price"],
        ),
        (&["p.json", "--minimize", "flash"], &["no cost `flash`"]),
        (&["p.json", "--limit", "ram"], &["ram=64KiB"]),
        (
            &["wrong.json"],
            &["line 6", "layers[1].items[0].price", "expected f64"],
        ),
        (&["none.json"], &["cannot read none.json"]),
    ] {
        fails(folder.path(), &[&["solve"], arguments].concat(), parts);
    }
}

#[test]
fn boards_are_shown_and_told_apart() {
    let folder = TempDir::new().expect("a folder");
    let listed = json(folder.path(), &["boards"]);
    let boards = listed["boards"].as_array().expect("boards");
    let said = stdout(folder.path(), &["boards"]);
    for board in boards {
        let name = board["name"].as_str().expect("a name");
        assert!(said.contains(name), "{said}");
        assert_eq!(json(folder.path(), &["boards", name]), *board);
    }
    let said = stdout(folder.path(), &["boards", "nucleo-f446re"]);
    for part in ["180 MHz", "512.0 KiB", "+1.25 cycles", "RM0390"] {
        assert!(said.contains(part), "{said}");
    }
    let text = "name = \"mine\\u001b[2J\"\ncore = \"abacus\"\nclock_hz = 1e6\n\
        flash = { bytes = 65536, cycles_per_word = { value = 3.5, source = \"guessed\" } }\n\
        ram = { bytes = 8192, cycles_per_word = 0 }\n";
    fs::write(folder.path().join("mine.toml"), text).expect("a file");
    let said = stdout(folder.path(), &["boards", "mine.toml"]);
    for part in ["mine\\u{1b}[2J", "1 MHz", "cycle model: none", "guessed"] {
        assert!(said.contains(part), "{said}");
    }
    fs::write(folder.path().join("wrong.toml"), text.replace("65536", "0")).expect("a file");
    for (name, parts) in [
        ("nucleo", &["unknown board `nucleo`", "nucleo-f446re, "][..]),
        ("none.toml", &["cannot read none.toml"]),
        (
            "wrong.toml",
            &["wrong.toml, line 4: flash.bytes: expected", "found 0"],
        ),
    ] {
        fails(folder.path(), &["boards", name], parts);
    }
}

#[test]
fn a_boards_cycles_are_solved_for() {
    let cycles = |more: &[&str]| {
        let arguments = ["solve", "digits.profile", "--minimize", "cycles"];
        let answer = json(demo(), &[&arguments, more].concat());
        answer["costs"]["cycles"].as_u64().expect("cycles")
    };
    // a Cortex-M4, its weights in a memory that does not wait
    assert_eq!(cycles(&["--board", "nrf52840-dk"]), cycles(&[]));
    assert!(cycles(&["--board", "mps2-an386"]) < cycles(&[]));
    let pico = ["solve", "digits.profile", "--board", "raspberry-pi-pico"];
    fails(
        demo(),
        &pico,
        &[
            "raspberry-pi-pico (Cortex-M0+) are not modelled",
            "nucleo-f446re",
        ],
    );
    fails(
        demo(),
        &["solve", "digits.profile", "--board", "abacus"],
        &["unknown board `abacus`"],
    );
}

#[test]
fn the_pareto_staircase_falls_and_is_what_plan_says() {
    let folder = copy();
    let at = folder.path();
    let pareto = json(at, &["pareto", "digits.image", "--svg", "p.svg"]);
    let layouts = pareto["layouts"].as_array().expect("layouts");
    assert!(!layouts.is_empty());
    for pair in layouts.windows(2) {
        let number = |i: usize, key: &str| pair[i][key].as_f64().expect("a number");
        assert!(number(0, "total_bytes") < number(1, "total_bytes"));
        assert!(number(0, "price") > number(1, "price"));
    }
    for layout in layouts {
        let budget = layout["total_bytes"].to_string();
        let plan = json(at, &["plan", "digits.image", "--budget", &budget]);
        assert_eq!(plan["price"], layout["price"]);
        assert_eq!(plan["total_bytes"], layout["total_bytes"]);
    }
    let svg = fs::read_to_string(at.join("p.svg")).expect("a chart");
    assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"));
}

#[test]
#[cfg(unix)]
fn a_main_thread_of_1_mib_is_enough() {
    let program = assert_cmd::cargo::cargo_bin("bitbudget");
    let folder = copy();
    let eval = "eval digits.image --data test_images.npy --limit 9 --budget 60%";
    let profile = "profile digits.onnx --data calib_images.npy --scale 1/16 --limit 9 -o y.profile";
    for arguments in [
        "plan digits.image --budget 60%",
        "pareto digits.image",
        "inspect digits.image",
        "pack digits.onnx digits.profile -o y.image",
        "pack digits.onnx digits.profile -o y.image --flash 60KiB --for ram=64KiB --for ram=30KiB",
        eval,
        profile,
    ] {
        let line = format!("ulimit -s 1024 && exec '{}' {arguments}", program.display());
        let mut command = assert_cmd::Command::new("sh");
        let command = command.current_dir(folder.path()).args(["-c", &line]);
        let output = command.output().expect("an exit");
        let error = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments}: {error}");
    }
}

#[test]
fn eval_and_run_agree() {
    let data = ["--data", "test_images.npy", "--budget", "100%,weights=26%"];
    let report = json(demo(), &[&["eval", "digits.image"][..], &data].concat());
    assert!((report["fp32"]["loss"].as_f64().expect("a loss") - 0.038_333).abs() < 1e-5);
    let budgets = report["budgets"].as_array().expect("budgets");
    assert_eq!(budgets.len(), 2);
    for budget in budgets {
        for key in [
            "budget_bytes",
            "weight_bytes",
            "total_bytes",
            "loss",
            "accuracy",
            "predicted_loss",
        ] {
            assert!(budget[key].is_number(), "{key}");
        }
        assert_eq!(budget["levels"].as_object().expect("levels").len(), 8);
        assert!(budget["accuracy"].as_f64().expect("an accuracy") > 0.98);
    }
    let mut alone = json(
        demo(),
        &[&["eval", "digits.image", "--no-fp32"][..], &data].concat(),
    );
    assert!(alone["fp32"].is_null());
    // a temperature is that of the FP32 outputs
    assert_eq!([&alone["loss"], &report["loss"]], ["labels", "calibrated"]);
    assert!(alone["temperature"].is_null() && report["temperature"] == 1.0);
    let asked = ["eval", "digits.image", "--no-fp32", "--loss", "calibrated"];
    fails(
        demo(),
        &[&asked[..], &data].concat(),
        &["--no-fp32", "--loss labels"],
    );
    for (alone, budget) in alone["budgets"]
        .as_array_mut()
        .expect("budgets")
        .iter_mut()
        .zip(budgets)
    {
        for key in [
            "loss_change",
            "loss_change_se",
            "raw_loss_change",
            "raw_loss_change_se",
            "accuracy_change_se",
            "predicted_loss",
        ] {
            assert!(alone[key].is_null() && budget[key].is_number(), "{key}");
            alone[key] = budget[key].clone();
        }
        // at a temperature of 1, but for the last bits
        let off = number(&alone["loss"]) - number(&budget["loss"]);
        assert!(off.abs() < 1e-12, "{off}");
        alone["loss"] = budget["loss"].clone();
        assert_eq!(alone, budget);
    }
    let run = [
        "run",
        "digits.image",
        "--input",
        "test_images.npy",
        "--index",
        "7",
        "--budget",
        "60%",
    ];
    let one = json(demo(), &run);
    assert_eq!(one["outputs"].as_array().expect("outputs").len(), 10);
    assert_eq!(one["class"], 8);
}

#[test]
fn secant_and_other_clips_profile_too() {
    let folder = copy();
    let at = folder.path();
    for options in [
        &["--metric", "secant"][..],
        &["--clip", "minmax", "--levels", "fp32,int8"],
        &[
            "--clip",
            "percentile",
            "--percentile",
            "99.9",
            "--levels",
            "int8",
        ],
        &["--clip", "aciq", "--limit", "100", "--seed", "3"],
    ] {
        let profile = json(at, &[&PROFILE[..], options].concat());
        assert!(profile["layers"][0]["levels"][0]["price"].is_number());
        let plan = json(at, &["plan", "x.profile", "--budget", "weights=50%"]);
        assert_eq!(plan["optimal"], true);
    }
}

#[test]
fn an_image_without_fp32_is_compared_with_its_model() {
    let folder = copy();
    let at = folder.path();
    stdout(at, &[&PROFILE[..], &["--levels", "int8"]].concat());
    stdout(at, &["pack", "digits.onnx", "x.profile", "-o", "x.image"]);
    let eval = [
        "eval",
        "x.image",
        "--data",
        "test_images.npy",
        "--budget",
        "weights=50%",
    ];
    assert!(json(at, &eval)["fp32"].is_null());
    let kl = [&eval[..], &["--loss", "kl"]].concat();
    fails(at, &kl, &["FP32", "--model"]);
    let calibrated = [&eval[..], &["--loss", "calibrated"]].concat();
    fails(at, &calibrated, &["FP32", "--model", "--loss labels"]);
    let model = [&eval[..], &["--model", "digits.onnx"]].concat();
    let report = json(at, &model);
    assert!((report["fp32"]["loss"].as_f64().expect("a loss") - 0.038_333).abs() < 1e-5);
    assert_eq!(report["fp32"]["weight_bytes"], 299_048);
}

#[test]
fn inspect_tells_what_a_file_is() {
    assert_eq!(
        json(demo(), &["inspect", "digits.profile"])["kind"],
        "profile"
    );
    let image = json(demo(), &["inspect", "digits.image"]);
    assert_eq!(
        (
            image["kind"].as_str(),
            image["layers"].as_array().map(Vec::len)
        ),
        (Some("image"), Some(9))
    );
    fails(
        demo(),
        &["inspect", "digits.onnx"],
        &["digits.onnx", "profile or image", "bitbudget analyze"],
    );
    fails(
        demo(),
        &["inspect", "absent.image"],
        &["absent.image", "No such file"],
    );
}

/// `profile` with one argument replaced.
fn profile_with(at: usize, argument: &str) -> Vec<String> {
    let mut arguments = PROFILE.map(str::to_owned).to_vec();
    arguments[at] = argument.to_owned();
    arguments
}

/// A `uint8` array in NumPy's format.
fn npy(path: PathBuf, descr: &str, shape: &str, data: &[u8]) {
    let header = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}");
    let padded = format!("{header:<117}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((padded.len() as u16).to_le_bytes());
    bytes.extend(padded.as_bytes());
    bytes.extend(data);
    fs::write(path, bytes).expect("an array");
}

#[test]
fn mistakes_are_told_and_leave_no_file() {
    let folder = copy();
    let at = folder.path();
    let file = |name: &str| at.join(name);
    fs::write(file("text.onnx"), "not a model\n").expect("a file");
    fs::copy(file("calib_images.npy"), file("unlabelled.npy")).expect("a copy");
    fs::create_dir(file("empty")).expect("a folder");
    npy(file("large.npy"), "|u1", "(2, 1, 9, 8)", &[0; 144]);
    let nan: Vec<u8> = [0.5_f32, f32::NAN]
        .iter()
        .cycle()
        .take(64)
        .flat_map(|x| x.to_le_bytes())
        .collect();
    npy(file("nan.npy"), "<f4", "(1, 1, 8, 8)", &nan);
    npy(file("eleven.npy"), "|u1", "(450,)", &[11; 450]);
    npy(file("few.npy"), "|u1", "(3,)", &[1; 3]);

    let cases: [(usize, &str, &[&str]); 8] = [
        (1, "text.onnx", &["text.onnx", "ONNX", "help:"]),
        (1, "absent.onnx", &["absent.onnx"]),
        (3, "absent.npy", &["absent.npy"]),
        (3, "empty", &["empty", "help:"]),
        (3, "large.npy", &["large.npy", "9", "8", "help:"]),
        (3, "nan.npy", &["nan.npy", "NaN"]),
        (5, "0", &["--scale"]),
        (7, "nowhere/x.profile", &["nowhere/x.profile", "help:"]),
    ];
    for (position, argument, parts) in cases {
        let arguments = profile_with(position, argument);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        fails(at, &arguments, parts);
    }
    let with = |more: &[&'static str]| [&PROFILE[..], more].concat();
    fails(
        at,
        &with(&["--levels", "fp32,int3"]),
        &["int3", "int8-floor"],
    );
    fails(at, &with(&["--levels", "int8,int8"]), &["twice", "help:"]);
    let unlabelled = profile_with(3, "unlabelled.npy");
    let unlabelled: Vec<&str> = unlabelled.iter().map(String::as_str).collect();
    let also = |more: &[&'static str]| [&unlabelled[..], more].concat();
    fails(at, &also(&["--loss", "labels"]), &["no labels", "--labels"]);
    fails(
        at,
        &also(&["--metric", "tangent"]),
        &["tangent", "kl", "help:"],
    );
    fails(at, &with(&["--loss", "squares"]), &["squares", "mse"]);
    fails(at, &with(&["--metric", "hawq"]), &["hawq", "hawq2"]);
    fails(
        at,
        &with(&["--mean", "1,2"]),
        &["mean", "1 channels", "help:"],
    );
    fails(
        at,
        &with(&["--labels", "eleven.npy"]),
        &["label 11", "10 outputs", "help:"],
    );
    fails(
        at,
        &with(&["--labels", "few.npy"]),
        &["few.npy", "3", "450"],
    );
    fails(at, &with(&["--limit", "0"]), &["limit"]);
    fails(
        at,
        &["plan", "digits.image", "--budget", "10KiB"],
        &["10KiB", "22580", "help:"],
    );
    fails(
        at,
        &["plan", "digits.image", "--budget", "much"],
        &["much", "64KiB"],
    );
    fails(
        at,
        &["plan", "text.onnx", "--budget", "80%"],
        &["text.onnx", "profile or image"],
    );
    fails(
        at,
        &["pack", "digits.onnx", "digits.image", "-o", "y.image"],
        &["digits.image", "profile"],
    );
    fails(
        at,
        &[
            "eval",
            "digits.image",
            "--data",
            "test_images.npy",
            "--budget",
            "80%",
            "--loss",
            "kl",
            "--no-fp32",
        ],
        &["kl", "--no-fp32"],
    );
    fails(
        at,
        &[
            "eval",
            "digits.profile",
            "--data",
            "test_images.npy",
            "--budget",
            "80%",
        ],
        &["digits.profile", "image"],
    );
    fails(
        at,
        &[
            "run",
            "digits.image",
            "--input",
            "large.npy",
            "--budget",
            "60%",
        ],
        &["large.npy"],
    );
    let no_program = [
        "emulate",
        "digits.image",
        "--budget",
        "60%",
        "--data",
        "test_images.npy",
    ];
    let no_program = [&no_program[..], &["--firmware", "text.onnx"]].concat();
    fails(at, &no_program, &["text.onnx", "ELF", "cargo firmware"]);
    let bench = |arguments: &[&'static str], parts: &[&str]| {
        fails(at, &[&["bench"][..], arguments].concat(), parts);
    };
    bench(&["--firmware", "text.onnx"], &["text.onnx", "ELF"]);
    bench(&["digits.profile"], &["digits.profile", "image"]);
    bench(&["absent.image"], &["absent.image"]);
    bench(&["--board", "abacus"], &["abacus", "mps2-an386"]);
    bench(&["--against", "absent.json"], &["absent.json"]);
    bench(&["--against", "text.onnx"], &["text.onnx", "--keep"]);
    let no_port = [
        "device",
        "digits.image",
        "--budget",
        "60%",
        "--data",
        "test_images.npy",
    ];
    let no_port = [&no_port[..], &["--port", "nowhere/tty"]].concat();
    fails(at, &no_port, &["nowhere/tty", "help:"]);
    let past = [
        "run",
        "digits.image",
        "--input",
        "test_images.npy",
        "--index",
        "450",
        "--budget",
        "60%",
    ];
    fails(at, &past, &["450", "help:"]);

    let damaged = |name: &str| {
        let mut bytes = fs::read(file(name)).expect("a file");
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(file("damaged"), bytes).expect("a file");
        fails(
            at,
            &["plan", "damaged", "--budget", "80%"],
            &["damaged", "help:"],
        );
    };
    damaged("digits.image");
    damaged("digits.profile");

    for left in ["x.profile", "x.profile.partial", "y.image"] {
        assert!(!file(left).exists(), "{left} was left behind");
    }
}

#[test]
fn another_model_is_not_packed() {
    let folder = copy();
    let at = folder.path();
    let path = at.join("digits.onnx");
    let mut model = fs::read(&path).expect("a model");
    // the last bytes of a large initializer: one weight changes
    let large = model.len() * 3 / 4;
    model[large] ^= 1;
    fs::write(&path, model).expect("a model");
    let pack = ["pack", "digits.onnx", "digits.profile", "-o", "y.image"];
    fails(at, &pack, &["another model", "help:"]);
    assert!(!at.join("y.image").exists());
}

#[test]
fn estimators_are_compared_with_the_truth() {
    const COMPARE: [&str; 17] = [
        "compare",
        "digits.onnx",
        "--data",
        "calib_images.npy",
        "--test",
        "test_images.npy",
        "--scale",
        "1/16",
        "--limit",
        "60",
        "--levels",
        "fp32,int8,int2",
        "--budgets",
        "weights=40%,weights=10%",
        "--layouts",
        "50",
        "--oracle",
    ];
    let folder = copy();
    let more = ["--metrics", "measured,hawq2", "--svg", "compare.svg"];
    let compared = json(folder.path(), &[&COMPARE[..], &more].concat());
    let rows = compared["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 4);
    for row in rows {
        let limit = row["budget_bytes"].as_u64().expect("bytes");
        assert!(row["weight_bytes"].as_u64().expect("bytes") <= limit);
        assert_eq!(row["levels"].as_object().expect("levels").len(), 8);
        for key in [
            "predicted_loss",
            "calib_loss",
            "test_loss",
            "test_loss_se",
            "raw_test_loss",
            "raw_test_loss_se",
            "test_accuracy_se",
        ] {
            assert!(number(&row[key]) >= 0.0, "{key}");
        }
        assert!((0.5..=1.0).contains(&number(&row["test_accuracy"])));
        let of_budget = |floor: &&Value| floor["budget"] == row["budget"];
        let mut floors = compared["oracle"].as_array().expect("floors").iter();
        let floor = floors.find(of_budget).expect("a floor");
        let own = number(&floor["test_loss"][row["metric"].as_str().expect("a name")]);
        assert!((own - number(&row["test_loss"])).abs() < 1e-9);
        let least = number(&floor["floor_test_loss"]);
        assert!(least <= own && least <= number(&floor["calib_chosen_test_loss"]));
    }
    for metric in ["measured", "hawq2"] {
        assert!(number(&compared["spearman"][metric]) > 0.5);
        assert!(number(&compared["metrics"][metric]["forward_passes"]) > 0.0);
    }
    assert!(number(&compared["fp32_test_loss"]) > 0.0);
    let svg = fs::read_to_string(folder.path().join("compare.svg")).expect("a chart");
    assert!(svg.contains("best possible") && svg.contains("hawq2"));

    let with = |from: usize, to: &'static str| {
        let mut arguments = COMPARE;
        arguments[from] = to;
        arguments
    };
    let many = "fp32,fp16,int8,int8-floor,int8-ceil,int4,int2";
    fails(
        folder.path(),
        &with(11, many),
        &["5764801", "--oracle", "help:"],
    );
    fails(
        folder.path(),
        &with(13, "weights=1%"),
        &["weights=1%", "help:"],
    );
    fails(folder.path(), &with(5, "absent.npy"), &["absent.npy"]);
}

#[test]
fn every_command_has_help_with_an_example() {
    for command in [
        "emulate",
        "device",
        "bench",
        "profile",
        "plan",
        "pareto",
        "pack",
        "eval",
        "compare",
        "run",
        "inspect",
        "boards",
        "solve",
        "demo",
        "analyze",
        "operators",
        "export c",
    ] {
        let words: Vec<&str> = command.split(' ').chain(["--help"]).collect();
        let help = stdout(demo(), &words);
        assert!(help.contains(&format!("bitbudget {command}")), "{help}");
        assert!(
            help.contains("Example:") && help.contains("--json"),
            "{help}"
        );
    }
}

/// The files in a folder with their content.
fn contents(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let entries = fs::read_dir(folder).expect("a folder");
    let files = entries.map(|entry| entry.expect("an entry").path());
    let files = files.filter(|path| path.is_file());
    let read = |path: PathBuf| (path.clone(), fs::read(path).expect("a file"));
    files.map(read).collect()
}

#[test]
fn an_output_replaces_nothing_else() {
    let folder = copy();
    let at = folder.path();
    fs::write(at.join("chart.svg"), "<svg></svg>").expect("a file");
    fs::write(at.join("notes.txt"), "notes\n").expect("a file");
    fs::create_dir(at.join("full")).expect("a folder");
    #[cfg(unix)]
    std::os::unix::fs::symlink("digits.onnx", at.join("link")).expect("a link");
    let before = contents(at);
    let compare = [
        "compare",
        "digits.onnx",
        "--data",
        "calib_images.npy",
        "--test",
        "test_images.npy",
        "--budgets",
        "80%",
        "--svg",
    ];
    let pack = ["pack", "digits.onnx", "digits.profile", "-o"];
    let demo = ["demo", "--keep", "other"];
    fs::create_dir(at.join("other")).expect("a folder");
    fs::write(at.join("other/test_images.npy"), "mine").expect("a file");
    let onto = |arguments: &[&'static str], output: &'static str| [arguments, &[output]].concat();
    let mut cases = vec![
        (onto(&PROFILE[..7], "digits.onnx"), "input digits.onnx"),
        (onto(&PROFILE[..7], "./digits.onnx"), "input digits.onnx"),
        (
            onto(&PROFILE[..7], "calib_images.npy"),
            "input calib_images",
        ),
        (onto(&PROFILE[..7], "calib_labels.npy"), "not a profile"),
        (onto(&PROFILE[..7], "digits.image"), "not a profile"),
        (onto(&PROFILE[..7], "full"), "is a folder"),
        (onto(&PROFILE[..7], "none/x.profile"), "no folder none"),
        (onto(&pack, "digits.profile"), "input digits.profile"),
        (onto(&pack, "digits.onnx"), "input digits.onnx"),
        (onto(&pack, "notes.txt"), "not an image"),
        (onto(&pack, "none/x.image"), "no folder none"),
        (
            onto(&["pareto", "digits.image", "--svg"], "digits.image"),
            "input digits.image",
        ),
        (
            onto(&["pareto", "digits.image", "--svg"], "notes.txt"),
            "not an SVG chart",
        ),
        (onto(&compare, "digits.onnx"), "input digits.onnx"),
        (onto(&compare, "test_images.npy"), "input test_images.npy"),
        (
            onto(&["bench", "digits.image", "--keep"], "digits.image"),
            "input digits.image",
        ),
        (
            onto(&["bench", "--keep"], "notes.txt"),
            "not a table of counts",
        ),
        (
            onto(
                &["emulate", "digits.image", "--budget", "60%", "--log"],
                "digits.image",
            ),
            "input digits.image",
        ),
        (
            onto(
                &["emulate", "digits.image", "--budget", "60%", "--log"],
                "digits.profile",
            ),
            "not a log",
        ),
        (
            onto(
                &["emulate", "digits.image", "--budget", "60%", "--log"],
                "test_labels.npy",
            ),
            "not a log",
        ),
        (
            onto(&["emulate", "digits.image", "--measure"], "digits.image"),
            "input digits.image",
        ),
        (
            onto(&["emulate", "digits.image", "--measure"], "none/x.image"),
            "no folder none",
        ),
        (
            onto(
                &["device", "--port", "none", "digits.image", "--measure"],
                "notes.txt",
            ),
            "not an image",
        ),
        (demo.to_vec(), "not a file of this demo"),
    ];
    if cfg!(unix) {
        cases.push((onto(&PROFILE[..7], "link"), "input digits.onnx"));
        cases.push((onto(&pack, "/dev/null"), "is a device"));
    }
    for (arguments, part) in &cases {
        fails(at, arguments, &["cannot write", part, "help:"]);
    }
    assert_eq!(contents(at), before);
    assert_eq!(
        fs::read(at.join("other/test_images.npy")).expect("a file"),
        b"mine"
    );
    // its own kind is replaced
    stdout(at, &["pareto", "digits.image", "--svg", "chart.svg"]);
    assert!(fs::read(at.join("chart.svg")).expect("a chart").len() > 1000);
}

#[cfg(target_os = "linux")]
#[test]
fn a_failed_write_to_the_output_is_told() {
    let full = || {
        fs::File::options()
            .write(true)
            .open("/dev/full")
            .expect("the device")
    };
    for arguments in [
        &["plan", "digits.image", "--budget", "60%", "--json"][..],
        &["plan", "digits.image", "--budget", "60%"],
        &["inspect", "digits.profile"],
        &["--help"],
        &["plan", "--help"],
        &["--version"],
    ] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bitbudget"));
        let command = command.current_dir(demo()).args(arguments);
        let output = command.stdout(full()).output().expect("an exit");
        check_failure(&output, arguments, &["standard output", "No space left"]);
        // the error stream may be full as well
        let status = command.stdout(full()).stderr(full()).status();
        assert_eq!(status.expect("an exit").code(), Some(1), "{arguments:?}");
    }
    // nobody reads on: no error
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_bitbudget"));
    let command = command
        .current_dir(demo())
        .args(["inspect", "digits.image"]);
    let (reader, writer) = std::io::pipe().expect("a pipe");
    drop(reader);
    let output = command.stdout(writer).output().expect("an exit");
    assert!(output.status.success() && output.stderr.is_empty());
}

#[test]
fn names_cannot_steer_a_terminal() {
    let folder = TempDir::new().expect("a folder");
    let name = "a\u{1b}[2J\u{9b}1m\u{202e}b\nerror: c";
    let problem = serde_json::json!({"layers": [{"name": name, "items": [
        {"level": "int8", "price": 0.5, "costs": {"ram": 10}},
        {"level": "fp32", "price": 0, "costs": {"ram": 40}}]}]});
    fs::write(folder.path().join("p.json"), problem.to_string()).expect("a file");
    let solve = |more: &[&str]| {
        let output = bitbudget(folder.path(), &[&["solve", "p.json"], more].concat());
        String::from_utf8([output.stdout, output.stderr].concat()).expect("text")
    };
    for arguments in [
        &["--explain", "--limit", "ram=20"][..],
        &["--limit", "ram=1"],
        &["--json"],
    ] {
        let said = solve(arguments);
        let steers = |c: char| c.is_control() && c != '\n' || c == '\u{202e}';
        assert!(!said.contains(steers), "{said:?}");
        assert!(!said.contains("\nerror: c"), "{said:?}");
        assert!(said.contains("error: c"), "{said:?}");
    }
    let json: Value = serde_json::from_str(&solve(&["--json"])).expect("JSON");
    assert_eq!(json["levels"][name], "fp32");
    let said = bitbudget(folder.path(), &["inspect", "x\u{1b}[2Jy"]).stderr;
    let said = String::from_utf8(said).expect("text");
    assert!(said.contains("x\\u{1b}[2Jy"), "{said}");
}

/// The demo's calibration images as class folders, each called by `name`.
fn class_folders(folder: &Path, name: impl Fn(u8) -> String) {
    let read = |file: &str| fs::read(demo().join(file)).expect("an array");
    let (images, labels) = (read("calib_images.npy"), read("calib_labels.npy"));
    let labels = &labels[labels.len() - 450..];
    let images = &images[images.len() - 450 * 64..];
    for (i, (image, label)) in images.chunks(64).zip(labels).enumerate() {
        let class = folder.join(name(*label));
        fs::create_dir_all(&class).expect("a folder");
        let path = class.join(format!("{i:03}.png"));
        image::save_buffer(path, image, 8, 8, image::ExtendedColorType::L8).expect("an image");
    }
}

#[test]
fn class_folders_are_told_from_each_other() {
    let folder = copy();
    let at = folder.path();
    let numbered = at.join("numbered");
    class_folders(&numbered, |class| class.to_string());
    class_folders(&at.join("named"), |class| format!("class {class}"));
    let profile = |set: &'static str| {
        let arguments = [&PROFILE[..3], &[set], &PROFILE[4..], &["--refine", "0"]].concat();
        [&arguments[..], &["--levels", "fp32,int8"]].concat()
    };
    let accuracy = |set| json(at, &profile(set))["fp32"]["accuracy"].as_f64();
    let all = accuracy("numbered");
    assert!(all > Some(0.99));
    assert_eq!(accuracy("named"), all);
    // without the threes
    fs::remove_dir_all(numbered.join("3")).expect("a folder");
    assert!(accuracy("numbered") > Some(0.99));
    fs::create_dir(numbered.join("3")).expect("a folder");
    assert!(accuracy("numbered") > Some(0.99));
    let threes = at.join("named/class 3");
    fs::remove_dir_all(&threes).expect("a folder");
    let parts = ["named", "9 class folders", "10 outputs", "help:"];
    fails(at, &profile("named"), &parts);
    fs::create_dir(&threes).expect("a folder");
    assert!(accuracy("named") > Some(0.99));
    // images without classes
    let flat = numbered.join("0");
    let flat = flat.to_str().expect("a path");
    let arguments = [&PROFILE[..3], &[flat], &PROFILE[4..], &["--loss", "kl"]].concat();
    assert!(json(at, &arguments)["samples"].as_u64() > Some(30));
}

/// A forgotten `--scale`, and classes in another order.
#[test]
fn data_that_are_not_the_models_are_told() {
    let folder = TempDir::new().expect("a folder");
    let file = |name: &str| demo().join(name).display().to_string();
    let mut labels = fs::read(file("calib_labels.npy")).expect("labels of bytes");
    let header = 10 + usize::from(u16::from_le_bytes([labels[8], labels[9]]));
    labels[header..]
        .iter_mut()
        .for_each(|label| *label = (*label + 1) % 10);
    let turned = folder.path().join("turned.npy");
    fs::write(&turned, labels).expect("a file");
    let (model, data) = (file("digits.onnx"), file("calib_images.npy"));
    let few = "profile MODEL --data DATA --limit 100 --levels fp32,int8 --refine 0 -o x.profile";
    let profile = |more: &[&str]| {
        let few = few.split(' ').map(|word| match word {
            "MODEL" => model.as_str(),
            "DATA" => data.as_str(),
            word => word,
        });
        few.chain(more.iter().copied())
            .map(String::from)
            .collect::<Vec<_>>()
    };
    let warnings = |more: &[&str]| {
        let arguments = profile(more);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let told = bitbudget(folder.path(), &arguments);
        let value = json(folder.path(), &arguments);
        let warnings = value["warnings"].as_array().expect("a list").clone();
        let told = String::from_utf8(told.stderr).expect("text");
        assert_eq!(told.matches("warning: ").count(), warnings.len(), "{told}");
        for warning in &warnings {
            assert!(told.contains(warning["message"].as_str().expect("text")));
        }
        warnings
    };
    assert!(warnings(&["--scale", "1/16"]).is_empty());
    let guess = warnings(&[]);
    let message = guess[0]["message"].as_str().expect("text");
    assert_eq!(guess[0]["kind"], "guess");
    assert!(message.contains("from 0 to 16"), "{message}");
    let turned = turned.display().to_string();
    let renumbered = warnings(&["--scale", "1/16", "--labels", &turned]);
    let message = renumbered[0]["message"].as_str().expect("text");
    assert_eq!(renumbered[0]["kind"], "renumbered");
    assert!(message.contains("label 0 were 9, 1 were 0"), "{message}");

    let (image, test) = (file("digits.image"), file("test_images.npy"));
    let eval = [
        "eval", &image, "--model", &model, "--data", &test, "--ram", "100%",
    ];
    let all = json(folder.path(), &[&eval[..], &["--limit", "50"]].concat());
    assert_eq!(all["warnings"], Value::Array(Vec::new()));
}

/// The plan that keeps to an accuracy does, and the next smaller one does not.
#[test]
fn plans_keep_to_an_accuracy() {
    fn plan<'a>(more: &[&'a str]) -> Vec<&'a str> {
        [&["plan", "digits.image"], more].concat()
    }
    let data = ["--data", "test_images.npy"];
    let least = ["--least", "weights"];
    let asked = [&data[..], &["--max-drop", "0.5%"], &least].concat();
    let found = json(demo(), &plan(&asked));
    let measured = &found["measured"];
    let number = |value: &Value| value.as_f64().expect("a number");
    let fp32 = number(&measured["fp32_accuracy"]);
    assert!(number(&measured["accuracy"]) >= fp32 - 0.005, "{measured}");
    assert_eq!(measured["samples"], 450);

    let bytes = found["weight_bytes"].as_u64();
    let bytes = bytes.expect("bytes of weights");
    let budgets = format!("weights={bytes},weights={}", bytes - 1);
    let eval = [
        "eval",
        "digits.image",
        "--model",
        "digits.onnx",
        "--ram",
        &budgets,
    ];
    let eval = json(demo(), &[&eval[..], &data].concat());
    let accuracy = |at: usize| number(&eval["budgets"][at]["accuracy"]);
    assert_eq!(accuracy(0), number(&measured["accuracy"]));
    assert!(accuracy(1) < fp32 - 0.005, "{eval}");

    let told = stdout(demo(), &plan(&asked));
    assert!(
        told.contains("the next smaller layout loses more than 0.50 %"),
        "{told}"
    );
    assert!(told.contains("measured accuracy "), "{told}");
    let smallest = ["--ram", "22580", "--max-drop", "0%"];
    let smallest = [&data[..], &smallest].concat();
    let parts = [
        "0.00 % of FP32's accuracy",
        "allow as much, or raise the limits",
    ];
    fails(demo(), &plan(&smallest), &parts);
    fails(
        demo(),
        &plan(&[&data[..], &["--ram", "30KiB"]].concat()),
        &["--max-drop"],
    );
    fails(demo(), &plan(&["--max-drop", "1%"]), &["--data"]);
    fails(
        demo(),
        &plan(&[&data[..], &["--max-drop", "101%"]].concat()),
        &["from 0% to 100%"],
    );
    let profile = ["plan", "digits.profile", "--max-drop", "1%"];
    fails(
        demo(),
        &[&profile[..], &data].concat(),
        &["a profile has no weights"],
    );
}

#[test]
fn layouts_of_one_level_are_evaluated_for_comparison() {
    let data = ["--data", "test_images.npy", "--limit", "40"];
    let folder = TempDir::new().expect("a folder");
    let all = folder.path().join("all.image").display().to_string();
    let pack = ["pack", "digits.onnx", "digits.profile", "--all-levels"];
    stdout(demo(), &[&pack[..], &["-o", &all]].concat());
    let eval = ["eval", &all, "--ram", "100%", "--uniform", "int8,int4"];
    let eval = json(demo(), &[&eval[..], &data].concat());
    let rows = eval["budgets"].as_array().expect("rows");
    let names: Vec<&Value> = rows.iter().map(|row| &row["budget"]).collect();
    assert_eq!(names, ["100%", "all int8", "all int4"]);
    for (row, level) in rows[1..].iter().zip(["int8", "int4"]) {
        let levels = row["levels"].as_object().expect("levels by name");
        assert!(levels.values().all(|of| of == level), "{row}");
        let pinned = ["plan", &all, "--ram", "100%", "--pin", level];
        let pinned = json(demo(), &pinned);
        assert_eq!(row["weight_bytes"], pinned["weight_bytes"]);
        assert_eq!(row["total_bytes"], pinned["total_bytes"]);
    }
    let few = folder.path().join("few.image").display().to_string();
    let pack = ["pack", "digits.onnx", "digits.profile", "--forbid", "fp16"];
    stdout(demo(), &[&pack[..], &["-o", &few]].concat());
    let few = ["eval", &few, "--no-fp32", "--uniform", "fp16"];
    let parts = ["is not stored at fp16", "--all-levels"];
    fails(demo(), &[&few[..], &data].concat(), &parts);
}
