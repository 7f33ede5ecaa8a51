use crate::{common::*, number};

#[test]
fn inpaint_fills_in_hidden_pixels_and_shows_its_doubt() {
    let folder = trained();
    let arguments = [
        "inpaint",
        "--run",
        "run",
        "--mask",
        "center:12",
        "--count",
        "2",
        "--samples",
        "3",
        "--json",
    ];
    let found = json(folder.path(), &arguments);
    assert_eq!(found["mask"], "center:12");
    for key in ["hidden_mse", "visible_mse", "mean_hidden_mse"] {
        assert!(number(&found[key]) > 0.0, "{key}");
    }
    assert_eq!(found, json_without_time(folder.path(), &arguments, &found));
    let picture = image::open(folder.path().join("run/inpaint.png")).unwrap();
    // Eight columns of 28 pixels and five rows, with gaps of 2, twice as large.
    assert_eq!((picture.width(), picture.height()), (484, 304));
}

/// The command's report again, with the seconds of the first.
fn json_without_time(
    folder: &std::path::Path,
    arguments: &[&str],
    first: &serde_json::Value,
) -> serde_json::Value {
    let mut again = json(folder, arguments);
    again["seconds"] = first["seconds"].clone();
    again
}
