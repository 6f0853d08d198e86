//! Slices, splits, shuffles, pixels of channels, repeated pixels and transposed convolutions, by their definitions.

use super::*;

/// Fails unless the graph gives `element(c, y, x)` of its input, which is `[C, H, W]`.
fn gives(
    model: &Model,
    layers: usize,
    dims: [usize; 3],
    element: impl Fn(&dyn Fn(usize, usize, usize) -> f64, [usize; 3]) -> f64,
) {
    let graph = model.import();
    assert_eq!(graph.layers.len(), layers);
    let (x, found) = sample(&graph);
    let [h, w] = [graph.input.h, graph.input.w].map(usize::from);
    let at = |c: usize, y: usize, column: usize| x[(c * h + y) * w + column];
    let [c, h, w] = dims;
    assert_eq!(
        graph.shape(layers),
        Shape::new(h as u16, w as u16, c as u16)
    );
    for (i, found) in found.into_iter().enumerate() {
        let place = [i % c, i / c / w, i / c % w];
        let expected = element(&at, place);
        assert!(
            (found - expected).abs() < 1e-5,
            "{place:?}: {found} {expected}"
        );
    }
}

fn x() -> Model {
    Model::new(&[8, 5, 4])
}

#[test]
fn channels_become_pixels() {
    let to_space = |mode| {
        let attributes = [("blocksize", I(2)), ("mode", S(mode))];
        x().node("DepthToSpace", &["x"], "y", &attributes)
    };
    gives(&to_space("DCR"), 1, [2, 10, 8], |x, [c, i, j]| {
        x((i % 2 * 2 + j % 2) * 2 + c, i / 2, j / 2)
    });
    gives(&to_space("CRD"), 1, [2, 10, 8], |x, [c, i, j]| {
        x(c * 4 + i % 2 * 2 + j % 2, i / 2, j / 2)
    });
    let three = x().node("DepthToSpace", &["x"], "y", &[("blocksize", I(3))]);
    assert!(three.reason().contains("8 channels"));
}

#[test]
fn pixels_are_repeated() {
    let nearest =
        |x: &dyn Fn(usize, usize, usize) -> f64, [c, i, j]: [usize; 3]| x(c, i / 3, j / 2);
    let scales = || x().tensor(floats("s", &[4], &[1.0, 1.0, 3.0, 2.0]));
    let asymmetric = [
        ("coordinate_transformation_mode", S("asymmetric")),
        ("nearest_mode", S("floor")),
    ];
    let resize = scales().node("Resize", &["x", "", "s"], "y", &asymmetric);
    gives(&resize, 1, [8, 15, 8], nearest);
    let half = scales().node("Resize", &["x", "", "s"], "y", &[]);
    gives(&half, 1, [8, 15, 8], nearest);
    // a region of interest is for another mode
    let region = scales()
        .tensor(floats("r", &[8], &[0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]))
        .node("Resize", &["x", "r", "s"], "y", &asymmetric);
    gives(&region, 1, [8, 15, 8], nearest);
    let sizes = x().tensor(ints("s", &[4], &[1, 8, 15, 8])).node(
        "Resize",
        &["x", "", "", "s"],
        "y",
        &asymmetric,
    );
    gives(&sizes, 1, [8, 15, 8], nearest);
    let old = scales().node("Upsample", &["x", "s"], "y", &[("mode", S("nearest"))]);
    gives(&old, 1, [8, 15, 8], nearest);
    for (model, reason) in [
        (
            scales().node("Resize", &["x", "", "s"], "y", &[("mode", S("linear"))]),
            "linear",
        ),
        (
            scales().node("Resize", &["x", "", "s"], "y", &asymmetric[..1]),
            "asymmetric and round_prefer_floor",
        ),
        (
            x().tensor(floats("s", &[4], &[1.0, 1.0, 1.5, 2.0])).node(
                "Resize",
                &["x", "", "s"],
                "y",
                &[],
            ),
            "whole factors",
        ),
    ] {
        let found = model.reason();
        assert!(found.contains(reason), "{found}");
    }
}

