//! One self-contained HTML page about a training run.
//!
//! A [`Page`] is made of [`Section`]s, a section of text, tables, plots and pictures. Pictures are
//! embedded, plots are inline SVG, there is no script: the file needs nothing but itself. What a
//! user named (files, settings, command lines) is escaped by [`maud`].
//!
//! The sections that need only the run folder are functions here ([`overview`], [`curves`],
//! [`settings`], [`evaluations`], [`commands`]); those that need a generator are put together by who
//! has one.

mod commands;
mod curves;
mod error;
mod evaluations;
mod number;
mod overview;
mod page;
mod picture;
mod section;
mod settings;
mod status;
mod table;

pub use commands::commands;
pub use curves::curves;
pub use error::ReportError;
pub use evaluations::evaluations;
pub use number::{number, time};
pub use overview::{Overview, overview};
pub use page::Page;
pub use picture::Picture;
pub use section::Section;
pub use settings::settings;
pub use status::Status;
pub use table::Table;
