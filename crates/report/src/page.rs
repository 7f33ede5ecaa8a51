//! The page as a whole.

use std::path::Path;

use maud::{DOCTYPE, PreEscaped, html};
use shortrun_train::write_atomically;

use crate::{ReportError, Section};

const STYLE: &str = include_str!("style.css");
/// Whoever opens the page, it loads nothing from anywhere and runs nothing.
const POLICY: &str = "default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// A page.
#[derive(Clone, Debug)]
pub struct Page {
    /// Title and first heading.
    pub title: String,
    /// Under the heading: what it is, when it was made.
    pub lead: String,
    /// Seconds after which a browser loads it again, if it is written again and again.
    pub refresh: Option<u64>,
    /// From top to bottom.
    pub sections: Vec<Section>,
}

impl Page {
    /// The text of the file.
    pub fn to_html(&self) -> String {
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta http-equiv="Content-Security-Policy" content=(POLICY);
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    @if let Some(seconds) = self.refresh {
                        meta http-equiv="refresh" content=(seconds);
                    }
                    title { (self.title) }
                    // Or browsers ask for one.
                    link rel="icon" href="data:,";
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    header {
                        h1 { (self.title) }
                        p.dim { (self.lead) }
                        nav {
                            @for section in &self.sections {
                                a href={ "#" (section.id) } { (section.title) }
                            }
                        }
                    }
                    main { @for section in &self.sections { (section.markup()) } }
                }
            }
        };
        page.into_string()
    }

    /// Writes the file: at any moment there is the old or the new one, whole.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn write(&self, path: &Path) -> Result<usize, ReportError> {
        let html = self.to_html();
        write_atomically(path, html.as_bytes())?;
        Ok(html.len())
    }
}