#[test]
fn pixels_are_repeated_by_tiles() {
    // [N, C, H, W] to [N, C, H, r, W], and to [N, C, H, W, r]
    for (dims, tiles, back, at) in [
        ([0, 8, 5, 1, 4], [1, 1, 1, 3, 1], [0, 8, 15, 4], [3, 1]),
        ([0, 8, 5, 4, 1], [1, 1, 1, 1, 2], [0, 8, 5, 8], [1, 2]),
    ] {
        let tile = x()
            .tensor(ints("d", &[5], &dims))
            .tensor(ints("t", &[5], &tiles))
            .tensor(ints("b", &[4], &back))
            .node("Reshape", &["x", "d"], "r", &[])
            .node("Tile", &["r", "t"], "s", &[])
            .node("Reshape", &["s", "b"], "y", &[]);
        let sizes = [8, back[2] as usize, back[3] as usize];
        gives(&tile, 1, sizes, |x, [c, i, j]| x(c, i / at[0], j / at[1]));
    }
    let channels = x()
        .tensor(ints("t", &[4], &[1, 2, 1, 1]))
        .node("Tile", &["x", "t"], "y", &[]);
    assert!(channels.reason().contains("dimension 1"));
}

#[test]
fn parts_are_taken() {
    let slice = |starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64]| {
        let len = starts.len() as i64;
        x().tensor(ints("s", &[len], starts))
            .tensor(ints("e", &[len], ends))
            .tensor(ints("a", &[len], axes))
            .tensor(ints("t", &[len], steps))
            .node("Slice", &["x", "s", "e", "a", "t"], "y", &[])
    };
    let every = slice(&[1, -4], &[i64::MAX, -1], &[2, 1], &[2, 1]);
    gives(&every, 1, [3, 2, 4], |x, [c, i, j]| x(c + 4, 2 * i + 1, j));
    let columns = slice(&[1], &[4], &[-1], &[2]);
    gives(&columns, 1, [8, 5, 2], |x, [c, i, j]| x(c, i, 2 * j + 1));
    let whole = x()
        .tensor(ints("s", &[1], &[0]))
        .tensor(ints("e", &[1], &[8]))
        .tensor(ints("a", &[1], &[1]))
        .node("Slice", &["x", "s", "e", "a"], "part", &[])
        .node("Relu", &["part"], "y", &[]);
    gives(&whole, 1, [8, 5, 4], |x, [c, i, j]| x(c, i, j).max(0.0));
    assert!(slice(&[3], &[0], &[2], &[-1]).reason().contains("forward"));
    assert!(
        slice(&[3], &[3], &[2], &[1])
            .reason()
            .contains("no elements")
    );
    assert!(slice(&[1], &[2], &[0], &[1]).reason().contains("batch"));
}

#[test]
fn splits_give_all_their_parts() {
    let split = x()
        .tensor(ints("s", &[3], &[3, 1, 4]))
        .outputs("Split", &["x", "s"], &["a", "b", "c"], &[("axis", I(1))])
        .node("Concat", &["c", "a"], "y", &[("axis", I(1))]);
    gives(&split, 3, [7, 5, 4], |x, [c, i, j]| x((c + 4) % 8, i, j));
    let halves = x()
        .outputs("Split", &["x"], &["a", "b"], &[("axis", I(-1))])
        .node("Add", &["a", "b"], "y", &[]);
    gives(&halves, 3, [8, 5, 2], |x, [c, i, j]| {
        x(c, i, j) + x(c, i, j + 2)
    });
    let wrong = x().tensor(ints("s", &[2], &[3, 4])).outputs(
        "Split",
        &["x", "s"],
        &["y", "b"],
        &[("axis", I(1))],
    );
    assert!(wrong.reason().contains("[3, 4]"));
}

