//! Small files that announce large things are refused before memory or time is spent on them.

use std::fs;

use bitbudget::dataset::{self, LoadOptions};
use bitbudget::import::onnx;

/// The error of a data file for inputs of 2 x 3 x 1.
fn refused(name: &str, bytes: &[u8]) -> String {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join(name);
    fs::write(&path, bytes).expect("a file");
    let options = LoadOptions {
        format: None,
        labels: None,
        input: [2, 3, 1],
        limit: None,
        seed: 0,
    };
    let loaded = match name.ends_with(".png") {
        true => dataset::load_input(&path, [2, 3, 1], 0),
        false => dataset::load(&path, &options),
    };
    loaded.expect_err("more than the file holds").to_string()
}

/// A file of the corpus of the data target, without the two bytes that choose how it is read.
fn corpus(name: &str) -> Vec<u8> {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/fuzz/corpus/data/");
    let bytes = fs::read(format!("{folder}{name}")).expect("part of the source");
    bytes[2..].to_vec()
}

#[test]
fn arrays_of_more_elements_than_bytes_are_refused_with_their_size() {
    // 2^40 images of 6 bytes behind a header of 128
    let error = refused("a.npy", &corpus("npy_huge"));
    assert!(error.contains("6597069766784"), "{error}");
    // (2^32 - 1)^3 bytes exceed what 64 bits can count
    assert!(!refused("images-idx3-ubyte", &corpus("idx_huge")).is_empty());
    assert!(!refused("a.npy", &corpus("npy_overflow")).is_empty());
}

#[test]
fn images_of_many_pixels_are_refused_by_their_header() {
    let error = refused("a.png", &corpus("png_60000"));
    assert!(
        error.contains("60000 pixels high and 60000 wide"),
        "{error}"
    );
}

#[test]
fn archives_that_are_cut_off_are_refused() {
    let whole = corpus("npz");
    for len in [4, 30, whole.len() / 2, whole.len() - 1] {
        assert!(!refused("a.npz", &whole[..len]).is_empty());
    }
}

/// One field of a Protocol Buffers message that holds bytes.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    let mut field = vec![number << 3 | 2];
    let mut len = bytes.len();
    while len >= 128 {
        field.push(len as u8 | 128);
        len >>= 7;
    }
    field.push(len as u8);
    field.extend_from_slice(bytes);
    field
}

#[test]
fn models_of_100_000_nodes_are_refused() {
    let node = |i: u32| {
        let input = if i == 0 {
            "x".to_owned()
        } else {
            (i - 1).to_string()
        };
        let parts = [
            field(1, input.as_bytes()),
            field(2, i.to_string().as_bytes()),
            field(4, b"Softmax"),
        ];
        field(1, &parts.concat())
    };
    let dims = [1, 4].map(|len| field(1, &[8, len]));
    let tensor = [vec![8, 1], field(2, &dims.concat())].concat();
    let input = [field(1, b"x"), field(2, &field(1, &tensor))].concat();
    let mut graph: Vec<u8> = (0..100_000).flat_map(node).collect();
    graph.extend(field(11, &input));
    graph.extend(field(12, &field(1, b"99999")));
    let opset = field(8, &[16, 17]);
    let model = [vec![8, 8], field(7, &graph), opset].concat();
    let error = onnx::parse(&model).expect_err("too many layers");
    assert!(error.to_string().contains("layers"), "{error}");
}
