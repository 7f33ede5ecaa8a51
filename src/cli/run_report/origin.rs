//! Which images a run learned from, said plainly.

use shortrun_data::Source;
use shortrun_report::{Section, Table};
use shortrun_train::State;

use crate::run_config::DataConfig;

/// Images that were looked at for the page.
#[derive(Clone, Debug)]
pub(super) struct LookedAt {
    /// A short name, such as `svhn`.
    pub(super) name: String,
    /// Where they are from.
    pub(super) provenance: String,
    /// Whether they were asked for in place of the run's own.
    pub(super) other: bool,
}

/// Real or built-in; `learned` is the name of the data set in the checkpoint.
pub(super) fn sentence(source: &Source, learned: Option<&str>) -> String {
    let built_in = "Built-in data: synthetic house numbers that this program draws itself; no \
                    photographs, and no public data set.";
    let real = |name: &str| match name {
        "mnist" => "Real data: MNIST, scanned handwritten digits.".to_owned(),
        "svhn" => "Real data: SVHN, photographed house numbers.".to_owned(),
        "celeba" => "Real data: CelebA, photographed faces.".to_owned(),
        name => format!("Real data: {name}."),
    };
    match (source, learned) {
        (Source::Synthetic, _) | (Source::Auto, Some("synthetic")) => built_in.to_owned(),
        (Source::Array(path), _) => format!("The user’s own images: the array {}.", path.display()),
        (Source::Folder(path), _) => format!("The user’s own images: pictures in {}.", path.display()),
        (Source::Auto, Some(name)) => real(name),
        (Source::Auto, None) => "Data “auto”: real SVHN digits if they were there when training \
                                 began, else built-in synthetic ones; there is no checkpoint yet that \
                                 says which."
            .to_owned(),
        (named, _) => real(&named.to_string()),
    }
}

pub(super) fn section(
    sentence: &str,
    config: &DataConfig,
    state: Option<&State>,
    looked: Option<&LookedAt>,
) -> Section {
    let mut facts = vec![("data.source", config.source.clone())];
    if let Some(state) = state {
        facts.push((
            "learned from",
            format!("{} images of “{}”", state.images, state.data),
        ));
    }
    if let Some(looked) = looked {
        facts.push(("pictures here show", looked.provenance.clone()));
    }
    facts.push(("size", format!("{0} x {0} pixels", config.size)));
    let section = Section::new("data", "Data").text(sentence);
    let section = match (state, looked) {
        (Some(state), Some(looked)) if looked.other => section.note(format!(
            "Asked for other images than the run learned from (“{}”): reconstructions, inpainting and \
             the step size’s objective here are of “{}”.",
            state.data, looked.name
        )),
        (Some(state), Some(looked)) if state.data != looked.name => section.note(format!(
            "The run learned from “{}”, but what is found now is “{}”: reconstructions, inpainting \
             and the step size’s objective here are of other images. Work in the folder the run was \
             trained from, or name the files with --data-dir.",
            state.data, looked.name
        )),
        _ => section,
    };
    section.table(&Table::facts(facts))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn built_in_data_is_never_called_real() {
        for (source, learned, built_in) in [
            (Source::Synthetic, None, true),
            (Source::Auto, Some("synthetic"), true),
            (Source::Auto, Some("svhn"), false),
            (Source::Auto, None, false),
            (Source::Mnist, Some("mnist"), false),
            // A user's folder may have any name.
            (
                Source::Folder("pictures/synthetic".into()),
                Some("synthetic"),
                false,
            ),
        ] {
            let text = sentence(&source, learned);
            assert_eq!(text.starts_with("Built-in"), built_in, "{text}");
            assert!(!built_in || !text.contains("Real"), "{text}");
        }
    }
}
