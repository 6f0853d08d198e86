//! Tensors in files beside the model.

use std::fs;
use std::path::Path;

use rten_onnx::onnx::{DataLocation, StringStringEntryProto};

use super::*;
use crate::import::onnx::parse_beside;

/// Two dense layers, each with a matrix of its own.
fn two_layers() -> Model {
    Model::new(&[2])
        .random("v", &[2, 3])
        .random("w", &[3, 4])
        .node("MatMul", &["x", "v"], "h", &[])
        .node("MatMul", &["h", "w"], "y", &[])
}

/// Keys and values of where the data of an initializer are said to lie.
type Entries<'a> = &'a [(&'a str, &'a str)];

/// Says where the data of an initializer lie.
fn set(tensor: &mut TensorProto, entries: Entries<'_>) {
    let entry = |&(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(value.to_owned()),
    };
    tensor.data_location = Some(DataLocation::EXTERNAL);
    tensor.external_data = entries.iter().map(entry).collect();
    tensor.float_data.clear();
    tensor.raw_data = None;
}

fn bytes_of(tensor: &TensorProto) -> Vec<u8> {
    let typed = tensor.float_data.iter().flat_map(|x| x.to_le_bytes());
    match &tensor.raw_data {
        Some(raw) => raw.borrow().clone(),
        None => typed.collect(),
    }
}

fn parse_in(folder: &Path, model: &Model) -> Result<Graph, OnnxError> {
    parse_beside(&model.bytes(), folder, &Sizes::None)
}

#[test]
fn data_beside_the_model_are_those_inside_of_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let inside = two_layers();
    let mut beside = two_layers();
    let tensors = &mut beside.graph().initializer;
    // one file for both, in another order and with a gap, as exporters align them
    let (v, w) = (bytes_of(&tensors[0]), bytes_of(&tensors[1]));
    let data = [&w[..], &[7; 16], &v].concat();
    fs::write(folder.path().join("m.data"), &data).expect("a file");
    let start = (w.len() + 16).to_string();
    let (v_len, w_len) = (v.len().to_string(), w.len().to_string());
    let place = [
        ("location", "m.data"),
        ("offset", &start),
        ("length", &v_len),
    ];
    set(&mut tensors[0], &place);
    set(
        &mut tensors[1],
        &[("location", "./m.data"), ("length", &w_len)],
    );
    let graph = parse_in(folder.path(), &beside).expect("a graph");
    assert_eq!(graph, inside.import());

    // one file for each, to its end
    fs::create_dir(folder.path().join("data")).expect("a folder");
    fs::write(folder.path().join("data/w"), &w).expect("a file");
    let tensors = &mut beside.graph().initializer;
    set(&mut tensors[1], &[("location", "data/w")]);
    let graph = parse_in(folder.path(), &beside).expect("a graph");
    assert_eq!(graph, inside.import());
}

#[test]
fn faults_name_tensor_and_file() {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("m.data"), [0; 24]).expect("a file");
    let parent = folder.path().join("m.data");
    let absolute = parent.to_str().expect("a path");
    let error = |entries: &[Entries<'_>]| {
        let mut model = two_layers();
        let tensors = &mut model.graph().initializer;
        for (tensor, entries) in tensors.iter_mut().zip(entries) {
            set(tensor, entries);
        }
        parse_in(folder.path(), &model).expect_err("a fault")
    };
    let file = ("location", "m.data");
    let all: [(&[Entries<'_>], &[&str]); 9] = [
        (&[&[("location", "none")]], &["`v`", "none"]),
        (&[&[("location", "../m.data")]], &["`v`", "`../m.data`"]),
        (&[&[("location", absolute)]], &["`v`", "m.data"]),
        (&[&[("location", "")]], &["`v`", "below"]),
        (&[&[]], &["`v`", "?"]),
        (&[&[file, ("offset", "4")]], &["`v`", "20", "24"]),
        (
            &[&[file, ("length", "25")]],
            &["`v`", "25", "`m.data`", "24"],
        ),
        (&[&[file, ("offset", "-1")]], &["offset", "`v`", "`-1`"]),
        (&[&[file], &[file, ("length", "4")]], &["`w`", "`m.data`"]),
    ];
    for (entries, parts) in all {
        let text = error(entries).to_string();
        for part in parts {
            assert!(text.contains(part), "{entries:?}: {text}");
        }
    }
    let far = ("offset", "18446744073709551615");
    let far = error(&[&[file, far, ("length", "9")]]);
    assert!(matches!(far, OnnxError::ExternalRange { .. }), "{far}");
}

#[test]
fn data_files_that_are_too_large_are_not_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut model = two_layers();
    for (name, tensor) in ["a", "b"].iter().zip(&mut model.graph().initializer) {
        let file = fs::File::create(folder.path().join(name)).expect("a file");
        // sparse: it takes no room
        file.set_len(600 << 20).expect("a length");
        set(tensor, &[("location", name), ("length", "24")]);
    }
    let error = parse_in(folder.path(), &model).expect_err("too large");
    assert!(
        matches!(error, OnnxError::ExternalTooLarge { .. }),
        "{error}"
    );
}