#[test]
fn channels_are_shuffled() {
    let shuffle = x()
        .tensor(ints("g", &[5], &[0, 2, 4, 5, 4]))
        .tensor(ints("back", &[4], &[0, 8, 5, 4]))
        .node("Reshape", &["x", "g"], "a", &[])
        .node("Transpose", &["a"], "b", &[("perm", Is(&[0, 2, 1, 3, 4]))])
        .node("Reshape", &["b", "back"], "y", &[]);
    gives(&shuffle, 1, [8, 5, 4], |x, [c, i, j]| {
        x(c % 2 * 4 + c / 2, i, j)
    });
}

/// Against the definition: every input adds to the outputs under its kernel.
#[test]
fn transposed_convolutions_are_convolutions() {
    for (kernel, stride, pads, further, groups) in [
        ([2, 2], [2, 2], [0, 0, 0, 0], [0, 0], 1),
        ([3, 3], [2, 2], [1, 1, 1, 1], [1, 1], 1),
        ([3, 3], [2, 2], [1, 1, 1, 1], [0, 0], 1),
        ([4, 3], [2, 3], [1, 0, 1, 0], [0, 0], 2),
        ([3, 5], [1, 1], [1, 2, 1, 2], [0, 0], 1),
        ([3, 2], [2, 1], [0, 0, 2, 1], [0, 0], 4),
        ([1, 1], [3, 2], [0, 0, 0, 0], [2, 0], 1),
        ([5, 4], [2, 2], [3, 2, 1, 0], [1, 0], 1),
    ] {
        let (inputs, of_group, [h, w]) = (4, 3, [5, 4]);
        let all = of_group * groups;
        let [kh, kw] = kernel;
        let weights = noise(5, inputs * of_group * kh * kw);
        let dims = [inputs, of_group, kh, kw].map(|n| n as i64);
        let ints_of = |list: &[usize]| list.iter().map(|n| *n as i64).collect::<Vec<_>>();
        let (strides, padding, more) = (ints_of(&stride), ints_of(&pads), ints_of(&further));
        let bias: Vec<f32> = (0..all).map(|o| o as f32 / 8.0).collect();
        let attributes = [
            ("strides", Is(&strides)),
            ("pads", Is(&padding)),
            ("output_padding", Is(&more)),
            ("group", I(groups as i64)),
        ];
        let graph = Model::new(&[inputs as i64, h as i64, w as i64])
            .tensor(floats("w", &dims, &weights))
            .tensor(floats("b", &[all as i64], &bias))
            .node("ConvTranspose", &["x", "w", "b"], "y", &attributes)
            .import();
        let size = |i: usize, n: usize| {
            stride[i] * (n - 1) + kernel[i] + further[i] - pads[i] - pads[i + 2]
        };
        let [oh, ow] = [size(0, h), size(1, w)];
        let (x, found) = sample(&graph);
        let mut expected = vec![0.0; all * oh * ow];
        for (i, expected) in expected.iter_mut().enumerate() {
            *expected = f64::from(bias[i % all]);
        }
        for c in 0..inputs {
            for (o, (ky, kx)) in (0..of_group)
                .flat_map(|o| (0..kh).flat_map(move |ky| (0..kw).map(move |kx| (o, (ky, kx)))))
            {
                let weight = weights[((c * of_group + o) * kh + ky) * kw + kx];
                let o = c / (inputs / groups) * of_group + o;
                for (y, column) in (0..h).flat_map(|y| (0..w).map(move |x| (y, x))) {
                    let place =
                        |i: usize, n: usize, k: usize| (n * stride[i] + k).checked_sub(pads[i]);
                    let (Some(to_y), Some(to_x)) = (place(0, y, ky), place(1, column, kx)) else {
                        continue;
                    };
                    if to_y < oh && to_x < ow {
                        let value = x[(c * h + y) * w + column];
                        expected[(to_y * ow + to_x) * all + o] += value * f64::from(weight);
                    }
                }
            }
        }
        assert_eq!(
            graph.shape(graph.layers.len()),
            Shape::new(oh as u16, ow as u16, all as u16)
        );
        assert_close(&found, &expected);
    }
}
