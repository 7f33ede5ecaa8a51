use crate::{common::*, number};

#[test]
fn selftest_gives_each_check_and_passes_on_the_cpu() {
    let folder = workplace();
    let report = json(
        folder.path(),
        &["selftest", "--preset", "quick", "--batch", "2", "--json"],
    );
    let checks = report["checks"].as_array().unwrap();
    // 28, 32 and 64 pixels, and one with more features; eleven numbers and one comparison of bits.
    assert_eq!(checks.len(), 48);
    for check in checks {
        assert_eq!(check["passed"], true, "{check}");
        assert!(number(&check["error"]) < number(&check["limit"]));
    }
    // The explicit passes are not the tape's: were they, nothing would be compared.
    assert!(checks.iter().any(|check| number(&check["error"]) > 0.0));
}
