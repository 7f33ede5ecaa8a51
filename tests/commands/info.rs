use crate::common::*;

#[test]
fn info_works_while_a_run_goes_on() {
    let folder = workplace();
    let mut run = shortrun(
        folder.path(),
        &tiny(&["--run", "run", "--steps", "100000", "--json"]),
    );
    let mut run = run.spawn().unwrap();
    for _ in 0..8 {
        std::thread::sleep(std::time::Duration::from_millis(150));
        if folder.path().join("run/config.toml").exists() {
            json(folder.path(), &["info", "--run", "run", "--json"]);
        }
    }
    let busy = refused(
        folder.path(),
        &["train", "--run", "run", "--resume", "--json"],
        1,
    );
    run.kill().unwrap();
    run.wait().unwrap();
    assert!(busy.contains("another process"), "{busy}");
}
