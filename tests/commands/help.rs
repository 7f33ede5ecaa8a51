use crate::common::*;

#[test]
fn help_lists_every_flag() {
    let folder = tempfile::tempdir().unwrap();
    let chain = ["--langevin-steps", "--step-size", "--seed"];
    let data = ["--data", "--data-dir", "--split", "--count"];
    let common = ["--run", "--backend", "--json"];
    let train = [
        "--download",
        "--size",
        "--channels",
        "--preset",
        "--config",
        "--set",
        "--steps",
        "--resume",
    ];
    for (command, flags) in [
        (
            "train",
            [&train[..], &["--data", "--data-dir", "--seed"]].concat(),
        ),
        (
            "reconstruct",
            [&data[..], &chain[..], &["--out", "--best"]].concat(),
        ),
        (
            "trace",
            [&data[..], &chain[..], &["--out", "--best"]].concat(),
        ),
        (
            "hierarchy",
            [
                &data[..],
                &chain[..],
                &["--from-prior", "--redraws", "--out"],
            ]
            .concat(),
        ),
        ("sample", vec!["--count", "--seed", "--out", "--best"]),
        ("export", vec!["--out", "--best"]),
        ("info", vec!["--preset"]),
    ] {
        let help = done(folder.path(), &[command, "--help"]);
        for flag in flags.iter().chain(&common) {
            assert!(help.contains(flag), "{command} --help lacks {flag}");
        }
    }
    let help = done(folder.path(), &["--help"]);
    for code in [
        "0 done",
        "1 an error",
        "2 wrong usage",
        "3 training stopped",
        "130 interrupted",
    ] {
        assert!(help.replace('\n', " ").contains(code), "{help}");
    }
}
