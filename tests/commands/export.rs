use std::{collections::BTreeMap, fs};

use safetensors::SafeTensors;

use crate::common::*;

#[test]
fn export_has_the_names_and_layouts_of_pytorch() {
    let folder = trained();
    let out = folder.path().join("weights.safetensors");
    let report = json(
        folder.path(),
        &[
            "export",
            "--run",
            "run",
            "--out",
            "weights.safetensors",
            "--json",
        ],
    );
    let bytes = fs::read(out).unwrap();
    let (_, metadata) = SafeTensors::read_metadata(&bytes).unwrap();
    let config = &metadata.metadata().as_ref().unwrap()["config"];
    let config: serde_json::Value = serde_json::from_str(config).unwrap();
    assert_eq!(config["features"], 4);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let found: BTreeMap<String, Vec<usize>> = file
        .tensors()
        .into_iter()
        .map(|(name, tensor)| (name, tensor.shape().to_vec()))
        .collect();
    let total: usize = found
        .values()
        .map(|shape| shape.iter().product::<usize>())
        .sum();
    assert_eq!(report["parameters"], total);

    // 4 features, 4 seed channels, maps of 14 x 14, heads of 3 channels on 10 x 10, latents 2 and 3.
    let mut expected: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    let mut add = |name: &str, shape: &[usize]| {
        expected.insert(name.to_owned(), shape.to_vec());
    };
    for (i, latent) in [2, 3].into_iter().enumerate() {
        let size = file
            .tensor(&format!("blocks.{i}.project.linear.bias"))
            .unwrap()
            .shape()[0];
        assert_eq!(size % 4, 0);
        add(
            &format!("blocks.{i}.project.linear.weight"),
            &[size, latent],
        );
        add(&format!("blocks.{i}.project.linear.bias"), &[size]);
        add(&format!("blocks.{i}.project.deconv.weight"), &[4, 4, 5, 5]);
        add(&format!("blocks.{i}.conv1.weight"), &[4, 4, 5, 5]);
        add(&format!("blocks.{i}.conv1.bias"), &[4]);
        add(&format!("blocks.{i}.conv2.weight"), &[4, 4, 3, 3]);
        add(&format!("blocks.{i}.conv2.bias"), &[4]);
    }
    for head in ["mean", "scale"] {
        add(&format!("stochastic.0.{head}.conv.weight"), &[3, 4, 5, 5]);
        add(&format!("stochastic.0.{head}.conv.bias"), &[3]);
        add(
            &format!("stochastic.0.{head}.linear.weight"),
            &[3, 3 * 10 * 10],
        );
        add(&format!("stochastic.0.{head}.linear.bias"), &[3]);
    }
    add("output.0.weight", &[4, 1, 4, 4]);
    add("output.0.bias", &[1]);
    assert_eq!(found, expected);
}
