//! A section of the page and what it may hold.

use maud::{Markup, PreEscaped, html};
use shortrun_eval::Panel;

use crate::{Picture, Table};

/// Width and height of a plot, small enough for its text to be read on a phone.
const PLOT: (u32, u32) = (420, 290);

/// A section: text, tables, plots and pictures in the order in which they were added.
#[derive(Clone, Debug)]
pub struct Section {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    body: Vec<Markup>,
}

impl Section {
    /// An empty section; `id` is its address in the page.
    pub fn new(id: &'static str, title: &'static str) -> Self {
        Self {
            id,
            title,
            body: Vec::new(),
        }
    }

    /// A section that has nothing to show, and why.
    pub fn missing(id: &'static str, title: &'static str, reason: impl ToString) -> Self {
        Self::new(id, title).note(reason)
    }

    /// Its address in the page.
    pub fn id(&self) -> &'static str {
        self.id
    }

    /// Adds a paragraph; what stands between backticks is set as code.
    #[must_use]
    pub fn text(self, text: impl ToString) -> Self {
        self.add(html! { p { (with_code(&text.to_string())) } })
    }

    /// Adds a remark that should not be missed: what is not there, or to be taken with care.
    #[must_use]
    pub fn note(self, text: impl ToString) -> Self {
        self.add(html! { p.note { (with_code(&text.to_string())) } })
    }

    /// Adds a heading within the section.
    #[must_use]
    pub fn heading(self, text: impl ToString) -> Self {
        self.add(html! { h3 { (text.to_string()) } })
    }

    /// Adds a table.
    #[must_use]
    pub fn table(self, table: &Table) -> Self {
        self.add(table.markup())
    }

    /// Adds pictures, side by side where there is room.
    #[must_use]
    pub fn pictures(self, pictures: &[Picture]) -> Self {
        if pictures.is_empty() {
            return self;
        }
        self.add(html! {
            div.pictures { @for picture in pictures { (picture.markup()) } }
        })
    }

    /// Adds plots, side by side where there is room. Those without a point to draw are left out.
    #[must_use]
    pub fn plots(self, panels: &[Panel]) -> Self {
        let drawn = panels.iter().filter_map(|panel| {
            let svg = panel.to_svg(PLOT.0, PLOT.1).ok()?;
            Some((&panel.title, svg))
        });
        let drawn: Vec<(&String, String)> = drawn.collect();
        self.add(html! {
            div.plots {
                @for (title, svg) in &drawn {
                    div.plot role="img" aria-label=(title) { (PreEscaped(svg)) }
                }
            }
        })
    }

    pub(crate) fn add(mut self, markup: Markup) -> Self {
        self.body.push(markup);
        self
    }

    pub(crate) fn markup(&self) -> Markup {
        html! {
            section id=(self.id) {
                h2 { (self.title) }
                @for part in &self.body { (part) }
            }
        }
    }
}

/// Text, with what stands between backticks set as code.
fn with_code(text: &str) -> Markup {
    html! {
        @for (place, part) in text.split('`').enumerate() {
            @if place % 2 == 1 { code { (part) } } @else { (part) }
        }
    }
}
