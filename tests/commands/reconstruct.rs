use crate::{common::*, number};

#[test]
fn reconstruct_reports_its_error_and_its_chain() {
    let folder = trained();
    let here = folder.path();
    let own = json(here, &["reconstruct", "--run", "run", "--json"]);
    assert!(number(&own["mse"]) > 0.0 && number(&own["mean_image_mse"]) > 0.0);
    // A tenth of the 20 images is held out.
    assert_eq!(
        (own["images"].as_u64(), own["steps"].as_u64()),
        (Some(2), Some(3))
    );
    let eta = number(&own["step_size"]["eta"][0]);
    let drift = number(&own["step_size"]["drift"][0]);
    assert!((drift - eta * eta / 2.0).abs() < 1e-12);
    assert!(here.join("run/reconstruct.png").is_file());

    let longer = json(
        here,
        &[
            "reconstruct",
            "--run",
            "run",
            "--langevin-steps",
            "5",
            "--step-size",
            "drift=0.00125",
            "--split",
            "train",
            "--count",
            "3",
            "--out",
            "r.png",
            "--json",
        ],
    );
    assert_eq!(
        (longer["images"].as_u64(), longer["steps"].as_u64()),
        (Some(3), Some(5))
    );
    assert!((number(&longer["step_size"]["eta"][0]) - 0.05).abs() < 1e-9);
    assert!(here.join("r.png").is_file());

    write_npy(&here.join("other.npy"), 5);
    let other = |count: &str| {
        json(
            here,
            &[
                "reconstruct",
                "--run",
                "run",
                "--data",
                "other.npy",
                "--count",
                count,
                "--json",
            ],
        )
    };
    assert_eq!(other("64")["images"], 5);
    assert_eq!(other("3")["images"], 3);
    let synthetic = json(
        here,
        &[
            "reconstruct",
            "--run",
            "run",
            "--data",
            "synthetic",
            "--count",
            "3",
            "--json",
        ],
    );
    assert!(synthetic["data"].as_str().unwrap().contains("synthetic"));
}
